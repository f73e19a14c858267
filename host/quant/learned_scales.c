/* What is learned lies one after the other: activations' scales or levels by value, weights'
 * scales, then, as the optimizer wants it (clq_params_extras), offsets. */
#include "quant/learned_scales.h"

#include <math.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/text.h"
#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/layer.h"
#include "ops/quantized_run.h"
#include "quant/internal.h"
#include "quant/report.h"

const char *const clq_learn_names[CLQ_LEARN_COUNT] = {"none", "lsq", "lsq+", "pact"};

/* What the device's buffers start with. */
typedef struct start {
    float *learned, *bounds; /* (count), (count, 2) */
    int32_t *scale_of;       /* (count) */
    int32_t *places;         /* (values, 2) */
    float *span;             /* (values) */
} start;

/* ---- who learns ---- */

/* The codes behind 0: what is between 0 and PACT's level. */
static float span_of(const clq_value *value) {
    return (float)(clq_qtype_get(value->q.type)->highest - value->q.zero_point);
}

/* PACT has levels for what is never negative. */
static bool learns(const clq_quant_config *config, const clq_value *value) {
    const bool positive = value->q.zero_point == clq_qtype_get(value->q.type)->lowest;
    return value->kind == CLQ_VALUE_ACTIVATION &&
           (config->learn_scales != CLQ_LEARN_PACT || positive);
}

/* LSQ+ has offsets for what may be negative. */
static bool learns_offset(const clq_quant_config *config, const clq_value *value) {
    return config->learn_scales == CLQ_LEARN_LSQ_PLUS &&
           value->q.zero_point > clq_qtype_get(value->q.type)->lowest;
}

/* LSQ's scale of gradients, 1 / sqrt(N Q_p). */
static float lsq_factor(int64_t numbers, const clq_value *value) {
    const double highest = clq_qtype_get(value->q.type)->highest;
    return (float)(1 / sqrt((double)numbers * highest));
}

/* Whether the value has the scale of its group's first one; what a concat requantizes has its own.
 */
static bool is_led(const clq_graph *graph, const int *groups, int v) {
    return groups[v] >= 0 && groups[v] != v &&
           clq_same_codes(&graph->values[v], &graph->values[groups[v]]);
}

static void place_activations(clq_learned_scales *l, const clq_graph *graph,
                              const clq_quant_config *config, const int *groups) {
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        clq_learned_place *place = &l->places[v];
        *place = (clq_learned_place){-1, -1, 1, 1};
        if (is_led(graph, groups, v)) {
            *place = l->places[groups[v]]; /* the first of a group has the lowest id */
        } else if (groups[v] >= 0 && learns(config, value)) {
            place->scale = l->count++;
            place->span = l->levels ? span_of(value) : 1;
            place->factor = l->levels ? 1 : lsq_factor(clq_shape_count(&value->shape), value);
        }
    }
}

static void place_offsets(clq_learned_scales *l, const clq_graph *graph,
                          const clq_quant_config *config, const int *groups) {
    const size_t alignment = clq_device_get_info(l->device)->base_alignment / sizeof(float);
    const int first = (int)clq_round_up((size_t)l->count, alignment);
    int count = 0;
    for (int v = 0; v < graph->value_count; v++) {
        if (is_led(graph, groups, v)) {
            l->places[v].offset = l->places[groups[v]].offset;
        } else if (groups[v] >= 0 && l->places[v].scale >= 0 &&
                   learns_offset(config, &graph->values[v])) {
            l->places[v].offset = first + count++;
        }
    }
    l->offsets = count > 0;
    l->count = count > 0 ? first + count : l->count;
}

static bool is_learned_layer(const clq_graph *graph, const clq_node *node) {
    return clq_is_layer(node) && clq_node_on_codes(graph, node) &&
           graph->values[node->inputs[CLQ_LAYER_W]].q.count > 0;
}

static void place_weights(clq_learned_scales *l, const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (is_learned_layer(graph, node)) {
            const clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
            clq_learned_place *place = &l->places[node->inputs[CLQ_LAYER_W]];
            place->scale = l->count;
            place->factor = lsq_factor(clq_shape_count(&w->shape) / w->q.count, w);
            l->count += (int)w->q.count;
        }
    }
}

/* ---- where they start ---- */

/* The level whose scale is this one, to the bit. */
static float level_of(float scale, float span) {
    enum { MOST_MOVES = 8 };
    float level = scale * span;
    for (int i = 0; i < MOST_MOVES && clq_divide(level, span) != scale; i++) {
        level = nextafterf(level, clq_divide(level, span) < scale ? INFINITY : 0.0f);
    }
    return level;
}

