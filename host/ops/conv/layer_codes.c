/* A layer on codes:
 *
 *   load      w, b -> w_scale -> codes, multipliers          weights.cl
 *             codes  -> clq_conv2d_f32 for forward and the weights' gradient
 *             w_scale * codes -> a second one for the input's gradient
 *   forward   sums = conv(x, codes) + bias codes -> y        requantize.cl, in place
 *   backward  dy masked where y was clamped, then (14)
 *
 * FAKE_QUANT is exact, so its sums come from int32 where floats cannot be proven to hold them. */
#include "ops/conv/layer_codes.h"

#include <stdlib.h>

#include "graph/codes.h"
#include "graph/node.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/conv/conv_node.h"
#include "ops/conv/layer_exact.h"
#include "ops/conv/layer_sums_int8.h"
#include "ops/layer.h"
#include "ops/multiplier.h"
#include "ops/quantized_run.h"

enum { TABLE_TAIL = 16 };        /* entries behind a per-channel table: kernels/include/codes.h */
enum { CHANNEL_ITEMS_GPU = 64 }; /* work-items for an output channel on the GPU schedule */

typedef struct layer_codes {
    clq_conv_geometry geometry;
    size_t k; /* weights of an output channel */
    clq_act act;
    const clq_qtype_info *type; /* of the weights */
    clq_conv2d_f32 *conv;       /* of codes */
    clq_conv2d_f32 *gradient;   /* of w_reals; NULL when the input's gradient is not wanted */
    clq_buffer *codes;          /* (OC, KH, KW, IC/G) */
    clq_buffer *reals;          /* w_scale * codes; with `gradient` only */
    clq_buffer *bias_codes;     /* (OC), NULL without a bias */
    clq_buffer *w_scale;        /* (OC) */
    clq_buffer *largest;        /* (2, 2): of all weights and biases, for scales per tensor */
    clq_buffer *multiplier, *real_multiplier; /* (OC + TABLE_TAIL) */
    clq_buffer *kept;                         /* QAT, when the output is quantized */
    clq_layer_exact *exact;                   /* FAKE_QUANT, when (13) does not hold */
    clq_layer_sums *sums; /* QAT with qstate->int8_forward, where the device has such kernels */
    bool sums_ready;      /* and they have this step's codes, for which (13) holds */
} layer_codes;

/* ---- preparing ---- */

static clq_status create_floats(const clq_op_run *run, size_t count, clq_buffer **buffer) {
    return clq_buffer_create(run->device, count * sizeof(float), buffer);
}

static clq_status create_tables(const clq_op_run *run, layer_codes *layer) {
    const size_t oc = (size_t)layer->geometry.oc;
    CLQ_TRY(create_floats(run, oc * layer->k, &layer->codes));
    CLQ_TRY(create_floats(run, oc, &layer->w_scale));
    CLQ_TRY(create_floats(run, 4, &layer->largest));
    CLQ_TRY(create_floats(run, oc + TABLE_TAIL, &layer->multiplier));
    CLQ_TRY(create_floats(run, oc + TABLE_TAIL, &layer->real_multiplier));
    if (run->in[CLQ_LAYER_BIAS].value != NULL) {
        CLQ_TRY(create_floats(run, oc, &layer->bias_codes));
    }
    if (run->mode == CLQ_EXEC_QAT && clq_is_quantized(&run->out)) {
        CLQ_TRY(clq_kept_create(run, &layer->kept));
    }
    return CLQ_OK;
}

