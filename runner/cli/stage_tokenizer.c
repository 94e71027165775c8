#include "runner/cli/stage_tokenizer.h"

#include "base/file.h"
#include "core/crypto/crypto.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void stage_tokenizer_done(struct stage_tokenizer *t)
{
    tokenizer_free(TAKE(t->is));
    buf_done(&t->vocab);
    buf_done(&t->merges);
}

/* The user gave the files: what is wrong with them is theirs to correct. */
static enum err_code open_bpe(struct stage_tokenizer *t, const char *vocab_path, const char *merges_path,
                              struct err *e)
{
    t->vocab.max = t->merges.max = TOKEN_FILE_BYTES_MAX;
    if (file_read(vocab_path, &t->vocab, e))
        return err_wrap(e, "--vocab");
    if (file_read(merges_path, &t->merges, e))
        return err_wrap(e, "--merges");
    struct token_file vocab = { vocab_path, t->vocab.data, t->vocab.len };
    struct token_file merges = { merges_path, t->merges.data, t->merges.len };
    if (tokenizer_bpe(&vocab, &merges, &t->is, e)) {
        e->code = ERR_USAGE;
        return e->code;
    }
    if (t->merges.len == 0)
        return err_set(e, ERR_USAGE, "--merges '%s': is empty; --tokens bytes needs no merges", merges_path);
    if (!tokenizer_end(t->is, &t->end))
        return err_set(e, ERR_USAGE,
                       "--vocab '%s': it has no token '" TOKEN_END_TEXT
                       "', which ends each document: add it, "
                       "with the number %" PRIu32,
                       vocab_path, tokenizer_size(t->is));
    return OK;
}

enum err_code stage_tokenizer_open(enum tokenizer_kind kind, const char *vocab_path, const char *merges_path,
                                   struct stage_tokenizer *out, struct err *e)
{
    CLEANUP(stage_tokenizer_done) struct stage_tokenizer t = { .kind = kind };

    invariant(kind != TOKENIZER_NONE && (kind == TOKENIZER_BPE) == (vocab_path && merges_path));
    if (kind == TOKENIZER_BYTES) {
        t.is = tokenizer_bytes();
        t.end = TOKEN_BYTES_END;
    } else if (open_bpe(&t, vocab_path, merges_path, e))
        return e->code;
    *out = t;
    t = (struct stage_tokenizer){ .is = NULL };
    return OK;
}

int stage_tokenizer_bytes(const struct stage_tokenizer *t)
{
    return tokenizer_size(t->is) <= 65536 ? 2 : 4;
}

/* ---- the files in the store ---- */

static enum err_code file_of(const char *prefix, const char *name, const struct buf *bytes,
                             struct dataset_file *out, struct err *e)
{
    if (snprintf(out->key, sizeof(out->key), "%s/%s", prefix, name) >= (int)sizeof(out->key))
        return err_set(e, ERR_USAGE, "the prefix is too long for an object's key");
    out->bytes = bytes->len;
    sha256_hex(bytes->data, bytes->len, out->sha256);
    return OK;
}

/* What lies there is believed by its bytes: they are few. */
static enum err_code look_there(struct store *store, const struct buf *bytes, struct dataset_file *io,
                                bool *out_is, struct err *e)
{
    CLEANUP(buf_done) struct buf there = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    struct store_info info = { .bytes = 0 };

    *out_is = false;
    enum err_code code = store_get(store, io->key, NULL, 0, UINT64_MAX, &there, &info, e);
    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_LIMIT) {
        err_clear(e);
        return OK;
    }
    if (code)
        return err_wrap(e, "get %s", io->key);
    *out_is = there.len == bytes->len && memcmp(there.data, bytes->data, bytes->len) == 0;
    if (*out_is)
        memcpy(io->version, info.version, sizeof(io->version));
    return OK;
}

static enum err_code send_file(struct store *store, const char *type, const struct buf *bytes, bool dry_run,
                               struct dataset_file *io, struct err *e)
{
    struct store_put_options options = { .content_type = type };
    struct store_info info = { .bytes = 0 };
    bool there;

    if (look_there(store, bytes, io, &there, e))
        return e->code;
    if (there || dry_run)
        return OK;
    if (store_put(store, io->key, bytes->data, bytes->len, &options, &info, e))
        return err_wrap(e, "put %s", io->key);
    memcpy(io->version, info.version, sizeof(io->version));
    return OK;
}

enum err_code stage_tokenizer_send(const struct stage_tokenizer *t, struct store *store, const char *prefix,
                                   bool dry_run, struct dataset_tokenizer *out, struct err *e)
{
    struct dataset_tokenizer made = { .kind = t->kind, .vocabulary = tokenizer_size(t->is), .end = t->end };

    if (t->kind == TOKENIZER_BPE &&
        (file_of(prefix, DATASET_VOCAB_NAME, &t->vocab, &made.vocab, e) ||
         file_of(prefix, DATASET_MERGES_NAME, &t->merges, &made.merges, e) ||
         send_file(store, "application/json", &t->vocab, dry_run, &made.vocab, e) ||
         send_file(store, "text/plain; charset=utf-8", &t->merges, dry_run, &made.merges, e)))
        return e->code;
    *out = made;
    return OK;
}

enum err_code stage_tokenizer_verify(struct store *store, const struct dataset_file *f, struct err *why,
                                     struct err *e)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(f->bytes);
    char sha256[SHA256_HEX_BYTES];
    enum err_code code = store_get(store, f->key, f->version, 0, UINT64_MAX, &bytes, NULL, e);

    if (code == ERR_NOT_FOUND || code == ERR_CORRUPT || code == ERR_LIMIT) {
        *why = *e;
        err_clear(e);
        return OK;
    }
    if (code)
        return err_wrap(e, "%s", f->key);
    sha256_hex(bytes.data, bytes.len, sha256);
    if (strcmp(sha256, f->sha256) != 0)
        IGNORE(err_set(why, ERR_CORRUPT, "its bytes were changed: its SHA-256 is not the manifest's"));
    return OK;
}
