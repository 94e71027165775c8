/*
 * test_nccl.c - sums from card to card beside the same by MPI, for tests/system/test_nccl.sh to run under
 * mpirun: on emulated devices over a stand-in for NCCL (tests/emulate/), and by tests/gpu/run.sh on a card,
 * over NCCL itself, as one rank without MPI ("self").
 *
 * A broken promise ends the program with status 1 and a sentence. Other arguments are failures on the way,
 * each made by the stand-in or by the last rank: the program prints what comm_nccl says of it.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "trainer/comm_nccl.h"
#include "trainer/step.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEAVES = 4, FLOATS = LEAVES * 1733, PIECE = 500, INIT_MS = 20 * 1000, SHORT_MS = 300 };
enum { WIDTH = 5, CLASSES = 3, RECORDS = 3, STEPS = 2, CONTEXT = 4, VOCABULARY = 11 };

static void need_at(bool holds, const char *what, const char *detail, int line)
{
    if (holds)
        return;
    fprintf(stderr, "test_nccl.c:%d: not so: %s (%s)\n", line, what, detail);
    exit(1);
}
#define need(cond, e) need_at((cond), #cond, (e).text, __LINE__)

static struct comm *open_nccl(struct comm *under, struct device *d)
{
    const struct comm_nccl_config config = { .init_ms = INIT_MS, .piece_floats = PIECE };
    struct err e = ERR_INIT;
    struct comm *c = NULL;
    need(!comm_nccl_open(under, d, &config, &c, &e), e);
    need(c->on_device && c->size == under->size && strcmp(c->ops->name, "nccl") == 0, e);
    return c;
}

/* ---- sums ---- */

/* Numbers of very different size: what is lost depends on the order. */
static float given(int rank, size_t i)
{
    float x = rng_f32(rng_key(7, (uint64_t)rank), i) - 0.5f;
    return ldexpf(x, (int)rng_below(rng_key(8, (uint64_t)rank), i, 24));
}

/* The same numbers on the host, for MPI, and on the device, for NCCL. */
struct pair {
    struct comm *mpi, *nccl;
    struct device *d;
    float *host, *dev, *got;
    size_t own_first, own_count; /* this rank's part */
};

static void pair_open(struct pair *p, struct comm *mpi, struct comm *nccl, struct device *d)
{
    struct err e = ERR_INIT;
    *p = (struct pair){ .mpi = mpi, .nccl = nccl, .d = d, .own_count = FLOATS / (size_t)mpi->size };
    p->own_first = slices_of_rank(mpi->rank, mpi->size, (size_t)mpi->size).first * p->own_count;
    p->host = mem_array(FLOATS, sizeof(float));
    p->got = mem_array(FLOATS, sizeof(float));
    need(!device_alloc(d, FLOATS, sizeof(float), (void **)&p->dev, &e), e);
}

static void pair_done(struct pair *p)
{
    device_free(p->d, p->dev);
    free(p->host);
    free(p->got);
}

static void pair_fill(struct pair *p)
{
    for (size_t i = 0; i < FLOATS; i++)
        p->host[i] = given(p->mpi->rank, i);
    device_put(p->d, p->dev, p->host, FLOATS * sizeof(float));
}

static void need_equal(struct pair *p, size_t first, size_t count)
{
    struct err e = ERR_INIT;
    device_get(p->d, p->got, p->dev, FLOATS * sizeof(float));
    need(!device_sync(p->d, &e), e);
    need(memcmp(p->got + first, p->host + first, count * sizeof(float)) == 0, e);
}

static const size_t ends[] = { 0, 1, 1733, 1733, 1800, 4000, FLOATS - 3, FLOATS };
static const size_t order[] = { 6, 0, 3, 1, 5, 2, 4 };

static void exact_sums_have_mpis_bits(struct comm *mpi, struct comm *nccl, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(pair_done) struct pair p;

    pair_open(&p, mpi, nccl, d);
    for (int round = 0; round < 2; round++) {
        pair_fill(&p);
        need(!comm_sum_scatter(mpi, p.host, FLOATS, &e), e);
        need(!comm_sum_scatter(nccl, p.dev, FLOATS, &e), e);
        need_equal(&p, p.own_first, p.own_count);
        need(!comm_spread(mpi, p.host, FLOATS, &e) && !comm_spread(nccl, p.dev, FLOATS, &e), e);
        need_equal(&p, 0, FLOATS);
    }
    pair_fill(&p);
    need(!comm_sum_scatter(mpi, p.host, FLOATS, &e), e);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        size_t from = ends[order[i]], to = ends[order[i] + 1];
        need(!comm_sum_scatter_range(nccl, p.dev, FLOATS, from, to - from, &e), e);
    }
    need(!comm_finish(nccl, &e), e);
    need_equal(&p, p.own_first, p.own_count);
}

