/* Whatever loads runs in every form: small networks of all operators, in odd orders, go from an
 * ONNX file through inference, calibration, conversion and a step of QAT, and from each form
 * through a file again with the same bits. */
#include <clquant/passes.h>
#include <math.h>

#include "formats/onnx_make.h"
#include "formats/ref_forward.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 8, IMAGES = 8, BATCH = 4, CLASSES = 10 };

/* ---- networks from words ----
 *
 * One letter a node, each reading the one before:
 *
 *   c conv 3x3   B with bias   w depthwise   b batch norm   k constant added   r relu   6 relu6
 *   t tanh   s sigmoid   e leaky relu   P prelu   H hard swish   S silu, M mish, g gelu of several
 * nodes   D dropout   i identity   m max pool   a average pool   h every second
 * pixel ( remembers the value, + adds it   p global pool   f flatten   u unsqueeze   v reshape l
 * Gemm   L MatMul and Add; the last l or L has CLASSES outputs
 */
typedef struct writer {
    make_model *m;
    char now[32], kept[32];
    int nodes, rank; /* 4: (N, C, H, W), 2: (N, C), 3: (N, C, 1, 1) */
    int64_t channels, height, width, kept_channels, kept_height;
} writer;

/* A node that reads the current value and `more` (NULL: nothing else). */
static void put(writer *w, const char *op, const char *more) {
    char inputs[192], name[16];
    snprintf(name, sizeof name, "v%d", ++w->nodes);
    snprintf(inputs, sizeof inputs, more ? "%s,%s" : "%s", w->now, more);
    make_node(w->m, op, inputs, name);
    snprintf(w->now, sizeof w->now, "%s", name);
}

/* An initializer of its own for the next node: weights so small that sums stay about 1. */
static const char *weights(writer *w, const char *role, make_dims dims, float low, float high) {
    static char names[8][32];
    static int next;
    char *name = names[next++ % 8];
    const size_t count = make_count(dims);
    float *data = make_array(w->m, count, sizeof *data);
    snprintf(name, sizeof names[0], "%s%d", role, w->nodes + 1);
    clq_test_fill_f32(data, count, low, high, ++w->m->stream);
    make_tensor(w->m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims, data, count * sizeof *data);
    return name;
}

static void put_conv(writer *w, bool bias, bool depthwise) {
    const int64_t channels = depthwise ? w->channels : 2 + (w->channels + 3) % 6;
    const int k = w->rank == 4 ? 3 : 1;
    const make_dims shape = DIMS(channels, depthwise ? 1 : w->channels, k, k);
    const float bound = 1.5f / sqrtf((float)(shape.dim[1] * k * k));
    char more[80];
    snprintf(more, sizeof more, "%s", weights(w, "w", shape, -bound, bound));
    if (bias) {
        strcat(more, ",");
        strcat(more, weights(w, "b", DIMS(channels), -0.5f, 0.5f));
    }
    put(w, "Conv", more);
    if (k == 3) {
        make_ints(w->m, "pads", 1, 1, 1, 1);
    }
    make_int(w->m, "group", depthwise ? channels : 1);
    w->channels = channels;
}

static void put_norm(writer *w) {
    char more[160];
    snprintf(more, sizeof more, "%s,%s,%s,%s", weights(w, "gamma", DIMS(w->channels), 0.5f, 1.5f),
             weights(w, "beta", DIMS(w->channels), -0.3f, 0.3f),
             weights(w, "mean", DIMS(w->channels), -0.3f, 0.3f),
             weights(w, "var", DIMS(w->channels), 0.5f, 2));
    put(w, "BatchNormalization", more);
}

static void put_constant(writer *w) {
    const bool image = w->rank != 2;
    put(w, "Add",
        weights(w, "offset", image ? DIMS(1, w->channels, 1, 1) : DIMS(w->channels), -1, 1));
}

static void put_pool(writer *w, const char *op) {
    put(w, op, NULL);
    make_ints(w->m, "kernel_shape", 3, 2);
    make_ints(w->m, "strides", 2, 1);
    make_ints(w->m, "pads", 1, 0, 1, 1);
    make_int(w->m, "ceil_mode", 1);
    const int64_t slack = w->height + 2 - 3;
    const int64_t count = slack / 2 + 1;
    w->height = count + (slack % 2 != 0 && count * 2 < w->height + 1);
}

