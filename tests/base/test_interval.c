#include <math.h>

#include "base/interval.h"
#include "support/clq_test.h"

static void near(double a, double b) {
    if (!(fabs(a - b) < 5e-5)) {
        fail_msg("%.6f is not %.6f", a, b);
    }
}

/* Known values: of 6 in 8, and of the ends, where the interval does not vanish. */
static void wilson_interval(void **state) {
    (void)state;
    double low, high;
    clq_wilson_interval(0.75, 8, &low, &high);
    near(low, 0.4093);
    near(high, 0.9285);
    clq_wilson_interval(0, 10, &low, &high);
    near(low, 0);
    near(high, 0.2775);
    clq_wilson_interval(1, 10, &low, &high);
    near(low, 0.7225);
    near(high, 1);
    clq_wilson_interval(NAN, 10, &low, &high);
    assert_true(isnan(low) && isnan(high));
    clq_wilson_interval(0.5, 0, &low, &high);
    assert_true(isnan(low) && isnan(high));
}

/* 2 (1/2)^6, 2 (1 + 10) (1/2)^10, and pairs that say nothing. */
static void sign_test(void **state) {
    (void)state;
    near(clq_sign_test(0, 0), 1);
    near(clq_sign_test(5, 5), 1);
    near(clq_sign_test(6, 0), 0.03125);
    near(clq_sign_test(1, 9), 0.021484);
    near(clq_sign_test(9, 1), 0.021484);
    assert_true(clq_sign_test(5000, 4000) < 1e-10);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(wilson_interval),
                                       cmocka_unit_test(sign_test)};
    return cmocka_run_group_tests_name("base/interval", tests, NULL, NULL);
}
