/* Does this dot path compute the right values here? Run by one work-item at open. */
#include "dot4.h"

/* out[0]: lanes of a vector, 0 when the compiler's target lacks the path;
 * out[1 .. count]: dot4_us(acts[i], weights[i], sums[i]);
 * out[count + 1 ..]: for each lane, the sum over i of acts[i] * weights[(i + lane) % count].
 * packed: room for count blocks. */
__kernel void dot_probe(__global const uint *acts, __global const uint *weights,
                        __global const int *sums, __global dotv_element *packed, __global int *out,
                        int count) {
    out[0] = DOT4_AVAILABLE ? DOTV_LANES : 0;
    for (int i = 0; i < count; i++) {
        out[1 + i] = dot4_us(acts[i], weights[i], sums[i]);
    }
    for (int i = 0; i < count * 4; i++) {
        for (int lane = 0; lane < DOTV_LANES; lane++) {
            uint word = weights[(i / 4 + lane) % count];
            packed[(i / DOTV_STEP * DOTV_LANES + lane) * DOTV_STEP + i % DOTV_STEP] =
                (char)(word >> (8 * (i % 4)));
        }
    }
    dotv_acc acc = 0;
    for (int i = 0; i < count * 4 / DOTV_STEP; i++) {
        int words[4 / DOTV_STEP];
        dotv_widen4((__global const uchar *)acts + i * DOTV_STEP / 4 * 4, words);
        acc = dotv_step(acc, words[i % (4 / DOTV_STEP)], ((__global const dotv_acc *)packed)[i]);
    }
    DOTV_CAT(vstore, DOTV_LANES)(acc, 0, out + 1 + count);
}

/* One warp: out (16, 8) = acts (16, 8 words) times weights (8 columns, 8 words) + sums (16, 8), by
 * all that conv2d_mma.cl relies on. */
__kernel __attribute__((reqd_work_group_size(32, 1, 1))) void
dot_probe_mma(__global const uint *acts, __global const uint *weights, __global const int *sums,
              __global int *out) {
#if DOT4_HAS_MMA
    __local uint4 rows[2][16], columns[2][8];
    const int lane = (int)get_local_id(0), g = lane / 4, t = lane % 4;
    copy_async16((__local uint *)&rows[lane / 16][lane % 16],
                 acts + lane % 16 * 8 + lane / 16 * 4);
    for (int i = 0; i < 2; i++)
        copy_async4((__local uint *)&columns[i][g] + t, weights + g * 8 + i * 4 + t);
    copy_async_commit();
    COPY_ASYNC_WAIT(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint4 a = mma_load(&rows[lane / 16][lane % 16]);
    const uint4 w = mma_load(&columns[lane / 8 % 2][lane % 8]);
    const int top = g * 8 + 2 * t, bottom = (g + 8) * 8 + 2 * t;
    int4 acc = (int4)(sums[top], sums[top + 1], sums[bottom], sums[bottom + 1]);
    acc = mma_us(a, w.xy, acc);
    out[top] = acc.x;
    out[top + 1] = acc.y;
    out[bottom] = acc.z;
    out[bottom + 1] = acc.w;
#endif
}