static void fast_sums_are_near(struct comm *mpi, struct comm *nccl, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(pair_done) struct pair p;

    pair_open(&p, mpi, nccl, d);
    for (int in_ranges = 0; in_ranges < 2; in_ranges++) {
        pair_fill(&p);
        need(!comm_sum_scatter(mpi, p.host, FLOATS, &e), e);
        if (!in_ranges)
            need(!comm_sum_fast(nccl, p.dev, FLOATS, &e), e);
        for (size_t i = 0; in_ranges && i < ARRAY_LEN(order); i++) {
            size_t from = ends[order[i]], to = ends[order[i] + 1];
            need(!comm_sum_fast_range(nccl, p.dev, FLOATS, from, to - from, &e), e);
        }
        need(!comm_finish(nccl, &e), e);
        device_get(d, p.got, p.dev, FLOATS * sizeof(float));
        for (size_t i = p.own_first; i < p.own_first + p.own_count; i++)
            need(fabsf(p.got[i] - p.host[i]) <= 8, e); // 24 bits of spread: a few units of 2^24 * 2^-23
    }
}

/* One rank has no partner but itself: so that messages, pieces and the addition are tried on one card, too.
 */
static void a_rank_may_be_its_own_partner(struct comm *nccl, struct device *d)
{
    enum { COUNT = 3 * PIECE + 7 };
    struct err e = ERR_INIT;
    CLEANUP(pair_done) struct pair p;
    float *other = NULL;

    pair_open(&p, nccl->under, nccl, d);
    pair_fill(&p);
    need(!device_alloc(d, COUNT, sizeof(float), (void **)&other, &e), e);
    for (int turn = 0; turn < 2; turn++) {
        const struct comm_swap s = { .partner = nccl->rank,
                                     .send = p.dev,
                                     .send_count = COUNT,
                                     .into = other,
                                     .into_count = COUNT,
                                     .add = turn > 0 };
        need(!nccl->ops->swap(nccl, &s, &e) && !comm_finish(nccl, &e), e);
        device_get(d, p.got, other, COUNT * sizeof(float));
        need(!device_sync(d, &e), e);
        for (size_t i = 0; i < COUNT; i++)
            need(p.got[i] == (float)(turn + 1) * p.host[i], e);
    }
    device_free(d, other);
}

/* ---- steps ---- */

struct training {
    const char *kind;
    bool exact;
    size_t bucket;
};

static const struct model_config *config_of(const char *kind)
{
    static const struct model_config mlp = { .width = WIDTH,
                                             .hidden = { 8 },
                                             .hidden_count = 1,
                                             .classes = CLASSES,
                                             .dropout = 0.2,
                                             .records_max = RECORDS,
                                             .slices = LEAVES };
    static const struct model_config gpt = { .width = 8,
                                             .layers = 2,
                                             .heads = 2,
                                             .context = CONTEXT,
                                             .classes = VOCABULARY,
                                             .records_max = RECORDS,
                                             .slices = LEAVES };
    return strcmp(kind, "mlp") == 0 ? &mlp : &gpt;
}

struct leaf {
    float features[RECORDS * WIDTH];
    int32_t labels[RECORDS * CONTEXT], tokens[RECORDS * CONTEXT];
};

static struct batch fill_leaf(struct leaf *l, const char *kind, uint64_t key)
{
    bool rows = strcmp(kind, "mlp") == 0;
    for (size_t i = 0; i < RECORDS * WIDTH; i++)
        l->features[i] = (float)rng_normal(key, i);
    for (size_t i = 0; i < RECORDS * CONTEXT; i++) {
        l->tokens[i] = (int32_t)rng_below(key, 1000 + i, VOCABULARY);
        l->labels[i] = (int32_t)rng_below(key, 2000 + i, rows ? CLASSES : VOCABULARY);
    }
    return (struct batch){ .n = 1 + rng_below(key, 3000, RECORDS),
                           .features = rows ? l->features : NULL,
                           .labels = l->labels,
                           .tokens = rows ? NULL : l->tokens,
                           .length = rows ? 0 : CONTEXT };
}

