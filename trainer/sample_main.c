#include "base/cleanup.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/num.h"
#include "core/store/store.h"
#include "trainer/model_load.h"
#include "trainer/sample.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 4 << 20, THREADS_MAX = 16 };
static const char what[] = "request";

struct request {
    struct sample_rule rule;
    int64_t tokens, vocabulary, end; /* end -1: none */
    int32_t *window;                 /* owned: the prompt, and then what was drawn */
    size_t count, room;
    const uint8_t *file; /* of the request's bytes */
    size_t file_bytes;
};

static void request_done(struct request *r)
{
    free(r->window);
}

struct sampler {
    struct device *device;
    struct model *model;
    float *params; /* owned, of the device */
    float *probs;  /* owned */
    struct sample_scratch *scratch;
};

static void sampler_done(struct sampler *s)
{
    if (s->device)
        device_free(s->device, s->params);
    model_close(s->model);
    device_close(s->device);
    sample_scratch_free(s->scratch);
    free(s->probs);
}

/* ---- the request ---- */

static enum err_code read_all(int fd, struct buf *out, struct err *e)
{
    for (;;) {
        enum { PIECE = 1 << 20 };
        uint8_t *to = buf_reserve(out, PIECE);
        if (!to)
            return buf_check(out, what, e);
        ssize_t n = read(fd, to, PIECE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read the request");
        if (n == 0)
            return OK;
        buf_commit(out, (size_t)n);
    }
}

static enum err_code get_between(const json_t *j, const char *name, int64_t min, int64_t max, int64_t *out,
                                 struct err *e)
{
    if (json_get_i64(j, what, name, out, e))
        return e->code;
    if (*out < min || *out > max)
        return err_set(e, ERR_USAGE, "%s: '%s' is %" PRId64 ", not from %" PRId64 " to %" PRId64, what, name,
                       *out, min, max);
    return OK;
}

static enum err_code read_rule(const json_t *j, struct sample_rule *out, struct err *e)
{
    const char *temperature;
    int64_t top_k, seed;

    if (json_get_text(j, what, "temperature", &temperature, e) ||
        parse_f64(temperature, &out->temperature, e) ||
        get_between(j, "top_k", 0, MODEL_CLASSES_MAX, &top_k, e) ||
        get_between(j, "seed", 0, INT64_MAX, &seed, e))
        return e->code;
    if (!(out->temperature >= 0 && out->temperature <= 1e6))
        return err_set(e, ERR_USAGE, "%s: a temperature of %s", what, temperature);
    out->top_k = (size_t)top_k;
    out->seed = (uint64_t)seed;
    return OK;
}

static enum err_code read_prompt(const json_t *j, struct request *r, struct err *e)
{
    json_t *list, *id;
    size_t i;

    if (json_get_array(j, what, "prompt", &list, e))
        return e->code;
    r->count = json_array_size(list);
    if (r->count < 1 || r->count > SAMPLE_PROMPT_MAX)
        return err_set(e, ERR_USAGE, "%s: a prompt of %zu tokens", what, r->count);
    r->room = r->count + (size_t)r->tokens;
    r->window = mem_array(r->room, sizeof(*r->window));
    json_array_foreach(list, i, id)
    {
        json_int_t n = json_integer_value(id);
        if (!json_is_integer(id) || n < 0 || n >= r->vocabulary)
            return err_set(e, ERR_USAGE, "%s: token %zu of the prompt is none of the vocabulary", what, i);
        r->window[i] = (int32_t)n;
    }
    return OK;
}

static enum err_code read_request(const struct buf *bytes, struct request *r, struct err *e)
{
    CLEANUP(json_donep) json_t *j = NULL;
    const uint8_t *line_end = memchr(bytes->data, '\n', MIN(bytes->len, (size_t)LINE_BYTES_MAX));
    int64_t version, file_bytes;

