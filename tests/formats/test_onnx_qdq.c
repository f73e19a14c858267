/* Quantized models as other programs write them. */
#include "formats/onnx_make.h"

#include <clquant/ops.h>

#include "formats/ref_forward.h"

/* How the model below is written. */
typedef struct variant {
    bool signed_activations; /* int8 with zero point; else uint8 */
    bool per_tensor, unsigned_weights, float_bias, foreign_bias_scale, float_weights;
    bool relu_between;          /* Conv -> Relu -> Q */
    int lowest, highest;        /* Q -> Clip -> DQ for x; both 0: none */
    bool four_bits, as_numbers; /* int4 or uint4 weights: bytes, or int32_data */
} variant;

/* `clipped`: between both is a Clip to "lowest" and "highest". */
static void add_steps(make_model *m, const char *in, const char *out, const char *scale,
                      const char *zero_point, bool clipped) {
    char inputs[96], codes[32];
    snprintf(codes, sizeof codes, "%s_codes", out);
    snprintf(inputs, sizeof inputs, "%s,%s,%s", in, scale, zero_point);
    make_node(m, "QuantizeLinear", inputs, codes);
    if (clipped) {
        snprintf(inputs, sizeof inputs, "%s,lowest,highest", codes);
        snprintf(codes, sizeof codes, "%s_clipped", out);
        make_node(m, "Clip", inputs, codes);
    }
    snprintf(inputs, sizeof inputs, "%s,%s,%s", codes, scale, zero_point);
    make_node(m, "DequantizeLinear", inputs, out);
}

static void add_pair(make_model *m, const char *in, const char *out, const char *scale,
                     const char *zero_point) {
    add_steps(m, in, out, scale, zero_point, false);
}

/* 7, -8, 0, 1, -1, 5: the first in a byte's low bits. */
static void add_half_bytes(make_model *m, const variant *v) {
    static const uint8_t as_signed[3] = {0x87, 0x10, 0x5f}, as_unsigned[3] = {0x0f, 0x98, 0xd7};
    const uint8_t *codes = v->unsigned_weights ? as_unsigned : as_signed;
    const int type = v->unsigned_weights ? 21 : 22;
    Onnx__TensorProto *w = make_tensor(m, "w_codes", type, DIMS(2, 3, 1, 1), codes, 3);
    if (v->as_numbers) {
        w->has_raw_data = false;
        w->raw_data.len = 0;
        w->n_int32_data = 3;
        w->int32_data = make_array(m, 3, sizeof *w->int32_data);
        for (int i = 0; i < 3; i++) {
            w->int32_data[i] = codes[i];
        }
    }
    make_tensor(m, "w_zero", type, v->per_tensor ? SCALAR : DIMS(2),
                v->unsigned_weights ? "\x88" : "\0", 1);
}

static void add_weights(make_model *m, const variant *v) {
    static const float scales[2] = {0.25f, 0.125f};
    if (v->float_weights) {
        make_weights(m, "w", DIMS(2, 3, 1, 1));
        return;
    }
    make_tensor(m, "w_scale", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                v->per_tensor ? SCALAR : DIMS(2), scales, v->per_tensor ? 4 : 8);
    if (v->four_bits) {
        add_half_bytes(m, v);
    } else if (v->unsigned_weights) {
        static const uint8_t codes[6] = {0, 255, 128, 129, 1, 77};
        make_tensor(m, "w_codes", ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, DIMS(2, 3, 1, 1), codes, 6);
        make_byte(m, "w_zero", false, 128);
    } else {
        make_codes(m, "w_codes", DIMS(2, 3, 1, 1));
        make_tensor(m, "w_zero", ONNX__TENSOR_PROTO__DATA_TYPE__INT8,
                    v->per_tensor ? SCALAR : DIMS(2), "\0\0", v->per_tensor ? 1 : 2);
    }
    make_node(m, "DequantizeLinear", "w_codes,w_scale,w_zero", "w");
    make_int(m, "axis", 0);
}

