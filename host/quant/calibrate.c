/* PTQ: the float network runs on calibration images while a kernel observes every activation. */
#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/text.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/layer.h"
#include "ops/quantized_run.h"
#include "ops/self_test.h"
#include "quant/compare.h"
#include "quant/internal.h"
#include "quant/nonfinite.h"
#include "quant/observers/observer.h"
#include "quant/report.h"

typedef struct calibration {
    clq_device *device;
    clq_graph *graph;
    const clq_quant_config *config;
    clq_exec *exec;
    const clq_observer *observer;
    clq_kernel *observe;
    int *groups;   /* (value_count): clq_find_groups */
    bool *sources; /* (value_count): clq_find_sources */
    bool *given;   /* (value_count): has scales by config->encodings */
    int *slots;    /* (value_count): of a source, its place in the histograms */
    int slot_count;
    clq_buffer *ranges;             /* F32 (value_count, 2): the largest -x and x of a batch */
    float *batch_ranges;            /* the same on the host */
    clq_histogram_counter *counter; /* NULL: no histograms are wanted */
    clq_histogram *histograms;      /* (slot_count, 2): used are those of groups' first values */
    clq_observed *seen;             /* (value_count): of a group's first value */
    clq_quant_report *report;       /* NULL: not wanted */
    int64_t batches, images;
    int count; /* images of this batch that are part of the calibration */
} calibration;

/* Takes in a tensor's reals of the batch's valid images. */
static clq_status observe(calibration *c, const clq_tensor *tensor) {
    const int value = clq_table_index(c->graph, tensor);
    const int64_t count = clq_shape_count(&tensor->shape) / tensor->shape.dim[0] * c->count;
    if (!c->sources[value]) {
        return CLQ_OK;
    }
    c->seen[c->groups[value]].count += (double)count;
    CLQ_TRY(CLQ_LAUNCH(c->device, c->observe, clq_observing_range(c->device, count),
                       CLQ_BUF(tensor->buffer), CLQ_BUF(c->ranges), CLQ_I32(value),
                       CLQ_I32(count)));
    return c->counter ? clq_histogram_counter_take(c->counter, c->slots[value], tensor->buffer,
                                                   count, c->ranges, value)
                      : CLQ_OK;
}

static clq_status observe_node(void *context, const clq_op_run *run) {
    return observe(context, &run->out);
}

static clq_status observe_inputs(calibration *c) {
    for (int i = 0; i < c->graph->input_count; i++) {
        CLQ_TRY(observe(c, clq_exec_input_at(c->exec, i)));
    }
    return CLQ_OK;
}

static size_t range_bytes(const calibration *c) {
    return 2 * (size_t)c->graph->value_count * sizeof(float);
}

static clq_status open_histograms(calibration *c) {
    if (!c->observer->histogram) {
        return CLQ_OK;
    }
    c->histograms = clq_calloc(2 * (size_t)c->slot_count, sizeof *c->histograms);
    if (!c->histograms) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < c->graph->value_count; v++) {
        if (c->groups[v] == v) {
            c->seen[v].sides = &c->histograms[2 * c->slots[v]];
        }
    }
    return clq_histogram_counter_create(c->device, c->slot_count, &c->counter);
}

static clq_status find_values(calibration *c) {
    const size_t values = (size_t)c->graph->value_count;
    c->groups = clq_calloc(values, sizeof *c->groups);
    c->sources = clq_calloc(values, sizeof *c->sources);
    c->slots = clq_calloc(values, sizeof *c->slots);
    c->given = clq_calloc(values, sizeof *c->given);
    c->batch_ranges = clq_calloc(2 * values, sizeof *c->batch_ranges);
    c->seen = clq_calloc(values, sizeof *c->seen);
    if (!c->groups || !c->sources || !c->slots || !c->given || !c->batch_ranges || !c->seen) {
        return CLQ_NO_MEMORY;
    }
    clq_find_groups(c->graph, c->groups);
    clq_find_sources(c->graph, c->groups, c->sources);
    for (int v = 0; v < c->graph->value_count; v++) {
        c->slots[v] = c->sources[v] ? c->slot_count++ : -1;
    }
    return CLQ_OK;
}

