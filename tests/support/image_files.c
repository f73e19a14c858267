#include "support/image_files.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/files.h"
#include "support/clq_test.h"

void test_file_free(test_file *file) {
    free(file->data);
    *file = (test_file){0};
}

void test_file_write(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

test_file test_jpeg(const uint8_t *pixels, int height, int width, int channels, int quality) {
    unsigned char *bytes = NULL;
    unsigned long size = 0;
    tjhandle encoder = tjInitCompress();
    assert_non_null(encoder);
    assert_int_equal(
        tjCompress2(encoder, pixels, width, 0, height, channels == 1 ? TJPF_GRAY : TJPF_RGB, &bytes,
                    &size, channels == 1 ? TJSAMP_GRAY : TJSAMP_444, quality, TJFLAG_ACCURATEDCT),
        0);
    test_file file = {malloc(size), size};
    assert_non_null(file.data);
    memcpy(file.data, bytes, size);
    tjFree(bytes);
    tjDestroy(encoder);
    return file;
}

test_file test_png(const uint8_t *pixels, int height, int width, int channels) {
    static const png_uint_32 formats[] = {0, PNG_FORMAT_GRAY, PNG_FORMAT_GA, PNG_FORMAT_RGB,
                                          PNG_FORMAT_RGBA};
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = formats[channels]};
    png_alloc_size_t size = 0;
    assert_true(png_image_write_to_memory(&image, NULL, &size, 0, pixels, 0, NULL));
    test_file file = {malloc(size), size};
    assert_non_null(file.data);
    assert_true(png_image_write_to_memory(&image, file.data, &size, 0, pixels, 0, NULL));
    return file;
}

void test_smooth_pixels(uint8_t *pixels, int height, int width, int channels) {
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < channels; c++) {
                *pixels++ = (uint8_t)(40 + 120 * x / width + 60 * y / height + 10 * c);
            }
        }
    }
}

void test_put_image(const char *path, int height, int width, int channels) {
    char *folder = clq_path_folder(path);
    assert_non_null(folder);
    assert_ok(clq_make_dirs(folder));
    clq_free(folder);
    uint8_t *pixels = malloc((size_t)height * (size_t)width * (size_t)channels);
    assert_non_null(pixels);
    test_smooth_pixels(pixels, height, width, channels);
    test_file file = clq_path_has_extension(path, ".png")
                         ? test_png(pixels, height, width, channels)
                         : test_jpeg(pixels, height, width, channels, 95);
    test_file_write(path, file.data, file.size);
    test_file_free(&file);
    free(pixels);
}
