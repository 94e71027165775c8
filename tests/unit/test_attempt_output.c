#include "runner/attempt/output.h"

#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

/* ---- notes: one row a line of output ---- */

static const struct row {
    const char *name;
    const char *text;
    const char *error, *launch;
    int64_t dead_rank, dead_signal;
    const char *dead_node;
    int64_t failed_rank;
    bool node_lost;
} rows[] = {
    { "progress says nothing", "step 12 loss 0.5\n", "", "", -1, -1, "", -1, false },
    { "a trainer's error is kept", "sovrun-trainer: error: column 'x' is missing\n", "column 'x' is missing",
      "", -1, -1, "", -1, false },
    { "the last of two errors counts", "sovrun-trainer: error: a\nsovrun-trainer: error: b\n", "b", "", -1,
      -1, "", -1, false },
    { "an error without a line end counts", "x\nsovrun-trainer: error: cut", "cut", "", -1, -1, "", -1,
      false },
    { "an error inside a line is text", "he said sovrun-trainer: error: no\n", "", "", -1, -1, "", -1,
      false },
    { "control characters are not kept", "sovrun-trainer: error: a\x1b[2Jb\r\n", "a?[2Jb?", "", -1, -1, "",
      -1, false },
    { "a rank that died is named",
      "mpirun noticed that process rank 1 with PID 0 on node vm exited on signal 9 (Killed).\n", "", "", 1, 9,
      "vm", -1, false },
    { "the first rank that died is the cause",
      "mpirun noticed that process rank 3 with PID 77 on node a.b exited on signal 11 (Segmentation fault).\n"
      "mpirun noticed that process rank 1 with PID 78 on node c exited on signal 9 (Killed).\n",
      "", "", 3, 11, "a.b", -1, false },
    { "a rank that failed is named", "  Process name: [[20281,1],2]\n  Exit code:    10\n", "", "", -1, -1,
      "", 2, false },
    { "too few slots",
      "There are not enough slots available in the system to satisfy the 3\nslots that were requested\n", "",
      "There are not enough slots available in the system to satisfy the 3", -1, -1, "", -1, false },
    { "no program", "mpirun was unable to launch the specified application as it could not access\n", "",
      "mpirun was unable to launch the specified application as it could not access", -1, -1, "", -1, false },
    { "a lost node", "ORTE has lost communication with a remote daemon.\n", "", "", -1, -1, "", -1, true },
    { "nothing", "", "", "", -1, -1, "", -1, false },
};

static void assert_notes(const struct row *r, const struct output_notes *n)
{
    assert_string_equal(n->error, r->error);
    assert_string_equal(n->launch, r->launch);
    assert_int_equal(n->dead_rank, r->dead_rank);
    assert_int_equal(n->dead_signal, r->dead_signal);
    assert_string_equal(n->dead_node, r->dead_node);
    assert_int_equal(n->failed_rank, r->failed_rank);
    assert_int_equal(n->node_lost, r->node_lost);
}

/* However the pipe cuts the output, the notes are the same. */
static void notes_row(void **state)
{
    const struct row *r = *state;
    static const size_t pieces[] = { 1, 7, 4096 };
    for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
        CLEANUP(output_closep) struct output *o = NULL;
        struct err e = ERR_INIT;
        size_t n = strlen(r->text);
        assert_ok(output_open("/dev/null", 1 << 20, &o, &e));
        for (size_t at = 0; at < n; at += pieces[p])
            output_add(o, r->text + at, MIN(pieces[p], n - at));
        assert_notes(r, output_end(o));
    }
}

static void a_line_without_end_is_bounded(void **state)
{
    CLEANUP(output_closep) struct output *o = NULL;
    CLEANUP(freep) char *lengthy = mem_new(100000);
    struct err e = ERR_INIT;
    (void)state;
    memset(lengthy, 'x', 99999);
    assert_ok(output_open("/dev/null", 1 << 20, &o, &e));
    output_add(o, "sovrun-trainer: error: ", 23);
    output_add(o, lengthy, 99999);
    const struct output_notes *n = output_end(o);
    assert_int_equal(n->error[0], 'x');
    assert_true(strlen(n->error) < OUTPUT_LINE_BYTES);
}

