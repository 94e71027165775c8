/* Acts on a bucket: what a lock is worth, as the store itself answers. */
#include "runner/cli/selftest.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { SECOND_MS = 1000, BODY_BYTES_MAX = 4096 };
static const char body[] = "Sovrun policy selftest. This object may be removed once its lock is over.\n";

/* The bucket, and the object that everything is tried on. */
struct scene {
    struct selftest *t;
    struct store_place place;
    struct store *store;
    struct s3_probe *probe; /* NULL: no S3 */
    char key[SELFTEST_KEY_BYTES];
    struct store_info object;
    struct err locking; /* how putting it under lock went */
    int64_t skew_ms;    /* the store's clock minus ours; INT64_MIN: not known */
};

static void scene_done(struct scene *s)
{
    s3_probe_close(s->probe);
    store_close(s->store);
}

static int64_t until(void)
{
    return (clock_wall_ms() + SELFTEST_LOCK_MS) / SECOND_MS * SECOND_MS;
}

static const struct store_put_options *locked(struct store_put_options *o)
{
    *o = (struct store_put_options){ .lock = { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = until() } };
    return o;
}

static const char *key_of(const struct scene *s, const char *name, char out[SELFTEST_KEY_BYTES])
{
    snprintf(out, SELFTEST_KEY_BYTES, "%.90s/%.30s", s->t->scratch, name);
    return out;
}

/* Without a lock where the bucket cannot hold one: the acts go on, and succeed. */
static enum err_code put_object(struct scene *s, struct err *e)
{
    struct store_put_options o;
    key_of(s, "locked", s->key);
    if (store_put(s->store, s->key, body, strlen(body), locked(&o), &s->object, &s->locking) == OK)
        return OK;
    if (s->locking.code != ERR_DENIED)
        return *e = s->locking, e->code;
    return store_put(s->store, s->key, body, strlen(body), NULL, &s->object, e);
}

static enum err_code scene_open(struct selftest *t, const char *bucket, struct scene *s, struct err *e)
{
    CLEANUP(store_session_done) struct store_session own = { .access_key = NULL };
    if (cluster_is_ledgers(t->cluster, bucket, t->scratch))
        return err_set(e, ERR_DENIED, "the whole bucket is the ledger's, where nobody else writes");
    if (cluster_place(t->cluster, bucket, &s->place, e) || cluster_credentials(t->cluster, bucket, &own, e) ||
        cluster_open_store(t->cluster, bucket, &s->store, e))
        return e->code;
    const struct store_credentials lent = store_lend(&own);
    if (s->place.kind == STORE_S3 && s3_probe_open(&s->place, &lent, &s->probe, e))
        return e->code;
    return put_object(s, e);
}

/* ---- judging ---- */

static bool still_there(struct scene *s, const char *version)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(BODY_BYTES_MAX);
    struct err e = ERR_INIT;
    return store_get(s->store, s->key, version, 0, UINT64_MAX, &text, NULL, &e) == OK &&
           text.len == strlen(body) && memcmp(text.data, body, text.len) == 0;
}

/* A no is refused; a yes is checked by looking at what it did. */
static void judge(struct selftest_row *r, enum err_code code, const struct s3_said *said, const char *done,
                  const struct err *e)
{
    if (code)
        selftest_says(r, SELFTEST_UNTRIED, e->text, "no answer");
    else if (s3_said_yes(said))
        selftest_says(r, SELFTEST_ALLOWED, said->text, "%s", done);
    else if (said->status >= 500)
        selftest_says(r, SELFTEST_UNTRIED, said->text, "the store was not able to answer");
    else
        selftest_says(r, SELFTEST_REFUSED, said->text, "HTTP %d %s", said->status, said->code);
}

/* The store's own operation, where there is no service to be asked. */
static void judge_own(struct selftest_row *r, const struct err *e, const char *done)
{
    if (e->code == OK)
        selftest_says(r, SELFTEST_ALLOWED, "", "%s", done);
    else if (e->code == ERR_DENIED)
        selftest_says(r, SELFTEST_REFUSED, e->text, "denied");
    else
        selftest_says(r, SELFTEST_UNTRIED, e->text, "%s", err_name(e->code));
}

