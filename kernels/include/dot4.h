/* Integer dot products of unsigned activations with signed weights, on whatever the device has.
 *
 * The only header that knows instruction sets. The host picks the path by trying (compile, then
 * compare values) and passes one of
 *   -DCLQ_DOT_{MMA,DP4A,AVX512VNNI,AVXVNNI,AVX2,KHR,AMD,ARM,PORTABLE}=1
 * together with CLQ_SIMD_BYTES (64, 32, 16; 0 = unknown). Where the compiler's target cannot do the
 * path, the portable code stands in and DOT4_AVAILABLE is 0, so that probing never meets a compiler
 * error.
 *
 * Everywhere: activations are u8 (0..255), weights s8 in [-127, 127] (never -128), sums are exact
 * in int32 as long as they fit. Four neighbouring input channels k = 0..3 make one group; a word
 * holds them with k = 0 in the low byte, as they lie in memory.
 *
 * 1. One lane (GPU schedule, tails)
 *
 *      int dot4_us(uint a, uint w, int acc)        acc + sum over k of a[k] * w[k]
 *
 * 2. A vector of output channels (CPU schedule)
 *
 *      DOTV_LANES      output channels of one vector: 16, 8 or 4
 *      dotv_acc        int vector of DOTV_LANES sums
 *      dotv_element    what packed weights are made of: char or short
 *      DOTV_BLOCK      elements of one block = DOTV_LANES channels x 4 inputs = 4 * DOTV_LANES
 *      DOTV_INDEX(lane, k)   where in its block the weight of channel `lane`, input k goes
 *      DOTV_ROWS, DOTV_VECTORS   a tile of rows x vectors of sums that stays in registers here
 *
 *      dotv_acts    dotv_spread(uint a)                      one word of activations to all lanes
 *      dotv_weights dotv_load(__global const dotv_element *) one block, aligned to its size
 *      dotv_acc     dotv_mac(dotv_acc, dotv_acts, dotv_weights)
 *      dotv_store(dotv_acc, __global int *), aligned like int
 *
 *    A tile reads, for each group of 4 inputs, DOTV_VECTORS blocks and one word a row:
 *
 *      weights  [columns / (DOTV_VECTORS * DOTV_LANES)][K / 4][DOTV_VECTORS][DOTV_BLOCK]
 *      for g in K / 4: for row: x = dotv_spread(word at row, g)
 *                               for v: acc[row][v] = dotv_mac(acc[row][v], x, w[v])
 *
 *    Write the loops in this order and unroll all but the outer one. A block takes DOTV_BLOCK *
 *    sizeof(dotv_element) bytes: 64 (avx512vnni), 32 (avxvnni), 64 (avx2: shorts).
 *
 * 3. A 16x8 tile of a warp (CLQ_DOT_MMA; DOT4_HAS_MMA is 1)
 *
 *      int4 mma_us(uint4 a, uint2 w, int4 acc)     acc + A (16x32, u8) * W (32x8, s8)
 *
 *    All 32 work-items of a warp call it together. With g = lane / 4, t = lane % 4 a work-item
 * holds a.x  row g,     inputs 4t..4t+3         w.x  inputs 4t..4t+3,       column g a.y  row g +
 * 8, inputs 4t..4t+3         w.y  inputs 16+4t..16+4t+3, column g a.z  row g,     inputs
 * 16+4t..16+4t+3   acc.x, acc.y  row g,     columns 2t, 2t+1 a.w  row g + 8, inputs 16+4t..16+4t+3
 * acc.z, acc.w  row g + 8, columns 2t, 2t+1 (PTX ISA, "Matrix Fragments for mma.m16n8k32"). */
#ifndef CLQ_DOT4_H
#define CLQ_DOT4_H

#ifndef CLQ_SIMD_BYTES
#define CLQ_SIMD_BYTES 0
#endif

#define DOT4_INLINE static inline __attribute__((always_inline))

/* ---- 1. one lane ---- */

DOT4_INLINE int dot4_portable(uint a, uint w, int acc) {
    acc += (int)(a & 0xffu) * (int)as_char4(w).s0;
    acc += (int)((a >> 8) & 0xffu) * (int)as_char4(w).s1;
    acc += (int)((a >> 16) & 0xffu) * (int)as_char4(w).s2;
    acc += (int)(a >> 24) * (int)as_char4(w).s3;
    return acc;
}

