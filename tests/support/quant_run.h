/* One operator in a quantized mode by itself, around device buffers. Codes are given and read as
 * dense u8, whatever the mode holds. Include in test programs of ops/ and later folders. */
#ifndef CLQ_TEST_QUANT_RUN_H
#define CLQ_TEST_QUANT_RUN_H

#include <string.h>

#include "ops/quantized.h"
#include "support/op_run.h"

typedef struct quant_test {
    clq_graph *graph;
    clq_qstate *qstate;
    clq_op_run run;
} quant_test;

typedef struct quant_meaning {
    float scale;
    int32_t zero_point;
} quant_meaning;

static inline void quant_begin(quant_test *t) {
    *t = (quant_test){0};
    assert_ok(clq_graph_create("test", &t->graph));
}

/* An activation with these qparams: the graph's input, or a second one (through a relu of it). */
static inline int quant_activation(quant_test *t, const clq_shape *shape, quant_meaning q) {
    int value = 0;
    if (clq_graph_input(t->graph) == CLQ_NO_VALUE) {
        assert_ok(clq_graph_add_input(t->graph, "x", *shape, &value));
    } else {
        assert_ok(
            clq_graph_add_node(t->graph, "relu", "second", NULL, t->graph->inputs, 1, &value));
    }
    assert_ok(clq_qparams_set(&t->graph->values[value].q, 1, &q.scale, q.zero_point, CLQ_Q_U8));
    return value;
}

static inline int quant_parameter(quant_test *t, const char *name, clq_shape shape, clq_dtype dtype,
                                  const void *data, int64_t scales, const float *scale,
                                  clq_qtype type) {
    int value = 0;
    assert_ok(
        clq_graph_add_parameter(t->graph, name, CLQ_VALUE_PARAMETER, dtype, shape, data, &value));
    assert_ok(clq_qparams_set(&t->graph->values[value].q, scales, scale, 0, type));
    return value;
}

static inline clq_tensor quant_tensor(const quant_test *t, int value, int batch, bool codes) {
    const clq_value *of = &t->graph->values[value];
    clq_tensor tensor = {.shape = of->shape, .dtype = CLQ_F32, .value = of};
    tensor.pitch = (int)of->shape.dim[of->shape.rank - 1];
    tensor.shape.dim[0] *= batch;
    if (codes) {
        tensor.dtype = CLQ_U8;
        tensor.pitch = (tensor.pitch + 3) / 4 * 4;
    }
    const int64_t channels = of->shape.dim[of->shape.rank - 1];
    const size_t elements = (size_t)(clq_shape_count(&tensor.shape) / channels * tensor.pitch);
    tensor.buffer = make_buffer(NULL, codes ? (elements + 3) / 4 * 4 : elements * sizeof(float));
    return tensor;
}

/* Adds the node under test and makes its tensors. `y` NULL: the output is not quantized. */
static inline void quant_node(quant_test *t, const char *op, const void *attrs, const int *inputs,
                              int input_count, const quant_meaning *y, clq_exec_mode mode,
                              int batch) {
    int output = 0;
    assert_ok(clq_graph_add_node(t->graph, op, "test", attrs, inputs, input_count, &output));
    if (y) {
        assert_ok(
            clq_qparams_set(&t->graph->values[output].q, 1, &y->scale, y->zero_point, CLQ_Q_U8));
    }
    clq_graph_set_output(t->graph, output);
    if (mode != CLQ_EXEC_INT8) {
        assert_ok(clq_qstate_create(test_device, t->graph, &t->qstate));
    }
    t->run = (clq_op_run){.device = test_device,
                          .graph = t->graph,
                          .node = &t->graph->nodes[t->graph->node_count - 1],
                          .node_index = t->graph->node_count - 1,
                          .mode = mode,
                          .batch = batch,
                          .qstate = t->qstate,
                          .requantizer = clq_graph_requantizer(t->graph)};
    for (int i = 0; i < input_count; i++) {
        clq_value *value = &t->graph->values[inputs[i]];
        if (value->data) {
            t->run.in[i] =
                (clq_tensor){.shape = value->shape, .dtype = value->dtype, .value = value};
            if (value->dtype == CLQ_F32) {
                t->run.in[i].buffer =
                    make_buffer(value->data, (size_t)clq_shape_count(&value->shape) * 4);
            }
        } else {
            t->run.in[i] = quant_tensor(t, inputs[i], batch, mode == CLQ_EXEC_INT8);
        }
    }
    t->run.out = quant_tensor(t, output, batch, mode == CLQ_EXEC_INT8 && y);
}

