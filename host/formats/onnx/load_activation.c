/* Activations as the nodes of the file read and make them. */
#include <math.h>
#include <string.h>

#include "formats/onnx/load.h"
#include "graph/node.h"

clq_status onnx_peek(const onnx_loader *load, const onnx_node *node, size_t index,
                     onnx_operand *operand) {
    const onnx_operand *found = onnx_input(load, node, index);
    if (!found || found->constant) {
        return onnx_fail(node, "input %zu \"%.100s\" must be an activation", index,
                         onnx_input_name(node, index));
    }
    if (found->codes) {
        return onnx_fail(node, "input \"%.100s\" holds codes; only DequantizeLinear may read them",
                         onnx_input_name(node, index));
    }
    *operand = *found;
    return CLQ_OK;
}

/* A value whose axis 0 is no batch, in a network of one sample, gets one in front. */
static clq_status lead_with_batch(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    const clq_shape *shape = &load->graph->values[operand->value].shape;
    int64_t dim[CLQ_MAX_RANK + 1] = {1};
    if (shape->dim[0] == 1) {
        return CLQ_OK;
    }
    if (shape->rank == CLQ_MAX_RANK) {
        return onnx_fail(node,
                         "makes a tensor of %d dimensions beside the batch, at most %d are "
                         "supported",
                         CLQ_MAX_RANK, CLQ_MAX_RANK - 1);
    }
    const int rank = shape->rank + 1;
    memcpy(dim + 1, shape->dim, (size_t)shape->rank * sizeof *dim);
    for (int k = 0; k < operand->rank; k++) {
        operand->axis[k] += operand->axis[k] >= 0;
    }
    return onnx_move(load, operand, "reshape", rank, dim, NULL);
}

clq_status onnx_make_node(onnx_loader *load, const onnx_node *node, const char *op,
                          const char *name, const void *attrs, const int *inputs, int input_count,
                          const onnx_operand *like, onnx_operand *made) {
    onnx_operand out = {.constant = NULL};
    CLQ_TRY(clq_graph_add_node(load->graph, op, name, attrs, inputs, input_count, &out.value));
    if (like) {
        out.rank = like->rank;
        memcpy(out.axis, like->axis, sizeof out.axis);
    } else {
        onnx_default_axes(load->graph->values[out.value].shape.rank, &out);
    }
    CLQ_TRY(onnx_make_room(load, out.value));
    const bool row = load->graph->values[out.value].shape.rank == 2 && strcmp(op, "linear") != 0;
    for (int i = 0; row && i < input_count; i++) {
        const onnx_value_use *x = inputs[i] >= 0 ? &load->value_uses[inputs[i]] : NULL;
        if (x && x->turned) {
            load->value_uses[out.value].turned = true;
            load->value_uses[out.value].image = x->image;
        }
    }
    CLQ_TRY(lead_with_batch(load, node, &out));
    *made = out;
    return CLQ_OK;
}

clq_status onnx_bind_made(onnx_loader *load, const onnx_node *node, size_t index,
                          const onnx_operand *made) {
    clq_value *value = &load->graph->values[made->value];
    const char *name = node->proto->output[index];
    CLQ_TRY(clq_value_set_file_name(value, strcmp(name, value->name) == 0 ? NULL : name));
    return onnx_bind(load, name, made);
}

/* Whether the node being read takes a value behind DequantizeLinear. */
static bool reads_rounded(const onnx_loader *load, int value) {
    for (int i = load->read_count - 1; i >= 0 && load->reads[i].end < 0; i--) {
        if (load->reads[i].value == value) {
            return load->reads[i].rounded;
        }
    }
    return false;
}

/* What only moves or keeps codes, and is not rounded anew, makes the codes that it reads. */
static clq_status share_codes(onnx_loader *load, const char *output, const char *name,
                              const int *inputs, onnx_operand *out) {
    const clq_value *value = &load->graph->values[out->value];
    const clq_node *made = &load->graph->nodes[value->producer];
    const clq_qparams *q = &load->graph->values[inputs[0]].q;
    if (strcmp(made->name, name) != 0 || !made->op->output_shares_qparams || q->count == 0 ||
        !reads_rounded(load, inputs[0]) || clq_names_find(&load->rounded, output) >= 0 ||
        onnx_is_real_node(load, name)) {
        return CLQ_OK;
    }
    out->dequantized = true;
    return clq_qparams_set(&load->graph->values[out->value].q, q->count, q->scale, q->zero_point,
                           q->type);
}

