/* Operators of two operands, element by element. */
#include <string.h>

#include "formats/onnx/operators.h"
#include "graph/node.h"
#include "ops/binary.h"
#include "ops/layer.h"

/* The convolution or linear layer whose bias the constant is: nothing comes between its sums and
 * the addition, and nobody else reads them. NULL: there is none. */
static clq_node *layer_before(const onnx_loader *load, const onnx_operand *x) {
    const clq_value *value = &load->graph->values[x->value];
    clq_node *made = value->producer >= 0 ? &load->graph->nodes[value->producer] : NULL;
    if (!made || made->input_count != 2 || value->q.count > 0 ||
        onnx_reader_count(load, x->value) != 1 ||
        load->graph->values[made->inputs[1]].dtype != CLQ_F32) {
        return NULL;
    }
    return clq_is_layer(made) && clq_node_act(made) == CLQ_ACT_NONE ? made : NULL;
}

/* Weights of 1 for a depthwise convolution: codes where its input is codes. */
static clq_status make_ones(onnx_loader *load, const onnx_operand *x, int64_t channels,
                            const onnx_constant **ones) {
    static const float scale = 1.0f / 127;
    const int64_t dim[4] = {channels, 1, 1, 1};
    onnx_constant *made;
    void *data;
    CLQ_TRY(onnx_constant_make(&load->arena, "", x->dequantized ? ONNX_INT8 : ONNX_FLOAT, 4, dim,
                               &made, &data));
    for (int64_t c = 0; c < channels; c++) {
        if (x->dequantized) {
            ((int8_t *)data)[c] = 127;
        } else {
            ((float *)data)[c] = 1;
        }
    }
    if (x->dequantized) {
        made->scale = &scale;
        made->scale_count = 1;
    }
    *ones = made;
    return CLQ_OK;
}

/* Anything else plus a constant: a depthwise 1x1 convolution with weights of 1. */
static clq_status add_offset(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                             const onnx_constant *constant, int64_t channels) {
    clq_conv2d_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = (int)channels};
    const onnx_constant *ones;
    char *name;
    int inputs[3] = {x->value}, count;
    CLQ_TRY(make_ones(load, x, channels, &ones));
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, ones, constant, (clq_shape){4, {channels, 1, 1, 1}},
                             name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, x);
}

/* Whether a constant is an offset of (N, C) or an image: with a number for each channel, which the
 * value has last, or one for all that is not codes. */
static bool is_offset(const onnx_loader *load, const onnx_operand *x, const onnx_constant *constant,
                      bool *vector) {
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    const int more = x->rank - constant->rank;
    *vector = false;
    for (int k = 0; k < constant->rank && more >= 0; k++) {
        *vector = *vector || (constant->dim[k] == channels && constant->dim[k] > 1 &&
                              x->axis[k + more] == shape->rank - 1);
    }
    *vector = (*vector || channels == 1) && (int64_t)constant->count == channels;
    return more >= 0 && (shape->rank == 2 || shape->rank == 4) &&
           (*vector || (constant->count == 1 && !constant->scale));
}

static clq_status add_constant(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                               const onnx_constant *constant, bool vector) {
    const clq_shape *shape = &load->graph->values[x->value].shape;
    const int64_t channels = shape->dim[shape->rank - 1];
    clq_node *layer = layer_before(load, x);
    if (!layer || !vector) {
        return add_offset(load, node, x, constant, channels);
    }
    const int producer = (int)(layer - load->graph->nodes);
    int bias;
    CLQ_TRY(onnx_add_float(load, node, constant, CLQ_VALUE_PARAMETER, (clq_shape){1, {channels}},
                           layer->name, "bias", &bias));
    layer = &load->graph->nodes[producer];
    layer->inputs[2] = bias;
    layer->input_count = 3;
    return onnx_bind_output(load, node, x);
}

/* ---- constants as operands ---- */

