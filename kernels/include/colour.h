/* Colour jitter of pixels in 0..1, after torchvision's functions on float tensors. With
 * blend(a, b, f) = min(max(f * a + (1 - f) * b, 0), 1):
 *
 *   brightness  v' = blend(v, 0, f)
 *   contrast    v' = blend(v, mean grey of the image, f)
 *   saturation  v' = blend(v, grey, f),   grey = 0.2989 r + 0.587 g + 0.114 b
 *   hue         with high, low = the largest and smallest of r, g, b, and d = high - low:
 *               h  = (g - b) / d where r is high, 2 + (b - r) / d where g is, else 4 + (r - g) / d
 *               k  = (n + h + 6 * turns) mod 6   with n = 5 for red, 3 for green, 1 for blue
 *               v' = high - d * min(max(min(k, 4 - k), 0), 1)
 *               which is the way to HSV and back in one; a grey pixel (d = 0) stays
 *
 * C: channels. Without three of them there is no hue or saturation, and grey is their mean. */
#ifndef CLQ_COLOUR_H
#define CLQ_COLOUR_H

#include "augment_fields.h"
#include "lanes.h"

static inline vfloat clq_grey(const vfloat v[C]) {
#if C == 3
    return 0.2989f * v[0] + 0.587f * v[1] + 0.114f * v[2];
#else
    vfloat sum = v[0];
    for (int c = 1; c < C; c++) {
        sum += v[c];
    }
    return sum / (float)C;
#endif
}

static inline void clq_blend(vfloat v[C], const vfloat other, const float factor) {
    for (int c = 0; c < C; c++) {
        v[c] = clamp(factor * v[c] + (1.0f - factor) * other, 0.0f, 1.0f);
    }
}

#if C == 3
static inline void clq_turn_hue(vfloat v[C], const float turns) {
    const vfloat high = fmax(fmax(v[0], v[1]), v[2]);
    const vfloat d = high - fmin(fmin(v[0], v[1]), v[2]);
    const vfloat by = d > 0.0f ? d : (vfloat)(1.0f);
    const vint red = v[0] == high, green = v[1] == high;
    const vfloat from = red ? v[1] : green ? v[2] : v[0];
    const vfloat to = red ? v[2] : green ? v[0] : v[1];
    const vfloat sector = red ? (vfloat)(0.0f) : green ? (vfloat)(2.0f) : (vfloat)(4.0f);
    const vfloat h = sector + (from - to) / by;
    for (int c = 0; c < C; c++) {
        const vfloat turned = (float)(5 - 2 * c) + h + 6.0f * turns;
        const vfloat k = turned - 6.0f * floor(turned * (1.0f / 6.0f));
        v[c] = high - d * clamp(fmin(k, 4.0f - k), 0.0f, 1.0f);
    }
}
#endif

/* Which of an image's steps (row p of the parameters) is contrast; 4: none. */
static inline int clq_contrast_step(__global const float *p) {
    int i = 0;
    while (i < 4 && (int)p[AUGMENT_STEPS + i] != AUGMENT_CONTRAST) {
        i++;
    }
    return i;
}

/* The first `count` steps. */
static inline void clq_colour_steps(vfloat v[C], __global const float *p, const int count) {
    for (int i = 0; i < count; i++) {
        const int step = (int)p[AUGMENT_STEPS + i];
        const float amount = p[AUGMENT_AMOUNTS + i];
        if (step == AUGMENT_BRIGHTNESS) {
            clq_blend(v, (vfloat)(0.0f), amount);
        } else if (step == AUGMENT_CONTRAST) {
            clq_blend(v, (vfloat)(p[AUGMENT_MEAN_GREY]), amount);
        }
#if C == 3
        if (step == AUGMENT_SATURATION) {
            clq_blend(v, clq_grey(v), amount);
        } else if (step == AUGMENT_HUE) {
            clq_turn_hue(v, amount);
        }
#endif
    }
}

#endif
