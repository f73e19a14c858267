#include "base/nearest.h"

#include <string.h>

#include "support/clq_test.h"

static void distances(void **state) {
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},         {"", "abc", 3},       {"abc", "", 3},           {"eval", "eval", 0},
        {"evla", "eval", 1}, {"EVAL", "eval", 0},  {"evl", "eval", 1},       {"evall", "eval", 1},
        {"ebal", "eval", 1}, {"limt", "limit", 1}, {"kitten", "sitting", 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(clq_word_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(clq_word_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char longest[128], too_long[129];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_int_equal(clq_word_distance(longest, longest), 0);
    assert_int_equal(clq_word_distance(longest, "x"), 126);
    assert_int_equal(clq_word_distance(too_long, too_long), 128);
}

static void slips_are_understood(void **state) {
    (void)state;
    static const char *const names[] = {"run", "train", "eval", "ptq", "qat", "devices", "verify"};
    enum { COUNT = sizeof names / sizeof *names };
    assert_string_equal(clq_nearest("evla", names, COUNT), "eval");
    assert_string_equal(clq_nearest("Trian", names, COUNT), "train");
    assert_string_equal(clq_nearest("dev", names, COUNT), "devices");
    assert_string_equal(clq_nearest("ptg", names, COUNT), "ptq");
    assert_string_equal(clq_nearest("verfiy", names, COUNT), "verify");
    assert_null(clq_nearest("frobnicate", names, COUNT));
    assert_null(clq_nearest("", names, COUNT));
    assert_null(clq_nearest("eval", names, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances),
        cmocka_unit_test(slips_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