static clq_status create_convolutions(const clq_op_run *run, layer_codes *layer) {
    const int repack = run->mode == CLQ_EXEC_QAT ? CLQ_CONV_REPACK : 0;
    int directions = CLQ_CONV_FORWARD | repack;
    if (run->mode == CLQ_EXEC_QAT && run->grad_in[CLQ_LAYER_W].buffer != NULL) {
        directions |= CLQ_CONV_BACKWARD_WEIGHTS | CLQ_CONV_WINOGRAD_WEIGHTS;
    }
    CLQ_TRY(clq_conv2d_f32_create(run->device, &layer->geometry, directions, &layer->conv));
    if (run->mode == CLQ_EXEC_QAT && run->grad_in[CLQ_LAYER_X].buffer != NULL) {
        CLQ_TRY(create_floats(run, (size_t)layer->geometry.oc * layer->k, &layer->reals));
        CLQ_TRY(clq_conv2d_f32_create(run->device, &layer->geometry,
                                      CLQ_CONV_BACKWARD_DATA | CLQ_CONV_WINOGRAD | repack,
                                      &layer->gradient));
    }
    return CLQ_OK;
}

static const clq_qtype_info *weights_type(const clq_op_run *run) {
    const clq_qparams *q = &run->in[CLQ_LAYER_W].value->q;
    return clq_qtype_get(q->count > 0 ? q->type : CLQ_Q_S8_NARROW);
}

/* The weights' scales in the graph, one for each channel. */
static clq_status upload_scales(const clq_op_run *run, layer_codes *layer) {
    const clq_qparams *q = &run->in[CLQ_LAYER_W].value->q;
    const size_t oc = (size_t)layer->geometry.oc;
    float *scale = clq_calloc(oc, sizeof *scale);
    if (!scale) {
        return CLQ_NO_MEMORY;
    }
    for (size_t c = 0; c < oc; c++) {
        scale[c] = q->scale[q->count == 1 ? 0 : c];
    }
    const clq_status status = clq_buffer_write(layer->w_scale, 0, oc * sizeof *scale, scale);
    clq_free(scale);
    return status;
}

/* Weights' codes and S32 biases as floats. */
static clq_status upload_codes(const clq_op_run *run, layer_codes *layer) {
    const size_t oc = (size_t)layer->geometry.oc, count = oc * layer->k;
    clq_status status = CLQ_NO_MEMORY;
    int8_t *w = NULL;
    float *codes = clq_calloc(count, sizeof *codes);
    if (!codes) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_value_codes(run->in[CLQ_LAYER_W].value, &w));
    for (size_t i = 0; i < count; i++) {
        codes[i] = w[i];
    }
    CLQ_GOTO(status, cleanup, clq_buffer_write(layer->codes, 0, count * sizeof *codes, codes));
    if (run->in[CLQ_LAYER_BIAS].value != NULL) {
        const int32_t *bias = run->in[CLQ_LAYER_BIAS].value->data;
        for (size_t c = 0; c < oc; c++) {
            codes[c] = (float)bias[c];
        }
        CLQ_GOTO(status, cleanup,
                 clq_buffer_write(layer->bias_codes, 0, oc * sizeof *codes, codes));
    }
cleanup:
    clq_free(w);
    clq_free(codes);
    return status;
}

clq_status clq_layer_codes_prepare(clq_op_run *run) {
    const clq_value *w = run->in[CLQ_LAYER_W].value;
    CLQ_TRY(clq_check_codes(run, false));
    if (w->q.count == 0 && !run->qstate->choose_weight_scales) {
        return clq_fail(CLQ_USAGE, "weights \"%s\" have no scales", w->name);
    }
    layer_codes *layer = clq_calloc(1, sizeof *layer);
    if (!layer) {
        return CLQ_NO_MEMORY;
    }
    run->state = layer;
    layer->geometry = clq_conv_node_geometry(run);
    layer->act = clq_node_act(run->node);
    layer->type = weights_type(run);
    layer->k = (size_t)(clq_shape_count(&run->in[CLQ_LAYER_W].shape) / layer->geometry.oc);
    CLQ_TRY(create_tables(run, layer));
    CLQ_TRY(create_convolutions(run, layer));
    if (!run->qstate->choose_weight_scales) {
        CLQ_TRY(upload_scales(run, layer));
    }
    if (run->in[CLQ_LAYER_W].value->dtype != CLQ_F32) {
        CLQ_TRY(upload_codes(run, layer));
    }
    return CLQ_OK;
}

