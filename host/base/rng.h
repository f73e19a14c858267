/* Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). The value at (seed, stream, counter) depends on nothing else, so any draw can
 * be repeated on any thread, after any restart, and by kernels/include/philox.h on the device. */
#ifndef CLQ_BASE_RNG_H
#define CLQ_BASE_RNG_H

#include <Random123/philox.h>
#include <stddef.h>
#include <stdint.h>

/* out[4]: 128 random bits. Key = seed, 128-bit counter = (counter, stream), low words first. */
static inline void clq_philox(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]) {
    philox4x32_ctr_t c = {
        {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)}};
    philox4x32_key_t k = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t r = philox4x32(c, k);
    for (int i = 0; i < 4; i++) {
        out[i] = r.v[i];
    }
}

/* [0, 1) in steps of 2^-24: the top 24 bits, exact in a float. */
static inline float clq_uniform(uint32_t bits) {
    return (float)(bits >> 8) * 0x1p-24f;
}

/* 0 .. n-1 as floor(bits * n / 2^32). Each value's probability is within 2^-32 of 1/n, which no
 * run of clquant can tell from uniform; in exchange every draw costs exactly one word. */
static inline uint32_t clq_bounded(uint32_t bits, uint32_t n) {
    return (uint32_t)(((uint64_t)bits * n) >> 32);
}

/* Two independent standard normal values (Box and Muller) from two words. Host only: computed in
 * double and rounded, so that it does not depend on a device's log and cos. */
void clq_normal2(const uint32_t bits[2], float out[2]);

/* A uniformly random order of 0 .. n-1 (Fisher and Yates), from draws of 64 bits, so its bias is
 * below n * 2^-32 per step whatever n is. */
void clq_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *out);

/* The numbers of one (seed, stream) in a row, for host code that just wants the next one. All
 * state is here: saving the struct saves the position. */
typedef struct clq_rng {
    uint64_t seed, stream, counter;
    uint32_t words[4];
    int used; /* of words */
} clq_rng;

static inline clq_rng clq_rng_start(uint64_t seed, uint64_t stream) {
    return (clq_rng){.seed = seed, .stream = stream, .used = 4};
}

static inline uint32_t clq_rng_next(clq_rng *rng) {
    if (rng->used == 4) {
        clq_philox(rng->seed, rng->stream, rng->counter++, rng->words);
        rng->used = 0;
    }
    return rng->words[rng->used++];
}

#endif
