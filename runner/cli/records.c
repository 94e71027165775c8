#include "runner/cli/records.h"

#include "base/mem.h"
#include "base/text.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 20, BOM_BYTES = 3, TOKENS_PIECE = 64 << 10 };
static const char byte_order_mark[BOM_BYTES + 1] = "\xef\xbb\xbf";

const char *const records_format_names[] = { "csv", "text", "tokens", NULL };

struct records {
    const struct source *source; /* borrowed */
    enum records_format format;
    int token_bytes;
    struct source_file *file; /* owned; NULL: none is open */
    size_t index;             /* of the file that is open, or comes next */
    bool at_end;              /* of this file */
    struct buf window;        /* bytes as they are in the file */
    struct buf cut;           /* csv: a copy, which csv_next() cuts into fields */
    size_t done;              /* of the window: behind the last record */
    size_t whole;             /* of the window: up to the last line end that was copied to `cut` */
    size_t line;              /* of the record that comes next, from 1 */
    struct sha256 *hash;      /* owned */
    uint64_t bytes, file_bytes;
    uint64_t tokens_left; /* of this file, by its header; UINT64_MAX: it has none */
    struct buf header;    /* csv */
    char *fields[DATASET_COLUMNS_MAX];
    size_t header_count;
};

enum err_code records_open(const struct source *source, enum records_format format, int token_bytes,
                           struct records **out, struct err *e)
{
    struct records *r = mem_new(sizeof(*r));
    (void)e;

    r->source = source;
    r->format = format;
    r->token_bytes = token_bytes;
    r->window.max = r->cut.max = RECORD_BYTES_MAX + 2 * CHUNK_BYTES;
    r->header.max = RECORD_BYTES_MAX + 2;
    r->hash = sha256_new();
    *out = r;
    return OK;
}

void records_close(struct records *r)
{
    if (!r)
        return;
    source_file_close(r->file);
    buf_done(&r->window);
    buf_done(&r->cut);
    buf_done(&r->header);
    sha256_free(r->hash);
    free(r);
}

static const char *path_of(const struct records *r)
{
    return source_path(r->source, r->index);
}

/* ---- bytes ---- */

static enum err_code read_chunk(struct records *r, struct err *e)
{
    uint8_t *room = buf_reserve(&r->window, CHUNK_BYTES);
    size_t n;

    if (!room)
        return err_set(e, ERR_LIMIT, "%s:%zu: a %s of more than %d bytes", path_of(r), r->line,
                       r->format == RECORDS_TEXT ? "line" : "record", RECORD_BYTES_MAX);
    if (source_file_read(r->file, room, CHUNK_BYTES, &n, e))
        return e->code;
    r->at_end = n == 0;
    sha256_add(r->hash, room, n);
    buf_commit(&r->window, n);
    /* Spreadsheets write it in front of UTF-8; it is no part of the first column's name. */
    if (r->file_bytes == 0 && r->format != RECORDS_TOKENS && n >= BOM_BYTES &&
        memcmp(room, byte_order_mark, BOM_BYTES) == 0)
        buf_drop_front(&r->window, BOM_BYTES);
    r->file_bytes += n;
    r->bytes += n;
    return OK;
}

/* Up to the last line end in the window (at the end of the file: all of it) records may be whole. */
static void mark_whole_lines(struct records *r)
{
    size_t end = r->window.len;
    while (!r->at_end && end > 0 && r->window.data[end - 1] != '\n')
        end--;
    r->whole = end;
    if (r->format != RECORDS_CSV)
        return;
    buf_reset(&r->cut);
    buf_add(&r->cut, r->window.data, end);
}

static enum err_code more(struct records *r, struct err *e)
{
    buf_drop_front(&r->window, r->done);
    r->done = 0;
    if (read_chunk(r, e))
        return e->code;
    mark_whole_lines(r);
    return OK;
}

/* ---- csv ---- */

static enum err_code check_text(const struct records *r, const struct record *of, struct err *e)
{
    if (utf8_valid(of->raw, of->raw_bytes) < of->raw_bytes)
        return err_set(e, ERR_USAGE, "%s:%zu: not UTF-8; convert the file first (iconv -t UTF-8)", path_of(r),
                       of->line);
    return OK;
}

/* The next record of this file. */
static enum err_code next_csv(struct records *r, struct record *out, bool *out_over, struct err *e)
{
    struct err said = ERR_INIT;
    size_t count = 0, lines = 0;

    for (;;) { /* each turn reads a chunk, and a record has a largest size */
        if (r->done < r->whole) {
            char *from = (char *)r->cut.data + r->done, *at = from;
            if (csv_next(&at, (char *)r->cut.data + r->whole, r->fields, DATASET_COLUMNS_MAX, &count, &lines,
                         &said) == OK) {
                *out = (struct record){ .fields = r->fields,
                                        .count = count,
                                        .file = r->index,
                                        .line = r->line,
                                        .units = 1,
                                        .raw = (const char *)r->window.data + r->done,
                                        .raw_bytes = (size_t)(at - from) };
                r->done += (size_t)(at - from);
                r->line += lines;
                *out_over = false;
                return check_text(r, out, e);
            }
        }
        /* What is wrong may only be that the rest has not been read yet. */
        if (r->at_end || (said.code && r->window.len > RECORD_BYTES_MAX))
            break;
        if (more(r, e))
            return e->code;
    }
    if (r->done < r->whole && said.code)
        return err_set(e, ERR_USAGE, "%s:%zu: %s", path_of(r), r->line, said.text);
    *out_over = true;
    return OK;
}

