/* Operators of two operands in ONNX files: shapes that numpy broadcasts, constants and activations,
 * any number of operands, and back into a file. Plain loops in the file's order beside them. */
#include <math.h>

#include "formats/onnx_make.h"

#include <clquant/exec.h>

#include "support/op_run.h"

enum { C = 3, H = 8, W = 8, COUNT = C * H * W };

static double apply(const char *op, double a, double b) {
    return strcmp(op, "Add") == 0 || strcmp(op, "Sum") == 0 || strcmp(op, "Mean") == 0 ? a + b
           : strcmp(op, "Sub") == 0                                                    ? a - b
           : strcmp(op, "Mul") == 0                                                    ? a * b
           : strcmp(op, "Div") == 0                                                    ? a / b
           : strcmp(op, "Min") == 0                                                    ? fmin(a, b)
           : strcmp(op, "Max") == 0                                                    ? fmax(a, b)
                                                                                       : pow(a, b);
}

/* The element of an operand of these dimensions for element `at` of (1, C, H, W). */
static size_t element(make_dims dims, size_t at) {
    static const size_t extent[4] = {1, C, H, W};
    size_t index = 0, step = 1;
    for (int axis = 3; axis >= 0; axis--) {
        const int own = axis - (4 - dims.rank);
        const size_t place = at % extent[axis];
        at /= extent[axis];
        if (own >= 0) {
            index += dims.dim[own] > 1 ? place * step : 0;
            step *= (size_t)dims.dim[own];
        }
    }
    return index;
}

/* The network's only output, in the file's order, for one image in that order. */
static float *run(const clq_graph *graph, const float *image) {
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = 1};
    const size_t count = (size_t)clq_shape_count(&graph->values[clq_graph_output(graph)].shape);
    float in[COUNT], *out = malloc(count * sizeof *out);
    clq_exec *exec = NULL;
    assert_ok(clq_exec_create(test_device, graph, &options, &exec));
    for (int i = 0; i < COUNT; i++) { /* (C, H, W) -> (H, W, C) */
        in[i % (H * W) * C + i / (H * W)] = image[i];
    }
    assert_ok(clq_buffer_write(clq_exec_input(exec)->buffer, 0, sizeof in, in));
    assert_ok(clq_exec_forward(exec));
    float *stored = read_floats(clq_exec_output(exec)->buffer);
    for (size_t i = 0; i < count; i++) {
        out[i] = stored[count == COUNT ? i % (H * W) * C + i / (H * W) : i];
    }
    free(stored);
    clq_exec_destroy(exec);
    return out;
}

static clq_graph *through_file(clq_graph *graph) {
    const char *path = clq_test_temp_path("binary.onnx");
    clq_graph *loaded = NULL;
    assert_ok(clq_onnx_save(graph, path));
    assert_ok(clq_onnx_load(path, &loaded));
    clq_graph_destroy(graph);
    return loaded;
}

/* What is loaded, and what was written and loaded, computes this. */
static void check(make_model *m, const float *image, const float *expected) {
    static const int64_t dim[4] = {-1, C, H, W};
    m->outputs[0] = make_info(m, "y", 4, dim);
    clq_graph *graph = NULL;
    if (make_load(m, &graph) != CLQ_OK) {
        fail_msg("%s", clq_last_error());
    }
    make_free(m);
    for (int again = 0; again < 2; again++) {
        float *y = run(graph, image);
        assert_close_f32(y, expected, clq_test_shape_of(COUNT), 1e-6, 4e-6);
        free(y);
        graph = again ? graph : through_file(graph);
    }
    clq_graph_destroy(graph);
}

/* ---- constants ---- */

static void constants_of_every_shape(void **state) {
    (void)state;
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Min", "Max", "Pow"};
    const make_dims shapes[] = {SCALAR,        DIMS(1),       DIMS(W),          DIMS(H, 1),
                                DIMS(C, 1, 1), DIMS(C, H, W), DIMS(1, C, 1, 1), DIMS(1, 1, H, W)};
    float image[COUNT], expected[COUNT];
    clq_test_fill_f32(image, COUNT, 0.5f, 2, 1);
    for (size_t o = 0; o < sizeof ops / sizeof *ops; o++) {
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const bool first = (o + s) % 2 == 1;
            const size_t count = make_count(shapes[s]);
            make_model *m = make_start();
            m->opset.version = (int64_t)(s % 2 ? 7 : 13);
            float *c = random_floats(count, 0.5f, 2, 2 + s);
            make_tensor(m, "c", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, shapes[s], c, count * 4);
            make_node(m, ops[o], first ? "c,x" : "x,c", "y");
            for (size_t i = 0; i < COUNT; i++) {
                const double a = (double)image[i], b = (double)c[element(shapes[s], i)];
                expected[i] = (float)(first ? apply(ops[o], b, a) : apply(ops[o], a, b));
            }
            check(m, image, expected);
            free(c);
        }
    }
}

/* ---- activations ---- */

/* The gates of squeeze-excite, (N, C, 1, 1). */
static void gates_multiply(void **state) {
    (void)state;
    float image[COUNT], expected[COUNT];
    clq_test_fill_f32(image, COUNT, -1, 1, 3);
    for (int c = 0; c < C; c++) {
        double mean = 0;
        for (int i = 0; i < H * W; i++) {
            mean += (double)image[c * H * W + i] / (H * W);
        }
        for (int i = 0; i < H * W; i++) {
            expected[c * H * W + i] = (float)((double)image[c * H * W + i] / (1 + exp(-mean)));
        }
    }
    for (int first = 0; first < 2; first++) {
        make_model *m = make_start();
        make_node(m, "GlobalAveragePool", "x", "p");
        make_node(m, "Sigmoid", "p", "g");
        make_node(m, "Mul", first ? "g,x" : "x,g", "y");
        check(m, image, expected);
    }
}

