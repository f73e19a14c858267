/* Bias correction (Nagel et al. 2019, arXiv 1906.04721, section 4.2), by data: a layer's rounded
 * weights and inputs shift the mean of what it makes; its bias takes that back. Layer after layer,
 * so that each sees what those before it make now. */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "base/progress.h"
#include "base/text.h"
#include "quant/internal.h"
#include "quant/replay.h"

/* Sums over all pixels of all images, in double and in one order. */
typedef struct moments {
    double *sum, *squares; /* (channels) */
    size_t channels, size; /* of one image */
    int64_t count;         /* pixels */
} moments;

static clq_status add(void *context, const float *y, int64_t first, int count) {
    moments *m = context;
    const size_t total = (size_t)count * m->size;
    (void)first;
    for (size_t i = 0; i < total; i += m->channels) {
        for (size_t c = 0; c < m->channels; c++) {
            m->sum[c] += y[i + c];
            m->squares[c] += (double)y[i + c] * y[i + c];
        }
    }
    m->count += (int64_t)(total / m->channels);
    return CLQ_OK;
}

static clq_status measure(clq_replay *replay, int n, moments *m) {
    const clq_shape *shape = &replay->graph->values[replay->graph->nodes[n].output].shape;
    *m = (moments){.channels = (size_t)shape->dim[shape->rank - 1],
                   .size = (size_t)clq_shape_count(shape)};
    m->sum = clq_calloc(m->channels, sizeof *m->sum);
    m->squares = clq_calloc(m->channels, sizeof *m->squares);
    if (!m->sum || !m->squares) {
        return CLQ_NO_MEMORY;
    }
    return clq_replay_run(replay, n, CLQ_REPLAY_SUMS, replay->images, add, m);
}

static void clear(moments *m) {
    clq_free(m->sum);
    clq_free(m->squares);
}

static clq_status ensure_bias(clq_graph *graph, clq_node *node) {
    const int64_t channels = graph->values[node->inputs[CLQ_LAYER_W]].shape.dim[0];
    if (clq_layer_bias(graph, node)) {
        return CLQ_OK;
    }
    char *name = clq_format("%s.bias", node->name);
    for (int i = 2; name && clq_graph_find_value(graph, name) >= 0; i++) {
        clq_free(name);
        name = clq_format("%s.bias_%d", node->name, i);
    }
    const clq_status status = name ? clq_graph_add_parameter(graph, name, CLQ_VALUE_PARAMETER,
                                                             CLQ_F32, (clq_shape){1, {channels}},
                                                             NULL, &node->inputs[CLQ_LAYER_BIAS])
                                   : CLQ_NO_MEMORY;
    clq_free(name);
    if (status == CLQ_OK) {
        node->input_count = CLQ_LAYER_BIAS + 1;
    }
    return status;
}

/* Moves the layer's bias by the difference of the means. `share`: its size beside what the layer
 * makes, as root mean squares. */
static clq_status correct(clq_graph *graph, clq_node *node, const moments *real,
                          const moments *quantized, double *share) {
    double shift = 0, size = 0;
    CLQ_TRY(ensure_bias(graph, node));
    float *bias = clq_layer_bias(graph, node)->data;
    for (size_t c = 0; c < real->channels; c++) {
        const double mean = real->sum[c] / (double)real->count;
        const double d = mean - quantized->sum[c] / (double)quantized->count;
        if (!isfinite(d)) {
            return clq_fail(CLQ_BAD_DATA, "node %s: channel %zu is not finite", node->name, c);
        }
        bias[c] = (float)(bias[c] + d);
        shift += d * d;
        size += real->squares[c] / (double)real->count;
    }
    *share = size > 0 ? sqrt(shift / size) : 0;
    return CLQ_OK;
}

static clq_status correct_layer(clq_replay *real, clq_replay *quantized, clq_graph *graph, int n,
                                double *share) {
    clq_node *node = &graph->nodes[n];
    const int twin = clq_graph_find_node(real->graph, node->name);
    moments of_real = {0}, of_quantized = {0};
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, clq_replay_advance(real, twin));
    CLQ_GOTO(status, cleanup, clq_replay_advance(quantized, n));
    CLQ_GOTO(status, cleanup, measure(real, twin, &of_real));
    CLQ_GOTO(status, cleanup, measure(quantized, n, &of_quantized));
    status = correct(graph, node, &of_real, &of_quantized, share);
cleanup:
    clear(&of_real);
    clear(&of_quantized);
    return status;
}

clq_status clq_correct_biases(clq_device *device, const clq_graph *real, clq_graph *quantized,
                              clq_feed *feed, int batch, int64_t images,
                              clq_bias_correction *report) {
    clq_replay of_real, of_quantized;
    clq_status status = CLQ_OK;
    clq_progress progress;
    clq_replay_init(&of_real, device, real, feed, batch, images);
    clq_replay_init(&of_quantized, device, quantized, feed, batch, images);
    clq_progress_begin(&progress, "correct biases", "layers",
                       clq_count_quantized_layers(quantized));
    *report = (clq_bias_correction){.images = of_real.images};
    for (int n = 0; n < quantized->node_count; n++) {
        double share = 0;
        if (!clq_is_quantized_layer(quantized, n)) {
            continue;
        }
        CLQ_GOTO(status, cleanup, correct_layer(&of_real, &of_quantized, quantized, n, &share));
        report->layers++;
        report->mean += share;
        if (share > report->largest) {
            report->largest = share;
            clq_snprintf(report->worst, sizeof report->worst, "%s", quantized->nodes[n].name);
        }
        clq_progress_update(&progress, report->layers, NULL);
    }
    report->mean /= report->layers > 0 ? report->layers : 1;
cleanup:
    clq_progress_end(&progress);
    clq_replay_clear(&of_real);
    clq_replay_clear(&of_quantized);
    return status;
}
