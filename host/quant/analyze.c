/* Which layer loses accuracy. All networks see the same samples:
 *
 *   the ladder      float, folded, parameters rounded, simulated, integer
 *   side by side    float and simulated, value by value: how errors pile up
 *   for each layer  the float network with it alone rounded, and the integer one without it */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/passes.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "ops/layer.h"
#include "quant/analyze.h"

const char *const clq_ladder_names[CLQ_LADDER_STAGES] = {"fp32", "folded", "weights", "simulated",
                                                         "integer"};

typedef struct analyzer {
    clq_device *device;
    clq_analysis *analysis;
    clq_analysis_graphs graphs;
    clq_samples samples;
    int *values;  /* (layer_count): of the real network, what the layer makes */
    bool *right;  /* (samples): what the integer network predicts right */
    float *x, *y; /* one batch of the largest activation */
    int count;    /* samples of this batch */
    clq_progress progress;
    int64_t done;
} analyzer;

static size_t value_size(const clq_graph *graph, int value) {
    return (size_t)clq_shape_count(&graph->values[value].shape);
}

/* ---- the table of layers ---- */

static const clq_score unknown_score = {NAN, NAN, NAN, -1, -1, -1, NAN};

static clq_status add_layer(analyzer *a, const char *name, const char *op, int value,
                            clq_analysis_layer **layer) {
    clq_analysis *analysis = a->analysis;
    *layer = &analysis->layers[analysis->layer_count];
    **layer = (clq_analysis_layer){.name = clq_strdup(name),
                                   .op = op,
                                   .place = analysis->layer_count,
                                   .sqnr_db = INFINITY,
                                   .cosine = 1,
                                   .sqnr_accumulated_db = INFINITY,
                                   .cosine_accumulated = 1,
                                   .code_least = NAN,
                                   .code_most = NAN,
                                   .only = unknown_score,
                                   .without = unknown_score,
                                   .fp32_ms = NAN,
                                   .int8_ms = NAN};
    a->values[analysis->layer_count++] = value;
    return (*layer)->name ? CLQ_OK : CLQ_NO_MEMORY;
}

static void set_codes(clq_analysis_layer *layer, const clq_qparams *q) {
    if (q) {
        const clq_qtype_info *type = clq_qtype_get(q->type);
        layer->code_least = (double)q->scale[0] * (type->lowest - q->zero_point);
        layer->code_most = (double)q->scale[0] * (type->highest - q->zero_point);
    }
}

static int64_t parameter_bytes(const clq_graph *graph, const clq_node *node) {
    int64_t bytes = 0;
    for (int k = 0; k < node->input_count; k++) {
        const clq_value *value =
            node->inputs[k] == CLQ_NO_VALUE ? NULL : &graph->values[node->inputs[k]];
        if (value && clq_is_constant(value)) {
            bytes += clq_dtype_bytes(value->dtype, clq_shape_count(&value->shape));
        }
    }
    return bytes;
}

/* Quantized inputs, then in order all layers and whatever else quantization changes. */
static clq_status list_layers(analyzer *a) {
    const clq_analysis_graphs *g = &a->graphs;
    const clq_graph *real = g->real;
    const size_t most = (size_t)real->input_count + (size_t)real->node_count;
    clq_analysis_layer *layer;
    a->analysis->layers = clq_calloc(most, sizeof *a->analysis->layers);
    a->values = clq_calloc(most, sizeof *a->values);
    if (!a->analysis->layers || !a->values) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < real->input_count; i++) {
        const clq_qparams *q = clq_analysis_codes(g, real->inputs[i]);
        if (q) {
            CLQ_TRY(add_layer(a, clq_graph_input_name(real, i), "input", real->inputs[i], &layer));
            snprintf(layer->type, sizeof layer->type, "%s", clq_qtype_get(q->type)->name);
            set_codes(layer, q);
        }
    }
    for (int n = 0; n < real->node_count; n++) {
        const clq_node *node = &real->nodes[n];
        const bool quantized = clq_analysis_is_quantized(g, n);
        if (quantized || clq_is_layer(node)) {
            CLQ_TRY(add_layer(a, node->name, node->op->name, node->output, &layer));
            layer->has_weights = clq_is_layer(node);
            layer->is_float = !quantized;
            layer->bytes = parameter_bytes(g->integer, &g->integer->nodes[g->nodes[n]]);
            clq_analysis_type(g, n, layer->type, sizeof layer->type);
            set_codes(layer, clq_analysis_codes(g, node->output));
        }
    }
    return CLQ_OK;
}

