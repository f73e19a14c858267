/* Queueing kernels. */
#include <stdio.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "device/cl_status.h"
#include "device/internal.h"
#include "device/program_cache.h"
#include "device/recording.h"

static clq_status set_arg(const clq_kernel *kernel, cl_uint index, const clq_arg *arg) {
    const void *value = NULL;
    size_t size = 0;
    switch (arg->kind) {
    case CLQ_ARG_BUFFER:
        value = arg->value.buffer ? &arg->value.buffer->memory : NULL;
        size = sizeof(cl_mem);
        break;
    case CLQ_ARG_I32:
        value = &arg->value.i32;
        size = sizeof arg->value.i32;
        break;
    case CLQ_ARG_U32:
        value = &arg->value.u32;
        size = sizeof arg->value.u32;
        break;
    case CLQ_ARG_F32:
        value = &arg->value.f32;
        size = sizeof arg->value.f32;
        break;
    case CLQ_ARG_LOCAL:
        size = arg->value.local_bytes;
        break;
    }
    cl_int error = clSetKernelArg(kernel->handle, index, size, value);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "setting argument %u of kernel %s", index, kernel->name);
    }
    return CLQ_OK;
}

/* "64x3x1" */
static const char *range_text(const size_t sizes[3], unsigned dims, char out[80]) {
    int n = 0;
    for (unsigned d = 0; d < dims && n < 70; d++) {
        n += snprintf(out + n, 80 - (size_t)n, "%s%zu", d ? "x" : "", sizes[d]);
    }
    return out;
}

/* A work-group for kernels that do not care. Few different ones, and on a CPU hardly any, because
 * PoCL compiles a kernel once per local size. A range of 1 stays one work-item. */
static void choose_local(const clq_device *device, const clq_kernel *kernel, clq_range *range) {
    enum { GROUP = 128 };
    size_t left = GROUP;
    if (kernel->compile_local[0] != 0) {
        for (unsigned d = 0; d < range->dims; d++) {
            range->local[d] = kernel->compile_local[d];
        }
        return;
    }
    for (unsigned d = 0; d < range->dims; d++) {
        range->local[d] = 1;
    }
    if (device->info.schedule == CLQ_SCHEDULE_CPU) {
        return;
    }
    while (left > kernel->max_local || left > device->info.max_work_group) {
        left /= 2;
    }
    for (unsigned d = 0; d < range->dims && left > 1; d++) {
        size_t n = range->global[d];
        n = device->info.is_cpu && n > 1 ? SIZE_MAX : n;
        size_t wish = n > 64 ? 128 : n > 12 ? 32 : n > 3 ? 8 : n > 1 ? 2 : 1;
        if (d + 1 < range->dims && wish > 32) {
            wish = 32; /* leaves some for the next dimension */
        }
        range->local[d] = wish < left ? wish : left;
        left /= range->local[d];
    }
}

/* Fills in what the caller left open and makes global a multiple of local. */
static clq_status complete_range(const clq_device *device, const clq_kernel *kernel,
                                 clq_range *range) {
    char text[80];
    if (range->dims < 1 || range->dims > 3) {
        return clq_fail(CLQ_INTERNAL, "kernel %s: a range of %u dimensions", kernel->name,
                        range->dims);
    }
    bool open = true;
    for (unsigned d = 0; d < range->dims; d++) {
        open = open && range->local[d] == 0;
        if (range->global[d] == 0) {
            return clq_fail(CLQ_INTERNAL, "kernel %s: the range %s is empty", kernel->name,
                            range_text(range->global, range->dims, text));
        }
    }
    if (open) {
        choose_local(device, kernel, range);
    }
    for (unsigned d = 0; d < range->dims; d++) {
        size_t local = range->local[d];
        bool whole = local > 0 && range->global[d] % local == 0;
        if (local == 0 || (!whole && device->info.schedule == CLQ_SCHEDULE_CPU && !open) ||
            !clq_round_up_size(range->global[d], local, &range->global[d])) {
            return clq_fail(CLQ_INTERNAL, "kernel %s: local size %zu does not divide the range %s",
                            kernel->name, local, range_text(range->global, range->dims, text));
        }
    }
    return CLQ_OK;
}

/* The first launch of a kernel of a restored program: only when that has ended well is it known
 * that the driver can run it. */
static void end_trial(clq_device *device, clq_kernel *kernel, bool failed) {
    if (kernel->on_trial) {
        kernel->on_trial = false;
        clq_program_trial_end(device, failed);
    }
}

clq_status clq_launch(clq_device *device, clq_kernel *kernel, clq_range range, const clq_arg *args,
                      size_t arg_count) {
    CLQ_NEEDS(device, kernel);
    char global_text[80], local_text[80];
    cl_event slot, *event = clq_profile_event(device, &slot);
    if (arg_count != kernel->arg_count) {
        return clq_fail(CLQ_INTERNAL, "kernel %s takes %u arguments, not %zu", kernel->name,
                        kernel->arg_count, arg_count);
    }
    CLQ_REQUIRE(args || arg_count == 0, "args must not be NULL");
    CLQ_TRY(complete_range(device, kernel, &range));
    if (device->recorder) {
        return clq_recorder_add(device, kernel, &range, args);
    }
    for (size_t i = 0; i < arg_count; i++) {
        CLQ_TRY(set_arg(kernel, (cl_uint)i, &args[i]));
    }
    cl_int error = clEnqueueNDRangeKernel(device->queue, kernel->handle, range.dims, NULL,
                                          range.global, range.local, 0, NULL, event);
    if (error != CL_SUCCESS) {
        end_trial(device, kernel, true);
        return clq_cl_fail(error, "launching kernel %s on %s with range %s, local size %s",
                           kernel->name, device->info.name,
                           range_text(range.global, range.dims, global_text),
                           range_text(range.local, range.dims, local_text));
    }
    if (event) {
        clq_profile_add(device, kernel->name, &range, *event);
    }
    device->profile.work = 0;
    if (kernel->on_trial) {
        const clq_status status = clq_device_finish(device);
        end_trial(device, kernel, status != CLQ_OK);
        return status;
    }
    return CLQ_OK;
}

clq_status clq_device_finish(clq_device *device) {
    CLQ_NEEDS(device);
    cl_int error = clFinish(device->queue);
    return error == CL_SUCCESS
               ? CLQ_OK
               : clq_cl_fail(error, "waiting for the work queued on %s", device->info.name);
}
