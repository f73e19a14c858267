/* Integer dot products of unsigned activations with signed weights, on whatever the device has.
 *
 * The only header but narrow.h that knows instruction sets. The host picks the path by trying
 * (compile, then compare values) and passes one of
 *   -DCLQ_DOT_{MMA,DP4A,AVX512VNNI,AVXVNNI,AVX2,KHR,AMD,ARM,PORTABLE}=1
 * together with CLQ_SIMD_BYTES (64, 32, 16; 0 = unknown). Where the compiler's target cannot do the
 * path, the portable code stands in and DOT4_AVAILABLE is 0, so that probing never meets a compiler
 * error.
 *
 * Everywhere: activations are u8 (0..255), weights s8 (-128..127), sums are exact in int32 as
 * long as they fit. Four neighbouring input channels k = 0..3 make one group; a word
 * holds them with k = 0 in the low byte, as they lie in memory.
 *
 * 1. One lane (GPU schedule, tails)
 *
 *      int dot4_us(uint a, uint w, int acc)        acc + sum over k of a[k] * w[k]
 *
 * 2. A vector of output channels (CPU schedule)
 *
 *      DOTV_LANES      output channels of one vector: 16, 8 or 4
 *      DOTV_STEP       inputs of one step, a word of activations: 4 as bytes, or 2 as 16 bits,
 *                      which may have a sign and must be above -2^15, as the weights
 *      dotv_acc        int vector of DOTV_LANES sums
 *      dotv_element    what packed weights are made of: char (4 a step) or short (2 a step)
 *
 *      dotv_acc dotv_step(dotv_acc acc, int x, dotv_acc w)
 *                      acc[lane] + sum over k < DOTV_STEP of x[k] * w[lane][k], where w is
 *                      DOTV_LANES * DOTV_STEP elements: lane after lane, its inputs together
 *      dotv_acc dotv_mac(dotv_acc acc, dotv_acc x, dotv_acc w)
 *                      the same with a word of its own for each lane
 *      void dotv_widen16(__global const uchar *from, int *to), dotv_widen4
 *                      16 (4) activations as 16 / DOTV_STEP (4 / DOTV_STEP) words for
 *                      dotv_step; `from` is a multiple of 4
 *
 *    A tile widens its activations once into a private panel, row after row; then a step reads one
 *    word a row, which x86 broadcasts in the load, and NV vectors of weights:
 *
 *      weights  [columns / (NV * DOTV_LANES)][K / DOTV_STEP][NV][DOTV_LANES][DOTV_STEP]
 *      for s in K / DOTV_STEP: for v in NV: w[v] = weights
 *                              for row: x = panel[row][s]
 *                                       for v in NV: acc[row][v] = dotv_step(acc[row][v], x, w[v])
 *
 *    Write the loops in this order and unroll all but the outer one. What stays in registers: 24
 *    sums (6 rows x 4) of 32 registers with 4 inputs a step; 10 (5 x 2) of 16 with 2, as products
 *    need one more. (Splitting words into 16 bits in the loop instead costs a quarter more.)
 *
 *    AVX2 has two forms. vpmaddubsw multiplies bytes twice as fast as vpmaddwd multiplies 16 bits,
 *    but its sums of two products saturate at 16 bits. By default therefore everything is widened.
 *    With DOTV_SPLIT (bytes, 4 a step) an activation is split, x = low + 128 * bit with
 *    low = x & 127, which makes both parts' products exact: 2 * 127 * 128 < 2^15. That pays where
 *    few activations are above 127, as behind a ReLU. dotv_step and dotv_mac then take lows only.
 *
 *      uint dotv_split32(__global const uchar *from, int *low)
 *                      the lows of 32 activations as 8 words; bit i of the result is from[i]'s bit
 *      dotv_acc dotv_pair(dotv_acc acc, dotv_acc x0, dotv_acc x1, __global const dotv_acc *w0, *w1)
 *                      two steps of lows at once, x0 with w0 and x1 with w1: their products are
 *                      added before they are widened. For this the weights of the two steps must
 *                      fit: in each half of a lane (inputs 0, 1 and 2, 3) neither the positive
 *                      ones of the four nor the negative ones may add up to more than 258, as
 *                      127 * 258 < 2^15
 *      dotv_acc dotv_add_bits(dotv_acc halves, int bits, __global const dotv_acc *w)
 *                      a step of bits (bytes of 0 or 1), on 16-bit sums for both halves of a lane;
 *                      up to DOTV_BIT_STEPS of them from 0 on
 *      dotv_acc dotv_join_halves(dotv_acc halves, int factor)
 *                      factor * (low half + high half) as 32 bits
 *
 *    Weights of 4 bits may lie two a byte, 8 inputs of a channel in a word, DOTV_NIBBLE_STEPS steps:
 *    input e of step j at bit 32 / DOTV_STEP * e + 4 * (DOTV_NIBBLE_STEPS - 1 - j).
 *
 *      dotv_acc dotv_nibbles(dotv_acc words, int j)
 *                      the weights of step j times 2^DOTV_NIBBLE_SHIFT: of bytes 4, as then masking
 *                      the upper half of each is enough. Sums of them are to be shifted back, which
 *                      is exact.
 *      uint dot4_nibbles(uint word, int j)     the same for one channel and STEP 4, j 0 or 1
 *
 * 3. A 16x8 tile of a warp (CLQ_DOT_MMA; DOT4_HAS_MMA is 1)
 *
 *      int4 mma_us(uint4 a, uint2 w, int4 acc)     acc + A (16x32, u8) * W (32x8, s8)
 *
 *    All 32 work-items of a warp call it together. With g = lane / 4, t = lane % 4 a work-item
 *    holds
 *
 *      a.x  row g,     inputs 4t..4t+3          w.x  inputs 4t..4t+3,       column g
 *      a.y  row g + 8, inputs 4t..4t+3          w.y  inputs 16+4t..16+4t+3, column g
 *      a.z  row g,     inputs 16+4t..16+4t+3    acc.x, acc.y  row g,     columns 2t, 2t+1
 *      a.w  row g + 8, inputs 16+4t..16+4t+3    acc.z, acc.w  row g + 8, columns 2t, 2t+1
 *
 *    (PTX ISA, "Matrix Fragments for mma.m16n8k32"). They are fetched from local memory, 16 bytes
 *    (16 inputs of a row or column) in one place, by
 *
 *      uint4 mma_load(__local const uint4 *row)    four 8x16-byte matrices (ldmatrix)
 *
 *    Work-item l names row l % 8 of matrix l / 8, and gets word t of row g of each matrix.
 *
 * 4. Copies from global to local memory, asynchronous where DOT4_HAS_COPY_ASYNC is 1
 *
 *      void copy_async16(__local uint *to, __global const uint *from)    16 bytes, aligned
 *      void copy_async4(__local uint *to, __global const uint *from)     4 bytes
 *      void copy_async_commit(void)      the copies since the last commit become a batch
 *      COPY_ASYNC_WAIT(n)                until at most the last n batches of this work-item are
 *                                        under way; a barrier shows the others theirs */
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
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(__SPIR__) /* may be PTX */
#define DOT4_AVAILABLE 1
/* sm_61 and later. */
DOT4_INLINE int dot4_us(uint a, uint w, int acc) {
    int sum;
    __asm__("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(sum) : "r"(a), "r"(w), "r"(acc));
    return sum;
}
#endif

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

#ifndef DOTV_SPLIT
#define DOTV_SPLIT 0
#endif

#if defined(CLQ_DOT_AVX512VNNI)
#define DOTV_LANES 16
#define DOTV_STEP 4
#elif defined(CLQ_DOT_AVXVNNI) || DOTV_SPLIT
#define DOTV_LANES 8
#define DOTV_STEP 4
#else
#define DOTV_STEP 2
#if defined(CLQ_DOT_AVX2) || CLQ_SIMD_BYTES >= 32
#define DOTV_LANES 8
#else
#define DOTV_LANES 4
#endif
#endif

typedef DOTV_CAT(int, DOTV_LANES) dotv_acc;

#if DOTV_STEP == 4

typedef char dotv_element;

#if DOTV_SPLIT
/* factor * (low + high) for the two 16-bit sums of each lane. */
DOT4_INLINE dotv_acc dotv_join_halves(dotv_acc halves, int factor) {
#if DOT4_AVAILABLE
    __asm__("vpmaddwd %2, %1, %0"
            : "=x"(halves)
            : "x"(halves), "x"((dotv_acc)(factor * 0x00010001)));
    return halves;
#else
    return factor * (((halves << 16) >> 16) + (halves >> 16));
#endif
}
#endif

DOT4_INLINE void dotv_widen16(__global const uchar *from, int *to) {
    vstore4(as_int4(vload16(0, from)), 0, to);
}

DOT4_INLINE void dotv_widen4(__global const uchar *from, int *to) {
    *to = *(__global const int *)from;
}

/* vpdpbusd takes the four products of a lane in one go. Written as assembly because LLVM 15 aborts
 * on its builtin, and because PoCL may not name the extension to the compiler at all. */
DOT4_INLINE dotv_acc dotv_mac(dotv_acc acc, dotv_acc x, dotv_acc w) {
#if DOT4_AVAILABLE && defined(CLQ_DOT_AVX512VNNI)
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(x), "v"(w));
    return acc;
#elif DOT4_AVAILABLE && defined(CLQ_DOT_AVXVNNI)
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(x), "x"(w));
    return acc;
