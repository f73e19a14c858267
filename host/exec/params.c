/* Parameters on the device: those that are float and, to run a quantized network, what the weights
 * of layers on reals stand for.
 *
 *   flat       [ extra | conv1.weight .. 0 0 | bn1.weight .. 0 | ... ]   every start a multiple of
 *              the alignment
 *   gradient   the same layout
 *   states     running means and variances, likewise
 */
#include <clquant/exec.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "exec/internal.h"
#include "graph/codes.h"
#include "graph/node.h"
#include "ops/layer.h"

typedef struct param_slot {
    bool present;
    bool rounded;  /* on the device are the reals that its codes stand for */
    size_t offset; /* floats in flat (PARAMETER) or states (STATE) */
    clq_buffer *view, *gradient;
} param_slot;

struct clq_params {
    clq_graph *graph;
    size_t count, state_count; /* padded floats */
    clq_buffer *flat, *gradient, *states;
    param_slot *slots; /* (graph->value_count) */
    clq_params_extras extras;
    clq_buffer *extra, *extra_gradient; /* views; NULL without any */
};

/* Which values have a place. */
static void choose_values(clq_params *params, bool quantized) {
    const clq_graph *graph = params->graph;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        params->slots[v].present = value->dtype == CLQ_F32 && clq_is_constant(value);
    }
    for (int n = 0; quantized && n < graph->node_count; n++) {
        if (clq_is_weight_only(graph, &graph->nodes[n])) {
            param_slot *slot = &params->slots[graph->nodes[n].inputs[CLQ_LAYER_W]];
            slot->present = slot->rounded = true;
        }
    }
}

static size_t value_floats(const clq_value *value) {
    return (size_t)clq_shape_count(&value->shape);
}

/* Assigns offsets; fails when the sums do not fit. */
static clq_status lay_out(clq_params *params, size_t align) {
    const clq_graph *graph = params->graph;
    if (!clq_round_up_size(params->extras.count, align, &params->count)) {
        return clq_fail(CLQ_NO_MEMORY, "parameters: too many");
    }
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (!params->slots[v].present) {
            continue;
        }
        size_t *total = value->kind == CLQ_VALUE_PARAMETER ? &params->count : &params->state_count;
        size_t padded = 0, bytes = 0;
        params->slots[v].offset = *total;
        if (!clq_round_up_size(value_floats(value), align, &padded) ||
            !clq_add_size(*total, padded, total) || !clq_mul_size(*total, sizeof(float), &bytes)) {
            return clq_fail(CLQ_NO_MEMORY, "parameters: their total size overflows at %s",
                            value->name);
        }
    }
    return CLQ_OK;
}

static clq_status create_zeroed(clq_device *device, size_t floats, clq_buffer **buffer) {
    if (floats == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_create(device, floats * sizeof(float), buffer));
    return clq_buffer_fill(*buffer, 0, floats * sizeof(float), 0);
}

static clq_status create_views(clq_params *params) {
    const clq_graph *graph = params->graph;
    const size_t extra = params->extras.count * sizeof(float);
    if (extra > 0) {
        CLQ_TRY(clq_buffer_view(params->flat, 0, extra, &params->extra));
        CLQ_TRY(clq_buffer_view(params->gradient, 0, extra, &params->extra_gradient));
    }
    for (int v = 0; v < graph->value_count; v++) {
        param_slot *slot = &params->slots[v];
        if (!slot->present) {
            continue;
        }
        const bool learned = graph->values[v].kind == CLQ_VALUE_PARAMETER;
        const size_t offset = slot->offset * sizeof(float);
        const size_t size = value_floats(&graph->values[v]) * sizeof(float);
        CLQ_TRY(
            clq_buffer_view(learned ? params->flat : params->states, offset, size, &slot->view));
        if (learned && params->gradient != NULL) {
            CLQ_TRY(clq_buffer_view(params->gradient, offset, size, &slot->gradient));
        }
    }
    return CLQ_OK;
}

static clq_status create(clq_device *device, clq_graph *graph, bool trainable, bool quantized,
                         const clq_params_extras *extras, clq_params **result) {
    clq_status status = CLQ_NO_MEMORY;
    clq_params *params = clq_calloc(1, sizeof *params);
    if (params == NULL) {
        return CLQ_NO_MEMORY;
    }
    params->graph = graph;
    params->extras = *extras;
    params->slots = clq_calloc((size_t)graph->value_count, sizeof *params->slots);
    if (params->slots == NULL) {
        goto cleanup;
    }
    choose_values(params, quantized);
    const size_t alignment = clq_device_get_info(device)->base_alignment;
    const size_t align_floats = alignment > sizeof(float) ? alignment / sizeof(float) : 1;
    CLQ_GOTO(status, cleanup, lay_out(params, align_floats));
    CLQ_GOTO(status, cleanup, create_zeroed(device, params->count, &params->flat));
    CLQ_GOTO(status, cleanup, create_zeroed(device, params->state_count, &params->states));
    if (trainable) {
        CLQ_GOTO(status, cleanup, create_zeroed(device, params->count, &params->gradient));
    }
    CLQ_GOTO(status, cleanup, create_views(params));
    CLQ_GOTO(status, cleanup, clq_params_upload(params));
    *result = params;
    params = NULL;
cleanup:
    clq_params_destroy(params);
    return status;
}

