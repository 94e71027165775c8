#include "trainer/feed.h"

#include "base/mem.h"
#include "base/stop.h"
#include "core/crypto/crypto.h"

#include <string.h>

enum { SURVEY_BYTES_MAX = 256 << 20, PREDICTIONS_BYTES_MAX = 1 << 30 };

struct rows {
    struct feed feed;
    struct encoding encoding; /* columns NULL: not yet */
};

static void close_rows(struct feed *f)
{
    struct rows *r = (struct rows *)f;
    encoding_done(&r->encoding);
    free(r);
}

/* ---- fitting ---- */

static size_t held_out(const struct feed *f, size_t rows)
{
    return (size_t)dataset_holdout(rows, f->place.spec->data.holdout);
}

static void expect_own_shards(struct feed *f)
{
    const struct comm *c = f->place.comm;
    size_t shards = f->place.dataset->shard_count, count = 0;
    CLEANUP(freep) size_t *own = mem_array(MAX(shards, (size_t)1), sizeof(*own));

    for (size_t i = (size_t)c->rank; i < shards; i += (size_t)c->size)
        own[count++] = i;
    shards_expect(f->place.shards, own, count);
}

static enum err_code survey_own_shards(struct feed *f, struct buf *out, struct err *e)
{
    const struct feed_place *p = &f->place;

    expect_own_shards(f);
    for (size_t i = (size_t)p->comm->rank; i < p->dataset->shard_count; i += (size_t)p->comm->size) {
        CLEANUP(table_done) struct table t = { 0 };
        if (stop_asked())
            return err_set(e, ERR_CANCELED, "asked to stop before the first step");
        if (shards_read(p->shards, i, &t, e) ||
            encode_survey(p->dataset, &p->spec->data, i, &t, t.rows - held_out(f, t.rows), out, e))
            return e->code;
        buf_add_byte(out, '\n');
    }
    shards_expect(p->shards, NULL, 0); /* training reads in another order */
    return buf_check(out, "survey of the data", e);
}

static enum err_code merge_surveys(struct rows *r, const struct comm_parts *all, struct err *e)
{
    const struct feed_place *p = &r->feed.place;
    size_t shards = p->dataset->shard_count;
    CLEANUP(freep)
    json_t **surveys = mem_array(shards, sizeof(json_t *)); // NOLINT(bugprone-sizeof-expression): pointers
    const char *at = (const char *)all->data, *end = at + all->starts[p->comm->size];

    for (size_t i = 0; i < shards && e->code == OK; i++) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        invariant(line_end != NULL);
        json_t *one = NULL;
        if (json_parse(at, (size_t)(line_end - at), "survey", &one, e) == OK)
            surveys[json_i64_or(one, "shard", 0)] = one;
        at = line_end + 1;
    }
    if (e->code == OK)
        IGNORE(encode_fit(p->dataset, &p->spec->data, surveys, &r->encoding, e));
    for (size_t i = 0; i < shards; i++)
        json_decref(surveys[i]);
    return e->code;
}

static enum err_code fit_rows(struct feed *f, struct err *e)
{
    struct rows *r = (struct rows *)f;
    struct comm *comm = f->place.comm;
    CLEANUP(buf_done) struct buf own = BUF_INIT(SURVEY_BYTES_MAX);
    CLEANUP(comm_parts_done) struct comm_parts all = { 0 };

    IGNORE(survey_own_shards(f, &own, e)); /* told to all below */
    if (comm_agree(comm, e) || comm_gather_sized(comm, own.data, own.len, &all, e))
        return e->code;
    if (merge_surveys(r, &all, e) == OK)
        shards_set_encoding(f->place.shards, &r->encoding);
    return comm_agree(comm, e);
}

static enum err_code restore_rows(struct feed *f, const json_t *file, struct err *e)
{
    struct rows *r = (struct rows *)f;
    json_t *encoding;

    encoding_done(&r->encoding);
    if (json_get_object(file, "checkpoint meta", "encoding", &encoding, e) ||
        encoding_from_json(encoding, f->place.dataset, &r->encoding, e))
        return e->code;
    shards_set_encoding(f->place.shards, &r->encoding);
    return OK;
}

