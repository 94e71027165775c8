/* The supervisor as a process, on a private Redis, with a launcher and trainers that do what each test wants.
 */
#include "tests/supervised.h"

#include "base/text.h"
#include "runner/attempt/attempt_main.h"

static void a_run_that_succeeds(void **state)
{
    FIXTURE(f, "trainer-good", "");
    struct events ev;
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_SUCCEEDED, "");
    take_events(f, &ev);
    assert_string_equal(ev.names, "attempt.started key.generated attempt.running attempt.ended ");
    assert_int_equal(count_in_log(f, "doc of " JOB " attempt 1 data data models models plan "), 1);
    assert_int_equal(count_in_log(f, " epoch 3 key fits\n"), 1);
}

static void what_the_record_says_of_a_run(void **state)
{
    FIXTURE(f, "trainer-waits", "");
    struct lease_facts lease;
    struct attempt a;
    struct err e = ERR_INIT;
    put_starting(f);
    start_and_wait_for_ranks(f);
    assert_true(read_record(f, &a));
    assert_ok(lease_look(f->state, "attempt/" JOB, &lease, &e));
    assert_true(lease.held);
    assert_int_equal(a.token, lease.token);
    assert_int_equal(a.supervisor_pid, f->supervisor.pid);
    assert_int_equal(a.supervisor_start, f->supervisor.start_ticks);
    assert_true(proc_alive(
        (struct proc_id){ .pid = (pid_t)a.launcher_pid, .start_ticks = (uint64_t)a.launcher_start }));
    assert_int_equal(a.ranks, 2);
    assert_string_equal(a.node, "local");
    assert_int_equal(count_processes(f), 4); /* supervisor, mpirun, two ranks */
    proc_signal(f->supervisor, SIGTERM);
    assert_ended(f, OUTCOME_STOPPED, "");
}

static void a_run_that_fails_says_why(void **state)
{
    FIXTURE(f, "trainer-fails", "");
    struct events ev;
    struct attempt a;
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_USER_ERROR, "column 'x' is missing");
    assert_true(read_record(f, &a));
    assert_int_equal(a.exit_status, TRAINER_USER_ERROR);
    take_events(f, &ev);
    assert_non_null(strstr(ev.all, "\"outcome\":\"user_error\""));
    assert_non_null(strstr(ev.all, "column 'x' is missing"));
}

/* Whatever becomes of the rank: the supervisor has heard it, and tells before it tells the end. */
static void what_a_rank_was_refused_is_told(void **state)
{
    FIXTURE(f, "trainer-refused", "");
    struct events ev;
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_DENIED, "");
    take_events(f, &ev);
    const char *told = strstr(ev.names, "egress.refused ");
    assert_non_null(told);
    assert_non_null(strstr(told, "attempt.ended "));
    assert_non_null(
        strstr(ev.all, "\"kind\":\"address\",\"place\":\"https://s3\",\"program\":\"trainer\",\"rank\":1}"));
    assert_non_null(strstr(ev.all, "\"attempt\":1,\"count\":"));
    assert_null(strstr(ev.all, "odd"));
}

static void a_rank_that_is_killed_is_named(void **state)
{
    FIXTURE(f, "trainer-dies", "");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_RANK_LOST, "rank 1 on node here ended by signal 9");
}

static void a_cancelled_job_checkpoints_and_stops(void **state)
{
    /* So long that only the control stream can have told it. */
    FIXTURE(f, "trainer-waits", "timing: { attempt_lease: 1h }\n");
    put_starting(f);
    start_and_wait_for_ranks(f);
    put_job(f, JOB_STOPPING, 1, "demo", 0);
    assert_ended(f, OUTCOME_STOPPED, "the job was cancelled");
    assert_int_equal(count_in_log(f, "a checkpoint, then the end\n"), 2);
}

static void ranks_that_do_not_stop_are_killed_after_the_grace(void **state)
{
    FIXTURE(f, "trainer-deaf", "timing: { stop_grace: 200ms }\n");
    put_starting(f);
    start_and_wait_for_ranks(f);
    put_job(f, JOB_STOPPING, 1, "demo", 0);
    assert_ended(f, OUTCOME_STOPPED, "did not stop within 200ms and were killed");
}

