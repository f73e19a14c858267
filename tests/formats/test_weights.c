/* State dicts under torchvision's names. */
#include <clquant/formats.h>

#include "formats/layout.h"
#include "formats/sample_graphs.h"

static void assert_same_data(const clq_graph *a, const clq_graph *b) {
    for (int i = 0; i < a->value_count; i++) {
        const clq_value *x = &a->values[i], *y = &b->values[i];
        if (x->data) {
            assert_memory_equal(x->data, y->data,
                                (size_t)clq_shape_count(&x->shape) * sizeof(float));
        }
    }
}

static clq_graph *zeroed(const clq_graph *graph) {
    clq_graph *copy;
    assert_ok(clq_graph_clone(graph, &copy));
    for (int i = 0; i < copy->value_count; i++) {
        if (copy->values[i].data) {
            memset(copy->values[i].data, 0,
                   (size_t)clq_shape_count(&copy->values[i].shape) * sizeof(float));
        }
    }
    return copy;
}

static void round_trip(void **state) {
    (void)state;
    for (int pooled = 0; pooled < 2; pooled++) {
        clq_graph *graph = sample_trained(pooled), *copy = zeroed(graph);
        assert_ok(clq_weights_save(graph, clq_test_temp_path("w.safetensors")));
        assert_ok(clq_weights_load(copy, clq_test_temp_path("w.safetensors")));
        assert_same_data(graph, copy);
        clq_graph_destroy(graph);
        clq_graph_destroy(copy);
    }
}

/* The file has torch's shapes and element order. */
static void file_layout(void **state) {
    (void)state;
    clq_graph *graph = sample_trained(false);
    clq_tensors *t;
    assert_ok(clq_weights_save(graph, clq_test_temp_path("w.safetensors")));
    assert_ok(clq_tensors_load(clq_test_temp_path("w.safetensors"), &t));
    const clq_file_tensor *conv = clq_tensors_find(t, "conv1.weight");
    assert_int_equal(conv->rank, 4);
    assert_memory_equal(conv->dim, ((int64_t[]){4, 3, 3, 3}), 4 * sizeof(int64_t));
    const float *file = conv->data;
    const float *ours = graph->values[clq_graph_find_value(graph, "conv1.weight")].data;
    for (int i = 0; i < 108; i++) { /* (o, c, p) in the file, (o, p, c) in the graph */
        int o = i / 27, c = i / 9 % 3, p = i % 9;
        assert_true(file[i] == ours[o * 27 + p * 3 + c]);
    }
    /* fc1 reads a flatten of (2, 4, 6): its columns are (6, 2, 4) in the file. */
    int flatten = clq_graph_find_value(graph, "flatten");
    const clq_node *node = &graph->nodes[graph->values[flatten].producer];
    const clq_shape *image = &graph->values[node->inputs[0]].shape;
    int64_t pixels = image->dim[1] * image->dim[2], channels = image->dim[3];
    assert_true(pixels > 1);
    static const char *const names[] = {"fc1.weight", "bn2.weight", "bn2.running_var"};
    for (int k = 0; k < 3; k++) {
        const float *in_file = clq_tensors_find(t, names[k])->data;
        const float *in_graph = graph->values[clq_graph_find_value(graph, names[k])].data;
        for (int64_t i = 0; i < pixels * channels; i++) {
            assert_true(in_file[i] == in_graph[i % pixels * channels + i / pixels]);
        }
    }
    assert_string_equal(clq_tensors_get_metadata(t, "format"), "pt");
    assert_string_equal(clq_tensors_get_metadata(t, "clquant.version"), clq_version());
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
}

/* A copy of the weights file's tensors; `skip` is left out, names get `prefix`. */
static clq_tensors *copy_tensors(const clq_graph *graph, const char *prefix, const char *skip) {
    clq_tensors *all, *some;
    assert_ok(clq_weights_save(graph, clq_test_temp_path("w.safetensors")));
    assert_ok(clq_tensors_load(clq_test_temp_path("w.safetensors"), &all));
    assert_ok(clq_tensors_create(&some));
    for (int i = 0; i < clq_tensors_count(all); i++) {
        const clq_file_tensor *tensor = clq_tensors_at(all, i);
        char name[128];
        snprintf(name, sizeof name, "%s%s", prefix, tensor->name);
        if (strcmp(tensor->name, skip) != 0) {
            assert_ok(clq_tensors_add(some, name, tensor->dtype, tensor->rank, tensor->dim,
                                      tensor->data));
        }
    }
    clq_tensors_destroy(all);
    return some;
}

static char said[512];

static void keep_log(void *context, clq_log_level level, const char *text) {
    (void)context;
    (void)level;
    snprintf(said, sizeof said, "%s", text);
}

