/*
 * test_exact.c - what several ranks compute together, for tests/system/test_exact_reduce.sh to run under
 * mpirun.
 *
 * Prints, on rank 0, digests that must be the same on any number of ranks: of a sum over 8 leaves whose order
 * of addition shows, and of parameters and moments after 20 steps of training. What must hold within one run
 * is checked here: a broken promise ends the program with status 1 and a sentence. With the argument "self"
 * it is one rank without MPI.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEAVES = 8, SUM_FLOATS = LEAVES * 83456, WIDTH = 11, CLASSES = 3, RECORDS_MAX = 7, STEPS = 20 };

static void need_at(bool holds, const char *what, const char *detail, int line)
{
    if (holds)
        return;
    fprintf(stderr, "test_exact.c:%d: not so: %s (%s)\n", line, what, detail);
    exit(1);
}
#define need(cond, e) need_at((cond), #cond, (e).text, __LINE__)

/* FNV-1a, 64 bits. */
static uint64_t digest(uint64_t h, const void *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3;
    return h;
}
static const uint64_t digest_start = 0xcbf29ce484222325;

/* Numbers of very different size: what is lost depends on the order. */
static float leaf_value(size_t leaf, size_t i)
{
    float x = rng_f32(rng_key(7, leaf), i) - 0.5f;
    return ldexpf(x, (int)rng_below(rng_key(8, leaf), i, 24));
}

/* The digest of what each rank has must be the same everywhere. */
static void need_same(struct comm *c, uint64_t own)
{
    struct err e = ERR_INIT;
    uint64_t all[LEAVES];
    need(!comm_gather(c, &own, sizeof(own), all, &e), e);
    for (int r = 0; r < c->size; r++)
        need(all[r] == own, e);
}

static size_t count_differences_from_sequence(const float *sum)
{
    size_t different = 0;
    for (size_t i = 0; i < 5000; i++) {
        volatile float in_sequence = leaf_value(0, i);
        for (size_t leaf = 1; leaf < LEAVES; leaf++)
            in_sequence = in_sequence + leaf_value(leaf, i);
        different += sum[i] != in_sequence;
    }
    return different;
}

/* Ranges of odd sizes, in an order of their own, some empty, against the sum of the whole. */
static void ranges_make_up_the_whole(struct comm *c, const float *given)
{
    static const size_t ends[] = { 0, 1, 65537, 65537, 83456, 300000, 500001, SUM_FLOATS };
    static const size_t order[] = { 6, 0, 3, 1, 5, 2, 4 };
    struct err e = ERR_INIT;
    CLEANUP(freep) float *whole = mem_array(SUM_FLOATS, sizeof(float));
    CLEANUP(freep) float *parts = mem_array(SUM_FLOATS, sizeof(float));
    size_t own = SUM_FLOATS / (size_t)c->size;
    size_t first = slices_of_rank(c->rank, c->size, (size_t)c->size).first * own;

    memcpy(whole, given, SUM_FLOATS * sizeof(float));
    memcpy(parts, given, SUM_FLOATS * sizeof(float));
    need(!comm_sum_scatter(c, whole, SUM_FLOATS, &e), e);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t from = ends[order[i]], to = ends[order[i] + 1];
        need(!comm_sum_scatter_range(c, parts, SUM_FLOATS, from, to - from, &e), e);
    }
    need(memcmp(whole + first, parts + first, own * sizeof(float)) == 0, e);
}

