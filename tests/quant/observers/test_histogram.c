/* Histograms: the kernels against plain counts, and what doubling leaves. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "quant/observers/histogram.h"
#include "support/op_run.h"

enum { SLOTS = 3, VALUES = 5 };

/* ---- plain counts ---- */

typedef struct counts {
    float range[2];
    uint32_t of[2][CLQ_BINS];
} counts;

/* The bin by the magnitude's size: 2^e (1 + m / 128) .. 2^e (1 + (m + 1) / 128). */
static int ref_bin(double magnitude, double largest) {
    int top = 0, exponent = 0;
    (void)frexp(largest, &top);
    const double fraction = frexp(magnitude, &exponent); /* 0.5 <= fraction < 1 */
    const int bin = CLQ_BINS - (top - exponent + 1) * 128 + (int)floor((2 * fraction - 1) * 128);
    return bin > 0 ? bin : 0;
}

static void ref_histogram_count(const float *x, int64_t count, counts *result) {
    *result = (counts){0};
    for (int64_t i = 0; i < count; i++) {
        const int side = x[i] > 0;
        result->range[side] = fmaxf(result->range[side], fabsf(x[i]));
    }
    for (int64_t i = 0; i < count; i++) {
        const int side = x[i] > 0;
        if (x[i] != 0) {
            result->of[side][ref_bin(fabs((double)x[i]), (double)result->range[side])]++;
        }
    }
}

/* Reals of many magnitudes, with zeros, repeated values and powers of two. */
static float *some_reals(int64_t count, uint64_t seed) {
    float *x = random_floats((size_t)count, -1, 1, seed);
    for (int64_t i = 0; i < count; i++) {
        x[i] = i % 7 == 0    ? (i % 2 ? 0.0f : -0.0f)
               : i % 11 == 0 ? 0.25f
                             : ldexpf(x[i], (int)(i % 40) - 30);
    }
    return x;
}

static void check_count(int64_t count, int slot) {
    clq_histogram_counter *counter = NULL;
    const uint32_t *got = NULL;
    float *x = some_reals(count, (uint64_t)count), ranges[2 * VALUES] = {0};
    counts *expected = malloc(sizeof *expected);
    ref_histogram_count(x, count, expected);
    memcpy(ranges + 2 * (VALUES - 1), expected->range, sizeof expected->range);
    clq_buffer *reals = make_buffer(x, (size_t)count * sizeof *x);
    clq_buffer *range = make_buffer(ranges, sizeof ranges);
    assert_ok(clq_histogram_counter_create(test_device, SLOTS, &counter));
    for (int again = 0; again < 2; again++) { /* each batch begins anew */
        assert_ok(clq_histogram_counter_take(counter, slot, reals, count, range, VALUES - 1));
        assert_ok(clq_histogram_counter_read(counter, &got));
        assert_memory_equal(got + (size_t)slot * 2 * CLQ_BINS, expected->of, sizeof expected->of);
    }
    clq_histogram_counter_destroy(counter);
    clq_buffer_release(reals);
    clq_buffer_release(range);
    free(expected);
    free(x);
}

static void kernels_count_as_plain_loops(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 2, 15, 16, 17, 127, 129, 16383, 16385, 70001, 200003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_count(sizes[i], (int)i % SLOTS);
    }
}

/* Denormals, the smallest and largest floats, infinity and NaN land in the bins at the ends. */
static void extreme_reals_have_bins(void **state) {
    (void)state;
    const float x[] = {1e-45f, -1e-40f, 0x1p-126f, FLT_MAX, INFINITY, -INFINITY, NAN};
    const float range[] = {INFINITY, INFINITY};
    clq_histogram_counter *counter = NULL;
    const uint32_t *got = NULL;
    uint64_t all = 0;
    clq_buffer *reals = make_buffer(x, sizeof x), *ranges = make_buffer(range, sizeof range);
    assert_ok(clq_histogram_counter_create(test_device, 1, &counter));
    assert_ok(clq_histogram_counter_take(counter, 0, reals, 7, ranges, 0));
    assert_ok(clq_histogram_counter_read(counter, &got));
    for (int i = 0; i < 2 * CLQ_BINS; i++) {
        all += got[i];
    }
    assert_int_equal(all, 7);
    assert_int_equal(got[0], 1);
    assert_int_equal(got[CLQ_BINS], 2);
    clq_histogram_counter_destroy(counter);
    clq_buffer_release(reals);
    clq_buffer_release(ranges);
}

/* ---- doubling ---- */

/* Batches with growing, falling and mixed ranges end as one histogram of all values. */
static void doubling_is_counting_all_at_once(void **state) {
    (void)state;
    enum { BATCHES = 5, COUNT = 4000 };
    static const int orders[][BATCHES] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 3, 1}};
    float *x = some_reals(BATCHES * COUNT, 3);
    counts *all = malloc(sizeof *all), *batch = malloc(sizeof *batch);
    clq_histogram *sum = malloc(sizeof *sum), *halves = malloc(2 * sizeof *halves);
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < COUNT; i++) {
            x[b * COUNT + i] = ldexpf(x[b * COUNT + i], 5 * b);
        }
    }
    ref_histogram_count(x, BATCHES * COUNT, all);
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++) {
        for (int side = 0; side < 2; side++) {
            memset(sum, 0, sizeof *sum);
            memset(halves, 0, 2 * sizeof *halves);
            for (int b = 0; b < BATCHES; b++) {
                ref_histogram_count(x + orders[o][b] * COUNT, COUNT, batch);
                const int first = clq_first_bin(batch->range[side]);
                clq_histogram_add(sum, batch->of[side], first);
                clq_histogram_add(&halves[b % 2], batch->of[side], first);
            }
            clq_histogram_merge(&halves[0], &halves[1]);
            assert_memory_equal(&halves[0], sum, sizeof *sum);
            assert_int_equal(sum->first, clq_first_bin(all->range[side]));
            for (int bin = 0; bin < CLQ_BINS; bin++) {
                assert_int_equal(sum->count[bin], all->of[side][bin]);
            }
        }
    }
    free(all);
    free(batch);
    free(sum);
    free(halves);
    free(x);
}

/* A bin holds what is between its edges; counts go beyond 32 bits. */
static void edges_and_large_counts(void **state) {
    (void)state;
    clq_histogram *h = calloc(1, sizeof *h);
    uint32_t *counts = calloc(CLQ_BINS, sizeof *counts);
    counts[5] = UINT32_MAX;
    for (int i = 0; i < 3; i++) {
        clq_histogram_add(h, counts, clq_first_bin(0.9f));
    }
    assert_true(h->count[5] == 3ull * UINT32_MAX);
    assert_true(clq_histogram_edge(h, 0) == 0);
    assert_true(clq_histogram_edge(h, CLQ_BINS) == 1);
    assert_true(clq_histogram_edge(h, CLQ_BINS - 128) == 0.5);
    assert_true(clq_histogram_edge(h, CLQ_BINS - 1) == 0.5 + 127.0 / 256);
    free(counts);
    free(h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_count_as_plain_loops),
        cmocka_unit_test(extreme_reals_have_bins),
        cmocka_unit_test(doubling_is_counting_all_at_once),
        cmocka_unit_test(edges_and_large_counts),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(kernels_count_as_plain_loops),
        cmocka_unit_test(extreme_reals_have_bins),
    };
    return cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device) +
           cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
}
