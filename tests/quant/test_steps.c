/* Levels of weights that are powers of two or sums of two of them are levels, and the networks with
 * them are integer networks like others. */
#include "quant/steps.h"

#include <math.h>
#include <string.h>

#include "graph/codes.h"
#include "ops/layer.h"
#include "quant/internal.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 13, IMAGES = 11, BATCH = 4 };

static void levels(void **state) {
    (void)state;
    static const struct {
        clq_weight_steps steps;
        float weight;
        int level;
    } cases[] = {
        {CLQ_STEPS_POW2, 0.4f, 0}, {CLQ_STEPS_POW2, 0.6f, 1},   {CLQ_STEPS_POW2, -3.1f, -4},
        {CLQ_STEPS_POW2, 47, 32},  {CLQ_STEPS_POW2, 49, 64},    {CLQ_STEPS_POW2, 1e9f, 64},
        {CLQ_STEPS_APOT, 4.9f, 4}, {CLQ_STEPS_APOT, -5.1f, -6}, {CLQ_STEPS_APOT, 7.1f, 8},
        {CLQ_STEPS_APOT, 8.9f, 8}, {CLQ_STEPS_APOT, 12, 10},    {CLQ_STEPS_APOT, 3, 3},
        {CLQ_STEPS_APOT, 5, 4},    {CLQ_STEPS_POW2, -48, -32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(clq_nearest_level(cases[i].steps, cases[i].weight), cases[i].level);
    }
    /* Sums of one of 0, 1/2, 1/4, 1/16 and one of 0, 1/8, times 16. */
    static const int a[] = {0, 8, 4, 1}, b[] = {0, 2};
    for (int i = 0; i < 8; i++) {
        const int sum = a[i / 2] + b[i % 2];
        assert_int_equal(clq_nearest_level(CLQ_STEPS_APOT, (float)sum), sum);
    }
}

/* Codes are levels, channels have the largest one, and simulation and integer network agree. */
static void networks(void **state) {
    (void)state;
    for (int steps = CLQ_STEPS_POW2; steps < CLQ_STEPS_COUNT; steps++) {
        const clq_network_options options = {.network = "resnet20", .size = SIZE};
        clq_graph *graph = net_folded(net_built(&options)), *integer = NULL;
        clq_quant_config config;
        clq_verification v;
        clq_quant_config_init(&config);
        config.weight_steps = (clq_weight_steps)steps;
        assert_ok(clq_policy_add(&config.policy,
                                 &(clq_policy_rule){.name = "layer*", .weights = CLQ_Q_S4}));
        net_calibrate(test_device, graph, &config, IMAGES, BATCH);
        assert_ok(clq_convert(graph, &integer));
        int leveled = 0, whole = 0;
        for (int n = 0; n < integer->node_count; n++) {
            const clq_node *node = &integer->nodes[n];
            int8_t *codes = NULL;
            if (!clq_is_layer(node) || strncmp(node->name, "layer", 5) != 0) {
                continue;
            }
            const clq_value *w = &integer->values[node->inputs[CLQ_LAYER_W]];
            const int64_t each = clq_shape_count(&w->shape) / w->shape.dim[0];
            assert_int_equal(w->q.type, CLQ_Q_S8_NARROW);
            assert_ok(clq_value_codes(w, &codes));
            for (int64_t c = 0; c < w->shape.dim[0]; c++) {
                int largest = 0;
                for (int64_t i = 0; i < each; i++) {
                    const int code = codes[c * each + i];
                    assert_int_equal(clq_nearest_level((clq_weight_steps)steps, (float)code), code);
                    largest = abs(code) > largest ? abs(code) : largest;
                }
                /* but where a bias asked for a larger scale */
                whole += largest == clq_highest_level((clq_weight_steps)steps);
                leveled++;
            }
            clq_free(codes);
        }
        assert_true(leveled > 500 && whole > leveled / 2);
        clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
        assert_ok(net_verify(test_device, integer, data, BATCH, &v));
        assert_int_equal(v.mismatched_codes, 0);
        clq_verification_clear(&v);
        clq_dataset_close(data);
        clq_graph_destroy(integer);
        clq_graph_destroy(graph);
    }
}

/* Levels are asked for, and no layer has weights of 4 bits. */
static void nobody_has_levels(void **state) {
    (void)state;
    const clq_network_options options = {.network = "resnet20", .size = SIZE};
    clq_graph *graph = net_folded(net_built(&options));
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.weight_steps = CLQ_STEPS_POW2;
    assert_status(clq_set_weight_qparams(&config, graph, NULL, NULL), CLQ_USAGE);
    assert_error_has("weight_steps pow2 gives levels to weights of 4 bits, and no layer has them");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(levels), cmocka_unit_test(networks),
                                       cmocka_unit_test(nobody_has_levels)};
    return cmocka_run_group_tests(tests, open_cpu_schedule, close_device);
}
