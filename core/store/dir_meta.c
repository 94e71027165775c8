#include "core/store/dir_meta.h"

#include "base/num.h"
#include "base/text.h"
#include "core/store/store_ops.h"

#include <inttypes.h>
#include <string.h>

enum { FIELD_BYTES = 128 };

/* "name value\n" at *p: the value into `out`, *p behind the line. */
static bool take_line(const char **p, const char *name, char out[FIELD_BYTES])
{
    size_t name_n = strlen(name), n = strcspn(*p, "\n");
    if (!text_starts(*p, name) || (*p)[name_n] != ' ' || (*p)[n] != '\n' || n - name_n - 1 >= FIELD_BYTES)
        return false;
    memcpy(out, *p + name_n + 1, n - name_n - 1);
    out[n - name_n - 1] = '\0';
    *p += n + 1;
    return true;
}

/* The next word of *p, which ends at a space or the end. */
static bool take_word(const char **p, char out[FIELD_BYTES])
{
    size_t n = strcspn(*p, " ");
    if (n == 0 || n >= FIELD_BYTES)
        return false;
    memcpy(out, *p, n);
    out[n] = '\0';
    *p += n + ((*p)[n] == ' ');
    return true;
}

static enum err_code parse_mode_and_ms(const char **p, struct store_lock *lock, struct err *e)
{
    char word[FIELD_BYTES];
    if (!take_word(p, word))
        return err_set(e, ERR_CORRUPT, "a lock begins with its mode");
    if (store_lock_mode_parse(word, &lock->mode, e))
        return e->code;
    bool one_spelling = take_word(p, word) && word[0] != '-' && (word[0] != '0' || !word[1]);
    if (!one_spelling || parse_i64(word, &lock->retain_until_ms, e))
        return err_set(e, ERR_CORRUPT, "a lock's time must be a count of milliseconds");
    return OK;
}

void dir_bucket_format(const struct dir_bucket *b, struct buf *out)
{
    buf_addf(out, "sovrun-dir-bucket 1\nlocation %s\nlockable %s\ndefault_lock %s %" PRId64 "\n", b->location,
             b->lockable ? "true" : "false", store_lock_names[b->default_lock.mode],
             b->default_lock.retain_until_ms);
}

enum err_code dir_bucket_parse(const char *text, struct dir_bucket *out, struct err *e)
{
    struct dir_bucket b = { .lockable = false };
    char version[FIELD_BYTES], location[FIELD_BYTES], lockable[FIELD_BYTES], lock[FIELD_BYTES];
    const char *p = text, *rest = lock;
    if (!take_line(&p, "sovrun-dir-bucket", version) || strcmp(version, "1") != 0)
        return err_set(e, ERR_CORRUPT, "does not begin with 'sovrun-dir-bucket 1'");
    if (!take_line(&p, "location", location) || !take_line(&p, "lockable", lockable) ||
        !take_line(&p, "default_lock", lock) || *p)
        return err_set(e, ERR_CORRUPT, "expected the lines location, lockable and default_lock, and no more");
    if (strlen(location) >= sizeof(b.location))
        return err_set(e, ERR_CORRUPT, "the location is too long");
    memcpy(b.location, location, strlen(location) + 1);
    if (parse_bool(lockable, &b.lockable, e))
        return err_set(e, ERR_CORRUPT, "lockable must be true or false");
    if (parse_mode_and_ms(&rest, &b.default_lock, e))
        return err_wrap(e, "default_lock");
    if (*rest || (b.default_lock.mode != STORE_LOCK_NONE && !b.lockable))
        return err_set(e, ERR_CORRUPT, "default_lock does not fit the bucket");
    *out = b;
    return OK;
}

void dir_lock_format(const struct store_lock *lock, struct buf *out)
{
    buf_addf(out, "%s %" PRId64 " %d\n", store_lock_names[lock->mode], lock->retain_until_ms,
             lock->legal_hold);
}

enum err_code dir_lock_parse(const char *text, struct store_lock *out, struct err *e)
{
    struct store_lock lock = { .mode = STORE_LOCK_NONE };
    const char *p = text;
    if (parse_mode_and_ms(&p, &lock, e))
        return e->code;
    if (strcmp(p, "0\n") != 0 && strcmp(p, "1\n") != 0)
        return err_set(e, ERR_CORRUPT, "a lock ends with 0 or 1 for its legal hold");
    lock.legal_hold = p[0] == '1';
    *out = lock;
    return OK;
}
