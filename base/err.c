#include "base/err.h"

#include "base/fit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[ERR_CODE_COUNT] = {
    [OK] = "ok",
    [ERR_USAGE] = "usage",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_CONFLICT] = "conflict",
    [ERR_DENIED] = "denied",
    [ERR_LIMIT] = "limit",
    [ERR_RETRY] = "retry",
    [ERR_CORRUPT] = "corrupt",
    [ERR_IO] = "io",
    [ERR_DEVICE] = "device",
    [ERR_CANCELED] = "canceled",
};

const char *err_name(enum err_code code)
{
    return (unsigned)code < ERR_CODE_COUNT ? names[code] : "unknown";
}

enum err_code err_from_name(const char *name)
{
    for (size_t i = 1; i < ERR_CODE_COUNT; i++)
        if (strcmp(names[i], name) == 0)
            return (enum err_code)i;
    return OK;
}

void err_clear(struct err *e)
{
    e->code = OK;
    e->cause = 0;
    e->text[0] = '\0';
}

enum err_code err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    invariant(code != OK);
    e->code = code;
    e->cause = 0;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    return code;
}

enum err_code err_wrap(struct err *e, const char *fmt, ...)
{
    char whole[2 * ERR_TEXT_BYTES];
    va_list ap;

    invariant(e->code != OK);
    va_start(ap, fmt);
    int n = vsnprintf(whole, ERR_TEXT_BYTES, fmt, ap);
    va_end(ap);
    size_t front = MIN((size_t)MAX(n, 0), (size_t)ERR_TEXT_BYTES - 1);
    snprintf(whole + front, sizeof(whole) - front, ": %s", e->text);
    text_fit(e->text, sizeof(e->text), whole);
    return e->code;
}

static enum err_code code_of_errno(int error)
{
    switch (error) {
    case ENOENT:
        return ERR_NOT_FOUND;
    case EAGAIN:
    case ETIMEDOUT:
    case EINTR:
    case ECONNREFUSED:
    case ECONNRESET:
        return ERR_RETRY;
    default:
        return ERR_IO;
    }
}

enum err_code err_errno(struct err *e, const char *fmt, ...)
{
    int error = errno;
    char front[ERR_TEXT_BYTES];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(front, sizeof(front), fmt, ap);
    va_end(ap);
    IGNORE(err_set(e, code_of_errno(error), "%s: %s", front, strerror(error)));
    e->cause = error;
    return e->code;
}

void err_invariant_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, cond);
    abort();
}
