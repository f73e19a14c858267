/* From ranges to scales: the equations of docs/quantization.md, on the host and on the device. */
#include <clquant/formats.h>
#include <clquant/ops.h>
#include <math.h>

#include "kernels/include/scales.h"
#include "quant/internal.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

static clq_quant_config config_of(clq_scale_kind scale, bool symmetric) {
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.scale = scale;
    config.symmetric_activations = symmetric;
    return config;
}

typedef struct range_case {
    float min, max;
    clq_scale_kind kind;
    bool symmetric;
    float scale;
    int zero_point;
    clq_qtype type;
} range_case;

static const range_case ranges[] = {
    {0, 255, CLQ_SCALE_FLOAT, false, 1, 0, CLQ_Q_U8},
    {-1, 1, CLQ_SCALE_FLOAT, false, 2.0f / 255, 127,
     CLQ_Q_U8}, /* 1 / (2 / 255) is just below 127.5 */
    {-255, 0, CLQ_SCALE_FLOAT, false, 1, 255, CLQ_Q_U8},
    {2, 5, CLQ_SCALE_FLOAT, false, 5.0f / 255, 0, CLQ_Q_U8},     /* widened to contain 0 */
    {-5, -2, CLQ_SCALE_FLOAT, false, 5.0f / 255, 255, CLQ_Q_U8}, /* likewise */
    {-0.1f, 25.4f, CLQ_SCALE_FLOAT, false, 25.5f / 255, 1, CLQ_Q_U8},
    {0, 0, CLQ_SCALE_FLOAT, false, 1, 0, CLQ_Q_U8},
    {-0.0f, 0, CLQ_SCALE_FLOAT, true, 1, 0, CLQ_Q_U8},
    {3, 3, CLQ_SCALE_FLOAT, false, 3.0f / 255, 0, CLQ_Q_U8}, /* a single value */
    {-3, -3, CLQ_SCALE_FLOAT, true, 3.0f / 127, 128, CLQ_Q_U8},
    {0, 510, CLQ_SCALE_FLOAT, true, 2, 0, CLQ_Q_U8},
    {-1, 254, CLQ_SCALE_FLOAT, true, 2, 128, CLQ_Q_U8},
    {-254, 1, CLQ_SCALE_FLOAT, true, 2, 128, CLQ_Q_U8},
    {0, 1e-30f, CLQ_SCALE_FLOAT, false, 0x1p-60f, 0, CLQ_Q_U8}, /* no scale is smaller */
    {-100, 155, CLQ_SCALE_POW2, false, 1, 100, CLQ_Q_U8},
    {-64, 64, CLQ_SCALE_POW2, false, 0.5f, 128, CLQ_Q_U8},    /* 128 / 255 = 0.502 */
    {0, 360, CLQ_SCALE_POW2, false, 1, 0, CLQ_Q_U8},          /* 1.4118 < sqrt(2) */
    {0, 361, CLQ_SCALE_POW2, false, 2, 0, CLQ_Q_U8},          /* 1.4157 > sqrt(2) */
    {0, 1e9f, CLQ_SCALE_POW2, false, 256, 0, CLQ_Q_U8},       /* exponent at most 8 */
    {-1e-9f, 0, CLQ_SCALE_POW2, false, 0x1p-8f, 0, CLQ_Q_U8}, /* and at least -8 */
    {0, 0, CLQ_SCALE_POW2, true, 1, 0, CLQ_Q_U8},
    {-127, 3, CLQ_SCALE_POW2, true, 1, 128, CLQ_Q_U8},
    {-100, 155, CLQ_SCALE_FLOAT, false, 1, -28, CLQ_Q_S8},
    {0, 255, CLQ_SCALE_FLOAT, false, 1, -128, CLQ_Q_S8},
    {0, 254, CLQ_SCALE_FLOAT, true, 2, 0, CLQ_Q_S8}, /* signed symmetric codes: 0 is 0 */
    {-254, 1, CLQ_SCALE_FLOAT, true, 2, 0, CLQ_Q_S8},
    {-100, 154, CLQ_SCALE_FLOAT, false, 1, -27, CLQ_Q_S8_NARROW},
    {-100, 254, CLQ_SCALE_FLOAT, true, 2, 0, CLQ_Q_S8_NARROW},
    {-5, 10, CLQ_SCALE_FLOAT, false, 1, -3, CLQ_Q_S4},
    {-5, 14, CLQ_SCALE_FLOAT, true, 2, 0, CLQ_Q_S4},
    {-1, 2, CLQ_SCALE_FLOAT, false, 1, -1, CLQ_Q_S2},
    {0, 0, CLQ_SCALE_FLOAT, false, 1, -2, CLQ_Q_S2},
};
enum { RANGES = sizeof ranges / sizeof *ranges };