static void the_time_limit_ends_a_run(void **state)
{
    FIXTURE(f, "trainer-waits", "");
    open_state(f);
    put_job(f, JOB_STARTING, 1, "demo", 500);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_TIME_LIMIT, "the time limit was reached");
}

static void the_service_going_down_stops_the_ranks(void **state)
{
    FIXTURE(f, "trainer-waits", "");
    put_starting(f);
    start_and_wait_for_ranks(f);
    proc_signal(f->supervisor, SIGTERM);
    assert_ended(f, OUTCOME_STOPPED, "the service was stopped");
    assert_int_equal(count_in_log(f, "a checkpoint, then the end\n"), 2);
}

static bool nothing_runs(struct fixture *f)
{
    return count_processes(f) == 0;
}

static void a_killed_supervisor_takes_everything_with_it(void **state)
{
    FIXTURE(f, "trainer-deaf", "");
    struct attempt a;
    put_starting(f);
    start_and_wait_for_ranks(f);
    proc_signal(f->supervisor, SIGKILL);
    assert_int_equal(wait_supervisor(f), 137);
    wait_until(f, nothing_runs, "ranks outlive their supervisor");
    assert_true(read_record(f, &a)); /* the scheduler will say how it ended */
    assert_int_equal(a.phase, ATTEMPT_RUNNING);
    glob_t found = { .gl_pathc = 0 };
    glob("/dev/shm/sovrun.*." JOB ".*", 0, NULL, &found);
    for (size_t i = 0; i < found.gl_pathc; i++)
        rmdir(found.gl_pathv[i]);
    globfree(&found);
}

static void a_descendant_that_went_its_own_way_is_found(void **state)
{
    FIXTURE(f, "trainer-orphan", "");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_SUCCEEDED, "");
}

static bool supervisor_knows_it_is_away(struct fixture *f)
{
    CLEANUP(buf_done) struct buf said = BUF_INIT(TEXT_MAX);
    read_file(f, "supervisor.log", &said);
    return strstr(buf_text(&said), "state.away") != NULL;
}

static bool supervisor_knows_it_is_back(struct fixture *f)
{
    CLEANUP(buf_done) struct buf said = BUF_INIT(TEXT_MAX);
    read_file(f, "supervisor.log", &said);
    return strstr(buf_text(&said), "state.back") != NULL;
}

static void ranks_run_on_while_the_state_is_away(void **state)
{
    FIXTURE(f, "trainer-waits", "timing: { attempt_lease: 1h }\n");
    put_starting(f);
    start_and_wait_for_ranks(f);
    redis("stop", f->redis_dir);
    wait_until(f, supervisor_knows_it_is_away, "it does not notice that the state is away");
    assert_int_equal(count_processes(f), 4);
    redis("start", f->redis_dir);
    wait_until(f, supervisor_knows_it_is_back, "it does not notice that the state is back");
    assert_int_equal(count_processes(f), 4);
    put_job(f, JOB_STOPPING, 1, "demo", 0); /* and it hears again */
    assert_ended(f, OUTCOME_STOPPED, "the job was cancelled");
}

static void ranks_end_with_the_lease_when_the_state_stays_away(void **state)
{
    FIXTURE(f, "trainer-deaf", "timing: { attempt_lease: 1s }\n");
    struct attempt a;
    put_starting(f);
    start_and_wait_for_ranks(f);
    redis("stop", f->redis_dir);
    assert_int_equal(wait_supervisor(f), 1);
    assert_nothing_left(f);
    assert_end_file(f, OUTCOME_FENCED);
    redis("start", f->redis_dir);
    assert_true(read_record(f, &a));
    assert_int_equal(a.phase, ATTEMPT_RUNNING);
}

static void an_end_while_the_state_is_away_is_told_when_it_is_back(void **state)
{
    FIXTURE(f, "trainer-waits", "timing: { attempt_lease: 20s }\n");
    put_starting(f);
    start_and_wait_for_ranks(f);
    redis("stop", f->redis_dir);
    proc_signal(f->supervisor, SIGTERM);
    clock_real.sleep_ms(&clock_real, 200); /* it ends its ranks meanwhile, and finds nobody to tell */
    redis("start", f->redis_dir);
    assert_ended(f, OUTCOME_STOPPED, "the service was stopped");
}

