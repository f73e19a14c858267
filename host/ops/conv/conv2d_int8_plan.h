/* Inside the integer convolution: how one shape runs on one device, and the packing of its
 * constants for that. */
#ifndef CLQUANT_OPS_CONV2D_INT8_PLAN_H
#define CLQUANT_OPS_CONV2D_INT8_PLAN_H

#include "kernels/include/conv_int8.h"
#include "ops/conv/conv2d_int8.h"
#include "ops/conv/conv_choice.h"

typedef struct clq_int8_plan {
    clq_conv_kernel kernel;
    clq_dot dot;
    int nr;            /* output channels of a block */
    int step;          /* inputs of a word of packed weights */
    int pad;           /* to a multiple of so many inputs, zeros follow a channel's weights */
    int element_bytes; /* of a packed weight */
    bool nibbles;      /* weights are two a byte; element_bytes is of what the kernel unpacks */
    bool dense;        /* the tile kernel packs lines of few channels (int8_dense.h) */
    bool in_place;     /* the tile kernel reads inputs without a panel */
    int merged_groups; /* groups of the network in one group of `shape` */
    bool by_columns;   /* depthwise on the CPU schedule: its words are columns of the window */
    int pieces;        /* by_columns: the most pieces of a chunk (depthwise_chunks.h) */
    conv_int8 shape;
    char options[128]; /* build options of the kernel */
    clq_range range;
    clq_conv_choice choice; /* what was chosen, whole */
    double operations;      /* where they are fewer than those of the sum over taps; else 0 */
} clq_int8_plan;

/* Chooses kernel, tile and work-items: as `choice` states, the rest (NULL: all) by heuristics.
 * four_bits: all weights are of 4 bits, so that they may be two a byte. False when this device,
 * shape, weights or zero point cannot have that choice. Never affects a result's bits. */
bool clq_int8_make_plan(const clq_device_info *info, const clq_conv_geometry *geometry,
                        clq_requantizer requantizer, int32_t x_zero_point, bool four_bits,
                        const clq_conv_choice *choice, clq_int8_plan *plan);

/* The kernel's name in the registry. */
const char *clq_int8_kernel_name(clq_conv_kernel kernel);

/* clq_conv2d_int8_create as a plan says, which must be one of this device and geometry; fills in
 * what else of plan->shape depends on the parameters. */
clq_status clq_int8_create_planned(clq_device *device, const clq_conv_geometry *geometry,
                                   const clq_conv2d_int8_params *params, clq_int8_plan *plan,
                                   clq_conv2d_int8 **conv);

/* Its packed weights and table of channels, on the device; the convolution's. */
void clq_conv2d_int8_constants(const clq_conv2d_int8 *conv, clq_buffer **weights,
                               clq_buffer **channels);

/* Choices worth measuring for an input whose zero point is low, the heuristics' first. */
void clq_int8_candidates(const clq_device_info *info, const clq_conv_geometry *geometry,
                         clq_conv_candidates *candidates);

/* Bytes of the packed weights and of the channel table (conv_int8.h). */
size_t clq_int8_weight_bytes(const clq_int8_plan *plan);
size_t clq_int8_channel_bytes(const clq_int8_plan *plan);

/* Fill host arrays of those sizes, given zeroed. */
void clq_int8_pack_weights(const clq_int8_plan *plan, const clq_conv_geometry *geometry,
                           const int8_t *w, void *packed);
/* Behind the channels of CLQ_CONV_SPLIT: the steps of the packed weights that do not pair. */
void clq_int8_list_unfit(const clq_int8_plan *plan, const int8_t *packed, int32_t *channels);
clq_status clq_int8_pack_channels(const clq_int8_plan *plan, const clq_conv_geometry *geometry,
                                  const clq_conv2d_int8_params *params, int32_t *channels);

#endif
