/* What the planners of the convolutions assume about a device: its class's row of constants in
 * conv_class.c, and the register tiles of its vectors. These are the defaults that `clquant tune`
 * starts from and measures against. */
#ifndef CLQUANT_OPS_CONV_CLASS_H
#define CLQUANT_OPS_CONV_CLASS_H

#include "ops/conv/conv_choice.h"

enum { CLQ_MAX_TILES = 8 };

/* rows x vectors of sums. `cost` is what a multiplication takes compared with the best tile (each
 * loads weights and activations for its sums). */
typedef struct clq_register_tile {
    int rows, vectors; /* 0 rows: behind the last of a list */
    double cost;
} clq_register_tile;

/* The integer vectors of a dot path, as in kernels/include/dot4.h. */
typedef struct clq_int8_vectors {
    int lanes, step;   /* output channels of a vector, inputs of a word */
    int element_bytes; /* of a packed weight */
    clq_register_tile tiles[CLQ_MAX_TILES];
} clq_int8_vectors;

typedef struct clq_f32_vectors {
    int simd_bytes;
    clq_register_tile tiles[CLQ_MAX_TILES];
} clq_f32_vectors;

typedef struct clq_conv_class {
    const char *name;
    struct {                /* conv2d_int8_tile */
        int panel_bytes;    /* of a work-item: streams through the first cache */
        int max_inputs;     /* of a panel row */
        int cached_weights; /* bytes that an item uses again and again: half a second cache */
        int item_macs;      /* enough to forget the cost of starting an item */
        int items_per_unit; /* so that the last items to finish leave little idle */
    } int8;
    struct {                               /* conv2d_f32_tile and conv2d_f32_patch */
        int cached_weights, cached_pixels; /* bytes in the second cache */
        int max_row_tiles;                 /* of a work-item */
        int patch_depth; /* sums over up to so many channels go through a private patch: for those,
                            working out where a tap's pixels are costs more than copying them */
        int items_per_unit, min_items;
    } f32;
} clq_conv_class;

const clq_conv_class *clq_conv_class_of(const clq_device_info *info);
/* Of a kernel of the CPU schedule; NULL where the dot path has none: CLQ_CONV_SPLIT is only for
 * AVX2, CLQ_CONV_INT8_WINOGRAD for words of two inputs. */
const clq_int8_vectors *clq_int8_vectors_of(const clq_device_info *info, clq_conv_kernel kernel);
const clq_f32_vectors *clq_f32_vectors_of(const clq_device_info *info);

#endif
