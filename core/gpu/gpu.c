#include "core/gpu/gpu.h"

#include "base/mem.h"
#include "core/gpu/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

struct calls { /* NULL: this library has no such function */
    __typeof__(nvmlInit_v2) *nvmlInit_v2;
    __typeof__(nvmlShutdown) *nvmlShutdown;
    __typeof__(nvmlErrorString) *nvmlErrorString;
    __typeof__(nvmlSystemGetDriverVersion) *nvmlSystemGetDriverVersion;
    __typeof__(nvmlDeviceGetCount_v2) *nvmlDeviceGetCount_v2;
    __typeof__(nvmlDeviceGetHandleByIndex_v2) *nvmlDeviceGetHandleByIndex_v2;
    __typeof__(nvmlDeviceGetHandleByPciBusId_v2) *nvmlDeviceGetHandleByPciBusId_v2;
    __typeof__(nvmlDeviceGetIndex) *nvmlDeviceGetIndex;
    __typeof__(nvmlDeviceGetName) *nvmlDeviceGetName;
    __typeof__(nvmlDeviceGetUUID) *nvmlDeviceGetUUID;
    __typeof__(nvmlDeviceGetPciInfo_v3) *nvmlDeviceGetPciInfo_v3;
    __typeof__(nvmlDeviceGetMemoryInfo) *nvmlDeviceGetMemoryInfo;
    __typeof__(nvmlDeviceGetMigMode) *nvmlDeviceGetMigMode;
    __typeof__(nvmlDeviceGetEccMode) *nvmlDeviceGetEccMode;
    __typeof__(nvmlDeviceGetTotalEccErrors) *nvmlDeviceGetTotalEccErrors;
    __typeof__(nvmlDeviceGetRemappedRows) *nvmlDeviceGetRemappedRows;
    __typeof__(nvmlDeviceGetTemperature) *nvmlDeviceGetTemperature;
    __typeof__(nvmlDeviceGetClockInfo) *nvmlDeviceGetClockInfo;
    __typeof__(nvmlDeviceGetCurrentClocksEventReasons) *nvmlDeviceGetCurrentClocksEventReasons;
    __typeof__(nvmlDeviceGetPowerUsage) *nvmlDeviceGetPowerUsage;
    __typeof__(nvmlDeviceGetTotalEnergyConsumption) *nvmlDeviceGetTotalEnergyConsumption;
    __typeof__(nvmlEventSetCreate) *nvmlEventSetCreate;
    __typeof__(nvmlDeviceRegisterEvents) *nvmlDeviceRegisterEvents;
    __typeof__(nvmlEventSetWait_v2) *nvmlEventSetWait_v2;
    __typeof__(nvmlEventSetFree) *nvmlEventSetFree;
};

/* clang-format off */
#define ROW(name, needed) { #name, NULL, offsetof(struct calls, name), needed }
/* clang-format on */
static const struct {
    const char *name, *earlier; /* its name in older libraries */
    size_t offset;
    bool needed; /* without it there is nothing to ask */
} functions[] = {
    ROW(nvmlInit_v2, true),
    ROW(nvmlShutdown, true),
    ROW(nvmlErrorString, false),
    ROW(nvmlSystemGetDriverVersion, false),
    ROW(nvmlDeviceGetCount_v2, true),
    ROW(nvmlDeviceGetHandleByIndex_v2, true),
    ROW(nvmlDeviceGetHandleByPciBusId_v2, true),
    ROW(nvmlDeviceGetIndex, false),
    ROW(nvmlDeviceGetName, false),
    ROW(nvmlDeviceGetUUID, false),
    ROW(nvmlDeviceGetPciInfo_v3, false),
    ROW(nvmlDeviceGetMemoryInfo, false),
    ROW(nvmlDeviceGetMigMode, false),
    ROW(nvmlDeviceGetEccMode, false),
    ROW(nvmlDeviceGetTotalEccErrors, false),
    ROW(nvmlDeviceGetRemappedRows, false),
    ROW(nvmlDeviceGetTemperature, false),
    ROW(nvmlDeviceGetClockInfo, false),
    { "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons",
      offsetof(struct calls, nvmlDeviceGetCurrentClocksEventReasons), false },
    ROW(nvmlDeviceGetPowerUsage, false),
    ROW(nvmlDeviceGetTotalEnergyConsumption, false),
    ROW(nvmlEventSetCreate, false),
    ROW(nvmlDeviceRegisterEvents, false),
    ROW(nvmlEventSetWait_v2, false),
    ROW(nvmlEventSetFree, false),
};
_Static_assert(ARRAY_LEN(functions) * sizeof(void *) == sizeof(struct calls), "a row for each function");

struct gpu_driver {
    void *library;
    bool begun; /* nvmlInit_v2() succeeded */
    struct calls call;
};

struct gpu {
    const struct calls *call;
    struct nvml_device *device;
    struct nvml_event_set *events; /* NULL: not watched */
    struct gpu_card card;
};

/* ---- the library ---- */