/* Codes (pixels, C) into input i. */
static inline void quant_input(quant_test *t, int i, const uint8_t *codes) {
    const clq_tensor *in = &t->run.in[i];
    const size_t channels = (size_t)in->shape.dim[in->shape.rank - 1];
    const size_t count = (size_t)clq_shape_count(&in->shape), size = clq_buffer_size(in->buffer);
    void *data = calloc(size, 1);
    for (size_t k = 0; k < count; k++) {
        if (in->dtype == CLQ_U8) {
            ((uint8_t *)data)[k / channels * (size_t)in->pitch + k % channels] = codes[k];
        } else {
            ((float *)data)[k] = (float)(codes[k] - in->value->q.zero_point);
        }
    }
    assert_ok(clq_buffer_write(in->buffer, 0, size, data));
    free(data);
}

static inline void quant_forward(quant_test *t) {
    const clq_quantized_op *op = t->run.node->op->quantized;
    assert_ok(op->prepare ? op->prepare(&t->run) : CLQ_OK);
    assert_ok(op->load_parameters ? op->load_parameters(&t->run) : CLQ_OK);
    assert_ok(op->forward(&t->run));
}

/* The output's codes; a float that holds none fails the test. */
static inline uint8_t *quant_output(const quant_test *t) {
    const clq_tensor *out = &t->run.out;
    const size_t channels = (size_t)out->shape.dim[out->shape.rank - 1];
    const size_t count = (size_t)clq_shape_count(&out->shape), size = clq_buffer_size(out->buffer);
    uint8_t *codes = malloc(count);
    void *data = malloc(size);
    assert_ok(clq_buffer_read(out->buffer, 0, size, data));
    for (size_t k = 0; k < count; k++) {
        if (out->dtype == CLQ_U8) {
            codes[k] = ((uint8_t *)data)[k / channels * (size_t)out->pitch + k % channels];
        } else {
            const float code = ((float *)data)[k] + (float)out->value->q.zero_point;
            assert_true(code >= 0 && code <= 255 && code == (float)(int)code);
            codes[k] = (uint8_t)code;
        }
    }
    free(data);
    return codes;
}

/* Gradients of input i are wanted, added to `start` unless that is NULL. */
static inline void quant_want_gradient(quant_test *t, int i, const float *start) {
    const size_t bytes = (size_t)clq_shape_count(&t->run.in[i].shape) * sizeof(float);
    t->run.grad_in[i] = t->run.in[i];
    t->run.grad_in[i].buffer = make_buffer(start, bytes);
    t->run.accumulate[i] = start != NULL;
}

static inline void quant_backward(quant_test *t, const float *dy) {
    t->run.grad_out = t->run.out;
    t->run.grad_out.buffer = make_buffer(dy, (size_t)clq_shape_count(&t->run.out.shape) * 4);
    assert_ok(t->run.node->op->quantized->backward(&t->run));
}

/* What the kernels saw of the output: the largest -x and the largest x. */
static inline void quant_seen(const quant_test *t, float range[2]) {
    const size_t value = (size_t)(t->run.out.value - t->graph->values);
    assert_ok(
        clq_buffer_read(t->qstate->range, value * 2 * sizeof(float), 2 * sizeof(float), range));
}

static inline void quant_end(quant_test *t) {
    if (t->run.node->op->quantized->release) {
        t->run.node->op->quantized->release(&t->run);
    }
    for (int i = 0; i < CLQ_MAX_INPUTS; i++) {
        clq_buffer_release(t->run.in[i].buffer);
        clq_buffer_release(t->run.grad_in[i].buffer);
    }
    clq_buffer_release(t->run.out.buffer);
    clq_buffer_release(t->run.grad_out.buffer);
    clq_qstate_destroy(t->qstate);
    clq_graph_destroy(t->graph);
}

static inline uint8_t *random_codes(size_t count, uint64_t stream) {
    uint8_t *codes = malloc(count ? count : 1);
    assert_non_null(codes);
    clq_test_fill_u8(codes, count, 0, 255, stream);
    return codes;
}

#endif
