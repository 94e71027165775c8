#include "tests/fake/store_world.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 4 << 20 };

static void dir_world(struct world *w)
{
    const char *build = getenv("B");
    char folder[256];
    snprintf(folder, sizeof(folder), "%s/test", build ? build : "build");
    struct err e = ERR_INIT;
    assert_ok(dir_make(folder, 0755, &e));
    snprintf(w->place.root, sizeof(w->place.root), "%s/store-XXXXXX", folder);
    assert_non_null(mkdtemp(w->place.root));
    snprintf(w->place.region, sizeof(w->place.region), "test-region-1");
}

static struct secret *secret_of(const char *text)
{
    return secret_new(text, strlen(text));
}

static void s3_world(struct world *w)
{
    const char *endpoint = getenv("SOVRUN_TEST_S3_ENDPOINT"), *region = getenv("SOVRUN_TEST_S3_REGION");
    const char *access = getenv("SOVRUN_TEST_S3_ACCESS_KEY"), *secret = getenv("SOVRUN_TEST_S3_SECRET_KEY");
    if (!endpoint || !region || !access || !secret) {
        w->why_not = "not tried, no SOVRUN_TEST_S3_ENDPOINT";
        return;
    }
    snprintf(w->place.endpoint, sizeof(w->place.endpoint), "%s", endpoint);
    snprintf(w->place.region, sizeof(w->place.region), "%s", region);
    w->place.path_style = true;
    w->credentials.access_key = secret_of(access);
    w->credentials.secret_key = secret_of(secret);
}

