/* Scaling by a filter and centre crop, in double, one output pixel at a time. */
#ifndef CLQ_REF_RESIZE_H
#define CLQ_REF_RESIZE_H

#include <stdint.h>

#include <clquant/data.h>

/* image (height, width, channels) -> out (out_height, out_width, channels), not rounded. */
void ref_resize(const uint8_t *image, int height, int width, int channels, const clq_resize *resize,
                int out_height, int out_width, double *out);

#endif
