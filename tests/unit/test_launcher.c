/* Launch notes, and supervisors as real processes: a stand-in for `sovrun` is put beside this test's own
 * program. */
#include "scheduler/launcher.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "core/cluster/scratch.h"
#include "scheduler/leftover.h"
#include "tests/test.h"

#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- notes ---- */

static const struct row {
    const char *name, *text;
    enum err_code want;
    pid_t pid;
} rows[] = {
    { "a note", "boot-1 4242 519995", OK, 4242 },
    { "a note of what was not started", "boot-1 0 0", OK, 0 },
    { "nothing", "", ERR_CORRUPT, 0 },
    { "too little", "boot-1 4242", ERR_CORRUPT, 0 },
    { "too much", "boot-1 4242 1 1", ERR_CORRUPT, 0 },
    { "no host", " 4242 1", ERR_CORRUPT, 0 },
    { "a number that is none", "boot-1 x 1", ERR_CORRUPT, 0 },
    { "a negative number", "boot-1 -1 1", ERR_CORRUPT, 0 },
    { "a number that no process has", "boot-1 4294967296 1", ERR_CORRUPT, 0 },
    { "a start that is none", "boot-1 1 -1", ERR_CORRUPT, 0 },
    { "a host too long", "0123456789012345678901234567890123456789012345678901234567890123 1 1", ERR_CORRUPT,
      0 },
};

static void reads_note(void **state)
{
    const struct row *r = *state;
    struct launcher_note n = { .host = "" };
    char text[LAUNCHER_NOTE_BYTES];
    struct err e = ERR_INIT;

    assert_int_equal(launcher_note_parse(r->text, &n, &e), r->want);
    if (r->want)
        return;
    assert_int_equal(n.id.pid, r->pid);
    assert_string_equal(launcher_note_text(&n, text), r->text);
}

/* ---- processes ---- */

#define JOB "261122-k3m9qz"

struct world {
    char *home, *program;
    struct launcher *launcher;
};

/* A supervisor that started something of its own in a group of its own, which ignores what it can. */
static const char stand_in[] =
    "#!/bin/bash\necho \"$@\"\nset -m\n(trap '' TERM HUP INT; sleep 100; sleep 100) &\n"
    "echo ready\nwait\n";

