#include <png.h>
#include <string.h>

#include "data/image.h"

/* All of the decoder's state, in memory that a longjmp does not touch. */
typedef struct decoder {
    const char *name;
    const uint8_t *data;
    size_t size, at;
    int channels;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    clq_image image;
    clq_status status;
} decoder;

static void on_error(png_structp png, png_const_charp message) {
    decoder *d = png_get_error_ptr(png);
    d->status = clq_fail(CLQ_BAD_DATA, "%s: PNG: %s", d->name, message);
    png_longjmp(png, 1);
}

/* Warnings are about parts that do not change the picture. */
static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep out, png_size_t size) {
    decoder *d = png_get_io_ptr(png);
    if (size > d->size - d->at) {
        png_error(png, "the file ends too early");
    }
    memcpy(out, d->data + d->at, size);
    d->at += size;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size) {
    (void)png;
    return clq_calloc(size, 1);
}

static void release(png_structp png, png_voidp pointer) {
    (void)png;
    clq_free(pointer);
}

/* Asks libpng for 8-bit grey or RGB whatever the file holds. */
static void set_transforms(decoder *d) {
    int kind = png_get_color_type(d->png, d->info);
    png_set_expand(d->png); /* palettes and 1, 2, 4 bits to 8 bits */
    png_set_scale_16(d->png);
    png_set_strip_alpha(d->png);
    bool colour = kind & PNG_COLOR_MASK_COLOR;
    if (colour && d->channels == 1) {
        png_set_rgb_to_gray_fixed(d->png, PNG_ERROR_ACTION_NONE, 29900, 58700);
    } else if (!colour && d->channels == 3) {
        png_set_gray_to_rgb(d->png);
    }
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
}

static void decode(decoder *d) {
    if (setjmp(png_jmpbuf(d->png))) {
        return;
    }
    png_set_read_fn(d->png, d, read_bytes);
    png_set_user_limits(d->png, CLQ_IMAGE_MAX_SIDE, CLQ_IMAGE_MAX_SIDE);
    png_set_chunk_cache_max(d->png, 64);
    png_set_chunk_malloc_max(d->png, 4 << 20);
    png_read_info(d->png, d->info);
    png_uint_32 height = png_get_image_height(d->png, d->info);
    png_uint_32 width = png_get_image_width(d->png, d->info);
    d->status = clq_image_create(d->name, height, width, d->channels, &d->image);
    if (d->status != CLQ_OK) {
        return;
    }
    set_transforms(d);
    size_t row_bytes = (size_t)width * (size_t)d->channels;
    if (png_get_rowbytes(d->png, d->info) != row_bytes) {
        png_error(d->png, "unexpected row size");
    }
    d->rows = clq_calloc(height, sizeof *d->rows);
    if (!d->rows) {
        d->status = CLQ_NO_MEMORY;
        return;
    }
    for (png_uint_32 y = 0; y < height; y++) {
        d->rows[y] = d->image.data + y * row_bytes;
    }
    png_read_image(d->png, d->rows);
    png_read_end(d->png, NULL);
}

clq_status clq_png_decode(const char *name, const void *data, size_t size, int channels,
                          clq_image *image) {
    decoder d = {.name = name, .data = data, .size = size, .channels = channels};
    *image = (clq_image){0};
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, NULL,
                                     allocate, release);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (d.info) {
        decode(&d);
    } else {
        d.status = clq_fail(CLQ_NO_MEMORY, "%s: cannot create a PNG decoder", name);
    }
    png_destroy_read_struct(&d.png, &d.info, NULL);
    clq_free(d.rows);
    if (d.status == CLQ_OK) {
        *image = d.image;
    } else {
        clq_image_free(&d.image);
    }
    return d.status;
}
