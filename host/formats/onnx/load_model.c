/* Reading an ONNX model: see load.h for the parts. */
#include "formats/onnx/load.h"
#include "graph/node.h"

#include <clquant/formats.h>
#include <clquant/passes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/foreign.h"
#include "formats/onnx/operators.h"

enum { MAX_METADATA = 4096, NEWEST_OPSET = 25, OLDEST_OPSET = 7 };

/* ---- binding names ---- */

clq_status onnx_make_room(onnx_loader *load, int value) {
    const int capacity = value * 2 + 64;
    if (value < load->value_use_capacity) {
        return CLQ_OK;
    }
    onnx_value_use *grown = clq_realloc(load->value_uses, (size_t)capacity, sizeof *grown);
    if (!grown) {
        return CLQ_NO_MEMORY;
    }
    memset(grown + load->value_use_capacity, 0,
           (size_t)(capacity - load->value_use_capacity) * sizeof *grown);
    load->value_uses = grown;
    load->value_use_capacity = capacity;
    return CLQ_OK;
}

clq_status onnx_bind(onnx_loader *load, const char *name, const onnx_operand *operand) {
    if (name[0] == '\0') {
        return CLQ_OK;
    }
    if (clq_names_find(&load->bound, name) >= 0) {
        return clq_fail(CLQ_BAD_DATA, "\"%.200s\" is defined twice", name);
    }
    CLQ_TRY(clq_names_set(&load->bound, name, load->operand_count));
    if (operand->value >= 0) {
        CLQ_TRY(onnx_make_room(load, operand->value));
        load->value_uses[operand->value].names++;
        load->value_uses[operand->value].uses += onnx_use_count(load, name);
    }
    load->operands[load->operand_count++] = *operand; /* there is room for every output */
    return CLQ_OK;
}

clq_status onnx_bind_output(onnx_loader *load, const onnx_node *node, const onnx_operand *operand) {
    return onnx_bind(load, onnx_output_name(node), operand);
}

clq_status onnx_bind_constant(onnx_loader *load, const onnx_node *node,
                              const onnx_constant *constant) {
    onnx_operand operand = {.constant = constant, .value = CLQ_NO_VALUE};
    return onnx_bind_output(load, node, &operand);
}

int onnx_use_count(const onnx_loader *load, const char *name) {
    int index = clq_names_find(&load->uses, name);
    return index < 0 ? 0 : load->use_count[index];
}

int onnx_reader_count(const onnx_loader *load, int value) {
    if (value >= load->value_use_capacity) {
        return 0;
    }
    return load->value_uses[value].uses - (load->value_uses[value].names - 1);
}

/* ---- training mode: an exporter's accident, mostly ---- */

void onnx_note_training(onnx_loader *load, const onnx_node *node) {
    load->training = load->training_count++ == 0 ? node->index : load->training;
}

static void warn_of_training(const onnx_loader *load) {
    if (load->training_count > 0) {
        const onnx_node node = onnx_node_at(load, load->training);
        char place[ONNX_PLACE_SIZE];
        clq_log_warn("%d node%s in training mode, the first is %s: computed as at inference, "
                     "with running statistics and without dropout",
                     load->training_count, load->training_count > 1 ? "s are" : " is",
                     onnx_place(&node, place, sizeof place));
    }
}

static void tell_dynamic(const onnx_loader *load) {
    if (load->dynamic_count > 0 && load->batch == ONNX_BATCH) {
        clq_log_info("quantized dynamically: %d value%s rounded by %s own range, here of each "
                     "sample, in ONNX of all that run at once",
                     load->dynamic_count, load->dynamic_count > 1 ? "s are" : " is",
                     load->dynamic_count > 1 ? "their" : "its");
    }
}

/* ---- element types ---- */

bool onnx_is_real(int64_t type) {
    return type == ONNX_FLOAT || type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
}

void onnx_note_type(onnx_loader *load, int64_t type) {
    load->other_type = type != ONNX_FLOAT && !load->other_type ? type : load->other_type;
}

