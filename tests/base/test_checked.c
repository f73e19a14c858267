/* Checked arithmetic at its edges. */
#include "base/checked.h"
#include "support/clq_test.h"

static void sizes(void **state) {
    (void)state;
    size_t out = 7;
    assert_true(clq_add_size(SIZE_MAX - 1, 1, &out));
    assert_true(out == SIZE_MAX);
    out = 7;
    assert_false(clq_add_size(SIZE_MAX, 1, &out));
    assert_int_equal(out, 7); /* untouched */
    assert_true(clq_mul_size(SIZE_MAX, 1, &out));
    assert_true(clq_mul_size(SIZE_MAX, 0, &out));
    assert_int_equal(out, 0);
    assert_false(clq_mul_size((size_t)1 << 32, (size_t)1 << 32, &out));
    assert_int_equal(out, 0);
}

static void signed_64(void **state) {
    (void)state;
    int64_t out = 7;
    assert_false(clq_add_i64(INT64_MAX, 1, &out));
    assert_false(clq_add_i64(INT64_MIN, -1, &out));
    assert_false(clq_sub_i64(INT64_MIN, 1, &out));
    assert_false(clq_mul_i64(INT64_MIN, -1, &out));
    assert_int_equal(out, 7);
    assert_true(clq_mul_i64(INT64_MIN, 1, &out));
    assert_true(out == INT64_MIN);
    assert_true(clq_sub_i64(-1, INT64_MAX, &out));
    assert_true(out == INT64_MIN);
    assert_true(clq_add_i64(INT64_MIN, INT64_MAX, &out));
    assert_int_equal(out, -1);
}

static void rounding(void **state) {
    (void)state;
    size_t out = 0;
    assert_int_equal(clq_ceil_div(0, 5), 0);
    assert_int_equal(clq_ceil_div(5, 5), 1);
    assert_int_equal(clq_ceil_div(6, 5), 2);
    assert_true(clq_ceil_div(SIZE_MAX, 2) == SIZE_MAX / 2 + 1);
    assert_int_equal(clq_round_up(13, 4), 16);
    assert_int_equal(clq_round_up(16, 4), 16);
    assert_true(clq_round_up_size(13, 4, &out));
    assert_int_equal(out, 16);
    assert_false(clq_round_up_size(SIZE_MAX, 64, &out));
    assert_int_equal(out, 16);
}

static void narrowing(void **state) {
    (void)state;
    int i = 7;
    uint32_t u = 7;
    size_t s = 7;
    int64_t w = 7;
    assert_true(clq_narrow_int(INT_MIN, &i));
    assert_int_equal(i, INT_MIN);
    assert_false(clq_narrow_int((int64_t)INT_MAX + 1, &i));
    assert_false(clq_narrow_int((int64_t)INT_MIN - 1, &i));
    assert_int_equal(i, INT_MIN);
    assert_true(clq_narrow_u32(UINT32_MAX, &u));
    assert_false(clq_narrow_u32((uint64_t)UINT32_MAX + 1, &u));
    assert_true(u == UINT32_MAX);
    assert_false(clq_narrow_size(-1, &s));
    assert_true(clq_narrow_size(INT64_MAX, &s));
    assert_false(clq_size_to_i64((size_t)INT64_MAX + 1, &w));
    assert_true(clq_size_to_i64(INT64_MAX, &w));
    assert_true(w == INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes),
        cmocka_unit_test(signed_64),
        cmocka_unit_test(rounding),
        cmocka_unit_test(narrowing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
