/* QDQ form made into QOperator form when all nodes stand: the way back of load_qoperator.c.
 *
 * The nodes are walked in order. A value that a DequantizeLinear makes is known by its codes; a
 * node that only passes values on does so with the codes instead. A node of the table becomes its
 * counterpart on codes where all that it reads is known by its codes and all that it makes goes to
 * one QuantizeLinear, at most by way of an activation that the codes' ends are anyway. A
 * QuantizeLinear of a value that is known by the codes which it would make is nothing. What nobody
 * reads in the end is left out. */
#include <math.h>
#include <string.h>

#include <clquant/formats.h>

#include "base/log.h"
#include "base/text.h"
#include "formats/onnx/operators.h"
#include "formats/onnx/qoperators.h"

enum { UINT8 = ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, INT8 = ONNX__TENSOR_PROTO__DATA_TYPE__INT8 };

/* A value of the file. */
typedef struct value {
    int tensor;       /* the initializer that it is; -1: none */
    int uses, reader; /* how often it is read, and by which node last */
    bool is_output;
    const char *same;                       /* codes that it is another name of; NULL: itself */
    const char *codes, *scale, *zero_point; /* that it stands for; NULL: not known */
} value;

typedef struct rewriter {
    onnx_saver *save;
    bool microsoft;
    clq_names ids;
    value *values;
    int count, capacity;
    Onnx__NodeProto **old;
    size_t old_count;
    bool *absorbed; /* (old_count): an activation that the node before it does */
} rewriter;

/* The value of a name, which is made where there is none. There is room. */
static clq_status find_value(rewriter *r, const char *name, value **found) {
    int id = clq_names_find(&r->ids, name);
    *found = NULL;
    if (id < 0) {
        if (r->count == r->capacity) {
            return clq_fail(CLQ_INTERNAL, "more values than were counted");
        }
        id = r->count++;
        r->values[id].tensor = -1;
        CLQ_TRY(clq_names_set(&r->ids, name, id));
    }
    *found = &r->values[id];
    return CLQ_OK;
}

static value *get(const rewriter *r, const char *name) {
    const int id = clq_names_find(&r->ids, name);
    return id >= 0 ? &r->values[id] : NULL;
}

/* NULL: it is no initializer. */
static Onnx__TensorProto *tensor_of(const rewriter *r, const char *name) {
    const value *v = get(r, name);
    return v && v->tensor >= 0 ? r->save->tensor[v->tensor] : NULL;
}

static int64_t tensor_count(const Onnx__TensorProto *tensor) {
    return tensor->n_dims == 0 ? 1 : tensor->dims[0];
}

static bool same_tensor(const Onnx__TensorProto *a, const Onnx__TensorProto *b) {
    return a && b && a->data_type == b->data_type && a->raw_data.len == b->raw_data.len &&
           memcmp(a->raw_data.data, b->raw_data.data, a->raw_data.len) == 0;
}

static bool same_codes(const rewriter *r, const value *a, const char *scale,
                       const char *zero_point) {
    return same_tensor(tensor_of(r, a->scale), tensor_of(r, scale)) &&
           same_tensor(tensor_of(r, a->zero_point), tensor_of(r, zero_point));
}

static bool is(const Onnx__NodeProto *node, const char *op) {
    return strcmp(node->op_type, op) == 0;
}

