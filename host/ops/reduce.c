/* reduce_*: y = a sum, mean, extreme, ... of x over some stored axes; arg_max, arg_min: where an
 * extreme is. */
#include "ops/quantized.h"
#include "ops/reduction.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

/* kernels/f32/reduce.cl */
typedef enum reduce_grad {
    GRAD_SUM,
    GRAD_MEAN,
    GRAD_ABS,
    GRAD_SQUARE,
    GRAD_ROOT,
    GRAD_LOG_EXP,
    GRAD_EXTREME
} reduce_grad;

enum { MAX_INDEX = 1 << 24 }; /* a float counts so far */

/* ---- shapes ---- */

static clq_status infer_axes(const clq_graph *graph, const clq_node *node, unsigned axes, bool keep,
                             clq_shape *output) {
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    if (axes == 0 || axes >> x->rank != 0) {
        return clq_op_broken(node, "axes (bits %#x) must be some of the input's %d", axes, x->rank);
    }
    *output = (clq_shape){.rank = 0};
    for (int i = 0; i < x->rank; i++) {
        const bool reduced = (axes >> i & 1) != 0;
        if (!reduced || keep) {
            output->dim[output->rank++] = reduced ? 1 : x->dim[i];
        }
    }
    if (output->rank < 2) {
        return clq_op_broken(node, "%d axes are left: it must keep more", output->rank);
    }
    return CLQ_OK;
}

static clq_status reduce_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_reduce_attrs *attrs = node->attrs;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    return infer_axes(graph, node, attrs->axes, attrs->keep, output);
}

static clq_status arg_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_arg_attrs *attrs = node->attrs;
    const clq_shape *x = &graph->values[node->inputs[0]].shape;
    CLQ_TRY(clq_want_activation(graph, node, 0, 2, CLQ_MAX_RANK));
    if (attrs->axis < 0 || attrs->axis >= x->rank) {
        return clq_op_broken(node, "axis %d must be one of the input's %d", attrs->axis, x->rank);
    }
    if (x->dim[attrs->axis] > MAX_INDEX) {
        return clq_op_broken(node, "axis %d has %lld elements, a float counts up to 2^24",
                             attrs->axis, (long long)x->dim[attrs->axis]);
    }
    return infer_axes(graph, node, 1u << attrs->axis, attrs->keep, output);
}

static bool reduce_fixes_batch(const clq_graph *graph, const clq_node *node) {
    const clq_reduce_attrs *attrs = node->attrs;
    (void)graph;
    return (attrs->axes & 1) != 0;
}

static bool arg_fixes_batch(const clq_graph *graph, const clq_node *node) {
    const clq_arg_attrs *attrs = node->attrs;
    (void)graph;
    return attrs->axis == 0;
}

static clq_reduction rows_of(const clq_op_run *run) {
    const clq_reduce_attrs *attrs = run->node->attrs;
    return clq_reduction_of(&run->in[0], attrs->axes);
}

/* ---- launches ---- */

static clq_status arg_max(const clq_op_run *run, const clq_reduction *r, clq_buffer *index,
                          float sign, bool last) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "arg_max_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, r),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(index), CLQ_F32(sign), CLQ_I32(last),
                      CLQ_REDUCTION(*r));
}

/* Of x and y the kind takes what it reads; index NULL unless it is an extreme. */
static clq_status gradient(const clq_op_run *run, reduce_grad kind, clq_buffer *index) {
    const clq_reduction r = rows_of(run);
    const int reads = run->node->op->backward_reads;
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "reduce_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &r),
                      CLQ_BUF(reads & CLQ_READS_INPUT ? run->in[0].buffer : NULL),
                      CLQ_BUF(reads & CLQ_READS_OUTPUT ? run->out.buffer : NULL), CLQ_BUF(index),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->grad_in[0].buffer), CLQ_I32(kind),
                      CLQ_I32(run->accumulate[0]), CLQ_REDUCTION(r));
}

/* ---- operators of one sum ---- */

#define SUM_OPERATOR(NAME, TERM, FINISH, GRAD, READS, QUANTIZED)                                   \
    static clq_status NAME##_forward(clq_op_run *run) {                                            \
        const clq_reduction r = rows_of(run);                                                      \
        return clq_reduce_sum(run->device, &r, run->in[0].buffer, NULL, run->out.buffer, TERM,     \
                              FINISH);                                                             \
    }                                                                                              \
    static clq_status NAME##_backward(clq_op_run *run) {                                           \
        return gradient(run, GRAD, NULL);                                                          \
    }                                                                                              \
    const clq_op clq_op_reduce_##NAME = {                                                          \
        .name = "reduce_" #NAME,                                                                   \
        .attrs_size = sizeof(clq_reduce_attrs),                                                    \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = reduce_infer,                                                                     \
        .fixes_batch = reduce_fixes_batch,                                                         \
        .forward = NAME##_forward,                                                                 \
        .backward = NAME##_backward,                                                               \
        .backward_reads = READS,                                                                   \
        .quantized = QUANTIZED,                                                                    \
    };

