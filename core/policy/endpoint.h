/*
 * endpoint.h - the host and port of an endpoint, and whether a pattern means it. Pure.
 *
 * A pattern is HOST, HOST:PORT or *.HOST (one label or more in front, never none; HOST has two or more
 * itself). Hosts are compared whole and in lower case: "s3.example" is not "s3.example.evil", nor
 * "xs3.example". Without a port the scheme's own is meant. What is no plain host name or address (a user, a
 * path, an empty label, a dot at the end, letters beyond ASCII) fits nothing.
 */
#ifndef CORE_POLICY_ENDPOINT_H
#define CORE_POLICY_ENDPOINT_H

#include "core/policy/policy.h"

struct endpoint {
    char host[POLICY_HOST_BYTES]; /* lower case; an IPv6 address without its brackets */
    int port;
    bool tls;
};
bool endpoint_parse(const char *url, struct endpoint *out);
bool endpoint_pattern_is_valid(const char *pattern);
bool endpoint_fits(const char *pattern, const struct endpoint *at);

#endif
