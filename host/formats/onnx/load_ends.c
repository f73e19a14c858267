/* The inputs and outputs of the network. */
#include <string.h>

#include "base/text.h"
#include "formats/onnx/load.h"

/* ---- inputs ---- */

/* Whether an input of 4 dimensions is (N, H, W, C): it goes through a Transpose to (N, C, H, W)
 * before anything but nodes that work element by element reads it, as Keras and TensorFlow write.
 */
static bool is_channels_last(const onnx_loader *load, const char *name, int64_t channels) {
    static const char *const passed[] = {
        "Cast", "Identity", "Sub", "Add", "Mul", "Div", "QuantizeLinear", "DequantizeLinear"};
    static const int64_t perm[4] = {0, 3, 1, 2};
    for (int i = 0; i < load->order_count; i++) { /* each behind what it reads */
        onnx_node node = onnx_node_at(load, load->order[i]);
        bool reads = false, passes = false;
        for (size_t k = 0; k < node.proto->n_input; k++) {
            reads = reads || strcmp(node.proto->input[k], name) == 0;
        }
        if (!reads) {
            continue;
        }
        if (strcmp(node.op, "Transpose") == 0) {
            const Onnx__AttributeProto *given = onnx_attribute(&node, "perm");
            return given && given->n_ints == 4 && memcmp(given->ints, perm, sizeof perm) == 0;
        }
        if (strcmp(node.op, "Reshape") == 0) { /* (N, H, W, 1) to (N, 1, H, W) */
            return channels == 1;
        }
        for (size_t k = 0; k < sizeof passed / sizeof *passed; k++) {
            passes = passes || strcmp(node.op, passed[k]) == 0;
        }
        if (!passes) {
            return false;
        }
        name = onnx_output_name(&node);
    }
    return false;
}

/* Whether what reads an input of 3 dimensions first takes it as (N, C, L): an image of height 1. */
static bool is_line(const onnx_loader *load, const char *name) {
    static const char *const ops[] = {"Conv", "ConvTranspose", "MaxPool", "AveragePool"};
    static const char *const passed[] = {"Cast", "Identity", "QuantizeLinear", "DequantizeLinear"};
    for (int i = 0; i < load->order_count; i++) {
        const onnx_node node = onnx_node_at(load, load->order[i]);
        bool passes = false;
        if (strcmp(onnx_input_name(&node, 0), name) != 0) {
            continue;
        }
        for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
            if (strcmp(node.op, ops[k]) == 0) {
                return true;
            }
            passes = passes || strcmp(node.op, passed[k]) == 0;
        }
        if (!passes) {
            return false;
        }
        name = onnx_output_name(&node);
    }
    return false;
}

/* The shape that the caller gave for an input; NULL: none. */
static const clq_onnx_shape *find_shape(const onnx_loader *load, const char *name) {
    for (size_t i = 0; i < load->shape_count; i++) {
        if (strcmp(load->shapes[i].input, name) == 0) {
            return &load->shapes[i];
        }
    }
    return NULL;
}

/* Not an initializer, which old files list among the inputs. */
static bool is_fed(const onnx_loader *load, const Onnx__ValueInfoProto *info) {
    const int bound = clq_names_find(&load->bound, info->name);
    return bound < 0 || load->operands[bound].value != CLQ_NO_VALUE;
}

/* Every shape that the caller gave is an input's. Nothing but initializers is bound yet. */
static clq_status check_shapes(const onnx_loader *load) {
    for (size_t i = 0; i < load->shape_count; i++) {
        clq_text inputs = {0};
        bool found = false;
        for (size_t k = 0; k < load->proto->n_input; k++) {
            const Onnx__ValueInfoProto *info = load->proto->input[k];
            if (is_fed(load, info)) {
                found = found || strcmp(info->name, load->shapes[i].input) == 0;
                clq_text_printf(&inputs, "%s\"%.100s\"", inputs.size ? ", " : "", info->name);
            }
        }
        clq_status status = clq_text_status(&inputs);
        if (status == CLQ_OK && !found) {
            status = clq_fail(CLQ_USAGE, "a shape is given for \"%.100s\", its inputs are %s",
                              load->shapes[i].input, inputs.data ? inputs.data : "none");
        }
        clq_text_free(&inputs);
        CLQ_TRY(status);
    }
    return CLQ_OK;
}

/* An input whose axes are all of one sample: (1, ..) with those of more than one element, an image
 * with channels last. */
