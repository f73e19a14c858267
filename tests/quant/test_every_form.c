/* Whatever loads runs in every form: small networks of all operators, in odd orders, go from an
 * ONNX file through inference, calibration, conversion and a step of QAT, and from each form
 * through a file again with the same bits. */
#include "formats/ref_forward.h"
#include "quant/network_words.h"

/* All outputs for the test images: malloc'd (IMAGES, CLASSES). */
static float *outputs(clq_graph *graph, clq_exec_mode mode) {
    clq_exec *exec = NULL;
    clq_evaluation evaluation = {0};
    float *y = calloc(IMAGES * CLASSES, sizeof *y);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    const clq_exec_options options = {.mode = mode, .batch = BATCH};
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    assert_ok(clq_evaluate(exec, feed, NULL, &evaluation, y));
    clq_evaluation_clear(&evaluation);
    clq_exec_destroy(exec);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    return y;
}

/* The graph's outputs, which it must give from a file too. */
static float *outputs_kept(clq_graph *graph, clq_exec_mode mode) {
    float *y = outputs(graph, mode);
    clq_graph *loaded = through_file(graph);
    float *again = outputs(loaded, mode);
    assert_equal_bits(again, y, IMAGES * CLASSES * sizeof *y);
    clq_graph_destroy(loaded);
    free(again);
    return y;
}

static void assert_near(const float *a, const float *b, double tolerance) {
    double most = 0, difference = 0;
    for (int i = 0; i < IMAGES * CLASSES; i++) {
        most = fmax(most, fabs(b[i]));
        difference = fmax(difference, fabs((double)a[i] - b[i]));
    }
    if (!(difference <= tolerance * (most + 1e-3))) {
        fail_msg("differ by %g of %g", difference, most);
    }
}

/* The integer network gives the simulation's bits. */
static void check_integer(clq_graph *quantized, const float *expected) {
    clq_graph *integer = NULL;
    assert_ok(clq_convert(quantized, &integer));
    float *y = outputs_kept(integer, CLQ_EXEC_INT8);
    float *simulated = outputs(integer, CLQ_EXEC_FAKE_QUANT);
    assert_equal_bits(y, expected, IMAGES * CLASSES * sizeof *y);
    assert_equal_bits(simulated, expected, IMAGES * CLASSES * sizeof *y);
    clq_graph_destroy(integer);
    free(y), free(simulated);
}

static void check(const char *word) {
    clq_quant_config config;
    clq_graph *graph = network(word), *folded = NULL;
    print_message("%s\n", word);
    clq_quant_config_init(&config);
    config.images = IMAGES;
    assert_ok(clq_graph_fold(graph, &folded));
    float *real = outputs_kept(graph, CLQ_EXEC_FLOAT);
    float *folded_real = outputs_kept(folded, CLQ_EXEC_FLOAT);
    assert_near(folded_real, real, 2e-5);

    clq_graph *quantized = calibrated(graph, &config);
    float *simulated = outputs_kept(quantized, CLQ_EXEC_FAKE_QUANT);
    assert_near(simulated, real, 0.5); /* no order is lost, no constant doubled */
    check_integer(quantized, simulated);
    free(simulated);

    train_once(quantized, &config);
    simulated = outputs(quantized, CLQ_EXEC_FAKE_QUANT);
    check_integer(quantized, simulated);
    if (!graph->folded) {
        train_once(graph, NULL);
    }
    clq_graph_destroy(quantized);
    clq_graph_destroy(folded);
    clq_graph_destroy(graph);
    free(real), free(folded_real), free(simulated);
}

static void test_odd_orders(void **state) {
    static const char *const words[] = {
        "crkcrpfl",   "frlbrl",       "flrbl",        "pbrfl",          "cbrkrm(c+afl",
        "kbBkrkfkl",  "rb6wbD(t+pfl", "fbkbl",        "flkrkDL",        "p(brw+fubfl",
        "chaBsmkpvl", "cip(rkb+fL",   "wk6b(kcrbpfl", "ck(i+rfrbtl",    "aapfukwbcrfl",
        "mhBt(ts+fL", "(+bapfl",      "pf(bur+fl6Ll", "cP(bH+SgpMfePL", "PceSfHlMgL",
    };
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        check(words[i]);
    }
}

