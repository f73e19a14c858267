/* Philox against the known answers of Random123, and what is built on it. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "support/clq_test.h"

/* philox4x32-10 lines of Random123's kat_vectors. */
static void philox_known_answers(void **state) {
    (void)state;
    static const struct {
        uint64_t seed, stream, counter;
        uint32_t expected[4];
    } cases[] = {
        {0, 0, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {UINT64_C(0x299f31d0a4093822),
         UINT64_C(0x0370734413198a2e),
         UINT64_C(0x85a308d3243f6a88),
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t out[4];
        clq_philox(cases[i].seed, cases[i].stream, cases[i].counter, out);
        assert_memory_equal(out, cases[i].expected, sizeof out);
    }
}

static void sequence_walks_the_counter(void **state) {
    (void)state;
    clq_rng rng = clq_rng_start(5, 6);
    for (uint64_t counter = 0; counter < 3; counter++) {
        uint32_t expected[4];
        clq_philox(5, 6, counter, expected);
        for (int i = 0; i < 4; i++) {
            clq_rng saved = rng;
            assert_int_equal(clq_rng_next(&rng), expected[i]);
            assert_int_equal(clq_rng_next(&saved), expected[i]); /* a copy is a saved position */
        }
    }
}

static void uniform_stays_below_one(void **state) {
    (void)state;
    assert_true(clq_uniform(0) == 0.0f);
    assert_true(clq_uniform(UINT32_MAX) == 1.0f - 0x1p-24f);
    assert_true(clq_uniform(UINT32_C(1) << 31) == 0.5f);
}

static void bounded_covers_the_range(void **state) {
    (void)state;
    assert_int_equal(clq_bounded(0, 10), 0);
    assert_int_equal(clq_bounded(UINT32_MAX, 10), 9);
    assert_int_equal(clq_bounded(UINT32_MAX, 1), 0);
    assert_true(clq_bounded(UINT32_MAX, UINT32_MAX) == UINT32_MAX - 1);
    int seen[7] = {0};
    clq_rng rng = clq_rng_start(1, 2);
    for (int i = 0; i < 7000; i++) {
        seen[clq_bounded(clq_rng_next(&rng), 7)]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(seen[i], 850, 1150); /* 5 standard deviations */
    }
}

static void normal_has_its_moments(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    static float values[COUNT];
    clq_test_fill_normal(values, COUNT, 2.0f, 1);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += values[i];
        squares += (double)values[i] * values[i];
    }
    assert_true(fabs(sum / COUNT) < 5 * 2.0 / sqrt(COUNT));
    assert_true(fabs(squares / COUNT - 4.0) < 5 * 4.0 * sqrt(2.0 / COUNT));
    const uint32_t extremes[][2] = {{0, 0}, {UINT32_MAX, UINT32_MAX}, {0, UINT32_MAX}};
    for (size_t i = 0; i < 3; i++) {
        float pair[2];
        clq_normal2(extremes[i], pair);
        assert_true(isfinite(pair[0]) && isfinite(pair[1]));
    }
}

static void permutation_holds_each_value_once(void **state) {
    (void)state;
    const uint32_t sizes[] = {0, 1, 2, 3, 64, 997};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uint32_t order[997], again[997];
        bool seen[997] = {false};
        clq_permutation(3, 4, sizes[k], order);
        clq_permutation(3, 4, sizes[k], again);
        for (uint32_t i = 0; i < sizes[k]; i++) {
            assert_int_equal(order[i], again[i]);
            assert_true(order[i] < sizes[k]);
            assert_false(seen[order[i]]);
            seen[order[i]] = true;
        }
    }
}

/* All 6 orders of 3 come equally often. */
static void permutation_is_uniform(void **state) {
    (void)state;
    int seen[27] = {0};
    for (uint64_t stream = 0; stream < 6000; stream++) {
        uint32_t order[3];
        clq_permutation(9, stream, 3, order);
        seen[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    int orders = 0;
    for (int i = 0; i < 27; i++) {
        if (seen[i]) {
            orders++;
            assert_in_range(seen[i], 850, 1150);
        }
    }
    assert_int_equal(orders, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(sequence_walks_the_counter),
        cmocka_unit_test(uniform_stays_below_one),
        cmocka_unit_test(bounded_covers_the_range),
        cmocka_unit_test(normal_has_its_moments),
        cmocka_unit_test(permutation_holds_each_value_once),
        cmocka_unit_test(permutation_is_uniform),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
