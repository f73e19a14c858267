/* Matrices times vectors: Gemm and MatMul, of which the graph makes linear layers, and products
 * of activations. */
#include "formats/onnx/operators.h"

/* Weights (OUT, IN) of (IN, OUT), or as they are. */
static clq_status turn_weights(onnx_loader *load, const onnx_node *node, bool transposed,
                               const onnx_constant **weight, clq_shape *shape) {
    static const int swap[2] = {1, 0};
    onnx_constant *turned;
    CLQ_TRY(onnx_weight_shape(node, *weight, 2, shape));
    if (!transposed) {
        CLQ_TRY(onnx_constant_transpose(&load->arena, *weight, swap, &turned));
        *weight = turned;
        CLQ_TRY(onnx_weight_shape(node, *weight, 2, shape));
    }
    return CLQ_OK;
}

/* x (N, IN), which the value's axes have so. */
static clq_status add_linear(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                             const onnx_constant *weight, const onnx_constant *bias,
                             clq_shape shape, const onnx_operand *like) {
    const clq_linear_attrs attrs = {CLQ_ACT_NONE};
    char *name;
    int inputs[3] = {x->value}, count;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, bias, shape, name, inputs, &count));
    return onnx_add_node(load, node, "linear", name, &attrs, inputs, count, like);
}

/* A matrix times each vector of x (N, .., IN): a 1x1 convolution of an image (N, .., .., IN). */
static clq_status add_pixelwise(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                const onnx_constant *weight, clq_shape shape) {
    const clq_conv2d_attrs attrs = {
        .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    const onnx_dims dims = onnx_activation_dims(load, x);
    const int last = x->rank - 1, rank = load->graph->values[x->value].shape.rank;
    char *name;
    int inputs[3], count;
    if (x->axis[last] != rank - 1 || rank != 4) { /* batch, the axes between as one, IN */
        int places[4] = {0, -1, -1, last};
        for (int k = 1; k < last; k++) {
            places[k < 3 ? k : 2] = k;
        }
        if (x->rank > 4) {
            return onnx_fail(node, "its input has %d dimensions, at most 4 are supported", x->rank);
        }
        CLQ_TRY(onnx_arrange(load, node, x, 4, places));
    }
    inputs[0] = x->value;
    if (dims.dim[last] != shape.dim[1]) {
        return onnx_fail(node, "multiplies vectors of %lld by a matrix of %lld rows",
                         (long long)dims.dim[last], (long long)shape.dim[1]);
    }
    const clq_shape image = {4, {shape.dim[0], 1, 1, shape.dim[1]}};
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, NULL, image, name, inputs, &count));
    return onnx_add_node(load, node, "conv2d", name, &attrs, inputs, count, x);
}

/* The constant times a factor that is not 1. */
static clq_status scale_constant(onnx_loader *load, const onnx_node *node, float factor,
                                 const onnx_constant **constant) {
    const float *values;
    onnx_constant *scaled;
    void *data;
    if (factor == 1 || !*constant) {
        return CLQ_OK;
    }
    if ((*constant)->scale) {
        return onnx_fail(node,
                         "has alpha or beta of %g beside quantized weights; only 1 is supported",
                         (double)factor);
    }
    CLQ_TRY(onnx_constant_floats(&load->arena, *constant, &values));
    CLQ_TRY(onnx_constant_make(&load->arena, (*constant)->name, ONNX_FLOAT, (*constant)->rank,
                               (*constant)->dim, &scaled, &data));
    for (size_t i = 0; i < scaled->count; i++) {
        ((float *)data)[i] = values[i] * factor;
    }
    *constant = scaled;
    return CLQ_OK;
}

static clq_status read_gemm(onnx_loader *load, onnx_node *node) {
    static const int places[2] = {0, 1};
    onnx_operand x;
    const onnx_constant *weight, *bias;
    clq_shape shape;
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    CLQ_TRY(onnx_want_constant(load, node, 2, &bias));
    CLQ_TRY(onnx_attribute_int(node, "transA", 0, 1, &trans_a));
    CLQ_TRY(onnx_attribute_int(node, "transB", 0, 1, &trans_b));
    CLQ_TRY(onnx_attribute_float(node, "alpha", &alpha));
    CLQ_TRY(onnx_attribute_float(node, "beta", &beta));
    onnx_attribute_ignore(node, "broadcast");
    if (x.rank != 2) {
        return onnx_fail(
            node, "its input has %d dimensions, must be (N, features); flatten it before", x.rank);
    }
    if (trans_a) {
        const int first = x.axis[0];
        x.axis[0] = x.axis[1];
        x.axis[1] = first;
    }
    CLQ_TRY(onnx_arrange(load, node, &x, 2, places));
    if (bias && (bias->rank > 2 || (bias->rank == 2 && bias->dim[0] != 1))) {
        char text[96];
        onnx_dims_text(bias->rank, bias->dim, text, sizeof text);
        return onnx_fail(node,
                         "C has shape %s: other numbers for each row of the batch, where one a "
                         "feature, (features) or (1, features), is supported",
                         text);
    }
    CLQ_TRY(scale_constant(load, node, alpha, &weight));
    CLQ_TRY(scale_constant(load, node, beta, &bias));
    CLQ_TRY(turn_weights(load, node, trans_b != 0, &weight, &shape));
    return add_linear(load, node, &x, weight, bias, shape, NULL);
}

/* The axes as the last of `rank` ones, in the file's order but for the last two where they are the
 * other way round. */
