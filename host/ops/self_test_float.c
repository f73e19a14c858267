/* Self-tests of FP32 pooling, shortcuts, dropout and batch norm. */
#include <math.h>

#include "base/rng.h"
#include "ops/pool_geometry.h"
#include "ops/self_test.h"

/* ---- pool.cl: whole numbers, so that only the division of a mean rounds ---- */

/* One vector of channels and one more; windows that hang over every edge. */
static const clq_pool_geometry pool = {.n = 2,
                                       .ih = 4,
                                       .iw = 5,
                                       .c = 17,
                                       .oh = 2,
                                       .ow = 3,
                                       .kh = 3,
                                       .kw = 3,
                                       .sh = 2,
                                       .sw = 2,
                                       .dh = 1,
                                       .dw = 1,
                                       .pad = {1, 1, 0, 1}};
enum { POOL_X = 2 * 4 * 5 * 17, POOL_Y = 2 * 2 * 3 * 17 };

typedef struct pooled {
    float x[POOL_X], dy[POOL_Y];
    float largest[POOL_Y], mean[POOL_Y], max_dx[POOL_X], mean_dx[POOL_X];
    uint16_t index[POOL_Y];
} pooled;

/* Output `at` and all that comes back from it. */
static void pool_one(pooled *p, int at) {
    const clq_pool_geometry *g = &pool;
    const int c = at % g->c, ow = at / g->c % g->ow, oh = at / g->c / g->ow % g->oh;
    const int n = at / g->c / g->ow / g->oh;
    int inside[9], count = 0, best = -1;
    float sum = 0;
    for (int tap = 0; tap < g->kh * g->kw; tap++) {
        const int h = oh * g->sh - g->pad[0] + tap / g->kw,
                  w = ow * g->sw - g->pad[1] + tap % g->kw;
        if (h < 0 || h >= g->ih || w < 0 || w >= g->iw) {
            continue;
        }
        const int from = ((n * g->ih + h) * g->iw + w) * g->c + c;
        inside[count++] = from;
        sum += p->x[from];
        if (best < 0 || p->x[from] > p->x[best]) {
            best = from;
            p->index[at] = (uint16_t)tap;
        }
    }
    p->largest[at] = p->x[best];
    p->max_dx[best] += p->dy[at];
    p->mean[at] = sum / (float)count;
    for (int i = 0; i < count; i++) {
        p->mean_dx[inside[i]] += p->dy[at] / (float)count;
    }
}

static clq_status launch_pools(clq_self_bench *b, const pooled *p) {
    enum { X, DY, Y, INDEX, DX };
    const clq_range range = clq_bench_range(b);
    CLQ_TRY(clq_bench_put(b, X, p->x, sizeof p->x));
    CLQ_TRY(clq_bench_put(b, DY, p->dy, sizeof p->dy));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof p->largest));
    CLQ_TRY(clq_bench_put(b, INDEX, NULL, sizeof p->index));
    CLQ_TRY(clq_bench_put(b, DX, p->x, sizeof p->x)); /* is added to */
    CLQ_BENCH(b, "max_pool_f32", range, CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_AT(b, INDEX),
              CLQ_POOL_SHAPE(pool));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], p->largest, POOL_Y, 0, "max_pool_f32"));
    CLQ_TRY(clq_bench_bytes(b, b->buffers[INDEX], p->index, sizeof p->index, "max_pool_f32"));
    CLQ_TRY(clq_bench_put(b, INDEX, p->index, sizeof p->index));
    CLQ_BENCH(b, "max_pool_grad_f32", range, CLQ_AT(b, DY), CLQ_AT(b, INDEX), CLQ_AT(b, DX),
              CLQ_POOL_SHAPE(pool), CLQ_I32(1));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DX], p->max_dx, POOL_X, 0, "max_pool_grad_f32"));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof p->mean));
    CLQ_TRY(clq_bench_put(b, DX, NULL, sizeof p->mean_dx));
    CLQ_BENCH(b, "avg_pool_f32", range, CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_POOL_SHAPE(pool),
              CLQ_I32(pool.pad[2]), CLQ_I32(pool.pad[3]), CLQ_I32(0));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], p->mean, POOL_Y, 1e-6, "avg_pool_f32"));
    CLQ_BENCH(b, "avg_pool_grad_f32", range, CLQ_AT(b, DY), CLQ_AT(b, DX), CLQ_POOL_SHAPE(pool),
              CLQ_I32(pool.pad[2]), CLQ_I32(pool.pad[3]), CLQ_I32(0), CLQ_I32(0));
    return clq_bench_floats(b, b->buffers[DX], p->mean_dx, POOL_X, 1e-6, "avg_pool_grad_f32");
}

