/* The log: levels, sinks, long lines. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "support/clq_test.h"

static char last_line[4096];
static clq_log_level last_level;
static int lines;

static void keep(void *context, clq_log_level level, const char *line) {
    assert_ptr_equal(context, &lines);
    lines++;
    last_level = level;
    snprintf(last_line, sizeof last_line, "%s", line);
}

static void log_again(void *context, clq_log_level level, const char *line) {
    (void)context;
    (void)line;
    if (level == CLQ_LOG_INFO) {
        clq_log_error("from the sink"); /* a sink may log */
        lines++;
    }
}

static int reset(void **state) {
    (void)state;
    lines = 0;
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    return 0;
}

static void levels_filter(void **state) {
    (void)state;
    clq_set_log(keep, &lines, CLQ_LOG_INFO);
    clq_log_debug("hidden");
    assert_int_equal(lines, 0);
    assert_false(clq_log_enabled(CLQ_LOG_DEBUG));
    clq_log_info("epoch %d", 3);
    assert_int_equal(lines, 1);
    assert_int_equal(last_level, CLQ_LOG_INFO);
    assert_string_equal(last_line, "epoch 3");
    clq_log_error("bad");
    assert_int_equal(last_level, CLQ_LOG_ERROR);
    assert_int_equal(lines, 2);
}

static void control_characters_are_replaced(void **state) {
    (void)state;
    clq_set_log(keep, &lines, CLQ_LOG_INFO);
    clq_log_info("from \"%s\"", "a\x1b[31mb\x7f\nc\xc3\xa9");
    assert_string_equal(last_line, "from \"a?[31mb??c\xc3\xa9\"");
}

static void long_lines_are_cut(void **state) {
    (void)state;
    clq_set_log(keep, &lines, CLQ_LOG_INFO);
    clq_log_info("%5000d", 1);
    assert_int_equal(lines, 1);
    assert_in_range(strlen(last_line), 1000, 4000);
}

static void a_sink_may_log(void **state) {
    (void)state;
    clq_set_log(log_again, NULL, CLQ_LOG_INFO);
    clq_log_info("start");
    assert_int_equal(lines, 1);
}

static void the_default_level_is_warn(void **state) {
    (void)state;
    assert_true(clq_log_enabled(CLQ_LOG_WARN));
    assert_false(clq_log_enabled(CLQ_LOG_INFO));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_default_level_is_warn),
        cmocka_unit_test_setup_teardown(levels_filter, reset, reset),
        cmocka_unit_test_setup_teardown(control_characters_are_replaced, reset, reset),
        cmocka_unit_test_setup_teardown(long_lines_are_cut, reset, reset),
        cmocka_unit_test_setup_teardown(a_sink_may_log, reset, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