#if defined(CLQ_DOT_MMA) || defined(CLQ_DOT_DP4A)
#define DOT4_AVAILABLE 1
/* sm_61 and later. */
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    int sum;
    __asm__("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(w), "r"(acc));
    return sum;
}

#elif defined(CLQ_DOT_KHR)
#if defined(cl_khr_integer_dot_product) ||                                                         \
    defined(__opencl_c_integer_dot_product_input_4x8bit_packed)
#define DOT4_AVAILABLE 1
#ifdef cl_khr_integer_dot_product
#pragma OPENCL EXTENSION cl_khr_integer_dot_product : enable
#endif
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    return acc + dot_4x8packed_us_int(a, w);
}
#endif

#elif defined(CLQ_DOT_AMD)
#if defined(__AMDGCN__) || defined(__AMDGPU__)
#define DOT4_AVAILABLE 1
#if defined(__GFX11__) || defined(__GFX12__) || defined(__gfx1100__) || defined(__gfx1101__) ||    \
    defined(__gfx1102__) || defined(__gfx1103__) || defined(__gfx1150__) || defined(__gfx1151__)
/* gfx11 and later: one instruction, a flag for the sign of either side. */
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    return __builtin_amdgcn_sudot4(false, (int)a, true, (int)w, acc, false);
}
#else
/* gfx906 to gfx10.3 multiply signed by signed: a = (a - 128) + 128, and a ^ 0x80 is a - 128. */
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    int sum = __builtin_amdgcn_sdot4((int)w, 0x01010101, 0, false);
    return __builtin_amdgcn_sdot4((int)(a ^ 0x80808080u), (int)w, acc + 128 * sum, false);
}
#endif
#endif

#elif defined(CLQ_DOT_ARM)
#ifdef cl_arm_integer_dot_product_accumulate_int8
#define DOT4_AVAILABLE 1
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_int8 : enable
#pragma OPENCL EXTENSION cl_arm_integer_dot_product_accumulate_int8 : enable
/* Signed by signed only, so the 128 of a = (a - 128) + 128 is added by a second product. */
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    int sum = arm_dot(as_char4(w), (char4)(1));
    return arm_dot_acc(as_char4(a ^ 0x80808080u), as_char4(w), acc + 128 * sum);
}
#endif

#elif defined(CLQ_DOT_AVX512VNNI)
#ifdef __AVX512F__
#define DOT4_AVAILABLE 1
#endif
#elif defined(CLQ_DOT_AVXVNNI) || defined(CLQ_DOT_AVX2)
#ifdef __AVX2__
#define DOT4_AVAILABLE 1
#endif
#else
#define DOT4_AVAILABLE 1
#endif

#ifndef DOT4_AVAILABLE
#define DOT4_AVAILABLE 0
#endif
#if !DOT4_AVAILABLE || defined(CLQ_DOT_AVX512VNNI) || defined(CLQ_DOT_AVXVNNI) ||                  \
    defined(CLQ_DOT_AVX2) || defined(CLQ_DOT_PORTABLE)
#define dot4_us dot4_portable
#endif

/* ---- 2. a vector of output channels ---- */

#define DOTV_CAT_(a, b) a##b
#define DOTV_CAT(a, b) DOTV_CAT_(a, b)

#if defined(CLQ_DOT_AVX512VNNI) && DOT4_AVAILABLE
#define DOTV_WORDS 1 /* weights are packed as words of four bytes */
#define DOTV_LANES 16
#elif defined(CLQ_DOT_AVXVNNI) && DOT4_AVAILABLE
#define DOTV_WORDS 1
#define DOTV_LANES 8
#else
#define DOTV_WORDS 0 /* as pairs of shorts */
#if CLQ_SIMD_BYTES >= 32 || defined(CLQ_DOT_AVX2)
#define DOTV_LANES 8
#else
#define DOTV_LANES 4
#endif
#endif
#define DOTV_BLOCK (4 * DOTV_LANES)

