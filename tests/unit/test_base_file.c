#include "base/file.h"

#include "tests/test.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Each test gets an empty folder below build/ as its state. */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int make_folder(void **state)
{
    struct err e = ERR_INIT;
    char *folder = mem_text("build/test-file-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(folder))
        return -1;
    *state = folder;
    return 0;
}

static int remove_folder(void **state)
{
    nftw(*state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static int count_entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;)
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(d);
    return n;
}

static void assert_content(const char *path, const char *want)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf b = BUF_INIT(1000);
    assert_ok(file_read(path, &b, &e));
    assert_string_equal(buf_text(&b), want);
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void what_is_written_is_read(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "f");
    mode_t before = umask(077);
    assert_ok(file_write(path, "one", 3, 0644, &e));
    umask(before);
    assert_content(path, "one");
    assert_int_equal(mode_of(path), 0644);
    assert_ok(file_write(path, "two and more", 12, 0600, &e));
    assert_content(path, "two and more");
    assert_int_equal(mode_of(path), 0600);
    assert_ok(file_write(path, "", 0, 0600, &e));
    assert_content(path, "");
    assert_int_equal(count_entries(*state), 1); /* no temporary file is left */
}

static void reading_appends_and_obeys_the_maximum(void **state)
{
    enum { COUNT = 200000 };
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "f");
    CLEANUP(freep) char *data = mem_new(COUNT);
    CLEANUP(buf_done) struct buf exact = BUF_INIT(COUNT + 4);
    CLEANUP(buf_done) struct buf tight = BUF_INIT(COUNT + 3);
    for (int i = 0; i < COUNT; i++)
        data[i] = (char)(i % 127);
    assert_ok(file_write(path, data, COUNT, 0600, &e));
    buf_add_text(&exact, "head");
    buf_add_text(&tight, "head");
    assert_ok(file_read(path, &exact, &e));
    assert_int_equal(exact.len, COUNT + 4);
    assert_memory_equal(exact.data, "head", 4);
    assert_memory_equal(exact.data + 4, data, COUNT);
    assert_int_equal(file_read(path, &tight, &e), ERR_LIMIT);
    assert_string_equal(buf_text(&tight), "head");
}

static void what_is_not_there_is_not_found(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "none");
    CLEANUP(buf_done) struct buf b = BUF_INIT(10);
    assert_int_equal(file_read(path, &b, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, path));
    assert_int_equal(file_read_private(path, &b, &e), ERR_NOT_FOUND);
    assert_false(file_exists(path));
    assert_ok(file_remove(path, &e));
}

static void a_folder_is_no_file(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf b = BUF_INIT(10);
    assert_int_equal(file_read(*state, &b, &e), ERR_IO);
    assert_int_equal(file_read_private(*state, &b, &e), ERR_DENIED);
    assert_int_equal(file_remove(*state, &e), ERR_IO);
    assert_int_equal(file_write(*state, "x", 1, 0600, &e), ERR_IO);
}

static void creating_never_replaces(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "f");
    assert_ok(file_create(path, "first", 5, 0640, &e));
    assert_int_equal(file_create(path, "second", 6, 0600, &e), ERR_CONFLICT);
    assert_content(path, "first");
    assert_int_equal(mode_of(path), 0640);
    assert_int_equal(count_entries(*state), 1);
    assert_ok(file_remove(path, &e));
    assert_ok(file_create(path, "third", 5, 0600, &e));
    assert_content(path, "third");
}

static void a_failed_write_leaves_nothing(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "no/folder/f");
    assert_int_equal(file_write(path, "x", 1, 0600, &e), ERR_NOT_FOUND);
    assert_int_equal(file_create(path, "x", 1, 0600, &e), ERR_NOT_FOUND);
    CLEANUP(freep) char *taken = path_join(*state, "taken");
    assert_int_equal(mkdir(taken, 0700), 0);
    assert_int_equal(file_write(taken, "x", 1, 0600, &e), ERR_IO);
    assert_int_equal(count_entries(*state), 1);
}

