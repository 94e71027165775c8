/* Sealed objects through a store: what lies there is sealed, what comes back is proved. */
#include "base/clock.h"
#include "base/mem.h"
#include "core/crypto/crypto.h"
#include "core/seal/seal.h"
#include "tests/fake/store_world.h"

#include <string.h>

static const char plain[] = "weights of a model that may not leave its region";

struct fixture {
    struct world world;
    struct secret *data_key;
    struct seal_context context;
};

static int begin(void **state, enum world_kind kind)
{
    struct fixture *f = mem_new(sizeof(*f));
    world_open(&f->world, kind);
    world_row_begins(&f->world);
    f->data_key = secret_random(FLOE_KEY_BYTES);
    f->context = (struct seal_context){ .cluster = "eu-1",
                                        .region = "test-region-1",
                                        .job = "261122-k3m9qz",
                                        .artifact = "model/1",
                                        .part = 0,
                                        .part_count = 1,
                                        .bucket = f->world.place.bucket,
                                        .key = mem_text(world_key(&f->world, "part-0")),
                                        .plain_bytes = sizeof(plain) };
    *state = f;
    return 0;
}

static int begin_mem(void **state)
{
    return begin(state, WORLD_MEM);
}

static int begin_dir(void **state)
{
    return begin(state, WORLD_DIR);
}

static int end(void **state)
{
    struct fixture *f = *state;
    free((char *)(uintptr_t)f->context.key);
    secret_free(f->data_key);
    world_row_ends(&f->world);
    world_close(&f->world);
    free(f);
    return 0;
}

static void put_plain(struct fixture *f, struct store_info *out)
{
    struct err e = ERR_INIT;
    assert_ok(seal_put(f->world.store, f->data_key, &f->context, plain, NULL, out, NULL, &e));
}

static void assert_gets(struct fixture *f, const char *version, const char *want, size_t n)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 20);
    assert_ok(seal_get(f->world.store, f->data_key, &f->context, version, &out, &e));
    assert_int_equal(out.len, n);
    assert_memory_equal(out.data, want, n);
}

static void assert_get_fails(struct fixture *f, const char *version, enum err_code want)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(seal_get(f->world.store, f->data_key, &f->context, version, &out, &e), want);
    assert_int_equal(out.len, 0);
}

static void read_stored(struct fixture *f, struct buf *out)
{
    struct err e = ERR_INIT;
    assert_ok(store_get(f->world.store, f->context.key, NULL, 0, UINT64_MAX, out, NULL, &e));
}

static void write_stored(struct fixture *f, const void *data, size_t n)
{
    struct err e = ERR_INIT;
    assert_ok(store_put(f->world.store, f->context.key, data, n, NULL, NULL, &e));
}

static void what_is_put_is_got(void **state)
{
    struct fixture *f = *state;
    put_plain(f, NULL);
    assert_gets(f, NULL, plain, sizeof(plain));
}

static void what_is_stored_is_sealed(void **state)
{
    struct fixture *f = *state;
    struct store_info info;
    CLEANUP(buf_done) struct buf stored = BUF_INIT(1 << 20);
    put_plain(f, &info);
    read_stored(f, &stored);
    assert_int_equal(info.bytes, stored.len);
    assert_int_equal(stored.len, floe_sealed_bytes(&floe_default, sizeof(plain)));
    assert_null(memmem(stored.data, stored.len, plain, 8));
}

static void the_hash_is_of_the_sealed_bytes(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    uint8_t told[SHA256_BYTES], real[SHA256_BYTES];
    CLEANUP(buf_done) struct buf stored = BUF_INIT(1 << 20);
    assert_ok(seal_put(f->world.store, f->data_key, &f->context, plain, NULL, NULL, told, &e));
    read_stored(f, &stored);
    sha256(stored.data, stored.len, real);
    assert_memory_equal(told, real, sizeof(real));
}

static void the_lock_is_passed_on(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    struct store_info info;
    const struct store_put_options options = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 2000) };
    assert_ok(seal_put(f->world.store, f->data_key, &f->context, plain, &options, &info, NULL, &e));
    assert_int_equal(info.lock.mode, STORE_LOCK_COMPLIANCE);
    assert_int_equal(store_delete(f->world.store, f->context.key, info.version, &e), ERR_DENIED);
}

