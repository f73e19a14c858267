/* Self-tests of reductions, of what is made with them, and of matrix products: small whole numbers,
 * whose sums are exact. */
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

enum { X, B, Y, TOP, INDEX, DX, GAMMA, BETA };
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

/* ---- normalize.cl: exp, log and quotients round ---- */

enum { TABLE = B, OTHER = TOP, DY = INDEX };
static const double rounding = 1e-5;

typedef struct normalized {
    float x[COUNT], dy[COUNT], y[COUNT], dx[COUNT];
    float table[ROWS], other[ROWS]; /* of a row each; not what these would be, but any numbers */
} normalized;

/* y and dx of element `at`, by tables a and b of its row; dx is added to x. */
typedef void normalize_one(normalized *n, int at, double a, double b);

static void one_softmax(normalized *n, int at, double a, double b) {
    n->y[at] = (float)(exp((double)n->x[at] - a) / b);
    n->dx[at] = (float)((double)n->x[at] + (double)n->y[at] * ((double)n->dy[at] - a));
}

static void one_log_softmax(normalized *n, int at, double a, double b) {
    n->y[at] = (float)((double)n->x[at] - a - log(b));
    n->dx[at] = (float)((double)n->x[at] + (double)n->dy[at] - exp((double)n->y[at]) * a);
}

static void one_of_length(normalized *n, int at, double a, double b) {
    n->y[at] = (float)((double)n->x[at] / a);
    n->dx[at] = (float)((double)n->x[at] + ((double)n->dy[at] - (double)n->y[at] * b) / a);
}

static clq_status put_rows(clq_self_bench *b, normalized *n, bool along, normalize_one *one) {
    for (int k = 0; k < ROWS; k++) {
        for (int i = 0; i < LONG; i++) {
            one(n, element(along, k, i), (double)n->table[k], (double)n->other[k]);
        }
    }
    CLQ_TRY(clq_bench_put(b, X, n->x, sizeof n->x));
    CLQ_TRY(clq_bench_put(b, DX, n->x, sizeof n->x)); /* is added to */
    CLQ_TRY(clq_bench_put(b, DY, n->dy, sizeof n->dy));
    CLQ_TRY(clq_bench_put(b, TABLE, n->table, sizeof n->table));
    CLQ_TRY(clq_bench_put(b, OTHER, n->other, sizeof n->other));
    return clq_bench_put(b, Y, NULL, sizeof n->y);
}

/* Compares y, and puts it where the backward kernel may read it. */
static clq_status to_backward(clq_self_bench *b, const normalized *n, const char *forward) {
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], n->y, COUNT, rounding, forward));
    return clq_bench_put(b, Y, n->y, sizeof n->y);
}

static clq_status check_softmax(clq_self_bench *b, normalized *n, bool along, bool logarithm) {
    const clq_reduction rows = make_rows(along);
    const clq_range range = clq_reduction_range(b->device, &rows);
    CLQ_TRY(put_rows(b, n, along, logarithm ? one_log_softmax : one_softmax));
    CLQ_BENCH(b, "softmax_f32", range, CLQ_AT(b, X), CLQ_AT(b, TABLE), CLQ_AT(b, OTHER),
              CLQ_AT(b, Y), CLQ_I32(logarithm), CLQ_REDUCTION(rows));
    CLQ_TRY(to_backward(b, n, "softmax_f32"));
    CLQ_BENCH(b, "softmax_grad_f32", range, CLQ_AT(b, Y), CLQ_AT(b, DY), CLQ_AT(b, TABLE),
              CLQ_AT(b, DX), CLQ_I32(logarithm), CLQ_I32(1), CLQ_REDUCTION(rows));
    return clq_bench_floats(b, b->buffers[DX], n->dx, COUNT, rounding, "softmax_grad_f32");
}

static clq_status check_lengths(clq_self_bench *b, normalized *n, bool along) {
    const clq_reduction rows = make_rows(along);
    const clq_range range = clq_reduction_range(b->device, &rows);
    CLQ_TRY(put_rows(b, n, along, one_of_length));
    CLQ_BENCH(b, "lp_normalize_f32", range, CLQ_AT(b, X), CLQ_AT(b, TABLE), CLQ_AT(b, Y),
              CLQ_REDUCTION(rows));
    CLQ_TRY(to_backward(b, n, "lp_normalize_f32"));
    CLQ_BENCH(b, "lp_normalize_grad_f32", range, CLQ_AT(b, Y), CLQ_AT(b, DY), CLQ_AT(b, TABLE),
              CLQ_AT(b, OTHER), CLQ_AT(b, DX), CLQ_I32(0), CLQ_I32(1), CLQ_REDUCTION(rows));
    return clq_bench_floats(b, b->buffers[DX], n->dx, COUNT, rounding, "lp_normalize_grad_f32");
}

