/* Writing an ONNX model: see save.h for the parts. */
#include "formats/onnx/operators.h"

#include <clquant/formats.h>
#include <limits.h>
#include <string.h>

#include "base/arguments.h"
#include "base/files.h"
#include "formats/onnx/qoperators.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "ops/layer.h"

/* Opset 21 has types of 4 bits. */
enum { HALF_BYTE_OPSET = 21 };

/* The oldest that has the opset. */
static int ir_version_for(int opset) {
    return opset >= 21 ? 10 : opset >= 19 ? 9 : 8;
}

static int opset_for(const clq_graph *graph) {
    int opset = CLQ_ONNX_OLDEST_OPSET;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (clq_is_constant(value) && value->q.count > 0 &&
            clq_qtype_get(value->q.type)->storage == CLQ_S4) {
            opset = HALF_BYTE_OPSET;
        }
    }
    for (int n = 0; n < graph->node_count; n++) {
        const onnx_operator *writer = onnx_find_writer(graph->nodes[n].op->name);
        opset = writer && writer->opset > opset ? writer->opset : opset;
    }
    return opset;
}

/* ---- the graph's ends ---- */

/* Allocates a message into the variable `message` and initializes it. */
#define MAKE(save, message, initialize)                                                            \
    do {                                                                                           \
        void *made_;                                                                               \
        CLQ_TRY(clq_arena_take(&(save)->arena, 1, sizeof *(message), &made_));                     \
        (message) = made_;                                                                         \
        initialize(message);                                                                       \
    } while (0)

static clq_status make_dimension(onnx_saver *save, int64_t size,
                                 Onnx__TensorShapeProto__Dimension **out) {
    Onnx__TensorShapeProto__Dimension *dim;
    MAKE(save, dim, onnx__tensor_shape_proto__dimension__init);
    if (size > 0) {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim->dim_value = size;
    } else {
        dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
        dim->dim_param = "N";
    }
    *out = dim;
    return CLQ_OK;
}

/* A float tensor of a value's shape as the file sees it; `batch` 0: open. */
static clq_status make_value_info(onnx_saver *save, const char *name, int value,
                                  const clq_axes *stated, int64_t batch,
                                  Onnx__ValueInfoProto **out) {
    Onnx__ValueInfoProto *info;
    Onnx__TypeProto *type;
    Onnx__TypeProto__Tensor *tensor;
    Onnx__TensorShapeProto *shape;
    void *dims;
    const clq_shape *stored = &save->graph->values[value].shape;
    const clq_axes axes = clq_axes_of(stated, stored->rank);
    MAKE(save, info, onnx__value_info_proto__init);
    MAKE(save, type, onnx__type_proto__init);
    MAKE(save, tensor, onnx__type_proto__tensor__init);
    MAKE(save, shape, onnx__tensor_shape_proto__init);
    CLQ_TRY(clq_arena_take(&save->arena, CLQ_MAX_AXES, sizeof *shape->dim, &dims));
    shape->dim = dims;
    shape->n_dim = (size_t)axes.rank;
    for (int i = 0; i < axes.rank; i++) {
        const int axis = axes.axis[i];
        const int64_t size = axis > 0 ? stored->dim[axis] : axis == 0 ? batch : 1;
        CLQ_TRY(make_dimension(save, size, &shape->dim[i]));
    }
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    info->name = (char *)name;
    info->type = type;
    *out = info;
    return CLQ_OK;
}

static clq_status make_ends(onnx_saver *save, Onnx__GraphProto *proto) {
    const clq_graph *graph = save->graph;
    const int64_t batch = clq_graph_is_of_one(graph) ? 1 : 0;
    void *inputs, *outputs;
    CLQ_TRY(
        clq_arena_take(&save->arena, (size_t)graph->input_count, sizeof *proto->input, &inputs));
    CLQ_TRY(
        clq_arena_take(&save->arena, (size_t)graph->output_count, sizeof *proto->output, &outputs));
    proto->input = inputs;
    proto->output = outputs;
    for (int i = 0; i < graph->input_count; i++) {
        CLQ_TRY(make_value_info(save, clq_graph_input_name(graph, i), graph->inputs[i],
                                &graph->input_axes[i], batch, &proto->input[proto->n_input++]));
    }
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_TRY(make_value_info(save, clq_graph_output_name(graph, i), graph->outputs[i].value,
                                &graph->outputs[i].axes, batch, &proto->output[proto->n_output++]));
    }
    return CLQ_OK;
}

