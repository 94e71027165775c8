#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/crypto/crypto.h"
#include "core/keys/keys_ops.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

static enum err_code file_open(const struct keys_config *config, const struct keys_secrets *secrets,
                               struct keys **out, struct err *e)
{
    (void)secrets;
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

/* "NAME.vN.key" without its ending; false: another file. */
static bool label_of(const char *file, char out_name[KEYS_NAME_BYTES], int64_t *out_version)
{
    static const char ending[] = ".key";
    char label[KEYS_NAME_BYTES + 24];
    size_t n = strlen(file);
    if (!text_ends(file, ending) || n - strlen(ending) >= sizeof(label))
        return false;
    memcpy(label, file, n - strlen(ending));
    label[n - strlen(ending)] = '\0';
    return keys_label_parse(label, out_name, out_version);
}

static enum err_code file_list(struct keys *k, keys_each_fn *each, void *context, struct err *e)
{
    char name[KEYS_NAME_BYTES];
    int64_t version;
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
            return OK;
        if (seen == FOLDER_ENTRIES_MAX)
            return err_set(e, ERR_LIMIT, "'%s' has more than %d files", folder_of(k), FOLDER_ENTRIES_MAX);
        if (label_of(entry->d_name, name, &version) && each(context, name, version, e))
            return e->code;
    }
}

static enum err_code file_create_kek(struct keys *k, const char *name, struct err *e)
{
    int64_t newest = 0;
    if (dir_make(folder_of(k), 0700, e))
        return e->code;
    if (keys_newest(k, name, &newest, e) && e->code != ERR_NOT_FOUND)
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

/* Overwritten before it is removed: on a disk that keeps old blocks that is a try and no promise, which is
 * one reason why this provider is for development. */
static enum err_code file_destroy(struct keys *k, const char *name, int64_t version, struct err *e)
{
    CLEANUP(freep) char *path = kek_path(k, name, version);
    char zeros[KEK_FILE_BYTES_MAX] = { 0 };
    if (check_folder(k, e))
        return e->code;
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "key file '%s'", path);
    if (file_write_all(fd, zeros, sizeof(zeros), e))
        return err_wrap(e, "overwrite '%s'", path);
    if (fsync(fd) != 0)
        return err_errno(e, "overwrite '%s'", path);
    if (file_remove(path, e) || file_sync_parent(path, e))
        return e->code;
    return OK;
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
static enum err_code prepare(struct keys *k, const struct keys_use *use, struct aead **out, struct buf *bound,
                             struct err *e)
{
    CLEANUP(secret_freep) struct secret *kek = NULL;
    keys_bound_bytes(k->ops->name, use, bound);
    if (buf_check(bound, "key context", e) || kek_read(k, use->name, use->version, &kek, e))
        return e->code;
    *out = aead_new(secret_bytes(kek));
    return OK;
}

static enum err_code wrap(struct keys *k, const struct keys_use *use, const struct secret *data_key,
                          struct buf *out, struct err *e)
{
    CLEANUP(aead_freep) struct aead *aead = NULL;
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    uint8_t raw[WRAPPED_RAW_BYTES];
    uint8_t *cipher = raw + AEAD_IV_BYTES;
    invariant(secret_len(data_key) == DATA_KEY_BYTES);
    if (prepare(k, use, &aead, &bound, e))
        return e->code;
    random_bytes(raw, AEAD_IV_BYTES);
    aead_seal(aead, raw, bound.data, bound.len, secret_bytes(data_key), DATA_KEY_BYTES, cipher,
              cipher + DATA_KEY_BYTES);
    buf_add(out, raw, sizeof(raw));
    return buf_check(out, "wrapped key", e);
}

static enum err_code file_generate(struct keys *k, const struct keys_use *use, struct secret **out_key,
                                   struct buf *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *data_key = secret_random(DATA_KEY_BYTES);
    if (wrap(k, use, data_key, out, e))
        return e->code;
    *out_key = TAKE(data_key);
    return OK;
}

static enum err_code file_unwrap(struct keys *k, const struct keys_use *use, const void *wrapped, size_t n,
                                 struct secret **out_key, struct err *e)
{
    CLEANUP(aead_freep) struct aead *aead = NULL;
    CLEANUP(buf_done) struct buf bound = BUF_INIT(KEYS_BOUND_BYTES_MAX);
    uint8_t plain[DATA_KEY_BYTES];
    const uint8_t *iv = wrapped;
    if (n != WRAPPED_RAW_BYTES)
        return err_set(e, ERR_CORRUPT, "a wrapped key has %d bytes, not %zu", WRAPPED_RAW_BYTES, n);
    if (prepare(k, use, &aead, &bound, e))
        return e->code;
    const uint8_t *cipher = iv + AEAD_IV_BYTES;
    if (aead_open(aead, iv, bound.data, bound.len, cipher, DATA_KEY_BYTES, cipher + DATA_KEY_BYTES, plain, e))
        return err_set(e, ERR_CORRUPT, "another context, another key, or altered");
    *out_key = secret_new(plain, sizeof(plain));
    explicit_bzero(plain, sizeof(plain));
    return OK;
}

static enum err_code file_rewrap(struct keys *k, const struct keys_use *from, const void *wrapped, size_t n,
                                 const struct keys_use *to, struct buf *out, struct err *e)
{
    CLEANUP(secret_freep) struct secret *data_key = NULL;
    if (file_unwrap(k, from, wrapped, n, &data_key, e) || wrap(k, to, data_key, out, e))
        return e->code;
    return OK;
}

const struct keys_ops keys_file_ops = {
    .name = "file",
    .is_kms = false,
    .open = file_open,
    .close = file_close,
    .create = file_create_kek,
    .list = file_list,
    .destroy = file_destroy,
    .generate = file_generate,
    .unwrap = file_unwrap,
    .rewrap = file_rewrap,
};
