#include "scheduler/launcher.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/mem.h"
#include "base/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void launcher_close(struct launcher *l)
{
    if (l)
        l->ops->close(l);
}

const char *launcher_note_key(const char *job, int64_t attempt, char out[JOB_KEY_BYTES])
{
    int n = snprintf(out, JOB_KEY_BYTES, "launch/%s/%" PRId64, job, attempt);
    invariant(n > 0 && n < JOB_KEY_BYTES);
    return out;
}

const char *launcher_note_text(const struct launcher_note *n, char out[LAUNCHER_NOTE_BYTES])
{
    snprintf(out, LAUNCHER_NOTE_BYTES, "%s %d %" PRIu64, n->host, (int)n->id.pid, n->id.start_ticks);
    return out;
}

enum err_code launcher_note_parse(const char *text, struct launcher_note *out, struct err *e)
{
    struct err bad = ERR_INIT;
    struct launcher_note n = { .host = "" };
    char copy[LAUNCHER_NOTE_BYTES];
    char *rest = copy, *part[3] = { NULL };
    int64_t pid = 0;

    if (strlen(text) < sizeof(copy)) {
        memcpy(copy, text, strlen(text) + 1);
        for (size_t i = 0; i < ARRAY_LEN(part); i++)
            part[i] = strsep(&rest, " ");
    }
    if (!part[2] || rest || !part[0][0] || strlen(part[0]) >= sizeof(n.host) ||
        parse_i64(part[1], &pid, &bad) || pid < 0 || pid > INT32_MAX ||
        parse_u64(part[2], &n.id.start_ticks, &bad))
        return err_set(e, ERR_CORRUPT, "launch note '%.100s' is not 'HOST PID START'", text);
    memcpy(n.host, part[0], strlen(part[0]) + 1);
    n.id.pid = (pid_t)pid;
    *out = n;
    return OK;
}

char *launcher_dir(const char *home, const char *job, int64_t attempt)
{
    return mem_printf("%s/attempts/%s.%" PRId64, home, job, attempt);
}