static bool is_made_by(const clq_graph *graph, int value, const clq_op *op) {
    const int producer = graph->values[value].producer;
    return producer >= 0 && graph->nodes[producer].op == op;
}

static int quantize_count(const clq_graph *graph, int value) {
    int count = 0;
    for (int n = 0; n < graph->node_count; n++) {
        count += graph->nodes[n].op == &clq_op_quantize && graph->nodes[n].inputs[0] == value;
    }
    return count;
}

/* Whether the file shows a node on reals as one on codes: all that it reads is dequantized and, of
 * a layer, its weights are codes, of others what it makes is quantized. One that keeps codes is
 * taken for one on codes from either side. */
static bool looks_quantized(const clq_graph *graph, const clq_node *node) {
    const int quantized = quantize_count(graph, node->output);
    bool dequantized = true;
    for (int i = 0; i < node->input_count; i++) {
        const int in = node->inputs[i];
        dequantized &= in == CLQ_NO_VALUE || clq_is_constant(&graph->values[in]) ||
                       is_made_by(graph, in, &clq_op_dequantize);
    }
    if (clq_is_layer(node)) {
        return dequantized && clq_is_weight_only(graph, node);
    }
    if (node->op->output_shares_qparams || node->op == &clq_op_shortcut_a) {
        return dequantized || quantized > 0;
    }
    return dequantized && quantized > 0 && quantized == clq_graph_use_count(graph, node->output);
}

static clq_status note_real_node(onnx_saver *save, const clq_node *node) {
    const bool border = node->op == &clq_op_quantize || node->op == &clq_op_dequantize;
    if (border || clq_node_on_codes(save->graph, node) || !looks_quantized(save->graph, node)) {
        return CLQ_OK;
    }
    save->real_nodes = save->real_nodes ? save->real_nodes : json_array();
    return json_array_append_new(save->real_nodes, clq_json_string(node->name)) == 0
               ? CLQ_OK
               : CLQ_NO_MEMORY;
}

static clq_status make_graph(onnx_saver *save, Onnx__GraphProto **out) {
    const clq_graph *graph = save->graph;
    Onnx__GraphProto *proto;
    MAKE(save, proto, onnx__graph_proto__init);
    CLQ_TRY(onnx_save_output_names(save));
    CLQ_TRY(onnx_save_inputs(save));
    for (int i = 0; i < graph->node_count; i++) {
        CLQ_TRY(note_real_node(save, &graph->nodes[i]));
        CLQ_TRY(onnx_save_graph_node(save, &graph->nodes[i]));
    }
    CLQ_TRY(onnx_save_more_outputs(save));
    if (save->form != CLQ_ONNX_QDQ) {
        CLQ_TRY(onnx_save_qoperators(save, save->form == CLQ_ONNX_QOPERATOR_ORT));
    }
    CLQ_TRY(make_ends(save, proto));
    proto->name = graph->name[0] ? graph->name : "network";
    proto->node = save->node;
    proto->n_node = save->node_count;
    proto->initializer = save->tensor;
    proto->n_initializer = save->tensor_count;
    *out = proto;
    return CLQ_OK;
}

/* ---- the model ---- */

static clq_status add_metadata(onnx_saver *save, Onnx__ModelProto *model, const char *key,
                               const char *text) {
    Onnx__StringStringEntryProto *entry;
    MAKE(save, entry, onnx__string_string_entry_proto__init);
    entry->key = (char *)key;
    entry->value = (char *)text;
    model->metadata_props[model->n_metadata_props++] = entry;
    return CLQ_OK;
}

/* JSON about the file itself; NULL: there is none. */
static clq_status add_json(onnx_saver *save, Onnx__ModelProto *model, const char *key,
                           const json_t *json) {
    char *line = NULL, *text = NULL;
    if (!json) {
        return CLQ_OK;
    }
    clq_status status = clq_json_dump_line(json, &line);
    if (status == CLQ_OK) {
        status = clq_arena_format(&save->arena, &text, "%s", line);
    }
    clq_free(line);
    return status == CLQ_OK ? add_metadata(save, model, key, text) : status;
}

