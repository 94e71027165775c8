#include "base/stop.h"

#include "tests/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int readable(void)
{
    struct pollfd wait = { .fd = stop_fd(), .events = POLLIN };
    return poll(&wait, 1, 0);
}

/* One after the other in one process: what was asked once stays asked. */
static void a_signal_asks_once_and_for_good(void **state)
{
    (void)state;
    stop_init();
    assert_false(stop_asked());
    assert_int_equal(readable(), 0);
    errno = EDOM;
    assert_int_equal(raise(SIGTERM), 0);
    assert_int_equal(errno, EDOM);
    assert_true(stop_asked());
    assert_int_equal(readable(), 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(raise(SIGINT), 0); /* does not end us, changes nothing */
    assert_true(stop_asked());
    assert_int_equal(readable(), 1);
}

/* In a process of its own; true where SIGHUP asked it to stop. */
static bool hang_up_asks(void (*before)(int))
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGHUP, before);
        stop_init();
        raise(SIGHUP);
        _exit(stop_asked() ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status)); /* not ended by the signal */
    return WEXITSTATUS(status) == 1;
}

static void a_closed_terminal_asks_unless_it_is_to_be_ignored(void **state)
{
    (void)state;
    assert_true(hang_up_asks(SIG_DFL));
    assert_false(hang_up_asks(SIG_IGN)); /* nohup */
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_closed_terminal_asks_unless_it_is_to_be_ignored), /* before this process has its own */
        cmocka_unit_test(a_signal_asks_once_and_for_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