/* The constant in the order in which files have a value with these axes: that of `x`, or of an
 * image (N, C, H, W). *shape is that of the graph's parameter, without dimensions of 1 in front. */
static clq_status turn_constant(onnx_loader *load, const onnx_operand *x,
                                const onnx_constant *constant, const onnx_constant **turned,
                                clq_shape *shape) {
    const int rank = load->graph->values[x->value].shape.rank, more = x->rank - constant->rank;
    const clq_axes none = {0}, file = clq_axes_of(&none, rank);
    int64_t dim[CLQ_MAX_RANK];
    int perm[ONNX_MAX_RANK], count = 0, first = 0;
    onnx_constant *made;
    for (int k = 0; k < constant->rank; k++) { /* dimensions of 1 without a place */
        if (x->axis[k + more] < 0) {
            perm[count++] = k;
        }
    }
    for (int f = 0; f < rank; f++) {
        dim[file.axis[f]] = 1;
        for (int k = 0; k < constant->rank; k++) {
            if (x->axis[k + more] == file.axis[f]) {
                dim[file.axis[f]] = constant->dim[k];
                perm[count++] = k;
            }
        }
    }
    while (first < rank - 1 && dim[first] == 1) {
        first++;
    }
    shape->rank = rank - first;
    memcpy(shape->dim, dim + first, (size_t)shape->rank * sizeof *dim);
    CLQ_TRY(onnx_constant_transpose(&load->arena, constant, perm, &made));
    *turned = made;
    return CLQ_OK;
}

static const clq_op *const operators[CLQ_BINARY_COUNT] = {
    [CLQ_BINARY_ADD] = &clq_op_add, [CLQ_BINARY_SUB] = &clq_op_sub, [CLQ_BINARY_MUL] = &clq_op_mul,
    [CLQ_BINARY_DIV] = &clq_op_div, [CLQ_BINARY_MIN] = &clq_op_min, [CLQ_BINARY_MAX] = &clq_op_max,
    [CLQ_BINARY_POW] = &clq_op_pow,
};

/* ---- chains: the first two, then with each one more ---- */

clq_status onnx_read_side(onnx_loader *load, const onnx_node *node, size_t index, onnx_side *s) {
    const onnx_operand *operand = onnx_input(load, node, index);
    if (!operand) {
        return onnx_fail(node, "input %zu is absent", index);
    }
    *s = (onnx_side){.constant = operand->constant};
    return operand->constant ? CLQ_OK : onnx_want_features(load, node, index, &s->x);
}

/* The graph's operands of a and b, one at least an activation; *like has the result's axes. */
static clq_status meet(onnx_loader *load, const onnx_node *node, onnx_side *a, onnx_side *b,
                       const char *name, int inputs[2], onnx_operand *like) {
    const onnx_side *constant = a->constant ? a : b->constant ? b : NULL;
    onnx_side *other = constant == a ? b : a;
    if (!constant) {
        CLQ_TRY(onnx_match(load, node, &a->x, &b->x, like));
        inputs[0] = a->x.value;
        inputs[1] = b->x.value;
        return CLQ_OK;
    }
    const onnx_constant *codes = constant->constant, *turned;
    const onnx_constant *real = load->keep_float && codes->unrounded ? codes->unrounded : codes;
    const int at = constant == a ? 0 : 1;
    clq_shape shape;
    CLQ_TRY(onnx_match_constant(load, node, &other->x, real));
    CLQ_TRY(turn_constant(load, &other->x, real, &turned, &shape));
    inputs[1 - at] = other->x.value;
    CLQ_TRY(onnx_add_operand(load, node, &other->x, turned, codes, shape, name, &inputs[at]));
    *like = other->x;
    return CLQ_OK;
}

clq_status onnx_combine(onnx_loader *load, const onnx_node *node, clq_binary kind, onnx_side *a,
                        onnx_side *b, const char *name, onnx_side *result) {
    const clq_binary_attrs attrs = {CLQ_ACT_NONE};
    onnx_operand like;
    int inputs[2];
    CLQ_TRY(meet(load, node, a, b, name, inputs, &like));
    *result = (onnx_side){.constant = NULL};
    return onnx_make_node(load, node, operators[kind]->name, name, &attrs, inputs, 2, &like,
                          &result->x);
}

