#include "runner/attempt/launch.h"

#include "tests/test.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* ---- the command ---- */

static char *our_env(const char *name)
{
    static const char *const env[][2] = {
        { "PATH", "/opt/bin:/usr/bin" },          { "HOME", "/root" },
        { "NCCL_SOCKET_IFNAME", "ib0" },          { "NCCL_UNHEARD_OF", "1" },
        { "AWS_SECRET_ACCESS_KEY", "topsecret" },
    };
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        if (strcmp(env[i][0], name) == 0)
            return (char *)env[i][1];
    return NULL;
}

static char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static void join(const char *const *list, struct buf *out)
{
    for (size_t i = 0; list[i]; i++)
        buf_addf(out, "%s%s", i ? " " : "", list[i]);
}

static void assert_list(const char *const *list, const char *want)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(65536);
    join(list, &text);
    assert_string_equal(buf_text(&text), want);
}

static const struct networks none = { .count = 0 };

static void the_command_is_stated_in_full(void **state)
{
    const struct cluster_launch config = { .mpirun = "mpirun",
                                           .transport = "self,vader",
                                           .oversubscribe = false };
    CLEANUP(launch_command_done) struct launch_command c;
    (void)state;
    launch_command_make(&config, &none, 2, "/bin/sovrun-trainer", "/dev/shm/x", our_env, false, &c);
    assert_list(c.argv,
                "mpirun -np 2 --bind-to none --mca pml ob1 --mca btl self,vader "
                "--mca btl_vader_backing_directory /dev/shm/x --mca orte_tmpdir_base /dev/shm/x "
                "--mca odls_base_sigkill_timeout 0 --mca oob_tcp_keepalive_time 2 "
                "--mca oob_tcp_keepalive_intvl 1 --mca oob_tcp_keepalive_probes 3 /bin/sovrun-trainer");
    assert_list(c.env, "PATH=/opt/bin:/usr/bin HOME=/root NCCL_SOCKET_IFNAME=ib0 LC_ALL=C "
                       "HWLOC_PLUGINS_PATH=/dev/shm/x PMIX_MCA_gds=hash");
}

static void root_and_oversubscription_have_their_switches(void **state)
{
    const struct cluster_launch config = { .mpirun = "/opt/mpirun",
                                           .transport = "self,tcp",
                                           .oversubscribe = true };
    CLEANUP(launch_command_done) struct launch_command c;
    (void)state;
    launch_command_make(&config, &none, 8, "/t", "/s", no_env, true, &c);
    assert_string_equal(c.argv[0], "/opt/mpirun");
    assert_string_equal(c.argv[2], "8");
    assert_string_equal(c.argv[3], "--oversubscribe");
    assert_list(c.env,
                "PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C HWLOC_PLUGINS_PATH=/s PMIX_MCA_gds=hash "
                "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1");
}

static void open_mpi_is_pinned_to_the_networks(void **state)
{
    const struct cluster_launch config = { .mpirun = "mpirun", .transport = "self,vader,tcp" };
    CLEANUP(launch_command_done) struct launch_command c;
    struct networks networks;
    struct err e = ERR_INIT;
    (void)state;
    assert_ok(networks_parse("10.20.0.0/16,10.21.0.0/24", &networks, &e));
    launch_command_make(&config, &networks, 2, "/t", "/s", no_env, false, &c);
    assert_list(c.env,
                "PATH=/usr/local/bin:/usr/bin:/bin LC_ALL=C HWLOC_PLUGINS_PATH=/s PMIX_MCA_gds=hash "
                "OMPI_MCA_btl_tcp_if_include=10.20.0.0/16,10.21.0.0/24 OMPI_MCA_btl_tcp_disable_family=6 "
                "OMPI_MCA_oob_tcp_if_include=10.20.0.0/16,10.21.0.0/24 "
                "OMPI_MCA_oob_tcp_disable_ipv6_family=1");
}

static void a_trainer_that_is_not_there_is_told_of(void **state)
{
    const struct cluster_launch config = { .trainer = "/nowhere/trainer" };
    CLEANUP(freep) char *path = NULL;
    struct err e = ERR_INIT;
    (void)state;
    assert_int_equal(launch_find_trainer(&config, &path, &e), ERR_NOT_FOUND);
    assert_non_null(strstr(e.text, "/nowhere/trainer"));
}

