/* Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in OpenCL
 * C, with the bits and the meaning of host/base/rng.h: the value at (seed, stream, counter) does
 * not depend on the schedule, so a kernel and the host draw the same numbers. */
#ifndef CLQ_PHILOX_H
#define CLQ_PHILOX_H

#define CLQ_PHILOX_M0 0xD2511F53u
#define CLQ_PHILOX_M1 0xCD9E8D57u
#define CLQ_PHILOX_W0 0x9E3779B9u /* golden ratio */
#define CLQ_PHILOX_W1 0xBB67AE85u /* sqrt(3) - 1 */

/* out[4]: 128 random bits. Key = seed, 128-bit counter = (counter, stream), low words first. */
static inline void clq_philox(ulong seed, ulong stream, ulong counter, uint out[4]) {
    uint4 c = (uint4)((uint)counter, (uint)(counter >> 32), (uint)stream, (uint)(stream >> 32));
    uint k0 = (uint)seed;
    uint k1 = (uint)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint high0 = mul_hi(CLQ_PHILOX_M0, c.x);
        const uint high1 = mul_hi(CLQ_PHILOX_M1, c.z);
        c = (uint4)(high1 ^ c.y ^ k0, CLQ_PHILOX_M1 * c.z, high0 ^ c.w ^ k1, CLQ_PHILOX_M0 * c.x);
        k0 += CLQ_PHILOX_W0;
        k1 += CLQ_PHILOX_W1;
    }
    out[0] = c.x;
    out[1] = c.y;
    out[2] = c.z;
    out[3] = c.w;
}

/* [0, 1) in steps of 2^-24. */
static inline float clq_uniform(uint bits) {
    return (float)(bits >> 8) * 0x1p-24f;
}

/* 0 .. n-1; see host/base/rng.h on its bias. */
static inline uint clq_bounded(uint bits, uint n) {
    return mul_hi(bits, n);
}

#endif
