#include "support/ref_augment.h"

void ref_augment(const uint8_t *images, int count, int batch, int height, int width, int channels,
                 const int *dy, const int *dx, const int *flip, const float *mean, const float *std,
                 float *out) {
    for (int n = 0; n < batch; n++) {
        const int source = n < count ? n : count - 1;
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                const int sy = y + dy[source];
                const int sx = (flip[source] ? width - 1 - x : x) + dx[source];
                for (int c = 0; c < channels; c++) {
                    int code = 0;
                    if (sy >= 0 && sy < height && sx >= 0 && sx < width) {
                        code = images[((source * height + sy) * width + sx) * channels + c];
                    }
                    const float value = (float)code / 255.0f;
                    *out++ = (value - mean[c]) / std[c];
                }
            }
        }
    }
}