/* A node that the graph has on reals although all around it is rounded. */
static bool is_real(const rewriter *r, const Onnx__NodeProto *node) {
    size_t i;
    json_t *name;
    json_array_foreach(r->save->real_nodes, i, name) {
        if (strcmp(json_string_value(name), node->name) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- making nodes ---- */

/* `reals` is known by `codes` from here on, and made by a DequantizeLinear. */
static clq_status append_reals(rewriter *r, const char *of, const char *codes, const char *scale,
                               const char *zero_point, const char *reals) {
    const char *const inputs[3] = {codes, scale, zero_point};
    Onnx__NodeProto *node;
    value *v;
    char *name;
    CLQ_TRY(clq_arena_format(&r->save->arena, &name, "%s/DequantizeLinear", of));
    CLQ_TRY(onnx_save_node(r->save, "DequantizeLinear", name, inputs, 3, reals, &node));
    CLQ_TRY(find_value(r, reals, &v));
    v->codes = codes;
    v->scale = scale;
    v->zero_point = zero_point;
    return CLQ_OK;
}

/* `node` makes codes in place of its output, which is dequantized behind it. */
static clq_status make_codes(rewriter *r, Onnx__NodeProto *node, const char *scale,
                             const char *zero_point) {
    const char *reals = node->output[0], *codes;
    char *wanted;
    value *v;
    CLQ_TRY(clq_arena_format(&r->save->arena, &wanted, "%s/codes", node->name));
    CLQ_TRY(onnx_save_name(r->save, &r->save->values, wanted, &codes));
    CLQ_TRY(find_value(r, codes, &v));
    node->output[0] = (char *)codes;
    CLQ_TRY(onnx_save_keep(r->save, node));
    return append_reals(r, node->name, codes, scale, zero_point, reals);
}

/* ---- what goes to a QuantizeLinear ---- */

typedef struct target {
    const Onnx__NodeProto *quantizer; /* NULL: there is none */
    int act[2], act_count;            /* nodes of activations on the way */
    bool relu, six;
} target;

/* A code of a Clip's bound; `otherwise` where it has none. */
static int bound(const rewriter *r, const Onnx__NodeProto *clip, size_t input, int otherwise) {
    const Onnx__TensorProto *tensor =
        clip && input < clip->n_input ? tensor_of(r, clip->input[input]) : NULL;
    return !tensor                      ? otherwise
           : tensor->data_type == UINT8 ? tensor->raw_data.data[0]
                                        : (int8_t)tensor->raw_data.data[0];
}

/* Whether codes end where the activations do. */
static bool absorbs(const rewriter *r, const target *t) {
    const Onnx__TensorProto *scale = tensor_of(r, t->quantizer->input[1]);
    const Onnx__TensorProto *zero = tensor_of(r, t->quantizer->input[2]);
    const value *made = get(r, t->quantizer->output[0]);
    const Onnx__NodeProto *next = made && made->uses == 1 ? r->old[made->reader] : NULL;
    const Onnx__NodeProto *clip = next && is(next, "Clip") ? next : NULL;
    float step;
    if (!scale || !zero || tensor_count(scale) != 1 ||
        (zero->data_type != UINT8 && zero->data_type != INT8)) {
        return false;
    }
    memcpy(&step, scale->raw_data.data, sizeof step);
    const bool is_signed = zero->data_type == INT8;
    const int zero_point = is_signed ? (int8_t)zero->raw_data.data[0] : zero->raw_data.data[0];
    const int lowest = bound(r, clip, 1, is_signed ? -128 : 0);
    const int highest = bound(r, clip, 2, is_signed ? 127 : 255);
    return (!t->relu || zero_point <= lowest) &&
           (!t->six || rintf(6 / step) + (float)zero_point >= (float)highest);
}

static bool passes(const Onnx__NodeProto *node, const char *x) {
    return onnx_passes_codes_anywhere(node) && !is(node, "Concat") &&
           strcmp(node->input[0], x) == 0;
}

/* The QuantizeLinear that alone reads what a node makes, and what is on the way to it. */
static target find_target(const rewriter *r, const Onnx__NodeProto *node) {
    target t = {0};
    const char *name = node->output[0];
    while (!t.quantizer) {
        const value *v = get(r, name);
        if (!v || v->uses != 1 || v->is_output) {
            return (target){0};
        }
        Onnx__NodeProto *next = r->old[v->reader];
        const bool six = is(next, "Clip") && r->save->six && next->n_input == 3 &&
                         strcmp(next->input[2], r->save->six) == 0;
        if (is(next, "QuantizeLinear")) {
            t.quantizer = next;
        } else if ((is(next, "Relu") || six) && t.act_count < 2) {
            t.act[t.act_count++] = v->reader;
            t.relu = true;
            t.six |= six;
        } else if (!passes(next, name)) {
            return (target){0};
        }
        name = next->output[0];
    }
    return absorbs(r, &t) ? t : (target){0};
}

/* ---- a node of the table ---- */

static const onnx_qoperator *find_rule(const rewriter *r, const char *op) {
    for (const onnx_qoperator *q = onnx_qoperators; q->name; q++) {
        if (q->is_written && strcmp(q->op, op) == 0 && (r->microsoft || !q->domain[0])) {
            return q;
        }
    }
    return NULL;
}

/* The type of codes; 0: not known. */
static int type_of(const rewriter *r, const char *zero_point) {
    const Onnx__TensorProto *zero = zero_point ? tensor_of(r, zero_point) : NULL;
    return zero && (zero->data_type == UINT8 || zero->data_type == INT8) ? (int)zero->data_type : 0;
}

static bool is_single(const rewriter *r, const char *scale) {
    const Onnx__TensorProto *tensor = tensor_of(r, scale);
    return tensor && tensor_count(tensor) == 1;
}

/* Whether a bias's scale is the product of the others', as the operator on codes takes it to be. */
static bool has_product(const rewriter *r, const value *x, const value *w, const value *bias) {
    const Onnx__TensorProto *a = tensor_of(r, x->scale), *b = tensor_of(r, w->scale);
    const Onnx__TensorProto *c = tensor_of(r, bias->scale);
    if (!a || !b || !c || b->raw_data.len != c->raw_data.len) {
        return false;
    }
    float one, many, product;
    memcpy(&one, a->raw_data.data, sizeof one);
    for (size_t at = 0; at < b->raw_data.len; at += sizeof many) {
        memcpy(&many, b->raw_data.data + at, sizeof many);
        memcpy(&product, c->raw_data.data + at, sizeof product);
        if (one * many != product) {
            return false;
        }
    }
    return true;
}

/* Whether operands and result are of types and scales that ONNX Runtime's operator has. */
static bool fits(const rewriter *r, const onnx_qoperator *q, const Onnx__NodeProto *node,
                 size_t operands, const Onnx__NodeProto *quantizer) {
    const bool has_bias = node->n_input > operands;
    const bool weights = operands == 2 && (q->bias > 0 || q->weight_axis != 0);
    int type = 0;
    if (node->n_input > operands + (q->bias > 0) ||
        (is(node, "AveragePool") && onnx_proto_attribute(node, "dilations"))) {
        return false;
    }
    for (size_t i = 0; i < operands; i++) {
        const value *v = get(r, node->input[i]);
        const int own = v && v->codes ? type_of(r, v->zero_point) : 0;
        const bool is_weight = weights && i == 1;
        type = type ? type : own;
        if (own == 0 || (!is_weight && !is_single(r, v->scale)) ||
            (is_weight ? !tensor_of(r, v->codes) || (type == INT8 && own != INT8) : own != type)) {
            return false;
        }
    }
    if (has_bias) {
        const value *v = get(r, node->input[operands]);
        if (!v || !v->codes || !has_product(r, get(r, node->input[0]), get(r, node->input[1]), v)) {
            return false;
        }
    }
    return quantizer ? type_of(r, quantizer->input[2]) == type : q->optional_out;
}

/* Weights (OUT, IN) become (IN, OUT). */
static clq_status turn_weights(rewriter *r, const char *name) {
    Onnx__TensorProto *tensor = tensor_of(r, name);
    const int64_t rows = tensor->dims[0], columns = tensor->dims[1];
    void *turned;
    CLQ_TRY(clq_arena_take(&r->save->arena, tensor->raw_data.len, 1, &turned));
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t k = 0; k < columns; k++) {
            ((uint8_t *)turned)[k * rows + i] = tensor->raw_data.data[i * columns + k];
        }
    }
    tensor->raw_data.data = turned;
    tensor->dims[0] = columns;
    tensor->dims[1] = rows;
    return CLQ_OK;
}

/* The node itself becomes the operator on codes. */
static clq_status change(rewriter *r, const onnx_qoperator *q, Onnx__NodeProto *node,
                         size_t operands, const target *t) {
    const bool has_bias = node->n_input > operands;
    size_t count = (size_t)q->first + 3 * operands;
    void *memory;
    count = has_bias && (size_t)q->bias + 1 > count ? (size_t)q->bias + 1 : count;
    count = t->quantizer && (size_t)q->out + 2 > count ? (size_t)q->out + 2 : count;
    CLQ_TRY(clq_arena_take(&r->save->arena, count, sizeof(char *), &memory));
    char **inputs = memory;
    for (size_t i = 0; i < count; i++) {
        inputs[i] = (char *)"";
    }
    for (size_t i = 0; i < operands; i++) {
        const value *v = get(r, node->input[i]);
        inputs[(size_t)q->first + 3 * i] = (char *)v->codes;
        inputs[(size_t)q->first + 3 * i + 1] = (char *)v->scale;
        inputs[(size_t)q->first + 3 * i + 2] = (char *)v->zero_point;
    }
    if (has_bias) {
        inputs[q->bias] = (char *)get(r, node->input[operands])->codes;
    }
    if (t->quantizer) {
        inputs[q->out] = t->quantizer->input[1];
        inputs[q->out + 1] = t->quantizer->input[2];
    }
    node->op_type = (char *)q->name;
    node->domain = (char *)q->domain;
    node->input = inputs;
    node->n_input = count;
    for (int i = 0; i < t->act_count; i++) {
        r->absorbed[t->act[i]] = true;
    }
    return t->quantizer ? make_codes(r, node, inputs[q->out], inputs[q->out + 1])
                        : onnx_save_keep(r->save, node);
}

static clq_status convert(rewriter *r, Onnx__NodeProto *node, bool *done) {
    const target t = find_target(r, node);
    const value *w = node->n_input > 1 ? get(r, node->input[1]) : NULL;
    const value *codes = w && w->codes ? get(r, w->codes) : NULL;
    /* A layer without bias is a product of matrices, which standard operators have. */
    const bool product = is(node, "Gemm") && node->n_input == 2 && t.quantizer && codes &&
                         codes->tensor >= 0 && codes->uses == 1;
    const onnx_qoperator *q = find_rule(r, product ? "MatMul" : node->op_type);
    *done = false;
    if (!q || is_real(r, node)) {
        return CLQ_OK;
    }
    const size_t operands = q->operands >= 0 ? (size_t)q->operands : node->n_input;
    if (!fits(r, q, node, operands, t.quantizer)) {
        return CLQ_OK;
    }
    if (product) {
        CLQ_TRY(turn_weights(r, w->codes));
        node->n_attribute = 0;
    }
    *done = true;
    return change(r, q, node, operands, &t);
}

/* ---- the walk ---- */

/* A node that passes values on, where what it reads is known by the same codes. */
static clq_status pass(rewriter *r, Onnx__NodeProto *node, bool *done) {
    const size_t joined = is(node, "Concat") ? node->n_input : 1;
    const value *first = node->n_input > 0 ? get(r, node->input[0]) : NULL;
    *done = false;
    if (!onnx_passes_codes_anywhere(node) || is_real(r, node) || !first || !first->codes ||
        !is_single(r, first->scale)) {
        return CLQ_OK;
    }
    for (size_t i = 0; i < joined; i++) {
        const value *v = get(r, node->input[i]);
        if (!v || !v->codes || !same_codes(r, v, first->scale, first->zero_point)) {
            return CLQ_OK;
        }
    }
    *done = true;
    for (size_t i = 0; i < joined; i++) {
        node->input[i] = (char *)get(r, node->input[i])->codes;
    }
    return make_codes(r, node, first->scale, first->zero_point);
}

static clq_status rewrite_node(rewriter *r, size_t index) {
    Onnx__NodeProto *node = r->old[index];
    value *x = NULL, *y;
    bool done;
    for (size_t i = 0; i < node->n_input; i++) {
        const value *v = get(r, node->input[i]);
        node->input[i] = v && v->same ? (char *)v->same : node->input[i];
    }
    x = node->n_input > 0 ? get(r, node->input[0]) : NULL;
    CLQ_TRY(find_value(r, node->output[0], &y));
    if (r->absorbed[index]) {
        return append_reals(r, node->name, x->codes, x->scale, x->zero_point, node->output[0]);
    }
    if (is(node, "DequantizeLinear")) {
        y->codes = node->input[0];
        y->scale = node->input[1];
        y->zero_point = node->input[2];
        return onnx_save_keep(r->save, node);
    }
    if (is(node, "QuantizeLinear") && x && x->codes &&
        same_codes(r, x, node->input[1], node->input[2])) {
        y->same = x->codes;
        return CLQ_OK;
    }
    CLQ_TRY(pass(r, node, &done));
    if (!done) {
        CLQ_TRY(convert(r, node, &done));
    }
    return done ? CLQ_OK : onnx_save_keep(r->save, node);
}

/* Who reads what, and which initializers there are. */
static clq_status survey(rewriter *r) {
    const clq_graph *graph = r->save->graph;
    value *v;
    for (size_t i = 0; i < r->save->tensor_count; i++) {
        CLQ_TRY(find_value(r, r->save->tensor[i]->name, &v));
        v->tensor = (int)i;
    }
    for (size_t i = 0; i < r->old_count; i++) {
        for (size_t k = 0; k < r->old[i]->n_input; k++) {
            CLQ_TRY(find_value(r, r->old[i]->input[k], &v));
            v->uses++;
            v->reader = (int)i;
        }
    }
    for (int i = 0; i < graph->output_count; i++) {
        CLQ_TRY(find_value(r, clq_graph_output_name(graph, i), &v));
        v->is_output = true;
    }
    return CLQ_OK;
}

/* ---- what is left ---- */

/* Leaves out each DequantizeLinear and initializer that nobody reads. */
static clq_status drop_unread(rewriter *r) {
    onnx_saver *save = r->save;
    size_t kept = 0;
    value *v;
    for (int i = 0; i < r->count; i++) {
        r->values[i].uses = r->values[i].is_output;
    }
    for (size_t i = save->node_count; i-- > 0;) {
        Onnx__NodeProto *node = save->node[i];
        CLQ_TRY(find_value(r, node->output[0], &v));
        if (v->uses == 0 && is(node, "DequantizeLinear")) {
            save->node[i] = NULL;
            continue;
        }
        for (size_t k = 0; k < node->n_input; k++) {
            CLQ_TRY(find_value(r, node->input[k], &v));
            v->uses++;
        }
    }
    for (size_t i = 0; i < save->node_count; i++) {
        if (save->node[i]) {
            save->node[kept++] = save->node[i];
        }
    }
    save->node_count = kept;
    kept = 0;
    for (size_t i = 0; i < save->tensor_count; i++) {
        if (get(r, save->tensor[i]->name)->uses > 0) {
            save->tensor[kept++] = save->tensor[i];
        }
    }
    save->tensor_count = kept;
    return CLQ_OK;
}

/* Whether a node reads activations that were codes, on reals. */
static bool reads_reals_of_codes(const rewriter *r, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < node->n_input; i++) {
        const value *v = get(r, node->input[i]);
        if (v && v->codes && !tensor_of(r, v->codes)) {
            return true;
        }
    }
    return false;
}