/* The node's output is a op b. */
static clq_status combine(onnx_loader *load, const onnx_node *node, clq_binary kind, onnx_side *a,
                          onnx_side *b) {
    onnx_side result;
    char *name;
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(onnx_combine(load, node, kind, a, b, name, &result));
    return onnx_bind_made(load, node, 0, &result.x);
}

static clq_status read_pair(onnx_loader *load, onnx_node *node, clq_binary kind) {
    onnx_side a, b;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_read_side(load, node, 0, &a));
    CLQ_TRY(onnx_read_side(load, node, 1, &b));
    return combine(load, node, kind, &a, &b);
}

/* Of any number of inputs, activations first; with `mean` the result is divided by their number. */
static clq_status read_many(onnx_loader *load, onnx_node *node, clq_binary kind, bool mean) {
    const size_t n = onnx_input_count(node);
    const size_t steps = n - 1 + (mean ? 1 : 0);
    size_t done = 0;
    char *name, *wanted, *own;
    onnx_side result = {0}, next;
    bool started = false;
    CLQ_TRY(onnx_want_inputs(node, 1, n > 1 ? n : 1));
    if (n == 1) {
        return onnx_pass_on(load, node);
    }
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    for (int constants = 0; constants < 2; constants++) {
        for (size_t i = 0; i < n; i++) {
            const onnx_operand *operand = onnx_input(load, node, i);
            if (!operand || (operand->constant != NULL) != (constants == 1)) {
                continue;
            }
            CLQ_TRY(onnx_read_side(load, node, i, &next));
            if (!started) {
                result = next;
                started = true;
                continue;
            }
            const bool last = ++done == steps;
            CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s.%zu", name, done));
            CLQ_TRY(onnx_unique_name(load, wanted, &own));
            CLQ_TRY(onnx_combine(load, node, kind, &result, &next, last ? name : own, &result));
        }
    }
    if (mean) {
        next = (onnx_side){0};
        CLQ_TRY(onnx_constant_number(load, 1 / (float)n, &next.constant));
        CLQ_TRY(onnx_combine(load, node, CLQ_BINARY_MUL, &result, &next, name, &result));
    }
    return onnx_bind_made(load, node, 0, &result.x);
}

static clq_status read_add(onnx_loader *load, onnx_node *node) {
    onnx_side sides[2];
    bool vector;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    for (size_t i = 0; i < 2; i++) {
        CLQ_TRY(onnx_read_side(load, node, i, &sides[i]));
    }
    for (int i = 0; i < 2; i++) {
        const onnx_constant *constant = sides[i].constant;
        if (constant && is_offset(load, &sides[1 - i].x, constant, &vector)) {
            return add_constant(load, node, &sides[1 - i].x, constant, vector);
        }
    }
    return combine(load, node, CLQ_BINARY_ADD, &sides[0], &sides[1]);
}

