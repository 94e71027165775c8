#include "core/store/s3.h"

#include "base/mem.h"

#include <stdio.h>
#include <string.h>

enum { PAUSE_MS = 100, PAUSE_MS_MAX = 5000, ERROR_ANSWER_BYTES = 64 * 1024 };

struct task {
    struct store_patience patience;
    int64_t not_before_ms; /* monotonic */
    int tried_again;       /* at once, since something of ours had changed */
    bool waits;
};
/* What a client's place holds of its try. */
struct room {
    struct s3_call call;
    struct s3_signed signed_call;
    struct s3_flow_room texts;
    bool used;
};
struct flow {
    struct store_s3 *s;
    const struct s3_flow *f;
    struct task *tasks;
    struct room *rooms; /* one for each connection */
    size_t fresh;       /* tasks before it were begun */
    size_t waiting;     /* of those, how many wait to be tried again */
    struct err failure; /* that of a task that cannot even be prepared */
};

static void room_clear(struct room *r)
{
    if (r->used)
        s3_signed_done(&r->signed_call);
    r->used = false;
}

/* The next task: a fresh one, else one whose pause is over. */
static enum http_next pick(struct flow *fl, size_t *out_task, int64_t *out_wait_ms)
{
    int64_t now = clock_mono_ms(), soonest = INT64_MAX;
    if (fl->fresh < fl->f->count) {
        *out_task = fl->fresh++;
        return HTTP_NEXT_READY;
    }
    for (size_t i = 0, seen = 0; i < fl->fresh && seen < fl->waiting; i++) {
        struct task *t = &fl->tasks[i];
        if (!t->waits)
            continue;
        seen++;
        if (t->not_before_ms <= now) {
            t->waits = false;
            fl->waiting--;
            *out_task = i;
            return HTTP_NEXT_READY;
        }
        soonest = MIN(soonest, t->not_before_ms);
    }
    if (fl->waiting == 0)
        return HTTP_NEXT_END;
    *out_wait_ms = soonest - now;
    return HTTP_NEXT_WAIT;
}

static enum http_next next_call(void *context, struct http_exchange *x, int64_t *out_wait_ms)
{
    struct flow *fl = context;
    struct room *room = &fl->rooms[x->slot];
    size_t answer_bytes = 0;
    struct err *e = &fl->failure;
    enum http_next next = e->code ? HTTP_NEXT_END : pick(fl, &x->task, out_wait_ms);
    if (next != HTTP_NEXT_READY)
        return next;
    memset(&room->call, 0, sizeof(room->call));
    room->used = true;
    if (fl->f->prepare(fl->f->context, x->task, &room->call, &room->texts, &answer_bytes, e) ||
        s3_sign(fl->s, &room->call, answer_bytes, &room->signed_call, &x->q, e))
        return HTTP_NEXT_END;
    x->r.body.max = MAX(answer_bytes, (size_t)ERROR_ANSWER_BYTES);
    return HTTP_NEXT_READY;
}

static void to_wait(struct flow *fl, struct task *t, int64_t pause_ms, struct err *e)
{
    t->not_before_ms = clock_mono_ms() + pause_ms;
    t->waits = true;
    fl->waiting++;
    err_clear(e);
}

/* Once more, after a pause; or for good. */
static enum err_code try_again(struct flow *fl, struct task *t, struct err *e)
{
    const struct store_retry_rule rule = {
        .tries = S3_FLOW_TRIES, .patience_ms = fl->f->patience_ms, .base_ms = PAUSE_MS, .max_ms = PAUSE_MS_MAX
    };
    int64_t now_ms = clock_mono_ms(), pause_ms;
    if (!store_patience_again(&t->patience, &rule, now_ms, fl->s->base.until_ms, &pause_ms, e))
        return e->code;
    if (fl->f->patience_ms > 0)
        store_patience_tell(&t->patience, &fl->s->base, now_ms, e->text);
    to_wait(fl, t, pause_ms, e);
    return OK;
}

/* No part of it will ever be taken: the whole is to be put again. */
static bool upload_is_gone(const char *said)
{
    return strcmp(said, "NoSuchUpload") == 0;
}

static enum err_code take(struct flow *fl, struct http_exchange *x, struct task *t, struct err *e)
{
    enum err_code code = fl->f->take(fl->f->context, x->task, &x->r, e);
    if (code == OK && t->patience.failures > 0 && fl->f->patience_ms > 0)
        store_patience_tell(&t->patience, &fl->s->base, clock_mono_ms(), NULL);
    return code == ERR_RETRY ? try_again(fl, t, e) : code;
}

/* An answer, or none: taken, tried again, or the end of it all. */
static enum err_code settle(struct flow *fl, struct http_exchange *x, const char *key,
                            const struct err *failure, struct err *e)
{
    struct task *t = &fl->tasks[x->task];
    bool again = false;
    char said[64];
    t->patience.call = "get"; /* nobody is told of parts that are put */
    t->patience.key = key;
    if (failure->code) {
        *e = *failure;
        if (e->code == ERR_RETRY && fl->f->broke_off)
            fl->f->broke_off(fl->f->context, x->task, &x->r);
        return e->code == ERR_RETRY ? try_again(fl, t, e) : e->code;
    }
    enum err_code code = s3_judge(fl->s, &fl->rooms[x->slot].call, &x->r, &again, said, e);
    if (code == OK)
        return take(fl, x, t, e);
    if (again && t->tried_again++ < S3_AGAIN_TRIES) {
        to_wait(fl, t, 0, e);
        return OK;
    }
    return code == ERR_RETRY && !upload_is_gone(said) ? try_again(fl, t, e) : code;
}

static enum err_code call_done(void *context, struct http_exchange *x, const struct err *failure,
                               struct err *e)
{
    struct flow *fl = context;
    struct room *room = &fl->rooms[x->slot];
    const char *key = room->call.key;
    room_clear(room);
    enum err_code code = settle(fl, x, key, failure, e);
    if (code && key && code != ERR_CANCELED)
        return err_wrap(e, "%s", key);
    return code;
}

static enum err_code run(struct flow *fl, struct err *e)
{
    const struct http_work work = { .context = fl, .next = next_call, .done = call_done };
    if (http_pool_run(fl->s->pool, &work, e))
        return e->code;
    *e = fl->failure;
    return e->code;
}

enum err_code s3_flow_run(struct store_s3 *s, const struct s3_flow *f, struct err *e)
{
    if (!s->pool && http_pool_open(&s->pool_options, s->options.connections, &s->pool, e))
        return e->code;
    size_t places = http_pool_size(s->pool);
    CLEANUP(freep) struct task *tasks = mem_array(MAX(f->count, (size_t)1), sizeof(*tasks));
    CLEANUP(freep) struct room *rooms = mem_array(places, sizeof(*rooms));
    struct flow fl = { .s = s, .f = f, .tasks = tasks, .rooms = rooms, .failure = ERR_INIT };
    enum err_code code = run(&fl, e);
    for (size_t i = 0; i < places; i++)
        room_clear(&rooms[i]);
    return code;
}
