#include "support/ref_resize.h"

#include <math.h>

static double weight(int k, double centre, double support) {
    const double x = fabs((k + 0.5 - centre) / support);
    return x < 1 ? 1 - x : 0;
}

void ref_resize(const uint8_t *image, int height, int width, int channels, int resize, int size,
                double *out) {
    const int shorter = height < width ? height : width;
    const int64_t new_height = (int64_t)resize * height / shorter;
    const int64_t new_width = (int64_t)resize * width / shorter;
    const double scale_y = (double)height / (double)new_height;
    const double scale_x = (double)width / (double)new_width;
    const double support_y = scale_y > 1 ? scale_y : 1, support_x = scale_x > 1 ? scale_x : 1;
    const double top = rint((double)(new_height - size) / 2);
    const double left = rint((double)(new_width - size) / 2);
    for (int oy = 0; oy < size; oy++) {
        for (int ox = 0; ox < size; ox++) {
            const double cy = (top + oy + 0.5) * scale_y, cx = (left + ox + 0.5) * scale_x;
            for (int c = 0; c < channels; c++) {
                double sum = 0, weights = 0;
                for (int y = 0; y < height; y++) {
                    for (int x = 0; x < width; x++) {
                        const double w = weight(y, cy, support_y) * weight(x, cx, support_x);
                        sum += w * image[(y * width + x) * channels + c];
                        weights += w;
                    }
                }
                out[(oy * size + ox) * channels + c] = sum / weights;
            }
        }
    }
}