static void tell_types(const onnx_loader *load) {
    char name[32];
    if (load->other_type) {
        clq_log_info("the model computes in %s, clquant in float32",
                     onnx_type_name(load->other_type, name, sizeof name));
    }
}

/* ---- the file as a whole ---- */

static clq_status check_header(const Onnx__ModelProto *model, int64_t *version) {
    if (model->ir_version < 1 || !model->graph) {
        return clq_fail(CLQ_BAD_DATA, "not an ONNX model: it has no IR version or no graph");
    }
    if (model->graph->n_sparse_initializer > 0) {
        return clq_fail(CLQ_BAD_DATA,
                        "has %zu sparse initializers, which are not supported; save "
                        "them as dense tensors",
                        model->graph->n_sparse_initializer);
    }
    int64_t opset = -1;
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const Onnx__OperatorSetIdProto *set = model->opset_import[i];
        if (!set->domain || !set->domain[0] || strcmp(set->domain, "ai.onnx") == 0) {
            opset = set->version;
        }
    }
    if (opset < OLDEST_OPSET) {
        return opset < 0
                   ? clq_fail(CLQ_BAD_DATA, "does not say which opset of ONNX it uses")
                   : clq_fail(CLQ_BAD_DATA,
                              "opset %lld is not supported, only %d and later; convert it with "
                              "onnx.version_converter.convert_version",
                              (long long)opset, OLDEST_OPSET);
    }
    if (opset > NEWEST_OPSET) {
        clq_log(CLQ_LOG_WARN, "opset %lld is newer than %d, the last one known", (long long)opset,
                NEWEST_OPSET);
    }
    *version = opset;
    return CLQ_OK;
}

/* Texts that protobuf leaves NULL, and counts that later code relies on. */
static clq_status check_graph(const Onnx__GraphProto *proto) {
    if (proto->n_node == 0 || proto->n_node > ONNX_MAX_NODES) {
        return clq_fail(CLQ_BAD_DATA, "has %zu nodes, must have 1..%d", proto->n_node,
                        ONNX_MAX_NODES);
    }
    if (proto->n_initializer > ONNX_MAX_VALUES || proto->n_input > ONNX_MAX_VALUES) {
        return clq_fail(CLQ_BAD_DATA, "has more than %d initializers or inputs", ONNX_MAX_VALUES);
    }
    for (size_t i = 0; i < proto->n_node; i++) {
        const Onnx__NodeProto *node = proto->node[i];
        const char *name = node->name ? node->name : "";
        if (!node->op_type || !node->op_type[0]) {
            return clq_fail(CLQ_BAD_DATA, "node %zu (\"%.200s\"): has no operator", i, name);
        }
        if (node->n_output < 1) {
            return clq_fail(CLQ_BAD_DATA, "node %zu (%.60s \"%.200s\"): has no output", i,
                            node->op_type, name);
        }
    }
    if (proto->n_output < 1 || proto->n_output > CLQ_MAX_ENDS) {
        return clq_fail(CLQ_BAD_DATA, "has %zu output%s, must have 1..%d", proto->n_output,
                        clq_plural((int64_t)proto->n_output), CLQ_MAX_ENDS);
    }
    for (size_t i = 0; i < proto->n_output; i++) {
        if (!proto->output[i]->name || !proto->output[i]->name[0]) {
            return clq_fail(CLQ_BAD_DATA, "output %zu has no name", i);
        }
    }
    return CLQ_OK;
}

static clq_status bind_initializers(onnx_loader *load) {
    for (size_t i = 0; i < load->proto->n_initializer; i++) {
        const Onnx__TensorProto *tensor = load->proto->initializer[i];
        onnx_operand operand = {.value = CLQ_NO_VALUE};
        if (!tensor->name || !tensor->name[0]) {
            return clq_fail(CLQ_BAD_DATA, "initializer %zu has no name", i);
        }
        if (onnx_use_count(load, tensor->name) > 0) { /* an unused one is bound to be known */
            CLQ_TRY(onnx_constant_read(load, tensor, tensor->name, &operand.constant));
        }
        CLQ_TRY(onnx_bind(load, tensor->name, &operand));
    }
    return CLQ_OK;
}