#elif DOT4_AVAILABLE && defined(CLQ_DOT_AVX2)
    dotv_acc products;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(products) : "x"(x), "x"(w));
    return acc + dotv_join_halves(products, 1);
#else
    acc += (x & 0xff) * ((w << 24) >> 24) + ((x >> 8) & 0xff) * ((w << 16) >> 24);
    return acc + ((x >> 16) & 0xff) * ((w << 8) >> 24) + ((x >> 24) & 0xff) * (w >> 24);
#endif
}

#else

/* Without such an instruction activations and weights are 16 bits wide, and vpmaddwd adds the two
 * products of a lane exactly (vpmaddubsw would saturate). */
typedef short dotv_element;

DOT4_INLINE void dotv_widen16(__global const uchar *from, int *to) {
    vstore8(as_int8(convert_ushort16(vload16(0, from))), 0, to);
}

DOT4_INLINE void dotv_widen4(__global const uchar *from, int *to) {
    uchar4 word = as_uchar4(*(__global const uint *)from); /* vload4 may read byte after byte */
    vstore2(as_int2(convert_ushort4(word)), 0, to);
}

DOT4_INLINE dotv_acc dotv_mac(dotv_acc acc, dotv_acc x, dotv_acc w) {
#if defined(CLQ_DOT_AVX2) && DOT4_AVAILABLE
    dotv_acc products;
    __asm__("vpmaddwd %2, %1, %0" : "=x"(products) : "x"(x), "x"(w));
    return acc + products;
#else
    return acc + ((x << 16) >> 16) * ((w << 16) >> 16) + (x >> 16) * (w >> 16);
#endif
}

