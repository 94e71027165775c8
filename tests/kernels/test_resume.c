/*
 * A checkpoint that one device made is gone on with by the other: made by trainer/saver.c and read by
 * trainer/checkpoint.c as in a job, with a bucket in memory. The CPU, in fp32, beside each device in each of
 * its precisions.
 *
 * The same device goes on to the same bits. Another goes on to its own rounding: its losses behind the resume
 * are near those of steps that nobody interrupted, on either device.
 */
#include "tests/kernels/run.h"
#include "trainer/saver.h"

#include <stdio.h>

enum { LEAVES = 2, CONTEXT = 24, VOCAB = 53, HALF = 3, STEPS = 2 * HALF };

/* A job's attempts, one after the other; each on the device that it is begun with. */
struct small {
    struct attempt_doc doc;
    struct signer signer;
    struct store *store;
    struct comm *comm;
    struct checkpoint_place place;
    struct device *device;
    struct model *model;
    struct step *step;
    double loss[STEPS + 1]; // by the number of the step
};

static void small_open(struct small *j)
{
    static const char seed[] = "ssssSSSSssssSSSSssssSSSSssssSSSS", key[] = "kkkkKKKKkkkkKKKKkkkkKKKKkkkkKKKK";
    CLEANUP(secret_freep) struct secret *signing = secret_new(seed, strlen(seed));
    struct attempt_doc *d = &j->doc;
    struct err e = ERR_INIT;

    *j = (struct small){ .doc = { .cluster = "c",
                                  .region = "r",
                                  .job = "261122-k3m9qz",
                                  .attempt = 1,
                                  .token = 7,
                                  .wrapped_key = "{}",
                                  .models.place = { .kind = STORE_MEM, .bucket = "models" } } };
    memset(d->dataset_digest, 'a', 64);
    memset(d->spec_digest, 'b', 64);
    d->data_key = secret_new(key, strlen(key));
    d->spec.train.leaves = LEAVES;
    d->spec.checkpoint.keep = 1;
    assert_ok(store_open(&d->models.place, NULL, &j->store, &e));
    assert_ok(signer_from_seed(signing, &j->signer, &e));
    j->comm = comm_self_new();
    j->place = (struct checkpoint_place){
        .doc = d, .store = j->store, .signer = &j->signer, .prefix = "gpt", .began_ms = INT64_MAX
    };
}

static void small_leave(struct small *j)
{
    step_close(TAKE(j->step));
    model_close(TAKE(j->model));
    device_close(TAKE(j->device));
}

static void small_done(struct small *j)
{
    small_leave(j);
    comm_close(j->comm);
    store_close(j->store);
    signer_done(&j->signer);
    attempt_doc_done(&j->doc);
}

/* `blank`: its parameters come from a checkpoint. */
static void small_enter(struct small *j, const char *device, enum device_precision precision, bool blank)
{
    static const struct model_config gpt = { .layers = 2,
                                             .heads = 2,
                                             .width = 16,
                                             .context = CONTEXT,
                                             .classes = VOCAB,
                                             .dropout = 0.1,
                                             .records_max = 1,
                                             .slices = LEAVES };
    const struct step_config config = { .seed = 7,
                                        .blank = blank,
                                        .leaves = LEAVES,
                                        .exact = true,
                                        .weight_decay = 0.1,
                                        .beta1 = 0.9,
                                        .beta2 = 0.95,
                                        .epsilon = 1e-8,
                                        .clip = 1 };
    struct err e = ERR_INIT;

    small_leave(j);
    assert_ok(device_open(device, &j->device, &e));
    assert_ok(device_use_precision(j->device, precision, &e));
    assert_ok(model_open("gpt", &gpt, j->device, &j->model, &e));
    assert_ok(step_open(&config, j->model, j->comm, &j->step, &e));
}

/* A text that can be learned: each token follows from the one before. */
static void train(struct small *j, int64_t from, int64_t to)
{
    int32_t tokens[LEAVES][CONTEXT], labels[LEAVES][CONTEXT];
    struct batch leaves[LEAVES];
    struct step_result r;
    struct err e = ERR_INIT;

    for (int64_t step = from; step <= to; step++) {
        for (int leaf = 0; leaf < LEAVES; leaf++) {
            int32_t token = (int32_t)((step * LEAVES + leaf) * 17 % VOCAB);
            for (int t = 0; t < CONTEXT; t++) {
                tokens[leaf][t] = token;
                labels[leaf][t] = token = (token * 5 + 3) % VOCAB;
            }
            leaves[leaf] =
                (struct batch){ .n = 1, .length = CONTEXT, .tokens = tokens[leaf], .labels = labels[leaf] };
        }
        const struct step_input in = { .step = step, .lr = 1e-2, .leaves = leaves };
        assert_ok(step_run(j->step, &in, &r, &e));
        assert_false(r.diverged);
        j->loss[step] = r.loss;
    }
}

