/*
 * dataset.h - what a job trains on: the dataset manifest.
 *
 * A dataset is a prefix in a bucket: PREFIX/manifest.json and the shards it names, each by key, version id,
 * length, record count and SHA-256. Its digest (SHA-256 of the manifest's bytes) stands in the job's record,
 * so that what was trained on can be said to the byte. Formats of a shard, once it is unpacked:
 *   csv     a CSV file of its own: UTF-8, a header line with the schema's names, RFC 4180 quoting
 *   tokens  little-endian numbers of token_bytes bytes each and nothing else; a record is a token
 *   text    UTF-8 lines, each with its end; a record is a line
 * Only csv has columns. With compression zstd the stored object (bytes, sha256) unpacks to plain_bytes bytes
 * with the hash plain_sha256; without, both say the same.
 *
 * The manifest is canonical JSON, version 3:
 *
 *     {"basis","bucket","class","columns":[{"kind","name"}],"compression","created_ms","findings":[{"column",
 *      "count","kind"}],"format","name","override_by","override_reason","owner","scan",
 *      "shards":[{"bytes","key","plain_bytes","plain_sha256","records","sha256","version"}],"source",
 *      "token_bytes","tokenizer":{"end","files":[{"bytes","key","sha256","version"}],"name","vocabulary"},
 *      "version":3}
 *
 * Versions 1, which knew only plain csv and no scan, and 2, which has no tokenizer, are read as well: their
 * members without the new ones.
 *
 * What holds of every manifest that was read: each member is there and no other; columns and keys are unique;
 * keys are valid in the store; hashes are 64 lower-case hex digits; no length or count is zero; all shards
 * together hold at most DATASET_RECORDS_MAX records; an override has both its members or none; a tokenizer
 * has the files of its kind, and its numbers fit token_bytes. dataset_load() adds that no shard and no file
 * of the tokenizer lies outside the prefix.
 */
#ifndef CORE_JOB_DATASET_H
#define CORE_JOB_DATASET_H

#include "core/json/json.h"
#include "core/store/store.h"

enum {
    DATASET_SHARDS_MAX = 65536,
    DATASET_COLUMNS_MAX = 1024,
    DATASET_FINDINGS_MAX = 65536,
    DATASET_NAME_BYTES = 128,
    DATASET_REASON_BYTES = 512,
};
#define DATASET_RECORDS_MAX ((int64_t)1 << 40)
enum data_class { CLASS_PUBLIC, CLASS_INTERNAL, CLASS_PSEUDONYMIZED, CLASS_PERSONAL };
extern const char *const data_class_names[]; /* "public", ..., NULL */
enum column_kind { COLUMN_NUMERIC, COLUMN_CATEGORY };
extern const char *const column_kind_names[];
enum compression { COMPRESSION_NONE, COMPRESSION_ZSTD };
extern const char *const compression_names[]; /* "none", "zstd", NULL */
/* What the scan for personal data looked at; "none": it was not made. */
enum dataset_scan { SCANNED_NONE, SCANNED_COLUMNS, SCANNED_LINES };
extern const char *const dataset_scan_names[];
/* What made tokens of a text (core/token); "none": nothing, or nobody said. */
enum tokenizer_kind { TOKENIZER_NONE, TOKENIZER_BYTES, TOKENIZER_BPE };
extern const char *const tokenizer_kind_names[]; /* "none", "bytes", "bpe", NULL */

