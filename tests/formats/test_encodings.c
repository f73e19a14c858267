/* Scales by name: AIMET's encodings and ncnn's tables, out and in. */
#include "base/files.h"
#include "formats/onnx_make.h"
#include "formats/sample_graphs.h"

/* ---- there and back ---- */

static clq_encodings *saved(const clq_graph *graph, clq_encodings_format format) {
    const char *path = clq_test_temp_path("scales");
    clq_encodings *encodings;
    assert_ok(clq_encodings_save(graph, format, path));
    assert_ok(clq_encodings_load(path, &encodings));
    return encodings;
}

/* All to 1 and u8 or s8, as before a file says what they are. */
static void forget(clq_graph *graph) {
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        static const float one = 1;
        if (value->q.count > 0) {
            assert_ok(clq_qparams_set(&value->q, 1, &one, 0, value->data ? CLQ_Q_S8 : CLQ_Q_U8));
        }
    }
}

static void check_aimet(clq_encodings_format format, clq_qtype weights, bool per_tensor) {
    clq_graph *graph = sample_quantize_as(sample_folded(true, true), weights, per_tensor, false);
    clq_graph *again;
    bool given[64] = {false};
    assert_true(graph->value_count < 64);
    assert_ok(clq_graph_clone(graph, &again));
    forget(again);
    clq_encodings *encodings = saved(graph, format);
    assert_ok(clq_encodings_apply(encodings, again, false, given));
    assert_ok(clq_encodings_apply(encodings, again, true, given));
    assert_ok(clq_encodings_check_used(encodings));
    for (int v = 0; v < graph->value_count; v++) {
        assert_same_value(&graph->values[v], &again->values[v]);
        assert_int_equal(given[v], graph->values[v].q.count > 0);
    }
    clq_encodings_destroy(encodings);
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
}

static void aimet(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        const clq_encodings_format format =
            i & 1 ? CLQ_ENCODINGS_AIMET_1_0_0 : CLQ_ENCODINGS_AIMET_0_6_1;
        check_aimet(format, CLQ_Q_S8, i & 2);
        check_aimet(format, CLQ_Q_S8_NARROW, i & 2);
        check_aimet(format, CLQ_Q_S4, i & 2);
    }
}

/* Of an integer network too, whose biases follow from the others. */
static void aimet_of_integers(void **state) {
    (void)state;
    clq_graph *graph = sample_quantize(sample_folded(true, true), false, true);
    clq_graph *typed = sample_quantize(sample_folded(true, true), false, false);
    bool given[64] = {false};
    clq_encodings *encodings = saved(graph, CLQ_ENCODINGS_AIMET_0_6_1);
    forget(typed);
    assert_ok(clq_encodings_apply(encodings, typed, true, given));
    for (int v = 0; v < graph->value_count; v++) {
        if (given[v]) {
            assert_memory_equal(graph->values[v].q.scale, typed->values[v].q.scale,
                                (size_t)graph->values[v].q.count * sizeof(float));
        }
    }
    clq_encodings_destroy(encodings);
    clq_graph_destroy(graph);
    clq_graph_destroy(typed);
}

/* A grouped convolution and a linear layer on signed codes, which ncnn's table says exactly. */
static clq_graph *make_signed(void) {
    sample s = sample_start("net", (clq_shape){4, {1, 4, 4, 4}});
    sample_conv(
        &s, "conv", 4, true,
        (clq_conv2d_attrs){.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 2});
    sample_add(&s, "global_avg_pool", "pool", NULL, NULL, 0);
    sample_linear(&s, "fc", 3, true);
    s.graph->folded = true;
    clq_graph *graph = sample_quantize_as(sample_finish(&s), CLQ_Q_S8_NARROW, false, false);
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (!value->data && value->q.count > 0) {
            value->q.zero_point = 0;
            value->q.type = CLQ_Q_S8_NARROW;
        }
    }
    return graph;
}

static void ncnn(void **state) {
    (void)state;
    clq_graph *graph = make_signed(), *again;
    bool given[16] = {false};
    assert_ok(clq_graph_clone(graph, &again));
    forget(again);
    clq_encodings *encodings = saved(graph, CLQ_ENCODINGS_NCNN);
    assert_ok(clq_encodings_apply(encodings, again, false, given));
    assert_ok(clq_encodings_apply(encodings, again, true, given));
    const clq_node *conv = &graph->nodes[0], *fc = &graph->nodes[2];
    assert_same_value(&graph->values[conv->inputs[0]], &again->values[conv->inputs[0]]);
    assert_same_value(&graph->values[fc->inputs[0]], &again->values[fc->inputs[0]]);
    assert_same_value(&graph->values[fc->inputs[1]], &again->values[fc->inputs[1]]);
    assert_false(given[conv->output]); /* the pool reads it, which is no layer */
    /* A group has one scale, that of its largest weight. */
    const float *mine = graph->values[conv->inputs[1]].q.scale;
    const float *got = again->values[conv->inputs[1]].q.scale;
    for (int c = 0; c < 4; c++) {
        assert_true(got[c] == fmaxf(mine[c & ~1], mine[c | 1]));
    }
    clq_encodings_destroy(encodings);
    clq_graph_destroy(graph);
    clq_graph_destroy(again);
}

