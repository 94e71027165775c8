/*
 * num.h - text to number and back, strictly: the whole text or an error, never a guess.
 *
 * No leading or trailing space, no "+", no "-" where none makes sense, no overflow, no "inf" or "nan". Sizes
 * take nothing, B, KiB, MiB, GiB, TiB (1024) or KB, MB, GB, TB (1000); durations ms, s, m, h, d, and need one
 * unless 0. Both take a fraction that comes out whole ("1.5h"). Errors are ERR_USAGE and quote the text.
 */
#ifndef BASE_NUM_H
#define BASE_NUM_H

#include "base/err.h"

#include <stdint.h>

enum err_code parse_i64(const char *text, int64_t *out, struct err *e);
enum err_code parse_u64(const char *text, uint64_t *out, struct err *e);
enum err_code parse_f64(const char *text, double *out, struct err *e);
enum err_code parse_bool(const char *text, bool *out, struct err *e); /* true or false */
enum err_code parse_size(const char *text, uint64_t *out_bytes, struct err *e);
enum err_code parse_duration(const char *text, int64_t *out_ms, struct err *e);

enum { NUM_TEXT_BYTES = 32 };
const char *format_duration(int64_t ms, char out[NUM_TEXT_BYTES]);  /* "1h 05m", "12.3s", "250ms"; cut off */
const char *format_size(uint64_t bytes, char out[NUM_TEXT_BYTES]);  /* "1.5 MiB", "512 B"; cut off */

#endif