static void add_bias(make_model *m, const variant *v) {
    float scales[2] = {0.5f * 0.25f, 0.5f * (v->per_tensor ? 0.25f : 0.125f)};
    int32_t codes[2] = {1000, -77};
    if (v->float_bias) {
        float reals[2] = {codes[0] * scales[0] + 0.001f, codes[1] * scales[1]};
        make_tensor(m, "b", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(2), reals, 8);
        return;
    }
    if (v->foreign_bias_scale) {
        for (int i = 0; i < 2; i++) {
            scales[i] /= 2;
            codes[i] *= 2;
        }
    }
    make_tensor(m, "b_codes", ONNX__TENSOR_PROTO__DATA_TYPE__INT32, DIMS(2), codes, 8);
    make_tensor(m, "b_scale", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                v->per_tensor ? SCALAR : DIMS(2), scales, v->per_tensor ? 4 : 8);
    make_node(m, "DequantizeLinear", "b_codes,b_scale", "b");
    make_int(m, "axis", 0);
}

/* x -> Q -> DQ -> Conv 1x1 [-> Relu] -> Q -> DQ -> MaxPool (no Q) -> GlobalAveragePool -> Q -> DQ
 */
static make_model *make_quantized(variant v) {
    make_model *m = make_start();
    make_scalar(m, "x_scale", 0.5f);
    make_byte(m, "x_zero", v.signed_activations, v.signed_activations ? -28 : 100);
    make_scalar(m, "c_scale", 2);
    make_byte(m, "c_zero", v.signed_activations, v.signed_activations ? -128 : 0);
    const bool clipped = v.lowest != v.highest;
    if (clipped) {
        make_byte(m, "lowest", v.signed_activations, v.lowest);
        make_byte(m, "highest", v.signed_activations, v.highest);
    }
    add_steps(m, "x", "xq", "x_scale", "x_zero", clipped);
    add_weights(m, &v);
    add_bias(m, &v);
    make_node(m, "Conv", "xq,w,b", "c");
    if (v.relu_between) {
        make_node(m, "Relu", "c", "r");
    }
    add_pair(m, v.relu_between ? "r" : "c", "cq", "c_scale", "c_zero");
    make_node(m, "MaxPool", "cq", "p");
    make_ints(m, "kernel_shape", 2, 2);
    make_node(m, "GlobalAveragePool", "p", "g");
    make_node(m, "Flatten", "g", "f");
    add_pair(m, "f", "y", "c_scale", "c_zero");
    return m;
}

static void check_codes(const clq_graph *graph, variant v) {
    const clq_node *conv = &graph->nodes[0];
    const clq_value *weight = &graph->values[conv->inputs[1]];
    const clq_value *bias = &graph->values[conv->inputs[2]];
    assert_int_equal(weight->dtype, v.four_bits ? CLQ_S4 : CLQ_S8);
    assert_int_equal(weight->q.type, v.four_bits ? CLQ_Q_S4 : CLQ_Q_S8);
    assert_int_equal(weight->q.count, v.per_tensor ? 1 : 2);
    assert_true(weight->q.scale[0] == 0.25f);
    assert_int_equal(bias->dtype, CLQ_S32);
    assert_true(bias->q.scale[0] == 0.125f);
    assert_int_equal(((const int32_t *)bias->data)[0], 1000);
    assert_int_equal(((const int32_t *)bias->data)[1], -77);
    if (v.four_bits) {
        assert_memory_equal(weight->data, "\x87\x10\x5f", 3);
    } else if (v.unsigned_weights) {
        assert_memory_equal(weight->data, ((int8_t[]){-128, 127, 0, 1, -127, -51}), 6);
    }
}

