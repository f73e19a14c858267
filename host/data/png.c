#include <png.h>
#include <string.h>

#include "data/image.h"

/* All of the decoder's state, in memory that a longjmp does not touch. */
typedef struct decoder {
    const char *name;
    const uint8_t *data;
    size_t size, at;
    int channels; /* wanted; 3 once the file is known to have colours */
    png_structp png;
    png_infop info;
    png_bytep *rows;
    clq_image image;
    clq_status status;
    bool out_of_memory;
} decoder;

static void on_error(png_structp png, png_const_charp message) {
    decoder *d = png_get_error_ptr(png);
    d->status =
        clq_fail(d->out_of_memory ? CLQ_NO_MEMORY : CLQ_BAD_DATA, "%s: PNG: %s", d->name, message);
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
    decoder *d = png_get_mem_ptr(png);
    void *pointer = clq_calloc(size, 1);
    d->out_of_memory |= pointer == NULL;
    return pointer;
}

static void release(png_structp png, png_voidp pointer) {
    (void)png;
    clq_free(pointer);
}

/* Asks libpng for 8-bit grey or RGB, the latter whenever the file has colours: libpng's own way to
 * grey depends on the file's gamma. */
static void set_transforms(decoder *d) {
    png_set_expand(d->png); /* palettes and 1, 2, 4 bits to 8 bits */
    png_set_scale_16(d->png);
    png_set_strip_alpha(d->png);
    if (!(png_get_color_type(d->png, d->info) & PNG_COLOR_MASK_COLOR) && d->channels == 3) {
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
    if (png_get_color_type(d->png, d->info) & PNG_COLOR_MASK_COLOR) {
        d->channels = 3;
    }
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

static clq_status to_grey(const char *name, clq_image *image) {
    clq_image grey = {0};
    CLQ_TRY(clq_image_create(name, image->height, image->width, 1, &grey));
    clq_image_convert(image->data, 3, grey.data, 1, (size_t)image->height * (size_t)image->width);
    clq_image_free(image);
    *image = grey;
    return CLQ_OK;
}

clq_status clq_png_decode(const char *name, const void *data, size_t size, int channels,
                          clq_image *image) {
    decoder d = {.name = name, .data = data, .size = size, .channels = channels};
    *image = (clq_image){0};
    d.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &d, on_error, on_warning, &d, allocate,
                                     release);
    d.info = d.png ? png_create_info_struct(d.png) : NULL;
    if (d.info) {
        decode(&d);
    } else {
        d.status = clq_fail(CLQ_NO_MEMORY, "%s: cannot create a PNG decoder", name);
    }
    png_destroy_read_struct(&d.png, &d.info, NULL);
    clq_free(d.rows);
    if (d.status == CLQ_OK && d.image.channels != channels) {
        d.status = to_grey(name, &d.image);
    }
    if (d.status == CLQ_OK) {
        *image = d.image;
    } else {
        clq_image_free(&d.image);
    }
    return d.status;
}
