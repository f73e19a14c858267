/* clquant tune: what it keeps, where, and that no bit of a result depends on it. */
#include "base/files.h"
#include "base/json.h"
#include "cli/command.h"
#include "models/builder.h"

#include <clquant/formats.h>

#define DATA "synthetic:train=64,test=32,size=16"

static char fp32[512], int8[512];

/* Four shapes of layers, two of them resnet20's. */
static void make_network(const char *path) {
    const clq_network_options options = {.network = "four"};
    clq_builder b = {.options = &options};
    assert_ok(clq_graph_create("four", &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, 16, 16, 3}});
    x = clq_build_op(&b, "relu", "relu1", clq_build_conv(&b, "conv1", x, 16, 3, 1, false));
    x = clq_build_op(&b, "relu", "relu2", clq_build_conv(&b, "conv2", x, 32, 3, 2, false));
    x = clq_build_op(&b, "relu", "relu3", clq_build_conv(&b, "conv3", x, 32, 3, 1, false));
    x = clq_build_op(&b, "global_avg_pool", "avgpool", x);
    clq_graph_set_output(b.graph, clq_build_linear(&b, "fc", x, 10, CLQ_LINEAR_UNIFORM));
    assert_ok(b.status);
    assert_ok(clq_onnx_save(b.graph, path));
    clq_graph_destroy(b.graph);
}

static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    unsetenv("CLQUANT_TUNE");
    snprintf(fp32, sizeof fp32, "%s", clq_test_temp_path("fp32.onnx"));
    snprintf(int8, sizeof int8, "%s", clq_test_temp_path("int8.onnx"));
    make_network(fp32);
    assert_exit(0, "ptq %s --data " DATA " --images 16 -o %s", fp32, int8);
    return 0;
}

static int teardown(void **state) {
    unsetenv("CLQUANT_TUNE");
    return clq_test_teardown_temp_dir(state);
}

static json_t *load(const char *path) {
    json_t *json = NULL;
    assert_ok(clq_json_load(path, &json));
    return json;
}

enum { LOGITS = 65 };

/* The hash of an evaluation's logits. */
static void hash_logits(const char *model, char hash[LOGITS]) {
    assert_exit(0, "eval %s --data " DATA " --json -q", model);
    const char *at = strstr(command_output, "\"logits_sha256\": \"");
    assert_non_null(at);
    snprintf(hash, LOGITS, "%s", at + strlen("\"logits_sha256\": \""));
}

static void keeps_what_it_finds(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("tuned.json"));
    assert_exit(0, "tune %s --batch 1,2 --seconds 0.02 -q -o %s", int8, path);
    assert_printed("int8   1x16x16x3 16x3x3 s1x1 p1x1 d1x1 g1");
    assert_printed("int8   2x8x8x32 32x3x3 s1x1 p1x1 d1x1 g1");
    assert_printed("measured layers");
    assert_printed(path);
    json_t *file = load(path);
    const size_t count = json_object_size(json_object_get(file, "choices"));
    json_decref(file);
    assert_int_equal(count, 8); /* 4 shapes, 2 batches */

    assert_exit(0, "tune %s -q -o %s", int8, path); /* has all, measures nothing */
    assert_printed("(as before)");
    assert_null(strstr(command_output, "measured layers"));
    assert_exit(0, "tune %s --force --seconds 0.02 -q -o %s --json", fp32, path);
    json_t *json = NULL;
    assert_ok(clq_json_parse("output", command_output, strlen(command_output), &json));
    json_t *first = json_array_get(json_object_get(json, "results"), 0);
    assert_int_equal(json_array_size(json_object_get(json, "results")), 4);
    assert_true(json_integer_value(json_object_get(first, "candidates")) > 1);
    assert_true(json_real_value(json_object_get(first, "default_ms")) >=
                json_real_value(json_object_get(first, "best_ms")));
    json_decref(json);
}

/* Lets every layer run by `text`, which few would by default. */
static void write_choices(const char *path, const char *text) {
    const char *key;
    json_t *choice;
    void *at;
    json_t *file = load(path), *choices = json_object_get(file, "choices");
    json_object_foreach_safe(choices, at, key, choice) {
        json_object_set_new(choices, key, json_string(text));
    }
    assert_ok(clq_json_dump_file(path, file));
    json_decref(file);
}

