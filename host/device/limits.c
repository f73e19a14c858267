/* What bounds a device besides arithmetic: memory and cache (kernels/f32/limits.cl), requantizing
 * (kernels/int8/requantize_peak.cl), launches. Each the best of several runs, so that some are
 * undisturbed. */
#include "device/internal.h"

enum {
    REPEATS = 12,
    CHAIN = 200,            /* launches */
    CACHE_READS = 16,       /* of the whole buffer in a run */
    SINK_BYTES = 4 * 4 * 16 /* of a work-item of peak_requantize */
};
static const uint64_t least_memory = UINT64_C(64) << 20, most_memory = UINT64_C(1) << 30;

/* ---- reading ---- */

/* Reads `size` bytes, or a little less, `reads` times in one launch. */
static clq_status measure_reading(clq_device *device, uint64_t size, int reads, double *gbs) {
    const clq_range range = clq_peak_range(&device->info);
    const bool gpu = device->info.schedule == CLQ_SCHEDULE_GPU;
    const size_t local = gpu ? range.local[0] : 1, groups = range.global[0] / local;
    const size_t vector = gpu ? 16 : 64, step = 4 * local; /* of read_bandwidth */
    const size_t chunk = size / (groups * vector) / step * step;
    const double bytes = (double)(chunk * groups * vector) * reads;
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    clq_buffer *data = NULL, *sinks = NULL;
    double best = 0;
    if (chunk == 0) {
        *gbs = 0;
        return CLQ_OK;
    }
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "read_bandwidth", NULL, &kernel));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, chunk * groups * vector, &data));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, range.global[0] * 4, &sinks));
    /* Memory that was never written may not exist. */
    CLQ_GOTO(status, cleanup, clq_buffer_fill(data, 0, chunk * groups * vector, 1));
    const clq_arg args[] = {CLQ_BUF(data), CLQ_BUF(sinks), CLQ_I32(chunk), CLQ_I32(reads)};
    for (int i = 0; i < REPEATS; i++) {
        double seconds = 0;
        CLQ_GOTO(status, cleanup,
                 clq_time_launches(device, kernel, range, args, sizeof args / sizeof *args, 1,
                                   &seconds));
        const double rate = seconds > 0 ? 1e-9 * bytes / seconds : 0;
        best = rate > best ? rate : best;
    }
    *gbs = best;
cleanup:
    clq_buffer_release(data);
    clq_buffer_release(sinks);
    return status;
}

/* Memory: four times what the cache holds. */
static uint64_t memory_size(const clq_device_info *info) {
    uint64_t size = info->cache < most_memory / 4 ? 4 * info->cache : most_memory;
    size = size < least_memory ? least_memory : size;
    size = size > info->max_allocation ? info->max_allocation : size;
    return size > info->global_memory / 4 ? info->global_memory / 4 : size;
}

static clq_status measure_memory(clq_device *device, clq_device_limits *limits) {
    CLQ_TRY(measure_reading(device, memory_size(&device->info), 1, &limits->memory_gbs));
    clq_pool_trim(device); /* so large a block is not wanted again */
    CLQ_TRY(measure_reading(device, device->info.cache / 4, CACHE_READS, &limits->cache_gbs));
    if (limits->cache_gbs < limits->memory_gbs) {
        limits->cache_gbs = limits->memory_gbs;
    }
    return CLQ_OK;
}

/* ---- requantizing, launching ---- */

static clq_status measure_requantizing(clq_device *device, double *gcodes) {
    const clq_range range = clq_peak_range(&device->info);
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    clq_buffer *sinks = NULL, *operations = NULL;
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "peak_requantize", NULL, &kernel));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, range.global[0] * SINK_BYTES, &sinks));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, sizeof(int32_t), &operations));
    clq_arg args[] = {CLQ_BUF(sinks), CLQ_BUF(operations), CLQ_F32(0.37f), CLQ_I32(0)};
    CLQ_GOTO(status, cleanup,
             clq_measure_rate(device, kernel, range, args, sizeof args / sizeof *args, gcodes));
cleanup:
    clq_buffer_release(sinks);
    clq_buffer_release(operations);
    return status;
}

static clq_status measure_launches(clq_device *device, double *us) {
    clq_status status = CLQ_OK;
    clq_kernel *kernel = NULL;
    clq_buffer *sinks = NULL;
    *us = 0;
    CLQ_GOTO(status, cleanup, clq_kernel_get(device, "launch_nothing", NULL, &kernel));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, 64, &sinks));
    const clq_arg args[] = {CLQ_BUF(sinks)};
    for (int i = 0; i < REPEATS; i++) {
        double seconds = 0;
        CLQ_GOTO(status, cleanup,
                 clq_time_launches(device, kernel, CLQ_RANGE1(1), args, 1, CHAIN, &seconds));
        const double each = 1e6 * seconds / CHAIN;
        *us = i == 0 || each < *us ? each : *us;
    }
cleanup:
    clq_buffer_release(sinks);
    return status;
}

clq_status clq_device_measure_limits(clq_device *device, clq_device_limits *limits) {
    clq_device_limits *known = &device->limits;
    const bool recording = device->profile.on;
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_device_peak(device, &known->fp32_gflops, &known->int8_gops));
    if (known->launch_us == 0) {
        device->profile.on = false; /* these launches are nobody's work */
        CLQ_GOTO(status, cleanup, measure_memory(device, known));
        CLQ_GOTO(status, cleanup, measure_requantizing(device, &known->requantize_gcodes));
        CLQ_GOTO(status, cleanup, measure_launches(device, &known->launch_us));
    }
    *limits = *known;
cleanup:
    device->profile.on = recording;
    return status;
}
