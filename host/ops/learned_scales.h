/* Scales and offsets that are parameters: QAT by LSQ, LSQ+ and PACT, equations (20) to (23) of
 * docs/quantization.md. They lie in front of a network's parameters (clq_params_extra), so that
 * optimizer, clipping, averages and ranks treat them like these; the tables of clq_qstate and
 * layers' weights follow them whenever parameters are loaded. quant/learned_scales.c makes them. */
#ifndef CLQUANT_OPS_LEARNED_SCALES_H
#define CLQUANT_OPS_LEARNED_SCALES_H

#include "ops/quantized.h"

/* Sums of one value's gradients are added in at most as many pieces. */
enum { CLQ_LEARNED_PIECES = 256 };

/* Of a value, which of the learned numbers are its own. */
typedef struct clq_learned_place {
    int scale;    /* of an activation its scale or level; of weights their first channel's; or -1 */
    int offset;   /* LSQ+: an activation's offset; or -1 */
    float span;   /* PACT: the codes between 0 and the level; else 1 */
    float factor; /* of its gradients */
} clq_learned_place;

struct clq_learned_scales {
    clq_device *device;
    int values, count;              /* of the graph; of learned numbers */
    bool levels;                    /* PACT: activations' entries are clipping levels */
    bool weights;                   /* scales of layers' weights are among them */
    bool offsets;                   /* there are some */
    clq_learned_place *places;      /* (values), owned like all below but the views */
    clq_buffer *learned, *gradient; /* views, F32 (count) */
    clq_buffer *bounds, *scale_of, *value_places, *span; /* kernels/quant/learned_scales.cl */
    clq_buffer *partial; /* F32: sums of one value's gradients, before they are added up */
};

/* Whether the value's scale is learned. */
bool clq_is_learned(const clq_qstate *qstate, const clq_graph *graph, const clq_value *value);

/* The layer's weights: the places of their scales; false when these are not learned. */
bool clq_learned_weights(const clq_op_run *run, clq_learned_place *place);

/* Queue work; nothing to do where nothing is learned. */

/* The tables follow what was learned. */
clq_status clq_learned_load(const clq_qstate *qstate);
/* Behind a step of the optimizer: what was learned, back to its bounds. */
clq_status clq_learned_after_step(const clq_qstate *qstate);
/* Before a backward pass: no gradient yet. */
clq_status clq_learned_begin(const clq_qstate *qstate);

/* The node's output was quantized by a learned scale: adds the scale's and offset's gradients, and
 * run->grad_out becomes that of the real output. `unrounded`: as clq_kept_create has it, or `reals`
 * before they were divided by the scale. */
clq_status clq_learned_gradient(const clq_op_run *run, clq_buffer *unrounded, bool reals);

#endif
