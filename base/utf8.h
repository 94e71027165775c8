/*
 * utf8.h - bytes as UTF-8 (RFC 3629): shortest forms only, no surrogates, nothing beyond Unicode.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The character at `text` (n bytes left): its length, 0 where the bytes are no UTF-8. */
size_t utf8_next(const void *text, size_t n, uint32_t *out_character);
/* How many bytes from the start are UTF-8: n where all are. */
size_t utf8_valid(const void *text, size_t n);

#endif
