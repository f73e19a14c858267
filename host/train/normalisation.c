#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/train.h>

/* "0.4914,0.4822,0.4465" */
static clq_status get_floats(const clq_graph *graph, const char *key, int count, float *values,
                             bool *found) {
    const char *text = clq_graph_get_metadata(graph, key);
    *found = text != NULL;
    for (int i = 0; text && i < count; i++) {
        char *end;
        values[i] = strtof(text, &end);
        if (end == text || !isfinite(values[i]) || *end != (i + 1 < count ? ',' : '\0')) {
            return clq_fail(CLQ_BAD_DATA,
                            "the model's metadata \"%s\" must be %d numbers with commas, is \"%s\"",
                            key, count, clq_graph_get_metadata(graph, key));
        }
        text = end + 1;
    }
    return CLQ_OK;
}

clq_status clq_graph_normalisation(const clq_graph *graph, const clq_dataset *dataset,
                                   float mean[CLQ_MAX_CHANNELS], float std[CLQ_MAX_CHANNELS]) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    bool has_mean, has_std;
    memcpy(mean, info->mean, sizeof info->mean);
    memcpy(std, info->std, sizeof info->std);
    CLQ_TRY(get_floats(graph, "clquant.mean", info->channels, mean, &has_mean));
    CLQ_TRY(get_floats(graph, "clquant.std", info->channels, std, &has_std));
    for (int c = 0; c < info->channels; c++) {
        if (!(std[c] > 0)) {
            return clq_fail(CLQ_BAD_DATA,
                            "the model's metadata \"clquant.std\" must be positive, is %g",
                            (double)std[c]);
        }
    }
    if (has_mean != has_std) {
        return clq_fail(CLQ_BAD_DATA,
                        "the model has metadata \"clquant.mean\" or \"clquant.std\", but not both");
    }
    return CLQ_OK;
}
