#include "device/self_bench.h"

#include <math.h>
#include <string.h>

#include "base/numbers.h"

uint32_t clq_self_test_draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

void clq_self_test_fill(float *data, size_t count, int most, uint32_t seed) {
    uint32_t state = seed;
    for (size_t i = 0; i < count; i++) {
        data[i] = (float)((int)(clq_self_test_draw(&state) % (uint32_t)(2 * most + 1)) - most);
    }
}

clq_status clq_self_test_buffer(clq_device *device, size_t size, const void *data,
                                clq_buffer **buffer) {
    enum { NO_RESULT = 0x7fc1a5a5 }; /* a NaN; memory of the pool might hold an earlier result */
    CLQ_TRY(clq_buffer_create(device, (size + 3) / 4 * 4, buffer));
    return data ? clq_buffer_write(*buffer, 0, size, data)
                : clq_buffer_fill(*buffer, 0, (size + 3) / 4 * 4, NO_RESULT);
}

clq_status clq_bench_put(clq_self_bench *b, int at, const void *data, size_t size) {
    clq_buffer_release(b->buffers[at]);
    b->buffers[at] = NULL;
    return clq_self_test_buffer(b->device, size, data, &b->buffers[at]);
}

void clq_bench_clear(clq_self_bench *b) {
    for (int i = 0; i < CLQ_BENCH_BUFFERS; i++) {
        clq_buffer_release(b->buffers[i]);
        b->buffers[i] = NULL;
    }
}

/* ---- running ---- */

static bool on_gpu(const clq_self_bench *b) {
    return clq_device_get_info(b->device)->schedule == CLQ_SCHEDULE_GPU;
}

clq_range clq_bench_range(const clq_self_bench *b) {
    return on_gpu(b) ? CLQ_RANGE1(64) : CLQ_RANGE1(3);
}

clq_range clq_bench_groups(const clq_self_bench *b, size_t count, size_t group) {
    return on_gpu(b) ? (clq_range){1, {count * group, 1, 1}, {group, 1, 1}} : CLQ_RANGE1(count);
}

bool clq_bench_wants(const clq_self_bench *b, const char *kernel) {
    return !b->kernel || strcmp(b->kernel, kernel) == 0;
}

clq_status clq_bench_launch(clq_self_bench *b, const char *kernel, const char *options,
                            clq_range range, const clq_arg *args, size_t arg_count) {
    clq_kernel *handle = NULL;
    if (!clq_bench_wants(b, kernel)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(b->device, kernel, options ? options : b->options, &handle));
    return clq_launch(b->device, handle, range, args, arg_count);
}

/* ---- comparing ---- */

void clq_bench_check(clq_self_bench *b, double got, double expected, double tolerance,
                     const char *what) {
    if (*b->right && !(fabs(got - expected) <= tolerance * fmax(1, fabs(expected)))) {
        *b->right = false;
        clq_snprintf(b->wrong, CLQ_WRONG_TEXT, "%s: %g, not %g", what, got, expected);
    }
}

clq_status clq_bench_floats(clq_self_bench *b, clq_buffer *buffer, const float *expected,
                            size_t count, double tolerance, const char *what) {
    clq_status status = CLQ_OK;
    if (!*b->right || !clq_bench_wants(b, what)) {
        return CLQ_OK;
    }
    float *got = clq_calloc(count, sizeof *got);
    if (!got) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(buffer, 0, count * sizeof *got, got));
    for (size_t i = 0; i < count; i++) {
        clq_bench_check(b, (double)got[i], (double)expected[i], tolerance, what);
    }
cleanup:
    clq_free(got);
    return status;
}

clq_status clq_bench_bytes(clq_self_bench *b, clq_buffer *buffer, const void *expected, size_t size,
                           const char *what) {
    const uint8_t *bytes = expected;
    clq_status status = CLQ_OK;
    size_t wrong = 0;
    if (!*b->right || !clq_bench_wants(b, what)) {
        return CLQ_OK;
    }
    uint8_t *got = clq_calloc(size, 1);
    if (!got) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(buffer, 0, size, got));
    for (size_t i = 0; i < size; i++) {
        wrong += got[i] != bytes[i];
    }
    if (wrong > 0) {
        *b->right = false;
        clq_snprintf(b->wrong, CLQ_WRONG_TEXT, "%s: %zu of %zu bytes are wrong", what, wrong, size);
    }
cleanup:
    clq_free(got);
    return status;
}
