/* Softmax and what else makes rows along one axis even. */
#include <limits.h>

#include "formats/onnx/operators.h"

/* ---- reading ---- */

/* Gives the file's axis a place in the value; *stored is where. */
static clq_status want_stored_axis(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                   int64_t axis, int *stored) {
    int place;
    CLQ_TRY(onnx_want_axis(node, x, axis, &place));
    if (x->axis[place] < 0) {
        CLQ_TRY(onnx_store_all(load, node, x));
    }
    *stored = x->axis[place];
    return *stored > 0 || load->batch == 1
               ? CLQ_OK
               : onnx_fail(node, "goes over the batch: images must stay apart");
}

/* Before opset 13 all axes from `axis` on are one row; only one of them may have elements here. */
static clq_status find_old_axis(const onnx_loader *load, const onnx_node *node,
                                const onnx_operand *x, int64_t *axis) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    int first, place = -1;
    CLQ_TRY(onnx_want_axis(node, x, *axis, &first));
    for (int k = first; k < dims.rank; k++) {
        const bool one = dims.dim[k] == 1 && x->axis[k] != 0;
        if (!one && place >= 0) {
            return onnx_fail(node,
                             "is over axes %d and %d together, as before opset 13; only one axis "
                             "of more than one element is supported",
                             place, k);
        }
        place = one ? place : k;
    }
    *axis = place >= 0 ? place : first;
    return CLQ_OK;
}

static clq_status read_softmax_as(onnx_loader *load, onnx_node *node, const char *op) {
    enum { SINGLE_AXIS = 13 };
    clq_softmax_attrs attrs;
    onnx_operand x;
    int64_t axis = load->opset < SINGLE_AXIS ? 1 : -1;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    if (load->opset < SINGLE_AXIS) {
        CLQ_TRY(find_old_axis(load, node, &x, &axis));
    }
    CLQ_TRY(want_stored_axis(load, node, &x, axis, &attrs.axis));
    return onnx_add_node(load, node, op, NULL, &attrs, &x.value, 1, &x);
}

static clq_status read_softmax(onnx_loader *load, onnx_node *node) {
    return read_softmax_as(load, node, "softmax");
}

static clq_status read_log_softmax(onnx_loader *load, onnx_node *node) {
    return read_softmax_as(load, node, "log_softmax");
}

static clq_status read_lp_normalization(onnx_loader *load, onnx_node *node) {
    clq_lp_normalization_attrs attrs = {.p = 2};
    onnx_operand x;
    int64_t axis = -1, p = 2;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    CLQ_TRY(onnx_attribute_int(node, "p", 1, 2, &p));
    attrs.p = (int)p;
    CLQ_TRY(want_stored_axis(load, node, &x, axis, &attrs.axis));
    return onnx_add_node(load, node, "lp_normalization", NULL, &attrs, &x.value, 1, &x);
}

/* ---- writing ---- */

static clq_status write_along(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                              size_t count, int axis, Onnx__NodeProto **node) {
    const clq_shape *x = &chain->save->graph->values[graph_node->inputs[0]].shape;
    onnx_save_plan(chain, chain->onnx, CLQ_ACT_NONE);
    CLQ_TRY(onnx_save_step(chain, chain->onnx, inputs, count, node));
    return onnx_save_int(chain->save, *node, "axis", onnx_file_axis(x, axis));
}

static clq_status write_softmax(onnx_chain *chain, const clq_node *graph_node, const char **inputs,
                                size_t count) {
    const clq_softmax_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    CLQ_TRY(write_along(chain, graph_node, inputs, count, attrs->axis, &node));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

static clq_status write_lp_normalization(onnx_chain *chain, const clq_node *graph_node,
                                         const char **inputs, size_t count) {
    const clq_lp_normalization_attrs *attrs = graph_node->attrs;
    Onnx__NodeProto *node;
    CLQ_TRY(write_along(chain, graph_node, inputs, count, attrs->axis, &node));
    CLQ_TRY(onnx_save_int(chain->save, node, "p", attrs->p));
    return onnx_save_finish(chain, CLQ_ACT_NONE);
}

const onnx_operator onnx_softmax_operators[] = {
    {"Softmax", .read = read_softmax, .op = "softmax", .write = write_softmax},
    {"LogSoftmax", .read = read_log_softmax, .op = "log_softmax", .write = write_softmax},
    {"LpNormalization", .read = read_lp_normalization, .op = "lp_normalization",
     .write = write_lp_normalization},
    {0},
};