/* The parameters after some steps, which the caller gives back. */
static float *train(struct comm *c, struct device *d, const struct training *t, size_t *out_bytes,
                    double *out_loss)
{
    struct err e = ERR_INIT;
    CLEANUP(model_closep) struct model *model = NULL;
    CLEANUP(step_closep) struct step *step = NULL;
    const struct step_config config = { .seed = 5,
                                        .leaves = LEAVES,
                                        .exact = t->exact,
                                        .bucket = t->bucket,
                                        .weight_decay = 0.01,
                                        .beta1 = 0.9,
                                        .beta2 = 0.999,
                                        .epsilon = 1e-8,
                                        .clip = 0.5 };
    struct slice_range own = leaves_of_rank(c->rank, c->size, LEAVES);
    CLEANUP(freep) struct leaf *leaves = mem_array(LEAVES, sizeof(*leaves));
    struct batch batches[LEAVES];
    struct step_result r = { 0 };

    need(!model_open(t->kind, config_of(t->kind), d, &model, &e), e);
    need(!step_open(&config, model, c, &step, &e), e);
    for (int64_t n = 1; n <= STEPS; n++) {
        for (size_t i = 0; i < own.count; i++)
            batches[i] = fill_leaf(&leaves[i], t->kind, rng_key(rng_key(77, (uint64_t)n), own.first + i));
        const struct step_input in = { .step = n, .lr = 0.01, .leaves = batches, .compare = t->exact };
        need(!step_run(step, &in, &r, &e), e);
        need(!r.diverged && r.norm > 0, e);
    }
    *out_loss = r.loss;
    *out_bytes = model->params.padded * sizeof(float);
    float *params = mem_new(*out_bytes);
    memcpy(params, step_params(step), *out_bytes);
    return params;
}

static void steps_have_mpis_bits(struct comm *mpi, struct comm *nccl, struct device *d)
{
    static const struct training ways[] = { { "mlp", true, 0 },  { "mlp", true, 37 },  { "gpt", true, 0 },
                                            { "gpt", true, 97 }, { "gpt", false, 97 }, { "mlp", false, 0 } };
    struct err e = ERR_INIT;

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        size_t bytes = 0, bytes_mpi = 0;
        double loss = 0, loss_mpi = 0;
        CLEANUP(freep) float *by_nccl = train(nccl, d, &ways[i], &bytes, &loss);
        CLEANUP(freep) float *by_mpi = train(mpi, d, &ways[i], &bytes_mpi, &loss_mpi);
        need(bytes == bytes_mpi, e);
        if (ways[i].exact)
            need(memcmp(by_nccl, by_mpi, bytes) == 0 && loss == loss_mpi, e);
        else
            need(fabs(loss - loss_mpi) < 1e-3, e);
        for (size_t k = 0; k < bytes / sizeof(float); k++)
            need(fabsf(by_nccl[k] - by_mpi[k]) < 1e-3f, e);
    }
}

static void say(const struct comm *c, const char *what)
{
    if (c->rank == 0)
        printf("ok - %d ranks: %s\n", c->size, what);
}

static void all_is_as_by_mpi(struct comm *mpi, struct device *d)
{
    struct err e = ERR_INIT;
    CLEANUP(comm_closep) struct comm *c = open_nccl(mpi, d);

    a_rank_may_be_its_own_partner(c, d);
    say(c, "messages to itself");
    exact_sums_have_mpis_bits(mpi, c, d);
    say(c, "exact sums");
    fast_sums_are_near(mpi, c, d);
    say(c, "fast sums");
    steps_have_mpis_bits(mpi, c, d);
    say(c, "steps");
    comm_until(c, clock_mono_ms() + INIT_MS); /* with a deadline, which is kept */
    need(mpi->until_ms == c->until_ms, e);
    exact_sums_have_mpis_bits(mpi, c, d);
    comm_until(c, 0);
    need(!comm_barrier(c, &e) && !c->broken && !mpi->broken, e);
}

