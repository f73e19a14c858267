/* Scales from files to the values of a graph whose types are known. */
#include <string.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/encodings/encodings.h"
#include "graph/node.h"
#include "ops/layer.h"

typedef struct applying {
    clq_encodings *encodings;
    clq_graph *graph;
    bool *given; /* (value_count) */
} applying;

static clq_status refuse(const applying *a, const clq_encoding *e, const char *rule) {
    return clq_fail(CLQ_BAD_DATA, "%s: \"%.200s\": %s", a->encodings->path, e->name, rule);
}

/* ---- types ---- */

/* The type of the codes that the file means, signed or not, and their zero point. */
static clq_status find_type(const applying *a, const clq_encoding *e, bool is_signed,
                            clq_qtype *type, int32_t *zero_point) {
    *zero_point = 0;
    if (e->is_float) {
        return refuse(a, e,
                      "is float in the file and would be codes here; --keep-float names the "
                      "nodes that stay float");
    }
    if (e->bits > 8) {
        return clq_fail(CLQ_BAD_DATA, "%s: \"%.200s\": %d bits; up to 8 are executed",
                        a->encodings->path, e->name, e->bits);
    }
    const int half = 1 << (e->bits - 1);
    const bool narrow = is_signed && e->bits == 8 && e->offset == 1 - half;
    const int32_t lowest = !is_signed ? 0 : narrow ? 1 - half : -half;
    const int32_t highest = is_signed ? half - 1 : 2 * half - 1;
    *zero_point = lowest - e->offset;
    if (*zero_point > highest || !clq_qtype_find_codes(is_signed, lowest, highest, type)) {
        return refuse(a, e, "its range does not hold 0");
    }
    return CLQ_OK;
}

/* ---- activations ---- */

static clq_status set_activation(applying *a, clq_encoding *e, int value) {
    clq_value *v = &a->graph->values[value];
    clq_qtype type;
    int32_t zero_point;
    if (e->count != 1) {
        return clq_fail(CLQ_BAD_DATA, "%s: \"%.200s\": %lld scales, an activation has one",
                        a->encodings->path, e->name, (long long)e->count);
    }
    CLQ_TRY(
        find_type(a, e, e->of_layer || clq_qtype_get(v->q.type)->is_signed, &type, &zero_point));
    if (a->given[value] && v->q.scale[0] != e->scale[0]) {
        return refuse(a, e, "another layer reads the same with another scale");
    }
    a->given[value] = true;
    return clq_qparams_set(&v->q, 1, e->scale, zero_point, type);
}

static clq_status copy_qparams(applying *a, int from, int to) {
    const clq_qparams *q = &a->graph->values[from].q;
    a->given[to] = true;
    return clq_qparams_set(&a->graph->values[to].q, q->count, q->scale, q->zero_point, q->type);
}

static bool is_coded(const clq_graph *graph, int value) {
    return value != CLQ_NO_VALUE && !clq_is_constant(&graph->values[value]) &&
           graph->values[value].q.count > 0;
}

/* Operators that pass codes on have those of what they read; one that joins may say for what the
 * file says nothing of. */
static clq_status share(applying *a) {
    const clq_graph *graph = a->graph;
    for (bool changed = true; changed;) {
        changed = false;
        for (int n = 0; n < graph->node_count; n++) {
            const clq_node *node = &graph->nodes[n];
            const int x = node->inputs[0], y = node->output;
            const bool passes = node->op->output_shares_qparams && is_coded(graph, x);
            if (!is_coded(graph, y)) {
                continue;
            }
            if (passes && a->given[x]) {
                const clq_qparams *p = &graph->values[x].q, *q = &graph->values[y].q;
                if (!a->given[y] || p->scale[0] != q->scale[0] || p->zero_point != q->zero_point ||
                    p->type != q->type) {
                    changed = true;
                    CLQ_TRY(copy_qparams(a, x, y));
                }
            } else if (passes && a->given[y]) {
                changed = true;
                CLQ_TRY(copy_qparams(a, y, x));
            }
            for (int k = 0; node->op->joins_qparams && a->given[y] && k < node->input_count; k++) {
                if (is_coded(graph, node->inputs[k]) && !a->given[node->inputs[k]]) {
                    changed = true;
                    CLQ_TRY(copy_qparams(a, y, node->inputs[k]));
                }
            }
        }
    }
    return CLQ_OK;
}

/* ---- weights ---- */

/* The layer whose weights these are; NULL: they are none's. */
static const clq_node *layer_of(const clq_graph *graph, int value) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (clq_is_layer(node) && node->inputs[CLQ_LAYER_W] == value) {
            return node;
        }
    }
    return NULL;
}

/* One scale, or one for each of `channels`, in the graph's order. */
static clq_status spread(const applying *a, const clq_encoding *e, int value, int64_t groups,
                         float *scales) {
    const clq_value *v = &a->graph->values[value];
    const int64_t channels = v->shape.dim[0];
    const bool by_group = e->of_layer && e->count == groups && groups < channels;
    if (e->count != channels && !by_group) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: \"%.200s\": %lld scales for weights with %lld output channels",
                        a->encodings->path, e->name, (long long)e->count, (long long)channels);
    }
    float *file = clq_calloc((size_t)channels, sizeof *file);
    if (!file) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t c = 0; c < channels; c++) {
        file[c] = e->scale[by_group ? c / (channels / groups) : c];
    }
    const clq_status status = clq_scales_from_file(a->graph, value, file, scales);
    clq_free(file);
    return status;
}

