/* matmul: y = a b of two activations, or an activation and a constant: matrices in their last two
 * axes, batches in the others. */
#include "ops/elementwise.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { A, B };                                        /* inputs */
enum { TILE_ROWS = 6, TILE_COLUMNS = 16, SIDE = 16 }; /* kernels/f32/matmul.cl */
enum { TILE_GRAIN = 1 << 16 };                        /* multiply-adds an item does at least */
enum { BATCHES = 3 };                                 /* axes of them, as the kernel takes */
_Static_assert(CLQ_MAX_RANK - 2 <= BATCHES, "matmul's kernel takes three axes of batches");

/* A matrix of a batch: strides of its rows and columns. */
typedef struct matrix {
    clq_buffer *buffer;
    int row, column;
    int size[BATCHES], batch[BATCHES]; /* of the batch's axes, the last the fastest */
} matrix;

/* ---- shapes ---- */

typedef struct sizes {
    int64_t rows, columns, depth, other_depth;
} sizes;

static sizes sizes_of(const clq_shape *a, const clq_shape *b, const clq_matmul_attrs *attrs) {
    const int64_t *p = a->dim + a->rank - 2, *q = b->dim + b->rank - 2;
    return (sizes){.rows = p[attrs->transpose_a],
                   .depth = p[!attrs->transpose_a],
                   .columns = q[!attrs->transpose_b],
                   .other_depth = q[attrs->transpose_b]};
}

/* A constant matrix, or several, has no batch: a shape of `rank` dimensions. */
static clq_shape widened(const clq_shape *shape, int rank) {
    clq_shape wide = {.rank = rank};
    for (int i = 0; i < rank; i++) {
        const int own = i - rank + shape->rank;
        wide.dim[i] = own < 0 ? 1 : shape->dim[own];
    }
    return wide;
}

/* *constant: it is a parameter. */
static clq_status check_operand(const clq_graph *graph, const clq_node *node, int input,
                                bool *constant) {
    const clq_value *value = &graph->values[node->inputs[input]];
    *constant = value->kind == CLQ_VALUE_PARAMETER;
    if (!*constant) {
        /* Of two dimensions, one is the batch: images would mix. */
        return clq_want_activation(graph, node, input, 3, CLQ_MAX_RANK);
    }
    return value->dtype == CLQ_F32 && value->q.count == 0 && value->shape.rank >= 2 &&
                   value->shape.rank <= 3
               ? CLQ_OK
               : clq_op_broken(node, "a constant operand must be float, of 2 or 3 dimensions");
}

static clq_status matmul_infer(const clq_graph *graph, const clq_node *node, clq_shape *output) {
    const clq_shape *p = &graph->values[node->inputs[A]].shape;
    const clq_shape *q = &graph->values[node->inputs[B]].shape;
    char a_text[96], b_text[96];
    bool constant[2];
    clq_shape_text(p, a_text, sizeof a_text);
    clq_shape_text(q, b_text, sizeof b_text);
    CLQ_TRY(check_operand(graph, node, A, &constant[A]));
    CLQ_TRY(check_operand(graph, node, B, &constant[B]));
    const int rank = constant[A] ? q->rank : p->rank;
    const sizes s = sizes_of(p, q, node->attrs);
    if ((constant[A] && constant[B]) || p->rank > rank || q->rank > rank ||
        (!constant[A] && !constant[B] && p->rank != q->rank) || s.depth != s.other_depth) {
        return clq_op_broken(node,
                             "inputs of shape %s and %s must have as many dimensions, and matrices "
                             "that can be multiplied",
                             a_text, b_text);
    }
    const clq_shape a = widened(p, rank), b = widened(q, rank);
    *output = a;
    for (int i = 0; i < rank - 2; i++) {
        if (a.dim[i] != b.dim[i] && (i == 0 || (a.dim[i] != 1 && b.dim[i] != 1))) {
            return clq_op_broken(node, "inputs of shape %s and %s: axis %d differs", a_text, b_text,
                                 i);
        }
        output->dim[i] = a.dim[i] > b.dim[i] ? a.dim[i] : b.dim[i];
    }
    output->dim[rank - 2] = s.rows;
    output->dim[rank - 1] = s.columns;
    return CLQ_OK;
}

static int64_t matmul_macs(const clq_graph *graph, const clq_node *node) {
    const clq_shape *a = &graph->values[node->inputs[A]].shape;
    const clq_shape *b = &graph->values[node->inputs[B]].shape;
    return clq_shape_count(&graph->values[node->output].shape) * sizes_of(a, b, node->attrs).depth;
}

/* ---- products ---- */

/* The matrices of a tensor, as they lie or transposed. */
static matrix matrix_of(const clq_tensor *tensor, clq_buffer *buffer, bool transposed) {
    const clq_shape *shape = &tensor->shape;
    const int columns = (int)shape->dim[shape->rank - 1];
    matrix m = {.buffer = buffer, .row = columns, .column = 1};
    int stride = columns * (int)shape->dim[shape->rank - 2];
    if (transposed) {
        m.row = 1;
        m.column = columns;
    }
    for (int i = BATCHES - 1; i >= 0; i--) {
        const int axis = i - BATCHES + shape->rank - 2;
        m.size[i] = axis >= 0 ? (int)shape->dim[axis] : 1;
        m.batch[i] = m.size[i] > 1 ? stride : 0; /* 0: one for all */
        stride *= m.size[i];
    }
    return m;
}