static clq_status store_whole(int rank, const int64_t *dim, onnx_operand *operand,
                              clq_shape *shape) {
    onnx_operand order;
    onnx_default_axes(rank, &order);
    *shape = (clq_shape){1, {1}};
    operand->rank = rank;
    for (int p = 0; p < rank; p++) {
        for (int k = 0; k < rank; k++) {
            if (order.axis[k] != p) {
                continue;
            }
            if (dim[k] > 1 && shape->rank == CLQ_MAX_RANK) {
                return clq_fail(CLQ_BAD_DATA, "has %d dimensions, and a batch of its own", rank);
            }
            operand->axis[k] = dim[k] > 1 ? shape->rank : -1;
            if (dim[k] > 1) {
                shape->dim[shape->rank++] = dim[k];
            }
        }
    }
    if (shape->rank == 1) {
        shape->dim[shape->rank++] = 1;
    }
    return CLQ_OK;
}

/* Floats of 2 dimensions or more, with numbers for all but the first. Sets the operand's axes. */
static clq_status read_input_shape(onnx_loader *load, const Onnx__ValueInfoProto *info,
                                   onnx_operand *operand, clq_shape *shape, int64_t *batch) {
    const Onnx__TypeProto *type = info->type;
    int64_t dim[CLQ_MAX_RANK];
    char type_name[32];
    if (!type || type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE || !type->tensor_type ||
        !type->tensor_type->shape) {
        return clq_fail(CLQ_BAD_DATA, "must be a tensor with a shape; export the model with one");
    }
    if (!onnx_is_real(type->tensor_type->elem_type)) {
        return clq_fail(
            CLQ_BAD_DATA,
            "has element type %s, must be float32 or another float; convert what is fed "
            "before the model",
            onnx_type_name(type->tensor_type->elem_type, type_name, sizeof type_name));
    }
    onnx_note_type(load, type->tensor_type->elem_type);
    const Onnx__TensorShapeProto *file = type->tensor_type->shape;
    if (file->n_dim > CLQ_MAX_RANK || (file->n_dim < 2 && !load->whole)) {
        return clq_fail(CLQ_BAD_DATA, "has %zu dimension%s, must have 2..%d: (N, C, H, W), (N, C)",
                        file->n_dim, clq_plural((int64_t)file->n_dim), CLQ_MAX_RANK);
    }
    const clq_onnx_shape *given = find_shape(load, info->name);
    if (given && given->rank != (int)file->n_dim) {
        return clq_fail(CLQ_USAGE, "the shape given for it has %d dimensions, the model's has %zu",
                        given->rank, file->n_dim);
    }
    for (size_t i = 0; i < file->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *d = file->dim[i];
        bool known = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        dim[i] = known && d->dim_value > 0 ? d->dim_value : 0;
        if (given && dim[i] > 0 && dim[i] != given->dim[i]) {
            return clq_fail(CLQ_USAGE, "dimension %zu is %lld in the model, %lld was given", i,
                            (long long)dim[i], (long long)given->dim[i]);
        }
        dim[i] = given ? given->dim[i] : dim[i];
        if ((i > 0 || load->whole) && dim[i] == 0) {
            return clq_fail(CLQ_BAD_DATA,
                            "dimension %zu is open, only the batch may be; give the input's "
                            "dimensions (--shape \"%.100s=1,...\") or export with a fixed size",
                            i, info->name);
        }
    }
    if (load->whole) {
        *batch = 1;
        return store_whole((int)file->n_dim, dim, operand, shape);
    }
    *batch = dim[0] > 0 ? dim[0] : ONNX_BATCH;
    onnx_default_axes((int)file->n_dim, operand);
    if (operand->rank == 4 && is_channels_last(load, info->name, dim[3])) {
        for (int k = 0; k < 4; k++) {
            operand->axis[k] = k;
        }
    }
    shape->rank = operand->rank;
    shape->dim[0] = 1;
    if (operand->rank == 3 && is_line(load, info->name)) {
        shape->rank = 4;
        shape->dim[1] = 1;
        operand->axis[1] = 3;
        operand->axis[2] = 2;
    }
    for (int k = 1; k < operand->rank; k++) {
        shape->dim[operand->axis[k]] = dim[k];
    }
    return CLQ_OK;
}

