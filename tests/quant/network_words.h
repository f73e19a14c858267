/* Small networks of all operators in any order, each from a word, on their way through the forms.
 */
#ifndef CLQ_TEST_NETWORK_WORDS_H
#define CLQ_TEST_NETWORK_WORDS_H

#include <clquant/passes.h>
#include <math.h>

#include "formats/onnx_make.h"
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
static inline void put(writer *w, const char *op, const char *more) {
    char inputs[192], name[16];
    snprintf(name, sizeof name, "v%d", ++w->nodes);
    snprintf(inputs, sizeof inputs, more ? "%s,%s" : "%s", w->now, more);
    make_node(w->m, op, inputs, name);
    snprintf(w->now, sizeof w->now, "%s", name);
}

/* An initializer of its own for the next node: weights so small that sums stay about 1. */
static inline const char *weights(writer *w, const char *role, make_dims dims, float low,
                                  float high) {
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

static inline void put_conv(writer *w, bool bias, bool depthwise) {
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

static inline void put_norm(writer *w) {
    char more[160];
    snprintf(more, sizeof more, "%s,%s,%s,%s", weights(w, "gamma", DIMS(w->channels), 0.5f, 1.5f),
             weights(w, "beta", DIMS(w->channels), -0.3f, 0.3f),
             weights(w, "mean", DIMS(w->channels), -0.3f, 0.3f),
             weights(w, "var", DIMS(w->channels), 0.5f, 2));
    put(w, "BatchNormalization", more);
}

static inline void put_constant(writer *w) {
    const bool image = w->rank != 2;
    put(w, "Add",
        weights(w, "offset", image ? DIMS(1, w->channels, 1, 1) : DIMS(w->channels), -1, 1));
}

static inline void put_pool(writer *w, const char *op) {
    put(w, op, NULL);
    make_ints(w->m, "kernel_shape", 3, 2);
    make_ints(w->m, "strides", 2, 1);
    make_ints(w->m, "pads", 1, 0, 1, 1);
    make_int(w->m, "ceil_mode", 1);
    const int64_t slack = w->height + 2 - 3;
    const int64_t count = slack / 2 + 1;
    w->height = count + (slack % 2 != 0 && count * 2 < w->height + 1);
}

static inline void put_linear(writer *w, bool gemm, bool last) {
    const int64_t outputs = last ? CLASSES : 7;
    const float bound = 1.5f / sqrtf((float)w->channels);
    const char *weight = weights(w, "w", DIMS(w->channels, outputs), -bound, bound);
    put(w, gemm ? "Gemm" : "MatMul", weight);
    w->channels = outputs;
    if (!gemm) {
        put_constant(w);
    }
}

static inline void put_clip(writer *w) {
    char low[16], high[16], more[40];
    snprintf(low, sizeof low, "low%d", w->nodes + 1);
    snprintf(high, sizeof high, "high%d", w->nodes + 1);
    snprintf(more, sizeof more, "%s,%s", low, high);
    make_scalar(w->m, low, 0);
    make_scalar(w->m, high, 6);
    put(w, "Clip", more);
}

/* x sigmoid(x), x tanh(softplus(x)) or x (1 + erf(x / sqrt(2))) / 2 */
static inline void put_product(writer *w, char letter) {
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

static inline void put_letter(writer *w, char letter, bool last) {
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

static inline clq_graph *network(const char *word) {
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

static inline clq_graph *through_file(const clq_graph *graph) {
    const char *path = clq_test_temp_path("form.onnx");
    clq_graph *loaded = NULL;
    assert_ok(clq_onnx_save(graph, path));
    assert_ok(clq_onnx_load(path, &loaded));
    assert_int_equal(clq_graph_form(loaded), clq_graph_form(graph));
    assert_int_equal(loaded->folded, graph->folded);
    return loaded;
}

static inline clq_graph *calibrated(const clq_graph *graph, const clq_quant_config *config) {
    clq_graph *folded = NULL;
    assert_ok(clq_graph_fold(graph, &folded));
    net_calibrate(test_device, folded, config, IMAGES, BATCH);
    return folded;
}

static inline void train_once(clq_graph *graph, const clq_quant_config *config) {
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

static inline clq_graph *quantized_network(const char *word) {
    clq_quant_config config;
    clq_graph *graph = network(word);
    clq_quant_config_init(&config);
    clq_graph *quantized = calibrated(graph, &config);
    clq_graph_destroy(graph);
    return quantized;
}

static inline int open_all(void **state) {
    clq_test_setup_temp_dir(state);
    return open_own_schedule(state);
}

static inline int close_all(void **state) {
    clq_test_teardown_temp_dir(state);
    return close_device(state);
}

#endif
