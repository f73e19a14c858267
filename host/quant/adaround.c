/* AdaRound (Nagel et al. 2020, arXiv 2004.10568): layer after layer, weights are rounded up or down
 * as serves the layer's output best, given what it reads in the quantized network so far. */
#include <string.h>

#include "base/log.h"
#include "graph/node.h"
#include "kernels/include/scales.h"
#include "ops/conv/conv_node.h"
#include "quant/adaround_layer.h"
#include "quant/internal.h"
#include "quant/replay.h"

/* On the device, for one layer: what it reads and makes. */
#define LAYER_BYTES ((size_t)256 << 20)
/* Pixels in a mini-batch, at least, where there are so many; and a share of mini-batches that
 * learning does not see. */
enum { PIXELS = 1024, HELD = 8 };

typedef struct walk {
    clq_graph *graph; /* quantized */
    clq_replay real, quantized;
    int iterations;
    clq_progress progress;
    clq_adaround *report;
} walk;

/* ---- a layer's data ---- */

typedef struct gathering {
    clq_buffer **to;
    size_t size; /* of one image */
    int batch, count;
} gathering;

static clq_status gather(void *context, const float *y, int64_t first, int count) {
    const gathering *g = context;
    const size_t bytes = g->size * sizeof *y;
    for (int i = 0; i < count; i++) {
        const int64_t image = first + i;
        if (image / g->batch < g->count) {
            CLQ_TRY(clq_buffer_write(g->to[image / g->batch], (size_t)(image % g->batch) * bytes,
                                     bytes, y + (size_t)i * g->size));
        }
    }
    return CLQ_OK;
}

static clq_status take_buffers(clq_device *device, int count, size_t bytes, clq_buffer ***buffers) {
    *buffers = clq_calloc((size_t)count, sizeof **buffers);
    if (!*buffers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < count; i++) {
        CLQ_TRY(clq_buffer_create(device, bytes, &(*buffers)[i]));
    }
    return CLQ_OK;
}

/* As many whole mini-batches as there are images and room for; at least one, which may be small. */
static clq_status gather_data(walk *w, int n, int twin, clq_rounding *r) {
    const clq_node *node = &w->graph->nodes[n];
    const size_t x = (size_t)clq_shape_count(&w->graph->values[node->inputs[CLQ_LAYER_X]].shape);
    const size_t y = (size_t)clq_shape_count(&w->graph->values[node->output].shape);
    const int64_t room = (int64_t)(LAYER_BYTES / sizeof(float) / (x + y));
    const int64_t pixels = (int64_t)(y / (size_t)r->geometry.oc);
    int64_t images = w->real.images < room ? w->real.images : room > 0 ? room : 1;
    const int64_t wanted = (PIXELS + pixels - 1) / pixels;
    r->geometry.n = (int)(wanted < images ? wanted : images);
    r->count = (int)(images / r->geometry.n);
    r->held = r->count / HELD;
    images = (int64_t)r->count * r->geometry.n;
    const size_t bytes = (size_t)r->geometry.n * sizeof(float);
    CLQ_TRY(take_buffers(r->device, r->count, x * bytes, &r->x));
    CLQ_TRY(take_buffers(r->device, r->count, y * bytes, &r->y));
    gathering of_x = {r->x, x, r->geometry.n, r->count}, of_y = {r->y, y, r->geometry.n, r->count};
    CLQ_TRY(clq_replay_run(&w->quantized, n, CLQ_REPLAY_INPUT, images, gather, &of_x));
    return clq_replay_run(&w->real, twin, CLQ_REPLAY_OUTPUT, images, gather, &of_y);
}

static clq_status open_layer(walk *w, int n, int twin, clq_rounding *r) {
    const clq_node *node = &w->graph->nodes[n];
    const clq_value *weights = &w->graph->values[node->inputs[CLQ_LAYER_W]];
    const clq_value *bias = clq_layer_bias(w->graph, node);
    *r = (clq_rounding){.device = w->real.device,
                        .act = clq_node_act(node),
                        .type = clq_qtype_get(weights->q.type),
                        .w = weights->data,
                        .bias = bias ? bias->data : NULL};
    (void)clq_conv_graph_geometry(w->graph, node, 1, &r->geometry);
    r->k = (size_t)(clq_shape_count(&weights->shape) / r->geometry.oc);
    r->scale = clq_calloc((size_t)r->geometry.oc, sizeof *r->scale);
    if (!r->scale) {
        return CLQ_NO_MEMORY;
    }
    for (int c = 0; c < r->geometry.oc; c++) {
        r->scale[c] = weights->q.scale[weights->q.count == 1 ? 0 : c];
    }
    return gather_data(w, n, twin, r);
}

