/*
 * buf.h - growable bytes with a stated maximum.
 *
 * Adding never fails on the spot: what does not fit sets a flag, nothing more is added, and the writer asks
 * once at the end with buf_check(). So a page of additions needs one error path. The bytes are always
 * followed by a NUL that is not counted, so a buffer of text can be read as a string.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    uint8_t *data; /* NULL while empty */
    size_t len;
    size_t size; /* allocated */
    size_t max;  /* len never exceeds it */
    bool full;   /* something did not fit */
};
#define BUF_INIT(bytes_max) { .data = NULL, .len = 0, .size = 0, .max = (bytes_max), .full = false }

void buf_done(struct buf *b);  /* frees; the buffer may be used again */
void buf_reset(struct buf *b); /* len = 0, keeps the memory */
void buf_wipe(struct buf *b);  /* buf_done() after overwriting: for what was secret */

void buf_add(struct buf *b, const void *data, size_t n);
void buf_add_text(struct buf *b, const char *text);
void buf_add_byte(struct buf *b, uint8_t byte);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_addv(struct buf *b, const char *fmt, va_list ap) PRINTF_LIKE(2, 0);
void buf_add_u32be(struct buf *b, uint32_t v);
void buf_add_u64be(struct buf *b, uint64_t v);

/* Room for n more bytes, not counted until buf_commit(). NULL (and full) where they exceed the maximum. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);
void buf_drop_front(struct buf *b, size_t n);

enum err_code buf_check(const struct buf *b, const char *what, struct err *e); /* ERR_LIMIT if full */
const char *buf_text(const struct buf *b);                                     /* "" while empty */
void buf_move(struct buf *to, struct buf *from);                               /* frees what `to` held */

#endif
