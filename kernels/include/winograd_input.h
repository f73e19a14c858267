/* Input tiles of Winograd's algorithm, transformed (see winograd.h). With OWN_DEPTH, the depth, a
 * work-item transforms what it needs itself and keeps it in memory of its own, which stays in the
 * cache; otherwise a launch before has done so. */
#ifndef CLQ_WINOGRAD_INPUT_H
#define CLQ_WINOGRAD_INPUT_H

#include "winograd.h"

#ifdef OWN_DEPTH
typedef float transformed_float;
#define DEPTH_OF(s) OWN_DEPTH
#define PITCH_OF(s) OWN_DEPTH
#define POSITION_OF(s) WINOGRAD_OWN_POSITION
#else
typedef __global float transformed_float;
#define DEPTH_OF(s) (s)->depth
#define PITCH_OF(s) (s)->pitch
#define POSITION_OF(s) (s)->position
#endif

/* Transforms a vector of channels: `from` points to the pixels of a tile. */
static inline void transform_vector(__global const float *const *from, int c,
                                    transformed_float *to, int position) {
    fvec half_done[POSITIONS]; /* transposed */
    UNROLLED_FOR(x, EDGE) {
        fvec column[EDGE];
        UNROLLED_FOR(y, EDGE) {
            column[y] = FVEC_LOAD(from[y * EDGE + x] + c);
        }
        winograd_input(column, half_done + x * EDGE);
    }
    UNROLLED_FOR(y, EDGE) {
        fvec line[EDGE], v[EDGE];
        UNROLLED_FOR(x, EDGE) {
            line[x] = half_done[x * EDGE + y];
        }
        winograd_input(line, v);
        UNROLLED_FOR(x, EDGE) {
            FVEC_STORE(v[x], to + (long)(y * EDGE + x) * position + c);
        }
    }
}

/* Transforms output tile `tile`'s input into its row `to` of every position; a tile past the last
 * becomes zeros. */
static inline void transform_tile(const winograd_shape *s, __global const float *src,
                                  __global const float *zeros, int tile, transformed_float *to) {
    const int row = tile / s->tiles_w, n = row / s->tiles_h;
    const int y0 = (row - n * s->tiles_h) * OUT + s->first_y;
    const int x0 = (tile - row * s->tiles_w) * OUT + s->first_x;
    __global const float *from[POSITIONS];
    UNROLLED_FOR(y, EDGE) {
        UNROLLED_FOR(x, EDGE) {
            const bool inside = (n < s->n) & ((uint)(y0 + y) < (uint)s->src_h) &
                                ((uint)(x0 + x) < (uint)s->src_w);
            const long at = (((long)n * s->src_h + y0 + y) * s->src_w + x0 + x) * DEPTH_OF(s);
            from[y * EDGE + x] = inside ? src + at : zeros;
        }
    }
    for (int c = 0; c < DEPTH_OF(s); c += VL) { /* the last vector may take some channels again */
        transform_vector(from, min(c, DEPTH_OF(s) - VL), to, POSITION_OF(s));
    }
}

#ifdef OWN_DEPTH
/* Asks for pixel `pixel` of OUT x OUT, `channels` channels at image + at in rows of `width` pixels. */
static inline void ask_pixel(__global const float *image, long at, int width, int channels,
                             int pixel) {
    at += (long)(pixel / OUT * width + pixel % OUT) * channels;
    for (int c = 0; c < channels; c += LINE_FLOATS) {
        PREFETCH(image + at + c);
    }
}

/* Where the first pixel of an output tile is in images like dst. */
static inline long find_output(const winograd_shape *s, int tile, int height, int width,
                               int channels) {
    const int row = tile / s->tiles_w, n = row / s->tiles_h;
    const int y = (row - n * s->tiles_h) * OUT, x = (tile - row * s->tiles_w) * OUT;
    return (((long)n * height + y) * width + x) * channels;
}
#endif

#endif