/* ---- acts ---- */

static void try_lock(struct scene *s, struct selftest_row *r)
{
    char evidence[SELFTEST_TEXT_BYTES], when[CLOCK_TEXT_BYTES];
    if (s->locking.code) {
        selftest_says(r, SELFTEST_ALLOWED, s->locking.text, "an object stands unlocked");
        return;
    }
    snprintf(evidence, sizeof(evidence), "%s version %s until %s", store_lock_names[s->object.lock.mode],
             s->object.version, clock_format(s->object.lock.retain_until_ms, when));
    selftest_says(r, SELFTEST_REFUSED, evidence, "locked, by read-back");
}

static void try_shorten(struct scene *s, struct selftest_row *r)
{
    struct err e = ERR_INIT;
    struct s3_said said = { .status = 0 };
    const int64_t sooner = s->object.lock.retain_until_ms ? s->object.lock.retain_until_ms - 30LL * SECOND_MS
                                                          : until() - 30LL * SECOND_MS;
    if (!s->probe) {
        const struct store_lock lock = { .mode = STORE_LOCK_COMPLIANCE, .retain_until_ms = sooner };
        IGNORE(store_set_lock(s->store, s->key, s->object.version, &lock, &e));
        judge_own(r, &e, "the retention was shortened");
        return;
    }
    enum err_code code =
        s3_probe_retain(s->probe, s->key, s->object.version, STORE_LOCK_COMPLIANCE, sooner, true, &said, &e);
    judge(r, code, &said, "the retention was shortened", &e);
}

static void try_weaken(struct scene *s, struct selftest_row *r)
{
    struct err e = ERR_INIT;
    struct s3_said said = { .status = 0 };
    const int64_t same = s->object.lock.retain_until_ms ? s->object.lock.retain_until_ms : until();
    if (!s->probe) {
        const struct store_lock lock = { .mode = STORE_LOCK_GOVERNANCE, .retain_until_ms = same };
        IGNORE(store_set_lock(s->store, s->key, s->object.version, &lock, &e));
        judge_own(r, &e, "COMPLIANCE became GOVERNANCE");
        return;
    }
    enum err_code code =
        s3_probe_retain(s->probe, s->key, s->object.version, STORE_LOCK_GOVERNANCE, same, true, &said, &e);
    judge(r, code, &said, "COMPLIANCE became GOVERNANCE", &e);
}

/* The locked version must be there afterwards, newest or not, byte for byte. */
static void try_overwrite(struct scene *s, struct selftest_row *r)
{
    struct store_info newer;
    struct err e = ERR_INIT;
    char evidence[SELFTEST_TEXT_BYTES];
    if (store_put(s->store, s->key, "another", strlen("another"), NULL, &newer, &e)) {
        judge_own(r, &e, "");
        return;
    }
    snprintf(evidence, sizeof(evidence), "now version %.100s; version %.100s has its bytes", newer.version,
             s->object.version);
    if (still_there(s, s->object.version))
        selftest_says(r, SELFTEST_REFUSED, evidence, "hidden behind a newer version, and whole");
    else
        selftest_says(r, SELFTEST_ALLOWED, "", "the locked version's bytes are gone");
}

static void try_hide(struct scene *s, struct selftest_row *r)
{
    struct err e = ERR_INIT;
    if (store_delete(s->store, s->key, NULL, &e))
        judge_own(r, &e, "");
    else if (still_there(s, s->object.version))
        selftest_says(r, SELFTEST_REFUSED, s->object.version, "hidden behind a delete marker, and whole");
    else
        selftest_says(r, SELFTEST_ALLOWED, "", "the locked version's bytes are gone");
}

