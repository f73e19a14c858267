#include "session/model_info.h"

#include <string.h>
#include <sys/stat.h>

#include <clquant/train.h>

#include "base/json.h"
#include "formats/layout.h"
#include "graph/node.h"
#include "quant/report.h"
#include "session/data.h"

const char *clq_dtype_name(clq_dtype dtype) {
    static const char *const names[CLQ_DTYPES] = {"float32", "uint8", "int8", "int32", "int4"};
    return names[dtype];
}

const char *clq_codes_name(const clq_qparams *q) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    return type->bits < 8 ? type->name : clq_dtype_name(type->storage);
}

const char *clq_layer_act_name(const clq_layer_info *layer) {
    static const char *const names[] = {"", "relu", "relu6"};
    return names[clq_node_act(layer->node)];
}

/* ---- facts ---- */

static void widen(clq_scale_range *range, const clq_qparams *q) {
    for (int64_t i = 0; i < q->count; i++) {
        const float scale = q->scale[i];
        range->least = range->count == 0 || scale < range->least ? scale : range->least;
        range->most = range->count == 0 || scale > range->most ? scale : range->most;
        range->count++;
    }
}

/* The zero point of symmetric codes. */
static int32_t middle(const clq_qparams *q) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    return type->highest - (type->highest - type->lowest) / 2;
}

static void describe(const clq_graph *graph, const clq_node *node, clq_layer_info *layer) {
    *layer = (clq_layer_info){.node = node, .output = &graph->values[node->output]};
    for (int i = 0; i < node->input_count; i++) {
        const clq_value *input =
            node->inputs[i] == CLQ_NO_VALUE ? NULL : &graph->values[node->inputs[i]];
        if (input && input->kind == CLQ_VALUE_PARAMETER) {
            layer->weights = layer->weights ? layer->weights : input;
            layer->parameters += clq_shape_count(&input->shape);
        }
    }
    if (layer->weights) {
        widen(&layer->weight_scales, &layer->weights->q);
    }
    layer->macs = node->op->macs ? node->op->macs(graph, node) : 0;
}

static int64_t file_size(const char *path) {
    struct stat file;
    return stat(path, &file) == 0 ? (int64_t)file.st_size : 0;
}

clq_status clq_model_info_get(const char *path, const clq_graph *graph, clq_model_info *info) {
    *info = (clq_model_info){.path = path,
                             .graph = graph,
                             .file_bytes = path ? file_size(path) : 0,
                             .size = clq_graph_measure(graph),
                             .symmetric = true};
    info->layers = clq_calloc((size_t)graph->node_count, sizeof *info->layers);
    info->data_bytes = clq_calloc((size_t)graph->data_file_count, sizeof *info->data_bytes);
    if ((!info->layers && graph->node_count > 0) ||
        (!info->data_bytes && graph->data_file_count > 0)) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < graph->data_file_count; i++) {
        info->data_bytes[i] = file_size(graph->data_files[i]);
    }
    for (int n = 0; n < graph->node_count; n++) {
        clq_layer_info *layer = &info->layers[n];
        describe(graph, &graph->nodes[n], layer);
        info->quantized_layers += layer->weights && layer->weights->q.count > 0;
        info->per_channel |= layer->weight_scales.count > 1;
        if (layer->weights) {
            widen(&info->weight_scales, &layer->weights->q);
        }
    }
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (clq_is_constant(value)) {
            clq_stored_type *stored = &info->stored[value->dtype];
            const int64_t count = clq_shape_count(&value->shape);
            stored->tensors++;
            stored->elements += count;
            stored->bytes += clq_dtype_bytes(value->dtype, count);
        } else if (value->q.count > 0) {
            widen(&info->activation_scales, &value->q);
            info->symmetric &= value->q.zero_point == 0 || value->q.zero_point == middle(&value->q);
        }
    }
    return CLQ_OK;
}

void clq_model_info_clear(clq_model_info *info) {
    clq_free(info->layers);
    clq_free(info->data_bytes);
    *info = (clq_model_info){0};
}

/* ---- JSON ---- */