/* What wrappers put in front is taken off, and the log says so. */
static void wrapped_names(void **state) {
    static const char *const prefixes[] = {"module.",
                                           "_orig_mod.",
                                           "model.",
                                           "net.",
                                           "backbone.",
                                           "state_dict.",
                                           "module._orig_mod.",
                                           "state_dict.model._orig_mod.",
                                           "resnet." /* which all share */};
    (void)state;
    clq_graph *graph = sample_trained(true);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        char name[128], expected[128];
        int64_t steps = 17;
        clq_graph *copy = zeroed(graph);
        clq_tensors *t = copy_tensors(graph, prefixes[i], "");
        snprintf(name, sizeof name, "%sbn1.num_batches_tracked", prefixes[i]);
        assert_ok(clq_tensors_add(t, name, CLQ_FILE_I64, 0, NULL, &steps));
        clq_set_log(keep_log, NULL, CLQ_LOG_INFO);
        assert_ok(clq_weights_load_tensors(copy, t, "w"));
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
        snprintf(expected, sizeof expected, "w: \"%s\" is taken off 15 of 15 names", prefixes[i]);
        assert_string_equal(said, expected);
        assert_same_data(graph, copy);
        clq_tensors_destroy(t);
        clq_graph_destroy(copy);
    }
    said[0] = '\0';
    clq_tensors *t = copy_tensors(graph, "", "");
    clq_set_log(keep_log, NULL, CLQ_LOG_INFO);
    assert_ok(clq_weights_load_tensors(graph, t, "w"));
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    assert_string_equal(said, ""); /* nothing to say */
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
}

static void other_types(void **state) {
    (void)state;
    clq_graph *graph = sample_trained(true);
    clq_tensors *t = copy_tensors(graph, "", "fc1.bias");
    double doubles[7] = {1, 2, 3, 4, 5, 6, 0.1};
    int64_t dim = 7;
    assert_ok(clq_tensors_add(t, "fc1.bias", CLQ_FILE_F64, 1, &dim, doubles));
    assert_ok(clq_weights_load_tensors(graph, t, "w"));
    const float *bias = graph->values[clq_graph_find_value(graph, "fc1.bias")].data;
    assert_true(bias[0] == 1 && bias[6] == 0.1f);
    clq_tensors_destroy(t);

    t = copy_tensors(graph, "", "fc1.bias");
    assert_ok(clq_tensors_add(t, "fc1.bias", CLQ_FILE_I64, 1, &dim, doubles));
    assert_status(clq_weights_load_tensors(graph, t, "w"), CLQ_BAD_DATA);
    assert_error_has("\"fc1.bias\" is I64, must be F32, F16, BF16 or F64");
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
}

/* The tensors are refused with these words and the graph stays as it was. */
static void refuse(clq_tensors *t, const char *first, const char *second) {
    clq_graph *graph = sample_trained(true), *before = sample_trained(true);
    assert_status(clq_weights_load_tensors(graph, t, "weights.st"), CLQ_BAD_DATA);
    assert_error_has("weights.st");
    assert_error_has(first);
    assert_error_has(second);
    assert_same_data(graph, before);
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
    clq_graph_destroy(before);
}

static void refused(void **state) {
    (void)state;
    clq_graph *graph = sample_trained(true);
    float values[64] = {0};
    int64_t dim[4] = {4, 3, 3, 2}, seven = 7, four = 4;

    refuse(copy_tensors(graph, "", "fc.weight"), "\"fc.weight\" is missing",
           "does not fit the network of 15 tensors: 1 missing: ");

    clq_tensors *t = copy_tensors(graph, "", "fc.weight");
    assert_ok(clq_tensors_add(t, "fc.weights", CLQ_FILE_F32, 1, &seven, values));
    refuse(t, "1 missing, 1 not expected: \"fc.weight\" is missing (the nearest is \"fc.weights\")",
           "\"fc.weights\" is not expected");

    t = copy_tensors(graph, "", "fc.weight"); /* deeper than the others */
    assert_ok(clq_tensors_add(t, "model.head.fc.weight", CLQ_FILE_F32, 1, &seven, values));
    refuse(t, "\"fc.weight\" is missing (the nearest is \"model.head.fc.weight\")",
           "\"model.head.fc.weight\" is not expected");

    t = copy_tensors(graph, "", "fc.weight");
    assert_ok(clq_tensors_add(t, "fc.weight", CLQ_FILE_F32, 1, &four, values));
    refuse(t, "1 of another shape: \"fc.weight\" has shape (4), must have",
           "the file's last layer is for other classes");

    t = copy_tensors(graph, "wrapped.", "fc.weight"); /* all of the file's names share it */
    refuse(t, "1 missing: \"fc.weight\" is missing", "");

    t = copy_tensors(graph, "", "conv1.weight");
    float *conv = clq_calloc(72, sizeof *conv);
    assert_ok(clq_tensors_add(t, "conv1.weight", CLQ_FILE_F32, 4, dim, conv));
    clq_free(conv);
    refuse(t, "\"conv1.weight\" has shape (4, 3, 3, 2), must have (4, 3, 3, 3)", "");

    t = copy_tensors(graph, "", "fc1.bias");
    values[3] = NAN;
    assert_ok(clq_tensors_add(t, "fc1.bias", CLQ_FILE_F32, 1, &seven, values));
    refuse(t, "\"fc1.bias\"", "must be finite");

    t = copy_tensors(graph, "", "bn1.running_var");
    values[3] = -1;
    assert_ok(clq_tensors_add(t, "bn1.running_var", CLQ_FILE_F32, 1, &four, values));
    refuse(t, "running_var of channel 3 is -1", "");

    t = copy_tensors(graph, "", "");
    assert_ok(clq_tensors_add(t, "module.fc1.bias", CLQ_FILE_F32, 1, &seven, values));
    refuse(t, "\"fc1.bias\" is there twice", "");

    assert_ok(clq_tensors_create(&t)); /* all are missing: five are named */
    refuse(t, "15 missing: \"conv1.weight\" is missing", "; and 10 more");
    clq_graph_destroy(graph);
}