static void a_private_file_is_closed_to_others(void **state)
{
    static const mode_t open_modes[] = { 0640, 0620, 0604, 0602, 0666 };
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "key");
    CLEANUP(buf_wipe) struct buf b = BUF_INIT(100);
    assert_ok(file_write(path, "key", 3, 0600, &e));
    assert_ok(file_read_private(path, &b, &e));
    assert_string_equal(buf_text(&b), "key");
    buf_reset(&b);
    for (size_t i = 0; i < ARRAY_LEN(open_modes); i++) {
        assert_int_equal(chmod(path, open_modes[i]), 0);
        assert_int_equal(file_read_private(path, &b, &e), ERR_DENIED);
        assert_int_equal(b.len, 0);
    }
    assert_int_equal(chmod(path, 0600), 0);
    if (geteuid() == 0) { /* only root may give a file away */
        assert_int_equal(chown(path, 4711, 4711), 0);
        assert_int_equal(file_read_private(path, &b, &e), ERR_DENIED);
    }
}

static void a_fifo_is_refused_without_waiting(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "fifo");
    CLEANUP(buf_done) struct buf b = BUF_INIT(100);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(file_read_private(path, &b, &e), ERR_DENIED);
}

static void folders_are_made_with_their_parents(void **state)
{
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(*state, "a//b/c/");
    CLEANUP(freep) char *file = path_join(*state, "f");
    CLEANUP(freep) char *below = path_join(file, "d");
    assert_ok(dir_make(path, 0750, &e));
    assert_ok(dir_make(path, 0750, &e));
    assert_true(file_exists(path));
    assert_ok(dir_make("/", 0755, &e));
    assert_ok(file_write(file, "x", 1, 0600, &e));
    assert_int_equal(dir_make(file, 0755, &e), ERR_IO);
    assert_int_equal(dir_make(below, 0755, &e), ERR_IO);
    assert_int_equal(dir_make("", 0755, &e), ERR_NOT_FOUND);
}

static void writing_to_a_closed_descriptor_fails(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(fd_closep) int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_write_all(fd, "x", 1, &e), ERR_IO);
    assert_int_equal(file_write_all(-1, "x", 1, &e), ERR_IO);
    assert_ok(file_write_all(-1, "", 0, &e));
}

static void paths_are_joined_and_cut(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *want;
    } joins[] = {
        { "a", "b", "a/b" }, { "a/", "b", "a/b" }, { "a", "/b", "/b" },
        { "", "b", "b" },    { "/", "b", "/b" },   { "a", "b/c", "a/b/c" },
    };
    static const char *const parents[][2] = {
        { "a/b", "a" }, { "a", "." },    { "/a", "/" },      { "/", "/" },     { "a/b/", "a" },
        { "", "." },    { "a//b", "a" }, { "/a/b/c", "/a/b" }, { "//a", "/" }, { "a/", "." },
    };
    for (size_t i = 0; i < ARRAY_LEN(joins); i++) {
        CLEANUP(freep) char *got = path_join(joins[i].a, joins[i].b);
        assert_string_equal(got, joins[i].want);
    }
    for (size_t i = 0; i < ARRAY_LEN(parents); i++) {
        CLEANUP(freep) char *got = path_parent(parents[i][0]);
        assert_string_equal(got, parents[i][1]);
    }
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        IN_FOLDER(what_is_written_is_read),
        IN_FOLDER(reading_appends_and_obeys_the_maximum),
        IN_FOLDER(what_is_not_there_is_not_found),
        IN_FOLDER(a_folder_is_no_file),
        IN_FOLDER(creating_never_replaces),
        IN_FOLDER(a_failed_write_leaves_nothing),
        IN_FOLDER(a_private_file_is_closed_to_others),
        IN_FOLDER(a_fifo_is_refused_without_waiting),
        IN_FOLDER(folders_are_made_with_their_parents),
        cmocka_unit_test(writing_to_a_closed_descriptor_fails),
        cmocka_unit_test(paths_are_joined_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
