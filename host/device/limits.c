/* What bounds a device besides arithmetic: memory and cache (kernels/f32/limits.cl), requantizing
 * (kernels/int8/requantize_peak.cl), launches. Each the best of several runs, so that some are
 * undisturbed. */
#include <math.h>

#include "base/arguments.h"
#include "device/internal.h"

enum {
    RUNS = 12,
    CHAIN = 200,            /* launches */
    MAX_REPEATS = 1 << 16,  /* of the whole buffer in a run */
    CPU_SINK = 4 * 24 * 16, /* bytes of a work-item of peak_requantize */
    GPU_SINK = 4 * 4 * 4,
    LEAST_TRIED = 1 << 20 /* bytes */
};
static const double RUN_SECONDS = 0.002;
static const uint64_t least_memory = UINT64_C(64) << 20, most_memory = UINT64_C(1) << 30;

/* ---- reading ---- */

/* How read_bandwidth walks a buffer. */
typedef struct reading {
    clq_range range;
    size_t chunk; /* vectors of a work-group; 0: the buffer is too small */
    size_t bytes; /* of all work-groups */
} reading;

static reading plan_reading(const clq_device_info *info, uint64_t size) {
    const bool gpu = info->schedule == CLQ_SCHEDULE_GPU;
    reading r = {.range = clq_peak_range(info)};
    const size_t local = gpu ? r.range.local[0] : 1;
    const size_t vector = gpu ? 16 : 64, step = 4 * local; /* bytes; vectors at a time */
    size_t groups = r.range.global[0] / local;
    while (groups > info->compute_units && size < (uint64_t)groups * step * vector) {
        groups /= 2;
    }
    r.range.global[0] = groups * local;
    r.chunk = (size_t)(size / (groups * vector)) / step * step;
    r.bytes = r.chunk * groups * vector;
    return r;
}

/* The best rate of many runs, each with so many repeats that its launch does not count. */
static clq_status time_reading(clq_device *device, const reading *r, clq_arg args[4], double *gbs) {
    int32_t repeats = 1;
    double seconds = 0;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "read_bandwidth", NULL, &kernel));
    args[3] = CLQ_I32(repeats);
    CLQ_TRY(clq_time_launches(device, kernel, r->range, args, 4, 1, &seconds)); /* compiles */
    while (repeats < MAX_REPEATS) {
        CLQ_TRY(clq_time_launches(device, kernel, r->range, args, 4, 1, &seconds));
        if (seconds >= RUN_SECONDS) {
            break;
        }
        repeats *= 2;
        args[3] = CLQ_I32(repeats);
    }
    for (int i = 0; i < RUNS; i++) {
        CLQ_TRY(clq_time_launches(device, kernel, r->range, args, 4, 1, &seconds));
        const double rate = seconds > 0 ? 1e-9 * (double)r->bytes * repeats / seconds : 0;
        *gbs = rate > *gbs ? rate : *gbs;
    }
    return CLQ_OK;
}

/* Of a buffer of `size` bytes or a little less; 0 when that is too few. */
static clq_status measure_reading(clq_device *device, uint64_t size, double *gbs) {
    const reading r = plan_reading(&device->info, size);
    clq_status status = CLQ_OK;
    clq_buffer *data = NULL, *sinks = NULL;
    *gbs = 0;
    if (r.chunk == 0) {
        return CLQ_OK;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, r.bytes, &data));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, r.range.global[0] * 4, &sinks));
    /* Memory that was never written may not exist. */
    CLQ_GOTO(status, cleanup, clq_buffer_fill(data, 0, r.bytes, 1));
    clq_arg args[] = {CLQ_BUF(data), CLQ_BUF(sinks), CLQ_I32(r.chunk), CLQ_I32(1)};
    CLQ_GOTO(status, cleanup, time_reading(device, &r, args, gbs));
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
    uint64_t size = memory_size(&device->info);
    clq_status status = measure_reading(device, size, &limits->memory_gbs);
    while (status == CLQ_NO_MEMORY && size > LEAST_TRIED) { /* what is reported may not be free */
        size /= 2;
        status = measure_reading(device, size, &limits->memory_gbs);
    }
    CLQ_TRY(status);
    clq_pool_trim(device); /* so large a block is not wanted again */
    CLQ_TRY(measure_reading(device, device->info.cache / 4, &limits->cache_gbs));
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
    const size_t sink = device->info.schedule == CLQ_SCHEDULE_CPU ? CPU_SINK : GPU_SINK;
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, range.global[0] * sink, &sinks));
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
    for (int i = 0; i < RUNS; i++) {
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

/* Keeps the better of what is known and what is measured now. */
static clq_status measure_again(clq_device *device) {
    clq_device_limits *known = &device->limits, now = {0};
    const bool recording = device->profile.on;
    clq_status status = CLQ_OK;
    device->profile.on = false; /* these launches are nobody's work */
    CLQ_GOTO(status, cleanup, measure_memory(device, &now));
    CLQ_GOTO(status, cleanup, measure_requantizing(device, &now.requantize_gcodes));
    CLQ_GOTO(status, cleanup, measure_launches(device, &now.launch_us));
    if (known->launch_us == 0) {
        *known = now;
    }
    known->memory_gbs = fmax(known->memory_gbs, now.memory_gbs);
    known->cache_gbs = fmax(known->cache_gbs, now.cache_gbs);
    known->requantize_gcodes = fmax(known->requantize_gcodes, now.requantize_gcodes);
    known->launch_us = fmin(known->launch_us, now.launch_us);
cleanup:
    device->profile.on = recording;
    return status;
}

clq_status clq_device_measure_limits(clq_device *device, clq_device_limits *limits) {
    CLQ_NEEDS(device, limits);
    if (device->limits.launch_us == 0) {
        CLQ_TRY(measure_again(device));
    }
    *limits = device->limits;
    return clq_device_peak(device, &limits->fp32_gflops, &limits->int8_gops);
}

clq_status clq_device_remeasure_limits(clq_device *device) {
    CLQ_NEEDS(device);
    CLQ_TRY(clq_measure_peaks(device, true));
    return measure_again(device);
}
