/* The steps that sessions and commands are made of: evaluating and quantizing on data that is open.
 */
#ifndef CLQUANT_SESSION_STAGES_H
#define CLQUANT_SESSION_STAGES_H

#include <clquant/quant.h>

#include "session/data.h"

/* The same on arrays with labels, up to `limit` of them spread evenly (0: all); `batch` 0: chosen.
 * An integer graph cannot be run again. */
clq_status clq_stage_evaluate_arrays(clq_device *device, clq_graph *graph, clq_arrays *arrays,
                                     int64_t limit, int batch, clq_evaluation *evaluation);
/* Opens what PTQ calibrates with: with labels only where they are wanted, to choose an observer by,
 * and fit the network. source->any_classes is set. */
clq_status clq_calibration_images(const clq_data_source *source, const clq_quant_config *config,
                                  clq_graph *graph, clq_dataset **train);
/* What calibrates: shuffled training images, or of arrays, where they are given, rows spread
 * evenly. */
clq_status clq_calibration_open(clq_device *device, const clq_graph *trained, clq_dataset *train,
                                clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                                int *batch, clq_feed **feed);
/* The quantized form of `trained`, calibrated so. `report` may be NULL. */
clq_status clq_stage_quantize(clq_device *device, const clq_graph *trained, clq_dataset *train,
                              clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                              clq_quant_report *report, clq_graph **quantized);

/* Tells where losses are not of the network's output, but of the logits before a final softmax. */
void clq_tell_logits(const clq_graph *graph);

/* Evaluates a graph of any form, `batch` images at once (0: clq_eval_batch); `logits` as in
 * clq_evaluate. An integer graph that is `consumed` cannot be run again. */
clq_status clq_stage_evaluate(clq_device *device, clq_graph *graph, bool consumed,
                              clq_dataset *dataset, int batch, const char *label,
                              clq_evaluation *evaluation, float *logits);
/* The float network that the two below quantize, from the same images or arrays (the other NULL):
 * folded, and equalized where config says so. */
clq_status clq_stage_float(clq_device *device, const clq_graph *trained, clq_dataset *train,
                           clq_arrays *arrays, const clq_quant_config *config, uint64_t seed,
                           clq_graph **real);
/* Folds, calibrates on the training split, converts. `report` and `quantized` (the calibrated form)
 * may be NULL. */
clq_status clq_stage_ptq(clq_device *device, const clq_graph *trained, clq_dataset *train,
                         const clq_quant_config *config, uint64_t seed, clq_quant_report *report,
                         clq_graph **quantized, clq_graph **integer);
/* The same on arrays, of which config->images rows, spread evenly, calibrate. */
clq_status clq_stage_ptq_arrays(clq_device *device, const clq_graph *trained, clq_arrays *arrays,
                                const clq_quant_config *config, clq_quant_report *report,
                                clq_graph **integer);
/* The same without data: config->encodings says all. */
clq_status clq_stage_ptq_encodings(const clq_graph *trained, const clq_quant_config *config,
                                   clq_quant_report *report, clq_graph **integer);

#endif
