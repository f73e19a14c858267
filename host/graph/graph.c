/* Making, copying and searching graphs. */
#include <clquant/graph.h>

#include <limits.h>
#include <string.h>

#include "base/arguments.h"
#include "base/text.h"
#include "graph/ends.h"
#include "graph/node.h"
#include "graph/shape.h"

/* ---- life ---- */

clq_status clq_graph_set_file(clq_graph *graph, const char *file) {
    char *copy = file ? clq_strdup(file) : NULL;
    if (file && !copy) {
        return CLQ_NO_MEMORY;
    }
    clq_free(graph->file);
    graph->file = copy;
    return CLQ_OK;
}

clq_status clq_fail_in_graph(const clq_graph *graph, clq_status status) {
    return status == CLQ_OK || !graph->file || strstr(clq_last_error(), graph->file)
               ? status
               : clq_fail_in(status, "%s", graph->file);
}

clq_status clq_graph_create_like(const clq_graph *old, clq_graph **graph) {
    CLQ_TRY(clq_graph_create(old->name, graph));
    const clq_status status = clq_graph_set_file(*graph, old->file);
    if (status != CLQ_OK) {
        clq_graph_destroy(*graph);
        *graph = NULL;
    }
    return status;
}

clq_status clq_graph_create(const char *name, clq_graph **graph) {
    CLQ_NEEDS(graph);
    clq_graph *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->name = clq_strdup(name ? name : "");
    if (!made->name) {
        clq_free(made);
        return CLQ_NO_MEMORY;
    }
    *graph = made;
    return CLQ_OK;
}

void clq_graph_destroy(clq_graph *graph) {
    if (!graph) {
        return;
    }
    for (int i = 0; i < graph->value_count; i++) {
        clq_free(graph->values[i].name);
        clq_free(graph->values[i].file_name);
        clq_free(graph->values[i].data);
        clq_qparams_clear(&graph->values[i].q);
    }
    for (int i = 0; i < graph->node_count; i++) {
        clq_free(graph->nodes[i].name);
        clq_free(graph->nodes[i].attrs);
    }
    for (int i = 0; i < graph->metadata_count; i++) {
        clq_free(graph->metadata[i].key);
        clq_free(graph->metadata[i].value);
    }
    for (int i = 0; i < graph->output_count; i++) {
        clq_free(graph->outputs[i].name);
    }
    for (int i = 0; i < graph->data_file_count; i++) {
        clq_free(graph->data_files[i]);
    }
    clq_free(graph->values);
    clq_free(graph->nodes);
    clq_free(graph->metadata);
    clq_free(graph->data_files);
    clq_free(graph->name);
    clq_free(graph->file);
    clq_free(graph->producer);
    clq_free(graph);
}

clq_status clq_value_set_file_name(clq_value *value, const char *file_name) {
    char *copy = file_name ? clq_strdup(file_name) : NULL;
    if (file_name && !copy) {
        return CLQ_NO_MEMORY;
    }
    clq_free(value->file_name);
    value->file_name = copy;
    return CLQ_OK;
}

/* ---- adding values and nodes ---- */

/* The array with room for one more than `count` elements, the new one zeroed; the caller raises the
 * count once it is filled. NULL (the array is as it was) when memory ran out. */
static void *grow(void *array, int count, int *capacity, size_t size) {
    char *grown = array;
    if (count >= *capacity) {
        int more = count > INT_MAX / 2 ? INT_MAX : count < 8 ? 8 : 2 * count;
        grown = clq_realloc(array, (size_t)more, size);
        if (!grown) {
            return NULL;
        }
        *capacity = more;
    }
    memset(grown + (size_t)count * size, 0, size);
    return grown;
}