/* Adds the node and binds the file's node's output `index`. */
static clq_status add_named(onnx_loader *load, const onnx_node *node, size_t index, const char *op,
                            const char *name, const void *attrs, const int *inputs, int input_count,
                            const onnx_operand *like) {
    onnx_operand out;
    CLQ_TRY(onnx_make_node(load, node, op, name, attrs, inputs, input_count, like, &out));
    CLQ_TRY(share_codes(load, node->proto->output[index], name, inputs, &out));
    return onnx_bind_made(load, node, index, &out);
}

clq_status onnx_add_node(onnx_loader *load, const onnx_node *node, const char *op, const char *name,
                         const void *attrs, const int *inputs, int input_count,
                         const onnx_operand *like) {
    char *own;
    if (!name) {
        CLQ_TRY(onnx_node_name(load, node, NULL, &own));
        name = own;
    }
    return add_named(load, node, 0, op, name, attrs, inputs, input_count, like);
}

clq_status onnx_add_node_at(onnx_loader *load, const onnx_node *node, size_t index, const char *op,
                            const void *attrs, const int *inputs, int input_count,
                            const onnx_operand *like) {
    char *name;
    CLQ_TRY(onnx_unique_name(load, node->proto->output[index], &name));
    return add_named(load, node, index, op, name, attrs, inputs, input_count, like);
}

/* A node between the operand and its reader, called "VALUE.what". */
static clq_status insert(onnx_loader *load, onnx_operand *operand, const char *op, const char *what,
                         const void *attrs) {
    const int from = operand->value;
    char *name;
    CLQ_TRY(clq_arena_format(&load->arena, &name, "%s.%s", load->graph->values[from].name, what));
    CLQ_TRY(onnx_unique_name(load, name, &name));
    CLQ_TRY(clq_graph_add_node(load->graph, op, name, attrs, &from, 1, &operand->value));
    return onnx_keep_codes(load, operand, from);
}

clq_status onnx_make_slice(onnx_loader *load, onnx_operand *operand) {
    if (operand->stride[0] == 0) {
        return CLQ_OK;
    }
    const clq_pool_attrs attrs = {.kernel = {1, 1},
                                  .stride = {operand->stride[0], operand->stride[1]}};
    operand->stride[0] = operand->stride[1] = 0;
    return insert(load, operand, "max_pool", "slice", &attrs);
}

clq_status onnx_make_crop(onnx_loader *load, onnx_operand *operand, const clq_slice_attrs *attrs) {
    return insert(load, operand, "slice", "crop", attrs);
}

clq_status onnx_make_pad(onnx_loader *load, onnx_operand *operand) {
    static const int no_pad[4];
    const int *pad = operand->pad;
    if (memcmp(pad, no_pad, sizeof no_pad) == 0) {
        return CLQ_OK;
    }
    if (!isfinite(operand->pad_value)) {
        return clq_fail(CLQ_BAD_DATA, "reads \"%.100s\" padded with %g, which is for MaxPool alone",
                        load->graph->values[operand->value].name, (double)operand->pad_value);
    }
    const clq_pad_attrs attrs = {
        .before = {0, pad[0], pad[1]}, .after = {0, pad[2], pad[3]}, .value = operand->pad_value};
    memset(operand->pad, 0, sizeof operand->pad);
    operand->pad_value = 0;
    return insert(load, operand, "pad", "pad", &attrs);
}

/* (N, features) in the order H, W, C of an image to the file's C, H, W. */
static clq_status turn(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    const onnx_operand seen = *operand;
    const clq_shape image = load->value_uses[operand->value].image;
    const int64_t dim[2] = {1, clq_shape_count(&image)};
    CLQ_TRY(onnx_move(load, operand, "reshape", 4, image.dim, NULL));
    onnx_default_axes(4, operand);
    CLQ_TRY(onnx_regroup(load, node, operand, true, 2, dim));
    operand->rank = seen.rank;
    memcpy(operand->axis, seen.axis, sizeof seen.axis);
    return CLQ_OK;
}

