/* Every parameter's gradient against PyTorch's in double precision (gradients_reference.py, which
 * says what the files in data/ hold and computes the same parameters, inputs and labels).
 *
 * Equal means within 1e-4: sampled elements of the largest magnitude in the same gradient, its L2
 * norm of itself, and the sum of each run of elements with random signs of the run's L2 norm,
 * which is what such a sum amounts to (of the largest magnitude where that is more). So a wrong
 * element shows in its run's sum. With CLQ_TEST_DUMP=FOLDER the gradients are left there, for
 * comparison of all elements. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <clquant/exec.h>
#include <clquant/formats.h>
#include <clquant/models.h>

#include "base/rng.h"
#include "models/builder.h"
#include "ops/loss.h"
#include "support/op_run.h"

enum { RUN = 1024, LONG_RUN = 16384, SAMPLES = 8, CLASSES = 10, SEED = 5 };
static const double TOLERANCE = 1e-4;
static const float OFFSET = 0x1p-11f;

typedef struct reference {
    const char *name;
    const char *network; /* built-in; NULL: convolutions of one stride */
    int stride, size, batch;
    const char *stem; /* "imagenet": torchvision's network */
} reference;

static const reference references[] = {
    {"stride1", NULL, 1, 13, 3, NULL},
    {"stride2", NULL, 2, 37, 3, NULL},
    {"stride3", NULL, 3, 83, 3, NULL},
    {"mobilenet_v2", "mobilenet_v2", 0, 16, 16, "cifar"},
    {"resnet50", "resnet50", 0, 16, 8, "cifar"},
    {"squeezenet1_1", "squeezenet1_1", 0, 64, 4, "imagenet"},
    {"mobilenet_v3_small", "mobilenet_v3_small", 0, 64, 8, "imagenet"},
    {"mobilenet_v3_large", "mobilenet_v3_large", 0, 64, 8, "imagenet"},
    {"efficientnet_b0", "efficientnet_b0", 0, 64, 8, "imagenet"},
    {"shufflenet_v2_x1_0", "shufflenet_v2_x1_0", 0, 64, 8, "imagenet"},
    {"regnet_y_400mf", "regnet_y_400mf", 0, 64, 8, "imagenet"},
    {"densenet121", "densenet121", 0, 64, 8, "imagenet"},
    {"convnext_tiny", "convnext_tiny", 0, 64, 4, "imagenet"},
};
enum { REFERENCES = sizeof references / sizeof *references };

/* ---- the same parameters and inputs ---- */

/* FNV-1a, 64 bits. */
static uint64_t stream_of(const char *name) {
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001B3);
    }
    return hash;
}

static bool is_torchvisions(const reference *r) {
    return r->stem && strcmp(r->stem, "imagenet") == 0;
}

/* Weights uniform in +- sqrt(6 / fan in), gammas in 0.5 .. 1.5, biases in -0.25 .. 0.25 and moved
 * by `offsets` (NULL: not). */
static void fill(clq_value *value, const int8_t *offsets) {
    const int64_t count = clq_shape_count(&value->shape);
    const float bound = (float)sqrt(6.0 / (double)(count / value->shape.dim[0]));
    const bool is_bias = strstr(value->name, "bias") != NULL;
    const bool ends_block = strstr(value->name, "bn3.weight") ||
                            strstr(value->name, "conv.3.weight") ||
                            strstr(value->name, "f.c.1.weight");
    const float factor = ends_block ? 0.25f : 1;
    float *data = value->data;
    clq_rng rng = clq_rng_start(SEED, stream_of(value->name));
    for (int64_t i = 0; i < count; i++) {
        const float u = clq_uniform(clq_rng_next(&rng));
        if (value->shape.rank > 1) {
            data[i] = (2 * u - 1) * bound;
        } else {
            data[i] = factor * (is_bias ? (u - 0.5f) / 2 : u + 0.5f) +
                      (offsets ? (float)offsets[i] : 0) * OFFSET;
        }
    }
}