/* The text, type and shape of `value` are copied; id is set last. */
static clq_status add_value(clq_graph *graph, const clq_value *value, const void *data, int *id) {
    clq_value *values =
        grow(graph->values, graph->value_count, &graph->value_capacity, sizeof *values);
    if (!values) {
        return CLQ_NO_MEMORY;
    }
    graph->values = values;
    clq_value copy = *value;
    copy.data = NULL;
    copy.file_name = NULL;
    copy.q = (clq_qparams){0};
    copy.name = clq_strdup(value->name);
    if (!copy.name) {
        return CLQ_NO_MEMORY;
    }
    if (clq_is_constant(value)) {
        const size_t bytes = (size_t)clq_dtype_bytes(value->dtype, clq_shape_count(&value->shape));
        copy.data = data ? clq_realloc(NULL, bytes, 1) : clq_calloc(bytes, 1);
        if (!copy.data) {
            clq_free(copy.name);
            return CLQ_NO_MEMORY;
        }
        if (data) {
            memcpy(copy.data, data, bytes);
        }
    }
    graph->values[graph->value_count] = copy;
    *id = graph->value_count++;
    return CLQ_OK;
}

clq_status clq_graph_add_input(clq_graph *graph, const char *name, clq_shape shape, int *value) {
    CLQ_NEEDS(graph, name, value);
    if (graph->input_count == CLQ_MAX_ENDS) {
        return clq_fail(CLQ_BAD_DATA, "input \"%s\": more than %d inputs", name, CLQ_MAX_ENDS);
    }
    CLQ_TRY(clq_fail_in(clq_shape_check(&shape), "input \"%s\"", name));
    if (shape.rank < 2 || shape.dim[0] != 1) {
        char text[CLQ_SHAPE_TEXT_SIZE];
        clq_shape_text(&shape, text, sizeof text);
        return clq_fail(CLQ_BAD_DATA,
                        "input \"%s\": shape %s must have 2 to %d dimensions, the first of 1", name,
                        text, CLQ_MAX_RANK);
    }
    clq_value input = {.name = (char *)name,
                       .kind = CLQ_VALUE_INPUT,
                       .dtype = CLQ_F32,
                       .shape = shape,
                       .producer = -1};
    CLQ_TRY(add_value(graph, &input, NULL, value));
    graph->inputs[graph->input_count++] = *value;
    return CLQ_OK;
}

clq_status clq_graph_add_parameter(clq_graph *graph, const char *name, clq_value_kind kind,
                                   clq_dtype dtype, clq_shape shape, const void *data, int *value) {
    CLQ_NEEDS(graph, name, value);
    if (kind != CLQ_VALUE_PARAMETER && kind != CLQ_VALUE_STATE) {
        return clq_fail(CLQ_USAGE, "\"%s\": kind %d is neither parameter nor state", name,
                        (int)kind);
    }
    if (clq_dtype_bytes(dtype, 1) == 0) {
        return clq_fail(CLQ_USAGE, "\"%s\": %d is no dtype", name, (int)dtype);
    }
    CLQ_TRY(clq_fail_in(clq_shape_check(&shape), "parameter \"%s\"", name));
    clq_value parameter = {
        .name = (char *)name, .kind = kind, .dtype = dtype, .shape = shape, .producer = -1};
    return add_value(graph, &parameter, data, value);
}

static clq_status check_inputs(const clq_graph *graph, const clq_op *op, const char *name,
                               const int *inputs, int count) {
    if (count < op->min_inputs || count > op->max_inputs || count > CLQ_MAX_INPUTS) {
        return clq_fail(CLQ_BAD_DATA, "%s \"%s\": has %d input%s, wants %d..%d", op->name, name,
                        count, clq_plural(count), op->min_inputs, op->max_inputs);
    }
    for (int i = 0; i < count; i++) {
        bool absent = inputs[i] == CLQ_NO_VALUE;
        if (absent ? i < op->min_inputs : inputs[i] < 0 || inputs[i] >= graph->value_count) {
            return clq_fail(CLQ_BAD_DATA, "%s \"%s\": input %d is %d, no value of the graph",
                            op->name, name, i, inputs[i]);
        }
    }
    return CLQ_OK;
}