static clq_status open_calibration(calibration *c, int batch) {
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .batch = batch, .no_fusion = true, .fixed_sums = true};
    c->observer = clq_observer_get(c->config->observer);
    clq_op_self_tests_add();
    CLQ_TRY(clq_kernel_get(c->device, "observe_reals", NULL, &c->observe));
    CLQ_TRY(clq_buffer_create(c->device, range_bytes(c), &c->ranges));
    CLQ_TRY(clq_buffer_fill(c->ranges, 0, range_bytes(c), 0));
    CLQ_TRY(open_histograms(c));
    CLQ_TRY(clq_exec_create(c->device, c->graph, &options, &c->exec));
    clq_exec_set_hook(c->exec, observe_node, c);
    return CLQ_OK;
}

static void close_calibration(calibration *c) {
    clq_exec_destroy(c->exec);
    clq_histogram_counter_destroy(c->counter);
    clq_buffer_release(c->ranges);
    clq_free(c->groups);
    clq_free(c->sources);
    clq_free(c->slots);
    clq_free(c->given);
    clq_free(c->batch_ranges);
    clq_free(c->histograms);
    clq_free(c->seen);
}

/* Takes a batch's range, the largest -x and x, into that of all. */
static void join_range(calibration *c, clq_observed *seen, const float *range) {
    const float weight = c->batches == 0 ? 1.0f : (float)c->config->averaging;
    for (int i = 0; i < 2; i++) {
        seen->range[i] = fmaxf(seen->range[i], range[i]);
        seen->average[i] = seen->average[i] * (1.0f - weight) + range[i] * weight;
    }
}

static clq_status end_batch(calibration *c) {
    const uint32_t *counts = NULL;
    CLQ_TRY(clq_buffer_read(c->ranges, 0, range_bytes(c), c->batch_ranges));
    CLQ_TRY(clq_buffer_fill(c->ranges, 0, range_bytes(c), 0));
    if (c->counter) {
        CLQ_TRY(clq_histogram_counter_read(c->counter, &counts));
    }
    for (int v = 0; v < c->graph->value_count; v++) {
        const float *range = &c->batch_ranges[2 * v];
        for (int i = 0; counts && c->sources[v] && i < 2; i++) {
            clq_histogram_add(&c->histograms[2 * c->slots[c->groups[v]] + i],
                              counts + (size_t)(2 * c->slots[v] + i) * CLQ_BINS,
                              clq_first_bin(range[i]));
        }
    }
    for (int v = c->graph->value_count - 1; v >= 0; v--) { /* a group's first value comes last */
        float *range = &c->batch_ranges[2 * v];
        float *of_group = c->sources[v] ? &c->batch_ranges[2 * c->groups[v]] : range;
        of_group[0] = fmaxf(of_group[0], range[0]);
        of_group[1] = fmaxf(of_group[1], range[1]);
        if (c->groups[v] == v) {
            join_range(c, &c->seen[v], range);
        }
    }
    return CLQ_OK;
}

/* Whether all that was seen of the batch is. */
static bool is_finite(const calibration *c) {
    bool finite = true;
    for (int v = 0; v < c->graph->value_count; v++) {
        finite &=
            c->groups[v] != v || isfinite(c->batch_ranges[2 * v] + c->batch_ranges[2 * v + 1]);
    }
    return finite;
}

/* Weights alone need no images. */
static bool observes(const calibration *c) {
    bool any = false;
    for (int v = 0; v < c->graph->value_count; v++) {
        any |= c->groups[v] >= 0 && !c->given[v];
    }
    return any;
}

/* ---- scales that are given ---- */

/* Without images, all activations' must be. */
static clq_status check_given(const calibration *c) {
    enum { NAMED = 4 };
    clq_text names = {0};
    int missing = 0;
    for (int v = 0; v < c->graph->value_count; v++) {
        if (c->groups[v] >= 0 && !c->given[v] && missing++ < NAMED) {
            clq_text_printf(&names, "%s%s", missing > 1 ? ", " : "", c->graph->values[v].name);
        }
    }
    if (missing > NAMED) {
        clq_text_printf(&names, " and %d more", missing - NAMED);
    }
    clq_status status = clq_text_status(&names);
    if (status == CLQ_OK && missing > 0) {
        status = clq_fail(CLQ_USAGE,
                          "%s: no scale for %d activation%s, %s; images (--data) or arrays "
                          "(--inputs) calibrate these, or --keep-float keeps their nodes float",
                          clq_encodings_path(c->config->encodings), missing, clq_plural(missing),
                          names.data);
    }
    clq_text_free(&names);
    return status;
}