#endif

#define DOT4_NIBBLE_SHIFT 4

DOT4_INLINE uint dot4_nibbles(uint word, int j) {
    return (j ? word << 4 : word) & 0xf0f0f0f0u;
}

#define DOTV_NIBBLE_STEPS (8 / DOTV_STEP)
#if DOTV_STEP == 4
#define DOTV_NIBBLE_SHIFT 4

DOT4_INLINE dotv_acc dotv_nibbles(dotv_acc words, int j) {
    return (j ? words << 4 : words) & (dotv_acc)(0xf0f0f0f0);
}
#else
#define DOTV_NIBBLE_SHIFT 0
#if DOTV_LANES == 8
#define DOTV_AS_SHORTS as_short16
#else
#define DOTV_AS_SHORTS as_short8
#endif

DOT4_INLINE dotv_acc dotv_nibbles(dotv_acc words, int j) {
    return DOTV_CAT(as_int, DOTV_LANES)((DOTV_AS_SHORTS(words) << (short)(4 * j)) >> (short)12);
}
#endif

DOT4_INLINE dotv_acc dotv_step(dotv_acc acc, int x, dotv_acc w) {
    return dotv_mac(acc, (dotv_acc)(x), w);
}

#if DOTV_SPLIT
typedef int8 dotv_words8 __attribute__((aligned(4)));

