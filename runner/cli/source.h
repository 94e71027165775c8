/*
 * source.h - what `data stage` is given: a file, a folder of files, or standard input; read as one stream,
 * twice.
 *
 * A folder's files are taken in the byte order of their names, hidden ones left out; a folder inside it is
 * refused rather than passed over. Standard input can be read once only, so it is spooled to a file without a
 * name in a private folder, up to a limit. What ends in .zst (from standard input: what starts as zstd does)
 * is unpacked on the way. All sizes and hashes are of what was unpacked.
 */
#ifndef RUNNER_CLI_SOURCE_H
#define RUNNER_CLI_SOURCE_H

#include "base/cleanup.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { SOURCE_FILES_MAX = 65536 };

struct source;
/* `what`: a path, "file://PATH", or "-". `spool_folder` is where standard input is kept meanwhile. ERR_USAGE:
 * a device, an empty folder. ERR_LIMIT: more than spool_bytes_max on standard input. */
enum err_code source_open(const char *what, const char *spool_folder, uint64_t spool_bytes_max,
                          struct source **out, struct err *e);
void source_close(struct source *s);
DEFINE_CLEANUP_PTR(struct source, source_close)

const char *source_name(const struct source *s); /* the last part of the path; "standard input" */
size_t source_count(const struct source *s);
const char *source_path(const struct source *s, size_t i); /* for messages; borrowed */
/* Its name without .zst: what tells the format. */
const char *source_plain_name(const struct source *s, size_t i, char out[256]);
uint64_t source_bytes(const struct source *s); /* as they lie there, packed or not */

struct source_file; /* one of them, open */
enum err_code source_file_open(const struct source *s, size_t i, struct source_file **out, struct err *e);
void source_file_close(struct source_file *f);
DEFINE_CLEANUP_PTR(struct source_file, source_file_close)
/* 1 to n bytes; *out_n 0: its end. */
enum err_code source_file_read(struct source_file *f, void *out, size_t n, size_t *out_n, struct err *e);

#endif
