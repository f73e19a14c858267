/* Self-test of the histograms' kernels. */
#include <math.h>

#include "kernels/include/histogram.h"
#include "ops/self_test.h"

static clq_status test_histogram(clq_self_bench *b) {
    enum { COUNT = 70, ROWS = 3, ROW = 2 * CLQ_BINS + 16 };
    enum { X, RANGE, PARTS, COUNTS };
    static const uint32_t none[2 * CLQ_BINS]; /* the first row, behind the join */
    static const float range[2] = {0.75f, 40};
    float x[COUNT];
    uint32_t counts[2 * CLQ_BINS] = {0};
    clq_self_test_fill(x, COUNT, 1000, 1);
    for (int i = 0; i < COUNT; i++) {
        x[i] *= x[i] < 0 ? 0.00075f : i % 3 == 0 ? 1e-9f : 0.04f;
        const int side = x[i] > 0;
        const int bin = (clq_float_bits(fabsf(x[i])) >> CLQ_BIN_SHIFT) - clq_first_bin(range[side]);
        counts[side * CLQ_BINS + (bin < 0 ? 0 : bin)] += x[i] != 0;
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, RANGE, range, sizeof range));
    CLQ_TRY(clq_bench_put(b, PARTS, NULL, ROWS * ROW * sizeof *counts));
    CLQ_TRY(clq_bench_put(b, COUNTS, NULL, sizeof counts));
    CLQ_TRY(clq_buffer_fill(b->buffers[PARTS], 0, ROWS * ROW * sizeof *counts, 0));
    CLQ_BENCH(b, "histogram_count", clq_bench_groups(b, ROWS, 32), CLQ_AT(b, X), CLQ_AT(b, RANGE),
              CLQ_AT(b, PARTS), CLQ_I32(0), CLQ_I32(COUNT));
    CLQ_BENCH(b, "histogram_join", clq_bench_range(b), CLQ_AT(b, PARTS), CLQ_AT(b, COUNTS),
              CLQ_I32(0), CLQ_I32(ROWS));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[COUNTS], counts, sizeof counts, "histogram_count"));
    return clq_bench_bytes(b, b->buffers[PARTS], none, sizeof none, "histogram_join");
}

const clq_file_test clq_histogram_self_tests[] = {{"quant/histogram.cl", test_histogram, false},
                                                  {0}};