/* Whether a graph keeps it. */
static bool is_of_file(const char *key) {
    static const char *const keys[] = {ONNX_FORM_KEY, ONNX_VERSION_KEY, ONNX_TYPES_KEY,
                                       ONNX_REAL_NODES_KEY};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strcmp(key, keys[i]) == 0) {
            return true;
        }
    }
    return false;
}

static clq_status import_opset(onnx_saver *save, Onnx__ModelProto *model, const char *domain,
                               int version) {
    Onnx__OperatorSetIdProto *opset;
    MAKE(save, opset, onnx__operator_set_id_proto__init);
    opset->domain = (char *)domain;
    opset->has_version = true;
    opset->version = version;
    model->opset_import[model->n_opset_import++] = opset;
    return CLQ_OK;
}

static bool has_domain(const onnx_saver *save, const char *domain) {
    for (size_t i = 0; i < save->node_count; i++) {
        if (save->node[i]->domain && strcmp(save->node[i]->domain, domain) == 0) {
            return true;
        }
    }
    return false;
}

static clq_status make_model(onnx_saver *save, Onnx__ModelProto **out) {
    const clq_graph *graph = save->graph;
    Onnx__ModelProto *model;
    void *opsets, *metadata;
    MAKE(save, model, onnx__model_proto__init);
    CLQ_TRY(make_graph(save, &model->graph));
    CLQ_TRY(clq_arena_take(&save->arena, 2, sizeof *model->opset_import, &opsets));
    model->opset_import = opsets;
    CLQ_TRY(import_opset(save, model, "", save->opset));
    if (has_domain(save, ONNX_MICROSOFT)) {
        CLQ_TRY(import_opset(save, model, ONNX_MICROSOFT, 1));
    }
    model->has_ir_version = true;
    model->ir_version = ir_version_for(save->opset);
    model->producer_name = "clquant";
    model->producer_version = (char *)clq_version();
    CLQ_TRY(
        clq_arena_take(&save->arena, (size_t)graph->metadata_count + 4, sizeof(void *), &metadata));
    model->metadata_props = metadata;
    CLQ_TRY(add_metadata(save, model, ONNX_FORM_KEY, clq_graph_form_name(graph)));
    CLQ_TRY(add_metadata(save, model, ONNX_VERSION_KEY, clq_version()));
    CLQ_TRY(add_json(save, model, ONNX_TYPES_KEY, save->types));
    CLQ_TRY(add_json(save, model, ONNX_REAL_NODES_KEY, save->real_nodes));
    for (int i = 0; i < graph->metadata_count; i++) {
        const clq_metadata *m = &graph->metadata[i];
        if (!is_of_file(m->key)) {
            CLQ_TRY(add_metadata(save, model, m->key, m->value));
        }
    }
    *out = model;
    return CLQ_OK;
}

/* protobuf-c hands out the packed bytes piece by piece. */
typedef struct sink {
    ProtobufCBuffer buffer;
    clq_writer *writer;
    clq_status status;
} sink;

static void append(ProtobufCBuffer *buffer, size_t size, const uint8_t *data) {
    sink *s = (sink *)buffer;
    if (s->status == CLQ_OK) {
        s->status = clq_writer_write(s->writer, data, size);
    }
}

static clq_status check_size(const Onnx__ModelProto *model, const char *path) {
    const size_t size = onnx__model_proto__get_packed_size(model);
    return size <= INT32_MAX
               ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA,
                          "%s: a model of %zu bytes; it is written as one file, and ONNX "
                          "(protobuf) ends at 2 GiB",
                          path, size);
}

static clq_status write_model(const Onnx__ModelProto *model, const char *path) {
    sink s = {.buffer = {append}, .status = CLQ_OK};
    clq_status status;
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &s.writer));
    onnx__model_proto__pack_to_buffer(model, &s.buffer);
    CLQ_GOTO(status, cleanup, s.status);
    status = clq_writer_commit(&s.writer);
cleanup:
    clq_writer_abort(&s.writer);
    return status;
}

