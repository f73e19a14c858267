/* CIFAR-10 itself, when CLQUANT_TEST_DATA names a folder that holds it in any of its forms. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/clq_test.h"

#include <clquant/data.h>

static void check_split(const char *path, clq_split split, int64_t count) {
    clq_dataset *dataset = NULL;
    const clq_dataset_options options = {.split = split};
    const double start = clq_now_seconds();
    assert_ok(clq_dataset_open(path, &options, &dataset));
    printf("%lld images in %.2f s\n", (long long)count, clq_now_seconds() - start);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_int_equal(info->count, count);
    assert_int_equal(info->height, 32);
    assert_int_equal(info->width, 32);
    assert_int_equal(info->channels, 3);
    assert_int_equal(info->class_count, 10);
    assert_string_equal(info->class_names[0], "airplane");
    int64_t images[10] = {0};
    for (int64_t i = 0; i < count; i++) {
        images[info->labels[i]]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(images[i], count / 10);
    }
    /* The constants are those of the training pictures; test ones are close, JPEG takes little. */
    float mean[CLQ_MAX_CHANNELS], std[CLQ_MAX_CHANNELS];
    assert_ok(clq_dataset_measure(dataset, mean, std));
    for (int c = 0; c < 3; c++) {
        assert_true(mean[c] - info->mean[c] < 0.006f && info->mean[c] - mean[c] < 0.006f);
        assert_true(std[c] - info->std[c] < 0.004f && info->std[c] - std[c] < 0.004f);
    }
    clq_dataset_close(dataset);
}

static void cifar10_has_its_known_statistics(void **state) {
    (void)state;
    const char *path = getenv("CLQUANT_TEST_DATA");
    if (!path) {
        clq_test_skip("CLQUANT_TEST_DATA, a folder with CIFAR-10, is not set");
    }
    check_split(path, CLQ_SPLIT_TRAIN, 50000);
    check_split(path, CLQ_SPLIT_TEST, 10000);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(cifar10_has_its_known_statistics)};
    return cmocka_run_group_tests_name("data/real", tests, NULL, NULL);
}
