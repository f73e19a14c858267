/* Forms of operators that other files have: each read, run on the device, written, read and run
 * again, beside plain loops in the file's order. */
#ifndef CLQ_TESTS_FORMATS_ONNX_FORMS_H
#define CLQ_TESTS_FORMATS_ONNX_FORMS_H

#include "formats/onnx_make.h"

#include <clquant/exec.h>
#include <math.h>

#include "formats/layout.h"
#include "support/device.h"

enum { MOST = 4096, BATCH = 2 };

static clq_device *device;

/* Output `index` of a network of one input for `batch` samples in the file's order; how many
 * elements it has. */
static inline int64_t run_graph(const clq_graph *graph, int batch, const float *x, int index,
                                float *y) {
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = batch};
    const int64_t in = clq_shape_count(&graph->values[graph->inputs[0]].shape) * batch;
    const int64_t out = clq_shape_count(&graph->values[graph->outputs[index].value].shape) * batch;
    float stored[MOST];
    clq_exec *exec = NULL;
    assert_true(in <= MOST && out <= MOST);
    clq_input_from_file(graph, 0, batch, x, stored);
    assert_ok(clq_exec_create(device, graph, &options, &exec));
    assert_ok(clq_buffer_write(clq_exec_input(exec)->buffer, 0, (size_t)in * sizeof *x, stored));
    assert_ok(clq_exec_forward(exec));
    assert_ok(clq_buffer_read(clq_exec_output_at(exec, index)->buffer, 0, (size_t)out * sizeof *y,
                              stored));
    clq_output_to_file(graph, index, batch, stored, y);
    clq_exec_destroy(exec);
    return out;
}

/* The model's outputs for `batch` samples x are `expected` (count), as read and as written and read
 * again. */
static inline void check_model(make_model *m, int batch, const float *x, const float *expected,
                               int64_t count) {
    clq_graph *graph = make_finish(m), *again;
    float y[MOST];
    for (int n = 0; n < graph->node_count; n++) {
        assert_null(strchr(graph->nodes[n].name, '\n')); /* how the loader names what it puts in */
    }
    assert_int_equal(run_graph(graph, batch, x, 0, y), count);
    assert_close_f32(y, expected, clq_test_shape_of((size_t)count), 1e-5, 1e-5);
    assert_ok(clq_onnx_save(graph, clq_test_temp_path("form.onnx")));
    assert_ok(clq_onnx_load(clq_test_temp_path("form.onnx"), &again));
    assert_int_equal(run_graph(again, batch, x, 0, y), count);
    assert_close_f32(y, expected, clq_test_shape_of((size_t)count), 1e-5, 1e-5);
    clq_graph_destroy(again);
    clq_graph_destroy(graph);
}

static inline make_model *start(int rank, const int64_t *dim) {
    make_model *m = make_start();
    m->inputs[0] = make_info(m, "x", rank, dim);
    return m;
}

/* Kernels that others test: their self-tests would take longer than what is tested here. */
static inline int open_device(void **state) {
    setenv("CLQUANT_SELFTEST", "off", 1);
    assert_int_equal(clq_test_setup_temp_dir(state), 0);
    assert_ok(clq_test_open(NULL, &device));
    return 0;
}

static inline int close_device(void **state) {
    clq_device_close(device);
    return clq_test_teardown_temp_dir(state);
}

#endif
