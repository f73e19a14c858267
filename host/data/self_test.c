/* Self-test of kernels/data/augment.cl, as built for some channels: whole-pixel crops, or sampling
 * and colours. Places are exact in floats; colours are the same steps in double, which differ by a
 * few roundings of values up to 1, divided by standard deviations down to 1/4. */
#include <math.h>
#include <string.h>

#include "data/augment.h"
#include "data/self_test.h"
#include "device/self_bench.h"

enum { N = 3, B = 4, H = 5, W = 6, OH = 4, OW = 11, MOST = B * OH * OW * CLQ_MAX_CHANNELS };
enum { CLASSES = 5, PARAMS = (1 + N) * AUGMENT_FIELDS };
enum { IMAGES, ROWS, TABLE, OUT, LABELS, TARGETS };

typedef struct shown {
    clq_augment_variant variant;
    uint8_t images[N * H * W * CLQ_MAX_CHANNELS + 1];
    float params[PARAMS];
    clq_augment_options options;
    float table[CLQ_MAX_CHANNELS * 258 + 1];
    float one[N][OH * OW * CLQ_MAX_CHANNELS], expected[MOST];
} shown;

/* ---- reference ---- */

static double code_at(const shown *s, int n, int y, int x, int c) {
    const int channels = s->variant.channels;
    return y < 0 || y >= H || x < 0 || x >= W ? 0 : s->images[((n * H + y) * W + x) * channels + c];
}

static bool in_box(const float *box, int y, int x) {
    return (float)y >= box[0] && (float)y < box[0] + box[2] && (float)x >= box[1] &&
           (float)x < box[1] + box[3];
}

static double grey_of(const double *v, int channels) {
    double sum = 0;
    for (int c = 0; c < channels; c++) {
        sum += v[c] / channels;
    }
    return channels == 3 ? 0.2989 * v[0] + 0.587 * v[1] + 0.114 * v[2] : sum;
}

static void turn_hue(double v[3], double turns) {
    const double high = fmax(v[0], fmax(v[1], v[2])), d = high - fmin(v[0], fmin(v[1], v[2]));
    const double hue = d == 0         ? 0
                       : v[0] == high ? (v[1] - v[2]) / d
                       : v[1] == high ? 2 + (v[2] - v[0]) / d
                                      : 4 + (v[0] - v[1]) / d;
    for (int c = 0; c < 3; c++) {
        const double k = fmod(5 - 2 * c + hue + 6 * turns + 12, 6);
        v[c] = high - d * fmin(fmax(fmin(k, 4 - k), 0), 1);
    }
}

/* The first `count` colour steps. */
static void colour(const shown *s, const float *p, double mean, int count, double *v) {
    const int channels = s->variant.channels;
    for (int i = 0; i < count; i++) {
        const int step = (int)p[AUGMENT_STEPS + i];
        const double f = (double)p[AUGMENT_AMOUNTS + i], grey = grey_of(v, channels);
        if (step == AUGMENT_HUE && channels == 3) {
            turn_hue(v, f);
        } else if (step != AUGMENT_HUE && (step != AUGMENT_SATURATION || channels == 3)) {
            const double other = step == AUGMENT_CONTRAST     ? mean
                                 : step == AUGMENT_SATURATION ? grey
                                                              : 0;
            for (int c = 0; c < channels; c++) {
                v[c] = fmin(fmax(f * v[c] + (1 - f) * other, 0), 1);
            }
        }
    }
}

/* Of an image's box behind its first step; contrast is the second. */
static double mean_grey(const shown *s, int n, const float *p) {
    const float *box = p + AUGMENT_BOX;
    double sum = 0;
    for (int y = (int)box[0]; y < (int)(box[0] + box[2]); y++) {
        for (int x = (int)box[1]; x < (int)(box[1] + box[3]); x++) {
            double v[CLQ_MAX_CHANNELS];
            for (int c = 0; c < s->variant.channels; c++) {
                v[c] = code_at(s, n, y, x, c) / 255;
            }
            colour(s, p, 0, 1, v);
            sum += grey_of(v, s->variant.channels);
        }
    }
    return sum / (double)(box[2] * box[3]);
}

static int tap(double at, float first, float count) {
    return (int)fmin(fmax(at, (double)first), (double)(first + count) - 1);
}

