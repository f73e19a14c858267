/* Dynamically quantized models: what a layer reads is rounded by its own range, and integers are
 * multiplied. DynamicQuantizeLinear, MatMulInteger or ConvInteger, Cast and the product with both
 * scales become one operator that rounds reals and the layer on reals:
 *
 *     q, s, z = DynamicQuantizeLinear(x)            r = DynamicQuantizeLinear, DequantizeLinear(x)
 *     y = Cast(MatMulInteger(q, w, z, zw)) * s sw   y = MatMul(r, DequantizeLinear(w, sw, zw))
 *
 * Likewise DequantizeLinear(q, s, z), which is r, and ONNX Runtime's DynamicQuantizeMatMul and
 * MatMulIntegerToFloat. What nobody reads any more is passed over; whoever still reads q, s or z
 * meets the operator itself, which is not supported. */
#include <string.h>

#include "formats/onnx/load.h"
#include "formats/onnx/qoperators.h"

#define MICROSOFT "com.microsoft"

typedef struct joiner {
    onnx_loader *load;
    Onnx__GraphProto *graph; /* being made; nodes has room for all */
    clq_names makers;        /* value name -> node */
    clq_names rounded;       /* x, of the operator that rounds it -> 0 */
} joiner;

static bool is(const Onnx__NodeProto *node, const char *domain, const char *op) {
    return node && strcmp(node->op_type, op) == 0 && strcmp(onnx_domain_of(node), domain) == 0;
}

static const char *input_of(const Onnx__NodeProto *node, size_t index) {
    return index < node->n_input ? node->input[index] : "";
}

/* The operator of ONNX that makes `name`; NULL: another does, or none. */
static const Onnx__NodeProto *maker_of(const joiner *j, const char *name, const char *op) {
    const int index = name[0] ? clq_names_find(&j->makers, name) : -1;
    const Onnx__NodeProto *node = index < 0 ? NULL : j->graph->node[index];
    return is(node, "", op) ? node : NULL;
}

/* Whether `name` is output `index` of it. */
static bool is_output(const Onnx__NodeProto *node, size_t index, const char *name) {
    return name[0] && index < node->n_output && strcmp(node->output[index], name) == 0;
}

/* ---- making nodes ---- */

/* A name for what stands between; no file has a line feed in one. */
static clq_status inner_name(const joiner *j, const char *of, const char *what, char **name) {
    return clq_arena_format(&j->load->arena, name, "%s\n%s", of, what);
}

static clq_status append_node(joiner *j, const char *op, const char *const *inputs, size_t count,
                              const char *output, Onnx__NodeProto **node) {
    CLQ_TRY(onnx_new_proto(j->load, op, inputs, count, output, node));
    j->graph->node[j->graph->n_node++] = *node;
    return CLQ_OK;
}

/* x rounded by its own range, made once, by a node called after `maker`, which makes its codes. */
static clq_status round_input(joiner *j, const char *x, const Onnx__NodeProto *maker, char **name) {
    Onnx__NodeProto *node;
    const bool named = maker->name && maker->name[0];
    CLQ_TRY(inner_name(j, x, "rounded", name));
    if (clq_names_find(&j->rounded, x) >= 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_names_set(&j->rounded, x, 0));
    CLQ_TRY(append_node(j, ONNX_DYNAMIC_ROUNDING, &x, 1, *name, &node));
    return clq_arena_format(&j->load->arena, &node->name, "%s.rounded", named ? maker->name : x);
}

/* Codes with scale and zero point, "" where there is none, of a tensor that is constant; by columns
 * where there are several. */
static clq_status dequantize(joiner *j, const char *of, const char *codes, const char *scale,
                             const char *zero_point, int axis, char **name) {
    const char *inputs[3] = {codes, scale, zero_point};
    Onnx__NodeProto *node;
    CLQ_TRY(inner_name(j, of, "weights", name));
    CLQ_TRY(append_node(j, "DequantizeLinear", inputs, 3, *name, &node));
    CLQ_TRY(clq_arena_format(&j->load->arena, &node->name, "%s.weights", of));
    return onnx_give_axis(j->load, node, axis);
}

