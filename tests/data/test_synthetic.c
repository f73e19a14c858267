/* The built-in data: each picture depends on (seed, split, index) and on nothing else. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "data/figures.h"
#include "support/clq_test.h"

#include <clquant/data.h>

#define GOLDEN UINT64_C(0xd74edd22f3b040b6)

static clq_dataset *open_ok(const char *path, clq_dataset_options options) {
    clq_dataset *dataset = NULL;
    assert_ok(clq_dataset_open(path, &options, &dataset));
    return dataset;
}

static uint64_t hash_of(const clq_dataset *dataset) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    const size_t bytes = (size_t)(info->height * info->width * info->channels);
    uint8_t *image = malloc(bytes);
    assert_non_null(image);
    uint64_t hash = 0;
    for (int64_t i = 0; i < info->count; i++) {
        assert_ok(clq_dataset_read(dataset, i, image));
        hash = clq_hash64_seeded(image, bytes, hash);
    }
    free(image);
    return hash;
}

static uint64_t hash_with(const char *path, clq_dataset_options options) {
    clq_dataset *dataset = open_ok(path, options);
    const uint64_t hash = hash_of(dataset);
    clq_dataset_close(dataset);
    return hash;
}

static void classes_are_balanced(void **state) {
    (void)state;
    clq_dataset *dataset = open_ok("synthetic:test=200", (clq_dataset_options){.split = 1});
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    int count[10] = {0};
    assert_int_equal(info->count, 200);
    assert_int_equal(info->class_count, 10);
    assert_string_equal(info->class_names[5], "star");
    for (int i = 0; i < 200; i++) {
        count[info->labels[i]]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(count[i], 20);
    }
    clq_dataset_close(dataset);
}

static void defaults_are_as_documented(void **state) {
    (void)state;
    /* Not kept in memory, so that nothing is rendered here. */
    clq_dataset *dataset = open_ok("synthetic", (clq_dataset_options){.max_memory = 1});
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_int_equal(info->count, 8192);
    assert_int_equal(info->height, 32);
    assert_int_equal(info->width, 32);
    assert_int_equal(info->channels, 3);
    clq_dataset_close(dataset);
    dataset = open_ok("synthetic", (clq_dataset_options){.split = CLQ_SPLIT_TEST, .max_memory = 1});
    assert_int_equal(clq_dataset_get_info(dataset)->count, 2048);
    clq_dataset_close(dataset);
}

static void pictures_do_not_depend_on_threads_order_or_count(void **state) {
    (void)state;
    const uint64_t one = hash_with("synthetic:train=100", (clq_dataset_options){.threads = 1});
    const uint64_t four = hash_with("synthetic:train=100", (clq_dataset_options){.threads = 4});
    const uint64_t lazy = hash_with("synthetic:train=100", (clq_dataset_options){.max_memory = 1});
    const uint64_t part = hash_with("synthetic:train=500", (clq_dataset_options){.limit = 100});
    assert_int_equal(one, four);
    assert_int_equal(one, lazy);
    assert_int_equal(one, part);
}

static void seed_split_and_noise_change_them(void **state) {
    (void)state;
    const uint64_t a = hash_with("synthetic:train=10", (clq_dataset_options){.seed = 1});
    assert_int_equal(a, hash_with("synthetic:train=10,seed=1", (clq_dataset_options){.seed = 2}));
    assert_int_not_equal(a, hash_with("synthetic:train=10", (clq_dataset_options){.seed = 2}));
    assert_int_not_equal(a,
                         hash_with("synthetic:train=10,noise=0", (clq_dataset_options){.seed = 1}));
    assert_int_not_equal(a, hash_with("synthetic:test=10",
                                      (clq_dataset_options){.seed = 1, .split = CLQ_SPLIT_TEST}));
}

/* The same pictures on every machine and in every version: results in documents depend on them. */
static void pictures_are_these(void **state) {
    (void)state;
    const uint64_t hash = hash_with("synthetic:train=100", (clq_dataset_options){0});
    if (hash != GOLDEN) {
        fail_msg("the pictures changed: hash 0x%016llx", (unsigned long long)hash);
    }
}

static void any_size_can_be_had(void **state) {
    (void)state;
    clq_dataset *dataset = open_ok("synthetic:train=2", (clq_dataset_options){.height = 17});
    assert_int_equal(clq_dataset_get_info(dataset)->width, 17);
    clq_dataset_close(dataset);
    dataset = open_ok("synthetic:train=2,size=64", (clq_dataset_options){.channels = 1});
    assert_int_equal(clq_dataset_get_info(dataset)->width, 64);
    assert_int_equal(clq_dataset_get_info(dataset)->channels, 1);
    clq_dataset_close(dataset);
}

static void bad_keys_are_refused(void **state) {
    (void)state;
    const char *const bad[] = {"synthetic:train",
                               "synthetic:train=",
                               "synthetic:train=0",
                               "synthetic:train=x",
                               "synthetic:colour=3",
                               "synthetic:size=4",
                               "synthetic:size=1e9",
                               "synthetic:train=1.5",
                               "synthetic:noise=2",
                               "synthetic:train=5;",
                               "synthetic:train=1,,x",
                               "synthetic:seed=1.2.3",
                               "synthetic:train=2147483647",
                               "synthetic:train=99999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clq_dataset *dataset = NULL;
        assert_status(clq_dataset_open(bad[i], NULL, &dataset), CLQ_USAGE);
        assert_error_has("synthetic");
    }
}

static void turns_are_sine_and_cosine(void **state) {
    (void)state;
    const double expected[][3] = {{0, 0, 1},
                                  {0.125, 0.70710678118, 0.70710678118},
                                  {0.25, 1, 0},
                                  {-0.25, -1, 0},
                                  {1.5, 0, -1},
                                  {1.0 / 12, 0.5, 0.86602540378},
                                  {2.0 / 3, -0.86602540378, -0.5}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        double sine, cosine;
        clq_turn(expected[i][0], &sine, &cosine);
        assert_true(sine - expected[i][1] < 1e-8 && expected[i][1] - sine < 1e-8);
        assert_true(cosine - expected[i][2] < 1e-8 && expected[i][2] - cosine < 1e-8);
    }
}

static void figures_have_an_inside_and_end_near_the_unit_disc(void **state) {
    (void)state;
    for (int figure = 0; figure < CLQ_FIGURES; figure++) {
        int inside = 0;
        for (int y = -20; y <= 20; y++) {
            for (int x = -20; x <= 20; x++) {
                const double d = clq_figure_distance(figure, x * 0.1, y * 0.1);
                inside += d < 0;
                assert_true(d > 0 || x * x + y * y < 170);
            }
        }
        assert_in_range(inside, 40, 320);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_balanced),
        cmocka_unit_test(defaults_are_as_documented),
        cmocka_unit_test(pictures_do_not_depend_on_threads_order_or_count),
        cmocka_unit_test(seed_split_and_noise_change_them),
        cmocka_unit_test(pictures_are_these),
        cmocka_unit_test(any_size_can_be_had),
        cmocka_unit_test(bad_keys_are_refused),
        cmocka_unit_test(turns_are_sine_and_cosine),
        cmocka_unit_test(figures_have_an_inside_and_end_near_the_unit_disc),
    };
    return cmocka_run_group_tests_name("data/synthetic", tests, NULL, NULL);
}
