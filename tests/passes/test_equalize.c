/* Cross-layer equalization: which layers are pairs, what the scales are, and that the network's
 * function stays. */
#include <clquant/ops.h>
#include <clquant/passes.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/clq_test.h"

enum { SIZE = 6 };

static int parameter(clq_graph *g, const char *layer, const char *what, clq_shape shape) {
    char name[64];
    int id;
    snprintf(name, sizeof name, "%s.%s", layer, what);
    assert_ok(clq_graph_add_parameter(g, name, CLQ_VALUE_PARAMETER, CLQ_F32, shape, NULL, &id));
    clq_test_fill_f32(g->values[id].data, (size_t)clq_shape_count(&shape), -1, 1, (uint64_t)id);
    return id;
}

/* A layer whose output channels differ in size by up to 4^5. */
static void spread(clq_graph *g, int w) {
    const int64_t oc = g->values[w].shape.dim[0], k = clq_shape_count(&g->values[w].shape) / oc;
    for (int64_t i = 0; i < oc * k; i++) {
        ((float *)g->values[w].data)[i] *= powf(4, (float)(i / k % 6) - 3);
    }
}

static int conv(clq_graph *g, const char *name, int x, int oc, int groups, clq_act act) {
    const clq_conv2d_attrs attrs = {.kernel = {3, 3},
                                    .stride = {1, 1},
                                    .dilation = {1, 1},
                                    .pad = {1, 1, 1, 1},
                                    .groups = groups,
                                    .act = act};
    const int64_t ic = g->values[x].shape.dim[3];
    const int inputs[] = {x, parameter(g, name, "weight", (clq_shape){4, {oc, 3, 3, ic / groups}}),
                          parameter(g, name, "bias", (clq_shape){1, {oc}})};
    int y;
    spread(g, inputs[1]);
    assert_ok(clq_graph_add_node(g, "conv2d", name, &attrs, inputs, 3, &y));
    return y;
}

static int linear(clq_graph *g, const char *name, int x, int out, clq_act act) {
    const clq_linear_attrs attrs = {act};
    const int inputs[] = {
        x, parameter(g, name, "weight", (clq_shape){2, {out, g->values[x].shape.dim[1]}})};
    int y;
    spread(g, inputs[1]);
    assert_ok(clq_graph_add_node(g, "linear", name, &attrs, inputs, 2, &y));
    return y;
}

static int unary(clq_graph *g, const char *op, const char *name, int x) {
    const clq_pool_attrs pool = {.kernel = {2, 2}, .stride = {2, 2}};
    int y;
    assert_ok(clq_graph_add_node(g, op, name, strstr(op, "_pool") ? &pool : NULL, &x, 1, &y));
    return y;
}

/* conv - depthwise - conv - pool - grouped conv - flatten - linear - linear, then a residual that
 * is read twice. */
static clq_graph *network(void) {
    clq_graph *g = NULL;
    int x, y;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "input", (clq_shape){4, {1, SIZE, SIZE, 3}}, &x));
    x = conv(g, "a", x, 7, 1, CLQ_ACT_RELU);
    x = conv(g, "b", x, 7, 7, CLQ_ACT_RELU);
    x = conv(g, "c", x, 6, 1, CLQ_ACT_NONE);
    x = unary(g, "max_pool", "pool", unary(g, "relu", "relu", x));
    x = conv(g, "d", x, 4, 2, CLQ_ACT_RELU);
    y = conv(g, "e", x, 4, 1, CLQ_ACT_NONE);
    assert_ok(clq_graph_add_node(g, "add", "add", NULL, (int[]){x, y}, 2, &x));
    x = conv(g, "f", x, 5, 1, CLQ_ACT_RELU);
    x = linear(g, "g", unary(g, "flatten", "flatten", x), 9, CLQ_ACT_RELU);
    clq_graph_set_output(g, linear(g, "h", x, 3, CLQ_ACT_NONE));
    g->folded = true;
    assert_ok(clq_graph_validate(g));
    return g;
}