/* A shape as files have it; `batch` comes first, where it is not NULL. */
static json_t *shape_to_json(clq_shape shape, json_t *batch) {
    json_t *json = json_array();
    if (batch) {
        json_array_append_new(json, batch);
    }
    for (int i = 1; i < shape.rank; i++) {
        json_array_append_new(json, json_integer(shape.dim[i]));
    }
    return json;
}

/* How the codes of an activation are read; null: it is real. */
static json_t *codes_to_json(const clq_value *value) {
    if (value->q.count == 0) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "type", clq_json_string(clq_codes_name(&value->q)));
    json_object_set_new(json, "scale", clq_json_real((double)value->q.scale[0]));
    json_object_set_new(json, "zero_point", json_integer(value->q.zero_point));
    return json;
}

static json_t *range_to_json(const clq_scale_range *range) {
    if (range->count == 0) {
        return json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "count", json_integer(range->count));
    json_object_set_new(json, "min", clq_json_real((double)range->least));
    json_object_set_new(json, "max", clq_json_real((double)range->most));
    return json;
}

/* An open batch is null, that of a network which takes one sample at a time 1. */
static json_t *end_to_json(const clq_graph *graph, bool in, int end) {
    const bool batched = in ? clq_input_has_batch(graph, end) : clq_output_has_batch(graph, end);
    const clq_shape shape =
        in ? clq_input_file_shape(graph, end) : clq_output_file_shape(graph, end);
    const char *name = in ? clq_graph_input_name(graph, end) : clq_graph_output_name(graph, end);
    json_t *json = json_object(), *batch = NULL;
    if (batched) {
        batch = clq_graph_is_of_one(graph) ? json_integer(1) : json_null();
    }
    json_object_set_new(json, "name", clq_json_string(name));
    json_object_set_new(json, "type", clq_json_string(clq_dtype_name(CLQ_F32)));
    json_object_set_new(json, "shape", shape_to_json(shape, batch));
    json_object_set_new(
        json, "codes",
        codes_to_json(&graph->values[in ? graph->inputs[end] : graph->outputs[end].value]));
    return json;
}

static json_t *weights_to_json(const clq_layer_info *layer) {
    const clq_value *w = layer->weights;
    if (!w) {
        return json_null();
    }
    const bool codes = w->q.count > 0;
    json_t *json = json_object();
    json_object_set_new(json, "name", clq_json_string(w->name));
    json_object_set_new(json, "type", clq_json_string(clq_dtype_name(w->dtype)));
    json_object_set_new(json, "quantized_to",
                        codes ? clq_json_string(clq_codes_name(&w->q)) : json_null());
    json_object_set_new(json, "granularity",
                        codes ? clq_json_string(clq_weight_names[w->q.count == 1]) : json_null());
    json_object_set_new(json, "scales", range_to_json(&layer->weight_scales));
    return json;
}

static json_t *layer_to_json(const clq_layer_info *layer) {
    json_t *json = json_object();
    json_object_set_new(json, "name", clq_json_string(layer->node->name));
    json_object_set_new(json, "op", clq_json_string(layer->node->op->name));
    json_object_set_new(json, "activation", clq_json_string(clq_layer_act_name(layer)));
    json_object_set_new(
        json, "output",
        shape_to_json(clq_layout_file_shape(NULL, &layer->output->shape), json_null()));
    json_object_set_new(json, "weights", weights_to_json(layer));
    json_object_set_new(json, "codes", codes_to_json(layer->output));
    json_object_set_new(json, "parameters", json_integer(layer->parameters));
    json_object_set_new(json, "macs", json_integer(layer->macs));
    return json;
}

static json_t *operators_to_json(const clq_graph *graph) {
    json_t *json = json_object();
    for (int n = 0; n < graph->node_count; n++) {
        const char *op = graph->nodes[n].op->name;
        const json_int_t before = json_integer_value(json_object_get(json, op));
        json_object_set_new(json, op, json_integer(before + 1));
    }
    return json;
}

static json_t *data_files_to_json(const clq_model_info *info) {
    json_t *files = json_array();
    for (int i = 0; i < info->graph->data_file_count; i++) {
        json_t *file = json_object();
        json_object_set_new(file, "path", clq_json_string(info->graph->data_files[i]));
        json_object_set_new(file, "bytes", json_integer((json_int_t)info->data_bytes[i]));
        json_array_append_new(files, file);
    }
    return files;
}