/* ---- layers ---- */

/* What a layer on integers multiplies: codes with scale and zero point each. */
typedef struct product {
    const Onnx__NodeProto *node; /* with its attributes and name */
    const char *rounded;         /* operand 0 where the node itself makes codes of it, or NULL */
    const char *codes[2], *scale[2], *zero_point[2];
} product;

/* Operand k on reals: rounded by its own range, or a constant. */
static clq_status operand_of(joiner *j, const product *p, int k, const char *output, char **name) {
    const Onnx__NodeProto *dynamic = maker_of(j, p->codes[k], "DynamicQuantizeLinear");
    const char *rounded = dynamic ? input_of(dynamic, 0) : k == 0 ? p->rounded : NULL;
    const int channels = is(p->node, "", "ConvInteger") ? 0 : 1;
    return rounded
               ? round_input(j, rounded, dynamic ? dynamic : p->node, name)
               : dequantize(j, output, p->codes[k], p->scale[k], p->zero_point[k], channels, name);
}

static bool is_constant(const joiner *j, const char *name) {
    return name[0] &&
           (clq_names_find(&j->makers, name) < 0 || maker_of(j, name, "Constant") != NULL);
}

/* Whether operand k is what DynamicQuantizeLinear made of something, or no activation. */
static bool is_known(const joiner *j, const product *p, int k) {
    const Onnx__NodeProto *dynamic = maker_of(j, p->codes[k], "DynamicQuantizeLinear");
    if (!dynamic) {
        return k == 1 && is_constant(j, p->codes[k]) && is_constant(j, p->scale[k]);
    }
    return is_output(dynamic, 0, p->codes[k]) && is_output(dynamic, 1, p->scale[k]) &&
           is_output(dynamic, 2, p->zero_point[k]);
}

/* The layer on reals in the place of node `index`; `bias` "": there is none. */
static clq_status put_layer(joiner *j, size_t index, const product *p, const char *bias) {
    const char *output = j->graph->node[index]->output[0], *names[2];
    const bool conv = is(p->node, "", "ConvInteger");
    char *operands[2], *sum;
    Onnx__NodeProto *layer, *add;
    for (int k = 0; k < 2; k++) {
        CLQ_TRY(operand_of(j, p, k, output, &operands[k]));
        names[k] = operands[k];
    }
    CLQ_TRY(inner_name(j, output, "product", &sum));
    CLQ_TRY(onnx_new_proto(j->load, conv ? "Conv" : "MatMul", names, 2, bias[0] ? sum : output,
                           &layer));
    layer->name = p->node->name;
    if (conv) {
        layer->attribute = p->node->attribute;
        layer->n_attribute = p->node->n_attribute;
    }
    j->graph->node[index] = layer;
    if (!bias[0]) {
        return CLQ_OK;
    }
    CLQ_TRY(append_node(j, "Add", (const char *const[2]){sum, bias}, 2, output, &add));
    return clq_arena_format(&j->load->arena, &add->name, "%s.add", output);
}

/* Mul(Cast(MatMulInteger(a, b, za, zb)), Mul(sa, sb)), its operands in any order. */
static bool find_product(const joiner *j, const Onnx__NodeProto *mul, product *p) {
    for (size_t k = 0; k < 2 && mul->n_input == 2; k++) {
        const Onnx__NodeProto *cast = maker_of(j, mul->input[k], "Cast");
        const Onnx__NodeProto *scales = maker_of(j, mul->input[1 - k], "Mul");
        const char *sums = cast ? input_of(cast, 0) : "";
        const Onnx__NodeProto *matmul = maker_of(j, sums, "MatMulInteger");
        const Onnx__NodeProto *node = matmul ? matmul : maker_of(j, sums, "ConvInteger");
        for (size_t i = 0; node && scales && scales->n_input == 2 && i < 2; i++) {
            *p = (product){.node = node,
                           .codes = {input_of(node, 0), input_of(node, 1)},
                           .scale = {scales->input[i], scales->input[1 - i]},
                           .zero_point = {input_of(node, 2), input_of(node, 3)}};
            if (is_known(j, p, 0) && is_known(j, p, 1)) {
                return true;
            }
        }
    }
    return false;
}

