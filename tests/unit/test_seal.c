/* Sealed objects: bound to every field of their context and to their data key. */
#include "tests/test.h"

#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "core/seal/floe_message.h"
#include "core/seal/seal.h"

#include <string.h>

static const char plain[] = "three hundred million weights, or this";

static struct seal_context context_of(uint64_t plain_bytes)
{
    return (struct seal_context){ .cluster = "eu-1",
                                  .region = "eusc-de-east-1",
                                  .job = "261122-k3m9qz",
                                  .artifact = "checkpoint/000000000120-2-7",
                                  .part = 3,
                                  .part_count = 8,
                                  .bucket = "bank-models",
                                  .key = "credit/000000000120-2-7/part-3",
                                  .plain_bytes = plain_bytes };
}

static struct secret *data_key_of(uint8_t byte)
{
    uint8_t bytes[FLOE_KEY_BYTES];
    memset(bytes, byte, sizeof(bytes));
    return secret_new(bytes, sizeof(bytes));
}

static void seal_plain(struct buf *out)
{
    struct err e = ERR_INIT;
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    const struct seal_context c = context_of(sizeof(plain));
    assert_ok(seal_object(key, &c, plain, out, &e));
}

/* The bytes are on disk for as long as the objects are: any change here makes them unreadable. */
static void context_bytes_are_fixed(void **state)
{
    (void)state;
    static const char want[] = "sovrun-seal-v1\0\0\0\4eu-1\0\0\0\16eusc-de-east-1\0\0\0\15"
                               "261122-k3m9qz\0\0\0\33checkpoint/000000000120-2-7"
                               "\0\0\0\10\0\0\0\0\0\0\0\3\0\0\0\10\0\0\0\0\0\0\0\10\0\0\0\13bank-models"
                               "\0\0\0\36credit/000000000120-2-7/part-3\0\0\0\10\0\0\0\0\0\1\2\3";
    const struct seal_context c = context_of(0x10203);
    CLEANUP(buf_done) struct buf out = BUF_INIT(1024);
    seal_context_bytes(&c, &out);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.len);
}

/* A field's end cannot be moved into the next one. */
static void fields_do_not_run_together(void **state)
{
    (void)state;
    struct seal_context a = context_of(1), b = context_of(1);
    CLEANUP(buf_done) struct buf bytes_a = BUF_INIT(1024);
    CLEANUP(buf_done) struct buf bytes_b = BUF_INIT(1024);
    a.cluster = "ab", a.region = "c";
    b.cluster = "a", b.region = "bc";
    seal_context_bytes(&a, &bytes_a);
    seal_context_bytes(&b, &bytes_b);
    assert_int_equal(bytes_a.len, bytes_b.len);
    assert_memory_not_equal(bytes_a.data, bytes_b.data, bytes_a.len);
}

static void what_was_sealed_opens(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const uint64_t sizes[] = { 0, 1, 1000, 1048544, 1048545, 3 * 1048576 };
    CLEANUP(secret_freep) struct secret *key = secret_random(FLOE_KEY_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const struct seal_context c = context_of(sizes[i]);
        CLEANUP(freep) uint8_t *in = mem_new(sizes[i]);
        CLEANUP(buf_done) struct buf sealed = BUF_INIT(4 << 20);
        CLEANUP(buf_done) struct buf out = BUF_INIT(4 << 20);
        memset(in, 0x5a, sizes[i]);
        assert_ok(seal_object(key, &c, in, &sealed, &e));
        assert_int_equal(sealed.len, floe_sealed_bytes(&floe_default, sizes[i]));
        assert_ok(open_object(key, &c, sealed.data, sealed.len, &out, &e));
        assert_int_equal(out.len, sizes[i]);
        assert_memory_equal(buf_text(&out), in, sizes[i]);
    }
}

static void set_cluster(struct seal_context *c)
{
    c->cluster = "eu-2";
}
static void set_region(struct seal_context *c)
{
    c->region = "eusc-de-east-2";
}
static void set_job(struct seal_context *c)
{
    c->job = "261122-k3m9qy";
}
static void set_artifact(struct seal_context *c)
{
    c->artifact = "checkpoint/000000000120-2-8";
}
static void set_part(struct seal_context *c)
{
    c->part = 4;
}
static void set_part_count(struct seal_context *c)
{
    c->part_count = 9;
}
static void set_bucket(struct seal_context *c)
{
    c->bucket = "bank-model";
}
static void set_key(struct seal_context *c)
{
    c->key = "credit/000000000120-2-7/part-4";
}
static void set_plain_bytes_less(struct seal_context *c)
{
    c->plain_bytes--;
}
static void set_plain_bytes_more(struct seal_context *c)
{
    c->plain_bytes++;
}
static void set_plain_bytes_none(struct seal_context *c)
{
    c->plain_bytes = 0;
}

