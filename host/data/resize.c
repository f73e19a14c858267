/* Scaling in two passes, columns then rows. Shrinking widens the filter, so that its result does
 * not alias and every source pixel counts; only CLQ_LINEAR, below, is made otherwise. Weights are
 * computed in double and rounded to 22 bits; the rest is integer. Only what the crop shows is
 * computed. */
#include <math.h>
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

/* Of the distance in source pixels, or in output pixels where the filter widens. */
static double triangle(double x) {
    x = x < 0 ? -x : x;
    return x < 1 ? 1 - x : 0;
}

/* Keys 1981 with a = -0.5. */
static double cubic(double x) {
    x = x < 0 ? -x : x;
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

typedef struct filter {
    double (*weight)(double); /* NULL: the pixel in which the centre lies, and no other */
    double support;           /* weights are 0 farther out */
} filter;

static const filter filters[CLQ_INTERPOLATIONS] = {
    [CLQ_BILINEAR] = {triangle, 1},
    [CLQ_BICUBIC] = {cubic, 2},
    [CLQ_NEAREST] = {NULL, 0},
};

/* To the nearest, halves away from 0. */
static int32_t round_weight(double weight) {
    const double scaled = weight * (1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

/* The source pixels and weights, of `from` on the axis, for an output pixel with this centre. */
static void weigh_axis(const filter *f, double wide, double centre, int from, int *first_out,
                       int *used, double *real, int32_t *weights) {
    const double low = centre - f->support * wide + 0.5, high = centre + f->support * wide + 0.5;
    const int first = low > 0 ? (int)low : 0;
    const int end = high < from ? (int)high : from;
    double sum = 0;
    for (int k = first; k < end; k++) {
        real[k - first] = f->weight((k + 0.5 - centre) / wide);
        sum += real[k - first];
    }
    *first_out = first;
    *used = end - first;
    for (int k = 0; k < end - first; k++) {
        weights[k] = round_weight(real[k] / sum);
    }
}

/* Output pixels offset .. offset + count - 1 of an axis scaled from `from` to `to` pixels. */
static clq_status axis_create(const filter *f, int from, int64_t to, int64_t offset, int count,
                              axis *a) {
    const double scale = (double)from / (double)to;
    const double wide = scale > 1 ? scale : 1; /* unit of the filter: source pixels */
    *a = (axis){.count = count, .taps = (int)(f->support * wide) * 2 + 3};
    a->first = clq_calloc((size_t)count, sizeof *a->first);
    a->used = clq_calloc((size_t)count, sizeof *a->used);
    a->weights = clq_calloc((size_t)count * (size_t)a->taps, sizeof *a->weights);
    double *real = clq_calloc((size_t)a->taps, sizeof *real);
    if (!a->first || !a->used || !a->weights || !real) {
        clq_free(real);
        return CLQ_NO_MEMORY;
    }
    double nearest = 0.5 * scale; /* summed up as PIL does: a centre may fall between two pixels */
    for (int64_t i = 0; i < offset; i++) {
        nearest += scale;
    }
    for (int i = 0; i < count; i++) {
        int32_t *weights = a->weights + (size_t)i * (size_t)a->taps;
        const double centre = ((double)(offset + i) + 0.5) * scale;
        if (f->weight) {
            weigh_axis(f, wide, centre, from, &a->first[i], &a->used[i], real, weights);
        } else {
            a->first[i] = nearest < from ? (int)nearest : from - 1;
            a->used[i] = 1;
            weights[0] = 1 << WEIGHT_BITS;
            nearest += scale;
        }
    }
    clq_free(real);
    return CLQ_OK;
}

static uint8_t round_weighted(int64_t sum) {
    const int64_t value = sum + (1 << (WEIGHT_BITS - 1));
    return value < 0                              ? 0
           : value >= (int64_t)256 << WEIGHT_BITS ? 255
                                                  : (uint8_t)(value >> WEIGHT_BITS);
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

/* ---- between the four nearest pixels, as OpenCV's INTER_LINEAR ---- */

/* The two source pixels of an output pixel on one axis, and their weights of 11 bits. */
typedef struct between {
    int first, second;
    int32_t weights[2];
} between;

/* `ends`: beyond the outermost centres there is but the outermost pixel; else it counts twice,
 * which rounds otherwise. */
static between place(int from, int64_t to, int64_t at, bool ends) {
    const double scale = 1 / ((double)to / (double)from);
    const float centre = (float)(((double)at + 0.5) * scale - 0.5);
    int pixel = (int)floorf(centre);
    float part = centre - (float)pixel;
    if (ends && (pixel < 0 || pixel >= from - 1)) {
        pixel = pixel < 0 ? 0 : from - 1;
        part = 0;
    }
    return (between){.first = pixel < 0 ? 0 : pixel,
                     .second = pixel + 1 < from ? pixel + 1 : from - 1,
                     .weights = {(int32_t)lrintf((1 - part) * 2048), (int32_t)lrintf(part * 2048)}};
}

/* The sum of both axes loses bits where OpenCV's does, and is rounded once. */
static uint8_t mix(const uint8_t *above, const uint8_t *below, const between *x, const between *y,
                   size_t channels, size_t c) {
    const size_t left = (size_t)x->first * channels + c, right = (size_t)x->second * channels + c;
    const int32_t top = above[left] * x->weights[0] + above[right] * x->weights[1];
    const int32_t bottom = below[left] * x->weights[0] + below[right] * x->weights[1];
    return (uint8_t)((((y->weights[0] * (top >> 4)) >> 16) +
                      ((y->weights[1] * (bottom >> 4)) >> 16) + 2) >>
                     2);
}

/* The window of height x width at (top, left) of the image scaled to to_h x to_w. */
static clq_status scale_linear(const clq_image *image, int64_t to_h, int64_t to_w, int64_t top,
                               int64_t left, int height, int width, uint8_t *out) {
    const size_t channels = (size_t)image->channels, row = (size_t)image->width * channels;
    between *columns = clq_calloc((size_t)width, sizeof *columns);
    if (!columns) {
        return CLQ_NO_MEMORY;
    }
    for (int x = 0; x < width; x++) {
        columns[x] = place(image->width, to_w, left + x, true);
    }
    for (int y = 0; y < height; y++) {
        const between rows = place(image->height, to_h, top + y, false);
        for (int x = 0; x < width; x++) {
            for (size_t c = 0; c < channels; c++) {
                *out++ =
                    mix(image->data + (size_t)rows.first * row,
                        image->data + (size_t)rows.second * row, &columns[x], &rows, channels, c);
            }
        }
    }
    clq_free(columns);
    return CLQ_OK;
}

/* Half of `extra`, halves to even. */
static int64_t centre_offset(int64_t extra) {
    int64_t half = extra / 2;
    return extra % 2 ? half + half % 2 : half;
}

clq_status clq_image_fit(const clq_image *image, const clq_resize *resize, int height, int width,
                         uint8_t *out) {
    const int h = image->height, w = image->width, shorter = resize->shorter;
    const filter *f = &filters[resize->interpolation];
    int64_t to_h = resize->height, to_w = resize->width;
    if (shorter) {
        to_h = h <= w ? shorter : (int64_t)shorter * h / w;
        to_w = h <= w ? (int64_t)shorter * w / h : shorter;
    }
    if (h == height && w == width && h == to_h && w == to_w) {
        memcpy(out, image->data, (size_t)h * (size_t)w * (size_t)image->channels);
        return CLQ_OK;
    }
    if (to_h < height || to_w < width) {
        return clq_fail(CLQ_USAGE,
                        "an image of %d x %d pixels is scaled to %lld x %lld, too small to cut "
                        "%d x %d out",
                        w, h, (long long)to_w, (long long)to_h, width, height);
    }
    const int64_t top = centre_offset(to_h - height), left = centre_offset(to_w - width);
    if (resize->interpolation == CLQ_LINEAR) {
        return scale_linear(image, to_h, to_w, top, left, height, width, out);
    }
    axis rows = {0}, columns = {0};
    clq_status status;
    CLQ_GOTO(status, cleanup, axis_create(f, h, to_h, top, height, &rows));
    CLQ_GOTO(status, cleanup, axis_create(f, w, to_w, left, width, &columns));
    status = scale_and_crop(image, &rows, &columns, out);

cleanup:
    axis_free(&rows);
    axis_free(&columns);
    return status;
}