static clq_status take_memory(analyzer *a) {
    const clq_graph *real = a->graphs.real;
    size_t largest = 1;
    for (int v = 0; v < real->value_count; v++) {
        if (!clq_is_constant(&real->values[v]) && value_size(real, v) > largest) {
            largest = value_size(real, v);
        }
    }
    a->x = clq_calloc(largest * (size_t)a->samples.batch, sizeof *a->x);
    a->y = clq_calloc(largest * (size_t)a->samples.batch, sizeof *a->y);
    a->right = clq_calloc((size_t)a->samples.count, sizeof *a->right);
    return a->x && a->y && a->right ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_exec_mode mode_of(const clq_graph *graph) {
    return clq_graph_form(graph) == CLQ_FORM_FLOAT ? CLQ_EXEC_FLOAT : CLQ_EXEC_INT8;
}

/* ---- one layer by itself ---- */

typedef struct lone_run {
    analyzer *a;
    clq_lone_graph graph;
    size_t each; /* elements of a sample's output */
    int input;   /* which one it is; -1: none */
    clq_signal signal;
} lone_run;

static clq_status before_lone(void *context, clq_exec *exec, int count) {
    lone_run *l = context;
    l->a->count = count;
    return l->input < 0 ? CLQ_OK
                        : clq_buffer_read(clq_exec_input_at(exec, l->input)->buffer, 0,
                                          (size_t)count * l->each * sizeof(float), l->a->x);
}

static clq_status note_lone(void *context, const clq_op_run *run) {
    lone_run *l = context;
    const size_t elements = (size_t)l->a->count * l->each;
    if (run->node_index == l->graph.twin) {
        return clq_buffer_read(run->out.buffer, 0, elements * sizeof(float), l->a->x);
    }
    if (run->node_index == l->graph.rounded) {
        CLQ_TRY(clq_buffer_read(run->out.buffer, 0, elements * sizeof(float), l->a->y));
        clq_signal_add(&l->signal, l->a->x, l->a->y, elements);
    }
    return CLQ_OK;
}

static clq_status measure_only(analyzer *a, clq_analysis_layer *layer, int value) {
    const clq_graph *real = a->graphs.real;
    lone_run l = {.a = a, .each = value_size(real, value), .input = -1};
    for (int i = 0; i < real->input_count; i++) {
        l.input = real->inputs[i] == value ? i : l.input;
    }
    CLQ_TRY(clq_analysis_quantize_one(&a->graphs, value, &l.graph));
    const clq_samples_run run = {.graph = l.graph.graph,
                                 .mode = clq_graph_form(l.graph.graph) == CLQ_FORM_FLOAT
                                             ? CLQ_EXEC_FLOAT
                                             : CLQ_EXEC_FAKE_QUANT,
                                 .context = &l,
                                 .before = before_lone,
                                 .hook = note_lone};
    const clq_status status =
        clq_samples_score(&a->samples, &run, &a->progress, &a->done, &layer->only);
    clq_graph_destroy(l.graph.graph);
    layer->sqnr_db = clq_signal_sqnr_db(&l.signal);
    layer->cosine = clq_signal_cosine(&l.signal);
    return status;
}

static clq_status measure_without(analyzer *a, clq_analysis_layer *layer, int value) {
    const int node = a->graphs.real->values[value].producer;
    clq_graph *graph = NULL;
    if (node >= 0) {
        CLQ_TRY(clq_analysis_keep_one(&a->graphs, node, &graph));
    }
    if (!graph) {
        a->done += a->samples.count;
        return CLQ_OK;
    }
    const clq_samples_run run = {.graph = graph, .mode = mode_of(graph), .base = a->right};
    const clq_status status =
        clq_samples_score(&a->samples, &run, &a->progress, &a->done, &layer->without);
    clq_graph_destroy(graph);
    return status;
}

static clq_status measure_layers(analyzer *a) {
    for (int i = 0; i < a->analysis->layer_count; i++) {
        clq_analysis_layer *layer = &a->analysis->layers[i];
        if (layer->is_float) { /* nothing to round, nothing to keep */
            layer->only = a->analysis->ladder[CLQ_LADDER_FOLDED];
            layer->without = a->analysis->ladder[CLQ_LADDER_INTEGER];
            continue;
        }
        CLQ_TRY(clq_fail_in(measure_only(a, layer, a->values[i]), "%s", layer->name));
        CLQ_TRY(clq_fail_in(measure_without(a, layer, a->values[i]), "%s", layer->name));
    }
    return CLQ_OK;
}

/* ---- float and simulated network side by side ---- */

typedef struct side_by_side {
    analyzer *a;
    clq_exec *real;
    int *layers;         /* (integer node_count): whose output the node makes; -1: nobody's */
    clq_signal *signals; /* (layer_count) */
    clq_spread_sums *histograms; /* (layer_count) */
} side_by_side;

static clq_status open_side(side_by_side *s) {
    const clq_analysis_graphs *g = &s->a->graphs;
    const clq_analysis *analysis = s->a->analysis;
    const clq_graph *integer = g->integer;
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .batch = s->a->samples.batch, .keep_all = true, .fixed_sums = true};
    s->layers = clq_calloc((size_t)integer->node_count, sizeof *s->layers);
    s->signals = clq_calloc((size_t)analysis->layer_count, sizeof *s->signals);
    s->histograms = clq_calloc((size_t)analysis->layer_count, sizeof *s->histograms);
    if (!s->layers || !s->signals || !s->histograms) {
        return CLQ_NO_MEMORY;
    }
    for (int n = 0; n < integer->node_count; n++) {
        s->layers[n] = -1;
    }
    for (int i = 0; i < analysis->layer_count; i++) {
        const int value = clq_analysis_value(g, s->a->values[i]);
        int maker = integer->values[value].producer;
        for (int n = 0; n < integer->node_count; n++) { /* codes for those who want them */
            if (integer->nodes[n].op == &clq_op_quantize && integer->nodes[n].inputs[0] == value) {
                maker = n;
            }
        }
        if (maker >= 0) {
            s->layers[maker] = i;
        }
        clq_spread_begin(&s->histograms[i], clq_analysis_codes(g, s->a->values[i]));
    }
    return clq_exec_create(s->a->device, g->real, &options, &s->real);
}