/* A last line without its end gets one, so that shards can be joined again. */
static void keep_header(struct records *r, const struct record *of)
{
    buf_add(&r->header, of->raw, of->raw_bytes);
    if (of->raw[of->raw_bytes - 1] != '\n')
        buf_add_byte(&r->header, '\n');
    r->header_count = of->count;
}

static bool same_line(const struct buf *header, const struct record *of)
{
    size_t n = header->len, m = of->raw_bytes;
    while (n > 0 && (header->data[n - 1] == '\n' || header->data[n - 1] == '\r'))
        n--;
    while (m > 0 && (of->raw[m - 1] == '\n' || of->raw[m - 1] == '\r'))
        m--;
    return n == m && memcmp(header->data, of->raw, n) == 0;
}

/* Every file brings its header; those behind the first must say the same. */
static enum err_code take_header(struct records *r, struct err *e)
{
    struct record header;
    bool over = true;

    if (next_csv(r, &header, &over, e))
        return e->code;
    if (over)
        return err_set(e, ERR_USAGE, "'%s' is empty", path_of(r));
    if (r->index == 0)
        keep_header(r, &header);
    else if (!same_line(&r->header, &header))
        return err_set(e, ERR_USAGE, "%s:1: its header line is not that of '%s'", path_of(r),
                       source_path(r->source, 0));
    return OK;
}

/* ---- text ---- */

static enum err_code next_line(struct records *r, struct record *out, bool *out_over, struct err *e)
{
    const char *from, *end;

    while (r->done == r->whole && !r->at_end)
        if (more(r, e))
            return e->code;
    *out_over = r->done == r->whole;
    if (*out_over)
        return OK;
    from = (const char *)r->window.data + r->done;
    end = memchr(from, '\n', r->whole - r->done);
    *out = (struct record){ .file = r->index,
                            .line = r->line++,
                            .units = 1,
                            .raw = from,
                            .raw_bytes = end ? (size_t)(end + 1 - from) : r->whole - r->done };
    r->done += out->raw_bytes;
    if (memchr(from, '\0', out->raw_bytes))
        return err_set(e, ERR_USAGE, "%s:%zu: a NUL byte; this is no text", path_of(r), out->line);
    return check_text(r, out, e);
}

/* ---- tokens ---- */

