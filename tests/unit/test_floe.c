/* FLOE against known answers, and against whoever alters, cuts, reorders or mixes sealed bytes. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"
#include "base/text.h"
#include "core/seal/seal.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_BYTES_MAX = 1 << 20, VECTORS_MAX = 64 };

static const struct floe_params small = { .segment_bytes = 40, .rotation_log2 = 2 };
enum { SMALL_PLAIN = 8 };

static struct secret *test_key(uint8_t byte)
{
    uint8_t bytes[FLOE_KEY_BYTES];
    memset(bytes, byte, sizeof(bytes));
    return secret_new(bytes, sizeof(bytes));
}

static void fill(uint8_t *out, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)rng_u64(rng_key(seed, 1), i);
}

static void seal_small(uint8_t key_byte, const char *aad, const void *plain, size_t n, struct buf *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = test_key(key_byte);
    assert_ok(floe_seal(&small, key, aad, strlen(aad), plain, n, out, &e));
}

static enum err_code open_small(uint8_t key_byte, const char *aad, const void *sealed, size_t n, struct buf *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = test_key(key_byte);
    return floe_open(&small, key, aad, strlen(aad), sealed, n, out, &e);
}

/* Refused as corrupt, and nothing of the plain text is in `out`, neither before nor behind its end. */
static void assert_refused_with(uint8_t key_byte, const char *aad, const void *sealed, size_t n)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    buf_add_text(&out, "before");
    assert_int_equal(open_small(key_byte, aad, sealed, n, &out), ERR_CORRUPT);
    assert_string_equal(buf_text(&out), "before");
    for (size_t i = out.len; i < out.size; i++)
        assert_int_equal(out.data[i], 0);
}

static void assert_refused(const struct buf *sealed)
{
    assert_refused_with(1, "aad", sealed->data, sealed->len);
}

static void assert_opens(const struct buf *sealed, const void *plain, size_t n)
{
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    assert_int_equal(open_small(1, "aad", sealed->data, sealed->len, &out), OK);
    assert_int_equal(out.len, n);
    assert_memory_equal(buf_text(&out), n ? plain : "", n);
}

/* ---- known answers ---- */

/* A vector as a file has it: `name value` a line, bytes as hex (tests/vectors/floe/make.py). */
struct vector {
    struct floe_params params;
    struct secret *key;
    struct buf aad, plain, sealed;
};
#define VECTOR_INIT \
    { .aad = BUF_INIT(MESSAGE_BYTES_MAX), .plain = BUF_INIT(MESSAGE_BYTES_MAX), .sealed = BUF_INIT(MESSAGE_BYTES_MAX) }

static void vector_done(struct vector *v)
{
    secret_free(v->key);
    buf_done(&v->aad);
    buf_done(&v->plain);
    buf_done(&v->sealed);
}

static void add_hex(struct buf *out, const char *hex)
{
    struct err e = ERR_INIT;
    size_t n = strlen(hex) / 2;
    uint8_t *to = buf_reserve(out, n);
    assert_non_null(to);
    assert_ok(hex_decode(hex, to, n, &e));
    buf_commit(out, n);
}

static uint32_t read_u32(const char *text)
{
    struct err e = ERR_INIT;
    uint64_t v;
    assert_ok(parse_u64(text, &v, &e));
    return (uint32_t)v;
}

static void vector_line(struct vector *v, char *line)
{
    CLEANUP(buf_done) struct buf key = BUF_INIT(FLOE_KEY_BYTES);
    char *value = strchr(line, ' ');
    assert_non_null(value);
    *value++ = '\0';
    if (strcmp(line, "segment") == 0)
        v->params.segment_bytes = read_u32(value);
    else if (strcmp(line, "rotation") == 0)
        v->params.rotation_log2 = read_u32(value);
    else if (strcmp(line, "aad") == 0)
        add_hex(&v->aad, value);
    else if (strcmp(line, "plain") == 0)
        add_hex(&v->plain, value);
    else if (strcmp(line, "sealed") == 0)
        add_hex(&v->sealed, value);
    else if (strcmp(line, "key") == 0) {
        add_hex(&key, value);
        v->key = secret_new(key.data, key.len);
    } else
        fail_msg("no such line: '%s'", line);
}

