/* An integer network's logits are the same bits whatever the batch size, number of threads, dot
 * path, schedule, tuning table and number of launches. */
#include "cli/command.h"

enum { IMAGES = 35 }; /* batches of 32, and some */
static int size;      /* of an image */
static char model[256];

static int make_model(void **state) {
    clq_test_setup_temp_dir(state);
    size = clq_test_all() ? 16 : 8;
    const char *fp32 = clq_test_temp_path("bits.onnx");
    snprintf(model, sizeof model, "%s", clq_test_temp_path("bits-int8.onnx"));
    assert_exit(0, "convert --network resnet20 --size %d --classes 10 -o %s", size, fp32);
    assert_exit(0, "ptq %s --data synthetic:train=32,test=%d,size=%d --images 16 -o %s", fp32,
                IMAGES, size, model);
    return 0;
}

/* The logits' hash of `clquant eval` with one more flag and environment variable. */
static void hash_logits(const char *flag, const char *name, const char *value, char hash[65]) {
    static const char key[] = "\"logits_sha256\": \"";
    if (name) {
        setenv(name, value, 1);
    }
    assert_exit(0, "eval %s --data synthetic:train=32,test=%d,size=%d --json --quiet %s", model,
                IMAGES, size, flag);
    if (name) {
        unsetenv(name);
    }
    const char *at = strstr(command_output, key);
    assert_non_null(at);
    assert_int_equal(sscanf(at + sizeof key - 1, "%64[0-9a-f]", hash), 1);
    assert_int_equal(strlen(hash), 64);
}

static void test_same_bits(void **state) {
    (void)state;
    static const struct {
        const char *flag, *name, *value;
    } cases[] = {
        {"--batch 1", NULL, NULL},           {"--batch 7", NULL, NULL},
        {"", "POCL_MAX_PTHREAD_COUNT", "1"}, {"--batch 3", "POCL_MAX_PTHREAD_COUNT", "3"},
        {"", "CLQUANT_DOT", "portable"},     {"--batch 3", "CLQUANT_SCHEDULE", "gpu"},
    };
    char expected[65], hash[65];
    hash_logits("", NULL, NULL, expected);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hash_logits(cases[i].flag, cases[i].name, cases[i].value, hash);
        assert_string_equal(hash, expected);
    }
}

/* As one launch, of as many work-groups as there are threads: fewer or more than processors. */
static void test_same_bits_chained(void **state) {
    (void)state;
    static const char *const threads[] = {"1", "2", "5"};
    char expected[65], hash[65];
    hash_logits("--batch 2", "CLQUANT_CHAIN", "off", expected);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        setenv("POCL_MAX_PTHREAD_COUNT", threads[i], 1);
        hash_logits("--batch 2", "CLQUANT_CHAIN", "on", hash);
        unsetenv("POCL_MAX_PTHREAD_COUNT");
        assert_string_equal(hash, expected);
    }
}

static void test_same_bits_tuned(void **state) {
    (void)state;
    char expected[65], hash[65];
    const char *table = clq_test_temp_path("tuned.json");
    setenv("CLQUANT_TUNE", table, 1);
    assert_exit(0, "tune %s --batch 32 --seconds %s --force --quiet", model,
                clq_test_all() ? "5" : "0.2");
    unsetenv("CLQUANT_TUNE");
    hash_logits("", "CLQUANT_TUNE", "off", expected);
    hash_logits("", "CLQUANT_TUNE", table, hash);
    assert_string_equal(hash, expected);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_bits),
                                       cmocka_unit_test(test_same_bits_chained),
                                       cmocka_unit_test(test_same_bits_tuned)};
    return cmocka_run_group_tests_name("bits", tests, make_model, clq_test_teardown_temp_dir);
}
