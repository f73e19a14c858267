/* Loops for kernels that make each pixel of an F32 image (N, H, W, C) from a neighbourhood.
 *
 *   FOR_PIXELS(n_count, height, width, channels, CELL)
 *
 * runs CELL(T, I, LOAD, STORE, LOAD_U16, STORE_U16) for every n, h, w and channels c ..: T is
 * float16 or float, I the int type of its width; the last two move T-many ushort as I. CPU
 * schedule: a work-item does whole rows. GPU schedule: neighbouring work-items do neighbouring
 * channels. */
#ifndef CLQ_PIXELS_H
#define CLQ_PIXELS_H

#include "elementwise.h"

#define LOAD_U16_16(p) convert_int16(vload16(0, (p)))
#define LOAD_U16_1(p) ((int)*(p))
#define STORE_U16_16(v, p) vstore16(convert_ushort16(v), 0, (p))
#define STORE_U16_1(v, p) (*(p) = (ushort)(v))

#ifdef CLQ_SCHEDULE_CPU
#define FOR_PIXELS(n_count, height, width, channels, CELL)                                         \
    long row_, last_;                                                                              \
    clq_share((long)(n_count) * (height), 1, &row_, &last_);                                       \
    for (; row_ < last_; row_++) {                                                                 \
        const int n = (int)(row_ / (height)), h = (int)(row_ % (height));                          \
        for (int w = 0; w < (width); w++) {                                                        \
            int c = 0;                                                                             \
            for (; c + 16 <= (channels); c += 16) {                                                \
                CELL(float16, int16, LOAD16, STORE16, LOAD_U16_16, STORE_U16_16)                   \
            }                                                                                      \
            for (; c < (channels); c++) {                                                          \
                CELL(float, int, LOAD1, STORE1, LOAD_U16_1, STORE_U16_1)                           \
            }                                                                                      \
        }                                                                                          \
    }
#else
#define FOR_PIXELS(n_count, height, width, channels, CELL)                                         \
    const uint count_ = (uint)(n_count) * (height) * (width) * (channels);                         \
    for (uint i_ = get_global_id(0); i_ < count_; i_ += get_global_size(0)) {                      \
        const uint pixel_ = i_ / (uint)(channels), row_ = pixel_ / (uint)(width);                  \
        const int c = (int)(i_ - pixel_ * (channels)), w = (int)(pixel_ - row_ * (width));         \
        const int h = (int)(row_ % (uint)(height)), n = (int)(row_ / (uint)(height));              \
        CELL(float, int, LOAD1, STORE1, LOAD_U16_1, STORE_U16_1)                                   \
    }
#endif

/* Offset of pixel (n, h, w), channel c, in an image (.., height, width, channels). */
#define PIXEL(n, h, w, height, width, channels)                                                    \
    ((((long)(n) * (height) + (h)) * (width) + (w)) * (channels) + c)

#endif
