/* Matrices times vectors: Gemm and MatMul, of which the graph makes linear layers, and products
 * of other operands. */
#include <string.h>

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
static clq_status make_linear(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                              const onnx_constant *weight, const onnx_constant *bias,
                              clq_shape shape, const onnx_operand *like, onnx_operand *y) {
    const clq_linear_attrs attrs = {CLQ_ACT_NONE};
    char *name;
    int inputs[3] = {x->value}, count;
    CLQ_TRY(onnx_node_name(load, node, weight->name, &name));
    CLQ_TRY(onnx_add_weights(load, node, x, weight, bias, shape, name, inputs, &count));
    return onnx_make_node(load, node, "linear", name, &attrs, inputs, count, like, y);
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

/* ---- products of other operands ---- */

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
static bool fits_batch(const onnx_loader *load, const onnx_side *s, int rank) {
    const onnx_operand *x = &s->x;
    if (s->constant) {
        return s->constant->rank < rank || s->constant->dim[0] == 1;
    }
    const onnx_dims dims = onnx_activation_dims(load, x);
    for (int k = 0; k < x->rank; k++) {
        const bool first = k + rank - x->rank == 0;
        if (x->axis[k] == 0 ? !first : first && dims.dim[k] != 1) {
            return false;
        }
    }
    return true;
}

/* A constant of a product as a parameter, without dimensions of 1 in front. */
static clq_status add_matrices(onnx_loader *load, const onnx_node *node,
                               const onnx_constant *constant, const char *name, int *value) {
    int first = 0;
    clq_shape shape = {.rank = 0};
    while (constant->rank - first > 2 && constant->dim[first] == 1) {
        first++;
    }
    if (constant->rank - first > 3 || constant->rank < 2 || constant->count == 0) {
        char text[96];
        onnx_dims_text(constant->rank, constant->dim, text, sizeof text);
        return onnx_fail(node,
                         "the constant \"%.100s\" has shape %s, must be matrices of up to 3 "
                         "dimensions",
                         constant->name, text);
    }
    for (int k = first; k < constant->rank; k++) {
        shape.dim[shape.rank++] = constant->dim[k];
    }
    return onnx_add_float(load, node, constant, CLQ_VALUE_PARAMETER, shape, name, "weight", value);
}

/* An operand of one dimension is a row in front, a column behind. */
static clq_status make_matrix(onnx_loader *load, onnx_side *s, bool front) {
    onnx_constant *wide;
    void *copy;
    if (!s->constant) {
        if (s->x.rank == 1) {
            s->x.axis[1] = front ? s->x.axis[0] : -1;
            s->x.axis[0] = front ? -1 : s->x.axis[0];
            s->x.rank = 2;
        }
        return CLQ_OK;
    }
    if (s->constant->rank != 1) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_copy(&load->arena, s->constant, sizeof *s->constant, &copy));
    wide = copy;
    wide->rank = 2;
    wide->dim[1] = front ? wide->dim[0] : 1;
    wide->dim[0] = front ? 1 : wide->dim[0];
    wide->axis = front && wide->scale_count > 1 ? 1 : 0;
    s->constant = wide;
    return CLQ_OK;
}

static int rank_of(const onnx_side *s) {
    return s->constant ? s->constant->rank : s->x.rank;
}

/* The graph's operand of `rank` dimensions, for a constant of at most 3. */
static clq_status place_matrix(onnx_loader *load, const onnx_node *node, onnx_side *s, int rank,
                               const char *name, bool *transposed, int *value) {
    if (s->constant) {
        return add_matrices(load, node, s->constant, name, value);
    }
    CLQ_TRY(onnx_settle(load, node, &s->x, false));
    CLQ_TRY(arrange_matrix(load, node, &s->x, rank, transposed));
    *value = s->x.value;
    return CLQ_OK;
}

/* y = a b, matrices in the last two axes of each. transposed[k]: constant k's are the other way
 * round. */
static clq_status make_product(onnx_loader *load, const onnx_node *node, onnx_side *a, onnx_side *b,
                               const bool transposed[2], const char *name, onnx_operand *y) {
    const int rows = rank_of(a), columns = rank_of(b);
    clq_matmul_attrs attrs = {transposed[0], transposed[1]};
    onnx_operand like = {.rank = rows > columns ? rows : columns};
    int inputs[2];
    /* Otherwise the graph has a batch of one image in front of all. */
    const bool batched =
        like.rank > 2 && fits_batch(load, a, like.rank) && fits_batch(load, b, like.rank);
    const int rank = like.rank + (batched || load->batch != 1 ? 0 : 1);
    if (rows < 2 || columns < 2 || rank < 3 || rank > CLQ_MAX_RANK) {
        return onnx_fail(node,
                         "multiplies operands of %d and %d dimensions; 3 to %d, the first the "
                         "batch, or fewer of one image are supported",
                         rows, columns, CLQ_MAX_RANK);
    }
    CLQ_TRY(place_matrix(load, node, a, rank, name, &attrs.transpose_a, &inputs[0]));
    CLQ_TRY(place_matrix(load, node, b, rank, name, &attrs.transpose_b, &inputs[1]));
    for (int k = 0; k < like.rank; k++) {
        like.axis[k] = k + rank - like.rank;
    }
    return onnx_make_node(load, node, "matmul", name, &attrs, inputs, 2, &like, y);
}

