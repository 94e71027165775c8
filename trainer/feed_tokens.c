#include "trainer/feed.h"

#include "base/fixed.h"
#include "base/mem.h"
#include "base/stop.h"
#include "core/crypto/crypto.h"
#include "trainer/sequences.h"

#include <string.h>

struct tokens {
    struct feed feed;
    size_t vocab;
};

static void close_tokens(struct feed *f)
{
    free(f);
}

int64_t feed_end_token(const struct dataset *d)
{
    return d->tokenizer.kind == TOKENIZER_NONE ? -1 : d->tokenizer.end;
}

/* The job's own, or as many as the dataset has. */
static enum err_code fit_tokens(struct feed *f, struct err *e)
{
    struct tokens *t = (struct tokens *)f;
    const struct dataset *d = f->place.dataset;
    int64_t asked = f->place.spec->model.vocab, there = d->tokenizer.vocabulary;

    if (strcmp(d->format, "tokens") != 0)
        return err_set(e, ERR_USAGE, "data.train: dataset '%s' is of format %s, not tokens", d->name,
                       d->format);
    if (asked == 0 && there == 0)
        return err_set(e, ERR_USAGE, "model.vocab: dataset '%s' does not say how many tokens there are",
                       d->name);
    t->vocab = (size_t)(asked > 0 ? asked : there);
    shards_set_vocabulary(f->place.shards, t->vocab);
    return OK;
}

/* Nothing in it that spec and dataset do not say. */
static enum err_code restore_tokens(struct feed *f, const json_t *file, struct err *e)
{
    (void)file;
    return fit_tokens(f, e);
}

static void shape_tokens(const struct feed *f, struct model_config *io_config)
{
    io_config->classes = ((const struct tokens *)f)->vocab;
}

/* By content: where the files lie, and in which version, is of the staging and not of the model. */
static json_t *describe_tokenizer(const struct dataset_tokenizer *t)
{
    json_t *files = json_array();

    if (t->kind == TOKENIZER_BPE) {
        json_array_append_new(files, json_string(t->vocab.sha256));
        json_array_append_new(files, json_string(t->merges.sha256));
    }
    return json_pack("{s:s,s:I,s:I,s:o}", "name", tokenizer_kind_names[t->kind], "vocabulary",
                     (json_int_t)t->vocabulary, "end", (json_int_t)t->end, "files", files);
}

static enum err_code describe_tokens(const struct feed *f, const struct model *m, json_t **out, struct err *e)
{
    const struct spec_model *s = &f->place.spec->model;
    char content[SHA256_HEX_BYTES];

    (void)e;
    dataset_content_digest(f->place.dataset, content);
    json_t *model =
        json_pack("{s:s,s:I,s:I,s:I,s:I,s:I,s:s,s:s,s:s}", "kind", "gpt", "layers", (json_int_t)s->layers,
                  "heads", (json_int_t)s->heads, "width", (json_int_t)s->width, "context",
                  (json_int_t)s->context, "vocab", (json_int_t)m->config.classes, "norm", norm_names[s->norm],
                  "positions", positions_names[s->positions], "mlp", mlp_names[s->mlp]);
    *out = json_pack("{s:s,s:o,s:o,s:s}", "format", "sovrun.gpt.v1", "model", model, "tokenizer",
                     describe_tokenizer(&f->place.dataset->tokenizer), "dataset_content", content);
    return OK;
}

/* ---- evaluating ---- */

/* What one shard comes to. */
struct piece {
    uint64_t shard, tokens;
    double loss;
};

/* As many sequences at a time as the model takes: the spec says how many, so sums have the same bits
 * everywhere. */
static enum err_code evaluate_shard(const struct feed *f, struct model *m, const float *params, size_t shard,
                                    double share, struct piece *out, struct err *e)
{
    size_t T = m->config.context, at_once = m->config.records_max;
    CLEANUP(freep) int32_t *tokens = mem_array(at_once * T, sizeof(*tokens));
    CLEANUP(freep) int32_t *labels = mem_array(at_once * T, sizeof(*labels));
    CLEANUP(freep) int32_t *starts = mem_array(at_once * T, sizeof(*starts));
    struct shard_tokens t;

    if (shards_tokens(f->place.shards, shard, &t, e))
        return e->code;
    uint64_t all = dataset_examples(t.count, T), n = dataset_holdout(all, share);
    for (uint64_t done = 0; done < n; done += at_once) {
        const struct batch b = {
            .n = MIN(at_once, n - done), .tokens = tokens, .labels = labels, .starts = starts, .length = T
        };
        double loss;
        if (stop_asked())
            return err_set(e, ERR_CANCELED, "asked to stop while it was evaluated");
        for (size_t i = 0; i < b.n; i++)
            sequence_take(t.tokens, all - n + done + i, T, feed_end_token(f->place.dataset), tokens + i * T,
                          labels + i * T, starts + i * T);
        if (model_evaluate(m, params, &b, &loss, e))
            return e->code;
        out->loss += loss;
        out->tokens += b.n * T;
    }
    return OK;
}

static enum err_code evaluate_own(const struct feed *f, struct model *m, const float *params, double share,
                                  struct buf *out, struct err *e)
{
    const struct comm *comm = f->place.comm;

    for (size_t i = (size_t)comm->rank; i < f->place.dataset->shard_count; i += (size_t)comm->size) {
        struct piece p = { .shard = i };
        if (evaluate_shard(f, m, params, i, share, &p, e))
            return e->code;
        buf_add(out, &p, sizeof(p));
    }
    return OK;
}

static enum err_code evaluate_tokens(struct feed *f, struct model *m, const float *params, double share,
                                     struct metrics *out, struct err *e)
{
    size_t shards = f->place.dataset->shard_count;
    struct comm *comm = f->place.comm;
    CLEANUP(buf_done) struct buf own = BUF_INIT(DATASET_SHARDS_MAX * sizeof(struct piece));
    CLEANUP(comm_parts_done) struct comm_parts all = { 0 };
    CLEANUP(freep) struct piece *by_shard = mem_array(shards, sizeof(*by_shard));
    double loss = 0;

    IGNORE(evaluate_own(f, m, params, share, &own, e)); /* told to all below */
    if (comm_agree(comm, e) || comm_gather_sized(comm, own.data, own.len, &all, e))
        return e->code;
    for (size_t at = 0; at < all.starts[comm->size]; at += sizeof(struct piece)) {
        struct piece p;
        memcpy(&p, all.data + at, sizeof(p));
        by_shard[p.shard] = p;
    }
    for (size_t i = 0; i < shards; i++) {
        loss += by_shard[i].loss;
        out->records += by_shard[i].tokens;
    }
    out->of_tokens = true;
    if (out->records == 0)
        return OK;
    out->loss = loss / (double)out->records;
    out->perplexity = fixed_exp(out->loss);
    return OK;
}

static const struct feed_ops tokens_ops = {
    .model = "gpt",
    .fit = fit_tokens,
    .restore = restore_tokens,
    .shape = shape_tokens,
    .describe = describe_tokens,
    .evaluate = evaluate_tokens,
    .close = close_tokens,
};

struct feed *feed_tokens_new(void)
{
    struct tokens *t = mem_new(sizeof(*t));
    t->feed.ops = &tokens_ops;
    return &t->feed;
}