static void check(variant v) {
    clq_graph *graph = make_finish(make_quantized(v));
    assert_true(graph->folded);
    assert_int_equal(graph->node_count, 3);
    const clq_qparams *x = &graph->values[clq_graph_input(graph)].q;
    const clq_qtype_info *type = clq_qtype_get(x->type);
    assert_int_equal(type->is_signed, v.signed_activations);
    assert_int_equal(type->lowest, v.lowest < v.highest ? v.lowest : type->is_signed ? -128 : 0);
    assert_int_equal(type->highest, v.lowest < v.highest ? v.highest : type->is_signed ? 127 : 255);
    assert_int_equal(x->zero_point, v.signed_activations ? -28 : 100);
    assert_true(x->scale[0] == 0.5f);
    const clq_qparams *y = &graph->values[clq_graph_output(graph)].q;
    assert_int_equal(y->type, v.signed_activations ? CLQ_Q_S8 : CLQ_Q_U8);
    assert_int_equal(y->zero_point, v.signed_activations ? -128 : 0);
    const clq_conv2d_attrs *conv = graph->nodes[0].attrs;
    assert_int_equal(conv->act, v.relu_between ? CLQ_ACT_RELU : CLQ_ACT_NONE);
    /* MaxPool's codes are its input's. */
    assert_true(graph->values[graph->nodes[1].output].q.scale[0] == 2);
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_INTEGER);
    check_codes(graph, v);
    clq_graph_destroy(graph);
}

static Onnx__TensorProto *find_tensor(make_model *m, const char *name) {
    for (size_t i = 0; i < m->graph.n_initializer; i++) {
        if (strcmp(m->tensors[i]->name, name) == 0) {
            return m->tensors[i];
        }
    }
    fail_msg("no tensor %s", name);
    return NULL;
}

static Onnx__NodeProto *find_maker(make_model *m, const char *output) {
    for (size_t i = 0; i < m->graph.n_node; i++) {
        if (strcmp(m->nodes[i]->output[0], output) == 0) {
            return m->nodes[i];
        }
    }
    fail_msg("no node makes %s", output);
    return NULL;
}

static void variants(void **state) {
    (void)state;
    check((variant){0});
    check((variant){.signed_activations = true});
    check((variant){.per_tensor = true});
    check((variant){.per_tensor = true, .unsigned_weights = true});
    check((variant){.float_bias = true});
    check((variant){.foreign_bias_scale = true});
    check((variant){.relu_between = true});
    check((variant){.four_bits = true});
    check((variant){.four_bits = true, .as_numbers = true, .per_tensor = true});
    check((variant){.four_bits = true, .unsigned_weights = true});
    check((variant){.four_bits = true, .unsigned_weights = true, .as_numbers = true});
    check((variant){.highest = 127});
    check((variant){.highest = 255});
    check((variant){.signed_activations = true, .lowest = -32, .highest = 31});
    check((variant){.signed_activations = true, .lowest = -127, .highest = 127});
    check((variant){.signed_activations = true, .lowest = -128, .highest = 127});
}

/* Limits that are left out are those of all codes. */
static void half_a_clip(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){.highest = 127});
    find_maker(m, "xq_clipped")->input[1] = make_text(m, "");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->values[clq_graph_input(graph)].q.type, CLQ_Q_U7);
    clq_graph_destroy(graph);
}

/* As some exporters write weights of few bits. */
static void clipped_weights(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0});
    const int8_t codes[6] = {-8, 7, -7, 9, -128, 127};
    memcpy(find_tensor(m, "w_codes")->raw_data.data, codes, 6);
    make_byte(m, "least", true, -7);
    make_byte(m, "most", true, 7);
    make_node(m, "Clip", "w_codes,least,most", "w_clipped");
    find_maker(m, "w")->input[0] = make_text(m, "w_clipped");
    clq_graph *graph = make_finish(m);
    assert_memory_equal(graph->values[graph->nodes[0].inputs[1]].data,
                        ((int8_t[]){-7, 7, -7, 7, -7, 7}), 6);
    clq_graph_destroy(graph);
}