    if (!line_end)
        return err_set(e, ERR_USAGE, "%s: has no first line; `sovrun model sample` starts this", what);
    size_t n = (size_t)(line_end - bytes->data);
    if (json_parse(bytes->data, n, what, &j, e) ||
        get_between(j, "version", SAMPLE_VERSION, SAMPLE_VERSION, &version, e) || read_rule(j, &r->rule, e) ||
        get_between(j, "tokens", 1, SAMPLE_TOKENS_MAX, &r->tokens, e) ||
        get_between(j, "vocabulary", 1, MODEL_CLASSES_MAX, &r->vocabulary, e) ||
        get_between(j, "end", -1, MODEL_CLASSES_MAX, &r->end, e) ||
        get_between(j, "file_bytes", 1, STORE_OBJECT_BYTES_MAX, &file_bytes, e) || read_prompt(j, r, e))
        return e->code;
    r->file = line_end + 1;
    r->file_bytes = bytes->len - n - 1;
    if (r->file_bytes != (size_t)file_bytes)
        return err_set(e, ERR_USAGE, "%s: the model file is cut off", what);
    return OK;
}

/* ---- the model ---- */

static enum err_code open_sampler(const struct request *r, struct sampler *s, struct err *e)
{
    CLEANUP(tensors_done) struct tensors t = { 0 };
    struct model_config config;
    struct model_load_notes notes;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (tensors_read(r->file, r->file_bytes, &t, e) || model_load_config(&t, &config, e))
        return e->code;
    if ((size_t)r->vocabulary > config.classes)
        return err_set(e, ERR_USAGE,
                       "the tokenizer has %" PRId64 " tokens, and the model %zu: it is another's",
                       r->vocabulary, config.classes);
    if (device_open("auto", &s->device, e))
        return e->code;
    device_use_threads(s->device, (size_t)MAX(1, MIN(cores, (long)THREADS_MAX)));
    if (model_open("gpt", &config, s->device, &s->model, e) ||
        device_alloc_shared(s->device, s->model->params.padded, sizeof(float), (void **)&s->params, e))
        return e->code;
    s->probs = mem_array(config.classes, sizeof(*s->probs));
    s->scratch = sample_scratch_new((size_t)r->vocabulary);
    return model_load(s->model, &t, device_host_view(s->device, s->params), &notes, e);
}

static enum err_code say(int fd, const char *fmt, ...) PRINTF_LIKE(2, 3);
static enum err_code say(int fd, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(4096);
    struct err ignored = ERR_INIT;
    va_list ap;

    va_start(ap, fmt);
    buf_addv(&line, fmt, ap);
    va_end(ap);
    return file_write_all(fd, line.data, line.len, &ignored); /* nobody reads: nobody to tell either */
}

/* The last tokens that the model's context has room for. */
static enum err_code draw(struct sampler *s, struct request *r, uint64_t index, int32_t *out, struct err *e)
{
    invariant(s->model != NULL && r->window != NULL);
    size_t length = MIN(r->count, s->model->config.context);
    const struct batch b = { .n = 1, .tokens = r->window + r->count - length, .length = length };

    if (model_predict(s->model, s->params, &b, s->probs, e))
        return e->code;
    *out = (int32_t)sample_next(&r->rule, s->probs, index, s->scratch);
    return OK;
}

static enum err_code run(int in_fd, int out_fd, struct err *e)
{
    CLEANUP(buf_wipe) struct buf bytes = BUF_INIT((size_t)STORE_OBJECT_BYTES_MAX + LINE_BYTES_MAX);
    CLEANUP(request_done) struct request r = { .window = NULL };
    CLEANUP(sampler_done) struct sampler s = { .device = NULL };

    if (read_all(in_fd, &bytes, e) || read_request(&bytes, &r, e) || open_sampler(&r, &s, e))
        return e->code;
    for (int64_t i = 0; i < r.tokens; i++) {
        int32_t id = 0;
        if (draw(&s, &r, (uint64_t)i, &id, e))
            return e->code;
        if (id == r.end)
            return say(out_fd, "end\n");
        if (say(out_fd, "%" PRId32 "\n", id))
            return OK;
        r.window[r.count++] = id;
    }
    return say(out_fd, "over\n");
}

int sample_main(int in_fd, int out_fd)
{
    struct err e = ERR_INIT;

    if (run(in_fd, out_fd, &e) == OK || e.code == OK)
        return 0;
    IGNORE(say(out_fd, "error %s\n", e.text));
    return 1;
}
