/* Self-tests of reductions: small whole numbers, whose sums are exact. */
#include <math.h>

#include "ops/reduction.h"
#include "ops/self_test.h"

/* Rows side by side, one vector of them and one more, and rows along memory; more than all lanes.
 */
enum { OUTER = 2, LONG = 66, INNER = 17, COUNT = OUTER * LONG * INNER, ROWS = OUTER * INNER };

static clq_reduction make_rows(bool along) {
    const clq_tensor across = {.shape = {3, {OUTER, LONG, INNER}}, .pitch = INNER};
    const clq_tensor flat = {.shape = {2, {ROWS, LONG}}, .pitch = LONG};
    return clq_reduction_of(along ? &flat : &across, 2);
}

/* The element of row k at place i. */
static int element(bool along, int k, int i) {
    return along ? k * LONG + i : (k / INNER * LONG + i) * INNER + k % INNER;
}

/* ---- reduce.cl ---- */

enum { X, B, Y, TOP, INDEX, DX };
enum { GRAD_LOG_EXP = 5, GRAD_EXTREME = 6 }; /* kernels/f32/reduce.cl */

typedef struct reduced {
    float x[COUNT], b[COUNT], dx[COUNT];
    float top[ROWS], index[ROWS], square[ROWS], dot[ROWS], log_exp[ROWS], product[ROWS];
} reduced;

/* x of products: powers of two, one of which is 0 in some rows. */
static void make_products(reduced *r, bool along) {
    for (int k = 0; k < ROWS; k++) {
        r->product[k] = 1;
        for (int i = 0; i < LONG; i++) {
            const int at = element(along, k, i);
            r->b[at] = k % 3 == 0 && i == k % LONG ? 0
                       : (k + i) % 5 == 0          ? 2
                       : (k + i) % 5 == 1          ? 0.5f
                                                   : 1;
            r->product[k] *= r->b[at];
        }
    }
}

static void reduce_rows(reduced *r, bool along) {
    clq_self_test_fill(r->x, COUNT, 4, 1);
    clq_self_test_fill(r->b, COUNT, 3, 2);
    for (int k = 0; k < ROWS; k++) {
        double sum = 0;
        r->top[k] = -INFINITY;
        r->square[k] = r->dot[k] = 0;
        for (int i = 0; i < LONG; i++) {
            const int at = element(along, k, i);
            if (r->x[at] > r->top[k]) {
                r->top[k] = r->x[at];
                r->index[k] = (float)i;
            }
            r->square[k] += (r->x[at] - 1) * (r->x[at] - 1);
            r->dot[k] += r->x[at] * r->b[at];
            sum += exp((double)r->x[at]);
        }
        r->log_exp[k] = (float)log(sum);
    }
}

static clq_status check_sums(clq_self_bench *b, const reduced *r, const clq_reduction *rows) {
    float ones[ROWS];
    for (int k = 0; k < ROWS; k++) {
        ones[k] = 1;
    }
    CLQ_TRY(clq_bench_put(b, X, r->x, sizeof r->x));
    CLQ_TRY(clq_bench_put(b, B, r->b, sizeof r->b));
    CLQ_TRY(clq_bench_put(b, TOP, ones, sizeof ones));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof ones));
    CLQ_TRY(clq_reduce_sum(b->device, rows, b->buffers[X], b->buffers[TOP], b->buffers[Y],
                           CLQ_TERM_SQUARE, CLQ_FINISH_NONE));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], r->square, ROWS, 0, "reduce_sum_f32"));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof ones));
    CLQ_TRY(clq_reduce_dot(b->device, rows, b->buffers[X], b->buffers[B], b->buffers[Y]));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], r->dot, ROWS, 0, "reduce_dot_f32"));
    CLQ_TRY(clq_bench_put(b, TOP, NULL, sizeof ones));
    CLQ_TRY(clq_reduce_largest(b->device, rows, b->buffers[X], b->buffers[TOP], 1));
    CLQ_TRY(clq_bench_floats(b, b->buffers[TOP], r->top, ROWS, 0, "reduce_max_f32"));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof ones));
    CLQ_TRY(clq_reduce_exp(b->device, rows, b->buffers[X], b->buffers[TOP], b->buffers[Y], true));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], r->log_exp, ROWS, 1e-5, "reduce_exp_f32"));
    CLQ_TRY(clq_bench_put(b, INDEX, NULL, sizeof ones));
    CLQ_BENCH(b, "arg_max_f32", clq_reduction_range(b->device, rows), CLQ_AT(b, X),
              CLQ_AT(b, INDEX), CLQ_F32(1), CLQ_I32(0), CLQ_REDUCTION(*rows));
    return clq_bench_floats(b, b->buffers[INDEX], r->index, ROWS, 0, "arg_max_f32");
}

