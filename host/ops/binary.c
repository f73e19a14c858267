/* add, sub, mul, div, min, max, pow: y = act(a op b), with broadcasting. */
#include "ops/binary.h"

#include "graph/node.h"
#include "graph/shape.h"
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/reduction.h"
#include "ops/shape_rules.h"

static const clq_op *const operators[CLQ_BINARY_COUNT] = {
    [CLQ_BINARY_ADD] = &clq_op_add, [CLQ_BINARY_SUB] = &clq_op_sub, [CLQ_BINARY_MUL] = &clq_op_mul,
    [CLQ_BINARY_DIV] = &clq_op_div, [CLQ_BINARY_MIN] = &clq_op_min, [CLQ_BINARY_MAX] = &clq_op_max,
    [CLQ_BINARY_POW] = &clq_op_pow,
};

clq_binary clq_binary_of(const clq_op *op) {
    int kind = 0;
    while (kind < CLQ_BINARY_COUNT && operators[kind] != op) {
        kind++;
    }
    return (clq_binary)kind;
}

/* ---- shapes ---- */

static clq_status check_operand(const clq_graph *graph, const clq_node *node, int input) {
    const clq_value *value = &graph->values[node->inputs[input]];
    if (!clq_is_constant(value)) {
        return clq_want_activation(graph, node, input, 2, CLQ_MAX_RANK);
    }
    if (value->kind == CLQ_VALUE_STATE) {
        return clq_op_broken(node,
                             "input %d is the state \"%.100s\", must be an activation or a "
                             "parameter",
                             input, value->name);
    }
    if (value->dtype != CLQ_F32 && value->dtype != CLQ_S8) {
        return clq_op_broken(node, "the constant \"%.100s\" must be F32 or S8", value->name);
    }
    return value->q.count <= 1 ? CLQ_OK
                               : clq_op_broken(node,
                                               "the constant \"%.100s\" has %lld scales, "
                                               "must have one",
                                               value->name, (long long)value->q.count);
}

static clq_status cannot_meet(const clq_node *node, const clq_shape *a, const clq_shape *b,
                              const char *why) {
    char a_text[CLQ_SHAPE_TEXT_SIZE], b_text[CLQ_SHAPE_TEXT_SIZE];
    clq_shape_text(a, a_text, sizeof a_text);
    clq_shape_text(b, b_text, sizeof b_text);
    return clq_op_broken(node, "operands of shape %s and %s %s", a_text, b_text, why);
}

static bool is_act(clq_act act) {
    return (unsigned)act <= CLQ_ACT_RELU6;
}

static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_value *value[2];
    int rank = 0;
    for (int k = 0; k < 2; k++) {
        CLQ_TRY(check_operand(graph, node, k));
        value[k] = &graph->values[node->inputs[k]];
        if (!clq_is_constant(value[k]) && value[k]->shape.rank > rank) {
            rank = value[k]->shape.rank;
        }
    }
    const clq_shape *a = &value[0]->shape, *b = &value[1]->shape;
    const bool constant[2] = {clq_is_constant(value[0]), clq_is_constant(value[1])};
    if (constant[0] && constant[1]) {
        return clq_op_broken(node, "both operands are constants");
    }
    if (a->rank > rank || b->rank > rank) {
        return cannot_meet(node, a, b, "do not meet: the constant has more axes");
    }
    if (!is_act(*node->op->act(node->attrs))) {
        return clq_op_broken(node, "fused activation %d is unknown",
                             (int)*node->op->act(node->attrs));
    }
    *output = (clq_shape){.rank = rank};
    for (int axis = 0; axis < rank; axis++) {
        const int64_t da = clq_broadcast_dim(a, constant[0], rank, axis);
        const int64_t db = clq_broadcast_dim(b, constant[1], rank, axis);
        if (da != db && da != 1 && db != 1) {
            return cannot_meet(node, a, b, "do not meet: dimensions must be equal or 1");
        }
        output->dim[axis] = da > db ? da : db;
        if (axis == 0 && ((constant[0] && da > db) || (constant[1] && db > da))) {
            return cannot_meet(node, a, b, "do not meet: the constant would change the batch");
        }
    }
    return CLQ_OK;
}

bool clq_operand_is_whole(const clq_op_run *run, int input) {
    return clq_shape_count(&run->in[input].shape) == clq_shape_count(&run->out.shape);
}

/* ---- reals ---- */

