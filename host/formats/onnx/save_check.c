/* Whether a file that is about to be written reads back as the network that it is of.
 *
 * Compared are nodes in their order, with the shapes and qparams of what they make and their
 * parameters to the bit. Left out are those that only move elements, which files may have
 * otherwise, and borders between codes and reals, which follow from the others; and activations,
 * which QOperator form leaves to the ends of codes. */
#include <string.h>

#include <clquant/formats.h>

#include "formats/onnx/save.h"
#include "graph/node.h"
#include "ops/layer.h"
#include "ops/registry.h"

static bool is_compared(const clq_node *node) {
    static const clq_op *const others[] = {&clq_op_quantize,  &clq_op_dequantize, &clq_op_reshape,
                                           &clq_op_transpose, &clq_op_flatten,    &clq_op_expand};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (node->op == others[i]) {
            return false;
        }
    }
    return true;
}

/* The next compared node from `n` on; node_count: none. */
static int next_node(const clq_graph *graph, int n) {
    while (n < graph->node_count && !is_compared(&graph->nodes[n])) {
        n++;
    }
    return n;
}

static bool same_scales(const clq_qparams *a, const clq_qparams *b) {
    return a->count == b->count &&
           (a->count == 0 ||
            (a->zero_point == b->zero_point &&
             memcmp(a->scale, b->scale, (size_t)a->count * sizeof *a->scale) == 0));
}

static bool same_qparams(const clq_qparams *a, const clq_qparams *b) {
    return same_scales(a, b) && (a->count == 0 || a->type == b->type);
}

/* Weights without -128 read back as such that could have it. */
static bool same_parameter(const clq_value *a, const clq_value *b) {
    const int64_t count = clq_shape_count(&a->shape);
    return a->dtype == b->dtype && count == clq_shape_count(&b->shape) &&
           same_scales(&a->q, &b->q) &&
           (a->q.count == 0 || clq_qtype_get(a->q.type)->bits == clq_qtype_get(b->q.type)->bits) &&
           memcmp(a->data, b->data, (size_t)clq_dtype_bytes(a->dtype, count)) == 0;
}

/* What is made of a value in codes. A layer with real weights works on reals when it is read back,
 * with a node for the codes behind it. */
static const clq_qparams *codes_of(const clq_graph *graph, const clq_node *node) {
    const clq_value *made = &graph->values[node->output];
    const bool on_reals =
        clq_is_layer(node) && graph->values[node->inputs[CLQ_LAYER_W]].q.count == 0;
    for (int n = 0; on_reals && made->q.count == 0 && n < graph->node_count; n++) {
        const clq_node *reader = &graph->nodes[n];
        if (reader->op == &clq_op_quantize && reader->inputs[0] == node->output) {
            return &graph->values[reader->output].q;
        }
    }
    return &made->q;
}

/* What differs; NULL: nothing. */
static const char *find_difference(const clq_graph *a, const clq_node *x, const clq_graph *b,
                                   const clq_node *y) {
    const clq_value *made = &a->values[x->output], *read = &b->values[y->output];
    if (x->op != y->op || x->input_count != y->input_count) {
        return "is another operator";
    }
    if (!clq_shape_equal(&made->shape, &read->shape)) {
        return "makes another shape";
    }
    if (!same_qparams(codes_of(a, x), codes_of(b, y))) {
        return "makes other codes";
    }
    for (int i = 0; i < x->input_count; i++) {
        const clq_value *p = x->inputs[i] == CLQ_NO_VALUE ? NULL : &a->values[x->inputs[i]];
        const clq_value *q = y->inputs[i] == CLQ_NO_VALUE ? NULL : &b->values[y->inputs[i]];
        const bool constant = p && clq_is_constant(p);
        if (constant != (q && clq_is_constant(q)) || (constant && !same_parameter(p, q))) {
            return "has other parameters";
        }
    }
    return NULL;
}

static clq_status compare(const clq_graph *a, const clq_graph *b, const char *path) {
    int n = next_node(a, 0), m = next_node(b, 0);
    const char *difference = NULL, *name = "an end";
    while (!difference && (n < a->node_count || m < b->node_count)) {
        const clq_node *x = n < a->node_count ? &a->nodes[n] : NULL;
        const clq_node *y = m < b->node_count ? &b->nodes[m] : NULL;
        name = x ? x->name : y->name;
        difference = !x ? "is there in addition" : !y ? "is missing" : find_difference(a, x, b, y);
        n = next_node(a, n + 1);
        m = next_node(b, m + 1);
    }
    if (!difference && (a->input_count != b->input_count || a->output_count != b->output_count)) {
        difference = "is missing";
    }
    if (difference) {
        return clq_fail(CLQ_INTERNAL,
                        "%s: nothing was written, as the file would not read back as the network: "
                        "\"%.200s\" %s",
                        path, name, difference);
    }
    return CLQ_OK;
}

clq_status onnx_check_saved(const clq_graph *graph, const void *data, size_t size,
                            const char *path) {
    clq_graph *again = NULL;
    CLQ_TRY(clq_fail_in(clq_onnx_load_memory(data, size, path, &again),
                        "nothing was written, as it would not be read"));
    const clq_status status = compare(graph, again, path);
    clq_graph_destroy(again);
    return status;
}