static void remove_version(struct scene *s, struct selftest_row *r, bool bypass)
{
    struct err e = ERR_INIT;
    struct s3_said said = { .status = 0 };
    if (!s->probe && bypass) {
        selftest_says(r, SELFTEST_NONE, "", "no S3: there is nothing to bypass");
        return;
    }
    if (!s->probe) {
        IGNORE(store_delete(s->store, s->key, s->object.version, &e));
        judge_own(r, &e, "the locked version was deleted");
        return;
    }
    enum err_code code = s3_probe_delete(s->probe, s->key, s->object.version, bypass, &said, &e);
    judge(r, code, &said, "the locked version was deleted", &e);
    if (r->outcome == SELFTEST_REFUSED && !still_there(s, s->object.version))
        selftest_says(r, SELFTEST_ALLOWED, said.text, "it said no, and the version is gone");
}

static void try_bypass(struct scene *s, struct selftest_row *r)
{
    remove_version(s, r, true);
}

/* Late in the table: where it succeeds, the object is gone. */
static void try_delete(struct scene *s, struct selftest_row *r)
{
    remove_version(s, r, false);
}

/* What the service alone makes of the headers, for the evidence; then our own way, which must end locked. */
static void try_parts(struct scene *s, struct selftest_row *r)
{
    const size_t n = STORE_PART_BYTES + 1;
    CLEANUP(freep) uint8_t *data = NULL;
    char raw[SELFTEST_KEY_BYTES], own[SELFTEST_KEY_BYTES];
    struct store_put_options o;
    struct store_info info = { .bytes = 0 };
    struct s3_said said = { .status = 0 };
    struct err e = ERR_INIT;
    if (!s->probe) {
        selftest_says(r, SELFTEST_NONE, "", "no S3: nothing goes in parts");
        return;
    }
    locked(&o);
    const char *alone = "the headers alone: no answer";
    if (s3_probe_put_parts(s->probe, key_of(s, "parts-raw", raw), &o.lock, &said, &e) == OK)
        alone = !s3_said_yes(&said) ? "the headers alone: refused"
                : store_head(s->store, raw, NULL, &info, &e) == OK && info.lock.mode == STORE_LOCK_COMPLIANCE
                    ? "the headers alone lock it"
                    : "the headers alone do not lock it: it is set and read back afterwards";
    err_clear(&e);
    data = mem_new(n);
    if (store_put(s->store, key_of(s, "parts", own), data, n, &o, NULL, &e) ||
        store_head(s->store, own, NULL, &info, &e)) {
        if (e.code == ERR_DENIED) /* refused rather than left unlocked: but a lock was to be had */
            selftest_says(r, SELFTEST_ALLOWED, e.text, "what is put in parts cannot be locked");
        else
            judge_own(r, &e, "");
        return;
    }
    if (info.lock.mode == STORE_LOCK_COMPLIANCE && info.lock.retain_until_ms >= o.lock.retain_until_ms)
        selftest_says(r, SELFTEST_REFUSED, alone, "locked, by read-back");
    else
        selftest_says(r, SELFTEST_ALLOWED, alone, "it stands unlocked");
}

/* Who puts around us: is there a default that locks it all the same? */
static void try_without_lock(struct scene *s, struct selftest_row *r)
{
    char key[SELFTEST_KEY_BYTES], evidence[SELFTEST_TEXT_BYTES] = "";
    struct store_info info = { .bytes = 0 };
    struct store_facts facts = { .versioned = false };
    struct err e = ERR_INIT;
    if (store_put(s->store, key_of(s, "plain", key), body, strlen(body), NULL, &info, &e) ||
        store_head(s->store, key, NULL, &info, &e)) {
        judge_own(r, &e, "");
        return;
    }
    if (store_facts(s->store, &facts, &e) == OK)
        snprintf(evidence, sizeof(evidence), "the bucket's default: %s, %" PRId64 " days",
                 store_lock_names[facts.default_lock.mode],
                 facts.default_lock.retain_until_ms / (24 * 3600 * SECOND_MS));
    selftest_says(r, SELFTEST_NOTED, evidence, "%s",
                  info.lock.mode == STORE_LOCK_NONE ? "it stands unlocked: only the client's own lock holds"
                                                    : "locked by the bucket's default");
}

