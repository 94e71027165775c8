#include "base/stop.h"

#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_bool asked;
static int pipe_read = -1, pipe_write = -1;

/* One byte, never read: so the descriptor stays readable, for every thread that looks. */
static void on_signal(int signal)
{
    int errno_before = errno;
    (void)signal;
    if (!atomic_exchange(&asked, true)) {
        while (write(pipe_write, "", 1) < 0 && errno == EINTR)
            ;
    }
    errno = errno_before;
}

void stop_init(void)
{
    int ends[2];
    invariant(pipe_read < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pipe_read = ends[0];
    pipe_write = ends[1];
    struct sigaction before, action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigemptyset(&action.sa_mask);
    invariant(sigaction(SIGTERM, &action, NULL) == 0);
    invariant(sigaction(SIGINT, &action, NULL) == 0);
    invariant(sigaction(SIGHUP, NULL, &before) == 0);
    if (before.sa_handler != SIG_IGN)
        invariant(sigaction(SIGHUP, &action, NULL) == 0);
}

bool stop_asked(void)
{
    return atomic_load(&asked);
}

int stop_fd(void)
{
    return pipe_read;
}
