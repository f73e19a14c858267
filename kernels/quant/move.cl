/* As move/move.cl, on codes held as floats: y's scale is not x's. */
#include "codes.h"
#include "move.h"

/* (2) of the reals that x's codes stand for; x_value and value are x's and y's entries of the
 * tables. */
__kernel void move_requantize(__global const float *x, __global float *y, __global const int *plan,
                              CODE_TABLES, int x_value, int value) {
    const float s = scale[x_value], none = 0;
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
#define REQUANTIZED(W, v) clq_quantize_code##W((v)*s, scale[value], 0.0f, b.lo, b.hi)
    FOR_EACH_PIECE(plan, MOVE_PIECE(float, SET, REQUANTIZED, true));
}