static clq_status take_given(calibration *c, const clq_feed *feed) {
    if (!c->config->encodings) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_encodings_apply(c->config->encodings, c->graph, false, c->given));
    return feed ? CLQ_OK : check_given(c);
}

/* Those of parameters, behind what they would be otherwise; of a copy of the graph too. */
static clq_status take_given_parameters(const calibration *c, clq_graph *graph,
                                        clq_quant_report *report) {
    if (!c->config->encodings) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_encodings_apply(c->config->encodings, graph, true, c->given));
    for (int v = 0; report && v < graph->value_count; v++) {
        report->encoded += c->given[v];
    }
    return clq_encodings_check_used(c->config->encodings);
}

static clq_status run_images(calibration *c, clq_feed *feed) {
    clq_status status = CLQ_OK;
    clq_progress progress;
    const int64_t there = clq_feed_count(feed);
    clq_progress_begin(&progress, "calibrate", clq_feed_unit(feed),
                       c->config->images < there ? c->config->images : there);
    while (observes(c) && c->images < c->config->images) {
        clq_feed_batch batch;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, c->exec, &batch));
        c->count = batch.count;
        if (c->count == 0) {
            break;
        }
        if (c->count > c->config->images - c->images) {
            c->count = (int)(c->config->images - c->images);
        }
        CLQ_GOTO(status, cleanup, observe_inputs(c));
        CLQ_GOTO(status, cleanup, clq_exec_forward(c->exec));
        CLQ_GOTO(status, cleanup, end_batch(c));
        if (!is_finite(c)) {
            CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0)); /* for who tries again */
            CLQ_GOTO(status, cleanup, clq_fail_in_graph(c->graph, clq_name_nonfinite(c->exec)));
        }
        c->batches++;
        c->images += c->count;
        clq_progress_update(&progress, c->images, NULL);
    }
    if (c->images == 0 && observes(c)) {
        status = clq_fail(CLQ_BAD_DATA, "%s: no %s to calibrate with", clq_feed_path(feed),
                          clq_feed_unit(feed));
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

/* An outlier so large that the histogram's bins are too wide for the range that leaves it out. */
static void warn_of_outlier(const clq_value *value, const clq_observed *seen,
                            const float range[2]) {
    enum { CODES = 512 }; /* cells of codes within the range, about */
    for (int i = 0; seen->sides && i < 2; i++) {
        const clq_histogram *h = &seen->sides[i];
        if (range[i] > 0 && h->count[0] > 0 && clq_histogram_edge(h, 1) > range[i] / CODES &&
            h->first > 0) {
            clq_log_warn("%s: its largest magnitude, %g, is too far from the others for the "
                         "histogram: the range %g is coarse",
                         value->name, (double)seen->range[i], (double)range[i]);
        }
    }
}

/* The range of a group by an observer. */
static clq_status find_range(const calibration *c, const clq_observer *observer,
                             const clq_value *value, const clq_observed *seen, float range[2]) {
    const clq_qtype_info *type = clq_qtype_get(value->q.type);
    const clq_code_rule rule = {.symmetric = c->config->symmetric_activations,
                                .max_shift = clq_scale_shift(c->config),
                                .lowest = type->lowest,
                                .highest = type->highest,
                                .percentile = c->config->percentile};
    if (!isfinite(seen->range[0] + seen->range[1])) {
        memcpy(range, seen->range, sizeof seen->range); /* clq_activation_qparams refuses it */
        return CLQ_OK;
    }
    CLQ_TRY(observer->finish(seen, &rule, range));
    warn_of_outlier(value, seen, range);
    return CLQ_OK;
}

/* Scales and zero points of c->graph, or a copy of it, by an observer. */
static clq_status set_qparams(const calibration *c, clq_observer_kind kind, clq_graph *graph,
                              clq_quant_report *report) {
    clq_quant_config config = *c->config;
    config.observer = kind;
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        const int group = c->groups[v];
        float range[2], scale = 1;
        int32_t zero_point = 0;
        if (group < 0 || c->given[v]) {
            continue;
        }
        const clq_qtype type = value->q.type;
        if (group != v && graph->values[group].q.type == type) { /* it comes before */
            const clq_qparams *q = &graph->values[group].q;
            CLQ_TRY(clq_qparams_set(&value->q, 1, q->scale, q->zero_point, q->type));
            continue;
        }
        const clq_qtype_info *codes = clq_qtype_get(type);
        CLQ_TRY(find_range(c, clq_observer_get(kind), value, &c->seen[group], range));
        CLQ_TRY(clq_activation_qparams(&config, value->name, -range[0], range[1], type, &scale,
                                       &zero_point));
        CLQ_TRY(clq_qparams_set(&value->q, 1, &scale, zero_point, type));
        const float exact = clq_range_scale(range[0], range[1], codes->lowest, codes->highest,
                                            config.symmetric_activations, CLQ_ANY_SCALE);
        CLQ_TRY(clq_report_scale(report, &config, value, exact, scale));
    }
    CLQ_TRY(clq_set_weight_qparams(&config, graph, NULL, report));
    CLQ_TRY(clq_set_constant_qparams(&config, graph, report));
    CLQ_TRY(take_given_parameters(c, graph, report));
    return clq_quant_record(graph, &config, "ptq", c->images);
}

