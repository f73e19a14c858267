/* Layers on codes: quantized dynamically, and with nodes between the codes and their reader. */
#include "formats/onnx_forms.h"

/* ---- dynamic quantization ---- */

/* x (N, in) rounded by each sample's range. */
static void ref_rounding(int64_t samples, int64_t in, const float *x, float *y) {
    for (int64_t n = 0; n < samples; n++) {
        float least = 0, most = 0;
        for (int64_t i = n * in; i < (n + 1) * in; i++) {
            least = fminf(least, x[i]);
            most = fmaxf(most, x[i]);
        }
        const float scale = (most - least) / 255, zero = rintf(-least / scale);
        for (int64_t i = n * in; i < (n + 1) * in; i++) {
            y[i] = scale * (fminf(fmaxf(rintf(x[i] / scale) + zero, 0), 255) - zero);
        }
    }
}

enum { IN = 12, OUT = 5 };

/* "w" (IN, OUT) of unsigned codes with a scale for each column. */
static void add_codes(make_model *m, const uint8_t **codes, const float **scales) {
    uint8_t *data = make_array(m, IN * OUT, 1);
    float *scale = make_array(m, OUT, sizeof *scale);
    for (int i = 0; i < IN * OUT; i++) {
        data[i] = (uint8_t)(i * 37 % 251);
        scale[i % OUT] = 0.01f * (float)(1 + i % OUT);
    }
    make_tensor(m, "w", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, DIMS(IN, OUT), data, IN * OUT);
    make_tensor(m, "ws", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(OUT), scale,
                OUT * sizeof *scale);
    make_byte(m, "wz", false, 120);
    *codes = data;
    *scales = scale;
}

/* As onnxruntime.quantization writes it, by the operators that ONNX Runtime makes of that, and as
 * clquant does. */