clq_status onnx_fail_unbound(const onnx_loader *load, const char *name) {
    for (int i = 0; i < load->order_count; i++) {
        const onnx_node maker = onnx_node_at(load, load->order[i]);
        for (size_t k = 1; k < maker.proto->n_output; k++) {
            char place[ONNX_PLACE_SIZE];
            if (strcmp(maker.proto->output[k], name) == 0) {
                return clq_fail(
                    CLQ_BAD_DATA,
                    "\"%.200s\" is output %zu of %s, of which only output 0 is supported", name, k,
                    onnx_place(&maker, place, sizeof place));
            }
        }
    }
    return clq_fail(CLQ_BAD_DATA, "\"%.200s\" is made by no node, initializer or input", name);
}

static clq_status read_node(onnx_loader *load, onnx_node *node) {
    for (size_t i = 0; i < node->proto->n_input; i++) {
        const char *name = node->proto->input[i];
        if (name[0] && clq_names_find(&load->bound, name) < 0) {
            return onnx_fail_unbound(load, name);
        }
    }
    bool done;
    CLQ_TRY(onnx_fold_node(load, node, &done));
    if (!done) {
        const onnx_operator *found = onnx_find_reader(node->op);
        if (!found || onnx_input(load, node, 0) == NULL) {
            return onnx_fail(node, "input 0 is missing");
        }
        CLQ_TRY(found->read(load, node));
        CLQ_TRY(onnx_end_reads(load, node));
    }
    return onnx_attributes_done(node);
}

/* Errors of layers below that know no node of the file get its place. */
static clq_status load_node(onnx_loader *load, int index) {
    onnx_node node = onnx_node_at(load, index);
    char place[ONNX_PLACE_SIZE];
    clq_status status = read_node(load, &node);
    onnx_place(&node, place, sizeof place);
    return strncmp(clq_last_error(), place, strlen(place)) == 0 ? status
                                                                : clq_fail_in(status, "%s", place);
}

static clq_status load_metadata(onnx_loader *load, const Onnx__ModelProto *model) {
    if (model->n_metadata_props > MAX_METADATA) {
        return clq_fail(CLQ_BAD_DATA, "%zu metadata_props, at most %d are allowed",
                        model->n_metadata_props, MAX_METADATA);
    }
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const char *key = model->metadata_props[i]->key, *text = model->metadata_props[i]->value;
        if (!key || !key[0] || clq_graph_get_metadata(load->graph, key)) {
            return clq_fail(CLQ_BAD_DATA, "metadata_props: \"%.100s\" is empty or there twice",
                            key ? key : "");
        }
        if (load->own && strcmp(key, ONNX_FORM_KEY) == 0) { /* says how to read this file */
            load->keep_form = text && strcmp(text, "trained") == 0;
            load->keep_float = text && strcmp(text, "quantized") == 0;
            load->keep_codes = text && (load->keep_float || strcmp(text, "integer") == 0);
            continue;
        }
        const bool types = strcmp(key, ONNX_TYPES_KEY) == 0;
        if (load->own && (types || strcmp(key, ONNX_REAL_NODES_KEY) == 0)) {
            CLQ_TRY(clq_json_parse(key, text ? text : "", strlen(text ? text : ""),
                                   types ? &load->types : &load->real_nodes));
            continue;
        }
        if (!load->own || strcmp(key, ONNX_VERSION_KEY) != 0) {
            CLQ_TRY(clq_graph_set_metadata(load->graph, key, text ? text : ""));
        }
    }
    return CLQ_OK;
}

