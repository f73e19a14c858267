/* Reductions in the three quantized modes, against plain loops. */
#include <math.h>
#include <stdio.h>

#include "support/quant_run.h"
#include "support/ref_reduce.h"
#include "support/ref_requantize.h"

static const clq_exec_mode modes[] = {CLQ_EXEC_FAKE_QUANT, CLQ_EXEC_QAT, CLQ_EXEC_INT8};

typedef struct reduce_case {
    clq_shape x;
    unsigned axes;
    bool keep;
    int batch;
} reduce_case;

/* Rows along memory and across it, words of four channels whole and not, two groups of axes. */
static const reduce_case cases[] = {
    {{2, {1, 71}}, 2, true, 3},        {{4, {1, 3, 5, 18}}, 6, true, 2},
    {{4, {1, 3, 5, 18}}, 6, false, 2}, {{4, {1, 4, 3, 7}}, 8, false, 2},
    {{4, {1, 4, 3, 7}}, 10, true, 1},  {{4, {1, 2, 9, 16}}, 4, false, 2},
};
enum { CASES = sizeof cases / sizeof *cases };

static const char *const kinds[] = {"mean", "sum", "max", "min"};

static const quant_meaning x_meaning = {0.037f, 91};

static void begin(quant_test *t, const char *kind, const reduce_case *c, clq_exec_mode mode,
                  clq_requantizer requantizer, quant_meaning x, quant_meaning y,
                  const uint8_t *codes) {
    const clq_reduce_attrs attrs = {.axes = c->axes, .keep = c->keep};
    char op[32];
    snprintf(op, sizeof op, "reduce_%s", kind);
    quant_begin(t);
    assert_ok(clq_graph_set_requantizer(t->graph, requantizer));
    const int input = quant_activation(t, &c->x, x);
    quant_node(t, op, &attrs, &input, 1, &y, mode, c->batch);
    quant_input(t, 0, codes);
}

static clq_shape batched(const reduce_case *c) {
    clq_shape shape = c->x;
    shape.dim[0] = c->batch;
    return shape;
}

/* The codes, and whether each was clamped. */
static void expected_codes(const char *kind, const reduce_case *c, clq_requantizer requantizer,
                           quant_meaning x, quant_meaning y, const uint8_t *codes,
                           uint8_t *expected, bool *passes) {
    const clq_shape shape = batched(c);
    const size_t count = (size_t)clq_shape_count(&shape), row = ref_row_length(&shape, c->axes);
    const size_t rows = count / row;
    const bool sums = strcmp(kind, "mean") == 0 || strcmp(kind, "sum") == 0;
    float *centred = malloc(count * sizeof *centred);
    double *found = malloc(rows * sizeof *found);
    for (size_t i = 0; i < count; i++) {
        centred[i] = (float)(codes[i] - x.zero_point);
    }
    ref_reduce(sums ? "sum" : kind, &shape, c->axes, centred, found);
    for (size_t k = 0; k < rows; k++) {
        const int divisor = strcmp(kind, "mean") == 0 ? (int)row : 1;
        double code = found[k];
        if (sums) {
            code = ref_requantized_mean(requantizer, (int)code, divisor, x.scale, y.scale);
        }
        code += y.zero_point;
        passes[k] = code >= 0 && code <= 255;
        expected[k] = (uint8_t)(code < 0 ? 0 : code > 255 ? 255 : code);
    }
    free(centred);
    free(found);
}

/* The gradient of what passed, added to what is there. */
static void check_gradient(quant_test *t, const char *kind, const reduce_case *c,
                           const uint8_t *codes, const bool *passes, const float *start) {
    const clq_shape shape = batched(c);
    const size_t count = (size_t)clq_shape_count(&shape);
    const size_t rows = count / ref_row_length(&shape, c->axes);
    float *dy = random_floats(rows, -1, 1, 2), *masked = malloc(rows * sizeof *masked);
    float *x = malloc(count * sizeof *x), *expected = malloc(count * sizeof *expected);
    double *dx = malloc(count * sizeof *dx);
    const bool extreme = strcmp(kind, "max") == 0 || strcmp(kind, "min") == 0;
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)codes[i];
    }
    for (size_t k = 0; k < rows; k++) {
        masked[k] = passes[k] || extreme ? dy[k] : 0;
    }
    ref_reduce_grad(kind, &shape, c->axes, x, masked, dx);
    for (size_t i = 0; i < count; i++) {
        expected[i] = (float)(dx[i] + (double)start[i]);
    }
    quant_backward(t, dy);
    assert_buffer_close(t->run.grad_in[0].buffer, expected, count, 1e-6, 1e-6);
    free(dy), free(masked), free(x), free(expected), free(dx);
}

