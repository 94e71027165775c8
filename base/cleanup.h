/*
 * cleanup.h - release at the end of scope, so that an error path is a plain `return`.
 *
 *     CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
 *     CLEANUP(store_closep) struct store *s = NULL;
 *     ...
 *     *out = TAKE(s);      ownership leaves; nothing is closed here
 *
 * Every release function accepts NULL, the INIT value and half-built objects.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(fn) __attribute__((cleanup(fn)))

#define TAKE(p) \
    __extension__({ \
        __typeof__(p) taken_ = (p); \
        (p) = NULL; \
        taken_; \
    })

/* DEFINE_CLEANUP_PTR(struct store, store_close) makes store_closep for CLEANUP. */
#define DEFINE_CLEANUP_PTR(type, fn) \
    static inline void fn##p(type **p) \
    { \
        fn(*p); \
        *p = NULL; \
    }

static inline void freep(void *p)
{
    free(*(void **)p);
}

static inline void fd_closep(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#define TAKE_FD(fd) \
    __extension__({ \
        int taken_ = (fd); \
        (fd) = -1; \
        taken_; \
    })

#endif
