/* Inside the integer convolution: how one shape runs on one device, and the packing of its
 * constants for that. */
#ifndef CLQUANT_OPS_CONV2D_INT8_PLAN_H
#define CLQUANT_OPS_CONV2D_INT8_PLAN_H

#include "kernels/include/conv_int8.h"
#include "ops/conv2d_int8.h"

/* A kernel each: conv2d_tile, conv2d_group, conv2d_mma, conv2d_depthwise below kernels/int8. */
typedef enum clq_int8_kind {
    CLQ_INT8_TILE,  /* CPU schedule: register tile */
    CLQ_INT8_GROUP, /* GPU schedule: work-group tile */
    CLQ_INT8_MMA,   /* GPU schedule: tensor cores */
    CLQ_INT8_DEPTHWISE,
} clq_int8_kind;

typedef struct clq_int8_plan {
    clq_int8_kind kind;
    clq_dot dot;
    int nr;            /* output channels of a block */
    int step;          /* inputs of a word of packed weights */
    int pad;           /* to a multiple of so many inputs, zeros follow a channel's weights */
    int element_bytes; /* of a packed weight */
    int merged_groups; /* groups of the network in one group of `shape` */
    bool by_columns;   /* depthwise on the CPU schedule: its words are columns of the window */
    conv_int8 shape;
    char options[128]; /* build options of the kernel */
    clq_range range;
} clq_int8_plan;

/* Chooses kernel, tile and work-items. Never affects a result's bits. */
void clq_int8_make_plan(const clq_device_info *info, const clq_conv_geometry *geometry,
                        clq_requantizer requantizer, clq_int8_plan *plan);

/* Bytes of the packed weights and of the channel table (conv_int8.h). */
size_t clq_int8_weight_bytes(const clq_int8_plan *plan);
size_t clq_int8_channel_bytes(const clq_int8_plan *plan);

/* Fill host arrays of those sizes, given zeroed. */
void clq_int8_pack_weights(const clq_int8_plan *plan, const clq_conv_geometry *geometry,
                           const int8_t *w, void *packed);
clq_status clq_int8_pack_channels(const clq_int8_plan *plan, const clq_conv_geometry *geometry,
                                  const clq_conv2d_int8_params *params, int32_t *channels);

#endif
