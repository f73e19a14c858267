/* Bytes that lie side by side, a channel each, turned into words for dotv_mac and back (dot4.h).
 *
 * A vector of 4 * DOTV_LANES bytes is DOTV_PIECES pieces of 16. Its four planes are vectors of a
 * word for each byte: lane l of plane q stands for byte 16 * (l / 4) + 4 * q + l % 4. So do x86's
 * unpacking instructions order bytes, within 16 at a time, and its packing ones undo that.
 *
 *      void dotv_unpack(const dotv_acc *rows, dotv_acc *planes)
 *                      planes[4] of rows[DOTV_STEP]: a word has the bytes of all rows at its place
 *      dotv_acc dotv_plane(dotv_acc row, int q)
 *                      plane q of one row, its bytes as ints
 *      dotv_acc dotv_pack(const dotv_acc *planes)
 *                      the bytes of planes[4], whose lanes are 0..255
 *      dotv_acc dotv_narrow_planes(const dotv_acc *planes, dotv_bounds b)
 *                      the bytes clamp(v + z, lo, hi) of planes[4]; narrow.h; DOTV_LANES >= 8 */
#ifndef CLQ_PLANES_H
#define CLQ_PLANES_H

#include "narrow.h"

#define DOTV_PIECES (DOTV_LANES / 4)

/* A vector of the pieces p[DOTV_PIECES], of 4 words each; its pieces; piece by piece, word q of
 * each four times. */
#if DOTV_LANES == 16
#define DOTV_JOIN_PIECES(p) ((int16)((p)[0], (p)[1], (p)[2], (p)[3]))
#define DOTV_SPLIT_PIECES(v, p)                                                                    \
    ((p)[0] = (v).s0123, (p)[1] = (v).s4567, (p)[2] = (v).s89ab, (p)[3] = (v).scdef)
#define DOTV_SPREAD(v, q)                                                                          \
    ((q) == 0   ? (v).s000044448888cccc                                                            \
     : (q) == 1 ? (v).s111155559999dddd                                                            \
     : (q) == 2 ? (v).s22226666aaaaeeee                                                            \
                : (v).s33337777bbbbffff)
#define DOTV_BYTE_SHIFTS ((int16)(0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24, 0, 8, 16, 24))
#elif DOTV_LANES == 8
#define DOTV_JOIN_PIECES(p) ((int8)((p)[0], (p)[1]))
#define DOTV_SPLIT_PIECES(v, p) ((p)[0] = (v).s0123, (p)[1] = (v).s4567)
#define DOTV_SPREAD(v, q)                                                                          \
    ((q) == 0 ? (v).s00004444 : (q) == 1 ? (v).s11115555 : (q) == 2 ? (v).s22226666 : (v).s33337777)
#define DOTV_BYTE_SHIFTS ((int8)(0, 8, 16, 24, 0, 8, 16, 24))
#else
#define DOTV_JOIN_PIECES(p) ((p)[0])
#define DOTV_SPLIT_PIECES(v, p) ((p)[0] = (v))
#define DOTV_SPREAD(v, q)                                                                          \
    ((q) == 0 ? (v).s0000 : (q) == 1 ? (v).s1111 : (q) == 2 ? (v).s2222 : (v).s3333)
#define DOTV_BYTE_SHIFTS ((int4)(0, 8, 16, 24))
#endif

DOT4_INLINE dotv_acc dotv_plane(dotv_acc row, int q) {
    return (DOTV_SPREAD(row, q) >> DOTV_BYTE_SHIFTS) & 0xff;
}

#ifdef DOTV_BINARY
DOTV_BINARY(dotv_low_bytes, "vpunpcklbw")
DOTV_BINARY(dotv_high_bytes, "vpunpckhbw")
DOTV_BINARY(dotv_low_shorts, "vpunpcklwd")
DOTV_BINARY(dotv_high_shorts, "vpunpckhwd")

DOT4_INLINE void dotv_unpack(const dotv_acc *rows, dotv_acc *planes) {
    const dotv_acc low = dotv_low_bytes(rows[0], rows[1]);
    const dotv_acc high = dotv_high_bytes(rows[0], rows[1]);
#if DOTV_STEP == 4
    const dotv_acc low2 = dotv_low_bytes(rows[2], rows[3]);
    const dotv_acc high2 = dotv_high_bytes(rows[2], rows[3]);
    planes[0] = dotv_low_shorts(low, low2);
    planes[1] = dotv_high_shorts(low, low2);
    planes[2] = dotv_low_shorts(high, high2);
    planes[3] = dotv_high_shorts(high, high2);
#else
    planes[0] = dotv_low_bytes(low, 0);
    planes[1] = dotv_high_bytes(low, 0);
    planes[2] = dotv_low_bytes(high, 0);
    planes[3] = dotv_high_bytes(high, 0);
#endif
}

DOT4_INLINE dotv_acc dotv_pack(const dotv_acc *planes) {
    return dotv_pack_bytes(dotv_pack_shorts(planes[0], planes[1]),
                           dotv_pack_shorts(planes[2], planes[3]));
}
#else
DOT4_INLINE void dotv_unpack(const dotv_acc *rows, dotv_acc *planes) {
#pragma unroll
    for (int q = 0; q < 4; q++) {
        planes[q] = 0;
#pragma unroll
        for (int i = 0; i < DOTV_STEP; i++)
            planes[q] |= dotv_plane(rows[i], q) << i * (32 / DOTV_STEP);
    }
}

DOT4_INLINE dotv_acc dotv_pack(const dotv_acc *planes) {
    int words[DOTV_LANES];
#pragma unroll
    for (int q = 0; q < 4; q++) {
        int4 pieces[DOTV_PIECES];
        DOTV_SPLIT_PIECES(planes[q], pieces);
#pragma unroll
        for (int i = 0; i < DOTV_PIECES; i++)
            words[(i << 2) + q] = as_int(convert_uchar4(pieces[i]));
    }
    return DOTV_CAT(vload, DOTV_LANES)(0, words);
}

#if DOTV_LANES >= 8
DOT4_INLINE dotv_acc dotv_narrow_planes(const dotv_acc *planes, dotv_bounds b) {
    dotv_acc codes[4];
#pragma unroll
    for (int q = 0; q < 4; q++)
        codes[q] = dotv_code(planes[q], b);
    return dotv_pack(codes);
}
#endif
#endif

#endif
