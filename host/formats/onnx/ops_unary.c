/* Operators of one operand, element by element, and PRelu. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "formats/onnx/operators.h"
#include "graph/node.h"
#include "ops/layer.h"
#include "ops/unary.h"

/* In a quantized model the codes are those behind the activation, so it becomes part of the node
 * before it at once; in a float model that is left to clq_graph_fold. */
static clq_status add_activation(onnx_loader *load, onnx_node *node, const clq_op *op) {
    onnx_operand x;
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    const clq_value *value = &load->graph->values[x.value];
    if (load->has_q && value->producer >= 0 && value->q.count == 0 &&
        onnx_reader_count(load, x.value) == 1) {
        clq_node *producer = &load->graph->nodes[value->producer];
        if (clq_node_fuse_act(producer, op->as_act)) {
            return onnx_bind_output(load, node, &x);
        }
    }
    return onnx_add_node(load, node, op->name, NULL, NULL, &x.value, 1, &x);
}

static clq_status read_relu(onnx_loader *load, onnx_node *node) {
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    return add_activation(load, node, &clq_op_relu);
}

/* ---- functions of one number ---- */

/* ONNX's names, attributes and their defaults. */
typedef struct function {
    const char *onnx, *op;
    const char *names[2]; /* of alpha and beta; NULL: there is none */
    clq_unary_attrs defaults;
} function;
static const function functions[] = {
    {"Tanh", "tanh", {NULL, NULL}, {0, 0}},
    {"Sigmoid", "sigmoid", {NULL, NULL}, {0, 0}},
    {"LeakyRelu", "leaky_relu", {"alpha", NULL}, {0.01f, 0}},
    {"Elu", "elu", {"alpha", NULL}, {1, 0}},
    {"Celu", "celu", {"alpha", NULL}, {1, 0}},
    {"Selu", "selu", {"alpha", "gamma"}, {1.67326319217681884765625f, 1.05070102214813232421875f}},
    {"HardSigmoid", "hard_sigmoid", {"alpha", "beta"}, {0.2f, 0.5f}},
    {"HardSwish", "hard_swish", {NULL, NULL}, {0, 0}},
    {"Mish", "mish", {NULL, NULL}, {0, 0}},
    {"Softplus", "softplus", {NULL, NULL}, {0, 0}},
    {"Softsign", "softsign", {NULL, NULL}, {0, 0}},
    {"ThresholdedRelu", "thresholded_relu", {"alpha", NULL}, {1, 0}},
    {"Exp", "exp", {NULL, NULL}, {0, 0}},
    {"Log", "log", {NULL, NULL}, {0, 0}},
    {"Sqrt", "sqrt", {NULL, NULL}, {0, 0}},
    {"Reciprocal", "reciprocal", {NULL, NULL}, {0, 0}},
    {"Abs", "abs", {NULL, NULL}, {0, 0}},
    {"Neg", "neg", {NULL, NULL}, {0, 0}},
    {"Erf", "erf", {NULL, NULL}, {0, 0}},
    {"Floor", "floor", {NULL, NULL}, {0, 0}},
    {"Ceil", "ceil", {NULL, NULL}, {0, 0}},
    {"Round", "round", {NULL, NULL}, {0, 0}},
    {"Sign", "sign", {NULL, NULL}, {0, 0}},
};

static const function *find_function(const char *onnx) {
    const function *found = NULL;
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        found = strcmp(functions[i].onnx, onnx) == 0 ? &functions[i] : found;
    }
    return found;
}

static clq_status read_attributes(onnx_node *node, const function *f, clq_unary_attrs *attrs) {
    *attrs = f->defaults;
    for (int i = 0; i < 2 && f->names[i]; i++) {
        CLQ_TRY(onnx_attribute_float(node, f->names[i], i ? &attrs->beta : &attrs->alpha));
    }
    return CLQ_OK;
}

static clq_status add_function(onnx_loader *load, onnx_node *node, const char *op,
                               const clq_unary_attrs *attrs) {
    onnx_operand x;
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    return onnx_add_node(load, node, op, NULL, attrs, &x.value, 1, &x);
}