SUM_OPERATOR(sum, CLQ_TERM_X, CLQ_FINISH_NONE, GRAD_SUM, 0, &clq_reduce_sum_quantized)
SUM_OPERATOR(mean, CLQ_TERM_X, CLQ_FINISH_MEAN, GRAD_MEAN, 0, &clq_reduce_sum_quantized)
SUM_OPERATOR(l1, CLQ_TERM_ABS, CLQ_FINISH_NONE, GRAD_ABS, CLQ_READS_INPUT, NULL)
SUM_OPERATOR(l2, CLQ_TERM_SQUARE, CLQ_FINISH_ROOT, GRAD_ROOT, CLQ_READS_INPUT | CLQ_READS_OUTPUT,
             NULL)
SUM_OPERATOR(sum_square, CLQ_TERM_SQUARE, CLQ_FINISH_NONE, GRAD_SQUARE, CLQ_READS_INPUT, NULL)

/* ---- log(sum exp(x)); y is the largest first ---- */

static clq_status log_sum_exp_forward(clq_op_run *run) {
    const clq_reduction r = rows_of(run);
    clq_buffer *x = run->in[0].buffer, *y = run->out.buffer;
    CLQ_TRY(clq_reduce_largest(run->device, &r, x, y, 1));
    return clq_reduce_exp(run->device, &r, x, y, y, true);
}

static clq_status log_sum_exp_backward(clq_op_run *run) {
    return gradient(run, GRAD_LOG_EXP, NULL);
}

const clq_op clq_op_reduce_log_sum_exp = {
    .name = "reduce_log_sum_exp",
    .attrs_size = sizeof(clq_reduce_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = reduce_infer,
    .fixes_batch = reduce_fixes_batch,
    .forward = log_sum_exp_forward,
    .backward = log_sum_exp_backward,
    .backward_reads = CLQ_READS_INPUT | CLQ_READS_OUTPUT,
};

/* ---- products ---- */

static clq_status prod_forward(clq_op_run *run) {
    const clq_reduction r = rows_of(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "reduce_prod_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &r),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), CLQ_REDUCTION(r));
}

static clq_status prod_backward(clq_op_run *run) {
    const clq_reduction r = rows_of(run);
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "reduce_prod_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_reduction_range(run->device, &r),
                      CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->grad_out.buffer),
                      CLQ_BUF(run->grad_in[0].buffer), CLQ_I32(run->accumulate[0]),
                      CLQ_REDUCTION(r));
}

const clq_op clq_op_reduce_prod = {
    .name = "reduce_prod",
    .attrs_size = sizeof(clq_reduce_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = reduce_infer,
    .fixes_batch = reduce_fixes_batch,
    .forward = prod_forward,
    .backward = prod_backward,
    .backward_reads = CLQ_READS_INPUT,
};

/* ---- extremes; when training, run->state is the buffer of their places, F32 (rows) ---- */

static float sign_of(const clq_op_run *run) {
    const clq_op *op = run->node->op;
    return op == &clq_op_reduce_min || op == &clq_op_arg_min ? -1.0f : 1.0f;
}

static clq_status extreme_prepare(clq_op_run *run) {
    const clq_reduction r = rows_of(run);
    if (run->mode != CLQ_EXEC_TRAIN) {
        return CLQ_OK;
    }
    if (r.row > MAX_INDEX) {
        return clq_fail(CLQ_USAGE, "%lld elements are too many to train %s over", (long long)r.row,
                        run->node->op->name);
    }
    clq_buffer *places = NULL;
    CLQ_TRY(clq_buffer_create(run->device, (size_t)r.rows * sizeof(float), &places));
    run->state = places;
    return CLQ_OK;
}

static void extreme_release(clq_op_run *run) {
    clq_buffer_release(run->state);
}

static clq_status extreme_forward(clq_op_run *run) {
    const clq_reduction r = rows_of(run);
    if (run->state != NULL) {
        CLQ_TRY(arg_max(run, &r, run->state, sign_of(run), false));
    }
    return clq_reduce_largest(run->device, &r, run->in[0].buffer, run->out.buffer, sign_of(run));
}

static clq_status extreme_backward(clq_op_run *run) {
    return gradient(run, GRAD_EXTREME, run->state);
}

#define EXTREME_OPERATOR(NAME)                                                                     \
    const clq_op clq_op_reduce_##NAME = {                                                          \
        .name = "reduce_" #NAME,                                                                   \
        .attrs_size = sizeof(clq_reduce_attrs),                                                    \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = reduce_infer,                                                                     \
        .fixes_batch = reduce_fixes_batch,                                                         \
        .prepare = extreme_prepare,                                                                \
        .forward = extreme_forward,                                                                \
        .backward = extreme_backward,                                                              \
        .release = extreme_release,                                                                \
        .quantized = &clq_reduce_extreme_quantized,                                                \
        .output_shares_qparams = true,                                                             \
    };
EXTREME_OPERATOR(max)
EXTREME_OPERATOR(min)

/* ---- their places, which have no gradient ---- */

static clq_status arg_forward(clq_op_run *run) {
    const clq_arg_attrs *attrs = run->node->attrs;
    const clq_reduction r = clq_reduction_of(&run->in[0], 1u << attrs->axis);
    return arg_max(run, &r, run->out.buffer, sign_of(run), attrs->last);
}

#define ARG_OPERATOR(NAME)                                                                         \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = sizeof(clq_arg_attrs),                                                       \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = arg_infer,                                                                        \
        .fixes_batch = arg_fixes_batch,                                                            \
        .forward = arg_forward,                                                                    \
    };
ARG_OPERATOR(arg_max)
ARG_OPERATOR(arg_min)