static void activation_qparams(void **state) {
    (void)state;
    for (int i = 0; i < RANGES; i++) {
        const range_case *c = &ranges[i];
        const clq_quant_config config = config_of(c->kind, c->symmetric);
        float scale = 0;
        int32_t zero_point = -1;
        assert_ok(
            clq_activation_qparams(&config, "x", c->min, c->max, c->type, &scale, &zero_point));
        if (scale != c->scale || zero_point != c->zero_point) {
            fail_msg("case %d: scale %.9g zero point %d, expected %.9g and %d", i, (double)scale,
                     zero_point, (double)c->scale, c->zero_point);
        }
    }
}

static void ranges_must_be_finite_intervals(void **state) {
    (void)state;
    const float bad[][2] = {{NAN, 1},      {0, NAN}, {-INFINITY, 1},
                            {0, INFINITY}, {2, 1},   {-3e38f, 3e38f}};
    const clq_quant_config config = config_of(CLQ_SCALE_FLOAT, false);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float scale;
        int32_t zero_point;
        assert_status(clq_activation_qparams(&config, "layer1.out", bad[i][0], bad[i][1], CLQ_Q_U8,
                                             &scale, &zero_point),
                      CLQ_BAD_DATA);
        assert_error_has("layer1.out");
    }
}

/* 0 keeps its meaning, and the ends of the range are at most half a step beyond the codes. */
static void codes_cover_the_range(void **state) {
    (void)state;
    float ends[2000];
    clq_test_fill_f32(ends, 2000, -50, 50, 1);
    for (int i = 0; i < 2000; i += 2) {
        const float min = fminf(ends[i], ends[i + 1]), max = fmaxf(ends[i], ends[i + 1]);
        for (int symmetric = 0; symmetric < 2; symmetric++) {
            const clq_quant_config config = config_of(CLQ_SCALE_FLOAT, symmetric);
            float scale;
            int32_t z;
            const clq_qtype kinds[] = {CLQ_Q_U8, CLQ_Q_S8, CLQ_Q_S8_NARROW, CLQ_Q_S3};
            const clq_qtype_info *type = clq_qtype_get(kinds[i / 2 % 4]);
            assert_ok(clq_activation_qparams(&config, "x", min, max, kinds[i / 2 % 4], &scale, &z));
            assert_true(z >= type->lowest && z <= type->highest);
            assert_true(scale * (float)(type->lowest - z) <= fminf(min, 0) + 0.501f * scale);
            assert_true(scale * (float)(type->highest - z) >= fmaxf(max, 0) - 0.501f * scale);
        }
    }
}

static void pow2_scales(void **state) {
    (void)state;
    float pow2;
    for (int e = -40; e <= 40; e++) {
        const float exact = ldexpf(1, e);
        const float clamped = ldexpf(1, e < -20 ? -20 : e > 20 ? 20 : e);
        assert_ok(clq_scale_to_pow2("x", exact, 20, &pow2));
        assert_true(pow2 == clamped);
        assert_ok(clq_scale_to_pow2("x", exact * 1.414f, 20, &pow2));
        assert_true(pow2 == clamped);
        assert_ok(clq_scale_to_pow2("x", exact * 0.708f, 20, &pow2));
        assert_true(pow2 == clamped);
    }
    /* Neighbours of sqrt(2), against log2. */
    for (int i = -3; i <= 3; i++) {
        const float scale = 1.41421354f + (float)i * 0x1p-23f;
        assert_ok(clq_scale_to_pow2("x", scale, 8, &pow2));
        assert_true(pow2 == (float)exp2(rint(log2((double)scale))));
    }
    const float bad[] = {0, -0.0f, -1, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_status(clq_scale_to_pow2("conv7.weight", bad[i], 8, &pow2), CLQ_BAD_DATA);
        assert_error_has("conv7.weight");
    }
    assert_ok(clq_scale_to_pow2("x", 1e-42f, 8, &pow2)); /* subnormal */
    assert_true(pow2 == 0x1p-8f);
}