static const struct context_row {
    const char *name;
    void (*change)(struct seal_context *c);
} context_rows[] = {
    { "refused: another cluster", set_cluster },
    { "refused: another region", set_region },
    { "refused: another job", set_job },
    { "refused: another artifact", set_artifact },
    { "refused: another part", set_part },
    { "refused: another number of parts", set_part_count },
    { "refused: another bucket", set_bucket },
    { "refused: another key in the bucket", set_key },
    { "refused: a byte less", set_plain_bytes_less },
    { "refused: a byte more", set_plain_bytes_more },
    { "refused: no bytes", set_plain_bytes_none },
};

static void assert_refused(const struct secret *key, const struct seal_context *c, const struct buf *sealed)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(open_object(key, c, sealed->data, sealed->len, &out, &e), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
    assert_non_null(strstr(e.text, c->key)); /* the message says which object */
    for (size_t i = 0; i < out.size; i++)
        assert_int_equal(out.data[i], 0);
}

static void another_context_is_refused(void **state)
{
    const struct context_row *r = *state;
    struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    seal_plain(&sealed);
    r->change(&c);
    assert_refused(key, &c, &sealed);
}

static void another_data_key_is_refused(void **state)
{
    (void)state;
    const struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = data_key_of(2);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    seal_plain(&sealed);
    assert_refused(key, &c, &sealed);
}

/* Two objects of one data key and one length: each is refused in the place of the other. */
static void swapped_objects_are_refused(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct seal_context a = context_of(sizeof(plain)), b = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf sealed_a = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf sealed_b = BUF_INIT(4096);
    b.part = 4;
    b.key = "credit/000000000120-2-7/part-4";
    assert_ok(seal_object(key, &a, plain, &sealed_a, &e));
    assert_ok(seal_object(key, &b, plain, &sealed_b, &e));
    assert_refused(key, &a, &sealed_b);
    assert_refused(key, &b, &sealed_a);
}

