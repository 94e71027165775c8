#include "runner/cli/progress.h"

#include "base/num.h"
#include "runner/cli/utf8.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LINE_BYTES_MAX = 4096 };
static const double eta_ms_max = 1000.0 * 86400 * 3650;

/* ---- the view ---- */

static void copy_text(const json_t *o, const char *name, char *out, size_t bytes)
{
    snprintf(out, bytes, "%s", json_text_or(o, name, ""));
}

void progress_view_of(const json_t *shown, struct progress_view *out)
{
    const json_t *job = json_object_get(shown, "job"), *pulse = json_object_get(shown, "pulse");
    const json_t *spec = json_object_get(job, "spec");
    struct progress_view v = { .attempt = json_i64_or(job, "attempts", 0), .checkpoint_step = -1 };

    copy_text(spec, "name", v.name, sizeof(v.name));
    copy_text(job, "id", v.id, sizeof(v.id));
    copy_text(job, "state", v.state, sizeof(v.state));
    copy_text(job, "reason", v.reason, sizeof(v.reason));
    v.batch = json_i64_or(json_object_get(spec, "train"), "batch", 0);
    v.context = json_i64_or(json_object_get(spec, "model"), "context", 0);
    if (json_is_object(pulse) && json_i64_or(pulse, "attempt", 0) == v.attempt) {
        v.has_pulse = true;
        copy_text(pulse, "phase", v.phase, sizeof(v.phase));
        v.step = json_i64_or(pulse, "step", 0);
        v.steps = json_i64_or(pulse, "steps", 0);
        v.epoch = json_i64_or(pulse, "epoch", 0);
        v.epochs = json_i64_or(pulse, "epochs", 0);
        v.checkpoint_step = json_i64_or(pulse, "checkpoint_step", -1);
        v.loss = json_f64_or(pulse, "loss", NAN);
        v.records_per_second = json_f64_or(pulse, "records_per_second", 0);
    }
    *out = v;
}

int64_t progress_eta_ms(const struct progress_view *v)
{
    double left = (double)(v->steps - v->step) * (double)v->batch;
    if (!v->has_pulse || v->steps <= 0 || v->step <= 0 || left < 0 || !(v->records_per_second > 0) ||
        v->batch <= 0)
        return -1;
    return (int64_t)MIN(left / v->records_per_second * 1000, eta_ms_max);
}

const char *progress_count(double n, char out[48])
{
    char digits[32];
    size_t length, at = 0;
    if (!(n >= 0 && n < 1e15))
        return memcpy(out, "-", 2);
    length = (size_t)snprintf(digits, sizeof(digits), "%.0f", n);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* ---- the line ---- */

static bool is_state(const struct progress_view *v, const char *state)
{
    return strcmp(v->state, state) == 0;
}

static void add_pulse(const struct progress_view *v, struct buf *out)
{
    char number[48], duration[NUM_TEXT_BYTES];
    int64_t eta_ms = progress_eta_ms(v);
    bool training = strcmp(v->phase, "train") == 0 || strcmp(v->phase, "checkpoint") == 0;

    /* What matters most comes first: a narrow terminal cuts the rest. */
    if (v->steps > 0)
        buf_addf(out, "  step %" PRId64 "/%" PRId64 " (%" PRId64 "%%)", v->step, v->steps,
                 100 * v->step / v->steps);
    if (v->step > 0 && isfinite(v->loss))
        buf_addf(out, "  loss %.4f", v->loss);
    if (training && eta_ms >= 0 && is_state(v, "running"))
        buf_addf(out, "  ETA %s", format_duration(eta_ms / 1000 * 1000, duration));
    if (v->steps > 0)
        buf_addf(out, "  epoch %" PRId64 "/%" PRId64, v->epoch, v->epochs);
    if (v->records_per_second > 0)
        buf_addf(out, "  %s %s/s", progress_count(v->records_per_second * (double)MAX(v->context, 1), number),
                 v->context > 0 ? "tokens" : "records");
    if (v->checkpoint_step > 0)
        buf_addf(out, "  checkpoint %" PRId64, v->checkpoint_step);
    if (!training && v->phase[0])
        buf_addf(out, "  %s", v->phase);
}

void progress_line(const struct progress_view *v, size_t columns, struct buf *out)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(LINE_BYTES_MAX);
    bool active = is_state(v, "starting") || is_state(v, "running") || is_state(v, "stopping");

    buf_addf(&text, "%s %s  %s", v->id, v->name, v->state);
    if (v->attempt > 1)
        buf_addf(&text, " (attempt %" PRId64 ")", v->attempt);
    if (active && v->has_pulse)
        add_pulse(v, &text);
    if (v->reason[0] && !(is_state(v, "running") && v->has_pulse))
        buf_addf(&text, "  %s", v->reason);
    utf8_fit(buf_text(&text), columns ? columns - 1 : SIZE_MAX, out);
}

/* ---- showing it ---- */

struct progress progress_new(FILE *out, size_t columns, const struct clock *clock)
{
    return (struct progress){ .out = out, .clock = clock, .columns = columns };
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", p->out);
    if (p->out)
        fflush(p->out);
    p->drawn = false;
}

/* What a plain reader wants to hear of at once. */
static bool is_news(struct progress *p, const struct progress_view *v)
{
    char state[sizeof(p->last_state)];
    snprintf(state, sizeof(state), "%s %" PRId64, v->state, v->attempt);
    bool news = strcmp(state, p->last_state) != 0;
    memcpy(p->last_state, state, sizeof(state));
    return news;
}

void progress_show(struct progress *p, const struct progress_view *v)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(LINE_BYTES_MAX);
    int64_t now = p->clock->mono_ms(p->clock);
    bool news = is_news(p, v);

    if (!p->out || (!news && now - p->last_ms < (p->columns ? PROGRESS_REDRAW_MS : PROGRESS_PLAIN_MS)))
        return;
    p->last_ms = now;
    progress_line(v, p->columns, &line);
    fprintf(p->out, p->columns ? "\r\033[K%s" : "%s\n", buf_text(&line));
    p->drawn = p->columns > 0;
    fflush(p->out);
}

void progress_note(struct progress *p, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(LINE_BYTES_MAX);
    CLEANUP(buf_done) struct buf line = BUF_INIT(LINE_BYTES_MAX);
    int64_t now = p->clock->mono_ms(p->clock);
    va_list ap;
    if (!p->out || !p->columns || now - p->last_ms < PROGRESS_REDRAW_MS)
        return;
    p->last_ms = now;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    utf8_fit(buf_text(&text), p->columns - 1, &line);
    fprintf(p->out, "\r\033[K%s", buf_text(&line));
    p->drawn = true;
    fflush(p->out);
}

void progress_say(struct progress *p, const char *fmt, ...)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(LINE_BYTES_MAX);
    CLEANUP(buf_done) struct buf line = BUF_INIT(LINE_BYTES_MAX);
    va_list ap;
    if (!p->out)
        return;
    va_start(ap, fmt);
    buf_addv(&text, fmt, ap);
    va_end(ap);
    utf8_clean(buf_text(&text), text.len, false, &line);
    progress_clear(p);
    fprintf(p->out, "%s\n", buf_text(&line));
    fflush(p->out);
}