static clq_status read_function(onnx_loader *load, onnx_node *node) {
    const function *f = find_function(node->op);
    clq_unary_attrs attrs;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(read_attributes(node, f, &attrs));
    return add_function(load, node, f->op, &attrs);
}

static clq_status write_function(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                 size_t count) {
    const function *f = find_function(chain->onnx);
    const clq_unary_function function = clq_unary_function_of(graph_node);
    Onnx__NodeProto *node;
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    for (int i = 0; i < 2 && f->names[i]; i++) {
        CLQ_TRY(onnx_save_float(chain->save, node, f->names[i],
                                i ? function.attrs.beta : function.attrs.alpha));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- functions that are several nodes, unless the opset is a new one ---- */

static clq_status read_gelu(onnx_loader *load, onnx_node *node) {
    const char *approximate = "none";
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_text(node, "approximate", &approximate));
    if (strcmp(approximate, "none") != 0 && strcmp(approximate, "tanh") != 0) {
        return onnx_fail(node, "approximate must be none or tanh");
    }
    return add_function(load, node, approximate[0] == 't' ? "gelu_tanh" : "gelu", NULL);
}

static clq_status read_swish(onnx_loader *load, onnx_node *node) {
    float alpha = 1;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_float(node, "alpha", &alpha));
    if (alpha != 1) {
        return onnx_fail(node, "alpha is %g; only 1 is supported", (double)alpha);
    }
    return add_function(load, node, "silu", NULL);
}

/* A step of two operands, the first of which is what was made so far: by a number, or by `other`.
 */
static clq_status step_with(onnx_chain *chain, const char *op, const char *name, float number,
                            const char *other) {
    Onnx__NodeProto *node;
    const char *inputs[2] = {chain->current, other};
    if (other == NULL) {
        CLQ_TRY(onnx_save_scalar(chain->save, name, number, &inputs[1]));
    }
    return onnx_save_step(chain, op, inputs, 2, &node);
}

static clq_status step_of(onnx_chain *chain, const char *op, const char *input) {
    Onnx__NodeProto *node;
    return onnx_save_step(chain, op, &input, 1, &node);
}

/* No step but the one that is planned last makes the value. */
static void begin_steps(onnx_chain *chain, const char *x) {
    onnx_save_plan(chain, "", CLQ_ACT_NONE);
    chain->current = x;
}