static enum err_code refused(const struct calls *call, enum nvml_code code, const char *what, struct err *e)
{
    if (!call->nvmlErrorString)
        return err_set(e, ERR_DEVICE, "%s: NVML's code %d", what, (int)code);
    return err_set(e, ERR_DEVICE, "%s: NVML says: %s", what, call->nvmlErrorString(code));
}

static enum err_code look_up(struct gpu_driver *d, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        void *found = dlsym(d->library, functions[i].name);
        if (!found && functions[i].earlier)
            found = dlsym(d->library, functions[i].earlier);
        if (!found && functions[i].needed)
            return err_set(e, ERR_DEVICE, "%s has no %s: it is too old", NVML_LIBRARY, functions[i].name);
        memcpy((char *)&d->call + functions[i].offset, &found, sizeof(found));
    }
    return OK;
}

enum err_code gpu_driver_open(struct gpu_driver **out, struct err *e)
{
    CLEANUP(gpu_driver_closep) struct gpu_driver *d = mem_new(sizeof(*d));

    d->library = dlopen(NVML_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!d->library)
        return err_set(e, ERR_DEVICE, "NVIDIA's management library, which comes with the driver: %s",
                       dlerror());
    if (look_up(d, e))
        return e->code;
    enum nvml_code code = d->call.nvmlInit_v2();
    if (code != NVML_SUCCESS)
        return refused(&d->call, code, "ask the driver for its cards", e);
    d->begun = true;
    *out = TAKE(d);
    return OK;
}

void gpu_driver_close(struct gpu_driver *d)
{
    if (!d)
        return;
    if (d->begun)
        d->call.nvmlShutdown();
    if (d->library)
        dlclose(d->library);
    free(d);
}

enum err_code gpu_count(const struct gpu_driver *d, size_t *out, struct err *e)
{
    unsigned int n = 0;
    enum nvml_code code = d->call.nvmlDeviceGetCount_v2(&n);

    if (code != NVML_SUCCESS)
        return refused(&d->call, code, "count the cards", e);
    *out = MIN(n, (unsigned)GPU_CARDS_MAX);
    return OK;
}

/* ---- a card ---- */

/* Calls where there is such a function. */
#define ASK(call, name, ...) ((call)->name ? (call)->name(__VA_ARGS__) : NVML_NOT_SUPPORTED)

static void describe(struct gpu *g)
{
    const struct calls *call = g->call;
    struct gpu_card *c = &g->card;
    struct nvml_pci_info pci = { .bus_id = "" };
    struct nvml_memory memory = { 0 };
    unsigned int index = 0, mig = 0, pending = 0;

    *c = (struct gpu_card){ GPU_UNKNOWN, GPU_UNKNOWN, GPU_UNKNOWN, "", "", "", "" };
    if (ASK(call, nvmlDeviceGetIndex, g->device, &index) == NVML_SUCCESS)
        c->index = index;
    if (ASK(call, nvmlDeviceGetMemoryInfo, g->device, &memory) == NVML_SUCCESS)
        c->memory_bytes = (int64_t)memory.total;
    if (ASK(call, nvmlDeviceGetMigMode, g->device, &mig, &pending) == NVML_SUCCESS)
        c->mig = mig != 0;
    if (ASK(call, nvmlDeviceGetName, g->device, c->name, sizeof(c->name)) != NVML_SUCCESS)
        c->name[0] = '\0';
    if (ASK(call, nvmlDeviceGetUUID, g->device, c->uuid, sizeof(c->uuid)) != NVML_SUCCESS)
        c->uuid[0] = '\0';
    if (ASK(call, nvmlSystemGetDriverVersion, c->driver, sizeof(c->driver)) != NVML_SUCCESS)
        c->driver[0] = '\0';
    if (ASK(call, nvmlDeviceGetPciInfo_v3, g->device, &pci) == NVML_SUCCESS)
        snprintf(c->bus, sizeof(c->bus), "%.*s", (int)sizeof(pci.bus_id), pci.bus_id);
}
_Static_assert((int)GPU_TEXT_BYTES >= (int)NVML_NAME_BYTES && (int)GPU_TEXT_BYTES >= (int)NVML_UUID_BYTES &&
                   (int)GPU_TEXT_BYTES >= (int)NVML_VERSION_BYTES,
               "the library refuses less room");

static struct gpu *card_new(const struct gpu_driver *d, struct nvml_device *device)
{
    struct gpu *g = mem_new(sizeof(*g));

    g->call = &d->call;
    g->device = device;
    describe(g);
    return g;
}

enum err_code gpu_open_index(const struct gpu_driver *d, size_t index, struct gpu **out, struct err *e)
{
    struct nvml_device *device = NULL;
    enum nvml_code code = d->call.nvmlDeviceGetHandleByIndex_v2((unsigned)index, &device);

    if (code != NVML_SUCCESS)
        return refused(&d->call, code, "look at the card", e);
    *out = card_new(d, device);
    return OK;
}

