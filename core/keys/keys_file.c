#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/keys/keys_ops.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

/*
 * DIR/NAME.vN.key holds the KEK as 64 hex digits. Wrapped: IV || AES-256-GCM of the data key || tag, the
 * associated data being keys_bound_bytes(). A KEK is destroyed by removing its file; the others stay.
 */

enum {
    KEK_HEX_BYTES = 2 * AEAD_KEY_BYTES,
    KEK_FILE_BYTES_MAX = KEK_HEX_BYTES + 1, /* a newline */
    FOLDER_ENTRIES_MAX = 100000,
    WRAPPED_RAW_BYTES = AEAD_IV_BYTES + DATA_KEY_BYTES + AEAD_TAG_BYTES,
};

struct keys_file {
    struct keys keys;
    char *dir;
};

static void folder_closep(DIR **d)
{
    if (*d)
        closedir(*d);
}

static const char *folder_of(const struct keys *k)
{
    return ((const struct keys_file *)k)->dir;
}

static char *kek_path(const struct keys *k, const char *name, int64_t version) /* the caller frees */
{
    return mem_printf("%s/%s.v%" PRId64 ".key", folder_of(k), name, version);
}

static enum err_code file_open(const struct keys_config *config, struct keys **out, struct err *e)
{
    if (strnlen(config->dir, sizeof(config->dir)) == sizeof(config->dir) || !config->dir[0])
        return err_set(e, ERR_USAGE, "the folder of the keys is not given");
    struct keys_file *f = mem_new(sizeof(*f));
    f->dir = mem_text(config->dir);
    *out = &f->keys;
    return OK;
}

static void file_close(struct keys *k)
{
    struct keys_file *f = (struct keys_file *)k;
    free(f->dir);
    free(f);
}

/* Who may write to the folder could put a key of his own there. */
static enum err_code check_folder(const struct keys *k, struct err *e)
{
    struct stat st;
    if (stat(folder_of(k), &st) != 0)
        return err_errno(e, "folder of the keys '%s'", folder_of(k));
    if (st.st_uid != geteuid() && st.st_uid != 0)
        return err_set(e, ERR_DENIED, "folder of the keys '%s' belongs to another user (uid %u)",
                       folder_of(k), (unsigned)st.st_uid);
    if (st.st_mode & (S_IWGRP | S_IWOTH))
        return err_set(e, ERR_DENIED, "other users may write to the folder of the keys '%s'; use chmod 700",
                       folder_of(k));
    return OK;
}

/* The version in the file name "NAME.vN.key"; 0 where it is another name. */
static int64_t version_of(const char *file, const char *name)
{
    char digits[24];
    struct err e = ERR_INIT;
    int64_t version;
    size_t name_n = strlen(name);
    if (strncmp(file, name, name_n) != 0 || !text_starts(file + name_n, ".v") || !text_ends(file, ".key"))
        return 0;
    const char *from = file + name_n + 2;
    size_t n = strlen(from);
    if (n < 5 || n - 4 >= sizeof(digits) || from[0] == '0') /* "N.key" */
        return 0;
    memcpy(digits, from, n - 4);
    digits[n - 4] = '\0';
    return parse_i64(digits, &version, &e) == OK && version > 0 ? version : 0;
}

static enum err_code file_newest(struct keys *k, const char *name, int64_t *out_version, struct err *e)
{
    int64_t newest = 0;
    if (check_folder(k, e))
        return e->code;
    CLEANUP(folder_closep) DIR *d = opendir(folder_of(k));
    if (!d)
        return err_errno(e, "folder of the keys '%s'", folder_of(k));
    for (int seen = 0;; seen++) {
        errno = 0;
        const struct dirent *entry = readdir(d);
        if (!entry && errno)
            return err_errno(e, "list '%s'", folder_of(k));
        if (!entry)
            break;
        if (seen == FOLDER_ENTRIES_MAX)
            return err_set(e, ERR_LIMIT, "'%s' has more than %d files", folder_of(k), FOLDER_ENTRIES_MAX);
        newest = MAX(newest, version_of(entry->d_name, name));
    }
    if (newest == 0)
        return err_set(e, ERR_NOT_FOUND, "there is no key '%s' in '%s'", name, folder_of(k));
    *out_version = newest;
    return OK;
}

