/* A text that is staged as tokens: they are those of each whole file, whatever the threads and the cut; the
 * manifest says how they were made; and only what changed travels. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "runner/cli/stage.h"
#include "runner/cli/stage_tokens.h"
#include "tests/test.h"
#include "tests/token_small.h"

#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

enum { TEXT_MAX = 1 << 26 };

struct scene {
    char folder[64], source[128], vocab[128], merges[128];
    struct store_place place;
    struct store *store;
    struct stage_tokenizer bpe, bytes;
};

static const char pairs[] = "a a\nĠ a\nt h\nth e\naa aa\nĠ the\nĊ Ċ\nw o\nr d\nwo rd\nĠ word\n";

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int scene_open(void **state)
{
    struct scene *s = mem_new(sizeof(*s));
    CLEANUP(buf_done) struct buf vocab = BUF_INIT(TEXT_MAX);
    struct err e = ERR_INIT;
    snprintf(s->folder, sizeof(s->folder), "build/test-tokens-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(s->folder))
        return -1;
    snprintf(s->source, sizeof(s->source), "%s/texts", s->folder);
    snprintf(s->vocab, sizeof(s->vocab), "%s/vocab.json", s->folder);
    snprintf(s->merges, sizeof(s->merges), "%s/merges.txt", s->folder);
    s->place = (struct store_place){ .kind = STORE_DIR, .bucket = "data", .region = "eu" };
    snprintf(s->place.root, sizeof(s->place.root), "%s/store", s->folder);
    token_small_vocab(pairs, &vocab);
    if (dir_make(s->place.root, 0700, &e) || dir_make(s->source, 0700, &e) ||
        store_make_bucket(&s->place, NULL, false, &e) || store_open(&s->place, NULL, &s->store, &e) ||
        file_write(s->vocab, vocab.data, vocab.len, 0600, &e) ||
        file_write(s->merges, pairs, strlen(pairs), 0600, &e) ||
        stage_tokenizer_open(TOKENIZER_BPE, s->vocab, s->merges, &s->bpe, &e) ||
        stage_tokenizer_open(TOKENIZER_BYTES, NULL, NULL, &s->bytes, &e))
        return -1;
    *state = s;
    return 0;
}

static int scene_close(void **state)
{
    struct scene *s = *state;
    stage_tokenizer_done(&s->bpe);
    stage_tokenizer_done(&s->bytes);
    store_close(s->store);
    nftw(s->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
    return 0;
}

static enum err_code open_store(void *context, struct store **out, struct err *e)
{
    struct scene *s = context;
    return store_open(&s->place, NULL, out, e);
}

static void put_file(const struct scene *s, const char *name, const void *text, size_t n)
{
    CLEANUP(freep) char *path = path_join(s->source, name);
    struct err e = ERR_INIT;
    assert_ok(file_write(path, text, n, 0600, &e));
}

static enum err_code stage(struct scene *s, const struct stage_options *o, struct stage_result *r,
                           struct err *e)
{
    CLEANUP(source_closep) struct source *source = NULL;
    CLEANUP(stage_facts_done) struct stage_facts facts = { .columns = NULL };
    struct stage_target target = { .open = open_store, .context = s, .bucket = "data", .prefix = "set/v1" };
    if (source_open(s->source, "build", 0, &source, e) || stage_survey(source, o, &facts, e))
        return e->code;
    assert_int_equal(facts.format, RECORDS_TOKENS);
    assert_int_equal(facts.scan, SCANNED_LINES);
    return stage_send(source, &facts, &target, o, r, e);
}

static void load(const struct scene *s, struct dataset *out)
{
    struct err e = ERR_INIT;
    char digest[65];
    assert_ok(dataset_load(s->store, "set/v1", out, digest, &e));
}

/* All tokens, as they lie there: little-endian, 2 bytes each. */
static void join(const struct scene *s, const struct dataset *d, struct buf *out)
{
    assert_int_equal(d->token_bytes, 2);
    for (size_t i = 0; i < d->shard_count; i++) {
        CLEANUP(buf_done) struct buf bytes = BUF_INIT(TEXT_MAX);
        struct err e = ERR_INIT;
        assert_ok(
            store_get(s->store, d->shards[i].key, d->shards[i].version, 0, UINT64_MAX, &bytes, NULL, &e));
        assert_ok(dataset_open_shard(d, i, &bytes, &e));
        buf_add(out, bytes.data, bytes.len);
    }
}

/* The same from the whole text at once. */
static void add_want(const struct stage_tokenizer *t, const void *text, size_t n, struct buf *out)
{
    CLEANUP(encoder_freep) struct encoder *c = encoder_new(t->is);
    CLEANUP(token_ids_done) struct token_ids ids = { .ids = NULL };
    struct err e = ERR_INIT;
    assert_ok(encoder_add(c, text, n, &ids, &e));
    token_ids_add(&ids, t->end);
    for (size_t i = 0; i < ids.count; i++) {
        buf_add_byte(out, (uint8_t)ids.ids[i]);
        buf_add_byte(out, (uint8_t)(ids.ids[i] >> 8));
    }
}