/* The product with x, or with a number, ends the chain. */
static clq_status end_steps(onnx_chain *chain, const char *name, float number, const char *x) {
    onnx_save_plan(chain, "Mul", CLQ_ACT_NONE);
    CLQ_TRY(step_with(chain, "Mul", name, number, x));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

static clq_status write_silu(onnx_chain *chain, const clq_node *node, const char **inputs,
                             size_t count) {
    (void)node, (void)count;
    begin_steps(chain, inputs[0]);
    CLQ_TRY(step_of(chain, "Sigmoid", inputs[0]));
    return end_steps(chain, NULL, 0, inputs[0]);
}

static clq_status write_mish(onnx_chain *chain, const clq_node *node, const char **inputs,
                             size_t count) {
    (void)node, (void)count;
    begin_steps(chain, inputs[0]);
    CLQ_TRY(step_of(chain, "Softplus", inputs[0]));
    CLQ_TRY(step_of(chain, "Tanh", chain->current));
    return end_steps(chain, NULL, 0, inputs[0]);
}

/* x (1 + what was made so far) / 2 */
static clq_status end_gelu(onnx_chain *chain, const char *x) {
    CLQ_TRY(step_with(chain, "Add", "gelu_one", 1, NULL));
    CLQ_TRY(step_with(chain, "Mul", NULL, 0, x));
    return end_steps(chain, "gelu_half", 0.5f, NULL);
}

static clq_status write_gelu(onnx_chain *chain, const clq_node *node, const char **inputs,
                             size_t count) {
    (void)node, (void)count;
    begin_steps(chain, inputs[0]);
    CLQ_TRY(step_with(chain, "Div", "gelu_sqrt_2", 1.41421356f, NULL));
    CLQ_TRY(step_of(chain, "Erf", chain->current));
    return end_gelu(chain, inputs[0]);
}

static clq_status write_gelu_tanh(onnx_chain *chain, const clq_node *node, const char **inputs,
                                  size_t count) {
    (void)node, (void)count;
    begin_steps(chain, inputs[0]);
    CLQ_TRY(step_with(chain, "Pow", "gelu_three", 3, NULL));
    CLQ_TRY(step_with(chain, "Mul", "gelu_cubic", 0.044715f, NULL));
    CLQ_TRY(step_with(chain, "Add", NULL, 0, inputs[0]));
    CLQ_TRY(step_with(chain, "Mul", "gelu_sqrt_2_pi", 0.797884561f, NULL));
    CLQ_TRY(step_of(chain, "Tanh", chain->current));
    return end_gelu(chain, inputs[0]);
}

/* The exponent is an operand; of two activations Pow is ops_binary.c's. */
static clq_status write_pow_const(onnx_chain *chain, const clq_node *graph_node,
                                  const char **inputs, size_t count) {
    const clq_unary_attrs *attrs = graph_node->attrs;
    (void)count;
    chain->current = inputs[0];
    onnx_save_plan(chain, "Pow", CLQ_ACT_NONE);
    CLQ_TRY(step_with(chain, "Pow", "exponent", attrs->alpha, NULL));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* ---- PRelu ---- */

/* The axis of x that slopes stand along; -1: all share one. false: they are not along one. */
static bool find_slopes(const onnx_loader *load, const onnx_operand *x, const onnx_constant *slope,
                        int *axis) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const int more = dims.rank - slope->rank;
    *axis = -1;
    for (int k = 0; k < slope->rank && more >= 0; k++) {
        *axis = slope->dim[k] != 1 ? k + more : *axis;
    }
    return more >= 0 && *axis != 0 &&
           (*axis < 0 || ((int64_t)slope->count == slope->dim[*axis - more] &&
                          (int64_t)slope->count == dims.dim[*axis]));
}

/* One step of a node that becomes several: a function of x, called "NAME.step". */
static clq_status make_step(onnx_loader *load, const onnx_node *node, const char *name,
                            const char *op, const clq_unary_attrs *attrs, const onnx_operand *x,
                            onnx_side *y) {
    char *own;
    CLQ_TRY(clq_arena_format(&load->arena, &own, "%s.%s", name, op));
    CLQ_TRY(onnx_unique_name(load, own, &own));
    *y = (onnx_side){.constant = NULL};
    return onnx_make_node(load, node, op, own, attrs, &x->value, 1, x, &y->x);
}

/* Whether slopes have no more axes than x, each of as many elements or of 1. */
static bool is_broadcast(const onnx_loader *load, const onnx_operand *x, const onnx_side *slope) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    onnx_dims own;
    if (slope->constant) {
        own.rank = slope->constant->rank;
        memcpy(own.dim, slope->constant->dim, sizeof own.dim);
    } else {
        own = onnx_activation_dims(load, &slope->x);
    }
    for (int k = 0; k < own.rank && own.rank <= dims.rank; k++) {
        if (own.dim[k] != 1 && own.dim[k] != dims.dim[k + dims.rank - own.rank]) {
            return false;
        }
    }
    return own.rank <= dims.rank;
}

/* By any slopes, which may be activations: max(x, 0) + slope min(x, 0). */
static clq_status add_slopes(onnx_loader *load, const onnx_node *node, const onnx_operand *x) {
    const clq_unary_attrs negative = {-INFINITY, 0};
    onnx_side above, below, slope, product, sum;
    char *name, *own;
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(make_step(load, node, name, "relu", NULL, x, &above));
    CLQ_TRY(make_step(load, node, name, "clip", &negative, x, &below));
    CLQ_TRY(onnx_read_side(load, node, 1, &slope));
    if (!is_broadcast(load, x, &slope)) {
        return onnx_fail(node, "the slopes cannot be broadcast to its input");
    }
    CLQ_TRY(clq_arena_format(&load->arena, &own, "%s.mul", name));
    CLQ_TRY(onnx_unique_name(load, own, &own));
    CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_MUL, &below, &slope, own, &product));
    CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_ADD, &above, &product, name, &sum));
    return onnx_bind_made(load, node, 0, &sum.x);
}

