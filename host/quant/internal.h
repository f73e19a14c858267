/* What the files of quant/ share. */
#ifndef CLQUANT_QUANT_INTERNAL_H
#define CLQUANT_QUANT_INTERNAL_H

#include <clquant/quant.h>

#include "ops/layer.h"

/* max_shift as kernels/include/scales.h wants it. */
int clq_scale_shift(const clq_quant_config *config);

/* A copy of a float graph whose activations and layers' weights have provisional qparams, by what
 * the policy says of their nodes: types are as they will be, scales are 1. Where nodes on codes and
 * on reals meet there are quantize and dequantize nodes. */
clq_status clq_assign_types(const clq_policy *policy, const clq_graph *untyped, clq_graph **typed);

/* The same where it is known which nodes work on codes: on_codes (node_count). Weights on codes are
 * of the usual type. */
clq_status clq_assign_nodes(const bool *on_codes, const clq_graph *untyped, clq_graph **typed);

/* Activations that share a range form a group, called by the first of them: what operators that
 * keep codes (max_pool, flatten, relu, ...) read and make, and what a concat joins. -1 for values
 * that are not quantized. `groups` (value_count). */
void clq_find_groups(const clq_graph *graph, int *groups);
/* Of these, the values whose numbers are not all other values' of their group: a group's range is
 * that of its sources. `sources` (value_count). */
void clq_find_sources(const clq_graph *graph, const int *groups, bool *sources);

/* The type of a layer's weights: that of their qparams, or the default, s8_narrow. */
clq_qtype clq_weights_type(const clq_value *w);
/* Sets the scales of all layers' weights in the graph by equation (5), or by (23) where learned[id
 * of the weights] (NULL: none) has scales; counted in `report`, or NULL. CLQ_BAD_DATA names a
 * parameter that is not finite. */
clq_status clq_set_weight_qparams(const clq_quant_config *config, clq_graph *graph,
                                  const float *const *learned, clq_quant_report *report);

/* Sets the scales of the constants of elementwise operators on codes by equation (27), counted
 * likewise. */
clq_status clq_set_constant_qparams(const clq_quant_config *config, clq_graph *graph,
                                    clq_quant_report *report);

/* clq_graph_equalize by what up to `images` of the feed show. */
clq_status clq_equalize(clq_device *device, const clq_graph *folded, clq_feed *feed, int batch,
                        int64_t images, clq_equalization *report, clq_graph **equalized);

/* Whether node `n` is a layer with weights that are to be codes, but are reals so far. */
bool clq_is_quantized_layer(const clq_graph *graph, int n);
int clq_count_quantized_layers(const clq_graph *graph);

/* AdaRound and bias correction use at most so many of calibration's images. */
enum { CLQ_METHOD_IMAGES = 512 };
/* `real` is the float network that `quantized` was made of, with the same names; both see up to
 * `images` of the feed. AdaRound leaves F32 weights that are scale * code. */
clq_status clq_adaround_weights(clq_device *device, const clq_graph *real, clq_graph *quantized,
                                clq_feed *feed, int batch, int64_t images, int iterations,
                                clq_adaround *report);
clq_status clq_correct_biases(clq_device *device, const clq_graph *real, clq_graph *quantized,
                              clq_feed *feed, int batch, int64_t images,
                              clq_bias_correction *report);

#endif