static void read_text(const char *path, struct buf *out)
{
    struct err e = ERR_INIT;
    assert_ok(file_read(path, out, &e));
    while (out->len > 0 && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r'))
        out->data[--out->len] = '\0';
}

static void vector_read(const char *path, struct vector *v)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(MESSAGE_BYTES_MAX);
    char *rest = NULL;
    read_text(path, &text);
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        vector_line(v, line);
}

static void vector_opens(const struct vector *v)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(MESSAGE_BYTES_MAX);
    assert_ok(floe_open(&v->params, v->key, v->aad.data, v->aad.len, v->sealed.data, v->sealed.len, &out, &e));
    assert_int_equal(out.len, v->plain.len);
    assert_memory_equal(buf_text(&out), buf_text(&v->plain), out.len);
}

static void our_vector_opens(void **state)
{
    CLEANUP(freep) char *path = path_join("tests/vectors/floe", *state);
    CLEANUP(vector_done) struct vector v = VECTOR_INIT;
    vector_read(path, &v);
    vector_opens(&v);
}

/* Files of the FLOE project: hex of plain and sealed; the parameters stand in the header and in the name. */
static void their_vector_opens(void **state)
{
    static const char aad[] = "This is AAD";
    const char *sealed_path = *state;
    CLEANUP(buf_done) struct buf plain = BUF_INIT(MESSAGE_BYTES_MAX), sealed = BUF_INIT(MESSAGE_BYTES_MAX);
    CLEANUP(freep) char *plain_path = mem_text(sealed_path);
    memcpy(strstr(plain_path, "_ct.txt"), "_pt", 3);
    CLEANUP(vector_done) struct vector v = VECTOR_INIT;
    read_text(sealed_path, &sealed);
    read_text(plain_path, &plain);
    add_hex(&v.sealed, buf_text(&sealed));
    add_hex(&v.plain, buf_text(&plain));
    buf_add(&v.aad, aad, sizeof(aad) - 1);
    v.key = test_key(0);
    v.params.segment_bytes = (uint32_t)(v.sealed.data[4] << 8 | v.sealed.data[5]);
    v.params.rotation_log2 = strstr(sealed_path, "rotation") ? 2 : 20;
    vector_opens(&v);
}

static void no_vectors_given(void **state)
{
    (void)state;
    print_message("# VECTORS is not set: the vectors of the FLOE project were not tried\n");
    skip();
}

/* ---- what goes in comes out ---- */

static void every_length_opens_again(void **state)
{
    (void)state;
    uint8_t plain[10 * SMALL_PLAIN + 1];
    fill(plain, sizeof(plain), 7);
    for (size_t n = 0; n <= sizeof(plain); n++) {
        CLEANUP(buf_done) struct buf sealed = BUF_INIT(MESSAGE_BYTES_MAX);
        seal_small(1, "aad", plain, n, &sealed);
        assert_int_equal(sealed.len, floe_sealed_bytes(&small, n));
        assert_opens(&sealed, plain, n);
    }
}

static void default_segments_are_one_mib(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    enum { N = 2 * 1024 * 1024 + 5 };
    CLEANUP(freep) uint8_t *plain = mem_new(N);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(2 * N), out = BUF_INIT(N);
    CLEANUP(secret_freep) struct secret *key = secret_random(FLOE_KEY_BYTES);
    CLEANUP(floe_reader_freep) struct floe_reader *r = NULL;
    fill(plain, N, 3);
    assert_ok(floe_seal(&floe_default, key, NULL, 0, plain, N, &sealed, &e));
    assert_ok(floe_reader_open(&floe_default, key, NULL, 0, sealed.data, sealed.len, &r, &e));
    assert_int_equal(floe_segment_count(r), 3);
    assert_ok(floe_open(&floe_default, key, NULL, 0, sealed.data, sealed.len, &out, &e));
    assert_int_equal(out.len, N);
    assert_memory_equal(out.data, plain, N);
}