void clq_layer_codes_release(clq_op_run *run) {
    layer_codes *layer = run->state;
    if (!layer) {
        return;
    }
    clq_conv2d_f32_destroy(layer->conv);
    clq_conv2d_f32_destroy(layer->gradient);
    clq_buffer_release(layer->codes);
    clq_buffer_release(layer->reals);
    clq_buffer_release(layer->bias_codes);
    clq_buffer_release(layer->w_scale);
    clq_buffer_release(layer->largest);
    clq_buffer_release(layer->multiplier);
    clq_buffer_release(layer->real_multiplier);
    clq_buffer_release(layer->kept);
    clq_layer_exact_destroy(layer->exact);
    clq_layer_sums_destroy(layer->sums);
    clq_free(layer);
}

/* ---- parameters ---- */

/* The output's entry in the tables, as the kernels want it. */
static int output_index(const clq_op_run *run) {
    return clq_is_quantized(&run->out) ? clq_table_index(run->graph, &run->out) : -1;
}

/* One work-item a channel, or one group on the GPU schedule. */
static clq_range channel_range(const clq_op_run *run, const layer_codes *layer) {
    const size_t oc = (size_t)layer->geometry.oc;
    if (clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_CPU) {
        return CLQ_RANGE1(oc);
    }
    return (clq_range){1, {oc * CHANNEL_ITEMS_GPU, 1, 1}, {CHANNEL_ITEMS_GPU, 1, 1}};
}

static bool has_one_scale(const clq_op_run *run) {
    return run->qstate->per_tensor_weights || clq_takes_one_scale(run->graph, run->node);
}

/* Notes the largest magnitude of weights (0) or biases (1). */
static clq_status find_largest(const clq_op_run *run, layer_codes *layer, int which, size_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "weights_largest", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_observing_range(run->device, (int64_t)count),
                      CLQ_BUF(run->in[CLQ_LAYER_W + which].buffer), CLQ_BUF(layer->largest),
                      CLQ_I32(which), CLQ_I32(count));
}

/* Largest magnitudes for scales per tensor. */
static clq_status find_all_largest(const clq_op_run *run, layer_codes *layer) {
    const size_t oc = (size_t)layer->geometry.oc;
    CLQ_TRY(clq_buffer_fill(layer->largest, 0, 4 * sizeof(float), 0));
    CLQ_TRY(find_largest(run, layer, 0, oc * layer->k));
    return run->in[CLQ_LAYER_BIAS].buffer != NULL ? find_largest(run, layer, 1, oc) : CLQ_OK;
}