/* Sum, Mean, Min and Max of one to four, constants among them. */
static void any_number_of_operands(void **state) {
    (void)state;
    static const char *const ops[] = {"Sum", "Mean", "Min", "Max"};
    static const char *const inputs[] = {"x", "x,c", "c,x,r", "d,x,c,r"};
    float image[COUNT], expected[COUNT], c[C], d;
    clq_test_fill_f32(image, COUNT, -1, 1, 4);
    clq_test_fill_f32(c, C, -1, 1, 5);
    d = 0.3f;
    for (int o = 0; o < 4; o++) {
        for (int n = 1; n <= 4; n++) {
            make_model *m = make_start();
            make_tensor(m, "c", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(C, 1, 1), c, sizeof c);
            make_tensor(m, "d", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(1, 1, 1, 1), &d, 4);
            make_node(m, "Relu", "x", "r");
            make_node(m, ops[o], inputs[n - 1], n == 1 ? "z" : "y");
            if (n == 1) {
                make_node(m, "Relu", "z", "y");
            }
            for (int i = 0; i < COUNT; i++) {
                const double x = (double)image[i];
                double y = n > 1 ? apply(ops[o], x, (double)c[i / (H * W)]) : fmax(x, 0);
                y = n > 2 ? apply(ops[o], y, fmax(x, 0)) : y;
                y = n > 3 ? apply(ops[o], y, (double)d) : y;
                expected[i] = (float)(strcmp(ops[o], "Mean") == 0 ? y / n : y);
            }
            check(m, image, expected);
        }
    }
}

/* ---- quantized files ---- */

/* y = Q(DQ(Q(x)) * DQ(c)): codes of the constant stay, unsigned ones too; so does one number that
 * is added. */
static void quantized_constants_keep_their_codes(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        static const int64_t dim[4] = {-1, C, H, W};
        const int is_signed = k % 2, count = k < 2 ? C : 1;
        const uint8_t codes[C] = {200, 7, 90};
        make_model *m = make_start();
        clq_graph *graph = NULL;
        make_scalar(m, "xs", 0.02f);
        make_byte(m, "xz", false, 110);
        make_scalar(m, "cs", 0.011f);
        make_byte(m, "cz", is_signed, is_signed ? 3 : 100);
        make_scalar(m, "ys", 0.015f);
        make_byte(m, "yz", false, 128);
        make_tensor(m, "c",
                    is_signed ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                              : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
                    count == 1 ? SCALAR : DIMS(C, 1, 1), codes, (size_t)count);
        make_node(m, "QuantizeLinear", "x,xs,xz", "xq");
        make_node(m, "DequantizeLinear", "xq,xs,xz", "xd");
        make_node(m, "DequantizeLinear", "c,cs,cz", "cd");
        make_node(m, count == 1 ? "Add" : "Mul", "xd,cd", "v");
        make_node(m, "QuantizeLinear", "v,ys,yz", "yq");
        make_node(m, "DequantizeLinear", "yq,ys,yz", "y");
        m->outputs[0] = make_info(m, "y", 4, dim);
        assert_ok(make_load(m, &graph));
        make_free(m);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(graph->node_count, 1);
            assert_string_equal(graph->nodes[0].op->name, count == 1 ? "add" : "mul");
            const clq_value *c = &graph->values[graph->nodes[0].inputs[1]];
            assert_int_equal(c->dtype, CLQ_S8);
            for (int i = 0; i < count; i++) {
                const int code = is_signed ? (int8_t)codes[i] - 3 : codes[i] - 100;
                assert_int_equal(((const int8_t *)c->data)[i] - c->q.zero_point, code);
            }
            assert_true(c->q.scale[0] == 0.011f);
            graph = again ? graph : through_file(graph);
        }
        clq_graph_destroy(graph);
    }
}

/* Of any kind of integer. */
static void exponents_may_be_whole_numbers(void **state) {
    (void)state;
    static const int64_t exponents[] = {2, 3};
    float image[COUNT], expected[COUNT];
    clq_test_fill_f32(image, COUNT, -1, 1, 6);
    for (int e = 0; e < 2; e++) {
        make_model *m = make_start();
        make_tensor(m, "e", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, SCALAR, &exponents[e], 8);
        make_node(m, "Pow", "x,e", "y");
        for (int i = 0; i < COUNT; i++) {
            expected[i] = (float)pow((double)image[i], (double)exponents[e]);
        }
        check(m, image, expected);
    }
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    make_model *m = make_start();
    make_weights(m, "c", DIMS(5));
    make_node(m, "Mul", "x,c", "y");
    make_refused(m, "must be equal or 1");
    m = make_start();
    make_longs(m, "c", 1);
    make_node(m, "Mul", "x,c", "y");
    make_refused(m, "float");
    m = make_start();
    make_weights(m, "c", DIMS(4, 1, 1, 1));
    make_node(m, "Mul", "x,c", "y");
    make_refused(m, "batch");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_of_every_shape),
        cmocka_unit_test(gates_multiply),
        cmocka_unit_test(any_number_of_operands),
        cmocka_unit_test(quantized_constants_keep_their_codes),
        cmocka_unit_test(exponents_may_be_whole_numbers),
        cmocka_unit_test(what_cannot_be_is_refused),
    };
    clq_test_setup_temp_dir(NULL);
    const int failed =
        cmocka_run_group_tests_name("cpu schedule", tests, open_cpu_schedule, close_device);
    clq_test_teardown_temp_dir(NULL);
    return failed;
}