static void dynamic_layers(void **state) {
    static const char *const whole[] = {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"};
    (void)state;
    for (int form = 0; form < 4; form++) {
        make_model *m = start(2, (const int64_t[]){-1, IN});
        float x[BATCH * IN], rounded[BATCH * IN], expected[BATCH * OUT];
        const uint8_t *w;
        const float *scale, *bias = make_weights(m, "bias", DIMS(OUT));
        clq_test_fill_f32(x, BATCH * IN, -2, 1, 8);
        ref_rounding(BATCH, IN, x, rounded);
        add_codes(m, &w, &scale);
        if (form != 2) {
            make_node(m, "DynamicQuantizeLinear", "x", "q,s,z");
        }
        if (form == 0) {
            make_node(m, "Mul", "s,ws", "sws");
            make_node(m, "MatMulInteger", "q,w,z,wz", "i");
            make_node(m, "Cast", "i", "c");
            make_int(m, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
            make_node(m, "Mul", "c,sws", "p");
            make_node(m, "Add", "p,bias", "y");
        } else if (form == 1) {
            make_node(m, "DequantizeLinear", "q,s,z", "r");
            make_node(m, "DequantizeLinear", "w,ws,wz", "v");
            make_int(m, "axis", 1);
            make_node(m, "MatMul", "r,v", "p");
            make_node(m, "Add", "p,bias", "y");
        } else {
            make_node(m, whole[form - 2], form == 2 ? "x,w,ws,wz,bias" : "q,w,s,ws,z,wz,bias", "y")
                ->domain = make_text(m, "com.microsoft");
        }
        for (int i = 0; i < BATCH * OUT; i++) {
            double sum = (double)bias[i % OUT];
            for (int k = 0; k < IN; k++) {
                sum += (double)rounded[i / OUT * IN + k] * (w[k * OUT + i % OUT] - 120) *
                       (double)scale[i % OUT];
            }
            expected[i] = (float)sum;
        }
        check_model(m, BATCH, x, expected, BATCH * OUT);
    }
}

/* The range is the image's, also where two layers read it. */
static void dynamic_convolutions(void **state) {
    static const int64_t shape[4] = {-1, 2, 3, 3};
    make_model *m = start(4, shape);
    float x[BATCH * 18], rounded[BATCH * 18], expected[BATCH * 18];
    const uint8_t codes[2] = {3, 250};
    (void)state;
    clq_test_fill_f32(x, BATCH * 18, -2, 1, 8);
    ref_rounding(BATCH, 18, x, rounded);
    make_tensor(m, "w", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, DIMS(2, 1, 1, 1), codes, 2);
    make_scalar(m, "ws", 0.5f);
    make_byte(m, "wz", false, 100);
    make_node(m, "DynamicQuantizeLinear", "x", "q,s,z");
    make_node(m, "Mul", "ws,s", "sws");
    for (int k = 0; k < 2; k++) {
        make_node(m, "ConvInteger", "q,w,z,wz", k ? "i2" : "i1");
        make_int(m, "group", 2);
        make_node(m, "Cast", k ? "i2" : "i1", k ? "c2" : "c1");
        make_int(m, "to", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
        make_node(m, "Mul", k ? "sws,c2" : "sws,c1", k ? "p2" : "p1");
    }
    make_node(m, "Add", "p1,p2", "y");
    for (int i = 0; i < BATCH * 18; i++) {
        expected[i] = rounded[i] * (float)(codes[i / 9 % 2] - 100);
    }
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    assert_int_equal(graph->node_count, 4); /* one rounds */
    clq_graph_destroy(graph);
    check_model(m, BATCH, x, expected, BATCH * 18);
}

/* Where the batch is a number, one range is of all: the network is of one sample. */
static void dynamic_of_a_batch(void **state) {
    make_model *m = start(2, (const int64_t[]){BATCH, IN});
    float x[BATCH * IN], expected[BATCH * IN];
    (void)state;
    clq_test_fill_f32(x, BATCH * IN, -2, 1, 8);
    ref_rounding(1, BATCH * IN, x, expected);
    make_node(m, "DynamicQuantizeLinear", "x", "q,s,z");
    make_node(m, "DequantizeLinear", "q,s,z", "y");
    check_model(m, 1, x, expected, BATCH * IN);
}

static void dynamic_otherwise(void **state) {
    (void)state;
    make_model *m = make_start();
    make_node(m, "DynamicQuantizeLinear", "x", "q,s,z"); /* the scale goes elsewhere */
    make_node(m, "DequantizeLinear", "q,s,z", "r");
    make_node(m, "Mul", "r,s", "y");
    make_refused(m, "DynamicQuantizeLinear (1, node 0");
    m = make_start();
    make_codes(m, "w", DIMS(8, 2));
    make_node(m, "MatMulInteger", "x,w", "y");
    make_refused(m, "quantized dynamically");
}

/* ---- codes between Q/DQ and their reader ---- */

/* x (N, 2, 4, 4), rounded to codes: "r". */
static make_model *start_codes(void) {
    make_model *m = start(4, (const int64_t[]){-1, 2, 4, 4});
    make_scalar(m, "s", 0.125f);
    make_byte(m, "z", false, 100);
    make_node(m, "QuantizeLinear", "x,s,z", "q");
    make_node(m, "DequantizeLinear", "q,s,z", "r");
    return m;
}

/* "w": weights that are codes. */
static void add_code_weights(make_model *m, make_dims dims) {
    make_codes(m, "wq", dims);
    make_scalar(m, "ws", 0.25f);
    make_byte(m, "wz", true, 0);
    make_node(m, "DequantizeLinear", "wq,ws,wz", "w");
}

/* Everything but the last node's output is codes, of the same scale until the layer. */
static void check_on_codes(make_model *m, int nodes) {
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->node_count, nodes);
    for (int n = 0; n < nodes; n++) {
        const clq_value *in = &graph->values[graph->nodes[n].inputs[0]];
        assert_int_equal(in->q.count, 1);
        assert_true(in->q.scale[0] == 0.125f && in->q.zero_point == 100);
    }
    const clq_node *last = &graph->nodes[nodes - 1];
    assert_int_equal(graph->values[last->inputs[1]].dtype, CLQ_S8);
    clq_graph_destroy(graph);
}

/* Nodes between DequantizeLinear and a layer that only move elements leave it on codes. */
static void codes_are_kept(void **state) {
    (void)state;
    make_model *m = start_codes();
    make_node(m, "Flatten", "r", "f");
    add_code_weights(m, DIMS(32, 3));
    make_node(m, "MatMul", "f,w", "y");
    check_on_codes(m, 2);

    m = start_codes(); /* every second row and column */
    make_longs(m, "begin", 0, 0);
    make_longs(m, "end", 4, 4);
    make_longs(m, "axes", 2, 3);
    make_longs(m, "steps", 2, 2);
    make_node(m, "Slice", "r,begin,end,axes,steps", "f");
    add_code_weights(m, DIMS(3, 2, 1, 1));
    make_node(m, "Conv", "f,w", "y");
    check_on_codes(m, 2);

    m = start_codes(); /* zeros around the image that is flattened */
    make_longs(m, "pads", 0, 0, 1, 0, 0, 0, 0, 1);
    make_node(m, "Pad", "r,pads", "p");
    make_node(m, "Flatten", "p", "f");
    add_code_weights(m, DIMS(50, 3));
    make_node(m, "MatMul", "f,w", "y");
    check_on_codes(m, 3);

    m = start_codes(); /* less of it */
    make_longs(m, "pads", 0, 0, -1, -1, 0, 0, 0, 2);
    make_node(m, "Pad", "r,pads", "p");
    add_code_weights(m, DIMS(3, 2, 1, 1));
    make_node(m, "Conv", "p,w", "y");
    check_on_codes(m, 3);

    m = start_codes(); /* nothing, and rounded again */
    make_longs(m, "shape", 1, 2, 4, 1);
    make_node(m, "Expand", "r,shape", "e");
    make_node(m, "QuantizeLinear", "e,s,z", "q2");
    make_node(m, "DequantizeLinear", "q2,s,z", "r2");
    add_code_weights(m, DIMS(3, 2, 1, 1));
    make_tensor(m, "bq", ONNX__TENSOR_PROTO__DATA_TYPE__INT32, DIMS(3), (int32_t[]){1, 2, 3}, 12);
    make_scalar(m, "bs", 0.125f * 0.25f);
    make_node(m, "DequantizeLinear", "bq,bs", "b");
    make_node(m, "Conv", "r2,w,b", "y");
    check_on_codes(m, 1);
}

/* Numbers that are less than all are a MaxPool's padding. */
static void lowest_padding(void **state) {
    (void)state;
    for (int infinite = 0; infinite < 2; infinite++) {
        make_model *m = start(4, (const int64_t[]){-1, 2, 4, 4});
        make_longs(m, "pads", 0, 0, 1, 0, 0, 0, 0, 1);
        make_scalar(m, "low", infinite ? -INFINITY : -3.4e38f);
        make_node(m, "Pad", "x,pads,low", "p");
        make_node(m, "MaxPool", "p", "y");
        make_ints(m, "kernel_shape", 2, 2);
        clq_graph *graph = make_finish(m);
        const clq_pool_attrs *attrs = graph->nodes[0].attrs;
        assert_int_equal(graph->node_count, 1);
        assert_memory_equal(attrs->pad, ((int[]){1, 0, 0, 1}), sizeof attrs->pad);
        clq_graph_destroy(graph);

        m = start(4, (const int64_t[]){-1, 2, 4, 4});
        make_longs(m, "pads", 0, 0, 1, 0, 0, 0, 0, 1);
        make_scalar(m, "low", infinite ? -INFINITY : -3.4e38f);
        make_node(m, "Pad", "x,pads,low", "p");
        make_node(m, "Relu", "p", "y");
        if (infinite) {
            make_refused(m, "padded with -inf, which is for MaxPool");
        } else {
            graph = make_finish(m);
            assert_int_equal(graph->node_count, 2);
            clq_graph_destroy(graph);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dynamic_layers),     cmocka_unit_test(dynamic_convolutions),
        cmocka_unit_test(dynamic_of_a_batch), cmocka_unit_test(dynamic_otherwise),
        cmocka_unit_test(codes_are_kept),     cmocka_unit_test(lowest_padding),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