/* Those that are learned, and larger where biases ask for it. */
static clq_status take_learned_scales(const clq_op_run *run, layer_codes *layer,
                                      const clq_learned_place *place) {
    const clq_qstate *q = run->qstate;
    const size_t oc = (size_t)layer->geometry.oc;
    clq_kernel *kernel = NULL;
    if (has_one_scale(run)) {
        CLQ_TRY(find_all_largest(run, layer));
    }
    CLQ_TRY(clq_kernel_get(run->device, "weights_scale_learned", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(oc), CLQ_BUF(q->learned->learned),
                      CLQ_BUF(run->in[CLQ_LAYER_BIAS].buffer), CLQ_BUF(layer->largest),
                      CLQ_BUF(q->scale), CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_BUF(layer->w_scale),
                      CLQ_I32(place->scale), CLQ_I32(has_one_scale(run)), CLQ_I32(q->max_shift),
                      CLQ_I32(oc));
}

static clq_status choose_scales(const clq_op_run *run, layer_codes *layer) {
    const clq_qstate *q = run->qstate;
    const size_t oc = (size_t)layer->geometry.oc;
    clq_kernel *kernel = NULL;
    if (!has_one_scale(run)) {
        CLQ_TRY(clq_kernel_get(run->device, "weights_scale_channel", NULL, &kernel));
        return CLQ_LAUNCH(run->device, kernel, channel_range(run, layer),
                          CLQ_BUF(run->in[CLQ_LAYER_W].buffer),
                          CLQ_BUF(run->in[CLQ_LAYER_BIAS].buffer), CLQ_BUF(q->scale),
                          CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_BUF(layer->w_scale),
                          CLQ_F32(layer->type->highest), CLQ_I32(q->max_shift), CLQ_I32(layer->k));
    }
    CLQ_TRY(find_all_largest(run, layer));
    CLQ_TRY(clq_kernel_get(run->device, "weights_scale_tensor", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(oc), CLQ_BUF(layer->largest),
                      CLQ_BUF(q->scale), CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_BUF(layer->w_scale),
                      CLQ_F32(layer->type->highest), CLQ_I32(q->max_shift), CLQ_I32(oc));
}

static clq_status quantize_parameters(const clq_op_run *run, layer_codes *layer) {
    clq_learned_place place;
    clq_kernel *kernel = NULL;
    if (clq_learned_weights(run, &place)) {
        CLQ_TRY(take_learned_scales(run, layer, &place));
    } else if (run->qstate->choose_weight_scales) {
        CLQ_TRY(choose_scales(run, layer));
    }
    CLQ_TRY(clq_kernel_get(run->device, "quantize_weights", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, channel_range(run, layer), CLQ_BUF(run->in[CLQ_LAYER_W].buffer),
        CLQ_BUF(run->in[CLQ_LAYER_BIAS].buffer), CLQ_BUF(layer->w_scale),
        CLQ_BUF(run->qstate->scale), CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_I32(output_index(run)),
        CLQ_BUF(layer->codes), CLQ_BUF(layer->reals), CLQ_BUF(layer->bias_codes),
        CLQ_BUF(layer->multiplier), CLQ_BUF(layer->real_multiplier), CLQ_F32(layer->type->lowest),
        CLQ_F32(layer->type->highest), CLQ_I32(layer->geometry.oc), CLQ_I32(layer->k));
}

static clq_status make_multipliers(const clq_op_run *run, layer_codes *layer) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "layer_multipliers", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, CLQ_RANGE1((size_t)layer->geometry.oc), CLQ_BUF(layer->w_scale),
        CLQ_BUF(run->qstate->scale), CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_I32(output_index(run)),
        CLQ_BUF(layer->multiplier), CLQ_BUF(layer->real_multiplier), CLQ_I32(layer->geometry.oc));
}

/* The biases' codes: the graph's own, which floats need not hold, or those made on the device. */
static clq_status read_bias(const clq_op_run *run, const layer_codes *layer, int32_t **result) {
    const size_t oc = (size_t)layer->geometry.oc;
    const clq_value *value = run->in[CLQ_LAYER_BIAS].value;
    clq_status status = CLQ_NO_MEMORY;
    float *reals = clq_calloc(oc, sizeof *reals);
    int32_t *codes = clq_calloc(oc, sizeof *codes);
    if (!reals || !codes) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(layer->bias_codes, 0, oc * sizeof *reals, reals));
    for (size_t c = 0; c < oc; c++) {
        codes[c] = value->dtype == CLQ_S32 ? ((const int32_t *)value->data)[c] : (int32_t)reals[c];
        if (value->dtype != CLQ_S32 && abs(codes[c]) >= 1 << 30) {
            status = clq_fail(CLQ_BAD_DATA,
                              "channel %zu: the bias is beyond 2^30 steps of the scales of input "
                              "and weights",
                              c);
            goto cleanup;
        }
    }
    *result = codes;
    codes = NULL;
cleanup:
    clq_free(reals);
    clq_free(codes);
    return status;
}

