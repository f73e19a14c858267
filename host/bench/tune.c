#include <clquant/passes.h>
#include <clquant/tune.h>

#include <limits.h>
#include <string.h>

#include "base/arguments.h"
#include "base/clock.h"
#include "base/progress.h"
#include "bench/race.h"
#include "device/tuning.h"
#include "graph/ends.h"
#include "ops/conv/conv_node.h"

static const double SECONDS = 60;

/* A distinct shape: what a layer of the report is about. */
typedef struct work {
    clq_conv_family family;
    clq_conv_geometry geometry;
    char key[CLQ_CONV_KEY];
    int count;
} work;

typedef struct work_list {
    work *items;
    int count, capacity;
} work_list;

/* ---- shapes ---- */

static clq_status add_shape(work_list *list, const work *shape) {
    for (int i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].key, shape->key) == 0) {
            list->items[i].count++;
            return CLQ_OK;
        }
    }
    if (list->count == list->capacity) {
        const int capacity = list->capacity ? 2 * list->capacity : 64;
        work *grown = clq_realloc(list->items, (size_t)capacity, sizeof *grown);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        list->items = grown;
        list->capacity = capacity;
    }
    list->items[list->count] = *shape;
    list->items[list->count++].count = 1;
    return CLQ_OK;
}

/* Kernels count elements in 32 bits. */
static clq_status check_size(const clq_node *node, const clq_conv_geometry *g) {
    const double limit = INT_MAX - 64;
    const double x = (double)g->n * g->ih * g->iw * (g->ic + 3.0);
    const double y = (double)g->n * g->oh * g->ow * (g->oc + 3.0);
    if (x > limit || y > limit) {
        return clq_fail(CLQ_USAGE, "batch %d is too large for node %s: over 2^31 elements", g->n,
                        node->name);
    }
    return CLQ_OK;
}

static clq_status add_graph(const clq_device *device, const clq_graph *graph, int batch,
                            work_list *list) {
    const bool integer = clq_graph_form(graph) == CLQ_FORM_INTEGER;
    for (int n = 0; n < graph->node_count; n++) {
        work shape = {.family = integer ? CLQ_CONV_INT8 : CLQ_CONV_F32};
        if (!clq_conv_graph_geometry(graph, &graph->nodes[n], batch, &shape.geometry) ||
            shape.geometry.transposed) {
            continue;
        }
        CLQ_TRY(check_size(&graph->nodes[n], &shape.geometry));
        clq_conv_key(device, shape.family, &shape.geometry, shape.key);
        CLQ_TRY(add_shape(list, &shape));
    }
    return CLQ_OK;
}

/* As inference runs it: folded when it is float. */
static clq_status add_model(const clq_device *device, const clq_graph *graph,
                            const clq_tune_options *options, work_list *list) {
    clq_status status = CLQ_OK;
    clq_graph *folded = NULL;
    if (clq_graph_form(graph) == CLQ_FORM_QUANTIZED) {
        return clq_fail(
            CLQ_USAGE,
            "%s: its weights are stored as floats; `clquant convert --integer` stores the "
            "integers that they stand for",
            graph->name);
    }
    if (clq_graph_form(graph) == CLQ_FORM_FLOAT) {
        CLQ_TRY(clq_graph_fold(graph, &folded));
        graph = folded;
    }
    for (int b = 0; b < options->batch_count; b++) {
        CLQ_GOTO(status, cleanup, add_graph(device, graph, options->batches[b], list));
    }
cleanup:
    clq_graph_destroy(folded);
    return status;
}

/* ---- measuring ---- */

static clq_status fill_layer(const work *shape, const char *choice, clq_tune_layer *layer) {
    char text[CLQ_CONV_KEY];
    clq_conv_shape_text(&shape->geometry, text);
    layer->family = clq_conv_family_name(shape->family);
    layer->count = shape->count;
    layer->shape = clq_strdup(text);
    layer->choice = clq_strdup(choice);
    return layer->shape && layer->choice ? CLQ_OK : CLQ_NO_MEMORY;
}

/* Races one shape's candidates and keeps the outcome at once, so that an interrupted run loses only
 * the shape it was at. */
static clq_status tune_shape(clq_device *device, const work *shape, double seconds, uint64_t seed,
                             clq_tune_layer *layer) {
    clq_race_result result = {0};
    char choice[CLQ_CHOICE_TEXT];
    clq_status status = clq_race(device, shape->family, &shape->geometry, seconds, seed, &result);
    CLQ_TRY(clq_fail_in(status, "%s", shape->key));
    clq_conv_choice_text(result.better ? &result.best : &(clq_conv_choice){0}, choice);
    layer->candidates = result.entrants;
    layer->default_ms = result.default_ms;
    layer->best_ms = result.best_ms;
    CLQ_TRY(fill_layer(shape, choice, layer));
    CLQ_TRY(clq_tuning_set(device, shape->key, choice));
    return clq_tuning_save(device);
}

static bool is_known(const clq_device *device, const work *shape, const clq_tune_options *options) {
    return !options->force && clq_tuning_find(device, shape->key);
}

static clq_status tune_all(clq_device *device, const work_list *list,
                           const clq_tune_options *options, clq_tune_report *report) {
    clq_status status = CLQ_OK;
    clq_progress progress;
    int left = 0;
    double seconds = options->seconds > 0 ? options->seconds : SECONDS;
    for (int i = 0; i < list->count; i++) {
        left += !is_known(device, &list->items[i], options);
    }
    const int total = left;
    clq_progress_begin(&progress, "tune", "shapes", total);
    for (int i = 0; i < list->count; i++) {
        const work *shape = &list->items[i];
        clq_tune_layer *layer = &report->layers[report->layer_count++];
        if (is_known(device, shape, options)) {
            CLQ_GOTO(status, cleanup,
                     fill_layer(shape, clq_tuning_find(device, shape->key), layer));
            continue;
        }
        clq_progress_update(&progress, total - left, "%s", shape->key);
        CLQ_GOTO(status, cleanup, clq_check_stopped());
        CLQ_GOTO(status, cleanup, tune_shape(device, shape, seconds / total, options->seed, layer));
        left--;
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

clq_status clq_tune(clq_device *device, const clq_graph *const *graphs, int graph_count,
                    const clq_tune_options *options, clq_tune_report *report) {
    CLQ_NEEDS(device, options, report);
    *report = (clq_tune_report){0};
    CLQ_REQUIRE(graph_count >= 0 && options->batch_count >= 0, "counts must be 0 or above");
    for (int i = 0; i < graph_count; i++) {
        CLQ_NEEDS(graphs, options->batches);
        CLQ_NEEDS(graphs[i]);
        CLQ_NEEDS_ENDS(graphs[i]);
    }
    clq_status status = CLQ_OK;
    work_list list = {0};
    for (int i = 0; i < graph_count; i++) {
        CLQ_GOTO(status, cleanup, add_model(device, graphs[i], options, &list));
    }
    CLQ_GOTO(status, cleanup, clq_tuning_save(device)); /* fails before much was measured */
    report->layers = clq_calloc((size_t)list.count, sizeof *report->layers);
    if (!report->layers) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, tune_all(device, &list, options, report));
cleanup:
    clq_free(list.items);
    return status;
}

void clq_tune_report_clear(clq_tune_report *report) {
    CLQ_NEEDS_OR(, report);
    for (int i = 0; i < report->layer_count; i++) {
        clq_free(report->layers[i].shape);
        clq_free(report->layers[i].choice);
    }
    clq_free(report->layers);
    *report = (clq_tune_report){0};
}