#define OPTIONS(KIND)                                                                              \
    {                                                                                              \
        "-DCLQ_BINARY=" KIND, "-DCLQ_BINARY=" KIND " -DCLQ_REQUANT=1",                             \
            "-DCLQ_BINARY=" KIND " -DCLQ_REQUANT=2"                                                \
    }

const char *clq_binary_options(clq_binary kind, clq_requantizer requantizer) {
    static const char *const options[CLQ_BINARY_COUNT][CLQ_REQUANT_COUNT] = {
        [CLQ_BINARY_ADD] = {NULL, "-DCLQ_REQUANT=1", "-DCLQ_REQUANT=2"},
        [CLQ_BINARY_SUB] = OPTIONS("1"),
        [CLQ_BINARY_MUL] = OPTIONS("2"),
        [CLQ_BINARY_DIV] = OPTIONS("3"),
        [CLQ_BINARY_MIN] = OPTIONS("4"),
        [CLQ_BINARY_MAX] = OPTIONS("5"),
        [CLQ_BINARY_POW] = OPTIONS("6"),
    };
    return options[kind][requantizer];
}

enum { PAIR_GRAIN = 4096 }; /* elements an item handles at least */

static clq_act act_of(const clq_op_run *run) {
    return *run->node->op->act(run->node->attrs);
}

static const char *options_of(const clq_op_run *run) {
    return clq_binary_options(clq_binary_of(run->node->op), CLQ_REQUANT_FLOAT);
}

static bool adds_whole(const clq_op_run *run) {
    return run->node->op == &clq_op_add && clq_operand_is_whole(run, 0) &&
           clq_operand_is_whole(run, 1);
}

static clq_status forward(clq_op_run *run) {
    static const char *const add_kernels[] = {
        [CLQ_ACT_NONE] = "add_f32",
        [CLQ_ACT_RELU] = "add_relu_f32",
        [CLQ_ACT_RELU6] = "add_relu6_f32",
    };
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    clq_broadcast shape;
    if (adds_whole(run)) {
        return clq_elementwise(run->device, add_kernels[act_of(run)], run->in[0].buffer,
                               run->in[1].buffer, run->out.buffer, count);
    }
    clq_broadcast_make(&run->out, &run->in[0], &run->in[1], &shape);
    CLQ_TRY(clq_kernel_get(run->device, "binary_f32", options_of(run), &kernel));
    return CLQ_LAUNCH(run->device, kernel,
                      CLQ_RANGE1(clq_work_items(run->device, count, PAIR_GRAIN)),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                      CLQ_BUF(run->out.buffer), CLQ_I32(act_of(run)), CLQ_BROADCAST(shape));
}

/* ---- gradients ---- */

static bool wants_sum(const clq_op_run *run, int input) {
    return run->grad_in[input].buffer != NULL && !clq_operand_is_whole(run, input);
}

static size_t bytes_of(const clq_tensor *tensor) {
    return (size_t)clq_shape_count(&tensor->shape) * sizeof(float);
}

clq_status clq_binary_reserve(const clq_op_run *run) {
    for (int k = 0; k < 2; k++) {
        if (wants_sum(run, k)) {
            CLQ_TRY(clq_scratch_reserve(run->device, bytes_of(&run->out) + bytes_of(&run->in[k])));
        }
    }
    return CLQ_OK;
}

clq_status clq_binary_gradients(const clq_op_run *run, clq_buffer *da, bool add_to_a,
                                clq_buffer *db, bool add_to_b) {
    const int64_t count = clq_shape_count(&run->out.shape);
    clq_kernel *kernel = NULL;
    clq_broadcast shape;
    clq_broadcast_make(&run->out, &run->in[0], &run->in[1], &shape);
    CLQ_TRY(clq_kernel_get(run->device, "binary_grad_f32", options_of(run), &kernel));
    return CLQ_LAUNCH(run->device, kernel,
                      CLQ_RANGE1(clq_work_items(run->device, count, PAIR_GRAIN)),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->in[1].buffer),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(da), CLQ_BUF(db), CLQ_I32(add_to_a),
                      CLQ_I32(add_to_b), CLQ_I32(da != NULL && da == db), CLQ_BROADCAST(shape));
}

