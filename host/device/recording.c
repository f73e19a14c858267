#include "device/recording.h"

#include "device/chain.h"

clq_status clq_chain_record(clq_device *device) {
    device->recorder = clq_calloc(1, sizeof *device->recorder);
    return device->recorder ? CLQ_OK : CLQ_NO_MEMORY;
}

void clq_chain_drop(clq_device *device) {
    clq_recorder_free(device->recorder);
    device->recorder = NULL;
}

int clq_chain_noted(const clq_device *device, int *kernels) {
    const clq_recorder *noted = device->recorder;
    *kernels = 0;
    for (int l = 0; l < noted->count; l++) {
        int before = 0;
        while (noted->launches[before].kernel != noted->launches[l].kernel) {
            before++;
        }
        *kernels += before == l;
    }
    return noted->count;
}

static clq_status grow(clq_recorder *recorder) {
    if (recorder->count < recorder->capacity) {
        return CLQ_OK;
    }
    const int capacity = recorder->capacity ? 2 * recorder->capacity : 64;
    clq_recorded *more =
        clq_realloc(recorder->launches, (size_t)capacity, sizeof *recorder->launches);
    if (!more) {
        return CLQ_NO_MEMORY;
    }
    recorder->launches = more;
    recorder->capacity = capacity;
    return CLQ_OK;
}

static const char *reason_against(const clq_kernel *kernel, const clq_range *range,
                                  const clq_arg *args) {
    double items = 1;
    for (unsigned d = 0; d < range->dims; d++) {
        items *= (double)range->global[d];
        if (range->local[d] != 1) {
            return "work-groups of several work-items";
        }
    }
    for (size_t i = 0; i < kernel->arg_count; i++) {
        if (args[i].kind == CLQ_ARG_LOCAL) {
            return "local memory";
        }
    }
    return items > INT32_MAX ? "too many work-items" : NULL;
}

clq_status clq_recorder_add(clq_device *device, clq_kernel *kernel, const clq_range *range,
                            const clq_arg *args) {
    clq_recorder *recorder = device->recorder;
    const char *reason = reason_against(kernel, range, args);
    if (reason) {
        return clq_recorder_refuse(device, reason);
    }
    CLQ_TRY(grow(recorder));
    clq_recorded launch = {.kernel = kernel,
                           .args = clq_calloc(kernel->arg_count, sizeof *launch.args),
                           .memory = clq_calloc(kernel->arg_count, sizeof(cl_mem))};
    if (!launch.args || !launch.memory) {
        clq_free(launch.args);
        clq_free(launch.memory);
        return CLQ_NO_MEMORY;
    }
    for (unsigned d = 0; d < 3; d++) {
        launch.global[d] = d < range->dims ? range->global[d] : 1;
    }
    for (size_t i = 0; i < kernel->arg_count; i++) {
        launch.args[i] = args[i];
        const clq_buffer *buffer = args[i].kind == CLQ_ARG_BUFFER ? args[i].value.buffer : NULL;
        if (buffer) {
            launch.memory[i] = buffer->memory;
            clRetainMemObject(buffer->memory);
            recorder->uses_scratch |= buffer->is_scratch;
        }
    }
    recorder->launches[recorder->count++] = launch;
    return CLQ_OK;
}

clq_status clq_recorder_refuse(clq_device *device, const char *what) {
    if (!device->recorder) {
        return CLQ_OK;
    }
    device->recorder->refused = what;
    return clq_fail(CLQ_DEVICE, "%s cannot be a part of a chain", what);
}

void clq_recorder_free(clq_recorder *recorder) {
    if (!recorder) {
        return;
    }
    for (int l = 0; l < recorder->count; l++) {
        clq_recorded *launch = &recorder->launches[l];
        for (size_t i = 0; i < launch->kernel->arg_count; i++) {
            if (launch->memory[i]) {
                clReleaseMemObject(launch->memory[i]);
            }
        }
        clq_free(launch->args);
        clq_free(launch->memory);
    }
    clq_free(recorder->launches);
    clq_free(recorder);
}