/* However the bytes arrive, the segments are cut at the same places. */
static void pieces_make_the_same_segments(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t plain[5 * SMALL_PLAIN + 3];
    fill(plain, sizeof(plain), 9);
    for (size_t piece = 1; piece <= sizeof(plain); piece++) {
        CLEANUP(buf_done) struct buf sealed = BUF_INIT(MESSAGE_BYTES_MAX);
        CLEANUP(secret_freep) struct secret *key = test_key(1);
        CLEANUP(floe_writer_freep) struct floe_writer *w = NULL;
        assert_ok(floe_writer_open(&small, key, "aad", 3, &w, &sealed, &e));
        for (size_t at = 0; at < sizeof(plain); at += piece)
            assert_ok(floe_write(w, plain + at, MIN(piece, sizeof(plain) - at), &sealed, &e));
        assert_ok(floe_writer_end(w, &sealed, &e));
        assert_int_equal(sealed.len, floe_sealed_bytes(&small, sizeof(plain)));
        assert_opens(&sealed, plain, sizeof(plain));
    }
}

static void any_segment_opens_alone(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t plain[9 * SMALL_PLAIN + 3];
    fill(plain, sizeof(plain), 5);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(MESSAGE_BYTES_MAX);
    CLEANUP(secret_freep) struct secret *key = test_key(1);
    CLEANUP(floe_reader_freep) struct floe_reader *r = NULL;
    seal_small(1, "aad", plain, sizeof(plain), &sealed);
    assert_ok(floe_reader_open(&small, key, "aad", 3, sealed.data, sealed.len, &r, &e));
    assert_int_equal(floe_plain_bytes(r), sizeof(plain));
    assert_int_equal(floe_segment_count(r), 10);
    for (uint64_t i = floe_segment_count(r); i-- > 0;) { /* backwards, over key rotations */
        CLEANUP(buf_done) struct buf out = BUF_INIT(SMALL_PLAIN);
        uint64_t offset;
        uint32_t bytes;
        floe_segment_range(r, i, &offset, &bytes);
        assert_ok(floe_open_segment(r, i, sealed.data + offset, bytes, &out, &e));
        assert_int_equal(out.len, i == 9 ? 3 : SMALL_PLAIN);
        assert_memory_equal(out.data, plain + i * SMALL_PLAIN, out.len);
        assert_int_equal(floe_open_segment(r, i, sealed.data + offset, bytes - 1, &out, &e), ERR_CORRUPT);
    }
}

static void a_segment_opens_only_at_its_place(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t plain[6 * SMALL_PLAIN];
    fill(plain, sizeof(plain), 5);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(MESSAGE_BYTES_MAX), out = BUF_INIT(64);
    CLEANUP(secret_freep) struct secret *key = test_key(1);
    CLEANUP(floe_reader_freep) struct floe_reader *r = NULL;
    seal_small(1, "aad", plain, sizeof(plain), &sealed);
    assert_ok(floe_reader_open(&small, key, "aad", 3, sealed.data, sealed.len, &r, &e));
    for (uint64_t at = 0; at < 6; at++)
        for (uint64_t from = 0; from < 6; from++)
            if (at != from)
                assert_int_equal(floe_open_segment(r, at, sealed.data + FLOE_HEADER_BYTES + from * small.segment_bytes,
                                                   small.segment_bytes, &out, &e),
                                 ERR_CORRUPT);
    assert_int_equal(out.len, 0);
}

static void the_same_message_seals_differently(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf a = BUF_INIT(4096), b = BUF_INIT(4096);
    seal_small(1, "aad", "same", 4, &a);
    seal_small(1, "aad", "same", 4, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.data, b.data, a.len);
}

static void the_output_is_extended(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096), out = BUF_INIT(4096);
    buf_add_text(&sealed, "head");
    seal_small(1, "aad", "plain text, two segments", 24, &sealed);
    assert_memory_equal(sealed.data, "head", 4);
    buf_add_text(&out, "so: ");
    assert_int_equal(open_small(1, "aad", sealed.data + 4, sealed.len - 4, &out), OK);
    assert_string_equal(buf_text(&out), "so: plain text, two segments");
}

static void too_small_an_output_is_a_limit(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = test_key(1);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    seal_small(1, "aad", "0123456789", 10, &sealed);
    for (size_t max = 0; max < 10; max++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(max);
        assert_int_equal(open_small(1, "aad", sealed.data, sealed.len, &out), ERR_LIMIT);
        assert_int_equal(out.len, 0);
    }
    for (size_t max = 0; max < sealed.len; max++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(max);
        assert_int_equal(floe_seal(&small, key, "aad", 3, "0123456789", 10, &out, &e), ERR_LIMIT);
        assert_int_equal(out.len, 0);
    }
}

