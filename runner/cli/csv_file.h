/*
 * csv_file.h - a CSV file as a stream of records, each with its fields and its own bytes. Private to stage.
 *
 * Memory is one window, whatever the size of the file: it grows only for a record that does not fit. Errors
 * are ERR_USAGE with the file and the line.
 */
#ifndef RUNNER_CLI_CSV_FILE_H
#define RUNNER_CLI_CSV_FILE_H

#include "base/buf.h"
#include "base/cleanup.h"
#include "core/crypto/crypto.h"
#include "core/job/dataset.h"

struct csv_file {
    const char *path; /* borrowed */
    int fd;
    bool at_end;
    struct buf window;   /* bytes as they are in the file */
    struct buf cut;      /* a copy, which csv_next() cuts into fields */
    size_t done;         /* of the window: behind the last record */
    size_t whole;        /* of the window: up to the last line end that was copied to `cut` */
    size_t line;         /* of the record that comes next, from 1 */
    struct sha256 *hash; /* owned */
    uint64_t bytes;
    char *fields[DATASET_COLUMNS_MAX];
};
struct csv_record {
    char *const *fields; /* until the next call */
    size_t count;
    const char *raw; /* its bytes with the line end, until the next call */
    size_t raw_bytes;
    size_t line;
};
enum err_code csv_file_open(const char *path, struct csv_file **out, struct err *e);
void csv_file_close(struct csv_file *f);
DEFINE_CLEANUP_PTR(struct csv_file, csv_file_close)

/* *out_over: there is no more record. */
enum err_code csv_file_next(struct csv_file *f, struct csv_record *out, bool *out_over, struct err *e);

/* After the last record: SHA-256 of the whole file. Once. */
void csv_file_digest(struct csv_file *f, char out_hex[SHA256_HEX_BYTES]);

#endif
