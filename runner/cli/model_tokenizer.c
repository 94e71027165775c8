#include "runner/cli/model_tokenizer.h"

#include "core/job/dataset.h"

#include <string.h>

enum { FILES = 2 };

/* Borrowed from the metadata's tokenizer. */
static enum err_code named_files(const json_t *tokenizer, const char *out[FILES], struct err *e)
{
    json_t *files;

    if (json_get_array(tokenizer, "the model's tokenizer", "files", &files, e))
        return e->code;
    for (size_t i = 0; i < FILES; i++) {
        out[i] = json_string_value(json_array_get(files, i));
        if (!out[i])
            return err_set(e, ERR_CORRUPT, "the model's tokenizer names no %s",
                           i ? DATASET_MERGES_NAME : DATASET_VOCAB_NAME);
    }
    return OK;
}

static enum err_code fetch(struct store *store, const struct dataset_file *f, const char *sha256,
                           struct buf *out, struct err *e)
{
    char is[SHA256_HEX_BYTES];

    invariant(sha256 != NULL); /* named_files() */
    if (strcmp(f->sha256, sha256) != 0)
        return err_set(
            e, ERR_NOT_FOUND,
            "%s is not the file that the model was trained with (sha256 %s): name the dataset that "
            "has it (--data s3://BUCKET/PREFIX)",
            f->key, sha256);
    if (store_get(store, f->key, f->version, 0, UINT64_MAX, out, NULL, e))
        return e->code;
    sha256_hex(out->data, out->len, is);
    if (strcmp(is, sha256) != 0)
        return err_set(e, ERR_CORRUPT, "%s is not as the dataset's manifest says", f->key);
    return OK;
}

static enum err_code open_bpe(const struct cluster *c, const json_t *tokenizer, const char *data_uri,
                              struct tokenizer **out, struct err *e)
{
    CLEANUP(store_closep) struct store *store = NULL;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done)
    struct buf vocab = BUF_INIT(TOKEN_FILE_BYTES_MAX), merges = BUF_INIT(TOKEN_FILE_BYTES_MAX);
    char bucket[STORE_BUCKET_BYTES], prefix[STORE_KEY_BYTES], digest[SHA256_HEX_BYTES];
    const char *sha256[FILES] = { NULL };

    if (!data_uri[0])
        return err_set(e, ERR_USAGE,
                       "its tokens are read by files beside its dataset: name that (--data "
                       "s3://BUCKET/PREFIX)");
    if (named_files(tokenizer, sha256, e) || store_uri_parse(data_uri, bucket, prefix, e) ||
        cluster_open_store(c, bucket, &store, e) || dataset_load(store, prefix, &d, digest, e))
        return e->code;
    if (d.tokenizer.kind != TOKENIZER_BPE)
        return err_set(e, ERR_NOT_FOUND,
                       "%s has no tokenizer's files: name the dataset that the model was trained on (--data "
                       "s3://BUCKET/PREFIX)",
                       data_uri);
    if (fetch(store, &d.tokenizer.vocab, sha256[0], &vocab, e) ||
        fetch(store, &d.tokenizer.merges, sha256[1], &merges, e))
        return e->code;
    const struct token_file files[FILES] = { { DATASET_VOCAB_NAME, vocab.data, vocab.len },
                                             { DATASET_MERGES_NAME, merges.data, merges.len } };
    return tokenizer_bpe(&files[0], &files[1], out, e);
}

enum err_code model_tokenizer_open(const struct cluster *c, const json_t *metadata, const char *data_uri,
                                   struct tokenizer **out, struct err *e)
{
    CLEANUP(json_donep) json_t *tokenizer = NULL;
    const char *format = json_text_or(metadata, "format", ""),
               *text = json_text_or(metadata, "tokenizer", "");

    if (strcmp(format, "sovrun.gpt.v1") != 0)
        return err_set(e, ERR_USAGE, "it is a model of format '%.60s': text comes from a gpt alone", format);
    if (json_parse(text, strlen(text), "the model's tokenizer", &tokenizer, e))
        return e->code;
    const char *name = json_text_or(tokenizer, "name", "");
    if (strcmp(name, tokenizer_kind_names[TOKENIZER_BPE]) == 0)
        return open_bpe(c, tokenizer, data_uri, out, e) ? err_wrap(e, "the model's tokenizer") : OK;
    if (strcmp(name, tokenizer_kind_names[TOKENIZER_BYTES]) != 0)
        return err_set(e, ERR_USAGE,
                       "its dataset did not say how text became tokens (tokenizer '%.40s'), so what it says "
                       "cannot be read",
                       name);
    *out = tokenizer_bytes();
    return OK;
}
