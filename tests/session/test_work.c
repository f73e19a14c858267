/* PTQ, evaluation, verification and the rest of what sessions do, on arrays, functions and paths.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/clquant.h>

#include "exec/small_net.h"

enum { SIZE = 8, CHANNELS = 3, INPUTS = SIZE * SIZE * CHANNELS, CLASSES = 10, ROWS = 40 };
#define SYNTHETIC "synthetic:train=48,test=24,size=8"

static clq_session *fp32;
static float *nhwc, *nchw, labels[ROWS];

static int open_all(void **state) {
    net n = net_begin((clq_shape){4, {1, SIZE, SIZE, CHANNELS}});
    net_conv(&n, "conv", n.at, 8, 3, 1, true);
    net_unary(&n, "relu", "act", n.at);
    net_unary(&n, "global_avg_pool", "pool", n.at);
    net_linear(&n, "fc", n.at, CLASSES);
    clq_graph *graph = net_end(&n);
    if (open_own_schedule(state) != 0 || clq_session_create(test_device, graph, &fp32) != CLQ_OK) {
        return -1;
    }
    clq_graph_destroy(graph);
    nhwc = random_floats(ROWS * INPUTS, -1, 1, 5);
    nchw = calloc(ROWS * INPUTS, sizeof *nchw);
    for (int i = 0; i < ROWS * INPUTS; i++) {
        const int row = i / INPUTS, pixel = i % INPUTS / CHANNELS, c = i % CHANNELS;
        nchw[row * INPUTS + c * SIZE * SIZE + pixel] = nhwc[i];
    }
    for (int i = 0; i < ROWS; i++) {
        labels[i] = (float)(i * 7 % CLASSES);
    }
    return 0;
}

static int close_all(void **state) {
    clq_session_destroy(fp32);
    free(nhwc), free(nchw);
    return close_device(state);
}

/* ---- arrays ---- */

static clq_arrays *in_memory(bool labelled, clq_order order) {
    static const int64_t first[] = {CHANNELS, SIZE, SIZE}, last[] = {SIZE, SIZE, CHANNELS};
    const bool as_model = order == CLQ_ORDER_MODEL;
    clq_arrays *arrays = NULL;
    assert_ok(clq_arrays_create(ROWS, &arrays));
    assert_ok(clq_arrays_add(arrays, "x", as_model ? first : last, 3, as_model ? nchw : nhwc));
    assert_ok(clq_arrays_set_order(arrays, order));
    if (labelled) {
        assert_ok(clq_arrays_add(arrays, "y", NULL, 0, labels));
        assert_ok(clq_arrays_set_labels(arrays, "y"));
    }
    return arrays;
}

static clq_status fill(void *context, int64_t first, int64_t count, float *const *values) {
    int64_t *failing = context;
    if (first + count > *failing) {
        return clq_fail(CLQ_IO, "row %lld is gone", (long long)*failing);
    }
    memcpy(values[0], nchw + first * INPUTS, (size_t)(count * INPUTS) * sizeof *nchw);
    memcpy(values[1], labels + first, (size_t)count * sizeof *labels);
    return CLQ_OK;
}

static clq_arrays *by_function(int64_t *failing) {
    static const int64_t dims[] = {CHANNELS, SIZE, SIZE};
    clq_arrays *arrays = NULL;
    assert_ok(clq_arrays_create(ROWS, &arrays));
    assert_ok(clq_arrays_add(arrays, "x", dims, 3, NULL));
    assert_ok(clq_arrays_add(arrays, "y", NULL, 0, NULL));
    assert_ok(clq_arrays_set_labels(arrays, "y"));
    assert_ok(clq_arrays_set_fill(arrays, fill, failing));
    return arrays;
}

static clq_options *make_options(const char *key, const char *value) {
    clq_options *options = NULL;
    assert_ok(clq_options_create(&options));
    if (key) {
        assert_ok(clq_options_set(options, key, value));
    }
    return options;
}

/* ---- the tests ---- */

