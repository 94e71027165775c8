/*
 * gpt_steps.c - training steps of a GPT on one device, as one rank does them, that can be killed and gone on
 * with.
 *
 *     gpt_steps DEVICE PRECISION small|124M STEPS [STATE]
 *
 * A line a step: its number and the loss; at the end the SHA-256 of the parameters. STATE: a file that holds
 * the parameters, the moments and the step's number after each step, replaced whole; where it is there at the
 * start, the steps go on from it. run.sh compares losses of two devices, and bits with and without kill -9.
 */
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "core/crypto/crypto.h"
#include "trainer/step.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LEAVES = 4, CONTEXT_MAX = 256, STATE_BYTES_MAX = 1 << 30 };

struct steps {
    struct model_config config;
    struct device *device;
    struct model *model;
    struct comm *comm;
    struct step *step;
    int32_t tokens[LEAVES][CONTEXT_MAX], labels[LEAVES][CONTEXT_MAX];
    struct batch leaves[LEAVES];
};

static const struct {
    const char *name;
    struct model_config config;
} models[] = {
    { "small", { .layers = 2, .heads = 2, .width = 64, .context = 48, .classes = 211 } },
    { "124M", { .layers = 12, .heads = 12, .width = 768, .context = CONTEXT_MAX, .classes = 50257 } },
};

static enum err_code open_all(struct steps *s, const char *device, const char *precision, const char *model,
                              struct err *e)
{
    struct step_config config = { .seed = 7,
                                  .leaves = LEAVES,
                                  .exact = true,
                                  .weight_decay = 0.1,
                                  .beta1 = 0.9,
                                  .beta2 = 0.95,
                                  .epsilon = 1e-8,
                                  .clip = 1 };
    enum device_precision p = DEVICE_FP32;
    size_t m = 0;

    while (p < DEVICE_PRECISIONS && strcmp(device_precision_names[p], precision) != 0)
        p++;
    while (m < ARRAY_LEN(models) && strcmp(models[m].name, model) != 0)
        m++;
    if (p == DEVICE_PRECISIONS || m == ARRAY_LEN(models))
        return err_set(e, ERR_USAGE, "fp32, tf32 or bf16; small or 124M");
    s->config = models[m].config;
    s->config.records_max = 1;
    s->config.slices = LEAVES;
    s->comm = comm_self_new();
    if (device_open(device, &s->device, e) || device_use_precision(s->device, p, e))
        return e->code;
    device_use_threads(s->device, 16);
    if (model_open("gpt", &s->config, s->device, &s->model, e))
        return e->code;
    return step_open(&config, s->model, s->comm, &s->step, e);
}

/* A text that can be learned: each token follows from the one before, from another beginning in each step. */
static void draw(struct steps *s, int64_t step)
{
    const int32_t classes = (int32_t)s->config.classes;
    for (int leaf = 0; leaf < LEAVES; leaf++) {
        int32_t token = (int32_t)((step * LEAVES + leaf) * 37 % 101);
        for (size_t t = 0; t < s->config.context; t++) {
            s->tokens[leaf][t] = token;
            token = (token * 5 + 3) % 101 % classes;
            s->labels[leaf][t] = token;
        }
        s->leaves[leaf] = (struct batch){
            .n = 1, .length = s->config.context, .tokens = s->tokens[leaf], .labels = s->labels[leaf]
        };
    }
}

/* Each slice's parameters and moments, `pass` to where they go or come from. */
typedef void pass_fn(float *part, size_t bytes, struct buf *state, size_t *io_at);
static size_t pass_state(struct steps *s, struct buf *state, pass_fn *pass)
{
    size_t at = sizeof(int64_t);
    for (size_t i = 0; i < LEAVES; i++) {
        const struct step_slice slice = step_slice(s->step, i);
        float *const parts[] = { slice.params, slice.moment1, slice.moment2 };
        for (size_t p = 0; p < ARRAY_LEN(parts); p++)
            pass(parts[p], slice.count * sizeof(float), state, &at);
    }
    return at;
}

static void to_state(float *part, size_t bytes, struct buf *state, size_t *io_at)
{
    buf_add(state, part, bytes);
    *io_at += bytes;
}

static void from_state(float *part, size_t bytes, struct buf *state, size_t *io_at)
{
    if (*io_at + bytes <= state->len)
        memcpy(part, state->data + *io_at, bytes);
    *io_at += bytes;
}

static enum err_code keep(struct steps *s, const char *path, int64_t step, struct err *e)
{
    CLEANUP(buf_done) struct buf state = BUF_INIT(STATE_BYTES_MAX);
    buf_add(&state, &step, sizeof(step));
    pass_state(s, &state, to_state);
    if (buf_check(&state, "the state", e))
        return e->code;
    return file_write(path, state.data, state.len, 0600, e);
}

/* *out_step: the last one done; 0 where there is no file. */
static enum err_code go_on(struct steps *s, const char *path, int64_t *out_step, struct err *e)
{
    CLEANUP(buf_done) struct buf state = BUF_INIT(STATE_BYTES_MAX);
    *out_step = 0;
    if (!file_exists(path))
        return OK;
    if (file_read(path, &state, e))
        return e->code;
    if (state.len < sizeof(*out_step) || pass_state(s, &state, from_state) != state.len)
        return err_set(e, ERR_CORRUPT, "%s is of another model", path);
    memcpy(out_step, state.data, sizeof(*out_step));
    return step_spread(s->step, e);
}

static enum err_code run(struct steps *s, int64_t count, const char *state, struct err *e)
{
    int64_t step = 0;
    char digest[SHA256_HEX_BYTES];

    if (state && go_on(s, state, &step, e))
        return e->code;
    while (++step <= count) {
        struct step_result r;
        draw(s, step);
        const struct step_input in = { .step = step, .lr = 1e-3, .leaves = s->leaves };
        if (step_run(s->step, &in, &r, e) || (state && keep(s, state, step, e)))
            return e->code;
        if (r.diverged)
            return err_set(e, ERR_CORRUPT, "%s", r.why);
        printf("%" PRId64 " %.6f\n", step, r.loss);
        fflush(stdout);
    }
    sha256_hex(step_params(s->step), s->model->params.count * sizeof(float), digest);
    printf("sha256 %s\n", digest);
    return OK;
}

int main(int argc, char **argv)
{
    struct steps *s = mem_new(sizeof(*s));
    struct err e = ERR_INIT;
    int64_t count = 0;

    if (argc < 5 || argc > 6 || parse_i64(argv[4], &count, &e)) {
        fprintf(stderr, "usage: gpt_steps DEVICE fp32|tf32|bf16 small|124M STEPS [STATE]\n");
        return 2;
    }
    if (!open_all(s, argv[1], argv[2], argv[3], &e))
        IGNORE(run(s, count, argc == 6 ? argv[5] : NULL, &e));
    if (e.code)
        fprintf(stderr, "gpt_steps: %s\n", e.text);
    step_close(s->step);
    model_close(s->model);
    device_close(s->device);
    comm_close(s->comm);
    free(s);
    return e.code ? 1 : 0;
}