static clq_status read_prelu(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    char *name;
    int inputs[2], axis;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    const onnx_constant *slope = onnx_input(load, node, 1)->constant;
    if (!slope || !find_slopes(load, &x, slope, &axis)) {
        return add_slopes(load, node, &x);
    }
    const clq_shape *shape = &load->graph->values[x.value].shape;
    if (axis > 0 && x.axis[axis] != shape->rank - 1) { /* the graph has them last */
        int places[ONNX_MAX_RANK], rank = 0;
        for (int k = 0; k < x.rank; k++) {
            if (k != axis) {
                places[rank++] = k;
            }
        }
        places[rank++] = axis;
        CLQ_TRY(onnx_arrange(load, node, &x, rank, places));
    }
    CLQ_TRY(onnx_node_name(load, node, slope->name, &name));
    inputs[0] = x.value;
    CLQ_TRY(onnx_add_float(load, node, slope, CLQ_VALUE_PARAMETER,
                           (clq_shape){1, {(int64_t)slope->count}}, name, "weight", &inputs[1]));
    return onnx_add_node(load, node, "prelu", name, NULL, inputs, 2, &x);
}

/* An image's slopes stand along its channels: (C, 1, 1). */
static clq_status write_prelu(onnx_chain *chain, const clq_node *node, const char **inputs,
                              size_t count) {
    onnx_saver *save = chain->save;
    for (size_t i = 0; save->graph->values[node->output].shape.rank == 4 && i < save->tensor_count;
         i++) {
        Onnx__TensorProto *tensor = save->tensor[i];
        if (strcmp(tensor->name, inputs[1]) == 0 && tensor->n_dims == 1) {
            void *dims;
            CLQ_TRY(clq_arena_take(&save->arena, 3, sizeof *tensor->dims, &dims));
            memcpy(dims, (int64_t[3]){tensor->dims[0], 1, 1}, 3 * sizeof *tensor->dims);
            tensor->dims = dims;
            tensor->n_dims = 3;
        }
    }
    return onnx_write_plain(chain, node, inputs, count);
}

/* ---- Clip ---- */

static clq_status read_clip(onnx_loader *load, onnx_node *node) {
    float least = -FLT_MAX, most = FLT_MAX;
    const onnx_operand *x = onnx_input(load, node, 0);
    CLQ_TRY(onnx_want_inputs(node, 1, 3));
    if (x->codes || (x->constant && x->constant->type != ONNX_FLOAT)) {
        return onnx_clip_codes(load, node);
    }
    CLQ_TRY(onnx_attribute_float(node, "min", &least));
    CLQ_TRY(onnx_attribute_float(node, "max", &most));
    CLQ_TRY(onnx_want_scalar(load, node, 1, "min", least, &least));
    CLQ_TRY(onnx_want_scalar(load, node, 2, "max", most, &most));
    if (least == 0 && most == 6) {
        return add_activation(load, node, &clq_op_relu6);
    }
    if (least == 0 && most >= FLT_MAX) {
        return add_activation(load, node, &clq_op_relu);
    }
    const clq_unary_attrs attrs = {least <= -FLT_MAX ? -INFINITY : least,
                                   most >= FLT_MAX ? INFINITY : most};
    return add_function(load, node, "clip", &attrs);
}

