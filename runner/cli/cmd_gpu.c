/* gpu ls: this host's cards, as their driver sees them. Asks no scheduler; changes nothing. */
#include "base/num.h"
#include "core/gpu/judge.h"
#include "runner/cli/cli.h"
#include "runner/cli/commands.h"
#include "runner/cli/print.h"

#include <inttypes.h>
#include <stdio.h>

/* A card as it was found, or why it could not be looked at. */
struct found {
    bool seen, fit;
    struct gpu_card card;
    struct gpu_reading reading;
    char why[ERR_TEXT_BYTES]; /* "" of one that is fit */
};

static void find(const struct gpu_driver *d, size_t index, struct found *out)
{
    CLEANUP(gpu_closep) struct gpu *g = NULL;
    struct err e = ERR_INIT;

    *out = (struct found){ .card = { .index = (int64_t)index } };
    if (gpu_open_index(d, index, &g, &e)) {
        snprintf(out->why, sizeof(out->why), "%s", e.text);
        return;
    }
    out->seen = true;
    out->card = *gpu_card(g);
    gpu_read(g, &out->reading);
    out->fit = gpu_is_fit(&out->reading, out->why);
}

static json_t *found_json(const struct found *f)
{
    json_t *o =
        json_pack("{s:I,s:b,s:s}", "index", (json_int_t)f->card.index, "fit", (int)f->fit, "why", f->why);

    if (f->seen)
        gpu_to_json(&f->card, &f->reading, o);
    return o;
}

/* "41 C"; "?" where it is not known. */
static void number_cell(struct print_table *t, int64_t n, const char *unit)
{
    if (n == GPU_UNKNOWN)
        print_text_cell(t, "?");
    else
        print_cell(t, COLOUR_NONE, "%" PRId64 "%s", n, unit);
}

static void add_row(struct print_table *t, const struct found *f)
{
    static const char *const switches[] = { "off", "on" };
    int64_t ecc = f->seen ? f->reading.figure[GPU_ECC_ON] : GPU_UNKNOWN;
    int64_t celsius = f->seen ? f->reading.figure[GPU_CELSIUS] : GPU_UNKNOWN;
    int64_t mhz = f->seen ? f->reading.figure[GPU_SM_MHZ] : GPU_UNKNOWN;
    int64_t mw = f->seen ? f->reading.figure[GPU_MILLIWATTS] : GPU_UNKNOWN;
    char memory[NUM_TEXT_BYTES] = "?";

    if (f->seen && f->card.memory_bytes != GPU_UNKNOWN)
        format_size((uint64_t)f->card.memory_bytes, memory);
    print_cell(t, COLOUR_NONE, "%" PRId64, f->card.index);
    print_text_cell(t, f->card.name[0] ? f->card.name : "?");
    print_text_cell(t, f->card.uuid[0] ? f->card.uuid : "?");
    print_text_cell(t, f->card.bus[0] ? f->card.bus : "?");
    print_text_cell(t, memory);
    print_text_cell(t, ecc == GPU_UNKNOWN ? "?" : switches[ecc != 0]);
    number_cell(t, celsius, " C");
    number_cell(t, mhz, " MHz");
    number_cell(t, mw == GPU_UNKNOWN ? GPU_UNKNOWN : mw / 1000, " W");
    print_cell(t, f->fit ? COLOUR_GOOD : COLOUR_BAD, "%s", f->fit ? "fit" : f->why);
}

static enum err_code open_driver(struct gpu_driver **out, struct err *e)
{
    if (gpu_driver_open(out, e) == OK)
        return OK;
    e->code = ERR_NOT_FOUND; /* for a host without cards this is no failure of anything */
    return err_wrap(e, "no NVIDIA card can be seen on this host");
}

static enum err_code ls_run(struct cli *c, const struct arguments *a, const void *settings, struct err *e)
{
    static const char *const headings[] = { ">CARD",        "NAME",   "UUID",   "BUS",    ">MEMORY", "ECC",
                                            ">TEMPERATURE", ">CLOCK", ">POWER", "HEALTH", NULL };
    CLEANUP(gpu_driver_closep) struct gpu_driver *d = NULL;
    CLEANUP(print_table_done) struct print_table t = print_table_new(headings);
    CLEANUP(json_donep) json_t *doc = json_pack("{s:[]}", "cards");
    struct found f;
    size_t n = 0;
    (void)a, (void)settings;

    if (open_driver(&d, e) || gpu_count(d, &n, e))
        return e->code;
    for (size_t i = 0; i < n; i++) {
        find(d, i, &f);
        add_row(&t, &f);
        json_array_append_new(json_object_get(doc, "cards"), found_json(&f));
        c->status = f.fit ? c->status : CLI_FAILED;
    }
    return c->json ? print_json(doc, e) : print_table_out(&t, e);
}

const struct cmd cmd_gpu_ls = {
    .name = "gpu ls",
    .args = "",
    .help = "this host's NVIDIA cards and whether they are fit to train",
    .more = "Asks the driver's management library (NVML) on this host alone, and no scheduler. \"?\" is not "
            "known: the "
            "card or its driver does not tell. Exit code 1: a card is not fit, and HEALTH says what to do; "
            "6: there is no "
            "driver here.",
    .run = ls_run,
};