clq_status clq_graph_add_node(clq_graph *graph, const char *op_name, const char *name,
                              const void *attrs, const int *inputs, int input_count, int *output) {
    CLQ_NEEDS(graph, op_name, name, output);
    CLQ_REQUIRE(inputs || input_count <= 0, "inputs must not be NULL");
    const clq_op *op = clq_op_find(op_name);
    if (!op) {
        return clq_fail(CLQ_BAD_DATA, "node \"%s\": there is no operator \"%s\"", name, op_name);
    }
    CLQ_TRY(check_inputs(graph, op, name, inputs, input_count));
    clq_node *nodes = grow(graph->nodes, graph->node_count, &graph->node_capacity, sizeof *nodes);
    if (!nodes) {
        return CLQ_NO_MEMORY;
    }
    graph->nodes = nodes;

    clq_status status = CLQ_NO_MEMORY;
    clq_node *node = &graph->nodes[graph->node_count];
    clq_shape shape = {0};
    node->op = op;
    node->output = CLQ_NO_VALUE;
    node->input_count = input_count;
    for (int i = 0; i < CLQ_MAX_INPUTS; i++) {
        node->inputs[i] = i < input_count ? inputs[i] : CLQ_NO_VALUE;
    }
    node->name = clq_strdup(name);
    node->attrs = clq_calloc(1, op->attrs_size);
    if (!node->name || !node->attrs) {
        goto failed;
    }
    if (attrs && op->attrs_size > 0) {
        memcpy(node->attrs, attrs, op->attrs_size);
    }
    CLQ_GOTO(status, failed, op->infer(graph, node, &shape));
    CLQ_GOTO(status, failed,
             clq_fail_in(clq_shape_check(&shape), "%s \"%s\": output", op->name, name));
    clq_value value = {.name = (char *)name,
                       .kind = CLQ_VALUE_ACTIVATION,
                       .dtype = CLQ_F32,
                       .shape = shape,
                       .producer = graph->node_count};
    CLQ_GOTO(status, failed, add_value(graph, &value, NULL, &node->output));
    *output = node->output;
    graph->node_count++;
    return CLQ_OK;

failed:
    clq_free(node->name);
    clq_free(node->attrs);
    *node = (clq_node){0};
    return status;
}

/* ---- ends ---- */

void clq_graph_set_output(clq_graph *graph, int value) {
    CLQ_NEEDS_OR(, graph);
    for (int i = 0; i < graph->output_count; i++) {
        clq_free(graph->outputs[i].name);
    }
    graph->outputs[0] = (clq_graph_end){.value = value};
    graph->output_count = 1;
}

clq_status clq_graph_add_output(clq_graph *graph, const char *name, int value) {
    CLQ_NEEDS(graph);
    if (graph->output_count == CLQ_MAX_ENDS) {
        return clq_fail(CLQ_BAD_DATA, "output \"%s\": more than %d outputs", name ? name : "",
                        CLQ_MAX_ENDS);
    }
    char *copy = name ? clq_strdup(name) : NULL;
    if (name && !copy) {
        return CLQ_NO_MEMORY;
    }
    graph->outputs[graph->output_count++] = (clq_graph_end){.name = copy, .value = value};
    return CLQ_OK;
}

clq_status clq_graph_add_output_like(clq_graph *graph, const clq_graph_end *like, int value) {
    CLQ_NEEDS(graph, like);
    CLQ_TRY(clq_graph_add_output(graph, like->name, value));
    graph->outputs[graph->output_count - 1].axes = like->axes;
    return CLQ_OK;
}

int clq_graph_input(const clq_graph *graph) {
    CLQ_NEEDS_OR(CLQ_NO_VALUE, graph);
    return graph->input_count > 0 ? graph->inputs[0] : CLQ_NO_VALUE;
}

int clq_graph_output(const clq_graph *graph) {
    CLQ_NEEDS_OR(CLQ_NO_VALUE, graph);
    return graph->output_count > 0 ? graph->outputs[0].value : CLQ_NO_VALUE;
}

const char *clq_graph_input_name(const clq_graph *graph, int index) {
    CLQ_NEEDS_OR(NULL, graph);
    return index >= 0 && index < graph->input_count ? graph->values[graph->inputs[index]].name
                                                    : NULL;
}

