/* Parameters on the device: layout, transfer, failures. */
#include <string.h>

#include "exec/small_net.h"

static void test_layout(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    const size_t align = clq_device_get_info(test_device)->base_alignment / sizeof(float);
    clq_params *params = NULL;
    size_t end = 0;
    assert_ok(clq_params_create(test_device, graph, true, &params));
    float *flat = read_floats(clq_params_flat(params));
    float *gradient = read_floats(clq_params_flat_gradient(params));
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        const size_t count = (size_t)clq_shape_count(&value->shape);
        if (value->kind != CLQ_VALUE_PARAMETER) {
            assert_null(clq_params_gradient(params, v));
            assert_true((clq_params_value(params, v) != NULL) == (value->kind == CLQ_VALUE_STATE));
            continue;
        }
        const size_t offset = clq_params_offset(params, v);
        assert_int_equal(offset % align, 0);
        assert_true(offset >= end);
        for (; end < offset; end++) {
            assert_true(flat[end] == 0);
        }
        assert_memory_equal(flat + offset, value->data, count * sizeof(float));
        assert_int_equal(clq_buffer_size(clq_params_gradient(params, v)), count * sizeof(float));
        end = offset + count;
    }
    assert_true(end <= clq_params_count(params));
    for (size_t i = 0; i < clq_params_count(params); i++) {
        assert_true(gradient[i] == 0);
    }
    assert_null(clq_params_value(params, -1));
    assert_null(clq_params_value(params, graph->value_count));
    free(flat), free(gradient);
    clq_params_destroy(params);
    clq_graph_destroy(graph);
}

static void test_transfer(void **state) {
    (void)state;
    clq_graph *graph = residual_net('A', "relu");
    const int weight = clq_graph_find_value(graph, "fc.weight");
    const int mean = clq_graph_find_value(graph, "stem_bn.running_mean");
    float *w = graph->values[weight].data, *m = graph->values[mean].data;
    clq_params *params = NULL;
    assert_ok(clq_params_create(test_device, graph, false, &params));
    assert_null(clq_params_flat_gradient(params));
    const float w0 = w[3], m0 = m[3];
    w[3] = m[3] = 77;
    assert_ok(clq_params_upload(params));
    w[3] = w0;
    m[3] = m0;
    assert_ok(clq_params_download(params));
    assert_true(w[3] == 77 && m[3] == 77);
    clq_params_destroy(params);
    clq_params_destroy(NULL);
    clq_graph_destroy(graph);
}

/* Every allocation failing in turn, of the parameters and of a training executor. */
static void test_out_of_memory(void **state) {
    (void)state;
    clq_graph *graph = residual_net('B', "relu");
    clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = 2};
    clq_exec_destroy(make_exec(graph, options)); /* builds the kernels */
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; status != CLQ_OK; n++) {
        clq_exec *exec = NULL;
        clq_test_fail_allocation(n);
        status = clq_exec_create(test_device, graph, &options, &exec);
        if (status != CLQ_OK) {
            assert_int_equal(status, CLQ_NO_MEMORY);
            assert_null(exec);
        }
        clq_exec_destroy(exec);
        clq_test_restore_allocator();
    }
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_transfer),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, open_own_schedule, close_device);
}
