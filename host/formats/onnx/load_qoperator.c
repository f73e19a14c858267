/* Models in QOperator form, made into QDQ form before anything else looks at them.
 *
 * An operator on codes is a DequantizeLinear for each thing that it reads, the operator on reals
 * and a QuantizeLinear; one that only passes codes on, such as a MaxPool of codes, is the same with
 * the qparams of what it reads. The operator keeps its node's name and place, so that messages name
 * what the file has; what comes before and behind it is appended. */
#include <string.h>

#include "formats/onnx/load.h"
#include "formats/onnx/qoperators.h"

enum { MAX_OPERANDS = 64 };

typedef struct codes {
    const char *scale, *zero_point;
} codes;

typedef struct expander {
    onnx_loader *load;
    Onnx__GraphProto *graph; /* being made; its arrays have room for all */
    clq_names initializers;  /* name -> index */
    clq_names coded;         /* value name -> index in `kinds` */
    codes *kinds;            /* (kind_count) */
    int kind_count;
} expander;

static const char *input_of(const Onnx__NodeProto *node, int index) {
    return index < (int)node->n_input ? node->input[index] : "";
}

static const onnx_qoperator *find_rule(const Onnx__NodeProto *node) {
    for (const onnx_qoperator *r = onnx_qoperators; r->name; r++) {
        if (strcmp(r->name, node->op_type) == 0 && strcmp(r->domain, onnx_domain_of(node)) == 0) {
            return r;
        }
    }
    return NULL;
}

/* ---- making nodes ---- */

/* QuantizeLinear or DequantizeLinear at the end of the graph. */
static clq_status append_linear(expander *e, const char *op, const char *x, codes by, int axis,
                                const char *output) {
    const char *inputs[3] = {x, by.scale, by.zero_point};
    Onnx__NodeProto *node;
    CLQ_TRY(onnx_new_proto(e->load, op, inputs, 3, output, &node));
    CLQ_TRY(onnx_give_axis(e->load, node, axis));
    e->graph->node[e->graph->n_node++] = node;
    return CLQ_OK;
}

/* A name for what stands between; no file has a line feed in one. */
static clq_status inner_name(expander *e, const char *of, const char *what, int index,
                             char **name) {
    return clq_arena_format(&e->load->arena, name, "%s\n%s %d", of, what, index);
}

static clq_status append_dequantize(expander *e, const char *output, int operand, const char *x,
                                    codes by, int axis, char **name) {
    CLQ_TRY(inner_name(e, output, "operand", operand, name));
    return append_linear(e, "DequantizeLinear", x, by, axis, *name);
}

/* ---- the bias's scale ---- */

static clq_status read_initializer(expander *e, const char *name, const onnx_constant **found) {
    const int index = clq_names_find(&e->initializers, name);
    *found = NULL;
    return index < 0 ? CLQ_OK
                     : onnx_constant_read(e->load, e->graph->initializer[index], name, found);
}

/* A scale among the initializers; *scale is NULL where it is none. */
static clq_status read_scale(expander *e, const char *name, const onnx_constant **scale) {
    CLQ_TRY(read_initializer(e, name, scale));
    if (*scale && ((*scale)->type != ONNX_FLOAT || (*scale)->count == 0)) {
        *scale = NULL;
    }
    return CLQ_OK;
}

