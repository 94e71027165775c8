#include "tests/fake/launcher_fake.h"

#include <stdio.h>
#include <string.h>

enum { FAKE_PID = 1000000 };

static enum err_code fake_start(struct launcher *base, const char *job, int64_t attempt, struct proc_id *out,
                                struct err *e)
{
    struct launcher_fake *l = (struct launcher_fake *)base;

    if (l->refuse)
        return err_set(e, ERR_NOT_FOUND, "there is no program to start (a test says so)");
    invariant(l->count < FAKE_STARTS_MAX);
    struct fake_start *s = &l->starts[l->count++];
    *s = (struct fake_start){ .attempt = attempt, .alive = true };
    s->id = (struct proc_id){ .pid = FAKE_PID + (pid_t)l->count, .start_ticks = 7 * l->count };
    snprintf(s->job, sizeof(s->job), "%s", job);
    *out = s->id;
    return OK;
}

static struct fake_start *find(struct launcher *base, struct proc_id id)
{
    struct launcher_fake *l = (struct launcher_fake *)base;

    for (size_t i = 0; i < l->count; i++)
        if (l->starts[i].id.pid == id.pid && l->starts[i].id.start_ticks == id.start_ticks)
            return &l->starts[i];
    return NULL;
}

static enum sight_life fake_life(struct launcher *l, struct proc_id id)
{
    const struct fake_start *s = find(l, id);
    return s && s->alive ? SIGHT_ALIVE : SIGHT_DEAD;
}

static int fake_watch_fd(struct launcher *l, struct proc_id id)
{
    (void)l, (void)id;
    return -1;
}

static void fake_reap(struct launcher *l)
{
    (void)l;
}

static enum err_code fake_end(struct launcher *base, const char *job, struct proc_id supervisor,
                              struct proc_id mpirun, struct err *e)
{
    struct launcher_fake *l = (struct launcher_fake *)base;
    struct fake_start *s = find(base, supervisor);

    (void)job, (void)mpirun;
    if (l->stubborn > 0) {
        l->stubborn--;
        return err_set(e, ERR_IO, "it does not end (a test says so)");
    }
    if (s) {
        s->alive = false;
        s->killed = true;
    }
    return OK;
}

static void fake_close(struct launcher *l)
{
    (void)l;
}

static const struct launcher_ops fake_ops = {
    .name = "fake",
    .start = fake_start,
    .life = fake_life,
    .watch_fd = fake_watch_fd,
    .reap = fake_reap,
    .end = fake_end,
    .close = fake_close,
};

void launcher_fake_init(struct launcher_fake *l, const char *host)
{
    memset(l, 0, sizeof(*l));
    l->base.ops = &fake_ops;
    snprintf(l->base.host, sizeof(l->base.host), "%s", host);
}

struct fake_start *launcher_fake_last(struct launcher_fake *l)
{
    return l->count ? &l->starts[l->count - 1] : NULL;
}

size_t launcher_fake_alive(const struct launcher_fake *l)
{
    size_t n = 0;

    for (size_t i = 0; i < l->count; i++)
        n += l->starts[i].alive;
    return n;
}
