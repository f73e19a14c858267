/* JPEG and PNG files made in memory, for the tests of the decoders. */
#ifndef CLQ_TEST_IMAGE_FILES_H
#define CLQ_TEST_IMAGE_FILES_H

#include <stddef.h>
#include <stdint.h>

typedef struct test_file {
    uint8_t *data; /* free with test_file_free */
    size_t size;
} test_file;

void test_file_free(test_file *file);
void test_file_write(const char *path, const void *data, size_t size);

/* pixels (height, width, channels), channels 1 or 3. */
test_file test_jpeg(const uint8_t *pixels, int height, int width, int channels, int quality);

/* pixels (height, width, channels): 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. */
test_file test_png(const uint8_t *pixels, int height, int width, int channels);

/* A picture without hard edges, so that JPEG keeps it nearly. */
void test_smooth_pixels(uint8_t *pixels, int height, int width, int channels);

/* Both: makes the folders on the way, and writes a smooth picture as PNG or JPEG, as the name says.
 */
void test_put_image(const char *path, int height, int width, int channels);

#endif
