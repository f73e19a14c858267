/* The shared requantization arithmetic, compiled as C, against its equations in wider types; and
 * the constants the host computes for it. That kernels compute the same is tested with the kernels.
 */
#include <float.h>
#include <math.h>

#include "kernels/include/requantize.h"
#include "ops/multiplier.h"
#include "support/clq_test.h"

enum { ROUNDS = 200000 };

/* A small generator of its own: the test needs words, not a distribution. */
static uint32_t next_word(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8 | *state << 24;
}

/* Sums of every size: large ones must saturate, small ones must round. */
static int32_t any_sum(uint32_t *state) {
    int32_t sum = (int32_t)next_word(state);
    return sum / (1 << (next_word(state) % 31));
}

static int clamp(double v, int lo, int hi) {
    return (int)(v < lo ? lo : v > hi ? hi : v);
}

static const int32_t extreme_sums[] = {INT32_MIN, INT32_MIN + 1, -(1 << 30), -1,           0,
                                       1,         1 << 30,       INT32_MAX,  INT32_MAX - 1};
enum { EXTREMES = sizeof extreme_sums / sizeof extreme_sums[0] };

static void test_float(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int i = 0; i < ROUNDS; i++) {
        int32_t acc = i < EXTREMES ? extreme_sums[i] : any_sum(&random);
        float m = ldexpf((float)(next_word(&random) | 1), -33 - (int)(next_word(&random) % 28));
        int z = (int)(next_word(&random) % 256), lo = i % 3 ? 0 : z, hi = i % 5 ? 255 : 250;
        hi = hi < lo ? lo : hi;
        float scaled = (float)acc * m;
        int expected = clamp(rint((double)scaled) + z, lo, hi);
        assert_int_equal(clq_requantize_float(acc, m, (float)z, (float)lo, (float)hi), expected);
        assert_int_equal((int)clq_requantize_code((float)acc, m, (float)z, (float)lo, (float)hi),
                         expected);
    }
}

static void test_ties_go_to_even(void **state) {
    (void)state;
    for (int acc = -600; acc <= 600; acc++) {
        for (int z = 0; z < 256; z += 51) {
            int expected = clamp(rint(acc * 0.5) + z, 0, 255);
            assert_int_equal(clq_requantize_float(acc, 0.5f, (float)z, 0, 255), expected);
            assert_int_equal(clq_requantize_shift(acc, 1, z, 0, 255), expected);
            int upwards = clamp(floor(acc * 0.5 + 0.5) + z, 0, 255);
            assert_int_equal(clq_requantize_fixed(acc, 1 << 30, 31, z, 0, 255), upwards);
        }
    }
}

static void test_fixed(void **state) {
    (void)state;
    uint32_t random = 2;
    for (int i = 0; i < ROUNDS; i++) {
        int32_t acc = i < EXTREMES ? extreme_sums[i] : any_sum(&random);
        int32_t mantissa = (int32_t)(next_word(&random) >> 1);
        int shift = 1 + (int)(next_word(&random) % 62), z = (int)(next_word(&random) % 256);
        /* 62 bits and a half: exact in long double's 64 */
        long double v = floorl(ldexpl((long double)acc * mantissa, -shift) + 0.5L);
        assert_int_equal(clq_requantize_fixed(acc, mantissa, shift, z, 1, 254),
                         clamp((double)(v > 1e6L    ? 1e6L
                                        : v < -1e6L ? -1e6L
                                                    : v) +
                                   z,
                               1, 254));
    }
}

static void test_shift(void **state) {
    (void)state;
    uint32_t random = 3;
    for (int i = 0; i < ROUNDS; i++) {
        int32_t acc = i / 52 < EXTREMES ? extreme_sums[i / 52] : any_sum(&random);
        int shift = i % 52 - 20, z = (int)(next_word(&random) % 256);
        int expected = clamp(rint(ldexp((double)acc, -shift)) + z, 0, 255);
        assert_int_equal(clq_requantize_shift(acc, shift, z, 0, 255), expected);
        if (acc >= -(1 << 24) && acc <= 1 << 24) {
            assert_int_equal(clq_requantize_float(acc, ldexpf(1.0f, -shift), (float)z, 0, 255),
                             expected);
        }
    }
}

static void test_add(void **state) {
    (void)state;
    uint32_t random = 4;
    for (int i = 0; i < ROUNDS; i++) {
        int a = (int)(next_word(&random) % 511) - 255, b = (int)(next_word(&random) % 511) - 255;
        float ma = ldexpf((float)(next_word(&random) | 1), -32 - (int)(next_word(&random) % 4));
        float mb = ldexpf((float)(next_word(&random) | 1), -32 - (int)(next_word(&random) % 4));
        float pa = (float)a * ma, pb = (float)b * mb, sum = pa + pb;
        int expected = clamp(rint((double)sum) + 40, 40, 255);
        assert_int_equal(clq_add_int(a, ma, b, mb, 40, 40, 255), expected);
        assert_int_equal((int)clq_add_code((float)a, ma, (float)b, mb, 40, 40, 255), expected);
    }
}

