/* Functions of one number in files: each with its attributes, into the graph and back; those that
 * are several nodes become one; constants are computed. */
#include <math.h>

#include "clquant/ops.h"
#include "formats/onnx_make.h"

static const clq_node *last_node(const clq_graph *graph) {
    return &graph->nodes[graph->node_count - 1];
}

static clq_graph *save_and_load(const clq_graph *graph) {
    clq_graph *loaded;
    const char *path = clq_test_temp_path("f.onnx");
    assert_ok(clq_onnx_save(graph, path));
    assert_ok(clq_onnx_load(path, &loaded));
    return loaded;
}

/* One node, with these attributes, also behind a file. */
static void assert_function(clq_graph *graph, const char *op, const clq_unary_attrs *attrs) {
    for (int again = 0; again < 2; again++) {
        const clq_node *node = last_node(graph);
        assert_int_equal(graph->node_count, 1);
        assert_string_equal(node->op->name, op);
        if (attrs) {
            assert_memory_equal(node->attrs, attrs, sizeof *attrs);
        }
        clq_graph *loaded = save_and_load(graph);
        assert_string_equal(last_node(loaded)->name, node->name);
        clq_graph_destroy(graph);
        graph = loaded;
    }
    clq_graph_destroy(graph);
}

static void each_function(void **state) {
    (void)state;
    static const struct {
        const char *onnx, *op, *names[2];
        clq_unary_attrs absent; /* what ONNX says */
        bool has_attrs;
    } cases[] = {
        {"LeakyRelu", "leaky_relu", {"alpha", NULL}, {0.01f, 0}, true},
        {"Elu", "elu", {"alpha", NULL}, {1, 0}, true},
        {"Celu", "celu", {"alpha", NULL}, {1, 0}, true},
        {"Selu", "selu", {"alpha", "gamma"}, {1.67326319f, 1.05070102f}, true},
        {"HardSigmoid", "hard_sigmoid", {"alpha", "beta"}, {0.2f, 0.5f}, true},
        {"ThresholdedRelu", "thresholded_relu", {"alpha", NULL}, {1, 0}, true},
        {"HardSwish", "hard_swish", {NULL, NULL}, {0, 0}, false},
        {"Mish", "mish", {NULL, NULL}, {0, 0}, false},
        {"Softplus", "softplus", {NULL, NULL}, {0, 0}, false},
        {"Softsign", "softsign", {NULL, NULL}, {0, 0}, false},
        {"Exp", "exp", {NULL, NULL}, {0, 0}, false},
        {"Log", "log", {NULL, NULL}, {0, 0}, false},
        {"Sqrt", "sqrt", {NULL, NULL}, {0, 0}, false},
        {"Reciprocal", "reciprocal", {NULL, NULL}, {0, 0}, false},
        {"Abs", "abs", {NULL, NULL}, {0, 0}, false},
        {"Neg", "neg", {NULL, NULL}, {0, 0}, false},
        {"Erf", "erf", {NULL, NULL}, {0, 0}, false},
        {"Floor", "floor", {NULL, NULL}, {0, 0}, false},
        {"Ceil", "ceil", {NULL, NULL}, {0, 0}, false},
        {"Round", "round", {NULL, NULL}, {0, 0}, false},
        {"Sign", "sign", {NULL, NULL}, {0, 0}, false},
        {"Swish", "silu", {NULL, NULL}, {0, 0}, false},
        {"Gelu", "gelu", {NULL, NULL}, {0, 0}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model *m = make_start();
        make_node(m, cases[i].onnx, "x", "y");
        assert_function(make_finish(m), cases[i].op, cases[i].has_attrs ? &cases[i].absent : NULL);
        if (cases[i].has_attrs) {
            const clq_unary_attrs said = {0.375f, cases[i].names[1] ? 0.625f : 0};
            m = make_start();
            make_node(m, cases[i].onnx, "x", "y");
            make_float(m, cases[i].names[0], said.alpha);
            if (cases[i].names[1]) {
                make_float(m, cases[i].names[1], said.beta);
            }
            assert_function(make_finish(m), cases[i].op, &said);
        }
    }
}

static void text_attributes(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "Gelu", "x", "y");
    make_string(m, "approximate", "tanh");
    assert_function(make_finish(m), "gelu_tanh", NULL);
    m = make_start();
    make_node(m, "Gelu", "x", "y");
    make_string(m, "approximate", "VALID");
    make_refused(m, "approximate must be none or tanh");
    m = make_start();
    make_node(m, "Swish", "x", "y");
    make_float(m, "alpha", 2);
    make_refused(m, "alpha is 2; only 1 is supported");
}

/* ---- Clip ---- */

