/*
 * split.h - a text into GPT-2's pieces. Private to core/token; token.h has the pattern.
 *
 * A small state machine over four classes of characters. All functions are pure.
 */
#ifndef CORE_TOKEN_SPLIT_H
#define CORE_TOKEN_SPLIT_H

#include <stddef.h>
#include <stdint.h>

enum split_class { SPLIT_OTHER, SPLIT_LETTER, SPLIT_NUMBER, SPLIT_SPACE };

/* In split_table.c. Ranges are above ASCII, in order, and do not overlap; what is in none is "other". */
struct split_range {
    uint32_t first, last, kind;
};
extern const uint8_t split_ascii[128];
extern const struct split_range split_ranges[];
extern const size_t split_range_count;

enum split_class split_class(uint32_t character);
/* The length of the piece that starts at text[0]. The text is UTF-8 and n at least 1. */
size_t split_piece(const uint8_t *text, size_t n);

#endif
