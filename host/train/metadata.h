/* Numbers and names in a network's metadata. */
#ifndef CLQ_TRAIN_METADATA_H
#define CLQ_TRAIN_METADATA_H

#include <clquant/graph.h>

#define CLQ_META_MEAN "clquant.mean"
#define CLQ_META_STD "clquant.std"
#define CLQ_META_FEATURES "clquant.features" /* names of a table's columns, a line each */
#define CLQ_META_TARGETS "clquant.targets"
#define CLQ_META_TARGET_MEAN "clquant.target_mean" /* of a regression */
#define CLQ_META_TARGET_STD "clquant.target_std"

/* The lines of a text, none if it is missing or empty; free with clq_class_names_free. */
clq_status clq_metadata_get_lines(const clq_graph *graph, const char *key, char ***names,
                                  int *count);
/* "0.4914,0.4822,0.4465": with as many digits as a float needs. */
clq_status clq_metadata_set_floats(clq_graph *graph, const char *key, const float *values,
                                   int count);
/* Mean and deviation of the `count` numbers that a regression predicts, as below. */
clq_status clq_metadata_get_targets(const clq_graph *graph, int count, float *mean, float *std,
                                    bool *found);
/* `count` finite means and positive deviations, both or neither (*found false, nothing written). */
clq_status clq_metadata_get_pair(const clq_graph *graph, const char *mean_key, const char *std_key,
                                 int count, float *mean, float *std, bool *found);

#endif
