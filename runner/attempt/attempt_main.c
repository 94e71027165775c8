#include "runner/attempt/attempt_main.h"

#include "base/log.h"
#include "base/num.h"
#include "base/proc.h"
#include "base/stop.h"
#include "core/crypto/secret.h"
#include "core/job/job.h"
#include "runner/attempt/supervisor.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct task {
    const char *home, *job;
    int64_t number;
};

/* One caller, one form. */
static enum err_code parse(int argc, char **argv, struct task *out, struct err *e)
{
    enum { ARGS = 5 };
    if (argc != ARGS || strcmp(argv[1], "--home") != 0)
        return err_set(e, ERR_USAGE, "usage: sovrun attempt --home DIR JOB N");
    struct task t = { .home = argv[2], .job = argv[3] };
    if (!job_id_is_valid(t.job))
        return err_set(e, ERR_USAGE, "'%.64s' is no job's id", t.job);
    if (parse_i64(argv[4], &t.number, e) || t.number < 1)
        return err_set(e, ERR_USAGE, "'%.64s' is no attempt's number", argv[4]);
    *out = t;
    return OK;
}

static void prepare_process(void)
{
    secret_harden_process();
    log_init("attempt", LOG_INFO);
    stop_init();
    proc_become_subreaper();
    signal(SIGPIPE, SIG_IGN);
    umask(S_IRWXG | S_IRWXO);
}

int attempt_main(int argc, char **argv)
{
    CLEANUP(cluster_freep) struct cluster *c = NULL;
    struct err e = ERR_INIT;
    struct task t = { .home = NULL };
    prepare_process();
    if (parse(argc, argv, &t, &e)) {
        log_error("attempt.usage", "%s", e.text);
        return EXIT_USAGE;
    }
    enum err_code code = cluster_load(t.home, NULL, &c, &e);
    if (!code)
        code = supervise(c, t.job, t.number, &e);
    if (!code)
        return EXIT_DONE;
    if (code == ERR_CONFLICT || code == ERR_CANCELED) {
        log_info("attempt.left", "job=%s attempt=%" PRId64 " %s", t.job, t.number, e.text);
        return EXIT_DONE;
    }
    log_error("attempt.failed", "job=%s attempt=%" PRId64 " %s", t.job, t.number, e.text);
    return EXIT_FAILED;
}
