/* The choice of work-group tiles: large for much work, small where large ones leave units idle. */
#include "support/clq_test.h"

#include "ops/conv/group_tile.h"

static const clq_group_tile list[] = {
    {256, 128, 128, 1.0f, "large"},
    {64, 64, 64, 1.1f, "middle"},
    {64, 32, 32, 1.5f, "small"},
    {16, 16, 16, 3.5f, "smallest"},
};

static const clq_group_tiles tiles = {list, sizeof list / sizeof *list};

static const char *choose(unsigned units, size_t max_work_group, size_t rows, size_t cols,
                          size_t products) {
    const clq_device_info info = {.compute_units = units, .max_work_group = max_work_group};
    return list[clq_choose_group_tile(&info, &tiles, 0, rows, cols, products) - 1].options;
}

static void test_choice(void **state) {
    (void)state;
    assert_string_equal(choose(108, 1024, 100000, 256, 1), "large");
    assert_string_equal(choose(108, 1024, 49, 512, 1), "small");     /* batch 1, 7x7 */
    assert_string_equal(choose(108, 1024, 100000, 64, 1), "middle"); /* half of large is wasted */
    assert_string_equal(choose(2, 1024, 256, 256, 1), "large");
    assert_string_equal(choose(1, 1024, 128, 16, 32), "small");
}

static void test_limits(void **state) {
    (void)state;
    assert_string_equal(choose(108, 64, 100000, 256, 1), "middle");
    assert_string_equal(choose(108, 16, 100000, 256, 1), "smallest");
    assert_string_equal(choose(108, 1, 100000, 256, 1), "smallest"); /* none fits: the last */
    assert_string_equal(choose(0, 1024, 100000, 256, 1), "large");
}

static void test_wanted(void **state) {
    (void)state;
    const clq_device_info info = {.compute_units = 108, .max_work_group = 64};
    assert_int_equal(clq_choose_group_tile(&info, &tiles, 2, 1, 1, 1), 2);
    assert_int_equal(clq_choose_group_tile(&info, &tiles, 1, 1, 1, 1), 0); /* too many work-items */
    assert_int_equal(clq_choose_group_tile(&info, &tiles, 5, 1, 1, 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_choice), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_wanted)};
    return cmocka_run_group_tests_name("group_tile", tests, NULL, NULL);
}