static clq_status test_pool(clq_self_bench *b) {
    pooled *p = clq_calloc(1, sizeof *p);
    if (!p) {
        return CLQ_NO_MEMORY;
    }
    clq_self_test_fill(p->x, POOL_X, 20, 1);
    clq_self_test_fill(p->dy, POOL_Y, 20, 2);
    for (int i = 0; i < POOL_X; i++) {
        p->max_dx[i] = p->x[i];
    }
    for (int i = 0; i < POOL_Y; i++) {
        pool_one(p, i);
    }
    const clq_status status = launch_pools(b, p);
    clq_free(p);
    return status;
}

/* ---- shortcut_a.cl ---- */

static clq_status test_shortcut_a(clq_self_bench *b) {
    enum { IH = 3, IW = 5, C = 17, OH = 2, OW = 3, FRONT = 2, BACK = 3, OC = FRONT + C + BACK };
    enum { X, Y, DX, COUNT = IH * IW * C, OUT = OH * OW * OC };
    float x[COUNT], dx[COUNT], y[OUT] = {0};
    clq_self_test_fill(x, COUNT, 50, 1);
    for (int i = 0; i < COUNT; i++) {
        const int c = i % C, w = i / C % IW, h = i / C / IW;
        const bool taken = h % 2 == 0 && w % 2 == 0;
        if (taken) {
            y[(h / 2 * OW + w / 2) * OC + FRONT + c] = x[i];
        }
        dx[i] = x[i] + (taken ? x[i] : 0); /* y comes back as dy and is added to x */
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, DX, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof y));
    CLQ_BENCH(b, "shortcut_a_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_I32(1),
              CLQ_I32(IH), CLQ_I32(IW), CLQ_I32(C), CLQ_I32(OH), CLQ_I32(OW), CLQ_I32(2),
              CLQ_I32(FRONT), CLQ_I32(BACK));
    CLQ_TRY(clq_bench_floats(b, b->buffers[Y], y, OUT, 0, "shortcut_a_f32"));
    CLQ_TRY(clq_bench_put(b, Y, y, sizeof y));
    CLQ_BENCH(b, "shortcut_a_grad_f32", clq_bench_range(b), CLQ_AT(b, Y), CLQ_AT(b, DX), CLQ_I32(1),
              CLQ_I32(IH), CLQ_I32(IW), CLQ_I32(C), CLQ_I32(OH), CLQ_I32(OW), CLQ_I32(2),
              CLQ_I32(FRONT), CLQ_I32(BACK), CLQ_I32(1));
    return clq_bench_floats(b, b->buffers[DX], dx, COUNT, 0, "shortcut_a_grad_f32");
}

/* ---- dropout.cl ---- */

static clq_status test_dropout(clq_self_bench *b) {
    enum { COUNT = 67, X = 0, Y = 1 };
    const uint64_t seed = UINT64_C(0x123456789abcdef0), stream = UINT64_C(0xfedcba9876543210);
    float x[COUNT], y[COUNT];
    clq_self_test_fill(x, COUNT, 50, 1);
    for (int i = 0; i < COUNT; i++) {
        uint32_t bits[4];
        clq_philox(seed, stream, (uint64_t)(i / 4), bits);
        y[i] = x[i] + (bits[i % 4] >> 30 != 0 ? 2 * x[i] : 0); /* with probability 3/4 */
    }
    CLQ_TRY(clq_bench_put(b, X, x, sizeof x));
    CLQ_TRY(clq_bench_put(b, Y, x, sizeof x)); /* is added to */
    CLQ_BENCH(b, "dropout_f32", clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, Y), CLQ_I32(COUNT),
              CLQ_F32(0.25f), CLQ_F32(2), CLQ_U32(seed), CLQ_U32(seed >> 32), CLQ_U32(stream),
              CLQ_U32(stream >> 32), CLQ_I32(1));
    return clq_bench_floats(b, b->buffers[Y], y, COUNT, 0, "dropout_f32");
}

/* ---- batch_norm.cl: sums of 120 whole numbers are exact, 1 / sqrt(var) and what follows rounds by
 * a few units in the last place of values up to 120 * 4 ---- */

/* Columns: four vectors together, one alone, four scalars. The first part has two chunks of rows.
 */
