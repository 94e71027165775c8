#include "base/proc.h"

#include "tests/test.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/num.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* Generous: a test ends as soon as what it waits for is there; this only bounds one that would hang. */
enum { PATIENCE_MS = 20000 };

static const char *const sleep_long[] = { "sleep", "100", NULL };

static struct proc_id start(const char *const *argv)
{
    struct err e = ERR_INIT;
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id = { 0 };
    o.argv = argv;
    o.die_with_parent = true;
    assert_ok(proc_start(&o, &id, &e));
    return id;
}

static int end_of(struct proc_id id)
{
    struct err e = ERR_INIT;
    int status = -1;
    assert_ok(proc_wait(id, &status, &e));
    return status;
}

/* What a shell script prints. */
static void assert_prints(const char *script, const char *want)
{
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(10000);
    const char *argv[] = { "sh", "-c", script, NULL };
    assert_ok(proc_run(argv, PATIENCE_MS, &out, &e));
    assert_string_equal(buf_text(&out), want);
}

static void the_exit_status_is_a_shells(void **state)
{
    (void)state;
    const char *ok[] = { "true", NULL };
    const char *seven[] = { "sh", "-c", "exit 7", NULL };
    const char *killed[] = { "sh", "-c", "kill -9 $$", NULL };
    assert_int_equal(end_of(start(ok)), 0);
    assert_int_equal(end_of(start(seven)), 7);
    assert_int_equal(end_of(start(killed)), 128 + SIGKILL);
}

static void a_program_that_is_not_there_is_not_found(void **state)
{
    (void)state;
    static const char *const names[] = { "no-such-program-anywhere", "/no/such/program", "" };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct proc_options o = PROC_OPTIONS_INIT;
        struct proc_id id = { .pid = 77 };
        const char *argv[] = { names[i], NULL };
        o.argv = argv;
        assert_int_equal(proc_start(&o, &id, &e), ERR_NOT_FOUND);
        assert_int_equal(id.pid, 77);
    }
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
}

static void a_file_that_cannot_be_executed_is_reported(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const char *argv[] = { "/etc/passwd", NULL };
    assert_int_equal(proc_run(argv, PATIENCE_MS, NULL, &e), ERR_IO);
    assert_non_null(strstr(e.text, "/etc/passwd"));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void a_folder_that_is_not_there_is_reported(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id;
    o.argv = sleep_long;
    o.dir = "/no/such/folder";
    assert_int_equal(proc_start(&o, &id, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "folder"));
}

/* Runs with what the options say and standard output in a pipe; adds all of it to `out`. */
static void run_with(struct proc_options o, struct buf *out)
{
    struct err e = ERR_INIT;
    struct proc_id id;
    int ends[2];
    char chunk[512];
    ssize_t n;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    o.out = ends[1];
    assert_ok(proc_start(&o, &id, &e));
    close(ends[1]);
    while ((n = read(ends[0], chunk, sizeof(chunk))) > 0)
        buf_add(out, chunk, (size_t)n);
    close(ends[0]);
    assert_int_equal(end_of(id), 0);
}

static void folder_and_environment_are_what_is_given(void **state)
{
    (void)state;
    CLEANUP(buf_done) struct buf out = BUF_INIT(1000);
    struct proc_options o = PROC_OPTIONS_INIT;
    const char *argv[] = { "sh", "-c", "pwd; echo \"$COLOR,$HOME\"", NULL };
    const char *env[] = { "COLOR=blue", NULL };
    o.argv = argv;
    o.env = env;
    o.dir = "/";
    run_with(o, &out);
    assert_string_equal(buf_text(&out), "/\nblue,\n");
}

static void descriptors_above_2_are_closed(void **state)
{
    (void)state;
    int leaky = open("/dev/null", O_RDONLY); /* without O_CLOEXEC, as a library may do */
    assert_true(leaky >= 0);
    int high = dup2(leaky, 200);
    assert_int_equal(high, 200);
    /* 3 is what the listing itself has open. */
    assert_prints("ls /proc/self/fd | tr '\\n' ' '", "0 1 2 3 ");
    close(leaky);
    close(high);
}

static void descriptors_may_be_given_crosswise(void **state)
{
    (void)state;
    /* Our 0 becomes the child's 1, our 1 its 2, our 2 its 0: none may be overwritten before it was copied. */
    int saved[3], ends[2];
    char got[16] = "";
    struct err e = ERR_INIT;
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id id;
    const char *argv[] = { "sh", "-c", "echo out; readlink /proc/self/fd/0 >&2", NULL };
    int err_ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err_ends, O_CLOEXEC), 0);
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    fflush(NULL);
    for (int i = 0; i < 3; i++)
        saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
    dup2(ends[1], 0);
    dup2(err_ends[1], 1);
    dup2(zero, 2);
    o.argv = argv;
    o.in = 2;
    o.out = 0;
    o.err = 1;
    enum err_code code = proc_start(&o, &id, &e);
    for (int i = 0; i < 3; i++) {
        if (saved[i] >= 0) {
            dup2(saved[i], i);
            close(saved[i]);
        } else {
            close(i);
        }
    }
    assert_ok(code);
    assert_int_equal(end_of(id), 0);
    assert_int_equal(read(ends[0], got, sizeof(got) - 1), 4);
    assert_string_equal(got, "out\n");
    memset(got, 0, sizeof(got));
    assert_int_equal(read(err_ends[0], got, sizeof(got) - 1), 10);
    assert_string_equal(got, "/dev/zero\n");
    for (int i = 0; i < 2; i++) {
        close(ends[i]);
        close(err_ends[i]);
    }
    close(zero);
}

