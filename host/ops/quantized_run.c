#include "ops/quantized_run.h"

#include <limits.h>

#include "kernels/include/scales.h"
#include "ops/binary.h"
#include "ops/multiplier.h"
#include "ops/registry.h"

enum { CODE_GRAIN = 4096 }; /* codes an item handles at least */

clq_status clq_check_codes(const clq_op_run *run, bool output_too) {
    for (int i = 0; i < run->node->input_count; i++) {
        const clq_value *value = run->in[i].value;
        if (value != NULL && value->data == NULL && value->q.count == 0) {
            return clq_fail(CLQ_USAGE, "reads \"%s\", which is not quantized", value->name);
        }
    }
    const clq_value *output = &run->graph->values[run->node->output];
    if (output_too && output->q.count == 0) {
        return clq_fail(CLQ_USAGE, "its output is not quantized, which %s cannot do",
                        run->node->op->name);
    }
    return CLQ_OK;
}

clq_status clq_check_shared(const clq_op_run *run) {
    if (!clq_same_codes(run->in[0].value, run->out.value)) {
        return clq_fail(CLQ_USAGE, "%s keeps codes, but \"%s\" and \"%s\" differ in qparams",
                        run->node->op->name, run->in[0].value->name, run->out.value->name);
    }
    return CLQ_OK;
}

static clq_status check_reduction(clq_requantizer requantizer, const clq_value *x,
                                  const clq_value *y, const clq_node *node) {
    const clq_reduce_attrs *attrs = node->attrs;
    int64_t count = 1;
    int32_t unused[2];
    for (int i = 0; i < x->shape.rank; i++) {
        count *= attrs->axes >> i & 1 ? x->shape.dim[i] : 1;
    }
    if (count > INT_MAX / 255) {
        return clq_fail(CLQ_BAD_DATA, "a sum of %lld codes may leave 32 bits", (long long)count);
    }
    return clq_multiplier_mean(requantizer, x->q.scale[0], y->q.scale[0],
                               node->op == &clq_op_reduce_mean ? (int)count : 1, unused);
}

clq_status clq_check_factors(const clq_graph *graph, const clq_node *node) {
    const clq_requantizer requantizer = clq_graph_requantizer(graph);
    const clq_value *x = &graph->values[node->inputs[0]], *y = &graph->values[node->output];
    if (x->q.count == 0 || y->q.count == 0) {
        return CLQ_OK;
    }
    if (clq_binary_of(node->op) != CLQ_BINARY_COUNT) {
        const clq_value *other = &graph->values[node->inputs[1]];
        int32_t unused[4];
        return other->q.count > 0
                   ? clq_binary_factors(clq_binary_of(node->op), requantizer, x->q.scale[0],
                                        other->q.scale[0], y->q.scale[0], unused)
                   : CLQ_OK;
    }
    if (node->op == &clq_op_reduce_sum || node->op == &clq_op_reduce_mean) {
        return check_reduction(requantizer, x, y, node);
    }
    if (node->op == &clq_op_avg_pool || node->op == &clq_op_global_avg_pool) {
        const clq_pool_attrs *attrs = node->attrs;
        const int64_t count = node->op == &clq_op_avg_pool
                                  ? (int64_t)attrs->kernel[0] * attrs->kernel[1]
                                  : x->shape.dim[1] * x->shape.dim[2];
        int32_t unused[2];
        return clq_multiplier_mean(requantizer, x->q.scale[0], y->q.scale[0],
                                   (int)(count < INT_MAX ? count : INT_MAX), unused);
    }
    return CLQ_OK;
}

clq_range clq_codes_range(const clq_device *device, int64_t count) {
    return CLQ_RANGE1(clq_work_items(device, count, CODE_GRAIN));
}

clq_range clq_observing_range(const clq_device *device, int64_t count) {
    enum { GROUP = 128, MAX_GROUPS = 512 };
    if (clq_device_get_info(device)->schedule == CLQ_SCHEDULE_CPU) {
        return clq_codes_range(device, count);
    }
    const int64_t groups = (count + GROUP - 1) / GROUP;
    return (clq_range){
        1, {(size_t)(groups < MAX_GROUPS ? groups : MAX_GROUPS) * GROUP, 1, 1}, {GROUP, 1, 1}};
}

clq_status clq_kept_create(const clq_op_run *run, clq_buffer **kept) {
    const bool learned = clq_is_learned(run->qstate, run->graph, run->out.value);
    return clq_buffer_create(
        run->device, (size_t)clq_shape_count(&run->out.shape) * (learned ? sizeof(float) : 1),
        kept);
}

clq_status clq_pass_gradient(const clq_op_run *run, clq_buffer *kept) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    if (clq_is_learned(run->qstate, run->graph, run->out.value)) {
        return clq_learned_gradient(run, kept, false);
    }
    CLQ_TRY(clq_kernel_get(run->device, "mask_gradient", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(kept),
                      CLQ_BUF(run->grad_out.buffer), CLQ_I32(count));
}

static clq_op_run as_real(const clq_op_run *run, void *state) {
    clq_op_run real = *run;
    real.mode = run->mode == CLQ_EXEC_QAT ? CLQ_EXEC_TRAIN : CLQ_EXEC_FLOAT;
    real.state = state;
    return real;
}

clq_status clq_call_real(const clq_op_run *run, clq_status (*function)(clq_op_run *),
                         void **state) {
    if (function == NULL) {
        return CLQ_OK;
    }
    clq_op_run real = as_real(run, *state);
    const clq_status status = function(&real);
    *state = real.state;
    return status;
}

void clq_release_real(const clq_op_run *run, void *state) {
    if (run->node->op->release != NULL) {
        clq_op_run real = as_real(run, state);
        run->node->op->release(&real);
    }
}

int32_t clq_code_byte(const clq_value *value, int32_t code) {
    return code + CLQ_BYTE_OFFSET(clq_qtype_get(value->q.type)->lowest);
}

clq_int8_range clq_int8_range_of(const clq_value *value, clq_act act) {
    const clq_qtype_info *type = clq_qtype_get(value->q.type);
    const clq_qparams *q = &value->q;
    int32_t low = type->lowest, high = type->highest;
    if (act != CLQ_ACT_NONE) {
        low = q->zero_point;
    }
    if (act == CLQ_ACT_RELU6) {
        high =
            (int32_t)clq_relu6_code(q->scale[0], (float)q->zero_point, type->lowest, type->highest);
    }
    return (clq_int8_range){q->scale[0], clq_code_byte(value, q->zero_point),
                            clq_code_byte(value, low), clq_code_byte(value, high)};
}

int clq_channels(const clq_tensor *tensor) {
    return (int)tensor->shape.dim[tensor->shape.rank - 1];
}

int64_t clq_pixels(const clq_tensor *tensor) {
    return clq_shape_count(&tensor->shape) / clq_channels(tensor);
}