static void weight_scales(void **state) {
    (void)state;
    const clq_quant_config any = config_of(CLQ_SCALE_FLOAT, false);
    const clq_quant_config pow2 = config_of(CLQ_SCALE_POW2, false);
    float scale;
    assert_ok(clq_weight_scale(&any, "w", 127, &scale));
    assert_true(scale == 1);
    assert_ok(clq_weight_scale(&any, "w", 0, &scale));
    assert_true(scale == 1);
    assert_ok(clq_weight_scale(&pow2, "w", 1, &scale));
    assert_true(scale == 0x1p-7f);
    assert_status(clq_weight_scale(&any, "w", NAN, &scale), CLQ_BAD_DATA);
    assert_status(clq_weight_scale(&any, "w", -1, &scale), CLQ_BAD_DATA);
    /* A dead channel: its scale is large enough for its bias to fit. */
    scale = clq_weights_scale(1e-20f, 127, 0.5f, 0.02f, CLQ_ANY_SCALE);
    assert_true(fabsf(clq_bias_code(0.5f, 0.02f * scale)) <= 0x1p23f);
    assert_true(fabsf(clq_bias_code(0.5f, 0.02f * scale) * (0.02f * scale) - 0.5f) < 1e-6f);
    assert_true(clq_weights_scale(0, 127, 0, 1, CLQ_ANY_SCALE) == 1);
}

static void bias_codes(void **state) {
    (void)state;
    assert_true(clq_bias_code(2.5f, 1) == 2);
    assert_true(clq_bias_code(-3.5f, 1) == -4);
    assert_true(clq_bias_code(0x1p22f + 0.5f, 1) == 0x1p22f);
    assert_true(clq_bias_code(1e30f, 1) == 0x1p30f);
    assert_true(clq_bias_code(-1e30f, 1) == -0x1p30f);
}

static void configurations_are_checked(void **state) {
    (void)state;
    clq_quant_config good = config_of(CLQ_SCALE_POW2, false), bad = good;
    assert_ok(clq_quant_config_check(&good));
    bad.averaging = 0;
    assert_status(clq_quant_config_check(&bad), CLQ_USAGE);
    bad = good;
    bad.max_shift = 31;
    assert_status(clq_quant_config_check(&bad), CLQ_USAGE);
    bad = good;
    bad.images = 0;
    assert_status(clq_quant_config_check(&bad), CLQ_USAGE);
}

/* ---- the device's observers compute the same ---- */

static void check_observers(const float *ranges_in, int values, clq_scale_kind kind,
                            bool symmetric) {
    const clq_quant_config config = config_of(kind, symmetric);
    const int shift = kind == CLQ_SCALE_POW2 ? config.max_shift : CLQ_ANY_SCALE;
    static const clq_qtype types[] = {CLQ_Q_U8, CLQ_Q_S8, CLQ_Q_S8_NARROW, CLQ_Q_S4};
    int *source = malloc((size_t)values * sizeof *source);
    int32_t *limits = malloc(2 * (size_t)values * sizeof *limits);
    for (int v = 0; v < values; v++) {
        source[v] = v;
        limits[2 * v] = clq_qtype_get(types[v % 4])->lowest;
        limits[2 * v + 1] = clq_qtype_get(types[v % 4])->highest;
    }
    const size_t bytes = 2 * (size_t)values * sizeof(float);
    clq_buffer *seen = make_buffer(ranges_in, bytes), *running = make_buffer(NULL, bytes);
    clq_buffer *sources = make_buffer(source, (size_t)values * sizeof *source);
    clq_buffer *scales = make_buffer(NULL, bytes / 2), *zeros = make_buffer(NULL, bytes / 2);
    clq_buffer *ends = make_buffer(limits, bytes);
    clq_kernel *kernel = NULL;
    assert_ok(clq_buffer_fill(running, 0, bytes, 0));
    assert_ok(clq_kernel_get(test_device, "observer_update", NULL, &kernel));
    assert_ok(CLQ_LAUNCH(test_device, kernel, CLQ_RANGE1((size_t)values), CLQ_BUF(seen),
                         CLQ_BUF(running), CLQ_BUF(sources), CLQ_BUF(scales), CLQ_BUF(zeros),
                         CLQ_BUF(ends), CLQ_F32(1), CLQ_I32(symmetric), CLQ_I32(shift),
                         CLQ_I32(values)));
    float *scale = read_floats(scales);
    int32_t *zero_point = (int32_t *)read_floats(zeros);
    for (int v = 0; v < values; v++) {
        float expected;
        int32_t zero;
        assert_ok(clq_activation_qparams(&config, "x", -ranges_in[2 * v], ranges_in[2 * v + 1],
                                         types[v % 4], &expected, &zero));
        if (scale[v] != expected || zero_point[v] != zero) {
            fail_msg("[%g, %g]: device %.9g and %d, host %.9g and %d", (double)-ranges_in[2 * v],
                     (double)ranges_in[2 * v + 1], (double)scale[v], zero_point[v],
                     (double)expected, zero);
        }
    }
    clq_buffer *const buffers[] = {seen, running, sources, scales, zeros, ends};
    for (int i = 0; i < 6; i++) {
        clq_buffer_release(buffers[i]);
    }
    free(limits);
    free(scale);
    free(zero_point);
    free(source);
}

