/*
 * Every kind of tampering with a ledger is found and named. The ledger is that of ledger_small.h: records
 * 1-3, 4-8 and 9-12 under token 7. Each row changes it in the store, as somebody would who may write to the
 * bucket.
 */
#include "tests/test.h"

#include "base/text.h"
#include "core/crypto/dsse.h"
#include "tests/unit/ledger_hands.h"

/* One digit of the record's number in its data becomes another: the line stays sound JSON. */
static void change_line(char *line)
{
    char *digit = strstr(line, "\"number\":");
    assert_non_null(digit);
    digit[strlen("\"number\":")] ^= 1;
}

/* ---- records ---- */

static void change(struct ledger_small *s, const char *key, size_t at)
{
    struct lines l = lines_of(s, key);
    change_line(l.line[at]);
    put_lines(s, key, &l);
}

static void change_1(struct ledger_small *s)
{
    change(s, SEGMENT_1, 0);
}

static void change_3(struct ledger_small *s)
{
    change(s, SEGMENT_1, 2);
}

static void change_6(struct ledger_small *s)
{
    change(s, SEGMENT_4, 2);
}

static void change_12(struct ledger_small *s)
{
    change(s, SEGMENT_9, 3);
}

static void change_prev_of_6(struct ledger_small *s)
{
    struct lines l = lines_of(s, SEGMENT_4);
    char *prev = strstr(l.line[2], "\"prev\":\"");
    prev[8] = prev[8] == 'a' ? 'b' : 'a';
    put_lines(s, SEGMENT_4, &l);
}

static void change_and_rehash(struct ledger_small *s)
{
    struct lines l = lines_of(s, SEGMENT_4);
    char hash[SHA256_HEX_BYTES];

    change_line(l.line[2]);
    for (size_t i = 3; i < l.count; i++) { /* as a careful forger does: but the head is signed */
        sha256_hex(l.line[i - 1], strlen(l.line[i - 1]), hash);
        memcpy(strstr(l.line[i], "\"prev\":\"") + 8, hash, 64);
    }
    put_lines(s, SEGMENT_4, &l);
}

static void to_rubbish(struct ledger_small *s)
{
    struct lines l = lines_of(s, SEGMENT_4);
    memset(l.line[2], '{', 10);
    put_lines(s, SEGMENT_4, &l);
}

static void remove_line(struct ledger_small *s, const char *key, size_t at)
{
    struct lines l = lines_of(s, key);
    free(l.line[at]);
    memmove(&l.line[at], &l.line[at + 1], (--l.count - at) * sizeof(l.line[0]));
    put_lines(s, key, &l);
}

static void remove_4(struct ledger_small *s)
{
    remove_line(s, SEGMENT_4, 0);
}

static void remove_6(struct ledger_small *s)
{
    remove_line(s, SEGMENT_4, 2);
}

static void remove_12(struct ledger_small *s)
{
    remove_line(s, SEGMENT_9, 3);
}

static void swap_6_and_7(struct ledger_small *s)
{
    struct lines l = lines_of(s, SEGMENT_4);
    char *six = l.line[2];
    l.line[2] = l.line[3];
    l.line[3] = six;
    put_lines(s, SEGMENT_4, &l);
}

static void insert_line(struct ledger_small *s, size_t at)
{
    struct lines l = lines_of(s, SEGMENT_4);
    char *again = mem_text(l.line[at ? at - 1 : 0]);
    change_line(again);
    memmove(&l.line[at + 1], &l.line[at], (l.count++ - at) * sizeof(l.line[0]));
    l.line[at] = again;
    put_lines(s, SEGMENT_4, &l);
}

static void insert_before_4(struct ledger_small *s)
{
    insert_line(s, 0);
}

static void insert_behind_6(struct ledger_small *s)
{
    insert_line(s, 3);
}

static void insert_behind_8(struct ledger_small *s)
{
    insert_line(s, 5);
}