static void close_side(side_by_side *s) {
    clq_exec_destroy(s->real);
    clq_free(s->layers);
    clq_free(s->signals);
    clq_free(s->histograms);
}

/* Runs the float network on what the other one is about to see. */
static clq_status before_side(void *context, clq_exec *exec, int count) {
    side_by_side *s = context;
    analyzer *a = s->a;
    const clq_graph *real = a->graphs.real;
    a->count = count;
    for (int i = 0; i < real->input_count; i++) {
        const size_t size = value_size(real, real->inputs[i]) * sizeof(float);
        CLQ_TRY(clq_buffer_copy(clq_exec_input_at(s->real, i)->buffer, 0,
                                clq_exec_input_at(exec, i)->buffer, 0,
                                size * (size_t)a->samples.batch));
    }
    CLQ_TRY(clq_exec_forward(s->real));
    for (int i = 0; i < a->analysis->layer_count; i++) {
        const size_t elements = value_size(real, a->values[i]) * (size_t)count;
        CLQ_TRY(clq_buffer_read(clq_exec_value(s->real, a->values[i])->buffer, 0,
                                elements * sizeof(float), a->x));
        clq_spread_add(&s->histograms[i], a->x, elements);
    }
    return CLQ_OK;
}

static clq_status note_side(void *context, const clq_op_run *run) {
    side_by_side *s = context;
    analyzer *a = s->a;
    const int layer = s->layers[run->node_index];
    if (layer < 0) {
        return CLQ_OK;
    }
    const clq_qparams *q = &run->out.value->q;
    const size_t elements = value_size(a->graphs.real, a->values[layer]) * (size_t)a->count;
    CLQ_TRY(clq_buffer_read(clq_exec_value(s->real, a->values[layer])->buffer, 0,
                            elements * sizeof(float), a->x));
    CLQ_TRY(clq_buffer_read(run->out.buffer, 0, elements * sizeof(float), a->y));
    for (size_t i = 0; i < elements && q->count > 0; i++) {
        a->y[i] *= q->scale[0]; /* they are codes without their zero point */
    }
    clq_signal_add(&s->signals[layer], a->x, a->y, elements);
    return CLQ_OK;
}

static void finish_side(const side_by_side *s) {
    for (int i = 0; i < s->a->analysis->layer_count; i++) {
        clq_analysis_layer *layer = &s->a->analysis->layers[i];
        const clq_spread_sums *sums = &s->histograms[i];
        layer->sqnr_accumulated_db = clq_signal_sqnr_db(&s->signals[i]);
        layer->cosine_accumulated = clq_signal_cosine(&s->signals[i]);
        layer->least = sums->least;
        layer->most = sums->most;
        layer->clipped = isnan(layer->code_least) || sums->seen == 0
                             ? NAN
                             : (double)sums->clipped / (double)sums->seen;
        clq_spread_end(sums, &layer->histogram);
    }
}

static clq_status measure_side(analyzer *a, clq_score *simulated) {
    side_by_side s = {.a = a};
    const clq_samples_run run = {.graph = a->graphs.integer,
                                 .mode = CLQ_EXEC_FAKE_QUANT,
                                 .context = &s,
                                 .before = before_side,
                                 .hook = note_side};
    clq_status status = open_side(&s);
    if (status == CLQ_OK) {
        status = clq_samples_score(&a->samples, &run, &a->progress, &a->done, simulated);
    }
    if (status == CLQ_OK) {
        finish_side(&s);
    }
    close_side(&s);
    return status;
}

/* ---- all ---- */