static void check(const char *kind, const reduce_case *c, clq_requantizer requantizer) {
    const bool extreme = strcmp(kind, "max") == 0 || strcmp(kind, "min") == 0;
    const quant_meaning x = {ref_scale_for(requantizer, x_meaning.scale), x_meaning.zero_point};
    const quant_meaning wide = {
        ref_scale_for(requantizer, strcmp(kind, "sum") == 0 ? 0.22f : 0.0141f), 133};
    const quant_meaning y = extreme ? x : wide;
    const clq_shape shape = batched(c);
    const size_t count = (size_t)clq_shape_count(&shape);
    const size_t rows = count / ref_row_length(&shape, c->axes);
    uint8_t *codes = random_codes(count, 1), *expected = malloc(rows);
    bool *passes = malloc(rows * sizeof *passes);
    float *start = random_floats(count, -1, 1, 3);
    expected_codes(kind, c, requantizer, x, y, codes, expected, passes);
    for (int m = 0; m < 3; m++) {
        quant_test t;
        begin(&t, kind, c, modes[m], requantizer, x, y, codes);
        if (modes[m] == CLQ_EXEC_QAT) {
            t.qstate->observe = true;
            quant_want_gradient(&t, 0, start);
        }
        quant_forward(&t);
        uint8_t *got = quant_output(&t);
        assert_equal_u8(got, expected, clq_test_shape_of(rows));
        if (modes[m] == CLQ_EXEC_QAT) {
            check_gradient(&t, kind, c, codes, passes, start);
        }
        free(got);
        quant_end(&t);
    }
    free(codes), free(expected), free(passes), free(start);
}

static void reductions_are_those_of_plain_loops(void **state) {
    (void)state;
    for (int r = 0; r < CLQ_REQUANT_COUNT; r++) {
        /* each is a program to compile */
        const bool taken = r == CLQ_REQUANT_FLOAT || clq_test_all() ||
                           clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_CPU;
        for (int i = 0; i < 4 * CASES && taken; i++) {
            const bool sums = i % 4 < 2;
            if (sums || r == CLQ_REQUANT_FLOAT) {
                check(kinds[i % 4], &cases[i / 4], (clq_requantizer)r);
            }
        }
    }
}

static void sums_are_observed(void **state) {
    (void)state;
    const reduce_case c = cases[1];
    const clq_shape shape = batched(&c);
    const size_t count = (size_t)clq_shape_count(&shape);
    uint8_t *codes = random_codes(count, 1);
    float *real = malloc(count * sizeof *real), seen[2];
    double sums[64], low = 0, high = 0;
    quant_test t;
    for (size_t i = 0; i < count; i++) {
        real[i] = x_meaning.scale * (float)(codes[i] - x_meaning.zero_point);
    }
    ref_reduce("sum", &shape, c.axes, real, sums);
    for (size_t k = 0; k < count / 15; k++) {
        low = fmax(low, -sums[k]);
        high = fmax(high, sums[k]);
    }
    begin(&t, "sum", &c, CLQ_EXEC_QAT, CLQ_REQUANT_FLOAT, x_meaning, (quant_meaning){0.2f, 100},
          codes);
    t.qstate->observe = true;
    quant_forward(&t);
    quant_seen(&t, seen);
    assert_true(fabs((double)seen[0] - low) < 1e-4 && fabs((double)seen[1] - high) < 1e-4);
    quant_end(&t);
    free(codes), free(real);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reductions_are_those_of_plain_loops),
        cmocka_unit_test(sums_are_observed),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