/* Lines as ncnn writes them: the inverse, 127 over the largest magnitude. */
static void ncnn_scales_are_inverse(void **state) {
    (void)state;
    static const char table[] = "conv_param_0 127 254 \nfc_param_0 508 \nconv 63.5 \nfc 12.7\n";
    clq_graph *graph = make_signed();
    bool given[16] = {false};
    clq_encodings *encodings;
    assert_ok(clq_encodings_load_memory(table, strlen(table), "t.table", &encodings));
    assert_ok(clq_encodings_apply(encodings, graph, false, given));
    assert_ok(clq_encodings_apply(encodings, graph, true, given));
    assert_true(graph->values[graph->inputs[0]].q.scale[0] == 2.f / 127);
    const float *conv = graph->values[graph->nodes[0].inputs[1]].q.scale;
    assert_true(conv[0] == 1.f / 127 && conv[1] == conv[0] && conv[2] == 1.f / 254);
    assert_int_equal(graph->values[graph->nodes[2].inputs[1]].q.count, 1);
    clq_encodings_destroy(encodings);
    clq_graph_destroy(graph);
}

/* ---- names ---- */

static void keep_line(void *context, clq_log_level level, const char *line) {
    (void)level;
    snprintf(context, 256, "%s", line);
}

/* What is folded into one value goes by the name of the last tensor, as the file has it. */
static void names_of_files(void **state) {
    (void)state;
    static const char text[] =
        "{\"activation_encodings\": {\"/act/Relu_output_0\": [{\"bitwidth\": 8, \"offset\": -3, "
        "\"scale\": 0.5}], \"elsewhere\": [{\"bitwidth\": 8, \"offset\": 0, \"scale\": 1}]}, "
        "\"param_encodings\": {\"onnx::Conv_7\": [{\"bitwidth\": 8, \"offset\": -128, \"scale\": "
        "0.25}]}}";
    static const float one = 1;
    make_model *m = make_start();
    make_weights(m, "onnx::Conv_7", DIMS(4, 3, 3, 3));
    make_node(m, "Conv", "x,onnx::Conv_7", "/conv/Conv_output_0")->name =
        make_text(m, "/conv/Conv");
    make_node(m, "Relu", "/conv/Conv_output_0", "/act/Relu_output_0");
    make_node(m, "GlobalMaxPool", "/act/Relu_output_0", "y");
    clq_graph *graph = make_finish(m);
    clq_value *made = &graph->values[graph->nodes[0].output];
    clq_value *weights = &graph->values[graph->nodes[0].inputs[1]];
    assert_string_equal(made->name, "conv");
    assert_string_equal(weights->name, "conv.weight");
    assert_ok(clq_qparams_set(&made->q, 1, &one, 0, CLQ_Q_U8));
    assert_ok(clq_qparams_set(&weights->q, 1, &one, 0, CLQ_Q_S8));
    bool given[16] = {false};
    clq_encodings *encodings;
    assert_ok(clq_encodings_load_memory(text, strlen(text), "e.json", &encodings));
    assert_ok(clq_encodings_apply(encodings, graph, false, given));
    assert_ok(clq_encodings_apply(encodings, graph, true, given));
    assert_true(made->q.scale[0] == 0.5f && made->q.zero_point == 3);
    assert_true(weights->q.scale[0] == 0.25f);
    char log[256] = "";
    clq_set_log(keep_line, log, CLQ_LOG_WARN);
    assert_ok(clq_encodings_check_used(encodings));
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_string_equal(log, "e.json: the network has nothing that is called \"elsewhere\": 1 of 3 "
                             "are not used");
    clq_encodings_destroy(encodings);
    clq_graph_destroy(graph);
}

/* ---- refused ---- */

#define AIMET(activations, parameters)                                                             \
    "{\"activation_encodings\": {" activations "}, \"param_encodings\": {" parameters "}}"
#define ONE(bits, offset, scale)                                                                   \
    "[{\"bitwidth\": " bits ", \"offset\": " offset ", \"scale\": " scale "}]"
#define LISTS(name, rest)                                                                          \
    "{\"activation_encodings\": [{\"name\": \"" name "\", \"bw\": 8, " rest                        \
    "}], \"param_encodings\": []}"
#define LIST(name, scale)                                                                          \
    "{\"name\": \"" name "\", \"bw\": 8, \"offset\": [-128], \"scale\": [" scale "]}"