static void signals_are_back_to_their_defaults(void **state)
{
    (void)state;
    sigset_t set;
    void (*before)(int) = signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    /* Signals 32 and 33 are glibc's own: it lets nobody touch them, whatever our own parent did to them. */
    assert_prints(
        "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\t' | sed 's/0000000180000000/0000000000000000/'",
        "SigBlk:0000000000000000\nSigIgn:0000000000000000\n");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGPIPE, before);
}

static void groups_and_sessions_are_made(void **state)
{
    (void)state;
    /* Fields 1, 5 and 6 of stat: process, group, session. */
    const char *argv[] = { "sh", "-c", "read -r p c s pp g sid rest </proc/$$/stat; echo $p $g $sid", NULL };
    for (int session = 0; session < 2; session++) {
        CLEANUP(buf_done) struct buf out = BUF_INIT(100);
        struct proc_options o = PROC_OPTIONS_INIT;
        int pid = 0, group = 0, sid = 0;
        o.argv = argv;
        o.new_group = !session;
        o.new_session = session;
        run_with(o, &out);
        assert_int_equal(sscanf(buf_text(&out), "%d %d %d", &pid, &group, &sid), 3);
        assert_int_equal(group, pid);
        assert_int_equal(sid, session ? pid : getsid(0));
    }
}

static void a_process_is_known_by_its_start_too(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_id id = start(sleep_long), again, other;
    assert_true(proc_alive(id));
    assert_ok(proc_identify(id.pid, &again, &e));
    assert_true(again.start_ticks == id.start_ticks);
    other = id;
    other.start_ticks++;
    assert_false(proc_alive(other));
    proc_signal(other, SIGKILL); /* somebody else now: nothing may happen */
    proc_signal_group(other, SIGKILL);
    assert_true(proc_alive(id));
    proc_signal(id, SIGTERM);
    assert_int_equal(end_of(id), 128 + SIGTERM);
    assert_false(proc_alive(id));
    proc_signal(id, SIGKILL);
    assert_int_equal(proc_identify(id.pid, &again, &e), ERR_NOT_FOUND);
    assert_int_equal(proc_identify(0, &again, &e), ERR_NOT_FOUND);
    assert_int_equal(proc_identify(-1, &again, &e), ERR_NOT_FOUND);
    assert_false(proc_alive((struct proc_id){ 0 }));
}

