/* From sums in registers to bytes, four vectors at once: rounding, packing and saturating. Beside
 * dot4.h, whose vectors it takes, the only header that knows instruction sets; C stands in where
 * they are missing.
 *
 *      dotv_real       float vector of DOTV_LANES
 *      dotv_acc dotv_round(dotv_real v)
 *                      rint(v), ties to even; |v| < 2^30
 *      dotv_bounds dotv_bounds_of(int z, int lo, int hi)
 *                      0 <= z, lo, hi <= 255
 *      dotv_acc dotv_narrow(const dotv_acc *v, dotv_bounds b)
 *                      the bytes clamp(v + z, lo, hi) of v[0], v[1], v[2] and v[3], in this order
 *      dotv_acc dotv_narrow_planes(const dotv_acc *v, dotv_bounds b)
 *                      the same where v are planes of the bytes (planes.h)
 *
 * Together they are what requantize.h makes of |v| < 2^30: rint keeps the order of numbers and
 * keeps integers, so it does not matter whether bounds that are integers are applied before it or
 * after; and what 16 bits cannot hold is beyond the bounds before z is added and still is then. */
#ifndef CLQ_NARROW_H
#define CLQ_NARROW_H

#include "dot4.h"
#include "requantize.h"

#if DOTV_LANES >= 8

typedef DOTV_CAT(float, DOTV_LANES) dotv_real;

typedef struct dotv_bounds {
    dotv_acc z, lo, hi; /* z as 16 bits, the bounds as bytes */
} dotv_bounds;

DOT4_INLINE dotv_bounds dotv_bounds_of(int z, int lo, int hi) {
    const dotv_bounds b = {(dotv_acc)(z * 0x00010001), (dotv_acc)(lo * 0x01010101),
                           (dotv_acc)(hi * 0x01010101)};
    return b;
}

#if DOT4_AVAILABLE &&                                                                              \
    (defined(CLQ_DOT_AVX512VNNI) || defined(CLQ_DOT_AVXVNNI) || defined(CLQ_DOT_AVX2))

#if DOTV_LANES == 16
#define DOTV_REGISTER "v"
/* Packing works within 16 bytes, which then hold 4 codes of each vector. */
#define DOTV_UNPACK(v)                                                                             \
    __builtin_shufflevector(v, v, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
#else
#define DOTV_REGISTER "x"
#define DOTV_UNPACK(v) __builtin_shufflevector(v, v, 0, 4, 1, 5, 2, 6, 3, 7)
#endif

#define DOTV_BINARY(name, mnemonic)                                                                \
    DOT4_INLINE dotv_acc name(dotv_acc a, dotv_acc b) {                                            \
        dotv_acc both;                                                                             \
        __asm__(mnemonic " %2, %1, %0"                                                             \
                : "=" DOTV_REGISTER(both)                                                          \
                : DOTV_REGISTER(a), DOTV_REGISTER(b));                                             \
        return both;                                                                               \
    }

DOTV_BINARY(dotv_pack_shorts, "vpackssdw")
DOTV_BINARY(dotv_pack_bytes, "vpackuswb")
DOTV_BINARY(dotv_add_shorts, "vpaddsw")
DOTV_BINARY(dotv_max_bytes, "vpmaxub")
DOTV_BINARY(dotv_min_bytes, "vpminub")

DOT4_INLINE dotv_acc dotv_round(dotv_real v) {
    dotv_acc rounded;
    __asm__("vcvtps2dq %1, %0" : "=" DOTV_REGISTER(rounded) : DOTV_REGISTER(v));
    return rounded;
}

DOT4_INLINE dotv_acc dotv_narrow_planes(const dotv_acc *v, dotv_bounds b) {
    const dotv_acc first = dotv_add_shorts(dotv_pack_shorts(v[0], v[1]), b.z);
    const dotv_acc last = dotv_add_shorts(dotv_pack_shorts(v[2], v[3]), b.z);
    return dotv_min_bytes(dotv_max_bytes(dotv_pack_bytes(first, last), b.lo), b.hi);
}

DOT4_INLINE dotv_acc dotv_narrow(const dotv_acc *v, dotv_bounds b) {
    const dotv_acc bytes = dotv_narrow_planes(v, b);
    return DOTV_UNPACK(bytes);
}

#else

/* Bounds that no result misses bring v into the reach of the sum that rounds. */
DOT4_INLINE dotv_acc dotv_round(dotv_real v) {
    v = CLQ_AT_MOST(CLQ_AT_LEAST(v, (dotv_real)(-1024.0f)), (dotv_real)(1024.0f));
    return DOTV_CAT(as_int, DOTV_LANES)(v + (dotv_real)(CLQ_ROUNDER)) - CLQ_ROUNDER_BITS;
}

DOT4_INLINE dotv_acc dotv_code(dotv_acc v, dotv_bounds b) {
    return max(min(v + (b.z & 0xff), b.hi & 0xff), b.lo & 0xff);
}

DOT4_INLINE dotv_acc dotv_narrow(const dotv_acc *v, dotv_bounds b) {
    union {
        DOTV_CAT(uchar, DOTV_LANES) parts[4];
        dotv_acc whole;
    } bytes;
    for (int i = 0; i < 4; i++)
        bytes.parts[i] = DOTV_CAT(convert_uchar, DOTV_LANES)(dotv_code(v[i], b));
    return bytes.whole;
}

#endif
#endif
#endif
