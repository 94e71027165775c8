/*
 * sovrun-scheduler: the daemon that queues, places, launches and watches jobs.
 */
#include "base/log.h"
#include "base/stop.h"
#include "core/cluster/cluster_policy.h"
#include "scheduler/daemon.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* As the sovrun command's: a script may tell them apart. */
enum { EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_DENIED = 3, EXIT_AGAIN = 4, EXIT_NOT_FOUND = 6 };

static const char usage[] =
    "Usage: sovrun-scheduler --home DIR [--config FILE] [--verbose]\n"
    "\n"
    "Queues, places, launches and watches the jobs of one cluster, and serves its API on DIR/run/api.sock.\n"
    "`sovrun up` starts it together with the services that it needs; `sovrun down` stops them.\n"
    "\n"
    "  --home DIR      the cluster's folder (default: $SOVRUN_HOME)\n"
    "  --config FILE   its configuration (default: DIR/sovrun.yaml)\n"
    "  --verbose       log more\n"
    "  --help          this text\n"
    "\n"
    "It logs to standard error and stays in the foreground. SIGTERM ends it; running jobs go on.\n";

struct options {
    const char *home, *config;
    bool verbose, help;
};

static bool parse_options(int argc, char **argv, struct options *out)
{
    static const struct option known[] = {
        { "home", required_argument, NULL, 'H' },
        { "config", required_argument, NULL, 'c' },
        { "verbose", no_argument, NULL, 'v' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 },
    };
    int option;

    out->home = getenv("SOVRUN_HOME");
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'H')
            out->home = optarg;
        else if (option == 'c')
            out->config = optarg;
        else if (option == 'v')
            out->verbose = true;
        else if (option == 'h')
            out->help = true;
        else
            return false;
    }
    return out->help || (optind == argc && out->home && out->home[0]);
}

static int exit_status(enum err_code code)
{
    switch (code) {
    case OK:
        return 0;
    case ERR_USAGE:
        return EXIT_USAGE;
    case ERR_DENIED:
        return EXIT_DENIED;
    case ERR_CONFLICT:
    case ERR_RETRY:
        return EXIT_AGAIN;
    case ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    default:
        return EXIT_FAILED;
    }
}

/* A bucket that lies where the policy does not have it stops us here; one that cannot be asked now is asked
 * again for each job. */
static enum err_code check_buckets(const struct cluster *c, struct err *e)
{
    for (size_t i = 0; i < c->store_count; i++) {
        bool away = false; /* one bucket's patience is enough for a store that does not answer */
        for (size_t b = 0; b < c->stores[i].bucket_count && !away; b++) {
            const char *bucket = c->stores[i].buckets[b];
            struct store_facts facts = { .versioned = false };
            enum err_code code = cluster_check_bucket(c, bucket, &facts, e);
            if (code == ERR_DENIED && facts.location[0])
                return code;
            away = code == ERR_RETRY;
            if (code)
                log_warn("policy.unread", "bucket=%s %s", bucket, e->text);
            else
                log_info("policy.readback", "bucket=%s location=%s versioned=%d lockable=%d", bucket,
                         facts.location, (int)facts.versioned, (int)facts.lockable);
            err_clear(e);
        }
    }
    return OK;
}

int main(int argc, char **argv)
{
    struct options options = { .home = NULL };
    CLEANUP(cluster_freep) struct cluster *cluster = NULL;
    struct err e = ERR_INIT;

    if (!parse_options(argc, argv, &options)) {
        fputs(usage, stderr);
        return EXIT_USAGE;
    }
    if (options.help) {
        fputs(usage, stdout);
        return 0;
    }
    log_init("scheduler", options.verbose ? LOG_DEBUG : LOG_INFO);
    secret_harden_process();
    umask(077);
    signal(SIGPIPE, SIG_IGN);
    stop_init();
    enum err_code code = cluster_load(options.home, options.config, &cluster, &e);
    if (code == OK)
        code = check_buckets(cluster, &e);
    if (code == OK)
        code = daemon_run(cluster, &e);
    if (code != OK)
        log_error("scheduler.failed", "%s", e.text);
    return exit_status(code);
}
