#include "formats/layout.h"

#include <string.h>

#include "ops/binary.h"
#include "ops/registry.h"

clq_shape clq_layout_as_image(const clq_shape *shape) {
    clq_shape image = {4, {1, 1, 1, 1}};
    for (int k = 0; k < shape->rank && k < 4; k++) {
        image.dim[4 - shape->rank + k] = shape->dim[k];
    }
    return image;
}

/* An operator of two operands: what is as large as the result has its order. */
static void find_operands(const clq_graph *graph, const clq_node *node, clq_layout *layouts) {
    const clq_shape *out = &graph->values[node->output].shape;
    clq_layout *y = &layouts[node->output];
    for (int k = 0; k < 2; k++) {
        const clq_value *value = &graph->values[node->inputs[k]];
        if (!value->data && out->rank == 2 && clq_shape_equal(&value->shape, out)) {
            *y = layouts[node->inputs[k]];
        }
    }
    for (int k = 0; k < 2; k++) {
        const clq_value *value = &graph->values[node->inputs[k]];
        const int64_t count = clq_shape_count(&value->shape);
        if (value->data && out->rank == 4 && count > 1) {
            const clq_shape image = clq_layout_as_image(&value->shape);
            layouts[node->inputs[k]] = (clq_layout){.rows = image.dim[0],
                                                    .pixels = image.dim[1] * image.dim[2],
                                                    .channels = image.dim[3],
                                                    .image = true};
        } else if (value->data && out->rank == 2 && count == clq_shape_count(out)) {
            layouts[node->inputs[k]] = *y;
        }
    }
}

void clq_layout_find(const clq_graph *graph, clq_layout *layouts) {
    for (int i = 0; i < graph->value_count; i++) {
        layouts[i] = (clq_layout){
            .rows = 1, .pixels = 1, .channels = clq_shape_count(&graph->values[i].shape)};
    }
    for (int i = 0; i < graph->node_count; i++) {
        const clq_node *node = &graph->nodes[i];
        if (clq_binary_of(node->op) != CLQ_BINARY_COUNT) {
            find_operands(graph, node, layouts);
            continue;
        }
        clq_layout x = layouts[node->inputs[0]];
        const clq_shape *x_shape = &graph->values[node->inputs[0]].shape;
        clq_layout *y = &layouts[node->output];
        const clq_shape *w_shape =
            node->input_count > 1 ? &graph->values[node->inputs[1]].shape : NULL;
        clq_layout *w = node->input_count > 1 ? &layouts[node->inputs[1]] : NULL;
        if (node->op == &clq_op_conv2d && x_shape->rank == 4) {
            *w = (clq_layout){.rows = w_shape->dim[0],
                              .pixels = w_shape->dim[1] * w_shape->dim[2],
                              .channels = w_shape->dim[3]};
        } else if (node->op == &clq_op_conv_transpose) {
            const int groups = ((const clq_conv_transpose_attrs *)node->attrs)->conv.groups;
            *w =
                (clq_layout){.rows = groups,
                             .pixels = w_shape->dim[0] / groups * w_shape->dim[1] * w_shape->dim[2],
                             .channels = w_shape->dim[3],
                             .transposed = true};
        } else if (node->op == &clq_op_linear) {
            *w = (clq_layout){.rows = w_shape->dim[0], .pixels = x.pixels, .channels = x.channels};
        } else if (node->op == &clq_op_flatten && x_shape->rank == 4) {
            *y = (clq_layout){.rows = 1,
                              .pixels = x_shape->dim[1] * x_shape->dim[2],
                              .channels = x_shape->dim[3]};
        } else if (clq_shape_equal(&graph->values[node->output].shape, x_shape) &&
                   x_shape->rank == 2) {
            *y = x; /* element by element: batch norm's vectors, a convolution's weights and bias */
            for (int k = 1; k < node->input_count; k++) {
                if (node->inputs[k] != CLQ_NO_VALUE && graph->values[node->inputs[k]].data &&
                    clq_shape_count(&graph->values[node->inputs[k]].shape) ==
                        clq_shape_count(x_shape)) {
                    layouts[node->inputs[k]] = x;
                }
            }
        }
    }
}

