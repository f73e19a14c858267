/* JPEG and PNG: any bytes give an image of the wanted channels within the limits, or an error. */
#include "data/image.h"
#include "fuzz.h"
#include "support/image_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static volatile unsigned sum; /* kept, so that the reads are */
    for (int channels = 1; channels <= 3; channels += 2) {
        clq_image image = {0};
        if (clq_image_decode("fuzz", data, size, channels, &image) == CLQ_OK) {
            fuzz_check(image.channels == channels && image.height > 0 && image.width > 0, "shape");
            const size_t last = (size_t)image.height * (size_t)image.width * (size_t)channels - 1;
            sum = sum + image.data[0] + image.data[last];
        }
        clq_image_free(&image);
    }
    return 0;
}

void fuzz_seeds(void) {
    uint8_t pixels[19 * 13 * 4];
    test_smooth_pixels(pixels, 19, 13, 4);
    for (int channels = 1; channels <= 4; channels++) {
        test_file png = test_png(pixels, 19, 13, channels);
        fuzz_add(png.data, png.size);
        test_file_free(&png);
        if (channels & 1) {
            test_file jpeg = test_jpeg(pixels, 19, 13, channels, 80);
            fuzz_add(jpeg.data, jpeg.size);
            test_file_free(&jpeg);
        }
    }
}