static void start_activation(const clq_learned_scales *l, const clq_value *value,
                             const clq_learned_place *place, float least, start *s) {
    const clq_qtype_info *type = clq_qtype_get(value->q.type);
    s->learned[place->scale] =
        l->levels ? level_of(value->q.scale[0], place->span) : value->q.scale[0];
    s->bounds[2 * place->scale] = least * place->span;
    if (place->offset >= 0) {
        s->learned[place->offset] = -value->q.scale[0] * (float)value->q.zero_point;
        s->bounds[2 * place->offset] = (float)type->lowest;
        s->bounds[2 * place->offset + 1] = (float)type->highest;
        s->scale_of[place->offset] = place->scale;
    }
}

static void fill_start(const clq_learned_scales *l, const clq_graph *graph, const int *groups,
                       float least, start *s) {
    for (int i = 0; i < l->count; i++) {
        s->scale_of[i] = -1;
    }
    for (int v = 0; v < l->values; v++) {
        const clq_value *value = &graph->values[v];
        const clq_learned_place *place = &l->places[v];
        const bool activation = !clq_is_constant(value);
        s->places[2 * v] = activation ? place->scale : -1;
        s->places[2 * v + 1] = activation ? place->offset : -1;
        s->span[v] = place->span;
        if (activation && place->scale >= 0 && !is_led(graph, groups, v)) {
            start_activation(l, value, place, least, s);
        } else if (!activation && place->scale >= 0) {
            for (int64_t c = 0; c < value->q.count; c++) {
                s->learned[place->scale + c] = value->q.scale[c];
                s->bounds[2 * (place->scale + c)] = least;
            }
        }
    }
}

static clq_status upload(clq_device *device, size_t size, const void *data, clq_buffer **buffer) {
    CLQ_TRY(clq_buffer_create(device, size, buffer));
    return clq_buffer_write(*buffer, 0, size, data);
}

static clq_status upload_start(clq_learned_scales *l, const start *s) {
    const size_t count = (size_t)l->count * 4, values = (size_t)l->values * 4;
    CLQ_TRY(clq_buffer_write(l->learned, 0, count, s->learned));
    CLQ_TRY(upload(l->device, 2 * count, s->bounds, &l->bounds));
    CLQ_TRY(upload(l->device, count, s->scale_of, &l->scale_of));
    CLQ_TRY(upload(l->device, 2 * values, s->places, &l->value_places));
    return upload(l->device, values, s->span, &l->span);
}

/* Room for the sums of any value, and for a scale of every channel of any layer. */
static clq_status create_partial(clq_learned_scales *l, const clq_graph *graph) {
    size_t floats = 2 * CLQ_LEARNED_PIECES;
    for (int n = 0; n < graph->node_count; n++) {
        if (clq_is_layer(&graph->nodes[n])) {
            const size_t oc =
                (size_t)graph->values[graph->nodes[n].inputs[CLQ_LAYER_W]].shape.dim[0];
            floats = oc > floats ? oc : floats;
        }
    }
    return clq_buffer_create(l->device, floats * sizeof(float), &l->partial);
}

static clq_status fill_buffers(clq_learned_scales *l, const clq_graph *graph, const int *groups,
                               float least) {
    const size_t count = (size_t)l->count, values = (size_t)l->values;
    clq_status status = CLQ_NO_MEMORY;
    start s = {.learned = clq_calloc(count, sizeof(float)),
               .bounds = clq_calloc(2 * count, sizeof(float)),
               .scale_of = clq_calloc(count, sizeof(int32_t)),
               .places = clq_calloc(2 * values, sizeof(int32_t)),
               .span = clq_calloc(values, sizeof(float))};
    if (s.learned && s.bounds && s.scale_of && s.places && s.span) {
        fill_start(l, graph, groups, least, &s);
        status = upload_start(l, &s);
    }
    clq_free(s.learned);
    clq_free(s.bounds);
    clq_free(s.scale_of);
    clq_free(s.places);
    clq_free(s.span);
    return status;
}

/* A power of two has the least one that max_shift allows. */
static float least_scale(const clq_quant_config *config) {
    return config->scale == CLQ_SCALE_POW2 ? ldexpf(1, -config->max_shift) : CLQ_LEAST_SCALE;
}

