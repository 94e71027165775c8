#include "core/store/store_ops.h"

#include <inttypes.h>
#include <string.h>

const char *const store_lock_names[] = { "none", "governance", "compliance", NULL };

static bool retained(const struct store_lock *lock, int64_t now_ms)
{
    return lock->mode != STORE_LOCK_NONE && lock->retain_until_ms > now_ms;
}

bool store_lock_active(const struct store_lock *lock, int64_t now_ms)
{
    return lock->legal_hold || retained(lock, now_ms);
}

enum err_code store_lock_may_change(const struct store_lock *held, const struct store_lock *wanted,
                                    int64_t now_ms, struct err *e)
{
    char until[CLOCK_TEXT_BYTES];
    if (!retained(held, now_ms))
        return OK;
    clock_format(held->retain_until_ms, until);
    if (wanted->mode < held->mode)
        return err_set(e, ERR_DENIED, "the version is locked (%s) until %s and cannot become %s before",
                       store_lock_names[held->mode], until, store_lock_names[wanted->mode]);
    if (wanted->retain_until_ms < held->retain_until_ms)
        return err_set(e, ERR_DENIED,
                       "the version is locked until %s, which can be extended but not shortened", until);
    return OK;
}

enum err_code store_lock_was_kept(const struct store_lock *asked, const struct store_lock *got, struct err *e)
{
    if (got->mode < asked->mode)
        return err_set(e, ERR_DENIED, "the store did not keep the lock: asked for %s, read back %s",
                       store_lock_names[asked->mode], store_lock_names[got->mode]);
    if (asked->mode != STORE_LOCK_NONE && got->retain_until_ms < asked->retain_until_ms) {
        char wanted[CLOCK_TEXT_BYTES], read[CLOCK_TEXT_BYTES];
        return err_set(e, ERR_DENIED, "the store did not keep the lock: asked until %s, read back %s",
                       clock_format(asked->retain_until_ms, wanted),
                       clock_format(got->retain_until_ms, read));
    }
    if (asked->legal_hold && !got->legal_hold)
        return err_set(e, ERR_DENIED, "the store did not keep the legal hold");
    return OK;
}

struct store_lock store_lock_for_put(const struct store_lock *asked, const struct store_lock *bucket_default,
                                     int64_t now_ms)
{
    struct store_lock lock = *asked;
    if (lock.mode == STORE_LOCK_NONE && bucket_default->mode != STORE_LOCK_NONE) {
        lock.mode = bucket_default->mode;
        lock.retain_until_ms = now_ms + bucket_default->retain_until_ms;
    }
    return lock;
}

enum err_code store_lock_mode_parse(const char *text, enum store_lock_mode *out, struct err *e)
{
    for (int i = 0; store_lock_names[i]; i++)
        if (strcmp(text, store_lock_names[i]) == 0) {
            *out = (enum store_lock_mode)i;
            return OK;
        }
    return err_set(e, ERR_CORRUPT, "unknown lock mode '%.20s'", text);
}