static void each_flipped_bit_is_refused(void **state)
{
    (void)state;
    const struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    seal_plain(&sealed);
    for (size_t bit = 0; bit < 8 * sealed.len; bit++) {
        sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_refused(key, &c, &sealed);
        sealed.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void each_other_length_is_refused(void **state)
{
    (void)state;
    const struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    seal_plain(&sealed);
    const size_t whole = sealed.len;
    buf_add_byte(&sealed, 0);
    assert_refused(key, &c, &sealed);
    for (size_t n = 0; n < whole; n++) {
        sealed.len = n;
        assert_refused(key, &c, &sealed);
    }
}

/* The rule that tools/open_sealed.py follows: the object's key is HKDF-Expand-SHA-256(data key, label ||
 * context). */
static void the_object_key_is_derived_as_documented(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    uint8_t object_key[FLOE_KEY_BYTES];
    const struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *data_key = data_key_of(1);
    CLEANUP(buf_done) struct buf sealed = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf aad = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf info = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    seal_plain(&sealed);
    seal_context_bytes(&c, &aad);
    buf_add_text(&info, "sovrun object key v1");
    buf_add(&info, aad.data, aad.len);
    hkdf_expand_sha256(secret_bytes(data_key), FLOE_KEY_BYTES, info.data, info.len, object_key,
                       sizeof(object_key));
    CLEANUP(secret_freep) struct secret *key = secret_new(object_key, sizeof(object_key));
    assert_ok(floe_open(&floe_default, key, aad.data, aad.len, sealed.data, sealed.len, &out, &e));
    assert_string_equal(buf_text(&out), plain);
}

/* FLOE allows a full segment and then an empty last one. An object has one form only: as short as can be. */
static void an_empty_segment_more_is_refused(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const size_t full = floe_segment_plain_bytes(&floe_default);
    const struct seal_context c = context_of(full);
    uint8_t object_key[FLOE_KEY_BYTES];
    CLEANUP(freep) uint8_t *in = mem_new(full);
    CLEANUP(freep) uint8_t *sealed = mem_new(3 << 20);
    CLEANUP(secret_freep) struct secret *data_key = data_key_of(1);
    CLEANUP(buf_done) struct buf aad = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf info = BUF_INIT(4096);
    CLEANUP(buf_done) struct buf out = BUF_INIT(3 << 20);
    CLEANUP(floe_message_done) struct floe_message m = { .aead = NULL };
    seal_context_bytes(&c, &aad);
    buf_add_text(&info, "sovrun object key v1");
    buf_add(&info, aad.data, aad.len);
    hkdf_expand_sha256(secret_bytes(data_key), FLOE_KEY_BYTES, info.data, info.len, object_key,
                       sizeof(object_key));
    CLEANUP(secret_freep) struct secret *key = secret_new(object_key, sizeof(object_key));
    assert_ok(floe_message_start(&m, &floe_default, key, aad.data, aad.len, sealed, &e));
    floe_message_seal(&m, 0, false, in, full, sealed + FLOE_HEADER_BYTES);
    floe_message_seal(&m, 1, true, in, 0, sealed + FLOE_HEADER_BYTES + floe_default.segment_bytes);
    size_t n = FLOE_HEADER_BYTES + floe_default.segment_bytes + FLOE_SEGMENT_OVERHEAD;
    assert_ok(floe_open(&floe_default, key, aad.data, aad.len, sealed, n, &out, &e));
    buf_reset(&out);
    assert_int_equal(open_object(data_key, &c, sealed, n, &out, &e), ERR_CORRUPT);
    assert_int_equal(out.len, 0);
}

static void more_than_the_store_holds_is_a_limit(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    static const uint64_t sizes[] = { STORE_OBJECT_BYTES_MAX, UINT64_MAX, UINT64_MAX - 106,
                                      STORE_OBJECT_BYTES_MAX - 74 - 32 * 1024 + 1 };
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf out = BUF_INIT(64);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        const struct seal_context c = context_of(sizes[i]);
        assert_int_equal(seal_object(key, &c, plain, &out, &e), ERR_LIMIT);
        assert_int_equal(open_object(key, &c, plain, sizeof(plain), &out, &e), ERR_LIMIT);
    }
}

static void a_data_key_has_32_bytes(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const struct seal_context c = context_of(sizeof(plain));
    CLEANUP(secret_freep) struct secret *key = secret_random(16);
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    assert_int_equal(seal_object(key, &c, plain, &out, &e), ERR_USAGE);
    assert_int_equal(out.len, 0);
}

static void too_long_a_context_is_a_limit(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct seal_context c = context_of(sizeof(plain));
    CLEANUP(freep) char *artifact = mem_new(20001);
    CLEANUP(secret_freep) struct secret *key = data_key_of(1);
    CLEANUP(buf_done) struct buf out = BUF_INIT(4096);
    memset(artifact, 'a', 20000);
    c.artifact = artifact;
    assert_int_equal(seal_object(key, &c, plain, &out, &e), ERR_LIMIT);
}

enum { TESTS_MAX = 64 };

int main(void)
{
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(context_bytes_are_fixed),
        cmocka_unit_test(fields_do_not_run_together),
        cmocka_unit_test(what_was_sealed_opens),
        cmocka_unit_test(another_data_key_is_refused),
        cmocka_unit_test(swapped_objects_are_refused),
        cmocka_unit_test(each_flipped_bit_is_refused),
        cmocka_unit_test(each_other_length_is_refused),
        cmocka_unit_test(the_object_key_is_derived_as_documented),
        cmocka_unit_test(an_empty_segment_more_is_refused),
        cmocka_unit_test(more_than_the_store_holds_is_a_limit),
        cmocka_unit_test(a_data_key_has_32_bytes),
        cmocka_unit_test(too_long_a_context_is_a_limit),
    };
    static struct CMUnitTest tests[TESTS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(context_rows); i++)
        tests[count++] = (struct CMUnitTest){ context_rows[i].name, another_context_is_refused, NULL, NULL,
                                              (void *)(uintptr_t)&context_rows[i] };
    memcpy(&tests[count], others, sizeof(others));
    return _cmocka_run_group_tests("seal", tests, count + ARRAY_LEN(others), NULL, NULL);
}
