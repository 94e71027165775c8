/*
 * supervised.h - what the tests of the supervisor stand on: a home with a job, a private Redis, the
 * supervisor as a process.
 *
 * The supervisor is the test's own program with the argument "attempt"; mpirun and trainer are it as well
 * (tests/fake/ranks.h). Only the test's own process, so everything is static and in this header.
 */
#ifndef TESTS_SUPERVISED_H
#define TESTS_SUPERVISED_H

#include "tests/home.h"
#include "tests/test.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/proc.h"
#include "core/cluster/cluster.h"
#include "core/job/attempt.h"
#include "core/state/lease.h"
#include "tests/attempt_doc_sample.h"
#include "tests/fake/ranks.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATIENCE_MS = 20000, LOOK_MS = 5, TEXT_MAX = 1 << 20 };

/* ---- the fixture: a home, a Redis, a job ---- */

#define JOB "261122-k3m9qz"

enum { FOLDER_BYTES = 512 };
struct fixture {
    char home[FOLDER_BYTES], redis_dir[FOLDER_BYTES];
    struct state *state;
    struct proc_id supervisor;
};

static inline void redis(const char *verb, const char *dir)
{
    const char *argv[] = { "tests/redis.sh", verb, dir, NULL };
    struct err e = ERR_INIT;
    assert_ok(proc_run(argv, PATIENCE_MS, NULL, &e));
}

static inline int start_redis(void **group)
{
    struct err e = ERR_INIT;
    char *dir = mem_text("build/test-sup-redis-XXXXXX");
    if (dir_make("build", 0755, &e) || !mkdtemp(dir))
        return -1;
    redis("start", dir);
    *group = dir;
    return 0;
}

static inline int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static inline bool in_session(const char *pid, pid_t session)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    char path[64], life = 0;
    int parent, group, of_session;
    struct err e = ERR_INIT;
    snprintf(path, sizeof(path), "/proc/%.20s/stat", pid);
    if (file_read(path, &text, &e))
        return false;
    const char *p = strrchr(buf_text(&text), ')');
    return p && sscanf(p, ") %c %d %d %d", &life, &parent, &group, &of_session) == 4 &&
           of_session == session && life != 'Z';
}

/* Of the tests that failed: they have not tidied up. A session's number is not given away while it has
 * members. */
static struct {
    pid_t session[128];
    size_t count;
} started;

static inline void kill_session(pid_t session)
{
    struct dirent *entry;
    DIR *proc = opendir("/proc");
    while (proc && (entry = readdir(proc)) != NULL)
        if (in_session(entry->d_name, session))
            kill((pid_t)strtol(entry->d_name, NULL, 10), SIGKILL);
    if (proc)
        closedir(proc);
}

static inline int stop_redis(void **group)
{
    for (size_t i = 0; i < started.count; i++)
        kill_session(started.session[i]);
    redis("stop", *group);
    nftw(*group, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(*group);
    return 0;
}

static inline void link_ourselves(const char *home, const char *name)
{
    char self[512], path[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(path, sizeof(path), "%s/%s", home, name);
    assert_int_equal(symlink(self, path), 0);
}

/* Each test has a cluster of its own: its names do not meet those of others in the same Redis. */
static inline void write_home(const struct fixture *f, const char *mpirun, const char *trainer,
                              const char *more)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
    CLEANUP(freep) char *path = path_join(f->home, "sovrun.yaml");
    struct err e = ERR_INIT;
    buf_addf(&text,
             "name: embedded\nregion: local\nstate: { address: \"unix:%s/redis.sock\" }\n"
             "stores: [{ root: store, buckets: [data, models, evidence] }]\n"
             "nodes: [{ name: local, slots: 8 }]\n%s"
             "launch: { mpirun: %s, trainer: %s, log_bytes_max: 64KiB, oversubscribe: true }\n",
             f->redis_dir, more, mpirun, trainer);
    assert_ok(buf_check(&text, "config", &e));
    assert_ok(file_write(path, text.data, text.len, 0600, &e));
    assert_ok(cluster_init_home(f->home, &e));
}

static inline void absolute(const char *path, char out[FOLDER_BYTES])
{
    CLEANUP(freep) char *whole = realpath(path, NULL);
    assert_non_null(whole);
    snprintf(out, FOLDER_BYTES, "%s", whole);
}

static inline struct fixture *fixture_new(void **state, const char *mpirun, const char *trainer,
                                          const char *more)
{
    struct fixture *f = mem_new(sizeof(*f));
    char dir[] = "build/test-sup-XXXXXX";
    assert_non_null(mkdtemp(dir));
    absolute(dir, f->home);
    absolute(*state, f->redis_dir);
    for (size_t i = 0; fake_names[i]; i++)
        link_ourselves(f->home, fake_names[i]);
    write_home(f, mpirun, trainer, more);
    return f;
}

/* What a killed supervisor cannot give back would keep the next test waiting. */
static inline void break_lease(struct state *state)
{
    struct lease_facts facts;
    struct err e = ERR_INIT;
    if (lease_look(state, "attempt/" JOB, &facts, &e) == OK && facts.held)
        IGNORE(lease_break(state, "attempt/" JOB, facts.token, &e));
}

/* Before each test and after: a test that failed has not tidied up. */
static inline void clear_state(struct state *state)
{
    static const char *const names[] = { "job/" JOB, "attempt/" JOB "/1", "attempt/" JOB "/2",
                                         "plan/" JOB "/1" };
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    struct err e = ERR_INIT;
    break_lease(state);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        state_tx_delete(tx, names[i]);
    IGNORE(state_commit(state, tx, &e));
}

static inline void open_state(struct fixture *f)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    assert_ok(cluster_load(f->home, NULL, &c, &e));
    assert_ok(cluster_open_state(c, &f->state, &e));
    char digest[65];
    assert_ok(home_stage(c, "german", digest, &e)); /* what put_job()'s job trains on */
    clear_state(f->state);
}

