#include "core/gpu/gpu.h"

/* GPU_HELD_BACK has a form of its own. */
static const struct {
    const char *name;
    bool yes_or_no;
} figures[] = {
    [GPU_ECC_ON] = { "ecc", true },
    [GPU_ECC_CORRECTED] = { "ecc_corrected", false },
    [GPU_ECC_UNCORRECTED] = { "ecc_uncorrected", false },
    [GPU_ROWS_PENDING] = { "rows_pending", true },
    [GPU_ROWS_FAILED] = { "rows_failed", true },
    [GPU_CELSIUS] = { "celsius", false },
    [GPU_SM_MHZ] = { "sm_mhz", false },
    [GPU_MEMORY_MHZ] = { "memory_mhz", false },
    [GPU_MILLIWATTS] = { "milliwatts", false },
    [GPU_MILLIJOULES] = { "millijoules", false },
};
_Static_assert(ARRAY_LEN(figures) == GPU_FIGURE_COUNT - 1, "a name for each, but for the bits");

/* NVML API reference, clocks' event reasons. Bit 0, idle, holds nobody back. */
static const char *const held_back[] = {
    [1] = "clocks_set", // by an administrator
    [2] = "power_cap",      [3] = "hardware_slowdown", [4] = "sync_boost",
    [5] = "heat_software",  [6] = "heat_hardware",
    [7] = "power_brake", // asked for from outside the card
    [8] = "display_clocks",
};

json_t *gpu_number_json(int64_t n)
{
    return n == GPU_UNKNOWN ? json_null() : json_integer((json_int_t)n);
}

static json_t *yes_or_no_json(int64_t n)
{
    return n == GPU_UNKNOWN ? json_null() : json_boolean(n != 0);
}

static json_t *text_json(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

json_t *gpu_held_back_json(int64_t bits)
{
    if (bits == GPU_UNKNOWN)
        return json_null();
    json_t *list = json_array();
    for (size_t bit = 1; bit < ARRAY_LEN(held_back); bit++)
        if (bits >> bit & 1)
            json_array_append_new(list, json_string(held_back[bit]));
    return list;
}

void gpu_to_json(const struct gpu_card *card, const struct gpu_reading *r, json_t *into)
{
    json_object_set_new(into, "index", gpu_number_json(card->index));
    json_object_set_new(into, "name", text_json(card->name));
    json_object_set_new(into, "uuid", text_json(card->uuid));
    json_object_set_new(into, "bus", text_json(card->bus));
    json_object_set_new(into, "driver", text_json(card->driver));
    json_object_set_new(into, "memory_bytes", gpu_number_json(card->memory_bytes));
    json_object_set_new(into, "mig", yes_or_no_json(card->mig));
    for (size_t i = 0; i < ARRAY_LEN(figures); i++)
        json_object_set_new(into, figures[i].name,
                            figures[i].yes_or_no ? yes_or_no_json(r->figure[i])
                                                 : gpu_number_json(r->figure[i]));
    json_object_set_new(into, "held_back", gpu_held_back_json(r->figure[GPU_HELD_BACK]));
}
