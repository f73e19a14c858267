/* conv2d, conv_transpose and linear in the three quantized modes, against plain loops: codes equal,
 * gradients close. */
#include <math.h>

#include "support/quant_run.h"
#include "support/ref_conv2d.h"

typedef struct layer_case {
    int n, h, w, ic, oc, kernel[2], stride[2], dilation[2], pad[4], groups; /* h 0: linear */
    clq_act act;
    bool bias, per_tensor;
    bool transposed;
    int output_padding[2];
} layer_case;

/* clang-format off */
static const layer_case cases[] = {
    /* n, h, w, ic, oc, kernel, stride, dilation, pad, groups, act, bias, per tensor, transposed, output padding */
    {2, 5, 7, 3, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, CLQ_ACT_RELU, true, false, false, {0, 0}},
    {1, 6, 6, 16, 16, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_NONE, false, false, false, {0, 0}},
    {2, 7, 5, 17, 31, {3, 2}, {2, 1}, {1, 1}, {1, 0, 2, 1}, 1, CLQ_ACT_RELU6, true, false, false, {0, 0}},
    {1, 9, 9, 6, 9, {3, 3}, {1, 2}, {2, 2}, {2, 2, 2, 2}, 3, CLQ_ACT_NONE, true, true, false, {0, 0}},
    {3, 4, 4, 20, 20, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 20, CLQ_ACT_RELU6, true, false, false, {0, 0}},
    {1, 1, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_NONE, true, false, false, {0, 0}},
    {5, 0, 0, 33, 10, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_NONE, true, false, false, {0, 0}},
    {4, 0, 0, 64, 47, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_RELU, false, true, false, {0, 0}},
    {2, 3, 4, 5, 6, {2, 2}, {2, 2}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_RELU, true, false, true, {0, 0}},
    {1, 4, 3, 8, 8, {4, 3}, {2, 3}, {1, 1}, {1, 0, 1, 1}, 2, CLQ_ACT_NONE, true, false, true, {1, 2}},
    {1, 5, 4, 6, 9, {3, 2}, {1, 2}, {2, 3}, {2, 3, 1, 2}, 3, CLQ_ACT_RELU6, true, true, true, {0, 1}},
    {1, 3, 5, 7, 7, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}, 7, CLQ_ACT_NONE, false, false, true, {1, 1}},
};
/* clang-format on */
enum { CASES = sizeof cases / sizeof *cases };

static const quant_meaning x_meaning = {0.037f, 113}, y_meaning = {0.41f, 131};

/* What a case consists of, and what is expected of it. */
typedef struct layer_data {
    const layer_case *c;
    clq_conv_geometry g;
    size_t xs, ws, ys, k;
    uint8_t *x;
    int8_t *w; /* codes; in the float modes some reals lie beyond +-127 */
    int32_t *bias;
    float *w_scale; /* (OC) */
    float *w_real, *bias_real;
    int32_t *sums;
    uint8_t *y;    /* codes */
    bool *passes;  /* y was not clamped */
    float *real;   /* sums as reals, without activation */
    float most[2]; /* largest -real and real after the activation */
} layer_data;

static clq_conv_geometry geometry_of(const layer_case *c) {
    clq_conv_geometry g = {.n = c->n,
                           .ih = c->h,
                           .iw = c->w,
                           .ic = c->ic,
                           .oc = c->oc,
                           .kh = c->kernel[0],
                           .kw = c->kernel[1],
                           .stride_h = c->stride[0],
                           .stride_w = c->stride[1],
                           .pad_top = c->pad[0],
                           .pad_left = c->pad[1],
                           .dilation_h = c->dilation[0],
                           .dilation_w = c->dilation[1],
                           .groups = c->groups};
    if (c->h == 0) {
        g.ih = g.iw = 1;
    }
    if (c->transposed) {
        g.transposed = true;
        g.oh = (g.ih - 1) * g.stride_h + g.dilation_h * (g.kh - 1) + 1 + c->output_padding[0] -
               c->pad[0] - c->pad[2];
        g.ow = (g.iw - 1) * g.stride_w + g.dilation_w * (g.kw - 1) + 1 + c->output_padding[1] -
               c->pad[1] - c->pad[3];
        return g;
    }
    g.oh = (g.ih + c->pad[0] + c->pad[2] - g.dilation_h * (g.kh - 1) - 1) / g.stride_h + 1;
    g.ow = (g.iw + c->pad[1] + c->pad[3] - g.dilation_w * (g.kw - 1) - 1) / g.stride_w + 1;
    return g;
}

