/* reshape, transpose, slice, expand, pad, depth_to_space and space_to_depth: every element against
 * where the operator's definition says that it comes from, on floats and codes, and gradients back
 * to there. */
#include <math.h>
#include <stdio.h>

#include "support/quant_run.h"

enum { NOWHERE = -1, LONGEST_AXIS = 64 };

/* The element of x (an index along each axis) that is y's element `at`; source[0] NOWHERE: the
 * padding value. */
typedef void (*origin)(const void *attrs, const clq_shape *x, const int64_t *at, int64_t *source);

typedef struct move_case {
    const char *op;
    const void *attrs;
    clq_shape x, y; /* of one sample */
    origin from;
    bool one; /* sample only */
} move_case;

/* ---- definitions ---- */

static void from_transpose(const void *attrs, const clq_shape *x, const int64_t *at,
                           int64_t *source) {
    for (int k = 0; k < x->rank; k++) {
        source[((const clq_transpose_attrs *)attrs)->perm[k]] = at[k];
    }
}

static void from_slice(const void *attrs, const clq_shape *x, const int64_t *at, int64_t *source) {
    const clq_slice_attrs *a = attrs;
    source[0] = at[0];
    for (int k = 1; k < x->rank; k++) {
        source[k] = a->start[k] + at[k] * a->step[k];
    }
}

static void from_expand(const void *attrs, const clq_shape *x, const int64_t *at, int64_t *source) {
    (void)attrs;
    for (int k = 0; k < x->rank; k++) {
        source[k] = x->dim[k] == 1 ? 0 : at[k];
    }
}

static void from_pad(const void *attrs, const clq_shape *x, const int64_t *at, int64_t *source) {
    const clq_pad_attrs *a = attrs;
    for (int k = 0; k < x->rank; k++) {
        const int64_t size = x->dim[k];
        int64_t i = at[k] - a->before[k];
        if (a->mode == CLQ_PAD_CONSTANT && (i < 0 || i >= size)) {
            source[0] = NOWHERE;
            return;
        }
        if (a->mode == CLQ_PAD_EDGE) {
            i = i < 0 ? 0 : i >= size ? size - 1 : i;
        } else if (a->mode == CLQ_PAD_REFLECT) {
            i = i < 0 ? -i : i >= size ? 2 * size - 2 - i : i;
        } else if (a->mode == CLQ_PAD_WRAP) {
            i = i < 0 ? i + size : i >= size ? i - size : i;
        }
        source[k] = i;
    }
}

/* Channel of the deep tensor for pixel (i, j) of the block and channel c of `channels`. */
static int64_t deep_channel(const clq_space_depth_attrs *a, int64_t i, int64_t j, int64_t c,
                            int64_t channels) {
    return a->mode == CLQ_DEPTH_DCR ? (i * a->block + j) * channels + c
                                    : (c * a->block + i) * a->block + j;
}

static void from_depth_to_space(const void *attrs, const clq_shape *x, const int64_t *at,
                                int64_t *source) {
    const clq_space_depth_attrs *a = attrs;
    source[0] = at[0];
    source[1] = at[1] / a->block;
    source[2] = at[2] / a->block;
    source[3] =
        deep_channel(a, at[1] % a->block, at[2] % a->block, at[3], x->dim[3] / a->block / a->block);
}

static void from_space_to_depth(const void *attrs, const clq_shape *x, const int64_t *at,
                                int64_t *source) {
    const clq_space_depth_attrs *a = attrs;
    source[0] = at[0];
    for (int64_t i = 0; i < a->block; i++) {
        for (int64_t j = 0; j < a->block; j++) {
            for (int64_t c = 0; c < x->dim[3]; c++) {
                if (deep_channel(a, i, j, c, x->dim[3]) == at[3]) {
                    source[1] = at[1] * a->block + i;
                    source[2] = at[2] * a->block + j;
                    source[3] = c;
                }
            }
        }
    }
}

/* ---- cases: rows of codes without and with gaps between them, odd and long axes ---- */