/* ---- what is refused ---- */

static const struct params_row {
    const char *name;
    struct floe_params params;
    size_t key_bytes, aad_bytes;
    enum err_code want;
} params_rows[] = {
    { "a segment of 32 bytes would hold nothing", { 32, 20 }, 32, 0, ERR_USAGE },
    { "a segment of 33 bytes is the smallest", { 33, 20 }, 32, 0, OK },
    { "a segment of 64 MiB is the largest", { 64 << 20, 20 }, 32, 0, OK },
    { "a segment of 64 MiB and one is too large", { (64 << 20) + 1, 20 }, 32, 0, ERR_USAGE },
    { "a key for 2^21 segments is too tired", { 64, 21 }, 32, 0, ERR_USAGE },
    { "a key of 31 bytes", { 64, 20 }, 31, 0, ERR_USAGE },
    { "a key of 33 bytes", { 64, 20 }, 33, 0, ERR_USAGE },
    { "64 KiB of associated data", { 64, 20 }, 32, 65536, OK },
    { "64 KiB and one of associated data", { 64, 20 }, 32, 65537, ERR_LIMIT },
};

static void params_are_checked(void **state)
{
    const struct params_row *r = *state;
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = secret_random(r->key_bytes);
    CLEANUP(freep) uint8_t *aad = mem_new(r->aad_bytes);
    CLEANUP(floe_writer_freep) struct floe_writer *w = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    assert_int_equal(floe_writer_open(&r->params, key, aad, r->aad_bytes, &w, &out, &e), r->want);
    assert_int_equal(w != NULL, r->want == OK);
    assert_int_equal(out.len, r->want == OK ? FLOE_HEADER_BYTES : 0);
}

/* The message that is attacked: four full segments and a part of one. */
enum { VICTIM_PLAIN = 4 * SMALL_PLAIN + 5 };
struct victim {
    uint8_t plain[VICTIM_PLAIN];
    struct buf sealed, other; /* `other`: the same key and context, another message of the same length */
};

static int victim_new(void **state)
{
    struct victim *v = mem_new(sizeof(*v));
    uint8_t other[VICTIM_PLAIN];
    v->sealed = (struct buf)BUF_INIT(4096);
    v->other = (struct buf)BUF_INIT(4096);
    fill(v->plain, sizeof(v->plain), 1);
    fill(other, sizeof(other), 2);
    seal_small(1, "aad", v->plain, sizeof(v->plain), &v->sealed);
    seal_small(1, "aad", other, sizeof(other), &v->other);
    *state = v;
    return 0;
}

static int victim_free(void **state)
{
    struct victim *v = *state;
    buf_done(&v->sealed);
    buf_done(&v->other);
    free(v);
    return 0;
}

static uint8_t *segment(struct buf *sealed, size_t i)
{
    return sealed->data + FLOE_HEADER_BYTES + i * small.segment_bytes;
}

static void the_victim_itself_opens(void **state)
{
    struct victim *v = *state;
    assert_opens(&v->sealed, v->plain, VICTIM_PLAIN);
}

static void cut_anywhere(void **state) /* at each segment's border and inside of each */
{
    struct victim *v = *state;
    for (size_t n = 0; n < v->sealed.len; n++)
        assert_refused_with(1, "aad", v->sealed.data, n);
}

static void extended(void **state)
{
    struct victim *v = *state;
    for (size_t n = 1; n <= small.segment_bytes + 1; n++) {
        CLEANUP(buf_done) struct buf longer = BUF_INIT(4096);
        buf_add(&longer, v->sealed.data, v->sealed.len);
        for (size_t i = 0; i < n; i++)
            buf_add_byte(&longer, (uint8_t)i);
        assert_refused(&longer);
    }
}