static void refused_clips(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){.highest = 100});
    make_refused(m, "clips codes to 0..100, which is no type");

    m = make_quantized((variant){.highest = 63});
    make_refused(m, "zero point 100 is no code of u6");

    m = make_quantized((variant){.highest = 127}); /* a float */
    find_maker(m, "xq_clipped")->input[2] = make_text(m, "x_scale");
    make_refused(m, "min and max must be one code each");

    m = make_quantized((variant){.highest = 127}); /* of another type */
    find_tensor(m, "lowest")->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT8;
    make_refused(m, "min and max must be one code each");

    m = make_quantized((variant){.highest = 127}); /* once clipped and once not */
    make_node(m, "DequantizeLinear", "xq_codes,x_scale,x_zero", "again");
    make_node(m, "GlobalAveragePool", "again", "g2");
    make_node(m, "Flatten", "g2", "f2");
    static const int64_t dim[2] = {-1, 3};
    m->outputs[m->graph.n_output++] = make_info(m, "f2", 2, dim);
    make_refused(m, "takes codes of \"x\" as u8, others as u7");
}

/* ---- codes and reals side by side ---- */

/* The graph's nodes, in order: "conv2d relu". */
static void check_nodes(const clq_graph *graph, const char *expected) {
    char text[512] = "";
    for (int n = 0; n < graph->node_count; n++) {
        const size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "%s%s", n ? " " : "", graph->nodes[n].op->name);
    }
    assert_string_equal(text, expected);
}

static const clq_value *made_by(const clq_graph *graph, const char *name) {
    const int node = clq_graph_find_node(graph, name);
    assert_true(node >= 0);
    return &graph->values[graph->nodes[node].output];
}

/* A layer whose weights are float works on reals, between a dequantize and a quantize node. */
static void float_weights(void **state) {
    (void)state;
    clq_graph *graph =
        make_finish(make_quantized((variant){.float_weights = true, .float_bias = true}));
    check_nodes(graph, "dequantize conv2d quantize max_pool global_avg_pool");
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_INTEGER);
    assert_int_equal(graph->values[clq_graph_input(graph)].q.count, 1);
    assert_int_equal(made_by(graph, "x.dequantize")->q.count, 0);
    assert_int_equal(made_by(graph, "c")->q.count, 0);
    assert_true(made_by(graph, "c.quantize")->q.scale[0] == 2);
    assert_true(graph->values[clq_graph_output(graph)].q.scale[0] == 2);
    clq_graph_destroy(graph);
}

/* The convolution's output is read rounded and as it is: it makes reals, and codes come of them. */
static void a_reader_past_the_rounding(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0});
    find_maker(m, "p")->input[0] = make_text(m, "c");
    find_maker(m, "g")->input[0] = make_text(m, "cq");
    make_node(m, "GlobalAveragePool", "p", "g2");
    make_node(m, "Flatten", "g2", "f2");
    make_node(m, "Add", "y,f2", "z");
    m->outputs[0]->name = make_text(m, "z");
    clq_graph *graph = make_finish(m);
    check_nodes(graph, "conv2d max_pool quantize global_avg_pool global_avg_pool dequantize add");
    assert_int_equal(made_by(graph, "c")->q.count, 0);
    assert_int_equal(graph->nodes[1].inputs[0], graph->nodes[0].output);
    assert_true(made_by(graph, "c.quantize")->q.scale[0] == 2);
    assert_int_equal(graph->values[clq_graph_output(graph)].q.count, 0);
    clq_graph_destroy(graph);
}

/* Weights that are codes are of no use where the input is read as it is. */
static void a_part_left_float(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0});
    find_maker(m, "c")->input[0] = make_text(m, "x");
    clq_graph *graph = make_finish(m);
    check_nodes(graph, "conv2d quantize max_pool global_avg_pool");
    assert_int_equal(graph->values[graph->nodes[0].inputs[1]].dtype, CLQ_F32);
    assert_int_equal(graph->values[clq_graph_input(graph)].q.count, 0);
    clq_graph_destroy(graph);
}

