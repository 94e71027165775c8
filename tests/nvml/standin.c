/*
 * standin.c - a libnvidia-ml.so.1 whose cards are lines of a text file: what the product asks NVIDIA's, it
 * may ask this one. Only its answers are made up; it says nothing of what a real driver does.
 *
 * The file is the one that SOVRUN_TEST_NVML names, read anew for each call:
 *
 *     driver 580.95.05
 *     card
 *     name NVIDIA H100 80GB HBM3
 *     uncorrected 0
 *     xid 79
 *
 * What is not there is not supported. `init N`: the library does not begin, with that code; `code N` in a
 * card: so all its calls end. Of `xid` lines only those count that come after a program has asked for events.
 *
 * STANDIN_OLD leaves out what older libraries do not have; STANDIN_ODD a function that nobody can do without.
 */
#include "core/gpu/nvml.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CARDS_MAX = 8, LINE_BYTES = 256, DRIVER = -1 };

struct nvml_device {
    unsigned int xids_given;
};
struct nvml_event_set {
    bool of[CARDS_MAX];
};
static struct nvml_device devices[CARDS_MAX];

static int number_of(const struct nvml_device *d)
{
    return (int)(d - devices);
}

/* The nth value of that name of a card, or of what stands before the first. */
static bool look(int card, const char *name, unsigned int nth, char out[LINE_BYTES])
{
    const char *path = getenv("SOVRUN_TEST_NVML");
    FILE *f = path ? fopen(path, "re") : NULL;
    char line[LINE_BYTES];
    int at = DRIVER;
    bool found = false;
    size_t n = strlen(name);

    while (f && !found && fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "card") == 0)
            at++;
        else if (at == card && strncmp(line, name, n) == 0 && line[n] == ' ' && nth-- == 0) {
            memmove(out, line + n + 1, strlen(line + n + 1) + 1);
            found = true;
        }
    }
    if (f)
        fclose(f);
    return found;
}

static enum nvml_code text(int card, const char *name, char *out, unsigned int bytes)
{
    char value[LINE_BYTES];

    if (look(card, "code", 0, value))
        return (enum nvml_code)strtoul(value, NULL, 0);
    if (!look(card, name, 0, value))
        return NVML_NOT_SUPPORTED;
    return snprintf(out, bytes, "%s", value) < (int)bytes ? NVML_SUCCESS : NVML_INVALID_ARGUMENT;
}

static enum nvml_code large(const struct nvml_device *d, const char *name, unsigned long long *out)
{
    char value[LINE_BYTES];
    enum nvml_code code = text(number_of(d), name, value, sizeof(value));

    if (code == NVML_SUCCESS)
        *out = strtoull(value, NULL, 0);
    return code;
}

static enum nvml_code small(const struct nvml_device *d, const char *name, unsigned int *out)
{
    unsigned long long value = 0;
    enum nvml_code code = large(d, name, &value);

    if (code == NVML_SUCCESS)
        *out = (unsigned int)value;
    return code;
}

/* ---- the library, and its cards ---- */

enum nvml_code nvmlInit_v2(void)
{
    char value[LINE_BYTES];
    return look(DRIVER, "init", 0, value) ? (enum nvml_code)strtoul(value, NULL, 0) : NVML_SUCCESS;
}

enum nvml_code nvmlShutdown(void)
{
    return NVML_SUCCESS;
}

const char *nvmlErrorString(enum nvml_code code)
{
    return code == NVML_DRIVER_NOT_LOADED ? "Driver Not Loaded"
           : code == NVML_GPU_IS_LOST     ? "GPU is lost"
           : code == NVML_NOT_FOUND       ? "Not Found"
                                          : "something else";
}

enum nvml_code nvmlSystemGetDriverVersion(char *out, unsigned int bytes)
{
    return text(DRIVER, "driver", out, bytes);
}

static unsigned int count(void)
{
    char value[LINE_BYTES];
    unsigned int n = 0;
    while (n < CARDS_MAX && look((int)n, "bus", 0, value))
        n++;
    return n;
}

#ifndef STANDIN_ODD
enum nvml_code nvmlDeviceGetCount_v2(unsigned int *out)
{
    *out = count();
    return NVML_SUCCESS;
}
#endif

enum nvml_code nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct nvml_device **out)
{
    char value[LINE_BYTES];

    if (index >= count())
        return NVML_INVALID_ARGUMENT;
    *out = &devices[index];
    return look((int)index, "absent", 0, value) ? (enum nvml_code)strtoul(value, NULL, 0) : NVML_SUCCESS;
}

static bool same_place(const char *a, const char *b)
{
    unsigned int x[4], y[4];
    return sscanf(a, "%x:%x:%x.%x", &x[0], &x[1], &x[2], &x[3]) == 4 &&
           sscanf(b, "%x:%x:%x.%x", &y[0], &y[1], &y[2], &y[3]) == 4 && memcmp(x, y, sizeof(x)) == 0;
}

enum nvml_code nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct nvml_device **out)
{
    char value[LINE_BYTES];

    for (unsigned int i = 0; i < count(); i++)
        if (look((int)i, "bus", 0, value) && same_place(value, bus_id))
            return nvmlDeviceGetHandleByIndex_v2(i, out);
    return NVML_NOT_FOUND;
}

enum nvml_code nvmlDeviceGetIndex(struct nvml_device *d, unsigned int *out)
{
    *out = (unsigned int)number_of(d);
    return NVML_SUCCESS;
}