void world_open(struct world *w, enum world_kind kind)
{
    struct err e = ERR_INIT;
    uint32_t random;
    random_bytes(&random, sizeof(random));
    *w = (struct world){ .kind = kind, .place = { .kind = STORE_MEM } };
    snprintf(w->place.bucket, sizeof(w->place.bucket), "test-%08x", random);
    if (kind == WORLD_MEM) {
        w->name = "mem";
        snprintf(w->place.region, sizeof(w->place.region), "test-region-1");
    } else if (kind == WORLD_DIR) {
        w->name = "dir";
        w->place.kind = STORE_DIR;
        dir_world(w);
    } else {
        w->name = "s3";
        w->place.kind = STORE_S3;
        s3_world(w);
    }
    if (!w->why_not)
        assert_ok(store_make_bucket(&w->place, &w->credentials, true, &e));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void world_close(struct world *w)
{
    if (w->kind == WORLD_DIR)
        nftw(w->place.root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    secret_free((struct secret *)w->credentials.access_key);
    secret_free((struct secret *)w->credentials.secret_key);
}

struct store *world_another(const struct world *w)
{
    struct err e = ERR_INIT;
    struct store *s = NULL;
    assert_ok(store_open(&w->place, &w->credentials, &s, &e));
    return s;
}

void world_row_begins(struct world *w)
{
    snprintf(w->prefix, sizeof(w->prefix), "row-%d/", ++w->rows);
    w->store = world_another(w);
}

void world_row_ends(struct world *w)
{
    store_close(TAKE(w->store));
}

const char *world_key(const struct world *w, const char *key)
{
    enum { BUFFERS = 4 };
    static char buffers[BUFFERS][2 * STORE_KEY_BYTES];
    static int next;
    char *out = buffers[next++ % BUFFERS];
    snprintf(out, sizeof(buffers[0]), "%s%s", w->prefix, key);
    return out;
}

struct store_info world_put_locked(struct world *w, const char *key, const char *text, struct store_lock lock)
{
    struct err e = ERR_INIT;
    struct store_info info;
    struct store_put_options options = { .lock = lock };
    assert_ok(store_put(w->store, world_key(w, key), text, strlen(text), &options, &info, &e));
    return info;
}

struct store_info world_put(struct world *w, const char *key, const char *text)
{
    return world_put_locked(w, key, text, (struct store_lock){ .mode = STORE_LOCK_NONE });
}

const char *world_text(struct world *w, const char *key, const char *version)
{
    static struct buf body = BUF_INIT(TEXT_BYTES_MAX);
    struct err e = ERR_INIT;
    buf_done(&body);
    if (store_get(w->store, world_key(w, key), version, 0, UINT64_MAX, &body, NULL, &e)) {
        if (e.code != ERR_NOT_FOUND)
            fail_msg("%s", e.text);
        return "(not found)";
    }
    return buf_text(&body);
}

/* A listing as one line. */
struct line {
    struct world *w;
    struct buf text;
    bool versions;
};

static enum err_code add_to_line(void *context, const struct store_info *info, struct err *each_e)
{
    struct line *l = context;
    struct err e = ERR_INIT;
    (void)each_e;
    assert_true(text_starts(info->key, l->w->prefix));
    assert_true(info->modified_ms > 0);
    if (l->text.len)
        buf_add_text(&l->text, " ");
    buf_add_text(&l->text, info->key + strlen(l->w->prefix));
    if (l->versions && info->is_delete_marker) {
        buf_add_text(&l->text, ":gone");
    } else if (l->versions) {
        CLEANUP(buf_done) struct buf body = BUF_INIT(TEXT_BYTES_MAX);
        assert_ok(store_get(l->w->store, info->key, info->version, 0, UINT64_MAX, &body, NULL, &e));
        assert_int_equal(info->bytes, body.len);
        buf_addf(&l->text, ":%s", buf_text(&body));
    } else {
        assert_true(info->is_latest);
        assert_false(info->is_delete_marker);
    }
    return OK;
}

static const char *keep(struct buf *text)
{
    static char line[16 * 1024];
    snprintf(line, sizeof(line), "%s", buf_text(text));
    return line;
}

const char *world_list(struct world *w, const char *prefix, const char *after)
{
    struct err e = ERR_INIT;
    struct line l = { .w = w, .text = BUF_INIT(16 * 1024) };
    assert_ok(
        store_list(w->store, world_key(w, prefix), after ? world_key(w, after) : NULL, add_to_line, &l, &e));
    const char *line = keep(&l.text);
    buf_done(&l.text);
    return line;
}

const char *world_list_versions(struct world *w, const char *prefix)
{
    struct err e = ERR_INIT;
    struct line l = { .w = w, .text = BUF_INIT(16 * 1024), .versions = true };
    assert_ok(store_list_versions(w->store, world_key(w, prefix), add_to_line, &l, &e));
    const char *line = keep(&l.text);
    buf_done(&l.text);
    return line;
}

struct store_lock lock_for(enum store_lock_mode mode, int64_t from_now_ms)
{
    return (struct store_lock){ .mode = mode, .retain_until_ms = clock_wall_ms() + from_now_ms };
}

struct trial {
    const struct world_row *row;
    struct world *world;
    char name[128];
};

static void try_row(void **state)
{
    struct trial *t = *state;
    if (t->world->why_not)
        skip();
    world_row_begins(t->world);
    t->row->run(t->world);
    world_row_ends(t->world);
}

int world_run(const char *group, const struct world_row *rows, size_t count)
{
    static const enum world_kind kinds[] = { WORLD_DIR, WORLD_MEM, WORLD_S3 };
    struct world worlds[ARRAY_LEN(kinds)];
    struct trial *trials = mem_array(ARRAY_LEN(kinds) * count, sizeof(*trials));
    struct CMUnitTest *tests = mem_array(ARRAY_LEN(kinds) * count, sizeof(*tests));
    size_t n = 0;
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        world_open(&worlds[k], kinds[k]);
        if (worlds[k].why_not)
            fprintf(stderr, "%s: %s\n", worlds[k].name, worlds[k].why_not);
        for (size_t i = 0; i < count; i++) {
            if (!(rows[i].where & (int)kinds[k]))
                continue;
            trials[n] = (struct trial){ .row = &rows[i], .world = &worlds[k] };
            snprintf(trials[n].name, sizeof(trials[n].name), "%s: %s", worlds[k].name, rows[i].name);
            tests[n] = (struct CMUnitTest){ trials[n].name, try_row, NULL, NULL, &trials[n] };
            n++;
        }
    }
    int failed = _cmocka_run_group_tests(group, tests, n, NULL, NULL);
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
        world_close(&worlds[k]);
    free(tests);
    free(trials);
    return failed;
}
