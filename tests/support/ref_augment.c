#include "support/ref_augment.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/include/augment_fields.h"

/* 0..1; black outside of the image. */
static float pixel(const ref_augment_case *of, int n, int y, int x, int c) {
    if (y < 0 || y >= of->height || x < 0 || x >= of->width) {
        return 0;
    }
    return (float)of->images[((n * of->height + y) * of->width + x) * of->channels + c] / 255.0f;
}

static bool in_box(const float *box, int y, int x) {
    return y >= box[0] && y < box[0] + box[2] && x >= box[1] && x < box[1] + box[3];
}

/* ---- colours: values (C) of one pixel ---- */

static double grey_of(const double *v, int channels) {
    if (channels == 3) {
        return 0.2989 * v[0] + 0.587 * v[1] + 0.114 * v[2];
    }
    double sum = 0;
    for (int c = 0; c < channels; c++) {
        sum += v[c];
    }
    return sum / channels;
}

static void blend(double *v, int channels, double other, double factor) {
    for (int c = 0; c < channels; c++) {
        v[c] = fmin(fmax(factor * v[c] + (1 - factor) * other, 0), 1);
    }
}

/* To hue, saturation and value, and back by the six sectors of the hue. */
static void turn_hue(double v[3], double turns) {
    const double high = fmax(v[0], fmax(v[1], v[2])), low = fmin(v[0], fmin(v[1], v[2]));
    if (high == low) {
        return;
    }
    const double d = high - low, saturation = d / high;
    double hue = v[0] == high   ? (v[1] - v[2]) / d
                 : v[1] == high ? 2 + (v[2] - v[0]) / d
                                : 4 + (v[0] - v[1]) / d;
    hue = fmod(hue / 6 + turns + 2, 1) * 6;
    const int sector = (int)hue;
    const double f = hue - sector;
    const double p = high * (1 - saturation), q = high * (1 - saturation * f);
    const double t = high * (1 - saturation * (1 - f));
    const double sectors[6][3] = {{high, t, p}, {q, high, p}, {p, high, t},
                                  {p, q, high}, {t, p, high}, {high, p, q}};
    for (int c = 0; c < 3; c++) {
        v[c] = sectors[sector % 6][c];
    }
}

/* One step on one pixel. */
static void colour_step(double *v, int channels, int step, double amount, double mean) {
    switch (step) {
    case AUGMENT_BRIGHTNESS:
        blend(v, channels, 0, amount);
        break;
    case AUGMENT_CONTRAST:
        blend(v, channels, mean, amount);
        break;
    case AUGMENT_SATURATION:
        blend(v, channels, grey_of(v, channels), amount);
        break;
    case AUGMENT_HUE:
        turn_hue(v, amount);
        break;
    default:
        break;
    }
}

/* Mean grey over the image's box after its first `steps` steps. */
static double mean_grey(const ref_augment_case *of, int n, const float *p, int steps) {
    const float *box = p + AUGMENT_BOX;
    double sum = 0;
    for (int y = (int)box[0]; y < (int)(box[0] + box[2]); y++) {
        for (int x = (int)box[1]; x < (int)(box[1] + box[3]); x++) {
            double v[4];
            for (int c = 0; c < of->channels; c++) {
                v[c] = pixel(of, n, y, x, c);
            }
            for (int s = 0; s < steps; s++) {
                colour_step(v, of->channels, (int)p[AUGMENT_STEPS + s], p[AUGMENT_AMOUNTS + s], 0);
            }
            sum += grey_of(v, of->channels);
        }
    }
    return sum / (box[2] * box[3]);
}

/* ---- geometry ---- */

static int within(double v, double low, double count) {
    return (int)fmin(fmax(v, low), low + count - 1);
}

/* v (C) = the image as shown at (y, x); false: nothing of it. The place is computed in floats, as
 * which side of the box's edge it falls on may hang on the last bit. */
