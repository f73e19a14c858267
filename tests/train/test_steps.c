/* steps.json: the curve of a training, kept for people to look at. */
#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "support/clq_test.h"
#include "train/history.h"

static void some_hundred_steps_are_kept_of_any_training(void **state) {
    (void)state;
    assert_int_equal(clq_steps_interval(0), 1);
    assert_int_equal(clq_steps_interval(500), 1);
    assert_int_equal(clq_steps_interval(501), 2);
    assert_int_equal(clq_steps_interval(1000000), 2000);
}

static void put(const char *text) {
    assert_ok(clq_file_write_atomic(clq_test_temp_path("steps.json"), text, strlen(text)));
}

static void what_is_written_is_read_up_to_a_step(void **state) {
    (void)state;
    clq_steps steps = {0}, again = {0};
    for (int s = 1; s <= 5; s++) {
        const clq_step_record record = {s, 1 + s / 4, 0.5 / s, s == 2 ? NAN : 1.0 / s, 0.25};
        assert_ok(clq_steps_add(&steps, &record));
    }
    assert_ok(clq_steps_write(&steps, clq_test_temp_path(".")));
    clq_steps_read(&again, clq_test_temp_path("."), 3);
    assert_int_equal(again.count, 3);
    assert_int_equal(again.records[2].step, 3);
    assert_true(fabs(again.records[2].lr - 0.5 / 3) < 1e-9);
    assert_true(isnan(again.records[1].loss));
    assert_true(again.records[0].top1 == 0.25);
    clq_steps_clear(&again);
    clq_steps_clear(&steps);
}

/* Training goes on without a file of its own that somebody damaged; a report says what is wrong. */
static void damaged_files_count_as_none(void **state) {
    static const char *const damaged[] = {"",
                                          "{}",
                                          "[{\"epoch\":1}]",
                                          "[{\"step\":1},{\"step\":1}]",
                                          "[{\"step\":1,\"top1\":2}]",
                                          "[{\"step\":1,\"lr\":-1}]",
                                          "[{\"step\":1,\"loss\":\"low\"}]",
                                          "[{\"step\":1},3]"};
    clq_steps steps = {0};
    (void)state;
    clq_steps_read(&steps, clq_test_temp_path("."), 9);
    assert_int_equal(steps.count, 0);
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        json_t *json = NULL;
        put(damaged[i]);
        clq_steps_read(&steps, clq_test_temp_path("."), 9);
        assert_int_equal(steps.count, 0);
        if (i > 0) {
            assert_ok(clq_json_parse("steps.json", damaged[i], strlen(damaged[i]), &json));
            assert_status(clq_steps_from_json(&steps, "steps.json", json), CLQ_BAD_DATA);
            assert_error_has("steps.json: ");
            clq_steps_clear(&steps);
            json_decref(json);
        }
    }
}

#define FILE_TEST(name)                                                                            \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(some_hundred_steps_are_kept_of_any_training),
        FILE_TEST(what_is_written_is_read_up_to_a_step),
        FILE_TEST(damaged_files_count_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
