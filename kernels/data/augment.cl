/* From a batch of u8 images to the normalized F32 tensor a network reads, with all augmentation, in
 * one pass. What happens to each image stands in params (augment_fields.h). An output pixel is made
 * of the image and, in a mixed batch, of its partner's pixel at the same place:
 *
 *   out = keep * shown(image) + (1 - keep) * shown(partner),   in the cut box shown(partner)
 *
 * GENERAL 0: crop with padding and flip only,
 *
 *   shown[y][x][c] = table[c][ image[y + dy][(flip ? W - 1 - x : x) + dx][c] ]
 *
 * and table[c][0] where that lies outside of the image (black, as if padded before the crop). The
 * normalization is a table of all 256 values made by the host, so its bits are the same everywhere.
 *
 * GENERAL 1: any affine map of the plane, in which pixel (x, y) has its centre at
 * (x + 0.5, y + 0.5):
 *
 *   (u, v) = matrix (x + 0.5, y + 0.5, 1)
 *   s      = bilinear sample at (u, v), taps kept within the box, black outside of the image
 *   shown  = (range * colour steps(s / 255) - mean) / std;   (0 - mean) / std where (u, v) is not in the box
 *
 * Both are 0 in the image's erased box. Table, means and stds are those of the output's channels, of
 * which channel c shows the image's channel SHOWN(c).
 *
 * images (N, H, W, C) u8, and one byte that is read but not used; params (1 + N, AUGMENT_FIELDS);
 * table (C, 256), then C means, C stds, the range; out (B, OH, OW, C) with B >= N: images past the last
 * repeat the last one.
 *
 * Work-items: (OH, B) one a row on the CPU schedule, (OH * OW, B) one a pixel on the GPU
 * schedule. */
#pragma OPENCL FP_CONTRACT OFF

#ifndef C
#define C 3 /* channels: 1..4 */
#endif
#ifndef GENERAL
#define GENERAL 0 /* 0: whole pixels as they are; 1: sampled and coloured */
#endif

#ifndef BGR
#define BGR 0 /* 1: the output has blue first, the images red (C 3) */
#endif
#define SHOWN(c) (BGR ? C - 1 - (c) : (c))

#include "augment_fields.h"
#include "colour.h"
#include "lanes.h"

typedef struct source {
    __global const uchar *pixels; /* (H, W, C) */
    __global const float *p;      /* (AUGMENT_FIELDS) */
    int height, width;
} source;

static inline source source_of(__global const uchar *images, __global const float *params,
                               const int n, const int height, const int width) {
    source s;
    s.pixels = images + (size_t)n * height * width * C;
    s.p = params + (1 + n) * AUGMENT_FIELDS;
    s.height = height;
    s.width = width;
    return s;
}

/* codes[C] of the pixels (y, x): 0..255; black outside of the image. */
static inline void read_codes(const source *s, const vint y, const vint x, vint codes[C]) {
    const vint inside = (y >= 0) & (y < s->height) & (x >= 0) & (x < s->width);
    const vint at = inside ? (y * s->width + x) * C : (vint)(0);
#if C >= 3
    const vint pixel = inside ? gather_4u8(s->pixels, at) : (vint)(0); /* faster than byte by byte */
    for (int c = 0; c < C; c++) {
        codes[c] = (pixel >> 8 * c) & 255;
    }
#else
    for (int c = 0; c < C; c++) {
        codes[c] = inside ? gather_u8(s->pixels + c, at) : (vint)(0);
    }
#endif
}

/* Whether the pixels (y, x) lie in the box, where there is one. */
static inline vint in_box(__global const float *box, const int y, const vint x) {
    const int top = (int)box[0], left = (int)box[1];
    const int bottom = top + (int)box[2], right = left + (int)box[3];
    return (x >= left) & (x < right) & (vint)(y >= top && y < bottom ? -1 : 0);
}

/* ---- the pixels of one image ---- */

#if GENERAL

/* v[C] = between the pixels x[0] and x[1] of row y of the image: 0..255. */
static inline void sample_row(const source *s, const vint y, const vint x[2], const vfloat part,
                              vfloat v[C]) {
    vint a[C], b[C];
    read_codes(s, y, x[0], a);
    read_codes(s, y, x[1], b);
    for (int c = 0; c < C; c++) {
        v[c] = TO_VFLOAT(a[c]) + part * TO_VFLOAT(b[c] - a[c]);
    }
}