static void a_lease_that_is_taken_over_ends_the_ranks_at_once(void **state)
{
    FIXTURE(f, "trainer-deaf", "timing: { attempt_lease: 2s }\n");
    struct lease_facts facts;
    struct lease other;
    struct attempt a;
    struct err e = ERR_INIT;
    put_starting(f);
    start_and_wait_for_ranks(f);
    assert_ok(lease_look(f->state, "attempt/" JOB, &facts, &e));
    assert_ok(lease_break(f->state, "attempt/" JOB, facts.token, &e));
    assert_ok(lease_take(f->state, "attempt/" JOB, "another", 60000, &other, &e));
    assert_int_equal(wait_supervisor(f), 1);
    assert_nothing_left(f);
    assert_end_file(f, OUTCOME_FENCED);
    assert_true(read_record(f, &a)); /* it could not write any more */
    assert_int_equal(a.phase, ATTEMPT_RUNNING);
    assert_ok(lease_look(f->state, "attempt/" JOB, &facts, &e));
    assert_true(facts.held && strcmp(facts.owner, "another") == 0);
    assert_ok(lease_release(f->state, &other, &e));
}

static void a_job_that_has_moved_on_ends_the_ranks(void **state)
{
    FIXTURE(f, "trainer-deaf", "");
    put_starting(f);
    start_and_wait_for_ranks(f);
    put_job(f, JOB_STARTING, 2, "demo", 0);
    assert_ended(f, OUTCOME_FENCED, "another attempt took over");
}

/* One row a situation in which an attempt is not ours to run. */
static void an_attempt_that_is_not_its_own_is_left_alone(void **state)
{
    static const struct {
        enum job_state state;
        int64_t attempts;
        bool there;
    } rows[] = {
        { JOB_STARTING, 2, true },                              /* a stale number */
        { JOB_STARTING, 0, true },                              /* a number that is yet to come */
        { JOB_QUEUED, 1, true },                                /* no attempt is wanted */
        { JOB_CANCELLED, 1, true }, { JOB_STARTING, 1, false }, /* no such job */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        FIXTURE(f, "trainer-good", "");
        struct attempt a;
        struct lease_facts lease;
        struct err e = ERR_INIT;
        open_state(f);
        if (rows[i].there)
            put_job(f, rows[i].state, rows[i].attempts, "demo", 0);
        start_supervisor(f, "1");
        assert_int_equal(wait_supervisor(f), 0);
        assert_false(read_record(f, &a));
        assert_ok(lease_look(f->state, "attempt/" JOB, &lease, &e));
        assert_false(lease.held);
    }
}

static void an_attempt_is_started_once(void **state)
{
    FIXTURE(f, "trainer-good", "");
    struct attempt first, second;
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_SUCCEEDED, "");
    assert_true(read_record(f, &first));
    start_supervisor(f, "1");
    assert_int_equal(wait_supervisor(f), 0);
    assert_true(read_record(f, &second));
    assert_int_equal(second.supervisor_pid, first.supervisor_pid);
}

static void the_next_attempt_waits_for_the_lease(void **state)
{
    FIXTURE(f, "trainer-good", "");
    struct lease before;
    struct err e = ERR_INIT;
    put_starting(f);
    assert_ok(lease_take(f->state, "attempt/" JOB, "the attempt before", 60000, &before, &e));
    start_supervisor(f, "1");
    clock_real.sleep_ms(&clock_real, 100);
    assert_ok(lease_release(f->state, &before, &e));
    assert_ended(f, OUTCOME_SUCCEEDED, "");
}

static void a_job_cancelled_before_its_start_starts_no_rank(void **state)
{
    FIXTURE(f, "trainer-good", "");
    open_state(f);
    put_job(f, JOB_STOPPING, 1, "demo", 0);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_STOPPED, "before its ranks were started");
    assert_int_equal(count_in_log(f, "doc of"), 0);
}

static void a_key_that_is_not_there_is_the_users_mistake(void **state)
{
    FIXTURE(f, "trainer-good", "");
    struct events ev;
    open_state(f);
    put_job(f, JOB_STARTING, 1, "nokey", 0);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_USER_ERROR, "there is no key 'nokey'");
    take_events(f, &ev);
    assert_string_equal(ev.names, "attempt.started attempt.ended ");
}

