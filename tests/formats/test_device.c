/* The same networks as test_reference.c on the OpenCL device: from other programs' files to logits.
 */
#include <clquant/exec.h>
#include <clquant/formats.h>
#include <clquant/passes.h>
#include <stdio.h>
#include <string.h>

#include "support/device.h"

enum { CLASSES = 5 };

static clq_device *device;

static const char *data_path(const char *network, const char *suffix) {
    static char path[4][512];
    static unsigned next;
    char *out = path[next++ % 4];
    snprintf(out, sizeof path[0], CLQ_SOURCE_DIR "/tests/formats/data/%s%s", network, suffix);
    return out;
}

/* (N, C, H, W) -> (N, H, W, C) */
static float *to_nhwc(const clq_file_tensor *x) {
    int64_t channels = x->dim[1], pixels = x->dim[2] * x->dim[3];
    float *out = clq_calloc(x->size, 1);
    for (int64_t i = 0; i < (int64_t)(x->size / sizeof *out); i++) {
        int64_t n = i / (channels * pixels), c = i / pixels % channels, p = i % pixels;
        out[(n * pixels + p) * channels + c] = ((const float *)x->data)[i];
    }
    return out;
}

static void check(const char *network, const char *file, clq_exec_mode mode, bool consume,
                  const char *expected, double absolute) {
    clq_graph *loaded = NULL, *graph = NULL;
    clq_exec *exec = NULL;
    clq_tensors *io = NULL;
    float logits[8 * CLASSES];
    assert_ok(clq_tensors_load(data_path(network, "_io.safetensors"), &io));
    assert_ok(clq_onnx_load(data_path(network, file), &loaded));
    assert_ok(clq_graph_fold(loaded, &graph));
    const clq_file_tensor *input = clq_tensors_find(io, "input");
    clq_exec_options options = {.mode = mode, .batch = (int)input->dim[0]};
    options.consumed = consume ? graph : NULL;
    float *x = to_nhwc(input);
    assert_ok(clq_exec_create(device, graph, &options, &exec));
    assert_ok(clq_buffer_write(clq_exec_input(exec)->buffer, 0, input->size, x));
    assert_ok(clq_exec_forward(exec));
    size_t size = (size_t)input->dim[0] * CLASSES * sizeof(float);
    assert_ok(clq_buffer_read(clq_exec_output(exec)->buffer, 0, size, logits));
    for (int v = 0; v < graph->value_count; v++) {
        if (graph->values[v].kind == CLQ_VALUE_PARAMETER) {
            assert_int_equal(graph->values[v].data == NULL, consume);
        }
    }
    const clq_qparams *q = &graph->values[clq_graph_output(graph)].q;
    absolute += q->count ? q->scale[0] * 1.01 : 0; /* one code */
    assert_close_f32(logits, (const float *)clq_tensors_find(io, expected)->data,
                     clq_test_shape_of((size_t)input->dim[0], CLASSES), absolute, 1e-4);
    clq_free(x);
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
    clq_graph_destroy(loaded);
    clq_tensors_destroy(io);
}

static void float_networks(void **state) {
    (void)state;
    static const char *const files[] = {"_trained.onnx", "_eval.onnx", "_dynamo.onnx"};
    for (int i = 0; i < 3; i++) {
        check("tiny", files[i], CLQ_EXEC_FLOAT, false, "logits", 1e-4);
        check("shortcut_a", files[i], CLQ_EXEC_FLOAT, false, "logits", 1e-4);
    }
}

static void integer_networks(void **state) {
    (void)state;
    for (int consume = 0; consume < 2; consume++) {
        check("tiny", "_qdq.onnx", CLQ_EXEC_INT8, consume, "logits_qdq", 0);
        check("shortcut_a", "_qdq.onnx", CLQ_EXEC_INT8, consume, "logits_qdq", 0);
    }
}

/* Only integer networks, and only the graph that runs. */
static void consuming_is_refused(void **state) {
    (void)state;
    clq_graph *graph = NULL, *other = NULL;
    clq_exec *exec = NULL;
    assert_ok(clq_onnx_load(data_path("tiny", "_qdq.onnx"), &graph));
    assert_ok(clq_graph_clone(graph, &other));
    assert_status(
        clq_exec_create(device, graph,
                        &(clq_exec_options){.mode = CLQ_EXEC_INT8, .batch = 1, .consumed = other},
                        &exec),
        CLQ_USAGE);
    assert_status(
        clq_exec_create(
            device, graph,
            &(clq_exec_options){.mode = CLQ_EXEC_FAKE_QUANT, .batch = 1, .consumed = graph}, &exec),
        CLQ_USAGE);
    clq_graph_destroy(graph);
    clq_graph_destroy(other);
}

static int open_device(void **state) {
    (void)state;
    assert_ok(clq_test_open(NULL, &device));
    return 0;
}

static int close_device(void **state) {
    (void)state;
    clq_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(float_networks),
        cmocka_unit_test(integer_networks),
        cmocka_unit_test(consuming_is_refused),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