clq_status onnx_settle(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                       bool features) {
    CLQ_TRY(onnx_make_slice(load, operand));
    const Onnx__NodeProto *flatten = operand->flatten;
    operand->flatten = NULL;
    if (!flatten) {
        return features || !onnx_is_turned(load, operand) ? CLQ_OK : turn(load, node, operand);
    }
    const clq_shape image = load->graph->values[operand->value].shape;
    const int64_t pixels = image.dim[1] * image.dim[2], channels = image.dim[3];
    const bool turned = pixels > 1 && channels > 1;
    if (turned && !features) {
        const int64_t dim[2] = {1, pixels * channels};
        return onnx_regroup(load, node, operand, true, 2, dim);
    }
    CLQ_TRY(onnx_move(load, operand, "flatten", 0, NULL, flatten));
    onnx_default_axes(2, operand);
    load->value_uses[operand->value].turned = turned;
    load->value_uses[operand->value].image = image;
    return CLQ_OK;
}

/* Input `index`, read; a pending Pad by zeros, or by the lowest numbers, goes to `pad`, and becomes
 * a node when that is NULL. */
static clq_status read_input(onnx_loader *load, const onnx_node *node, size_t index, bool features,
                             onnx_operand *operand, int *pad, bool lowest) {
    static const int no_pad[4];
    CLQ_TRY(onnx_peek(load, node, index, operand));
    CLQ_TRY(onnx_note_read(load, operand));
    if (pad) {
        const bool fits = lowest ? operand->pad_value < 0 : operand->pad_value == 0;
        memcpy(pad, fits ? operand->pad : no_pad, sizeof operand->pad);
        if (fits) {
            memset(operand->pad, 0, sizeof operand->pad);
            operand->pad_value = 0;
        }
    }
    CLQ_TRY(onnx_make_pad(load, operand));
    return onnx_settle(load, node, operand, features);
}

clq_status onnx_want_activation(onnx_loader *load, const onnx_node *node, size_t index,
                                onnx_operand *operand) {
    return read_input(load, node, index, false, operand, NULL, false);
}

clq_status onnx_want_features(onnx_loader *load, const onnx_node *node, size_t index,
                              onnx_operand *operand) {
    return read_input(load, node, index, true, operand, NULL, false);
}

clq_status onnx_want_image(onnx_loader *load, const onnx_node *node, size_t index,
                           onnx_operand *operand, int *pad, bool lowest) {
    static const int image[4] = {0, 2, 3, 1}, line[4] = {0, -1, 2, 1};
    CLQ_TRY(read_input(load, node, index, true, operand, pad, lowest));
    const int rank = operand->rank;
    if (rank != 3 && rank != 4) {
        return onnx_fail(node, "input has %d dimensions, must be (N, C, H, W) or (N, C, L)", rank);
    }
    if (onnx_is_row(load, operand) && operand->axis[2] < 0 && operand->axis[rank - 1] < 0) {
        return onnx_arrange(load, node, operand, 2, (const int[2]){0, 1});
    }
    CLQ_TRY(onnx_settle(load, node, operand, false));
    return onnx_arrange(load, node, operand, 4, rank == 4 ? image : line);
}

clq_status onnx_view(onnx_loader *load, const onnx_node *node, onnx_operand *operand) {
    static const int no_pad[4];
    CLQ_TRY(onnx_peek(load, node, 0, operand));
    if (operand->stride[0] > 0 || memcmp(operand->pad, no_pad, sizeof no_pad) != 0) {
        CLQ_TRY(onnx_note_read(load, operand));
        CLQ_TRY(onnx_make_slice(load, operand));
        CLQ_TRY(onnx_make_pad(load, operand));
    }
    return CLQ_OK;
}

clq_status onnx_pass_on(onnx_loader *load, const onnx_node *node) {
    onnx_operand x;
    CLQ_TRY(onnx_peek(load, node, 0, &x));
    return onnx_bind_output(load, node, &x);
}
