#include "tests/fake/ranks.h"

#include "base/file.h"
#include "base/num.h"
#include "core/cluster/attempt_doc.h"
#include "core/cluster/egress.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PROC_FILE_BYTES_MAX = 1 << 20 };

/* ---- trainers ---- */

static volatile sig_atomic_t trainer_stopped;

static void on_stop(int signal)
{
    (void)signal;
    trainer_stopped = 1;
}

static int number_in(const char *text)
{
    int64_t n;
    struct err e = ERR_INIT;
    invariant(parse_i64(text, &n, &e) == OK);
    return (int)n;
}

static int trainer_rank(void)
{
    const char *rank = getenv("OMPI_COMM_WORLD_RANK");
    return number_in(rank ? rank : "0");
}

static void say(const char *text)
{
    IGNORE(write(STDOUT_FILENO, text, strlen(text)) < 0);
}

static void read_input(struct buf *out)
{
    uint8_t *to;
    ssize_t n;
    while ((to = buf_reserve(out, 4096)) && (n = read(STDIN_FILENO, to, 4096)) > 0)
        buf_commit(out, (size_t)n);
}

/* Rank 0 reads the document and says what it is for. */
static int trainer_good(void)
{
    CLEANUP(buf_wipe) struct buf text = BUF_INIT(ATTEMPT_DOC_BYTES_MAX);
    CLEANUP(attempt_doc_done) struct attempt_doc d = { .attempt = 0 };
    CLEANUP(keys_closep) struct keys *keys = NULL;
    CLEANUP(secret_freep) struct secret *again = NULL;
    struct err e = ERR_INIT;
    char line[512];
    if (trainer_rank() != 0)
        return TRAINER_OK;
    read_input(&text);
    const struct keys_context context = {
        .pair = { { "cluster", "embedded" }, { "region", "local" }, { "job", d.job } }, .count = 3
    };
    struct keys_config config = { .provider = KEYS_FILE };
    if (attempt_doc_from_text(text.data, text.len, &d, &e) ||
        snprintf(config.dir, sizeof(config.dir), "%s/../keys", d.models.place.root) < 0 ||
        keys_open(&config, NULL, &keys, &e) || keys_unwrap(keys, d.wrapped_key, &context, &again, &e)) {
        snprintf(line, sizeof(line), "sovrun-trainer: error: %.400s\n", e.text);
        say(line);
        return TRAINER_FAILED;
    }
    snprintf(line, sizeof(line),
             "doc of %s attempt %" PRId64 " data %s models %s plan %.8s epoch %" PRId64 " key %s\n", d.job,
             d.attempt, d.data.place.bucket, d.models.place.bucket, d.first_plan_digest, d.first_plan_epoch,
             secret_equal(again, d.data_key) ? "fits" : "does not fit");
    say(line);
    return TRAINER_OK;
}

static int trainer_fails(void)
{
    if (trainer_rank() == 0)
        say("sovrun-trainer: error: column 'x' is missing\n");
    return trainer_rank() == 0 ? TRAINER_USER_ERROR : (pause(), 0);
}

/* Two connections that the guard would not make, and a line that only looks like one. */
static int trainer_is_refused(void)
{
    say(EGRESS_LINE "{\"detail\":\"192.0.2.1\",\"kind\":\"address\",\"place\":\"https://s3\",\"rank\":1}\n");
    say(EGRESS_LINE "{\"detail\":\"192.0.2.1\",\"kind\":\"address\",\"place\":\"https://s3\",\"rank\":1}\n");
    say(EGRESS_LINE "{\"kind\":\"odd\"}\n");
    return TRAINER_DENIED;
}

static int wait_for_signals(void)
{
    say("ready\n");
    while (!trainer_stopped)
        poll(NULL, 0, 10);
    say("a checkpoint, then the end\n");
    return TRAINER_STOPPED;
}

static int trainer_waits(void)
{
    signal(SIGTERM, on_stop);
    return wait_for_signals();
}

static int trainer_is_deaf(void)
{
    signal(SIGTERM, SIG_IGN);
    return wait_for_signals();
}

