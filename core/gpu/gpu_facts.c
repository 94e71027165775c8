#include "core/gpu/gpu.h"

/* In the order of enum gpu_figure, as far as they are single numbers. */
static const struct {
    const char *name;
    bool yes_or_no;
} figures[GPU_FIGURE_COUNT] = {
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
    [GPU_HELD_BACK] = { NULL, false },
};

size_t gpu_facts(const struct gpu_card *card, const struct gpu_reading *r, struct gpu_fact out[GPU_FACTS_MAX])
{
    size_t n = 0;

    out[n++] = (struct gpu_fact){ .name = "index", .number = card->index };
    out[n++] = (struct gpu_fact){ .name = "name", .text = card->name };
    out[n++] = (struct gpu_fact){ .name = "uuid", .text = card->uuid };
    out[n++] = (struct gpu_fact){ .name = "bus", .text = card->bus };
    out[n++] = (struct gpu_fact){ .name = "driver", .text = card->driver };
    out[n++] = (struct gpu_fact){ .name = "memory_bytes", .number = card->memory_bytes };
    out[n++] = (struct gpu_fact){ .name = "mig", .number = card->mig, .yes_or_no = true };
    for (size_t i = 0; i < GPU_FIGURE_COUNT; i++)
        if (figures[i].name)
            out[n++] = (struct gpu_fact){ figures[i].name, NULL, r->figure[i], figures[i].yes_or_no };
    return n;
}

/* NVML API reference, clocks' event reasons. Bit 0, idle, holds nobody back. */
const char *gpu_held_back_name(unsigned bit)
{
    static const char *const names[GPU_HELD_BACK_BITS] = {
        [1] = "clocks_set", // by an administrator
        [2] = "power_cap",      [3] = "hardware_slowdown", [4] = "sync_boost",
        [5] = "heat_software",  [6] = "heat_hardware",
        [7] = "power_brake", // asked for from outside the card
        [8] = "display_clocks",
    };
    return bit < GPU_HELD_BACK_BITS ? names[bit] : NULL;
}