static void cut_last_byte(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    fetch(s->store, SEGMENT_9, &bytes);
    place(s, SEGMENT_9, bytes.data, bytes.len - 1);
}

static void empty_line_last(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    fetch(s->store, SEGMENT_9, &bytes);
    buf_add_byte(&bytes, '\n');
    place(s, SEGMENT_9, bytes.data, bytes.len);
}

static void empty_segment(struct ledger_small *s)
{
    place(s, SEGMENT_4, "", 0);
}

static void huge_segment(struct ledger_small *s)
{
    CLEANUP(freep) char *newlines = mem_new(4096);
    memset(newlines, '\n', 4096);
    place(s, SEGMENT_4, newlines, 4096);
}

/* ---- segments ---- */

static void remove_segment(struct ledger_small *s)
{
    hide(s, SEGMENT_4);
}

static void exchange_segments(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf four = BUF_INIT(BYTES_MAX);
    fetch(s->store, SEGMENT_4, &four);
    copy(s, s->store, SEGMENT_9, SEGMENT_4);
    place(s, SEGMENT_9, four.data, four.len);
}

/* A ledger of the same shape by the same writer, of other events or for another cluster. */
static struct store *another(struct ledger_small *s, const char *cluster, int64_t token, const char *what)
{
    struct store *store = small_store();
    small_fill(store, s, cluster, token, what);
    return store;
}

static void segment_of_another_history(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "one", 7, "job.cancelled");
    copy(s, other, SEGMENT_4, SEGMENT_4);
}

static void strange_names(struct ledger_small *s)
{
    place(s, "audit/one/segment/000000000004-07.jsonl", "x", 1);
}

static void strange_head_name(struct ledger_small *s)
{
    place(s, "audit/one/head/notes.txt", "x", 1);
}

/* ---- heads ---- */

static void remove_head_8(struct ledger_small *s)
{
    hide(s, HEAD_8);
}

static void cut_end(struct ledger_small *s)
{
    hide(s, HEAD_12);
    hide(s, SEGMENT_9);
}

static void cut_head_only(struct ledger_small *s)
{
    hide(s, HEAD_12);
}

static void cut_everything(struct ledger_small *s)
{
    static const char *const keys[] = { SEGMENT_1, SEGMENT_4, SEGMENT_9, HEAD_3, HEAD_8, HEAD_12 };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        hide(s, keys[i]);
}

static void sign_head(struct ledger_small *s, const char *key, const struct signer *signer,
                      const char *cluster, struct ledger_signed h)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    struct err e = ERR_INIT;
    assert_ok(ledger_head_write(&h, cluster, 1800000000000, signer, &bytes, &e));
    place(s, key, bytes.data, bytes.len);
}

static struct ledger_signed head_of(struct ledger_small *s, struct store *store, const char *key, int64_t seq)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    struct ledger_signed h;
    struct err e = ERR_INIT;
    fetch(store, key, &bytes);
    assert_ok(ledger_head_read(bytes.data, bytes.len, "one", seq, 7, &s->signer.public_key, 1, &h, &e));
    return h;
}

static void forged_signature(struct ledger_small *s)
{
    change_and_rehash(s);
    struct ledger_signed h = head_of(s, s->store, HEAD_8, 8);
    struct lines l = lines_of(s, SEGMENT_4);
    sha256_hex(l.line[4], strlen(l.line[4]), h.hash);
    put_lines(s, SEGMENT_4, &l);
    sign_head(s, HEAD_8, &s->stranger, "one", h);
}