/* SHA-256 of the logits of PTQ's network on the same rows, whichever way they come. */
static void quantizes_alike(void **state) {
    (void)state;
    char first[65] = "";
    int64_t never = INT64_MAX;
    for (int way = 0; way < 3; way++) {
        clq_arrays *arrays = way < 2 ? in_memory(way == 0, (clq_order)way) : by_function(&never);
        clq_session *int8 = NULL;
        clq_result *result = NULL, *verified = NULL;
        assert_ok(clq_session_ptq(fp32, NULL, arrays, NULL, &int8, &result));
        assert_string_equal(clq_result_text(result, "quantization.method"), "ptq");
        assert_true(clq_result_number(result, "quantization.images") == ROWS);
        assert_ok(clq_session_verify(int8, NULL, arrays, NULL, &verified));
        assert_true(clq_result_number(verified, "mismatched_codes") == 0);
        assert_true(clq_result_number(verified, "images") == ROWS);
        const char *sha256 = clq_result_text(verified, "logits_sha256");
        if (way == 0) {
            snprintf(first, sizeof first, "%s", sha256);
        }
        assert_string_equal(sha256, first);
        clq_result_free(result);
        clq_result_free(verified);
        clq_session_destroy(int8);
        clq_arrays_close(arrays);
    }
}

/* Written in any form, or as scales alone, and read again, the network has the same codes. */
static void saves_in_any_form(void **state) {
    (void)state;
    static const char *const forms[] = {"qdq", "qoperator", "qoperator-ort"};
    float *y = calloc(ROWS * CLASSES, sizeof *y), *again = calloc(ROWS * CLASSES, sizeof *y);
    clq_arrays *arrays = in_memory(false, CLQ_ORDER_MODEL);
    clq_session *int8 = NULL, *read = NULL;
    assert_ok(clq_session_ptq(fp32, NULL, arrays, NULL, &int8, NULL));
    assert_ok(clq_session_run(int8, CLQ_ORDER_NHWC, ROWS, (const float *const[]){nhwc}, &y));
    const char *path = clq_test_temp_path("m.onnx"), *scales = clq_test_temp_path("m.encodings");
    for (int form = 0; form < 4; form++) {
        clq_options *options =
            form < 3 ? make_options("form", forms[form]) : make_options("encodings", scales);
        if (form < 3) {
            assert_ok(clq_options_set(options, "opset", "17"));
            assert_ok(clq_session_save(int8, path, options));
            assert_ok(clq_session_load(test_device, path, &read));
        } else {
            assert_ok(
                clq_encodings_save(clq_session_graph(int8), CLQ_ENCODINGS_AIMET_1_0_0, scales));
            assert_ok(clq_session_ptq(fp32, NULL, NULL, options, &read, NULL));
        }
        assert_ok(
            clq_session_run(read, CLQ_ORDER_NHWC, ROWS, (const float *const[]){nhwc}, &again));
        assert_memory_equal(y, again, ROWS * CLASSES * sizeof *y);
        clq_options_destroy(options);
        clq_session_destroy(read);
    }
    clq_options *options = make_options("form", "qoperator");
    assert_status(clq_session_save(fp32, path, options), CLQ_USAGE);
    assert_ok(clq_options_set(options, "opset", "12"));
    assert_status(clq_session_save(int8, path, options), CLQ_BAD_DATA);
    assert_error_has("opset");
    assert_status(clq_session_evaluate(int8, NULL, NULL, options, NULL), CLQ_USAGE);
    assert_status(clq_session_save(int8, clq_test_temp_path("none/m.onnx"), NULL),
                  CLQ_CANNOT_CREATE);
    clq_options_destroy(options);
    clq_session_destroy(int8);
    clq_arrays_close(arrays);
    free(y), free(again);
}

static void evaluates_labelled_arrays(void **state) {
    (void)state;
    float *y = calloc(ROWS * CLASSES, sizeof *y);
    int right = 0;
    int64_t never = INT64_MAX;
    assert_ok(clq_session_run(fp32, CLQ_ORDER_NHWC, ROWS, (const float *const[]){nhwc}, &y));
    for (int i = 0; i < ROWS; i++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++) {
            best = y[i * CLASSES + c] > y[i * CLASSES + best] ? c : best;
        }
        right += best == (int)labels[i];
    }
    for (int way = 0; way < 2; way++) {
        clq_arrays *arrays = way ? by_function(&never) : in_memory(true, CLQ_ORDER_NHWC);
        clq_result *result = NULL;
        assert_ok(clq_session_evaluate(fp32, NULL, arrays, NULL, &result));
        assert_true(fabs(clq_result_number(result, "top1") - (double)right / ROWS) < 1e-12);
        clq_result_free(result);
        clq_arrays_close(arrays);
    }
    clq_arrays *unlabelled = in_memory(false, CLQ_ORDER_MODEL);
    assert_status(clq_session_evaluate(fp32, NULL, unlabelled, NULL, NULL), CLQ_BAD_DATA);
    assert_error_has("arrays: has no labels");
    clq_arrays_close(unlabelled);
    labels[3] = 0.5f;
    clq_arrays *arrays = in_memory(true, CLQ_ORDER_MODEL);
    assert_status(clq_session_evaluate(fp32, NULL, arrays, NULL, NULL), CLQ_BAD_DATA);
    assert_error_has("label 3 must be the number of a class, is 0.5");
    labels[3] = CLASSES;
    assert_status(clq_session_evaluate(fp32, NULL, arrays, NULL, NULL), CLQ_BAD_DATA);
    assert_error_has("has label 10, but the network has 10 classes");
    labels[3] = 1;
    clq_arrays_close(arrays);
    free(y);
}

