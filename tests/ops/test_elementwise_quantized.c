/* add, relu and relu6 in the three quantized modes, against plain loops. */
#include <math.h>

#include "support/quant_run.h"
#include "support/ref_requantize.h"

static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};
/* Pixels and channels: vectors whole, one more, one less, and pitches with padding. */
static const int64_t shapes[][2] = {{1, 1}, {5, 3}, {1, 16}, {17, 1}, {3, 33}, {31, 31}, {7, 64}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static clq_requantizer requantizer;
static quant_meaning a_meaning, b_meaning, y_meaning;

/* For the tests that follow. */
static void use(clq_requantizer kind) {
    requantizer = kind;
    a_meaning = (quant_meaning){ref_scale_for(kind, 0.031f), 7};
    b_meaning = (quant_meaning){ref_scale_for(kind, 0.052f), 128};
    y_meaning = (quant_meaning){ref_scale_for(kind, 0.029f), 61};
}

static int use_float(void **state) {
    (void)state;
    use(CLQ_REQUANT_FLOAT);
    return 0;
}

/* clamp(rint(v) + z, lo, hi), and whether the clamp did nothing. */
static uint8_t code_of(double v, const quant_meaning *y, clq_act act, bool *passes) {
    const double z = y->zero_point, six = rintf(6.0f / y->scale) + z;
    const double lo = act == CLQ_ACT_NONE ? 0 : z;
    const double hi = act == CLQ_ACT_RELU6 && six < 255 ? six : 255;
    const double code = rint(v) + z;
    *passes = code >= lo && code <= hi;
    return (uint8_t)(code < lo ? lo : code > hi ? hi : code);
}

static void assert_codes(const quant_test *t, const uint8_t *expected, size_t count) {
    uint8_t *y = quant_output(t);
    assert_equal_u8(y, expected, clq_test_shape_of(count));
    free(y);
}

/* ---- add ---- */

static void begin_add(quant_test *t, const int64_t *shape, clq_act act, clq_exec_mode mode,
                      const uint8_t *a, const uint8_t *b) {
    const clq_add_attrs attrs = {.act = act};
    const clq_shape x = {2, {1, shape[1]}};
    int inputs[2];
    quant_begin(t);
    assert_ok(clq_graph_set_requantizer(t->graph, requantizer));
    inputs[0] = quant_activation(t, &x, a_meaning);
    inputs[1] = quant_activation(t, &x, b_meaning);
    quant_node(t, "add", &attrs, inputs, 2, &y_meaning, mode, (int)shape[0]);
    quant_input(t, 0, a);
    quant_input(t, 1, b);
}

static void expected_add(const uint8_t *a, const uint8_t *b, size_t count, clq_act act, uint8_t *y,
                         bool *passes, float most[2]) {
    most[0] = most[1] = 0;
    for (size_t i = 0; i < count; i++) {
        const int qa = a[i] - a_meaning.zero_point, qb = b[i] - b_meaning.zero_point;
        const float ra = (float)qa * a_meaning.scale, rb = (float)qb * b_meaning.scale;
        float real = ra + rb;
        y[i] = code_of(ref_requantized_add(requantizer, qa, a_meaning.scale, qb, b_meaning.scale,
                                           y_meaning.scale),
                       &y_meaning, act, &passes[i]);
        real = act != CLQ_ACT_NONE && real < 0 ? 0 : real;
        real = act == CLQ_ACT_RELU6 && real > 6 ? 6 : real;
        most[0] = fmaxf(most[0], -real);
        most[1] = fmaxf(most[1], real);
    }
}

static void check_add(void) {
    for (int s = 0; s < SHAPES; s++) {
        const size_t count = (size_t)(shapes[s][0] * shapes[s][1]);
        uint8_t *a = random_codes(count, 1), *b = random_codes(count, 2), *y = malloc(count);
        bool *passes = malloc(count * sizeof *passes);
        for (int act = CLQ_ACT_NONE; act <= CLQ_ACT_RELU6; act++) {
            float most[2], seen[2];
            expected_add(a, b, count, (clq_act)act, y, passes, most);
            for (int m = 0; m < 3; m++) {
                quant_test t;
                begin_add(&t, shapes[s], (clq_act)act, modes[m], a, b);
                quant_forward(&t);
                assert_codes(&t, y, count);
                if (modes[m] == CLQ_EXEC_QAT) {
                    t.qstate->observe = true;
                    assert_ok(t.run.node->op->quantized->forward(&t.run));
                    assert_codes(&t, y, count);
                    quant_seen(&t, seen);
                    assert_true(seen[0] == most[0] && seen[1] == most[1]);
                }
                quant_end(&t);
            }
        }
        free(a);
        free(b);
        free(y);
        free(passes);
    }
}

static void add_gives_the_codes_of_plain_loops(void **state) {
    (void)state;
    for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
        use((clq_requantizer)r);
        if (ref_takes(requantizer, test_device)) {
            check_add();
        }
    }
}

