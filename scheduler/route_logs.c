/*
 * /v1/jobs/ID/logs: what the ranks of one attempt wrote, from a byte on, waiting for more where asked.
 *
 * The log is a file that the supervisor appends to. It is over when the attempt has said that it ended and
 * all of the file has been handed out; in that order, as the supervisor closes the log before it says so.
 */
#include "scheduler/routes.h"

#include "base/mem.h"
#include "scheduler/launcher.h"
#include "scheduler/view.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

struct following {
    int64_t attempt; /* 0: none has started yet */
    bool ended;      /* nothing more will be written */
};

/* `wanted` 0: the newest. */
static enum err_code find_attempt(struct state *s, const char *id, int64_t wanted, struct following *out,
                                  struct err *e)
{
    CLEANUP(job_done) struct job j = { .result = NULL };
    struct attempt a;

    if (moves_read(s, id, &j, NULL, e))
        return e->code;
    if (wanted > j.attempts)
        return err_set(e, ERR_NOT_FOUND, "job '%s' has had %" PRId64 " attempts, no attempt %" PRId64, id,
                       j.attempts, wanted);
    out->attempt = wanted ? wanted : j.attempts;
    out->ended = job_is_over(j.state) || out->attempt < j.attempts || (out->attempt && j.state == JOB_QUEUED);
    if (out->ended || out->attempt == 0)
        return OK;
    if (view_attempt(s, id, out->attempt, &a, e)) {
        if (e->code != ERR_NOT_FOUND)
            return e->code;
        err_clear(e);
        return OK;
    }
    out->ended = a.phase == ATTEMPT_ENDED;
    return OK;
}

/* No file yet: no bytes. */
static enum err_code read_chunk(const struct api *a, const char *id, int64_t attempt, int64_t offset,
                                struct buf *out, struct err *e)
{
    CLEANUP(freep) char *dir = launcher_dir(a->cluster->home, id, attempt);
    CLEANUP(freep) char *path = mem_printf("%s/log", dir);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    uint8_t *room;

    if (fd < 0)
        return errno == ENOENT ? OK : err_errno(e, "open '%s'", path);
    room = buf_reserve(out, API_LOG_CHUNK_BYTES);
    if (!room)
        return buf_check(out, "log", e);
    ssize_t n = pread(fd, room, API_LOG_CHUNK_BYTES, offset);
    if (n < 0)
        return err_errno(e, "read '%s'", path);
    buf_commit(out, (size_t)n);
    return OK;
}

static enum err_code look(struct api *a, struct state *s, const struct request *q, int64_t wanted,
                          int64_t offset, struct reply *r, struct err *e)
{
    struct following f = { .attempt = 0 };

    if (find_attempt(s, q->id, wanted, &f, e))
        return e->code;
    if (f.attempt && read_chunk(a, q->id, f.attempt, offset, &r->text, e))
        return e->code;
    r->attempt = f.attempt;
    r->next = offset + (int64_t)r->text.len;
    r->over = f.ended && r->text.len < API_LOG_CHUNK_BYTES;
    return OK;
}

enum err_code route_logs(struct api *a, struct state *s, const struct request *q, struct reply *r,
                         struct err *e)
{
    int64_t attempt, offset, wait_ms;

    if (request_i64(q, "attempt", 0, INT32_MAX, 0, &attempt, e) ||
        request_i64(q, "offset", 0, INT64_MAX / 2, 0, &offset, e) ||
        request_i64(q, "wait_ms", 0, API_WAIT_MS_MAX, 0, &wait_ms, e))
        return e->code;
    const int64_t until = a->clock->mono_ms(a->clock) + wait_ms;
    r->is_log = true;
    r->content_type = "text/plain; charset=utf-8";
    for (;;) {
        if (look(a, s, q, attempt, offset, r, e))
            return e->code;
        const int64_t left = until - a->clock->mono_ms(a->clock);
        if (r->text.len || r->over || left <= 0 || atomic_load(&a->stopping))
            return OK;
        a->clock->sleep_ms(a->clock, MIN(left, (int64_t)ROUTES_LOOK_MS));
    }
}