/* Sums `from`, of the output's shape, over what the operand was broadcast to. */
static clq_status sum_gradient(const clq_op_run *run, int input, clq_buffer *from) {
    const clq_reduction sums =
        clq_reduction_of(&run->out, clq_broadcast_axes(&run->out, &run->in[input]));
    clq_buffer *to = run->grad_in[input].buffer, *sum = NULL;
    if (!run->accumulate[input]) {
        return clq_reduce_sum(run->device, &sums, from, NULL, to, CLQ_TERM_X, CLQ_FINISH_NONE);
    }
    CLQ_TRY(clq_scratch_take(run->device, bytes_of(&run->in[input]), &sum));
    clq_status status =
        clq_reduce_sum(run->device, &sums, from, NULL, sum, CLQ_TERM_X, CLQ_FINISH_NONE);
    if (status == CLQ_OK) {
        status =
            clq_copy_or_add(run->device, sum, to, clq_shape_count(&run->in[input].shape), true);
    }
    clq_buffer_release(sum);
    return status;
}

static clq_status summed_gradient(const clq_op_run *run, int input,
                                  clq_whole_gradients whole_gradients) {
    clq_buffer *whole = NULL;
    if (run->node->op == &clq_op_add) {
        return sum_gradient(run, input, run->grad_out.buffer);
    }
    CLQ_TRY(clq_scratch_take(run->device, bytes_of(&run->out), &whole));
    clq_status status =
        whole_gradients(run, input == 0 ? whole : NULL, false, input == 1 ? whole : NULL, false);
    if (status == CLQ_OK) {
        status = sum_gradient(run, input, whole);
    }
    clq_buffer_release(whole);
    return status;
}

/* Those that are sums come first: one of the others may lie in the memory of the output's. */
clq_status clq_binary_backward(const clq_op_run *run, clq_whole_gradients whole_gradients) {
    clq_buffer *whole[2] = {NULL, NULL};
    for (int k = 0; k < 2; k++) {
        if (wants_sum(run, k)) {
            CLQ_TRY(summed_gradient(run, k, whole_gradients));
        } else {
            whole[k] = run->grad_in[k].buffer;
        }
    }
    if (run->node->op != &clq_op_add) {
        return whole[0] || whole[1] ? whole_gradients(run, whole[0], run->accumulate[0], whole[1],
                                                      run->accumulate[1])
                                    : CLQ_OK;
    }
    for (int k = 0; k < 2; k++) {
        if (whole[k] != NULL) {
            CLQ_TRY(clq_copy_or_add(run->device, run->grad_out.buffer, whole[k],
                                    clq_shape_count(&run->out.shape), run->accumulate[k]));
        }
    }
    return CLQ_OK;
}

static clq_status prepare(clq_op_run *run) {
    return run->mode == CLQ_EXEC_TRAIN ? clq_binary_reserve(run) : CLQ_OK;
}

static clq_status backward(clq_op_run *run) {
    CLQ_TRY(clq_act_gradient(run->device, act_of(run), run->out.buffer, run->grad_out.buffer,
                             clq_shape_count(&run->out.shape)));
    return clq_binary_backward(run, clq_binary_gradients);
}

static clq_act *binary_act(void *attrs) {
    return &((clq_binary_attrs *)attrs)->act;
}

static clq_act *add_act(void *attrs) {
    return &((clq_add_attrs *)attrs)->act;
}

#define DEFINE_BINARY(NAME, ATTRS, ACT, READS, QUANTIZED)                                          \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = sizeof(ATTRS),                                                               \
        .min_inputs = 2,                                                                           \
        .max_inputs = 2,                                                                           \
        .infer = infer,                                                                            \
        .prepare = prepare,                                                                        \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .flags = CLQ_OP_IN_PLACE | CLQ_OP_ANY_ZERO,                                                \
        .backward_reads = (READS),                                                                 \
        .quantized = (QUANTIZED),                                                                  \
        .act = (ACT),                                                                              \
    }

DEFINE_BINARY(add, clq_add_attrs, add_act, 0, &clq_add_quantized);
DEFINE_BINARY(sub, clq_binary_attrs, binary_act, 0, &clq_add_quantized);
DEFINE_BINARY(mul, clq_binary_attrs, binary_act, CLQ_READS_INPUT, &clq_binary_quantized);
DEFINE_BINARY(div, clq_binary_attrs, binary_act, CLQ_READS_INPUT, NULL);
DEFINE_BINARY(min, clq_binary_attrs, binary_act, CLQ_READS_INPUT, &clq_binary_quantized);
DEFINE_BINARY(max, clq_binary_attrs, binary_act, CLQ_READS_INPUT, &clq_binary_quantized);
DEFINE_BINARY(pow, clq_binary_attrs, binary_act, CLQ_READS_INPUT, NULL);
