/* How images are prepared, as a network's metadata keeps it. */
#include <string.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "support/clq_test.h"

static clq_graph *network(int size, int channels) {
    clq_graph *graph = NULL;
    const clq_network_options options = {
        .network = "mlp", .size = size, .channels = channels, .classes = 3};
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

static const clq_shape *input_of(const clq_graph *graph) {
    return &graph->values[clq_graph_input(graph)].shape;
}

static clq_preprocessing everything(void) {
    return (clq_preprocessing){.known = (1u << CLQ_PART_COUNT) - 1,
                               .normalization = {.mean = {103.939f, 116.779f, 123.68f},
                                                 .std = {57.375f, 57.12f, 58.395f},
                                                 .range = 255},
                               .normalization_count = 3,
                               .channels = CLQ_BGR,
                               .resize = {.width = 10, .height = 9, .interpolation = CLQ_BICUBIC},
                               .crop_height = 8,
                               .crop_width = 8};
}

static void all_parts_come_back(void **state) {
    (void)state;
    clq_graph *graph = network(8, 3);
    clq_preprocessing back, p = everything();
    assert_ok(clq_graph_preprocessing(graph, &back));
    assert_int_equal(back.known, 0);
    assert_ok(clq_preprocessing_check(&p, input_of(graph), CLQ_USAGE));
    assert_ok(clq_graph_set_preprocessing(graph, &p));
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.range"), "255");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.channels"), "bgr");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.resize"), "10x9");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.crop"), "8x8");
    assert_string_equal(clq_graph_get_metadata(graph, "clquant.interpolation"), "bicubic");
    assert_ok(clq_graph_preprocessing(graph, &back));
    assert_int_equal(back.known, p.known);
    for (int c = 0; c < 3; c++) {
        assert_true(back.normalization.mean[c] == p.normalization.mean[c]);
        assert_true(back.normalization.std[c] == p.normalization.std[c]);
    }
    assert_true(back.normalization.range == 255);
    assert_int_equal(back.channels, CLQ_BGR);
    assert_int_equal(back.resize.width, 10);
    assert_int_equal(back.resize.height, 9);
    assert_int_equal(back.resize.interpolation, CLQ_BICUBIC);
    assert_int_equal(back.crop_width, 8);
    clq_graph_destroy(graph);
}

/* Files of before: mean and std alone are of pixels in 0..1. */
static void mean_and_std_are_enough(void **state) {
    (void)state;
    clq_graph *graph = network(8, 1);
    clq_preprocessing p;
    assert_ok(clq_graph_set_metadata(graph, "clquant.mean", "0.25"));
    assert_ok(clq_graph_set_metadata(graph, "clquant.std", "0.5"));
    assert_ok(clq_graph_preprocessing(graph, &p));
    assert_int_equal(p.known, CLQ_PART_NORMALISATION);
    assert_true(p.normalization.mean[0] == 0.25f && p.normalization.std[0] == 0.5f);
    assert_true(p.normalization.range == 1);
    clq_graph_destroy(graph);
}