static void make_parameters(layer_data *d) {
    const size_t oc = (size_t)d->c->oc;
    d->w = malloc(d->ws);
    d->bias = malloc(oc * sizeof *d->bias);
    d->w_scale = random_floats(oc, 0.001f, 0.01f, 3);
    d->w_real = malloc(d->ws * sizeof(float));
    d->bias_real = malloc(oc * sizeof(float));
    clq_test_fill_s8(d->w, d->ws, -127, 127, 4);
    clq_test_fill_s32(d->bias, oc, -3000, 3000, 5);
    for (size_t c = 0; c < oc; c++) {
        d->w_scale[c] = d->w_scale[d->c->per_tensor ? 0 : c];
        const float unit = x_meaning.scale * d->w_scale[c];
        d->bias[c] = d->c->bias ? d->bias[c] : 0;
        d->bias_real[c] = (float)d->bias[c] * unit;
    }
    for (size_t i = 0; i < d->ws; i++) {
        /* A code at the end stands for everything beyond it. */
        const float beyond = abs(d->w[i]) == 127 && i % 2 ? 1.1f : 1.0f;
        d->w_real[i] = (float)d->w[i] * beyond * d->w_scale[i / d->k];
    }
}

static void make_expected(layer_data *d) {
    const int z = y_meaning.zero_point;
    const int lo = d->c->act == CLQ_ACT_NONE ? 0 : z;
    const int six = (int)rintf(6.0f / y_meaning.scale) + z;
    const int hi = d->c->act == CLQ_ACT_RELU6 && six < 255 ? six : 255;
    d->sums = malloc(d->ys * sizeof *d->sums);
    d->y = malloc(d->ys);
    d->passes = malloc(d->ys);
    d->real = malloc(d->ys * sizeof(float));
    ref_conv2d_int8_sums(&d->g, d->x, d->c->ic, x_meaning.zero_point, d->w, d->bias, d->sums);
    for (size_t i = 0; i < d->ys; i++) {
        const float unit = x_meaning.scale * d->w_scale[i % (size_t)d->c->oc];
        const float m = unit / y_meaning.scale;
        const float scaled = (float)d->sums[i] * m;
        const double code = (double)rintf(scaled) + z;
        d->passes[i] = code >= lo && code <= hi;
        d->y[i] = (uint8_t)(code < lo ? lo : code > hi ? hi : code);
        d->real[i] = (float)d->sums[i] * unit;
        float seen = d->real[i];
        seen = d->c->act != CLQ_ACT_NONE && seen < 0 ? 0 : seen;
        seen = d->c->act == CLQ_ACT_RELU6 && seen > 6 ? 6 : seen;
        d->most[0] = fmaxf(d->most[0], -seen);
        d->most[1] = fmaxf(d->most[1], seen);
    }
}

static layer_data data_of(const layer_case *c) {
    layer_data d = {.c = c, .g = geometry_of(c)};
    d.xs = ref_conv2d_x_count(&d.g);
    d.ws = ref_conv2d_w_count(&d.g);
    d.ys = ref_conv2d_y_count(&d.g);
    d.k = d.ws / (size_t)c->oc;
    d.x = random_codes(d.xs, 2);
    make_parameters(&d);
    make_expected(&d);
    return d;
}

static void free_data(layer_data *d) {
    void *const blocks[] = {d->x,         d->w,    d->bias, d->w_scale, d->w_real,
                            d->bias_real, d->sums, d->y,    d->passes,  d->real};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        free(blocks[i]);
    }
}

/* The node in this mode, with its input. */
static void begin(quant_test *t, const layer_data *d, clq_exec_mode mode, bool integers,
                  bool quantized_output) {
    const layer_case *c = d->c;
    const clq_conv2d_attrs conv = {.kernel = {c->kernel[0], c->kernel[1]},
                                   .stride = {c->stride[0], c->stride[1]},
                                   .dilation = {c->dilation[0], c->dilation[1]},
                                   .pad = {c->pad[0], c->pad[1], c->pad[2], c->pad[3]},
                                   .groups = c->groups,
                                   .act = c->act};
    const clq_conv_transpose_attrs transpose = {
        .conv = conv, .output_padding = {c->output_padding[0], c->output_padding[1]}};
    const clq_linear_attrs linear = {.act = c->act};
    const char *op = c->transposed ? "conv_transpose" : c->h ? "conv2d" : "linear";
    const void *attrs = c->transposed ? (const void *)&transpose
                        : c->h        ? (const void *)&conv
                                      : &linear;
    const clq_shape x = c->h ? (clq_shape){4, {1, c->h, c->w, c->ic}} : (clq_shape){2, {1, c->ic}};
    const clq_shape w = c->h
                            ? (clq_shape){4, {c->oc, c->kernel[0], c->kernel[1], c->ic / c->groups}}
                            : (clq_shape){2, {c->oc, c->ic}};
    const clq_shape b = {1, {c->oc}};
    const clq_dtype w_type = integers ? CLQ_S8 : CLQ_F32, b_type = integers ? CLQ_S32 : CLQ_F32;
    float unit[64];
    int inputs[3];
    quant_begin(t);
    inputs[0] = quant_activation(t, &x, x_meaning);
    inputs[1] = quant_parameter(t, "w", w, w_type, integers ? (void *)d->w : d->w_real,
                                c->per_tensor ? 1 : c->oc, d->w_scale, CLQ_Q_S8_NARROW);
    for (int i = 0; i < c->oc; i++) {
        unit[i] = x_meaning.scale * d->w_scale[i];
    }
    if (c->bias) {
        inputs[2] = quant_parameter(t, "b", b, b_type, integers ? (void *)d->bias : d->bias_real,
                                    c->oc, unit, CLQ_Q_S32);
    }
    quant_node(t, op, attrs, inputs, c->bias ? 3 : 2, quantized_output ? &y_meaning : NULL, mode,
               c->n);
    quant_input(t, 0, d->x);
}