static void sum_is_exact(struct comm *c, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(tree_closep) struct tree *t = NULL;
    CLEANUP(freep) float *fast = mem_array(SUM_FLOATS, sizeof(float));
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);

    need(!tree_open(d, own.count, SUM_FLOATS, true, &t, &e), e);
    for (int round = 0; round < 2; round++) { // the second must not see the first
        tree_start(t);
        for (size_t leaf = own.first; leaf < own.first + own.count; leaf++) {
            float *v = tree_next(t);
            for (size_t i = 0; i < SUM_FLOATS; i++)
                v[i] = leaf_value(leaf, i);
            tree_push(t);
        }
    }
    float *sum = tree_result(t);
    memcpy(fast, sum, SUM_FLOATS * sizeof(float));
    ranges_make_up_the_whole(c, sum);
    need(!comm_sum_scatter(c, sum, SUM_FLOATS, &e), e);
    need(!comm_spread(c, sum, SUM_FLOATS, &e), e);
    need(!comm_sum_fast(c, fast, SUM_FLOATS, &e), e);
    for (size_t i = 0; i < SUM_FLOATS; i++) // 24 bits of spread over 8 leaves: a few units of 2^24 * 2^-23
        need(fabsf(sum[i] - fast[i]) <= 8, e);
    need(count_differences_from_sequence(sum) > 100, e); // else the order of addition does not show
    uint64_t h = digest(digest_start, sum, SUM_FLOATS * sizeof(float));
    need_same(c, h);
    if (c->rank == 0)
        printf("sum %016" PRIx64 "\n", h);
}

struct training {
    struct model *model;
    struct step *step;
    float features[LEAVES][RECORDS_MAX * WIDTH];
    int32_t labels[LEAVES][RECORDS_MAX];
    struct batch batches[LEAVES];
};

static void training_done(struct training *t)
{
    step_close(t->step);
    model_close(t->model);
}

static void training_open(struct training *t, struct comm *c, struct device *d, bool exact, size_t bucket)
{
    struct err e = ERR_INIT;
    const struct model_config mc = { .width = WIDTH,
                                     .hidden = { 40, 17 },
                                     .hidden_count = 2,
                                     .classes = CLASSES,
                                     .dropout = 0.2,
                                     .records_max = RECORDS_MAX,
                                     .slices = LEAVES };
    const struct step_config sc = { .seed = 5,
                                    .leaves = LEAVES,
                                    .exact = exact,
                                    .bucket = bucket,
                                    .weight_decay = 0.01,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .epsilon = 1e-8,
                                    .clip = 0.5 };
    need(!model_open("mlp", &mc, d, &t->model, &e), e);
    need(!step_open(&sc, t->model, c, &t->step, &e), e);
}

/* Leaves of 0 to RECORDS_MAX records: a function of (step, leaf), as a shard plan is. */
static void fill_leaves(struct training *t, struct slice_range own, int64_t step)
{
    for (size_t i = 0; i < own.count; i++) {
        uint64_t key = rng_key(rng_key(77, (uint64_t)step), own.first + i);
        size_t n = rng_below(key, 0, RECORDS_MAX + 1);
        for (size_t r = 0; r < n; r++) {
            float *x = &t->features[i][r * WIDTH];
            for (size_t j = 0; j < WIDTH; j++)
                x[j] = (float)rng_normal(key, 1000 + r * WIDTH + j);
            t->labels[i][r] = x[0] > 0.5f ? 2 : x[1] * x[2] > 0 ? 1 : 0;
        }
        t->batches[i] = (struct batch){ .n = n, .features = t->features[i], .labels = t->labels[i] };
    }
}

/* Parameters, then a digest of each slice's moments in the order of the slices. */
static uint64_t state_digest(struct training *t, struct comm *c)
{
    struct err e = ERR_INIT;
    uint64_t own[LEAVES], all[LEAVES], by_slice[LEAVES];
    struct slice_range slices = step_own_slices(t->step);
    uint64_t h = digest(digest_start, step_params(t->step), t->model->params.padded * sizeof(float));

    for (size_t i = 0; i < slices.count; i++) {
        struct step_slice s = step_slice(t->step, slices.first + i);
        need(s.moment1 && s.moment2, e);
        own[i] = digest(digest_start, s.moment1, s.count * sizeof(float));
        own[i] = digest(own[i], s.moment2, s.count * sizeof(float));
    }
    need(!comm_gather(c, own, slices.count * sizeof(uint64_t), all, &e), e);
    for (int r = 0; r < c->size; r++) {
        struct slice_range of = slices_of_rank(r, c->size, LEAVES);
        memcpy(by_slice + of.first, all + (size_t)r * of.count, of.count * sizeof(uint64_t));
    }
    return digest(h, by_slice, sizeof(by_slice));
}