enum { ROWS = 60, CHANNELS = 42, FOLD = 2, COLS = CHANNELS * FOLD, PART_ROWS = 50, PARTS = 2 };
enum { CELLS = ROWS * COLS, TABLES = 5 * COLS + CHANNELS, SUMS = 2 * COLS, NORM_N = ROWS * FOLD };
enum { X, DY, RESIDUAL, Y, DX, TABLE, PARTIAL, MERGED, GAMMA, BETA, MEAN, VAR, DGAMMA, DBETA };
static const float epsilon = 0.25f, momentum = 0.125f, top = 1.5f;

typedef struct norm {
    float x[CELLS], dy[CELLS], residual[CELLS];
    float gamma[CHANNELS], beta[CHANNELS], mean[CHANNELS], var[CHANNELS]; /* running before */
    float new_mean[CHANNELS], new_var[CHANNELS];
    double own_mean[CHANNELS], invstd[CHANNELS];
    float expected[CELLS], masked[CELLS], dgamma[CHANNELS], dbeta[CHANNELS]; /* of one check */
} norm;

static void find_statistics(norm *n) {
    for (int c = 0; c < CHANNELS; c++) {
        double sum = 0, squares = 0;
        for (int i = c; i < CELLS; i += CHANNELS) {
            sum += (double)n->x[i];
        }
        for (int i = c; i < CELLS; i += CHANNELS) {
            squares += pow((double)n->x[i] - sum / NORM_N, 2);
        }
        n->own_mean[c] = sum / NORM_N;
        n->invstd[c] = 1 / sqrt(squares / NORM_N + (double)epsilon);
        n->new_mean[c] = (float)(0.875 * (double)n->mean[c] + 0.125 * sum / NORM_N);
        n->new_var[c] = (float)(0.875 * (double)n->var[c] + 0.125 * squares / (NORM_N - 1));
    }
}

/* y of element i, by the batch's statistics, before an activation. */
static double normalized(const norm *n, int i, bool add) {
    const int c = i % CHANNELS;
    const double centred = (double)n->x[i] - n->own_mean[c];
    return centred * n->invstd[c] * (double)n->gamma[c] + (double)n->beta[c] +
           (add ? (double)n->residual[i] : 0);
}

static double clamped(double z) {
    return z < 0 ? 0 : z > (double)top ? (double)top : z;
}

static clq_status check_forward(clq_self_bench *b, norm *n, bool add, bool act) {
    static const char *const kernels[2][2] = {{"batch_norm_f32", "batch_norm_act_f32"},
                                              {"batch_norm_add_f32", "batch_norm_add_act_f32"}};
    for (int i = 0; i < CELLS; i++) {
        const double z = normalized(n, i, add);
        n->expected[i] = (float)(act ? clamped(z) : z);
    }
    CLQ_TRY(clq_bench_put(b, Y, NULL, sizeof n->expected));
    CLQ_BENCH(b, kernels[add][act], clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, RESIDUAL),
              CLQ_AT(b, TABLE), CLQ_AT(b, Y), CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_F32(top));
    return clq_bench_floats(b, b->buffers[Y], n->expected, CELLS, 1e-5, kernels[add][act]);
}

static clq_range sum_range(const clq_self_bench *b) {
    return clq_device_get_info(b->device)->schedule == CLQ_SCHEDULE_GPU ? CLQ_RANGE2(COLS, PARTS)
                                                                        : CLQ_RANGE1(PARTS);
}

