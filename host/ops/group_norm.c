/* layer_norm, instance_norm, group_norm: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta,
 * with mean and variance of each image's groups. All are x (outer, pixels, channels) in groups of
 * neighbouring channels, over which and over the pixels the statistics are:
 *
 *   layer_norm      (elements before its axes, 1, elements of them), one group
 *   instance_norm   (N, H W, C), each channel a group
 *   group_norm      (N, H W, C)
 */
#include <limits.h>
#include <math.h>

#include "ops/elementwise.h"
#include "ops/reduction.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { X, GAMMA, BETA };    /* inputs; the last two may be absent */
enum { CELL_GRAIN = 4096 }; /* floats an item handles at least */

typedef struct group_norm {
    int outer, pixels, channels, groups;
    float epsilon;
    clq_reduction rows;          /* a group of an image */
    clq_buffer *mean, *variance; /* (outer, groups) */
} group_norm;

/* ---- shapes ---- */

static clq_status infer_norm(const clq_graph *graph, const clq_node *node, int64_t channels,
                             float epsilon, clq_shape *output) {
    static const char *const roles[] = {"input", "gamma", "beta"};
    /* Written so that NaN fails it. */
    if (!(epsilon >= 0 && isfinite(epsilon))) {
        return clq_op_broken(node, "epsilon %g must be 0 or more", (double)epsilon);
    }
    for (int i = GAMMA; i < node->input_count; i++) {
        if (node->inputs[i] == CLQ_NO_VALUE) {
            continue;
        }
        CLQ_TRY(clq_want_vector(graph, node, i, CLQ_VALUE_PARAMETER, channels, roles[i]));
        if (graph->values[node->inputs[i]].dtype != CLQ_F32) {
            return clq_op_broken(node, "%s must be F32", roles[i]);
        }
    }
    *output = graph->values[node->inputs[X]].shape;
    return CLQ_OK;
}

static int64_t last_elements(const clq_shape *x, int axes) {
    int64_t count = 1;
    for (int i = x->rank - axes; i < x->rank; i++) {
        count *= x->dim[i];
    }
    return count;
}

static clq_status layer_norm_infer(const clq_graph *graph, const clq_node *node,
                                   clq_shape *output) {
    const clq_layer_norm_attrs *attrs = node->attrs;
    const clq_shape *x = &graph->values[node->inputs[X]].shape;
    CLQ_TRY(clq_want_activation(graph, node, X, 2, CLQ_MAX_RANK));
    if (attrs->axes < 1 || attrs->axes >= x->rank) {
        return clq_op_broken(node, "it goes over %d axes, must be 1 to %d: axis 0 is the batch",
                             attrs->axes, x->rank - 1);
    }
    return infer_norm(graph, node, last_elements(x, attrs->axes), attrs->epsilon, output);
}

static clq_status instance_norm_infer(const clq_graph *graph, const clq_node *node,
                                      clq_shape *output) {
    const clq_instance_norm_attrs *attrs = node->attrs;
    const clq_shape *x = &graph->values[node->inputs[X]].shape;
    CLQ_TRY(clq_want_activation(graph, node, X, 3, CLQ_MAX_RANK));
    return infer_norm(graph, node, x->dim[x->rank - 1], attrs->epsilon, output);
}

static clq_status group_norm_infer(const clq_graph *graph, const clq_node *node,
                                   clq_shape *output) {
    const clq_group_norm_attrs *attrs = node->attrs;
    const clq_shape *x = &graph->values[node->inputs[X]].shape;
    CLQ_TRY(clq_want_activation(graph, node, X, 2, CLQ_MAX_RANK));
    const int64_t channels = x->dim[x->rank - 1];
    if (attrs->groups < 1 || channels % attrs->groups != 0) {
        return clq_op_broken(node, "%d groups must divide %lld channels", attrs->groups,
                             (long long)channels);
    }
    return infer_norm(graph, node, channels, attrs->epsilon, output);
}

/* ---- preparing; run->state is the group_norm ---- */

