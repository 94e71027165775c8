/*
 * Sessions of a role, on a real service: what one may do is what its policy says, and no more.
 */
#include "base/mem.h"
#include "core/cluster/session_policy.h"
#include "core/store/sts.h"
#include "tests/fake/store_world.h"

#include <stdlib.h>
#include <string.h>

enum { HOUR_MS = 3600 * 1000 };
static const char *role, *sse_key;

static enum err_code assume_with(struct world *w, const char *role_arn, const char *policy,
                                 struct store_session *out, struct err *e)
{
    const struct sts_request q = {
        .role = role_arn, .session_name = "sovrun-test.1", .policy = policy, .duration_ms = HOUR_MS
    };
    return sts_assume_role(&w->place, &w->credentials, &q, &clock_real, out, e);
}

/* A store under a session for the row's prefix and `below`. */
static struct store *open_as_rank(struct world *w, const char *below, bool write)
{
    CLEANUP(store_session_done) struct store_session session = { .access_key = NULL };
    CLEANUP(buf_done) struct buf policy = BUF_INIT(STS_POLICY_BYTES_MAX);
    struct store *s = NULL;
    struct err e = ERR_INIT;
    assert_ok(session_policy(role, w->place.bucket, world_key(w, below), sse_key, write, &policy, &e));
    assert_ok(assume_with(w, role, buf_text(&policy), &session, &e));
    assert_non_null(session.session_token);
    assert_true(llabs(session.expires_ms - clock_wall_ms() - HOUR_MS) < 60 * 1000);
    const struct store_credentials lent = store_lend(&session);
    assert_ok(store_open(&w->place, &lent, &s, &e));
    return s;
}

static enum err_code get(struct store *s, const char *key, const char *version)
{
    CLEANUP(buf_done) struct buf body = BUF_INIT(1000);
    struct err e = ERR_INIT;
    return store_get(s, key, version, 0, UINT64_MAX, &body, NULL, &e);
}

static enum err_code count_entry(void *context, const struct store_info *info, struct err *e)
{
    (void)info;
    (void)e;
    ++*(int *)context;
    return OK;
}

static enum err_code list(struct store *s, const char *prefix, int *out)
{
    struct err e = ERR_INIT;
    *out = 0;
    return store_list(s, prefix, NULL, count_entry, out, &e);
}

static void a_reader_reads_below_its_prefix_and_nothing_else(struct world *w)
{
    struct err e = ERR_INIT;
    int n;
    struct store_info own = world_put(w, "own/a", "mine"), other = world_put(w, "other/a", "theirs");
    world_put(w, "own-not/a", "theirs");
    CLEANUP(store_closep) struct store *s = open_as_rank(w, "own", false);
    assert_int_equal(get(s, world_key(w, "own/a"), NULL), OK);
    assert_int_equal(get(s, world_key(w, "own/a"), own.version), OK);
    assert_int_equal(get(s, world_key(w, "other/a"), NULL), ERR_DENIED);
    assert_int_equal(get(s, world_key(w, "other/a"), other.version), ERR_DENIED);
    assert_int_equal(get(s, world_key(w, "own-not/a"), NULL), ERR_DENIED);
    assert_int_equal(get(s, world_key(w, "own/none"), NULL), ERR_NOT_FOUND);
    assert_int_equal(list(s, world_key(w, "own/"), &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(list(s, world_key(w, "other/"), &n), ERR_DENIED);
    assert_int_equal(list(s, "", &n), ERR_DENIED);
    assert_int_equal(store_put(s, world_key(w, "own/b"), "x", 1, NULL, NULL, &e), ERR_DENIED);
    err_clear(&e);
    assert_int_equal(store_delete(s, world_key(w, "own/a"), own.version, &e), ERR_DENIED);
}

static void a_writer_puts_locks_and_removes_below_its_prefix(struct world *w)
{
    struct err e = ERR_INIT;
    struct store_info info, other = world_put(w, "other/a", "theirs");
    const struct store_put_options locked = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 5000) };
    size_t aborted;
    CLEANUP(store_closep) struct store *s = open_as_rank(w, "own", true);
    const size_t large_bytes = STORE_PART_BYTES + 1;
    CLEANUP(freep) char *large = mem_new(large_bytes);
    assert_ok(store_put(s, world_key(w, "own/a"), "x", 1, NULL, &info, &e));
    assert_ok(store_delete(s, world_key(w, "own/a"), info.version, &e));
    assert_ok(store_put(s, world_key(w, "own/b"), "x", 1, &locked, &info, &e));
    assert_int_equal(info.lock.mode, STORE_LOCK_COMPLIANCE);
    assert_int_equal(store_delete(s, world_key(w, "own/b"), info.version, &e), ERR_DENIED);
    err_clear(&e);
    assert_ok(store_put(s, world_key(w, "own/large"), large, large_bytes, &locked, &info, &e)); /* in parts */
    assert_int_equal(info.lock.mode, STORE_LOCK_COMPLIANCE);
    assert_ok(store_abort_uploads(s, world_key(w, "own/"), clock_wall_ms(), &aborted, &e));
    assert_int_equal(store_put(s, world_key(w, "other/b"), "x", 1, NULL, NULL, &e), ERR_DENIED);
    err_clear(&e);
    assert_int_equal(store_delete(s, world_key(w, "other/a"), other.version, &e), ERR_DENIED);
    err_clear(&e);
    assert_int_equal(get(s, world_key(w, "other/a"), NULL), ERR_DENIED);
}

