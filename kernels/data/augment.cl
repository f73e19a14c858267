/* From a batch of u8 images to the normalised F32 tensor a network reads, with random crop and
 * horizontal flip, in one pass.
 *
 *   out[n][y][x][c] = table[c][ image[n][y + dy][(flip ? W - 1 - x : x) + dx][c] ]
 *
 * and table[c][0] where that lies outside of the image (black, as if padded before the crop). The
 * normalisation is a table of all 256 values made by the host, so its bits are the same everywhere.
 *
 * images (N, H, W, C) u8; params (N, AUGMENT_FIELDS): dy, dx, flip, ...; table (C, 256);
 * out (B, H, W, C) with B >= N: images past the last repeat the last one.
 *
 * Work-items: (H, B) one a row on the CPU schedule, (H * W, B) one a pixel on the GPU schedule. */
#ifndef C
#define C 3 /* channels: 1..4 */
#endif

#include "augment_fields.h"

/* Writes the pixels first_x .. end_x - 1 of row y of image n. */
static inline void write_row(__global const uchar *images, __global const float *params,
                             __global const float *table, __global float *out, const int n,
                             const int count, const int y, const int first_x, const int end_x,
                             const int height, const int width) {
    const int source = min(n, count - 1);
    __global const float *p = params + source * AUGMENT_FIELDS;
    const int sy = y + (int)p[AUGMENT_DY];
    const int dx = (int)p[AUGMENT_DX];
    const bool flip = p[AUGMENT_FLIP] != 0.0f;
    const bool row_inside = sy >= 0 && sy < height;
    __global const uchar *row = images + ((size_t)source * height + (row_inside ? sy : 0)) * width * C;
    __global float *to = out + ((size_t)n * height + y) * width * C;
    for (int x = first_x; x < end_x; x++) {
        const int sx = (flip ? width - 1 - x : x) + dx;
        const bool inside = row_inside && sx >= 0 && sx < width;
        for (int c = 0; c < C; c++) {
            const int code = inside ? row[sx * C + c] : 0;
            to[x * C + c] = table[c * 256 + code];
        }
    }
}

__kernel void augment(__global const uchar *images, __global const float *params,
                      __global const float *table, __global float *out, const int count,
                      const int batch, const int height, const int width) {
    const int n = (int)get_global_id(1);
#ifdef CLQ_SCHEDULE_CPU
    const int y = (int)get_global_id(0);
    if (n < batch && y < height) {
        write_row(images, params, table, out, n, count, y, 0, width, height, width);
    }
#else
    const int pixel = (int)get_global_id(0);
    if (n < batch && pixel < height * width) {
        const int y = pixel / width;
        const int x = pixel - y * width;
        write_row(images, params, table, out, n, count, y, x, x + 1, height, width);
    }
#endif
}
