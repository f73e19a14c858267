/* One picture in memory: decoding JPEG and PNG, fitting to a size, changing channels. */
#ifndef CLQ_DATA_IMAGE_H
#define CLQ_DATA_IMAGE_H

#include <clquant/data.h>

/* Limits on what a file may ask for. */
#define CLQ_IMAGE_MAX_SIDE 65500
#define CLQ_IMAGE_MAX_PIXELS (INT64_C(1) << 27)
#define CLQ_IMAGE_MAX_BYTES ((size_t)256 << 20) /* of an image file */

typedef struct clq_image {
    int height, width, channels;
    uint8_t *data; /* (height, width, channels), owned */
} clq_image;

/* Allocates; CLQ_BAD_DATA names `name` when the size is 0 or above the limits. */
clq_status clq_image_create(const char *name, int64_t height, int64_t width, int channels,
                            clq_image *image);
void clq_image_free(clq_image *image);

/* Whether a file's name ends in .jpg, .jpeg or .png, in either case. */
bool clq_is_image_name(const char *file);

/* Decodes a JPEG or PNG file's bytes, told apart by their first bytes, to grey (channels 1) or RGB
 * (3). Alpha is dropped, gamma and orientation tags are ignored, as by most training programs.
 * Whatever the decoder warns about is CLQ_BAD_DATA: a truncated file is an error. */
clq_status clq_image_decode(const char *name, const void *data, size_t size, int channels,
                            clq_image *image);
/* The same for a file. */
clq_status clq_image_read(const char *path, int channels, clq_image *image);
/* The same with a path made for it, which is freed; NULL: CLQ_NO_MEMORY. */
clq_status clq_image_read_at(char *path, int channels, clq_image *image);

/* Scales as `resize` says, which must make it at least height x width, and cuts that centre out
 * into out[height * width * channels]. 22-bit fixed point: the same bytes everywhere. */
clq_status clq_image_fit(const clq_image *image, const clq_resize *resize, int height, int width,
                         uint8_t *out);

/* Converts `pixels` pixels: RGB to grey (BT.601 luma), or grey to RGB. Other changes of the number
 * of channels are refused by the data sets. */
void clq_image_convert(const uint8_t *from, int from_channels, uint8_t *to, int to_channels,
                       size_t pixels);

/* The decoders behind clq_image_decode. */
clq_status clq_jpeg_decode(const char *name, const void *data, size_t size, int channels,
                           clq_image *image);
clq_status clq_png_decode(const char *name, const void *data, size_t size, int channels,
                          clq_image *image);

#endif