static void what_the_service_refuses_is_said(struct world *w)
{
    static const char nothing[] = "{\"Statement\":[],\"Version\":\"2012-10-17\"}";
    struct store_session session = { .access_key = NULL };
    struct err e = ERR_INIT;
    assert_int_equal(assume_with(w, "arn:aws:iam:::role/nobody", nothing, &session, &e), ERR_DENIED);
    assert_non_null(strstr(e.text, "assume role 'arn:aws:iam:::role/nobody'"));
    err_clear(&e);
    assert_int_not_equal(assume_with(w, role, "{\"Version\":", &session, &e), OK);
    assert_int_not_equal(e.code, ERR_RETRY);
    err_clear(&e);
    struct store_credentials wrong = w->credentials, own = w->credentials;
    CLEANUP(secret_freep) struct secret *guessed = secret_new("guessed", 7);
    wrong.secret_key = guessed;
    w->credentials = wrong;
    assert_int_equal(assume_with(w, role, nothing, &session, &e), ERR_DENIED);
    w->credentials = own;
    assert_null(strstr(e.text, "guessed"));
    assert_null(session.access_key);
}

/* As a rank whose session ends while it works: the next one is taken up, and nobody notices. */
static enum err_code next_session(void *context, struct store_session *out, struct err *e)
{
    struct world *w = context;
    CLEANUP(buf_done) struct buf policy = BUF_INIT(STS_POLICY_BYTES_MAX);
    w->rows++;
    if (session_policy(role, w->place.bucket, world_key(w, "own"), "", REACH_WRITE_BELOW, &policy, e))
        return e->code;
    return assume_with(w, role, buf_text(&policy), out, e);
}

static void a_session_that_is_refused_is_replaced(struct world *w)
{
    CLEANUP(secret_freep) struct secret *token = secret_new("bm90IGEgdG9rZW4gb2YgYW55Ym9keQ==", 32);
    struct err e = ERR_INIT;
    CLEANUP(store_closep) struct store *s = NULL;
    int rows = w->rows;
    struct store_credentials over = w->credentials;
    over.session_token = token;
    over.expires_ms = clock_wall_ms() + 1000; /* so it says */
    over.renew = next_session;
    over.renew_context = w;
    assert_ok(store_open(&w->place, &over, &s, &e));
    assert_ok(store_put(s, world_key(w, "own/a"), "x", 1, NULL, NULL, &e));
    assert_int_equal(get(s, world_key(w, "own/a"), NULL), OK);
    assert_int_equal(w->rows - rows, 1);
    w->rows = rows;
}

int main(void)
{
    static const struct world_row rows[] = {
        { "a reader reads below its prefix and nothing else",
          a_reader_reads_below_its_prefix_and_nothing_else, WORLD_S3 },
        { "a writer puts, locks and removes below its prefix",
          a_writer_puts_locks_and_removes_below_its_prefix, WORLD_S3 },
        { "what the service refuses is said", what_the_service_refuses_is_said, WORLD_S3 },
        { "a session that is refused is replaced", a_session_that_is_refused_is_replaced, WORLD_S3 },
    };
    role = getenv("SOVRUN_TEST_S3_ROLE");
    sse_key = getenv("SOVRUN_TEST_S3_SSE_KEY"); /* may be used, too: a policy that says so is understood */
    if (!sse_key)
        sse_key = "";
    if (!role)
        role = "arn:aws:iam:::role/none";
    return world_run("sts", rows, ARRAY_LEN(rows));
}
