/* Quantization of a network with two inputs and three outputs, on arrays. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/npz.h"
#include "support/two_ends.h"
#include "support/verify.h"

#include <clquant/analyze.h>
#include <clquant/formats.h>
#include <clquant/passes.h>
#include <clquant/quant.h>

enum { ROWS = 11, BATCH = 4 };

static clq_arrays *make_arrays(void) {
    const char *path = clq_test_temp_path("x.npz");
    const int channels[] = {ENDS_LEFT, ENDS_RIGHT};
    const char *const names[] = {"left", "right"};
    const float highest[] = {1, 5}; /* each input has a scale of its own */
    clq_npz_writer *writer = NULL;
    clq_arrays *arrays = NULL;
    assert_ok(clq_npz_open(path, &writer));
    for (int i = 0; i < 2; i++) {
        int index;
        float *rows = random_floats((size_t)(ROWS * channels[i] * ENDS_H * ENDS_W), -highest[i],
                                    highest[i], 50 + (uint64_t)i);
        rows[3] = highest[i];
        assert_ok(
            clq_npz_add(writer, names[i], (int64_t[]){channels[i], ENDS_H, ENDS_W}, 3, &index));
        assert_ok(clq_npz_append(writer, index, rows, ROWS));
        free(rows);
    }
    assert_ok(clq_npz_commit(&writer));
    assert_ok(clq_arrays_open(path, &arrays));
    return arrays;
}

static clq_graph *quantize(const clq_graph *folded, clq_feed *feed, clq_graph **integer) {
    clq_quant_config config;
    clq_graph *graph = NULL;
    clq_quant_report report;
    clq_quant_config_init(&config);
    assert_ok(clq_graph_clone(folded, &graph));
    assert_ok(clq_calibrate(test_device, graph, feed, BATCH, &config, &report));
    assert_int_equal(report.images, ROWS);
    assert_string_equal(report.unit, "rows");
    assert_ok(clq_convert(graph, integer));
    clq_quant_report_clear(&report);
    return graph;
}

static void assert_verified(const clq_graph *integer, clq_arrays *arrays) {
    char hash[65] = "";
    for (int batch = 3; batch <= BATCH; batch++) {
        clq_feed *feed = NULL;
        clq_verification v;
        assert_ok(clq_feed_create_arrays(integer, arrays, batch, 0, &feed));
        assert_ok(net_verify_feed(test_device, integer, feed, batch, &v));
        assert_int_equal(v.images, ROWS);
        assert_string_equal(v.first_mismatch, "");
        assert_int_equal(v.mismatched_codes, 0);
        for (int i = 0; i < v.path_count; i++) {
            assert_string_equal(v.paths[i].sha256, v.logits_sha256);
        }
        assert_true(batch == 3 || strcmp(hash, v.logits_sha256) == 0); /* whatever the batch */
        snprintf(hash, sizeof hash, "%s", v.logits_sha256);
        clq_verification_clear(&v);
        clq_feed_destroy(feed);
    }
}

static void assert_close(clq_graph *folded, clq_graph *integer, clq_feed *feed) {
    clq_exec *real = make_exec(folded, (clq_exec_options){.batch = BATCH});
    clq_exec *int8 = make_exec(integer, (clq_exec_options){.mode = CLQ_EXEC_INT8, .batch = BATCH});
    clq_exec *same = make_exec(folded, (clq_exec_options){.batch = BATCH});
    clq_exec *other = make_exec(folded, (clq_exec_options){.batch = BATCH + 1});
    double errors[3];
    int64_t rows = 0;
    assert_ok(clq_compare_outputs(real, int8, feed, 0, errors, &rows));
    assert_int_equal(rows, ROWS);
    for (int o = 0; o < 3; o++) {
        assert_true(errors[o] > 1e-4 && errors[o] < 0.03);
    }
    assert_true(errors[1] == errors[2]); /* one value under two names */
    assert_ok(clq_compare_outputs(real, same, feed, 6, errors, &rows));
    assert_int_equal(rows, 6);
    assert_true(errors[0] == 0 && errors[1] == 0);
    assert_status(clq_compare_outputs(real, other, feed, 0, errors, &rows), CLQ_USAGE);
    clq_exec_destroy(real);
    clq_exec_destroy(int8);
    clq_exec_destroy(same);
    clq_exec_destroy(other);
}

/* Outputs that are no classes have errors, and no predictions. */
static void assert_analyzed(clq_graph *graph, clq_graph *folded, clq_graph *integer,
                            clq_feed *feed) {
    clq_analysis a;
    assert_ok(clq_feed_seek(feed, 0, 0));
    assert_ok(clq_analyze(test_device, graph, folded, integer, feed, BATCH, 0, &a));
    assert_int_equal(a.samples, ROWS);
    assert_string_equal(a.unit, "rows");
    assert_false(a.has_classes || a.has_labels);
    assert_int_equal(a.layer_count, 7); /* two inputs, a, b, add, pool, fc */
    for (int i = 0; i < CLQ_LADDER_STAGES; i++) {
        assert_true(isnan(a.ladder[i].top1) && a.ladder[i].flips == -1);
        assert_true(i < CLQ_LADDER_WEIGHTS || a.ladder[i].error > 1e-4);
    }
    for (int i = 0; i < a.layer_count; i++) {
        assert_true(a.layers[i].sqnr_db > 25 && a.layers[i].only.error > 0);
        assert_int_equal(isnan(a.layers[i].without.error), strcmp(a.layers[i].op, "input") == 0);
    }
    clq_analysis_clear(&a);
}

static void arrays_calibrate_and_verify(void **state) {
    (void)state;
    clq_graph *graph = two_ends(), *folded = NULL, *integer = NULL, *loaded = NULL;
    clq_arrays *arrays = make_arrays();
    clq_feed *feed = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    assert_ok(clq_feed_create_arrays(folded, arrays, BATCH, 0, &feed));
    clq_graph *quantized = quantize(folded, feed, &integer);
    const clq_qparams *left = &quantized->values[quantized->inputs[0]].q,
                      *right = &quantized->values[quantized->inputs[1]].q;
    assert_true(fabsf(left->scale[0] - 2 / 255.0f) < 1e-3f);
    assert_true(fabsf(right->scale[0] - 10 / 255.0f) < 5e-3f);
    assert_int_equal(quantized->values[quantized->outputs[0].value].q.count, 1);
    assert_int_equal(quantized->values[quantized->outputs[1].value].q.count, 0); /* real */
    assert_verified(integer, arrays);
    assert_close(folded, integer, feed);
    assert_analyzed(graph, folded, integer, feed);

    const char *path = clq_test_temp_path("q.onnx");
    assert_ok(clq_onnx_save(integer, path));
    assert_ok(clq_onnx_load(path, &loaded));
    assert_string_equal(clq_graph_input_name(loaded, 1), "right");
    assert_string_equal(clq_graph_output_name(loaded, 2), "again");
    assert_verified(loaded, arrays);
    clq_feed_destroy(feed);
    clq_arrays_close(arrays);
    clq_graph_destroy(graph);
    clq_graph_destroy(folded);
    clq_graph_destroy(quantized);
    clq_graph_destroy(integer);
    clq_graph_destroy(loaded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(arrays_calibrate_and_verify, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
    };
    return cmocka_run_group_tests(tests, open_cpu_schedule, close_device);
}