/* Taken where it can be had; else the host's way, and the reason. */
static void say_what_is_taken(struct comm *mpi, struct device *d, const struct network_pins *pins)
{
    char note[COMM_NOTE_BYTES];
    struct err e = ERR_INIT;
    CLEANUP(comm_closep) struct comm *c = NULL;

    need(!comm_for_device(mpi, d, pins, &c, note, &e), e);
    need(!mpi->broken, e);
    if (mpi->rank == 0)
        printf("%s: %s\n", c ? c->ops->name : mpi->ops->name, note);
}

/* Interfaces that the policy's networks would give: what NCCL is told then. */
static void say_what_is_pinned(struct comm *mpi, struct device *d)
{
    static const char *const told[] = { "NCCL_SOCKET_IFNAME", "NCCL_SOCKET_FAMILY", "NCCL_IB_HCA",
                                        "NCCL_IB_DISABLE", "NCCL_NET_PLUGIN" };
    const struct network_pins pins = { .at = { { .interface = "eth1" }, { .interface = "eth2" } },
                                       .count = 2,
                                       .family = AF_INET,
                                       .adapters = { "mlx5_0:1" },
                                       .adapter_count = mpi->size > 2 ? 1 : 0 };
    say_what_is_taken(mpi, d, &pins);
    for (size_t i = 0; i < ARRAY_LEN(told) && mpi->rank == 0; i++)
        printf("%s%s=%s", i ? " " : "", told[i], getenv(told[i]) ? getenv(told[i]) : "");
    if (mpi->rank == 0)
        printf("\n");
}

/* ---- failures ---- */

static _Noreturn void say_and_end(struct comm *c, const struct err *e)
{
    need(e->code == ERR_RETRY && c->broken, *e);
    printf("rank %d: %s\n", c->rank, e->text);
    fflush(stdout);
    usleep(c->rank == 0 ? SHORT_MS * 1000 : 0); /* for the others' words */
    if (c->rank == 0)
        comm_abort(c, 1);
    pause();
    _exit(1);
}

/* An exchange that one rank, or the stand-in, keeps from its end: it is told within the time that was given.
 */
static _Noreturn void an_exchange_fails(struct comm *mpi, struct device *d, bool hangs)
{
    struct err e = ERR_INIT;
    struct comm *c = open_nccl(mpi, d);
    struct pair p;

    pair_open(&p, mpi, c, d);
    pair_fill(&p);
    if (hangs && c->rank == c->size - 1)
        pause();
    int64_t began_ms = clock_mono_ms();
    comm_until(mpi, began_ms + SHORT_MS); /* by whoever has the one below */
    need(comm_sum_scatter(c, p.dev, FLOATS, &e) == ERR_RETRY, e);
    need(mpi->broken && clock_mono_ms() - began_ms < 15 * 1000, e);
    struct err again = ERR_INIT;
    need(comm_sum_scatter(c, p.dev, FLOATS, &again) == ERR_RETRY, again); /* and not for ever */
    say_and_end(c, &e);
}

static _Noreturn void it_never_connects(struct comm *mpi, struct device *d)
{
    const struct comm_nccl_config config = { .init_ms = SHORT_MS, .piece_floats = PIECE };
    struct err e = ERR_INIT;
    struct comm *c = NULL;
    need(comm_nccl_open(mpi, d, &config, &c, &e) == ERR_RETRY && !c, e);
    say_and_end(mpi, &e);
}

int main(int argc, char **argv)
{
    struct err e = ERR_INIT;
    CLEANUP(device_closep) struct device *d = NULL;
    CLEANUP(comm_closep) struct comm *c = NULL;
    const char *what = argc > 1 ? argv[1] : "all";

    need(!device_open("cuda", &d, &e), e);
    if (strcmp(what, "self") == 0)
        c = comm_self_new();
    else
        need(!comm_mpi_open(&argc, &argv, &c, &e), e);
    need(c->size <= LEAVES, e);
    if (strcmp(what, "late") == 0 || strcmp(what, "broken") == 0)
        an_exchange_fails(c, d, strcmp(what, "late") == 0);
    if (strcmp(what, "lonely") == 0)
        it_never_connects(c, d);
    if (strcmp(what, "taken") == 0)
        say_what_is_taken(c, d, NULL);
    else if (strcmp(what, "pinned") == 0)
        say_what_is_pinned(c, d);
    else
        all_is_as_by_mpi(c, d);
    return 0;
}