const char *clq_graph_output_name(const clq_graph *graph, int index) {
    CLQ_NEEDS_OR(NULL, graph);
    if (index < 0 || index >= graph->output_count) {
        return NULL;
    }
    return graph->outputs[index].name ? graph->outputs[index].name : "logits";
}

/* "2 inputs (left, right)" */
static void list_ends(const clq_graph *graph, const char *what, int count,
                      const char *(*name)(const clq_graph *, int), clq_text *text) {
    clq_text_printf(text, "%d %s%s (", count, what, clq_plural(count));
    for (int i = 0; i < count; i++) {
        clq_text_printf(text, "%s%.60s", i ? ", " : "", name(graph, i));
    }
    clq_text_printf(text, ")");
}

static clq_status check_count(const clq_graph *graph, const char *who, bool outputs) {
    if (graph->input_count == 1 && (!outputs || graph->output_count == 1)) {
        return CLQ_OK;
    }
    clq_text text = {0};
    list_ends(graph, "input", graph->input_count, clq_graph_input_name, &text);
    if (outputs) {
        clq_text_printf(&text, " and ");
        list_ends(graph, "output", graph->output_count, clq_graph_output_name, &text);
    }
    const clq_status status =
        clq_fail(CLQ_BAD_DATA, "the network has %s; %s one%s", text.data ? text.data : "several",
                 who, outputs ? " of each" : "");
    clq_text_free(&text);
    return status;
}

clq_status clq_graph_check_single(const clq_graph *graph, const char *who) {
    CLQ_NEEDS(graph, who);
    return check_count(graph, who, true);
}

clq_status clq_graph_check_one_input(const clq_graph *graph, const char *who) {
    CLQ_NEEDS(graph, who);
    return check_count(graph, who, false);
}

/* ---- copying ---- */

static clq_status clone_values(const clq_graph *graph, clq_graph *clone) {
    for (int i = 0; i < graph->value_count; i++) {
        const clq_value *value = &graph->values[i];
        int id;
        CLQ_TRY(add_value(clone, value, value->data, &id));
        CLQ_TRY(clq_value_set_file_name(&clone->values[id], value->file_name));
        CLQ_TRY(clq_qparams_set(&clone->values[id].q, value->q.count, value->q.scale,
                                value->q.zero_point, value->q.type));
    }
    return CLQ_OK;
}

static clq_status clone_nodes(const clq_graph *graph, clq_graph *clone) {
    for (int i = 0; i < graph->node_count; i++) {
        clq_node *nodes =
            grow(clone->nodes, clone->node_count, &clone->node_capacity, sizeof *nodes);
        if (!nodes) {
            return CLQ_NO_MEMORY;
        }
        clone->nodes = nodes;
        clq_node *copy = &clone->nodes[clone->node_count++];
        const clq_node *node = &graph->nodes[i];
        *copy = *node;
        copy->name = clq_strdup(node->name);
        copy->attrs = clq_calloc(1, node->op->attrs_size);
        if (!copy->name || !copy->attrs) {
            return CLQ_NO_MEMORY;
        }
        memcpy(copy->attrs, node->attrs, node->op->attrs_size);
    }
    return CLQ_OK;
}

clq_status clq_graph_clone(const clq_graph *graph, clq_graph **result) {
    CLQ_NEEDS(graph, result);
    clq_graph *clone = NULL;
    clq_status status = clq_graph_create_like(graph, &clone);
    if (status != CLQ_OK) {
        return status;
    }
    CLQ_GOTO(status, cleanup, clone_values(graph, clone));
    CLQ_GOTO(status, cleanup, clone_nodes(graph, clone));
    for (int i = 0; i < graph->metadata_count; i++) {
        CLQ_GOTO(status, cleanup,
                 clq_graph_set_metadata(clone, graph->metadata[i].key, graph->metadata[i].value));
    }
    memcpy(clone->inputs, graph->inputs, sizeof clone->inputs);
    memcpy(clone->input_axes, graph->input_axes, sizeof clone->input_axes);
    clone->input_count = graph->input_count;
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_GOTO(status, cleanup,
                 clq_graph_add_output_like(clone, &graph->outputs[i], graph->outputs[i].value));
    }
    clone->folded = graph->folded;
    *result = clone;
    clone = NULL;