static void put_linear(writer *w, bool gemm, bool last) {
    const int64_t outputs = last ? CLASSES : 7;
    const float bound = 1.5f / sqrtf((float)w->channels);
    const char *weight = weights(w, "w", DIMS(w->channels, outputs), -bound, bound);
    put(w, gemm ? "Gemm" : "MatMul", weight);
    w->channels = outputs;
    if (!gemm) {
        put_constant(w);
    }
}

static void put_clip(writer *w) {
    char low[16], high[16], more[40];
    snprintf(low, sizeof low, "low%d", w->nodes + 1);
    snprintf(high, sizeof high, "high%d", w->nodes + 1);
    snprintf(more, sizeof more, "%s,%s", low, high);
    make_scalar(w->m, low, 0);
    make_scalar(w->m, high, 6);
    put(w, "Clip", more);
}

/* x sigmoid(x), x tanh(softplus(x)) or x (1 + erf(x / sqrt(2))) / 2 */
static void put_product(writer *w, char letter) {
    char x[32];
    snprintf(x, sizeof x, "%s", w->now);
    if (letter == 'g') {
        char name[24];
        snprintf(name, sizeof name, "root%d", w->nodes);
        make_scalar(w->m, name, 1.41421354f);
        put(w, "Div", name);
        put(w, "Erf", NULL);
        snprintf(name, sizeof name, "one%d", w->nodes);
        make_scalar(w->m, name, 1);
        put(w, "Add", name);
        put(w, "Mul", x);
        snprintf(name, sizeof name, "half%d", w->nodes);
        make_scalar(w->m, name, 0.5f);
        put(w, "Mul", name);
        return;
    }
    put(w, letter == 'S' ? "Sigmoid" : "Softplus", NULL);
    if (letter == 'M') {
        put(w, "Tanh", NULL);
    }
    put(w, "Mul", x);
}

static void put_letter(writer *w, char letter, bool last) {
    switch (letter) {
    case 'c':
    case 'B':
    case 'w':
        put_conv(w, letter == 'B', letter == 'w');
        break;
    case 'b':
        put_norm(w);
        break;
    case 'k':
        put_constant(w);
        break;
    case 'r':
        put(w, "Relu", NULL);
        break;
    case '6':
        put_clip(w);
        break;
    case 't':
        put(w, "Tanh", NULL);
        break;
    case 's':
        put(w, "Sigmoid", NULL);
        break;
    case 'e':
        put(w, "LeakyRelu", NULL);
        break;
    case 'H':
        put(w, "HardSwish", NULL);
        break;
    case 'P':
        put(w, "PRelu",
            weights(w, "slope", w->rank == 2 ? DIMS(w->channels) : DIMS(w->channels, 1, 1), -1, 1));
        break;
    case 'S':
    case 'M':
    case 'g':
        put_product(w, letter);
        break;
    case 'D':
        put(w, "Dropout", NULL);
        break;
    case 'i':
        put(w, "Identity", NULL);
        break;
    case 'm':
        put_pool(w, "MaxPool");
        break;
    case 'a':
        put_pool(w, "AveragePool");
        break;
    case 'h':
        put(w, "MaxPool", NULL);
        make_ints(w->m, "kernel_shape", 1, 1);
        make_ints(w->m, "strides", 2, 2);
        w->height = (w->height + 1) / 2;
        w->width = (w->width + 1) / 2;
        break;
    case '(':
        snprintf(w->kept, sizeof w->kept, "%s", w->now);
        w->kept_channels = w->channels;
        w->kept_height = w->height * 100 + w->width * 10 + w->rank;
        break;
    case '+':
        if (w->kept_channels == w->channels &&
            w->kept_height == w->height * 100 + w->width * 10 + w->rank) {
            put(w, "Add", w->kept);
        }
        break;
    case 'p':
        put(w, "GlobalAveragePool", NULL);
        w->rank = 3;
        w->height = w->width = 1;
        break;
    case 'f':
        put(w, "Flatten", NULL);
        w->channels *= w->height * w->width;
        w->height = w->width = 1;
        w->rank = 2;
        break;
    case 'u':
        put(w, "Unsqueeze", NULL);
        make_ints(w->m, "axes", 2, 3);
        w->rank = 3;
        break;
    case 'v': {
        char name[24];
        snprintf(name, sizeof name, "shape%d", w->nodes + 1);
        make_longs(w->m, name, 0, -1);
        put(w, "Reshape", name);
        w->rank = 2;
        break;
    }
    default:
        put_linear(w, letter == 'l', last);
    }
}