/* ---- Gemm ---- */

/* An activation's axes change places where it is transposed; a constant stays as it is. */
static clq_status want_matrix(const onnx_node *node, onnx_side *s, bool transposed) {
    if (rank_of(s) != 2) {
        return onnx_fail(node,
                         "its input has %d dimensions, must be (N, features); flatten it before",
                         rank_of(s));
    }
    if (!s->constant && transposed) {
        const int first = s->x.axis[0];
        s->x.axis[0] = s->x.axis[1];
        s->x.axis[1] = first;
    }
    return CLQ_OK;
}

/* B constant: a linear layer; `bias` NULL: without. */
static clq_status make_layer(onnx_loader *load, const onnx_node *node, onnx_side *a, onnx_side *b,
                             const bool transposed[2], float alpha, const onnx_constant *bias,
                             onnx_side *y) {
    static const int places[2] = {0, 1};
    clq_shape shape;
    *y = (onnx_side){.constant = NULL};
    CLQ_TRY(onnx_arrange(load, node, &a->x, 2, places));
    CLQ_TRY(scale_constant(load, node, alpha, &b->constant));
    CLQ_TRY(turn_weights(load, node, transposed[1], &b->constant, &shape));
    return make_linear(load, node, &a->x, b->constant, bias, shape, NULL, &y->x);
}

/* A name for a node that is part of what the file's node does. */
static clq_status part_name(onnx_loader *load, const onnx_node *node, const char *part,
                            char **name) {
    CLQ_TRY(clq_arena_format(&load->arena, name, "%s.%s", onnx_output_name(node), part));
    return onnx_unique_name(load, *name, name);
}

/* y times a number that is not 1. */
static clq_status multiply(onnx_loader *load, const onnx_node *node, float number, const char *part,
                           onnx_side *y) {
    onnx_side factor = {.constant = NULL}, product = *y;
    char *name;
    if (number == 1) {
        return CLQ_OK;
    }
    CLQ_TRY(part_name(load, node, part, &name));
    CLQ_TRY(onnx_constant_number(load, number, &factor.constant));
    return onnx_combine(load, node, CLQ_BINARY_MUL, &product, &factor, name, y);
}

static clq_status make_gemm_product(onnx_loader *load, const onnx_node *node, onnx_side *a,
                                    onnx_side *b, const bool transposed[2], float alpha,
                                    onnx_side *y) {
    const bool turned[2] = {a->constant && transposed[0], b->constant && transposed[1]};
    char *name;
    *y = (onnx_side){.constant = NULL};
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(make_product(load, node, a, b, turned, name, &y->x));
    return multiply(load, node, alpha, "alpha", y);
}

/* Adds beta C, which is no bias of a linear layer. */
static clq_status add_summand(onnx_loader *load, onnx_node *node, onnx_side *y, float beta) {
    onnx_side c, product = *y;
    char *name;
    CLQ_TRY(onnx_read_side(load, node, 2, &c));
    if (c.constant && c.constant->rank == 2 && c.constant->dim[0] != 1 && load->batch != 1) {
        char text[96];
        onnx_dims_text(c.constant->rank, c.constant->dim, text, sizeof text);
        return onnx_fail(node,
                         "C has shape %s: other numbers for each row of the batch, where one a "
                         "feature, (features) or (1, features), is supported",
                         text);
    }
    if (c.constant) {
        CLQ_TRY(scale_constant(load, node, beta, &c.constant));
    } else {
        CLQ_TRY(multiply(load, node, beta, "beta", &c));
    }
    CLQ_TRY(part_name(load, node, "sum", &name));
    return onnx_combine(load, node, CLQ_BINARY_ADD, &product, &c, name, y);
}

