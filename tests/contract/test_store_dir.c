/*
 * What the dir store promises about processes, kills and disks. Children do the work; the parent looks at
 * what is left.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/store/store_ops.h"
#include "tests/fake/store_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static struct world w;

static int open_world(void **state)
{
    (void)state;
    world_open(&w, WORLD_DIR);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&w);
    return 0;
}

static int row_begins(void **state)
{
    (void)state;
    world_row_begins(&w);
    return 0;
}

static int row_ends(void **state)
{
    (void)state;
    world_row_ends(&w);
    return 0;
}

/* A child that runs `work` with a handle of its own and ends with its answer. */
static pid_t start_child(int (*work)(struct store *s, int number), int number)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0)
        return pid;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    if (store_open(&w.place, NULL, &s, &e))
        _exit(100);
    _exit(work(s, number));
}

static void expect_done(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

struct count {
    int versions;
    char last[STORE_VERSION_BYTES];
};

static enum err_code count_version(void *context, const struct store_info *info, struct err *e)
{
    struct count *c = context;
    (void)e;
    c->versions++;
    assert_true(c->last[0] == '\0' || strcmp(info->version, c->last) < 0); /* unique, and newest first */
    memcpy(c->last, info->version, sizeof(c->last));
    return OK;
}

enum { WRITERS = 4, PUTS = 15 };

static int put_many(struct store *s, int number)
{
    for (int i = 0; i < PUTS; i++) {
        struct err e = ERR_INIT;
        char text[32];
        snprintf(text, sizeof(text), "%d-%d", number, i);
        if (store_put(s, world_key(&w, "shared/key"), text, strlen(text), NULL, NULL, &e))
            return 1;
    }
    return 0;
}

static void writers_at_once_lose_nothing(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct count count = { .versions = 0 };
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pids[i] = start_child(put_many, i);
    for (int i = 0; i < WRITERS; i++)
        expect_done(pids[i]);
    assert_ok(store_list_versions(w.store, world_key(&w, "shared/key"), count_version, &count, &e));
    assert_int_equal(count.versions, WRITERS * PUTS);
}

/* Puts and removes versions of keys whose folders become empty again and again. */
static int put_and_remove(struct store *s, int number)
{
    for (int i = 0; i < PUTS; i++) {
        struct err e = ERR_INIT;
        struct store_info info;
        char key[64];
        snprintf(key, sizeof(key), "deep/er/and/deeper/%d", number % 2);
        if (store_put(s, world_key(&w, key), "x", 1, NULL, &info, &e) ||
            store_head(s, world_key(&w, key), info.version, &info, &e) ||
            store_delete(s, world_key(&w, key), info.version, &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
    }
    return 0;
}

static void removing_empty_folders_does_not_disturb_a_put(void **state)
{
    (void)state;
    pid_t pids[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        pids[i] = start_child(put_and_remove, i);
    for (int i = 0; i < WRITERS; i++)
        expect_done(pids[i]);
    assert_string_equal(world_list_versions(&w, ""), "");
    char path[1200];
    snprintf(path, sizeof(path), "%s/%s/objects/%sdeep", w.place.root, w.place.bucket, w.prefix);
    assert_false(file_exists(path)); /* nothing is left of them */
}

/* ---- kill -9 ---- */

enum { BIG = 1 << 20 };

static int put_until_killed(struct store *s, int number)
{
    CLEANUP(freep) char *data = mem_new(BIG);
    (void)number;
    for (int i = 0;; i++) {
        struct err e = ERR_INIT;
        struct store_put_options options = { .lock = lock_for(STORE_LOCK_COMPLIANCE, 3600000) };
        memset(data, 'a' + i % 26, BIG);
        if (store_put(s, world_key(&w, "big"), data, BIG, &options, NULL, &e))
            return 1;
    }
}

static enum err_code check_whole(void *context, const struct store_info *info, struct err *each_e)
{
    int *count = context;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf body = BUF_INIT(BIG);
    struct store_info head;
    (void)each_e;
    assert_int_equal(info->bytes, BIG);
    assert_ok(store_get(w.store, info->key, info->version, 0, UINT64_MAX, &body, &head, &e));
    assert_int_equal(body.len, BIG);
    assert_int_equal(memcmp(body.data, body.data + 1, BIG - 1), 0); /* one letter throughout */
    assert_int_equal(head.lock.mode, STORE_LOCK_COMPLIANCE);        /* and never without its lock */
    (*count)++;
    return OK;
}

static void a_kill_leaves_whole_objects_only(void **state)
{
    enum { KILLS = 12 };
    (void)state;
    struct err e = ERR_INIT;
    int count = 0;
    for (int i = 0; i < KILLS; i++) {
        int status;
        pid_t pid = start_child(put_until_killed, 0);
        clock_real.sleep_ms(&clock_real, 3 + 7 * i);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
    }
    assert_ok(store_list_versions(w.store, w.prefix, check_whole, &count, &e));
    assert_true(count > 0);
    world_put(&w, "big", "a put works as before");
    assert_string_equal(world_text(&w, "big", NULL), "a put works as before");
}

/* ---- what is left in tmp ---- */

static char *temp_path(const char *name)
{
    return mem_printf("%s/%s/tmp/%s", w.place.root, w.place.bucket, name);
}

static int make_temp(const char *name, int64_t age_s)
{
    CLEANUP(freep) char *path = temp_path(name);
    struct timespec times[2] = { { .tv_sec = time(NULL) - age_s }, { .tv_sec = time(NULL) - age_s } };
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && futimens(fd, times) == 0);
    return fd;
}

static bool temp_exists(const char *name)
{
    CLEANUP(freep) char *path = temp_path(name);
    return file_exists(path);
}

static void what_killed_writers_left_is_swept(void **state)
{
    (void)state;
    close(make_temp("dead", 7200));
    close(make_temp("young", 10));
    CLEANUP(fd_closep) int alive = make_temp("alive", 7200);
    assert_int_equal(flock(alive, LOCK_EX), 0);
    store_close(world_another(&w));
    assert_false(temp_exists("dead"));
    assert_true(temp_exists("young"));
    assert_true(temp_exists("alive"));
}

/* ---- damage ---- */

static char *version_path(const char *key, const char *version, const char *suffix)
{
    return mem_printf("%s/%s/objects/%s%s/@/%s%s", w.place.root, w.place.bucket, w.prefix, key, version,
                      suffix);
}

static void a_lock_that_cannot_be_read_is_not_taken_for_none(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct store_info info = world_put_locked(&w, "x", "one", lock_for(STORE_LOCK_COMPLIANCE, 3600000)), head;
    CLEANUP(freep) char *path = version_path("x", info.version, ".lock");
    assert_ok(file_write(path, "compliant 12 0\n", 15, 0400, &e));
    assert_int_equal(store_head(w.store, world_key(&w, "x"), info.version, &head, &e), ERR_CORRUPT);
    assert_int_equal(store_delete(w.store, world_key(&w, "x"), info.version, &e), ERR_CORRUPT);
    assert_ok(file_write(path, "", 0, 0400, &e));
    assert_int_equal(store_delete(w.store, world_key(&w, "x"), info.version, &e), ERR_CORRUPT);
}

static void strange_files_are_no_objects(void **state)
{
    static const char *const names[] = { "@/notes.txt", "@/0000", "%zz", "%2F", "y", "%61", ".git", "long+" };
    (void)state;
    struct err e = ERR_INIT;
    world_put(&w, "x", "one");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(freep)
        char *path = mem_printf("%s/%s/objects/%sx/%s", w.place.root, w.place.bucket, w.prefix, names[i]);
        assert_ok(file_write(path, "?", 1, 0600, &e));
    }
    assert_string_equal(world_list(&w, "", NULL), "x");
    assert_string_equal(world_list_versions(&w, ""), "x:one");
    assert_string_equal(world_text(&w, "x", NULL), "one");
}

static void a_list_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct count count = { .versions = 0 };
    CLEANUP(freep) char *objects = mem_printf("%s/%s/objects", w.place.root, w.place.bucket);
    CLEANUP(freep) char *away = mem_printf("%s/%s/away", w.place.root, w.place.bucket);
    assert_int_equal(rename(objects, away), 0);
    enum err_code list = store_list(w.store, "", NULL, count_version, &count, &e);
    enum err_code versions = store_list_versions(w.store, "", count_version, &count, &e);
    assert_int_equal(rename(away, objects), 0);
    assert_int_not_equal(list, OK);
    assert_int_not_equal(versions, OK);
}

static void a_bucket_that_cannot_be_read_is_not_opened(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct store *s = NULL;
    struct store_place place = w.place;
    snprintf(place.bucket, sizeof(place.bucket), "damaged");
    CLEANUP(freep) char *path = mem_printf("%s/damaged/bucket.txt", place.root);
    assert_ok(store_make_bucket(&place, NULL, true, &e));
    assert_ok(file_write(path, "sovrun-dir-bucket 1\nlockable false\n", 35, 0600, &e));
    assert_int_equal(store_open(&place, NULL, &s, &e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "bucket.txt"));
}

static void a_default_lock_holds_what_asks_for_none(void **state)
{
    static const char text[] =
        "sovrun-dir-bucket 1\nlocation test-region-1\nlockable true\ndefault_lock governance 3600000\n";
    (void)state;
    struct err e = ERR_INIT;
    struct store_place place = w.place;
    struct store_info info;
    struct store_facts facts;
    CLEANUP(store_closep) struct store *s = NULL;
    snprintf(place.bucket, sizeof(place.bucket), "defaulted");
    CLEANUP(freep) char *path = mem_printf("%s/defaulted/bucket.txt", place.root);
    assert_ok(store_make_bucket(&place, NULL, true, &e));
    assert_ok(file_write(path, text, strlen(text), 0600, &e));
    assert_ok(store_open(&place, NULL, &s, &e));
    assert_ok(store_facts(s, &facts, &e));
    assert_int_equal(facts.default_lock.mode, STORE_LOCK_GOVERNANCE);
    assert_int_equal(facts.default_lock.retain_until_ms, 3600000);
    assert_ok(store_put(s, "x", "x", 1, NULL, &info, &e));
    assert_int_equal(info.lock.mode, STORE_LOCK_GOVERNANCE);
    assert_int_equal(store_delete(s, "x", info.version, &e), ERR_DENIED);
}

/* A clock that was set back must not hide a newer version behind an older one. */
static void a_newer_put_is_the_latest_whatever_the_clock_says(void **state)
{
    (void)state;
    struct store_info now = world_put(&w, "x", "now");
    CLEANUP(freep) char *from = version_path("x", now.version, "");
    CLEANUP(freep) char *to = version_path("x", "7000000000000000-000000000000", "");
    assert_int_equal(rename(from, to), 0); /* as if it had been put in the year 2225 */
    world_put(&w, "x", "later");
    assert_string_equal(world_text(&w, "x", NULL), "later");
    struct err e = ERR_INIT;
    assert_ok(store_delete(w.store, world_key(&w, "x"), NULL, &e));
    assert_string_equal(world_text(&w, "x", NULL), "(not found)");
}

static void the_bucket_lock_is_not_waited_for_without_end(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct store_info info = world_put(&w, "x", "one");
    CLEANUP(freep) char *path = mem_printf("%s/%s/lock", w.place.root, w.place.bucket);
    CLEANUP(fd_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    world_put(&w, "x", "a put needs no lock");
    assert_string_equal(world_text(&w, "x", NULL), "a put needs no lock");
    assert_int_equal(flock(fd, LOCK_UN), 0);
    assert_ok(store_delete(w.store, world_key(&w, "x"), info.version, &e));
}

/* ---- a full disk ---- */

/* In a mount namespace of its own: a file system of 256 KiB. 0: as promised; 77: cannot be tried here. */
static int put_onto_a_full_disk(const char *root)
{
    enum { CANNOT_TRY = 77, DISK = 512 << 10 };
    struct err e = ERR_INIT;
    struct store_place place = { .kind = STORE_DIR, .bucket = "small" };
    struct store *s = NULL;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", root, "tmpfs", 0, "size=256k") != 0)
        return CANNOT_TRY;
    snprintf(place.root, sizeof(place.root), "%s", root);
    CLEANUP(freep) char *data = mem_new(DISK);
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    if (store_make_bucket(&place, NULL, true, &e) || store_open(&place, NULL, &s, &e) ||
        store_put(s, "x", "before", 6, NULL, NULL, &e))
        return 1;
    if (store_put(s, "x", data, DISK, NULL, NULL, &e) != ERR_IO)
        return 2;
    if (!strstr(e.text, root) || !strcasestr(e.text, "no space"))
        return 3;
    err_clear(&e);
    if (store_get(s, "x", NULL, 0, UINT64_MAX, &body, NULL, &e) || strcmp(buf_text(&body), "before") != 0)
        return 4;
    if (store_put(s, "y", data, 64 << 10, NULL, NULL, &e)) /* the room is given back */
        return 5;
    return 0;
}

static void a_full_disk_is_told_with_its_path(void **state)
{
    enum { CANNOT_TRY = 77 };
    (void)state;
    struct err e = ERR_INIT;
    int status;
    CLEANUP(freep) char *root = mem_printf("%s/full", w.place.root);
    assert_ok(dir_make(root, 0755, &e));
    pid_t pid = fork();
    if (pid == 0)
        _exit(put_onto_a_full_disk(root));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT_TRY)
        skip(); /* no right to mount */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static enum err_code see_nothing(void *context, const struct store_info *info, struct err *e)
{
    (void)context, (void)info, (void)e;
    return OK;
}

/* An unmounted disk looks like an empty one: nothing may be taken for gone that is only away. */
static void a_bucket_whose_folder_is_away_is_tried_again(void **state)
{
    (void)state;
    const struct store_lock lock = lock_for(STORE_LOCK_GOVERNANCE, 60000);
    const char *key = world_key(&w, "x");
    CLEANUP(store_closep) struct store *bare = NULL; /* without the retries, which would only wait */
    CLEANUP(buf_done) struct buf body = BUF_INIT(100);
    CLEANUP(freep) char *folder = path_join(w.place.root, w.place.bucket);
    CLEANUP(freep) char *elsewhere = mem_printf("%s.away", folder);
    struct store_info info;
    struct store_facts facts;
    struct err e = ERR_INIT;

    world_put(&w, "x", "kept");
    assert_ok(store_dir_backend.open(&w.place, NULL, &bare, &e));
    assert_int_equal(rename(folder, elsewhere), 0);
    enum err_code put = store_put(bare, key, "new", 3, NULL, NULL, &e);
    enum err_code get = store_get(bare, key, NULL, 0, UINT64_MAX, &body, &info, &e);
    enum err_code head = store_head(bare, key, NULL, &info, &e);
    enum err_code list = store_list(bare, "", NULL, see_nothing, NULL, &e);
    enum err_code versions = store_list_versions(bare, "", see_nothing, NULL, &e);
    enum err_code hide = store_delete(bare, key, NULL, &e);
    enum err_code locked = store_set_lock(bare, key, "0000000000000000-000000000000", &lock, &e);
    enum err_code told = store_facts(bare, &facts, &e);
    bool made_anew = file_exists(folder);
    assert_int_equal(rename(elsewhere, folder), 0);
    assert_int_equal(put, ERR_RETRY);
    assert_int_equal(get, ERR_RETRY);
    assert_int_equal(head, ERR_RETRY);
    assert_int_equal(list, ERR_RETRY);
    assert_int_equal(versions, ERR_RETRY);
    assert_int_equal(hide, ERR_RETRY);
    assert_int_equal(locked, ERR_RETRY);
    assert_int_equal(told, ERR_RETRY);
    assert_false(made_anew);
    assert_string_equal(world_text(&w, "x", NULL), "kept");
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, row_begins, row_ends)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        ROW(writers_at_once_lose_nothing),
        ROW(removing_empty_folders_does_not_disturb_a_put),
        ROW(a_kill_leaves_whole_objects_only),
        ROW(what_killed_writers_left_is_swept),
        ROW(a_lock_that_cannot_be_read_is_not_taken_for_none),
        ROW(strange_files_are_no_objects),
        ROW(a_list_that_cannot_be_read_is_an_error),
        ROW(a_bucket_that_cannot_be_read_is_not_opened),
        ROW(a_default_lock_holds_what_asks_for_none),
        ROW(a_newer_put_is_the_latest_whatever_the_clock_says),
        ROW(the_bucket_lock_is_not_waited_for_without_end),
        ROW(a_full_disk_is_told_with_its_path),
        ROW(a_bucket_whose_folder_is_away_is_tried_again),
    };
    return cmocka_run_group_tests_name("store dir", tests, open_world, close_world);
}