/* ---- all observers ---- */

/* Integer networks by observers that have one. */
typedef struct trials {
    clq_graph *graphs[CLQ_OBSERVER_ALL];
    clq_exec *execs[CLQ_OBSERVER_ALL];
    clq_tried_observer tried[CLQ_OBSERVER_ALL];
    int count;
} trials;

static clq_status add_trial(const calibration *c, clq_observer_kind kind, trials *t) {
    const clq_exec_options options = {.mode = CLQ_EXEC_INT8,
                                      .batch = clq_exec_get_options(c->exec)->batch};
    clq_graph *graph = NULL;
    CLQ_TRY(clq_graph_clone(c->graph, &graph));
    clq_status status = set_qparams(c, kind, graph, NULL);
    if (status == CLQ_OK) {
        status = clq_convert(graph, &t->graphs[t->count]);
    }
    clq_graph_destroy(graph);
    CLQ_TRY(status);
    CLQ_TRY(clq_exec_create(c->device, t->graphs[t->count], &options, &t->execs[t->count]));
    t->tried[t->count++].observer = kind;
    return CLQ_OK;
}

static void end_trials(trials *t) {
    for (int i = 0; i < CLQ_OBSERVER_ALL; i++) {
        clq_exec_destroy(t->execs[i]);
        clq_graph_destroy(t->graphs[i]);
    }
}

static bool is_better(const clq_tried_observer *a, const clq_tried_observer *b) {
    if (a->top1 != b->top1 && !isnan(a->top1)) {
        return a->top1 > b->top1;
    }
    return a->error < b->error;
}

/* Runs what calibrated through the float network and all integer ones, and finds the best. */
static clq_status compare_trials(const calibration *c, clq_feed *feed, trials *t,
                                 clq_observer_kind *best) {
    clq_compared compared[1 + CLQ_OBSERVER_ALL];
    const int outputs = c->graph->output_count;
    const clq_tried_observer *first = &t->tried[0];
    int64_t done;
    clq_exec_set_hook(c->exec, NULL, NULL);
    CLQ_TRY(clq_compare_networks(c->exec, t->execs, t->count, feed, c->images, "try observers",
                                 compared, &done));
    for (int i = 0; i < t->count; i++) {
        clq_tried_observer *tried = &t->tried[i];
        tried->top1 = compared[1 + i].top1;
        for (int o = 0; o < outputs; o++) {
            tried->error += compared[1 + i].errors[o] / outputs;
        }
        first = is_better(tried, first) ? tried : first;
    }
    *best = first->observer;
    if (c->report) {
        c->report->tried_count = t->count;
        c->report->fp32_top1 = compared[0].top1;
        memcpy(c->report->tried, t->tried, sizeof t->tried);
    }
    return CLQ_OK;
}