static void the_start_is_counted_from_boot(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct timespec now;
    struct proc_id self, child = start(sleep_long);
    assert_ok(proc_identify(getpid(), &self, &e));
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    uint64_t ticks_now = (uint64_t)((now.tv_sec + 1) * sysconf(_SC_CLK_TCK));
    assert_true(self.start_ticks > 0);
    assert_true(self.start_ticks <= child.start_ticks);
    assert_true(child.start_ticks <= ticks_now);
    proc_signal(child, SIGKILL);
    assert_int_equal(end_of(child), 128 + SIGKILL);
}

static void a_zombie_is_not_alive(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_id id = start(sleep_long), same;
    siginfo_t info;
    proc_signal(id, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)id.pid, &info, WEXITED | WNOWAIT), 0); /* ended, not reaped */
    assert_false(proc_alive(id));
    assert_ok(proc_identify(id.pid, &same, &e));
    assert_true(same.start_ticks == id.start_ticks);
    assert_int_equal(end_of(id), 128 + SIGKILL);
}

static void a_name_with_brackets_does_not_confuse(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_id before, after;
    char name[16];
    prctl(PR_GET_NAME, name);
    assert_ok(proc_identify(getpid(), &before, &e));
    prctl(PR_SET_NAME, "a) R 1 (b) 2 3");
    assert_ok(proc_identify(getpid(), &after, &e));
    prctl(PR_SET_NAME, name);
    assert_true(before.start_ticks == after.start_ticks);
    assert_true(proc_alive(before));
}

static void only_our_children_can_be_waited_for(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_id self;
    int status = 99;
    assert_ok(proc_identify(getpid(), &self, &e));
    assert_int_equal(proc_wait(self, &status, &e), ERR_NOT_FOUND);
    assert_int_equal(status, 99);
}

static void a_group_is_signalled_with_its_children(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    struct proc_options o = PROC_OPTIONS_INIT;
    struct proc_id leader;
    int ends[2];
    char byte;
    const char *argv[] = { "sh", "-c", "sleep 100 & wait", NULL };
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    o.argv = argv;
    o.out = ends[1];
    o.new_group = true;
    assert_ok(proc_start(&o, &leader, &e));
    close(ends[1]);
    proc_signal_group(leader, SIGKILL);
    /* The end of the pipe: nobody holds its other side any more, so the sleeper is gone as well. */
    assert_int_equal(read(ends[0], &byte, 1), 0);
    close(ends[0]);
    assert_int_equal(end_of(leader), 128 + SIGKILL);
}

static void children_of_a_dead_parent_die_with_it(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        struct err e = ERR_INIT;
        struct proc_options o = PROC_OPTIONS_INIT;
        struct proc_id id;
        o.argv = sleep_long;
        o.out = ends[1];
        o.die_with_parent = true;
        _exit(proc_start(&o, &id, &e) ? 1 : 0); /* dies while its child sleeps */
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* the sleeper held the other side */
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(parent, &status, 0), parent);
    assert_int_equal(status, 0);
}

