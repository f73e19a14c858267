/* Bilinear antialiased scaling and centre crop, in double, one output pixel at a time. */
#ifndef CLQ_REF_RESIZE_H
#define CLQ_REF_RESIZE_H

#include <stdint.h>

/* image (height, width, channels) -> out (size, size, channels), not rounded. */
void ref_resize(const uint8_t *image, int height, int width, int channels, int resize, int size,
                double *out);

#endif