static void assert_same(const struct buf *a, const struct buf *b)
{
    assert_int_equal(a->len, b->len);
    assert_memory_equal(a->data, b->data, a->len);
}

/* Lines with all kinds of white space around them, some of them empty. */
static void make_text(int lines, uint32_t draw, struct buf *out)
{
    static const char *const words[] = { "the word", " aaaa",    "\xe3\x80\x80", "\n\n", "it's",      "  \t",
                                         "12 the",   "\xc2\xa0", "!?",           "\r\n", "\xc3\xa4z", " " };
    for (int i = 0; i < lines; i++) {
        for (int k = 0; k < 8; k++) {
            draw = draw * 1664525 + 1013904223;
            buf_add_text(out, words[(draw >> 16) % ARRAY_LEN(words)]);
        }
        buf_add_byte(out, '\n');
    }
}

static void tokens_do_not_depend_on_threads_or_cut(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf one = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf two = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf want = BUF_INIT(TEXT_MAX);
    make_text(40000, 1, &one);
    make_text(3000, 2, &two);
    buf_add_text(&two, "no line end");
    put_file(s, "1", one.data, one.len);
    put_file(s, "2", two.data, two.len);
    add_want(&s->bpe, one.data, one.len, &want);
    add_want(&s->bpe, two.data, two.len, &want);
    const struct stage_options rows[] = {
        { .shards = 1, .parallel = 1 },
        { .shards = 7, .parallel = 4 },
        { .shard_records = 12345, .parallel = 2 },
        { .shard_bytes = 4096, .parallel = 3 },
        { .compression = COMPRESSION_ZSTD },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        CLEANUP(buf_done) struct buf got = BUF_INIT(TEXT_MAX);
        struct stage_options o = rows[i];
        struct stage_result r;
        struct err e = ERR_INIT;
        o.format = RECORDS_TEXT;
        o.tokenizer = &s->bpe;
        assert_ok(stage(s, &o, &r, &e));
        load(s, &d);
        join(s, &d, &got);
        assert_same(&got, &want);
        assert_int_equal(r.records, want.len / 2);
        assert_true(rows[i].shards == 0 || d.shard_count == (size_t)rows[i].shards);
        assert_ok(stage(s, &o, &r, &e));
        assert_true(r.already && r.sent == 0);
    }
}

static void each_file_is_a_document(void **state)
{
    struct scene *s = *state;
    static const struct {
        const char *name, *text, *of_it; /* of_it: what has tokens */
    } files[] = {
        { "1", "the word", "the word" },
        { "2", "", NULL },
        { "3", "\n \n", "\n \n" },
        { "4",
          "\xef\xbb\xbf"
          "a\n",
          "a\n" },
        { "5", "\xef\xbb\xbf", NULL },
        { "6", " a \t", " a \t" },
    };
    const struct stage_tokenizer *const kinds[] = { &s->bpe, &s->bytes };
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        put_file(s, files[i].name, files[i].text, strlen(files[i].text));
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
        CLEANUP(buf_done) struct buf want = BUF_INIT(TEXT_MAX);
        CLEANUP(buf_done) struct buf got = BUF_INIT(TEXT_MAX);
        struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = kinds[k] };
        struct stage_result r;
        struct err e = ERR_INIT;
        for (size_t i = 0; i < ARRAY_LEN(files); i++)
            if (files[i].of_it)
                add_want(kinds[k], files[i].of_it, strlen(files[i].of_it), &want);
        assert_ok(stage(s, &o, &r, &e));
        load(s, &d);
        join(s, &d, &got);
        assert_same(&got, &want);
    }
}

static void the_manifest_says_how(void **state)
{
    struct scene *s = *state;
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    CLEANUP(buf_done) struct buf file = BUF_INIT(TEXT_MAX);
    struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = &s->bpe };
    struct stage_result r;
    struct err e = ERR_INIT, why = ERR_INIT;
    put_file(s, "1", "the word\n", 9);
    assert_ok(stage(s, &o, &r, &e));
    load(s, &d);
    assert_string_equal(d.format, "tokens");
    assert_int_equal(d.tokenizer.kind, TOKENIZER_BPE);
    assert_int_equal(d.tokenizer.vocabulary, 256 + 11 + 1);
    assert_int_equal(d.tokenizer.end, 256 + 11);
    assert_string_equal(d.tokenizer.vocab.key, "set/v1/tokenizer/vocab.json");
    assert_string_equal(d.tokenizer.merges.key, "set/v1/tokenizer/merges.txt");
    assert_ok(store_get(s->store, d.tokenizer.merges.key, d.tokenizer.merges.version, 0, UINT64_MAX, &file,
                        NULL, &e));
    assert_string_equal(buf_text(&file), pairs);
    assert_ok(stage_tokenizer_verify(s->store, &d.tokenizer.vocab, &why, &e));
    assert_int_equal(why.code, OK);
    memset(d.tokenizer.vocab.sha256, '0', 64);
    assert_ok(stage_tokenizer_verify(s->store, &d.tokenizer.vocab, &why, &e));
    assert_int_equal(why.code, ERR_CORRUPT);
}

