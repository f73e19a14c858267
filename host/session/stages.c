/* Evaluating and quantizing a network on data that is open. */
#include "session/stages.h"

#include "base/log.h"
#include "session/data.h"
#include "session/session.h"

void clq_tell_logits(const clq_graph *graph) {
    const int output = clq_graph_output(graph);
    if (clq_graph_logits(graph) != output) {
        const clq_node *node = &graph->nodes[graph->values[output].producer];
        clq_log_info("the network ends in a %s, node %s: losses are of the logits that it reads",
                     node->op->name, node->name);
    }
}

/* Either the data set or the arrays. */
static clq_status evaluate(clq_device *device, clq_graph *graph, bool consumed,
                           clq_dataset *dataset, clq_arrays *arrays, int64_t limit, int batch,
                           const char *label, clq_evaluation *evaluation, float *logits) {
    clq_status status = CLQ_OK;
    clq_graph *folded = NULL;
    clq_exec *exec = NULL;
    clq_feed *feed = NULL;
    const int64_t samples = arrays ? clq_arrays_rows(arrays) : clq_dataset_get_info(dataset)->count;
    const clq_exec_options options = {.batch = batch,
                                      .consumed = consumed ? graph : NULL,
                                      .logits = true,
                                      .expected_runs = (uint64_t)(samples / batch)};
    CLQ_GOTO(status, cleanup, clq_inference_open(device, graph, &options, &folded, &exec));
    CLQ_GOTO(status, cleanup,
             arrays ? clq_feed_create_arrays(clq_exec_graph(exec), arrays, batch, limit, &feed)
                    : clq_data_feed(device, clq_exec_graph(exec), dataset, batch, &feed));
    CLQ_GOTO(status, cleanup, clq_evaluate(exec, feed, label, evaluation, logits));
cleanup:
    clq_feed_destroy(feed);
    clq_exec_destroy(exec);
    clq_graph_destroy(folded);
    return status;
}

clq_status clq_stage_evaluate_arrays(clq_device *device, clq_graph *graph, clq_arrays *arrays,
                                     int64_t limit, int batch, clq_evaluation *evaluation) {
    const int64_t rows = clq_arrays_rows(arrays);
    batch = batch ? batch : clq_eval_batch(graph, limit > 0 && limit < rows ? limit : rows);
    return evaluate(device, graph, true, NULL, arrays, limit, batch, "eval", evaluation, NULL);
}

clq_status clq_stage_evaluate(clq_device *device, clq_graph *graph, bool consumed,
                              clq_dataset *dataset, int batch, const char *label,
                              clq_evaluation *evaluation, float *logits) {
    batch = batch ? batch : clq_eval_batch(graph, clq_dataset_get_info(dataset)->count);
    return evaluate(device, graph, consumed, dataset, NULL, 0, batch, label, evaluation, logits);
}

clq_status clq_calibration_images(const clq_data_source *source, const clq_quant_config *config,
                                  clq_graph *graph, clq_dataset **train) {
    if (config->observer == CLQ_OBSERVER_ALL) {
        clq_data_source labelled = *source;
        labelled.any_classes = false;
        if (clq_data_open(&labelled, graph, CLQ_SPLIT_TRAIN, 0, train) == CLQ_OK) {
            return CLQ_OK;
        }
        clq_log_info("observers are compared by outputs, not by accuracy: %s", clq_last_error());
    }
    CLQ_TRY(clq_data_open(source, graph, CLQ_SPLIT_TRAIN, 0, train));
    clq_dataset_forget_labels(*train);
    return CLQ_OK;
}

/* Shuffled training images, as many as there are or calibrate. */
static clq_status calibration_feed(clq_device *device, const clq_graph *trained, clq_dataset *train,
                                   const clq_quant_config *config, uint64_t seed, int *batch,
                                   clq_feed **feed) {
    const int64_t available = clq_dataset_get_info(train)->count;
    const int64_t images = config->images < available ? config->images : available;
    clq_feed_options options;
    CLQ_TRY(clq_inference_options(trained, train, clq_eval_batch(trained, images), &options));
    options.shuffle = true;
    options.seed = seed;
    *batch = options.batch;
    return clq_feed_create(device, train, &options, feed);
}

clq_status clq_calibration_open(clq_device *device, const clq_graph *trained, clq_dataset *train,
                                clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                                int *batch, clq_feed **feed) {
    if (!arrays) {
        return calibration_feed(device, trained, train, config, seed, batch, feed);
    }
    *batch = clq_eval_batch(trained, clq_arrays_rows(arrays));
    return clq_feed_create_arrays(trained, arrays, *batch, config->images, feed);
}

clq_status clq_stage_float(clq_device *device, const clq_graph *trained, clq_dataset *train,
                           clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                           clq_graph **real) {
    int batch = 1;
    clq_feed *feed = NULL;
    CLQ_TRY(clq_calibration_open(device, trained, train, arrays, config, seed, &batch, &feed));
    const clq_status status = clq_ptq_float(device, trained, feed, batch, config, real);
    clq_feed_destroy(feed);
    return status;
}

clq_status clq_stage_quantize(clq_device *device, const clq_graph *trained, clq_dataset *train,
                              clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                              clq_quant_report *report, clq_graph **quantized) {
    int batch = 1;
    clq_feed *feed = NULL;
    CLQ_TRY(clq_calibration_open(device, trained, train, arrays, config, seed, &batch, &feed));
    const clq_status status = clq_ptq(device, trained, feed, batch, config, report, quantized);
    clq_feed_destroy(feed);
    return status;
}

clq_status clq_stage_ptq_arrays(clq_device *device, const clq_graph *trained, clq_arrays *arrays,
                                const clq_quant_config *config, clq_quant_report *report,
                                clq_graph **integer) {
    clq_graph *quantized = NULL;
    CLQ_TRY(clq_stage_quantize(device, trained, NULL, arrays, config, 0, report, &quantized));
    const clq_status status = clq_convert(quantized, integer);
    clq_graph_destroy(quantized);
    return status;
}

clq_status clq_stage_ptq(clq_device *device, const clq_graph *trained, clq_dataset *train,
                         const clq_quant_config *config, uint64_t seed, clq_quant_report *report,
                         clq_graph **quantized, clq_graph **integer) {
    clq_graph *graph = NULL;
    CLQ_TRY(clq_stage_quantize(device, trained, train, NULL, config, seed, report, &graph));
    const clq_status status = clq_convert(graph, integer);
    if (status == CLQ_OK && quantized) {
        *quantized = graph;
    } else {
        clq_graph_destroy(graph);
    }
    return status;
}

clq_status clq_stage_ptq_encodings(const clq_graph *trained, const clq_quant_config *config,
                                   clq_quant_report *report, clq_graph **integer) {
    clq_graph *typed = NULL;
    CLQ_TRY(clq_ptq(NULL, trained, NULL, 1, config, report, &typed));
    const clq_status status = clq_convert(typed, integer);
    clq_graph_destroy(typed);
    return status;
}