static void extended_by_its_own_segments(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf last_again = BUF_INIT(4096), inner_again = BUF_INIT(4096);
    size_t last_n = SMALL_PLAIN - 3 + FLOE_SEGMENT_OVERHEAD;
    buf_add(&last_again, v->sealed.data, v->sealed.len);
    buf_add(&last_again, segment(&v->sealed, 4), last_n);
    assert_refused(&last_again);
    buf_add(&inner_again, v->sealed.data, FLOE_HEADER_BYTES + small.segment_bytes);
    buf_add(&inner_again, segment(&v->sealed, 0), v->sealed.len - FLOE_HEADER_BYTES);
    assert_refused(&inner_again);
}

static void reordered(void **state)
{
    struct victim *v = *state;
    for (size_t i = 0; i < 4; i++)
        for (size_t j = i + 1; j < 4; j++) {
            CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
            buf_add(&mixed, v->sealed.data, v->sealed.len);
            memcpy(segment(&mixed, i), segment(&v->sealed, j), small.segment_bytes);
            memcpy(segment(&mixed, j), segment(&v->sealed, i), small.segment_bytes);
            assert_refused(&mixed);
        }
}

static void an_inner_segment_removed(void **state)
{
    struct victim *v = *state;
    for (size_t i = 0; i < 4; i++) {
        CLEANUP(buf_done) struct buf shorter = BUF_INIT(4096);
        buf_add(&shorter, v->sealed.data, FLOE_HEADER_BYTES + i * small.segment_bytes);
        buf_add(&shorter, segment(&v->sealed, i + 1), v->sealed.len - FLOE_HEADER_BYTES - (i + 1) * small.segment_bytes);
        assert_refused(&shorter);
    }
}

static void spliced_from_another_message(void **state) /* of the same key, context and length */
{
    struct victim *v = *state;
    assert_int_equal(v->sealed.len, v->other.len);
    for (size_t i = 0; i < 5; i++) {
        CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
        buf_add(&mixed, v->sealed.data, v->sealed.len);
        size_t n = MIN((size_t)small.segment_bytes, v->sealed.len - FLOE_HEADER_BYTES - i * small.segment_bytes);
        memcpy(segment(&mixed, i), segment(&v->other, i), n);
        assert_refused(&mixed);
    }
}

static void under_the_header_of_another_message(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf mixed = BUF_INIT(4096);
    buf_add(&mixed, v->other.data, FLOE_HEADER_BYTES);
    buf_add(&mixed, segment(&v->sealed, 0), v->sealed.len - FLOE_HEADER_BYTES);
    assert_refused(&mixed);
}