#define DOTV_ROWS 6
#if DOTV_LANES == 16
#define DOTV_VECTORS 4 /* 24 of 32 registers */
#else
#define DOTV_VECTORS 2 /* 12 of 16 */
#endif

typedef DOTV_CAT(int, DOTV_LANES) dotv_acc;
#define dotv_store DOTV_CAT(dotv_store, DOTV_LANES)
#define dotv_store16(v, p) vstore16((v), 0, (p))
#define dotv_store8(v, p) vstore8((v), 0, (p))
#define dotv_store4(v, p) vstore4((v), 0, (p))

#if DOTV_WORDS

/* vpdpbusd takes the four products of a lane in one go. Written as assembly because LLVM 15 aborts
 * on its builtin, and because PoCL may not name the extension to the compiler at all. */
#define DOTV_INDEX(lane, k) ((lane)*4 + (k))
typedef char dotv_element;
typedef dotv_acc dotv_acts;
typedef dotv_acc dotv_weights;

DOT4_INLINE dotv_acts dotv_spread(uint a) {
    return (dotv_acts)(as_int(a));
}

DOT4_INLINE dotv_weights dotv_load(__global const dotv_element *block) {
    return *(__global const dotv_weights *)block;
}

DOT4_INLINE dotv_acc dotv_mac(dotv_acc acc, dotv_acts x, dotv_weights w) {
#ifdef CLQ_DOT_AVX512VNNI
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
#else
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w));
#endif
    return acc;
}

#else

/* Without such an instruction: weights are widened to 16 bits when packed, activations in
 * registers, and the two 16-bit products of a 32-bit lane are added exactly (vpmaddwd; vpmaddubsw
 * would saturate). Splitting a word into inputs (0, 2) and (1, 3) costs one operation each: a mask
 * and a shift. */
#define DOTV_INDEX(lane, k) ((((k)&1) * DOTV_LANES + (lane)) * 2 + (k) / 2)
typedef short dotv_element;
typedef struct {
    dotv_acc even, odd; /* two shorts a lane: inputs 0 and 2, inputs 1 and 3 */
} dotv_acts;
/* Weights stay in memory: as operands they cost no register, of which there are only 16. */
typedef __global const dotv_acc *dotv_weights;

DOT4_INLINE dotv_acts dotv_spread(uint a) {
    dotv_acts x;
    DOTV_CAT(uint, DOTV_LANES) word = a;
    x.even = DOTV_CAT(as_int, DOTV_LANES)(word & 0x00ff00ffu);
#if DOTV_LANES == 8
    x.odd = as_int8(as_ushort16(word) >> (ushort)8);
#else
    x.odd = as_int4(as_ushort8(word) >> (ushort)8);
#endif
    return x;
}

DOT4_INLINE dotv_weights dotv_load(__global const dotv_element *block) {
    return (dotv_weights)block;
}

/* acc + the sum of the two products of a lane. */
DOT4_INLINE dotv_acc dotv_mac_pair(dotv_acc acc, dotv_acc x, dotv_weights w) {
#if defined(CLQ_DOT_AVX2) && DOT4_AVAILABLE
    dotv_acc sum;
    __asm__("vpmaddwd %2, %1, %0" : "=x"(sum) : "x"(x), "m"(*w));
    return acc + sum;
#else
    dotv_acc v = *w;
    return acc + ((x << 16) >> 16) * ((v << 16) >> 16) + (x >> 16) * (v >> 16);
#endif
}

DOT4_INLINE dotv_acc dotv_mac(dotv_acc acc, dotv_acts x, dotv_weights w) {
    return dotv_mac_pair(dotv_mac_pair(acc, x.even, w), x.odd, w + 1);
}

#endif

/* ---- 3. a tile of a warp ---- */

#ifdef CLQ_DOT_MMA
#define DOT4_HAS_MMA 1
/* sm_80 and later. Volatile: all 32 work-items must arrive together. */
DOT4_INLINE int4 mma_us(uint4 a, uint2 w, int4 acc) {
    __asm__ volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+r"(acc.x), "+r"(acc.y), "+r"(acc.z), "+r"(acc.w)
                     : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(w.x), "r"(w.y));
    return acc;
}
#else
#define DOT4_HAS_MMA 0
#endif

#endif