/* The payload is changed, the signature kept. */
static void changed_head(struct ledger_small *s)
{
    CLEANUP(buf_done)
    struct buf bytes = BUF_INIT(BYTES_MAX), payload = BUF_INIT(BYTES_MAX), body = BUF_INIT(BYTES_MAX);
    CLEANUP(json_donep) json_t *j = NULL;
    struct err e = ERR_INIT;

    fetch(s->store, HEAD_8, &bytes);
    assert_ok(json_parse(bytes.data, bytes.len, "head", &j, &e));
    assert_ok(base64_decode(json_text_or(j, "payload", ""), &payload, &e));
    char *hash = strstr((char *)payload.data, "\"hash\":\"");
    hash[8] = hash[8] == 'a' ? 'b' : 'a';
    base64_encode(payload.data, payload.len, &body);
    json_object_set_new(j, "payload", json_string(buf_text(&body)));
    buf_reset(&bytes);
    assert_ok(json_canonical(j, &bytes, &e));
    place(s, HEAD_8, bytes.data, bytes.len);
}

static void space_in_head(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    fetch(s->store, HEAD_8, &bytes);
    buf_add_byte(&bytes, ' ');
    place(s, HEAD_8, bytes.data, bytes.len);
}

static void other_key_id_in_head(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    fetch(s->store, HEAD_8, &bytes);
    memcpy(strstr((char *)bytes.data, "\"keyid\":\"") + 9, s->stranger.key_id, SIGN_KEY_ID_BYTES - 1);
    place(s, HEAD_8, bytes.data, bytes.len);
}

static void rubbish_head(struct ledger_small *s)
{
    place(s, HEAD_8, "{}", 2);
}

static void renamed_head(struct ledger_small *s)
{
    copy(s, s->store, HEAD_8, "audit/one/head/000000000009-7.json");
}

static void head_of_other_type(struct ledger_small *s)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(BYTES_MAX);
    struct err e = ERR_INIT;
    assert_ok(dsse_sign(&s->signer, "application/json", "{}", 2, &bytes, &e));
    place(s, HEAD_8, bytes.data, bytes.len);
}

static void other_clusters_ledger(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "two", 7, "job.submitted");
    copy(s, other, HEAD_8, HEAD_8);
    copy(s, other, SEGMENT_4, SEGMENT_4);
}

/* ---- forks: only who has the key can make them ---- */

static void signed_twice(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "one", 7, "job.cancelled");
    struct ledger_signed h = head_of(s, other, HEAD_8, 8);
    h.seq = 6; /* beside HEAD_8, under a name that was free */
    sign_head(s, "audit/one/head/000000000006-7.json", &s->signer, "one", h);
}

static void rewritten_middle(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "one", 7, "job.cancelled");
    copy(s, other, HEAD_8, HEAD_8);
    copy(s, other, SEGMENT_4, SEGMENT_4);
}

static void rewritten_by_newer_token(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "one", 9, "job.cancelled");
    static const char *const names[][2] = {
        { "segment/000000000001", ".jsonl" }, { "segment/000000000004", ".jsonl" },
        { "segment/000000000009", ".jsonl" }, { "head/000000000003", ".json" },
        { "head/000000000008", ".json" },     { "head/000000000012", ".json" }
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char key[128];
        snprintf(key, sizeof(key), "audit/one/%s-9%s", names[i][0], names[i][1]);
        copy(s, other, key, key);
    }
}

/* Token 7 goes on from what token 8 wrote: the tokens of a chain may only grow. */
static void builds_on_the_future(struct ledger_small *s)
{
    struct ledger_signed h = head_of(s, s->store, HEAD_8, 8);
    h.token = 8;
    hide(s, HEAD_8);
    sign_head(s, "audit/one/head/000000000008-8.json", &s->signer, "one", h);
    copy(s, s->store, SEGMENT_4, "audit/one/segment/000000000004-8.jsonl");
    h = head_of(s, s->store, HEAD_3, 3);
    h.token = 9;
    hide(s, HEAD_3);
    sign_head(s, "audit/one/head/000000000003-9.json", &s->signer, "one", h);
    copy(s, s->store, SEGMENT_1, "audit/one/segment/000000000001-9.jsonl");
    h = head_of(s, s->store, HEAD_12, 12);
    h.token = 9;
    sign_head(s, "audit/one/head/000000000012-9.json", &s->signer, "one", h);
    copy(s, s->store, SEGMENT_9, "audit/one/segment/000000000009-9.jsonl");
}

