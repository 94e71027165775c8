#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_done(struct buf *b)
{
    free(b->data);
    *b = (struct buf)BUF_INIT(b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->full = false;
    if (b->data)
        b->data[0] = '\0';
}

void buf_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->size);
    buf_done(b);
}

/* A buffer that held a secret must not leave copies behind: so no realloc, which may. */
static void move_to_larger(struct buf *b, size_t size)
{
    uint8_t *larger = mem_new(size);
    if (b->data) {
        memcpy(larger, b->data, b->len + 1);
        explicit_bzero(b->data, b->size);
        free(b->data);
    }
    b->data = larger;
    b->size = size;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
    if (b->full || n > b->max - b->len) {
        b->full = true;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->size)
        move_to_larger(b, MAX(need, MIN(MAX(b->size * 2, (size_t)64), b->max + 1)));
    return b->data + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    invariant(n <= b->size - b->len - 1);
    b->len += n;
    b->data[b->len] = '\0';
}

void buf_drop_front(struct buf *b, size_t n)
{
    invariant(n <= b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t n)
{
    uint8_t *to = buf_reserve(b, n);
    if (!to)
        return;
    if (n)
        memcpy(to, data, n);
    buf_commit(b, n);
}

void buf_add_text(struct buf *b, const char *text)
{
    buf_add(b, text, strlen(text));
}

void buf_add_byte(struct buf *b, uint8_t byte)
{
    buf_add(b, &byte, 1);
}

void buf_addv(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    invariant(n >= 0);
    uint8_t *to = buf_reserve(b, (size_t)n);
    if (!to)
        return;
    vsnprintf((char *)to, (size_t)n + 1, fmt, ap);
    buf_commit(b, (size_t)n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_addv(b, fmt, ap);
    va_end(ap);
}

void buf_add_u32be(struct buf *b, uint32_t v)
{
    uint8_t bytes[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };
    buf_add(b, bytes, sizeof(bytes));
}

void buf_add_u64be(struct buf *b, uint64_t v)
{
    buf_add_u32be(b, (uint32_t)(v >> 32));
    buf_add_u32be(b, (uint32_t)v);
}

enum err_code buf_check(const struct buf *b, const char *what, struct err *e)
{
    if (b->full)
        return err_set(e, ERR_LIMIT, "%s is larger than %zu bytes", what, b->max);
    return OK;
}

const char *buf_text(const struct buf *b)
{
    return b->data ? (const char *)b->data : "";
}

void buf_move(struct buf *to, struct buf *from)
{
    free(to->data);
    *to = *from;
    *from = (struct buf)BUF_INIT(to->max);
}