static enum err_code file_create_kek(struct keys *k, const char *name, struct err *e)
{
    int64_t newest = 0;
    if (dir_make(folder_of(k), 0700, e))
        return e->code;
    if (file_newest(k, name, &newest, e) && e->code != ERR_NOT_FOUND)
        return e->code;
    err_clear(e);
    if (newest == INT64_MAX)
        return err_set(e, ERR_LIMIT, "there is no version behind %" PRId64, newest);
    CLEANUP(freep) char *path = kek_path(k, name, newest + 1);
    CLEANUP(secret_freep) struct secret *kek = secret_random(AEAD_KEY_BYTES);
    char text[KEK_FILE_BYTES_MAX + 1];
    hex_encode(secret_bytes(kek), secret_len(kek), text);
    text[KEK_HEX_BYTES] = '\n';
    enum err_code code = file_create(path, text, KEK_FILE_BYTES_MAX, 0600, e);
    explicit_bzero(text, sizeof(text));
    return code;
}

static enum err_code kek_read(struct keys *k, const char *name, int64_t version, struct secret **out,
                              struct err *e)
{
    CLEANUP(freep) char *path = kek_path(k, name, version);
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(KEK_FILE_BYTES_MAX);
    uint8_t bytes[AEAD_KEY_BYTES];
    if (check_folder(k, e) || file_read_private(path, &text, e))
        return e->code;
    if (text.len == KEK_FILE_BYTES_MAX && text.data[KEK_HEX_BYTES] == '\n')
        text.data[KEK_HEX_BYTES] = '\0';
    if (text.len < KEK_HEX_BYTES || hex_decode(buf_text(&text), bytes, sizeof(bytes), e))
        return err_set(e, ERR_CORRUPT, "'%s' does not hold %d hex digits", path, KEK_HEX_BYTES);
    *out = secret_new(bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
    return OK;
}

/* The KEK ready for use, and what the wrapped key is bound to. */
static enum err_code prepare(struct keys *k, const char *name, int64_t version,
                             const struct keys_context *context, struct aead **out, struct buf *bound,
                             struct err *e)
{
    CLEANUP(secret_freep) struct secret *kek = NULL;
    keys_bound_bytes(k->ops->name, name, version, context, bound);
    if (buf_check(bound, "key context", e) || kek_read(k, name, version, &kek, e))
        return e->code;
    *out = aead_new(secret_bytes(kek));
    return OK;
}

static enum err_code file_wrap(struct keys *k, const char *name, int64_t version,
                               const struct keys_context *context, const struct secret *data_key,
                               struct buf *out, struct err *e)
{
    CLEANUP(aead_freep) struct aead *aead = NULL;
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    uint8_t raw[WRAPPED_RAW_BYTES];
    uint8_t *cipher = raw + AEAD_IV_BYTES;
    invariant(secret_len(data_key) == DATA_KEY_BYTES);
    if (prepare(k, name, version, context, &aead, &bound, e))
        return e->code;
    random_bytes(raw, AEAD_IV_BYTES);
    aead_seal(aead, raw, bound.data, bound.len, secret_bytes(data_key), DATA_KEY_BYTES, cipher,
              cipher + DATA_KEY_BYTES);
    buf_add(out, raw, sizeof(raw));
    return buf_check(out, "wrapped key", e);
}

static enum err_code file_unwrap(struct keys *k, const char *name, int64_t version,
                                 const struct keys_context *context, const void *wrapped, size_t n,
                                 struct secret **out_key, struct err *e)
{
    CLEANUP(aead_freep) struct aead *aead = NULL;
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    uint8_t plain[DATA_KEY_BYTES];
    const uint8_t *iv = wrapped;
    if (n != WRAPPED_RAW_BYTES)
        return err_set(e, ERR_CORRUPT, "a wrapped key has %d bytes, not %zu", WRAPPED_RAW_BYTES, n);
    if (prepare(k, name, version, context, &aead, &bound, e))
        return e->code;
    const uint8_t *cipher = iv + AEAD_IV_BYTES;
    if (aead_open(aead, iv, bound.data, bound.len, cipher, DATA_KEY_BYTES, cipher + DATA_KEY_BYTES, plain, e))
        return err_set(e, ERR_CORRUPT, "another context, another key, or altered");
    *out_key = secret_new(plain, sizeof(plain));
    explicit_bzero(plain, sizeof(plain));
    return OK;
}

const struct keys_ops keys_file_ops = {
    .name = "file",
    .is_kms = false,
    .open = file_open,
    .close = file_close,
    .create = file_create_kek,
    .newest = file_newest,
    .wrap = file_wrap,
    .unwrap = file_unwrap,
};