static int set_up(void **state)
{
    struct world *w = mem_new(sizeof(*w));
    char self[PATH_MAX] = "";
    struct err e = ERR_INIT;

    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    CLEANUP(freep) char *dir = path_parent(self);
    w->program = path_join(dir, "sovrun");
    w->home = mem_text("build/test-launcher-XXXXXX");
    assert_non_null(mkdtemp(w->home));
    assert_ok(file_write(w->program, stand_in, strlen(stand_in), 0700, &e));
    assert_ok(launcher_local_new(w->home, &w->launcher, &e));
    *state = w;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    struct world *w = *state;

    launcher_close(w->launcher);
    unlink(w->program);
    nftw(w->home, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(w->program);
    free(w->home);
    free(w);
    return 0;
}

static void read_log(const struct world *w, struct buf *out)
{
    CLEANUP(freep) char *path = mem_printf("%s/attempts/" JOB ".2/supervisor.log", w->home);
    struct err e = ERR_INIT;

    buf_reset(out);
    IGNORE(file_read(path, out, &e));
}

/* Until its child is there, too. */
static struct proc_id start(struct world *w, struct buf *log)
{
    struct proc_id id = { .pid = 0 };
    struct err e = ERR_INIT;

    assert_ok(w->launcher->ops->start(w->launcher, JOB, 2, &id, &e));
    for (int i = 0; i < 2000; i++) {
        read_log(w, log);
        if (strstr(buf_text(log), "ready\n"))
            return id;
        clock_real.sleep_ms(&clock_real, 5);
    }
    fail_msg("the stand-in does not start");
    return id;
}

static bool session_is_empty(struct proc_id leader)
{
    for (int i = 0; i < 2000; i++) {
        if (leftover_kill(leader) == 0)
            return true;
        clock_real.sleep_ms(&clock_real, 1);
    }
    return false;
}

static void a_supervisor_gets_its_arguments_a_log_and_a_session(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf log = BUF_INIT(4096);
    struct err e = ERR_INIT;
    const struct proc_id id = start(w, &log);
    char want[256];

    snprintf(want, sizeof(want), "attempt --home %s " JOB " 2\nready\n", w->home);
    assert_string_equal(buf_text(&log), want);
    assert_int_equal(getsid(id.pid), id.pid);
    assert_int_equal(w->launcher->ops->life(w->launcher, id), SIGHT_ALIVE);
    assert_ok(w->launcher->ops->end(w->launcher, JOB, id, (struct proc_id){ .pid = 0 }, &e));
}

static void ending_one_ends_all_of_its_session(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf log = BUF_INIT(4096);
    struct err e = ERR_INIT;
    const struct proc_id id = start(w, &log);

    assert_ok(w->launcher->ops->end(w->launcher, JOB, id, (struct proc_id){ .pid = 0 }, &e));
    assert_int_equal(w->launcher->ops->life(w->launcher, id), SIGHT_DEAD);
    assert_int_equal(leftover_kill(id), 0);
}

static void ending_one_removes_its_scratch(void **state)
{
    struct world *w = *state;
    CLEANUP(freep) char *scratch = NULL;
    struct err e = ERR_INIT;

    assert_ok(scratch_make(JOB, 2, w->home, &scratch, &e));
    const struct proc_id nobody = { .pid = 0 };
    assert_ok(w->launcher->ops->end(w->launcher, JOB, nobody, nobody, &e));
    assert_false(file_exists(scratch));
}

static void orphans_of_a_dead_supervisor_are_found(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf log = BUF_INIT(4096);
    const struct proc_id id = start(w, &log);

    kill(id.pid, SIGKILL);
    while (w->launcher->ops->life(w->launcher, id) != SIGHT_DEAD)
        clock_real.sleep_ms(&clock_real, 1);
    w->launcher->ops->reap(w->launcher);
    assert_true(leftover_kill(id) > 0);
    assert_true(session_is_empty(id));
}

static void another_process_with_that_number_is_left_alone(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf log = BUF_INIT(4096);
    struct err e = ERR_INIT;
    const struct proc_id id = start(w, &log);
    const struct proc_id earlier = { .pid = id.pid, .start_ticks = id.start_ticks - 1 };

    assert_int_equal(leftover_kill(earlier), 0);
    assert_int_equal(w->launcher->ops->life(w->launcher, earlier), SIGHT_DEAD);
    assert_int_equal(w->launcher->ops->watch_fd(w->launcher, earlier), -1);
    assert_ok(w->launcher->ops->end(w->launcher, JOB, earlier, (struct proc_id){ .pid = 0 }, &e));
    assert_int_equal(w->launcher->ops->life(w->launcher, id), SIGHT_ALIVE);
    assert_ok(w->launcher->ops->end(w->launcher, JOB, id, (struct proc_id){ .pid = 0 }, &e));
}

static void its_end_can_be_waited_for(void **state)
{
    struct world *w = *state;
    CLEANUP(buf_done) struct buf log = BUF_INIT(4096);
    struct err e = ERR_INIT;
    const struct proc_id id = start(w, &log);
    CLEANUP(fd_closep) int fd = w->launcher->ops->watch_fd(w->launcher, id);
    struct pollfd p = { .fd = fd, .events = POLLIN };

    assert_true(fd >= 0);
    assert_int_equal(poll(&p, 1, 0), 0);
    kill(id.pid, SIGKILL);
    assert_int_equal(poll(&p, 1, 10000), 1);
    assert_ok(w->launcher->ops->end(w->launcher, JOB, id, (struct proc_id){ .pid = 0 }, &e));
}

static void without_a_program_there_is_no_launcher(void **state)
{
    struct world *w = *state;
    struct launcher *l = NULL;
    struct err e = ERR_INIT;

    assert_int_equal(unlink(w->program), 0);
    assert_int_equal(launcher_local_new(w->home, &l, &e), ERR_NOT_FOUND);
    assert_null(l);
}

static void a_program_that_cannot_start_is_an_error(void **state)
{
    struct world *w = *state;
    struct proc_id id;
    struct err e = ERR_INIT;

    assert_ok(file_write(w->program, "#!/no/such/shell\n", 17, 0700, &e));
    assert_int_equal(w->launcher->ops->start(w->launcher, JOB, 1, &id, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "launch " JOB ".1"));
}

#define WITH(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    static struct CMUnitTest tests[7 + ARRAY_LEN(rows)] = {
        WITH(a_supervisor_gets_its_arguments_a_log_and_a_session),
        WITH(ending_one_ends_all_of_its_session),
        WITH(ending_one_removes_its_scratch),
        WITH(orphans_of_a_dead_supervisor_are_found),
        WITH(another_process_with_that_number_is_left_alone),
        WITH(its_end_can_be_waited_for),
        WITH(without_a_program_there_is_no_launcher),
        WITH(a_program_that_cannot_start_is_an_error),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        tests[7 + i] = (struct CMUnitTest){ rows[i].name, reads_note, NULL, NULL, (void *)&rows[i] };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
