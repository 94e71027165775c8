#include "core/cluster/egress.h"

#include "base/mem.h"
#include "core/job/job.h"
#include "core/json/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

enum { EVENT_BYTES_MAX = 4096, LINE_BYTES_MAX = 1000 };
static const char line_name[] = "a rank's refusal";

const char *const egress_programs[] = {
    [EGRESS_SCHEDULER] = "scheduler", [EGRESS_SUPERVISOR] = "supervisor", [EGRESS_TRAINER] = "trainer",
    [EGRESS_SOVRUN] = "sovrun",       [EGRESS_PROGRAM_COUNT] = NULL,
};

/* ---- one refusal ---- */

static void keep(char out[EGRESS_TEXT_BYTES], const char *text)
{
    size_t n = 0;
    for (; text[n] && n + 1 < EGRESS_TEXT_BYTES; n++)
        out[n] = text[n] >= ' ' && text[n] <= '~' ? text[n] : '?';
    out[n] = '\0';
}

void egress_from_http(enum egress_program program, int64_t rank, int64_t time_ms,
                      const struct http_refusal *told, struct egress_refusal *out)
{
    *out = (struct egress_refusal){
        .program = program, .kind = told->kind, .rank = rank, .count = 1, .time_ms = time_ms
    };
    keep(out->place, told->place);
    keep(out->detail, told->detail);
}

void egress_to_line(const struct egress_refusal *r, struct buf *out)
{
    CLEANUP(json_donep)
    json_t *j = json_pack("{s:s,s:s,s:s,s:I}", "detail", r->detail, "kind", http_refusal_names[r->kind],
                          "place", r->place, "rank", (json_int_t)r->rank);
    CLEANUP(buf_done) struct buf text = BUF_INIT(LINE_BYTES_MAX);
    struct err e = ERR_INIT;
    enum err_code code = json_canonical(j, &text, &e);
    invariant(code == OK); /* two short texts, each of their bytes two in JSON at most */
    buf_addf(out, EGRESS_LINE "%s\n", buf_text(&text));
}

static enum err_code parse_kind(const char *name, enum http_refusal_kind *out, struct err *e)
{
    for (size_t i = 0; http_refusal_names[i]; i++)
        if (strcmp(http_refusal_names[i], name) == 0) {
            *out = (enum http_refusal_kind)i;
            return OK;
        }
    return err_set(e, ERR_CORRUPT, "%s: there is no such kind", line_name);
}

enum err_code egress_from_line(const char *json, int64_t time_ms, struct egress_refusal *out, struct err *e)
{
    enum { MEMBERS = 4, RANK_MAX = 1 << 20 };
    CLEANUP(json_donep) json_t *j = NULL;
    struct egress_refusal r = { .program = EGRESS_TRAINER, .count = 1, .time_ms = time_ms };
    const char *place, *detail, *kind;
    if (json_parse(json, strlen(json), line_name, &j, e) || json_get_text(j, line_name, "place", &place, e) ||
        json_get_text(j, line_name, "detail", &detail, e) || json_get_text(j, line_name, "kind", &kind, e) ||
        json_get_i64(j, line_name, "rank", &r.rank, e) || parse_kind(kind, &r.kind, e))
        return e->code;
    if (json_object_size(j) != MEMBERS || r.rank < 0 || r.rank > RANK_MAX)
        return err_set(e, ERR_CORRUPT, "%s: another member, or no rank", line_name);
    keep(r.place, place);
    keep(r.detail, detail);
    *out = r;
    return OK;
}

/* ---- the queue ---- */

struct egress {
    enum egress_program program;
    const struct clock *clock;
    int fd;
    pthread_mutex_t lock; /* all below */
    struct egress_refusal list[EGRESS_WAITING_MAX];
    size_t count;
    int64_t dropped;
};

struct egress *egress_new(enum egress_program program, const struct clock *clock)
{
    struct egress *q = mem_new(sizeof(*q));
    q->program = program;
    q->clock = clock;
    q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    invariant(q->fd >= 0 && pthread_mutex_init(&q->lock, NULL) == 0);
    return q;
}