static void assert_codes(const quant_test *t, const layer_data *d) {
    uint8_t *y = quant_output(t);
    assert_equal_u8(y, d->y, clq_test_shape_of(d->ys / (size_t)d->c->oc, (size_t)d->c->oc));
    free(y);
}

/* Float parameters on floats, integer parameters on floats, integers on integers. */
static void codes_are_those_of_plain_loops(void **state) {
    (void)state;
    const struct {
        clq_exec_mode mode;
        bool integers;
    } forms[] = {{CLQ_EXEC_FAKE_QUANT, false},
                 {CLQ_EXEC_FAKE_QUANT, true},
                 {CLQ_EXEC_QAT, false},
                 {CLQ_EXEC_INT8, true}};
    for (int i = 0; i < CASES; i++) {
        layer_data d = data_of(&cases[i]);
        for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
            quant_test t;
            begin(&t, &d, forms[f].mode, forms[f].integers, true);
            quant_forward(&t);
            assert_codes(&t, &d);
            quant_end(&t);
        }
        free_data(&d);
    }
}

static void a_real_output_is_scaled_sums(void **state) {
    (void)state;
    const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
    for (int i = 0; i < CASES; i++) {
        layer_case c = cases[i];
        c.act = CLQ_ACT_NONE;
        layer_data d = data_of(&c);
        for (int m = 0; m < 3; m++) {
            quant_test t;
            begin(&t, &d, modes[m], modes[m] == CLQ_EXEC_INT8, false);
            quant_forward(&t);
            float *y = read_floats(t.run.out.buffer);
            assert_equal_bits(y, d.real, d.ys * sizeof *y);
            free(y);
            quant_end(&t);
        }
        free_data(&d);
    }
}

static void an_activation_behind_reals(void **state) {
    (void)state;
    layer_case c = cases[0];
    const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
    layer_data d = data_of(&c);
    for (size_t i = 0; i < d.ys; i++) {
        d.real[i] = d.real[i] < 0 ? 0 : d.real[i];
    }
    for (int m = 0; m < 3; m++) {
        quant_test t;
        begin(&t, &d, modes[m], modes[m] == CLQ_EXEC_INT8, false);
        quant_forward(&t);
        float *y = read_floats(t.run.out.buffer);
        for (size_t i = 0; i < d.ys; i++) {
            assert_true(y[i] == d.real[i]);
        }
        free(y);
        quant_end(&t);
    }
    free_data(&d);
}

/* Observing changes no code, and sees the reals behind the activation. */
static void observers_see_the_range(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        layer_data d = data_of(&cases[i]);
        quant_test t;
        float seen[2];
        begin(&t, &d, CLQ_EXEC_QAT, false, true);
        t.qstate->observe = true;
        quant_forward(&t);
        assert_codes(&t, &d);
        quant_seen(&t, seen);
        assert_true(seen[0] == d.most[0] && seen[1] == d.most[1]);
        quant_end(&t);
        free_data(&d);
    }
}

/* The straight-through estimator: equation (14). */
static void expected_gradients(const layer_data *d, const float *dy, float *dx, float *dw,
                               float *db) {
    float *g = malloc(d->ys * sizeof *g), *x = malloc(d->xs * sizeof *x);
    float *w = malloc(d->ws * sizeof *w);
    for (size_t i = 0; i < d->ys; i++) {
        g[i] = d->passes[i] ? dy[i] : 0;
    }
    for (size_t i = 0; i < d->xs; i++) {
        x[i] = x_meaning.scale * (float)(d->x[i] - x_meaning.zero_point);
    }
    for (size_t i = 0; i < d->ws; i++) {
        w[i] = (float)d->w[i] * d->w_scale[i / d->k];
    }
    ref_conv2d_f32_backward_data(&d->g, g, w, true, dx);
    ref_conv2d_f32_backward_weights(&d->g, x, g, dw, db);
    for (size_t i = 0; i < d->ws; i++) {
        if (fabsf(d->w_real[i] / d->w_scale[i / d->k]) >= 127.5f) {
            dw[i] = 0;
        }
    }
    free(g);
    free(x);
    free(w);
}