static void add_hands_the_gradient_to_both(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const size_t count = (size_t)(shapes[s][0] * shapes[s][1]);
        uint8_t *a = random_codes(count, 1), *b = random_codes(count, 2), *y = malloc(count);
        bool *passes = malloc(count * sizeof *passes);
        float *dy = random_floats(count, -1, 1, 3), *start = random_floats(count, -1, 1, 4);
        float *da = malloc(count * sizeof *da), *db = malloc(count * sizeof *db);
        float most[2];
        expected_add(a, b, count, CLQ_ACT_RELU, y, passes, most);
        for (size_t i = 0; i < count; i++) {
            da[i] = passes[i] ? dy[i] : 0;
            db[i] = start[i] + da[i];
        }
        for (int only = 0; only < 3; only++) { /* both, a alone, b alone */
            quant_test t;
            begin_add(&t, shapes[s], CLQ_ACT_RELU, CLQ_EXEC_QAT, a, b);
            if (only != 2) {
                quant_want_gradient(&t, 0, NULL);
            }
            if (only != 1) {
                quant_want_gradient(&t, 1, start);
            }
            quant_forward(&t);
            quant_backward(&t, dy);
            if (only != 2) {
                assert_buffer_close(t.run.grad_in[0].buffer, da, count, 0, 0);
            }
            if (only != 1) {
                assert_buffer_close(t.run.grad_in[1].buffer, db, count, 0, 0);
            }
            quant_end(&t);
        }
        void *const blocks[] = {a, b, y, passes, dy, start, da, db};
        for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
            free(blocks[i]);
        }
    }
}

/* ---- activations by themselves ---- */

static const char *const clamps[] = {"relu", "relu6"};
static const quant_meaning wide = {0.061f, 117};

static uint8_t apply(int six, int code, bool *passes) {
    const int lo = wide.zero_point, top = (int)rintf(6.0f / wide.scale) + wide.zero_point;
    const int hi = six && top < 255 ? top : 255;
    *passes = code >= lo && code <= hi;
    return (uint8_t)(code < lo ? lo : code > hi ? hi : code);
}

static void begin_clamp(quant_test *t, int six, clq_exec_mode mode, int batch, int64_t channels,
                        const uint8_t *x) {
    const clq_shape shape = {2, {1, channels}};
    quant_begin(t);
    const int input = quant_activation(t, &shape, wide);
    quant_node(t, clamps[six], NULL, &input, 1, &wide, mode, batch);
    quant_input(t, 0, x);
}

static void activations_map_every_code(void **state) {
    (void)state;
    uint8_t x[256 * 3], expected[256 * 3];
    bool passes;
    for (int six = 0; six < 2; six++) {
        for (int i = 0; i < 256 * 3; i++) {
            x[i] = (uint8_t)(i % 256);
            expected[i] = apply(six, x[i], &passes);
        }
        for (int m = 0; m < 3; m++) {
            quant_test t;
            begin_clamp(&t, six, modes[m], 256, 3, x);
            quant_forward(&t);
            assert_codes(&t, expected, 256 * 3);
            quant_end(&t);
        }
    }
}

