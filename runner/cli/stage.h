/*
 * stage.h - a plain CSV file becomes a dataset in the store: shards, and a manifest that names them.
 *
 * The file is read twice, as a stream: first to check every record, count them, hash the bytes and tell
 * numbers from categories; then to cut it. A file that changed in between is refused. Records keep their
 * order and their bytes; each shard starts with the header line and is a CSV file of its own. Shards are put
 * first, the manifest last: what has no manifest does not exist. The manifest remembers the file's SHA-256
 * (in `source`), so staging the same content again does nothing.
 *
 * A column is numeric where every value that is given is a number (and at least one is), else a category;
 * what counts as not given, and single columns, can be said otherwise.
 */
#ifndef RUNNER_CLI_STAGE_H
#define RUNNER_CLI_STAGE_H

#include "core/job/dataset.h"
#include "core/policy/policy.h"
#include "runner/cli/options.h"
#include "runner/cli/progress.h"

enum { STAGE_SHARDS_DEFAULT = 8, STAGE_RECORD_BYTES_MAX = 16 << 20, STAGE_MISSING_MAX = 32 };

struct stage_options {
    enum data_class data_class;
    const char *name, *owner, *basis;       /* name "": the file's */
    int64_t shards;                         /* 0: the default, or by shard_records */
    int64_t shard_records;                  /* at most so many in a shard; 0: not given */
    const char *missing[STAGE_MISSING_MAX]; /* what counts as not given, beside "" and "?" */
    size_t missing_count;
    const struct opt_list *columns; /* "NAME=category", "NAME=numeric"; may be NULL */
    struct progress *progress;      /* may be NULL */
};

/* What the first reading tells. */
struct csv_facts {
    struct dataset_column *columns; /* owned */
    size_t column_count;
    uint64_t records, bytes;
    char sha256[65]; /* of the file's bytes */
};
void csv_facts_done(struct csv_facts *f);
/* ERR_USAGE: "data.csv:17: 19 fields where the header has 21". */
enum err_code stage_survey(const char *path, const struct stage_options *o, struct csv_facts *out,
                           struct err *e);

struct stage_result {
    bool already; /* the same content was there, in the same cut */
    uint64_t records, bytes;
    size_t shards;
    char digest[65]; /* of the manifest */
};
/* What was surveyed goes to `prefix` in `bucket`, which `store` holds. ERR_CONFLICT: the file has changed
 * since. */
enum err_code stage_file(const char *path, const struct csv_facts *facts, struct store *store,
                         const char *bucket, const char *prefix, const struct stage_options *o,
                         struct stage_result *out, struct err *e);

/* May this cluster hold it? ERR_DENIED names the rule. */
enum err_code stage_check_policy(const struct policy *policy, const char *bucket, enum data_class data_class,
                                 struct err *e);

/* Called for each shard that is not as the manifest says. */
typedef void stage_bad_fn(void *context, const struct dataset_shard *shard, const char *why);
/* Reads every shard again. An error only where the store is away; what is wrong is told to `bad` and counted.
 */
enum err_code stage_verify(struct store *store, const struct dataset *d, struct progress *progress,
                           stage_bad_fn *bad, void *context, size_t *out_bad, struct err *e);

/* For a job's file://: "staged/STEM-0123456789ab" by the file's name and content; what `o` changes in its
 * reading is part of it. */
enum err_code stage_prefix(const char *path, const struct csv_facts *facts, const struct stage_options *o,
                           char out[STORE_KEY_BYTES], struct err *e);

/* Records of shard i when n records are cut into `shards`: the first ones have one more where it does not
 * come out even. Pure. */
uint64_t stage_cut(uint64_t records, uint64_t shards, uint64_t i);
uint64_t stage_shard_count(uint64_t records, const struct stage_options *o);

#endif