static void try_if_absent(struct scene *s, struct selftest_row *r)
{
    struct s3_said said = { .status = 0 };
    char key[SELFTEST_KEY_BYTES];
    struct err e = ERR_INIT;
    if (!s->probe) {
        selftest_says(r, SELFTEST_NONE, "", "no S3");
        return;
    }
    if (s3_probe_put(s->probe, key_of(s, "plain", key), body, strlen(body), NULL, true, &said, &e))
        selftest_says(r, SELFTEST_UNTRIED, e.text, "no answer");
    else
        selftest_says(r, SELFTEST_NOTED, said.text, "%s",
                      s3_said_yes(&said) ? "not honoured: a second put goes through" : "honoured");
    if (said.date_ms)
        s->skew_ms = said.date_ms - clock_wall_ms();
}

static void try_skew(struct scene *s, struct selftest_row *r)
{
    if (s->skew_ms == INT64_MIN)
        selftest_says(r, SELFTEST_NONE, "", "the store tells no time of its own");
    else
        selftest_says(r, SELFTEST_NOTED, "by its Date header, to the second", "%+" PRId64 " s",
                      s->skew_ms / SECOND_MS);
}

static void try_copy(struct scene *s, struct selftest_row *r)
{
    char key[SELFTEST_KEY_BYTES];
    struct s3_said said = { .status = 0 };
    struct err e = ERR_INIT;
    if (!s->probe) {
        selftest_says(r, SELFTEST_NONE, "", "no S3: nothing is copied by a server");
        return;
    }
    if (!s->t->foreign) {
        selftest_says(r, SELFTEST_UNTRIED, "", "no object of another region was named: --foreign BUCKET/KEY");
        return;
    }
    enum err_code code = s3_probe_copy(s->probe, s->t->foreign, key_of(s, "copy", key), &said, &e);
    judge(r, code, &said, "the other region's object was copied here", &e);
    /* It may say yes first and fail afterwards. */
    struct store_info info;
    if (r->outcome == SELFTEST_ALLOWED && store_head(s->store, key, NULL, &info, &e) == ERR_NOT_FOUND)
        selftest_says(r, SELFTEST_REFUSED, said.text, "nothing was copied");
}

static void try_location(struct scene *s, struct selftest_row *r)
{
    struct store_facts facts = { .versioned = false };
    struct err e = ERR_INIT;
    if (store_facts(s->store, &facts, &e))
        judge_own(r, &e, "");
    else if (strcmp(facts.location, s->t->cluster->region) == 0)
        selftest_says(r, SELFTEST_REFUSED, "the bucket's location, by read-back", "%s", facts.location);
    else
        selftest_says(r, SELFTEST_ALLOWED, "the bucket's location, by read-back", "%s", facts.location);
}

static const struct act {
    const char *name, *expected;
    void (*run)(struct scene *s, struct selftest_row *r);
} acts[] = {
    { "bucket in another region", "the cluster's region", try_location },
    { "object without its lock", "locked, by read-back", try_lock },
    { "shorten a retention", "refused", try_shorten },
    { "COMPLIANCE to GOVERNANCE", "refused", try_weaken },
    { "overwrite a locked version", "it stays whole", try_overwrite },
    { "hide a locked version", "it stays whole", try_hide },
    { "delete with bypass", "refused", try_bypass },
    { "delete a locked version", "refused", try_delete },
    { "lock on an upload in parts", "locked, by read-back", try_parts },
    { "put without a lock", "(a fact)", try_without_lock },
    { "put if absent", "(a fact)", try_if_absent },
    { "clock of the store", "(a fact)", try_skew },
    { "copy from another region", "refused", try_copy },
};

void selftest_bucket(struct selftest *t, const char *bucket)
{
    CLEANUP(scene_done) struct scene s = { .t = t, .locking = ERR_INIT, .skew_ms = INT64_MIN };
    struct err e = ERR_INIT;
    char place[STORE_BUCKET_BYTES + 8];
    enum err_code code = scene_open(t, bucket, &s, &e);
    snprintf(place, sizeof(place), "s3://%s", bucket);
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        struct selftest_row *r = selftest_row(t, acts[i].name, acts[i].expected, place);
        if (code)
            selftest_says(r, SELFTEST_UNTRIED, e.text, "the bucket cannot be written");
        else
            acts[i].run(&s, r);
    }
}
