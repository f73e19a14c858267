/* The interval of a ratio of medians, on made-up times. */
#include "bench/bootstrap.h"

#include <math.h>

#include "base/rng.h"
#include "support/clq_test.h"

enum { COUNT = 200, SEEDS = 16 };
static const double ACCEPTED = 1.05;

static clq_rng rng;

static double normal(void) {
    float pair[2];
    clq_normal2((uint32_t[]){clq_rng_next(&rng), clq_rng_next(&rng)}, pair);
    return (double)pair[0];
}

/* Times around `ms` with the noise of a shared machine: some that are far too long, and a drift in
 * which neighbours share (`drift` is its standard deviation, as `noise` is that of each sample). */
static void make_times(double *times, int count, double ms, double noise, double drift) {
    double shared = drift * normal();
    for (int i = 0; i < count; i++) {
        shared = 0.8 * shared + 0.6 * drift * normal(); /* keeps its deviation */
        const double outlier = clq_uniform(clq_rng_next(&rng)) < 0.03f ? 2.0 : 0.0;
        times[i] = ms * (1 + noise * fabs(normal()) + shared + outlier);
    }
}

/* How many of the seeds' comparisons fail, when `now` takes `factor` times as long. */
static int count_failures(double factor, int count, double noise, double drift) {
    double base[COUNT], now[COUNT];
    int failed = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        clq_ratio ratio;
        rng = clq_rng_start(clq_test_seed() + seed, 11);
        make_times(base, count, 4.0, noise, drift);
        make_times(now, count, 4.0 * factor, noise, drift);
        assert_ok(clq_median_ratio(base, (size_t)count, now, (size_t)count, 1, &ratio));
        assert_true(ratio.low <= ratio.value && ratio.value <= ratio.high);
        failed += ratio.low > ACCEPTED;
    }
    return failed;
}

static void noise_alone_does_not_fail(void **state) {
    (void)state;
    assert_int_equal(count_failures(1.0, COUNT, 0.05, 0), 0);
    assert_int_equal(count_failures(1.0, COUNT, 0.3, 0), 0);
    assert_int_equal(count_failures(1.0, COUNT, 0.05, 0.05), 0); /* neighbours are alike */
    assert_int_equal(count_failures(1.0, 10, 0.2, 0), 0);        /* few samples */
}

static void true_regressions_fail(void **state) {
    (void)state;
    assert_int_equal(count_failures(1.2, COUNT, 0.05, 0), SEEDS);
    assert_int_equal(count_failures(1.2, COUNT, 0.05, 0.03), SEEDS);
    assert_int_equal(count_failures(2.0, COUNT, 0.3, 0), SEEDS);
    assert_int_equal(count_failures(1.5, 10, 0.05, 0), SEEDS);
}

static void accepted_regressions_do_not_fail(void **state) {
    (void)state;
    assert_int_equal(count_failures(1.03, COUNT, 0.05, 0), 0);
}

static void same_seed_gives_the_same_bits(void **state) {
    double base[COUNT], now[COUNT];
    clq_ratio first, again, other;
    (void)state;
    rng = clq_rng_start(clq_test_seed(), 12);
    make_times(base, COUNT, 1, 0.1, 0.02);
    make_times(now, COUNT, 1.1, 0.1, 0.02);
    assert_ok(clq_median_ratio(base, COUNT, now, COUNT - 7, 5, &first));
    assert_ok(clq_median_ratio(base, COUNT, now, COUNT - 7, 5, &again));
    assert_ok(clq_median_ratio(base, COUNT, now, COUNT - 7, 6, &other));
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(first.value == other.value);
    assert_true(first.low != other.low || first.high != other.high);
}

static void single_samples_have_a_point_for_an_interval(void **state) {
    const double base[] = {2}, now[] = {3};
    clq_ratio ratio;
    (void)state;
    assert_ok(clq_median_ratio(base, 1, now, 1, 1, &ratio));
    assert_true(ratio.value == 1.5 && ratio.low == 1.5 && ratio.high == 1.5);
}

static void failing_allocations_are_survived(void **state) {
    const double base[] = {2, 2}, now[] = {3, 3, 4};
    clq_ratio ratio;
    (void)state;
    for (long n = 1; n <= 2; n++) {
        clq_test_fail_allocation(n);
        assert_status(clq_median_ratio(base, 2, now, 3, 1, &ratio), CLQ_NO_MEMORY);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_alone_does_not_fail),
        cmocka_unit_test(true_regressions_fail),
        cmocka_unit_test(accepted_regressions_do_not_fail),
        cmocka_unit_test(same_seed_gives_the_same_bits),
        cmocka_unit_test(single_samples_have_a_point_for_an_interval),
        cmocka_unit_test(failing_allocations_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