/* Quantized activations and real weights, from a file: layers on reals between quantize and
 * dequantize nodes, as a plain reference does it. */
static void test_real_weights(void **state) {
    (void)state;
    clq_graph *quantized = quantized_network("crBwbkrm(c+afLrl");
    for (int v = 0; v < quantized->value_count; v++) {
        if (quantized->values[v].data) {
            clq_qparams_clear(&quantized->values[v].q);
        }
    }
    const char *path = clq_test_temp_path("real.onnx");
    clq_graph *graph = NULL;
    assert_ok(clq_onnx_save(quantized, path));
    assert_ok(clq_onnx_load(path, &graph));
    clq_graph_destroy(quantized);
    float *y = outputs_kept(graph, CLQ_EXEC_FAKE_QUANT);
    float *integer = outputs_kept(graph, CLQ_EXEC_INT8);
    assert_equal_bits(integer, y, IMAGES * CLASSES * sizeof *y);
    free(integer);
    float image[SIZE * SIZE * 3], file_image[SIZE * SIZE * 3], expected[CLASSES];
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    clq_feed *feed = net_feed(test_device, data, 1);
    clq_buffer *buffer = make_buffer(NULL, sizeof image);
    int equal = 0;
    for (int i = 0; i < IMAGES; i++) {
        clq_feed_batch batch;
        bool same = true;
        assert_ok(clq_feed_next(feed, buffer, &batch));
        assert_ok(clq_buffer_read(buffer, 0, sizeof image, image));
        for (int k = 0; k < SIZE * SIZE * 3; k++) {
            file_image[k % 3 * SIZE * SIZE + k / 3] = image[k];
        }
        ref_forward(graph, file_image, expected);
        for (int c = 0; c < CLASSES; c++) {
            same &= fabsf(y[i * CLASSES + c] - expected[c]) < 1e-5f;
        }
        equal += same;
    }
    assert_true(equal >= IMAGES - 2); /* a real that lies between two codes may go either way */
    clq_buffer_release(buffer);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(graph);
    free(y);
}

/* What only files of others hold: codes of -128, and a last layer that ends in an activation and
 * whose output is real. */
static void test_foreign_integers(void **state) {
    (void)state;
    for (int act = CLQ_ACT_NONE; act <= CLQ_ACT_RELU6; act++) {
        clq_quant_config config;
        clq_graph *quantized = quantized_network("crBwbkrc(crcBm+fLrl"), *integer = NULL;
        clq_quant_config_init(&config);
        assert_ok(clq_convert(quantized, &integer));
        for (int n = 0; n < integer->node_count; n++) {
            const clq_node *node = &integer->nodes[n];
            clq_value *w = node->input_count > 1 ? &integer->values[node->inputs[1]] : NULL;
            for (int64_t i = 0; w && w->dtype == CLQ_S8 && i < clq_shape_count(&w->shape); i++) {
                int8_t *code = (int8_t *)w->data + i;
                *code = i % 3 ? *code : INT8_MIN;
            }
            if (node->output == clq_graph_output(integer)) {
                ((clq_linear_attrs *)node->attrs)->act = (clq_act)act;
            }
        }
        float *y = outputs_kept(integer, CLQ_EXEC_INT8);
        float *simulated = outputs(integer, CLQ_EXEC_FAKE_QUANT);
        assert_equal_bits(y, simulated, IMAGES * CLASSES * sizeof *y);
        for (int i = 0; i < IMAGES * CLASSES && act != CLQ_ACT_NONE; i++) {
            assert_true(y[i] >= 0 && (act == CLQ_ACT_RELU || y[i] <= 6));
        }
        clq_graph_destroy(integer);
        clq_graph_destroy(quantized);
        free(y), free(simulated);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_odd_orders),
        cmocka_unit_test(test_real_weights),
        cmocka_unit_test(test_foreign_integers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