/* ---- the log ---- */

static int make_path(void **state)
{
    struct err e = ERR_INIT;
    char *folder = mem_text("build/test-output-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(folder))
        return -1;
    *state = path_join(folder, "log");
    free(folder);
    return 0;
}

static int remove_path(void **state)
{
    char *folder = path_parent(*state);
    unlink(*state);
    rmdir(folder);
    free(folder);
    free(*state);
    return 0;
}

static void add_to(const char *path, uint64_t bytes_max, const char *text, int times)
{
    CLEANUP(output_closep) struct output *o = NULL;
    struct err e = ERR_INIT;
    assert_ok(output_open(path, bytes_max, &o, &e));
    for (int i = 0; i < times; i++)
        output_add(o, text, strlen(text));
}

static void read_log(const char *path, struct buf *out)
{
    struct err e = ERR_INIT;
    buf_reset(out);
    assert_ok(file_read(path, out, &e));
}

static void output_is_logged_as_it_is(void **state)
{
    CLEANUP(buf_done) struct buf log = BUF_INIT(1 << 20);
    add_to(*state, 4096, "one\x01\n", 1);
    add_to(*state, 4096, "two", 1); /* after what is there */
    read_log(*state, &log);
    assert_string_equal(buf_text(&log), "one\x01\ntwo");
}

static void the_log_ends_at_its_limit_and_says_so(void **state)
{
    CLEANUP(buf_done) struct buf log = BUF_INIT(1 << 20);
    add_to(*state, 4096, "0123456789abcdef\n", 1000);
    read_log(*state, &log);
    assert_true(log.len <= 4096);
    assert_true(log.len > 4096 - 256);
    const char *end =
        strstr(buf_text(&log), "--- the log ends here: it has reached its limit of 4.0 KiB ---\n");
    assert_non_null(end);
    assert_int_equal(end[-1], '\n');
    assert_string_equal(strchr(end, '\n'), "\n"); /* the last line */
}

static void a_log_that_is_full_gets_one_more_line_at_most(void **state)
{
    CLEANUP(buf_done) struct buf log = BUF_INIT(1 << 20);
    add_to(*state, 4096, "0123456789abcdef\n", 1000);
    read_log(*state, &log);
    size_t before = log.len;
    add_to(*state, 4096, "more\n", 10);
    read_log(*state, &log);
    assert_true(log.len <= before + 128);
    assert_null(strstr(buf_text(&log), "more"));
}

static void a_link_is_not_followed(void **state)
{
    CLEANUP(output_closep) struct output *o = NULL;
    struct err e = ERR_INIT;
    assert_int_equal(symlink("/dev/null", *state), 0);
    assert_int_equal(output_open(*state, 4096, &o, &e), ERR_IO);
}

static void a_full_disk_does_not_stop_us(void **state)
{
    CLEANUP(output_closep) struct output *o = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(output_open("/dev/full", 1 << 20, &o, &e));
    output_add(o, "some\n", 5);
    output_add(o, "sovrun-trainer: error: seen all the same\n", 41);
    assert_string_equal(output_end(o)->error, "seen all the same");
}

#define WITH_PATH(test) cmocka_unit_test_setup_teardown(test, make_path, remove_path)

int main(void)
{
    static const struct CMUnitTest own[] = {
        cmocka_unit_test(a_line_without_end_is_bounded),
        WITH_PATH(output_is_logged_as_it_is),
        WITH_PATH(the_log_ends_at_its_limit_and_says_so),
        WITH_PATH(a_log_that_is_full_gets_one_more_line_at_most),
        WITH_PATH(a_link_is_not_followed),
        cmocka_unit_test(a_full_disk_does_not_stop_us),
    };
    static struct CMUnitTest tests[ARRAY_LEN(own) + ARRAY_LEN(rows)];
    memcpy(tests, own, sizeof(own));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[ARRAY_LEN(own) + i] =
            (struct CMUnitTest){ rows[i].name, notes_row, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