static void a_changed_line_sends_little(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf want = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf got = BUF_INIT(TEXT_MAX);
    CLEANUP(dataset_done) struct dataset d = { .columns = NULL };
    struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = &s->bpe, .shard_bytes = 4096 };
    struct stage_result r;
    struct err e = ERR_INIT;
    make_text(20000, 3, &text);
    put_file(s, "1", text.data, text.len);
    assert_ok(stage(s, &o, &r, &e));
    assert_true(r.shards > 50 && r.sent == r.shards);
    char *line = memchr(text.data + text.len / 2, '\n', text.len / 2);
    line[-1] = line[-1] == 'x' ? 'y' : 'x';
    size_t tail = text.data + text.len - (uint8_t *)line;
    CLEANUP(freep) char *copy = mem_text_n(line, tail);
    text.len -= tail;
    buf_add_text(&text, " more of it");
    buf_add(&text, copy, tail);
    put_file(s, "1", text.data, text.len);
    assert_ok(stage(s, &o, &r, &e));
    assert_in_range(r.sent, 1, 5);
    load(s, &d);
    join(s, &d, &got);
    add_want(&s->bpe, text.data, text.len, &want);
    assert_same(&got, &want);
}

static void another_tokenizer_is_another_dataset(void **state)
{
    struct scene *s = *state;
    CLEANUP(dataset_done) struct dataset first = { .columns = NULL };
    CLEANUP(dataset_done) struct dataset second = { .columns = NULL };
    CLEANUP(stage_tokenizer_done) struct stage_tokenizer other = { .is = NULL };
    struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = &s->bpe };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s, "1", "xyz\n", 4); /* nothing that merges */
    assert_ok(stage(s, &o, &r, &e));
    load(s, &first);
    assert_ok(file_write(s->merges, "a a\n", 4, 0600, &e));
    assert_ok(stage_tokenizer_open(TOKENIZER_BPE, s->vocab, s->merges, &other, &e));
    o.tokenizer = &other;
    assert_ok(stage(s, &o, &r, &e));
    assert_true(!r.already && r.sent == 0); /* the tokens are the same, and what they mean is not */
    load(s, &second);
    assert_string_equal(first.tokenizer.vocab.version, second.tokenizer.vocab.version);
    assert_string_not_equal(first.tokenizer.merges.version, second.tokenizer.merges.version);
}

static void a_dry_run_puts_no_files(void **state)
{
    struct scene *s = *state;
    CLEANUP(buf_done) struct buf file = BUF_INIT(TEXT_MAX);
    struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = &s->bpe, .dry_run = true };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s, "1", "the word\n", 9);
    assert_ok(stage(s, &o, &r, &e));
    assert_true(!r.already && r.sent == 1);
    assert_int_equal(store_get(s->store, "set/v1/tokenizer/vocab.json", NULL, 0, UINT64_MAX, &file, NULL, &e),
                     ERR_NOT_FOUND);
    o.dry_run = false;
    assert_ok(stage(s, &o, &r, &e));
    o.dry_run = true;
    assert_ok(stage(s, &o, &r, &e));
    assert_true(r.already);
}

static void bad_text_is_refused(void **state)
{
    struct scene *s = *state;
    CLEANUP(freep) char *space = mem_new(STAGE_SPACE_BYTES_MAX + 4096);
    struct stage_options o = { .format = RECORDS_TEXT, .tokenizer = &s->bytes };
    struct stage_result r;
    struct err e = ERR_INIT;
    put_file(s, "1", "fine\nn\xe9 \n", 9);
    assert_int_equal(stage(s, &o, &r, &e), ERR_USAGE);
    assert_non_null(strstr(e.text, "/1:2: not UTF-8"));
    memset(space, '\n', STAGE_SPACE_BYTES_MAX + 4096);
    put_file(s, "1", space, STAGE_SPACE_BYTES_MAX + 4096);
    assert_int_equal(stage(s, &o, &r, &e), ERR_LIMIT);
    assert_non_null(strstr(e.text, "of white space end here"));
}

#define SCENE_TEST(f) cmocka_unit_test_setup_teardown(f, scene_open, scene_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCENE_TEST(tokens_do_not_depend_on_threads_or_cut),
        SCENE_TEST(each_file_is_a_document),
        SCENE_TEST(the_manifest_says_how),
        SCENE_TEST(a_changed_line_sends_little),
        SCENE_TEST(another_tokenizer_is_another_dataset),
        SCENE_TEST(a_dry_run_puts_no_files),
        SCENE_TEST(bad_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