static void a_policy_that_says_no_denies_the_attempt(void **state)
{
    FIXTURE(f, "trainer-good", "");
    struct err e = ERR_INIT;
    CLEANUP(freep) char *path = path_join(f->home, "policy.yaml");
    static const char strict[] =
        "version: 1\nname: strict\nregions: [{ name: here, provider: local, region: local }]\n"
        "buckets:\n  - { name: data, region: here, purposes: [data] }\n"
        "  - { name: models, region: here, purposes: [models] }\n"
        "  - { name: evidence, region: here, purposes: [evidence] }\n"
        "keys: { providers: [file] }\nlocks: { min: governance, retain_min: 1d }\n";
    put_starting(f);
    assert_ok(file_write(path, strict, strlen(strict), 0600, &e)); /* since the job was submitted */
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_DENIED, "policy rule lock: policy.yaml:9: locks");
}

static void a_trainer_that_is_not_there_is_a_failed_launch(void **state)
{
    FIXTURE(f, "no-such-trainer", "");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_LAUNCH_FAILED, "no-such-trainer");
}

static void output_beyond_the_limit_is_dropped_and_the_end_still_understood(void **state)
{
    FIXTURE(f, "trainer-noisy", "");
    CLEANUP(buf_done) struct buf log = BUF_INIT(TEXT_MAX);
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_LIMIT, "said at the very end");
    read_file(f, "attempts/" JOB ".1/log", &log);
    assert_true(log.len <= 64 << 10);
    assert_non_null(strstr(buf_text(&log), "the log ends here"));
}

static void no_secret_is_in_arguments_or_environment(void **state)
{
    static const char *const names[] = { "PATH",
                                         "HOME",
                                         "LC_ALL",
                                         "HWLOC_PLUGINS_PATH",
                                         "PMIX_MCA_gds",
                                         "LD_LIBRARY_PATH",
                                         "OPAL_PREFIX",
                                         "OMPI_ALLOW_RUN_AS_ROOT",
                                         "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM",
                                         "OMPI_MCA_mpi_yield_when_idle",
                                         "OMPI_COMM_WORLD_RANK" };
    FIXTURE(f, "trainer-shows", "");
    CLEANUP(buf_done) struct buf log = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf token = BUF_INIT(TEXT_MAX);
    put_starting(f);
    setenv("AWS_SECRET_ACCESS_KEY", "topsecret", 1);
    start_supervisor(f, "1");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    assert_ended(f, OUTCOME_SUCCEEDED, "");
    read_file(f, "attempts/" JOB ".1/log", &log);
    assert_null(strstr(buf_text(&log), "topsecret"));
    char *rest = (char *)log.data;
    for (char *line;
         (line = strsep(&rest, "\n")) != NULL && line[0];) { /* the environment ends with an empty line */
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            known = known || (text_starts(line, names[i]) && line[strlen(names[i])] == '=');
        if (!known)
            fail_msg("the environment has '%s'", line);
    }
    read_file(f, "keys/demo.v1.key", &token);
    token.data[32] = '\0';
    assert_null(strstr(rest, buf_text(&token)));
}

/* ---- the same with Open MPI's own mpirun ---- */

static void open_mpi_feeds_rank_0(void **state)
{
    FIXTURE_OPEN_MPI(f, "trainer-good");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_SUCCEEDED, "");
    assert_int_equal(count_in_log(f, " epoch 3 key fits\n"), 1);
}

static void open_mpi_gives_on_the_status(void **state)
{
    FIXTURE_OPEN_MPI(f, "trainer-fails");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_USER_ERROR, "column 'x' is missing");
}

static void open_mpi_names_the_rank_that_died(void **state)
{
    FIXTURE_OPEN_MPI(f, "trainer-dies");
    put_starting(f);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_RANK_LOST, "rank 1 on node ");
}

static void open_mpi_lets_the_ranks_write_their_checkpoint(void **state)
{
    FIXTURE_OPEN_MPI(f, "trainer-waits");
    put_starting(f);
    start_and_wait_for_ranks(f);
    put_job(f, JOB_STOPPING, 1, "demo", 0);
    assert_ended(f, OUTCOME_STOPPED, "the job was cancelled");
    assert_true(count_in_log(f, "a checkpoint, then the end\n") >=
                1); /* the first to end takes the other along */
}

