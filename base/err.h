/*
 * err.h - what went wrong: a code to act on and a sentence to read.
 *
 * A function that can fail returns `enum err_code` and takes `struct err *e` last. There is one code for each
 * thing that a caller can do about a failure, never one for each thing that can go wrong: the detail is in
 * the sentence, which grows from the front on its way up ("submit job 'a': get s3://d/m.json: HTTP 403").
 *
 * `e` is never NULL. Outputs change only on success. Code in base, core and kernels neither logs an error nor
 * exits; a program logs it once, where it stops passing it on.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/def.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__clang__)
#define MUST_CHECK __attribute__((warn_unused_result)) /* on the type: every dropped error is a warning */
#else
#define MUST_CHECK
#endif

enum MUST_CHECK err_code {
    OK = 0,
    ERR_USAGE,     /* the request or the input is malformed: correct it and ask again */
    ERR_NOT_FOUND, /* no such key, job, file */
    ERR_CONFLICT,  /* somebody else changed it first: read again, then retry */
    ERR_DENIED,    /* policy, role, lock or fence says no: do not retry */
    ERR_LIMIT,     /* a stated maximum was reached */
    ERR_RETRY,     /* time-out or outage: the same call may work later */
    ERR_CORRUPT,   /* bytes do not match their hash, tag or format */
    ERR_IO,        /* the operating system refused (disk full, permission, ...) */
    ERR_DEVICE,    /* the accelerator or its driver failed */
    ERR_CANCELED,  /* we were asked to stop */
    ERR_CODE_COUNT
};

enum { ERR_TEXT_BYTES = 1024 };

struct err {
    enum err_code code;
    int cause; /* errno or HTTP status; 0 if none */
    char text[ERR_TEXT_BYTES];
};
#define ERR_INIT { .code = OK }

/* Start an error; returns `code`, so that `return err_set(...)` reads well. */
enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Put context in front of the error in `e`; returns e->code. Only after a failure. */
enum err_code err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Start an error from errno: ENOENT is ERR_NOT_FOUND, EAGAIN and ETIMEDOUT are ERR_RETRY, others ERR_IO. */
enum err_code err_errno(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

void err_clear(struct err *e);

/* "usage", "not found", ...; for logs and for the wire. */
const char *err_name(enum err_code code);
enum err_code err_from_name(const char *name); /* OK where the name is none of them */

/* For a failure that a caller cannot act upon and that changes nothing. Says so where it stands. */
#define IGNORE(call) \
    do { \
        if (call) { \
        } \
    } while (0)

/* A promise between our own functions. Broken means a bug: aborts, in release builds too. */
#define invariant(cond) ((cond) ? (void)0 : err_invariant_failed(#cond, __FILE__, __LINE__))
__attribute__((noreturn)) void err_invariant_failed(const char *cond, const char *file, int line);

#ifdef __cplusplus
}
#endif
#endif
