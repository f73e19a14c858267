#include <string.h>
#include <turbojpeg.h>

#include "data/image.h"

enum { FLAGS = TJFLAG_ACCURATEDCT | TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS };

/* The library says what went wrong in words only. */
static clq_status failed(const char *name, tjhandle decoder) {
    const char *text = tjGetErrorStr2(decoder);
    const bool memory = strstr(text, "emory") != NULL;
    return clq_fail(memory ? CLQ_NO_MEMORY : CLQ_BAD_DATA, "%s: JPEG: %s", name, text);
}

/* Adobe stores inverted CMYK, which turbojpeg passes through: 255 is no ink. */
static clq_status decode_cmyk(tjhandle decoder, const char *name, const void *data, size_t size,
                              int channels, clq_image *image) {
    clq_image ink = {0};
    clq_status status = clq_image_create(name, image->height, image->width, 4, &ink);
    if (status != CLQ_OK) {
        return status;
    }
    if (tjDecompress2(decoder, data, size, ink.data, ink.width, 0, ink.height, TJPF_CMYK, FLAGS)) {
        status = failed(name, decoder);
        goto cleanup;
    }
    for (size_t i = 0; i < (size_t)ink.height * (size_t)ink.width; i++) {
        const uint8_t *cmyk = ink.data + 4 * i;
        uint8_t rgb[3];
        for (int c = 0; c < 3; c++) {
            rgb[c] = (uint8_t)((cmyk[c] * cmyk[3] + 127) / 255);
        }
        clq_image_convert(rgb, 3, image->data + i * (size_t)channels, channels, 1);
    }

cleanup:
    clq_image_free(&ink);
    return status;
}

clq_status clq_jpeg_decode(const char *name, const void *data, size_t size, int channels,
                           clq_image *image) {
    clq_status status = CLQ_OK;
    int width = 0, height = 0, subsampling = 0, colours = 0;
    *image = (clq_image){0};
    tjhandle decoder = tjInitDecompress();
    if (!decoder) {
        return clq_fail(CLQ_NO_MEMORY, "%s: cannot create a JPEG decoder: %s", name,
                        tjGetErrorStr2(NULL));
    }
    if (tjDecompressHeader3(decoder, data, size, &width, &height, &subsampling, &colours)) {
        status = failed(name, decoder);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_image_create(name, height, width, channels, image));
    if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
        status = decode_cmyk(decoder, name, data, size, channels, image);
    } else if (tjDecompress2(decoder, data, size, image->data, width, 0, height,
                             channels == 1 ? TJPF_GRAY : TJPF_RGB, FLAGS)) {
        status = failed(name, decoder);
    }

cleanup:
    if (status != CLQ_OK) {
        clq_image_free(image);
    }
    tjDestroy(decoder);
    return status;
}