static void shape_rows(const struct feed *f, struct model_config *io_config)
{
    const struct rows *r = (const struct rows *)f;
    io_config->width = r->encoding.width;
    io_config->classes = r->encoding.class_count;
}

static enum err_code describe_rows(const struct feed *f, const struct model *m, json_t **out, struct err *e)
{
    const struct rows *r = (const struct rows *)f;
    char content[SHA256_HEX_BYTES];

    (void)m, (void)e;
    dataset_content_digest(f->place.dataset, content);
    *out = json_pack("{s:s,s:{s:s,s:s},s:o,s:s}", "format", "sovrun.mlp.v1", "model", "activation", "relu",
                     "kind", "mlp", "encoding", encoding_to_json(&r->encoding, f->place.dataset),
                     "dataset_content", content);
    return OK;
}

/* ---- evaluating ---- */

/* What a rank sends for one shard: this, then labels (n), then probabilities (n, classes). */
struct piece {
    uint64_t shard, n;
};

static size_t piece_bytes(const struct piece *p, size_t classes)
{
    return sizeof(*p) + p->n * (sizeof(int32_t) + classes * sizeof(float));
}

static enum err_code predict_shard(const struct feed *f, struct model *model, const float *params,
                                   size_t shard, double share, struct buf *out, struct err *e)
{
    struct shard_rows rows;
    if (shards_get(f->place.shards, shard, &rows, e))
        return e->code;
    struct piece p = { .shard = shard, .n = dataset_holdout(rows.rows, share) };
    size_t first = rows.rows - p.n;
    size_t width = model->config.width, classes = model->config.classes, step = model->config.records_max;
    CLEANUP(freep) float *probs = mem_array(step * classes, sizeof(*probs));

    buf_add(out, &p, sizeof(p));
    buf_add(out, rows.labels + first, p.n * sizeof(int32_t));
    for (size_t done = 0; done < p.n; done += step) {
        size_t n = MIN(step, p.n - done);
        const struct batch b = { .n = n, .features = rows.features + (first + done) * width };
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

static enum err_code evaluate_rows(struct feed *f, struct model *model, const float *params, double share,
                                   struct metrics *out, struct err *e)
{
    const struct rows *r = (const struct rows *)f;
    const struct dataset *d = f->place.dataset;
    struct comm *comm = f->place.comm;
    size_t classes = model->config.classes, total = 0;
    CLEANUP(freep) size_t *first_of_shard = mem_array(d->shard_count, sizeof(size_t));
    CLEANUP(buf_done) struct buf own = BUF_INIT(PREDICTIONS_BYTES_MAX);
    CLEANUP(comm_parts_done) struct comm_parts all = { 0 };

    for (size_t i = 0; i < d->shard_count; i++) {
        first_of_shard[i] = total;
        total += dataset_holdout(d->shards[i].records, share);
    }
    if (total == 0)
        return OK;
    for (size_t i = (size_t)comm->rank; i < d->shard_count && e->code == OK; i += (size_t)comm->size)
        IGNORE(predict_shard(f, model, params, i, share, &own, e)); /* told to all below */
    if (comm_agree(comm, e) || comm_gather_sized(comm, own.data, own.len, &all, e))
        return e->code;

    CLEANUP(freep) int32_t *labels = mem_array(total, sizeof(*labels));
    CLEANUP(freep) float *probs = mem_array(total * classes, sizeof(*probs));
    put_in_order(&all, comm->size, classes, first_of_shard, labels, probs);
    return metrics_compute(probs, labels, total, classes, r->encoding.positive, out, e);
}

static const struct feed_ops rows_ops = {
    .model = "mlp",
    .fit = fit_rows,
    .restore = restore_rows,
    .shape = shape_rows,
    .describe = describe_rows,
    .evaluate = evaluate_rows,
    .close = close_rows,
};

struct feed *feed_rows_new(void)
{
    struct rows *r = mem_new(sizeof(*r));
    r->feed.ops = &rows_ops;
    return &r->feed;
}