static void damaged_metadata_names_its_key(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *text;
    } cases[] = {{"clquant.mean", "0.1,0.2", "clquant.mean"},
                 {"clquant.mean", "0.1,0.2,nan", "clquant.mean"},
                 {"clquant.mean", "", "clquant.mean"},
                 {"clquant.mean", "128,128,128", "the range, 255"},
                 {"clquant.mean", "-1,0,0", "mean must be a number in 0..255, is -1"},
                 {"clquant.std", "1e-30,1,1", "std must be a number in 1e-06..510, is 1e-30"},
                 {"clquant.std", "1,1,511", "std must be a number in 1e-06..510, is 511"},
                 {"clquant.range", "254", "clquant.range must be 1 or 255, is \"254\""},
                 {"clquant.range", "x", "is \"x\""},
                 {"clquant.std", "0,0,0", "clquant.std"},
                 {"clquant.std", "0.2,0.2,-0.2", "clquant.std"},
                 {"clquant.range", "255", "less than one step"},
                 {"clquant.channels", "RGB", "clquant.channels"},
                 {"clquant.channels", "grey", "grey"},
                 {"clquant.interpolation", "", "clquant.interpolation"},
                 {"clquant.resize", "0", "clquant.resize"},
                 {"clquant.resize", "7", "less than the 8 x 8"},
                 {"clquant.resize", "9x7", "less than the 8 x 8"},
                 {"clquant.resize", "99999999999999999999", "clquant.resize"},
                 {"clquant.resize", "10x", "clquant.resize"},
                 {"clquant.resize", "10x10x10", "clquant.resize"},
                 {"clquant.resize", " 10", "clquant.resize"},
                 {"clquant.crop", "-8", "clquant.crop"},
                 {"clquant.crop", "224", "reads images of 8 x 8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_graph *graph = network(8, 3);
        clq_preprocessing p;
        assert_ok(clq_graph_set_metadata(graph, "clquant.mean", "0.5,0.5,0.5"));
        assert_ok(clq_graph_set_metadata(graph, "clquant.std", "0.2,0.2,0.2"));
        assert_ok(clq_graph_set_metadata(graph, cases[i].key, cases[i].value));
        assert_status(clq_graph_preprocessing(graph, &p), CLQ_BAD_DATA);
        assert_error_has("the model's metadata");
        assert_error_has(cases[i].text);
        clq_graph_destroy(graph);
    }
}

/* (x - 127) / 128 of pixels 0..255, said for all channels at once. */
static void one_number_is_for_all_channels(void **state) {
    (void)state;
    clq_graph *graph = network(8, 3);
    clq_preprocessing p = {.known = CLQ_PART_NORMALISATION,
                           .normalization = {.mean = {127}, .std = {128}, .range = 255},
                           .normalization_count = 1};
    assert_ok(clq_preprocessing_check(&p, NULL, CLQ_USAGE));
    assert_ok(clq_preprocessing_check(&p, input_of(graph), CLQ_USAGE));
    assert_int_equal(p.normalization_count, 3);
    assert_true(p.normalization.mean[2] == 127 && p.normalization.std[1] == 128);
    p.normalization_count = 2;
    assert_status(clq_preprocessing_check(&p, input_of(graph), CLQ_USAGE), CLQ_USAGE);
    assert_error_has("3 channels");
    p.normalization_count = 3;
    p.normalization.range = 1;
    assert_status(clq_preprocessing_check(&p, NULL, CLQ_USAGE), CLQ_USAGE);
    assert_error_has("give the range, 255");
    clq_graph_destroy(graph);
}

/* The usual constants are red's first. */
static void blue_first_turns_what_is_usual(void **state) {
    (void)state;
    clq_graph *graph = network(32, 3);
    clq_dataset *dataset = NULL;
    clq_normalization n;
    const clq_dataset_options options = {.height = 32, .limit = 2};
    assert_ok(clq_dataset_open("synthetic", &options, &dataset));
    assert_ok(clq_graph_set_metadata(graph, "clquant.channels", "bgr"));
    assert_ok(clq_graph_normalization(graph, dataset, &n));
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    assert_true(n.bgr);
    for (int c = 0; c < 3; c++) {
        assert_true(n.mean[c] == info->mean[2 - c] && n.std[c] == info->std[2 - c]);
    }
    assert_ok(clq_graph_set_metadata(graph, "clquant.mean", "0.1,0.2,0.3"));
    assert_ok(clq_graph_set_metadata(graph, "clquant.std", "1,1,1"));
    assert_ok(clq_graph_normalization(graph, dataset, &n));
    assert_true(n.bgr && n.mean[0] == 0.1f && n.mean[2] == 0.3f);
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_parts_come_back),
        cmocka_unit_test(mean_and_std_are_enough),
        cmocka_unit_test(damaged_metadata_names_its_key),
        cmocka_unit_test(one_number_is_for_all_channels),
        cmocka_unit_test(blue_first_turns_what_is_usual),
    };
    return cmocka_run_group_tests_name("train/preprocessing", tests, NULL, NULL);
}