/* ---- a layer ---- */

static void nearest_codes(const clq_rounding *r, size_t count, float *codes) {
    for (size_t i = 0; i < count; i++) {
        codes[i] = clq_quantize_code(r->w[i], r->scale[i / r->k], 0, (float)r->type->lowest,
                                     (float)r->type->highest);
    }
}

static void put_on_grid(const clq_rounding *r, size_t count, const float *codes, float *w) {
    for (size_t i = 0; i < count; i++) {
        w[i] = r->scale[i / r->k] * codes[i];
    }
}

/* Takes what was learned where it is better than rounding to the nearest. */
static clq_status round_layer(walk *w, int n, clq_rounding *r) {
    clq_value *weights = &w->graph->values[w->graph->nodes[n].inputs[CLQ_LAYER_W]];
    const size_t count = (size_t)r->geometry.oc * r->k;
    clq_adaround *report = w->report;
    double before, after, loss;
    clq_status status = CLQ_NO_MEMORY;
    float *codes = clq_calloc(count, sizeof *codes), *rounded = clq_calloc(count, sizeof *rounded);
    if (!codes || !rounded) {
        goto cleanup;
    }
    nearest_codes(r, count, codes);
    put_on_grid(r, count, codes, rounded);
    CLQ_GOTO(status, cleanup, clq_rounding_error(r, rounded, &before, &r->nearest_loss));
    after = before;
    if (r->nearest_loss > 0) {
        CLQ_GOTO(status, cleanup,
                 clq_rounding_learn(r, w->iterations, &w->progress,
                                    (int64_t)report->layers * w->iterations, codes));
        put_on_grid(r, count, codes, rounded);
        CLQ_GOTO(status, cleanup, clq_rounding_error(r, rounded, &after, &loss));
    }
    clq_log_debug("%s: rounding's error %.4f, was %.4f", w->graph->nodes[n].name, after, before);
    if (!(after < before)) {
        nearest_codes(r, count, codes);
        put_on_grid(r, count, codes, rounded);
        report->nearest++;
        after = before;
    }
    memcpy(weights->data, rounded, count * sizeof *rounded);
    report->layers++;
    report->before += before;
    report->after += after;
cleanup:
    clq_free(codes);
    clq_free(rounded);
    return status;
}

static clq_status walk_layer(walk *w, int n) {
    const int twin = clq_graph_find_node(w->real.graph, w->graph->nodes[n].name);
    clq_rounding r = {0};
    CLQ_TRY(clq_replay_advance(&w->real, twin));
    CLQ_TRY(clq_replay_advance(&w->quantized, n));
    clq_status status = open_layer(w, n, twin, &r);
    if (status == CLQ_OK) {
        status = round_layer(w, n, &r);
    }
    clq_rounding_clear(&r);
    return clq_fail_in(status, "node %s", w->graph->nodes[n].name);
}

clq_status clq_adaround_weights(clq_device *device, const clq_graph *real, clq_graph *quantized,
                                clq_feed *feed, int batch, int64_t images, int iterations,
                                clq_adaround *report) {
    clq_status status = CLQ_OK;
    walk w = {.graph = quantized, .iterations = iterations, .report = report};
    *report = (clq_adaround){0};
    clq_replay_init(&w.real, device, real, feed, batch, images);
    clq_replay_init(&w.quantized, device, quantized, feed, batch, images);
    report->images = w.real.images;
    clq_progress_begin(&w.progress, "adaround", "steps",
                       (int64_t)clq_count_quantized_layers(quantized) * iterations);
    for (int n = 0; n < quantized->node_count; n++) {
        if (clq_is_quantized_layer(quantized, n)) {
            CLQ_GOTO(status, cleanup, walk_layer(&w, n));
        }
    }
    if (report->layers > 0) {
        report->before /= report->layers;
        report->after /= report->layers;
    }
cleanup:
    clq_progress_end(&w.progress);
    clq_replay_clear(&w.real);
    clq_replay_clear(&w.quantized);
    return status;
}