/* An initializer with the product of a number and one or more; *name is NULL where it cannot be. */
static clq_status multiply_scales(expander *e, const char *output, const char *x, const char *w,
                                  char **name) {
    const onnx_constant *a, *b;
    void *memory;
    *name = NULL;
    CLQ_TRY(read_scale(e, x, &a));
    CLQ_TRY(read_scale(e, w, &b));
    if (!a || !b || a->count != 1) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(&e->load->arena, b->count, sizeof(float), &memory));
    float *product = memory;
    for (size_t i = 0; i < b->count; i++) {
        product[i] = *(const float *)a->data * ((const float *)b->data)[i];
    }
    CLQ_TRY(clq_arena_take(&e->load->arena, 1, sizeof(Onnx__TensorProto), &memory));
    Onnx__TensorProto *tensor = memory;
    onnx__tensor_proto__init(tensor);
    CLQ_TRY(inner_name(e, output, "scale of the bias", 0, name));
    const int64_t count = (int64_t)b->count;
    CLQ_TRY(clq_arena_copy(&e->load->arena, &count, sizeof count, &memory));
    tensor->name = *name;
    tensor->has_data_type = tensor->has_raw_data = true;
    tensor->data_type = ONNX_FLOAT;
    tensor->dims = memory;
    tensor->n_dims = count > 1 ? 1 : 0;
    tensor->raw_data = (ProtobufCBinaryData){b->count * sizeof(float), (uint8_t *)product};
    e->graph->initializer[e->graph->n_initializer++] = tensor;
    return CLQ_OK;
}

/* ---- one node ---- */

static clq_status note_codes(expander *e, const char *name, codes by) {
    e->kinds[e->kind_count] = by;
    return clq_names_set(&e->coded, name, e->kind_count++);
}

/* The node on reals, in the place of the one on codes; its inputs are to be filled in. */
static clq_status replace(expander *e, size_t index, const char *op, size_t inputs,
                          Onnx__NodeProto **node) {
    const Onnx__NodeProto *old = e->graph->node[index];
    char *name;
    CLQ_TRY(inner_name(e, old->output[0], "reals", 0, &name));
    CLQ_TRY(onnx_new_proto(e->load, op, NULL, inputs, name, node));
    (*node)->name = old->name;
    (*node)->attribute = old->attribute;
    (*node)->n_attribute = old->n_attribute;
    e->graph->node[index] = *node;
    return CLQ_OK;
}

/* Without channels_last, which the operator on reals has not. */
static clq_status take_attributes(expander *e, Onnx__NodeProto *node) {
    void *kept;
    CLQ_TRY(clq_arena_take(&e->load->arena, node->n_attribute + 1, sizeof(void *), &kept));
    size_t count = 0;
    for (size_t i = 0; i < node->n_attribute; i++) {
        const char *name = node->attribute[i]->name;
        if (!name || strcmp(name, "channels_last") != 0) {
            ((Onnx__AttributeProto **)kept)[count++] = node->attribute[i];
        }
    }
    node->attribute = kept;
    node->n_attribute = count;
    return CLQ_OK;
}

static int operand_count(const onnx_qoperator *r, const Onnx__NodeProto *node) {
    const int there = ((int)node->n_input - r->first) / 3;
    return r->operands >= 0 ? r->operands : there < MAX_OPERANDS ? there : 0;
}

static int weight_axis(const onnx_qoperator *r, const Onnx__NodeProto *node) {
    const Onnx__AttributeProto *transposed = onnx_proto_attribute(node, "transB");
    return transposed && transposed->i ? 0 : r->weight_axis;
}

/* CLQ_BAD_DATA where a node has not what its rule says. */
static clq_status check(const onnx_qoperator *r, const onnx_node *node) {
    const Onnx__NodeProto *proto = node->proto;
    const Onnx__AttributeProto *last = onnx_proto_attribute(proto, "channels_last");
    const int operands = operand_count(r, proto);
    bool there = operands > 0;
    for (int i = 0; i < operands; i++) {
        const int at = r->first + 3 * i;
        there = there && input_of(proto, at)[0] && input_of(proto, at + 1)[0];
    }
    const bool makes_reals = r->optional_out && !input_of(proto, r->out)[0];
    if (!there || !(makes_reals || input_of(proto, r->out)[0])) {
        return onnx_fail(node, "must have codes and their scale for each operand, and the scale "
                               "of what it makes");
    }
    if (last && last->i) {
        return onnx_fail(node, "channels_last is 1, which is not supported; quantize the model as "
                               "it was exported, with channels first");
    }
    return CLQ_OK;
}