clq_status clq_learned_create(clq_device *device, clq_graph *graph, const clq_quant_config *config,
                              const int *groups, clq_params **params,
                              clq_learned_scales **learned) {
    clq_status status = CLQ_NO_MEMORY;
    *learned = NULL;
    if (config->learn_scales == CLQ_LEARN_NONE) {
        return CLQ_OK;
    }
    clq_learned_scales *l = clq_calloc(1, sizeof *l);
    if (!l) {
        return CLQ_NO_MEMORY;
    }
    l->device = device;
    l->values = graph->value_count;
    l->levels = config->learn_scales == CLQ_LEARN_PACT;
    l->places = clq_calloc((size_t)l->values, sizeof *l->places);
    if (!l->places) {
        goto cleanup;
    }
    place_activations(l, graph, config, groups);
    l->weights = !l->levels;
    if (l->weights) {
        place_weights(l, graph);
    }
    clq_params_extras extras = {.positive = (size_t)l->count, .decay = l->levels};
    place_offsets(l, graph, config, groups);
    extras.count = (size_t)l->count;
    if (l->count == 0) {
        status =
            clq_fail(CLQ_USAGE, "graph %s has no scales that learn_scales \"%s\" could learn%s",
                     graph->name, clq_learn_names[config->learn_scales],
                     l->levels ? ": no activation behind a ReLU" : "");
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_params_create_extra(device, graph, &extras, params));
    l->learned = clq_params_extra(*params);
    l->gradient = clq_params_extra_gradient(*params);
    CLQ_GOTO(status, cleanup, create_partial(l, graph));
    CLQ_GOTO(status, cleanup, fill_buffers(l, graph, groups, least_scale(config)));
    *learned = l;
    l = NULL;
cleanup:
    clq_learned_destroy(l);
    return status;
}

void clq_learned_destroy(clq_learned_scales *l) {
    if (!l) {
        return;
    }
    clq_buffer_release(l->bounds);
    clq_buffer_release(l->scale_of);
    clq_buffer_release(l->value_places);
    clq_buffer_release(l->span);
    clq_buffer_release(l->partial);
    clq_free(l->places);
    clq_free(l);
}

/* ---- what training made of them ---- */

/* Whether a channel's weights are so small that the scale of the largest is the least one: there
 * every scale does as well. */
static bool is_dead(const clq_value *value, int64_t channel, float least) {
    const int64_t row = clq_shape_count(&value->shape) / value->q.count;
    const float *w = (const float *)value->data + channel * row;
    float largest = 0;
    for (int64_t i = 0; i < row; i++) {
        largest = fmaxf(largest, fabsf(w[i]));
    }
    return largest <= least * (float)clq_qtype_get(value->q.type)->highest;
}

/* Names the values whose scales steps drove as far down as they may. */
static void warn_of_least(const clq_learned_scales *l, const clq_graph *graph, float least) {
    enum { NAMED = 4 };
    clq_text names = {0};
    int found = 0;
    for (int v = 0; v < l->values; v++) {
        const clq_value *value = &graph->values[v];
        bool at_least = false;
        for (int64_t c = 0; l->places[v].scale >= 0 && c < value->q.count; c++) {
            at_least |=
                value->q.scale[c] <= least && !(clq_is_constant(value) && is_dead(value, c, least));
        }
        if (at_least && found++ < NAMED) {
            clq_text_printf(&names, "%s%s", found > 1 ? ", " : "", graph->values[v].name);
        }
    }
    if (found > 0) {
        clq_log_warn("learned scales of %d value%s fell to the least there is, %g, in %s%s: the "
                     "learning rate is too large for them",
                     found, clq_plural(found), (double)least, names.data ? names.data : "",
                     found > NAMED ? " and others" : "");
    }
    clq_text_free(&names);
}

clq_status clq_learned_store(const clq_learned_scales *l, const clq_quant_config *config,
                             clq_graph *graph) {
    clq_status status = CLQ_NO_MEMORY;
    const size_t bytes = (size_t)l->count * sizeof(float);
    float *learned = clq_calloc(bytes, 1);
    const float **of_weights = clq_calloc((size_t)l->values, sizeof *of_weights);
    if (!learned || !of_weights) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(l->learned, 0, bytes, learned));
    for (int v = 0; v < l->values; v++) {
        if (clq_is_constant(&graph->values[v]) && l->places[v].scale >= 0) {
            of_weights[v] = learned + l->places[v].scale;
        }
    }
    if (l->weights) {
        CLQ_GOTO(status, cleanup, clq_set_weight_qparams(config, graph, of_weights, NULL));
    }
    status = CLQ_OK;
    warn_of_least(l, graph, least_scale(config));
cleanup:
    clq_free(learned);
    clq_free(of_weights);
    return status;
}