clq_status clq_params_create(clq_device *device, clq_graph *graph, bool trainable,
                             clq_params **result) {
    CLQ_NEEDS(device, graph, result);
    return clq_params_create_for(device, graph, trainable, false, result);
}

clq_status clq_params_create_for(clq_device *device, clq_graph *graph, bool trainable,
                                 bool quantized, clq_params **result) {
    return create(device, graph, trainable, quantized, &(clq_params_extras){0}, result);
}

clq_status clq_params_create_extra(clq_device *device, clq_graph *graph,
                                   const clq_params_extras *extras, clq_params **result) {
    CLQ_NEEDS(device, graph, extras, result);
    return create(device, graph, true, false, extras, result);
}

void clq_params_destroy(clq_params *params) {
    if (params == NULL) {
        return;
    }
    clq_buffer_release(params->extra);
    clq_buffer_release(params->extra_gradient);
    for (int v = 0; params->slots != NULL && v < params->graph->value_count; v++) {
        clq_buffer_release(params->slots[v].view);
        clq_buffer_release(params->slots[v].gradient);
    }
    clq_buffer_release(params->flat);
    clq_buffer_release(params->gradient);
    clq_buffer_release(params->states);
    clq_free(params->slots);
    clq_free(params);
}

static clq_status upload_rounded(const clq_value *value, clq_buffer *view) {
    const size_t count = value_floats(value);
    float *reals = clq_calloc(count, sizeof *reals);
    clq_status status = reals ? clq_value_reals(value, reals) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        status = clq_buffer_write(view, 0, count * sizeof *reals, reals);
    }
    clq_free(reals);
    return status;
}

clq_status clq_params_upload(clq_params *params) {
    CLQ_NEEDS(params);
    for (int v = 0; v < params->graph->value_count; v++) {
        const clq_value *value = &params->graph->values[v];
        const param_slot *slot = &params->slots[v];
        if (slot->rounded) {
            CLQ_TRY(upload_rounded(value, slot->view));
        } else if (slot->present) {
            CLQ_TRY(
                clq_buffer_write(slot->view, 0, value_floats(value) * sizeof(float), value->data));
        }
    }
    return CLQ_OK;
}

clq_status clq_params_download(clq_params *params) {
    CLQ_NEEDS(params);
    for (int v = 0; v < params->graph->value_count; v++) {
        clq_value *value = &params->graph->values[v];
        if (params->slots[v].present && !params->slots[v].rounded) {
            CLQ_TRY(clq_buffer_read(params->slots[v].view, 0, value_floats(value) * sizeof(float),
                                    value->data));
        }
    }
    return CLQ_OK;
}

clq_buffer *clq_params_flat(clq_params *params) {
    CLQ_NEEDS_OR(NULL, params);
    return params->flat;
}

clq_buffer *clq_params_flat_gradient(clq_params *params) {
    CLQ_NEEDS_OR(NULL, params);
    return params->gradient;
}

clq_buffer *clq_params_flat_states(clq_params *params) {
    CLQ_NEEDS_OR(NULL, params);
    return params->states;
}

clq_buffer *clq_params_extra(clq_params *params) {
    CLQ_NEEDS_OR(NULL, params);
    return params->extra;
}

clq_buffer *clq_params_extra_gradient(clq_params *params) {
    CLQ_NEEDS_OR(NULL, params);
    return params->extra_gradient;
}

clq_params_extras clq_params_get_extras(const clq_params *params) {
    CLQ_NEEDS_OR((clq_params_extras){0}, params);
    return params->extras;
}

size_t clq_params_count(const clq_params *params) {
    CLQ_NEEDS_OR(0, params);
    return params->count;
}

clq_buffer *clq_params_value(clq_params *params, int value) {
    CLQ_NEEDS_OR(NULL, params);
    return value >= 0 && value < params->graph->value_count ? params->slots[value].view : NULL;
}

clq_buffer *clq_params_gradient(clq_params *params, int value) {
    CLQ_NEEDS_OR(NULL, params);
    return value >= 0 && value < params->graph->value_count ? params->slots[value].gradient : NULL;
}

size_t clq_params_offset(const clq_params *params, int value) {
    CLQ_NEEDS_OR(0, params);
    return value >= 0 && value < params->graph->value_count ? params->slots[value].offset : 0;
}