static clq_status expand_rule(expander *e, size_t index, const onnx_qoperator *r) {
    const Onnx__NodeProto *old = e->graph->node[index];
    const onnx_node place = {.proto = old, .op = old->op_type, .index = (int)index};
    const char *output = old->output[0];
    const int operands = operand_count(r, old);
    const bool has_bias = r->bias > 0 && input_of(old, r->bias)[0];
    char *bias_scale = NULL, *name;
    CLQ_TRY(check(r, &place));
    if (has_bias) {
        CLQ_TRY(multiply_scales(e, output, input_of(old, 1), input_of(old, 4), &bias_scale));
    }
    if (has_bias && !bias_scale) {
        return onnx_fail(&place, "its scales must be initializers, one for what it reads");
    }
    Onnx__NodeProto *node;
    CLQ_TRY(replace(e, index, r->op, (size_t)(operands + has_bias), &node));
    CLQ_TRY(take_attributes(e, node));
    for (int i = 0; i < operands; i++) {
        const int at = r->first + 3 * i;
        const codes by = {input_of(old, at + 1), input_of(old, at + 2)};
        CLQ_TRY(append_dequantize(e, output, i, input_of(old, at), by,
                                  i == 1 ? weight_axis(r, old) : 0, &name));
        node->input[i] = name;
    }
    if (has_bias) {
        CLQ_TRY(append_dequantize(e, output, operands, input_of(old, r->bias),
                                  (codes){bias_scale, ""}, 0, &name));
        node->input[operands] = name;
    }
    const codes by = {input_of(old, r->out), input_of(old, r->out + 1)};
    if (!by.scale[0]) {
        node->output[0] = (char *)output;
        return CLQ_OK;
    }
    CLQ_TRY(append_linear(e, "QuantizeLinear", node->output[0], by, 0, output));
    return note_codes(e, output, by);
}

/* The codes that a node's input is; NULL: none that are known. */
static const codes *find_codes(const expander *e, const Onnx__NodeProto *node, int input) {
    const int kind = clq_names_find(&e->coded, input_of(node, input));
    return kind >= 0 ? &e->kinds[kind] : NULL;
}

