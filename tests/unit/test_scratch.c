/* The folder in which ranks share memory: private, and gone once its attempt is, whoever removes it. */
#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/cluster/scratch.h"
#include "tests/test.h"

#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOB "261122-scrtch"

static size_t count_scratch(void)
{
    CLEANUP(freep) char *pattern = mem_printf("/dev/shm/sovrun.%u." JOB ".*", (unsigned)geteuid());
    glob_t found = { .gl_pathc = 0 };
    glob(pattern, 0, NULL, &found);
    size_t count = found.gl_pathc;
    globfree(&found);
    return count;
}

static void scratch_is_private_and_goes_with_all_that_is_in_it(void **state)
{
    CLEANUP(freep) char *path = NULL;
    struct stat st;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(scratch_make(JOB, 1, "build", &path, &e));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    CLEANUP(freep) char *deep = path_join(path, "a/b");
    CLEANUP(freep) char *file = path_join(deep, "segment");
    assert_ok(dir_make(deep, 0700, &e));
    assert_ok(file_write(file, "x", 1, 0600, &e));
    scratch_remove(path);
    assert_false(file_exists(path));
}

static void what_an_earlier_attempt_left_is_removed(void **state)
{
    CLEANUP(freep) char *first = NULL;
    CLEANUP(freep) char *second = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(scratch_make(JOB, 1, "build", &first, &e));
    assert_ok(scratch_make(JOB, 2, "build", &second, &e));
    assert_false(file_exists(first));
    assert_int_equal(count_scratch(), 1);
    scratch_remove(second);
    assert_int_equal(count_scratch(), 0);
}

static void a_link_in_the_scratch_is_not_followed(void **state)
{
    CLEANUP(freep) char *path = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(dir_make("build/test-scratch-kept", 0700, &e));
    assert_ok(file_write("build/test-scratch-kept/file", "x", 1, 0600, &e));
    assert_ok(scratch_make(JOB, 1, "build", &path, &e));
    CLEANUP(freep) char *link = path_join(path, "link");
    CLEANUP(freep) char *target = realpath("build/test-scratch-kept", NULL);
    assert_int_equal(symlink(target, link), 0);
    scratch_remove(path);
    assert_true(file_exists("build/test-scratch-kept/file"));
    unlink("build/test-scratch-kept/file");
    rmdir("build/test-scratch-kept");
}

static void a_job_is_swept_without_its_neighbours(void **state)
{
    CLEANUP(freep) char *own = NULL;
    CLEANUP(freep) char *other = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(scratch_make(JOB, 3, "build", &own, &e));
    assert_ok(scratch_make("261122-0thers", 1, "build", &other, &e));
    scratch_sweep_job(JOB);
    assert_false(file_exists(own));
    assert_true(file_exists(other));
    scratch_remove(other);
}

static void a_home_is_swept_of_its_own_attempts_only(void **state)
{
    CLEANUP(freep) char *own = NULL;
    CLEANUP(freep) char *other = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(dir_make("build/test-scratch-home/attempts/" JOB ".3", 0700, &e));
    assert_ok(scratch_make(JOB, 3, "build", &own, &e));
    assert_ok(scratch_make("261122-0thers", 1, "build", &other, &e));
    scratch_sweep_home("build/test-scratch-home");
    assert_false(file_exists(own));
    assert_true(file_exists(other));
    scratch_remove(other);
    scratch_remove("build/test-scratch-home");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(scratch_is_private_and_goes_with_all_that_is_in_it),
        cmocka_unit_test(what_an_earlier_attempt_left_is_removed),
        cmocka_unit_test(a_link_in_the_scratch_is_not_followed),
        cmocka_unit_test(a_job_is_swept_without_its_neighbours),
        cmocka_unit_test(a_home_is_swept_of_its_own_attempts_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
