/* Bilinear scaling in two passes, columns then rows. Shrinking widens the triangle filter to the
 * scale, so every source pixel counts (area-like antialiasing). Weights are computed in double and
 * rounded to 22 bits; the rest is integer. Only what the crop shows is computed. */
#include <string.h>

#include "base/checked.h"
#include "data/image.h"

enum { WEIGHT_BITS = 22 };

/* The source pixels and weights of each output pixel of one axis. */
typedef struct axis {
    int count;        /* output pixels */
    int taps;         /* room for weights of each */
    int *first;       /* (count): first source pixel */
    int *used;        /* (count): how many */
    int32_t *weights; /* (count, taps) */
} axis;

static void axis_free(axis *a) {
    clq_free(a->first);
    clq_free(a->used);
    clq_free(a->weights);
}

static double triangle(double x) {
    x = x < 0 ? -x : x;
    return x < 1 ? 1 - x : 0;
}

/* Output pixels offset .. offset + count - 1 of an axis scaled from `from` to `to` pixels. */
static clq_status axis_create(int from, int64_t to, int64_t offset, int count, axis *a) {
    double scale = (double)from / (double)to;
    double support = scale > 1 ? scale : 1; /* half-width of the filter in source pixels */
    *a = (axis){.count = count, .taps = (int)support * 2 + 3};
    a->first = clq_calloc((size_t)count, sizeof *a->first);
    a->used = clq_calloc((size_t)count, sizeof *a->used);
    a->weights = clq_calloc((size_t)count * (size_t)a->taps, sizeof *a->weights);
    double *real = clq_calloc((size_t)a->taps, sizeof *real);
    if (!a->first || !a->used || !a->weights || !real) {
        clq_free(real);
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < count; i++) {
        double centre = ((double)(offset + i) + 0.5) * scale;
        double low = centre - support + 0.5, high = centre + support + 0.5;
        int first = low > 0 ? (int)low : 0;
        int end = high < from ? (int)high : from;
        double sum = 0;
        for (int k = first; k < end; k++) {
            real[k - first] = triangle((k + 0.5 - centre) / support);
            sum += real[k - first];
        }
        a->first[i] = first;
        a->used[i] = end - first;
        for (int k = 0; k < end - first; k++) {
            a->weights[(size_t)i * (size_t)a->taps + (size_t)k] =
                (int32_t)(real[k] / sum * (1 << WEIGHT_BITS) + 0.5);
        }
    }
    clq_free(real);
    return CLQ_OK;
}

static uint8_t round_weighted(int64_t sum) {
    int64_t value = (sum + (1 << (WEIGHT_BITS - 1))) >> WEIGHT_BITS;
    return value > 255 ? 255 : (uint8_t)value;
}

/* Weighted sums of `used` elements, `stride` apart, for `count` neighbouring elements. */
static void weigh(const uint8_t *from, size_t stride, const int32_t *weights, int used, int count,
                  uint8_t *to) {
    for (int i = 0; i < count; i++) {
        int64_t sum = 0;
        for (int k = 0; k < used; k++) {
            sum += (int64_t)weights[k] * from[(size_t)k * stride + (size_t)i];
        }
        to[i] = round_weighted(sum);
    }
}

static clq_status scale_and_crop(const clq_image *image, const axis *rows, const axis *columns,
                                 uint8_t *out) {
    const size_t c = (size_t)image->channels;
    const int top = rows->first[0];
    const int bottom = rows->first[rows->count - 1] + rows->used[rows->count - 1];
    const size_t row = (size_t)columns->count * c;
    uint8_t *narrow = clq_calloc((size_t)(bottom - top), row); /* (rows, size, channels) */
    if (!narrow) {
        return CLQ_NO_MEMORY;
    }
    for (int y = top; y < bottom; y++) {
        const uint8_t *from = image->data + (size_t)y * (size_t)image->width * c;
        for (int x = 0; x < columns->count; x++) {
            weigh(from + (size_t)columns->first[x] * c, c,
                  columns->weights + (size_t)x * (size_t)columns->taps, columns->used[x], (int)c,
                  narrow + (size_t)(y - top) * row + (size_t)x * c);
        }
    }
    for (int y = 0; y < rows->count; y++) {
        weigh(narrow + (size_t)(rows->first[y] - top) * row, row,
              rows->weights + (size_t)y * (size_t)rows->taps, rows->used[y], (int)row,
              out + (size_t)y * row);
    }
    clq_free(narrow);
    return CLQ_OK;
}

/* Half of `extra`, halves to even. */
static int64_t centre_offset(int64_t extra) {
    int64_t half = extra / 2;
    return extra % 2 ? half + half % 2 : half;
}

clq_status clq_image_fit(const clq_image *image, int resize, int size, uint8_t *out) {
    const int h = image->height, w = image->width;
    if (h == size && w == size) {
        memcpy(out, image->data, (size_t)h * (size_t)w * (size_t)image->channels);
        return CLQ_OK;
    }
    int64_t height = h <= w ? resize : (int64_t)resize * h / w;
    int64_t width = h <= w ? (int64_t)resize * w / h : resize;
    axis rows = {0}, columns = {0};
    clq_status status;
    CLQ_GOTO(status, cleanup, axis_create(h, height, centre_offset(height - size), size, &rows));
    CLQ_GOTO(status, cleanup, axis_create(w, width, centre_offset(width - size), size, &columns));
    status = scale_and_crop(image, &rows, &columns, out);

cleanup:
    axis_free(&rows);
    axis_free(&columns);
    return status;
}
