#include "support/ref_resize.h"

#include <math.h>

/* The source pixel of output pixel `o`, of `from`; its centre is summed up step by step. */
static int nearest(int o, double scale, int from) {
    double centre = 0.5 * scale;
    while (o-- > 0) {
        centre += scale;
    }
    return centre < from ? (int)floor(centre) : from - 1;
}

/* Of source pixel k, of `from`, for output pixel `o` on an axis shrunk by `scale`. */
static double weight(clq_interpolation kind, int k, int from, int o, double scale) {
    const double centre = (o + 0.5) * scale;
    const double wide = kind == CLQ_LINEAR || scale < 1 ? 1 : scale;
    const double x = fabs((k + 0.5 - centre) / wide);
    switch (kind) {
    case CLQ_NEAREST:
        return k == nearest(o, scale, from);
    case CLQ_BICUBIC:
        return x <= 1   ? 1.5 * pow(x, 3) - 2.5 * pow(x, 2) + 1
               : x <= 2 ? -0.5 * pow(x, 3) + 2.5 * pow(x, 2) - 4 * x + 2
                        : 0;
    default:
        return x < 1 ? 1 - x : 0;
    }
}

void ref_resize(const uint8_t *image, int height, int width, int channels, const clq_resize *resize,
                int out_height, int out_width, double *out) {
    const int shorter = height < width ? height : width;
    const int64_t new_height =
        resize->shorter ? (int64_t)resize->shorter * height / shorter : resize->height;
    const int64_t new_width =
        resize->shorter ? (int64_t)resize->shorter * width / shorter : resize->width;
    const double scale_y = (double)height / (double)new_height;
    const double scale_x = (double)width / (double)new_width;
    const int top = (int)rint((double)(new_height - out_height) / 2);
    const int left = (int)rint((double)(new_width - out_width) / 2);
    for (int oy = 0; oy < out_height; oy++) {
        for (int ox = 0; ox < out_width; ox++) {
            for (int c = 0; c < channels; c++) {
                double sum = 0, weights = 0;
                for (int y = 0; y < height; y++) {
                    for (int x = 0; x < width; x++) {
                        const double w =
                            weight(resize->interpolation, y, height, top + oy, scale_y) *
                            weight(resize->interpolation, x, width, left + ox, scale_x);
                        sum += w * image[(y * width + x) * channels + c];
                        weights += w;
                    }
                }
                *out++ = fmin(fmax(sum / weights, 0), 255);
            }
        }
    }
}
