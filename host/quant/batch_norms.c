/* QAT with batch norms that still learn (Jacob et al., 2018, fold them with the batch's statistics
 * in every step). Per channel and symmetric, quantize(w * factor) = factor * quantize(w) but for
 * the last bits of scales, so that a batch norm behind quantized weights is the same network. */
#include <string.h>

#include <clquant/passes.h>
#include <clquant/quant.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "ops/registry.h"

static bool has_op(const clq_graph *graph, const clq_op *op) {
    for (int n = 0; n < graph->node_count; n++) {
        if (graph->nodes[n].op == op) {
            return true;
        }
    }
    return false;
}

/* Batch norms, and activations that are nodes of their own, are on reals. Of other rules those that
 * mean something here: what is said of a convolution's activations holds for its batch norm's. */
static clq_status keep_real(const clq_policy *rules, const clq_graph *graph, clq_policy *policy) {
    static const clq_op *const reals[] = {&clq_op_batch_norm, &clq_op_relu, &clq_op_relu6};
    policy->count = 0;
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        clq_policy_rule rule = {.keep_float = true};
        strcpy(rule.op, reals[i]->name);
        CLQ_TRY(has_op(graph, reals[i]) ? clq_policy_add(policy, &rule) : CLQ_OK);
    }
    for (int i = 0; i < rules->count; i++) {
        CLQ_TRY(clq_policy_add(policy, &rules->rules[i]));
        policy->count -= clq_policy_check(policy, graph) != CLQ_OK;
    }
    return CLQ_OK;
}

static clq_status check(const clq_graph *trained, const clq_quant_config *config) {
    if (!has_op(trained, &clq_op_batch_norm)) {
        return clq_fail(CLQ_USAGE,
                        "freeze_bn_epoch: graph %s has no batch norms, or they are folded "
                        "already",
                        trained->name);
    }
    if (config->per_tensor_weights || config->scale != CLQ_SCALE_FLOAT) {
        return clq_fail(CLQ_USAGE,
                        "freeze_bn_epoch: batch norms that learn need weights per channel and any "
                        "scale, not per tensor or powers of two");
    }
    return CLQ_OK;
}

clq_status clq_qat_keep_norms(clq_device *device, const clq_graph *trained, clq_feed *feed,
                              int batch, const clq_quant_config *config, clq_quant_config *kept,
                              clq_graph **graph) {
    CLQ_NEEDS(device, trained, feed, config, kept, graph);
    CLQ_NEEDS_ENDS(trained);
    *graph = NULL;
    CLQ_TRY(check(trained, config));
    CLQ_TRY(clq_graph_fold_activations(trained, graph));
    *kept = *config;
    kept->equalize = kept->bias_correct = kept->int8_forward = false;
    kept->adaround = 0;
    kept->learn_scales = CLQ_LEARN_NONE;
    kept->observer = config->observer == CLQ_OBSERVER_ALL ? CLQ_OBSERVER_MIN_MAX : config->observer;
    clq_status status = keep_real(&config->policy, *graph, &kept->policy);
    if (status == CLQ_OK) {
        status = clq_calibrate(device, *graph, feed, batch, kept, NULL);
    }
    if (status != CLQ_OK) {
        clq_graph_destroy(*graph);
        *graph = NULL;
    }
    return status;
}

clq_status clq_qat_fold_norms(const clq_graph *graph, const clq_graph *trained,
                              clq_graph **learnt) {
    CLQ_NEEDS(graph, trained, learnt);
    CLQ_TRY(clq_graph_clone(trained, learnt));
    for (int v = 0; v < (*learnt)->value_count; v++) {
        clq_value *to = &(*learnt)->values[v];
        const int found = clq_graph_find_value(graph, to->name);
        const clq_value *from = found >= 0 ? &graph->values[found] : NULL;
        if (clq_is_constant(to) && from && clq_shape_equal(&from->shape, &to->shape)) {
            memcpy(to->data, from->data,
                   (size_t)clq_shape_count(&to->shape) * clq_dtype_size(to->dtype));
        }
    }
    return CLQ_OK;
}
