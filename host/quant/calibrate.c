/* PTQ: the float network runs on calibration images while a kernel observes every activation. */
#include <string.h>

#include "base/arguments.h"
#include "base/progress.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/layer.h"
#include "ops/quantized_run.h"
#include "ops/self_test.h"
#include "quant/internal.h"
#include "quant/observer.h"
#include "quant/report.h"

typedef struct calibration {
    clq_device *device;
    clq_graph *graph;
    const clq_quant_config *config;
    clq_exec *exec;
    const clq_observer *observer;
    clq_kernel *observe;
    int *groups;              /* (value_count): clq_find_groups */
    clq_buffer *states;       /* F32 (value_count, observer->state_floats) */
    float *seen, *kept;       /* the same on the host: of a batch, and of all */
    clq_quant_report *report; /* NULL: not wanted */
    int64_t batches, images;
    int count; /* images of this batch that are part of the calibration */
} calibration;

/* Widens the tensor's range by the batch's valid images. */
static clq_status observe(calibration *c, const clq_tensor *tensor) {
    const int value = clq_table_index(c->graph, tensor);
    const int64_t count = clq_shape_count(&tensor->shape) / tensor->shape.dim[0] * c->count;
    if (c->groups[value] != value) {
        return CLQ_OK;
    }
    return CLQ_LAUNCH(c->device, c->observe, clq_observing_range(c->device, count),
                      CLQ_BUF(tensor->buffer), CLQ_BUF(c->states), CLQ_I32(value), CLQ_I32(count));
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

static size_t state_bytes(const calibration *c) {
    return c->observer->state_floats * (size_t)c->graph->value_count * sizeof(float);
}

static clq_status open_calibration(calibration *c, int batch) {
    const size_t values = (size_t)c->graph->value_count;
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .batch = batch, .no_fusion = true, .fixed_sums = true};
    c->observer = clq_observer_get(c->config->observer);
    c->groups = clq_calloc(values, sizeof *c->groups);
    c->seen = clq_calloc(values * c->observer->state_floats, sizeof *c->seen);
    c->kept = clq_calloc(values * c->observer->state_floats, sizeof *c->kept);
    if (!c->groups || !c->seen || !c->kept) {
        return CLQ_NO_MEMORY;
    }
    clq_op_self_tests_add();
    clq_find_groups(c->graph, c->groups);
    CLQ_TRY(clq_kernel_get(c->device, c->observer->kernel, NULL, &c->observe));
    CLQ_TRY(clq_buffer_create(c->device, state_bytes(c), &c->states));
    CLQ_TRY(clq_buffer_fill(c->states, 0, state_bytes(c), 0));
    CLQ_TRY(clq_exec_create(c->device, c->graph, &options, &c->exec));
    clq_exec_set_hook(c->exec, observe_node, c);
    return CLQ_OK;
}

static void close_calibration(calibration *c) {
    clq_exec_destroy(c->exec);
    clq_buffer_release(c->states);
    clq_free(c->groups);
    clq_free(c->seen);
    clq_free(c->kept);
}

/* Takes what a batch's states saw into what is kept, where observers work by batch. */
static clq_status end_batch(calibration *c) {
    const float weight = c->batches == 0 ? 1.0f : (float)c->config->averaging;
    if (!c->observer->merge) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_read(c->states, 0, state_bytes(c), c->seen));
    CLQ_TRY(clq_buffer_fill(c->states, 0, state_bytes(c), 0));
    for (int v = 0; v < c->graph->value_count; v++) {
        const size_t at = c->observer->state_floats * (size_t)v;
        c->observer->merge(c->kept + at, c->seen + at, weight);
    }
    return CLQ_OK;
}

static clq_status run_images(calibration *c, clq_feed *feed) {
    clq_status status = CLQ_OK;
    clq_progress progress;
    const int64_t there = clq_feed_count(feed);
    clq_progress_begin(&progress, "calibrate", clq_feed_unit(feed),
                       c->config->images < there ? c->config->images : there);
    while (c->images < c->config->images) {
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
        c->batches++;
        c->images += c->count;
        clq_progress_update(&progress, c->images, NULL);
    }
    if (c->images == 0) {
        status = clq_fail(CLQ_BAD_DATA, "no %s to calibrate with", clq_feed_unit(feed));
    }
cleanup:
    clq_progress_end(&progress);
    return status;
}

static clq_status set_qparams(calibration *c) {
    if (!c->observer->merge) {
        CLQ_TRY(clq_buffer_read(c->states, 0, state_bytes(c), c->kept));
    }
    for (int v = 0; v < c->graph->value_count; v++) {
        clq_value *value = &c->graph->values[v];
        const int group = c->groups[v];
        float low, high, scale = 1;
        int32_t zero_point = 0;
        if (group < 0) {
            continue;
        }
        c->observer->finish(c->kept + c->observer->state_floats * (size_t)group, &low, &high);
        const clq_qtype type = value->q.type;
        const clq_qtype_info *codes = clq_qtype_get(type);
        CLQ_TRY(
            clq_activation_qparams(c->config, value->name, -low, high, type, &scale, &zero_point));
        CLQ_TRY(clq_qparams_set(&value->q, 1, &scale, zero_point, type));
        if (group == v) {
            const float exact = clq_range_scale(low, high, codes->lowest, codes->highest,
                                                c->config->symmetric_activations, CLQ_ANY_SCALE);
            CLQ_TRY(clq_report_scale(c->report, c->config, value, exact, scale));
        }
    }
    CLQ_TRY(clq_set_weight_qparams(c->config, c->graph, c->report));
    return clq_quant_record(c->graph, c->config, "ptq", c->images);
}

/* Without weights there is nothing that an integer network could compute with. */
static clq_status check_layers(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        if (clq_is_layer(&graph->nodes[n]) && clq_node_on_codes(graph, &graph->nodes[n])) {
            return CLQ_OK;
        }
    }
    return clq_fail(CLQ_USAGE,
                    "graph %s has no convolution and no linear layer that is to be quantized",
                    graph->name);
}

clq_status clq_calibrate(clq_device *device, clq_graph *folded, clq_feed *feed, int batch,
                         const clq_quant_config *config, clq_quant_report *report) {
    if (report) {
        *report = (clq_quant_report){0};
    }
    CLQ_NEEDS(device, folded, feed, config);
    CLQ_NEEDS_ENDS(folded);
    clq_status status = CLQ_OK;
    calibration c = {.device = device, .config = config, .report = report};
    CLQ_TRY(clq_quant_config_check(config));
    if (clq_graph_form(folded) == CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE, "graph %s is an integer network already", folded->name);
    }
    CLQ_GOTO(status, cleanup, clq_assign_types(&config->policy, folded, &c.graph));
    CLQ_GOTO(status, cleanup, check_layers(c.graph));
    CLQ_GOTO(status, cleanup, open_calibration(&c, batch));
    CLQ_GOTO(status, cleanup, run_images(&c, feed));
    CLQ_GOTO(status, cleanup, set_qparams(&c));
    if (report) {
        report->images = c.images;
        report->unit = clq_feed_unit(feed);
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
