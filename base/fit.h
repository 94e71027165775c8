/*
 * fit.h - a text into a fixed array, when it may be longer than that.
 */
#ifndef BASE_FIT_H
#define BASE_FIT_H

#include <stddef.h>

/* Copy as much as fits. Of a longer text the middle gives way to " ... ": a message's front says where, and its
 * end says why. Never cuts a UTF-8 sequence in two. out_bytes is at least 16. */
void text_fit(char *out, size_t out_bytes, const char *text);

#endif