void clq_layout_keep_ranks(const clq_graph *graph, clq_layout *layouts) {
    for (int i = 0; i < graph->value_count; i++) {
        const clq_shape *shape = &graph->values[i].shape;
        if (layouts[i].image && shape->rank < 4) {
            layouts[i] = (clq_layout){.rows = 1, .pixels = 1, .channels = clq_shape_count(shape)};
        }
    }
}

/* (rows, a, b) -> (rows, b, a) */
static void swap_inner(int64_t rows, int64_t a, int64_t b, size_t size, const void *in, void *out) {
    if (a == 1 || b == 1) {
        memcpy(out, in, (size_t)rows * (size_t)a * (size_t)b * size);
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < a; i++) {
            for (int64_t k = 0; k < b; k++) {
                size_t from = (size_t)((r * a + i) * b + k), to = (size_t)((r * b + k) * a + i);
                if (size == 4) {
                    memcpy((char *)out + to * 4, (const char *)in + from * 4, 4);
                } else {
                    ((char *)out)[to] = ((const char *)in)[from];
                }
            }
        }
    }
}

void clq_layout_from_file(const clq_layout *layout, size_t size, const void *in, void *out) {
    swap_inner(layout->rows, layout->channels, layout->pixels, size, in, out);
}

void clq_layout_to_file(const clq_layout *layout, size_t size, const void *in, void *out) {
    swap_inner(layout->rows, layout->pixels, layout->channels, size, in, out);
}

clq_shape clq_layout_file_shape(const clq_layout *layout, const clq_shape *shape) {
    if (shape->rank != 4) {
        return *shape;
    }
    if (layout && layout->transposed) { /* (IC, OC / G, KH, KW) */
        return (clq_shape){4,
                           {layout->rows * shape->dim[3], shape->dim[0] / layout->rows,
                            shape->dim[1], shape->dim[2]}};
    }
    return (clq_shape){4, {shape->dim[0], shape->dim[3], shape->dim[1], shape->dim[2]}};
}

/* ---- inputs and outputs ---- */

clq_axes clq_axes_of(const clq_axes *stated, int rank) {
    static const int image[4] = {0, 3, 1, 2};
    clq_axes axes = {.rank = rank};
    for (int k = 0; k < rank; k++) {
        axes.axis[k] = rank == 4 ? image[k] : k;
    }
    static const clq_axes none = {0};
    return stated->rank > 0 ? *stated : stated->rank == CLQ_NO_AXES ? none : axes;
}

static clq_shape end_shape(const clq_axes *stated, const clq_shape *shape) {
    const clq_axes axes = clq_axes_of(stated, shape->rank);
    clq_shape file = {1, {1}};
    int left = 0; /* axes that are yet to come and have a place in the value */
    for (int k = 0; k < axes.rank; k++) {
        left += axes.axis[k] > 0;
    }
    for (int k = 0; k < axes.rank; k++) {
        const int axis = axes.axis[k];
        left -= axis > 0;
        if (axis > 0 || (axis < 0 && file.rank + left < CLQ_MAX_RANK)) {
            file.dim[file.rank++] = axis < 0 ? 1 : shape->dim[axis];
        }
    }
    return file;
}

clq_shape clq_input_file_shape(const clq_graph *graph, int input) {
    return end_shape(&graph->input_axes[input], &graph->values[graph->inputs[input]].shape);
}

clq_shape clq_output_file_shape(const clq_graph *graph, int output) {
    const clq_graph_end *end = &graph->outputs[output];
    return end_shape(&end->axes, &graph->values[end->value].shape);
}

static bool has_batch(const clq_axes *stated, const clq_value *value) {
    const clq_axes axes = clq_axes_of(stated, value->shape.rank);
    for (int k = 0; k < axes.rank; k++) {
        if (axes.axis[k] == 0) {
            return true;
        }
    }
    return false;
}

bool clq_input_has_batch(const clq_graph *graph, int input) {
    return has_batch(&graph->input_axes[input], &graph->values[graph->inputs[input]]);
}

