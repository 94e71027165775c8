/*
 * mem.h - memory that is there or the program ends.
 *
 * Small host memory running out is not handled: these abort. For large blocks (shards, parameters), where the
 * user can act on the failure, mem_try() returns NULL instead. All memory is zeroed. free() gives it back.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_new(size_t bytes);
void *mem_array(size_t count, size_t bytes_each); /* checks the product */
void *mem_grow(void *old, size_t count, size_t bytes_each); /* realloc; the new part is not zeroed */
void *mem_try(size_t bytes);                                /* 64-byte aligned; NULL when there is none */
char *mem_text(const char *text);                           /* a copy; NULL stays NULL */
char *mem_text_n(const char *text, size_t n);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