static clq_status read_dropout(onnx_loader *load, onnx_node *node) {
    clq_dropout_attrs attrs = {0.5f};
    onnx_operand x;
    float training;
    CLQ_TRY(onnx_want_inputs(node, 1, 3));
    CLQ_TRY(onnx_attribute_float(node, "ratio", &attrs.probability));
    CLQ_TRY(onnx_want_scalar(load, node, 1, "ratio", attrs.probability, &attrs.probability));
    CLQ_TRY(onnx_want_scalar(load, node, 2, "training_mode", 0, &training));
    if (training != 0) {
        onnx_note_training(load, node);
    }
    onnx_attribute_ignore(node, "seed");
    if (load->has_q) { /* nothing in inference */
        return onnx_pass_on(load, node);
    }
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    return onnx_add_node(load, node, "dropout", NULL, &attrs, &x.value, 1, &x);
}

static clq_status write_dropout(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    static const char op[] = "Dropout";
    const clq_dropout_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    const char *with_ratio[2] = {inputs[0]};
    (void)count;
    onnx_save_plan(chain, op, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_scalar(chain->save, "dropout_ratio", attrs->probability, &with_ratio[1]));
    CLQ_TRY(onnx_save_step(chain, op, with_ratio, 2, &node));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

static clq_status write_relu6(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count) {
    (void)graph_node;
    (void)count;
    chain->current = inputs[0];
    onnx_save_plan(chain, "Clip", CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_clip(chain));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

/* A side without a bound has none in the file. */
static clq_status write_clip(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    const clq_unary_attrs *attrs = graph_node->attrs;
    const char *bounds[3] = {inputs[0], "", ""};
    Onnx__NodeProto *node;
    (void)count;
    onnx_save_plan(chain, "Clip", CLQ_ACT_NONE);
    if (isfinite(attrs->alpha)) {
        CLQ_TRY(onnx_save_scalar(chain->save, "clip_min", attrs->alpha, &bounds[1]));
    }
    if (isfinite(attrs->beta)) {
        CLQ_TRY(onnx_save_scalar(chain->save, "clip_max", attrs->beta, &bounds[2]));
    }
    CLQ_TRY(onnx_save_step(chain, "Clip", bounds, isfinite(attrs->beta) ? 3 : 2, &node));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

#define FUNCTION(ONNX, OP)                                                                         \
    { ONNX, .read = read_function, .op = OP, .write = write_function }

const onnx_operator onnx_unary_operators[] = {
    {"Relu", .read = read_relu, .op = "relu", .write = onnx_write_plain},
    {"Clip", .read = read_clip, .op = "relu6", .write = write_relu6},
    {"Clip", .op = "clip", .write = write_clip},
    {"PRelu", .read = read_prelu, .op = "prelu", .write = write_prelu},
    FUNCTION("Tanh", "tanh"),
    FUNCTION("Sigmoid", "sigmoid"),
    FUNCTION("LeakyRelu", "leaky_relu"),
    FUNCTION("Elu", "elu"),
    FUNCTION("Celu", "celu"),
    FUNCTION("Selu", "selu"),
    FUNCTION("HardSigmoid", "hard_sigmoid"),
    FUNCTION("Softplus", "softplus"),
    FUNCTION("Softsign", "softsign"),
    FUNCTION("ThresholdedRelu", "thresholded_relu"),
    FUNCTION("Exp", "exp"),
    FUNCTION("Log", "log"),
    FUNCTION("Sqrt", "sqrt"),
    FUNCTION("Reciprocal", "reciprocal"),
    FUNCTION("Abs", "abs"),
    FUNCTION("Neg", "neg"),
    FUNCTION("Erf", "erf"),
    FUNCTION("Floor", "floor"),
    FUNCTION("Ceil", "ceil"),
    FUNCTION("Round", "round"),
    FUNCTION("Sign", "sign"),
    {"HardSwish", .read = read_function, .op = "hard_swish", .opset = 14, .write = write_function},
    {"Mish", .read = read_function},
    {"Swish", .read = read_swish},
    {"Gelu", .read = read_gelu},
    {.op = "mish", .write = write_mish},
    {.op = "silu", .write = write_silu},
    {.op = "gelu", .write = write_gelu},
    {.op = "gelu_tanh", .write = write_gelu_tanh},
    {.op = "pow_const", .write = write_pow_const},
    {"Dropout", .read = read_dropout, .op = "dropout", .write = write_dropout},
    {0},
};
