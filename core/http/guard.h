/*
 * guard.h - where a connection may go: the last gate before a socket opens.
 *
 * A guard lists address ranges. A client (http.h) asks it for every address that the name service gave, right
 * before connect(), and asks again for the peer's address once connected: so neither a changed DNS answer nor
 * a redirect nor a route around the policy ends in a packet to a place that is not listed. All zeros, the
 * guard allows the loopback ranges (127.0.0.0/8, ::1) and nothing else. With ranges it allows those alone:
 * loopback too only where it is listed. Without TLS nothing but loopback is spoken to, listed or not.
 *
 * Plain and self-contained: the policy makes it, and it travels with the place that it guards to every rank.
 *
 * Each refusal is told to one observer of the process (http_on_refusal), which records it; and counted.
 */
#ifndef CORE_HTTP_GUARD_H
#define CORE_HTTP_GUARD_H

#include "base/err.h"

#include <stdint.h>

struct sockaddr;

enum { HTTP_RANGES_MAX = 16, HTTP_RANGE_TEXT_BYTES = 64, HTTP_PIN_BYTES = 64, HTTP_ADDRESS_BYTES = 48 };

/* IPv4 is held as ::ffff:a.b.c.d with 96 bits more. */
struct http_range {
    uint8_t address[16];
    uint8_t bits;
};
struct http_guard {
    struct http_range ranges[HTTP_RANGES_MAX];
    uint32_t range_count;
    bool tls_required;        /* on loopback, too */
    char pin[HTTP_PIN_BYTES]; /* SHA-256 of the server's public key (SPKI) in base64; "": any that the
                                 authority vouches for */
};

/* "10.1.0.0/16", "192.0.2.7", "2001:db8::/32". ERR_USAGE: malformed, or bits set behind the prefix. */
enum err_code http_range_parse(const char *text, struct http_range *out, struct err *e);
const char *http_range_format(const struct http_range *r, char out[HTTP_RANGE_TEXT_BYTES]);

/* An IPv4-mapped IPv6 address counts as the IPv4 one. Any other family than the two: false. Pure. */
bool http_guard_allows(const struct http_guard *g, const struct sockaddr *address);
bool http_is_loopback(const struct sockaddr *address);
/* The same, from text as inet_pton() reads it; a text that is no address is not allowed. */
bool http_guard_allows_text(const struct http_guard *g, const char *address);
const char *http_address_format(const struct sockaddr *address, char out[HTTP_ADDRESS_BYTES]);

/* What was refused, as a row of http_refusal_names. */
enum http_refusal_kind {
    HTTP_REFUSED_ADDRESS,     /* outside the guard's ranges */
    HTTP_REFUSED_PLAIN,       /* no TLS, and not to this machine itself */
    HTTP_REFUSED_REDIRECT,    /* the server sent us elsewhere */
    HTTP_REFUSED_CERTIFICATE, /* not by the authority, for another name, expired, or another key than the
                                 pinned one */
    HTTP_REFUSED_CLIENT,      /* the server does not take our certificate, or wants one */
};
extern const char
    *const http_refusal_names[]; /* "address", "plain", "redirect", "certificate", "client", NULL */

struct http_refusal { /* borrowed for the call */
    enum http_refusal_kind kind;
    const char *place;  /* the origin that was asked for */
    const char *detail; /* the address, the redirect's target, ...: printable */
};
typedef void http_refused_fn(void *context, const struct http_refusal *r);
/* One for the process, set by main before its first client; NULL: none. It is called from whichever thread
 * met the refusal, and must not use a client itself. */
void http_on_refusal(http_refused_fn *fn, void *context);
uint64_t http_refusals(void);                   /* since the process began */
void http_refuse(const struct http_refusal *r); /* for clients: count it and tell it */

#endif