static clq_status arrange_matrix(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                 int rank, bool *transposed) {
    int places[CLQ_MAX_RANK];
    *transposed = x->axis[x->rank - 2] > x->axis[x->rank - 1] && x->axis[x->rank - 1] > 0;
    for (int p = 0; p < rank; p++) {
        const int k = p - rank + x->rank;
        places[p] = k < 0 ? -1 : !*transposed || k < x->rank - 2 ? k : 2 * x->rank - 3 - k;
    }
    return onnx_arrange(load, node, x, rank, places);
}

/* Whether, of `rank` axes, the first is the batch or 1, and no other is the batch. */
static bool fits_batch(const onnx_loader *load, const onnx_operand *x, int rank) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    for (int k = 0; k < x->rank; k++) {
        const bool first = k + rank - x->rank == 0;
        if (x->axis[k] == 0 ? !first : first && dims.dim[k] != 1) {
            return false;
        }
    }
    return true;
}

static clq_status add_product(onnx_loader *load, onnx_node *node) {
    clq_matmul_attrs attrs;
    onnx_operand a, b, y;
    CLQ_TRY(onnx_want_activation(load, node, 0, &a));
    CLQ_TRY(onnx_want_activation(load, node, 1, &b));
    y.rank = a.rank > b.rank ? a.rank : b.rank;
    /* Otherwise the graph has a batch of one image in front of all. */
    const bool batched = y.rank > 2 && fits_batch(load, &a, y.rank) && fits_batch(load, &b, y.rank);
    const int rank = y.rank + (batched || load->batch != 1 ? 0 : 1);
    if (a.rank < 2 || b.rank < 2 || rank < 3 || rank > CLQ_MAX_RANK) {
        return onnx_fail(node,
                         "multiplies activations of %d and %d dimensions; 3 to %d, the first the "
                         "batch, or fewer of one image are supported",
                         a.rank, b.rank, CLQ_MAX_RANK);
    }
    CLQ_TRY(arrange_matrix(load, node, &a, rank, &attrs.transpose_a));
    CLQ_TRY(arrange_matrix(load, node, &b, rank, &attrs.transpose_b));
    for (int k = 0; k < y.rank; k++) {
        y.axis[k] = k + rank - y.rank;
    }
    return onnx_add_node(load, node, "matmul", NULL, &attrs, (int[]){a.value, b.value}, 2, &y);
}

static clq_status read_matmul(onnx_loader *load, onnx_node *node) {
    onnx_operand x;
    const onnx_constant *weight;
    clq_shape shape;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    if (!onnx_input(load, node, 0)->constant && !onnx_input(load, node, 1)->constant) {
        return add_product(load, node);
    }
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_want_constant(load, node, 1, &weight));
    CLQ_TRY(turn_weights(load, node, false, &weight, &shape));
    if (x.rank < 2) {
        return onnx_fail(node, "its input has no batch");
    }
    if (x.rank == 2) {
        CLQ_TRY(onnx_arrange(load, node, &x, 2, (const int[2]){0, 1}));
    }
    if (onnx_is_row(load, &x) && x.axis[x.rank - 1] == 1) {
        return add_linear(load, node, &x, weight, NULL, shape, &x);
    }
    CLQ_TRY(onnx_settle(load, node, &x, false));
    return add_pixelwise(load, node, &x, weight, shape);
}

static clq_status write_gemm(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                             size_t count) {
    const clq_linear_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    onnx_save_plan(chain, "Gemm", attrs->act);
    CLQ_TRY(onnx_save_step(chain, "Gemm", inputs, count, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "transB", 1));
    return onnx_save_finish(chain, attrs->act);
}

/* The file has the axes of both as `kept` says: Transpose before and behind where that is not as
 * they are stored. */
static clq_status write_matmul(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                               size_t count) {
    const clq_matmul_attrs *attrs = graph_node->attrs;
    const int rank = chain->save->graph->values[graph_node->output].shape.rank;
    const clq_axes y = onnx_save_kept_axes(chain->save, graph_node->output);
    const char *matrices[2] = {inputs[0], inputs[1]};
    bool moves = false;
    Onnx__NodeProto *node;
    for (int i = 0; i < 2; i++) {
        const clq_axes kept = onnx_save_kept_axes(chain->save, graph_node->inputs[i]);
        clq_axes wanted = {.rank = rank};
        for (int k = 0; k < rank; k++) {
            wanted.axis[k] = k;
        }
        if (i == 0 ? attrs->transpose_a : attrs->transpose_b) {
            wanted.axis[rank - 2] = rank - 1;
            wanted.axis[rank - 1] = rank - 2;
        }
        CLQ_TRY(onnx_save_axes(chain->save, chain->base, &kept, &wanted, NULL, &matrices[i]));
    }
    for (int k = 0; k < rank; k++) {
        moves = moves || y.axis[k] != k;
    }
    (void)count;
    onnx_save_plan(chain, moves ? "Transpose" : chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, matrices, 2, &node));
    if (moves) {
        CLQ_TRY(onnx_save_step(chain, "Transpose", &chain->current, 1, &node));
        CLQ_TRY(onnx_save_ints(chain->save, node, "perm", y.axis, (size_t)rank));
    }
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_linear_operators[] = {
    {"Gemm", .read = read_gemm, .op = "linear", .write = write_gemm},
    {"MatMul", .read = read_matmul, .op = "matmul", .write = write_matmul},
    {0},
};