static clq_status load_model(onnx_loader *load, const Onnx__ModelProto *model) {
    load->own = model->producer_name && strcmp(model->producer_name, "clquant") == 0;
    CLQ_TRY(onnx_expand_qoperators(load, &load->proto));
    CLQ_TRY(onnx_join_dynamic(load, &load->proto));
    CLQ_TRY(onnx_join_patterns(load, &load->proto));
    const Onnx__GraphProto *proto = load->proto;
    CLQ_TRY(clq_graph_create(proto->name, &load->graph));
    CLQ_TRY(load_metadata(load, model));

    /* Every bound name is an initializer, an input or a node's output; every used one a node's
     * input or an output. */
    size_t names = proto->n_initializer + proto->n_input + 1, uses = proto->n_output + 1;
    for (size_t i = 0; i < proto->n_node; i++) {
        names += proto->node[i]->n_output;
        uses += proto->node[i]->n_input;
    }
    void *memory;
    CLQ_TRY(clq_arena_take(&load->arena, names, sizeof *load->operands, &memory));
    load->operands = memory;
    CLQ_TRY(clq_arena_take(&load->arena, uses, sizeof *load->use_count, &memory));
    load->use_count = memory;
    CLQ_TRY(clq_arena_take(&load->arena, proto->n_node, sizeof *load->order, &memory));
    load->order = memory;

    CLQ_TRY(onnx_order_nodes(load));
    CLQ_TRY(onnx_survey(load));
    load->surveyed = true;
    CLQ_TRY(bind_initializers(load));
    CLQ_TRY(onnx_add_inputs(load));
    for (int i = 0; i < load->order_count; i++) {
        CLQ_TRY(load_node(load, load->order[i]));
    }
    for (size_t i = 0; i < proto->n_output; i++) {
        CLQ_TRY(onnx_add_output(load, proto->output[i]->name));
    }
    CLQ_TRY(onnx_finish_layouts(load));
    CLQ_TRY(onnx_finish_qparams(load));
    warn_of_training(load);
    tell_dynamic(load);
    tell_types(load);
    return clq_graph_validate(load->graph);
}

/* Without batch norm and dropout the folded form is the same network: activations are fused. */
static clq_status choose_form(const onnx_loader *load, clq_graph **graph) {
    if (load->has_q) {
        (*graph)->folded = true;
        return CLQ_OK;
    }
    for (int i = 0; i < (*graph)->node_count; i++) {
        const char *op = (*graph)->nodes[i].op->name;
        if (load->keep_form || strcmp(op, "batch_norm") == 0 || strcmp(op, "dropout") == 0) {
            return CLQ_OK;
        }
    }
    clq_graph *folded;
    CLQ_TRY(clq_graph_fold(*graph, &folded));
    clq_graph_destroy(*graph);
    *graph = folded;
    return CLQ_OK;
}

