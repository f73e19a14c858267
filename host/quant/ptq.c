/* Quantization after training: the passes in their order. What one has set no later one chooses
 * anew. */
#include <clquant/passes.h>

#include "base/arguments.h"
#include "graph/ends.h"
#include "quant/internal.h"
#include "quant/report.h"

/* What is quantized: folded and, where wanted, equalized. */
static clq_status float_network(clq_device *device, const clq_graph *trained, clq_feed *feed,
                                int batch, const clq_quant_config *config,
                                clq_equalization *equalization, clq_graph **real) {
    clq_graph *folded = NULL;
    CLQ_TRY(clq_graph_fold(trained, &folded));
    if (!config->equalize) {
        *real = folded;
        return CLQ_OK;
    }
    const clq_status status =
        clq_equalize(device, folded, feed, batch, config->images, equalization, real);
    clq_graph_destroy(folded);
    return status;
}

clq_status clq_ptq_float(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                         const clq_quant_config *config, clq_graph **real) {
    CLQ_NEEDS(device, trained, feed, config, real);
    CLQ_NEEDS_ENDS(trained);
    clq_equalization equalization = {0};
    CLQ_TRY(clq_quant_config_check(config));
    const clq_status status =
        float_network(device, trained, feed, batch, config, &equalization, real);
    clq_equalization_clear(&equalization);
    return status;
}

clq_status clq_ptq(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                   const clq_quant_config *config, clq_quant_report *report,
                   clq_graph **quantized) {
    CLQ_NEEDS(trained, config, quantized);
    CLQ_NEEDS_ENDS(trained);
    if (!config->encodings || feed || device) {
        CLQ_NEEDS(device, feed);
    }
    clq_status status = CLQ_OK;
    clq_graph *real = NULL, *graph = NULL;
    clq_equalization equalization = {0};
    clq_quant_report own = {0}, *done = report ? report : &own;
    const int64_t images = config->images < CLQ_METHOD_IMAGES ? config->images : CLQ_METHOD_IMAGES;
    *done = (clq_quant_report){0};
    CLQ_TRY(clq_quant_config_check(config));
    if (!feed && (config->equalize || config->adaround > 0 || config->bias_correct)) {
        return clq_fail(CLQ_USAGE, "equalization, AdaRound and bias correction look at images: "
                                   "give --data or --inputs beside the encodings");
    }
    CLQ_GOTO(status, cleanup,
             float_network(device, trained, feed, batch, config, &equalization, &real));
    CLQ_GOTO(status, cleanup, clq_graph_clone(real, &graph));
    CLQ_GOTO(status, cleanup, feed ? clq_feed_seek(feed, 0, 0) : CLQ_OK);
    /* Types, observers, scales of activations, then of weights. */
    CLQ_GOTO(status, cleanup, clq_calibrate(device, graph, feed, batch, config, done));
    done->equalization = equalization;
    equalization = (clq_equalization){0};
    if (config->adaround > 0) {
        CLQ_GOTO(status, cleanup,
                 clq_adaround_weights(device, real, graph, feed, batch, images, config->adaround,
                                      &done->adaround));
    }
    if (config->bias_correct) {
        CLQ_GOTO(
            status, cleanup,
            clq_correct_biases(device, real, graph, feed, batch, images, &done->bias_correction));
    }
    CLQ_GOTO(status, cleanup, clq_quant_record_done(graph, config, done));
    *quantized = graph;
    graph = NULL;
cleanup:
    clq_equalization_clear(&equalization);
    clq_quant_report_clear(&own);
    clq_graph_destroy(real);
    clq_graph_destroy(graph);
    return status;
}