static inline void fixture_done(struct fixture **pf)
{
    struct fixture *f = *pf;
    if (f->supervisor.pid)
        proc_signal(f->supervisor, SIGKILL);
    if (f->state)
        clear_state(f->state);
    state_close(f->state);
    nftw(f->home, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
}
#define FIXTURE(f, trainer, more)                                                                            \
    CLEANUP(fixture_done) struct fixture *f = fixture_new(state, "./mpirun", trainer, more)
#define FIXTURE_OPEN_MPI(f, trainer)                                                                         \
    CLEANUP(fixture_done) struct fixture *f = fixture_new(state, "mpirun", trainer, "")

/* ---- the job in the state ---- */

static inline void put_job(struct fixture *f, enum job_state job_state, int64_t attempts, const char *key,
                           int64_t limit_ms)
{
    CLEANUP(job_done)
    struct job j = { .id = JOB,
                     .user = "ada",
                     .state = job_state,
                     .attempts = attempts,
                     .node = "local",
                     .slots = 2,
                     .submitted_ms = 1 };
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char control[JOB_KEY_BYTES];
    struct err e = ERR_INIT;
    assert_ok(sample_spec(&j.spec, &e));
    memset(j.spec.model.from, 0, sizeof(j.spec.model.from)); /* nothing to begin with lies in this store */
    snprintf(j.spec.checkpoint.key, sizeof(j.spec.checkpoint.key), "%s", key);
    j.spec.resources.time_limit_ms = limit_ms;
    job_spec_digest(&j.spec, j.spec_digest);
    memset(j.dataset_digest, 'b', 64);
    assert_ok(job_to_text(&j, &text, &e));
    state_tx_put(tx, "job/" JOB, text.data, text.len);
    state_tx_put_text(tx, "plan/" JOB "/1", "{\"epoch\":3,\"leaves\":[]}");
    state_tx_append(tx, job_control_stream(JOB, control), "look", 4);
    assert_ok(state_commit(f->state, tx, &e));
}

static inline void put_starting(struct fixture *f)
{
    open_state(f);
    put_job(f, JOB_STARTING, 1, "demo", 0);
}

static inline bool read_record(struct fixture *f, struct attempt *out)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    struct err e = ERR_INIT;
    if (state_get(f->state, "attempt/" JOB "/1", &text, NULL, &e)) {
        assert_int_equal(e.code, ERR_NOT_FOUND);
        return false;
    }
    assert_ok(attempt_from_text(text.data, text.len, out, &e));
    return true;
}

struct events {
    char names[512]; /* of this job's, in order, each with a space behind it */
    char all[65536];
    char since[STATE_ID_BYTES];
};

static inline enum err_code add_event(void *context, const char *id, const void *data, size_t n,
                                      struct err *e)
{
    struct events *ev = context;
    CLEANUP(json_donep) json_t *j = NULL;
    (void)id;
    if (json_parse(data, n, "event", &j, e))
        return e->code;
    size_t len = strlen(ev->names), all = strlen(ev->all);
    snprintf(ev->names + len, sizeof(ev->names) - len, "%s ", json_text_or(j, "event", "?"));
    snprintf(ev->all + all, sizeof(ev->all) - all, "%.*s\n", (int)n, (const char *)data);
    return OK;
}

/* Read and dropped, so that each test sees its own. */
static inline void take_events(struct fixture *f, struct events *out)
{
    struct err e = ERR_INIT;
    memset(out, 0, sizeof(*out));
    assert_ok(state_read(f->state, JOB_OUTBOX, "", 1000, add_event, out, &e));
}

static inline enum err_code last_id(void *context, const char *id, const void *data, size_t n, struct err *e)
{
    (void)data, (void)n, (void)e;
    snprintf(context, STATE_ID_BYTES, "%s", id);
    return OK;
}

static inline void drop_events(struct fixture *f)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    char id[STATE_ID_BYTES] = "";
    struct err e = ERR_INIT;
    assert_ok(state_read(f->state, JOB_OUTBOX, "", 1000, last_id, id, &e));
    if (id[0] == '\0')
        return;
    state_tx_drop(tx, JOB_OUTBOX, id);
    assert_ok(state_commit(f->state, tx, &e));
}

/* ---- the supervisor ---- */