static clq_status same_number(expander *e, const char *a, const char *b, bool *same) {
    const onnx_constant *x, *y;
    *same = *same && (strcmp(a, b) == 0 || (a[0] && b[0]));
    if (!*same || strcmp(a, b) == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(read_initializer(e, a, &x));
    CLQ_TRY(read_initializer(e, b, &y));
    *same = x && y && x->type == y->type && x->count == 1 && y->count == 1 &&
            memcmp(x->data, y->data, onnx_type_size(x->type)) == 0;
    return CLQ_OK;
}

/* An operator that reads codes in its first inputs and passes them on. */
static clq_status expand_passing(expander *e, size_t index, int coded) {
    const Onnx__NodeProto *old = e->graph->node[index];
    const onnx_node place = {.proto = old, .op = old->op_type, .index = (int)index};
    const codes first = *find_codes(e, old, 0);
    Onnx__NodeProto *node;
    void *outputs;
    char *name;
    bool same = true;
    if (old->n_output != 1 && strcmp(old->op_type, "Split") != 0) {
        return CLQ_OK;
    }
    CLQ_TRY(replace(e, index, old->op_type, old->n_input, &node));
    memcpy(node->input, old->input, old->n_input * sizeof *node->input);
    for (int i = 0; i < coded; i++) {
        const codes *by = find_codes(e, old, i);
        if (!by) {
            return onnx_fail(&place, "joins codes and reals");
        }
        CLQ_TRY(same_number(e, by->scale, first.scale, &same));
        CLQ_TRY(same_number(e, by->zero_point, first.zero_point, &same));
        if (!same) {
            return onnx_fail(&place,
                             "joins codes of different scales or zero points, inputs 0 "
                             "and %d, without requantizing them",
                             i);
        }
        CLQ_TRY(append_dequantize(e, old->output[0], i, old->input[i], *by, 0, &name));
        node->input[i] = name;
    }
    CLQ_TRY(clq_arena_take(&e->load->arena, old->n_output, sizeof(char *), &outputs));
    node->output = outputs;
    node->n_output = old->n_output;
    for (size_t i = 0; i < old->n_output; i++) {
        CLQ_TRY(inner_name(e, old->output[i], "reals", 0, &node->output[i]));
        CLQ_TRY(append_linear(e, "QuantizeLinear", node->output[i], first, 0, old->output[i]));
        CLQ_TRY(note_codes(e, old->output[i], first));
    }
    return CLQ_OK;
}

static clq_status expand_node(expander *e, size_t index) {
    const Onnx__NodeProto *node = e->graph->node[index];
    const onnx_qoperator *r = find_rule(node);
    if (r) {
        return expand_rule(e, index, r);
    }
    if (onnx_domain_of(node)[0] || node->n_input == 0) {
        return CLQ_OK;
    }
    if (strcmp(node->op_type, "QuantizeLinear") == 0 && node->n_input > 1) {
        return note_codes(e, node->output[0], (codes){node->input[1], input_of(node, 2)});
    }
    const codes *by = find_codes(e, node, 0);
    if (by && strcmp(node->op_type, "Clip") == 0) { /* codes of fewer bits */
        return note_codes(e, node->output[0], *by);
    }
    const bool joins = strcmp(node->op_type, "Concat") == 0;
    return by && onnx_passes_codes(node) ? expand_passing(e, index, joins ? (int)node->n_input : 1)
                                         : CLQ_OK;
}

/* ---- the graph ---- */

static bool is_wanted(const Onnx__GraphProto *graph) {
    bool quantize = false, passing_node = false;
    for (size_t i = 0; i < graph->n_node; i++) {
        if (find_rule(graph->node[i])) {
            return true;
        }
        quantize |= strcmp(graph->node[i]->op_type, "QuantizeLinear") == 0;
        passing_node |= onnx_passes_codes(graph->node[i]);
    }
    return quantize && passing_node;
}

/* A copy of an array of pointers with room for `more`. */
static clq_status copy_array(onnx_loader *load, const void *array, size_t count, size_t more,
                             void *out) {
    void *copy;
    CLQ_TRY(clq_arena_take(&load->arena, count + more, sizeof(void *), &copy));
    if (count > 0) {
        memcpy(copy, array, count * sizeof(void *));
    }
    memcpy(out, &copy, sizeof copy);
    return CLQ_OK;
}

static clq_status expand(expander *e) {
    const size_t nodes = e->graph->n_node;
    size_t more = 0;
    void *memory;
    for (size_t i = 0; i < nodes; i++) {
        more += e->graph->node[i]->n_input + e->graph->node[i]->n_output + 2;
    }
    CLQ_TRY(copy_array(e->load, e->graph->node, nodes, more, &e->graph->node));
    CLQ_TRY(copy_array(e->load, e->graph->initializer, e->graph->n_initializer, nodes,
                       &e->graph->initializer));
    CLQ_TRY(clq_arena_take(&e->load->arena, more, sizeof *e->kinds, &memory));
    e->kinds = memory;
    for (size_t i = 0; i < e->graph->n_initializer; i++) {
        const char *name = e->graph->initializer[i]->name;
        CLQ_TRY(clq_names_set(&e->initializers, name ? name : "", (int)i));
    }
    for (size_t i = 0; i < nodes; i++) {
        CLQ_TRY(expand_node(e, i));
    }
    return CLQ_OK;
}

clq_status onnx_expand_qoperators(onnx_loader *load, const Onnx__GraphProto **graph) {
    expander e = {.load = load};
    void *copy;
    if (!is_wanted(*graph)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_copy(&load->arena, *graph, sizeof **graph, &copy));
    e.graph = copy;
    clq_status status = expand(&e);
    clq_names_free(&e.initializers);
    clq_names_free(&e.coded);
    *graph = e.graph;
    return status;
}
