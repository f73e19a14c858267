/* Random crop, flip and normalisation, by plain loops. */
#ifndef CLQ_REF_AUGMENT_H
#define CLQ_REF_AUGMENT_H

#include <stdint.h>

/* images (count, H, W, C); dy, dx, flip (count); out (batch, H, W, C). Outside of the image is
 * black. out = (u8 / 255 - mean) / std. Images from count on repeat the last. */
void ref_augment(const uint8_t *images, int count, int batch, int height, int width, int channels,
                 const int *dy, const int *dx, const int *flip, const float *mean, const float *std,
                 float *out);

#endif