static clq_status read_sum(onnx_loader *load, onnx_node *node) {
    return onnx_input_count(node) == 2 ? read_add(load, node)
                                       : read_many(load, node, CLQ_BINARY_ADD, false);
}
static clq_status read_mean(onnx_loader *load, onnx_node *node) {
    return read_many(load, node, CLQ_BINARY_ADD, true);
}
static clq_status read_min(onnx_loader *load, onnx_node *node) {
    return read_many(load, node, CLQ_BINARY_MIN, false);
}
static clq_status read_max(onnx_loader *load, onnx_node *node) {
    return read_many(load, node, CLQ_BINARY_MAX, false);
}
static clq_status read_sub(onnx_loader *load, onnx_node *node) {
    return read_pair(load, node, CLQ_BINARY_SUB);
}
static clq_status read_mul(onnx_loader *load, onnx_node *node) {
    return read_pair(load, node, CLQ_BINARY_MUL);
}
static clq_status read_div(onnx_loader *load, onnx_node *node) {
    return read_pair(load, node, CLQ_BINARY_DIV);
}
/* An exponent may be whole numbers, whatever the base is. */
static clq_status read_exponent(onnx_loader *load, const onnx_node *node, onnx_side *s) {
    const onnx_constant *whole;
    onnx_constant *made;
    void *data;
    CLQ_TRY(onnx_read_side(load, node, 1, s));
    whole = s->constant;
    if (!whole || (whole->type != ONNX_INT64 && whole->type != ONNX_INT32) || whole->scale) {
        return CLQ_OK;
    }
    CLQ_TRY(onnx_constant_make(&load->arena, whole->name, ONNX_FLOAT, whole->rank, whole->dim,
                               &made, &data));
    for (size_t i = 0; i < made->count; i++) {
        ((float *)data)[i] = whole->type == ONNX_INT64 ? (float)((const int64_t *)whole->data)[i]
                                                       : (float)((const int32_t *)whole->data)[i];
    }
    s->constant = made;
    return CLQ_OK;
}

/* One exponent for all makes a function of one number. */
static clq_status read_pow(onnx_loader *load, onnx_node *node) {
    const float *exponent;
    onnx_side a, b;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(onnx_read_side(load, node, 0, &a));
    CLQ_TRY(read_exponent(load, node, &b));
    if (!b.constant || b.constant->count != 1 || a.constant) {
        return combine(load, node, CLQ_BINARY_POW, &a, &b);
    }
    if (b.constant->rank > a.x.rank) {
        return onnx_fail(node, "the exponent has more dimensions than the base");
    }
    if (b.constant->type != ONNX_FLOAT && !b.constant->scale) {
        return onnx_fail(node, "the exponent must be a number");
    }
    CLQ_TRY(onnx_constant_floats(&load->arena, b.constant, &exponent));
    const clq_unary_attrs attrs = {exponent[0], 0};
    return onnx_add_node(load, node, "pow_const", NULL, &attrs, &a.x.value, 1, &a.x);
}

/* ---- writing ---- */

/* An activation of fewer axes gets ones where the result has others. */
static clq_status widen(onnx_chain *chain, int value, const char **x) {
    static const clq_axes none = {0};
    const clq_value *values = chain->save->graph->values;
    const int rank = values[chain->value].shape.rank, own = values[value].shape.rank;
    const clq_axes from = clq_axes_of(&none, own);
    clq_axes to = clq_axes_of(&none, rank);
    if (values[value].data || own == rank) {
        return CLQ_OK;
    }
    for (int k = 0; k < rank; k++) {
        const int axis = to.axis[k] - (rank - own);
        to.axis[k] = to.axis[k] == 0 ? 0 : axis > 0 ? axis : -1;
    }
    return onnx_save_axes(chain->save, chain->base, &from, &to, NULL, x);
}

static clq_status write_binary(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_act act = clq_node_act(graph_node);
    Onnx__NodeProto *node;
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(widen(chain, graph_node->inputs[i], &inputs[i]));
    }
    onnx_save_plan(chain, chain->onnx, act);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, &node));
    return onnx_save_finish(chain, act);
}

const onnx_operator onnx_binary_operators[] = {
    {"Add", .read = read_add, .op = "add", .write = write_binary},
    {"Sub", .read = read_sub, .op = "sub", .write = write_binary},
    {"Mul", .read = read_mul, .op = "mul", .write = write_binary},
    {"Div", .read = read_div, .op = "div", .write = write_binary},
    {"Min", .read = read_min, .op = "min", .write = write_binary},
    {"Max", .read = read_max, .op = "max", .write = write_binary},
    {"Pow", .read = read_pow, .op = "pow", .write = write_binary},
    {"Sum", .read = read_sum},
    {"Mean", .read = read_mean},
    {0},
};
