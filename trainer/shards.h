/*
 * shards.h - a dataset's shards as one rank uses them: fetched by version, checked by hash, parsed, kept
 * while there is room.
 *
 * A shard whose bytes are not those of the manifest is ERR_CORRUPT and names the shard: it stops the job,
 * nothing is skipped. What is kept are encoded rows, or tokens; when they exceed the limit, the least
 * recently used shard goes and is fetched again when needed.
 */
#ifndef TRAINER_SHARDS_H
#define TRAINER_SHARDS_H

#include "trainer/encode.h"

#include "core/store/store.h"

struct shards;
/* All borrowed; they must outlive it. `bytes_max`: of what is kept at once; one shard always is. */
struct shards *shards_new(struct store *store, const struct dataset *dataset, const struct spec_data *spec,
                          uint64_t bytes_max);
void shards_free(struct shards *s);
DEFINE_CLEANUP_PTR(struct shards, shards_free)

/* These shards will be read next, in this order (copied): they are fetched several at once and kept, as they
 * lie in the store, until they are read; at most SHARDS_AHEAD of them, or SHARDS_AHEAD_BYTES. */
enum { SHARDS_AHEAD = 8, SHARDS_AHEAD_BYTES = 128 << 20 };
void shards_expect(struct shards *s, const size_t *order, size_t count);

/* Before the encoding is known: the shard as text, for encode_survey(). */
enum err_code shards_read(struct shards *s, size_t shard, struct table *out, struct err *e);
/* From here on rows can be had. Borrowed. */
void shards_set_encoding(struct shards *s, const struct encoding *encoding);

struct shard_rows {
    size_t rows, train_rows; /* the training part are the first train_rows */
    const float *features;   /* (rows, width) */
    const int32_t *labels;   /* (rows) */
};
/* Borrowed until the next call. */
enum err_code shards_get(struct shards *s, size_t shard, struct shard_rows *out, struct err *e);

/* Or, from here on, tokens, each below `vocab`. */
void shards_set_vocabulary(struct shards *s, size_t vocab);
struct shard_tokens {
    size_t count;
    const int32_t *tokens;
};
/* Borrowed until the next call. ERR_CORRUPT: a token that there is not. */
enum err_code shards_tokens(struct shards *s, size_t shard, struct shard_tokens *out, struct err *e);

#endif
