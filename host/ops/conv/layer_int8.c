#include "ops/conv/layer_int8.h"

#include "graph/codes.h"
#include "graph/node.h"
#include "ops/conv/conv2d_int8.h"
#include "ops/conv/conv_node.h"
#include "ops/layer.h"
#include "ops/quantized_run.h"

static clq_status check_parameters(const clq_op_run *run) {
    const clq_value *w = run->in[CLQ_LAYER_W].value, *bias = run->in[CLQ_LAYER_BIAS].value;
    if (!clq_is_code_storage(w->dtype) || w->q.count == 0) {
        return clq_fail(CLQ_USAGE, "weights \"%s\" are not integers", w->name);
    }
    if (bias != NULL && bias->dtype != CLQ_S32) {
        return clq_fail(CLQ_USAGE, "bias \"%s\" is not integers", bias->name);
    }
    return CLQ_OK;
}

/* What the layer makes of its sums: codes of its own output, then those of the addition that runs
 * in its epilogue. */
static clq_status describe_output(const clq_op_run *run, clq_conv2d_int8_params *params) {
    const clq_value *y = &run->graph->values[run->node->output];
    const clq_act act = clq_node_act(run->node);
    if (y->q.count == 0) {
        params->float_output = true;
        params->float_act = act;
        return CLQ_OK;
    }
    const clq_int8_range own = clq_int8_range_of(y, act);
    params->y_scale = own.scale;
    params->y_zero_point = own.zero_point;
    params->y_lo = own.lo;
    params->y_hi = own.hi;
    if (run->fused_add != NULL) {
        const clq_add_attrs *add = run->fused_add->attrs;
        const clq_int8_range out =
            clq_int8_range_of(&run->graph->values[run->fused_add->output], add->act);
        params->has_residual = true;
        params->r_scale = run->residual.value->q.scale[0];
        params->r_zero_point =
            clq_code_byte(run->residual.value, run->residual.value->q.zero_point);
        params->out_scale = out.scale;
        params->out_zero_point = out.zero_point;
        params->out_lo = out.lo;
        params->out_hi = out.hi;
    }
    return CLQ_OK;
}

/* One scale a channel, also when the weights have one for all. */
static float *channel_scales(const clq_qparams *q, int oc) {
    float *scale = clq_calloc((size_t)oc, sizeof *scale);
    for (int c = 0; scale != NULL && c < oc; c++) {
        scale[c] = q->scale[q->count == 1 ? 0 : c];
    }
    return scale;
}

clq_status clq_layer_int8_prepare(clq_op_run *run) {
    CLQ_TRY(clq_check_codes(run, false));
    CLQ_TRY(check_parameters(run));
    const clq_conv_geometry geometry = clq_conv_node_geometry(run);
    const clq_value *x = run->in[CLQ_LAYER_X].value, *bias = run->in[CLQ_LAYER_BIAS].value;
    clq_conv2d_int8_params params = {
        .bias = bias != NULL ? bias->data : NULL,
        .four_bits = clq_qtype_get(run->in[CLQ_LAYER_W].value->q.type)->bits <= 4,
        .x_scale = x->q.scale[0],
        .x_zero_point = clq_code_byte(x, x->q.zero_point),
        .requantizer = run->requantizer,
    };
    CLQ_TRY(describe_output(run, &params));
    clq_conv2d_int8 *conv = NULL;
    int8_t *own_codes = NULL;
    float *w_scale = channel_scales(&run->in[CLQ_LAYER_W].value->q, geometry.oc);
    clq_status status =
        w_scale ? clq_value_borrow_codes(run->in[CLQ_LAYER_W].value, &params.w, &own_codes)
                : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        params.w_scale = w_scale;
        status = clq_conv2d_int8_create(run->device, &geometry, &params, &conv);
        run->state = conv;
    }
    clq_free(own_codes);
    clq_free(w_scale);
    return status;
}

clq_status clq_layer_int8_forward(clq_op_run *run) {
    return clq_conv2d_int8_forward(run->state, run->in[CLQ_LAYER_X].buffer, run->residual.buffer,
                                   run->out.buffer);
}

void clq_layer_int8_release(clq_op_run *run) {
    clq_conv2d_int8_destroy(run->state);
}