/* An output taken before and one taken behind the rounding. */
static void both_outputs(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0});
    static const int64_t dim[2] = {-1, 2};
    m->outputs[m->graph.n_output++] = make_info(m, "f", 2, dim);
    clq_graph *graph = make_finish(m);
    check_nodes(graph, "conv2d max_pool dequantize global_avg_pool quantize");
    assert_int_equal(graph->output_count, 2);
    assert_true(graph->values[graph->outputs[0].value].q.scale[0] == 2);
    assert_int_equal(graph->values[graph->outputs[1].value].q.count, 0);
    clq_graph_destroy(graph);
}

/* Another scale for another reader, of reals or, as `of_codes`, of codes: a node of its own. */
static void quantized_twice(void **state) {
    (void)state;
    static const int64_t dim[2] = {-1, 2};
    for (int of_codes = 0; of_codes < 2; of_codes++) {
        make_model *m = make_quantized((variant){0});
        make_scalar(m, "other", 0.75f);
        make_byte(m, "other_zero", false, 9);
        add_pair(m, of_codes ? "cq" : "c", "again", "other", "other_zero");
        make_node(m, "GlobalAveragePool", "again", "g2");
        make_node(m, "Flatten", "g2", "f2");
        add_pair(m, "f2", "z", "other", "other_zero");
        m->outputs[m->graph.n_output++] = make_info(m, "z", 2, dim);
        clq_graph *graph = make_finish(m);
        check_nodes(graph, of_codes ? "conv2d max_pool global_avg_pool dequantize quantize "
                                      "global_avg_pool"
                                    : "conv2d quantize max_pool global_avg_pool quantize "
                                      "global_avg_pool");
        assert_int_equal(made_by(graph, "c")->q.count, of_codes);
        const clq_value *again = &graph->values[graph->nodes[graph->node_count - 1].inputs[0]];
        assert_true(again->q.scale[0] == 0.75f && again->q.zero_point == 9);
        assert_true(graph->values[graph->outputs[0].value].q.scale[0] == 2);
        const char *path = clq_test_temp_path("twice.onnx");
        clq_graph *back;
        assert_ok(clq_onnx_save(graph, path));
        assert_ok(clq_onnx_load(path, &back));
        check_nodes(back, of_codes ? "conv2d max_pool global_avg_pool dequantize quantize "
                                     "global_avg_pool"
                                   : "conv2d quantize max_pool global_avg_pool quantize "
                                     "global_avg_pool");
        clq_graph_destroy(graph);
        clq_graph_destroy(back);
    }
}

static void rounded_and_not_by_one_node(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0});
    make_node(m, "Add", "c,cq", "a");
    m->outputs[0]->name = make_text(m, "a");
    make_refused(m, "reads \"c\" both rounded and not");
}

/* torch's exporter leaves weights float and rounds them in the file: QuantizeLinear of a constant.
 */
static void fake_quantized_weights(void **state) {
    (void)state;
    static const float reals[6] = {0.3f, -40, 0.375f, 0.06f, 40, -0.3125f};
    make_model *m = make_quantized((variant){0});
    for (size_t i = 0; i < m->graph.n_initializer; i++) {
        Onnx__TensorProto *tensor = m->tensors[i];
        if (strcmp(tensor->name, "w_codes") == 0) {
            tensor->name = make_text(m, "w_real");
            tensor->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
            tensor->raw_data = (ProtobufCBinaryData){24, (uint8_t *)reals};
        }
    }
    make_node(m, "QuantizeLinear", "w_real,w_scale,w_zero", "w_codes");
    make_int(m, "axis", 0);
    Onnx__NodeProto *last = m->nodes[m->graph.n_node - 1]; /* must come first */
    memmove(m->nodes + 1, m->nodes, (m->graph.n_node - 1) * sizeof *m->nodes);
    m->nodes[0] = last;
    clq_graph *graph = make_finish(m);
    const clq_value *weight = &graph->values[graph->nodes[0].inputs[1]];
    assert_string_equal(weight->name, "w_real");
    /* Ties to even: 0.375 / 0.25 = 1.5, -0.3125 / 0.125 = -2.5. */
    assert_memory_equal(weight->data, ((int8_t[]){1, -128, 2, 0, 127, -2}), 6);
    clq_graph_destroy(graph);
}