enum nvml_code nvmlDeviceGetName(struct nvml_device *d, char *out, unsigned int bytes)
{
    return text(number_of(d), "name", out, bytes);
}

enum nvml_code nvmlDeviceGetUUID(struct nvml_device *d, char *out, unsigned int bytes)
{
    return text(number_of(d), "uuid", out, bytes);
}

enum nvml_code nvmlDeviceGetPciInfo_v3(struct nvml_device *d, struct nvml_pci_info *out)
{
    memset(out, 0xff, sizeof(*out));
    return text(number_of(d), "bus", out->bus_id, sizeof(out->bus_id));
}

enum nvml_code nvmlDeviceGetMemoryInfo(struct nvml_device *d, struct nvml_memory *out)
{
    memset(out, 0xff, sizeof(*out));
    return large(d, "memory", &out->total);
}

enum nvml_code nvmlDeviceGetMigMode(struct nvml_device *d, unsigned int *out, unsigned int *out_pending)
{
    *out_pending = 1;
    return small(d, "mig", out);
}

/* ---- how a card is ---- */

enum nvml_code nvmlDeviceGetEccMode(struct nvml_device *d, enum nvml_switch *out,
                                    enum nvml_switch *out_pending)
{
    unsigned int on = 0;
    enum nvml_code code = small(d, "ecc", &on);
    *out = on ? NVML_ON : NVML_OFF;
    *out_pending = NVML_ON;
    return code;
}

enum nvml_code nvmlDeviceGetTotalEccErrors(struct nvml_device *d, enum nvml_memory_error kind,
                                           enum nvml_ecc_counter counter, unsigned long long *out)
{
    if (counter != NVML_SINCE_DRIVER_LOAD)
        return NVML_INVALID_ARGUMENT;
    return large(d, kind == NVML_CORRECTED ? "corrected" : "uncorrected", out);
}

enum nvml_code nvmlDeviceGetTemperature(struct nvml_device *d, enum nvml_sensor sensor, unsigned int *out)
{
    return sensor == NVML_SENSOR_GPU ? small(d, "celsius", out) : NVML_INVALID_ARGUMENT;
}

enum nvml_code nvmlDeviceGetClockInfo(struct nvml_device *d, enum nvml_clock clock, unsigned int *out_mhz)
{
    return small(d,
                 clock == NVML_CLOCK_SM       ? "sm_mhz"
                 : clock == NVML_CLOCK_MEMORY ? "memory_mhz"
                                              : "no",
                 out_mhz);
}

enum nvml_code nvmlDeviceGetPowerUsage(struct nvml_device *d, unsigned int *out_mw)
{
    return small(d, "milliwatts", out_mw);
}

#ifdef STANDIN_OLD
enum nvml_code nvmlDeviceGetCurrentClocksThrottleReasons(struct nvml_device *d, unsigned long long *out)
{
    return large(d, "held_back", out);
}
#else
enum nvml_code nvmlDeviceGetCurrentClocksEventReasons(struct nvml_device *d, unsigned long long *out)
{
    return large(d, "held_back", out);
}

enum nvml_code nvmlDeviceGetRemappedRows(struct nvml_device *d, unsigned int *out_corrected,
                                         unsigned int *out_uncorrected, unsigned int *out_pending,
                                         unsigned int *out_failed)
{
    enum nvml_code code = small(d, "rows_pending", out_pending);
    *out_corrected = *out_uncorrected = 9; // rows that were replaced: nobody's business
    return code == NVML_SUCCESS ? small(d, "rows_failed", out_failed) : code;
}

enum nvml_code nvmlDeviceGetTotalEnergyConsumption(struct nvml_device *d, unsigned long long *out_mj)
{
    return large(d, "millijoules", out_mj);
}

/* ---- what befalls it ---- */

enum nvml_code nvmlEventSetCreate(struct nvml_event_set **out)
{
    *out = calloc(1, sizeof(**out));
    return *out ? NVML_SUCCESS : NVML_UNKNOWN;
}

enum nvml_code nvmlEventSetFree(struct nvml_event_set *set)
{
    free(set);
    return NVML_SUCCESS;
}

enum nvml_code nvmlDeviceRegisterEvents(struct nvml_device *d, unsigned long long types,
                                        struct nvml_event_set *set)
{
    char value[LINE_BYTES];

    if (types != NVML_EVENT_XID)
        return NVML_INVALID_ARGUMENT;
    if (look(number_of(d), "no_events", 0, value))
        return NVML_NOT_SUPPORTED;
    d->xids_given = 0;
    while (look(number_of(d), "xid", d->xids_given, value))
        d->xids_given++;
    set->of[number_of(d)] = true;
    return NVML_SUCCESS;
}

enum nvml_code nvmlEventSetWait_v2(struct nvml_event_set *set, struct nvml_event *out,
                                   unsigned int timeout_ms)
{
    char value[LINE_BYTES];

    if (timeout_ms > 0)
        abort(); // nobody here may wait
    for (int i = 0; i < CARDS_MAX; i++)
        if (set->of[i] && look(i, "xid", devices[i].xids_given, value)) {
            devices[i].xids_given++;
            *out = (struct nvml_event){ &devices[i], NVML_EVENT_XID, strtoull(value, NULL, 0), ~0U, ~0U };
            return NVML_SUCCESS;
        }
    return NVML_TIMEOUT;
}
#endif
