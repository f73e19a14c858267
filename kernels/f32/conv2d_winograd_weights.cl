/* FP32 3x3 convolution of stride 1, gradient of the weights by Winograd's F(3 x 3, OUT x OUT), CPU
 * schedule. The output gradient's tiles take the kernel's place (see winograd.h), so the input is
 * transformed as for the forward, and both come as [block][position][tile][channel]:
 *
 *   grad    grad tiles -> transformed; their sums, the bias's gradient
 *   sums    for each position a matrix product: depth x tiles times tiles x columns, turned into
 *           the 9 taps
 *
 * A launch does some blocks, each of which adds to a part of its own; later launches go on with the
 * same parts. Partial sums lie as those of conv2d_weights.cl, whose reduction adds the parts up.
 *
 * With few channels on both sides one launch does it all (OWN_DEPTH): an item transforms the tiles
 * of its part block by block, and its sums of all positions stay in its own memory to the end. */
#include "ahead.h"
#include "winograd_input.h"

/* ---- the output gradient ---- */

#define GRAD_VECTORS 8 /* vectors of an item; the last has those that are left */

/* Transforms a vector of a tile's pixels; returns their sum. */
static inline fvec transform_grad(__global const float *const *from, int c,
                                  transformed_float *to, int position) {
    fvec half_done[OUT * EDGE], sum = (fvec)0; /* transposed */
    UNROLLED_FOR(x, OUT) {
        fvec column[OUT];
        UNROLLED_FOR(y, OUT) {
            column[y] = FVEC_LOAD(from[y * OUT + x] + c);
            sum += column[y];
        }
        winograd_grad(column, half_done + x * EDGE);
    }
    UNROLLED_FOR(y, EDGE) {
        fvec line[OUT], u[EDGE];
        UNROLLED_FOR(x, OUT) {
            line[x] = half_done[x * EDGE + y];
        }
        winograd_grad(line, u);
        UNROLLED_FOR(x, EDGE) {
            FVEC_STORE(u[x], to + (long)(y * EDGE + x) * position + c);
        }
    }
    return sum;
}

/* The pixels of an output tile; zeros outside the image. */
static inline void find_grad(const winograd_shape *s, __global const float *grad,
                             __global const float *zeros, int tile, __global const float **from) {
    const int row = tile / s->tiles_w, n = row / s->tiles_h;
    const int y0 = (row - n * s->tiles_h) * OUT, x0 = (tile - row * s->tiles_w) * OUT;
    for (int y = 0; y < OUT; y++) {
        for (int x = 0; x < OUT; x++) {
            const bool inside = (y0 + y < s->dst_h) & (x0 + x < s->dst_w);
            const long at = (((long)n * s->dst_h + y0 + y) * s->dst_w + x0 + x) * s->cols;
            from[y * OUT + x] = inside ? grad + at : zeros;
        }
    }
}

#ifndef OWN_DEPTH

/* Item (GRAD_VECTORS vectors of columns, block from first_block on). partial_bias is
 * [part][column, padded to column tiles]. */
__kernel void conv2d_f32_winograd_grad(__global const float *grad, __global const float *zeros,
                                       __global const winograd_shape *shape,
                                       __global float *transformed, __global float *partial_bias,
                                       int first_block) {
    const winograd_shape s = *shape;
    const int part = get_global_id(1), first = (first_block + part) * s.block;
    const int count = min(s.block, s.n * s.tiles_h * s.tiles_w - first);
    const int begin = (int)get_global_id(0) * GRAD_VECTORS * VL;
    const bool last = get_global_id(0) + 1 == get_global_size(0);
    const int end = last ? s.cols : begin + GRAD_VECTORS * VL;
    const int pitch = WINOGRAD_PITCH(s.cols), position = WINOGRAD_POSITION(s.block, pitch);
    fvec sums[2 * GRAD_VECTORS];
    UNROLLED_FOR(v, 2 * GRAD_VECTORS) {
        sums[v] = (fvec)0;
    }
    transformed += (size_t)part * POSITIONS * position;
    for (int tile = 0; tile < count; tile++, transformed += pitch) {
        __global const float *from[OUT * OUT];
        find_grad(&s, grad, zeros, first + tile, from);
        for (int v = 0, c = begin; c < end; v++, c += VL) { /* the last may begin earlier */
            sums[v] += transform_grad(from, min(c, s.cols - VL), transformed, position);
        }
    }
    partial_bias += (size_t)part * s.col_tiles * NR;
    for (int v = 0, c = begin; c < end; v++, c += VL) {
        const int first_column = min(c, s.cols - VL);
        float lanes[VL];
        FVEC_STORE(sums[v], lanes);
        for (int j = c; j < first_column + VL; j++) { /* each column once */
            const float sum = lanes[j - first_column];
            partial_bias[j] = first_block > 0 ? partial_bias[j] + sum : sum;
        }
    }
}

