/* Learned scales at the least that there is: told, but for channels whose weights say nothing. */
#include <string.h>

#include "kernels/include/scales.h"
#include "ops/layer.h"
#include "quant/internal.h"
#include "quant/learned_scales.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

static char logged[4096];

static void note(void *context, clq_log_level level, const char *line) {
    (void)context;
    if (level == CLQ_LOG_WARN) {
        strncat(logged, line, sizeof logged - strlen(logged) - 1);
    }
}

static clq_node *first_layer(clq_graph *graph) {
    int n = 0;
    while (!clq_is_layer(&graph->nodes[n])) {
        n++;
    }
    return &graph->nodes[n];
}

static clq_value *first_weights(clq_graph *graph) {
    return &graph->values[first_layer(graph)->inputs[CLQ_LAYER_W]];
}

/* Keeps what learning begins with. */
static void store(clq_graph *graph, const clq_quant_config *config) {
    clq_params *params = NULL;
    clq_learned_scales *learned = NULL;
    int *groups = clq_calloc((size_t)graph->value_count, sizeof *groups);
    clq_find_groups(graph, groups);
    assert_ok(clq_learned_create(test_device, graph, config, groups, &params, &learned));
    logged[0] = '\0';
    clq_set_log(note, NULL, CLQ_LOG_WARN);
    const clq_status status = clq_learned_store(learned, config, graph);
    clq_set_log(NULL, NULL, CLQ_LOG_INFO);
    assert_ok(status);
    clq_learned_destroy(learned);
    clq_params_destroy(params);
    clq_free(groups);
}

static void dead_channels_are_no_fault(void **state) {
    (void)state;
    clq_quant_config config;
    clq_graph *graph = net_folded(net_everything(13));
    clq_quant_config_init(&config);
    config.learn_scales = CLQ_LEARN_LSQ;
    clq_value *w = first_weights(graph);
    float *bias = graph->values[first_layer(graph)->inputs[CLQ_LAYER_BIAS]].data;
    bias[0] = bias[1] = 0; /* which scales of weights would have to fit */
    const int64_t row = clq_shape_count(&w->shape) / w->shape.dim[0];
    for (int64_t i = 0; i < row; i++) {
        ((float *)w->data)[i] = 0;
        ((float *)w->data)[row + i] = i % 2 ? 1e-30f : -1e-25f;
    }
    net_calibrate(test_device, graph, &config, 8, 8);
    store(graph, &config);
    w = first_weights(graph);
    assert_true(w->q.scale[0] > 0);
    assert_true(w->q.scale[1] == CLQ_LEAST_SCALE);
    assert_string_equal(logged, "");
    ((float *)w->data)[row] = 0.5f; /* whose code would be far outside */
    store(graph, &config);
    assert_non_null(strstr(logged, "learned scales of 1 value fell to the least there is"));
    assert_non_null(strstr(logged, w->name));
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(dead_channels_are_no_fault)};
    return cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
}