static void test_quantize(void **state) {
    (void)state;
    assert_int_equal(clq_quantize_int(INFINITY, 0.1f, 7, 0, 255), 255);
    assert_int_equal(clq_quantize_int(-INFINITY, 0.1f, 7, 0, 255), 0);
    assert_int_equal(clq_quantize_int(NAN, 0.1f, 7, 3, 255), 3);
    assert_int_equal(clq_quantize_int(3e38f, 1e-30f, 7, 0, 255), 255);
    assert_int_equal(clq_quantize_int(0.0f, 0.1f, 7, 0, 255), 7);
    assert_int_equal(clq_quantize_int(0.25f, 0.5f, 0, 0, 255), 0);
    assert_int_equal(clq_quantize_int(0.75f, 0.5f, 0, 0, 255), 2);
    assert_int_equal(clq_quantize_int(-0.75f, 0.5f, 9, 0, 255), 7);
    assert_true(isnan(clq_quantize_code(NAN, 0.1f, 7, 3, 255)));
    assert_true(clq_quantize_code(-0.75f, 0.5f, 9, 0, 255) == 7.0f);
}

static void test_multipliers(void **state) {
    (void)state;
    uint32_t random = 5;
    float m;
    int32_t mantissa, shift;
    for (int i = 0; i < ROUNDS; i++) { /* the mantissa is exact */
        m = ldexpf((float)(next_word(&random) | 0x80000000u), -32 - (int)(next_word(&random) % 30));
        assert_ok(clq_multiplier_fixed(m, &mantissa, &shift));
        assert_true(mantissa >= 1 << 30 && shift >= 1 && shift <= 62);
        assert_true(ldexp((double)mantissa, -shift) == (double)m);
    }
    assert_ok(clq_multiplier_fixed(ldexpf(1.0f, -32), &mantissa, &shift));
    assert_int_equal(mantissa, 1 << 30);
    assert_int_equal(shift, 62);
    assert_ok(clq_multiplier_fixed(ldexpf(1.99f, -33), &mantissa, &shift));
    assert_int_equal(mantissa, 0); /* what (2) makes 0 of, whatever the sum */
    assert_int_equal(clq_requantize_fixed(INT32_MIN, mantissa, shift, 5, 0, 255), 5);
    assert_ok(clq_multiplier_fixed(ldexpf(1.0f, 29), &mantissa, &shift));
    assert_status(clq_multiplier_fixed(ldexpf(1.0f, 30), &mantissa, &shift), CLQ_BAD_DATA);
    assert_status(clq_multiplier_fixed(NAN, &mantissa, &shift), CLQ_BAD_DATA);

    for (int s = -20; s <= 31; s++) {
        assert_ok(clq_multiplier_shift(ldexpf(1.0f, -s), &shift));
        assert_int_equal(shift, s);
    }
    assert_status(clq_multiplier_shift(ldexpf(1.0f, 21), &shift), CLQ_BAD_DATA);
    assert_status(clq_multiplier_shift(ldexpf(1.0f, -32), &shift), CLQ_BAD_DATA);
    assert_status(clq_multiplier_shift(0.375f, &shift), CLQ_BAD_DATA);
    assert_error_has("0.375");
    assert_status(clq_multiplier_shift(-1.0f, &shift), CLQ_BAD_DATA);

    assert_ok(clq_multiplier_float(0.1f, 0.2f, 0.3f, &m));
    volatile float product = 0.1f * 0.2f;
    assert_true(m == product / 0.3f);
    static const float bad[] = {0.0f, -1.0f, INFINITY, NAN, 1e-40f};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(clq_multiplier_float(bad[i], 1.0f, 1.0f, &m), CLQ_BAD_DATA);
        assert_status(clq_multiplier_float(1.0f, bad[i], 1.0f, &m), CLQ_BAD_DATA);
        assert_status(clq_multiplier_float(1.0f, 1.0f, bad[i], &m), CLQ_BAD_DATA);
    }
    assert_status(clq_multiplier_float(FLT_MAX, 2.0f, 1.0f, &m), CLQ_BAD_DATA);
    assert_status(clq_multiplier_float(1e-30f, 1e-30f, 1.0f, &m), CLQ_BAD_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float),       cmocka_unit_test(test_ties_go_to_even),
        cmocka_unit_test(test_fixed),       cmocka_unit_test(test_shift),
        cmocka_unit_test(test_add),         cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_multipliers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
