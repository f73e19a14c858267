/* Codes one by one: quantize, dequantize, add, look up. Equations: requantize.h.
 *
 * Work is shared in words of 4 codes, `row` words a pixel. Where a pixel has no padding channels
 * (`channels` is a multiple of 4) the CPU schedule takes 16 codes at a time. */
#include "elementwise.h"
#include "int8_codes.h"
#include "requantizer.h"

/* BODY16(w) for 4 words from w on, else BODY4(w, left): `left` channels from the word's first on.
 */
#ifdef CLQ_SCHEDULE_CPU
#define FOR_EACH_WORD(words, row, channels, BODY16, BODY4)                                         \
    do {                                                                                           \
        long w, end_;                                                                              \
        clq_share((words), 4, &w, &end_);                                                          \
        if ((channels) % 4 == 0)                                                                   \
            for (; w + 4 <= end_; w += 4)                                                          \
                BODY16(w);                                                                         \
        for (; w < end_; w++)                                                                      \
            BODY4(w, (channels) - (int)(w % (row)) * 4);                                           \
    } while (0)
#else
#define FOR_EACH_WORD(words, row, channels, BODY16, BODY4)                                         \
    for (long w = get_global_id(0); w < (words); w += get_global_size(0))                          \
    BODY4(w, (channels) - (int)(w % (row)) * 4)
#endif

__kernel void int8_add(__global const uchar *a, __global const uchar *b, __global uchar *y,
                       int pixels, int channels, int a_zero, int a_factor, int b_zero, int b_factor,
                       int shift, int zero, int lo, int hi) {
    const int row = (channels + 3) / 4;
    const long words = (long)pixels * row;
#define ADD_CODES(W, w)                                                                            \
    ADD_INTS(W, codes_load##W(a + (w)*4) - (int##W)(a_zero), a_factor,                             \
             codes_load##W(b + (w)*4) - (int##W)(b_zero), b_factor, shift, zero, lo, hi)
#define ADD16(w) codes_store16(ADD_CODES(16, w), y + (w)*4)
#define ADD4(w, left) codes_store4(ADD_CODES(4, w), left, y + (w)*4)
    FOR_EACH_WORD(words, row, channels, ADD16, ADD4);
}

#if CLQ_REQUANT == 0 /* none of these ever runs in a program of another requantizer */

/* The reals of word w, zeros beyond the channels. */
static inline float4 load_reals(__global const float *real, long w, int row, int channels) {
    __global const float *p = real + w / row * channels + w % row * 4;
    const int left = channels - (int)(w % row) * 4;
    if (left >= 4)
        return vload4(0, p);
    return (float4)(p[0], left > 1 ? p[1] : 0.0f, left > 2 ? p[2] : 0.0f, 0.0f);
}

__kernel void int8_quantize(__global const float *real, __global uchar *codes, int pixels,
                            int channels, float scale, float zero, float lo, float hi) {
    const int row = (channels + 3) / 4;
    const long words = (long)pixels * row;
#ifdef CLQ_SCHEDULE_CPU
    if (channels == 3) { /* images: 4 pixels at a time, as long as 16 reals are there */
        long p, end;
        clq_share(pixels, 4, &p, &end);
        for (; p + 6 <= end; p += 4) {
            int16 q = clq_quantize_int16(vload16(0, real + p * 3), scale, zero, lo, hi);
            codes_store16((int16)(q.s012, 0, q.s345, 0, q.s678, 0, q.s9ab, 0), codes + p * 4);
        }
        for (; p < end; p++)
            codes_store4(clq_quantize_int4(load_reals(real, p, 1, 3), scale, zero, lo, hi), 3,
                         codes + p * 4);
        return;
    }
#endif
#define QUANTIZE16(w)                                                                              \
    codes_store16(clq_quantize_int16(vload16(0, real + (w)*4), scale, zero, lo, hi), codes + (w)*4)
#define QUANTIZE4(w, left)                                                                         \
    codes_store4(clq_quantize_int4(load_reals(real, w, row, channels), scale, zero, lo, hi), left, \
                 codes + (w)*4)
    FOR_EACH_WORD(words, row, channels, QUANTIZE16, QUANTIZE4);
}

__kernel void int8_dequantize(__global const uchar *codes, __global float *real, int pixels,
                              int channels, float scale, int zero) {
    const int row = (channels + 3) / 4;
    const long words = (long)pixels * row;
#define DEQUANTIZE16(w)                                                                            \
    vstore16((float16)(scale)*convert_float16(codes_load16(codes + (w)*4) - (int16)(zero)), 0,     \
             real + (w)*4)
#define DEQUANTIZE4(w, left)                                                                       \
    store_reals4((float4)(scale)*convert_float4(codes_load4(codes + (w)*4) - (int4)(zero)), left,  \
                 real + (w) / row * channels + (w) % row * 4)
    FOR_EACH_WORD(words, row, channels, DEQUANTIZE16, DEQUANTIZE4);
}

__kernel void int8_lookup(__global const uchar *x, __global const uchar *table, __global uchar *y,
                          int pixels, int channels) {
    const int row = (channels + 3) / 4;
    const long words = (long)pixels * row;
#ifdef CLQ_SCHEDULE_CPU
    uchar near[256]; /* y may be anything, also what x reads */
    for (int i = 0; i < 256; i += 16)
        vstore16(vload16(0, table + i), 0, near + i);
#else
    __global const uchar *near = table;
#endif
#define LOOKUP4(w, left)                                                                           \
    do {                                                                                           \
        const uint q = ((__global const uint *)x)[w];                                              \
        codes_store4(                                                                              \
            (int4)(near[q & 255u], near[q >> 8 & 255u], near[q >> 16 & 255u], near[q >> 24]),      \
            left, y + (w)*4);                                                                      \
    } while (0)
#define LOOKUP16(w)                                                                                \
    for (int k = 0; k < 4; k++)                                                                    \
    LOOKUP4((w) + k, 4)
    FOR_EACH_WORD(words, row, channels, LOOKUP16, LOOKUP4);
}

/* A table for each channel: (256, channels). */
__kernel void int8_lookup_channels(__global const uchar *x, __global const uchar *table,
                                   __global uchar *y, int pixels, int channels) {
    const int row = (channels + 3) / 4;
    const long words = (long)pixels * row;
#define AT(q, c) (int)table[(long)((q)&255u) * channels + min((c), channels - 1)]
#define CHANNELS4(w, left)                                                                         \
    do {                                                                                           \
        const uint q = ((__global const uint *)x)[w];                                              \
        const int c = (int)((w) % row) * 4;                                                        \
        codes_store4((int4)(AT(q, c), AT(q >> 8, c + 1), AT(q >> 16, c + 2), AT(q >> 24, c + 3)),  \
                     left, y + (w)*4);                                                             \
    } while (0)
#define CHANNELS16(w)                                                                              \
    for (int k = 0; k < 4; k++)                                                                    \
    CHANNELS4((w) + k, 4)
    FOR_EACH_WORD(words, row, channels, CHANNELS16, CHANNELS4);
}

#endif