/* ---- a new head ---- */

/* Gives the network `classes` outputs, with zeros in its last layer. */
static void set_classes(clq_graph *graph, int64_t classes) {
    static const char *const names[] = {"fc.weight", "fc.bias"};
    for (int i = 0; i < 2; i++) {
        clq_value *value = &graph->values[clq_graph_find_value(graph, names[i])];
        value->shape.dim[0] = classes;
        clq_free(value->data);
        value->data = clq_calloc((size_t)clq_shape_count(&value->shape), sizeof(float));
    }
    graph->values[clq_graph_output(graph)].shape.dim[1] = classes;
}

static const float *data_of(const clq_graph *graph, const char *name) {
    return graph->values[clq_graph_find_value(graph, name)].data;
}

/* torch's weights for five classes in a network for seven. */
static void other_classes_keep_their_head(void **state) {
    (void)state;
    static const char file[] = CLQ_SOURCE_DIR "/tests/formats/data/shortcut_a.safetensors";
    clq_graph *trained = NULL;
    assert_ok(
        clq_onnx_load(CLQ_SOURCE_DIR "/tests/formats/data/shortcut_a_trained.onnx", &trained));
    clq_graph *graph = zeroed(trained);
    assert_ok(clq_weights_load_new_head(graph, file)); /* the head fits, so it is loaded */
    assert_same_data(graph, trained);
    set_classes(graph, 7);
    assert_status(clq_weights_load(graph, file), CLQ_BAD_DATA);
    assert_error_has("\"fc.weight\" has shape (5, 8), must have (7, 8)");
    memset(graph->values[clq_graph_find_value(graph, "conv1.weight")].data, 0, 4);
    assert_ok(clq_weights_load_new_head(graph, file));
    assert_true(data_of(graph, "conv1.weight")[0] == data_of(trained, "conv1.weight")[0]);
    assert_true(data_of(graph, "fc.weight")[3] == 0 && data_of(graph, "fc.bias")[0] == 0);
    clq_graph_destroy(graph);
    clq_graph_destroy(trained);
}

/* Only the head may differ. */
static void a_new_head_forgives_nothing_else(void **state) {
    (void)state;
    clq_graph *graph = sample_trained(true), *copy = zeroed(graph);
    clq_tensors *t = copy_tensors(graph, "", "conv1.weight");
    assert_ok(clq_tensors_save(t, clq_test_temp_path("w.safetensors")));
    assert_status(clq_weights_load_new_head(copy, clq_test_temp_path("w.safetensors")),
                  CLQ_BAD_DATA);
    assert_error_has("\"conv1.weight\" is missing");
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
    clq_graph_destroy(copy);
}

static void integer_graph(void **state) {
    (void)state;
    clq_graph *graph = sample_quantize(sample_folded(true, false), false, true);
    clq_tensors *t;
    assert_ok(clq_tensors_create(&t));
    assert_status(clq_weights_load_tensors(graph, t, "w"), CLQ_USAGE);
    assert_status(clq_weights_save(graph, clq_test_temp_path("i.safetensors")), CLQ_USAGE);
    clq_tensors_destroy(t);
    clq_graph_destroy(graph);
}

static void layouts(void **state) {
    (void)state;
    clq_layout layout = {2, 3, 5, false, false}; /* rows, pixels, channels */
    int8_t file[30], graph[30], back[30];
    clq_test_fill_s8(file, 30, -127, 127, 3);
    clq_layout_from_file(&layout, 1, file, graph);
    clq_layout_to_file(&layout, 1, graph, back);
    assert_memory_equal(file, back, 30);
    for (int i = 0; i < 30; i++) {
        int r = i / 15, p = i / 5 % 3, c = i % 5;
        assert_int_equal(graph[i], file[r * 15 + c * 3 + p]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(file_layout),
        cmocka_unit_test(wrapped_names),
        cmocka_unit_test(other_types),
        cmocka_unit_test(refused),
        cmocka_unit_test(other_classes_keep_their_head),
        cmocka_unit_test(a_new_head_forgives_nothing_else),
        cmocka_unit_test(integer_graph),
        cmocka_unit_test(layouts),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
