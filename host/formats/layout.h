/* Element orders of parameters: files say channels first, graphs channels last. */
#ifndef CLQ_FORMATS_LAYOUT_H
#define CLQ_FORMATS_LAYOUT_H

#include <clquant/graph.h>

/* A parameter seen as (rows, pixels, channels), in a file (rows, channels, pixels):
 *
 *   conv2d weights        OC rows of KH * KW pixels with IC / G channels
 *   conv_transpose's      G rows of OC / G * KH * KW pixels with IC / G channels
 *   linear weights        OUT rows; behind a flatten of (H, W, C): H * W pixels with C channels
 *   batch_norm, flattened one row, as its running statistics
 *   conv2d of (N, C)      one row: weights, their scales and bias
 *   beside an image       the constant of an elementwise operator: one row of pixels, or one for
 * all, with channels, or one for all; `image`: files show it as (N, C, H, W)
 *
 * pixels or channels is 1 for everything else, and the order is the same. */
typedef struct clq_layout {
    int64_t rows, pixels, channels;
    bool image;
    bool transposed; /* conv_transpose weights */
} clq_layout;

/* Fills layouts[graph->value_count]; those of activations behind a flatten tell the order of their
 * features in the same way (rows 1). */
void clq_layout_find(const clq_graph *graph, clq_layout *layouts);

/* Copies elements of `size` bytes (1 or 4) from the file's order to the graph's, and back. */
void clq_layout_from_file(const clq_layout *layout, size_t size, const void *in, void *out);
void clq_layout_to_file(const clq_layout *layout, size_t size, const void *in, void *out);

/* For files that show every parameter with its own dimensions (safetensors): constants of fewer
 * than those of an image stay in the graph's order. */
void clq_layout_keep_ranks(const clq_graph *graph, clq_layout *layouts);

/* The shape of a parameter in a file; `layout` NULL: of an activation. */
clq_shape clq_layout_file_shape(const clq_layout *layout, const clq_shape *shape);
/* (N, H, W, C) of a constant of as many dimensions or fewer. */
clq_shape clq_layout_as_image(const clq_shape *shape);

/* How files and arrays show an input or output of the network, whose first axis is the batch (1). A
 * batch that the file has elsewhere, or not at all, comes first; of more than CLQ_MAX_RANK
 * dimensions some of 1 are left out. */
clq_shape clq_input_file_shape(const clq_graph *graph, int input);
clq_shape clq_output_file_shape(const clq_graph *graph, int output);
/* Whether an input has an axis for more samples than one. */
bool clq_input_has_batch(const clq_graph *graph, int input);
bool clq_output_has_batch(const clq_graph *graph, int output);
/* Whether the network takes one sample at a time: it fixes the batch, or an input or output has no
 * axis for more. */
bool clq_graph_is_of_one(const clq_graph *graph);
/* An array of what `count` samples give: (count, ...), or, where the output has no axis for them,
 * its first axis `count` times as long. */
clq_shape clq_output_array_shape(const clq_graph *graph, int output, int64_t count);
/* Copies `count` samples, from the file's order to the graph's and back. */
void clq_input_from_file(const clq_graph *graph, int input, int count, const float *in, float *out);
void clq_output_to_file(const clq_graph *graph, int output, int count, const float *in, float *out);
/* Whether both orders are the same. */
bool clq_input_is_in_order(const clq_graph *graph, int input);
bool clq_output_is_in_order(const clq_graph *graph, int output);
/* Axes that are stated, or those of a value of this rank where none are. */
clq_axes clq_axes_of(const clq_axes *stated, int rank);

#endif