static clq_status try_observers(const calibration *c, clq_feed *feed, clq_observer_kind *best) {
    clq_status status = CLQ_OK;
    trials t = {0};
    for (int kind = 0; kind < CLQ_OBSERVER_ALL; kind++) {
        status = add_trial(c, (clq_observer_kind)kind, &t);
        if (status == CLQ_BAD_DATA && (t.count > 0 || kind + 1 < CLQ_OBSERVER_ALL)) {
            clq_log_warn("observer %s is left out: %s",
                         clq_observer_text((clq_observer_kind)kind, c->config->percentile,
                                           (char[CLQ_OBSERVER_TEXT]){0}),
                         clq_last_error());
            status = CLQ_OK;
        }
        CLQ_GOTO(status, cleanup, status);
    }
    status = compare_trials(c, feed, &t, best);
cleanup:
    end_trials(&t);
    return status;
}

static clq_status choose_scales(calibration *c, clq_feed *feed) {
    clq_observer_kind kind = c->config->observer;
    if (kind == CLQ_OBSERVER_ALL && observes(c)) {
        CLQ_TRY(try_observers(c, feed, &kind));
    }
    if (c->report) {
        c->report->observer = kind;
    }
    return clq_fail_in_graph(c->graph, set_qparams(c, kind, c->graph, c->report));
}

static bool is_border(const clq_graph *graph, int node) {
    return node >= 0 && (graph->nodes[node].op == &clq_op_quantize ||
                         graph->nodes[node].op == &clq_op_dequantize);
}

/* A layer's weights, or what it reads or makes. */
static clq_status check_layers(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (clq_is_layer(node) &&
            (clq_node_on_codes(graph, node) || clq_is_weight_only(graph, node) ||
             is_border(graph, graph->values[node->inputs[CLQ_LAYER_X]].producer))) {
            return CLQ_OK;
        }
    }
    return clq_fail(CLQ_USAGE, "%s: has no convolution and no linear layer that is to be quantized",
                    clq_graph_called(graph));
}

static void tell_single_scales(const clq_quant_config *config, const clq_graph *graph) {
    for (int n = 0; n < graph->node_count && !config->per_tensor_weights; n++) {
        const clq_node *node = &graph->nodes[n];
        if (clq_is_layer(node) && graph->values[node->inputs[CLQ_LAYER_W]].q.count > 0 &&
            clq_takes_one_scale(graph, node)) {
            clq_log_info("%s: its weights get one scale, as files have none for each channel of a "
                         "transposed convolution in groups",
                         node->name);
        }
    }
}

clq_status clq_calibrate(clq_device *device, clq_graph *folded, clq_feed *feed, int batch,
                         const clq_quant_config *config, clq_quant_report *report) {
    if (report) {
        *report = (clq_quant_report){0};
    }
    CLQ_NEEDS(folded, config);
    if (!config->encodings || feed || device) {
        CLQ_NEEDS(device, feed);
    }
    CLQ_NEEDS_ENDS(folded);
    clq_status status = CLQ_OK;
    calibration c = {.device = device, .config = config, .report = report};
    CLQ_TRY(clq_quant_config_check(config));
    if (clq_graph_form(folded) == CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE, "%s: is an integer network already", clq_graph_called(folded));
    }
    CLQ_GOTO(status, cleanup, clq_assign_types(&config->policy, folded, &c.graph));
    CLQ_GOTO(status, cleanup, check_layers(c.graph));
    tell_single_scales(config, c.graph);
    CLQ_GOTO(status, cleanup, find_values(&c));
    CLQ_GOTO(status, cleanup, take_given(&c, feed));
    if (feed) {
        CLQ_GOTO(status, cleanup, open_calibration(&c, batch));
        CLQ_GOTO(status, cleanup, run_images(&c, feed));
    }
    CLQ_GOTO(status, cleanup, choose_scales(&c, feed));
    if (report) {
        report->images = c.images;
        report->unit = feed ? clq_feed_unit(feed) : "images";
    }
cleanup:
    close_calibration(&c);
    if (status == CLQ_OK) { /* the caller's graph becomes the quantized one */
        const clq_graph old = *folded;
        *folded = *c.graph;
        *c.graph = old;
    }
    clq_graph_destroy(c.graph);
    return status;
}