static double train(struct training *t, struct comm *c, uint64_t *h)
{
    struct err e = ERR_INIT;
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);
    struct step_result r = { 0 };

    for (int64_t step = 1; step <= STEPS; step++) {
        fill_leaves(t, own, step);
        struct step_input in = {
            .step = step, .lr = 0.01, .leaves = t->batches, .vote = step * 100 + c->rank
        };
        need(!step_run(t->step, &in, &r, &e), e);
        need(!r.diverged && r.norm > 0 && r.records > 0, e);
        need(r.vote_max == step * 100 + c->size - 1, e);
        *h = digest(digest(*h, &r.loss, sizeof(r.loss)), &r.norm, sizeof(r.norm));
    }
    return r.loss;
}

static void training_is_exact(struct comm *c, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(training_done) struct training exact = { 0 }, buckets = { 0 }, fast = { 0 };
    uint64_t h = digest_start, h_buckets = digest_start, ignored = 0;

    training_open(&exact, c, d, true, 0);
    training_open(&buckets, c, d, true, 97);
    training_open(&fast, c, d, false, 0);
    double loss = train(&exact, c, &h);
    double fast_loss = train(&fast, c, &ignored);
    IGNORE(train(&buckets, c, &h_buckets) < 0);
    need(h_buckets == h && state_digest(&buckets, c) == state_digest(&exact, c), e);
    need(fabs(loss - fast_loss) < 1e-3, e);
    need(loss < 1.2, e); // ln 3 = 1.1 and more at the start: it does learn
    uint64_t state = state_digest(&exact, c);
    need_same(c, state);
    need_same(c, h);
    if (c->rank == 0)
        printf("train %016" PRIx64 " %016" PRIx64 " loss %.17g\n", state, h, loss);
}

/* A gpt tells while its backward pass goes on how far its gradient is. */
enum { GPT_CONTEXT = 6, GPT_RECORDS = 2, GPT_VOCAB = 13, GPT_STEPS = 4 };

struct gpt_text {
    int32_t tokens[LEAVES][GPT_RECORDS * GPT_CONTEXT], labels[LEAVES][GPT_RECORDS * GPT_CONTEXT];
};

static void gpt_open(struct training *t, struct comm *c, struct device *d, size_t bucket)
{
    struct err e = ERR_INIT;
    const struct model_config mc = { .width = 8,
                                     .layers = 3,
                                     .heads = 2,
                                     .context = GPT_CONTEXT,
                                     .classes = GPT_VOCAB,
                                     .dropout = 0.1,
                                     .records_max = GPT_RECORDS,
                                     .slices = LEAVES };
    const struct step_config sc = { .seed = 5,
                                    .leaves = LEAVES,
                                    .exact = true,
                                    .bucket = bucket,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .epsilon = 1e-8 };
    need(!model_open("gpt", &mc, d, &t->model, &e), e);
    need(!step_open(&sc, t->model, c, &t->step, &e), e);
}

static void fill_gpt_leaves(struct training *t, struct gpt_text *text, struct slice_range own, int64_t step)
{
    for (size_t i = 0; i < own.count; i++) {
        uint64_t key = rng_key(rng_key(99, (uint64_t)step), own.first + i);
        for (size_t at = 0; at < GPT_RECORDS * GPT_CONTEXT; at++) {
            text->tokens[i][at] = (int32_t)rng_below(key, at, GPT_VOCAB);
            text->labels[i][at] = (int32_t)rng_below(key, 1000 + at, GPT_VOCAB);
        }
        size_t n = rng_below(key, 5000, GPT_RECORDS + 1); /* some have none */
        t->batches[i] = (struct batch){
            .n = n, .tokens = text->tokens[i], .labels = text->labels[i], .length = GPT_CONTEXT
        };
    }
}

static uint64_t train_gpt(struct comm *c, struct device *d, size_t bucket)
{
    struct err e = ERR_INIT;
    CLEANUP(training_done) struct training t = { 0 };
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);
    struct gpt_text text;
    struct step_result r = { 0 };

    gpt_open(&t, c, d, bucket);
    for (int64_t step = 1; step <= GPT_STEPS; step++) {
        fill_gpt_leaves(&t, &text, own, step);
        struct step_input in = { .step = step, .lr = 0.01, .leaves = t.batches };
        need(!step_run(t.step, &in, &r, &e), e);
    }
    uint64_t h = digest(state_digest(&t, c), &r.loss, sizeof(r.loss));
    need_same(c, h);
    return h;
}

