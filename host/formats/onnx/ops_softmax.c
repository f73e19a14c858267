/* Softmax and what else makes rows along one axis even. */
#include <limits.h>
#include <string.h>

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

/* Before opset 13 all axes from `axis` on are one row: *several of them have more than one element,
 * or the one at *axis. */
static clq_status find_old_axis(const onnx_loader *load, const onnx_node *node,
                                const onnx_operand *x, int64_t *axis, bool *several) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    int first, count = 0;
    CLQ_TRY(onnx_want_axis(node, x, *axis, &first));
    *axis = first;
    for (int k = first; k < dims.rank; k++) {
        if (dims.dim[k] != 1 || x->axis[k] == 0) {
            *axis = count++ == 0 ? k : first;
        }
    }
    *several = count > 1;
    return CLQ_OK;
}

/* A softmax along the axes from `first` on, as one in front of which the others stay. */
static clq_status add_flat(onnx_loader *load, const onnx_node *node, const char *op,
                           onnx_operand *x, int first) {
    const onnx_dims dims = onnx_activation_dims(load, x);
    const bool batched = x->axis[0] == 0 && first > 0;
    clq_softmax_attrs attrs;
    onnx_operand y;
    int64_t dim[ONNX_MAX_RANK];
    char *name;
    memcpy(dim, dims.dim, sizeof dim);
    dim[first] = 1;
    for (int k = first; k < dims.rank; k++) {
        if (x->axis[k] == 0 && load->batch != 1) {
            return onnx_fail(node, "goes over the batch: images must stay apart");
        }
        dim[first] *= dims.dim[k];
    }
    CLQ_TRY(onnx_regroup(load, node, x, batched, first + 1, dim));
    CLQ_TRY(want_stored_axis(load, node, x, first, &attrs.axis));
    CLQ_TRY(onnx_node_name(load, node, NULL, &name));
    CLQ_TRY(onnx_make_node(load, node, op, name, &attrs, &x->value, 1, x, &y));
    CLQ_TRY(onnx_regroup(load, node, &y, batched, dims.rank, dims.dim));
    return onnx_bind_made(load, node, 0, &y);
}

static clq_status read_softmax_as(onnx_loader *load, onnx_node *node, const char *op) {
    enum { SINGLE_AXIS = 13 };
    clq_softmax_attrs attrs;
    onnx_operand x;
    bool several = false;
    int64_t axis = load->opset < SINGLE_AXIS ? 1 : -1;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_want_features(load, node, 0, &x));
    CLQ_TRY(onnx_attribute_int(node, "axis", INT_MIN, INT_MAX, &axis));
    if (load->opset < SINGLE_AXIS) {
        CLQ_TRY(find_old_axis(load, node, &x, &axis, &several));
    }
    if (several) {
        CLQ_TRY(onnx_settle(load, node, &x, false));
        return add_flat(load, node, op, &x, (int)axis);
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