static clq_status score_float(analyzer *a, const clq_graph *graph, clq_score *out) {
    const clq_samples_run run = {.graph = graph, .mode = CLQ_EXEC_FLOAT};
    return clq_samples_score(&a->samples, &run, &a->progress, &a->done, out);
}

static clq_status measure_ladder(analyzer *a) {
    clq_score *ladder = a->analysis->ladder;
    clq_graph *weights = NULL;
    CLQ_TRY(score_float(a, a->graphs.real, &ladder[CLQ_LADDER_FOLDED]));
    CLQ_TRY(clq_analysis_round_parameters(&a->graphs, &weights));
    const clq_status status = score_float(a, weights, &ladder[CLQ_LADDER_WEIGHTS]);
    clq_graph_destroy(weights);
    CLQ_TRY(status);
    CLQ_TRY(measure_side(a, &ladder[CLQ_LADDER_SIMULATED]));
    const clq_samples_run integer = {
        .graph = a->graphs.integer, .mode = CLQ_EXEC_INT8, .right = a->right};
    return clq_samples_score(&a->samples, &integer, &a->progress, &a->done,
                             &ladder[CLQ_LADDER_INTEGER]);
}

/* What is quantized by itself is not changed by what is before it: an input's errors are its own.
 */
static void finish_inputs(clq_analysis *analysis) {
    for (int i = 0; i < analysis->layer_count; i++) {
        clq_analysis_layer *layer = &analysis->layers[i];
        if (strcmp(layer->op, "input") == 0) {
            layer->sqnr_accumulated_db = layer->sqnr_db;
            layer->cosine_accumulated = layer->cosine;
        }
    }
}

/* The largest error first; one that is no number before all. */
static int compare_layers(const void *x, const void *y) {
    const clq_analysis_layer *a = x, *b = y;
    const double of_a = isnan(a->only.error) ? INFINITY : a->only.error;
    const double of_b = isnan(b->only.error) ? INFINITY : b->only.error;
    return of_a != of_b ? (of_a < of_b) - (of_a > of_b) : a->place - b->place;
}

static clq_status measure(analyzer *a) {
    clq_analysis *analysis = a->analysis;
    int64_t runs = CLQ_LADDER_STAGES - 1;
    CLQ_TRY(list_layers(a));
    CLQ_TRY(take_memory(a));
    for (int i = 0; i < analysis->layer_count; i++) {
        runs += analysis->layers[i].is_float ? 0 : 2;
    }
    clq_progress_begin(&a->progress, "analyze", a->samples.unit, runs * a->samples.count);
    clq_status status = measure_ladder(a);
    if (status == CLQ_OK) {
        status = measure_layers(a);
    }
    clq_progress_end(&a->progress);
    CLQ_TRY(status);
    finish_inputs(analysis);
    if (analysis->layer_count > 0) {
        qsort(analysis->layers, (size_t)analysis->layer_count, sizeof *analysis->layers,
              compare_layers);
    }
    return CLQ_OK;
}

clq_status clq_analyze(clq_device *device, const clq_graph *trained, const clq_graph *real,
                       const clq_graph *integer, clq_feed *feed, int batch, int64_t limit,
                       clq_analysis *analysis) {
    CLQ_NEEDS(device, trained, real, integer, feed, analysis);
    CLQ_NEEDS_ENDS(trained);
    CLQ_NEEDS_ENDS(real);
    CLQ_NEEDS_ENDS(integer);
    CLQ_REQUIRE(batch >= 1, "batch must be at least 1");
    clq_status status = CLQ_OK;
    analyzer a = {.device = device, .analysis = analysis};
    *analysis = (clq_analysis){0};
    if (clq_graph_form(integer) != CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE, "graph %s is not an integer network", integer->name);
    }
    CLQ_GOTO(status, cleanup, clq_analysis_graphs_open(real, integer, &a.graphs));
    CLQ_GOTO(status, cleanup,
             clq_samples_open(device, trained, feed, batch, limit, &a.samples,
                              &analysis->ladder[CLQ_LADDER_FP32]));
    analysis->samples = a.samples.count;
    analysis->unit = a.samples.unit;
    analysis->has_classes = a.samples.predictions != NULL;
    analysis->has_labels = analysis->has_classes && a.samples.labels != NULL;
    CLQ_GOTO(status, cleanup, measure(&a));
cleanup:
    clq_samples_close(&a.samples);
    clq_analysis_graphs_close(&a.graphs);
    clq_free(a.values);
    clq_free(a.right);
    clq_free(a.x);
    clq_free(a.y);
    return status;
}

void clq_analysis_clear(clq_analysis *analysis) {
    if (!analysis) {
        return;
    }
    for (int i = 0; i < analysis->layer_count; i++) {
        clq_free(analysis->layers[i].name);
    }
    clq_free(analysis->layers);
    *analysis = (clq_analysis){0};
}