static int strided_conv(clq_builder *b, const char *name, int x, const int row[4]) {
    const int channels = row[0], kernel = row[1], stride = row[2], groups = row[3];
    const int pad = kernel / 2, inputs = clq_build_channels(b, x);
    const clq_conv2d_attrs attrs = {.kernel = {kernel, kernel},
                                    .stride = {stride, stride},
                                    .dilation = {1, 1},
                                    .pad = {pad, pad, pad, pad},
                                    .groups = groups};
    const clq_shape weight = {4, {channels, kernel, kernel, inputs / groups}};
    const clq_shape bias = {1, {channels}};
    int in[3] = {x}, y = -1;
    char full[32];
    snprintf(full, sizeof full, "%s.weight", name);
    assert_ok(clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32, weight, NULL,
                                      &in[1]));
    snprintf(full, sizeof full, "%s.bias", name);
    assert_ok(
        clq_graph_add_parameter(b->graph, full, CLQ_VALUE_PARAMETER, CLQ_F32, bias, NULL, &in[2]));
    assert_ok(clq_graph_add_node(b->graph, "conv2d", name, &attrs, in, 3, &y));
    return y;
}

/* The network Strided of the script. */
static clq_graph *strided_network(const reference *r) {
    enum { ROWS = 5 };
    const int rows[ROWS][4] = {{16, 3, r->stride, 1},
                               {24, 3, r->stride, 4},
                               {24, 3, r->stride, 24},
                               {40, 1, r->stride, 2},
                               {36, 5, 1, 4}};
    const clq_network_options options = {.classes = CLASSES};
    clq_builder b = {.options = &options};
    char name[16];
    assert_ok(clq_graph_create(r->name, &b.graph));
    int x = clq_build_input(&b, (clq_shape){4, {1, r->size, r->size, 3}});
    for (int i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "conv%d", i);
        x = strided_conv(&b, name, x, rows[i]);
        snprintf(name, sizeof name, "tanh%d", i);
        x = clq_build_op(&b, "tanh", name, x);
    }
    x = clq_build_op(&b, "global_avg_pool", "avgpool", x);
    x = clq_build_linear(&b, "fc", x, CLASSES, CLQ_LINEAR_UNIFORM);
    assert_ok(b.status);
    clq_graph_set_output(b.graph, x);
    return b.graph;
}

/* Without dropout, whose draws are clquant's own. */
static clq_graph *built_in_network(const reference *r) {
    const clq_network_options options = {.network = r->network,
                                         .stem = r->stem,
                                         .size = r->size,
                                         .classes = CLASSES,
                                         .leave_zero = true};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    for (int n = 0; n < graph->node_count; n++) {
        if (strcmp(graph->nodes[n].op->name, "dropout") == 0) {
            ((clq_dropout_attrs *)graph->nodes[n].attrs)->probability = 0;
        }
    }
    return graph;
}

/* ---- a file of expected values ---- */

typedef struct expected {
    clq_tensors *file;
    const float *scale, *norm, *samples, *sums;
    const int8_t *offsets;
    int run;           /* elements of a sum */
    float loss;        /* NaN: not there */
    char *names;       /* a line each, owned */
    const char *moved; /* the same of those that have offsets; NULL: all vectors */
} expected;

static const void *data_of(const expected *e, const char *name) {
    const clq_file_tensor *tensor = clq_tensors_find(e->file, name);
    assert_non_null(tensor);
    return tensor->data;
}

static expected open_expected(const reference *r) {
    expected e = {.file = NULL};
    char path[1024];
    snprintf(path, sizeof path, "%s/tests/train/data/gradients-%s.safetensors", CLQ_SOURCE_DIR,
             r->name);
    assert_ok(clq_tensors_load(path, &e.file));
    e.scale = data_of(&e, "scale");
    e.norm = data_of(&e, "norm");
    e.samples = data_of(&e, "samples");
    e.sums = data_of(&e, "sums");
    e.offsets = data_of(&e, "offsets");
    e.run = is_torchvisions(r) ? LONG_RUN : RUN;
    e.loss = is_torchvisions(r) ? *(const float *)data_of(&e, "loss") : NAN;
    e.moved = clq_tensors_get_metadata(e.file, "moved");
    e.names = clq_strdup(clq_tensors_get_metadata(e.file, "parameters"));
    assert_non_null(e.names);
    return e;
}

static void close_expected(expected *e) {
    clq_free(e->names);
    clq_tensors_destroy(e->file);
}

