/* The last error: text, context, truncation, one per thread. */
#include <pthread.h>
#include <string.h>

#include "support/clq_test.h"

static void fail_stores_text_and_returns_status(void **state) {
    (void)state;
    assert_int_equal(clq_fail(CLQ_BAD_DATA, "%s: has %d rows", "a.bin", 3), CLQ_BAD_DATA);
    assert_string_equal(clq_last_error(), "a.bin: has 3 rows");
}

static void fail_accepts_the_last_error_as_argument(void **state) {
    (void)state;
    clq_fail(CLQ_IO, "inner");
    clq_fail(CLQ_IO, "outer <%s>", clq_last_error());
    assert_string_equal(clq_last_error(), "outer <inner>");
}

static void context_goes_in_front(void **state) {
    (void)state;
    clq_fail(CLQ_USAGE, "bad value");
    assert_int_equal(clq_fail_in(CLQ_USAGE, "recipe %s", "r.json"), CLQ_USAGE);
    assert_string_equal(clq_last_error(), "recipe r.json: bad value");
    assert_int_equal(clq_fail_in(CLQ_OK, "unused"), CLQ_OK);
    assert_string_equal(clq_last_error(), "recipe r.json: bad value");
}

static void errors_are_one_printable_line(void **state) {
    (void)state;
    clq_fail(CLQ_BAD_DATA, "name \"a\nb\033[1m\"");
    assert_string_equal(clq_last_error(), "name \"a?b?[1m\"");
}

static void long_errors_are_cut(void **state) {
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    clq_fail(CLQ_BAD_DATA, "%s", text);
    size_t length = strlen(clq_last_error());
    assert_in_range(length, 1000, 4000);
    clq_fail_in(CLQ_BAD_DATA, "place");
    assert_int_equal(strlen(clq_last_error()), length);
    assert_int_equal(strncmp(clq_last_error(), "place: xxx", 10), 0);
    clq_fail_in(CLQ_BAD_DATA, "%s", text); /* no room for the context: the error stays */
    assert_int_equal(strncmp(clq_last_error(), "place: xxx", 10), 0);
}

static void *fail_in_thread(void *unused) {
    (void)unused;
    bool empty = clq_last_error()[0] == '\0';
    clq_fail(CLQ_IO, "from the thread");
    return empty ? "empty" : NULL;
}

static void each_thread_has_its_own(void **state) {
    (void)state;
    pthread_t thread;
    void *result = NULL;
    clq_fail(CLQ_IO, "from main");
    assert_int_equal(pthread_create(&thread, NULL, fail_in_thread, NULL), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_non_null(result);
    assert_string_equal(clq_last_error(), "from main");
}

static clq_status try_it(clq_status inner, int *reached) {
    CLQ_TRY(inner);
    *reached = 1;
    return CLQ_OK;
}

static clq_status goto_it(clq_status inner, int *cleaned) {
    clq_status status;
    CLQ_GOTO(status, cleanup, inner);
    *cleaned = -1;
cleanup:
    *cleaned += 2;
    return status;
}

static void macros_forward(void **state) {
    (void)state;
    int value = 0;
    assert_int_equal(try_it(CLQ_IO, &value), CLQ_IO);
    assert_int_equal(value, 0);
    assert_int_equal(try_it(CLQ_OK, &value), CLQ_OK);
    assert_int_equal(value, 1);
    value = 0;
    assert_int_equal(goto_it(CLQ_IO, &value), CLQ_IO);
    assert_int_equal(value, 2);
    assert_int_equal(goto_it(CLQ_OK, &value), CLQ_OK);
    assert_int_equal(value, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fail_stores_text_and_returns_status),
        cmocka_unit_test(fail_accepts_the_last_error_as_argument),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(errors_are_one_printable_line),
        cmocka_unit_test(long_errors_are_cut),
        cmocka_unit_test(each_thread_has_its_own),
        cmocka_unit_test(macros_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