/* FP32 results may depend on whether Winograd's algorithm is taken, sums over taps on nothing. */
static void bits_do_not_depend_on_it(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("odd.json"));
    char expected[LOGITS], sums[LOGITS], tuned[LOGITS];
    setenv("CLQUANT_TUNE", "off", 1);
    hash_logits(int8, expected);
    /* Evaluations use the batch 32 here. */
    assert_exit(0, "tune %s %s --batch 32 --seconds 0.02 -q -o %s", fp32, int8, path);
    setenv("CLQUANT_TUNE", path, 1);
    hash_logits(int8, tuned);
    assert_string_equal(tuned, expected);

    write_choices(path, "kernel=tile");
    hash_logits(fp32, sums);
    write_choices(path, "kernel=tile items=1x1");
    hash_logits(fp32, tuned);
    assert_string_equal(tuned, sums);
    hash_logits(int8, tuned);
    assert_string_equal(tuned, expected);
    assert_exit(0, "verify %s --data " DATA " --json", int8);
    assert_printed("\"mismatched_codes\": 0");
    unsetenv("CLQUANT_TUNE");
}

static void bad_files_only_warn(void **state) {
    (void)state;
    setenv("CLQUANT_TUNE", text_file("bad.json", "{\"schema\": 1, \"choices\""), 1);
    assert_exit(0, "eval %s --data " DATA, int8);
    assert_printed("ignoring the tuning file");
    assert_printed("bad.json");
    setenv("CLQUANT_TUNE", clq_test_temp_path("missing.json"), 1);
    assert_exit(0, "eval %s --data " DATA, int8);
    assert_printed("warning: CLQUANT_TUNE: there is no file ");
    assert_exit(0, "tune %s --seconds 0.02", int8); /* which makes it */
    assert_null(strstr(command_output, "there is no file"));
    assert_exit(0, "eval %s --data " DATA, int8);
    assert_null(strstr(command_output, "there is no file"));
    setenv("CLQUANT_TUNE", "on", 1);
    assert_exit(CLQ_USAGE, "eval %s --data " DATA, int8);
    assert_printed("CLQUANT_TUNE is 'on'");
    unsetenv("CLQUANT_TUNE");
    setenv("CLQUANT_RANKS_TIMEOUT", "abc", 1);
    assert_exit(CLQ_USAGE, "report %s", clq_test_temp_path("nowhere")); /* needs no device */
    assert_printed("CLQUANT_RANKS_TIMEOUT is 'abc'");
    unsetenv("CLQUANT_RANKS_TIMEOUT");
}

static void bad_calls(void **state) {
    (void)state;
    assert_exit(CLQ_USAGE, "tune");
    assert_exit(CLQ_USAGE, "tune %s --batch 0", fp32);
    assert_printed("--batch");
    assert_exit(CLQ_USAGE, "tune %s --batch 1.5", fp32);
    assert_exit(CLQ_USAGE, "tune %s --batch 1,", fp32);
    assert_exit(CLQ_USAGE, "tune %s --seconds soon", fp32);
    const char *large = clq_test_temp_path("large.onnx");
    assert_exit(0, "convert --network resnet20 --size 64 -o %s", large);
    assert_exit(CLQ_USAGE, "tune %s --batch 65536 -o %s", large, clq_test_temp_path("t.json"));
    assert_printed("too large");
    assert_exit(CLQ_NO_INPUT, "tune %s", clq_test_temp_path("absent.onnx"));
    assert_exit(CLQ_CANNOT_CREATE, "tune %s -q --seconds 0.01 -o %s/below.json", fp32, fp32);
    setenv("CLQUANT_TUNE", "off", 1);
    assert_exit(CLQ_USAGE, "tune %s", fp32);
    assert_printed("CLQUANT_TUNE");
    unsetenv("CLQUANT_TUNE");
}

int main(void) {
    setenv("COLUMNS", "200", 1); /* no text of a table is broken */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_it_finds),
        cmocka_unit_test(bits_do_not_depend_on_it),
        cmocka_unit_test(bad_files_only_warn),
        cmocka_unit_test(bad_calls),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
