/* Every shard read again, by several threads. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "runner/cli/pool.h"
#include "runner/cli/stage.h"

#include <inttypes.h>
#include <pthread.h>

struct verifier {
    const struct stage_target *target;
    const struct dataset *d;
    struct progress *progress;
    int64_t started_ms;
    pthread_mutex_t lock; /* of what follows */
    stage_bad_fn *bad;
    void *context;
    size_t done, bad_count;
    uint64_t bytes;
};

static enum err_code open_store(void *context, void **out_mine, struct err *e)
{
    const struct verifier *v = context;
    struct store *store = NULL;
    if (v->target->open(v->target->context, &store, e))
        return e->code;
    *out_mine = store;
    return OK;
}

static void close_store(void *context, void *mine)
{
    (void)context;
    store_close(mine);
}

/* OK with `why` filled where it is bad; an error where it cannot be told. */
static enum err_code read_shard(const struct verifier *v, struct store *store, size_t i, struct err *why,
                                struct err *e)
{
    const struct dataset_shard *s = &v->d->shards[i];
    CLEANUP(buf_done) struct buf text = BUF_INIT(STORE_OBJECT_BYTES_MAX);

    if (store_get(store, s->key, s->version, 0, UINT64_MAX, &text, NULL, e)) {
        if (e->code != ERR_NOT_FOUND && e->code != ERR_CORRUPT)
            return err_wrap(e, "shard %s", s->key);
        *why = *e;
        err_clear(e);
        return OK;
    }
    IGNORE(dataset_open_shard(v->d, i, &text, why)); /* that is the answer */
    return OK;
}

static enum err_code work_shard(void *context, void *mine, void *job, struct err *e)
{
    struct verifier *v = context;
    size_t i = *(const size_t *)job;
    struct err why = ERR_INIT;

    if (read_shard(v, mine, i, &why, e))
        return e->code;
    pthread_mutex_lock(&v->lock);
    v->done++;
    v->bytes += v->d->shards[i].bytes;
    if (why.code) {
        v->bad_count++;
        v->bad(v->context, &v->d->shards[i], why.text);
    }
    pthread_mutex_unlock(&v->lock);
    return OK;
}

static void show(void *context)
{
    struct verifier *v = context;
    char bytes[NUM_TEXT_BYTES], rate[NUM_TEXT_BYTES];
    int64_t ms = MAX(clock_mono_ms() - v->started_ms, (int64_t)1);

    if (!v->progress)
        return;
    pthread_mutex_lock(&v->lock);
    progress_note(v->progress, "verifying: %zu of %zu shards, %s, %s/s", v->done, v->d->shard_count,
                  format_size(v->bytes, bytes), format_size(v->bytes * 1000 / (uint64_t)ms, rate));
    pthread_mutex_unlock(&v->lock);
}

static const struct pool_ops verify_ops = {
    .start = open_store, .work = work_shard, .stop = close_store, .drop = free, .tick = show
};

enum err_code stage_verify(const struct stage_target *target, const struct dataset *d, size_t parallel,
                           struct progress *progress, stage_bad_fn *bad, void *context, size_t *out_bad,
                           struct err *e)
{
    struct verifier v = { .target = target,
                          .d = d,
                          .progress = progress,
                          .started_ms = clock_mono_ms(),
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .bad = bad,
                          .context = context };
    struct pool *pool =
        pool_new(parallel ? parallel : STAGE_PARALLEL_DEFAULT, STAGE_FLIGHT_BYTES, &verify_ops, &v);

    enum err_code code = OK;

    for (size_t i = 0; i < d->shard_count && code == OK; i++) {
        size_t *job = mem_new(sizeof(*job));
        *job = i;
        code = pool_give(pool, job, d->shards[i].bytes + dataset_plain_bytes(d, i), e);
        show(&v);
    }
    if (code == OK)
        code = pool_end(pool, e);
    pool_free(pool);
    pthread_mutex_destroy(&v.lock);
    if (code == OK)
        *out_bad = v.bad_count;
    return code;
}
