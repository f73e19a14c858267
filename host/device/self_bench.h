/* What self-tests (self_test.h) are made of: small data in numbered buffers, kernels launched on
 * them, results compared with those of plain C. */
#ifndef CLQ_DEVICE_SELF_BENCH_H
#define CLQ_DEVICE_SELF_BENCH_H

#include "device/self_test.h"

enum { CLQ_BENCH_BUFFERS = 16 };

typedef struct clq_self_bench {
    clq_device *device;
    const char *kernel;  /* whose values are asked for; NULL: all of the file's */
    const char *options; /* of the programs, where a launch gives none */
    clq_buffer *buffers[CLQ_BENCH_BUFFERS];
    bool *right; /* once false, nothing more is compared */
    char *wrong; /* CLQ_WRONG_TEXT */
} clq_self_bench;

/* ---- data ---- */

/* The next of a fixed sequence of numbers that look random, 0 .. 2^24 - 1. */
uint32_t clq_self_test_draw(uint32_t *state);
/* Whole numbers, -most .. most. */
void clq_self_test_fill(float *data, size_t count, int most, uint32_t seed);
/* A new buffer that holds `size` bytes of data, or what no result is where data is NULL. */
clq_status clq_self_test_buffer(clq_device *device, size_t size, const void *data,
                                clq_buffer **buffer);
/* The same as buffer `at` of the bench, in the place of what was there. */
clq_status clq_bench_put(clq_self_bench *b, int at, const void *data, size_t size);

/* ---- running ---- */

/* Work-items that do not divide the data. */
clq_range clq_bench_range(const clq_self_bench *b);
/* `count` work-items, or groups of `group` on the GPU schedule. */
clq_range clq_bench_groups(const clq_self_bench *b, size_t count, size_t group);
/* Whether a kernel's values are asked for. Others are neither launched by clq_bench_launch nor
 * compared, so a test by kernel puts into buffers what they would have left there. */
bool clq_bench_wants(const clq_self_bench *b, const char *kernel);
clq_status clq_bench_launch(clq_self_bench *b, const char *kernel, const char *options,
                            clq_range range, const clq_arg *args, size_t arg_count);
#define CLQ_BENCH(b, kernel, range, ...)                                                           \
    CLQ_TRY(clq_bench_launch((b), (kernel), NULL, (range), (clq_arg[]){__VA_ARGS__},               \
                             sizeof((clq_arg[]){__VA_ARGS__}) / sizeof(clq_arg)))
#define CLQ_AT(b, at) CLQ_BUF((b)->buffers[at])

/* ---- comparing ---- */

/* Within tolerance * max(1, |expected|). `what` names the kernel; of one that is not asked for
 * nothing is compared. */
clq_status clq_bench_floats(clq_self_bench *b, clq_buffer *buffer, const float *expected,
                            size_t count, double tolerance, const char *what);
/* Equal. */
clq_status clq_bench_bytes(clq_self_bench *b, clq_buffer *buffer, const void *expected, size_t size,
                           const char *what);
void clq_bench_check(clq_self_bench *b, double got, double expected, double tolerance,
                     const char *what);

/* Releases the buffers. */
void clq_bench_clear(clq_self_bench *b);

#endif
