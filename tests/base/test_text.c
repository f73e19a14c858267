/* The string builder and the formatting helpers. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "support/clq_test.h"

static int restore(void **state) {
    (void)state;
    clq_test_restore_allocator();
    return 0;
}

static void grows_and_terminates(void **state) {
    (void)state;
    clq_text text = {0};
    for (int i = 0; i < 1000; i++) {
        clq_text_printf(&text, "%03d,", i);
        assert_int_equal(text.size, 4 * (i + 1));
        assert_int_equal(text.data[text.size], '\0');
    }
    assert_memory_equal(text.data + 4 * 567, "567,", 4);
    clq_text_append(&text, "a\0b", 3);
    clq_text_append(&text, NULL, 0);
    clq_text_puts(&text, "end");
    assert_memory_equal(text.data + 4000, "a\0bend", 7);
    assert_ok(clq_text_status(&text));
    clq_text_free(&text);
    assert_null(text.data);
}

static void one_has_no_plural(void **state) {
    (void)state;
    assert_string_equal(clq_plural(0), "s");
    assert_string_equal(clq_plural(1), "");
    assert_string_equal(clq_plural(2), "s");
}

static void printf_may_fill_the_capacity_exactly(void **state) {
    (void)state;
    for (int length = 60; length < 70; length++) {
        clq_text text = {0};
        clq_text_printf(&text, "%*d", length, 1);
        assert_int_equal(text.size, length);
        assert_int_equal(strlen(text.data), length);
        clq_text_free(&text);
    }
}

static void taking_an_empty_text_gives_an_empty_string(void **state) {
    (void)state;
    clq_text text = {0};
    char *string = NULL;
    assert_ok(clq_text_take(&text, &string));
    assert_string_equal(string, "");
    assert_null(text.data);
    clq_free(string);
}

static void out_of_memory_is_sticky(void **state) {
    (void)state;
    clq_text text = {0};
    char *string = NULL;
    clq_test_fail_allocation(2);
    clq_text_puts(&text, "first");
    clq_text_printf(&text, "%1000d", 1); /* fails */
    clq_text_puts(&text, "third");
    assert_string_equal(text.data, "first");
    assert_status(clq_text_status(&text), CLQ_NO_MEMORY);
    assert_status(clq_text_take(&text, &string), CLQ_NO_MEMORY);
    assert_null(string);
    assert_int_equal(clq_test_live_allocations(), 0); /* nothing is left to free */
    clq_text_puts(&text, "anew");
    assert_ok(clq_text_status(&text));
    clq_text_free(&text);
    assert_int_equal(clq_test_live_allocations(), 0);
}

static void format_and_strdup(void **state) {
    (void)state;
    char *text = clq_format("%s-%d", "layer", 12);
    assert_string_equal(text, "layer-12");
    char *copy = clq_strdup(text);
    assert_string_equal(copy, text);
    clq_free(copy);
    clq_free(text);
    clq_test_fail_allocation(1);
    assert_null(clq_format("%d", 1));
    clq_test_fail_allocation(1);
    assert_null(clq_strdup("x"));
}

static void clock_helpers(void **state) {
    (void)state;
    double before = clq_now_seconds();
    double after = clq_now_seconds();
    assert_true(after >= before);
    char stamp[CLQ_TIMESTAMP_SIZE];
    clq_timestamp(stamp);
    assert_int_equal(strlen(stamp), 20);
    assert_int_equal(stamp[10], 'T');
    assert_int_equal(stamp[19], 'Z');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_terminates),
        cmocka_unit_test(one_has_no_plural),
        cmocka_unit_test(printf_may_fill_the_capacity_exactly),
        cmocka_unit_test(taking_an_empty_text_gives_an_empty_string),
        cmocka_unit_test_teardown(out_of_memory_is_sticky, restore),
        cmocka_unit_test_teardown(format_and_strdup, restore),
        cmocka_unit_test(clock_helpers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