/* Reads the codes back and makes the exact path when floats are not enough. */
static clq_status check_bound(const clq_op_run *run, layer_codes *layer) {
    const clq_qtype_info *x = clq_qtype_get(run->in[CLQ_LAYER_X].value->q.type);
    const size_t count = (size_t)layer->geometry.oc * layer->k;
    clq_status status = CLQ_OK;
    float *w = clq_calloc(count, sizeof *w);
    int32_t *bias = NULL;
    clq_layer_exact_destroy(layer->exact);
    layer->exact = NULL;
    if (!w) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(layer->codes, 0, count * sizeof *w, w));
    if (layer->bias_codes) {
        CLQ_GOTO(status, cleanup, read_bias(run, layer, &bias));
    }
    if (!clq_layer_bound_holds(&layer->geometry, x->highest - x->lowest, w, bias)) {
        CLQ_GOTO(status, cleanup,
                 clq_layer_exact_create(run->device, &layer->geometry, w, bias, &layer->exact));
    }
cleanup:
    clq_free(w);
    clq_free(bias);
    return status;
}

/* The step's codes for the integer network's kernels, whose zero point stays from now on. */
static clq_status load_sums(const clq_op_run *run, layer_codes *layer) {
    layer->sums_ready = false;
    if (run->mode != CLQ_EXEC_QAT || !run->qstate->int8_forward) {
        return CLQ_OK;
    }
    if (!layer->sums) {
        const size_t at = (size_t)clq_table_index(run->graph, &run->in[CLQ_LAYER_X]);
        const clq_qtype_info *type = clq_qtype_get(run->in[CLQ_LAYER_X].value->q.type);
        int32_t zero_point;
        CLQ_TRY(clq_buffer_read(run->qstate->zero_point, at * sizeof zero_point, sizeof zero_point,
                                &zero_point));
        CLQ_TRY(
            clq_layer_sums_create(run->device, &layer->geometry, type, zero_point, &layer->sums));
    }
    return layer->sums ? clq_layer_sums_load(layer->sums, layer->codes, layer->bias_codes,
                                             &layer->sums_ready)
                       : CLQ_OK;
}

/* Whether the requantizer takes all factors: what conversion checks, of scales that may be on the
 * device alone. */
static clq_status check_factors(const clq_op_run *run, const layer_codes *layer) {
    const size_t oc = (size_t)layer->geometry.oc;
    clq_status status = CLQ_OK;
    if (run->requantizer == CLQ_REQUANT_FLOAT || !clq_is_quantized(&run->out)) {
        return CLQ_OK;
    }
    float *m = clq_calloc(oc, sizeof *m);
    if (!m) {
        return CLQ_NO_MEMORY;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(layer->multiplier, 0, oc * sizeof *m, m));
    for (size_t c = 0; c < oc; c++) {
        int32_t factor[2];
        CLQ_GOTO(status, cleanup,
                 clq_fail_in(clq_multiplier_sum(run->requantizer, m[c], 1, 1, factor),
                             "channel %zu", c));
    }
cleanup:
    clq_free(m);
    return status;
}

clq_status clq_layer_codes_load_parameters(clq_op_run *run) {
    layer_codes *layer = run->state;
    CLQ_TRY(run->in[CLQ_LAYER_W].value->dtype != CLQ_F32 ? make_multipliers(run, layer)
                                                         : quantize_parameters(run, layer));
    if (run->mode == CLQ_EXEC_FAKE_QUANT) {
        CLQ_TRY(check_factors(run, layer));
        CLQ_TRY(check_bound(run, layer));
    }
    CLQ_TRY(load_sums(run, layer));
    CLQ_TRY(clq_conv2d_f32_load_weights(layer->conv, layer->codes));
    if (layer->gradient) {
        CLQ_TRY(clq_conv2d_f32_load_weights(layer->gradient, layer->reals));
    }
    return CLQ_OK;
}