cleanup:
    clq_graph_destroy(clone);
    return status;
}

/* ---- searching ---- */

int clq_graph_find_value(const clq_graph *graph, const char *name) {
    CLQ_NEEDS_OR(-1, graph, name);
    for (int i = 0; i < graph->value_count; i++) {
        if (strcmp(graph->values[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

int clq_graph_find_node(const clq_graph *graph, const char *name) {
    CLQ_NEEDS_OR(-1, graph, name);
    for (int i = 0; i < graph->node_count; i++) {
        if (strcmp(graph->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

bool clq_graph_has_fixed_batch(const clq_graph *graph) {
    CLQ_NEEDS_OR(false, graph);
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (graph->values[node->output].shape.dim[0] != 1 ||
            (node->op->fixes_batch && node->op->fixes_batch(graph, node))) {
            return true;
        }
    }
    return false;
}

int clq_graph_use_count(const clq_graph *graph, int value) {
    CLQ_NEEDS_OR(0, graph);
    int uses = 0;
    for (int i = 0; i < graph->output_count; i++) {
        uses += graph->outputs[i].value == value;
    }
    for (int i = 0; i < graph->node_count; i++) {
        for (int k = 0; k < graph->nodes[i].input_count; k++) {
            uses += graph->nodes[i].inputs[k] == value;
        }
    }
    return uses;
}

clq_status clq_check_ends(const char *function, const clq_graph *graph) {
    bool inputs = graph->input_count > 0, outputs = graph->output_count > 0;
    for (int i = 0; i < graph->input_count; i++) {
        inputs &= graph->inputs[i] >= 0 && graph->inputs[i] < graph->value_count;
    }
    for (int i = 0; i < graph->output_count; i++) {
        outputs &= graph->outputs[i].value >= 0 && graph->outputs[i].value < graph->value_count;
    }
    if (!inputs || !outputs) {
        return clq_fail(CLQ_USAGE, "%s: the graph \"%s\" has no %s", function,
                        graph->name ? graph->name : "", inputs ? "output" : "input");
    }
    return CLQ_OK;
}

/* ---- metadata ---- */

static int find_metadata(const clq_graph *graph, const char *key) {
    for (int i = 0; i < graph->metadata_count; i++) {
        if (strcmp(graph->metadata[i].key, key) == 0) {
            return i;
        }
    }
    return -1;
}

clq_status clq_graph_set_metadata(clq_graph *graph, const char *key, const char *text) {
    CLQ_NEEDS(graph, key, text);
    if (!clq_is_utf8(key) || !clq_is_utf8(text)) { /* files could not keep it */
        return clq_fail(CLQ_BAD_DATA, "metadata \"%.100s\": is not UTF-8", key);
    }
    char *value = clq_strdup(text);
    if (!value) {
        return CLQ_NO_MEMORY;
    }
    int index = find_metadata(graph, key);
    if (index >= 0) {
        clq_free(graph->metadata[index].value);
        graph->metadata[index].value = value;
        return CLQ_OK;
    }
    char *name = clq_strdup(key);
    clq_metadata *metadata =
        clq_realloc(graph->metadata, (size_t)graph->metadata_count + 1, sizeof *metadata);
    if (metadata) {
        graph->metadata = metadata;
    }
    if (!name || !metadata) {
        clq_free(name);
        clq_free(value);
        return CLQ_NO_MEMORY;
    }
    graph->metadata[graph->metadata_count++] = (clq_metadata){name, value};
    return CLQ_OK;
}

const char *clq_graph_get_metadata(const clq_graph *graph, const char *key) {
    CLQ_NEEDS_OR(NULL, graph, key);
    int index = find_metadata(graph, key);
    return index < 0 ? NULL : graph->metadata[index].value;
}