/* The head joins the chain, its records do not. */
static void end_of_another_history(struct ledger_small *s)
{
    CLEANUP(store_closep) struct store *other = another(s, "one", 7, "job.cancelled");
    struct ledger_signed h = head_of(s, other, HEAD_12, 12), ours = head_of(s, s->store, HEAD_12, 12);
    memcpy(h.prev, ours.prev, sizeof(h.prev));
    copy(s, other, SEGMENT_9, SEGMENT_9);
    sign_head(s, HEAD_12, &s->signer, "one", h);
}

static void sign_last_line(struct ledger_small *s, const char *find, const char *put_there)
{
    struct ledger_signed h = head_of(s, s->store, HEAD_12, 12);
    struct lines l = lines_of(s, SEGMENT_9);
    char *at = strstr(l.line[3], find);
    assert_non_null(at);
    memcpy(at, put_there, strlen(put_there));
    sha256_hex(l.line[3], strlen(l.line[3]), h.hash);
    put_lines(s, SEGMENT_9, &l);
    sign_head(s, HEAD_12, &s->signer, "one", h);
}

static void signed_under_another_number(struct ledger_small *s)
{
    sign_last_line(s, "\"seq\":12", "\"seq\":99");
}

static void signed_rubbish(struct ledger_small *s)
{
    sign_last_line(s, "{\"actor\"", "[");
}

/* ---- the rows ---- */

