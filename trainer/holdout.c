#include "trainer/holdout.h"

#include "base/mem.h"

#include <string.h>

/* What a rank sends for one shard: this, then labels (n), then probabilities (n, classes). */
struct piece {
    uint64_t shard, n;
};

static size_t piece_bytes(const struct piece *p, size_t classes)
{
    return sizeof(*p) + p->n * (sizeof(int32_t) + classes * sizeof(float));
}

static enum err_code predict_shard(struct model *model, const float *params, struct shards *shards,
                                   size_t shard, struct buf *out, struct err *e)
{
    struct shard_rows rows;
    if (shards_get(shards, shard, &rows, e))
        return e->code;
    struct piece p = { .shard = shard, .n = rows.rows - rows.train_rows };
    size_t width = model->config.width, classes = model->config.classes, step = model->config.records_max;
    CLEANUP(freep) float *probs = mem_array(step * classes, sizeof(*probs));

    buf_add(out, &p, sizeof(p));
    buf_add(out, rows.labels + rows.train_rows, p.n * sizeof(int32_t));
    for (size_t done = 0; done < p.n; done += step) {
        size_t n = MIN(step, p.n - done);
        const struct batch b = { .n = n, .features = rows.features + (rows.train_rows + done) * width };
        if (model_predict(model, params, &b, probs, e))
            return e->code;
        buf_add(out, probs, n * classes * sizeof(*probs));
    }
    return buf_check(out, "hold-out predictions", e);
}

/* Pieces of all ranks in shard order, as one list of labels and one of probabilities. */
static void put_in_order(const struct comm_parts *all, int ranks, size_t classes,
                         const size_t *first_of_shard, int32_t *labels, float *probs)
{
    const uint8_t *at = all->data, *end = all->data + all->starts[ranks];
    while (at < end) {
        struct piece p;
        memcpy(&p, at, sizeof(p));
        size_t first = first_of_shard[p.shard];
        memcpy(labels + first, at + sizeof(p), p.n * sizeof(*labels));
        memcpy(probs + first * classes, at + sizeof(p) + p.n * sizeof(*labels),
               p.n * classes * sizeof(*probs));
        at += piece_bytes(&p, classes);
    }
}

enum err_code holdout_evaluate(struct comm *comm, struct model *model, const float *params,
                               const struct dataset *dataset, struct shards *shards, double holdout,
                               int positive, struct metrics *out, struct err *e)
{
    size_t classes = model->config.classes, total = 0;
    CLEANUP(freep) size_t *first_of_shard = mem_array(dataset->shard_count, sizeof(size_t));
    CLEANUP(buf_done) struct buf own = BUF_INIT(1u << 30);
    CLEANUP(comm_parts_done) struct comm_parts all = { 0 };

    for (size_t i = 0; i < dataset->shard_count; i++) {
        first_of_shard[i] = total;
        total += dataset_holdout(dataset->shards[i].records, holdout);
    }
    *out = (struct metrics){ 0 };
    if (total == 0)
        return OK;
    for (size_t i = (size_t)comm->rank; i < dataset->shard_count && e->code == OK; i += (size_t)comm->size)
        IGNORE(predict_shard(model, params, shards, i, &own, e)); /* told to all below */
    if (comm_agree(comm, e) || comm_gather_sized(comm, own.data, own.len, &all, e))
        return err_wrap(e, "hold-out evaluation");

    CLEANUP(freep) int32_t *labels = mem_array(total, sizeof(*labels));
    CLEANUP(freep) float *probs = mem_array(total * classes, sizeof(*probs));
    put_in_order(&all, comm->size, classes, first_of_shard, labels, probs);
    return metrics_compute(probs, labels, total, classes, positive, out, e);
}
