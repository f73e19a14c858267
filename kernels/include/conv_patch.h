/* Copying source pixels into a work-item's private patch, zeros where the image ends. */
#ifndef CLQ_CONV_PATCH_H
#define CLQ_CONV_PATCH_H

#include "tile.h"

/* One patch row of `width` pixels of `pitch` floats: source pixels x0, x0 + step, ... of `row`,
 * which has src_w pixels of src_c channels (pass 0 for a row above or below the image). Takes
 * `depth` <= pitch channels; the floats between are zeroed. */
static inline void copy_patch_row(__global const float *row, float *patch, int x0, int step,
                                  int width, int src_w, int src_c, int depth, int pitch) {
    const int begin = clamp((step - 1 - x0) / step, 0, width); /* first pixel inside */
    const int end = clamp((src_w - x0 + step - 1) / step, begin, width);
    for (int i = 0; i < begin * pitch; i++) {
        patch[i] = 0;
    }
    for (int i = end * pitch; i < width * pitch; i++) {
        patch[i] = 0;
    }
    if (src_c == pitch && step == 1) { /* one run */
        int i = begin * pitch;
        row += (long)x0 * src_c;
        for (; i + VL <= end * pitch; i += VL) {
            FVEC_STORE(FVEC_LOAD(row + i), patch + i);
        }
        for (; i < end * pitch; i++) {
            patch[i] = row[i];
        }
        return;
    }
    for (int x = begin; x < end; x++) {
        __global const float *from = row + (long)(x0 + x * step) * src_c;
        float *to = patch + x * pitch;
        int c = 0;
        for (; c + VL <= depth; c += VL) {
            FVEC_STORE(FVEC_LOAD(from + c), to + c);
        }
        for (; c < depth; c++) {
            to[c] = from[c];
        }
        for (; c < pitch; c++) {
            to[c] = 0;
        }
    }
}

#endif
