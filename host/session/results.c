#include "session/results.h"

#include <string.h>

#include "base/json.h"
#include "session/data.h"

char *const *clq_target_names(clq_dataset *dataset) {
    const clq_table *table = dataset ? clq_dataset_table(dataset) : NULL;
    return table ? table->target_names : NULL;
}

/* [{"name":, "rmse":, "r2":}, ...] */
static json_t *fits_to_json(const clq_evaluation *evaluation, clq_dataset *dataset) {
    char *const *names = clq_target_names(dataset);
    json_t *fits = json_array();
    for (int t = 0; t < evaluation->targets; t++) {
        json_t *fit = json_object();
        json_object_set_new(fit, "name", names ? clq_json_string(names[t]) : json_null());
        json_object_set_new(fit, "rmse", clq_json_real(evaluation->fits[t].rmse));
        json_object_set_new(fit, "r2", clq_json_real(evaluation->fits[t].r2));
        json_array_append_new(fits, fit);
    }
    return fits;
}

json_t *clq_evaluation_to_json(const clq_evaluation *evaluation, const clq_graph *graph,
                               clq_dataset *dataset, const char *const *sources) {
    json_t *json = clq_json_result(), *confusion = json_array();
    json_object_set_new(json, "top1", clq_json_real(evaluation->top1));
    json_object_set_new(json, "top5", clq_json_real(evaluation->top5));
    json_object_set_new(json, "loss", clq_json_real(evaluation->loss));
    json_object_set_new(json, "images", json_integer(evaluation->images));
    if (evaluation->pixels > 0) {
        json_object_set_new(json, "pixels", json_integer(evaluation->pixels));
        json_object_set_new(json, "mean_iou", clq_json_real(evaluation->mean_iou));
    }
    json_object_set_new(json, "preprocessing",
                        sources ? clq_preprocessing_to_json(graph, sources) : json_null());
    for (int r = 0; r < evaluation->classes; r++) {
        json_t *row = json_array();
        for (int c = 0; c < evaluation->classes; c++) {
            json_array_append_new(row,
                                  json_integer(evaluation->confusion[r * evaluation->classes + c]));
        }
        json_array_append_new(confusion, row);
    }
    json_object_set_new(json, "confusion", confusion);
    json_object_set_new(json, "logits_sha256", clq_json_string(evaluation->logits_sha256));
    if (evaluation->targets > 0) {
        json_object_set_new(json, "r2", clq_json_real(evaluation->r2));
        json_object_set_new(json, "fits", fits_to_json(evaluation, dataset));
    }
    if (dataset) {
        const clq_dataset_info *info = clq_dataset_get_info(dataset);
        json_t *classes = json_array();
        for (int c = 0; c < info->class_count; c++) {
            json_array_append_new(classes, clq_json_string(info->class_names[c]));
        }
        json_object_set_new(json, "classes", classes);
    }
    return json;
}

json_t *clq_verification_to_json(const clq_verification *v, const clq_graph *graph,
                                 const char *data, const char *const *sources) {
    json_t *json = clq_json_result(), *paths = json_object(), *layers = json_array();
    json_object_set_new(json, "data", data ? clq_json_string(data) : json_null());
    json_object_set_new(json, "images", json_integer(v->images));
    if (sources) {
        json_object_set_new(json, "preprocessing", clq_preprocessing_to_json(graph, sources));
    }
    json_object_set_new(json, "compared_codes", json_integer(v->compared_codes));
    json_object_set_new(json, "mismatched_codes", json_integer(v->mismatched_codes));
    json_object_set_new(json, "first_mismatch",
                        *v->first_mismatch ? clq_json_string(v->first_mismatch) : json_null());
    json_object_set_new(json, "logits_sha256", clq_json_string(v->logits_sha256));
    for (int i = 0; i < v->path_count; i++) {
        json_object_set_new(paths, clq_dot_name(v->paths[i].dot),
                            clq_json_string(v->paths[i].sha256));
    }
    json_object_set_new(json, "dot_paths", paths);
    for (int i = 0; i < v->layer_count; i++) {
        json_t *layer = json_object();
        json_object_set_new(layer, "name", clq_json_string(v->layers[i].name));
        json_object_set_new(layer, "op", clq_json_string(v->layers[i].op));
        json_object_set_new(layer, "precision", clq_json_string(v->layers[i].precision));
        json_object_set_new(layer, "dot_path", clq_json_string(v->layers[i].dot_path));
        json_array_append_new(layers, layer);
    }
    json_object_set_new(json, "layers", layers);
    return json;
}

clq_status clq_verification_gate(const clq_verification *v) {
    if (v->mismatched_codes > 0) {
        return clq_fail(CLQ_GATE_FAILED, "%lld code%s; first: %s", (long long)v->mismatched_codes,
                        v->mismatched_codes == 1 ? " differs" : "s differ", v->first_mismatch);
    }
    for (int i = 0; i < v->path_count; i++) {
        if (strcmp(v->paths[i].sha256, v->logits_sha256) != 0) {
            return clq_fail(CLQ_GATE_FAILED, "the logits of dot path %s differ",
                            clq_dot_name(v->paths[i].dot));
        }
    }
    return CLQ_OK;
}