#define TRANSPOSE(...)                                                                             \
    &(const clq_transpose_attrs) {                                                                 \
        { __VA_ARGS__ }                                                                            \
    }
#define RESHAPE(...) &(const clq_reshape_attrs)__VA_ARGS__
#define SLICE(...)                                                                                 \
    &(const clq_slice_attrs) {                                                                     \
        __VA_ARGS__                                                                                \
    }
#define PAD(...)                                                                                   \
    &(const clq_pad_attrs) {                                                                       \
        __VA_ARGS__                                                                                \
    }
#define BLOCK(...)                                                                                 \
    &(const clq_space_depth_attrs) {                                                               \
        __VA_ARGS__                                                                                \
    }

static const move_case cases[] = {
    {"transpose",
     TRANSPOSE(0, 3, 1, 2),
     {4, {1, 5, 3, 7}},
     {4, {1, 7, 5, 3}},
     from_transpose,
     false},
    {"transpose",
     TRANSPOSE(0, 2, 3, 1),
     {4, {1, 8, 3, 4}},
     {4, {1, 3, 4, 8}},
     from_transpose,
     false},
    {"transpose",
     TRANSPOSE(0, 1, 2, 4, 3),
     {5, {1, 3, 2, 3, 17}},
     {5, {1, 3, 2, 17, 3}},
     from_transpose,
     false},
    {"transpose",
     TRANSPOSE(0, 2, 1, 3),
     {4, {1, 3, 5, 8}},
     {4, {1, 5, 3, 8}},
     from_transpose,
     false},
    {"transpose",
     TRANSPOSE(0, 2, 1, 3),
     {4, {1, 3, 5, 6}},
     {4, {1, 5, 3, 6}},
     from_transpose,
     false},
    {"transpose",
     TRANSPOSE(4, 0, 2, 1, 3),
     {5, {1, 2, 3, 4, 5}},
     {5, {5, 1, 3, 2, 4}},
     from_transpose,
     true},
    {"transpose", TRANSPOSE(0, 1), {2, {1, 19}}, {2, {1, 19}}, from_transpose, false},
    {"slice",
     SLICE({0, 1, 0, 0}, {1, 1, 1, 1}, {1, 3, 4, 8}),
     {4, {1, 5, 4, 8}},
     {4, {1, 3, 4, 8}},
     from_slice,
     false},
    {"slice",
     SLICE({0, 0, 0, 4}, {1, 1, 1, 1}, {1, 3, 2, 8}),
     {4, {1, 3, 2, 16}},
     {4, {1, 3, 2, 8}},
     from_slice,
     false},
    {"slice",
     SLICE({0, 0, 0, 3}, {1, 1, 1, 1}, {1, 3, 2, 5}),
     {4, {1, 3, 2, 9}},
     {4, {1, 3, 2, 5}},
     from_slice,
     false},
    {"slice",
     SLICE({0, 4, 1, 6}, {1, -1, 2, -3}, {1, 5, 3, 3}),
     {4, {1, 5, 6, 7}},
     {4, {1, 5, 3, 3}},
     from_slice,
     false},
    {"slice", SLICE({0, 20}, {1, 1}, {1, 23}), {2, {1, 47}}, {2, {1, 23}}, from_slice, false},
    {"expand",
     RESHAPE({4, {1, 5, 3, 8}}),
     {4, {1, 1, 1, 8}},
     {4, {1, 5, 3, 8}},
     from_expand,
     false},
    {"expand",
     RESHAPE({4, {1, 5, 3, 7}}),
     {4, {1, 5, 1, 1}},
     {4, {1, 5, 3, 7}},
     from_expand,
     false},
    {"expand", RESHAPE({3, {4, 3, 6}}), {3, {1, 3, 6}}, {3, {4, 3, 6}}, from_expand, true},
    {"pad",
     PAD({0, 1, 2, 0}, {0, 3, 1, 0}, CLQ_PAD_CONSTANT, 0),
     {4, {1, 3, 4, 8}},
     {4, {1, 7, 7, 8}},
     from_pad,
     false},
    {"pad",
     PAD({0, 1, 2, 3}, {0, 3, 1, 4}, CLQ_PAD_CONSTANT, 0.5f),
     {4, {1, 3, 4, 6}},
     {4, {1, 7, 7, 13}},
     from_pad,
     false},
    {"pad",
     PAD({0, 2, 1, 4}, {0, 1, 2, 8}, CLQ_PAD_CONSTANT, -0.75f),
     {4, {1, 3, 3, 4}},
     {4, {1, 6, 6, 16}},
     from_pad,
     false},
    {"pad",
     PAD({0, 2, 1, 0}, {0, 1, 5, 0}, CLQ_PAD_EDGE, 0),
     {4, {1, 3, 4, 5}},
     {4, {1, 6, 10, 5}},
     from_pad,
     false},
    {"pad",
     PAD({0, 2, 3, 1}, {0, 1, 2, 3}, CLQ_PAD_REFLECT, 0),
     {4, {1, 3, 4, 5}},
     {4, {1, 6, 9, 9}},
     from_pad,
     false},
    {"pad",
     PAD({0, 3, 1}, {0, 2, 4}, CLQ_PAD_WRAP, 0),
     {3, {1, 3, 4}},
     {3, {1, 8, 9}},
     from_pad,
     false},
    {"depth_to_space",
     BLOCK(2, CLQ_DEPTH_DCR),
     {4, {1, 3, 2, 16}},
     {4, {1, 6, 4, 4}},
     from_depth_to_space,
     false},
    {"depth_to_space",
     BLOCK(3, CLQ_DEPTH_CRD),
     {4, {1, 2, 3, 18}},
     {4, {1, 6, 9, 2}},
     from_depth_to_space,
     false},
    {"space_to_depth",
     BLOCK(2, CLQ_DEPTH_DCR),
     {4, {1, 4, 6, 5}},
     {4, {1, 2, 3, 20}},
     from_space_to_depth,
     false},
    {"space_to_depth",
     BLOCK(2, CLQ_DEPTH_CRD),
     {4, {1, 4, 2, 3}},
     {4, {1, 2, 1, 12}},
     from_space_to_depth,
     false},
    {"reshape",
     RESHAPE({5, {1, 3, 2, 4, 5}}),
     {4, {1, 3, 2, 20}},
     {5, {1, 3, 2, 4, 5}},
     NULL,
     false},
    {"reshape", RESHAPE({3, {1, 6, 21}}), {5, {1, 3, 2, 7, 3}}, {3, {1, 6, 21}}, NULL, false},
    {"reshape", RESHAPE({3, {1, 9, 10}}), {4, {1, 3, 5, 6}}, {3, {1, 9, 10}}, NULL, false},
    {"reshape", RESHAPE({2, {1, 48}}), {4, {1, 2, 3, 8}}, {2, {1, 48}}, NULL, false},
    {"reshape", RESHAPE({4, {1, 3, 4, 5}}), {3, {1, 12, 5}}, {4, {1, 3, 4, 5}}, NULL, false},
    {"reshape", RESHAPE({3, {6, 5, 4}}), {4, {1, 3, 10, 4}}, {3, {6, 5, 4}}, NULL, true},
    {"flatten", NULL, {5, {1, 2, 3, 2, 5}}, {2, {1, 60}}, NULL, false},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ---- references ---- */

/* x's element behind y's element i, or NOWHERE. */
static int64_t source_of(const move_case *c, const clq_shape *x, const clq_shape *y, int64_t i) {
    int64_t at[CLQ_MAX_RANK], source[CLQ_MAX_RANK], element = 0;
    if (!c->from) {
        return i;
    }
    for (int k = y->rank - 1; k >= 0; k--) {
        at[k] = i % y->dim[k];
        i /= y->dim[k];
    }
    c->from(c->attrs, x, at, source);
    for (int k = 0; k < x->rank && source[0] != NOWHERE; k++) {
        assert_in_range(source[k], 0, x->dim[k] - 1);
        element = element * x->dim[k] + source[k];
    }
    return source[0] == NOWHERE ? NOWHERE : element;
}

static float padding(const move_case *c) {
    return strcmp(c->op, "pad") == 0 ? ((const clq_pad_attrs *)c->attrs)->value : 0;
}

static clq_shape times(clq_shape shape, int batch) {
    shape.dim[0] *= batch;
    return shape;
}

/* ---- floats ---- */

static void check_floats(const move_case *c, int batch, bool accumulate) {
    const clq_shape x_shape = times(c->x, batch), y_shape = times(c->y, batch);
    const size_t xs = (size_t)clq_shape_count(&x_shape), ys = (size_t)clq_shape_count(&y_shape);
    float *x = random_floats(xs, -2, 2, 1), *dy = random_floats(ys, -2, 2, 2);
    float *start = random_floats(xs, -2, 2, 3), *y = calloc(ys, sizeof *y);
    float *dx = calloc(xs, sizeof *dx);
    for (size_t i = 0; i < ys; i++) {
        const int64_t from = source_of(c, &x_shape, &y_shape, (int64_t)i);
        y[i] = from == NOWHERE ? padding(c) : x[from];
        if (from != NOWHERE) {
            dx[from] += dy[i];
        }
    }
    for (size_t i = 0; accumulate && i < xs; i++) {
        dx[i] += start[i];
    }
    op_test t;
    op_begin(&t, c->op, c->attrs, CLQ_EXEC_TRAIN);
    op_input(&t, 0, x_shape, x);
    op_output(&t, y_shape);
    t.run.batch = batch;
    op_want_gradient(&t, 0, accumulate ? start : NULL);
    op_forward(&t);
    assert_buffer_close(t.run.out.buffer, y, ys, 0, 0);
    op_backward(&t, dy);
    assert_buffer_close(t.run.grad_in[0].buffer, dx, xs, 1e-5, 1e-5); /* sums of up to 24 */
    op_end(&t);
    free(x), free(dy), free(start), free(y), free(dx);
}

static void floats(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        for (int batch = 1; batch < (cases[i].one ? 2 : 4); batch += 2) {
            check_floats(&cases[i], batch, batch > 1);
        }
    }
}