void egress_free(struct egress *q)
{
    if (!q)
        return;
    close(q->fd);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

static bool same(const struct egress_refusal *a, const struct egress_refusal *b)
{
    return a->program == b->program && a->kind == b->kind && a->rank == b->rank &&
           strcmp(a->place, b->place) == 0 && strcmp(a->detail, b->detail) == 0;
}

static void add_locked(struct egress *q, const struct egress_refusal *r)
{
    for (size_t i = 0; i < q->count; i++)
        if (same(&q->list[i], r)) {
            q->list[i].count += r->count;
            return;
        }
    if (q->count == EGRESS_WAITING_MAX)
        q->dropped += r->count;
    else
        q->list[q->count++] = *r;
}

void egress_add(struct egress *q, const struct egress_refusal *r)
{
    pthread_mutex_lock(&q->lock);
    add_locked(q, r);
    pthread_mutex_unlock(&q->lock);
    (void)eventfd_write(q->fd, 1); /* full: it is readable already */
}

void egress_on_refusal(void *context, const struct http_refusal *told)
{
    struct egress *q = context;
    struct egress_refusal r;
    egress_from_http(q->program, EGRESS_NO_RANK, q->clock->wall_ms(q->clock), told, &r);
    egress_add(q, &r);
}

int egress_fd(const struct egress *q)
{
    return q->fd;
}

size_t egress_waiting(struct egress *q)
{
    pthread_mutex_lock(&q->lock);
    size_t n = q->count;
    pthread_mutex_unlock(&q->lock);
    return n;
}

/* ---- telling ---- */

struct batch {
    struct egress_refusal list[EGRESS_WAITING_MAX];
    size_t count;
    int64_t dropped;
};

static void take_all(struct egress *q, struct batch *out)
{
    eventfd_t ignored;
    (void)eventfd_read(q->fd, &ignored);
    pthread_mutex_lock(&q->lock);
    memcpy(out->list, q->list, q->count * sizeof(q->list[0]));
    out->count = q->count;
    out->dropped = q->dropped;
    q->count = 0;
    q->dropped = 0;
    pthread_mutex_unlock(&q->lock);
}

static void give_back(struct egress *q, const struct batch *b)
{
    pthread_mutex_lock(&q->lock);
    for (size_t i = 0; i < b->count; i++)
        add_locked(q, &b->list[i]);
    q->dropped += b->dropped;
    pthread_mutex_unlock(&q->lock);
}

static json_t *event_data(const struct egress_refusal *r, const struct egress_teller *t, int64_t dropped)
{
    json_t *j =
        json_pack("{s:I,s:s,s:s,s:s,s:s}", "count", (json_int_t)r->count, "detail", r->detail, "kind",
                  http_refusal_names[r->kind], "place", r->place, "program", egress_programs[r->program]);
    invariant(j);
    if (t->attempt)
        json_object_set_new(j, "attempt", json_integer(t->attempt));
    if (r->rank != EGRESS_NO_RANK)
        json_object_set_new(j, "rank", json_integer(r->rank));
    if (dropped)
        json_object_set_new(j, "dropped", json_integer(dropped));
    return j;
}

static enum err_code commit(const struct batch *b, struct state *s, const struct egress_teller *t,
                            struct err *e)
{
    CLEANUP(state_tx_freep) struct state_tx *tx = state_tx_new();
    if (t->lease)
        state_tx_fence(tx, t->lease, t->token);
    for (size_t i = 0; i < b->count; i++) {
        CLEANUP(buf_done) struct buf text = BUF_INIT(EVENT_BYTES_MAX);
        CLEANUP(json_donep) json_t *data = event_data(&b->list[i], t, i == 0 ? b->dropped : 0);
        if (job_event_text(t->actor, EGRESS_EVENT, t->job, b->list[i].time_ms, data, &text, e))
            return err_wrap(e, "event '%s'", EGRESS_EVENT);
        state_tx_append(tx, JOB_OUTBOX, text.data, text.len);
    }
    return state_commit(s, tx, e);
}

enum err_code egress_tell(struct egress *q, struct state *s, const struct egress_teller *t, struct err *e)
{
    CLEANUP(freep) struct batch *b = mem_new(sizeof(*b));
    take_all(q, b);
    if (b->count == 0 || commit(b, s, t, e) == OK)
        return OK;
    give_back(q, b);
    return e->code;
}
