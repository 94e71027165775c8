/*
 * dir_path.h - where a dir store keeps what, and how keys become file names. Private to core/store.
 *
 *     ROOT/BUCKET/bucket.txt                   what the bucket is (struct dir_bucket)
 *     ROOT/BUCKET/lock                         flock()ed by whoever deletes a version or changes a lock
 *     ROOT/BUCKET/tmp/...                      files being written; flock()ed while their writer lives
 *     ROOT/BUCKET/objects/a/b/@/VERSION        the bytes of one version of the key a/b
 *     ROOT/BUCKET/objects/a/b/@/VERSION.lock   its lock, where it has one: "compliance 1790000000000 0"
 *     ROOT/BUCKET/objects/a/b/@/VERSION.gone   a delete marker
 *
 * Each segment of a key is a folder. Its name is the segment with everything but A-Z a-z 0-9 - _ ~ and a dot
 * that does not come first written as %XX; so '@', '+', '.' and '..' can never be the name of a segment. A
 * name that would grow beyond DIR_NAME_BYTES_MAX is cut, and each piece but the last ends in '+'. Every key
 * has one path, every path at most one key.
 */
#ifndef CORE_STORE_DIR_PATH_H
#define CORE_STORE_DIR_PATH_H

#include "base/buf.h"
#include "core/store/store.h"

enum { DIR_NAME_BYTES_MAX = 240, DIR_PATH_BYTES_MAX = 4095 };
#define DIR_VERSIONS "@"

/* "a/b" -> "a/b", "ä" -> "%C3%A4": added to `out`. */
void dir_encode_key(const char *key, struct buf *out);

/* One folder's name back into a segment or a piece of one (*out_more: its next piece is a folder below). Adds
 * to `out`. False where it is no name that dir_encode_key() makes. */
bool dir_decode_name(const char *name, struct buf *out, bool *out_more);

/*
 * Version ids: 16 hex digits of nanoseconds since 1970, '-', 12 random hex digits. They sort by time as text.
 */
enum { DIR_VERSION_BYTES = 30 }; /* with the NUL */
/* Behind the newest so far ("": none), whatever the clock says. */
void dir_version_new(const char *newest_so_far, char out[DIR_VERSION_BYTES]);
bool dir_version_valid(const char *text, size_t n);
int64_t dir_version_ms(const char *version);

#endif
