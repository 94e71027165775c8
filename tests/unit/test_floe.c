/* FLOE against known answers, its own round trips and its limits. */
#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/text.h"
#include "core/seal/seal.h"
#include "tests/unit/floe_small.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS_MAX = 64 };

/* ---- known answers ---- */

/* A vector as a file has it: `name value` a line, bytes as hex (tests/vectors/floe/make.py). */
struct vector {
    struct floe_params params;
    struct secret *key;
    struct buf aad, plain, sealed;
};
#define VECTOR_INIT                                                                                          \
    {                                                                                                        \
        .aad = BUF_INIT(MESSAGE_BYTES_MAX), .plain = BUF_INIT(MESSAGE_BYTES_MAX),                            \
        .sealed = BUF_INIT(MESSAGE_BYTES_MAX)                                                                \
    }

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
    assert_ok(
        floe_open(&v->params, v->key, v->aad.data, v->aad.len, v->sealed.data, v->sealed.len, &out, &e));
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
                assert_int_equal(floe_open_segment(r, at,
                                                   sealed.data + FLOE_HEADER_BYTES +
                                                       from * small.segment_bytes,
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
static size_t add_files(struct group *g, const char *dir, const char *end, bool whole_path,
                        CMUnitTestFunction fn)
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

#define ADD_ROWS(g, rows, fn)                                                                                \
    for (size_t i_ = 0; i_ < ARRAY_LEN(rows); i_++)                                                          \
    add_test(g, (rows)[i_].name, fn, (void *)(uintptr_t) & (rows)[i_])

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