bool clq_layer_is_float_exact(const clq_op_run *run) {
    const bool is_layer = run->node->op->quantized == &clq_conv2d_quantized ||
                          run->node->op->quantized == &clq_linear_quantized;
    return !is_layer || run->mode != CLQ_EXEC_FAKE_QUANT ||
           ((const layer_codes *)run->state)->exact == NULL;
}

/* ---- forward ---- */

static clq_status to_reals(const clq_op_run *run, const layer_codes *layer, clq_buffer *sums,
                           int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, layer->exact ? "sums_to_reals" : "codes_to_reals", NULL,
                           &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(sums),
                      CLQ_BUF(run->out.buffer), CLQ_BUF(layer->real_multiplier),
                      CLQ_I32(layer->act), CLQ_I32(count), CLQ_I32(layer->geometry.oc));
}

static clq_status to_codes(const clq_op_run *run, const layer_codes *layer, clq_buffer *sums,
                           int64_t count) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, layer->exact ? "requantize_sums" : "requantize_codes",
                           clq_requantizer_option(run->requantizer), &kernel));
    return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count), CLQ_BUF(sums),
                      CLQ_BUF(run->out.buffer), CLQ_BUF(layer->multiplier), CLQ_TABLES(run),
                      CLQ_INDEX(run, out), CLQ_I32(layer->act), CLQ_I32(count),
                      CLQ_I32(layer->geometry.oc));
}

static clq_status to_codes_train(const clq_op_run *run, const layer_codes *layer, int64_t count) {
    clq_kernel *kernel = NULL;
    if (!run->qstate->observe) {
        CLQ_TRY(clq_kernel_get(run->device, "requantize_codes_train",
                               clq_requantizer_option(run->requantizer), &kernel));
        return CLQ_LAUNCH(run->device, kernel, clq_codes_range(run->device, count),
                          CLQ_BUF(run->out.buffer), CLQ_BUF(run->out.buffer),
                          CLQ_BUF(layer->multiplier), CLQ_KEPT(run, layer->kept), CLQ_TABLES(run),
                          CLQ_INDEX(run, out), CLQ_I32(layer->act), CLQ_I32(count),
                          CLQ_I32(layer->geometry.oc));
    }
    CLQ_TRY(clq_kernel_get(run->device, "requantize_codes_observe",
                           clq_requantizer_option(run->requantizer), &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, clq_observing_range(run->device, count), CLQ_BUF(run->out.buffer),
        CLQ_BUF(run->out.buffer), CLQ_BUF(layer->multiplier), CLQ_BUF(layer->real_multiplier),
        CLQ_KEPT(run, layer->kept), CLQ_TABLES(run), CLQ_BUF(run->qstate->range),
        CLQ_INDEX(run, out), CLQ_I32(layer->act), CLQ_I32(count), CLQ_I32(layer->geometry.oc));
}

static clq_status requantize(const clq_op_run *run, const layer_codes *layer, clq_buffer *sums) {
    const int64_t count = clq_shape_count(&run->out.shape);
    if (!clq_is_quantized(&run->out)) {
        return to_reals(run, layer, sums, count);
    }
    return run->mode == CLQ_EXEC_QAT ? to_codes_train(run, layer, count)
                                     : to_codes(run, layer, sums, count);
}

clq_status clq_layer_codes_forward(clq_op_run *run) {
    layer_codes *layer = run->state;
    clq_buffer *sums = NULL;
    if (layer->exact) {
        clq_status status =
            clq_layer_exact_forward(layer->exact, run->in[CLQ_LAYER_X].buffer, &sums);
        if (status == CLQ_OK) {
            status = requantize(run, layer, sums);
        }
        clq_buffer_release(sums);
        return status;
    }
    CLQ_TRY(layer->sums_ready
                ? clq_layer_sums_forward(layer->sums, run->in[CLQ_LAYER_X].buffer, run->out.buffer)
                : clq_conv2d_f32_forward(layer->conv, run->in[CLQ_LAYER_X].buffer,
                                         layer->bias_codes, NULL, CLQ_ACT_NONE, run->out.buffer));
    return requantize(run, layer, run->out.buffer);
}

/* ---- backward ---- */

/* dw, and the gradients of the scales that are learned. */
static clq_status learned_gradient(const clq_op_run *run, const layer_codes *layer,
                                   const clq_learned_place *place) {
    const clq_qstate *q = run->qstate;
    const clq_learned_scales *l = q->learned;
    const bool one = has_one_scale(run);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "weights_gradient_learned", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(
        run->device, kernel, channel_range(run, layer), CLQ_BUF(run->grad_in[CLQ_LAYER_W].buffer),
        CLQ_BUF(run->in[CLQ_LAYER_W].buffer), CLQ_BUF(layer->w_scale), CLQ_BUF(l->learned),
        CLQ_I32(place->scale), CLQ_I32(one), CLQ_BUF(q->scale), CLQ_INDEX(run, in[CLQ_LAYER_X]),
        CLQ_BUF(one ? l->partial : l->gradient), CLQ_I32(one ? 0 : place->scale),
        CLQ_F32(place->factor), CLQ_I32(q->max_shift), CLQ_F32(layer->type->lowest),
        CLQ_F32(layer->type->highest), CLQ_I32(layer->k)));
    if (!one) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "weights_gradient_tensor", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(1), CLQ_BUF(l->partial), CLQ_BUF(l->gradient),
                      CLQ_I32(place->scale), CLQ_I32(layer->geometry.oc));
}

