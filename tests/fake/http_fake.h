/*
 * http_fake.h - an HTTP server on a loopback port that says what a test tells it to.
 *
 * A thread of its own takes one connection at a time (one that idles makes way for the next) and answers each
 * request with the next of the given replies; the last one is repeated. What was asked is kept for the test
 * to look at.
 */
#ifndef TESTS_FAKE_HTTP_FAKE_H
#define TESTS_FAKE_HTTP_FAKE_H

#include <stddef.h>

enum http_fake_act {
    HTTP_FAKE_SAY,   /* the text as it is, then wait for the next request */
    HTTP_FAKE_CLOSE, /* the text, then close */
    HTTP_FAKE_RESET, /* the text, then a reset (RST) */
    HTTP_FAKE_HANG,  /* the text, then nothing until the client leaves */
};

struct http_fake_reply {
    enum http_fake_act act;
    const char *text; /* status line, headers, body */
};

struct http_fake;

/* The replies are borrowed until http_fake_stop(). `unix_socket` NULL: a free TCP port. */
struct http_fake *http_fake_start(const struct http_fake_reply *replies, size_t count,
                                  const char *unix_socket);
void http_fake_stop(struct http_fake *f);

const char *http_fake_origin(const struct http_fake *f); /* "http://127.0.0.1:12345" */
int http_fake_count(struct http_fake *f);                /* requests so far */
int http_fake_connections(struct http_fake *f);
/* The nth request (from 0), as it came, borrowed until the stop. "" where there was none. */
const char *http_fake_request(struct http_fake *f, int nth);

#endif