static clq_status tell(const rewriter *r) {
    enum { NAMED = 4 };
    clq_text names = {0};
    int on_codes = 0, left = 0;
    for (size_t i = 0; i < r->save->node_count; i++) {
        const Onnx__NodeProto *node = r->save->node[i];
        on_codes += strncmp(node->op_type, "Q", 1) == 0 && !is(node, "QuantizeLinear");
        if (!is(node, "QuantizeLinear") && !is_real(r, node) && reads_reals_of_codes(r, node)) {
            if (left++ < NAMED) {
                clq_text_printf(&names, "%s%s (%s)", left > 1 ? ", " : ": ", node->name,
                                node->op_type);
            }
        }
    }
    if (left > NAMED) {
        clq_text_printf(&names, " and %d more", left - NAMED);
    }
    CLQ_TRY(clq_text_status(&names));
    clq_log_info("QOperator form: %d node%s on codes; %d between DequantizeLinear and "
                 "QuantizeLinear%s",
                 on_codes, clq_plural(on_codes), left, names.data ? names.data : "");
    clq_text_free(&names);
    return CLQ_OK;
}

static clq_status rewrite(rewriter *r) {
    onnx_saver *save = r->save;
    void *memory;
    size_t most = save->tensor_count + (size_t)save->graph->output_count + 1;
    r->old = save->node;
    r->old_count = save->node_count;
    save->node = NULL;
    save->node_count = save->node_capacity = 0;
    for (size_t i = 0; i < r->old_count; i++) {
        most += r->old[i]->n_input + 3;
    }
    r->capacity = (int)most;
    CLQ_TRY(clq_arena_take(&save->arena, most, sizeof *r->values, &memory));
    r->values = memory;
    CLQ_TRY(clq_arena_take(&save->arena, r->old_count + 1, sizeof *r->absorbed, &memory));
    r->absorbed = memory;
    CLQ_TRY(survey(r));
    for (size_t i = 0; i < r->old_count; i++) {
        CLQ_TRY(rewrite_node(r, i));
    }
    CLQ_TRY(drop_unread(r));
    return tell(r);
}

clq_status onnx_save_qoperators(onnx_saver *save, bool microsoft) {
    rewriter r = {.save = save, .microsoft = microsoft};
    const clq_status status = rewrite(&r);
    clq_names_free(&r.ids);
    return status;
}