static const float *weights(const clq_graph *g, const char *name) {
    return g->values[clq_graph_find_value(g, name)].data;
}

static void pairs_are_found(void **state) {
    (void)state;
    static const char *const expected[][2] = {
        {"a", "b"}, {"b", "c"}, {"c", "d"}, {"f", "g"}, {"g", "h"}};
    clq_graph *g = network(), *equal = NULL;
    clq_equalization report;
    assert_ok(clq_graph_equalize(g, NULL, &report, &equal));
    assert_int_equal(report.count, 5);
    for (int i = 0; i < report.count; i++) {
        assert_string_equal(report.pairs[i].first, expected[i][0]);
        assert_string_equal(report.pairs[i].second, expected[i][1]);
        assert_int_equal(report.pairs[i].held, 0);
    }
    clq_equalization_clear(&report);
    clq_graph_destroy(equal);
    clq_graph_destroy(g);
}

/* Functions of which s x gives s y stand between the layers of a pair, others do not. */
static void functions_between(void **state) {
    (void)state;
    static const struct {
        const char *op;
        bool pair;
    } cases[] = {{"leaky_relu", true}, {"prelu", true}, {"abs", true},   {"neg", true},
                 {"silu", false},      {"tanh", false}, {"clip", false}, {"relu6", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const clq_unary_attrs attrs = {0.25f, 4};
        clq_graph *g = NULL, *equal = NULL;
        clq_equalization report;
        int inputs[2];
        assert_ok(clq_graph_create("net", &g));
        assert_ok(clq_graph_add_input(g, "input", (clq_shape){4, {1, SIZE, SIZE, 3}}, &inputs[0]));
        inputs[0] = conv(g, "a", inputs[0], 7, 1, CLQ_ACT_NONE);
        const bool slopes = strcmp(cases[i].op, "prelu") == 0;
        inputs[1] = slopes ? parameter(g, "f", "weight", (clq_shape){1, {7}}) : CLQ_NO_VALUE;
        assert_ok(
            clq_graph_add_node(g, cases[i].op, "f", &attrs, inputs, slopes ? 2 : 1, &inputs[0]));
        clq_graph_set_output(g, conv(g, "b", inputs[0], 5, 1, CLQ_ACT_NONE));
        g->folded = true;
        assert_ok(clq_graph_equalize(g, NULL, &report, &equal));
        assert_int_equal(report.count, cases[i].pair);
        clq_equalization_clear(&report);
        clq_graph_destroy(equal);
        clq_graph_destroy(g);
    }
}

/* ---- one pair against the paper's equations ---- */

static float row_largest(const float *w, int row, int k) {
    float largest = 0;
    for (int i = 0; i < k; i++) {
        largest = fmaxf(largest, fabsf(w[row * k + i]));
    }
    return largest;
}

/* Equation (11) of the paper: s = 1 / r2 sqrt(r1 r2); scales have one free factor, so that of
 * channel 0 is taken out. */
static void scales_are_those_of_the_paper(void **state) {
    (void)state;
    enum { C = 7, K = 27 };
    clq_graph *g = NULL, *equal = NULL;
    int x;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "input", (clq_shape){4, {1, SIZE, SIZE, 3}}, &x));
    x = conv(g, "a", x, C, 1, CLQ_ACT_RELU);
    clq_graph_set_output(g, conv(g, "b", x, C, C, CLQ_ACT_NONE));
    g->folded = true;
    assert_ok(clq_graph_equalize(g, NULL, NULL, &equal));
    const float *a = weights(g, "a.weight"), *b = weights(g, "b.weight");
    const float *a2 = weights(equal, "a.weight"), *b2 = weights(equal, "b.weight");
    double first = 0;
    for (int c = 0; c < C; c++) {
        const double r1 = row_largest(a, c, K), r2 = row_largest(b, c, 9);
        const double s = a[c * K] / a2[c * K], paper = sqrt(r1 * r2) / r2;
        first = c ? first : s / paper;
        assert_true(fabs(s / paper / first - 1) < 1e-5);
        for (int k = 0; k < K; k++) {
            assert_true(fabs(a2[c * K + k] * s - a[c * K + k]) <= 1e-6 * fabs(a[c * K + k]));
        }
        for (int k = 0; k < 9; k++) {
            assert_true(fabs(b2[c * 9 + k] / s - b[c * 9 + k]) <= 1e-6 * fabs(b[c * 9 + k]));
        }
        assert_true(fabs(weights(equal, "a.bias")[c] * s - weights(g, "a.bias")[c]) < 1e-6);
        assert_true(weights(equal, "b.bias")[c] == weights(g, "b.bias")[c]);
    }
    clq_graph_destroy(equal);
    clq_graph_destroy(g);
}