/* x as (OUTER, LONG, INNER), in groups of channels: all in one, or each its own. */
static clq_status check_groups(clq_self_bench *b, normalized *n, int groups) {
    const float epsilon = 0.5f;
    float gamma[INNER], beta[INNER];
    for (int c = 0; c < INNER; c++) {
        gamma[c] = 1 + (float)(c % 3);
        beta[c] = (float)(c % 5);
    }
    for (int at = 0; at < COUNT; at++) {
        const int c = at % INNER, k = at / (LONG * INNER) * groups + c / (INNER / groups);
        const double inverse = 1 / sqrt((double)n->other[k] + (double)epsilon);
        const double share = (double)groups / (LONG * INNER);
        n->y[at] = (float)(((double)n->x[at] - (double)n->table[k]) * inverse * (double)gamma[c] +
                           (double)beta[c]);
        n->dx[at] = (float)(((double)n->dy[at] - (double)n->table[k] * share -
                             (double)n->x[at] * (double)n->other[k] * share) *
                            inverse);
    }
    CLQ_TRY(clq_bench_put(b, X, n->x, sizeof n->x));
    CLQ_TRY(clq_bench_put(b, DY, n->dy, sizeof n->dy));
    CLQ_TRY(clq_bench_put(b, TABLE, n->table, sizeof n->table));
    CLQ_TRY(clq_bench_put(b, OTHER, n->other, sizeof n->other));
    CLQ_TRY(clq_bench_put(b, GAMMA, gamma, sizeof gamma));
    CLQ_TRY(clq_bench_put(b, BETA, beta, sizeof beta));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof n->y));
    CLQ_TRY(clq_bench_put(b, DX, NULL, sizeof n->dx));
    CLQ_BENCH(b, "group_norm_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, TABLE),
              CLQ_AT(b, OTHER), CLQ_AT(b, GAMMA), CLQ_AT(b, BETA), CLQ_AT(b, Y), CLQ_F32(epsilon),
              CLQ_I32(OUTER), CLQ_I32(LONG), CLQ_I32(INNER), CLQ_I32(groups));
    CLQ_TRY(to_backward(b, n, "group_norm_f32"));
    CLQ_BENCH(b, "group_norm_grad_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, DY),
              CLQ_AT(b, TABLE), CLQ_AT(b, OTHER), CLQ_AT(b, OTHER), CLQ_AT(b, DX), CLQ_F32(epsilon),
              CLQ_I32(0), CLQ_I32(OUTER), CLQ_I32(LONG), CLQ_I32(INNER), CLQ_I32(groups));
    return clq_bench_floats(b, b->buffers[DX], n->dx, COUNT, rounding, "group_norm_grad_f32");
}

static double lrn_base(const float *x, int c, int size) {
    double sum = 0;
    for (int j = c - (size - 1) / 2; j < c - (size - 1) / 2 + size; j++) {
        sum += j >= 0 && j < INNER ? (double)x[j] * (double)x[j] : 0;
    }
    return 2 + 0.5 / size * sum;
}

static clq_status check_lrn(clq_self_bench *b, normalized *n, int size) {
    for (int at = 0; at < COUNT; at++) {
        const float *x = n->x + at - at % INNER, *dy = n->dy + at - at % INNER;
        const int c = at % INNER;
        double sum = 0;
        for (int j = 0; j < INNER; j++) {
            const int first = j - (size - 1) / 2;
            sum += c >= first && c < first + size
                       ? (double)dy[j] * (double)x[j] * pow(lrn_base(x, j, size), -1.75)
                       : 0;
        }
        n->y[at] = (float)((double)x[c] * pow(lrn_base(x, c, size), -0.75));
        n->dx[at] = (float)((double)dy[c] * pow(lrn_base(x, c, size), -0.75) -
                            2 * 0.5 * 0.75 / size * (double)x[c] * sum);
    }
    CLQ_TRY(clq_bench_put(b, X, n->x, sizeof n->x));
    CLQ_TRY(clq_bench_put(b, DY, n->dy, sizeof n->dy));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof n->y));
    CLQ_TRY(clq_bench_put(b, DX, NULL, sizeof n->dx));
    CLQ_BENCH(b, "lrn_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_I32(COUNT / INNER),
              CLQ_I32(INNER), CLQ_I32(size), CLQ_F32(0.5f), CLQ_F32(0.75f), CLQ_F32(2));
    CLQ_TRY(to_backward(b, n, "lrn_f32"));
    CLQ_BENCH(b, "lrn_grad_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, DY), CLQ_AT(b, DX),
              CLQ_I32(0), CLQ_I32(COUNT / INNER), CLQ_I32(INNER), CLQ_I32(size), CLQ_F32(0.5f),
              CLQ_F32(0.75f), CLQ_F32(2));
    return clq_bench_floats(b, b->buffers[DX], n->dx, COUNT, rounding, "lrn_grad_f32");
}