/* SHA-256 of the logits after two epochs. */
static void fine_tune(clq_arrays *arrays, const char *path, clq_options *options, char sha256[65]) {
    clq_session *int8 = NULL;
    clq_result *result = NULL;
    assert_ok(clq_session_qat(fp32, path, arrays, options, &int8, &result));
    assert_string_equal(clq_result_text(result, "quantization.method"), "qat");
    clq_result_free(result);
    assert_ok(clq_session_verify(int8, path, arrays, NULL, &result));
    assert_true(clq_result_number(result, "mismatched_codes") == 0);
    snprintf(sha256, 65, "%s", clq_result_text(result, "logits_sha256"));
    clq_result_free(result);
    clq_session_destroy(int8);
}

static void fine_tunes(void **state) {
    (void)state;
    char first[65], second[65];
    int64_t never = INT64_MAX;
    clq_session *int8 = NULL;
    clq_options *options = make_options("epochs", "2");
    assert_ok(clq_options_set(options, "batch", "16"));
    assert_ok(clq_options_set_number(options, "schedule.lr", 0.05));
    clq_arrays *arrays = in_memory(true, CLQ_ORDER_NHWC), *same = by_function(&never);
    fine_tune(arrays, NULL, options, first);
    fine_tune(same, NULL, options, second);
    assert_string_equal(first, second);
    fine_tune(NULL, SYNTHETIC, options, second);
    clq_arrays_close(same);

    clq_arrays *unlabelled = in_memory(false, CLQ_ORDER_MODEL);
    assert_status(clq_session_qat(fp32, NULL, unlabelled, options, &int8, NULL), CLQ_BAD_DATA);
    assert_error_has("has no labels to train with");
    assert_ok(clq_options_set(options, "no_labels", "true"));
    assert_ok(clq_options_set(options, "distill.teacher", "fp32"));
    assert_ok(clq_options_set(options, "distill.weight", "1"));
    fine_tune(unlabelled, NULL, options, second);
    clq_arrays_close(unlabelled);
    clq_options_destroy(options);

    labels[5] = CLASSES;
    options = make_options("batch", "16");
    assert_status(clq_session_qat(fp32, NULL, arrays, options, &int8, NULL), CLQ_BAD_DATA);
    assert_error_has("label 5 is class 10, and the network has 10 classes");
    labels[5] = 5;
    clq_options_destroy(options);
    clq_arrays_close(arrays);
    assert_status(clq_session_qat(NULL, SYNTHETIC, NULL, NULL, &int8, NULL), CLQ_USAGE);
}

/* Before training begins: it stops behind its first step. */
static bool stop_training(void *context, const clq_progress_state *state) {
    (void)context;
    return !(state->ended && strcmp(state->label, "calibrate") == 0);
}

/* Stopped behind a checkpoint, and gone on with to the same bits. */
static void fine_tuning_stops_and_goes_on(void **state) {
    (void)state;
    char whole[65], resumed[65];
    clq_session *int8 = NULL;
    clq_arrays *arrays = in_memory(true, CLQ_ORDER_NHWC);
    clq_options *options = make_options("epochs", "3");
    assert_ok(clq_options_set(options, "batch", "8"));
    fine_tune(arrays, NULL, options, whole);
    assert_ok(clq_options_set_text(options, "out", clq_test_temp_path("qat")));
    clq_set_progress(stop_training, NULL);
    assert_status(clq_session_qat(fp32, NULL, arrays, options, &int8, NULL), CLQ_INTERRUPTED);
    assert_error_has("interrupted after step 1 of 15, which is kept in");
    clq_set_progress(NULL, NULL);
    assert_status(clq_session_qat(fp32, NULL, arrays, options, &int8, NULL), CLQ_CANNOT_CREATE);
    assert_ok(clq_options_set(options, "resume", "true"));
    fine_tune(arrays, NULL, options, resumed);
    assert_string_equal(resumed, whole);
    clq_options_destroy(options);
    clq_arrays_close(arrays);
}

