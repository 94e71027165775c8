/* The manifest of tokens that were made of text: how it says by what. */
#include "base/mem.h"
#include "core/job/dataset.h"
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* clang-format off */
static const char manifest[] =
    "{\"basis\":\"\",\"bucket\":\"data\",\"class\":\"public\",\"columns\":[],\"compression\":\"none\",\"created_ms\":1,"
    "\"findings\":[],\"format\":\"tokens\",\"name\":\"d\",\"override_by\":\"\",\"override_reason\":\"\",\"owner\":\"\","
    "\"scan\":\"lines\",\"shards\":[{\"bytes\":100,\"key\":\"p/0\",\"plain_bytes\":100,\"plain_sha256\":\"" HASH_A "\","
    "\"records\":50,\"sha256\":\"" HASH_A "\",\"version\":\"v\"}],\"source\":\"\",\"token_bytes\":2,"
    "\"tokenizer\":{\"end\":50256,\"files\":["
    "{\"bytes\":1042301,\"key\":\"p/tokenizer/vocab.json\",\"sha256\":\"" HASH_A "\",\"version\":\"v3\"},"
    "{\"bytes\":456318,\"key\":\"p/tokenizer/merges.txt\",\"sha256\":\"" HASH_B "\",\"version\":\"v4\"}],"
    "\"name\":\"bpe\",\"vocabulary\":50257},\"version\":3}";
/* clang-format on */

static enum err_code read_text(const char *text, struct dataset *out, struct err *e)
{
    return dataset_from_text(text, strlen(text), out, e);
}

/* With `to` in the place of `from`. The caller frees. */
static char *replaced(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    assert_non_null(at);
    return mem_printf("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void tokenizer_is_read_and_written(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    assert_ok(read_text(manifest, &d, &e));
    assert_int_equal(d.tokenizer.kind, TOKENIZER_BPE);
    assert_int_equal(d.tokenizer.vocabulary, 50257);
    assert_int_equal(d.tokenizer.end, 50256);
    assert_string_equal(d.tokenizer.vocab.key, "p/tokenizer/vocab.json");
    assert_string_equal(d.tokenizer.vocab.version, "v3");
    assert_string_equal(d.tokenizer.merges.sha256, HASH_B);
    assert_int_equal(d.tokenizer.merges.bytes, 456318);
    assert_ok(dataset_to_text(&d, &text, &e));
    assert_string_equal(buf_text(&text), manifest);
}

static void tokenizer_that_does_not_go_together_is_corrupt(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *want;
    } rows[] = {
        { "\"name\":\"bpe\"", "\"name\":\"words\"", "'name' has no value 'words'" },
        { "\"name\":\"bpe\"", "\"name\":\"bytes\"", "'files' must have 0 entries, not 2" },
        { "\"name\":\"bpe\"", "\"name\":\"none\"", "'files' must have 0 entries, not 2" },
        { "\"end\":50256", "\"end\":50257", "'vocabulary' 50257 and 'end' 50257 do not go with 'bpe'" },
        { "\"end\":50256", "\"end\":-1", "'end' must be from 0 to 1048575, not -1" },
        { "\"vocabulary\":50257", "\"vocabulary\":65537", "numbers to 65536 do not fit 2 bytes" },
        { "\"vocabulary\":50257", "\"vocabulary\":1048577",
          "'vocabulary' must be from 0 to 1048576, not 1048577" },
        { "\"version\":\"v3\"", "\"version\":\"\"", "files[0]: 'version' must not be empty" },
        { "\"end\"", "\"more\":1,\"end\"", "'more' is no member of it" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(freep) char *text = replaced(manifest, rows[i].from, rows[i].to);
        CLEANUP(freep) char *want = mem_printf("dataset manifest: tokenizer: %s", rows[i].want);
        struct err e = ERR_INIT;
        struct dataset d;
        assert_int_equal(read_text(text, &d, &e), ERR_CORRUPT);
        if (strncmp(rows[i].want, "files[", 6) != 0)
            assert_string_equal(e.text, want);
        else
            assert_non_null(strstr(e.text, rows[i].want));
    }
}

static enum err_code load(const char *text, struct err *e)
{
    const struct store_place place = { .kind = STORE_MEM, .bucket = "data", .region = "eu-test" };
    CLEANUP(store_closep) struct store *s = NULL;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    char digest[65];
    if (store_make_bucket(&place, NULL, false, e) || store_open(&place, NULL, &s, e) ||
        store_put(s, "p/manifest.json", text, strlen(text), NULL, NULL, e))
        fail_msg("a store in memory: %s", e->text);
    return dataset_load(s, "p", &d, digest, e);
}

static void files_lie_beside_the_manifest(void **state)
{
    (void)state;
    static const char *const keys[] = { "q/tokenizer/vocab.json", "p/vocab.json", "p/tokenizer/merges.txt",
                                        "p/tokenizer/vocab.json/", "p" };
    struct err e = ERR_INIT;
    assert_ok(load(manifest, &e));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        CLEANUP(freep) char *text = replaced(manifest, "p/tokenizer/vocab.json", keys[i]);
        CLEANUP(freep)
        char *want = mem_printf("'p/manifest.json': dataset manifest: tokenizer: files[0]: '%s' must be "
                                "'p/tokenizer/vocab.json'",
                                keys[i]);
        err_clear(&e);
        assert_int_equal(load(text, &e), ERR_CORRUPT);
        assert_string_equal(e.text, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokenizer_is_read_and_written),
        cmocka_unit_test(tokenizer_that_does_not_go_together_is_corrupt),
        cmocka_unit_test(files_lie_beside_the_manifest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
