/*
 * clock.h - wall time and monotonic time behind a struct, so that tests turn the hands.
 *
 * Durations and deadlines use `mono`; what is written for people and auditors uses `wall` (Unix time, UTC).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/err.h"

#include <stdint.h>

struct clock {
    int64_t (*wall_ms)(const struct clock *c);
    int64_t (*mono_ms)(const struct clock *c);
    void (*sleep_ms)(const struct clock *c, int64_t ms);
};
extern const struct clock clock_real;

/* A clock that stands still until its hands are turned; sleeping turns them. */
struct clock_fake {
    struct clock base;
    int64_t wall, mono;
};
struct clock_fake clock_fake_at(int64_t wall_ms);

int64_t clock_wall_ms(void);
int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);

enum { CLOCK_TEXT_BYTES = 32 };
const char *clock_format(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);      /* 2026-11-22T10:15:00.123Z */
const char *clock_format_s3(int64_t wall_ms, char out[CLOCK_TEXT_BYTES]);   /* 20261122T101500Z */
enum err_code clock_parse(const char *text, int64_t *out_wall_ms, struct err *e); /* RFC 3339, UTC only */

#endif
