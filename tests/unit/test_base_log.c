#include "base/log.h"

#include "tests/test.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Standard error is a pipe while a test runs. */
struct capture {
    int saved, read_end;
};

static void capture_start(struct capture *c)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    fflush(stderr);
    c->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    c->read_end = ends[0];
}

static void capture_end(struct capture *c, char *out, size_t out_bytes)
{
    if (c->saved >= 0) {
        dup2(c->saved, STDERR_FILENO);
        close(c->saved);
    } else {
        close(STDERR_FILENO);
    }
    ssize_t n = read(c->read_end, out, out_bytes - 1);
    close(c->read_end);
    out[n > 0 ? n : 0] = '\0';
}

static void an_event_is_one_line_with_its_time(void **state)
{
    (void)state;
    struct capture c;
    struct err e = ERR_INIT;
    char line[300], when[25];
    int64_t wall_ms;
    log_init("scheduler", LOG_INFO);
    capture_start(&c);
    log_info("job.placed", "job=%s nodes=%d", "k3m9qz", 1);
    capture_end(&c, line, sizeof(line));
    snprintf(when, sizeof(when), "%.24s", line);
    assert_ok(clock_parse(when, &wall_ms, &e));
    assert_true(wall_ms <= clock_wall_ms());
    assert_string_equal(line + 24, " info  scheduler job.placed job=k3m9qz nodes=1\n");
}

static void only_the_asked_levels_are_written(void **state)
{
    (void)state;
    struct capture c;
    char text[1000];
    log_init("t", LOG_WARN);
    capture_start(&c);
    log_error("a", "%s", "");
    log_warn("b", "%s", "");
    log_info("c", "%s", "");
    log_debug("d", "%s", "");
    capture_end(&c, text, sizeof(text));
    assert_non_null(strstr(text, " error t a\n"));
    assert_non_null(strstr(text, " warn  t b\n"));
    assert_null(strstr(text, " t c"));
    assert_null(strstr(text, " t d"));
}

static void a_value_cannot_forge_a_line_or_steer_the_terminal(void **state)
{
    (void)state;
    struct capture c;
    char text[1000];
    log_init("t", LOG_INFO);
    capture_start(&c);
    log_info("job", "name=%s", "a\n2026 error t forged\r\x1b[2J\x7f");
    capture_end(&c, text, sizeof(text));
    assert_string_equal(text + 24, " info  t job name=a?2026 error t forged??[2J?\n");
}

static void a_long_line_is_cut_and_still_ends(void **state)
{
    (void)state;
    struct capture c;
    char value[6000], text[9000];
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    log_init("t", LOG_INFO);
    capture_start(&c);
    log_info("long", "v=%s", value);
    log_info(value, "v=%d", 1);
    capture_end(&c, text, sizeof(text));
    /* A pipe keeps so much together: the lines of several writers do not mix. */
    assert_int_equal(strlen(text), 2 * 4096);
    assert_int_equal(text[4095], '\n');
    assert_int_equal(strncmp(text + 4092, "...\n", 4), 0);
}

static void errno_is_left_alone(void **state)
{
    (void)state;
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    log_init("t", LOG_INFO);
    close(STDERR_FILENO);
    errno = ENOSPC;
    log_info("lost", "x=%d", 1); /* write() fails with EBADF */
    int after = errno;
    if (saved >= 0) {
        dup2(saved, STDERR_FILENO);
        close(saved);
    }
    assert_int_equal(after, ENOSPC);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line_with_its_time),
        cmocka_unit_test(only_the_asked_levels_are_written),
        cmocka_unit_test(a_value_cannot_forge_a_line_or_steer_the_terminal),
        cmocka_unit_test(a_long_line_is_cut_and_still_ends),
        cmocka_unit_test(errno_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