static clq_status read_gemm(onnx_loader *load, onnx_node *node) {
    const onnx_operand *c = onnx_input(load, node, 2);
    const onnx_constant *bias = c ? c->constant : NULL;
    onnx_side a, b, y;
    int64_t trans_a = 0, trans_b = 0;
    float alpha = 1, beta = 1;
    CLQ_TRY(onnx_want_inputs(node, 2, 3));
    CLQ_TRY(onnx_read_side(load, node, 0, &a));
    CLQ_TRY(onnx_read_side(load, node, 1, &b));
    CLQ_TRY(onnx_attribute_int(node, "transA", 0, 1, &trans_a));
    CLQ_TRY(onnx_attribute_int(node, "transB", 0, 1, &trans_b));
    CLQ_TRY(onnx_attribute_float(node, "alpha", &alpha));
    CLQ_TRY(onnx_attribute_float(node, "beta", &beta));
    onnx_attribute_ignore(node, "broadcast");
    const bool transposed[2] = {trans_a != 0, trans_b != 0};
    CLQ_TRY(want_matrix(node, &a, transposed[0]));
    CLQ_TRY(want_matrix(node, &b, transposed[1]));
    const bool layer = b.constant && !a.constant; /* and C its bias: a number for each feature */
    const bool is_bias = layer && bias && bias->rank <= 2 && (bias->rank < 2 || bias->dim[0] == 1);
    if (is_bias) {
        CLQ_TRY(scale_constant(load, node, beta, &bias));
    }
    if (layer) {
        CLQ_TRY(make_layer(load, node, &a, &b, transposed, alpha, is_bias ? bias : NULL, &y));
    } else {
        CLQ_TRY(make_gemm_product(load, node, &a, &b, transposed, alpha, &y));
    }
    if (c && !is_bias) {
        CLQ_TRY(add_summand(load, node, &y, beta));
    }
    return onnx_bind_made(load, node, 0, &y.x);
}

/* ---- MatMul ---- */

/* The dimensions that operands of one dimension brought go again. */
static clq_status read_product(onnx_loader *load, onnx_node *node) {
    static const bool straight[2] = {false, false};
    onnx_side a, b;
    onnx_operand y;
    char *name;
    CLQ_TRY(onnx_read_side(load, node, 0, &a));
    CLQ_TRY(onnx_read_side(load, node, 1, &b));
    const bool row = rank_of(&a) == 1, column = rank_of(&b) == 1;
    CLQ_TRY(make_matrix(load, &a, true));
    CLQ_TRY(make_matrix(load, &b, false));
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(make_product(load, node, &a, &b, straight, name, &y));
    if (row) {
        y.axis[y.rank - 2] = y.axis[y.rank - 1];
    }
    y.rank -= row + column;
    return onnx_bind_made(load, node, 0, &y);
}

/* A matrix, also behind dimensions of 1 that x has too, by which every vector of x is multiplied;
 * NULL: it is none. */
static clq_status find_weights(onnx_loader *load, const onnx_operand *x,
                               const onnx_constant **weight) {
    const onnx_constant *w = *weight;
    const int x_rank = x->flatten ? 2 : x->rank;
    onnx_constant *matrix;
    void *copy;
    bool fits = w->rank >= 2 && x_rank >= w->rank && w->scale_count <= 1;
    for (int k = 0; fits && k < w->rank - 2; k++) {
        fits = w->dim[k] == 1;
    }
    if (w->rank == 2 && x_rank >= 2) {
        return CLQ_OK;
    }
    *weight = NULL;
    if (fits) {
        CLQ_TRY(clq_arena_copy(&load->arena, w, sizeof *w, &copy));
        matrix = copy;
        matrix->rank = 2;
        matrix->dim[0] = w->dim[w->rank - 2];
        matrix->dim[1] = w->dim[w->rank - 1];
        *weight = matrix;
    }
    return CLQ_OK;
}

static clq_status read_matmul(onnx_loader *load, onnx_node *node) {
    onnx_operand x, y;
    clq_shape shape;
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    const onnx_operand *first = onnx_input(load, node, 0), *second = onnx_input(load, node, 1);
    const onnx_constant *weight = second ? second->constant : NULL;
    if (weight && !first->constant) {
        CLQ_TRY(find_weights(load, first, &weight));
    }
    if (!weight || first->constant) {
        return read_product(load, node);
    }
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(turn_weights(load, node, false, &weight, &shape));
    if (x.rank == 2) {
        CLQ_TRY(onnx_arrange(load, node, &x, 2, (const int[2]){0, 1}));
    }
    if (onnx_is_row(load, &x) && x.axis[x.rank - 1] == 1) {
        CLQ_TRY(make_linear(load, node, &x, weight, NULL, shape, &x, &y));
        return onnx_bind_made(load, node, 0, &y);
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
        const clq_value *value = &chain->save->graph->values[graph_node->inputs[i]];
        const clq_axes kept = onnx_save_kept_axes(chain->save, graph_node->inputs[i]);
        const int own = value->shape.rank; /* constants may have fewer */
        clq_axes wanted = {.rank = own};
        for (int k = 0; k < own; k++) {
            wanted.axis[k] = k;
        }
        if (i == 0 ? attrs->transpose_a : attrs->transpose_b) {
            wanted.axis[own - 2] = own - 1;
            wanted.axis[own - 1] = own - 2;
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