static void buckets_are_exact(struct comm *c, struct device *d)
{
    static const size_t buckets[] = { 1, 7, 300, 1 << 20 };
    struct err e = ERR_INIT;
    uint64_t h = train_gpt(c, d, 0);

    for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
        need(train_gpt(c, d, buckets[i]) == h, e);
    if (c->rank == 0)
        printf("gpt %016" PRIx64 "\n", h);
}

/* What a device says once, at the nth call of device_sync() from now on; 0: nothing. */
static int syncs, fail_at;
static enum err_code sync_fails(struct device *d, struct err *e)
{
    (void)d;
    return ++syncs == fail_at ? err_set(e, ERR_DEVICE, "the card fell off") : OK;
}

/* Of the last rank's device, whenever it is noticed before the update: all ranks return it, none goes on.
 * Behind it that rank knows of it alone, and can do no more with the others. */
static void a_device_s_failure_belongs_to_all(struct comm *c, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(training_done) struct training t = { 0 };
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);
    struct device_ops ops = *d->ops;
    const struct device_ops *before = d->ops;
    struct gpt_text text;
    struct step_result r = { 0 };

    ops.sync = sync_fails;
    gpt_open(&t, c, d, 300);
    fill_gpt_leaves(&t, &text, own, 3);
    struct step_input in = { .step = 3, .lr = 0.01, .leaves = t.batches };
    d->ops = &ops;
    syncs = fail_at = 0;
    need(!step_run(t.step, &in, &r, &e), e);
    int most = syncs;
    need(!comm_broadcast(c, &most, sizeof(most), c->size - 1, &e) && most > 2, e);
    for (int at = 1; at < most; at++) { /* the last one is behind the update */
        uint64_t state = state_digest(&t, c);
        syncs = 0;
        fail_at = c->rank == c->size - 1 ? at : 0;
        need(step_run(t.step, &in, &r, &e) == ERR_DEVICE && strstr(e.text, "the card fell off"), e);
        need(state_digest(&t, c) == state, e);
        err_clear(&e);
    }
    syncs = 0;
    fail_at = c->rank == c->size - 1 ? most : 0;
    bool alone = fail_at > 0;
    need(step_run(t.step, &in, &r, &e) == (alone ? ERR_DEVICE : OK) && c->broken == alone, e);
    c->broken = false; /* made up: nothing is wrong with it */
    d->ops = before;
}

/* One rank's broken record is everybody's error, in the same words; after it training goes on. */
static void a_failure_belongs_to_all(struct comm *c, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(training_done) struct training t = { 0 };
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);
    struct step_result r = { 0 };

    training_open(&t, c, d, true, 500);
    uint64_t before = state_digest(&t, c);
    fill_leaves(&t, own, 2);
    for (size_t i = 0; i < own.count; i++) {
        t.batches[i].n = 1;
        t.labels[i][0] = own.first + i == 5 ? 3 : 0; // leaf 5 alone has a label that is no class
    }
    struct step_input in = { .step = 2, .lr = 0.01, .leaves = t.batches };
    need(step_run(t.step, &in, &r, &e) == ERR_USAGE, e);
    need(strstr(e.text, "step 2") && strstr(e.text, "leaf 5") && strstr(e.text, "label 3"), e);
    need_same(c, digest(digest_start, e.text, strlen(e.text)));
    for (size_t i = 0; i < own.count; i++) {
        t.labels[i][0] = 0;
        if (own.first + i == 6)
            t.features[i][4] = NAN;
    }
    need(!step_run(t.step, &in, &r, &e), e);
    need(r.diverged && strstr(r.why, "step 2: the loss of leaf 6 is"), e);
    need(state_digest(&t, c) == before, e);
}