/* Two images, one from -3 to 2, one of positive numbers alone. */
static clq_status check_dynamic(clq_self_bench *b, normalized *n) {
    const float least[2] = {-3, 0.5f}, most[2] = {2, 9};
    for (int at = 0; at < COUNT; at++) {
        const int image = at / (COUNT / 2);
        const float low = least[image] < 0 ? -least[image] : 0;
        const float scale = (low + most[image]) / 255, zero = rintf(low / scale);
        const float code = rintf(n->x[at] / scale) + zero;
        n->y[at] = scale * ((code < 0 ? 0 : code > 255 ? 255 : code) - zero);
    }
    CLQ_TRY(clq_bench_put(b, X, n->x, sizeof n->x));
    CLQ_TRY(clq_bench_put(b, TABLE, least, sizeof least));
    CLQ_TRY(clq_bench_put(b, OTHER, most, sizeof most));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof n->y));
    CLQ_BENCH(b, "dynamic_quantize_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, TABLE),
              CLQ_AT(b, OTHER), CLQ_AT(b, Y), CLQ_I32(2), CLQ_I32(COUNT / 2));
    return clq_bench_floats(b, b->buffers[Y], n->y, COUNT, 0, "dynamic_quantize_f32");
}

static clq_status test_normalize(clq_self_bench *b) {
    normalized *n = clq_calloc(1, sizeof *n);
    clq_status status = CLQ_OK;
    if (!n) {
        return CLQ_NO_MEMORY;
    }
    clq_self_test_fill(n->x, COUNT, 3, 1);
    clq_self_test_fill(n->dy, COUNT, 3, 2);
    for (int k = 0; k < ROWS; k++) {
        n->table[k] = (float)(1 + k % 3);
        n->other[k] = (float)(1 + k % 5);
    }
    for (int along = 0; along < 2; along++) {
        CLQ_GOTO(status, cleanup, check_softmax(b, n, along, false));
        CLQ_GOTO(status, cleanup, check_softmax(b, n, along, true));
        CLQ_GOTO(status, cleanup, check_lengths(b, n, along));
    }
    CLQ_GOTO(status, cleanup, check_groups(b, n, 1));
    CLQ_GOTO(status, cleanup, check_groups(b, n, INNER));
    CLQ_GOTO(status, cleanup, check_lrn(b, n, 4));
    CLQ_GOTO(status, cleanup, check_dynamic(b, n));
cleanup:
    clq_free(n);
    return status;
}

/* ---- matmul.cl ---- */

/* Two batches of a, added up with the one b; tiles that hang over. */
static clq_status test_matmul(clq_self_bench *b) {
    enum { R = 13, S = 18, T = 20, P = 2 * R * T, Q = T * S, OUT = R * S };
    float p[P], q[Q], y[OUT];
    clq_self_test_fill(p, P, 3, 1);
    clq_self_test_fill(q, Q, 3, 2);
    clq_self_test_fill(y, OUT, 9, 3);
    CLQ_TRY(clq_bench_put(b, X, p, sizeof p));
    CLQ_TRY(clq_bench_put(b, B, q, sizeof q));
    for (int transposed = 0; transposed < 2; transposed++) {
        const int row = transposed ? 1 : S, column = transposed ? T : 1;
        float expected[OUT];
        for (int i = 0; i < OUT; i++) {
            expected[i] = y[i];
            for (int t = 0; t < 2 * T; t++) {
                expected[i] += p[(t / T * R + i / S) * T + t % T] * q[t % T * row + i % S * column];
            }
        }
        const bool gpu = clq_device_get_info(b->device)->schedule == CLQ_SCHEDULE_GPU;
        const clq_range range = gpu ? (clq_range){3, {S, R, 1}, {16, 16, 1}} : CLQ_RANGE1(3);
        CLQ_TRY(clq_bench_put(b, Y, y, sizeof y)); /* is added to */
        CLQ_BENCH(b, "matmul_f32", range, CLQ_AT(b, X), CLQ_AT(b, B), CLQ_AT(b, Y), CLQ_I32(1),
                  CLQ_I32(1), CLQ_I32(1), CLQ_I32(0), CLQ_I32(0), CLQ_I32(0), CLQ_I32(0),
                  CLQ_I32(0), CLQ_I32(0), CLQ_I32(1), CLQ_I32(1), CLQ_I32(2), CLQ_I32(0),
                  CLQ_I32(0), CLQ_I32(R * T), CLQ_I32(0), CLQ_I32(0), CLQ_I32(0), CLQ_I32(R),
                  CLQ_I32(S), CLQ_I32(T), CLQ_I32(T), CLQ_I32(1), CLQ_I32(row), CLQ_I32(column),
                  CLQ_I32(1));
        CLQ_TRY(clq_bench_floats(b, b->buffers[Y], expected, OUT, 0, "matmul_f32"));
    }
    return CLQ_OK;
}

const clq_file_test clq_rows_self_tests[] = {{"f32/reduce.cl", test_reduce, false},
                                             {"f32/normalize.cl", test_normalize, true},
                                             {"f32/matmul.cl", test_matmul, false},
                                             {0}};