/* ---- feeding ---- */

static void start_shell(struct launch *l, const char *script, struct buf *input)
{
    const struct launch_command command = { .argv = { "/bin/sh", "-c", script },
                                            .env = { "PATH=/usr/bin:/bin" } };
    struct err e = ERR_INIT;
    assert_ok(launch_start(l, &command, -1, input, &e));
}

static void fill(struct buf *b, size_t n)
{
    memset(buf_reserve(b, n), 'a', n);
    buf_commit(b, n);
}

static void more_than_a_pipe_holds_is_fed_in_turns(void **state)
{
    enum { BYTES = 3 << 20 };
    CLEANUP(launch_done) struct launch l = LAUNCH_INIT;
    struct buf input = BUF_INIT(BYTES);
    char said[64] = "";
    int turns = 0, status;
    struct err e = ERR_INIT;
    (void)state;
    fill(&input, BYTES);
    start_shell(&l, "wc -c", &input);
    assert_null(input.data); /* taken over */
    while (l.input_fd >= 0) {
        struct pollfd room = { .fd = l.input_fd, .events = POLLOUT };
        assert_int_equal(poll(&room, 1, 10000), 1);
        launch_feed(&l);
        turns++;
    }
    assert_true(turns > 1);
    assert_null(l.input.data); /* wiped */
    assert_ok(proc_wait(l.mpirun, &status, &e));
    assert_int_equal(status, 0);
    assert_true(read(l.output_fd, said, sizeof(said) - 1) > 0);
    assert_string_equal(said, "3145728\n");
}

static void a_reader_that_is_gone_ends_the_feeding(void **state)
{
    enum { BYTES = 1 << 20 };
    CLEANUP(launch_done) struct launch l = LAUNCH_INIT;
    struct buf input = BUF_INIT(BYTES);
    int status;
    struct err e = ERR_INIT;
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    fill(&input, BYTES);
    start_shell(&l, "exit 3", &input);
    assert_ok(proc_wait(l.mpirun, &status, &e));
    assert_int_equal(status, 3);
    launch_feed(&l);
    assert_int_equal(l.input_fd, -1);
    assert_null(l.input.data);
}

static void a_launcher_that_is_not_there_leaves_nothing_open(void **state)
{
    const struct launch_command command = { .argv = { "/nowhere/mpirun" }, .env = { "PATH=/bin" } };
    CLEANUP(launch_done) struct launch l = LAUNCH_INIT;
    struct buf input = BUF_INIT(16);
    struct err e = ERR_INIT;
    (void)state;
    buf_add_text(&input, "secret");
    assert_int_equal(launch_start(&l, &command, -1, &input, &e), ERR_NOT_FOUND);
    assert_null(input.data);
    assert_null(l.input.data);
    assert_int_equal(l.input_fd, -1);
    assert_int_equal(l.output_fd, -1);
}

static void ranks_are_the_children_of_mpirun(void **state)
{
    CLEANUP(launch_done) struct launch l = LAUNCH_INIT;
    struct buf input = BUF_INIT(16);
    int status;
    struct err e = ERR_INIT;
    (void)state;
    start_shell(&l, "sleep 100 & sleep 100 & sleep 100 & wait; exit 7", &input);
    while (launch_signal_ranks(&l, 0) < 3)
        ;
    assert_int_equal(launch_signal_ranks(&l, SIGTERM), 3);
    assert_ok(proc_wait(l.mpirun, &status, &e));
    assert_int_equal(status, 7);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_command_is_stated_in_full),
        cmocka_unit_test(root_and_oversubscription_have_their_switches),
        cmocka_unit_test(open_mpi_is_pinned_to_the_networks),
        cmocka_unit_test(a_trainer_that_is_not_there_is_told_of),
        cmocka_unit_test(more_than_a_pipe_holds_is_fed_in_turns),
        cmocka_unit_test(a_reader_that_is_gone_ends_the_feeding),
        cmocka_unit_test(a_launcher_that_is_not_there_leaves_nothing_open),
        cmocka_unit_test(ranks_are_the_children_of_mpirun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