static void activations_pass_the_gradient(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        enum { COUNT = 37 * 19 };
        const bool accumulate = k % 2;
        uint8_t *x = random_codes(COUNT, 1);
        float *dy = random_floats(COUNT, -1, 1, 3), *start = random_floats(COUNT, -1, 1, 4);
        float expected[COUNT];
        for (int i = 0; i < COUNT; i++) {
            bool passes;
            apply(k / 2, x[i], &passes);
            expected[i] = (accumulate ? start[i] : 0) + (passes ? dy[i] : 0);
        }
        quant_test t;
        begin_clamp(&t, k / 2, CLQ_EXEC_QAT, 37, 19, x);
        quant_want_gradient(&t, 0, accumulate ? start : NULL);
        quant_forward(&t);
        quant_backward(&t, dy);
        assert_buffer_close(t.run.grad_in[0].buffer, expected, COUNT, 0, 0);
        quant_end(&t);
        free(x);
        free(dy);
        free(start);
    }
}

static void shared_qparams_are_checked(void **state) {
    (void)state;
    const uint8_t x[4] = {0};
    const float other = 0.5f;
    quant_test t;
    begin_clamp(&t, 0, CLQ_EXEC_FAKE_QUANT, 1, 4, x);
    assert_ok(
        clq_qparams_set(&t.graph->values[clq_graph_output(t.graph)].q, 1, &other, 0, CLQ_Q_U8));
    assert_status(t.run.node->op->quantized->prepare(&t.run), CLQ_USAGE);
    quant_end(&t);
}

/* ---- the edges ---- */

static void reals_become_codes_and_back(void **state) {
    (void)state;
    for (int s = 0; s < SHAPES; s++) {
        const size_t count = (size_t)(shapes[s][0] * shapes[s][1]);
        float *real = random_floats(count, -9, 9, 1), *back;
        uint8_t *expected = malloc(count);
        bool passes;
        for (size_t i = 0; i < count; i++) {
            expected[i] = code_of(real[i] / wide.scale, &wide, CLQ_ACT_NONE, &passes);
        }
        for (int m = 0; m < 2; m++) { /* observing and not; INT8's are in int8_elementwise */
            const clq_shape shape = {2, {1, shapes[s][1]}};
            quant_test t;
            float seen[2], low = 0, high = 0;
            quant_begin(&t);
            const int input = quant_activation(&t, &shape, wide);
            quant_node(&t, "relu", NULL, &input, 1, &wide, CLQ_EXEC_QAT, (int)shapes[s][0]);
            clq_tensor reals = t.run.out;
            assert_ok(clq_buffer_write(reals.buffer, 0, count * sizeof *real, real));
            t.qstate->observe = m == 1;
            clq_tensor codes = t.run.in[0];
            assert_ok(clq_quantize_activation(test_device, t.graph, t.qstate, &reals, &codes));
            t.run.out = codes;
            assert_codes(&t, expected, count);
            t.run.out = reals;
            assert_ok(clq_buffer_read(t.qstate->range, (size_t)input * 8, 8, seen));
            for (size_t i = 0; i < count && m == 1; i++) {
                low = fmaxf(low, -real[i]);
                high = fmaxf(high, real[i]);
            }
            assert_true(seen[0] == low && seen[1] == high);
            assert_ok(clq_dequantize_activation(test_device, t.graph, t.qstate, &codes, &reals));
            back = read_floats(reals.buffer);
            for (size_t i = 0; i < count; i++) {
                assert_true(back[i] == wide.scale * (float)(expected[i] - wide.zero_point));
            }
            free(back);
            quant_end(&t);
        }
        free(real);
        free(expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(add_gives_the_codes_of_plain_loops, use_float),
        cmocka_unit_test_setup(add_hands_the_gradient_to_both, use_float),
        cmocka_unit_test_setup(activations_map_every_code, use_float),
        cmocka_unit_test_setup(activations_pass_the_gradient, use_float),
        cmocka_unit_test_setup(shared_qparams_are_checked, use_float),
        cmocka_unit_test_setup(reals_become_codes_and_back, use_float),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
