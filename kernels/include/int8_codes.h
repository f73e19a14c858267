/* Reading and writing u8 codes. A pixel is `pitch` bytes: its channels rounded up to a multiple of
 * 4; padding channels are written as 0. As words, because some compilers move unaligned bytes one
 * by one. */
#ifndef CLQ_INT8_CODES_H
#define CLQ_INT8_CODES_H

#define CODES_INLINE static inline __attribute__((always_inline))

/* Codes at a multiple of 4 bytes. */
CODES_INLINE int4 codes_load4(__global const uchar *p) {
    return convert_int4(as_uchar4(*(__global const uint *)p));
}

CODES_INLINE int16 codes_load16(__global const uchar *p) {
    return convert_int16(vload16(0, p));
}

CODES_INLINE void codes_store16(int16 q, __global uchar *p) {
    vstore4(as_uint4(convert_uchar16(q)), 0, (__global uint *)p);
}

/* Those from `left` on are padding channels. */
CODES_INLINE void codes_store4(int4 q, int left, __global uchar *p) {
    uint word = as_uint(convert_uchar4(q));
    *(__global uint *)p = left >= 4 ? word : word & ((1u << (8 * left)) - 1u);
}

/* Reals of 4 channels, of which `left` exist. */
CODES_INLINE void store_reals4(float4 v, int left, __global float *p) {
    p[0] = v.x;
    if (left > 1)
        p[1] = v.y;
    if (left > 2)
        p[2] = v.z;
    if (left > 3)
        p[3] = v.w;
}

#endif
