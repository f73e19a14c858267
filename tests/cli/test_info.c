/* clquant info: what it says is what is in the file, for people and for programs. */
#include <jansson.h>

#include <clquant/formats.h>
#include <clquant/graph.h>

#include "cli/command.h"

enum { WIDTH = 80 };

static char fp32[512], int8[512];

static json_t *info_of(const char *model) {
    json_error_t error;
    assert_exit(0, "info %s --json", model);
    json_t *json = json_loads(command_output, 0, &error);
    assert_non_null(json);
    return json;
}

static json_int_t integer(const json_t *json, const char *key) {
    assert_true(json_is_integer(json_object_get(json, key)));
    return json_integer_value(json_object_get(json, key));
}

static const char *string(const json_t *json, const char *key) {
    assert_true(json_is_string(json_object_get(json, key)));
    return json_string_value(json_object_get(json, key));
}

static int setup(void **state) {
    if (clq_test_setup_temp_dir(state) != 0) {
        return -1;
    }
    snprintf(fp32, sizeof fp32, "%s", clq_test_temp_path("fp32.onnx"));
    snprintf(int8, sizeof int8, "%s", clq_test_temp_path("int8.onnx"));
    return command("convert --network resnet20 --mean 0.5 --std 0.25 -o %s", fp32) != 0 ||
           command("ptq %s -D synthetic:size=32,train=8 --images 8 --test-images 0 -o %s", fp32,
                   int8) != 0;
}

static void a_float_network(void **state) {
    (void)state;
    json_t *json = info_of(fp32);
    const json_t *input = json_array_get(json_object_get(json, "inputs"), 0);
    assert_string_equal(string(json, "form"), "trained");
    assert_string_equal(string(input, "type"), "float32");
    assert_int_equal(json_array_size(json_object_get(input, "shape")), 4);
    assert_true(json_is_null(json_array_get(json_object_get(input, "shape"), 0)));
    assert_int_equal(json_integer_value(json_array_get(json_object_get(input, "shape"), 1)), 3);
    assert_int_equal(integer(json, "parameters"), 269722);
    assert_int_equal(integer(json, "macs"), 40551040);
    assert_int_equal(integer(json_object_get(json, "operators"), "conv2d"), 19);
    assert_true(json_is_null(json_object_get(json, "quantization")));
    assert_non_null(json_object_get(json_object_get(json, "preprocessing"), "mean"));
    assert_int_equal(strncmp(string(json, "producer"), "clquant ", 8), 0);
    json_decref(json);
}

/* The sums of all layers are those of the network, and types, scales and codes its own. */
static void an_integer_network(void **state) {
    (void)state;
    clq_graph *graph = NULL;
    json_t *json = info_of(int8), *layer;
    json_int_t parameters = 0, macs = 0;
    size_t i;
    assert_int_equal(clq_onnx_load(int8, &graph), CLQ_OK);
    json_array_foreach(json_object_get(json, "layers"), i, layer) {
        const clq_value *output = &graph->values[graph->nodes[i].output];
        const json_t *codes = json_object_get(layer, "codes"),
                     *weights = json_object_get(layer, "weights");
        assert_string_equal(string(layer, "name"), graph->nodes[i].name);
        if (output->q.count > 0) {
            assert_string_equal(string(codes, "type"), "uint8");
            assert_int_equal(integer(codes, "zero_point"), output->q.zero_point);
            assert_float_equal(json_real_value(json_object_get(codes, "scale")), output->q.scale[0],
                               1e-6 * (double)output->q.scale[0]);
        } else {
            assert_true(json_is_null(codes));
        }
        if (!json_is_null(weights)) {
            assert_string_equal(string(weights, "type"), "int8");
            assert_string_equal(string(weights, "granularity"), "per_channel");
        }
        parameters += integer(layer, "parameters");
        macs += integer(layer, "macs");
    }
    assert_int_equal(i, graph->node_count);
    assert_int_equal(parameters, integer(json, "parameters"));
    assert_int_equal(macs, integer(json, "macs"));
    assert_int_equal(macs, 40551040);
    const json_t *quantization = json_object_get(json, "quantization");
    assert_int_equal(integer(quantization, "layers"), 20);
    assert_string_equal(string(quantization, "weights"), "per_channel");
    assert_string_equal(string(json_object_get(quantization, "recorded"), "method"), "ptq");
    assert_int_equal(integer(json_object_get(quantization, "recorded"), "images"), 8);
    clq_graph_destroy(graph);
    json_decref(json);
}

