/* Dropout: y = x / (1 - p) where a draw in [0, 1) is >= p, else 0. Element i takes word i % 4 of
 * the Philox block at counter i / 4, so forward and backward, which runs the same kernel on
 * gradients, see the same mask on any schedule. */
#include "elementwise.h"
#include "philox.h"

__kernel void dropout_f32(__global const float *x, __global float *y, int count, float probability,
                          float scale, uint seed_low, uint seed_high, uint stream_low,
                          uint stream_high, int accumulate) {
    const ulong seed = ((ulong)seed_high << 32) | seed_low;
    const ulong stream = ((ulong)stream_high << 32) | stream_low;
    long block, last;
    clq_share(((long)count + 3) / 4, 1, &block, &last);
    for (; block < last; block++) {
        uint bits[4];
        clq_philox(seed, stream, (ulong)block, bits);
        for (int j = 0; j < 4 && block * 4 + j < count; j++) {
            const long i = block * 4 + j;
            const float v = clq_uniform(bits[j]) >= probability ? x[i] * scale : 0.0f;
            y[i] = accumulate ? y[i] + v : v;
        }
    }
}