static int trainer_dies(void)
{
    if (trainer_rank() == 1)
        raise(SIGKILL);
    pause();
    return 0;
}

static int trainer_is_noisy(void)
{
    for (int i = 0; i < 20000; i++)
        say("0123456789 0123456789 0123456789\n");
    say("sovrun-trainer: error: said at the very end\n");
    return TRAINER_LIMIT;
}

/* A descendant that has left the group and its parents, and would live for ever. */
static int trainer_leaves_an_orphan(void)
{
    if (fork() == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, 0);
        for (;;)
            pause();
    }
    return TRAINER_OK;
}

static int print_file(const char *path)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(PROC_FILE_BYTES_MAX);
    struct err e = ERR_INIT;
    if (file_read(path, &text, &e))
        return TRAINER_FAILED;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '\0')
            text.data[i] = '\n';
    say(buf_text(&text));
    say("\n");
    return TRAINER_OK;
}

/* Everything that any user of the host can see of us and of mpirun. */
static int trainer_shows_itself(void)
{
    char parent[64];
    snprintf(parent, sizeof(parent), "/proc/%d/cmdline", (int)getppid());
    if (trainer_rank() != 0)
        return TRAINER_OK;
    return print_file("/proc/self/environ") || print_file("/proc/self/cmdline") || print_file(parent);
}

/* ---- mpirun ---- */

static pid_t start_rank(int rank, char *program)
{
    char number[16];
    char *argv[] = { program, NULL };
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL); // exec keeps it; the real trainer asks for it itself
    snprintf(number, sizeof(number), "%d", rank);
    setenv("OMPI_COMM_WORLD_RANK", number, 1);
    if (rank > 0) {
        int none = open("/dev/null", O_RDONLY);
        dup2(none, STDIN_FILENO);
    }
    execv(program, argv);
    _exit(127);
}

/* Runs the ranks until one fails or all are done, and says what Open MPI would. */
static int fake_mpirun(int argc, char **argv)
{
    enum { RANKS_MAX = 8 };
    pid_t ranks[RANKS_MAX];
    int count = number_in(argv[2]), status = 0, result = 0;
    for (int r = 0; r < count; r++)
        ranks[r] = start_rank(r, argv[argc - 1]);
    for (int left = count; left > 0 && result == 0; left--) {
        pid_t pid = wait(&status);
        int rank = 0;
        while (ranks[rank] != pid)
            rank++;
        ranks[rank] = 0;
        if (WIFSIGNALED(status))
            printf("mpirun noticed that process rank %d with PID 0 on node here exited on signal %d (x).\n",
                   rank, WTERMSIG(status));
        else if (WEXITSTATUS(status))
            printf("  Process name: [[1,1],%d]\n", rank);
        result = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    fflush(stdout);
    for (int r = 0; r < count; r++)
        if (ranks[r] > 0 && result != TRAINER_STOPPED)
            kill(ranks[r], SIGKILL);
    while (wait(&status) > 0)
        ;
    return result;
}

/* ---- by name ---- */

static int (*const trainers[])(void) = {
    trainer_good,
    trainer_fails,
    trainer_waits,
    trainer_is_deaf,
    trainer_dies,
    trainer_is_noisy,
    trainer_leaves_an_orphan,
    trainer_shows_itself,
    trainer_is_refused,
};
const char *const fake_names[] = {
    "trainer-good",   "trainer-fails", "trainer-waits",   "trainer-deaf", "trainer-dies", "trainer-noisy",
    "trainer-orphan", "trainer-shows", "trainer-refused", "mpirun",       NULL,
};
_Static_assert(ARRAY_LEN(fake_names) == ARRAY_LEN(trainers) + 2, "a name for each, and for mpirun");

bool fake_main(int argc, char **argv, int *out_status)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    for (size_t i = 0; fake_names[i]; i++)
        if (strcmp(name, fake_names[i]) == 0) {
            *out_status = i < ARRAY_LEN(trainers) ? trainers[i]() : fake_mpirun(argc, argv);
            return true;
        }
    return false;
}