static void the_text_fits_a_terminal(void **state) {
    (void)state;
    const char *const models[] = {fp32, int8};
    for (size_t m = 0; m < 2; m++) {
        assert_exit(0, "info %s", models[m]);
        for (const char *line = command_output; *line; line += strcspn(line, "\n") + 1) {
            if (strcspn(line, "\n") > WIDTH && !strstr(line, models[m])) {
                fail_msg("too wide: %.*s", (int)strcspn(line, "\n"), line);
            }
        }
    }
    assert_printed("resnet20, integer network");
    assert_printed("float32 Nx3x32x32, uint8 codes of scale");
    assert_printed("recorded      method ptq, images 8, observer minmax");
    assert_printed("layer1.0.conv1    conv2d+relu     16x32x32 int8");
    assert_printed("int8 x16");
}

/* Metadata of a file may hold anything, and a network several ends. */
static void strange_files(void **state) {
    (void)state;
    clq_graph *graph = NULL;
    int a, b, sum, out;
    const clq_shape shape = {2, {1, 5}};
    const char *model = clq_test_temp_path("strange.onnx");
    assert_int_equal(clq_graph_create("two", &graph), CLQ_OK);
    assert_int_equal(clq_graph_add_input(graph, "left", shape, &a), CLQ_OK);
    assert_int_equal(clq_graph_add_input(graph, "right", shape, &b), CLQ_OK);
    assert_int_equal(clq_graph_add_node(graph, "add", "sum", NULL, (int[]){a, b}, 2, &sum), CLQ_OK);
    assert_int_equal(clq_graph_add_node(graph, "relu", "positive", NULL, &sum, 1, &out), CLQ_OK);
    assert_int_equal(clq_graph_add_output(graph, "total", sum), CLQ_OK);
    assert_int_equal(clq_graph_add_output(graph, "most", out), CLQ_OK);
    assert_int_equal(clq_graph_set_metadata(graph, "evil", "\033[31mred\nline\xc3\xa9"), CLQ_OK);
    assert_int_equal(clq_graph_set_metadata(graph, "clquant.quantization", "no JSON"), CLQ_OK);
    assert_int_equal(clq_onnx_save(graph, model), CLQ_OK);
    graph->outputs[1].axes = (clq_axes){1, {1}}; /* has no axis for the batch */
    assert_int_equal(clq_onnx_save(graph, clq_test_temp_path("one.onnx")), CLQ_OK);
    clq_graph_destroy(graph);
    assert_exit(0, "info %s", clq_test_temp_path("one.onnx"));
    assert_printed("left: float32 1x5");
    assert_printed("most: float32 5");
    assert_exit(0, "info %s", model);
    assert_null(strchr(command_output, '\033'));
    assert_printed("left: float32 Nx5");
    assert_printed("right: float32 Nx5");
    assert_printed("total: float32 Nx5");
    assert_printed("most: float32 Nx5");
    assert_printed("(2 lines)");
    json_t *json = info_of(model);
    assert_int_equal(json_array_size(json_object_get(json, "inputs")), 2);
    assert_int_equal(json_array_size(json_object_get(json, "outputs")), 2);
    json_decref(json);
    assert_exit(CLQ_NO_INPUT, "info %s", clq_test_temp_path("absent.onnx"));
    assert_exit(CLQ_NO_INPUT, "info %s", clq_test_temp_path("absent.safetensors"));
    assert_exit(CLQ_BAD_DATA, "info %s", text_file("text.onnx", "this is no model, of course"));
    assert_exit(CLQ_USAGE, "info");
}

static void weights(void **state) {
    (void)state;
    char path[512];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("w.safetensors"));
    assert_exit(0, "convert %s --weights-out %s", fp32, path);
    assert_exit(0, "info %s", path);
    assert_printed("layer1.0.conv1.weight");
    assert_printed("16x16x3x3");
    json_t *json = info_of(path), *tensor;
    json_int_t elements = 0;
    size_t i;
    json_array_foreach(json_object_get(json, "tensors"), i, tensor) {
        assert_string_equal(string(tensor, "type"), "F32");
        elements += integer(tensor, "bytes") / 4;
    }
    assert_int_equal(elements, 271098); /* and running statistics */
    json_decref(json);
}

/* A terminal would interpret them. */
static void control_characters_are_replaced(void **state) {
    (void)state;
    char path[512];
    clq_tensors *tensors = NULL;
    snprintf(path, sizeof path, "%s", clq_test_temp_path("control.safetensors"));
    assert_ok(clq_tensors_create(&tensors));
    assert_ok(clq_tensors_set_metadata(tensors, "key\x1b[2J", "value"));
    assert_ok(clq_tensors_save(tensors, path));
    clq_tensors_destroy(tensors);
    assert_exit(0, "info %s", path);
    assert_printed("metadata key?[2J: 5 bytes");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_float_network),
        cmocka_unit_test(an_integer_network),
        cmocka_unit_test(the_text_fits_a_terminal),
        cmocka_unit_test(strange_files),
        cmocka_unit_test(weights),
        cmocka_unit_test(control_characters_are_replaced),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}