static void clips(void **state) {
    (void)state;
    static const struct {
        const char *inputs, *op;
        clq_unary_attrs attrs;
    } cases[] = {{"x,zero,six", "relu6", {0, 0}},      {"x,zero", "relu", {0, 0}},
                 {"x,low", "clip", {-1.5f, INFINITY}}, {"x,-,six", "clip", {-INFINITY, 6}},
                 {"x,low,six", "clip", {-1.5f, 6}},    {"x,six,low", "clip", {6, -1.5f}},
                 {"x", "clip", {-INFINITY, INFINITY}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model *m = make_start();
        make_scalar(m, "zero", 0);
        make_scalar(m, "six", 6);
        make_scalar(m, "low", -1.5f);
        make_node(m, "Clip", cases[i].inputs, "y");
        assert_function(make_finish(m), cases[i].op,
                        strcmp(cases[i].op, "clip") == 0 ? &cases[i].attrs : NULL);
    }
    make_model *m = make_start();
    make_node(m, "Clip", "x", "y"); /* opset 6 */
    make_float(m, "min", -2);
    assert_function(make_finish(m), "clip", &(clq_unary_attrs){-2, INFINITY});
}

/* ---- functions of several nodes ---- */

static clq_graph *finish_power(make_dims dims) {
    make_model *m = make_start();
    make_weights(m, "exponent", dims);
    make_node(m, "Pow", "x,exponent", "y");
    return make_finish(m);
}

static void numbers(make_model *m) {
    make_scalar(m, "half", 0.5f);
    make_scalar(m, "one", 1);
    make_scalar(m, "two", 2);
    make_scalar(m, "twenty", 20);
    make_scalar(m, "three", 3);
    make_scalar(m, "zero", 0);
    make_scalar(m, "six", 6);
    make_scalar(m, "sixth", 0.16666667f);
    make_scalar(m, "sqrt2", 1.41421354f);
    make_scalar(m, "rsqrt2", 0.707106769f);
    make_scalar(m, "cubic", 0.044715f);
    make_scalar(m, "k", 0.797884583f);
}

/* "Op a b > y" for each line. */
static make_model *written(const char *text) {
    make_model *m = make_start();
    char line[64], op[24], inputs[32], output[8];
    numbers(m);
    for (const char *at = text; *at; at += strcspn(at, ";"), at += *at == ';') {
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, ";"), at);
        assert_int_equal(sscanf(line, " %23s %31s > %7s", op, inputs, output), 3);
        make_node(m, op, inputs, output);
    }
    return m;
}

static void patterns_become_one_node(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"silu", "Sigmoid x > s; Mul x,s > y"},
        {"silu", "Sigmoid x > s; Mul s,x > y"},
        {"mish", "Softplus x > p; Tanh p > t; Mul x,t > y"},
        {"softsign", "Abs x > a; Add a,one > s; Div x,s > y"},
        {"softplus", "Softplus x > s; Greater x,twenty > g; Where g,x,s > y"},
        {"hard_swish", "Add x,three > a; Clip a,zero,six > c; Mul x,c > m; Div m,six > y"},
        {"hard_swish", "Add three,x > a; Clip a,zero,six > c; Div c,six > d; Mul d,x > y"},
        {"hard_swish", "Add x,three > a; Clip a,zero,six > c; Mul c,sixth > d; Mul x,d > y"},
        {"gelu", "Div x,sqrt2 > d; Erf d > e; Add e,one > a; Mul x,a > m; Mul m,half > y"},
        {"gelu", "Mul x,rsqrt2 > d; Erf d > e; Add one,e > a; Mul x,half > h; Mul h,a > y"},
        {"gelu", "Div x,sqrt2 > d; Erf d > e; Add e,one > a; Mul half,a > m; Mul x,m > y"},
        {"gelu", "Div x,sqrt2 > d; Erf d > e; Add e,one > a; Mul x,a > m; Div m,two > y"},
        {"gelu_tanh", "Pow x,three > p; Mul p,cubic > c; Add x,c > s; Mul s,k > u; Tanh u > t; "
                      "Add t,one > a; Mul x,half > h; Mul h,a > y"},
        {"gelu_tanh", "Mul x,x > q; Mul q,x > p; Mul cubic,p > c; Add c,x > s; Mul k,s > u; "
                      "Tanh u > t; Add one,t > a; Mul half,a > h; Mul x,h > y"},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        make_model *m = written(cases[i / 2][1]);
        if (i % 2) { /* numbers in Constant nodes */
            for (size_t k = 0; k < m->graph.n_initializer; k++) {
                make_node(m, "Constant", "", m->tensors[k]->name);
                make_attribute(m, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t =
                    m->tensors[k];
            }
            m->graph.n_initializer = 0;
        }
        assert_function(make_finish(m), cases[i / 2][0], NULL);
    }
    make_model *m = make_start();
    make_node(m, "HardSigmoid", "x", "h");
    make_float(m, "alpha", 1 / 6.0f);
    make_node(m, "Mul", "h,x", "y");
    assert_function(make_finish(m), "hard_swish", NULL);
}