static void lay_out(group_norm *norm, const clq_op_run *run) {
    const clq_op *op = run->node->op;
    const clq_shape *x = &run->in[X].shape;
    const int64_t count = clq_shape_count(x);
    norm->channels = (int)x->dim[x->rank - 1];
    norm->outer = (int)x->dim[0];
    norm->pixels = (int)(count / norm->channels / norm->outer);
    if (op == &clq_op_layer_norm) {
        const clq_layer_norm_attrs *attrs = run->node->attrs;
        norm->channels = (int)last_elements(x, attrs->axes);
        norm->outer = (int)(count / norm->channels);
        norm->pixels = norm->groups = 1;
        norm->epsilon = attrs->epsilon;
    } else if (op == &clq_op_instance_norm) {
        const clq_instance_norm_attrs *attrs = run->node->attrs;
        norm->groups = norm->channels;
        norm->epsilon = attrs->epsilon;
    } else {
        const clq_group_norm_attrs *attrs = run->node->attrs;
        norm->groups = attrs->groups;
        norm->epsilon = attrs->epsilon;
    }
    norm->rows = clq_reduction_of_groups(norm->outer, norm->pixels, norm->channels, norm->groups);
}

/* What backward needs between its launches: the normalized x, g, and their sums. */
static size_t backward_scratch(const clq_op_run *run, const group_norm *norm) {
    return 2 * ((size_t)clq_shape_count(&run->in[X].shape) + (size_t)norm->rows.rows) *
           sizeof(float);
}

static clq_status norm_prepare(clq_op_run *run) {
    group_norm *norm = clq_calloc(1, sizeof *norm);
    if (norm == NULL) {
        return CLQ_NO_MEMORY;
    }
    run->state = norm;
    lay_out(norm, run);
    const size_t bytes = (size_t)norm->rows.rows * sizeof(float);
    CLQ_TRY(clq_buffer_create(run->device, bytes, &norm->mean));
    CLQ_TRY(clq_buffer_create(run->device, bytes, &norm->variance));
    return run->mode == CLQ_EXEC_TRAIN
               ? clq_scratch_reserve(run->device, backward_scratch(run, norm))
               : CLQ_OK;
}

static void norm_release(clq_op_run *run) {
    group_norm *norm = run->state;
    if (norm != NULL) {
        clq_buffer_release(norm->mean);
        clq_buffer_release(norm->variance);
        clq_free(norm);
    }
}

/* ---- running ---- */

static clq_range cells(const clq_op_run *run) {
    return CLQ_RANGE1(clq_work_items(run->device, clq_shape_count(&run->in[X].shape), CELL_GRAIN));
}

#define SHAPE(norm)                                                                                \
    CLQ_I32((norm)->outer), CLQ_I32((norm)->pixels), CLQ_I32((norm)->channels),                    \
        CLQ_I32((norm)->groups)

/* y = (x - mean) / sqrt(variance + epsilon) * gamma + beta, where not NULL. */
static clq_status normalize(const clq_op_run *run, clq_buffer *x, bool center, clq_buffer *gamma,
                            clq_buffer *beta, clq_buffer *y) {
    const group_norm *norm = run->state;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "group_norm_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, cells(run), CLQ_BUF(x),
                      CLQ_BUF(center ? norm->mean : NULL), CLQ_BUF(norm->variance), CLQ_BUF(gamma),
                      CLQ_BUF(beta), CLQ_BUF(y), CLQ_F32(norm->epsilon), SHAPE(norm));
}

static clq_status norm_forward(clq_op_run *run) {
    const group_norm *norm = run->state;
    clq_buffer *x = run->in[X].buffer;
    CLQ_TRY(
        clq_reduce_sum(run->device, &norm->rows, x, NULL, norm->mean, CLQ_TERM_X, CLQ_FINISH_MEAN));
    CLQ_TRY(clq_reduce_sum(run->device, &norm->rows, x, norm->mean, norm->variance, CLQ_TERM_SQUARE,
                           CLQ_FINISH_MEAN));
    return normalize(run, x, true, run->in[GAMMA].buffer, run->in[BETA].buffer, run->out.buffer);
}

