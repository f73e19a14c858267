#include "data/image.h"

#include <string.h>

#include "base/checked.h"
#include "base/files.h"

clq_status clq_image_create(const char *name, int64_t height, int64_t width, int channels,
                            clq_image *image) {
    *image = (clq_image){0};
    if (height < 1 || width < 1 || height > CLQ_IMAGE_MAX_SIDE || width > CLQ_IMAGE_MAX_SIDE ||
        height * width > CLQ_IMAGE_MAX_PIXELS) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: an image of %lld x %lld pixels; sides must be 1..%d and the area at "
                        "most %lld",
                        name, (long long)width, (long long)height, CLQ_IMAGE_MAX_SIDE,
                        (long long)CLQ_IMAGE_MAX_PIXELS);
    }
    image->data = clq_calloc((size_t)(height * width), (size_t)channels);
    if (!image->data) {
        return CLQ_NO_MEMORY;
    }
    image->height = (int)height;
    image->width = (int)width;
    image->channels = channels;
    return CLQ_OK;
}

void clq_image_free(clq_image *image) {
    clq_free(image->data);
    *image = (clq_image){0};
}

bool clq_is_image_name(const char *file) {
    return clq_path_has_extension(file, ".jpg") || clq_path_has_extension(file, ".jpeg") ||
           clq_path_has_extension(file, ".png");
}

static bool is_png(const void *data, size_t size) {
    static const uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    return size >= sizeof png && memcmp(data, png, sizeof png) == 0;
}

static bool is_jpeg(const void *data, size_t size) {
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff};
    return size >= sizeof jpeg && memcmp(data, jpeg, sizeof jpeg) == 0;
}

static clq_status check_head(void *context, const char *path, const void *head, size_t head_size,
                             uint64_t size) {
    (void)context;
    (void)size;
    return is_png(head, head_size) || is_jpeg(head, head_size)
               ? CLQ_OK
               : clq_fail(CLQ_BAD_DATA, "%s: neither a JPEG nor a PNG file", path);
}

clq_status clq_image_decode(const char *name, const void *data, size_t size, int channels,
                            clq_image *image) {
    *image = (clq_image){0};
    CLQ_TRY(check_head(NULL, name, data, size, size));
    return is_png(data, size) ? clq_png_decode(name, data, size, channels, image)
                              : clq_jpeg_decode(name, data, size, channels, image);
}

clq_status clq_image_read(const char *path, int channels, clq_image *image) {
    void *data = NULL;
    size_t size = 0;
    CLQ_TRY(clq_file_read_checked(path, CLQ_IMAGE_MAX_BYTES, check_head, NULL, &data, &size));
    clq_status status = clq_image_decode(path, data, size, channels, image);
    clq_free(data);
    return status;
}

clq_status clq_image_read_at(char *path, int channels, clq_image *image) {
    const clq_status status = path ? clq_image_read(path, channels, image) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

void clq_image_convert(const uint8_t *from, int from_channels, uint8_t *to, int to_channels,
                       size_t pixels) {
    if (from_channels == 3 && to_channels == 1) {
        for (size_t i = 0; i < pixels; i++) {
            const uint8_t *p = from + 3 * i;
            /* 0.299, 0.587, 0.114 in 16-bit fixed point; they add up to 65536. */
            to[i] = (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
        }
    } else if (from_channels == 1) {
        for (size_t i = 0; i < pixels; i++) {
            memset(to + i * (size_t)to_channels, from[i], (size_t)to_channels);
        }
    } else {
        memcpy(to, from, pixels * (size_t)to_channels);
    }
}
