/* The rows, what they add up to, and what is left behind. */
#include "runner/cli/selftest.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { RANDOM_BYTES = 8, OTHERS_MS = 10 * 60 * 1000 };

const char *const selftest_outcomes[] = {
    [SELFTEST_REFUSED] = "refused", [SELFTEST_ALLOWED] = "allowed", [SELFTEST_UNTRIED] = "untried",
    [SELFTEST_NOTED] = "noted",     [SELFTEST_NONE] = "none",       [SELFTEST_OUTCOMES] = NULL,
};

static void note_refusal(void *context, const struct http_refusal *r)
{
    struct selftest *t = context;
    t->refused_kind = r->kind;
    t->refused_count++;
}

enum err_code selftest_begin(struct selftest *t, const struct cluster *c, const char *foreign, struct err *e)
{
    uint8_t bytes[RANDOM_BYTES];
    char name[2 * RANDOM_BYTES + 1];
    *t = (struct selftest){ .cluster = c, .foreign = foreign };
    random_bytes(bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), name);
    snprintf(t->scratch, sizeof(t->scratch), SELFTEST_PREFIX "%s", name);
    t->folder = mem_printf("%s/run/selftest-%s", c->home, name);
    t->rows = mem_array(SELFTEST_ROWS_MAX, sizeof(t->rows[0]));
    t->left = mem_array(SELFTEST_LEFT_MAX, sizeof(t->left[0]));
    if (dir_make(t->folder, 0700, e))
        return e->code;
    http_on_refusal(note_refusal, t);
    return OK;
}

void selftest_done(struct selftest *t)
{
    static const char *const names[] = { "authority.pem", "stranger.pem", "stranger.key" };
    struct err ignored = ERR_INIT;
    http_on_refusal(NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(names) && t->folder; i++) {
        CLEANUP(freep) char *path = path_join(t->folder, names[i]);
        IGNORE(file_remove(path, &ignored));
    }
    if (t->folder)
        IGNORE(rmdir(t->folder) != 0);
    free(t->folder);
    free(t->rows);
    free(t->left);
}

char *selftest_file(const struct selftest *t, const char *name, const char *text, struct err *e)
{
    CLEANUP(freep) char *path = path_join(t->folder, name);
    if (file_write(path, text, strlen(text), 0600, e))
        return NULL;
    return TAKE(path);
}

struct selftest_row *selftest_row(struct selftest *t, const char *act, const char *expected,
                                  const char *place)
{
    invariant(t->row_count < SELFTEST_ROWS_MAX); /* buckets and acts are counted before */
    struct selftest_row *r = &t->rows[t->row_count++];
    *r = (struct selftest_row){ .act = act, .expected = expected, .outcome = SELFTEST_UNTRIED };
    snprintf(r->place, sizeof(r->place), "%s", place);
    t->refused_count = 0;
    return r;
}

void selftest_says(struct selftest_row *r, enum selftest_outcome outcome, const char *evidence,
                   const char *observed, ...)
{
    va_list ap;
    va_start(ap, observed);
    vsnprintf(r->observed, sizeof(r->observed), observed, ap);
    va_end(ap);
    snprintf(r->evidence, sizeof(r->evidence), "%s", evidence);
    r->outcome = outcome;
}

size_t selftest_count(const struct selftest *t, enum selftest_outcome outcome)
{
    size_t n = 0;
    for (size_t i = 0; i < t->row_count; i++)
        n += t->rows[i].outcome == outcome;
    return n;
}

/* ---- the report ---- */

/* Evidence is what strangers said: it may be cut in the middle of a character. */
static json_t *text(const char *s)
{
    json_t *j = json_string(s);
    if (j)
        return j;
    CLEANUP(freep) char *plain = mem_text(s);
    for (char *p = plain; *p; p++)
        if ((unsigned char)*p > '~')
            *p = '?';
    return json_string(plain);
}

static json_t *row_json(const struct selftest_row *r)
{
    return json_pack("{s:s,s:s,s:o,s:o,s:o,s:s}", "act", r->act, "expected", r->expected, "place",
                     text(r->place), "observed", text(r->observed), "evidence", text(r->evidence), "outcome",
                     selftest_outcomes[r->outcome]);
}

json_t *selftest_report(const struct selftest *t, const char *policy_sha256, int64_t time_ms)
{
    json_t *rows = json_array(), *left = json_array(), *summary = json_object();
    for (size_t i = 0; i < t->row_count; i++)
        json_array_append_new(rows, row_json(&t->rows[i]));
    for (size_t i = 0; i < t->left_count; i++)
        json_array_append_new(left, json_pack("{s:s,s:s,s:s,s:I}", "bucket", t->left[i].bucket, "key",
                                              t->left[i].key, "version", t->left[i].version, "until_ms",
                                              (json_int_t)t->left[i].until_ms));
    for (int o = 0; o < SELFTEST_OUTCOMES; o++)
        json_object_set_new(summary, selftest_outcomes[o],
                            json_integer((json_int_t)selftest_count(t, (enum selftest_outcome)o)));
    json_t *report =
        json_pack("{s:i,s:s,s:s,s:s,s:s,s:I,s:o,s:o,s:o}", "version", 1, "cluster", t->cluster->name,
                  "region", t->cluster->region, "scratch", t->scratch, "policy_sha256", policy_sha256,
                  "time_ms", (json_int_t)time_ms, "summary", summary, "rows", rows, "left", left);
    invariant(report);
    return report;
}

/* ---- sweeping ---- */

struct sweep {
    struct selftest *t;
    struct store *store;
    const char *bucket;
};

/* Another run that is under way needs its objects. */
static bool is_ours_to_remove(const struct selftest *t, const struct store_info *info)
{
    return text_starts(info->key, t->scratch) || info->modified_ms < clock_wall_ms() - OTHERS_MS;
}

static enum err_code sweep_one(void *context, const struct store_info *info, struct err *e)
{
    struct sweep *s = context;
    struct selftest *t = s->t;
    struct store_info now;
    struct err ignored = ERR_INIT;
    (void)e;
    if (!is_ours_to_remove(t, info))
        return OK;
    if (store_delete(s->store, info->key, info->version, &ignored) == OK)
        return OK;
    if (t->left_count == SELFTEST_LEFT_MAX)
        return OK;
    struct selftest_left *l = &t->left[t->left_count++];
    *l = (struct selftest_left){ .until_ms = 0 };
    snprintf(l->bucket, sizeof(l->bucket), "%s", s->bucket);
    snprintf(l->key, sizeof(l->key), "%s", info->key);
    snprintf(l->version, sizeof(l->version), "%s", info->version);
    err_clear(&ignored);
    if (!info->is_delete_marker && store_head(s->store, info->key, info->version, &now, &ignored) == OK)
        l->until_ms = now.lock.retain_until_ms;
    return OK;
}

void selftest_sweep(struct selftest *t, const char *bucket)
{
    CLEANUP(store_closep) struct store *store = NULL;
    struct sweep s = { .t = t, .bucket = bucket };
    struct err e = ERR_INIT;
    if (cluster_open_store(t->cluster, bucket, &store, &e))
        return;
    s.store = store;
    IGNORE(store_list_versions(store, SELFTEST_PREFIX, sweep_one, &s, &e));
}
