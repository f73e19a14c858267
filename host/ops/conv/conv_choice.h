/* How one convolution runs, as data: the kernel, its tile and its work-items.
 *
 * The planners (conv2d_int8_plan.c, conv2d_f32_plan.c) make a choice by heuristics, or follow one
 * that is given. As text it is what the device's tuning table holds (device/tuning.h):
 *
 *     kernel=tile tile=5x2 items=3x4 order=1
 *
 * A part that is not stated (0) is left to the heuristics. A choice never affects the bits of an
 * integer result. In FP32 the planner's kernels all add an output element's products in one order,
 * taps, then channels; CLBlast and Winograd's algorithm, which a choice also decides on, do not,
 * and are chosen so for inference alone (CLQ_CONV_TUNE in conv2d_f32.h). */
#ifndef CLQUANT_OPS_CONV_CHOICE_H
#define CLQUANT_OPS_CONV_CHOICE_H

#include "ops/conv/conv_geometry.h"

typedef enum clq_conv_kernel {
    CLQ_CONV_ANY,
    CLQ_CONV_TILE,          /* conv2d_*_tile: register tiles */
    CLQ_CONV_SPLIT,         /* conv2d_int8_tile with split activations (kernels/include/dot4.h) */
    CLQ_CONV_INT8_WINOGRAD, /* conv2d_int8_winograd: fewer multiplications, as exact */
    CLQ_CONV_PATCH,         /* conv2d_f32_patch: register tiles from a private patch */
    CLQ_CONV_GROUP,         /* conv2d_int8_group, conv2d_f32_block: work-groups */
    CLQ_CONV_MMA,           /* conv2d_int8_mma: tensor cores */
    CLQ_CONV_DEPTHWISE,     /* conv2d_*_depthwise */
    CLQ_CONV_GEMM,          /* f32: a matrix product by CLBlast, and conv2d_f32_finish */
    CLQ_CONV_KERNEL_COUNT
} clq_conv_kernel;

typedef struct clq_conv_choice {
    clq_conv_kernel kernel;
    int tile[2];  /* TILE, SPLIT, INT8_WINOGRAD, PATCH, f32 DEPTHWISE: rows x vectors of a register
                     tile */
    int items[2]; /* register tiles of a work-item: below each other x side by side */
    int block[2]; /* PATCH: grid pixels of a work-item, height x width */
    int cols;     /* f32 TILE: tiles side by side whose weights stay in the cache */
    int order;    /* int8 TILE, SPLIT: neighbouring items 1: share weights, 2: share pixels */
    int shares;   /* int8 DEPTHWISE: work-items of the launch */
    int bits;     /* int8 TILE, GROUP: 4: weights of 4 bits lie two a byte, 8: one */
    int group;    /* GROUP, MMA: number of the work-group tile in its list (group_tile.h) */
} clq_conv_choice;

enum { CLQ_CHOICE_TEXT = 128, CLQ_CONV_KEY = 160, CLQ_MAX_CANDIDATES = 128 };

/* The parts that are stated, always in the same order; "default" when none is. */
void clq_conv_choice_text(const clq_conv_choice *choice, char text[CLQ_CHOICE_TEXT]);
/* False for anything that is not such a text. */
bool clq_conv_choice_parse(const char *text, clq_conv_choice *choice);

/* A list of different choices. */
typedef struct clq_conv_candidates {
    clq_conv_choice list[CLQ_MAX_CANDIDATES];
    int count;
} clq_conv_candidates;

/* Adds a choice that is not there yet, while there is room. */
void clq_conv_add_candidate(clq_conv_candidates *candidates, const clq_conv_choice *choice);

/* Work-items around a choice's: scaling 0 is itself, others have more or fewer tiles either way. */
enum { CLQ_ITEM_SCALINGS = 9 };
clq_conv_choice clq_conv_scale_items(const clq_conv_choice *choice, int scaling);

/* Build option of a CPU schedule's kernel on a device of the GPU schedule. */
#define CLQ_FORCE_CPU_SCHEDULE "-DCLQ_SCHEDULE_CPU=1"

/* For the planners: whether a part leaves the value open or asks for it. */
static inline bool clq_allows(int part, int value) {
    return part == 0 || part == value;
}

/* ---- in the tuning table ---- */

typedef enum clq_conv_family { CLQ_CONV_INT8, CLQ_CONV_F32 } clq_conv_family;

const char *clq_conv_family_name(clq_conv_family family); /* "int8", "f32" */

/* "1x56x56x64 256x1x1 s1x1 p0x0 d1x1 g1": x (N, H, W, C), then output channels and kernel. A bottom
 * or right padding unlike the top and left one is told by the output: " y56x56". */
void clq_conv_shape_text(const clq_conv_geometry *geometry, char text[CLQ_CONV_KEY]);
/* "int8 SHAPE avx2", "f32 SHAPE": with the device's present dot path where that matters. */
void clq_conv_key(const clq_device *device, clq_conv_family family,
                  const clq_conv_geometry *geometry, char key[CLQ_CONV_KEY]);
/* What the device's table says about a key; false when that is nothing or not readable. */
bool clq_conv_tuned(const clq_device *device, const char *key, clq_conv_choice *choice);

#endif
