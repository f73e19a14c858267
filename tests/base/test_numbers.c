/* Numbers as text under a locale with a decimal comma. */
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"
#include "support/clq_test.h"

static void enter(void) {
    char text[16];
    if (!clq_test_comma_locale()) {
        clq_test_skip("no locale with a decimal comma, nor localedef to make one");
    }
    snprintf(text, sizeof text, "%.1f", 0.5);
    assert_string_equal(text, "0,5"); /* the locale is on */
}

static int leave(void **state) {
    setlocale(LC_ALL, "C");
    return clq_test_teardown_temp_dir(state);
}

static void numbers_are_read_with_a_point(void **state) {
    (void)state;
    char *end = NULL;
    enter();
    assert_true(clq_strtod("0.25,", &end) == 0.25);
    assert_string_equal(end, ",");
    assert_true(clq_strtod("0,25", &end) == 0);
    assert_string_equal(end, ",25");
    assert_true(clq_strtof("-1.5e3x", &end) == -1500);
    assert_string_equal(end, "x");
}

/* Plain decimal numbers and nothing that strtod also takes. */
static void only_plain_numbers_are_read(void **state) {
    (void)state;
    static const char *const none[] = {"",     " 1",    "x",   "-",   "+",    ".",
                                       "-.",   "e5",    "nan", "inf", "-inf", "0x1",
                                       "-0X1", "1e999", "--1", "+-1", "\t1"};
    double real = 7;
    int64_t whole = 7;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_null(clq_read_real(none[i], &real));
    }
    assert_true(real == 7);
    assert_string_equal(clq_read_real("-1.5e3,2", &real), ",2");
    assert_true(real == -1500);
    assert_string_equal(clq_read_real("+.25%", &real), "%");
    assert_true(real == 0.25);
    assert_string_equal(clq_read_real("1e-999", &real), "");
    assert_true(real == 0);
    assert_null(clq_read_whole(".5", &whole));
    assert_null(clq_read_whole("9223372036854775808", &whole));
    assert_null(clq_read_whole("0x10", &whole));
    assert_true(whole == 7);
    assert_string_equal(clq_read_whole("1e3", &whole), "e3");
    assert_true(whole == 1);
    assert_string_equal(clq_read_whole("-9223372036854775808", &whole), "");
    assert_true(whole == INT64_MIN);
}

static void numbers_are_written_with_a_point(void **state) {
    (void)state;
    char text[32], *taken = NULL;
    clq_text built = {0};
    enter();
    taken = clq_format("%.2f %g", 0.25, 1e-7);
    assert_string_equal(taken, "0.25 1e-07");
    clq_free(taken);
    assert_int_equal(clq_snprintf(text, sizeof text, "%d %.3g", 1000000, 2.5), 11);
    assert_string_equal(text, "1000000 2.5");
    clq_text_printf(&built, "%a %e", 0.5, 1.5);
    assert_string_equal(built.data, "0x1p-1 1.500000e+00");
    clq_text_free(&built);
    clq_fail(CLQ_USAGE, "%.1f", 0.5);
    assert_string_equal(clq_last_error(), "0.5");
    clq_fail_in(CLQ_USAGE, "%.2f", 1.25);
    assert_string_equal(clq_last_error(), "1.25: 0.5");
}

static void keep_line(void *context, clq_log_level level, const char *line) {
    (void)level;
    snprintf(context, 64, "%s", line);
}

static void log_and_json_have_a_point(void **state) {
    (void)state;
    char line[64] = "";
    char *text = NULL;
    json_t *json = NULL;
    void *file = NULL;
    size_t size = 0;
    const char *path = clq_test_temp_path("x.json");
    enter();
    clq_set_log(keep_line, line, CLQ_LOG_INFO);
    clq_log_info("%.1f of %d", 0.5, 7);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_string_equal(line, "0.5 of 7");
    static const char source[] = "{\"a\":0.1,\"b\":[0.00390625,-2.25]}";
    assert_ok(clq_json_parse("x", source, strlen(source), &json));
    assert_true(json_real_value(json_object_get(json, "a")) == 0.1);
    assert_ok(clq_json_override(json, "a", "0.375"));
    assert_true(json_real_value(json_object_get(json, "a")) == 0.375);
    assert_ok(clq_json_dump_exact(json, &text));
    assert_string_equal(text, "{\"a\":0.375,\"b\":[0.00390625,-2.25]}");
    clq_free(text);
    assert_ok(clq_json_dump_line(json, &text));
    assert_string_equal(text, "{\"a\": 0.375, \"b\": [0.00390625, -2.25]}");
    clq_free(text);
    assert_ok(clq_json_dump_file(path, json));
    assert_ok(clq_file_read(path, 1000, &file, &size));
    assert_non_null(strstr(file, "0.375"));
    clq_free(file);
    json_decref(json);
}

/* The program's own locale is on again behind every call. */
static void the_locale_comes_back(void **state) {
    (void)state;
    char text[16];
    enter();
    clq_strtod("1.5", NULL);
    clq_snprintf(text, sizeof text, "%g", 1.5);
    assert_string_equal(text, "1.5");
    snprintf(text, sizeof text, "%g", 1.5);
    assert_string_equal(text, "1,5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_plain_numbers_are_read),
        cmocka_unit_test_setup_teardown(numbers_are_read_with_a_point, clq_test_setup_temp_dir,
                                        leave),
        cmocka_unit_test_setup_teardown(numbers_are_written_with_a_point, clq_test_setup_temp_dir,
                                        leave),
        cmocka_unit_test_setup_teardown(log_and_json_have_a_point, clq_test_setup_temp_dir, leave),
        cmocka_unit_test_setup_teardown(the_locale_comes_back, clq_test_setup_temp_dir, leave),
    };
    return cmocka_run_group_tests_name("base/numbers", tests, NULL, NULL);
}