/* Weights alone quantized: nothing to compute on codes, so they are floats. */
static void weights_only(void **state) {
    (void)state;
    make_model *m = make_start();
    variant v = {0};
    add_weights(m, &v);
    make_node(m, "Conv", "x,w", "y");
    clq_graph *graph = make_finish(m);
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_FLOAT);
    const clq_value *weight = &graph->values[graph->nodes[0].inputs[1]];
    assert_int_equal(weight->dtype, CLQ_F32);
    assert_int_equal(weight->q.count, 0);
    clq_graph_destroy(graph);
}

/* Three elements take two bytes: what makes up no tensor is refused. */
static void refused_half_bytes(void **state) {
    (void)state;
    static const int32_t negative[2] = {1, -1};
    make_model *m = make_quantized((variant){.four_bits = true});
    find_tensor(m, "w_codes")->raw_data.len = 2;
    make_refused(m, "2 bytes do not make up its shape 2x3x1x1");

    m = make_quantized((variant){.four_bits = true});
    find_tensor(m, "w_codes")->raw_data.len = 6;
    make_refused(m, "6 bytes do not make up its shape 2x3x1x1");

    m = make_quantized((variant){.four_bits = true, .as_numbers = true});
    find_tensor(m, "w_codes")->n_int32_data = 2;
    make_refused(m, "2 numbers do not make up its shape 2x3x1x1");

    m = make_quantized((variant){.four_bits = true, .as_numbers = true});
    memcpy(find_tensor(m, "w_codes")->int32_data, negative, sizeof negative);
    make_refused(m, "number 1 is -1, must be 0..255: two elements");

    m = make_quantized((variant){.four_bits = true}); /* zero points of another type */
    find_tensor(m, "w_zero")->data_type = 21;
    make_refused(m, "codes of one type");
}

/* Unsigned codes around another zero point than 8 do not fit 4 bits with a sign. */
static void uneven_half_bytes(void **state) {
    (void)state;
    make_model *m =
        make_quantized((variant){.four_bits = true, .unsigned_weights = true, .per_tensor = true});
    find_tensor(m, "w_zero")->raw_data.data[0] = 0;
    clq_graph *graph = make_finish(m);
    const clq_value *weight = &graph->values[graph->nodes[0].inputs[1]];
    assert_int_equal(weight->dtype, CLQ_S8);
    assert_memory_equal(weight->data, ((int8_t[]){15, 0, 8, 9, 7, 13}), 6);
    clq_graph_destroy(graph);
}

/* What clquant says of types in its own files is checked like all else. */
static void types_in_metadata(void **state) {
    (void)state;
    static const char *const wrong[][2] = {
        {"{\"w_codes\": \"s3\"}", "hold codes"},
        {"{\"w_codes\": \"u8\"}", "says they are u8"},
        {"{\"w_codes\": \"s4\"}", "says they are s4"},
        {"{\"w_codes\": 7}", "says they are no type"},
        {"{\"w_codes\": ", "clquant.types"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        make_model *m = make_quantized((variant){0});
        m->model.producer_name = make_text(m, "clquant");
        make_metadata(m, "clquant.types", wrong[i][0]);
        make_refused(m, wrong[i][1]);
    }
    make_model *m = make_quantized((variant){0});
    memset(find_tensor(m, "w_codes")->raw_data.data, 0xfc, 6); /* -4 */
    m->model.producer_name = make_text(m, "clquant");
    make_metadata(m, "clquant.types", "{\"w_codes\": \"s3\"}");
    clq_graph *graph = make_finish(m);
    assert_int_equal(graph->values[graph->nodes[0].inputs[1]].q.type, CLQ_Q_S3);
    assert_null(clq_graph_get_metadata(graph, "clquant.types"));
    clq_graph_destroy(graph);
}

/* Weights that no signed byte holds are reals, and so is what their layer computes on. */
static void asymmetric_weights(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){.per_tensor = true, .unsigned_weights = true});
    const uint8_t *codes = find_tensor(m, "w_codes")->raw_data.data;
    const uint8_t first = codes[0];
    find_tensor(m, "w_zero")->raw_data.data[0] = 100;
    clq_graph *graph = make_finish(m);
    const clq_node *layer = NULL;
    for (int n = 0; n < graph->node_count; n++) {
        layer = strcmp(graph->nodes[n].op->name, "conv2d") == 0 ? &graph->nodes[n] : layer;
    }
    assert_non_null(layer);
    const clq_value *w = &graph->values[layer->inputs[1]];
    assert_int_equal(w->dtype, CLQ_F32);
    assert_int_equal(w->q.count, 0);
    assert_true(first != 100 && ((const float *)w->data)[0] != 0);
    assert_int_equal(graph->values[layer->inputs[0]].q.count, 0);
    clq_graph_destroy(graph);
}