static void analyzes(void **state) {
    (void)state;
    clq_session *int8 = NULL;
    clq_result *result = NULL;
    clq_arrays *arrays = in_memory(true, CLQ_ORDER_NHWC);
    clq_options *options = make_options("limit", "20");
    assert_ok(clq_session_ptq(fp32, NULL, arrays, NULL, &int8, NULL));
    assert_ok(clq_session_analyze(fp32, int8, NULL, arrays, options, &result));
    assert_true(clq_result_number(result, "images") == 20);
    assert_non_null(clq_result_text(result, "advice"));
    assert_non_null(strstr(clq_result_json(result), "\"name\":\"conv\""));
    clq_result_free(result);
    assert_status(clq_session_analyze(fp32, fp32, NULL, arrays, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_analyze(fp32, NULL, NULL, arrays, NULL, NULL), CLQ_USAGE);
    clq_options_destroy(options);
    clq_session_destroy(int8);
    clq_arrays_close(arrays);
}

static void paths(void **state) {
    (void)state;
    clq_session *int8 = NULL;
    clq_result *result = NULL;
    clq_options *options = make_options("images", "16");
    assert_ok(clq_options_set(options, "data.mean", "[0.5,0.5,0.5]"));
    assert_ok(clq_options_set(options, "data.std", "0.25"));
    assert_ok(clq_options_set(options, "observer", "mse"));
    assert_ok(clq_options_set_number(options, "test_images", 24));
    assert_ok(clq_session_ptq(fp32, SYNTHETIC, NULL, options, &int8, &result));
    assert_true(clq_result_number(result, "quantization.images") == 16);
    assert_string_equal(clq_result_text(result, "quantization.observer"), "mse");
    assert_true(clq_result_number(result, "accuracy.images") == 24);
    /* The network learnt how its images are prepared; the one that it was made of did not. */
    assert_string_equal(clq_graph_get_metadata(clq_session_graph(int8), "clquant.mean"),
                        "0.5,0.5,0.5");
    assert_null(clq_graph_get_metadata(clq_session_graph(fp32), "clquant.mean"));
    clq_result_free(result);
    assert_ok(clq_session_evaluate(int8, SYNTHETIC, NULL, NULL, &result));
    assert_true(clq_result_number(result, "images") == 24);
    assert_non_null(strstr(clq_result_json(result), "\"logits_sha256\""));
    clq_result_free(result);
    assert_status(clq_session_ptq(int8, SYNTHETIC, NULL, NULL, &int8, NULL), CLQ_USAGE);
    assert_status(clq_session_verify(fp32, SYNTHETIC, NULL, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_evaluate(fp32, "no/such/folder", NULL, NULL, NULL), CLQ_NO_INPUT);
    clq_options_destroy(options);
    clq_session_destroy(int8);
}

static void wrong_options(void **state) {
    (void)state;
    static const struct {
        const char *key, *value, *error;
    } cases[] = {
        {"obsever", "mse", "obsever: unknown key; did you mean \"observer\"?"},
        {"observer", "best", "observer: "},
        {"images", "0", "images: must be an integer in 1"},
        {"images", "many", "images: must be"},
        {"data.interpolation", "linear", "data: is of no use to arrays"},
        {"requantizer.x", "1", "requantizer: "},
    };
    clq_arrays *arrays = in_memory(false, CLQ_ORDER_MODEL);
    clq_session *int8 = NULL;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_options *options = make_options(cases[i].key, cases[i].value);
        assert_status(clq_session_ptq(fp32, NULL, arrays, options, &int8, NULL), CLQ_BAD_DATA);
        assert_error_has(cases[i].error);
        assert_null(int8);
        clq_options_destroy(options);
    }
    clq_options *options = make_options("data.crop", "sideways");
    assert_status(clq_session_ptq(fp32, SYNTHETIC, NULL, options, &int8, NULL), CLQ_BAD_DATA);
    assert_error_has("data.crop");
    assert_ok(clq_options_set_text(options, "data.crop", "8"));
    assert_status(clq_options_set_text(options, "x", "\xff"), CLQ_USAGE);
    assert_status(clq_options_set_number(options, "x", NAN), CLQ_USAGE);
    clq_options_destroy(options);
    assert_status(clq_session_ptq(fp32, SYNTHETIC, arrays, NULL, &int8, NULL), CLQ_USAGE);
    assert_error_has("give either a path or arrays");
    assert_status(clq_session_evaluate(fp32, NULL, NULL, NULL, NULL), CLQ_USAGE);
    clq_arrays_close(arrays);
}

static bool stop_at_once(void *context, const clq_progress_state *state) {
    (void)state;
    return ++*(int *)context < 1;
}

static void a_function_and_a_sink_end_the_work(void **state) {
    (void)state;
    clq_session *int8 = NULL;
    int64_t failing = 20;
    int calls = 0;
    clq_arrays *arrays = by_function(&failing);
    assert_status(clq_session_ptq(fp32, NULL, arrays, NULL, &int8, NULL), CLQ_IO);
    assert_error_has("row 20 is gone");
    clq_arrays_close(arrays);
    /* The first work that ends says stop: what calibrates was seen, equalization's images not. */
    clq_options *options = make_options("equalize", "true");
    arrays = in_memory(false, CLQ_ORDER_MODEL);
    clq_set_progress(stop_at_once, &calls);
    assert_status(clq_session_ptq(fp32, NULL, arrays, options, &int8, NULL), CLQ_INTERRUPTED);
    clq_set_progress(NULL, NULL);
    assert_true(calls >= 1);
    assert_ok(clq_session_ptq(fp32, NULL, arrays, options, &int8, NULL));
    clq_session_destroy(int8);
    clq_options_destroy(options);
    clq_arrays_close(arrays);
}

static void what_is_there(void **state) {
    (void)state;
    clq_result *result = NULL;
    clq_options *options = make_options("batch", "[1,3]");
    assert_ok(clq_options_set(options, "iterations", "1"));
    assert_ok(clq_options_set(options, "peak", "false"));
    assert_ok(clq_session_bench((clq_session *const[]){fp32}, 1, options, &result));
    assert_non_null(strstr(clq_result_json(result), "\"batch\":3"));
    clq_result_free(result);
    assert_ok(clq_session_info(fp32, &result));
    assert_string_equal(clq_result_text(result, "form"), "trained");
    assert_null(clq_result_text(result, "model"));
    assert_true(isnan(clq_result_number(result, "no.such.key")));
    clq_result_free(result);
    assert_ok(clq_devices_describe(&result));
    assert_int_equal(clq_result_json(result)[0], '[');
    clq_result_free(result);
    assert_ok(clq_device_describe(test_device, &result));
    assert_non_null(clq_result_text(result, "dot_path"));
    clq_result_free(result);
    clq_options_destroy(options);
    assert_status(clq_device_describe(NULL, &result), CLQ_USAGE);
    assert_status(clq_session_bench((clq_session *const[]){NULL}, 1, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_bench(NULL, 1, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_info(NULL, &result), CLQ_USAGE);
    assert_status(clq_session_save(fp32, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_ptq(NULL, SYNTHETIC, NULL, NULL, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_evaluate(NULL, SYNTHETIC, NULL, NULL, NULL), CLQ_USAGE);
    assert_status(clq_session_verify(NULL, SYNTHETIC, NULL, NULL, NULL), CLQ_USAGE);
    assert_status(clq_devices_describe(NULL), CLQ_USAGE);
    assert_status(clq_options_create(NULL), CLQ_USAGE);
    assert_status(clq_options_set(NULL, "a", "b"), CLQ_USAGE);
    assert_null(clq_result_json(NULL));
    clq_result_free(NULL);
    clq_options_destroy(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantizes_alike),
        cmocka_unit_test_setup_teardown(saves_in_any_form, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(evaluates_labelled_arrays),
        cmocka_unit_test(analyzes),
        cmocka_unit_test(fine_tunes),
        cmocka_unit_test_setup_teardown(fine_tuning_stops_and_goes_on, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(paths),
        cmocka_unit_test(wrong_options),
        cmocka_unit_test(a_function_and_a_sink_end_the_work),
        cmocka_unit_test(what_is_there),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