/* What is nearly one of them is none: nothing but the pattern's own nodes disappears. */
static void others_stay(void **state) {
    (void)state;
    static const char *const cases[] = {
        "Sigmoid x > s; Add x,s > y",             /* no product */
        "Sigmoid x > s; Tanh s > t; Add t,s > y", /* the sigmoid is read twice */
        "Tanh x > t; Sigmoid t > s; Add x,s > y", /* of something else */
    };
    static const int nodes[] = {2, 3, 3};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_graph *graph = make_finish(written(cases[i]));
        assert_int_equal(graph->node_count, nodes[i]);
        clq_graph_destroy(graph);
    }
}

/* A product of products of products, or in a circle, ends the search. */
static void long_products(void **state) {
    (void)state;
    make_model *m = make_start();
    char inputs[32], output[8];
    make_scalar(m, "one", 1);
    make_node(m, "Sigmoid", "x", "v0");
    for (int i = 0; i < 40; i++) {
        snprintf(inputs, sizeof inputs, "one,v%d", i);
        snprintf(output, sizeof output, "v%d", i + 1);
        make_node(m, "Mul", inputs, output);
    }
    make_node(m, "Mul", "z,v40", "y");
    make_node(m, "Mul", "w,one", "z");
    make_node(m, "Mul", "z,one", "w");
    make_refused(m, "in a circle");
}

/* One exponent is an attribute, several stay an operand. */
static void powers(void **state) {
    (void)state;
    make_model *m = make_start();
    make_scalar(m, "exponent", 1.5f);
    make_node(m, "Pow", "x,exponent", "y");
    assert_function(make_finish(m), "pow_const", &(clq_unary_attrs){1.5f, 0});
    clq_graph *graph = finish_power(DIMS(1, 1, 1));
    assert_string_equal(last_node(graph)->op->name, "pow_const");
    clq_graph_destroy(graph);
    graph = finish_power(DIMS(3, 1, 1));
    assert_string_equal(last_node(graph)->op->name, "pow");
    clq_graph_destroy(graph);
}

/* ---- PRelu ---- */

static void slopes(void **state) {
    (void)state;
    const struct {
        make_dims dims;
        int64_t count; /* of slopes; 0: refused */
    } cases[] = {
        {DIMS(1), 1},       {DIMS(3, 1, 1), 3}, {DIMS(1, 3, 1, 1), 3},   {DIMS(1, 1, 1), 1},
        {DIMS(3, 8, 2), 0}, {DIMS(2, 1, 1), 0}, {DIMS(1, 1, 3, 1, 1), 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_model *m = make_start();
        const float *slope = make_weights(m, "act.weight", cases[i].dims);
        float first = slope[0];
        make_node(m, "PRelu", "x,act.weight", "y");
        if (cases[i].count == 0) {
            make_refused(m, "the slopes cannot be broadcast");
            continue;
        }
        clq_graph *graph = make_finish(m);
        for (int again = 0; again < 2; again++) {
            const clq_node *node = last_node(graph);
            const clq_value *value = &graph->values[node->inputs[1]];
            assert_string_equal(node->op->name, "prelu");
            assert_string_equal(value->name, "act.weight");
            assert_true(value->shape.rank == 1 && value->shape.dim[0] == cases[i].count);
            assert_true(((const float *)value->data)[0] == first);
            clq_graph *loaded = save_and_load(graph);
            clq_graph_destroy(graph);
            graph = loaded;
        }
        clq_graph_destroy(graph);
    }
}

/* ---- constants ---- */

static void constants_are_computed(void **state) {
    (void)state;
    make_model *m = make_start();
    const float values[3] = {0.25f, 4, 9};
    make_tensor(m, "v", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(3, 1, 1), values, sizeof values);
    make_node(m, "Sqrt", "v", "s");
    make_node(m, "Neg", "s", "slope");
    make_node(m, "PRelu", "x,slope", "p");
    make_node(m, "GlobalAveragePool", "p", "g");
    make_longs(m, "n", 1, -3);
    make_node(m, "Neg", "n", "dims");
    make_node(m, "Reshape", "g,dims", "y");
    clq_graph *graph = make_finish(m);
    const float *slope = graph->values[graph->nodes[0].inputs[1]].data;
    assert_true(slope[0] == -0.5f && slope[1] == -2 && slope[2] == -3);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_function),
        cmocka_unit_test(text_attributes),
        cmocka_unit_test(clips),
        cmocka_unit_test(patterns_become_one_node),
        cmocka_unit_test(others_stay),
        cmocka_unit_test(long_products),
        cmocka_unit_test(powers),
        cmocka_unit_test(slopes),
        cmocka_unit_test(constants_are_computed),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