enum err_code gpu_open_bus(const struct gpu_driver *d, const char *bus, struct gpu **out, struct err *e)
{
    struct nvml_device *device = NULL;
    enum nvml_code code = d->call.nvmlDeviceGetHandleByPciBusId_v2(bus, &device);

    if (code != NVML_SUCCESS)
        return refused(&d->call, code, "look at the card", e);
    *out = card_new(d, device);
    return OK;
}

void gpu_close(struct gpu *g)
{
    if (g && g->events)
        g->call->nvmlEventSetFree(g->events);
    free(g);
}

const struct gpu_card *gpu_card(const struct gpu *g)
{
    return &g->card;
}

/* ---- how it is ---- */

static bool told(enum nvml_code code, struct gpu_reading *r)
{
    r->lost = r->lost || code == NVML_GPU_IS_LOST;
    r->reset_required = r->reset_required || code == NVML_RESET_REQUIRED;
    return code == NVML_SUCCESS;
}

static void read_memory_errors(const struct gpu *g, struct gpu_reading *r)
{
    const struct calls *call = g->call;
    enum nvml_switch on = NVML_OFF, pending = NVML_OFF;
    unsigned long long errors = 0;
    unsigned int rows[2] = { 0 }, rows_pending = 0, rows_failed = 0;

    if (told(ASK(call, nvmlDeviceGetEccMode, g->device, &on, &pending), r))
        r->figure[GPU_ECC_ON] = on != NVML_OFF;
    if (told(ASK(call, nvmlDeviceGetTotalEccErrors, g->device, NVML_CORRECTED, NVML_SINCE_DRIVER_LOAD,
                 &errors),
             r))
        r->figure[GPU_ECC_CORRECTED] = (int64_t)errors;
    if (told(ASK(call, nvmlDeviceGetTotalEccErrors, g->device, NVML_UNCORRECTED, NVML_SINCE_DRIVER_LOAD,
                 &errors),
             r))
        r->figure[GPU_ECC_UNCORRECTED] = (int64_t)errors;
    if (told(ASK(call, nvmlDeviceGetRemappedRows, g->device, &rows[0], &rows[1], &rows_pending, &rows_failed),
             r)) {
        r->figure[GPU_ROWS_PENDING] = rows_pending != 0;
        r->figure[GPU_ROWS_FAILED] = rows_failed != 0;
    }
}

void gpu_read(const struct gpu *g, struct gpu_reading *out)
{
    const struct calls *call = g->call;
    struct gpu_reading r = { .lost = false };
    unsigned long long large = 0;
    unsigned int small = 0;

    for (size_t i = 0; i < GPU_FIGURE_COUNT; i++)
        r.figure[i] = GPU_UNKNOWN;
    read_memory_errors(g, &r);
    if (told(ASK(call, nvmlDeviceGetTemperature, g->device, NVML_SENSOR_GPU, &small), &r))
        r.figure[GPU_CELSIUS] = small;
    if (told(ASK(call, nvmlDeviceGetClockInfo, g->device, NVML_CLOCK_SM, &small), &r))
        r.figure[GPU_SM_MHZ] = small;
    if (told(ASK(call, nvmlDeviceGetClockInfo, g->device, NVML_CLOCK_MEMORY, &small), &r))
        r.figure[GPU_MEMORY_MHZ] = small;
    if (told(ASK(call, nvmlDeviceGetPowerUsage, g->device, &small), &r))
        r.figure[GPU_MILLIWATTS] = small;
    if (told(ASK(call, nvmlDeviceGetTotalEnergyConsumption, g->device, &large), &r))
        r.figure[GPU_MILLIJOULES] = (int64_t)large;
    if (told(ASK(call, nvmlDeviceGetCurrentClocksEventReasons, g->device, &large), &r))
        r.figure[GPU_HELD_BACK] = (int64_t)(large & UINT32_MAX);
    *out = r;
}

/* ---- what befalls it ---- */

enum err_code gpu_watch(struct gpu *g, struct err *e)
{
    const struct calls *call = g->call;
    struct nvml_event_set *events = NULL;

    if (g->events)
        return OK;
    if (!call->nvmlEventSetWait_v2 || !call->nvmlEventSetFree)
        return err_set(e, ERR_DEVICE, "%s gives no events: it is too old", NVML_LIBRARY);
    enum nvml_code code = ASK(call, nvmlEventSetCreate, &events);
    if (code != NVML_SUCCESS)
        return refused(call, code, "ask for the card's events", e);
    code = ASK(call, nvmlDeviceRegisterEvents, g->device, NVML_EVENT_XID, events);
    if (code != NVML_SUCCESS) {
        call->nvmlEventSetFree(events);
        return refused(call, code, "ask for the card's events", e);
    }
    g->events = events;
    return OK;
}

bool gpu_next_xid(struct gpu *g, uint32_t *out)
{
    struct nvml_event event = { 0 };

    if (!g->events || g->call->nvmlEventSetWait_v2(g->events, &event, 0) != NVML_SUCCESS ||
        event.type != NVML_EVENT_XID)
        return false;
    *out = (uint32_t)event.data;
    return true;
}