/* dgamma = sum of dy * unit, dbeta = sum of dy, over all but the channels. */
static clq_status parameter_gradients(const clq_op_run *run, clq_buffer *unit) {
    const group_norm *norm = run->state;
    const int rows = norm->outer * norm->pixels;
    const clq_tensor flat = {.shape = {2, {rows, norm->channels}}, .pitch = norm->channels};
    const clq_reduction columns = clq_reduction_of(&flat, 1);
    clq_buffer *dy = run->grad_out.buffer;
    if (run->grad_in[GAMMA].buffer != NULL) {
        CLQ_TRY(clq_reduce_dot(run->device, &columns, dy, unit, run->grad_in[GAMMA].buffer));
    }
    return run->grad_in[BETA].buffer == NULL
               ? CLQ_OK
               : clq_reduce_sum(run->device, &columns, dy, NULL, run->grad_in[BETA].buffer,
                                CLQ_TERM_X, CLQ_FINISH_NONE);
}

static clq_status input_gradient(const clq_op_run *run, clq_buffer *unit, clq_buffer *g,
                                 clq_buffer *sum_g, clq_buffer *sum_gu) {
    const group_norm *norm = run->state;
    clq_kernel *kernel = NULL;
    if (run->grad_in[X].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(normalize(run, run->grad_out.buffer, false, run->in[GAMMA].buffer, NULL, g));
    CLQ_TRY(clq_reduce_sum(run->device, &norm->rows, g, NULL, sum_g, CLQ_TERM_X, CLQ_FINISH_NONE));
    CLQ_TRY(clq_reduce_dot(run->device, &norm->rows, g, unit, sum_gu));
    CLQ_TRY(clq_kernel_get(run->device, "group_norm_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, cells(run), CLQ_BUF(unit), CLQ_BUF(g), CLQ_BUF(sum_g),
                      CLQ_BUF(sum_gu), CLQ_BUF(norm->variance), CLQ_BUF(run->grad_in[X].buffer),
                      CLQ_F32(norm->epsilon), CLQ_I32(run->accumulate[X]), SHAPE(norm));
}

static clq_status norm_backward(clq_op_run *run) {
    const group_norm *norm = run->state;
    const size_t bytes = (size_t)clq_shape_count(&run->in[X].shape) * sizeof(float);
    const size_t row_bytes = (size_t)norm->rows.rows * sizeof(float);
    clq_buffer *unit = NULL, *g = NULL, *sum_g = NULL, *sum_gu = NULL;
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, bytes, &unit));
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, bytes, &g));
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, row_bytes, &sum_g));
    CLQ_GOTO(status, cleanup, clq_scratch_take(run->device, row_bytes, &sum_gu));
    CLQ_GOTO(status, cleanup, normalize(run, run->in[X].buffer, true, NULL, NULL, unit));
    CLQ_GOTO(status, cleanup, parameter_gradients(run, unit));
    CLQ_GOTO(status, cleanup, input_gradient(run, unit, g, sum_g, sum_gu));
cleanup:
    clq_buffer_release(unit);
    clq_buffer_release(g);
    clq_buffer_release(sum_g);
    clq_buffer_release(sum_gu);
    return status;
}

#define NORM_OPERATOR(NAME)                                                                        \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = sizeof(clq_##NAME##_attrs),                                                  \
        .min_inputs = 1,                                                                           \
        .max_inputs = 3,                                                                           \
        .infer = NAME##_infer,                                                                     \
        .prepare = norm_prepare,                                                                   \
        .forward = norm_forward,                                                                   \
        .backward = norm_backward,                                                                 \
        .release = norm_release,                                                                   \
        .backward_reads = CLQ_READS_INPUT,                                                         \
    };
NORM_OPERATOR(layer_norm)
NORM_OPERATOR(instance_norm)
NORM_OPERATOR(group_norm)
