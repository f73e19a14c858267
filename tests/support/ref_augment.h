/* Augmentation by plain loops, one step after the other over whole images. */
#ifndef CLQ_REF_AUGMENT_H
#define CLQ_REF_AUGMENT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct ref_augment_case {
    const uint8_t *images; /* (count, H, W, C) */
    const float *params;   /* (1 + count, AUGMENT_FIELDS) */
    int count, batch;      /* images from count on repeat the last */
    int height, width, channels, out_height, out_width;
    const float *mean, *std; /* (C): out = (value - mean) / std */
    bool general;            /* by matrix and colour steps; else by dy, dx and flip */
    float range;             /* value of white: 1 or 255 */
    bool bgr;                /* out has the channels in the opposite order, as do mean and std */
} ref_augment_case;

/* out (batch, OH, OW, C). */
void ref_augment(const ref_augment_case *of, float *out);

#endif
