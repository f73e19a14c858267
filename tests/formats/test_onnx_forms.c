/* Gather, SpaceToDepth, Gemm, MatMul and others in the forms that other files have. */
#include "formats/onnx_forms.h"

/* ---- Gather ---- */

/* x (N, 5, 4), by these indices of axis 1. */
static void check_gather(make_dims dims, const int64_t *index, int nodes) {
    static const int64_t shape[3] = {-1, 5, 4};
    const int64_t picked = (int64_t)make_count(dims);
    make_model *m = start(3, shape);
    float x[BATCH * 20], expected[MOST];
    clq_test_fill_f32(x, BATCH * 20, -1, 1, 3);
    make_tensor(m, "index", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, dims, index,
                (size_t)picked * sizeof *index);
    make_node(m, "Gather", "x,index", "g");
    make_int(m, "axis", -2);
    make_node(m, "Abs", "g", "y");
    for (int64_t i = 0; i < BATCH * picked * 4; i++) {
        const int64_t n = i / (picked * 4), k = index[i / 4 % picked];
        expected[i] = fabsf(x[(n * 5 + (k < 0 ? k + 5 : k)) * 4 + i % 4]);
    }
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    assert_int_equal(graph->node_count, nodes + 1);
    const clq_axes *axes = &graph->outputs[0].axes;
    assert_int_equal(axes->rank ? axes->rank : 3, 2 + dims.rank);
    clq_graph_destroy(graph);
    check_model(m, BATCH, x, expected, BATCH * picked * 4);
}

static void gather(void **state) {
    (void)state;
    check_gather(DIMS(3), (const int64_t[]){1, 3, -1}, 3); /* 1, 3 and 4 */
    check_gather(DIMS(3), (const int64_t[]){4, 2, 0}, 1);
    check_gather(DIMS(5), (const int64_t[]){0, 1, 2, 3, 4}, 0);
    check_gather(SCALAR, (const int64_t[]){-2}, 1);
    check_gather(DIMS(2, 2), (const int64_t[]){0, 2, 2, 1}, 4); /* and a reshape */
}

/* Everything as one row, picked back into a shape, as torch.as_strided is written. */
static void gather_of_all(void **state) {
    static const int64_t shape[4] = {1, 6, 1, 1};
    make_model *m = start(4, shape);
    float x[6], expected[6];
    int64_t index[6] = {0, 1, 2, 3, 4, 5};
    (void)state;
    clq_test_fill_f32(x, 6, -1, 1, 4);
    for (int i = 0; i < 6; i++) {
        expected[i] = fabsf(x[i]);
    }
    make_longs(m, "row", -1);
    make_tensor(m, "index", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, DIMS(1, 6, 1, 1), index,
                sizeof index);
    make_node(m, "Reshape", "x,row", "r");
    make_node(m, "Gather", "r,index", "g");
    make_node(m, "Abs", "g", "y");
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    assert_int_equal(graph->outputs[0].axes.axis[0], 0); /* the batch is back */
    clq_graph_destroy(graph);
    check_model(m, 1, x, expected, 6);
}