static inline void start_supervisor(struct fixture *f, const char *number)
{
    CLEANUP(freep) char *log = path_join(f->home, "supervisor.log");
    CLEANUP(fd_closep) int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    const char *argv[] = { "/proc/self/exe", "attempt", "--home", f->home, JOB, number, NULL };
    struct proc_options o = PROC_OPTIONS_INIT;
    struct err e = ERR_INIT;
    o.argv = argv;
    o.out = o.err = fd;
    o.new_session = true; /* as the scheduler does it */
    if (f->state)
        drop_events(f);
    assert_ok(proc_start(&o, &f->supervisor, &e));
    assert_true(started.count < ARRAY_LEN(started.session));
    started.session[started.count++] = f->supervisor.pid;
}

static inline void read_file(struct fixture *f, const char *name, struct buf *out)
{
    CLEANUP(freep) char *path = path_join(f->home, name);
    struct err e = ERR_INIT;
    buf_reset(out);
    IGNORE(file_read(path, out, &e));
}

/* Fails with what the supervisor said. */
static inline void give_up(struct fixture *f, const char *what)
{
    CLEANUP(buf_done) struct buf said = BUF_INIT(TEXT_MAX);
    CLEANUP(buf_done) struct buf log = BUF_INIT(TEXT_MAX);
    read_file(f, "supervisor.log", &said);
    read_file(f, "attempts/" JOB ".1/log", &log);
    fail_msg("%s\n%.3000s\n%.1000s", what, buf_text(&said), buf_text(&log));
}

/* Of all that it ever started; nothing else ever enters its session. */
static inline int count_processes(struct fixture *f)
{
    struct dirent *entry;
    int count = 0;
    DIR *proc = opendir("/proc");
    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL)
        count += entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
                 in_session(entry->d_name, f->supervisor.pid);
    closedir(proc);
    return count;
}

static inline int wait_supervisor(struct fixture *f)
{
    int status = -1;
    struct err e = ERR_INIT;
    int64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (proc_alive(f->supervisor)) {
        if (clock_mono_ms() > deadline)
            give_up(f, "the supervisor does not end");
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
    assert_ok(proc_wait(f->supervisor, &status, &e));
    return status;
}

typedef bool condition(struct fixture *f);
static inline void wait_until(struct fixture *f, condition *holds, const char *what)
{
    int64_t deadline = clock_mono_ms() + PATIENCE_MS;
    while (!holds(f)) {
        if (clock_mono_ms() > deadline)
            give_up(f, what);
        clock_real.sleep_ms(&clock_real, LOOK_MS);
    }
}

static inline int count_in_log(struct fixture *f, const char *what)
{
    CLEANUP(buf_done) struct buf log = BUF_INIT(TEXT_MAX);
    int count = 0;
    read_file(f, "attempts/" JOB ".1/log", &log);
    for (const char *p = buf_text(&log); (p = strstr(p, what)) != NULL; p++)
        count++;
    return count;
}

static inline bool ranks_are_ready(struct fixture *f)
{
    return count_in_log(f, "ready\n") == 2;
}

static inline bool is_recorded_running(struct fixture *f)
{
    struct attempt a;
    return read_record(f, &a) && a.phase == ATTEMPT_RUNNING;
}

static inline void start_and_wait_for_ranks(struct fixture *f)
{
    start_supervisor(f, "1");
    wait_until(f, ranks_are_ready, "the ranks do not come up");
    wait_until(f, is_recorded_running, "the attempt is not recorded as running");
}

/* ---- what must hold at every end ---- */

static inline void assert_nothing_left(struct fixture *f)
{
    glob_t found = { .gl_pathc = 0 };
    assert_int_equal(count_processes(f), 0);
    glob("/dev/shm/sovrun.*." JOB ".*", 0, NULL, &found);
    assert_int_equal(found.gl_pathc, 0);
    globfree(&found);
}

static inline void assert_end_file(struct fixture *f, enum attempt_outcome outcome)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(TEXT_MAX);
    struct attempt a;
    struct err e = ERR_INIT;
    read_file(f, "attempts/" JOB ".1/ended.json", &text);
    assert_ok(attempt_from_text(text.data, text.len, &a, &e));
    assert_string_equal(attempt_outcome_names[a.outcome], attempt_outcome_names[outcome]);
}

static inline void assert_ended(struct fixture *f, enum attempt_outcome outcome, const char *reason)
{
    struct lease_facts lease;
    struct attempt a;
    struct err e = ERR_INIT;
    int status = wait_supervisor(f);
    if (status != 0)
        give_up(f, "the supervisor failed");
    assert_nothing_left(f);
    assert_true(read_record(f, &a));
    if (a.outcome != outcome || !strstr(a.reason, reason))
        fail_msg("%s: '%s'", attempt_outcome_names[a.outcome], a.reason);
    assert_int_equal(a.phase, ATTEMPT_ENDED);
    assert_true(a.ended_ms >= a.started_ms && a.started_ms > 0);
    assert_end_file(f, outcome);
    assert_ok(lease_look(f->state, "attempt/" JOB, &lease, &e));
    assert_false(lease.held);
    assert_int_equal(lease.token >= a.token, 1);
}

#endif
