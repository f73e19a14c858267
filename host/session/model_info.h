/* What is in a model, for people and for programs; no device is needed. */
#ifndef CLQUANT_SESSION_MODEL_INFO_H
#define CLQUANT_SESSION_MODEL_INFO_H

#include <jansson.h>

#include <clquant/graph.h>

typedef struct clq_scale_range {
    int64_t count; /* of scales; 0: there are none, and neither are the ends */
    float least, most;
} clq_scale_range;

/* One node. */
typedef struct clq_layer_info {
    const clq_node *node;
    const clq_value *output, *weights; /* weights: its first parameter; NULL: it has none */
    clq_scale_range weight_scales;
    int64_t parameters, macs;
} clq_layer_info;

/* Parameters, and statistics of batch norms, of one type as they are stored. */
typedef struct clq_stored_type {
    int64_t tensors, elements, bytes;
} clq_stored_type;

enum { CLQ_DTYPES = CLQ_S4 + 1 };

typedef struct clq_model_info {
    const char *path; /* NULL: of no file; not owned, as is the graph */
    const clq_graph *graph;
    int64_t file_bytes;  /* of the .onnx file */
    int64_t *data_bytes; /* (graph->data_file_count): of its external data, owned */
    clq_graph_size size;
    clq_layer_info *layers; /* (graph->node_count), owned */
    clq_stored_type stored[CLQ_DTYPES];
    bool per_channel; /* weights of any layer have several scales */
    bool symmetric;   /* all activations have zero point 0 or the middle of their codes */
    clq_scale_range weight_scales, activation_scales;
    int quantized_layers; /* with weights of integers */
} clq_model_info;

/* `info` is the caller's to clear. */
clq_status clq_model_info_get(const char *path, const clq_graph *graph, clq_model_info *info);
void clq_model_info_clear(clq_model_info *info);

const char *clq_dtype_name(clq_dtype dtype);
/* Of codes: how they are stored, or their type when they have fewer bits than that. */
const char *clq_codes_name(const clq_qparams *q);            /* "uint8" */
const char *clq_layer_act_name(const clq_layer_info *layer); /* "relu"; "" */

json_t *clq_model_info_to_json(const clq_model_info *info); /* docs/json.md; NULL: no memory */

#endif