static uint32_t u32_le(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

enum err_code tokens_header(const uint8_t *start, size_t n, bool *out_is, uint64_t *out_count, struct err *e)
{
    if (n < 4 || u32_le(start) != TOKENS_MAGIC) {
        *out_is = false;
        return OK;
    }
    if (n < TOKENS_HEADER_BYTES)
        return err_set(e, ERR_USAGE, "a tokens file that is cut off inside its header of %d bytes",
                       TOKENS_HEADER_BYTES);
    if (u32_le(start + 4) != 1)
        return err_set(e, ERR_USAGE, "a tokens file of version %" PRIu32 "; version 1 is known",
                       u32_le(start + 4));
    if (u32_le(start + 8) == 0 || u32_le(start + 8) > INT32_MAX)
        return err_set(e, ERR_USAGE, "a tokens file whose header counts %" PRIu32 " tokens",
                       u32_le(start + 8));
    *out_is = true;
    *out_count = u32_le(start + 8);
    return OK;
}

static enum err_code take_tokens_header(struct records *r, struct err *e)
{
    bool is = false;
    uint64_t count = UINT64_MAX;

    while (r->window.len < TOKENS_HEADER_BYTES && !r->at_end)
        if (more(r, e))
            return e->code;
    if (tokens_header(r->window.data, r->window.len, &is, &count, e))
        return err_wrap(e, "'%s'", path_of(r));
    if (is && r->token_bytes == 4)
        return err_set(e, ERR_USAGE, "'%s' has a header that says tokens of 2 bytes; --token-bytes says 4",
                       path_of(r));
    if (r->token_bytes == 0)
        r->token_bytes = 2;
    r->tokens_left = is ? count : UINT64_MAX;
    r->done = is ? TOKENS_HEADER_BYTES : 0;
    return OK;
}

static enum err_code end_of_tokens(const struct records *r, size_t left, struct err *e)
{
    if (left > 0)
        return err_set(e, ERR_USAGE,
                       "'%s' is cut off: %" PRIu64 " bytes are no whole number of tokens of %d bytes",
                       path_of(r), r->file_bytes, r->token_bytes);
    if (r->tokens_left != 0 && r->tokens_left != UINT64_MAX)
        return err_set(e, ERR_USAGE, "'%s' is cut off: its header counts %" PRIu64 " tokens more", path_of(r),
                       r->tokens_left);
    if (r->file_bytes == 0)
        return err_set(e, ERR_USAGE, "'%s' is empty", path_of(r));
    return OK;
}

static enum err_code next_tokens(struct records *r, uint64_t units_max, struct record *out, bool *out_over,
                                 struct err *e)
{
    size_t width = (size_t)r->token_bytes;

    while (r->window.len - r->done < width && !r->at_end)
        if (more(r, e))
            return e->code;
    size_t left = r->window.len - r->done;
    *out_over = left < width;
    if (*out_over)
        return end_of_tokens(r, left, e);
    uint64_t units = MIN(MIN((uint64_t)(left / width), units_max), (uint64_t)TOKENS_PIECE);
    if (r->tokens_left != UINT64_MAX && units > r->tokens_left) {
        units = r->tokens_left;
        if (units == 0)
            return err_set(e, ERR_USAGE, "'%s' goes on behind the tokens that its header counts", path_of(r));
    }
    if (r->tokens_left != UINT64_MAX)
        r->tokens_left -= units;
    *out = (struct record){ .file = r->index,
                            .line = 1,
                            .units = units,
                            .raw = (const char *)r->window.data + r->done,
                            .raw_bytes = (size_t)units * width };
    r->done += out->raw_bytes;
    return OK;
}

/* ---- files, one behind the other ---- */

static enum err_code open_file(struct records *r, struct err *e)
{
    if (source_file_open(r->source, r->index, &r->file, e))
        return e->code;
    buf_reset(&r->window);
    buf_reset(&r->cut);
    r->done = r->whole = 0;
    r->file_bytes = 0;
    r->at_end = false;
    r->line = 1;
    return r->format == RECORDS_CSV      ? take_header(r, e)
           : r->format == RECORDS_TOKENS ? take_tokens_header(r, e)
                                         : OK;
}

enum err_code records_next(struct records *r, uint64_t units_max, struct record *out, bool *out_over,
                           struct err *e)
{
    bool over = true;

    while (r->index < source_count(r->source)) {
        if (!r->file && open_file(r, e))
            return e->code;
        if (r->format == RECORDS_CSV      ? next_csv(r, out, &over, e)
            : r->format == RECORDS_TOKENS ? next_tokens(r, units_max, out, &over, e)
                                          : next_line(r, out, &over, e))
            return e->code;
        if (!over)
            break;
        source_file_close(TAKE(r->file));
        r->index++;
    }
    *out_over = over;
    return OK;
}

enum err_code records_header(struct records *r, struct record *out, bool *out_over, struct err *e)
{
    *out_over = false;
    if (!r->file && open_file(r, e))
        return e->code;
    *out = (struct record){ .fields = r->fields,
                            .count = r->header_count,
                            .line = 1,
                            .raw = (const char *)r->header.data,
                            .raw_bytes = r->header.len };
    return OK;
}

uint64_t records_bytes(const struct records *r)
{
    return r->bytes;
}

int records_token_bytes(const struct records *r)
{
    return r->token_bytes;
}

void records_digest(struct records *r, char out_hex[SHA256_HEX_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256_end(r->hash, hash);
    hex_encode(hash, sizeof(hash), out_hex);
}

/* ---- which format is it ---- */

static bool by_name(const char *name, enum records_format *out)
{
    static const struct {
        const char *ending;
        enum records_format format;
    } endings[] = {
        { ".csv", RECORDS_CSV },    { ".txt", RECORDS_TEXT },   { ".md", RECORDS_TEXT },
        { ".text", RECORDS_TEXT },  { ".bin", RECORDS_TOKENS }, { ".tokens", RECORDS_TOKENS },
        { ".u16", RECORDS_TOKENS }, { ".u32", RECORDS_TOKENS },
    };
    for (size_t i = 0; i < ARRAY_LEN(endings); i++)
        if (text_ends(name, endings[i].ending)) {
            *out = endings[i].format;
            return true;
        }
    return false;
}

enum err_code records_guess(const struct source *source, enum records_format *out, const char **out_why,
                            struct err *e)
{
    CLEANUP(source_file_closep) struct source_file *f = NULL;
    CLEANUP(freep) uint8_t *start = mem_new(CHUNK_BYTES);
    char name[256];
    size_t n;

    *out_why = "by its name";
    if (by_name(source_plain_name(source, 0, name), out))
        return OK;
    if (source_file_open(source, 0, &f, e) || source_file_read(f, start, CHUNK_BYTES, &n, e))
        return e->code;
    *out_why = "by its first bytes";
    *out = n >= 4 && u32_le(start) == TOKENS_MAGIC ? RECORDS_TOKENS : RECORDS_CSV;
    if (*out == RECORDS_CSV && n > 0 && memchr(start, '\0', n))
        return err_set(e, ERR_USAGE,
                       "'%s' is binary and its name says no format: --format csv, tokens or text says it",
                       source_path(source, 0));
    return OK;
}