#endif

/* ---- the sums ---- */

/* One vector of sums, `step` floats from position to position, to its taps, tap_step floats apart:
 * stored, or added to what is there. */
static inline void store_taps(const float *sums, int step, __global float *to, int tap_step,
                              bool add) {
    fvec half_done[3 * EDGE];
    UNROLLED_FOR(x, EDGE) {
        fvec column[EDGE], y[3];
        UNROLLED_FOR(i, EDGE) {
            column[i] = FVEC_LOAD(sums + (i * EDGE + x) * step);
        }
        winograd_taps(column, y);
        UNROLLED_FOR(i, 3) {
            half_done[i * EDGE + x] = y[i];
        }
    }
    UNROLLED_FOR(i, 3) {
        fvec tap[3];
        winograd_taps(half_done + i * EDGE, tap);
        UNROLLED_FOR(j, 3) {
            __global float *at = to + (3 * i + j) * tap_step;
            FVEC_STORE(add ? FVEC_LOAD(at) + tap[j] : tap[j], at);
        }
    }
}

#ifdef OWN_DEPTH

/* Adds `count` tiles to the sums of one position, all channels and NR columns. */
static inline void add_tiles(const float *inputs, const float *grads, int grad_pitch, int count,
                             bool first, float *sums) {
    for (int r = 0; r < OWN_DEPTH; r += MR, sums += MR * NR) {
        fvec acc[MR * NV];
        const float *a = inputs + r, *b = grads;
        UNROLLED_FOR(i, MR * NV) {
            acc[i] = first ? (fvec)0 : FVEC_LOAD(sums + i * VL);
        }
        for (int t = 0; t < count; t++, a += OWN_DEPTH, b += grad_pitch) {
            TILE_STEP(acc, a[i_], b);
        }
        UNROLLED_FOR(i, MR * NV) {
            FVEC_STORE(acc[i], sums + i * VL);
        }
    }
}

/* Item (part of part_blocks blocks). The channels are a multiple of MR, the columns one of NR. */
__kernel void conv2d_f32_winograd_weights_own(__global const float *src,
                                              __global const float *grad,
                                              __global const float *zeros,
                                              __global const winograd_shape *shape,
                                              __global float *partial,
                                              __global float *partial_bias, int part_blocks) {
    const winograd_shape s = *shape;
    const int part = get_global_id(0), begin = part * part_blocks * s.block;
    const int end = min(begin + part_blocks * s.block, s.n * s.tiles_h * s.tiles_w);
    const int step = OWN_DEPTH * NR;
    float v[POSITIONS * WINOGRAD_OWN_POSITION] __attribute__((aligned(64)));
    float u[POSITIONS * WINOGRAD_OWN_POSITION] __attribute__((aligned(64)));
    float sums[WINOGRAD_SUMS] __attribute__((aligned(64)));
    float bias[WINOGRAD_OWN_POSITION] __attribute__((aligned(64)));
    long next_src[WINOGRAD_OWN_POSITION / VL], next_grad[WINOGRAD_OWN_POSITION / VL];
    for (int c = 0; c < s.cols; c += VL) {
        FVEC_STORE((fvec)0, bias + c);
    }
    for (int first = begin; first < end; first += s.block) {
        const int count = min(s.block, end - first);
        for (int t = 0; t < count; t++) {
            __global const float *from[OUT * OUT];
            transform_tile(&s, src, zeros, first + t, v + t * OWN_DEPTH);
            find_grad(&s, grad, zeros, first + t, from);
            next_src[t] = find_output(&s, first + s.block + t, s.src_h, s.src_w, OWN_DEPTH);
            next_grad[t] = find_output(&s, first + s.block + t, s.dst_h, s.dst_w, s.cols);
            for (int c = 0; c < s.cols; c += VL) {
                const fvec sum = transform_grad(from, c, u + t * s.cols, WINOGRAD_OWN_POSITION);
                FVEC_STORE(FVEC_LOAD(bias + c) + sum, bias + c);
            }
        }
        for (int p = 0; p < POSITIONS; p++) {
            for (int tile = 0; tile < s.col_tiles; tile++) {
                add_tiles(v + p * WINOGRAD_OWN_POSITION, u + p * WINOGRAD_OWN_POSITION + tile * NR,
                          s.cols, count, first == begin, sums + (p * s.col_tiles + tile) * step);
            }
            for (int t = 0; t < count; t++) {
                if (p < OUT * OUT) {
                    ask_pixel(src, next_src[t], s.src_w, OWN_DEPTH, p);
                } else if (p < 2 * OUT * OUT) {
                    ask_pixel(grad, next_grad[t], s.dst_w, s.cols, p - OUT * OUT);
                }
            }
        }
    }
    partial += (size_t)part * s.col_tiles * 9 * step;
    for (int tile = 0; tile < s.col_tiles; tile++, partial += 9 * step) {
        for (int i = 0; i < step; i += VL) {
            store_taps(sums + tile * step + i, s.col_tiles * step, partial + i, step, false);
        }
    }
    for (int c = 0; c < s.cols; c += VL) {
        FVEC_STORE(FVEC_LOAD(bias + c), partial_bias + part * s.cols + c);
    }
}

