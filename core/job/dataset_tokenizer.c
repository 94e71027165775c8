#include "core/job/dataset_tokenizer.h"

#include "core/job/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WHAT "dataset manifest: tokenizer"
enum { FILES = 2, VOCABULARY_MAX = 1 << 20, BYTES_END = 256 };

const char *const tokenizer_kind_names[] = { "none", "bytes", "bpe", NULL };

static const struct record_member members[] = {
    { "name", RECORD_CHOICE, offsetof(struct dataset_tokenizer, kind), sizeof(int), 0, 0,
      tokenizer_kind_names },
    RECORD_INT_ROW(dataset_tokenizer, vocabulary, 0, VOCABULARY_MAX),
    RECORD_INT_ROW(dataset_tokenizer, end, 0, VOCABULARY_MAX - 1),
    RECORD_OTHER_ROW("files"),
    RECORD_END,
};

static const struct record_member file_members[] = {
    RECORD_TEXT_ROW(dataset_file, key, 1),
    RECORD_TEXT_ROW(dataset_file, version, 1),
    RECORD_HEX_ROW(dataset_file, sha256, 1),
    RECORD_UINT_ROW(dataset_file, bytes, 1, STORE_OBJECT_BYTES_MAX),
    RECORD_END,
};

static const char *const file_names[FILES] = { DATASET_VOCAB_NAME, DATASET_MERGES_NAME };

json_t *dataset_tokenizer_to_json(const struct dataset_tokenizer *t)
{
    const struct dataset_file *const files[FILES] = { &t->vocab, &t->merges };
    json_t *o = record_to_json(members, t), *list = json_array();

    for (size_t i = 0; t->kind == TOKENIZER_BPE && i < FILES; i++)
        invariant(json_array_append_new(list, record_to_json(file_members, files[i])) == 0);
    record_set(o, "files", list);
    return o;
}

enum err_code dataset_tokenizer_from_json(const json_t *manifest, struct dataset_tokenizer *out,
                                          struct err *e)
{
    struct dataset_file *const files[FILES] = { &out->vocab, &out->merges };
    json_t *o, *list;

    if (json_get_object(manifest, "dataset manifest", "tokenizer", &o, e) ||
        record_from_json(o, WHAT, members, out, e) || json_get_array(o, WHAT, "files", &list, e))
        return e->code;
    size_t count = out->kind == TOKENIZER_BPE ? FILES : 0;
    if (json_array_size(list) != count)
        return err_set(e, ERR_CORRUPT, WHAT ": 'files' must have %zu entries, not %zu", count,
                       json_array_size(list));
    for (size_t i = 0; i < count; i++) {
        char what[64];
        snprintf(what, sizeof(what), WHAT ": files[%zu]", i);
        if (record_from_json(json_array_get(list, i), what, file_members, files[i], e))
            return e->code;
    }
    return OK;
}

enum err_code dataset_tokenizer_check(const struct dataset *d, struct err *e)
{
    const struct dataset_tokenizer *t = &d->tokenizer;
    bool fits = t->kind == TOKENIZER_NONE    ? t->vocabulary == 0 && t->end == 0
                : t->kind == TOKENIZER_BYTES ? t->vocabulary == BYTES_END + 1 && t->end == BYTES_END
                                             : t->end < t->vocabulary;
    if (!fits)
        return err_set(e, ERR_CORRUPT,
                       WHAT ": 'vocabulary' %" PRId64 " and 'end' %" PRId64 " do not go with '%s'",
                       t->vocabulary, t->end, tokenizer_kind_names[t->kind]);
    if (t->kind != TOKENIZER_NONE && strcmp(d->format, "tokens") != 0)
        return err_set(e, ERR_CORRUPT, WHAT ": 'name' is '%s', which does not go with format '%s'",
                       tokenizer_kind_names[t->kind], d->format);
    if (t->vocabulary > 65536 && d->token_bytes == 2)
        return err_set(e, ERR_CORRUPT, WHAT ": numbers to %" PRId64 " do not fit 2 bytes", t->vocabulary - 1);
    return OK;
}

enum err_code dataset_tokenizer_check_prefix(const struct dataset_tokenizer *t, const char *prefix,
                                             size_t prefix_n, struct err *e)
{
    const struct dataset_file *const files[FILES] = { &t->vocab, &t->merges };

    for (size_t i = 0; t->kind == TOKENIZER_BPE && i < FILES; i++) {
        const char *key = files[i]->key;
        if (strncmp(key, prefix, prefix_n) != 0 || key[prefix_n] != '/' ||
            strcmp(key + prefix_n + 1, file_names[i]) != 0)
            return err_set(e, ERR_CORRUPT, WHAT ": files[%zu]: '%.200s' must be '%.*s/%s'", i, key,
                           (int)prefix_n, prefix, file_names[i]);
    }
    return OK;
}