static void refused_files(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"", "holds no scales"},
        {"{}", "activation_encodings must be an object or an array"},
        {AIMET("\"a\": 3", ""), "\"a\": must be an array with an object for each channel"},
        {AIMET("\"a\": " ONE("8", "0", "-1"), ""), "\"a\": scale -1 must be finite and at least"},
        {AIMET("\"a\": " ONE("8", "0", "1e-60"), ""), "scale 1e-60 must be finite"},
        {AIMET("\"a\": " ONE("8", "1", "1"), ""), "offset must be a whole number of 0 or less"},
        {AIMET("\"a\": " ONE("8", "-1.5", "1"), ""), "offset must be a whole number of 0 or less"},
        {AIMET("\"a\": " ONE("1", "0", "1"), ""), "must be a whole number from 2 to 32"},
        {"{\"activation_encodings\": [{\"name\": \"a\", \"enc_type\": \"PER_BLOCK\"}], "
         "\"param_encodings\": []}",
         "enc_type PER_BLOCK; PER_TENSOR and PER_CHANNEL"},
        {"{\"activation_encodings\": [{\"bw\": 8}], \"param_encodings\": []}", "with a name"},
        {LISTS("a", "\"scale\": [1]"), "scale and offset must be arrays of one length"},
        {LISTS("a", "\"scale\": [1], \"offset\": [0], \"dtype\": \"fixed\""),
         "\"a\": dtype must be int or float"},
        {AIMET("\"a\": [{\"dtype\": 5}]", ""), "\"a\": dtype must be int or float"},
        {AIMET("", "\"w\": [{\"bitwidth\": 16, \"offset\": -128, \"scale\": 1}, "
                   "{\"bitwidth\": 8, \"offset\": -128, \"scale\": 1}]"),
         "\"w\": channels have different bit widths"},
        {"{\"activation_encodings\": [], \"param_encodings\": [" LIST("w", "1") ", " LIST(
             "v", "1") ", " LIST("w", "2") "]}",
         "\"w\": has scales twice"},
        {"conv_param_0 1 2\nconv 1\nconv_param_0 1 3\n", "\"conv_param_0\": has scales twice"},
        {"conv_param_0\n", "e:1: has no scales"},
        {"conv 1\nfc 1 2\n", "e:2: an activation has one scale"},
        {"conv one\n", "e:1: must be a name and numbers"},
        {"conv 0\n", "\"conv\": scale inf must be"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clq_encodings *encodings = NULL;
        assert_status(clq_encodings_load_memory(wrong[i][0], strlen(wrong[i][0]), "e", &encodings),
                      CLQ_BAD_DATA);
        assert_error_has(wrong[i][1]);
    }
    clq_encodings *encodings = NULL;
    assert_status(clq_encodings_load_memory("\0\1", 2, "e", &encodings), CLQ_BAD_DATA);
    assert_error_has("neither AIMET's encodings (JSON) nor ncnn's table");
}

static void refused_networks(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {AIMET("\"conv1\": " ONE("16", "-32768", "1"), ""), "\"conv1\": 16 bits; up to 8"},
        {AIMET("\"conv1\": " ONE("8", "-256", "1"), ""), "\"conv1\": its range does not hold 0"},
        {AIMET("\"conv1\": [{\"dtype\": \"float\", \"bitwidth\": 16}]", ""),
         "\"conv1\": is float in the file"},
        {AIMET("", "\"conv1.weight\": " ONE("8", "0", "1")), "weights must be symmetric"},
        {AIMET("", "\"conv1.weight\": [{\"bitwidth\": 8, \"offset\": -128, \"scale\": 1}, "
                   "{\"bitwidth\": 8, \"offset\": -128, \"scale\": 1}]"),
         "\"conv1.weight\": 2 scales for weights with 4 output channels"},
        {"layer1.0.conv1_param_0 1 2 3\n", "3 scales for weights with 4 output channels"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clq_graph *graph = sample_quantize(sample_folded(true, false), false, false);
        bool given[64] = {false};
        clq_encodings *encodings;
        assert_ok(clq_encodings_load_memory(wrong[i][0], strlen(wrong[i][0]), "e", &encodings));
        clq_status status = clq_encodings_apply(encodings, graph, false, given);
        status = status == CLQ_OK ? clq_encodings_apply(encodings, graph, true, given) : status;
        assert_int_equal(status, CLQ_BAD_DATA);
        assert_error_has(wrong[i][1]);
        clq_encodings_destroy(encodings);
        clq_graph_destroy(graph);
    }
    clq_graph *graph = sample_folded(true, false);
    assert_status(clq_encodings_save(graph, CLQ_ENCODINGS_NCNN, "x"), CLQ_USAGE);
    assert_error_has("a float network has no scales");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aimet),
        cmocka_unit_test(aimet_of_integers),
        cmocka_unit_test(ncnn),
        cmocka_unit_test(ncnn_scales_are_inverse),
        cmocka_unit_test(names_of_files),
        cmocka_unit_test(refused_files),
        cmocka_unit_test(refused_networks),
    };
    return cmocka_run_group_tests_name("formats/encodings", tests, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir);
}