/* Calls `visit` with every parameter in the file's order; all of the graph's must be there. */
static void for_each_parameter(const expected *e, clq_graph *graph,
                               void (*visit)(void *context, clq_value *value, int id),
                               void *context) {
    int visited = 0, parameters = 0;
    char *names = clq_strdup(e->names), *rest = NULL;
    assert_non_null(names);
    for (char *name = strtok_r(names, "\n", &rest); name; name = strtok_r(NULL, "\n", &rest)) {
        const int id = clq_graph_find_value(graph, name);
        assert_true(id >= 0);
        visit(context, &graph->values[id], id);
        visited++;
    }
    for (int v = 0; v < graph->value_count; v++) {
        parameters += graph->values[v].kind == CLQ_VALUE_PARAMETER;
    }
    assert_int_equal(visited, parameters);
    clq_free(names);
}

/* ---- comparison ---- */

typedef struct comparison {
    const reference *reference;
    expected e; /* its pointers move on from parameter to parameter */
    clq_params *params;
    clq_tensors *dump; /* NULL: none */
    double worst;      /* difference, of its limit */
    char worst_name[128];
} comparison;

static bool has_line(const char *lines, const char *line) {
    const size_t length = strlen(line);
    for (const char *at = lines; at && *at; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, line, length) == 0 && (at[length] == '\n' || at[length] == '\0')) {
            return true;
        }
    }
    return false;
}

static void fill_one(void *context, clq_value *value, int id) {
    comparison *c = context;
    (void)id;
    const bool moved = value->shape.rank == 1 && (!c->e.moved || has_line(c->e.moved, value->name));
    fill(value, moved ? c->e.offsets : NULL);
    c->e.offsets += moved ? clq_shape_count(&value->shape) : 0;
}

static void check(comparison *c, const char *name, const char *what, int64_t at, double actual,
                  double wanted, double scale) {
    const double off = fabs(actual - wanted) / scale;
    if (!(off <= TOLERANCE)) {
        fail_msg("%s, gradient of %s: %s %lld is %.9g instead of %.9g, off by %.2g of %g",
                 c->reference->name, name, what, (long long)at, actual, wanted, off, scale);
    }
    if (off > c->worst) {
        c->worst = off;
        snprintf(c->worst_name, sizeof c->worst_name, "%s, %s", name, what);
    }
}

static void check_sums(comparison *c, const char *name, const float *gradient, int64_t count) {
    char stream[160];
    snprintf(stream, sizeof stream, "%s signs", name);
    clq_rng rng = clq_rng_start(SEED, stream_of(stream));
    for (int64_t first = 0; first < count; first += c->e.run) {
        double sum = 0, squares = 0;
        for (int64_t i = first; i < count && i < first + c->e.run; i++) {
            sum += clq_rng_next(&rng) >> 31 ? -gradient[i] : gradient[i];
            squares += (double)gradient[i] * gradient[i];
        }
        check(c, name, "the sum of run", first / c->e.run, sum, *c->e.sums++,
              fmax(sqrt(squares), *c->e.scale));
    }
}

static void check_one(void *context, clq_value *value, int id) {
    comparison *c = context;
    const int64_t count = clq_shape_count(&value->shape);
    float *gradient = read_floats(clq_params_gradient(c->params, id));
    double squares = 0;
    if (c->dump) {
        assert_ok(clq_tensors_add(c->dump, value->name, CLQ_FILE_F32, value->shape.rank,
                                  value->shape.dim, gradient));
    }
    for (int64_t i = 0; i < count; i++) {
        squares += (double)gradient[i] * gradient[i];
    }
    check(c, value->name, "norm", 0, sqrt(squares), *c->e.norm, fmax(*c->e.norm, *c->e.scale));
    for (int64_t s = 0; s < SAMPLES; s++) {
        const int64_t at = s * count / SAMPLES;
        check(c, value->name, "element", at, gradient[at], *c->e.samples++, *c->e.scale);
    }
    check_sums(c, value->name, gradient, count);
    c->e.norm++;
    c->e.scale++;
    free(gradient);
}

/* ---- a step ---- */

/* The schedules take turns, networks and convolutions: compiling takes long. */
static bool is_turn_of(const reference *r) {
    const bool gpu = clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_GPU;
    return clq_test_takes(gpu + (r->network == NULL), 2);
}