static void save(struct small *j)
{
    struct err e = ERR_INIT;
    CLEANUP(saver_closep) struct saver *s = NULL;
    struct saver_result r;

    assert_ok(saver_open(&j->place, j->comm, j->step, false, &s, &e));
    saver_begin(s, HALF, json_object(), 0);
    assert_ok(saver_finish(s, &r, &e));
    assert_true(r.committed);
}

static void none_rejected(void *context, const char *manifest_key, const char *why)
{
    (void)context;
    fail_msg("%s: %s", manifest_key, why);
}

static void find(struct small *j, struct artifact *out)
{
    struct err e = ERR_INIT;
    size_t passed_over = 0;
    bool found = false;

    assert_ok(checkpoint_find(&j->place, j->comm, "", &found, out, &passed_over, none_rejected, NULL, &e));
    assert_true(found);
    assert_int_equal(out->step, HALF);
}

static void restore(struct small *j)
{
    struct err e = ERR_INIT;
    CLEANUP(artifact_done) struct artifact a = { 0 };

    find(j, &a);
    assert_ok(checkpoint_restore(&j->place, j->comm, &a, j->step, &e));
}

/* What is left of a run: its losses, and the parameters and moments at its end. */
struct trace {
    double loss[STEPS + 1];
    struct buf state;
};

static void trace_take(struct small *j, struct trace *out)
{
    memcpy(out->loss, j->loss, sizeof(out->loss));
    out->state = (struct buf)BUF_INIT(1 << 24);
    for (size_t i = 0; i < LEAVES; i++) {
        const struct step_slice s = step_slice(j->step, i);
        buf_add(&out->state, s.params, s.count * sizeof(float));
        buf_add(&out->state, s.moment1, s.count * sizeof(float));
        buf_add(&out->state, s.moment2, s.count * sizeof(float));
    }
}

static void trace_done(struct trace *t)
{
    buf_done(&t->state);
}

/* Once for each device and precision, as emulated steps are slow: all the steps, with a checkpoint on the
 * way, by the CPU and by the device. */
struct both {
    struct small cpu, device;
    struct trace cpu_half, cpu_whole, device_half, device_whole;
};

static void go_through(struct small *j, const char *device, enum device_precision precision,
                       struct trace *out_half, struct trace *out_whole)
{
    small_open(j);
    small_enter(j, device, precision, false);
    train(j, 1, HALF);
    trace_take(j, out_half);
    save(j);
    train(j, HALF + 1, STEPS);
    trace_take(j, out_whole);
}

static int begin(void **state)
{
    struct both *b = mem_new(sizeof(*b));
    go_through(&b->cpu, "cpu", DEVICE_FP32, &b->cpu_half, &b->cpu_whole);
    go_through(&b->device, run_device, run_precision, &b->device_half, &b->device_whole);
    *state = b;
    return 0;
}

static int end(void **state)
{
    struct both *b = *state;
    small_done(&b->cpu);
    small_done(&b->device);
    trace_done(&b->cpu_half);
    trace_done(&b->cpu_whole);
    trace_done(&b->device_half);
    trace_done(&b->device_whole);
    free(b);
    return 0;
}

/* From the job's checkpoint, on whichever device. */
static void go_on(struct small *j, const char *device, enum device_precision precision, struct trace *out)
{
    small_enter(j, device, precision, true);
    restore(j);
    train(j, HALF + 1, STEPS);
    trace_take(j, out);
}

static void assert_same_bits(const struct trace *got, const struct trace *want)
{
    assert_int_equal(got->state.len, want->state.len);
    assert_memory_equal(got->state.data, want->state.data, want->state.len);
}

/* What the losses behind the resume may be apart, as a share. What the halves in front may differ is in it,
 * too. */
static const double most[] = { [DEVICE_FP32] = 1e-5, [DEVICE_TF32] = 5e-3, [DEVICE_BF16] = 5e-3 };

static double losses_apart(const struct trace *got, const struct trace *want)
{
    double worst = 0;
    for (int step = HALF + 1; step <= STEPS; step++)
        worst = fmax(worst, fabs(got->loss[step] / want->loss[step] - 1));
    return worst;
}

static void assert_near_losses(const struct trace *got, const struct trace *want)
{
    double worst = losses_apart(got, want);
    print_message("# losses are %.2g apart, as a share; allowed are %.2g\n", worst, most[run_precision]);
    assert_true(worst <= most[run_precision]);
}

/* ---- tests ---- */

static void the_same_device_goes_on_to_the_same_bits(void **state)
{
    struct both *b = *state;
    CLEANUP(trace_done) struct trace again = { .state = BUF_INIT(0) };
    go_on(&b->device, run_device, run_precision, &again);
    assert_same_bits(&again, &b->device_whole);
    for (int step = HALF + 1; step <= STEPS; step++)
        assert_true(again.loss[step] == b->device_whole.loss[step]);
    assert_true(b->device_whole.loss[STEPS] < b->device_whole.loss[1]);
}