static void refused(void **state) {
    (void)state;
    make_model *m = make_quantized((variant){0}); /* weights with a zero point of their own */
    find_tensor(m, "w_zero")->raw_data.data[0] = 3;
    make_refused(m, "zero points differ");

    m = make_quantized((variant){0}); /* per input channel */
    find_maker(m, "w")->attribute[0]->i = 1;
    make_refused(m, "2 scales do not fit axis 1");

    static const int32_t wide[6] = {1, 2, 3, 4, 5, 6};
    m = make_quantized((variant){.per_tensor = true}); /* 32-bit weights */
    find_tensor(m, "w_codes")->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    find_tensor(m, "w_codes")->raw_data = (ProtobufCBinaryData){24, (uint8_t *)wide};
    find_maker(m, "w")->n_input = 2;
    make_refused(m, "must be codes of 4 or 8 bits");

    m = make_quantized((variant){0}); /* other parameters behind than before */
    find_maker(m, "xq")->input[1] = make_text(m, "c_scale");
    make_refused(m, "scale and zero point differ from QuantizeLinear's");

    m = make_quantized((variant){0}); /* codes read as if they were reals */
    find_maker(m, "c")->input[0] = make_text(m, "xq_codes");
    make_refused(m, "holds codes");

    m = make_quantized((variant){0}); /* of nothing */
    find_maker(m, "xq")->input[0] = make_text(m, "");
    make_refused(m, "(DequantizeLinear, which makes \"xq\"): input 0 is missing");

    m = make_quantized((variant){0}); /* 16 bits */
    find_tensor(m, "c_zero")->data_type = ONNX__TENSOR_PROTO__DATA_TYPE__INT16;
    make_refused(m, "element type int16");

    m = make_quantized((variant){0});
    ((float *)find_tensor(m, "x_scale")->raw_data.data)[0] = -1;
    make_refused(m, "scale 0 is -1, must be positive and finite");

    m = make_quantized((variant){0});
    ((float *)find_tensor(m, "w_scale")->raw_data.data)[1] = NAN;
    make_refused(m, "must be positive and finite");

    m = make_quantized((variant){.float_bias = true});
    ((float *)find_tensor(m, "b")->raw_data.data)[0] = 1e30f;
    make_refused(m, "does not fit 32 bits");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants),
        cmocka_unit_test(half_a_clip),
        cmocka_unit_test(clipped_weights),
        cmocka_unit_test(refused_clips),
        cmocka_unit_test(float_weights),
        cmocka_unit_test(a_reader_past_the_rounding),
        cmocka_unit_test(a_part_left_float),
        cmocka_unit_test(both_outputs),
        cmocka_unit_test(quantized_twice),
        cmocka_unit_test(rounded_and_not_by_one_node),
        cmocka_unit_test(fake_quantized_weights),
        cmocka_unit_test(weights_only),
        cmocka_unit_test(refused_half_bytes),
        cmocka_unit_test(uneven_half_bytes),
        cmocka_unit_test(types_in_metadata),
        cmocka_unit_test(asymmetric_weights),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