/* Statistics, by parts or as ranks exchange them, and all that is made with them. */
static clq_status check_batch(clq_self_bench *b, norm *n, bool merge) {
    const int rows = merge ? ROWS : PART_ROWS, parts = merge ? 1 : PARTS;
    CLQ_TRY(clq_bench_put(b, MEAN, n->mean, sizeof n->mean));
    CLQ_TRY(clq_bench_put(b, VAR, n->var, sizeof n->var));
    CLQ_TRY(clq_bench_put(b, TABLE, NULL, TABLES * sizeof(float)));
    CLQ_TRY(clq_bench_put(b, PARTIAL, NULL, PARTS * SUMS * sizeof(float)));
    CLQ_TRY(clq_bench_put(b, MERGED, NULL, SUMS * sizeof(float)));
    CLQ_BENCH(b, "batch_norm_stats_f32", sum_range(b), CLQ_AT(b, X), CLQ_AT(b, PARTIAL),
              CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_I32(PART_ROWS));
    if (merge) {
        CLQ_BENCH(b, "batch_norm_merge_f32", clq_bench_range(b), CLQ_AT(b, PARTIAL),
                  CLQ_AT(b, MERGED), CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_I32(PART_ROWS),
                  CLQ_I32(PARTS));
    }
    CLQ_BENCH(b, "batch_norm_finish_f32", clq_bench_range(b), CLQ_AT(b, merge ? MERGED : PARTIAL),
              CLQ_AT(b, GAMMA), CLQ_AT(b, BETA), CLQ_AT(b, MEAN), CLQ_AT(b, VAR), CLQ_AT(b, TABLE),
              CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_I32(rows), CLQ_I32(parts), CLQ_I32(CHANNELS),
              CLQ_F32(epsilon), CLQ_F32(momentum));
    CLQ_TRY(clq_bench_floats(b, b->buffers[MEAN], n->new_mean, CHANNELS, 1e-5, "running mean"));
    CLQ_TRY(clq_bench_floats(b, b->buffers[VAR], n->new_var, CHANNELS, 1e-5, "running variance"));
    for (int i = 0; i < 4; i++) {
        CLQ_TRY(check_forward(b, n, i & 1, i & 2));
    }
    return CLQ_OK;
}

/* Gradients behind nothing (0), an activation (1), or one behind an addition (2), whose output Y
 * holds: then dy is masked in its place. */
static void find_gradients(norm *n, int behind) {
    double g_sum[CHANNELS] = {0}, gx_sum[CHANNELS] = {0};
    for (int i = 0; i < CELLS; i++) {
        const double z = normalized(n, i, behind == 2);
        const bool passes = behind == 0 || (z > 0 && z < (double)top);
        const double x = ((double)n->x[i] - n->own_mean[i % CHANNELS]) * n->invstd[i % CHANNELS];
        n->masked[i] = passes ? n->dy[i] : 0;
        g_sum[i % CHANNELS] += (double)n->masked[i];
        gx_sum[i % CHANNELS] += (double)n->masked[i] * x;
    }
    for (int i = 0; i < CELLS; i++) {
        const int c = i % CHANNELS;
        const double x = ((double)n->x[i] - n->own_mean[c]) * n->invstd[c];
        n->expected[i] =
            (float)((double)n->gamma[c] * n->invstd[c] *
                    ((double)n->masked[i] - g_sum[c] / NORM_N - x * gx_sum[c] / NORM_N));
        n->dgamma[c] = (float)(0.5 * gx_sum[c]); /* as one of two ranks has them */
        n->dbeta[c] = (float)(0.5 * g_sum[c]);
    }
}

static clq_status check_backward(clq_self_bench *b, norm *n, int behind, bool merge) {
    static const char *const sums[] = {"batch_norm_grad_sums_f32", "batch_norm_act_grad_sums_f32",
                                       "batch_norm_add_act_grad_sums_f32"};
    const char *kernel = behind == 1 ? "batch_norm_act_grad_f32" : "batch_norm_grad_f32";
    const bool add = behind == 1; /* the gradient of x to what is there */
    find_gradients(n, behind);
    for (int i = 0; i < CELLS && add; i++) {
        n->expected[i] += n->x[i];
    }
    CLQ_TRY(clq_bench_put(b, DY, n->dy, sizeof n->dy));
    CLQ_TRY(clq_bench_put(b, DX, add ? n->x : NULL, sizeof n->expected));
    CLQ_TRY(clq_bench_put(b, DGAMMA, NULL, sizeof n->dgamma));
    CLQ_TRY(clq_bench_put(b, DBETA, NULL, sizeof n->dbeta));
    CLQ_TRY(clq_bench_put(b, PARTIAL, NULL, PARTS * SUMS * sizeof(float)));
    CLQ_TRY(clq_bench_put(b, MERGED, NULL, SUMS * sizeof(float)));
    CLQ_BENCH(b, sums[behind], sum_range(b), CLQ_AT(b, X), CLQ_AT(b, DY), CLQ_AT(b, Y),
              CLQ_AT(b, TABLE), CLQ_AT(b, PARTIAL), CLQ_I32(ROWS), CLQ_I32(COLS),
              CLQ_I32(PART_ROWS), CLQ_F32(top));
    if (behind == 2) {
        CLQ_TRY(clq_bench_floats(b, b->buffers[DY], n->masked, CELLS, 0, sums[behind]));
    }
    if (merge) {
        CLQ_BENCH(b, "batch_norm_grad_merge_f32", clq_bench_range(b), CLQ_AT(b, PARTIAL),
                  CLQ_AT(b, MERGED), CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_I32(PART_ROWS),
                  CLQ_I32(PARTS));
    }
    CLQ_BENCH(b, "batch_norm_grad_finish_f32", clq_bench_range(b),
              CLQ_AT(b, merge ? MERGED : PARTIAL), CLQ_AT(b, TABLE), CLQ_AT(b, DGAMMA),
              CLQ_AT(b, DBETA), CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_I32(merge ? 1 : PARTS),
              CLQ_I32(CHANNELS), CLQ_F32(0.5f));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DGAMMA], n->dgamma, CHANNELS, 1e-5, sums[behind]));
    CLQ_TRY(clq_bench_floats(b, b->buffers[DBETA], n->dbeta, CHANNELS, 1e-5, sums[behind]));
    CLQ_BENCH(b, kernel, clq_bench_range(b), CLQ_AT(b, X), CLQ_AT(b, DY), CLQ_AT(b, TABLE),
              CLQ_AT(b, DX), CLQ_I32(ROWS), CLQ_I32(COLS), CLQ_F32(top), CLQ_I32(add));
    return clq_bench_floats(b, b->buffers[DX], n->expected, CELLS, 1e-5, kernel);
}