struct dataset_column {
    char name[DATASET_NAME_BYTES];
    enum column_kind kind;
};
struct dataset_shard {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES], sha256[65];
    uint64_t bytes, records;
    char plain_sha256[65]; /* both: whoever builds one may leave them out where nothing is compressed */
    uint64_t plain_bytes;
};
/* Values that look like personal data: how many, of what kind, where. Never the values themselves. */
struct dataset_finding {
    char column[DATASET_NAME_BYTES]; /* or "lines 1-4096" */
    char kind[64];
    uint64_t count;
};
struct dataset_file {
    char key[STORE_KEY_BYTES], version[STORE_VERSION_BYTES], sha256[65];
    uint64_t bytes;
};
/* How the tokens were made, so that a model's can be read. */
struct dataset_tokenizer {
    enum tokenizer_kind kind;
    int64_t vocabulary;                /* tokens are 0 to vocabulary - 1; 0 with "none" */
    int64_t end;                       /* the token behind each document */
    struct dataset_file vocab, merges; /* bpe: GPT-2's files, as they were given */
};
struct dataset {
    char name[DATASET_NAME_BYTES], owner[DATASET_NAME_BYTES], basis[DATASET_NAME_BYTES], source[512];
    enum data_class data_class;
    char format[16]; /* "csv", "tokens", "text" */
    enum compression compression;
    int64_t token_bytes; /* tokens: 2 or 4; else 0 */
    struct dataset_tokenizer tokenizer;
    enum dataset_scan scan;
    char override_by[DATASET_NAME_BYTES], override_reason[DATASET_REASON_BYTES]; /* "": none */
    char bucket[STORE_BUCKET_BYTES];
    int64_t created_ms;
    struct dataset_column *columns; /* owned */
    size_t column_count;
    struct dataset_shard *shards; /* owned */
    size_t shard_count;
    struct dataset_finding *findings; /* owned */
    size_t finding_count;
};
void dataset_done(struct dataset *d);
#define DATASET_MANIFEST_NAME "manifest.json"
/* The tokenizer's files, below the prefix. */
#define DATASET_VOCAB_NAME "tokenizer/vocab.json"
#define DATASET_MERGES_NAME "tokenizer/merges.txt"
/* Canonical; reading fails with ERR_CORRUPT. */
enum err_code dataset_to_text(const struct dataset *d, struct buf *out, struct err *e);
enum err_code dataset_from_text(const void *text, size_t n, struct dataset *out, struct err *e);
void dataset_digest(const void *text, size_t n, char out_hex[65]);
/* SHA-256 of what the data is, whenever and wherever it was staged: format, columns, and each shard's records
 * and SHA-256 once unpacked. Two stagings of one file cut alike have the same, compressed or not; a model
 * says by it what it was trained on. */
void dataset_content_digest(const struct dataset *d, char out_hex[65]);
/* PREFIX/manifest.json of `store`; also its digest. ERR_NOT_FOUND says that nothing is staged there and how
 * to stage it. */
enum err_code dataset_load(struct store *store, const char *prefix, struct dataset *out, char out_digest[65],
                           struct err *e);

uint64_t dataset_records(const struct dataset *d);
/* Of a shard once it is unpacked. Borrowed. */
uint64_t dataset_plain_bytes(const struct dataset *d, size_t shard);
const char *dataset_plain_sha256(const struct dataset *d, size_t shard);
/* What was got from the store for a shard, checked against the manifest and, in the buffer, replaced by what
 * it unpacks to. ERR_CORRUPT says what is wrong, without the shard's name. */
enum err_code dataset_open_shard(const struct dataset *d, size_t shard, struct buf *io, struct err *e);

/* The same for one version of that object, which may be an earlier one. */
enum err_code dataset_load_version(struct store *store, const char *prefix, const char *version,
                                   struct dataset *out, char out_digest[65], struct err *e);

/* What a job counts as the records of a shard: with context 0 the shard's own. A model of sequences takes
 * `context` tokens at a time, and the one behind each: so one token more than it reads. What is left over at
 * the end of a shard is not used. Pure. */
uint64_t dataset_examples(uint64_t records, uint64_t context);

/* The training part of a shard is its first records - dataset_holdout() records. Pure. */
uint64_t dataset_holdout(uint64_t records, double share); /* floor(records * share + 0.5) */

/* One CSV record: cuts the text at *io_text in place into fields (RFC 4180 quotes; lines end with LF or CRLF,
 * the last one need not). `end` is the end of the text: writable, with a NUL there. A record may span lines
 * inside quotes: *io_text moves behind it; *out_lines is the number of line ends passed. An empty line is a
 * record of one empty field; at the end of text *out_count is 0. ERR_USAGE: unclosed quote, a quote where
 * none may be, a carriage return alone, a NUL byte, more than max fields. The text is then as it was, so that
 * a reader may try again with more of it. */
enum err_code csv_next(char **io_text, char *end, char **fields, size_t max, size_t *out_count,
                       size_t *out_lines, struct err *e);

#endif
