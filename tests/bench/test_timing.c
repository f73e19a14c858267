/* Order statistics against known answers. */
#include <clquant/bench.h>

#include "support/clq_test.h"

static void percentiles_interpolate_between_samples(void **state) {
    double samples[101];
    (void)state;
    for (int i = 0; i <= 100; i++) {
        samples[i] = (i * 37) % 101; /* 0..100 in another order */
    }
    const clq_latency latency = clq_latency_of(samples, 101);
    assert_float_equal(latency.min, 0, 0);
    assert_float_equal(latency.mean, 50, 1e-12);
    assert_float_equal(latency.median, 50, 1e-12);
    assert_float_equal(latency.p90, 90, 1e-12);
    assert_float_equal(latency.p95, 95, 1e-12);
    assert_float_equal(latency.p99, 99, 1e-12);
    for (int i = 0; i <= 100; i++) {
        assert_float_equal(samples[i], i, 0); /* sorted in place */
    }
}

static void few_samples_are_interpolated_too(void **state) {
    double two[] = {30, 10}, four[] = {4, 1, 3, 2};
    (void)state;
    clq_latency latency = clq_latency_of(two, 2);
    assert_float_equal(latency.min, 10, 0);
    assert_float_equal(latency.mean, 20, 0);
    assert_float_equal(latency.median, 20, 1e-12);
    assert_float_equal(latency.p90, 28, 1e-12);
    assert_float_equal(latency.p95, 29, 1e-12);
    assert_float_equal(latency.p99, 29.8, 1e-12);
    latency = clq_latency_of(four, 4);
    assert_float_equal(latency.median, 2.5, 1e-12);
    assert_float_equal(latency.p90, 3.7, 1e-12);
}

static void one_sample_is_every_statistic(void **state) {
    double one[] = {1.25};
    (void)state;
    const clq_latency latency = clq_latency_of(one, 1);
    const double all[] = {latency.min, latency.mean, latency.median,
                          latency.p90, latency.p95,  latency.p99};
    for (int i = 0; i < 6; i++) {
        assert_float_equal(all[i], 1.25, 0);
    }
}

static void no_sample_gives_zeros(void **state) {
    (void)state;
    const clq_latency latency = clq_latency_of(NULL, 0);
    assert_float_equal(latency.min, 0, 0);
    assert_float_equal(latency.p99, 0, 0);
}

static void quantiles_are_those_of_the_latency(void **state) {
    const double sorted[] = {1, 2, 3, 4};
    (void)state;
    assert_float_equal(clq_quantile(sorted, 4, 0), 1, 0);
    assert_float_equal(clq_quantile(sorted, 4, 0.5), 2.5, 1e-12);
    assert_float_equal(clq_quantile(sorted, 4, 1), 4, 0);
}

/* Of 100 samples those at 39 and 60, counted from 0, enclose the median: 49.5 -+ 9.8, outwards. */
static void error_of_the_median_is_half_its_interval(void **state) {
    double sorted[100];
    (void)state;
    for (int i = 0; i < 100; i++) {
        sorted[i] = 50.5 + i; /* median 100 */
    }
    assert_float_equal(clq_median_error(sorted, 100), 0.5 * (60 - 39) / 100, 1e-12);
    assert_float_equal(clq_median_error((double[]){7}, 1), 0, 0);
    assert_float_equal(clq_median_error((double[]){1, 3}, 2), 0.5, 1e-12); /* all there is */
    assert_float_equal(clq_median_error(NULL, 0), 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_interpolate_between_samples),
        cmocka_unit_test(few_samples_are_interpolated_too),
        cmocka_unit_test(one_sample_is_every_statistic),
        cmocka_unit_test(no_sample_gives_zeros),
        cmocka_unit_test(quantiles_are_those_of_the_latency),
        cmocka_unit_test(error_of_the_median_is_half_its_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