static void write_batch(const reference *r, clq_tensor *input, clq_buffer *labels) {
    const size_t count = (size_t)clq_shape_count(&input->shape);
    float *x = malloc(count * sizeof *x);
    int32_t *label = malloc((size_t)r->batch * sizeof *label);
    clq_rng rng = clq_rng_start(SEED, stream_of("input"));
    assert_true(x && label);
    for (size_t i = 0; i < count; i++) {
        x[i] = 4 * clq_uniform(clq_rng_next(&rng)) - 2;
    }
    for (int i = 0; i < r->batch; i++) {
        label[i] = i % CLASSES;
    }
    assert_ok(clq_buffer_write(input->buffer, 0, count * sizeof *x, x));
    assert_ok(clq_buffer_write(labels, 0, (size_t)r->batch * sizeof *label, label));
    free(x);
    free(label);
}

/* The mean loss. */
static double compute_gradients(const reference *r, clq_graph *graph, clq_params *params) {
    const clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = r->batch, .params = params};
    clq_exec *exec = NULL;
    clq_loss *loss = NULL;
    clq_buffer *labels = NULL;
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    assert_ok(clq_loss_create(test_device, CLQ_LOSS_CROSS_ENTROPY, &clq_exec_output(exec)->shape, 0,
                              &loss));
    assert_ok(clq_buffer_create(test_device, (size_t)r->batch * sizeof(int32_t), &labels));
    write_batch(r, clq_exec_input(exec), labels);
    assert_ok(clq_exec_forward(exec));
    assert_ok(clq_loss_run(loss, clq_exec_output(exec)->buffer, labels,
                           clq_exec_output_gradient(exec)->buffer));
    assert_ok(clq_exec_backward(exec));
    assert_ok(clq_device_finish(test_device));
    clq_loss_totals totals;
    assert_ok(clq_loss_read(loss, &totals));
    clq_buffer_release(labels);
    clq_loss_destroy(loss);
    clq_exec_destroy(exec);
    return totals.loss / totals.samples;
}

static void save_dump(const comparison *c, const char *folder) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, c->reference->name);
    assert_ok(clq_tensors_save(c->dump, path));
}

static void gradients_equal_pytorchs(const reference *r) {
    if (!is_torchvisions(r) && !is_turn_of(r)) {
        return;
    }
    const char *folder = getenv("CLQ_TEST_DUMP");
    expected e = open_expected(r);
    comparison c = {.reference = r, .e = e};
    clq_graph *graph = r->network ? built_in_network(r) : strided_network(r);
    for_each_parameter(&e, graph, fill_one, &c);
    assert_ok(clq_params_create(test_device, graph, true, &c.params));
    const double loss = compute_gradients(r, graph, c.params);
    assert_true(isnan(e.loss) || fabs(loss - (double)e.loss) < 1e-5 * (double)e.loss);
    if (folder) {
        assert_ok(clq_tensors_create(&c.dump));
    }
    for_each_parameter(&e, graph, check_one, &c);
    print_message("%s: largest difference %.2g (%s)\n", r->name, c.worst, c.worst_name);
    if (folder) {
        save_dump(&c, folder);
    }
    clq_tensors_destroy(c.dump);
    clq_params_destroy(c.params);
    clq_graph_destroy(graph);
    close_expected(&e);
}

static void convolutions_of_all_strides(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        gradients_equal_pytorchs(&references[i]);
    }
}

static void mobilenet_v2(void **state) {
    (void)state;
    gradients_equal_pytorchs(&references[3]);
}

/* Whose tiles of Winograd's algorithm no other network has. */
static void resnet50(void **state) {
    (void)state;
    if (clq_test_all()) {
        gradients_equal_pytorchs(&references[4]);
    }
}

/* Some of torchvision's networks; all in an exhaustive test, on the CPU's schedule, as their
 * convolutions are those of the networks before. */
static void torchvisions_networks(void **state) {
    enum { FIRST = 5, ALWAYS = 2 };
    (void)state;
    if (clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_GPU) {
        return;
    }
    for (int i = FIRST; i < (clq_test_all() ? REFERENCES : FIRST + ALWAYS); i++) {
        gradients_equal_pytorchs(&references[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_of_all_strides),
        cmocka_unit_test(mobilenet_v2),
        cmocka_unit_test(resnet50),
        cmocka_unit_test(torchvisions_networks),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