/* A long axis is shared by work-items. */
static const move_case longer[] = {
    {"slice",
     SLICE({0, 3}, {1, 1}, {1, 40001}),
     {2, {1, 40009}},
     {2, {1, 40001}},
     from_slice,
     false},
    {"pad",
     PAD({0, 5, 0}, {0, 9, 0}, CLQ_PAD_CONSTANT, 2),
     {3, {1, 7001, 3}},
     {3, {1, 7015, 3}},
     from_pad,
     false},
};

static void long_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof longer / sizeof *longer; i++) {
        check_floats(&longer[i], 1, true);
    }
}

/* ---- codes ---- */

/* What lies between rows of bytes is 0. */
static void assert_gaps(const clq_tensor *tensor) {
    const size_t size = clq_buffer_size(tensor->buffer);
    const int64_t channels = tensor->shape.dim[tensor->shape.rank - 1];
    uint8_t *bytes = malloc(size);
    assert_ok(clq_buffer_read(tensor->buffer, 0, size, bytes));
    for (size_t i = 0; i < size; i++) {
        assert_true((int64_t)(i % (size_t)tensor->pitch) < channels || bytes[i] == 0);
    }
    free(bytes);
}

static void check_codes(const move_case *c, clq_exec_mode mode, int batch) {
    const quant_meaning meaning = {0.01f, 77};
    const clq_shape x_shape = times(c->x, batch), y_shape = times(c->y, batch);
    const size_t xs = (size_t)clq_shape_count(&x_shape), ys = (size_t)clq_shape_count(&y_shape);
    uint8_t *x = random_codes(xs, 4), *y = calloc(ys, 1);
    for (size_t i = 0; i < ys; i++) {
        const int64_t from = source_of(c, &x_shape, &y_shape, (int64_t)i);
        const double code = rint((double)padding(c) / (double)meaning.scale) + meaning.zero_point;
        y[i] = from != NOWHERE ? x[from] : (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
    }
    quant_test t;
    quant_begin(&t);
    const int in = quant_activation(&t, &c->x, meaning);
    quant_node(&t, c->op, c->attrs, &in, 1, &meaning, mode, batch);
    quant_input(&t, 0, x);
    quant_forward(&t);
    uint8_t *got = quant_output(&t);
    assert_equal_u8(got, y, clq_test_shape_of(ys));
    if (mode == CLQ_EXEC_INT8) {
        assert_gaps(&t.run.out);
    }
    free(got);
    quant_end(&t);
    free(x), free(y);
}

static void codes(void **state) {
    (void)state;
    static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
    for (int i = 0; i < CASES; i++) {
        for (int m = 0; m < 3; m++) {
            check_codes(&cases[i], modes[m], cases[i].one || m < 2 ? 1 : 3);
        }
    }
}

/* ---- concat ---- */

typedef struct concat_case {
    int axis, inputs;
    clq_shape x[4];
} concat_case;

static const concat_case joined[] = {
    {3, 3, {{4, {1, 3, 2, 8}}, {4, {1, 3, 2, 4}}, {4, {1, 3, 2, 16}}}},
    {3, 4, {{4, {1, 3, 2, 5}}, {4, {1, 3, 2, 1}}, {4, {1, 3, 2, 4}}, {4, {1, 3, 2, 7}}}},
    {1, 2, {{4, {1, 3, 5, 6}}, {4, {1, 2, 5, 6}}}},
    {1, 3, {{2, {1, 3}}, {2, {1, 2}}, {2, {1, 5}}}},
    {2, 2, {{5, {1, 2, 3, 4, 9}}, {5, {1, 2, 1, 4, 9}}}},
    {1, 1, {{3, {1, 4, 6}}}},
};
enum { JOINED = sizeof joined / sizeof *joined };

static clq_shape joined_shape(const concat_case *c) {
    clq_shape y = c->x[0];
    for (int i = 1; i < c->inputs; i++) {
        y.dim[c->axis] += c->x[i].dim[c->axis];
    }
    return y;
}

/* The input and its element that is element `i` of all. */
static int part_of(const concat_case *c, int batch, int64_t i, int64_t *element) {
    const clq_shape y = joined_shape(c);
    int64_t inner = 1, along;
    for (int a = c->axis + 1; a < y.rank; a++) {
        inner *= y.dim[a];
    }
    const int64_t outer = i / inner / y.dim[c->axis];
    assert_true(outer < batch * clq_shape_count(&y));
    along = i / inner % y.dim[c->axis];
    int input = 0;
    while (along >= c->x[input].dim[c->axis]) {
        along -= c->x[input++].dim[c->axis];
    }
    *element = (outer * c->x[input].dim[c->axis] + along) * inner + i % inner;
    return input;
}

static void concat_floats(void **state) {
    (void)state;
    for (int k = 0; k < JOINED; k++) {
        const concat_case *c = &joined[k];
        const int batch = 2;
        const clq_concat_attrs attrs = {c->axis};
        const clq_shape y_shape = times(joined_shape(c), batch);
        const size_t ys = (size_t)clq_shape_count(&y_shape);
        float *x[4], *dx[4], *y = calloc(ys, sizeof *y), *dy = random_floats(ys, -1, 1, 9);
        size_t xs[4];
        op_test t;
        op_begin(&t, "concat", &attrs, CLQ_EXEC_TRAIN);
        for (int i = 0; i < c->inputs; i++) {
            const clq_shape shape = times(c->x[i], batch);
            xs[i] = (size_t)clq_shape_count(&shape);
            x[i] = random_floats(xs[i], -1, 1, (uint64_t)i);
            dx[i] = random_floats(xs[i], -1, 1, (uint64_t)(i + 4));
            op_input(&t, i, shape, x[i]);
            op_want_gradient(&t, i, i % 2 ? dx[i] : NULL);
        }
        for (size_t i = 0; i < ys; i++) {
            int64_t at;
            const int input = part_of(c, batch, (int64_t)i, &at);
            y[i] = x[input][at];
            dx[input][at] = (input % 2 ? dx[input][at] : 0) + dy[i];
        }
        op_output(&t, y_shape);
        t.run.batch = batch;
        op_forward(&t);
        assert_buffer_close(t.run.out.buffer, y, ys, 0, 0);
        op_backward(&t, dy);
        for (int i = 0; i < c->inputs; i++) {
            assert_buffer_close(t.run.grad_in[i].buffer, dx[i], xs[i], 0, 0);
            free(x[i]), free(dx[i]);
        }
        op_end(&t);
        free(y), free(dy);
    }
}

/* Some inputs have the output's scale, others are requantized: (2) of what their codes stand for.
 */
static void check_joined_codes(const concat_case *c, clq_exec_mode mode) {
    static const quant_meaning meanings[4] = {{0.02f, 77}, {0.031f, 100}, {0.02f, 77}, {0.007f, 3}};
    const int batch = 2;
    const clq_concat_attrs attrs = {c->axis};
    const clq_shape y_shape = times(joined_shape(c), batch);
    const size_t ys = (size_t)clq_shape_count(&y_shape);
    uint8_t *x[4], *y = calloc(ys, 1);
    float *dx[4], *dy = random_floats(ys, -1, 1, 9);
    size_t xs[4];
    int inputs[4];
    quant_test t;
    quant_begin(&t);
    for (int i = 0; i < c->inputs; i++) {
        char name[8];
        snprintf(name, sizeof name, "x%d", i);
        assert_ok(clq_graph_add_input(t.graph, name, c->x[i], &inputs[i]));
        assert_ok(clq_qparams_set(&t.graph->values[inputs[i]].q, 1, &meanings[i].scale,
                                  meanings[i].zero_point, CLQ_Q_U8));
        xs[i] = (size_t)(batch * clq_shape_count(&c->x[i]));
        x[i] = random_codes(xs[i], (uint64_t)i);
        dx[i] = random_floats(xs[i], -1, 1, (uint64_t)(i + 4));
    }
    quant_node(&t, "concat", &attrs, inputs, c->inputs, &meanings[0], mode, batch);
    for (int i = 0; i < c->inputs; i++) {
        quant_input(&t, i, x[i]);
        if (mode == CLQ_EXEC_QAT) {
            quant_want_gradient(&t, i, i % 2 ? dx[i] : NULL);
        }
    }
    for (size_t i = 0; i < ys; i++) {
        int64_t at;
        const int input = part_of(c, batch, (int64_t)i, &at);
        const quant_meaning *m = &meanings[input];
        const float real = m->scale * (float)(x[input][at] - m->zero_point);
        const float code = rintf(real / meanings[0].scale) + (float)meanings[0].zero_point;
        y[i] = (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
        dx[input][at] = (input % 2 ? dx[input][at] : 0) + (code < 0 || code > 255 ? 0 : dy[i]);
    }
    quant_forward(&t);
    uint8_t *got = quant_output(&t);
    assert_equal_u8(got, y, clq_test_shape_of(ys));
    if (mode == CLQ_EXEC_INT8) {
        assert_gaps(&t.run.out);
    }
    if (mode == CLQ_EXEC_QAT) { /* none where a code was clamped */
        quant_backward(&t, dy);
        for (int i = 0; i < c->inputs; i++) {
            assert_buffer_close(t.run.grad_in[i].buffer, dx[i], xs[i], 0, 0);
        }
    }
    free(got);
    quant_end(&t);
    for (int i = 0; i < c->inputs; i++) {
        free(x[i]), free(dx[i]);
    }
    free(y), free(dy);
}

static void concat_codes(void **state) {
    (void)state;
    static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
    for (int k = 0; k < JOINED; k++) {
        for (int m = 0; m < 3; m++) {
            check_joined_codes(&joined[k], modes[m]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floats),        cmocka_unit_test(long_rows),    cmocka_unit_test(codes),
        cmocka_unit_test(concat_floats), cmocka_unit_test(concat_codes),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
