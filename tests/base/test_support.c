/* The test helpers must fail when they should. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/clq_test.h"

static char message[256];

static void close_f32(void **state) {
    (void)state;
    float expected[6] = {1, 2, 3, 4, 5, 1000};
    float actual[6] = {1, 2, 3, 4, 5, 1000.5f};
    clq_test_shape shape = clq_test_shape_of(2, 3);
    assert_int_equal(clq_test_shape_count(shape), 6);
    assert_true(clq_test_close_f32(actual, expected, shape, 0, 1e-3, message, sizeof message));
    assert_true(clq_test_close_f32(actual, expected, shape, 0.5, 0, message, sizeof message));
    assert_false(clq_test_close_f32(actual, expected, shape, 0.4, 0, message, sizeof message));
    assert_non_null(strstr(message, "1 of 6 differ, first at [1, 2]: 1000.5, expected 1000"));
    assert_non_null(strstr(message, "seed"));
    actual[1] = NAN;
    assert_false(clq_test_close_f32(actual, expected, shape, 1e9, 0, message, sizeof message));
    assert_non_null(strstr(message, "[0, 1]"));
    expected[1] = NAN;
    assert_true(clq_test_close_f32(actual, expected, shape, 0.5, 0, message, sizeof message));
    actual[2] = INFINITY;
    assert_false(clq_test_close_f32(actual, expected, shape, 1e30, 1, message, sizeof message));
    expected[2] = -INFINITY;
    assert_false(clq_test_close_f32(actual, expected, shape, 1e30, 1, message, sizeof message));
    expected[2] = INFINITY;
    assert_true(clq_test_close_f32(actual, expected, shape, 0.5, 0, message, sizeof message));
}

static void equal_integers(void **state) {
    (void)state;
    uint8_t u[2][4] = {{0, 255, 3, 4}, {0, 255, 3, 5}};
    int8_t s[2][4] = {{-128, 127, 3, 4}, {-128, 126, 3, 4}};
    int32_t w[2][4] = {{INT32_MIN, 0, 0, 0}, {INT32_MAX, 0, 0, 0}};
    clq_test_shape shape = clq_test_shape_of(1, 2, 2);
    assert_equal_u8(u[0], u[0], shape);
    assert_equal_s8(s[0], s[0], shape);
    assert_equal_s32(w[0], w[0], shape);
    assert_equal_bits(u[0], u[0], 4);
    assert_false(clq_test_equal_u8(u[0], u[1], shape, message, sizeof message));
    assert_non_null(strstr(message, "[0, 1, 1]: 4, expected 5"));
    assert_false(clq_test_equal_s8(s[0], s[1], shape, message, sizeof message));
    assert_non_null(strstr(message, "[0, 0, 1]: 127, expected 126"));
    assert_false(clq_test_equal_s32(w[0], w[1], shape, message, sizeof message));
    assert_false(clq_test_equal_bits(u[0], u[1], 4, message, sizeof message));
    assert_non_null(strstr(message, "byte 3 of 4"));
}

static void guards_notice_writes(void **state) {
    (void)state;
    for (size_t size = 0; size < 130; size++) {
        unsigned char *buffer = clq_test_guarded(size);
        assert_int_equal((uintptr_t)buffer % 64, 0);
        memset(buffer, 1, size);
        assert_true(clq_test_guards_whole(buffer, message, sizeof message));
        unsigned char kept = buffer[size];
        buffer[size] ^= 1;
        assert_false(clq_test_guards_whole(buffer, message, sizeof message));
        assert_non_null(strstr(message, "1 bytes behind"));
        buffer[size] = kept;
        buffer[-3] ^= 1;
        assert_false(clq_test_guards_whole(buffer, message, sizeof message));
        assert_non_null(strstr(message, "3 bytes before"));
        buffer[-3] ^= 1;
        clq_test_guarded_free(buffer);
    }
}

static void fills_stay_in_range_and_repeat(void **state) {
    (void)state;
    int8_t s[4096], again[4096];
    uint8_t u[4096];
    int32_t w[4096];
    float f[4096];
    clq_test_fill_s8(s, 4096, -127, 127, 1);
    clq_test_fill_s8(again, 4096, -127, 127, 1);
    assert_equal_bits(s, again, sizeof s);
    clq_test_fill_s8(again, 4096, -127, 127, 2);
    assert_memory_not_equal(s, again, sizeof s);
    clq_test_fill_u8(u, 4096, 0, 255, 3);
    clq_test_fill_s32(w, 4096, INT32_MIN, INT32_MAX, 4);
    clq_test_fill_f32(f, 4096, -1.0f, 1.0f, 5);
    bool low = false, high = false, negative = false, positive = false;
    for (int i = 0; i < 4096; i++) {
        assert_true(s[i] >= -127);
        assert_true(f[i] >= -1.0f && f[i] <= 1.0f);
        low |= u[i] == 0;
        high |= u[i] == 255;
        negative |= w[i] < -(1 << 30);
        positive |= w[i] > 1 << 30;
    }
    assert_true(low && high && negative && positive);
}

static void temp_dir_comes_and_goes(void **state) {
    (void)state;
    char *first = strdup(clq_test_temp_dir());
    assert_non_null(strstr(clq_test_temp_path("a"), first));
    clq_test_remove_temp_dir();
    clq_test_temp_dir();
    assert_null(strstr(clq_test_temp_path("a"), first));
    clq_test_remove_temp_dir();
    free(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_f32),
        cmocka_unit_test(equal_integers),
        cmocka_unit_test(guards_notice_writes),
        cmocka_unit_test(fills_stay_in_range_and_repeat),
        cmocka_unit_test(temp_dir_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
