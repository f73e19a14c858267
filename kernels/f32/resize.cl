/* Resizing of images of floats, and of codes held as floats (q - z): include/resize.h. With the
 * taps by input pixel the first brings a gradient back. */
#include "codes.h"
#include "pixels.h"
#include "resize.h"

#define RESIZE_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16)                                        \
    {                                                                                              \
        __global float *to = dst + PIXEL(n, h, w, OH, OW, C);                                      \
        T sum = (T)(0.0f);                                                                         \
        RESIZE_SUM(T, sum, h, w, READ_##T)                                                         \
        sum = RESIZE_BEYOND(h, w) ? (T)(outside) : sum;                                            \
        STORE(accumulate ? LOAD(to) + sum : sum, to);                                              \
    }
#define READ_float16(ih, iw) LOAD16(src + PIXEL(n, ih, iw, IH, IW, C))
#define READ_float(ih, iw) LOAD1(src + PIXEL(n, ih, iw, IH, IW, C))

__kernel void resize_f32(__global const float *src, __global float *dst, RESIZE_AXES(float),
                         RESIZE_SHAPE, float outside, int accumulate) {
    FOR_PIXELS(batch, OH, OW, C, RESIZE_CELL)
}

/* ---- codes: equation (12i) ---- */

#define READ_16(ih, iw) convert_int16(LOAD16(x + PIXEL(n, ih, iw, IH, IW, C)))
#define READ_1(ih, iw) convert_int(LOAD1(x + PIXEL(n, ih, iw, IH, IW, C)))

/* pixels.h passes types; only the width matters here. */
#define CODE_CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16) CODE_CELL_##T
#define CODE_CELL_float16 CODE_CELL_OF(16)
#define CODE_CELL_float CODE_CELL_OF(1)
#define clq_requantize_shift1 clq_requantize_shift

/* Rounded with one code of room on both sides, which only cubic weights can need. */
#define CODE_CELL_OF(W)                                                                            \
    {                                                                                              \
        int##W sum = (int##W)(0);                                                                  \
        RESIZE_SUM(int##W, sum, h, w, READ_##W)                                                    \
        float##W wide = TO_FLOAT##W(                                                               \
            clq_requantize_shift##W(sum, (int##W)(shift), 0, (int)b.lo - 1, (int)b.hi + 1));       \
        wide = RESIZE_BEYOND(h, w) ? (float##W)(outside_code) : wide;                              \
        if (mask) {                                                                                \
            STORE_MASK##W((wide >= b.lo) & (wide <= b.hi), mask + PIXEL(n, h, w, OH, OW, C));      \
        }                                                                                          \
        STORE##W(clq_clamp_code##W(wide, 0.0f, b.lo, b.hi), y + PIXEL(n, h, w, OH, OW, C));        \
    }

__kernel void resize_codes(__global const float *x, __global float *y, __global uchar *mask,
                           CODE_TABLES, int value, RESIZE_AXES(int), RESIZE_SHAPE, int shift,
                           float outside) {
    const code_bounds b = clq_code_bounds(scale, zero_point, limits, value, ACT_NONE);
    const float outside_code = clq_quantize_code(outside, scale[value], 0.0f, b.lo, b.hi);
    FOR_PIXELS(batch, OH, OW, C, CODE_CELL)
}
