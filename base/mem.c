#include "base/mem.h"

#include "base/err.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void *mem_new(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    invariant(p != NULL);
    return p;
}

void *mem_array(size_t count, size_t bytes_each)
{
    void *p = calloc(count ? count : 1, bytes_each ? bytes_each : 1);
    invariant(p != NULL);
    return p;
}

void *mem_grow(void *old, size_t count, size_t bytes_each)
{
    size_t bytes;
    invariant(!__builtin_mul_overflow(count, bytes_each, &bytes));
    void *p = realloc(old, bytes ? bytes : 1);
    invariant(p != NULL);
    return p;
}

void *mem_try(size_t bytes)
{
    enum { ALIGN = 64, LARGE_PAGE = 2 << 20, LARGE = 2 * LARGE_PAGE };
    size_t align = bytes >= LARGE || bytes == LARGE_PAGE ? LARGE_PAGE : ALIGN; /* little is rounded up */
    if (bytes > SIZE_MAX - align)
        return NULL;
    size_t rounded = (bytes + align - 1) / align * align;
    void *p = aligned_alloc(align, rounded ? rounded : align);
    if (p && align == LARGE_PAGE)
        (void)madvise(p, rounded, MADV_HUGEPAGE); /* a hint: fewer faults, fewer walks */
    if (p)
        memset(p, 0, rounded);
    return p;
}

char *mem_text(const char *text)
{
    return text ? mem_text_n(text, strlen(text)) : NULL;
}

char *mem_text_n(const char *text, size_t n)
{
    char *p = mem_new(n + 1);
    memcpy(p, text, n);
    return p;
}

char *mem_printf(const char *fmt, ...)
{
    char *p = NULL;
    va_list ap;

    va_start(ap, fmt);
    int n = vasprintf(&p, fmt, ap);
    va_end(ap);
    invariant(n >= 0);
    return p;
}
