/*
 * text.h - bytes as hex and base64, and the few things with strings that libc leaves out.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

void hex_encode(const void *data, size_t n, char *out); /* out: 2 n + 1 bytes, lower case */
enum err_code hex_decode(const char *text, uint8_t *out, size_t n, struct err *e); /* exactly n bytes */

void base64_encode(const void *data, size_t n, struct buf *out); /* RFC 4648 section 4, with padding */
enum err_code base64_decode(const char *text, struct buf *out, struct err *e); /* strict: padding, no space */

bool text_starts(const char *text, const char *prefix);
bool text_ends(const char *text, const char *suffix);

/* Copy into a fixed array; ERR_LIMIT names `what` when it does not fit. */
enum err_code text_copy(char *out, size_t out_bytes, const char *text, const char *what, struct err *e);

/* 1 to max bytes of a-z 0-9 - _ . that start with a letter or digit: job names, queue names, key names. */
bool text_is_name(const char *text, size_t max);

/* The candidate nearest to `text` by edit distance, for "did you mean"; NULL where none is near. */
const char *text_nearest(const char *text, const char *const *candidates, size_t count);

#endif