static clq_status add_input(onnx_loader *load, const Onnx__ValueInfoProto *info) {
    clq_shape shape;
    int64_t batch = 0;
    char *name;
    onnx_operand operand = {0};
    CLQ_TRY(clq_fail_in(read_input_shape(load, info, &operand, &shape, &batch), "input \"%.200s\"",
                        info->name));
    if (load->graph->input_count > 0 && batch != load->batch) {
        return clq_fail(CLQ_BAD_DATA,
                        "inputs \"%.100s\" and \"%.100s\": one batch for all is needed, and their "
                        "first dimensions are declared differently",
                        clq_graph_input_name(load->graph, 0), info->name);
    }
    load->batch = batch;
    CLQ_TRY(onnx_unique_name(load, info->name, &name));
    CLQ_TRY(clq_graph_add_input(load->graph, name, shape, &operand.value));
    clq_axes *axes = &load->graph->input_axes[load->graph->input_count - 1];
    axes->rank = operand.rank > 0 ? operand.rank : CLQ_NO_AXES;
    memcpy(axes->axis, operand.axis, (size_t)operand.rank * sizeof *operand.axis);
    return onnx_bind(load, info->name, &operand);
}

clq_status onnx_add_inputs(onnx_loader *load) {
    for (size_t i = 0; i < load->proto->n_input; i++) {
        const Onnx__ValueInfoProto *info = load->proto->input[i];
        if (!info->name || !info->name[0]) {
            return clq_fail(CLQ_BAD_DATA, "input %zu has no name", i);
        }
    }
    CLQ_TRY(check_shapes(load));
    for (size_t i = 0; i < load->proto->n_input; i++) {
        if (is_fed(load, load->proto->input[i])) {
            CLQ_TRY(add_input(load, load->proto->input[i]));
        }
    }
    return load->graph->input_count > 0 ? CLQ_OK : clq_fail(CLQ_BAD_DATA, "the graph has no input");
}

/* ---- outputs ---- */

static clq_status check_output(const onnx_operand *operand) {
    if (operand->constant) {
        return clq_fail(CLQ_BAD_DATA, "is a constant; the result of a node is expected");
    }
    if (operand->codes) {
        return clq_fail(CLQ_BAD_DATA,
                        "holds codes; put a DequantizeLinear behind the last QuantizeLinear");
    }
    return CLQ_OK;
}

/* Nothing pending; *axes is how the file shows it. */
static clq_status settle_output(onnx_loader *load, onnx_operand *operand, clq_axes *axes) {
    const Onnx__NodeProto reader = {.name = (char *)"the network", .op_type = (char *)"output"};
    const onnx_node node = {.proto = &reader, .op = reader.op_type};
    CLQ_TRY(onnx_note_read(load, operand));
    CLQ_TRY(onnx_make_pad(load, operand));
    CLQ_TRY(onnx_settle(load, &node, operand, false));
    if (load->graph->values[operand->value].kind != CLQ_VALUE_ACTIVATION) { /* it is an input */
        const clq_shape shape = load->graph->values[operand->value].shape;
        CLQ_TRY(onnx_move(load, operand, "reshape", shape.rank, shape.dim, NULL));
    }
    CLQ_TRY(onnx_end_reads(load, &node));
    if (load->batch > 1 && (operand->rank == 0 || operand->axis[0] != 0)) {
        return clq_fail(CLQ_BAD_DATA, "its first axis is not the batch of %lld",
                        (long long)load->batch);
    }
    axes->rank = operand->rank > 0 ? operand->rank : CLQ_NO_AXES;
    memcpy(axes->axis, operand->axis, (size_t)operand->rank * sizeof *operand->axis);
    return CLQ_OK;
}

clq_status onnx_add_output(onnx_loader *load, const char *name) {
    int index = clq_names_find(&load->bound, name);
    if (index < 0) {
        return onnx_fail_unbound(load, name);
    }
    onnx_operand operand = load->operands[index];
    clq_axes axes = {0};
    CLQ_TRY(clq_fail_in(check_output(&operand), "output \"%.200s\"", name));
    CLQ_TRY(clq_fail_in(settle_output(load, &operand, &axes), "output \"%.200s\"", name));
    load->output_rounded[load->graph->output_count] = operand.dequantized; /* counted before */
    CLQ_TRY(clq_graph_add_output(load->graph, name, operand.value));
    load->graph->outputs[load->graph->output_count - 1].axes = axes;
    return CLQ_OK;
}