static clq_status set_weights(applying *a, clq_encoding *e, int value, const clq_node *layer) {
    clq_value *v = &a->graph->values[value];
    const clq_conv2d_attrs *conv = clq_layer_conv(layer);
    clq_qtype type;
    int32_t zero_point;
    CLQ_TRY(find_type(a, e, true, &type, &zero_point));
    if (zero_point != 0 && zero_point != -1) {
        return refuse(a, e, "weights must be symmetric around 0");
    }
    a->given[value] = true;
    if (e->count == 1) {
        return clq_qparams_set(&v->q, 1, e->scale, 0, type);
    }
    const int64_t channels = v->shape.dim[0];
    float *scales = clq_calloc((size_t)channels, sizeof *scales);
    if (!scales) {
        return CLQ_NO_MEMORY;
    }
    /* So many scales there will be, whose order the graph tells. */
    clq_status status = CLQ_OK;
    if (v->q.count != channels) {
        for (int64_t c = 0; c < channels; c++) {
            scales[c] = 1;
        }
        status = clq_qparams_set(&v->q, channels, scales, 0, type);
    }
    if (status == CLQ_OK) {
        status = spread(a, e, value, conv ? conv->groups : 1, scales);
    }
    if (status == CLQ_OK) {
        status = clq_qparams_set(&v->q, channels, scales, 0, type);
    }
    clq_free(scales);
    return status;
}

/* ---- names ---- */

static bool is_called(const clq_value *v, const char *name) {
    return strcmp(v->name, name) == 0 || strcmp(clq_value_file_name(v), name) == 0;
}

static clq_status apply_to_value(applying *a, clq_encoding *e, int value) {
    const clq_value *v = &a->graph->values[value];
    const clq_node *layer = layer_of(a->graph, value);
    if (!is_called(clq_encoded_value(a->graph, value), e->name)) {
        return CLQ_OK;
    }
    e->used = true;
    if (v->q.count == 0 || v->q.type == CLQ_Q_S32) {
        return CLQ_OK;
    }
    return layer ? set_weights(a, e, value, layer) : set_activation(a, e, value);
}

static clq_status apply_to_layer(applying *a, clq_encoding *e, const clq_node *node) {
    const int value = node->inputs[e->parameter ? CLQ_LAYER_W : CLQ_LAYER_X];
    if (strcmp(node->name, e->name) != 0) {
        return CLQ_OK;
    }
    e->used = true;
    if (a->graph->values[value].q.count == 0) {
        return CLQ_OK;
    }
    return e->parameter ? set_weights(a, e, value, node) : set_activation(a, e, value);
}

clq_status clq_encodings_apply(clq_encodings *encodings, clq_graph *graph, bool parameters,
                               bool *given) {
    CLQ_NEEDS(encodings, graph, given);
    applying a = {encodings, graph, given};
    for (size_t i = 0; i < encodings->count; i++) {
        clq_encoding *e = &encodings->list[i];
        for (int v = 0; !e->of_layer && v < graph->value_count; v++) {
            /* Constants of elementwise operators have files' encodings of parameters. */
            if (clq_is_constant(&graph->values[v]) == parameters && e->parameter == parameters) {
                CLQ_TRY(apply_to_value(&a, e, v));
            }
        }
        for (int n = 0; e->of_layer && e->parameter == parameters && n < graph->node_count; n++) {
            if (clq_is_layer(&graph->nodes[n])) {
                CLQ_TRY(apply_to_layer(&a, e, &graph->nodes[n]));
            }
        }
    }
    return parameters ? CLQ_OK : share(&a);
}

clq_status clq_encodings_check_used(const clq_encodings *encodings) {
    enum { NAMED = 5 };
    CLQ_NEEDS(encodings);
    clq_text names = {0};
    size_t unknown = 0;
    for (size_t i = 0; i < encodings->count; i++) {
        const clq_encoding *e = &encodings->list[i];
        if (!e->used && unknown++ < NAMED) {
            clq_text_printf(&names, "%s\"%s\"", unknown > 1 ? ", " : "", e->name);
        }
    }
    clq_status status = clq_text_status(&names);
    if (status == CLQ_OK && unknown == encodings->count) {
        status = clq_fail(CLQ_BAD_DATA, "%s: no name in it is one of the network's: %s%s",
                          encodings->path, names.data, unknown > NAMED ? ", ..." : "");
    } else if (status == CLQ_OK && unknown > 0) {
        clq_log_warn("%s: the network has nothing that is called %s%s: %zu of %zu are not used",
                     encodings->path, names.data, unknown > NAMED ? ", ..." : "", unknown,
                     encodings->count);
    }
    clq_text_free(&names);
    return status;
}

const char *clq_encodings_path(const clq_encodings *encodings) {
    return encodings ? encodings->path : NULL;
}