DOT4_INLINE uint dotv_split32(__global const uchar *from, int *low) {
    const int8 words = *(__global const dotv_words8 *)from;
    uint highs = 0;
    *(dotv_words8 *)low = words & 0x7f7f7f7f;
#if DOT4_AVAILABLE
    __asm__("vpmovmskb %1, %0" : "=r"(highs) : "x"(words));
#else
    for (int i = 0; i < 32; i++)
        highs |= (uint)(from[i] >> 7) << i;
#endif
    return highs;
}

DOT4_INLINE dotv_acc dotv_pair(dotv_acc acc, dotv_acc x0, dotv_acc x1,
                               __global const dotv_acc *w0, __global const dotv_acc *w1) {
#if DOT4_AVAILABLE
    /* Weights straight from memory: 10 sums leave no registers for them. */
    short16 p0, p1;
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(p0) : "x"(x0), "m"(*w0));
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(p1) : "x"(x1), "m"(*w1));
    return acc + dotv_join_halves(as_int8(p0 + p1), 1);
#else
    return dotv_mac(dotv_mac(acc, x0, *w0), x1, *w1);
#endif
}

#define DOTV_BIT_STEPS 128 /* a step adds -2 * 128 .. 2 * 127: within -2^15 .. 2^15 - 1 */

DOT4_INLINE dotv_acc dotv_add_bits(dotv_acc halves, int bits, __global const dotv_acc *w) {
    short16 products;
#if DOT4_AVAILABLE
    __asm__("vpmaddubsw %2, %1, %0" : "=x"(products) : "x"((dotv_acc)(bits)), "m"(*w));
#else
    const dotv_acc low = (bits & 1) * ((*w << 24) >> 24) + (bits >> 8 & 1) * ((*w << 16) >> 24);
    const dotv_acc high = (bits >> 16 & 1) * ((*w << 8) >> 24) + (bits >> 24 & 1) * (*w >> 24);
    products = as_short16((low & 0xffff) | high << 16);
#endif
    return as_int8(as_short16(halves) + products);
}
#endif

/* ---- 3. a tile of a warp ---- */

#if defined(CLQ_DOT_MMA) && DOT4_AVAILABLE
#define DOT4_HAS_MMA 1
/* A pointer to local memory, as a number, counts from the start of local memory. */
#define DOT4_LOCAL_ADDRESS(p) ((uint)(size_t)(p))

/* sm_80 and later. Volatile: all 32 work-items must arrive together. */
DOT4_INLINE int4 mma_us(uint4 a, uint2 w, int4 acc) {
    __asm__ volatile("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 "
                     "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+r"(acc.x), "+r"(acc.y), "+r"(acc.z), "+r"(acc.w)
                     : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(w.x), "r"(w.y));
    return acc;
}

DOT4_INLINE uint4 mma_load(__local const uint4 *row) {
    uint4 words;
    __asm__ volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(words.x), "=r"(words.y), "=r"(words.z), "=r"(words.w)
                     : "r"(DOT4_LOCAL_ADDRESS(row))
                     : "memory");
    return words;
}
#else
#define DOT4_HAS_MMA 0
#endif

/* ---- 4. asynchronous copies ---- */

#if DOT4_HAS_MMA
#define DOT4_HAS_COPY_ASYNC 1
DOT4_INLINE void copy_async16(__local uint *to, __global const uint *from) {
    __asm__ volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(DOT4_LOCAL_ADDRESS(to)),
                     "l"(from)
                     : "memory");
}

DOT4_INLINE void copy_async4(__local uint *to, __global const uint *from) {
    __asm__ volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(DOT4_LOCAL_ADDRESS(to)),
                     "l"(from)
                     : "memory");
}

DOT4_INLINE void copy_async_commit(void) {
    __asm__ volatile("cp.async.commit_group;" ::: "memory");
}
#define COPY_ASYNC_WAIT(n) __asm__ volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")
#else
#define DOT4_HAS_COPY_ASYNC 0
DOT4_INLINE void copy_async16(__local uint *to, __global const uint *from) {
    *(__local uint4 *)to = *(__global const uint4 *)from;
}

DOT4_INLINE void copy_async4(__local uint *to, __global const uint *from) {
    *to = *from;
}

DOT4_INLINE void copy_async_commit(void) {
}
#define COPY_ASYNC_WAIT(n)
#endif

#endif
