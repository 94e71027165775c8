/*
 * stage.h - plain data becomes a dataset in the store: shards, and a manifest that names them.
 *
 * The source is read twice, as a stream. First to check every record, count them, hash the bytes, tell
 * numbers from categories and look for personal data; nothing has left by then, and a class lower than what
 * was found is refused. Then to cut it (cut.h says where) and send what is new. A source that changed in
 * between is refused. Records keep their order and their bytes.
 *
 * One thread reads, hashes and cuts; `parallel` others scan, then compress and send, each with a store handle
 * of its own. Shards that wait or travel weigh at most STAGE_FLIGHT_BYTES together (or one, where it alone is
 * larger), and one more is being cut: that is the memory it takes, and packing adds a copy of each. The first
 * error ends it.
 *
 * A shard's key carries its content: PREFIX/shards/DIGITS.csv, the first 32 digits of the SHA-256 of what it
 * unpacks to (a second shard of the same content: DIGITS-1.csv). So nothing is ever overwritten with other
 * content, and what is there need not travel: a shard of the previous manifest, or one that an interrupted
 * staging left behind. The store is asked by HEAD before it is believed, its length must be right. (Its bytes
 * are read only where `reread` asks for it: so what `data verify` found bad is sent again.) Shards first, the
 * manifest last: what has no manifest does not exist.
 *
 * The class rule (scan.h says what counts as found): e-mail addresses, IBANs, payment cards, phone numbers
 * and national ids need class personal; birth dates pseudonymized or personal; VAT numbers anything but
 * public. Token files are not scanned. A class below that is ERR_DENIED unless overridden; who did and why
 * stands in the manifest and in the ledger.
 *
 * A column is numeric where every value that is given is a number (and at least one is), else a category;
 * what counts as not given, and single columns, can be said otherwise.
 *
 * With a tokenizer (stage_tokens.h), what is read is text and what is stored are its tokens. The scan looks
 * at the text, before. Shards are cut by content between lines, so a changed line sends the shards around it
 * alone. Where equal shards are asked for, the tokens are counted by a reading in between; as many threads
 * again as scan and send make them. The tokenizer's files are put behind the shards and before the manifest.
 */
#ifndef RUNNER_CLI_STAGE_H
#define RUNNER_CLI_STAGE_H

#include "core/job/dataset.h"
#include "core/policy/policy.h"
#include "runner/cli/cut.h"
#include "runner/cli/options.h"
#include "runner/cli/progress.h"
#include "runner/cli/records.h"
#include "runner/cli/stage_tokenizer.h"

enum {
    STAGE_SHARDS_DEFAULT = 8,
    STAGE_MISSING_MAX = 32,
    STAGE_PARALLEL_DEFAULT = 4,
    STAGE_PARALLEL_MAX = 64,
    STAGE_FLIGHT_BYTES = 256 << 20,
    STAGE_SMALL_BYTES = 64 << 20,         /* a CSV up to it is cut into 8 equal shards */
    STAGE_SHARD_BYTES_DEFAULT = 16 << 20, /* what is larger, text and tokens */
    STAGE_SHARD_BYTES_MIN = 4 << 10,
    STAGE_SHARD_BYTES_MAX = 192 << 20, /* four times it and a record fit into one object */
};

struct stage_options {
    enum data_class data_class;
    const char *name, *owner, *basis;        /* name "": the source's */
    bool owner_given;                        /* then another owner is another dataset */
    enum records_format format;              /* of the source */
    int token_bytes;                         /* 0: as the header says, else 2 */
    const struct stage_tokenizer *tokenizer; /* with text: tokens are stored; NULL: the text is */
    int64_t shards;                          /* equal ones; 0: not given */
    int64_t shard_records, shard_bytes;      /* 0: not given; at most one of the three is */
    enum compression compression;
    const char *missing[STAGE_MISSING_MAX]; /* what counts as not given, beside "" and "?" */
    size_t missing_count;
    const struct opt_list *columns;            /* "NAME=category", "NAME=numeric"; may be NULL */
    size_t parallel;                           /* 0: the default */
    bool dry_run;                              /* ask the store, send nothing */
    bool reread;                               /* believe what is there by its hash, not by its length */
    const char *override_by, *override_reason; /* NULL: none */
    struct progress *progress;                 /* may be NULL */
};

/* What the first reading tells. */
struct stage_facts {
    enum records_format format; /* of what is stored */
    int token_bytes;
    struct dataset_column *columns; /* owned; csv only */
    size_t column_count;
    struct dataset_finding *findings; /* owned */
    size_t finding_count;
    enum dataset_scan scan;
    enum data_class class_needed;
    uint64_t records; /* with a tokenizer 0, not known, unless equal shards are asked for */
    uint64_t bytes;   /* of the source */
    char sha256[65];  /* of the source's bytes */
};
void stage_facts_done(struct stage_facts *f);
/* ERR_USAGE: "data.csv:17: 19 fields where the header has 21". */
enum err_code stage_survey(const struct source *source, const struct stage_options *o,
                           struct stage_facts *out, struct err *e);
/* ERR_DENIED: "classed as public, but 900 values of column 'iban' are IBANs: …". */
enum err_code stage_check_class(const struct stage_facts *f, enum data_class data_class, struct err *e);

/* Where it goes. `open` is called in each thread that talks to the store; the handle is closed there. */
struct stage_target {
    enum err_code (*open)(void *context, struct store **out, struct err *e);
    void *context;
    const char *bucket, *prefix;
};
struct stage_result {
    bool already; /* the same content was there, in the same cut, under the same words */
    uint64_t records, bytes;
    uint64_t stored_bytes, sent_bytes; /* of shards; with dry_run: what would be sent */
    size_t shards, sent;
    char digest[65]; /* of the manifest; "" where none is there */
};
/* What was surveyed goes there. ERR_CONFLICT: the source has changed since. */
enum err_code stage_send(const struct source *source, const struct stage_facts *facts,
                         const struct stage_target *target, const struct stage_options *o,
                         struct stage_result *out, struct err *e);

/* May this cluster hold it? ERR_DENIED names the rule. */
enum err_code stage_check_policy(const struct policy *policy, const char *bucket, enum data_class data_class,
                                 struct err *e);

/* Called for each shard that is not as the manifest says; by one thread at a time. */
typedef void stage_bad_fn(void *context, const struct dataset_shard *shard, const char *why);
/* Reads every shard again. An error only where the store is away; what is wrong is told to `bad` and counted.
 */
enum err_code stage_verify(const struct stage_target *target, const struct dataset *d, size_t parallel,
                           struct progress *progress, stage_bad_fn *bad, void *context, size_t *out_bad,
                           struct err *e);

/* For a job's file://: "staged/STEM-0123456789ab" by the source's name and content; what `o` changes in its
 * reading is part of it. */
enum err_code stage_prefix(const char *name, const struct stage_facts *facts, const struct stage_options *o,
                           char out[STORE_KEY_BYTES], struct err *e);

/* Pure. */
struct cut_plan stage_plan(const struct stage_facts *facts, const struct stage_options *o);

#endif