/* Of an integer network: whether it reads back as what it is. */
static clq_status check_model(const clq_graph *graph, const Onnx__ModelProto *model,
                              const char *path) {
    const size_t size = onnx__model_proto__get_packed_size(model);
    if (clq_graph_form(graph) != CLQ_FORM_INTEGER) {
        return CLQ_OK;
    }
    uint8_t *packed = clq_realloc(NULL, size, 1);
    if (!packed) {
        return CLQ_NO_MEMORY;
    }
    onnx__model_proto__pack(model, packed);
    const clq_status status = onnx_check_saved(graph, packed, size, path);
    clq_free(packed);
    return status;
}

static void clear(onnx_saver *save) {
    json_decref(save->types);
    json_decref(save->real_nodes);
    clq_names_free(&save->values);
    clq_names_free(&save->nodes);
    clq_arena_free(&save->arena);
    *save = (onnx_saver){0};
}

static clq_status start(onnx_saver *save, const clq_graph *graph, clq_onnx_form form, int opset) {
    void *memory;
    clear(save);
    save->graph = graph;
    save->form = form;
    save->opset = opset;
    CLQ_TRY(
        clq_arena_take(&save->arena, (size_t)graph->value_count, sizeof *save->layouts, &memory));
    save->layouts = memory;
    CLQ_TRY(clq_arena_take(&save->arena, (size_t)graph->value_count, sizeof *save->reads, &memory));
    save->reads = memory;
    clq_layout_find(graph, save->layouts);
    return CLQ_OK;
}

static clq_status check_options(const clq_graph *graph, const clq_onnx_options *options) {
    if ((unsigned)options->form >= CLQ_ONNX_FORM_COUNT ||
        (options->opset != 0 &&
         (options->opset < CLQ_ONNX_OLDEST_OPSET || options->opset > CLQ_ONNX_NEWEST_OPSET))) {
        return clq_fail(CLQ_USAGE, "opset %d: %d to %d are written", options->opset,
                        CLQ_ONNX_OLDEST_OPSET, CLQ_ONNX_NEWEST_OPSET);
    }
    if (options->form != CLQ_ONNX_QDQ && clq_graph_form(graph) != CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE,
                        "%s form is for networks with integer weights; this one has the %s form",
                        clq_onnx_form_name(options->form), clq_graph_form_name(graph));
    }
    return clq_graph_validate(graph);
}

/* A node may turn out to need a newer opset than those before it were written for: then all are
 * written again. */
static clq_status make(onnx_saver *save, const clq_graph *graph, const clq_onnx_options *options,
                       Onnx__ModelProto **model) {
    static const clq_onnx_options usual = {0};
    options = options ? options : &usual;
    CLQ_TRY(check_options(graph, options));
    int opset = opset_for(graph), began;
    opset = options->opset > opset ? options->opset : opset;
    do {
        began = opset;
        CLQ_TRY(start(save, graph, options->form, opset));
        CLQ_TRY(make_model(save, model));
        opset = save->opset;
    } while (opset != began);
    if (options->opset != 0 && opset > options->opset) {
        return clq_fail(CLQ_USAGE,
                        "the network has operators or types of opset %d; opset %d was "
                        "asked for",
                        opset, options->opset);
    }
    return CLQ_OK;
}

clq_status clq_onnx_save_as(const clq_graph *graph, const clq_onnx_options *options,
                            const char *path) {
    CLQ_NEEDS(graph, path);
    CLQ_NEEDS_ENDS(graph);
    onnx_saver save = {0};
    Onnx__ModelProto *model = NULL;
    clq_status status = clq_fail_in(make(&save, graph, options, &model), "%s", path);
    CLQ_GOTO(status, cleanup, status);
    CLQ_GOTO(status, cleanup, check_size(model, path));
    CLQ_GOTO(status, cleanup, check_model(graph, model, path));
    status = write_model(model, path);
cleanup:
    clear(&save);
    return status;
}

clq_status clq_onnx_save(const clq_graph *graph, const char *path) {
    CLQ_NEEDS(graph, path);
    return clq_onnx_save_as(graph, NULL, path);
}

const char *clq_onnx_form_name(clq_onnx_form form) {
    static const char *const names[] = {"qdq", "qoperator", "qoperator-ort"};
    return (unsigned)form < CLQ_ONNX_FORM_COUNT ? names[form] : NULL;
}
