#include "base/stop.h"

#include "tests/test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

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

int main(void)
{
    static const struct CMUnitTest tests[] = { cmocka_unit_test(a_signal_asks_once_and_for_good) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
