/* CLQUANT_* variables: one word for off, and no value or name that is passed over in silence. */
#include "support/clq_test.h"

#include <stdlib.h>
#include <string.h>

#include "base/environment.h"

static int warnings;

static void count_warnings(void *context, clq_log_level level, const char *line) {
    (void)context;
    warnings +=
        level == CLQ_LOG_WARN && strstr(line, "CLQUANT_CASHE") && strstr(line, "_CACHE_DIR");
}

static void unknown_names_warn_once(void **state) {
    (void)state;
    setenv("CLQUANT_CASHE", "off", 1);
    clq_set_log(count_warnings, NULL, CLQ_LOG_WARN);
    assert_ok(clq_environment_check());
    assert_ok(clq_environment_check());
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    unsetenv("CLQUANT_CASHE");
    assert_int_equal(warnings, 1);
}

static void switches(void **state) {
    (void)state;
    static const char *const names[] = {"CLQUANT_CACHE", "CLQUANT_SELFTEST", "CLQUANT_CHAIN"};
    static const struct {
        const char *value;
        bool good, off;
    } cases[] = {{"off", true, true},  {"0", true, true}, {"on", true, false},
                 {"1", true, false},   {"", true, false}, {"no", false, false},
                 {"OFF", false, false}};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            setenv(names[n], cases[i].value, 1);
            assert_int_equal(clq_environment_is_off(names[n]), cases[i].off);
            assert_status(clq_environment_check(), cases[i].good ? CLQ_OK : CLQ_USAGE);
            if (!cases[i].good) {
                assert_error_has(names[n]);
                assert_error_has(cases[i].value);
                assert_error_has("off");
            }
        }
        unsetenv(names[n]);
    }
}

static void seconds_and_files(void **state) {
    (void)state;
    static const char *const bad[] = {"abc", "-1", "0", "2.5", "5s", " ", "99999999999"};
    int seconds = 7;
    unsetenv("CLQUANT_RANKS_TIMEOUT");
    assert_ok(clq_environment_seconds("CLQUANT_RANKS_TIMEOUT", &seconds));
    assert_int_equal(seconds, 7);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        setenv("CLQUANT_RANKS_TIMEOUT", bad[i], 1);
        assert_status(clq_environment_check(), CLQ_USAGE);
        assert_error_has("CLQUANT_RANKS_TIMEOUT is '");
        assert_error_has("whole number of seconds");
    }
    setenv("CLQUANT_RANKS_TIMEOUT", "12", 1);
    assert_ok(clq_environment_check());
    assert_ok(clq_environment_seconds("CLQUANT_RANKS_TIMEOUT", &seconds));
    assert_int_equal(seconds, 12);
    unsetenv("CLQUANT_RANKS_TIMEOUT");

    setenv("CLQUANT_TUNE", "on", 1);
    assert_status(clq_environment_check(), CLQ_USAGE);
    assert_error_has("CLQUANT_TUNE is 'on'; it can be off (or 0) or a file");
    setenv("CLQUANT_TUNE", "off", 1);
    assert_ok(clq_environment_check());
    setenv("CLQUANT_TUNE", "./on", 1);
    assert_ok(clq_environment_check());
    unsetenv("CLQUANT_TUNE");
}

static void empty_is_not_set(void **state) {
    (void)state;
    unsetenv("CLQUANT_DEVICE");
    assert_null(clq_environment("CLQUANT_DEVICE"));
    setenv("CLQUANT_DEVICE", "", 1);
    assert_null(clq_environment("CLQUANT_DEVICE"));
    setenv("CLQUANT_DEVICE", "cpu", 1);
    assert_string_equal(clq_environment("CLQUANT_DEVICE"), "cpu");
    unsetenv("CLQUANT_DEVICE");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_names_warn_once),
        cmocka_unit_test(switches),
        cmocka_unit_test(seconds_and_files),
        cmocka_unit_test(empty_is_not_set),
    };
    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
