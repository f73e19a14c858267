#include "base/rng.h"

#include <math.h>

void clq_normal2(const uint32_t bits[2], float out[2]) {
    const double two_pi = 6.283185307179586476925;
    /* (bits + 1/2) / 2^32 is in (0, 1), so the logarithm is finite. */
    double radius = sqrt(-2.0 * log(((double)bits[0] + 0.5) * 0x1p-32));
    double angle = two_pi * (((double)bits[1] + 0.5) * 0x1p-32);
    out[0] = (float)(radius * cos(angle));
    out[1] = (float)(radius * sin(angle));
}

/* floor((high * 2^32 + low) * n / 2^64) */
static uint32_t bounded64(uint32_t high, uint32_t low, uint32_t n) {
    return (uint32_t)(((uint64_t)high * n + (((uint64_t)low * n) >> 32)) >> 32);
}

void clq_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *out) {
    uint32_t words[4] = {0};
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t half = i % 2; /* two draws of 64 bits from each counter */
        if (half == 0) {
            clq_philox(seed, stream, i / 2, words);
        }
        const uint32_t j = bounded64(words[2 * half], words[2 * half + 1], i + 1);
        out[i] = out[j]; /* the inside-out form: i goes to place j, what was there to the end */
        out[j] = i;
    }
}