/* Behind check_sums: INDEX holds places, Y the logarithms. The first of a row's values is dy. */
static clq_status check_gradients(clq_self_bench *b, reduced *r, const clq_reduction *rows,
                                  bool along) {
    for (int kind = GRAD_LOG_EXP; kind <= GRAD_EXTREME; kind++) {
        for (int k = 0; k < ROWS; k++) {
            for (int i = 0; i < LONG; i++) {
                const int at = element(along, k, i);
                const double slope = kind == GRAD_EXTREME ? (float)i == r->index[k]
                                                          : exp((double)(r->x[at] - r->log_exp[k]));
                r->dx[at] = (float)((double)r->x[at] + (double)r->dot[k] * slope);
            }
        }
        CLQ_TRY(clq_bench_put(b, DX, r->x, sizeof r->dx)); /* is added to */
        CLQ_TRY(clq_bench_put(b, TOP, r->dot, sizeof r->dot));
        CLQ_BENCH(b, "reduce_grad_f32", clq_reduction_range(b->device, rows), CLQ_AT(b, X),
                  CLQ_AT(b, Y), CLQ_AT(b, INDEX), CLQ_AT(b, TOP), CLQ_AT(b, DX), CLQ_I32(kind),
                  CLQ_I32(1), CLQ_REDUCTION(*rows));
        CLQ_TRY(clq_bench_floats(b, b->buffers[DX], r->dx, COUNT, 1e-5, "reduce_grad_f32"));
    }
    return CLQ_OK;
}

static clq_status check_products(clq_self_bench *b, reduced *r, const clq_reduction *rows,
                                 bool along) {
    make_products(r, along);
    for (int k = 0; k < ROWS; k++) {
        for (int i = 0; i < LONG; i++) {
            float others = r->dot[k];
            for (int j = 0; j < LONG; j++) {
                others *= j == i ? 1 : r->b[element(along, k, j)];
            }
            r->dx[element(along, k, i)] = others;
        }
    }
    CLQ_TRY(clq_bench_put(b, B, r->b, sizeof r->b));
    CLQ_TRY(clq_bench_put(b, DX, NULL, sizeof r->dx));
    CLQ_BENCH(b, "reduce_prod_f32", clq_reduction_range(b->device, rows), CLQ_AT(b, B),
              CLQ_AT(b, Y), CLQ_REDUCTION(*rows));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], r->product, ROWS, 0, "reduce_prod_f32"));
    CLQ_BENCH(b, "reduce_prod_grad_f32", clq_reduction_range(b->device, rows), CLQ_AT(b, B),
              CLQ_AT(b, TOP), CLQ_AT(b, DX), CLQ_I32(0), CLQ_REDUCTION(*rows));
    return clq_bench_floats(b, b->buffers[DX], r->dx, COUNT, 0, "reduce_prod_grad_f32");
}

static clq_status test_reduce(clq_self_bench *b) {
    reduced *r = clq_calloc(1, sizeof *r);
    clq_status status = CLQ_OK;
    if (!r) {
        return CLQ_NO_MEMORY;
    }
    for (int along = 0; along < 2; along++) {
        const clq_reduction rows = make_rows(along);
        reduce_rows(r, along);
        CLQ_GOTO(status, cleanup, check_sums(b, r, &rows));
        CLQ_GOTO(status, cleanup, check_gradients(b, r, &rows, along));
        CLQ_GOTO(status, cleanup, check_products(b, r, &rows, along));
    }
cleanup:
    clq_free(r);
    return status;
}

const clq_file_test clq_rows_self_tests[] = {{"f32/reduce.cl", test_reduce}, {0}};
