/* A driver's library with one GPU, for tests of inference/device/nvml.py: the functions that pynvml calls.
 *
 * FAKE_NVML_UUID     the GPU's UUID; any other is not found
 * FAKE_NVML_INIT     what nvmlInit returns
 * FAKE_NVML_WITHOUT  readings that the GPU does not support, as in "power,processes"
 * FAKE_NVML_LOST     if set, the GPU has fallen off the bus
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, GPU_IS_LOST = 15 };

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct { unsigned int pid; unsigned long long used; unsigned int gpu_instance, compute_instance; } Process;

static int gpu;

static int answer(const char *question) {
    const char *without = getenv("FAKE_NVML_WITHOUT");
    if (getenv("FAKE_NVML_LOST")) return GPU_IS_LOST;
    return without && strstr(without, question) ? NOT_SUPPORTED : SUCCESS;
}

int nvmlInitWithFlags(unsigned int flags) {
    const char *code = getenv("FAKE_NVML_INIT");
    (void)flags;
    return code ? atoi(code) : SUCCESS;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    const char *known = getenv("FAKE_NVML_UUID");
    *handle = &gpu;
    return known && strcmp(known, uuid) == 0 ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetUtilizationRates(void *handle, Utilization *rates) {
    rates->gpu = handle == &gpu ? 42 : 0;
    rates->memory = 7;
    return answer("utilization");
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned int *milliwatts) {
    *milliwatts = handle == &gpu ? 250500 : 0;
    return answer("power");
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned int *celsius) {
    *celsius = handle == &gpu && sensor == 0 ? 61 : 0;
    return answer("temperature");
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    (void)handle;
    memory->total = 85899345920ULL;
    memory->used = 10737418240ULL;
    memory->free = memory->total - memory->used;
    return answer("memory");
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned int *count, Process *processes) {
    unsigned int room = *count;
    (void)handle;
    *count = 2;
    if (answer("processes") != SUCCESS) return answer("processes");
    if (room < 2) return INSUFFICIENT_SIZE;
    processes[0] = (Process){1, 9663676416ULL, 0, 0};
    processes[1] = (Process){(unsigned int)getpid(), 1073741824ULL, 0, 0};
    return SUCCESS;
}