static clq_status weights_gradient(const clq_op_run *run, const layer_codes *layer) {
    const clq_qstate *q = run->qstate;
    clq_learned_place place;
    const bool may_clip = !q->choose_weight_scales || q->max_shift >= 0;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_conv2d_f32_backward_weights(layer->conv, run->in[CLQ_LAYER_X].buffer,
                                            run->grad_out.buffer, run->grad_in[CLQ_LAYER_W].buffer,
                                            run->grad_in[CLQ_LAYER_BIAS].buffer));
    if (clq_learned_weights(run, &place)) {
        return learned_gradient(run, layer, &place);
    }
    CLQ_TRY(clq_kernel_get(run->device, "weights_gradient", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, channel_range(run, layer), CLQ_BUF(run->grad_in[CLQ_LAYER_W].buffer),
        CLQ_BUF(run->in[CLQ_LAYER_W].buffer), CLQ_BUF(layer->w_scale), CLQ_BUF(q->scale),
        CLQ_INDEX(run, in[CLQ_LAYER_X]), CLQ_I32(may_clip), CLQ_F32(layer->type->lowest),
        CLQ_F32(layer->type->highest), CLQ_I32(layer->k));
}

clq_status clq_layer_codes_backward(clq_op_run *run) {
    layer_codes *layer = run->state;
    const double work = 2.0 * (double)run->node->op->macs(run->graph, run->node) * run->batch;
    if (layer->kept) {
        CLQ_TRY(clq_pass_gradient(run, layer->kept));
    } else {
        CLQ_TRY(clq_act_gradient(run->device, layer->act, run->out.buffer, run->grad_out.buffer,
                                 clq_shape_count(&run->out.shape)));
    }
    if (run->grad_in[CLQ_LAYER_W].buffer != NULL) {
        clq_device_set_work(run->device, work);
        CLQ_TRY(weights_gradient(run, layer));
    }
    if (layer->gradient) {
        clq_device_set_work(run->device, work);
        CLQ_TRY(clq_conv2d_f32_backward_data(layer->gradient, run->grad_out.buffer,
                                             run->grad_in[CLQ_LAYER_X].buffer,
                                             run->accumulate[CLQ_LAYER_X]));
    }
    return CLQ_OK;
}