/* Inference: the tables that the running statistics give are checked by what is made with them. */
static clq_status check_running(clq_self_bench *b, norm *n) {
    for (int c = 0; c < CHANNELS; c++) {
        n->own_mean[c] = (double)n->mean[c];
        n->invstd[c] = 1 / sqrt((double)n->var[c] + (double)epsilon);
    }
    CLQ_TRY(clq_bench_put(b, MEAN, n->mean, sizeof n->mean));
    CLQ_TRY(clq_bench_put(b, VAR, n->var, sizeof n->var));
    CLQ_TRY(clq_bench_put(b, TABLE, NULL, TABLES * sizeof(float)));
    CLQ_BENCH(b, "batch_norm_running_f32", clq_bench_range(b), CLQ_AT(b, GAMMA), CLQ_AT(b, BETA),
              CLQ_AT(b, MEAN), CLQ_AT(b, VAR), CLQ_AT(b, TABLE), CLQ_I32(COLS), CLQ_I32(CHANNELS),
              CLQ_F32(epsilon));
    return check_forward(b, n, false, false);
}

static clq_status check_norm(clq_self_bench *b, norm *n) {
    clq_self_test_fill(n->x, CELLS, 4, 1);
    clq_self_test_fill(n->dy, CELLS, 4, 2);
    clq_self_test_fill(n->residual, CELLS, 2, 3);
    for (int c = 0; c < CHANNELS; c++) {
        n->gamma[c] = 0.5f + (float)(c % 7) / 8;
        n->beta[c] = 0.3f + (float)(c % 5) / 8; /* keeps sums off the activation's bounds */
        n->mean[c] = (float)(c % 3) - 1;
        n->var[c] = 1 + (float)(c % 4);
    }
    find_statistics(n);
    CLQ_TRY(clq_bench_put(b, X, n->x, sizeof n->x));
    CLQ_TRY(clq_bench_put(b, RESIDUAL, n->residual, sizeof n->residual));
    CLQ_TRY(clq_bench_put(b, GAMMA, n->gamma, sizeof n->gamma));
    CLQ_TRY(clq_bench_put(b, BETA, n->beta, sizeof n->beta));
    CLQ_TRY(check_batch(b, n, true));
    CLQ_TRY(check_batch(b, n, false)); /* ends with Y behind addition and activation */
    CLQ_TRY(check_backward(b, n, 2, false));
    CLQ_TRY(check_backward(b, n, 1, true));
    CLQ_TRY(check_backward(b, n, 0, false));
    return check_running(b, n);
}

static clq_status test_batch_norm(clq_self_bench *b) {
    norm *n = clq_calloc(1, sizeof *n);
    if (!n) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = check_norm(b, n);
    clq_free(n);
    return status;
}

const clq_file_test clq_float_self_tests[] = {{"f32/pool.cl", test_pool, true},
                                              {"f32/shortcut_a.cl", test_shortcut_a, true},
                                              {"f32/dropout.cl", test_dropout, false},
                                              {"f32/batch_norm.cl", test_batch_norm, false},
                                              {0}};
