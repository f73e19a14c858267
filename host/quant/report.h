/* What quantizing did, as it is done, and in words. */
#ifndef CLQUANT_QUANT_REPORT_H
#define CLQUANT_QUANT_REPORT_H

#include <jansson.h>

#include <clquant/quant.h>

/* The words of recipes, options and files, by the config's values. */
extern const char *const clq_scale_names[2], *const clq_activation_names[2],
                                                 *const clq_weight_names[2],
                                                     *const clq_weight_observer_names[2],
                                                         *const clq_learn_names[CLQ_LEARN_COUNT];

/* "percentile:99.9", "mse", ...: as in flags, recipes and files. CLQ_USAGE lists what there is. */
clq_status clq_observer_parse(const char *text, clq_quant_config *config);
enum { CLQ_OBSERVER_TEXT = 40 };
const char *clq_observer_text(clq_observer_kind kind, double percentile,
                              char text[CLQ_OBSERVER_TEXT]);

/* The settings with which a calibrated graph's ranges were found: of all observers the one that was
 * kept, as its metadata says. */
clq_quant_config clq_quant_config_found(const clq_quant_config *config, const clq_graph *graph);

/* Counts a scale that was chosen for `value`; `exact` is what it would be without powers of two.
 * A NULL report keeps nothing. */
clq_status clq_report_scale(clq_quant_report *report, const clq_quant_config *config,
                            const clq_value *value, float exact, float scale);
/* The settings: {"method": "ptq" or "qat", "images": ..., every key of a recipe's section}. */
json_t *clq_quant_config_to_json(const clq_quant_config *config, const char *method,
                                 int64_t images);
/* Keeps them, and clquant's version, as the graph's metadata CLQ_META_QUANTIZATION, beside what was
 * recorded there as done, and the requantizer as metadata of its own. `images` 0: as many as
 * calibration recorded there. */
#define CLQ_META_QUANTIZATION "clquant.quantization"
clq_status clq_quant_record(clq_graph *graph, const clq_quant_config *config, const char *method,
                            int64_t images);
/* What equalization and the like did: an object, empty when nothing of it was asked for. */
json_t *clq_quant_done_to_json(const clq_quant_config *config, const clq_quant_report *report);
/* Adds it to what clq_quant_record kept. */
clq_status clq_quant_record_done(clq_graph *graph, const clq_quant_config *config,
                                 const clq_quant_report *report);

#endif
