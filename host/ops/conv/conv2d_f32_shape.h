/* The tables of a sum over taps (kernels/include/conv_shape.h), made on the host. */
#ifndef CLQUANT_OPS_CONV2D_F32_SHAPE_H
#define CLQUANT_OPS_CONV2D_F32_SHAPE_H

#include "kernels/include/conv_shape.h"
#include "ops/conv/conv_geometry.h"

/* Everything of the shape but the tile: of the forward, or of backward-data. */
conv_shape clq_f32_shape(const clq_conv_geometry *geometry, bool backward);

/* Fills phases[shape.phases] and taps[kh * kw] (NULL: only the phases); returns how many taps all
 * phases have. */
int clq_f32_phases(const clq_conv_geometry *geometry, bool backward, conv_phase *phases,
                   conv_tap *taps);

/* 2 * N * OH * OW * OC * KH * KW * IC / G: the operations of each direction. */
double clq_conv_operations(const clq_conv_geometry *geometry);

#endif