static clq_graph *network(const char *word) {
    writer w = {
        .m = make_start(), .now = "x", .rank = 4, .channels = 3, .height = SIZE, .width = SIZE};
    w.m->opset.version = 11; /* Clip's bounds are inputs, the axes of Unsqueeze an attribute */
    for (const char *c = word; *c; c++) {
        put_letter(&w, *c, c[1] == '\0');
    }
    w.m->outputs[0]->name = make_text(w.m, w.now);
    clq_graph *graph = NULL;
    const clq_status status = make_load(w.m, &graph);
    if (status != CLQ_OK) {
        fail_msg("%s: %s", word, clq_last_error());
    }
    make_free(w.m);
    return graph;
}

/* ---- through every form ---- */

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

static clq_graph *through_file(const clq_graph *graph) {
    const char *path = clq_test_temp_path("form.onnx");
    clq_graph *loaded = NULL;
    assert_ok(clq_onnx_save(graph, path));
    assert_ok(clq_onnx_load(path, &loaded));
    assert_int_equal(clq_graph_form(loaded), clq_graph_form(graph));
    assert_int_equal(loaded->folded, graph->folded);
    return loaded;
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

static clq_graph *calibrated(const clq_graph *graph, const clq_quant_config *config) {
    clq_graph *folded = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    net_calibrate(test_device, folded, config, IMAGES, BATCH);
    return folded;
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

static void train_once(clq_graph *graph, const clq_quant_config *config) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, BATCH);
    clq_train_job job = {.device = test_device, .graph = graph, .train = data, .phase = "qat"};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 1;
    job.config.batch = BATCH;
    job.config.loader_threads = 1;
    clq_normalization_usual(data, false, &job.normalization);
    job.mode = config ? CLQ_EXEC_QAT : CLQ_EXEC_TRAIN;
    assert_ok(config ? clq_qat(&job, config, &history, &count) : clq_train(&job, &history, &count));
    clq_free(history);
    clq_dataset_close(data);
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

static clq_graph *quantized_network(const char *word) {
    clq_quant_config config;
    clq_graph *graph = network(word);
    clq_quant_config_init(&config);
    clq_graph *quantized = calibrated(graph, &config);
    clq_graph_destroy(graph);
    return quantized;
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

static int open_all(void **state) {
    clq_test_setup_temp_dir(state);
    return open_own_schedule(state);
}

static int close_all(void **state) {
    clq_test_teardown_temp_dir(state);
    return close_device(state);
}

/* ---- schemes ---- */

/* No code of the integer network read from a file differs from the simulation's, nor any output on
 * another dot path (all of them in an exhaustive test). */
static void verify_from_file(const clq_graph *quantized, const clq_quant_config *config) {
    clq_device_info *info = (clq_device_info *)clq_device_get_info(test_device);
    const unsigned dots = info->dots;
    clq_graph *integer = NULL;
    clq_verification v;
    assert_ok(clq_convert(quantized, &integer));
    clq_graph *loaded = through_file(integer);
    assert_int_equal(clq_graph_requantizer(loaded), config->requantizer);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    info->dots = clq_test_all() ? dots : 1u << info->dot;
    assert_ok(clq_verify(test_device, loaded, data, BATCH, 0, &v));
    info->dots = dots;
    if (v.mismatched_codes > 0) {
        fail_msg("requantizer %s: %s", clq_requantizer_name(config->requantizer), v.first_mismatch);
    }
    assert_true(v.compared_codes > 1000);
    for (int i = 1; i < v.path_count; i++) {
        assert_string_equal(v.paths[i].sha256, v.paths[0].sha256);
    }
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(loaded);
    clq_graph_destroy(integer);
}

/* Additions, fused and not, averages over 4, 6, 8 and 64 codes, curves, and linear layers. */
static const char *const scheme_words[] = {"cr(wrw+raB6(w+pflrl", "B(w+tacsmpvL"};

static void check_scheme(int scheme, const clq_quant_config *config, bool train) {
    clq_graph *graph = network(scheme_words[scheme % 2]);
    clq_graph *quantized = calibrated(graph, config);
    verify_from_file(quantized, config);
    if (train) {
        train_once(quantized, config);
        verify_from_file(quantized, config);
    }
    clq_graph_destroy(quantized);
    clq_graph_destroy(graph);
}

/* Every requantizer with every kind of scale, zero point and granularity that it takes. */
static void test_schemes(void **state) {
    (void)state;
    for (int scheme = 0; scheme < 8 * CLQ_REQUANT_COUNT; scheme++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.images = IMAGES;
        config.requantizer = (clq_requantizer)(scheme / 8);
        config.scale = scheme & 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.symmetric_activations = scheme & 2;
        config.per_tensor_weights = scheme & 4;
        if (config.requantizer == CLQ_REQUANT_SHIFT && config.scale != CLQ_SCALE_POW2) {
            assert_status(clq_quant_config_check(&config), CLQ_USAGE);
            assert_error_has("powers of two");
            continue;
        }
        check_scheme(scheme / 2, &config, scheme % 8 == 1);
        check_scheme(scheme / 2 + 1, &config, scheme % 8 == 3);
    }
}

/* Sums that floats may not hold are made in int32, and requantized from there. */
static void test_schemes_beyond_float(void **state) {
    (void)state;
    for (int r = CLQ_REQUANT_FIXED; r < CLQ_REQUANT_COUNT; r++) {
        clq_quant_config config;
        clq_graph *graph = net_unprovable(), *folded = NULL, *integer = NULL;
        clq_quant_config_init(&config);
        config.images = IMAGES;
        config.requantizer = (clq_requantizer)r;
        config.scale = r == CLQ_REQUANT_SHIFT ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.max_shift = 12;
        assert_ok(clq_graph_fold(graph, &folded));
        net_calibrate(test_device, folded, &config, IMAGES, BATCH);
        assert_ok(clq_convert(folded, &integer));
        clq_dataset *data = net_data(CLQ_SPLIT_TEST, 24, IMAGES);
        clq_verification v;
        assert_ok(clq_verify(test_device, integer, data, BATCH, 0, &v));
        assert_int_equal(v.mismatched_codes, 0);
        assert_false(v.layers[0].float_exact && v.layers[1].float_exact);
        clq_verification_clear(&v);
        clq_dataset_close(data);
        clq_graph_destroy(integer);
        clq_graph_destroy(folded);
        clq_graph_destroy(graph);
    }
}

/* What a graph or a file says of its requantizer is checked. */
static void test_requantizer_is_checked(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("requantizer.onnx");
    clq_graph *graph = quantized_network("crpfl"), *loaded = NULL;
    assert_int_equal(clq_graph_requantizer(graph), CLQ_REQUANT_FLOAT);
    assert_null(clq_graph_get_metadata(graph, CLQ_META_REQUANTIZER));
    assert_ok(clq_graph_set_requantizer(graph, CLQ_REQUANT_SHIFT));
    assert_status(clq_onnx_save(graph, path), CLQ_BAD_DATA);
    assert_error_has("needs powers of two");
    assert_status(clq_convert(graph, &loaded), CLQ_BAD_DATA);
    assert_status(clq_graph_set_requantizer(graph, CLQ_REQUANT_COUNT), CLQ_USAGE);
    assert_ok(clq_graph_set_requantizer(graph, CLQ_REQUANT_FIXED));
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);

    char bytes[1 << 16];
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    char *word = NULL;
    for (size_t i = 0; i + 5 <= size && !word; i++) {
        word = memcmp(bytes + i, "fixed", 5) == 0 ? bytes + i : NULL;
    }
    assert_non_null(word);
    memcpy(word, "mixed", 5);
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    assert_status(clq_onnx_load(path, &loaded), CLQ_BAD_DATA);
    assert_error_has("\"mixed\": must be float, fixed or shift");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_schemes_beyond_float),
        cmocka_unit_test(test_requantizer_is_checked),
        cmocka_unit_test(test_odd_orders),
        cmocka_unit_test(test_real_weights),
        cmocka_unit_test(test_foreign_integers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
