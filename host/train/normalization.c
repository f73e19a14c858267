/* How data and a network belong together: shapes, and the normalization of tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/numbers.h"
#include "base/text.h"
#include "graph/ends.h"
#include "train/metadata.h"

/* ---- shapes ---- */

clq_status clq_graph_check_data(const clq_graph *graph, const clq_dataset *dataset) {
    CLQ_NEEDS(graph, dataset);
    CLQ_NEEDS_ENDS(graph);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    char text[64];
    clq_shape_text(input, text, sizeof text);
    if (info->features == 0) {
        return input->rank == 4
                   ? CLQ_OK
                   : clq_fail(CLQ_BAD_DATA, "%s: holds images, but the network's input is %s",
                              info->path, text);
    }
    if (input->rank != 2 || input->dim[1] != info->features) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: is a table of %d features, but the network's input is %s", info->path,
                        info->features, text);
    }
    const int64_t outputs = output->rank == 2 ? output->dim[1] : 0;
    if (info->targets > 0 && outputs != info->targets) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: has %d regression targets, but the network has %lld outputs",
                        info->path, info->targets, (long long)outputs);
    }
    if (outputs < info->class_count) {
        return clq_fail(CLQ_BAD_DATA, "%s: has %d classes, but the network has %lld outputs",
                        info->path, info->class_count, (long long)outputs);
    }
    return CLQ_OK;
}

/* ---- metadata ---- */

/* "0.4914,0.4822,0.4465": with as many digits as a float needs. */
clq_status clq_metadata_set_floats(clq_graph *graph, const char *key, const float *values,
                                   int count) {
    clq_text text = {0};
    for (int i = 0; i < count; i++) {
        clq_text_printf(&text, "%s%.9g", i ? "," : "", (double)values[i]);
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_graph_set_metadata(graph, key, text.data);
    }
    clq_text_free(&text);
    return status;
}

static clq_status get_floats(const clq_graph *graph, const char *key, int count, float *values,
                             bool *found) {
    const char *text = clq_graph_get_metadata(graph, key);
    *found = text != NULL;
    for (int i = 0; text && i < count; i++) {
        char *end;
        values[i] = clq_strtof(text, &end);
        if (end == text || !isfinite(values[i]) || *end != (i + 1 < count ? ',' : '\0')) {
            return clq_fail(CLQ_BAD_DATA,
                            "the model's metadata \"%s\" must be %d numbers with commas, is \"%s\"",
                            key, count, clq_graph_get_metadata(graph, key));
        }
        text = end + 1;
    }
    return CLQ_OK;
}

clq_status clq_metadata_get_pair(const clq_graph *graph, const char *mean_key, const char *std_key,
                                 int count, float *mean, float *std, bool *found) {
    bool has_std;
    CLQ_TRY(get_floats(graph, mean_key, count, mean, found));
    CLQ_TRY(get_floats(graph, std_key, count, std, &has_std));
    if (*found != has_std) {
        return clq_fail(CLQ_BAD_DATA, "the model has metadata \"%s\" or \"%s\", but not both",
                        mean_key, std_key);
    }
    for (int c = 0; has_std && c < count; c++) {
        if (!(std[c] > 0)) {
            return clq_fail(CLQ_BAD_DATA, "the model's metadata \"%s\" must be positive, is %g",
                            std_key, (double)std[c]);
        }
    }
    return CLQ_OK;
}

clq_status clq_metadata_get_targets(const clq_graph *graph, int count, float *mean, float *std,
                                    bool *found) {
    return clq_metadata_get_pair(graph, CLQ_META_TARGET_MEAN, CLQ_META_TARGET_STD, count, mean, std,
                                 found);
}

/* ---- tables ---- */

/* Room for a mean and, behind it, a deviation of each feature or target. */
static clq_status allocate_pair(const clq_table *table, float **mean, float **std) {
    const int most = table->features > table->targets ? table->features : table->targets;
    *mean = clq_calloc(2 * (size_t)most, sizeof **mean);
    *std = *mean ? *mean + most : NULL;
    return *mean ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_graph_normalize_table(const clq_graph *graph, clq_table *table) {
    CLQ_NEEDS(graph, table);
    clq_status status = CLQ_OK;
    bool found;
    float *mean, *std;
    CLQ_TRY(allocate_pair(table, &mean, &std));
    CLQ_GOTO(status, cleanup,
             clq_metadata_get_pair(graph, CLQ_META_MEAN, CLQ_META_STD, table->features, mean, std,
                                   &found));
    if (found) {
        clq_table_normalize(table, mean, std);
    }
    if (table->targets > 0) {
        CLQ_GOTO(status, cleanup,
                 clq_metadata_get_targets(graph, table->targets, mean, std, &found));
        status = found ? clq_table_normalize_targets(table, mean, std) : CLQ_OK;
    }
cleanup:
    clq_free(mean);
    return status;
}

clq_status clq_graph_measure_table(clq_graph *graph, const clq_table *table) {
    CLQ_NEEDS(graph, table);
    clq_status status = CLQ_OK;
    float *mean, *std;
    CLQ_TRY(allocate_pair(table, &mean, &std));
    clq_table_measure(table, mean, std);
    CLQ_GOTO(status, cleanup, clq_metadata_set_floats(graph, CLQ_META_MEAN, mean, table->features));
    CLQ_GOTO(status, cleanup, clq_metadata_set_floats(graph, CLQ_META_STD, std, table->features));
    if (table->targets > 0) {
        clq_table_measure_targets(table, mean, std);
        CLQ_GOTO(status, cleanup,
                 clq_metadata_set_floats(graph, CLQ_META_TARGET_MEAN, mean, table->targets));
        CLQ_GOTO(status, cleanup,
                 clq_metadata_set_floats(graph, CLQ_META_TARGET_STD, std, table->targets));
    }
cleanup:
    clq_free(mean);
    return status;
}