static void what_the_cpu_saved_the_device_goes_on_with(void **state)
{
    struct both *b = *state;
    CLEANUP(trace_done) struct trace over = { .state = BUF_INIT(0) };
    go_on(&b->cpu, run_device, run_precision, &over);
    assert_near_losses(&over, &b->cpu_whole);
    assert_near_losses(&over, &b->device_whole);
}

static void what_the_device_saved_the_cpu_goes_on_with(void **state)
{
    struct both *b = *state;
    CLEANUP(trace_done) struct trace over = { .state = BUF_INIT(0) };
    go_on(&b->device, "cpu", DEVICE_FP32, &over);
    assert_near_losses(&over, &b->cpu_whole);
    assert_near_losses(&over, &b->device_whole);
}

/* So that "near" says something: without the moments, or from the beginning, they would not be. */
static void what_is_lost_would_show(void **state)
{
    struct both *b = *state;
    CLEANUP(trace_done) struct trace without = { .state = BUF_INIT(0) };
    CLEANUP(trace_done) struct trace fresh = { .state = BUF_INIT(0) };
    small_enter(&b->cpu, "cpu", DEVICE_FP32, true);
    restore(&b->cpu);
    for (size_t i = 0; i < LEAVES; i++) {
        const struct step_slice s = step_slice(b->cpu.step, i);
        memset(s.moment1, 0, s.count * sizeof(float));
        memset(s.moment2, 0, s.count * sizeof(float));
    }
    train(&b->cpu, HALF + 1, STEPS);
    trace_take(&b->cpu, &without);
    small_enter(&b->cpu, "cpu", DEVICE_FP32, false);
    train(&b->cpu, HALF + 1, STEPS);
    trace_take(&b->cpu, &fresh);
    print_message("# without moments %.2g apart, from the beginning %.2g\n",
                  losses_apart(&without, &b->cpu_whole), losses_apart(&fresh, &b->cpu_whole));
    assert_true(losses_apart(&without, &b->cpu_whole) > 2 * most[run_precision]);
    assert_true(losses_apart(&fresh, &b->cpu_whole) > 2 * most[run_precision]);
}

/* A safetensors file begins with its header: the names, kinds, shapes and places of what follows. */
static size_t header_bytes(const struct buf *part)
{
    uint64_t n = 0;
    assert_true(part->len > sizeof(n));
    memcpy(&n, part->data, sizeof(n));
    assert_true(n < part->len - sizeof(n));
    return sizeof(n) + (size_t)n;
}

static void the_form_is_the_cpus(void **state)
{
    struct both *both = *state;
    CLEANUP(artifact_done) struct artifact a = { 0 };
    CLEANUP(artifact_done) struct artifact b = { 0 };
    struct err e = ERR_INIT;
    find(&both->cpu, &a);
    find(&both->device, &b);
    assert_int_equal(a.part_count, b.part_count);
    for (size_t i = 0; i < a.part_count; i++) {
        CLEANUP(buf_done) struct buf by_cpu = BUF_INIT(1 << 24);
        CLEANUP(buf_done) struct buf by_device = BUF_INIT(1 << 24);
        assert_ok(artifact_get_part(both->cpu.store, both->cpu.doc.data_key, &a, i, &by_cpu, &e));
        assert_ok(artifact_get_part(both->device.store, both->device.doc.data_key, &b, i, &by_device, &e));
        assert_int_equal(by_cpu.len, by_device.len);
        assert_memory_equal(by_cpu.data, by_device.data, header_bytes(&by_cpu));
        assert_non_null(memmem(by_cpu.data, header_bytes(&by_cpu), "\"F32\"", 5));
    }
}

/* To the CPU and back, without a step between: nothing is lost on the way. The last, as it saves anew. */
static void what_was_saved_comes_back_to_the_bit_by_the_other_device(void **state)
{
    struct both *b = *state;
    CLEANUP(trace_done) struct trace back = { .state = BUF_INIT(0) };
    small_enter(&b->device, "cpu", DEVICE_FP32, true);
    restore(&b->device);
    b->device.doc.token++;
    save(&b->device);
    small_enter(&b->device, run_device, run_precision, true);
    restore(&b->device);
    trace_take(&b->device, &back);
    assert_same_bits(&back, &b->device_half);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_device_goes_on_to_the_same_bits),
        cmocka_unit_test(what_the_cpu_saved_the_device_goes_on_with),
        cmocka_unit_test(what_the_device_saved_the_cpu_goes_on_with),
        cmocka_unit_test(what_is_lost_would_show),
        cmocka_unit_test(the_form_is_the_cpus),
        cmocka_unit_test(what_was_saved_comes_back_to_the_bit_by_the_other_device),
    };
    return run_in_each_precision(cmocka_run_group_tests_name("resumed elsewhere", tests, begin, end));
}