static void gradients_go_straight_through(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        layer_data d = data_of(&cases[i]);
        quant_test t;
        float *dy = random_floats(d.ys, -1, 1, 7), *start = random_floats(d.xs, -1, 1, 8);
        float *dx = malloc(d.xs * sizeof *dx), *dw = malloc(d.ws * sizeof *dw);
        float *db = malloc((size_t)cases[i].oc * sizeof *db);
        memcpy(dx, start, d.xs * sizeof *dx);
        begin(&t, &d, CLQ_EXEC_QAT, false, true);
        quant_want_gradient(&t, 0, start);
        quant_want_gradient(&t, 1, NULL);
        if (cases[i].bias) {
            quant_want_gradient(&t, 2, NULL);
        }
        quant_forward(&t);
        quant_backward(&t, dy);
        expected_gradients(&d, dy, dx, dw, db);
        assert_buffer_close(t.run.grad_in[0].buffer, dx, d.xs, 1e-4, 1e-5);
        assert_buffer_close(t.run.grad_in[1].buffer, dw, d.ws, 1e-4, 1e-5);
        if (cases[i].bias) {
            assert_buffer_close(t.run.grad_in[2].buffer, db, (size_t)cases[i].oc, 1e-4, 1e-5);
        }
        quant_end(&t);
        void *const blocks[] = {dy, start, dx, dw, db};
        for (size_t b = 0; b < 5; b++) {
            free(blocks[b]);
        }
        free_data(&d);
    }
}

/* 255 * sum |q_w| beyond 2^24: float sums would lose bits, the layer notices and stays exact. */
static void sums_beyond_floats_are_exact(void **state) {
    (void)state;
    /* clang-format off */
    const layer_case wide[] = {
        /* n, h, w, ic, oc, kernel, stride, dilation, pad, groups, act, bias, per tensor, transposed, output padding */
        {2, 0, 0, 2063, 19, {1, 1}, {1, 1}, {1, 1}, {0, 0, 0, 0}, 1, CLQ_ACT_NONE, true, false, false, {0, 0}},
        {1, 4, 5, 260, 18, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 2, CLQ_ACT_RELU, true, false, false, {0, 0}},
        {1, 4, 5, 260, 18, {3, 3}, {2, 1}, {1, 1}, {1, 1, 1, 1}, 2, CLQ_ACT_NONE, true, false, true, {1, 0}},
        {1, 3, 3, 33, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}, 1, CLQ_ACT_NONE, true, false, false, {0, 0}},
    };
    /* clang-format on */
    for (int i = 0; i < 4; i++) {
        layer_data d = data_of(&wide[i]);
        quant_test t;
        begin(&t, &d, CLQ_EXEC_FAKE_QUANT, true, true);
        quant_forward(&t);
        assert_true(clq_layer_is_float_exact(&t.run) == (i == 3));
        assert_codes(&t, &d);
        quant_end(&t);
        begin(&t, &d, CLQ_EXEC_FAKE_QUANT, true, false);
        quant_forward(&t);
        if (wide[i].act == CLQ_ACT_NONE) {
            float *y = read_floats(t.run.out.buffer);
            assert_equal_bits(y, d.real, d.ys * sizeof *y);
            free(y);
        }
        quant_end(&t);
        free_data(&d);
    }
}

static void unquantized_inputs_are_refused(void **state) {
    (void)state;
    layer_data d = data_of(&cases[0]);
    quant_test t;
    begin(&t, &d, CLQ_EXEC_FAKE_QUANT, false, true);
    clq_qparams_clear(&t.graph->values[clq_graph_input(t.graph)].q);
    assert_status(t.run.node->op->quantized->prepare(&t.run), CLQ_USAGE);
    assert_error_has("\"x\"");
    quant_end(&t);
    begin(&t, &d, CLQ_EXEC_INT8, false, true); /* float weights */
    assert_status(t.run.node->op->quantized->prepare(&t.run), CLQ_USAGE);
    quant_end(&t);
    free_data(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_plain_loops),
        cmocka_unit_test(a_real_output_is_scaled_sums),
        cmocka_unit_test(an_activation_behind_reals),
        cmocka_unit_test(observers_see_the_range),
        cmocka_unit_test(gradients_go_straight_through),
        cmocka_unit_test(sums_beyond_floats_are_exact),
        cmocka_unit_test(unquantized_inputs_are_refused),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