static void an_old_version_is_got_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    char newer[sizeof(plain)] = "another text of the same length, as parts are";
    struct store_info first;
    put_plain(f, &first);
    assert_ok(seal_put(f->world.store, f->data_key, &f->context, newer, NULL, NULL, NULL, &e));
    assert_gets(f, NULL, newer, sizeof(newer));
    assert_gets(f, first.version, plain, sizeof(plain));
}

static void an_object_that_is_not_there(void **state)
{
    assert_get_fails(*state, NULL, ERR_NOT_FOUND);
}

static void an_altered_object_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_done) struct buf stored = BUF_INIT(1 << 20);
    put_plain(f, NULL);
    read_stored(f, &stored);
    stored.data[stored.len / 2] ^= 1;
    write_stored(f, stored.data, stored.len);
    assert_get_fails(f, NULL, ERR_CORRUPT);
}

static void a_longer_or_shorter_object_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_done) struct buf stored = BUF_INIT(1 << 20);
    put_plain(f, NULL);
    read_stored(f, &stored);
    write_stored(f, stored.data, stored.len - 1);
    assert_get_fails(f, NULL, ERR_CORRUPT);
    for (int i = 0; i < 1000; i++)
        buf_add_byte(&stored, 0);
    write_stored(f, stored.data, stored.len);
    assert_get_fails(f, NULL, ERR_CORRUPT);
    write_stored(f, "", 0);
    assert_get_fails(f, NULL, ERR_CORRUPT);
}

static void an_object_moved_to_another_key_is_refused(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_done) struct buf stored = BUF_INIT(1 << 20);
    put_plain(f, NULL);
    read_stored(f, &stored);
    char *key = (char *)(uintptr_t)f->context.key;
    key[strlen(key) - 1] = '1'; /* part-1 */
    write_stored(f, stored.data, stored.len);
    assert_get_fails(f, NULL, ERR_CORRUPT);
}

static void another_data_key_is_refused(void **state)
{
    struct fixture *f = *state;
    put_plain(f, NULL);
    secret_free(f->data_key);
    f->data_key = secret_random(FLOE_KEY_BYTES);
    assert_get_fails(f, NULL, ERR_CORRUPT);
}

static void a_failed_put_gives_no_hash(void **state)
{
    struct fixture *f = *state;
    struct err e = ERR_INIT;
    uint8_t hash[SHA256_BYTES] = { 0 }, zero[SHA256_BYTES] = { 0 };
    CLEANUP(store_closep) struct store *fault = store_fault_new(f->world.store);
    store_fault_at(fault, 1, ERR_IO, false);
    assert_int_equal(seal_put(fault, f->data_key, &f->context, plain, NULL, NULL, hash, &e), ERR_IO);
    assert_memory_equal(hash, zero, sizeof(zero));
    store_fault_at(fault, 1, ERR_RETRY, false);
    CLEANUP(buf_done) struct buf out = BUF_INIT(1 << 20);
    assert_int_equal(seal_get(fault, f->data_key, &f->context, NULL, &out, &e), ERR_RETRY);
}

#define BOTH(fn)                                                                                             \
    { #fn " (mem)", fn, begin_mem, end, NULL },                                                              \
    {                                                                                                        \
#fn " (dir)", fn, begin_dir, end, NULL                                                               \
    }

int main(void)
{
    static const struct CMUnitTest tests[] = {
        BOTH(what_is_put_is_got),
        BOTH(what_is_stored_is_sealed),
        BOTH(the_hash_is_of_the_sealed_bytes),
        BOTH(the_lock_is_passed_on),
        BOTH(an_old_version_is_got_by_its_id),
        BOTH(an_object_that_is_not_there),
        BOTH(an_altered_object_is_refused),
        BOTH(a_longer_or_shorter_object_is_refused),
        BOTH(an_object_moved_to_another_key_is_refused),
        BOTH(another_data_key_is_refused),
        BOTH(a_failed_put_gives_no_hash),
    };
    return cmocka_run_group_tests_name("seal_store", tests, NULL, NULL);
}