static const struct tamper_row {
    const char *name;
    void (*tamper)(struct ledger_small *s);
    bool knows_the_end; /* the verifier knows record 12 from elsewhere */
    int64_t seq;
    const char *key, *why;
} rows[] = {
    { "a changed first record", change_1, false, 1, SEGMENT_1, "record 1 was changed" },
    { "a changed last record of a segment", change_3, false, 3, SEGMENT_1, "record 3 was changed" },
    { "a changed record in the middle", change_6, false, 6, SEGMENT_4, "record 6 was changed" },
    { "a changed last record", change_12, false, 12, SEGMENT_9, "record 12 was changed" },
    { "a changed hash in a record", change_prev_of_6, false, 6, SEGMENT_4, "record 6 was changed" },
    { "a changed record with all hashes made good", change_and_rehash, false, 8, SEGMENT_4,
      "record 8 was changed" },
    { "a record turned to rubbish", to_rubbish, false, 6, SEGMENT_4, "record 6 was changed" },
    { "a removed first record of a segment", remove_4, false, 4, SEGMENT_4, "record 4 is missing" },
    { "a removed record in the middle", remove_6, false, 6, SEGMENT_4, "record 6 is missing" },
    { "a removed last record", remove_12, false, 12, SEGMENT_9, "record 12 is missing" },
    { "two records exchanged", swap_6_and_7, false, 7, SEGMENT_4,
      "record 7 was moved: record 6 stands in its place" },
    { "a record put in before a segment's first", insert_before_4, false, 4, SEGMENT_4,
      "a record too many stands before record 4" },
    { "a record put in in the middle", insert_behind_6, false, 6, SEGMENT_4,
      "a record too many stands behind record 6" },
    { "a record put behind a segment's last", insert_behind_8, false, 8, SEGMENT_4,
      "a record too many stands behind record 8" },
    { "a last line cut off", cut_last_byte, false, 0, SEGMENT_9, "cut off" },
    { "an empty line", empty_line_last, false, 12, SEGMENT_9, "a record too many" },
    { "an emptied segment", empty_segment, false, 8, SEGMENT_4, "record 8 is missing" },
    { "a segment of too many lines", huge_segment, false, 0, SEGMENT_4, "more than 512 records" },
    { "a removed segment", remove_segment, false, 4, SEGMENT_4, "is missing" },
    { "two segments exchanged", exchange_segments, false, 8, SEGMENT_4, "record 8" },
    { "a segment of another history", segment_of_another_history, false, 8, SEGMENT_4,
      "record 8 was changed" },
    { "an object among the segments", strange_names, false, 0, "audit/one/segment/000000000004-07.jsonl",
      "no name" },
    { "an object among the heads", strange_head_name, false, 0, "audit/one/head/notes.txt", "no name" },
    { "a removed head", remove_head_8, false, 0, HEAD_12, "the head of record 8 is missing" },
    { "an end cut off, of which the verifier knows", cut_end, true, 9, "", "the end was cut off: record 12" },
    { "a last head removed, of which the verifier knows", cut_head_only, true, 9, "",
      "the end was cut off: record 12" },
    { "everything removed, of which the verifier knows", cut_everything, true, 1, "",
      "the end was cut off: record 12" },
    { "a history rewritten and signed by a stranger", forged_signature, false, 0, HEAD_8,
      "not signed by a key that we trust" },
    { "a changed head", changed_head, false, 0, HEAD_8, "not signed by a key that we trust" },
    { "white space in a head", space_in_head, false, 0, HEAD_8, "envelope was changed" },
    { "another key's name in a head", other_key_id_in_head, false, 0, HEAD_8, "envelope was changed" },
    { "a head turned to rubbish", rubbish_head, false, 0, HEAD_8, "not signed by a key that we trust" },
    { "a signed thing that is no head", head_of_other_type, false, 0, HEAD_8,
      "not signed by a key that we trust" },
    { "a head under another name", renamed_head, false, 0, "audit/one/head/000000000009-7.json",
      "signed as the head of record 8" },
    { "another cluster's records", other_clusters_ledger, false, 0, HEAD_8,
      "belongs to cluster 'two', not to 'one'" },
    { "a fork: one token signed a record twice", signed_twice, false, 6, "audit/one/head/000000000006-7.json",
      "the chain is forked" },
    { "a fork: a middle rewritten with the key", rewritten_middle, false, 9, HEAD_12, "the chain is forked" },
    { "a fork: a token builds on a newer one", builds_on_the_future, false, 4,
      "audit/one/head/000000000008-8.json", "the chain is forked" },
    { "a fork: a signed end of another history", end_of_another_history, false, 9, SEGMENT_9,
      "record 9 builds on another hash" },
    { "a signed record of another number", signed_under_another_number, false, 12, SEGMENT_9,
      "calls itself 99" },
    { "a signed line that is no record", signed_rubbish, false, 12, SEGMENT_9, "is signed, and is none" },
    { "a history rewritten with the key, of which the verifier knows the end", rewritten_by_newer_token, true,
      12, "audit/one/segment/000000000009-9.jsonl", "not the one that was known" },
};

static const struct ledger_head *known_end(struct ledger_small *s, struct ledger_head *out)
{
    *out = small_verify(s->store, s, NULL).last;
    assert_int_equal(out->seq, 12);
    return out;
}

static void tampering_is_named(void **state)
{
    const struct tamper_row *row = *state;
    struct ledger_small s = small_open();
    struct ledger_head end;

    assert_true(small_verify(s.store, &s, known_end(&s, &end)).ok);
    row->tamper(&s);
    struct ledger_report r = small_verify(s.store, &s, row->knows_the_end ? &end : NULL);
    if (r.ok || r.bad_seq != row->seq || strcmp(r.bad_key, row->key) != 0 || !strstr(r.why, row->why))
        fail_msg("ok %d, record %d, '%s': %s", r.ok, (int)r.bad_seq, r.bad_key, r.why);
    small_close(&s);
}

int main(void)
{
    struct CMUnitTest named[ARRAY_LEN(rows)];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        named[i] = (struct CMUnitTest){ rows[i].name, tampering_is_named, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(named, NULL, NULL);
}