/* MatMulIntegerToFloat(a, b, sa, sb, za, zb, bias). */
static bool find_whole(const joiner *j, const Onnx__NodeProto *node, product *p) {
    *p = (product){.node = node,
                   .codes = {input_of(node, 0), input_of(node, 1)},
                   .scale = {input_of(node, 2), input_of(node, 3)},
                   .zero_point = {input_of(node, 4), input_of(node, 5)}};
    return is_known(j, p, 0) && is_known(j, p, 1);
}

/* DynamicQuantizeMatMul(x, b, sb, zb, bias): x has no codes in the file. */
static bool find_fused(const joiner *j, const Onnx__NodeProto *node, product *p) {
    *p = (product){.node = node,
                   .rounded = input_of(node, 0),
                   .codes = {"", input_of(node, 1)},
                   .scale = {"", input_of(node, 2)},
                   .zero_point = {"", input_of(node, 3)}};
    return is_known(j, p, 1);
}

static clq_status join_node(joiner *j, size_t index) {
    const Onnx__NodeProto *node = j->graph->node[index];
    product p;
    if (is(node, "", "Mul") && find_product(j, node, &p)) {
        return put_layer(j, index, &p, "");
    }
    if (is(node, MICROSOFT, "MatMulIntegerToFloat") && find_whole(j, node, &p)) {
        return put_layer(j, index, &p, input_of(node, 6));
    }
    if (is(node, MICROSOFT, "DynamicQuantizeMatMul") && find_fused(j, node, &p)) {
        return put_layer(j, index, &p, input_of(node, 4));
    }
    const Onnx__NodeProto *dynamic = maker_of(j, input_of(node, 0), "DynamicQuantizeLinear");
    if (is(node, "", "DequantizeLinear") && dynamic && is_output(dynamic, 0, input_of(node, 0)) &&
        is_output(dynamic, 1, input_of(node, 1)) && is_output(dynamic, 2, input_of(node, 2))) {
        char *rounded;
        CLQ_TRY(round_input(j, input_of(dynamic, 0), dynamic, &rounded));
        CLQ_TRY(onnx_new_proto(j->load, "Identity", (const char *const[1]){rounded}, 1,
                               node->output[0], &j->graph->node[index]));
    }
    return CLQ_OK;
}

/* ---- the graph ---- */

static bool is_dynamic(const Onnx__NodeProto *node) {
    return is(node, "", "DynamicQuantizeLinear") || is(node, MICROSOFT, "DynamicQuantizeMatMul");
}

static clq_status join(joiner *j, Onnx__NodeProto *const *old, size_t count) {
    void *nodes;
    CLQ_TRY(clq_arena_take(&j->load->arena, 4 * count, sizeof *old, &nodes));
    memcpy(nodes, old, count * sizeof *old);
    j->graph->node = nodes;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < old[i]->n_output; k++) {
            CLQ_TRY(clq_names_set(&j->makers, old[i]->output[k], (int)i));
        }
    }
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(join_node(j, i));
    }
    return CLQ_OK;
}

clq_status onnx_join_dynamic(onnx_loader *load, const Onnx__GraphProto **graph) {
    joiner j = {.load = load};
    bool wanted = false;
    void *copy;
    for (size_t i = 0; i < (*graph)->n_node; i++) {
        wanted = wanted || is_dynamic((*graph)->node[i]);
    }
    if (!wanted) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_copy(&load->arena, *graph, sizeof **graph, &copy));
    j.graph = copy;
    clq_status status = join(&j, (*graph)->node, (*graph)->n_node);
    clq_names_free(&j.makers);
    clq_names_free(&j.rounded);
    *graph = j.graph;
    return status;
}