/* v[C] = the image at the pixels (y, x) of the output in 0..1; gives whether they show any of it. */
static inline vint sample(const source *s, const int y, const vint x, vfloat v[C]) {
    __global const float *m = s->p + AUGMENT_MATRIX;
    __global const float *box = s->p + AUGMENT_BOX;
    const float top = box[0], left = box[1], bottom = top + box[2], right = left + box[3];
    const vfloat cx = TO_VFLOAT(x) + 0.5f;
    const float cy = (float)y + 0.5f;
    const vfloat across = m[0] * cx + m[1] * cy + m[2];
    const vfloat down = m[3] * cx + m[4] * cy + m[5];
    const vfloat x0 = floor(across - 0.5f), y0 = floor(down - 0.5f);
    const vfloat ax = across - 0.5f - x0, ay = down - 0.5f - y0;
    const vint tap_x[2] = {TO_VINT(clamp(x0, left, right - 1.0f)),
                           TO_VINT(clamp(x0 + 1.0f, left, right - 1.0f))};
    const vint tap_y[2] = {TO_VINT(clamp(y0, top, bottom - 1.0f)),
                           TO_VINT(clamp(y0 + 1.0f, top, bottom - 1.0f))};
    vfloat above[C], below[C];
    sample_row(s, tap_y[0], tap_x, ax, above);
    sample_row(s, tap_y[1], tap_x, ax, below);
    for (int c = 0; c < C; c++) {
        v[c] = (above[c] + ay * (below[c] - above[c])) / 255.0f;
    }
    return (across >= left) & (across < right) & (down >= top) & (down < bottom);
}

static inline void shown(const source *s, __global const float *table, const int y, const vint x,
                         vfloat v[C]) {
    const float range = table[C * 258];
    vfloat seen[C];
    const vint inside = sample(s, y, x, seen);
    const vint erased = in_box(s->p + AUGMENT_ERASE, y, x);
    clq_colour_steps(seen, s->p, 4);
    for (int c = 0; c < C; c++) {
        const float mean = table[C * 256 + c], std = table[C * 257 + c];
        const vfloat value = inside ? range * seen[SHOWN(c)] : (vfloat)(0.0f);
        v[c] = erased ? (vfloat)(0.0f) : (value - mean) / std;
    }
}

#else

static inline void shown(const source *s, __global const float *table, const int y, const vint x,
                         vfloat v[C]) {
    const vint erased = in_box(s->p + AUGMENT_ERASE, y, x);
    const vint sy = (vint)(y + (int)s->p[AUGMENT_DY]);
    const vint flipped = s->p[AUGMENT_FLIP] != 0.0f ? s->width - 1 - x : x;
    const vint sx = flipped + (int)s->p[AUGMENT_DX];
    vint codes[C];
    read_codes(s, sy, sx, codes);
    for (int c = 0; c < C; c++) {
        const vfloat normal = gather_f32(table + c * 256, codes[SHOWN(c)]);
        v[c] = erased ? (vfloat)(0.0f) : normal;
    }
}

#endif

/* ---- the batch ---- */

/* The first `count` lanes. */
static inline void store(const vfloat v[C], const int count, __global float *to) {
    float lanes[C][LANES];
    for (int c = 0; c < C; c++) {
        SPREAD(v[c], lanes[c]);
    }
    if (count >= LANES) {
        for (int i = 0; i < LANES * C; i++) {
            to[i] = lanes[i % C][i / C];
        }
    } else {
        for (int i = 0; i < count * C; i++) {
            to[i] = lanes[i % C][i / C];
        }
    }
}

/* Whether row y of the outputs has anything of a partner. */
static inline bool is_mixed(__global const float *mix, const int y) {
    const int top = (int)mix[AUGMENT_CUT];
    return mix[AUGMENT_KEEP] < 1.0f || (y >= top && y < top + (int)mix[AUGMENT_CUT + 2]);
}

/* Writes the pixels first_x .. end_x - 1 of row y of output n; `to` is the row. */
static inline void write_row(const source *image, const source *partner, __global const float *mix,
                             __global const float *table, const int y, const int first_x,
                             const int end_x, __global float *to) {
    const bool mixed = is_mixed(mix, y);
    for (int x = first_x; x < end_x; x += LANES) {
        const vint xs = x + LANE_NUMBERS;
        vfloat v[C];
        shown(image, table, y, xs, v);
        if (mixed) {
            const vint cut = in_box(mix + AUGMENT_CUT, y, xs);
            const vfloat keep = cut ? (vfloat)(0.0f) : (vfloat)(mix[AUGMENT_KEEP]);
            vfloat other[C];
            shown(partner, table, y, xs, other);
            for (int c = 0; c < C; c++) {
                v[c] = keep * v[c] + (1.0f - keep) * other[c];
            }
        }
        store(v, end_x - x, to + x * C);
    }
}