typedef struct product {
    int kept[BATCHES], kept_p[BATCHES], kept_q[BATCHES];
    int added[BATCHES], added_p[BATCHES], added_q[BATCHES];
    int64_t batches;
} product;

/* Batches that the result has; those that only the factors have are added up. */
static product plan_batches(const matrix *p, const matrix *q, const int *result) {
    product plan = {.batches = 1};
    for (int i = 0; i < BATCHES; i++) {
        const int size = p->size[i] > q->size[i] ? p->size[i] : q->size[i];
        const bool kept = result[i] == size;
        plan.kept[i] = kept ? size : 1;
        plan.kept_p[i] = p->batch[i];
        plan.kept_q[i] = q->batch[i];
        plan.added[i] = kept ? 1 : size;
        plan.added_p[i] = p->batch[i];
        plan.added_q[i] = q->batch[i];
        plan.batches *= plan.kept[i];
    }
    return plan;
}

static clq_range product_range(const clq_op_run *run, int64_t batches, int rows, int columns,
                               int depth) {
    if (clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU) {
        return (clq_range){3, {(size_t)columns, (size_t)rows, (size_t)batches}, {SIDE, SIDE, 1}};
    }
    const int64_t tiles = batches * ((rows + TILE_ROWS - 1) / TILE_ROWS) *
                          ((columns + TILE_COLUMNS - 1) / TILE_COLUMNS);
    const int64_t cost = (int64_t)TILE_ROWS * TILE_COLUMNS * depth;
    return CLQ_RANGE1(clq_work_items(run->device, tiles, 1 + (TILE_GRAIN - 1) / cost));
}

#define EACH(a) CLQ_I32((a)[0]), CLQ_I32((a)[1]), CLQ_I32((a)[2])

/* y (.., rows, columns), dense, of the batches `result` (BATCHES) = p q, or += it. */
static clq_status multiply(const clq_op_run *run, matrix p, matrix q, const int *result, int rows,
                           int columns, int depth, bool accumulate, clq_buffer *y) {
    const product plan = plan_batches(&p, &q, result);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "matmul_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, product_range(run, plan.batches, rows, columns, depth),
                      CLQ_BUF(p.buffer), CLQ_BUF(q.buffer), CLQ_BUF(y), EACH(plan.kept),
                      EACH(plan.kept_p), EACH(plan.kept_q), EACH(plan.added), EACH(plan.added_p),
                      EACH(plan.added_q), CLQ_I32(rows), CLQ_I32(columns), CLQ_I32(depth),
                      CLQ_I32(p.row), CLQ_I32(p.column), CLQ_I32(q.row), CLQ_I32(q.column),
                      CLQ_I32(accumulate));
}

static clq_status matmul_forward(clq_op_run *run) {
    const clq_matmul_attrs *attrs = run->node->attrs;
    const sizes s = sizes_of(&run->in[A].shape, &run->in[B].shape, attrs);
    const matrix y = matrix_of(&run->out, run->out.buffer, false);
    return multiply(run, matrix_of(&run->in[A], run->in[A].buffer, attrs->transpose_a),
                    matrix_of(&run->in[B], run->in[B].buffer, attrs->transpose_b), y.size,
                    (int)s.rows, (int)s.columns, (int)s.depth, false, y.buffer);
}

/* da = dy b^T, of a transposed a b dy^T; db = a^T dy, of a transposed b dy^T a. */
static clq_status matmul_backward(clq_op_run *run) {
    const clq_matmul_attrs *attrs = run->node->attrs;
    const bool ta = attrs->transpose_a, tb = attrs->transpose_b;
    const sizes s = sizes_of(&run->in[A].shape, &run->in[B].shape, attrs);
    const int rows = (int)s.rows, columns = (int)s.columns, depth = (int)s.depth;
    clq_buffer *a = run->in[A].buffer, *b = run->in[B].buffer, *dy = run->grad_out.buffer;
    if (run->grad_in[A].buffer != NULL) {
        const matrix to = matrix_of(&run->in[A], a, false);
        const matrix g = matrix_of(&run->out, dy, ta), other = matrix_of(&run->in[B], b, tb != !ta);
        CLQ_TRY(ta ? multiply(run, other, g, to.size, depth, rows, columns, run->accumulate[A],
                              run->grad_in[A].buffer)
                   : multiply(run, g, other, to.size, rows, depth, columns, run->accumulate[A],
                              run->grad_in[A].buffer));
    }
    if (run->grad_in[B].buffer == NULL) {
        return CLQ_OK;
    }
    const matrix to = matrix_of(&run->in[B], b, false);
    const matrix g = matrix_of(&run->out, dy, tb), other = matrix_of(&run->in[A], a, ta != !tb);
    return tb ? multiply(run, g, other, to.size, columns, depth, rows, run->accumulate[B],
                         run->grad_in[B].buffer)
              : multiply(run, other, g, to.size, depth, columns, rows, run->accumulate[B],
                         run->grad_in[B].buffer);
}

const clq_op clq_op_matmul = {
    .name = "matmul",
    .attrs_size = sizeof(clq_matmul_attrs),
    .min_inputs = 2,
    .max_inputs = 2,
    .infer = matmul_infer,
    .forward = matmul_forward,
    .backward = matmul_backward,
    .backward_reads = CLQ_READS_INPUT,
    .macs = matmul_macs,
};