/* v = the image as the matrix shows it at (y, x), 0..1; false: nothing of it. */
static bool sample(const shown *s, int n, const float *p, int y, int x, double *v) {
    const float *m = p + AUGMENT_MATRIX, *box = p + AUGMENT_BOX;
    const float cx = (float)x + 0.5f, cy = (float)y + 0.5f;
    const float across = m[0] * cx + m[1] * cy + m[2], down = m[3] * cx + m[4] * cy + m[5];
    const double left = floor((double)across - 0.5), top = floor((double)down - 0.5);
    const double ax = (double)across - 0.5 - left, ay = (double)down - 0.5 - top;
    for (int c = 0; c < s->variant.channels; c++) {
        v[c] = 0;
        for (int i = 0; i < 4; i++) {
            v[c] += (i % 2 ? ax : 1 - ax) * (i / 2 ? ay : 1 - ay) / 255 *
                    code_at(s, n, tap(top + i / 2, box[0], box[2]),
                            tap(left + i % 2, box[1], box[3]), c);
        }
    }
    return across >= box[1] && across < box[1] + box[3] && down >= box[0] && down < box[0] + box[2];
}

static void show(shown *s, int n) {
    const float *p = s->params + (1 + n) * AUGMENT_FIELDS;
    const clq_normalization *norm = &s->options.normalization;
    const int channels = s->variant.channels;
    const double mean = s->variant.general ? mean_grey(s, n, p) : 0;
    for (int i = 0; i < OH * OW; i++) {
        const int y = i / OW, x = i % OW;
        double v[CLQ_MAX_CHANNELS];
        bool inside = true;
        if (s->variant.general) {
            inside = sample(s, n, p, y, x, v);
            colour(s, p, mean, 4, v);
        }
        for (int c = 0; c < channels; c++) {
            const int from = s->variant.bgr ? channels - 1 - c : c;
            const int column = p[AUGMENT_FLIP] != 0 ? W - 1 - x : x;
            const double value = !inside              ? 0
                                 : s->variant.general ? v[from]
                                                      : code_at(s, n, y + (int)p[AUGMENT_DY],
                                                                column + (int)p[AUGMENT_DX], from) /
                                                            255;
            s->one[n][i * channels + c] =
                in_box(p + AUGMENT_ERASE, y, x)
                    ? 0
                    : (float)((value - (double)norm->mean[c]) / (double)norm->std[c]);
        }
    }
}

/* Images past the last repeat it. */
static void mix(shown *s) {
    const int size = OH * OW * s->variant.channels;
    for (int i = 0; i < B * size; i++) {
        const int n = i / size < N ? i / size : N - 1, at = i % size / s->variant.channels;
        const int partner = (int)s->params[(1 + n) * AUGMENT_FIELDS + AUGMENT_PARTNER];
        const bool cut = in_box(s->params + AUGMENT_CUT, at / OW, at % OW);
        const float keep = cut ? 0 : s->params[AUGMENT_KEEP];
        s->expected[i] = keep * s->one[n][i % size] + (1 - keep) * s->one[partner][i % size];
    }
}

/* ---- the test ---- */

static void describe(shown *s) {
    static const float steps[] = {AUGMENT_BRIGHTNESS, AUGMENT_CONTRAST, AUGMENT_SATURATION,
                                  AUGMENT_HUE};
    static const float amounts[] = {1.25f, 0.5f, 1.5f, 0.125f};
    static const float matrix[] = {0.375f, 0.25f, 0.5f, -0.125f, 1, 0.75f};
    static const float box[] = {1, -1, 3, 6}, erase[] = {1, 2, 2, 3}, cut[] = {2, 5, 1, 4};
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof s->images; i++) {
        s->images[i] = (uint8_t)(clq_self_test_draw(&state) >> 8);
    }
    s->params[AUGMENT_KEEP] = 0.75f;
    s->params[AUGMENT_SHARE] = 0.625f;
    memcpy(s->params + AUGMENT_CUT, cut, sizeof cut);
    for (int n = 0; n < N; n++) {
        float *p = s->params + (1 + n) * AUGMENT_FIELDS;
        p[AUGMENT_DY] = (float)(n - 1);
        p[AUGMENT_DX] = (float)(1 - 2 * n);
        p[AUGMENT_FLIP] = (float)(n % 2);
        p[AUGMENT_PARTNER] = (float)((n + 1) % N);
        memcpy(p + AUGMENT_MATRIX, matrix, sizeof matrix);
        memcpy(p + AUGMENT_BOX, box, sizeof box);
        memcpy(p + AUGMENT_ERASE, erase, n == 1 ? sizeof erase : 0);
        memcpy(p + AUGMENT_STEPS, steps, sizeof steps);
        memcpy(p + AUGMENT_AMOUNTS, amounts, sizeof amounts);
    }
    s->options.channels = s->variant.channels;
    for (int c = 0; c < s->variant.channels; c++) {
        s->options.normalization.mean[c] = 0.25f + 0.125f * (float)c;
        s->options.normalization.std[c] = 0.25f + 0.0625f * (float)c;
        s->table[s->variant.channels * 256 + c] = s->options.normalization.mean[c];
        s->table[s->variant.channels * 257 + c] = s->options.normalization.std[c];
    }
    clq_augment_table(&s->options, s->table);
    s->table[s->variant.channels * 258] = 1; /* the range */
}