#else

#define ASK_TILES 32 /* asks for the next position's tiles once for so many */

/* The sums of one position over `count` tiles, for `rows` channels of `inputs` and NR columns of
 * `grads`, pitches apart from tile to tile. Both come from far, so what the next position reads,
 * next_inputs and next_grads, is asked for meanwhile. */
static inline void sum_tiles(__global const float *inputs, int input_pitch, int rows,
                             __global const float *grads, int grad_pitch, int count,
                             ahead next_inputs, ahead next_grads, float *sums) {
    for (int r = 0; r < rows; r += MR, sums += MR * NR) {
        fvec acc[MR * NV];
        __global const float *a = inputs + r, *b = grads;
        TILE_CLEAR(acc);
        for (int t = 0; t < count;) {
            ask_ahead(&next_inputs);
            ask_ahead(&next_grads);
            for (const int end = min(t + ASK_TILES, count); t < end; t++) {
                TILE_STEP(acc, a[i_], b);
                a += input_pitch;
                b += grad_pitch;
            }
        }
        UNROLLED_FOR(i, MR * NV) {
            FVEC_STORE(acc[i], sums + i * VL);
        }
    }
}

/* Item (`rows` channels, column tile, block from first_block on). */
__kernel void conv2d_f32_winograd_weights(__global const float *inputs,
                                          __global const float *grads,
                                          __global const winograd_shape *shape,
                                          __global float *partial, int rows, int first_block) {
    const winograd_shape s = *shape;
    const int row_blocks = get_global_size(0), part = get_global_id(2);
    const int channel = (int)get_global_id(0) * rows, tile = get_global_id(1);
    const int count = min(s.block, s.n * s.tiles_h * s.tiles_w - (first_block + part) * s.block);
    const int used = min(rows, (s.depth - channel + MR - 1) / MR * MR), step = rows * NR;
    const int pitch = WINOGRAD_PITCH(s.cols), grad_position = WINOGRAD_POSITION(s.block, pitch);
    const int asks = used / MR * ((count + ASK_TILES - 1) / ASK_TILES);
    inputs += (size_t)part * POSITIONS * s.position + channel;
    grads += (size_t)part * POSITIONS * grad_position + tile * NR;
    partial += (((size_t)part * s.col_tiles + tile) * row_blocks + get_global_id(0)) * 9 * step;

    float sums[WINOGRAD_SUMS] __attribute__((aligned(64)));
    for (int p = 0; p < POSITIONS; p++, inputs += s.position, grads += grad_position) {
        sum_tiles(inputs, s.pitch, used, grads, pitch, count,
                  plan_ahead(inputs + s.position, 1, 0, count, s.pitch, used, asks),
                  plan_ahead(grads + grad_position, 1, 0, count, pitch, NR, asks),
                  sums + p * step);
    }
    for (int i = 0; i < used * NR; i += VL) {
        store_taps(sums + i, step, partial + i, step, first_block > 0);
    }
}
#endif
