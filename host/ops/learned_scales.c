#include "ops/learned_scales.h"

#include "graph/node.h"
#include "ops/layer.h"
#include "ops/quantized_run.h"

/* Sums of a value's gradients are added in pieces, as many for a count on every device. */
enum { PIECE = 8192, GROUP = 128 };

static const clq_learned_place nowhere = {-1, -1, 1, 1};

static clq_learned_place place_of(const clq_qstate *qstate, const clq_graph *graph,
                                  const clq_value *value) {
    return qstate && qstate->learned ? qstate->learned->places[value - graph->values] : nowhere;
}

bool clq_is_learned(const clq_qstate *qstate, const clq_graph *graph, const clq_value *value) {
    return place_of(qstate, graph, value).scale >= 0;
}

bool clq_learned_weights(const clq_op_run *run, clq_learned_place *place) {
    *place = place_of(run->qstate, run->graph, run->in[CLQ_LAYER_W].value);
    return place->scale >= 0;
}

static clq_status limit(const clq_learned_scales *l, clq_kernel *kernel, bool offsets,
                        int max_shift) {
    return CLQ_LAUNCH(l->device, kernel, CLQ_RANGE1((size_t)l->count), CLQ_BUF(l->learned),
                      CLQ_BUF(l->bounds), CLQ_BUF(l->scale_of), CLQ_I32(offsets),
                      CLQ_I32(max_shift), CLQ_I32(l->count));
}

clq_status clq_learned_after_step(const clq_qstate *qstate) {
    const clq_learned_scales *l = qstate->learned;
    clq_kernel *kernel = NULL;
    if (!l) {
        return CLQ_OK;
    }
    clq_device_set_label(l->device, "learned scales");
    CLQ_TRY(clq_kernel_get(l->device, "learned_limit", NULL, &kernel));
    CLQ_TRY(limit(l, kernel, false, qstate->max_shift));
    if (l->offsets) {
        CLQ_TRY(limit(l, kernel, true, qstate->max_shift));
    }
    clq_device_set_label(l->device, "");
    return CLQ_OK;
}

clq_status clq_learned_load(const clq_qstate *qstate) {
    const clq_learned_scales *l = qstate ? qstate->learned : NULL;
    clq_kernel *kernel = NULL;
    if (!l) {
        return CLQ_OK;
    }
    clq_device_set_label(l->device, "learned scales");
    CLQ_TRY(clq_kernel_get(l->device, "learned_tables", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(l->device, kernel, CLQ_RANGE1((size_t)l->values), CLQ_BUF(l->learned),
                       CLQ_BUF(l->bounds), CLQ_BUF(l->value_places), CLQ_BUF(l->span),
                       CLQ_BUF(qstate->scale), CLQ_BUF(qstate->zero_point),
                       CLQ_I32(qstate->max_shift), CLQ_I32(l->values)));
    clq_device_set_label(l->device, "");
    return CLQ_OK;
}

clq_status clq_learned_begin(const clq_qstate *qstate) {
    const clq_learned_scales *l = qstate ? qstate->learned : NULL;
    return l ? clq_buffer_fill(l->gradient, 0, (size_t)l->count * sizeof(float), 0) : CLQ_OK;
}

clq_status clq_learned_gradient(const clq_op_run *run, clq_buffer *unrounded, bool reals) {
    const clq_learned_scales *l = run->qstate->learned;
    const clq_learned_place place = place_of(run->qstate, run->graph, run->out.value);
    const int64_t count = clq_shape_count(&run->out.shape);
    const int64_t wanted = (count + PIECE - 1) / PIECE;
    const size_t pieces = wanted < CLQ_LEARNED_PIECES ? (size_t)wanted : CLQ_LEARNED_PIECES;
    const bool in_groups = clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU;
    const clq_range range =
        in_groups ? (clq_range){1, {pieces * GROUP, 1, 1}, {GROUP, 1, 1}} : CLQ_RANGE1(pieces);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "learned_gradient", NULL, &kernel));
    CLQ_TRY(CLQ_LAUNCH(run->device, kernel, range, CLQ_BUF(unrounded),
                       CLQ_BUF(run->grad_out.buffer), CLQ_TABLES(run), CLQ_BUF(l->learned),
                       CLQ_I32(place.offset), CLQ_BUF(l->partial), CLQ_I32(reals),
                       CLQ_INDEX(run, out), CLQ_I32(clq_node_act(run->node)), CLQ_I32(count)));
    CLQ_TRY(clq_kernel_get(run->device, "learned_reduce", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(1), CLQ_BUF(l->partial), CLQ_I32(pieces),
                      CLQ_BUF(l->learned), CLQ_BUF(l->gradient), CLQ_BUF(run->qstate->scale),
                      CLQ_INDEX(run, out), CLQ_I32(place.scale), CLQ_I32(place.offset),
                      CLQ_I32(l->levels), CLQ_F32(place.span), CLQ_F32(place.factor));
}