static void device_observers_follow_the_same_rules(void **state) {
    (void)state;
    enum { VALUES = 3001 };
    float *some = random_floats(2 * VALUES, 0, 1, 3);
    for (int v = 0; v < VALUES; v++) {
        const float magnitude = ldexpf(1, v % 60 - 30);
        some[2 * v] = v % 5 == 0 ? 0 : some[2 * v] * magnitude;
        some[2 * v + 1] = v % 7 == 0 ? 0 : some[2 * v + 1] * magnitude;
    }
    for (int kind = CLQ_SCALE_FLOAT; kind <= CLQ_SCALE_POW2; kind++) {
        check_observers(some, VALUES, (clq_scale_kind)kind, false);
        check_observers(some, VALUES, (clq_scale_kind)kind, true);
    }
    free(some);
}

/* (1 - a) old + a new, or the extremes; a value that shares codes goes by its source. */
static void observers_average(void **state) {
    (void)state;
    const float seen[] = {1, 3, 100, 100, 8, 8}, old[] = {2, 1, 2, 1, 5, 5};
    const int source[] = {0, 0, -1};
    const int32_t limits[] = {0, 255, 0, 255, 0, 0};
    for (int extremes = 0; extremes < 2; extremes++) {
        clq_buffer *s = make_buffer(seen, sizeof seen), *r = make_buffer(old, sizeof old);
        clq_buffer *o = make_buffer(source, sizeof source);
        clq_buffer *scale = make_buffer(seen, 12), *zero = make_buffer(seen, 12);
        clq_buffer *ends = make_buffer(limits, sizeof limits);
        clq_kernel *kernel = NULL;
        assert_ok(clq_kernel_get(test_device, "observer_update", NULL, &kernel));
        assert_ok(CLQ_LAUNCH(test_device, kernel, CLQ_RANGE1(3), CLQ_BUF(s), CLQ_BUF(r), CLQ_BUF(o),
                             CLQ_BUF(scale), CLQ_BUF(zero), CLQ_BUF(ends),
                             CLQ_F32(extremes ? 0 : 0.25f), CLQ_I32(false), CLQ_I32(CLQ_ANY_SCALE),
                             CLQ_I32(3)));
        float *running = read_floats(r), *scales = read_floats(scale);
        const float low = extremes ? 2 : 1.75f, high = extremes ? 3 : 1.5f;
        for (int v = 0; v < 2; v++) {
            assert_true(running[2 * v] == low && running[2 * v + 1] == high);
            assert_true(scales[v] == (low + high) / 255);
        }
        assert_true(running[4] == 5 && running[5] == 5 && scales[2] == seen[2]);
        free(running);
        free(scales);
        clq_buffer *const buffers[] = {s, r, o, scale, zero, ends};
        for (int i = 0; i < 6; i++) {
            clq_buffer_release(buffers[i]);
        }
    }
}

/* Devices whose division is not correctly rounded make up for it; here their reciprocal is off by
 * 2.5 ulp in either direction. */
static void inexact_divisions_are_corrected(void **state) {
    (void)state;
    enum { OC = 50000 };
    const char *const options[] = {
        NULL, "-DCLQ_INEXACT_DIVIDE=1",
        "-DCLQ_INEXACT_DIVIDE=1 -DCLQ_RECIPROCAL(y)=((1.0f/(y))*1.0000003f)",
        "-DCLQ_INEXACT_DIVIDE=1 -DCLQ_RECIPROCAL(y)=((1.0f/(y))*0.9999997f)"};
    const float divisors[] = {1, 3, 0x1.fffffep0f, 0x1.000002p0f, 1.7f, 0.0123f, 0x1p-40f, 255};
    float *w_scale = random_floats(OC, 0.001f, 9, 5);
    clq_buffer *w = make_buffer(w_scale, OC * sizeof *w_scale);
    clq_buffer *m = make_buffer(NULL, (OC + 16) * sizeof(float));
    clq_buffer *real = make_buffer(NULL, (OC + 16) * sizeof(float));
    for (size_t d = 0; d < sizeof divisors / sizeof *divisors; d++) {
        const float scales[] = {1, divisors[d]};
        clq_buffer *scale = make_buffer(scales, sizeof scales);
        for (int o = 0; o < 4; o++) {
            clq_kernel *kernel = NULL;
            assert_ok(clq_kernel_get(test_device, "layer_multipliers", options[o], &kernel));
            assert_ok(CLQ_LAUNCH(test_device, kernel, CLQ_RANGE1(OC), CLQ_BUF(w), CLQ_BUF(scale),
                                 CLQ_I32(0), CLQ_I32(1), CLQ_BUF(m), CLQ_BUF(real), CLQ_I32(OC)));
            float *got = read_floats(m);
            for (int i = 0; i < OC + 16; i++) {
                const float expected = w_scale[i % OC] / divisors[d];
                if (got[i] != expected) {
                    fail_msg("%.9g / %.9g: %.9g, expected %.9g (%s)", (double)w_scale[i % OC],
                             (double)divisors[d], (double)got[i], (double)expected, options[o]);
                }
            }
            free(got);
        }
        clq_buffer_release(scale);
    }
    clq_buffer_release(w);
    clq_buffer_release(m);
    clq_buffer_release(real);
    free(w_scale);
}