static void ranks_agree(struct comm *c)
{
    struct err e = ERR_INIT;
    CLEANUP(comm_parts_done) struct comm_parts parts = { 0 };
    char text[64], want[80];

    need(comm_agree(c, &e) == OK, e);
    if (c->rank >= c->size / 2)
        IGNORE(err_set(&e, ERR_DENIED, "no from %d", c->rank));
    if (c->rank == 0 && c->size > 1)
        IGNORE(err_set(&e, ERR_USAGE, "a smaller code"));
    need(comm_agree(c, &e) == ERR_DENIED, e);
    snprintf(want, sizeof(want), c->size > 1 ? "rank %d: no from %d" : "no from 0", c->size / 2, c->size / 2);
    need(strcmp(e.text, want) == 0, e);
    int n = snprintf(text, sizeof(text), "%.*s", c->rank, "abcdefgh"); // rank r sends r letters
    need(!comm_gather_sized(c, text, (size_t)n, &parts, &e), e);
    for (int r = 0; r < c->size; r++) {
        need(parts.starts[r + 1] - parts.starts[r] == (size_t)r, e);
        need(memcmp(parts.data + parts.starts[r], "abcdefgh", (size_t)r) == 0, e);
    }
    memset(text, c->rank == c->size - 1 ? 'x' : '-', sizeof(text));
    need(!comm_broadcast(c, text, sizeof(text), c->size - 1, &e), e);
    need(text[0] == 'x' && text[63] == 'x', e);
    need(!comm_barrier(c, &e), e);
}

/* All come, however late within the time; then one does not, and rank 0 says which. The others know only that
 * rank 0, which in a trainer has ended them by then, did not answer. */
static void ranks_meet(struct comm *c)
{
    enum { TIME_MS = 5000, LATE_MS = 400 };
    struct err e = ERR_INIT;
    for (int turn = 0; turn < 3; turn++) {
        usleep((useconds_t)((c->rank + turn) % c->size) * 20000);
        need(!comm_meet(c, clock_mono_ms() + TIME_MS, &e), e);
    }
    if (c->size == 1)
        return;
    if (c->rank == c->size - 1) {
        usleep(2 * LATE_MS * 1000);
    } else {
        char want[64];
        snprintf(want, sizeof(want), "rank %d missed the deadline", c->rank == 0 ? c->size - 1 : 0);
        need(comm_meet(c, clock_mono_ms() + LATE_MS, &e) == ERR_RETRY && c->broken &&
                 strcmp(e.text, want) == 0,
             e);
        c->broken = false; /* they can talk here, all the same: the last one only came too late */
    }
    need(!comm_barrier(c, &e), e);
}

/* With the argument "late": the last rank hangs before a sum whose time is limited. The others wait in the
 * midst of it, some for ranks that wait themselves; rank 0 finds out who it is, and ends them all. */
static void a_rank_hangs(struct comm *c, struct device *d)
{
    enum { TIME_MS = 300 };
    struct err e = ERR_INIT;
    void *sum = NULL;

    need(!device_alloc(d, SUM_FLOATS, sizeof(float), &sum, &e), e);
    comm_until(c, clock_mono_ms() + 60000);
    need(!comm_sum_scatter(c, sum, SUM_FLOATS, &e) && !comm_spread(c, sum, SUM_FLOATS, &e), e); /* in time */
    need_same(c, digest(digest_start, sum, SUM_FLOATS * sizeof(float)));
    if (c->rank == c->size - 1)
        pause();
    comm_until(c, clock_mono_ms() + TIME_MS);
    need(comm_sum_scatter(c, sum, SUM_FLOATS, &e) == ERR_RETRY && c->broken, e);
    printf("rank %d: %s\n", c->rank, e.text);
    fflush(stdout);
    if (c->rank == 0)
        comm_abort(c, 1);
    pause();
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(comm_closep) struct comm *c = NULL;

    need(!device_open("cpu", &d, &e), e);
    if (argc > 1 && strcmp(argv[1], "self") == 0)
        c = comm_self_new();
    else
        need(!comm_mpi_open(&argc, &argv, &c, &e), e);
    need(c->size <= LEAVES, e);
    if (argc > 1 && strcmp(argv[1], "late") == 0)
        a_rank_hangs(c, d);
    sum_is_exact(c, d);
    training_is_exact(c, d);
    buckets_are_exact(c, d);
    a_failure_belongs_to_all(c, d);
    a_device_s_failure_belongs_to_all(c, d);
    ranks_agree(c);
    ranks_meet(c);
    return 0;
}