static clq_status keep_producer(const Onnx__ModelProto *model, clq_graph *graph) {
    const char *name = model->producer_name, *version = model->producer_version;
    if (!name || !*name) {
        return CLQ_OK;
    }
    graph->producer = version && *version ? clq_format("%s %s", name, version) : clq_strdup(name);
    return graph->producer ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status load_graph(onnx_loader *load, const Onnx__ModelProto *model) {
    CLQ_TRY(check_header(model, &load->opset));
    CLQ_TRY(onnx_inline_functions(&load->arena, model, &load->proto));
    CLQ_TRY(check_graph(load->proto));
    CLQ_TRY(load_model(load, model));
    CLQ_TRY(choose_form(load, &load->graph));
    CLQ_TRY(keep_producer(model, load->graph));
    return onnx_external_keep_paths(&load->external, load->graph);
}

static void free_loader(onnx_loader *load) {
    clq_graph_destroy(load->graph);
    clq_free(load->value_uses);
    clq_free(load->reads);
    clq_free(load->moved);
    clq_names_free(&load->bound);
    clq_names_free(&load->uses);
    clq_names_free(&load->names);
    clq_names_free(&load->rounded);
    json_decref(load->types);
    json_decref(load->real_nodes);
    onnx_external_free(&load->external);
    clq_arena_free(&load->arena);
}

/* What the file and the caller say, for one way of loading. */
typedef struct source_file {
    const Onnx__ModelProto *model;
    size_t size;
    const char *folder; /* NULL: none */
    const clq_onnx_shape *shapes;
    size_t shape_count;
    const char *name; /* its path, or what it is called in errors */
} source_file;

/* *surveyed: all operators are known. */
static clq_status load_once(const source_file *file, bool whole, bool *surveyed,
                            clq_graph **graph) {
    onnx_loader load = {.external = {.folder = file->folder},
                        .shapes = file->shapes,
                        .shape_count = file->shape_count,
                        .whole = whole};
    load.arena.limit = clq_onnx_memory_limit(file->size);
    clq_status status = load_graph(&load, file->model);
    if (status == CLQ_OK) {
        status = clq_graph_set_file(load.graph, file->name);
    }
    if (status == CLQ_OK) {
        *graph = load.graph;
        load.graph = NULL;
    }
    *surveyed = load.surveyed;
    free_loader(&load);
    return status;
}

/* The graph of an unpacked model, which it frees. Where nodes do more with the batch than to keep
 * it, a file whose batch is a number is read as a network that takes it as one sample. */
static clq_status load_unpacked(clq_onnx_memory *memory, Onnx__ModelProto *model,
                                const source_file *file, clq_graph **graph) {
    bool surveyed;
    clq_status status = load_once(file, false, &surveyed, graph);
    char *error = NULL;
    if (status == CLQ_BAD_DATA && surveyed && (error = clq_strdup(clq_last_error()))) {
        status = load_once(file, true, &surveyed, graph);
        if (status != CLQ_OK) {
            status = clq_fail(CLQ_BAD_DATA, "%s", error);
        }
    }
    clq_free(error);
    clq_onnx_model_free(memory, model);
    return status;
}

clq_status clq_onnx_load_memory(const void *data, size_t size, const char *name,
                                clq_graph **graph) {
    CLQ_NEEDS(name, graph);
    CLQ_REQUIRE(data || size == 0, "data must not be NULL");
    clq_onnx_memory memory;
    Onnx__ModelProto *model = NULL;
    CLQ_TRY(clq_onnx_check_head(NULL, name, data, size, size));
    clq_status status = clq_onnx_unpack(data, size, &memory, &model);
    if (status == CLQ_OK) {
        status = load_unpacked(&memory, model,
                               &(source_file){.model = model, .size = size, .name = name}, graph);
    }
    return clq_fail_in(status, "%s", name);
}

/* As above, but the file's bytes are not kept beside the unpacked model and the graph. */
clq_status clq_onnx_load_shaped(const char *path, const clq_onnx_shape *shapes, size_t count,
                                clq_graph **graph) {
    CLQ_NEEDS(path, graph);
    void *file = NULL;
    size_t size = 0;
    clq_onnx_memory memory;
    Onnx__ModelProto *model = NULL;
    CLQ_TRY(clq_fail_in(clq_foreign_check_folder(CLQ_EXPECTED_ONNX, path), "%s", path));
    CLQ_TRY(clq_file_read_checked(path, PTRDIFF_MAX - 1, clq_onnx_check_head, NULL, &file, &size));
    char *folder = NULL;
    clq_status status = clq_onnx_unpack(file, size, &memory, &model);
    clq_free(file);
    if (status == CLQ_OK && !clq_is_meant_pipe(path) && !(folder = clq_path_folder(path))) {
        clq_onnx_model_free(&memory, model);
        status = CLQ_NO_MEMORY;
    }
    if (status == CLQ_OK) {
        status = load_unpacked(&memory, model,
                               &(source_file){model, size, folder, shapes, count, path}, graph);
    }
    clq_free(folder);
    return clq_fail_in(status, "%s", path);
}

clq_status clq_onnx_load(const char *path, clq_graph **graph) {
    return clq_onnx_load_shaped(path, NULL, 0, graph);
}
