/*
 * records.h - a source as a stream of records with their own bytes: CSV records, lines of text, tokens.
 * Private to data stage.
 *
 *   csv     fields by RFC 4180, UTF-8; the first line of every file is the header, the same in all
 *   text    lines of UTF-8 without NUL; a last line without its end counts as one
 *   tokens  little-endian numbers, 2 or 4 bytes each: the whole file, or behind the 256 x int32 header that
 * llm.c's files have (magic 20240520, version 1, count; then uint16). The header is no part of the data, and
 * its count must be the file's
 *
 * Memory is one window, whatever the size of the source: it grows only for a record that does not fit, up to
 * RECORD_BYTES_MAX. Bad input is ERR_USAGE with the file and the line, or the byte.
 */
#ifndef RUNNER_CLI_RECORDS_H
#define RUNNER_CLI_RECORDS_H

#include "base/buf.h"
#include "core/crypto/crypto.h"
#include "core/job/dataset.h"
#include "runner/cli/source.h"

enum {
    RECORD_BYTES_MAX = 16 << 20,
    TOKENS_HEADER_BYTES = 256 * 4,
    TOKENS_MAGIC = 20240520,
};

enum records_format { RECORDS_CSV, RECORDS_TEXT, RECORDS_TOKENS };
extern const char *const records_format_names[]; /* "csv", "text", "tokens", NULL */

struct record {
    char *const *fields; /* csv; until the next call */
    size_t count;
    const char *raw; /* its bytes with the line end, until the next call */
    size_t raw_bytes;
    uint64_t units;    /* 1; of tokens as many as raw holds */
    size_t file, line; /* where it starts, from 0 and from 1 */
};

struct records;
/* `source` is borrowed. token_bytes 0: as the file's header says, else 2. */
enum err_code records_open(const struct source *source, enum records_format format, int token_bytes,
                           struct records **out, struct err *e);
void records_close(struct records *r);
DEFINE_CLEANUP_PTR(struct records, records_close)

/* The next one; of tokens at most units_max. *out_over: there is no more. */
enum err_code records_next(struct records *r, uint64_t units_max, struct record *out, bool *out_over,
                           struct err *e);
/* csv: the header line of the first file, ending with a newline. Borrowed. NULL where the source is empty. */
enum err_code records_header(struct records *r, struct record *out, bool *out_over, struct err *e);

uint64_t records_bytes(const struct records *r); /* read so far */
int records_token_bytes(const struct records *r);
/* After the last record: SHA-256 of all files' bytes in their order. Once. */
void records_digest(struct records *r, char out_hex[SHA256_HEX_BYTES]);

/* By the first file's name (.csv, .bin, .txt, .md, .tokens, .u16, .u32), or by its first bytes. *out_why:
 * what it was told by, for the output. */
enum err_code records_guess(const struct source *source, enum records_format *out, const char **out_why,
                            struct err *e);

/* The header at the start of a tokens file of `file_bytes`: ERR_USAGE says what is wrong with it. *out_is
 * false: there is none. */
enum err_code tokens_header(const uint8_t *start, size_t n, bool *out_is, uint64_t *out_count, struct err *e);

#endif