static void wrong_associated_data(void **state)
{
    struct victim *v = *state;
    static const char *const wrong[] = { "", "aa", "aae", "aad ", "AAD" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_refused_with(1, wrong[i], v->sealed.data, v->sealed.len);
}

static void wrong_key(void **state)
{
    struct victim *v = *state;
    assert_refused_with(2, "aad", v->sealed.data, v->sealed.len);
}

static void wrong_segment_size(void **state)
{
    struct victim *v = *state;
    struct err e = ERR_INIT;
    const struct floe_params other = { .segment_bytes = 41, .rotation_log2 = 2 };
    CLEANUP(secret_freep) struct secret *key = test_key(1);
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    assert_int_equal(floe_open(&other, key, "aad", 3, v->sealed.data, v->sealed.len, &out, &e), ERR_CORRUPT);
}

static void each_flipped_bit(void **state)
{
    struct victim *v = *state;
    for (size_t bit = 0; bit < 8 * v->sealed.len; bit++) {
        v->sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(&v->sealed);
        v->sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_opens(&v->sealed, v->plain, VICTIM_PLAIN);
}

/* An inner segment is made to look like the last by its length word, or the last like an inner one. */
static void last_segment_flag_forged(void **state)
{
    struct victim *v = *state;
    CLEANUP(buf_done) struct buf cut = BUF_INIT(4096), full = BUF_INIT(4096), inner = BUF_INIT(4096);
    buf_add(&cut, v->sealed.data, FLOE_HEADER_BYTES + 2 * small.segment_bytes);
    memcpy(segment(&cut, 1), "\0\0\0\x28", 4); /* 40 */
    assert_refused(&cut);
    seal_small(1, "aad", v->plain, (size_t)2 * SMALL_PLAIN, &full); /* its last segment is full */
    memset(segment(&full, 1), 0xff, 4);
    assert_refused(&full);
    buf_add(&inner, full.data, full.len);
    buf_add(&inner, segment(&v->sealed, 4), v->sealed.len - FLOE_HEADER_BYTES - (size_t)4 * small.segment_bytes);
    assert_refused(&inner);
}

static void nothing_at_all(void **state)
{
    (void)state;
    assert_refused_with(1, "aad", "", 0);
    static const uint8_t zero[FLOE_HEADER_BYTES + FLOE_SEGMENT_OVERHEAD];
    assert_refused_with(1, "aad", zero, sizeof(zero));
}

/* ---- */

enum { TESTS_MAX = 128 };
struct group {
    struct CMUnitTest tests[TESTS_MAX];
    size_t count;
    char *names[TESTS_MAX]; /* owned, with what the tests have as state */
    size_t name_count;
};

static void add_test(struct group *g, const char *name, CMUnitTestFunction fn, void *state)
{
    assert_true(g->count < TESTS_MAX);
    g->tests[g->count++] = (struct CMUnitTest){ name, fn, NULL, NULL, state };
}

/* One test a file of `dir` whose name ends so. */
static size_t add_files(struct group *g, const char *dir, const char *end, bool whole_path, CMUnitTestFunction fn)
{
    struct dirent **entries = NULL;
    int n = scandir(dir, &entries, NULL, alphasort);
    size_t added = 0;
    for (int i = 0; i < n; i++) {
        if (text_ends(entries[i]->d_name, end) && g->name_count < VECTORS_MAX) {
            char *name = whole_path ? path_join(dir, entries[i]->d_name) : mem_text(entries[i]->d_name);
            g->names[g->name_count++] = name;
            add_test(g, name, fn, name);
            added++;
        }
        free(entries[i]);
    }
    free(entries);
    return added;
}

static void vectors_were_found(void **state)
{
    assert_true(*(size_t *)*state > 0);
}

#define ATTACK(fn) { #fn, fn, victim_new, victim_free, NULL }
#define ADD_ROWS(g, rows, fn) \
    for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++) \
    add_test(g, (rows)[i_].name, fn, (void *)(uintptr_t)&(rows)[i_])

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(every_length_opens_again),
        cmocka_unit_test(default_segments_are_one_mib),
        cmocka_unit_test(pieces_make_the_same_segments),
        cmocka_unit_test(any_segment_opens_alone),
        cmocka_unit_test(a_segment_opens_only_at_its_place),
        cmocka_unit_test(the_same_message_seals_differently),
        cmocka_unit_test(the_output_is_extended),
        cmocka_unit_test(too_small_an_output_is_a_limit),
        cmocka_unit_test(nothing_at_all),
        ATTACK(the_victim_itself_opens),
        ATTACK(cut_anywhere),
        ATTACK(extended),
        ATTACK(extended_by_its_own_segments),
        ATTACK(reordered),
        ATTACK(an_inner_segment_removed),
        ATTACK(spliced_from_another_message),
        ATTACK(under_the_header_of_another_message),
        ATTACK(wrong_associated_data),
        ATTACK(wrong_key),
        ATTACK(wrong_segment_size),
        ATTACK(each_flipped_bit),
        ATTACK(last_segment_flag_forged),
    };
    static struct group g;
    static size_t ours, theirs;
    const char *vectors = getenv("VECTORS");
    ours = add_files(&g, "tests/vectors/floe", ".txt", false, our_vector_opens);
    add_test(&g, "our own vectors are there", vectors_were_found, &ours);
    if (vectors && vectors[0]) {
        CLEANUP(freep) char *dir = path_join(vectors, "floe");
        theirs = add_files(&g, dir, "_ct.txt", true, their_vector_opens);
        add_test(&g, "VECTORS holds vectors of the FLOE project", vectors_were_found, &theirs);
    } else {
        add_test(&g, "vectors of the FLOE project", no_vectors_given, NULL);
    }
    ADD_ROWS(&g, params_rows, params_are_checked);
    memcpy(&g.tests[g.count], others, sizeof(others));
    g.count += ARRAY_LEN(others);
    int failed = _cmocka_run_group_tests("floe", g.tests, g.count, NULL, NULL);
    for (size_t i = 0; i < g.name_count; i++)
        free(g.names[i]);
    return failed;
}