static json_t *stored_to_json(const clq_model_info *info) {
    json_t *json = json_object();
    for (int t = 0; t < CLQ_DTYPES; t++) {
        const clq_stored_type *stored = &info->stored[t];
        if (stored->tensors > 0) {
            json_t *type = json_object();
            json_object_set_new(type, "tensors", json_integer(stored->tensors));
            json_object_set_new(type, "elements", json_integer(stored->elements));
            json_object_set_new(type, "bytes", json_integer(stored->bytes));
            json_object_set_new(json, clq_dtype_name((clq_dtype)t), type);
        }
    }
    return json;
}

static json_t *quantization_to_json(const clq_model_info *info) {
    const char *text = clq_graph_get_metadata(info->graph, CLQ_META_QUANTIZATION);
    json_t *recorded = NULL;
    if (clq_graph_form(info->graph) == CLQ_FORM_FLOAT) {
        return json_null();
    }
    if (!text || clq_json_parse(CLQ_META_QUANTIZATION, text, strlen(text), &recorded) != CLQ_OK) {
        recorded = json_null();
    }
    json_t *json = json_object();
    json_object_set_new(json, "layers", json_integer(info->quantized_layers));
    json_object_set_new(json, "weights",
                        info->quantized_layers
                            ? clq_json_string(clq_weight_names[!info->per_channel])
                            : json_null());
    json_object_set_new(json, "activations",
                        info->activation_scales.count > 0
                            ? clq_json_string(clq_activation_names[info->symmetric])
                            : json_null());
    json_object_set_new(json, "requantizer",
                        clq_json_string(clq_requantizer_name(clq_graph_requantizer(info->graph))));
    json_object_set_new(json, "weight_scales", range_to_json(&info->weight_scales));
    json_object_set_new(json, "activation_scales", range_to_json(&info->activation_scales));
    json_object_set_new(json, "recorded", recorded);
    return json;
}

static json_t *metadata_to_json(const clq_graph *graph) {
    json_t *json = json_object();
    for (int i = 0; i < graph->metadata_count; i++) {
        json_object_set_new(json, graph->metadata[i].key,
                            clq_json_string(graph->metadata[i].value));
    }
    return json;
}

json_t *clq_model_info_to_json(const clq_model_info *info) {
    static const char *const sources[CLQ_PART_COUNT] = {NULL}; /* all is the model's */
    const clq_graph *graph = info->graph;
    json_t *json = clq_json_result(), *inputs = json_array(), *outputs = json_array(),
           *layers = json_array();
    for (int i = 0; i < graph->input_count; i++) {
        json_array_append_new(inputs, end_to_json(graph, true, i));
    }
    for (int i = 0; i < graph->output_count; i++) {
        json_array_append_new(outputs, end_to_json(graph, false, i));
    }
    for (int n = 0; n < graph->node_count; n++) {
        json_array_append_new(layers, layer_to_json(&info->layers[n]));
    }
    json_object_set_new(json, "model", info->path ? clq_json_string(info->path) : json_null());
    json_object_set_new(json, "name", clq_json_string(graph->name));
    json_object_set_new(json, "form", clq_json_string(clq_graph_form_name(graph)));
    json_object_set_new(json, "producer",
                        graph->producer ? clq_json_string(graph->producer) : json_null());
    json_object_set_new(json, "file_bytes",
                        info->path ? json_integer(info->file_bytes) : json_null());
    json_object_set_new(json, "data_files", data_files_to_json(info));
    json_object_set_new(json, "inputs", inputs);
    json_object_set_new(json, "outputs", outputs);
    json_object_set_new(json, "operators", operators_to_json(graph));
    json_object_set_new(json, "parameters", json_integer(info->size.parameters));
    json_object_set_new(json, "macs", json_integer(info->size.macs));
    json_object_set_new(json, "stored", stored_to_json(info));
    json_object_set_new(json, "quantization", quantization_to_json(info));
    json_object_set_new(json, "preprocessing",
                        graph->input_count == 1 ? clq_preprocessing_to_json(graph, sources)
                                                : json_null());
    json_object_set_new(json, "metadata", metadata_to_json(graph));
    json_object_set_new(json, "layers", layers);
    return json;
}
