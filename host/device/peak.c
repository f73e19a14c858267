/* The arithmetic peaks: the best of many short runs (so that some are undisturbed) of
 * kernels/f32/peak.cl and kernels/int8/peak.cl, long enough that starting them does not count. */
#include "base/arguments.h"
#include "base/clock.h"
#include "device/internal.h"

enum { REPEATS = 40, FIRST_ITERATIONS = 200 };
static const double run_seconds = 0.004; /* wanted of one run */

clq_status clq_time_launches(clq_device *device, clq_kernel *kernel, clq_range range,
                             const clq_arg *args, size_t arg_count, int launches, double *seconds) {
    CLQ_TRY(clq_device_finish(device));
    double start = clq_now_seconds();
    for (int i = 0; i < launches; i++) {
        CLQ_TRY(clq_launch(device, kernel, range, args, arg_count));
    }
    CLQ_TRY(clq_device_finish(device));
    *seconds = clq_now_seconds() - start;
    return CLQ_OK;
}

static clq_status time_run(clq_device *device, clq_kernel *kernel, clq_range range,
                           const clq_arg *args, size_t arg_count, double *seconds) {
    return clq_time_launches(device, kernel, range, args, arg_count, 1, seconds);
}

clq_status clq_measure_rate(clq_device *device, clq_kernel *kernel, clq_range range, clq_arg *args,
                            size_t arg_count, double *giga_per_second) {
    int32_t iterations = FIRST_ITERATIONS, operations = 0;
    double seconds = 0, best = 0;
    args[arg_count - 1] = CLQ_I32(iterations);
    CLQ_TRY(time_run(device, kernel, range, args, arg_count, &seconds)); /* compiles */
    for (int i = 0; i < 10 && iterations < 100000000; i++) {
        CLQ_TRY(time_run(device, kernel, range, args, arg_count, &seconds));
        if (seconds >= run_seconds) {
            break;
        }
        double factor = seconds > 0 ? 1.2 * run_seconds / seconds : 10;
        iterations = (int32_t)(iterations * (factor > 10 ? 10 : factor)) + 1;
        args[arg_count - 1] = CLQ_I32(iterations);
    }
    CLQ_TRY(clq_buffer_read(args[1].value.buffer, 0, sizeof operations, &operations));
    for (int i = 0; i < REPEATS; i++) {
        CLQ_TRY(time_run(device, kernel, range, args, arg_count, &seconds));
        double rate = (double)operations * iterations * (double)range.global[0] / (seconds * 1e9);
        best = rate > best ? rate : best;
    }
    *giga_per_second = best;
    return CLQ_OK;
}

clq_range clq_peak_range(const clq_device_info *info) {
    const size_t units = info->compute_units;
    clq_range range = CLQ_RANGE1(units > 1 ? units * 8 : 16); /* some for every core */
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        range.local[0] = info->max_work_group < 256 ? info->max_work_group : 256;
        range.global[0] = units * 8 * range.local[0];
    }
    return range;
}

/* Measures a rate that is not known yet, or again to keep the better one. */
static clq_status update(clq_device *device, const char *name, clq_range range, clq_arg *args,
                         size_t arg_count, bool again, double *rate) {
    clq_kernel *kernel = NULL;
    double now = 0;
    if (*rate > 0 && !again) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(device, name, NULL, &kernel));
    CLQ_TRY(clq_measure_rate(device, kernel, range, args, arg_count, &now));
    *rate = now > *rate ? now : *rate;
    return CLQ_OK;
}

clq_status clq_measure_peaks(clq_device *device, bool again) {
    clq_status status = CLQ_OK;
    clq_buffer *sinks = NULL, *operations = NULL;
    clq_range range = clq_peak_range(&device->info);
    bool recording = device->profile.on;
    device->profile.on = false; /* these launches are nobody's work */
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, range.global[0] * sizeof(float), &sinks));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, sizeof(int32_t), &operations));
    clq_arg fp32[] = {CLQ_BUF(sinks), CLQ_BUF(operations), CLQ_F32(0.5f), CLQ_F32(1.0f),
                      CLQ_I32(0)};
    clq_arg int8[] = {CLQ_BUF(sinks), CLQ_BUF(operations), CLQ_I32(0), CLQ_I32(0)};
    CLQ_GOTO(status, cleanup,
             update(device, "peak_f32", range, fp32, 5, again, &device->peak_fp32));
    CLQ_GOTO(
        status, cleanup,
        update(device, "peak_int8", range, int8, 4, again, &device->peak_int8[device->info.dot]));
cleanup:
    device->profile.on = recording;
    clq_buffer_release(sinks);
    clq_buffer_release(operations);
    return status;
}

clq_status clq_device_peak(clq_device *device, double *fp32_gflops, double *int8_gops) {
    CLQ_NEEDS(device, fp32_gflops, int8_gops);
    CLQ_TRY(clq_measure_peaks(device, false));
    *fp32_gflops = device->peak_fp32;
    *int8_gops = device->peak_int8[device->info.dot];
    return CLQ_OK;
}
