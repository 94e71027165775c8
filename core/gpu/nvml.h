/*
 * nvml.h - what is used of NVIDIA's management library, declared here: it comes with the driver, and a
 * machine that builds this may have none.
 *
 * Names, numbers and layouts are those of the NVML API reference (docs.nvidia.com/deploy/nvml-api); where a
 * call has changed, its name says which one is meant (_v2, _v3). Nothing is linked: gpu.c looks each function
 * up, and takes its type from here.
 *
 * Private to core/gpu, and to the library that stands in for NVIDIA's in tests.
 */
#ifndef CORE_GPU_NVML_H
#define CORE_GPU_NVML_H

#include <stddef.h>

#define NVML_LIBRARY "libnvidia-ml.so.1"

struct nvml_device;    /* a handle; the library's */
struct nvml_event_set; /* likewise */

enum nvml_code {
    NVML_SUCCESS = 0,
    NVML_INVALID_ARGUMENT = 2,
    NVML_NOT_SUPPORTED = 3,
    NVML_NOT_FOUND = 6,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_TIMEOUT = 10,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_UNKNOWN = 999,
};

enum nvml_switch { NVML_OFF = 0, NVML_ON = 1 };
enum nvml_sensor { NVML_SENSOR_GPU = 0 };
enum nvml_memory_error { NVML_CORRECTED = 0, NVML_UNCORRECTED = 1 };
enum nvml_ecc_counter { NVML_SINCE_DRIVER_LOAD = 0 }; // "volatile"; 1: over the card's life
enum nvml_clock { NVML_CLOCK_SM = 1, NVML_CLOCK_MEMORY = 2 };

#define NVML_EVENT_XID 8ULL

enum { NVML_NAME_BYTES = 96, NVML_UUID_BYTES = 96, NVML_VERSION_BYTES = 80, NVML_BUS_ID_BYTES = 32 };

struct nvml_pci_info {
    char bus_id_legacy[16];
    unsigned int domain, bus, device;
    unsigned int pci_device_id, pci_subsystem_id;
    char bus_id[NVML_BUS_ID_BYTES]; // "00000000:17:00.0"
};
struct nvml_memory {
    unsigned long long total, free, used; // bytes
};
struct nvml_event {
    struct nvml_device *device;
    unsigned long long type, data; // data of NVML_EVENT_XID: the Xid's number
    unsigned int gpu_instance, compute_instance;
};
_Static_assert(sizeof(struct nvml_pci_info) == 68, "nvmlPciInfo_t, since _v3");
_Static_assert(offsetof(struct nvml_pci_info, bus_id) == 36, "nvmlPciInfo_t.busId");
_Static_assert(sizeof(struct nvml_memory) == 24, "nvmlMemory_t");
_Static_assert(sizeof(struct nvml_event) == 32, "nvmlEventData_t, since _v2");

enum nvml_code nvmlInit_v2(void);
enum nvml_code nvmlShutdown(void);
const char *nvmlErrorString(enum nvml_code code);
enum nvml_code nvmlSystemGetDriverVersion(char *out, unsigned int bytes);

enum nvml_code nvmlDeviceGetCount_v2(unsigned int *out);
enum nvml_code nvmlDeviceGetHandleByIndex_v2(unsigned int index, struct nvml_device **out);
enum nvml_code nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct nvml_device **out);

enum nvml_code nvmlDeviceGetIndex(struct nvml_device *d, unsigned int *out);
enum nvml_code nvmlDeviceGetName(struct nvml_device *d, char *out, unsigned int bytes);
enum nvml_code nvmlDeviceGetUUID(struct nvml_device *d, char *out, unsigned int bytes);
enum nvml_code nvmlDeviceGetPciInfo_v3(struct nvml_device *d, struct nvml_pci_info *out);
enum nvml_code nvmlDeviceGetMemoryInfo(struct nvml_device *d, struct nvml_memory *out);
enum nvml_code nvmlDeviceGetMigMode(struct nvml_device *d, unsigned int *out, unsigned int *out_pending);

enum nvml_code nvmlDeviceGetEccMode(struct nvml_device *d, enum nvml_switch *out,
                                    enum nvml_switch *out_pending);
enum nvml_code nvmlDeviceGetTotalEccErrors(struct nvml_device *d, enum nvml_memory_error kind,
                                           enum nvml_ecc_counter counter, unsigned long long *out);
enum nvml_code nvmlDeviceGetRemappedRows(struct nvml_device *d, unsigned int *out_corrected,
                                         unsigned int *out_uncorrected, unsigned int *out_pending,
                                         unsigned int *out_failed);
enum nvml_code nvmlDeviceGetTemperature(struct nvml_device *d, enum nvml_sensor sensor, unsigned int *out);
enum nvml_code nvmlDeviceGetClockInfo(struct nvml_device *d, enum nvml_clock clock, unsigned int *out_mhz);
/* Two names of one call: the second is that of drivers before 535. */
enum nvml_code nvmlDeviceGetCurrentClocksEventReasons(struct nvml_device *d, unsigned long long *out);
enum nvml_code nvmlDeviceGetCurrentClocksThrottleReasons(struct nvml_device *d, unsigned long long *out);
enum nvml_code nvmlDeviceGetPowerUsage(struct nvml_device *d, unsigned int *out_mw);
enum nvml_code nvmlDeviceGetTotalEnergyConsumption(struct nvml_device *d, unsigned long long *out_mj);

enum nvml_code nvmlEventSetCreate(struct nvml_event_set **out);
enum nvml_code nvmlDeviceRegisterEvents(struct nvml_device *d, unsigned long long types,
                                        struct nvml_event_set *set);
enum nvml_code nvmlEventSetWait_v2(struct nvml_event_set *set, struct nvml_event *out,
                                   unsigned int timeout_ms);
enum nvml_code nvmlEventSetFree(struct nvml_event_set *set);

#endif
