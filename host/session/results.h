/* Results of the stages as JSON (docs/json.md). */
#ifndef CLQUANT_SESSION_RESULTS_H
#define CLQUANT_SESSION_RESULTS_H

#include <jansson.h>

#include <clquant/quant.h>

/* What is known of a device without measuring; `device` NULL: it is not open. */
json_t *clq_device_to_json(clq_device *device, const clq_device_info *info);
/* `sources`: where the parts of the preprocessing come from (clq_data_source); NULL: nothing
 * was prepared. `dataset` NULL: arrays. */
json_t *clq_evaluation_to_json(const clq_evaluation *evaluation, const clq_graph *graph,
                               clq_dataset *dataset, const char *const *sources);
/* `data`: what it was made on; NULL: arrays of a program's own. */
json_t *clq_verification_to_json(const clq_verification *verification, const clq_graph *graph,
                                 const char *data, const char *const *sources);
/* CLQ_GATE_FAILED when a code or a dot path's logits differ. */
clq_status clq_verification_gate(const clq_verification *verification);

/* A table's names of the numbers to predict; NULL: it has none. */
char *const *clq_target_names(clq_dataset *dataset);

#endif