static void open_mpi_cannot_start_what_is_no_program(void **state)
{
    FIXTURE_OPEN_MPI(f, "sovrun.yaml");
    CLEANUP(freep) char *path = path_join(f->home, "sovrun.yaml");
    put_starting(f);
    assert_int_equal(chmod(path, 0700), 0);
    start_supervisor(f, "1");
    assert_ended(f, OUTCOME_LAUNCH_FAILED, "mpirun was unable to ");
}

static void it_asks_for_its_arguments(void **state)
{
    static const char *const lists[][6] = {
        { "/proc/self/exe", "attempt", NULL },
        { "/proc/self/exe", "attempt", "--home", "build", "no-job", NULL },
        { "/proc/self/exe", "attempt", "--house", "build", JOB, "1" },
        { "/proc/self/exe", "attempt", "--home", "build", "../../etc", "1" },
        { "/proc/self/exe", "attempt", "--home", "build", JOB, "0" },
        { "/proc/self/exe", "attempt", "--home", "build", JOB, "one" },
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        const char *argv[7] = { NULL };
        struct proc_options o = PROC_OPTIONS_INIT;
        struct proc_id id;
        struct err e = ERR_INIT;
        int status;
        memcpy(argv, lists[i], sizeof(lists[i]));
        o.argv = argv;
        assert_ok(proc_start(&o, &id, &e));
        assert_ok(proc_wait(id, &status, &e));
        assert_int_equal(status, 2);
    }
}

static int run_all(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_succeeds),
        cmocka_unit_test(what_the_record_says_of_a_run),
        cmocka_unit_test(a_run_that_fails_says_why),
        cmocka_unit_test(what_a_rank_was_refused_is_told),
        cmocka_unit_test(a_rank_that_is_killed_is_named),
        cmocka_unit_test(a_cancelled_job_checkpoints_and_stops),
        cmocka_unit_test(ranks_that_do_not_stop_are_killed_after_the_grace),
        cmocka_unit_test(the_time_limit_ends_a_run),
        cmocka_unit_test(the_service_going_down_stops_the_ranks),
        cmocka_unit_test(a_killed_supervisor_takes_everything_with_it),
        cmocka_unit_test(a_descendant_that_went_its_own_way_is_found),
        cmocka_unit_test(ranks_run_on_while_the_state_is_away),
        cmocka_unit_test(ranks_end_with_the_lease_when_the_state_stays_away),
        cmocka_unit_test(an_end_while_the_state_is_away_is_told_when_it_is_back),
        cmocka_unit_test(a_lease_that_is_taken_over_ends_the_ranks_at_once),
        cmocka_unit_test(a_job_that_has_moved_on_ends_the_ranks),
        cmocka_unit_test(an_attempt_that_is_not_its_own_is_left_alone),
        cmocka_unit_test(an_attempt_is_started_once),
        cmocka_unit_test(the_next_attempt_waits_for_the_lease),
        cmocka_unit_test(a_job_cancelled_before_its_start_starts_no_rank),
        cmocka_unit_test(a_key_that_is_not_there_is_the_users_mistake),
        cmocka_unit_test(a_policy_that_says_no_denies_the_attempt),
        cmocka_unit_test(a_trainer_that_is_not_there_is_a_failed_launch),
        cmocka_unit_test(output_beyond_the_limit_is_dropped_and_the_end_still_understood),
        cmocka_unit_test(no_secret_is_in_arguments_or_environment),
        cmocka_unit_test(open_mpi_feeds_rank_0),
        cmocka_unit_test(open_mpi_gives_on_the_status),
        cmocka_unit_test(open_mpi_names_the_rank_that_died),
        cmocka_unit_test(open_mpi_lets_the_ranks_write_their_checkpoint),
        cmocka_unit_test(open_mpi_cannot_start_what_is_no_program),
        cmocka_unit_test(it_asks_for_its_arguments),
    };
    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}

int main(int argc, char **argv)
{
    int status;
    if (argc > 1 && strcmp(argv[1], "attempt") == 0)
        return attempt_main(argc - 1, argv + 1);
    if (fake_main(argc, argv, &status))
        return status;
    return run_all();
}