static void orphans_are_adopted_and_killed(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(100);
    struct proc_id orphan;
    int64_t pid;
    const char *argv[] = { "sh", "-c", "setsid sleep 100 >/dev/null & printf %d $!", NULL };
    proc_become_subreaper();
    assert_ok(proc_run(argv, PATIENCE_MS, &out, &e));
    assert_ok(parse_i64(buf_text(&out), &pid, &e));
    assert_ok(proc_identify((pid_t)pid, &orphan, &e));
    assert_true(proc_alive(orphan));
    struct proc_id child = start(sleep_long);
    proc_kill_children(PATIENCE_MS);
    assert_false(proc_alive(orphan));
    assert_false(proc_alive(child));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    proc_kill_children(PATIENCE_MS); /* at once where there are none */
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void output_is_added_to_what_was_there(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(300000);
    const char *argv[] = { "sh", "-c", "cat; head -c 200000 /dev/zero; printf end", NULL };
    buf_add_text(&out, "head");
    assert_ok(proc_run(argv, PATIENCE_MS, &out, &e)); /* `cat` ends, for there is nothing to read */
    assert_int_equal(out.len, 4 + 200000 + 3);
    assert_string_equal((char *)out.data + 4 + 200000, "end");
    const char *quiet[] = { "true", NULL };
    assert_ok(proc_run(quiet, PATIENCE_MS, &out, &e));
    assert_int_equal(out.len, 4 + 200000 + 3);
    assert_ok(proc_run(argv, PATIENCE_MS, NULL, &e));
}

static void a_failure_leaves_the_output_alone(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(10);
    const char *fails[] = { "sh", "-c", "echo x; exit 3", NULL };
    const char *endless[] = { "cat", "/dev/zero", NULL };
    buf_add_text(&out, "kept");
    assert_int_equal(proc_run(fails, PATIENCE_MS, &out, &e), ERR_IO);
    assert_non_null(strstr(e.text, "status 3"));
    assert_int_equal(proc_run(endless, PATIENCE_MS, &out, &e), ERR_LIMIT);
    assert_string_equal(buf_text(&out), "kept");
    assert_false(out.full);
}

static void a_deadline_ends_the_whole_group(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    char byte, fifo[40], script[80];
    const char *argv[] = { "sh", "-c", script, NULL };
    assert_ok(dir_make("build", 0755, &e));
    snprintf(fifo, sizeof(fifo), "build/test-proc-%d.fifo", (int)getpid());
    assert_int_equal(mkfifo(fifo, 0600), 0);
    /* Both hold the FIFO: its end says that both are gone. */
    int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(script, sizeof(script), "exec 5>%s; sleep 100 & sleep 100", fifo);
    assert_int_equal(proc_run(argv, 50, NULL, &e), ERR_RETRY);
    fcntl(fd, F_SETFL, 0);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    assert_ok(file_remove(fifo, &e));
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

static void a_closed_output_does_not_end_the_run(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    const char *argv[] = { "sh", "-c", "exec >&-; exit 5", NULL };
    assert_int_equal(proc_run(argv, PATIENCE_MS, NULL, &e), ERR_IO);
    assert_non_null(strstr(e.text, "status 5"));
}

static void a_grandchild_that_keeps_the_output_does_not_hold_us(void **state)
{
    (void)state;
    struct err e = ERR_INIT;
    CLEANUP(buf_done) struct buf out = BUF_INIT(100);
    const char *argv[] = { "sh", "-c", "sleep 100 & echo $!", NULL };
    int64_t pid, before = clock_mono_ms();
    assert_ok(proc_run(argv, PATIENCE_MS, &out, &e));
    assert_true(clock_mono_ms() - before < PATIENCE_MS);
    assert_true(out.len > 1);
    out.data[out.len - 1] = '\0'; /* the newline */
    assert_ok(parse_i64(buf_text(&out), &pid, &e));
    kill((pid_t)pid, SIGKILL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exit_status_is_a_shells),
        cmocka_unit_test(a_program_that_is_not_there_is_not_found),
        cmocka_unit_test(a_file_that_cannot_be_executed_is_reported),
        cmocka_unit_test(a_folder_that_is_not_there_is_reported),
        cmocka_unit_test(folder_and_environment_are_what_is_given),
        cmocka_unit_test(descriptors_above_2_are_closed),
        cmocka_unit_test(descriptors_may_be_given_crosswise),
        cmocka_unit_test(signals_are_back_to_their_defaults),
        cmocka_unit_test(groups_and_sessions_are_made),
        cmocka_unit_test(a_process_is_known_by_its_start_too),
        cmocka_unit_test(the_start_is_counted_from_boot),
        cmocka_unit_test(a_zombie_is_not_alive),
        cmocka_unit_test(a_name_with_brackets_does_not_confuse),
        cmocka_unit_test(only_our_children_can_be_waited_for),
        cmocka_unit_test(a_group_is_signalled_with_its_children),
        cmocka_unit_test(children_of_a_dead_parent_die_with_it),
        cmocka_unit_test(orphans_are_adopted_and_killed),
        cmocka_unit_test(output_is_added_to_what_was_there),
        cmocka_unit_test(a_failure_leaves_the_output_alone),
        cmocka_unit_test(a_deadline_ends_the_whole_group),
        cmocka_unit_test(a_closed_output_does_not_end_the_run),
        cmocka_unit_test(a_grandchild_that_keeps_the_output_does_not_hold_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