/* Files have scales of a transposed convolution's weights for channels that its groups have in
 * common: one for all then, unless a group is one channel, and what is chosen can be written. */
static void transposed_groups_share_a_scale(void **state) {
    (void)state;
    static const struct {
        int groups, outputs;
        int64_t scales;
    } cases[] = {{1, 6, 6}, {2, 6, 1}, {4, 8, 1}, {4, 4, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const clq_conv_transpose_attrs attrs = {
            .conv = {
                .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .groups = cases[i].groups}};
        const clq_shape shape = {4, {cases[i].outputs, 2, 2, 4 / cases[i].groups}};
        const float one = 1;
        const char *path = clq_test_temp_path("transposed.onnx");
        clq_graph *graph = NULL, *integer = NULL, *again = NULL;
        clq_quant_config config;
        float data[8 * 4 * 4];
        int x, w, y;
        clq_quant_config_init(&config);
        clq_test_fill_f32(data, sizeof data / sizeof *data, -1, 1, 1);
        assert_ok(clq_graph_create("net", &graph));
        assert_ok(clq_graph_add_input(graph, "x", (clq_shape){4, {1, 3, 3, 4}}, &x));
        assert_ok(clq_graph_add_parameter(graph, "up.weight", CLQ_VALUE_PARAMETER, CLQ_F32, shape,
                                          data, &w));
        assert_ok(clq_graph_add_node(graph, "conv_transpose", "up", &attrs, (int[]){x, w}, 2, &y));
        graph->folded = true;
        clq_graph_set_output(graph, y);
        assert_ok(clq_qparams_set(&graph->values[x].q, 1, &one, 0, CLQ_Q_U8));
        assert_ok(clq_qparams_set(&graph->values[y].q, 1, &one, 0, CLQ_Q_U8));
        assert_ok(clq_qparams_set(&graph->values[w].q, 1, &one, 0, CLQ_Q_S8));
        assert_ok(clq_set_weight_qparams(&config, graph, NULL, NULL));
        assert_int_equal(graph->values[w].q.count, cases[i].scales);
        assert_ok(clq_convert(graph, &integer));
        assert_ok(clq_onnx_save(integer, path));
        assert_ok(clq_onnx_load(path, &again));
        const clq_value *a = &integer->values[integer->nodes[0].inputs[1]];
        const clq_value *b = &again->values[again->nodes[0].inputs[1]];
        assert_int_equal(b->q.count, a->q.count);
        assert_memory_equal(a->q.scale, b->q.scale, (size_t)a->q.count * sizeof *a->q.scale);
        assert_memory_equal(a->data, b->data, (size_t)clq_shape_count(&shape));
        clq_graph_destroy(graph);
        clq_graph_destroy(integer);
        clq_graph_destroy(again);
    }
}

int main(void) {
    const struct CMUnitTest host[] = {
        cmocka_unit_test(activation_qparams),
        cmocka_unit_test(ranges_must_be_finite_intervals),
        cmocka_unit_test(codes_cover_the_range),
        cmocka_unit_test(pow2_scales),
        cmocka_unit_test(weight_scales),
        cmocka_unit_test(bias_codes),
        cmocka_unit_test(configurations_are_checked),
        cmocka_unit_test(transposed_groups_share_a_scale),
    };
    const struct CMUnitTest device[] = {
        cmocka_unit_test(device_observers_follow_the_same_rules),
        cmocka_unit_test(observers_average),
        cmocka_unit_test(inexact_divisions_are_corrected),
    };
    return cmocka_run_group_tests_name("host", host, clq_test_setup_temp_dir,
                                       clq_test_teardown_temp_dir) +
           RUN_ON_BOTH_SCHEDULES(device);
}