bool clq_output_has_batch(const clq_graph *graph, int output) {
    const clq_graph_end *end = &graph->outputs[output];
    return has_batch(&end->axes, &graph->values[end->value]);
}

bool clq_graph_is_of_one(const clq_graph *graph) {
    bool batched = !clq_graph_has_fixed_batch(graph);
    for (int i = 0; i < graph->input_count; i++) {
        batched = batched && clq_input_has_batch(graph, i);
    }
    for (int i = 0; i < graph->output_count; i++) {
        batched = batched && clq_output_has_batch(graph, i);
    }
    return !batched;
}

clq_shape clq_output_array_shape(const clq_graph *graph, int output, int64_t count) {
    clq_shape shape = clq_output_file_shape(graph, output);
    const bool batched = shape.rank == 1 || clq_output_has_batch(graph, output);
    if (!batched) {
        shape.rank--;
        memmove(shape.dim, shape.dim + 1, (size_t)shape.rank * sizeof *shape.dim);
    }
    shape.dim[0] = (batched ? 1 : shape.dim[0]) * count;
    return shape;
}

/* Copies samples from or to the file's order. */
static void copy_samples(const clq_axes *stated, const clq_shape *shape, bool to_file, int count,
                         const float *in, float *out) {
    const clq_axes axes = clq_axes_of(stated, shape->rank);
    const int64_t size = clq_shape_count(shape);
    int64_t stride[CLQ_MAX_RANK], step[CLQ_MAX_AXES], extent[CLQ_MAX_AXES], next = 1;
    int n = 0;
    for (int d = shape->rank - 1; d >= 0; d--) {
        stride[d] = next;
        next *= shape->dim[d];
    }
    for (int k = 0; k < axes.rank; k++) {
        if (axes.axis[k] > 0) {
            step[n] = stride[axes.axis[k]];
            extent[n++] = shape->dim[axes.axis[k]];
        }
    }
    const int64_t row = n > 0 ? extent[n - 1] : 1, stride_in_row = n > 0 ? step[n - 1] : 1;
    for (int64_t sample = 0; sample < count; sample++) {
        const int64_t base = sample * size;
        int64_t at[CLQ_MAX_AXES] = {0}, stored = base;
        for (int64_t i = base; i < base + size; i += row) {
            for (int64_t k = 0; to_file && k < row; k++) {
                out[i + k] = in[stored + k * stride_in_row];
            }
            for (int64_t k = 0; !to_file && k < row; k++) {
                out[stored + k * stride_in_row] = in[i + k];
            }
            for (int k = n - 2; k >= 0; k--) { /* count up, like an odometer */
                stored += step[k];
                if (++at[k] < extent[k]) {
                    break;
                }
                stored -= step[k] * at[k];
                at[k] = 0;
            }
        }
    }
}

/* Whether the axes with more than one element come in the value's order. */
static bool is_in_order(const clq_axes *stated, const clq_shape *shape) {
    const clq_axes axes = clq_axes_of(stated, shape->rank);
    int last = 0;
    for (int k = 0; k < axes.rank; k++) {
        const int axis = axes.axis[k];
        if (axis > 0 && shape->dim[axis] > 1) {
            if (axis < last) {
                return false;
            }
            last = axis;
        }
    }
    return true;
}

bool clq_input_is_in_order(const clq_graph *graph, int input) {
    return is_in_order(&graph->input_axes[input], &graph->values[graph->inputs[input]].shape);
}

bool clq_output_is_in_order(const clq_graph *graph, int output) {
    const clq_graph_end *end = &graph->outputs[output];
    return is_in_order(&end->axes, &graph->values[end->value].shape);
}

void clq_input_from_file(const clq_graph *graph, int input, int count, const float *in,
                         float *out) {
    copy_samples(&graph->input_axes[input], &graph->values[graph->inputs[input]].shape, false,
                 count, in, out);
}

void clq_output_to_file(const clq_graph *graph, int output, int count, const float *in,
                        float *out) {
    const clq_graph_end *end = &graph->outputs[output];
    copy_samples(&end->axes, &graph->values[end->value].shape, true, count, in, out);
}