#define LAUNCH(b, s, kernel, range, ...)                                                           \
    CLQ_TRY(clq_bench_launch((b), (kernel), (s)->variant.build, (range), (clq_arg[]){__VA_ARGS__}, \
                             sizeof((clq_arg[]){__VA_ARGS__}) / sizeof(clq_arg)))

static clq_status check_targets(clq_self_bench *b, const shown *s) {
    static const int32_t labels[B] = {4, 0, 4, 0};
    float targets[B * CLASSES] = {0};
    for (int n = 0; n < B; n++) {
        const int own = n < N ? n : N - 1;
        targets[n * CLASSES + labels[own]] += 0.625f;
        targets[n * CLASSES + labels[(own + 1) % N]] += 0.375f;
    }
    CLQ_TRY(clq_bench_put(b, LABELS, labels, sizeof labels));
    CLQ_TRY(clq_bench_put(b, TARGETS, NULL, sizeof targets));
    LAUNCH(b, s, "augment_targets", CLQ_RANGE2(CLASSES, B), CLQ_AT(b, ROWS), CLQ_AT(b, LABELS),
           CLQ_AT(b, TARGETS), CLQ_I32(N), CLQ_I32(B), CLQ_I32(CLASSES));
    return clq_bench_floats(b, b->buffers[TARGETS], targets, B * CLASSES, 0, "augment_targets");
}

static clq_status check(clq_self_bench *b, const shown *s) {
    const bool gpu = clq_device_get_info(b->device)->schedule == CLQ_SCHEDULE_GPU;
    const size_t count = (size_t)(B * OH * OW * s->variant.channels), group = s->variant.group;
    CLQ_TRY(clq_bench_put(b, IMAGES, s->images, sizeof s->images));
    CLQ_TRY(clq_bench_put(b, ROWS, s->params, sizeof s->params));
    CLQ_TRY(clq_bench_put(b, TABLE, s->table, sizeof s->table));
    CLQ_TRY(clq_bench_put(b, OUT, NULL, count * sizeof(float)));
    if (s->variant.general) {
        LAUNCH(b, s, "augment_grey", ((clq_range){1, {N * group, 1, 1}, {group, 1, 1}}),
               CLQ_AT(b, IMAGES), CLQ_AT(b, ROWS), CLQ_I32(H), CLQ_I32(W));
    }
    LAUNCH(b, s, "augment", CLQ_RANGE2(gpu ? OH * OW : OH, B), CLQ_AT(b, IMAGES), CLQ_AT(b, ROWS),
           CLQ_AT(b, TABLE), CLQ_AT(b, OUT), CLQ_I32(N), CLQ_I32(B), CLQ_I32(H), CLQ_I32(W),
           CLQ_I32(OH), CLQ_I32(OW));
    CLQ_TRY(clq_bench_floats(b, b->buffers[OUT], s->expected, count, 1e-5, "augment"));
    return check_targets(b, s);
}

static clq_status run_test(clq_device *device, const void *context, bool *right,
                           char wrong[CLQ_WRONG_TEXT]) {
    const clq_augment_variant *variant = context;
    clq_self_bench bench = {.device = device, .right = right, .wrong = wrong};
    shown *s = clq_calloc(1, sizeof *s);
    if (!s) {
        return CLQ_NO_MEMORY;
    }
    *right = true;
    s->variant = *variant;
    describe(s);
    for (int n = 0; n < N; n++) {
        show(s, n);
    }
    mix(s);
    const clq_status status = check(&bench, s);
    clq_bench_clear(&bench);
    clq_free(s);
    return status;
}

clq_status clq_augment_works(clq_device *device, const clq_augment_variant *variant) {
    bool works = true;
    CLQ_TRY(clq_self_test(device, "data/augment.cl", variant->build, run_test, variant, &works));
    return works ? CLQ_OK : clq_self_test_none_left(device, "images");
}
