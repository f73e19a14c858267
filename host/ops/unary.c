/* Functions of one number, element by element: y = f(x). A row of CLQ_UNARY_OPS is an operator. */
#include "ops/unary.h"

#include <math.h>

#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

/* ---- which function ---- */

#define ROW(NAME, FUNCTION, ATTRS) {&clq_op_##NAME, CLQ_UNARY_##FUNCTION, "-DFUNCTION=" #FUNCTION},
static const struct {
    const clq_op *op;
    clq_unary function;
    const char *options; /* of its program */
} rows[] = {CLQ_UNARY_OPS(ROW)};

clq_unary_function clq_unary_function_of(const clq_node *node) {
    clq_unary_function f = {CLQ_UNARY_COUNT, {0, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        f.function = rows[i].op == node->op ? rows[i].function : f.function;
    }
    if (node->op->attrs_size > 0) {
        f.attrs = *(const clq_unary_attrs *)node->attrs;
    }
    return f;
}

static const char *options_of(clq_unary function) {
    const char *options = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        options = rows[i].function == function ? rows[i].options : options;
    }
    return options;
}

/* ---- launches ---- */

enum { GRAIN = 1024 }; /* floats an item handles at least */

clq_status clq_unary_values(clq_device *device, const clq_unary_function *f, clq_buffer *x,
                            clq_buffer *y, int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "unary_f32", options_of(f->function), &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(clq_work_items(device, count, GRAIN)), CLQ_BUF(x),
                      CLQ_BUF(y), CLQ_F32(f->attrs.alpha), CLQ_F32(f->attrs.beta), CLQ_I32(count));
}

clq_status clq_unary_slopes(clq_device *device, const clq_unary_function *f, clq_buffer *kept,
                            clq_buffer *dy, clq_buffer *dx, int64_t count, bool accumulate) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "unary_grad_f32", options_of(f->function), &kernel));
    return CLQ_LAUNCH(device, kernel, CLQ_RANGE1(clq_work_items(device, count, GRAIN)),
                      CLQ_BUF(kept), CLQ_BUF(dy), CLQ_BUF(dx), CLQ_F32(f->attrs.alpha),
                      CLQ_F32(f->attrs.beta), CLQ_I32(accumulate), CLQ_I32(count));
}

/* ---- the operators ---- */

/* A bound of clip may be infinite. */
static clq_status infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_unary_function f = clq_unary_function_of(node);
    const double a = (double)f.attrs.alpha, b = (double)f.attrs.beta;
    CLQ_TRY(clq_infer_elementwise(graph, node, output));
    if (f.function == CLQ_UNARY_CLIP ? isnan(a) || isnan(b) : !isfinite(a) || !isfinite(b)) {
        return clq_op_broken(node, "alpha %g and beta %g must be numbers", a, b);
    }
    if (f.function == CLQ_UNARY_CELU && a == 0) {
        return clq_op_broken(node, "alpha must not be 0");
    }
    return CLQ_OK;
}

static clq_status forward(clq_op_run *run) {
    const clq_unary_function f = clq_unary_function_of(run->node);
    return clq_unary_values(run->device, &f, run->in[0].buffer, run->out.buffer,
                            clq_shape_count(&run->out.shape));
}

static clq_status backward(clq_op_run *run) {
    const clq_unary_function f = clq_unary_function_of(run->node);
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return clq_unary_slopes(
        run->device, &f, CLQ_UNARY_KEEPS_OUTPUT(f.function) ? run->out.buffer : run->in[0].buffer,
        run->grad_out.buffer, run->grad_in[0].buffer, clq_shape_count(&run->out.shape),
        run->accumulate[0]);
}

#define DEFINE(NAME, FUNCTION, ATTRS)                                                              \
    const clq_op clq_op_##NAME = {                                                                 \
        .name = #NAME,                                                                             \
        .attrs_size = (ATTRS) ? sizeof(clq_unary_attrs) : 0,                                       \
        .min_inputs = 1,                                                                           \
        .max_inputs = 1,                                                                           \
        .infer = infer,                                                                            \
        .forward = forward,                                                                        \
        .backward = backward,                                                                      \
        .flags = CLQ_OP_IN_PLACE,                                                                  \
        .backward_reads =                                                                          \
            CLQ_UNARY_KEEPS_OUTPUT(CLQ_UNARY_##FUNCTION) ? CLQ_READS_OUTPUT : CLQ_READS_INPUT,     \
        .quantized = &clq_unary_quantized,                                                         \
    };
CLQ_UNARY_OPS(DEFINE)