__kernel void augment(__global const uchar *images, __global const float *params,
                      __global const float *table, __global float *out, const int count,
                      const int batch, const int height, const int width, const int out_height,
                      const int out_width) {
    const int n = (int)get_global_id(1);
    const int item = (int)get_global_id(0);
#ifdef CLQ_SCHEDULE_CPU
    const int y = item, first_x = 0, end_x = out_width;
#else
    const int y = item / out_width, first_x = item - y * out_width, end_x = first_x + 1;
#endif
    if (n >= batch || y >= out_height) {
        return;
    }
    const source image = source_of(images, params, min(n, count - 1), height, width);
    const source partner =
        source_of(images, params, (int)image.p[AUGMENT_PARTNER], height, width);
    write_row(&image, &partner, params, table, y, first_x, end_x,
              out + ((size_t)n * out_height + y) * out_width * C);
}

/* ---- the grey that contrast is about ---- */

#ifndef WG
#define WG 1 /* work-items an image: 1 on the CPU schedule, a power of two on the GPU schedule */
#endif

/* The sum over one row of an image of each pixel's grey, as it is before contrast, in steps of
 * 2^-20: whole numbers, so that the sum does not depend on its order. */
static inline ulong grey_of_row(const source *s, const int y, const int first_x, const int end_x) {
    const int before = clq_contrast_step(s->p);
    ulong sum = 0;
    for (int x = first_x; x < end_x; x += LANES) {
        const vint xs = x + LANE_NUMBERS;
        vint codes[C];
        vfloat v[C];
        int steps[LANES];
        read_codes(s, (vint)(y), xs, codes);
        for (int c = 0; c < C; c++) {
            v[c] = TO_VFLOAT(codes[c]) / 255.0f;
        }
        clq_colour_steps(v, s->p, before);
        SPREAD(TO_VINT(rint(clq_grey(v) * 0x1p20f)), steps);
        for (int lane = 0; lane < LANES && x + lane < end_x; lane++) {
            sum += (ulong)steps[lane];
        }
    }
    return sum;
}

/* Writes AUGMENT_MEAN_GREY of the images with contrast: the mean over their box, of which what lies
 * outside of the image is black. A group of WG work-items an image, each with every WG-th row. */
__kernel void augment_grey(__global const uchar *images, __global float *params, const int height,
                           const int width) {
    const int n = (int)get_group_id(0), item = (int)get_local_id(0);
    const source s = source_of(images, params, n, height, width);
    __global const float *box = s.p + AUGMENT_BOX;
    const int top = (int)box[0], left = (int)box[1];
    const int bottom = top + (int)box[2], right = left + (int)box[3];
    const bool wanted = clq_contrast_step(s.p) < 4;
    __local ulong sums[WG];
    ulong sum = 0;
    for (int y = max(top, 0) + item; wanted && y < min(bottom, height); y += WG) {
        sum += grey_of_row(&s, y, max(left, 0), min(right, width));
    }
    sums[item] = sum;
#if WG > 1
    for (int apart = WG / 2; apart > 0; apart /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < apart) {
            sums[item] += sums[item + apart];
        }
    }
#endif
    if (item == 0) {
        const float mean = (float)sums[0] * 0x1p-20f / (box[2] * box[3]);
        params[(1 + n) * AUGMENT_FIELDS + AUGMENT_MEAN_GREY] = wanted ? mean : 0.0f;
    }
}

/* ---- the mixed labels ---- */

/* targets (B, K): `share` on the image's own label, the rest on its partner's; labels (B). */
__kernel void augment_targets(__global const float *params, __global const int *labels,
                              __global float *targets, const int count, const int batch,
                              const int classes) {
    const int k = (int)get_global_id(0), n = (int)get_global_id(1);
    if (n >= batch || k >= classes) {
        return;
    }
    const int image = min(n, count - 1);
    const int partner = (int)params[(1 + image) * AUGMENT_FIELDS + AUGMENT_PARTNER];
    const float share = params[AUGMENT_SHARE];
    targets[(size_t)n * classes + k] = (labels[image] == k ? share : 0.0f) +
                                       (labels[partner] == k ? 1.0f - share : 0.0f);
}