static bool sample(const ref_augment_case *of, int n, const float *p, int y, int x, double *v) {
    const float *m = p + AUGMENT_MATRIX, *box = p + AUGMENT_BOX;
    const float cx = (float)x + 0.5f, cy = (float)y + 0.5f;
    const float across = m[0] * cx + m[1] * cy + m[2], down = m[3] * cx + m[4] * cy + m[5];
    const double left = floor((double)across - 0.5), top = floor((double)down - 0.5);
    const double ax = (double)across - 0.5 - left, ay = (double)down - 0.5 - top;
    for (int c = 0; c < of->channels; c++) {
        v[c] = 0;
        for (int i = 0; i < 4; i++) {
            const double weight = (i % 2 ? ax : 1 - ax) * (i / 2 ? ay : 1 - ay);
            v[c] += weight * (double)pixel(of, n, within(top + i / 2, box[0], box[2]),
                                           within(left + i % 2, box[1], box[3]), c);
        }
    }
    return across >= box[1] && across < box[1] + box[3] && down >= box[0] && down < box[0] + box[2];
}

/* ---- one image: out (OH, OW, C) ---- */

/* Of the image, for channel `c` of out. */
static int channel(const ref_augment_case *of, int c) {
    return of->bgr ? of->channels - 1 - c : c;
}

static void show_general(const ref_augment_case *of, int n, const float *p, float *out) {
    double mean = 0;
    for (int s = 0; s < 4; s++) {
        if (p[AUGMENT_STEPS + s] == AUGMENT_CONTRAST) {
            mean = mean_grey(of, n, p, s);
        }
    }
    for (int y = 0; y < of->out_height; y++) {
        for (int x = 0; x < of->out_width; x++) {
            double v[4];
            const bool inside = sample(of, n, p, y, x, v);
            for (int s = 0; s < 4; s++) {
                colour_step(v, of->channels, (int)p[AUGMENT_STEPS + s], p[AUGMENT_AMOUNTS + s],
                            mean);
            }
            for (int c = 0; c < of->channels; c++) {
                const float value = inside ? of->range * (float)v[channel(of, c)] : 0.0f;
                *out++ = (value - of->mean[c]) / of->std[c];
            }
        }
    }
}

static void show_plain(const ref_augment_case *of, int n, const float *p, float *out) {
    for (int y = 0; y < of->out_height; y++) {
        for (int x = 0; x < of->out_width; x++) {
            const int sy = y + (int)p[AUGMENT_DY];
            const int sx = (p[AUGMENT_FLIP] != 0 ? of->width - 1 - x : x) + (int)p[AUGMENT_DX];
            for (int c = 0; c < of->channels; c++) {
                const float value = pixel(of, n, sy, sx, channel(of, c));
                *out++ =
                    ((of->range == 255 ? rintf(255 * value) : value) - of->mean[c]) / of->std[c];
            }
        }
    }
}

static void show(const ref_augment_case *of, int n, float *out) {
    const float *p = of->params + (1 + n) * AUGMENT_FIELDS;
    (of->general ? show_general : show_plain)(of, n, p, out);
    for (int y = 0; y < of->out_height; y++) {
        for (int x = 0; x < of->out_width; x++) {
            for (int c = 0; c < of->channels && in_box(p + AUGMENT_ERASE, y, x); c++) {
                out[(y * of->out_width + x) * of->channels + c] = 0;
            }
        }
    }
}

void ref_augment(const ref_augment_case *of, float *out) {
    const int size = of->out_height * of->out_width * of->channels;
    float *shown = malloc((size_t)(of->count * size) * sizeof *shown);
    for (int n = 0; shown && n < of->count; n++) {
        show(of, n, shown + n * size);
    }
    for (int n = 0; shown && n < of->batch; n++) {
        const int own = n < of->count ? n : of->count - 1;
        const int partner = (int)of->params[(1 + own) * AUGMENT_FIELDS + AUGMENT_PARTNER];
        for (int i = 0; i < size; i++) {
            const int at = i / of->channels;
            const bool cut =
                in_box(of->params + AUGMENT_CUT, at / of->out_width, at % of->out_width);
            const float keep = cut ? 0 : of->params[AUGMENT_KEEP];
            out[n * size + i] =
                keep * shown[own * size + i] + (1 - keep) * shown[partner * size + i];
        }
    }
    free(shown);
}