static void gathers_refused(void **state) {
    static const struct {
        int axis;
        int64_t index;
        const char *error;
    } cases[] = {{1, 5, "index 5 is outside 0..4"},
                 {1, INT64_MIN, "is outside 0..4"},
                 {0, 0, "picks from the batch"},
                 {3, 0, "axis 3 is out of range"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model *m = start(3, (const int64_t[]){-1, 5, 4});
        make_longs(m, "index", cases[i].index);
        make_node(m, "Gather", "x,index", "y");
        make_int(m, "axis", cases[i].axis);
        make_refused(m, cases[i].error);
    }
    make_model *m = start(3, (const int64_t[]){-1, 5, 4});
    make_scalar(m, "index", 1);
    make_node(m, "Gather", "x,index", "y");
    make_int(m, "axis", 1);
    make_refused(m, "its indices must be integers");
    m = start(3, (const int64_t[]){-1, 5, 4});
    int64_t *many = make_array(m, 2100, sizeof *many);
    for (int i = 0; i < 2100; i++) {
        many[i] = i % 2 ? 0 : i % 5; /* no two steps alike */
    }
    make_longs_of(m, "index", many, 2100);
    make_node(m, "Gather", "x,index", "y");
    make_int(m, "axis", 1);
    make_refused(m, "more than 1024 ranges");
}

/* Blocks of pixels to channels, by either order of them, also written by opsets with one. */
static void space_to_depth(void **state) {
    (void)state;
    for (int last = 0; last < 2; last++) {
        make_model *m = start(4, (const int64_t[]){-1, 3, 4, 6});
        float x[BATCH * 72], y[BATCH * 72];
        clq_test_fill_f32(x, BATCH * 72, -1, 1, 12);
        make_node(m, "SpaceToDepth", "x", "y");
        make_int(m, "blocksize", 2);
        make_string(m, "mode", last ? "CRD" : "DCR");
        for (int i = 0; i < BATCH * 72; i++) { /* y (N, 12, 2, 3) */
            const int n = i / 72, k = i / 6 % 12, h = i / 3 % 2, w = i % 3;
            const int block = last ? k % 4 : k / 3, c = last ? k / 4 : k % 3;
            y[i] = x[((n * 3 + c) * 4 + 2 * h + block / 2) * 6 + 2 * w + block % 2];
        }
        check_model(m, BATCH, x, y, BATCH * 72);
    }
}

/* ---- one dimension ---- */

enum { LENGTH = 11, KERNEL = 3, STRIDE = 2, DILATION = 2, FRONT = 1, BACK = 2 };
enum { WINDOWS = (LENGTH + FRONT + BACK - DILATION * (KERNEL - 1) - 1) / STRIDE + 1 };

typedef enum line_kind { OF_CONV, OF_MAX, OF_AVERAGE, OF_KINDS } line_kind;

static const char *const line_ops[] = {"Conv", "MaxPool", "AveragePool"};

/* y (N, C, WINDOWS) of x (N, C, LENGTH); depthwise by w (C, KERNEL). */
static void ref_line(line_kind kind, int64_t samples, int64_t channels, const float *x,
                     const float *w, float *y) {
    for (int64_t i = 0; i < samples * channels * WINDOWS; i++) {
        const int64_t row = i / WINDOWS, c = row % channels;
        float sum = 0, most = -INFINITY, inside = 0;
        for (int64_t k = 0; k < KERNEL; k++) {
            const int64_t at = i % WINDOWS * STRIDE - FRONT + k * DILATION;
            if (at >= 0 && at < LENGTH) {
                const float v = x[row * LENGTH + at];
                sum += kind == OF_CONV ? v * w[c * KERNEL + k] : v;
                most = fmaxf(most, v);
                inside++;
            }
        }
        y[i] = kind == OF_MAX ? most : kind == OF_AVERAGE ? sum / inside : sum;
    }
}

/* Of (N, C, L), where it is what the input is stored as, and behind a Transpose. */
static void windows_of_one_dimension(void **state) {
    (void)state;
    for (int i = 0; i < 2 * OF_KINDS; i++) {
        const line_kind kind = (line_kind)(i / 2);
        const bool turned = i % 2;
        const int64_t straight_dim[3] = {-1, 4, LENGTH}, turned_dim[3] = {-1, LENGTH, 4};
        float x[BATCH * 4 * LENGTH], fed[BATCH * 4 * LENGTH], y[BATCH * 4 * WINDOWS];
        make_model *m = start(3, turned ? turned_dim : straight_dim);
        const float *w = make_weights(m, "w", DIMS(4, 1, KERNEL));
        const char *in = turned ? "t" : "x";
        char inputs[8];
        clq_test_fill_f32(x, BATCH * 4 * LENGTH, -1, 1, 5);
        for (int k = 0; k < BATCH * 4 * LENGTH; k++) {
            const int n = k / (4 * LENGTH), c = k / LENGTH % 4, l = k % LENGTH;
            fed[turned ? (n * LENGTH + l) * 4 + c : k] = x[k];
        }
        if (turned) {
            make_node(m, "Transpose", "x", "t");
            make_ints(m, "perm", 0, 2, 1);
        }
        snprintf(inputs, sizeof inputs, "%s%s", in, kind == OF_CONV ? ",w" : "");
        make_node(m, line_ops[kind], inputs, "y");
        if (kind == OF_CONV) {
            make_int(m, "group", 4);
        } else {
            make_ints(m, "kernel_shape", KERNEL);
        }
        make_ints(m, "strides", STRIDE);
        make_ints(m, "dilations", DILATION);
        make_ints(m, "pads", FRONT, BACK);
        ref_line(kind, BATCH, 4, x, w, y);
        check_model(m, BATCH, fed, y, BATCH * 4 * WINDOWS);
    }
}

/* ConvTranspose, auto_pad, and the mean over what is left. */
static void more_of_one_dimension(void **state) {
    (void)state;
    float x[BATCH * LENGTH], mean[BATCH] = {0}, wide[BATCH * 2 * LENGTH];
    make_model *m = start(3, (const int64_t[]){-1, 1, LENGTH});
    const float *w = make_weights(m, "w", DIMS(1, 1, 2));
    clq_test_fill_f32(x, BATCH * LENGTH, -1, 1, 6);
    make_node(m, "ConvTranspose", "x,w", "y"); /* each element twice, by w */
    make_ints(m, "strides", 2);
    for (int i = 0; i < BATCH * 2 * LENGTH; i++) {
        wide[i] = x[i / 2] * w[i % 2];
    }
    check_model(m, BATCH, x, wide, BATCH * 2 * LENGTH);

    m = start(3, (const int64_t[]){-1, 1, LENGTH});
    make_node(m, "MaxPool", "x", "p");
    make_ints(m, "kernel_shape", 2);
    make_string(m, "auto_pad", "SAME_UPPER");
    make_node(m, "GlobalAveragePool", "p", "y");
    for (int i = 0; i < BATCH * LENGTH; i++) {
        const float next = i % LENGTH + 1 < LENGTH ? x[i + 1] : -INFINITY;
        mean[i / LENGTH] += fmaxf(x[i], next) / LENGTH;
    }
    check_model(m, BATCH, x, mean, BATCH);
    m = start(3, (const int64_t[]){-1, 1, LENGTH});
    make_node(m, "MaxPool", "x", "y");
    make_ints(m, "kernel_shape", 2, 2);
    make_refused(m, "kernel_shape has 2 numbers, must have 1");
}

/* ---- Gemm and MatMul ---- */

enum { M = 3, K = 4, N = 5 };

/* y (M, N) = alpha a b + beta c; strides of a's and b's rows and columns. */
static void ref_gemm(const float *a, bool trans_a, const float *b, bool trans_b, float alpha,
                     const float *c, int c_row, int c_column, float *y) {
    for (int i = 0; i < M * N; i++) {
        float sum = 0;
        for (int k = 0; k < K; k++) {
            sum += (trans_a ? a[k * M + i / N] : a[i / N * K + k]) *
                   (trans_b ? b[i % N * K + k] : b[k * N + i % N]);
        }
        y[i] = alpha * sum + 2 * c[i / N * c_row + i % N * c_column];
    }
}

/* A is x, (M, K) or (K, M); B a constant or computed of x; C constant or computed, for each row, or
 * each element. */
static void gemms(void **state) {
    (void)state;
    for (int form = 0; form < 16; form++) {
        const bool trans_a = form & 1, trans_b = form & 2, by_x = form & 4, of_rows = form & 8;
        make_model *m = start(2, (const int64_t[]){trans_a ? K : M, trans_a ? M : K});
        float x[M * K], b[K * N], y[M * N];
        clq_test_fill_f32(x, M * K, -1, 1, 7);
        const float *c =
            of_rows ? make_weights(m, "c", DIMS(M, 1)) : make_weights(m, "c", DIMS(M, N));
        const float *w = make_weights(m, "w", trans_b ? DIMS(N, K) : DIMS(K, N));
        float sum = 0;
        for (int i = 0; i < M * K; i++) {
            sum += x[i];
        }
        for (int i = 0; i < K * N; i++) {
            b[i] = w[i] + (by_x ? sum : 0);
        }
        if (by_x) {
            make_node(m, "ReduceSum", "x", "sum");
            make_node(m, "Add", "w,sum", "b");
        }
        make_node(m, "Gemm", by_x ? "x,b,c" : "x,w,c", "y");
        make_int(m, "transA", trans_a);
        make_int(m, "transB", trans_b);
        make_float(m, "alpha", 0.5f);
        make_float(m, "beta", 2);
        ref_gemm(x, trans_a, b, trans_b, 0.5f, c, of_rows ? 1 : N, of_rows ? 0 : 1, y);
        check_model(m, 1, x, y, M * N);
    }
    make_model *m = start(2, (const int64_t[]){-1, K}); /* of a batch that is open */
    make_weights(m, "w", DIMS(K, N));
    make_weights(m, "c", DIMS(M, N));
    make_node(m, "Gemm", "x,w,c", "y");
    make_refused(m, "other numbers for each row of the batch");
}

/* C computed for each sample, beside a constant B. */
static void gemm_with_a_computed_summand(void **state) {
    (void)state;
    make_model *m = start(2, (const int64_t[]){-1, K});
    float x[M * K], y[M * K];
    const float *w = make_weights(m, "w", DIMS(K, K));
    clq_test_fill_f32(x, M * K, -1, 1, 7);
    make_node(m, "Abs", "x", "c");
    make_node(m, "Gemm", "x,w,c", "y");
    make_float(m, "beta", 3);
    for (int i = 0; i < M * K; i++) {
        y[i] = 3 * fabsf(x[i]);
        for (int k = 0; k < K; k++) {
            y[i] += x[i / K * K + k] * w[k * K + i % K];
        }
    }
    check_model(m, M, x, y, M * K);
}

/* Matrices of a constant, before or behind x (N, 2, M, K) or (N, M, K); each of x's own; a vector.
 */
static void matmuls(void **state) {
    (void)state;
    float x[BATCH * 2 * M * K], y[MOST];
    clq_test_fill_f32(x, BATCH * 2 * M * K, -1, 1, 9);

    make_model *m = start(4, (const int64_t[]){-1, 2, M, K}); /* one for each of two */
    const float *w = make_weights(m, "w", DIMS(2, K, N));
    make_node(m, "MatMul", "x,w", "y");
    for (int i = 0; i < BATCH * 2 * M * N; i++) {
        const int matrix = i / (M * N), r = i / N % M, s = i % N;
        y[i] = 0;
        for (int k = 0; k < K; k++) {
            y[i] += x[(matrix * M + r) * K + k] * w[(matrix % 2 * K + k) * N + s];
        }
    }
    check_model(m, BATCH, x, y, BATCH * 2 * M * N);

    m = start(3, (const int64_t[]){-1, M, K}); /* constant first */
    w = make_weights(m, "w", DIMS(N, M));
    make_node(m, "MatMul", "w,x", "y");
    for (int i = 0; i < BATCH * N * K; i++) {
        y[i] = 0;
        for (int k = 0; k < M; k++) {
            y[i] += w[i / K % N * M + k] * x[(i / (N * K) * M + k) * K + i % K];
        }
    }
    check_model(m, BATCH, x, y, BATCH * N * K);

    for (int front = 0; front < 2; front++) { /* a row or a column */
        m = start(3, (const int64_t[]){-1, M, K});
        w = make_weights(m, "w", DIMS(front ? M : K));
        make_node(m, "MatMul", front ? "w,x" : "x,w", "y");
        const int count = BATCH * (front ? K : M);
        for (int i = 0; i < count; i++) {
            y[i] = 0;
            for (int k = 0; k < (front ? M : K); k++) {
                y[i] += w[k] * (front ? x[(i / K * M + k) * K + i % K] : x[i * K + k]);
            }
        }
        check_model(m, BATCH, x, y, count);
    }
    m = start(1, (const int64_t[]){K}); /* two rows */
    w = make_weights(m, "w", DIMS(K));
    make_node(m, "Abs", "x", "a");
    make_node(m, "MatMul", "x,a", "y");
    y[0] = 0;
    for (int k = 0; k < K; k++) {
        y[0] += x[k] * fabsf(x[k]);
    }
    check_model(m, 1, x, y, 1);
}

/* ---- PRelu, Softmax ---- */

static void slopes_of_any_shape(void **state) {
    (void)state;
    for (int computed = 0; computed < 2; computed++) {
        make_model *m = start(4, (const int64_t[]){-1, 2, 3, 4});
        float x[BATCH * 24], y[BATCH * 24];
        const float *slope = make_weights(m, "slope", DIMS(2, 1, 4));
        clq_test_fill_f32(x, BATCH * 24, -1, 1, 10);
        make_node(m, "Exp", "x", "e");
        make_node(m, "PRelu", computed ? "x,e" : "x,slope", "y");
        for (int i = 0; i < BATCH * 24; i++) {
            const float s = computed ? expf(x[i]) : slope[i / 12 % 2 * 4 + i % 4];
            y[i] = x[i] < 0 ? s * x[i] : x[i];
        }
        check_model(m, BATCH, x, y, BATCH * 24);
    }
}

/* Before opset 13 all axes from one on are one row. */
static void softmax_of_several_axes(void **state) {
    (void)state;
    for (int axis = 1; axis < 3; axis++) {
        make_model *m = start(4, (const int64_t[]){-1, 2, 3, 4});
        const int row = axis == 1 ? 24 : 12;
        float x[BATCH * 24], y[BATCH * 24];
        clq_test_fill_f32(x, BATCH * 24, -1, 1, 10);
        m->opset.version = 11;
        make_node(m, "Softmax", "x", "y");
        make_int(m, "axis", axis);
        for (int i = 0; i < BATCH * 24; i++) {
            float sum = 0;
            for (int k = i / row * row; k < i / row * row + row; k++) {
                sum += expf(x[k]);
            }
            y[i] = expf(x[i]) / sum;
        }
        check_model(m, BATCH, x, y, BATCH * 24);
    }
}

/* Over all axes of one sample. */
static void layer_norm_of_all(void **state) {
    (void)state;
    make_model *m = start(2, (const int64_t[]){M, K});
    float x[M * K], y[M * K], mean = 0, variance = 0;
    const float *gamma = make_weights(m, "gamma", DIMS(M, K));
    clq_test_fill_f32(x, M * K, -1, 1, 10);
    make_node(m, "LayerNormalization", "x,gamma", "y");
    make_int(m, "axis", 0);
    for (int i = 0; i < M * K; i++) {
        mean += x[i] / (M * K);
    }
    for (int i = 0; i < M * K; i++) {
        variance += (x[i] - mean) * (x[i] - mean) / (M * K);
    }
    for (int i = 0; i < M * K; i++) {
        y[i] = (x[i] - mean) / sqrtf(variance + 1e-5f) * gamma[i];
    }
    check_model(m, 1, x, y, M * K);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gather),
        cmocka_unit_test(gather_of_all),
        cmocka_unit_test(gathers_refused),
        cmocka_unit_test(space_to_depth),
        cmocka_unit_test(windows_of_one_dimension),
        cmocka_unit_test(more_of_one_dimension),
        cmocka_unit_test(gemms),
        cmocka_unit_test(gemm_with_a_computed_summand),
        cmocka_unit_test(matmuls),
        cmocka_unit_test(slopes_of_any_shape),
        cmocka_unit_test(softmax_of_several_axes),
        cmocka_unit_test(layer_norm_of_all),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