/* ---- ReLU6 and what was seen ---- */

/* a (two channels that ReLU6 cuts of three) - b. */
static void what_relu6_cuts_stays(void **state) {
    (void)state;
    enum { C = 6, K = 27 };
    static const float seen[C] = {0.01f, 1, 6, 3, 0.5f, 6};
    const float *largest[16] = {NULL};
    clq_graph *g = NULL, *equal = NULL;
    clq_equalization report;
    int x;
    assert_ok(clq_graph_create("net", &g));
    assert_ok(clq_graph_add_input(g, "input", (clq_shape){4, {1, SIZE, SIZE, 3}}, &x));
    x = conv(g, "a", x, C, 1, CLQ_ACT_RELU6);
    clq_graph_set_output(g, conv(g, "b", x, 4, 1, CLQ_ACT_NONE));
    g->folded = true;
    assert_ok(clq_graph_equalize(g, NULL, &report, &equal));
    assert_int_equal(report.count, 0);
    clq_equalization_clear(&report);
    clq_graph_destroy(equal);
    largest[x] = seen;
    assert_ok(clq_graph_equalize(g, largest, &report, &equal));
    assert_int_equal(report.count, 1);
    assert_int_equal(report.pairs[0].channels, C);
    assert_int_equal(report.pairs[0].held, 2);
    bool moved = false;
    for (int c = 0; c < C; c++) {
        const double s = weights(g, "a.weight")[c * K] / weights(equal, "a.weight")[c * K];
        assert_true(seen[c] / s <= 6 * (1 + 1e-6));
        assert_true(seen[c] < 6 || s == 1);
        moved |= fabs(s - 1) > 0.1;
    }
    assert_true(moved);
    clq_equalization_clear(&report);
    clq_graph_destroy(equal);
    clq_graph_destroy(g);
}

static void refuses_what_is_not_folded(void **state) {
    (void)state;
    clq_graph *g = network(), *equal = NULL;
    g->folded = false;
    assert_status(clq_graph_equalize(g, NULL, NULL, &equal), CLQ_USAGE);
    assert_error_has("folded");
    clq_graph_destroy(g);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    clq_graph *g = network();
    for (long nth = 1;; nth++) {
        clq_graph *equal = NULL;
        clq_equalization report = {0};
        clq_test_fail_allocation(nth);
        const clq_status status = clq_graph_equalize(g, NULL, &report, &equal);
        clq_equalization_clear(&report);
        clq_graph_destroy(equal);
        assert_int_equal(clq_test_live_allocations(), 0);
        if (status == CLQ_OK) {
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
    }
    clq_test_restore_allocator();
    clq_graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_found),
        cmocka_unit_test(functions_between),
        cmocka_unit_test(scales_are_those_of_the_paper),
        cmocka_unit_test(what_relu6_cuts_stays),
        cmocka_unit_test(refuses_what_is_not_folded),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests_name("equalize", tests, NULL, NULL);
}
