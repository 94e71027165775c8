#include "runner/cli/csv_file.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "runner/cli/stage.h"
#include "runner/cli/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES = 1 << 20, BOM_BYTES = 3 };
static const char byte_order_mark[BOM_BYTES + 1] = "\xef\xbb\xbf";

enum err_code csv_file_open(const char *path, struct csv_file **out, struct err *e)
{
    CLEANUP(csv_file_closep) struct csv_file *f = mem_new(sizeof(*f));
    struct stat st;

    f->path = path;
    f->line = 1;
    f->window.max = f->cut.max = STAGE_RECORD_BYTES_MAX + 2 * CHUNK_BYTES;
    f->hash = sha256_new();
    f->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (f->fd < 0)
        return err_errno(e, "open '%s'", path);
    if (fstat(f->fd, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(e, ERR_USAGE, "'%s' is no regular file; it is read twice", path);
    *out = TAKE(f);
    return OK;
}

void csv_file_close(struct csv_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    buf_done(&f->window);
    buf_done(&f->cut);
    sha256_free(f->hash);
    free(f);
}

static enum err_code read_chunk(struct csv_file *f, struct err *e)
{
    uint8_t *room = buf_reserve(&f->window, CHUNK_BYTES);
    ssize_t n;

    if (!room)
        return err_set(e, ERR_LIMIT, "%s:%zu: a record of more than %d bytes", f->path, f->line,
                       STAGE_RECORD_BYTES_MAX);
    do
        n = read(f->fd, room, CHUNK_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, "read '%s'", f->path);
    f->at_end = n == 0;
    sha256_add(f->hash, room, (size_t)n);
    buf_commit(&f->window, (size_t)n);
    /* Spreadsheets write it in front of UTF-8; it is no part of the first column's name. */
    if (f->bytes == 0 && n >= BOM_BYTES && memcmp(room, byte_order_mark, BOM_BYTES) == 0)
        buf_drop_front(&f->window, BOM_BYTES);
    f->bytes += (uint64_t)n;
    return OK;
}

/* Up to the last line end in the window (at the end of the file: all of it) records may be whole. */
static void copy_whole_lines(struct csv_file *f)
{
    size_t end = f->window.len;
    while (!f->at_end && end > 0 && f->window.data[end - 1] != '\n')
        end--;
    f->whole = end;
    buf_reset(&f->cut);
    buf_add(&f->cut, f->window.data, end);
}

static enum err_code more(struct csv_file *f, struct err *e)
{
    buf_drop_front(&f->window, f->done);
    f->done = 0;
    if (read_chunk(f, e))
        return e->code;
    copy_whole_lines(f);
    return OK;
}

static enum err_code check_text(const struct csv_file *f, const struct csv_record *r, struct err *e)
{
    if (!utf8_is_valid(r->raw, r->raw_bytes))
        return err_set(e, ERR_USAGE, "%s:%zu: not UTF-8; convert the file first (iconv -t UTF-8)", f->path,
                       r->line);
    return OK;
}

enum err_code csv_file_next(struct csv_file *f, struct csv_record *out, bool *out_over, struct err *e)
{
    struct err said = ERR_INIT;
    size_t count = 0, lines = 0;

    for (;;) { /* each turn reads a chunk, and a record has a largest size */
        if (f->done < f->whole) {
            char *from = (char *)f->cut.data + f->done, *at = from;
            if (csv_next(&at, (char *)f->cut.data + f->whole, f->fields, DATASET_COLUMNS_MAX, &count, &lines,
                         &said) == OK) {
                *out = (struct csv_record){ .fields = f->fields,
                                            .count = count,
                                            .line = f->line,
                                            .raw = (const char *)f->window.data + f->done,
                                            .raw_bytes = (size_t)(at - from) };
                f->done += (size_t)(at - from);
                f->line += lines;
                *out_over = false;
                return check_text(f, out, e);
            }
        }
        /* What is wrong may only be that the rest has not been read yet. */
        if (f->at_end || (said.code && f->window.len > STAGE_RECORD_BYTES_MAX))
            break;
        if (more(f, e))
            return e->code;
    }
    if (f->done < f->whole && said.code)
        return err_set(e, ERR_USAGE, "%s:%zu: %s", f->path, f->line, said.text);
    *out_over = true;
    return OK;
}

void csv_file_digest(struct csv_file *f, char out_hex[SHA256_HEX_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256_end(f->hash, hash);
    hex_encode(hash, sizeof(hash), out_hex);
}
