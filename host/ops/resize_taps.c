#include "ops/resize_taps.h"

#include <math.h>
#include <string.h>

enum { MOST_TAPS = 4 };

/* One axis. Coordinates are floats, as ONNX Runtime and PyTorch compute them: nearest then takes
 * the pixels that they take. */
typedef struct axis {
    const clq_resize_attrs *attrs;
    int in, out;
    float scale, box_begin, box_end;
} axis;

static float coordinate(const axis *a, int i) {
    const float x = (float)i, in = (float)a->in, out = (float)a->out;
    switch (a->attrs->coordinates) {
    case CLQ_RESIZE_HALF_PIXEL:
        break;
    case CLQ_RESIZE_HALF_PIXEL_SYMMETRIC: {
        const float whole = a->scale * in; /* OUT, had it not been rounded */
        return in / 2 * (1 - out / whole) + (x + 0.5f) / a->scale - 0.5f;
    }
    case CLQ_RESIZE_PYTORCH_HALF_PIXEL:
        if (a->out == 1) {
            return 0;
        }
        break;
    case CLQ_RESIZE_ALIGN_CORNERS:
        return a->out == 1 ? 0 : x * (in - 1) / (out - 1);
    case CLQ_RESIZE_ASYMMETRIC:
        return x / a->scale;
    case CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5f) / a->scale;
    case CLQ_RESIZE_TF_CROP_AND_RESIZE:
        return a->out == 1 ? 0.5f * (a->box_begin + a->box_end) * (in - 1)
                           : a->box_begin * (in - 1) +
                                 x * (a->box_end - a->box_begin) * (in - 1) / (out - 1);
    }
    return (x + 0.5f) / a->scale - 0.5f;
}

static int within(double x, int in) {
    return x < 0 ? 0 : x > in - 1 ? in - 1 : (int)x;
}

/* A coordinate in the middle between two pixels, up to its own rounding, is in their middle. */
static int nearest(const axis *a, float x) {
    const double middle = 1e-6, below = floor((double)x), beyond = (double)x - below;
    const bool tie = fabs(beyond - 0.5) <= middle;
    switch (a->attrs->rounding) {
    case CLQ_RESIZE_ROUND_PREFER_FLOOR:
        return within(below + (!tie && beyond > 0.5), a->in);
    case CLQ_RESIZE_ROUND_PREFER_CEIL:
        return within(below + (tie || beyond > 0.5), a->in);
    case CLQ_RESIZE_FLOOR:
        return within(below, a->in);
    case CLQ_RESIZE_CEIL:
        return within(ceil((double)x), a->in);
    }
    return 0;
}

/* Keys' cubic convolution at distance d. */
static double cubic(double a, double d) {
    d = fabs(d);
    return d <= 1  ? ((a + 2) * d - (a + 3)) * d * d + 1
           : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
                   : 0;
}

typedef struct output {
    int count, from[MOST_TAPS];
    double weight[MOST_TAPS];
} output;

/* Taps come ascending, so one at the last's place is one that repeats the edge. */
static void add_tap(output *o, int from, double weight) {
    if (o->count > 0 && o->from[o->count - 1] == from) {
        o->weight[o->count - 1] += weight;
    } else {
        o->from[o->count] = from;
        o->weight[o->count++] = weight;
    }
}

static void make_linear(const axis *a, float x, output *o) {
    const double at = fmin(fmax((double)x, 0), a->in - 1), below = floor(at);
    add_tap(o, (int)below, 1 - (at - below));
    if (at > below) {
        add_tap(o, (int)below + 1, at - below);
    }
}

static void make_cubic(const axis *a, float x, output *o) {
    const double below = floor((double)x);
    double sum = 0;
    for (int t = -1; t <= 2; t++) {
        const double at = below + t;
        const bool inside = at >= 0 && at < a->in;
        const double weight = cubic((double)a->attrs->cubic, (double)x - at);
        if (inside || !a->attrs->exclude_outside) {
            add_tap(o, within(at, a->in), weight);
            sum += weight;
        }
    }
    for (int t = 0; a->attrs->exclude_outside && sum != 0 && t < o->count; t++) {
        o->weight[t] /= sum;
    }
}

static void make_output(const axis *a, int i, output *o) {
    const float x = coordinate(a, i);
    const bool beyond = !(x >= 0 && x <= (float)(a->in - 1));
    *o = (output){0};
    if (a->attrs->coordinates == CLQ_RESIZE_TF_CROP_AND_RESIZE && beyond) {
        return;
    }
    switch (a->attrs->mode) {
    case CLQ_RESIZE_NEAREST:
        add_tap(o, nearest(a, x), 1);
        break;
    case CLQ_RESIZE_LINEAR:
        make_linear(a, x, o);
        break;
    case CLQ_RESIZE_CUBIC:
        make_cubic(a, x, o);
        break;
    }
}

static clq_status create(int in, int out, size_t most, clq_resize_taps *taps) {
    taps->in = in;
    taps->out = out;
    taps->first = clq_calloc((size_t)out + 1, sizeof *taps->first);
    taps->from = clq_calloc(most, sizeof *taps->from);
    taps->weight = clq_calloc(most, sizeof *taps->weight);
    return taps->first && taps->from && taps->weight ? CLQ_OK : CLQ_NO_MEMORY;
}

clq_status clq_resize_taps_make(const clq_resize_attrs *attrs, int number, int in, int out,
                                clq_resize_taps *taps) {
    const float scale = attrs->scale[number];
    const axis a = {.attrs = attrs,
                    .in = in,
                    .out = out,
                    .scale = scale > 0 ? scale : (float)out / (float)in,
                    .box_begin = attrs->box_begin[number],
                    .box_end = attrs->box_end[number]};
    CLQ_TRY(create(in, out, (size_t)out * MOST_TAPS, taps));
    for (int i = 0; i < out; i++) {
        output o;
        make_output(&a, i, &o);
        for (int t = 0; t < o.count; t++, taps->count++) {
            taps->from[taps->count] = o.from[t];
            taps->weight[taps->count] = (float)o.weight[t];
        }
        taps->first[i + 1] = taps->count;
    }
    return CLQ_OK;
}

clq_status clq_resize_taps_transpose(const clq_resize_taps *taps, clq_resize_taps *transposed) {
    clq_resize_taps *to = transposed;
    CLQ_TRY(create(taps->out, taps->in, (size_t)taps->count + 1, to));
    to->count = taps->count;
    for (int t = 0; t < taps->count; t++) {
        to->first[taps->from[t] + 1]++;
    }
    for (int i = 0; i < to->out; i++) {
        to->first[i + 1] += to->first[i];
    }
    int *next = clq_calloc((size_t)to->out, sizeof *next);
    if (!next) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < taps->out; i++) {
        for (int t = taps->first[i]; t < taps->first[i + 1]; t++) {
            const int from = taps->from[t], at = to->first[from] + next[from]++;
            to->from[at] = i;
            to->weight[at] = taps->weight[t];
        }
    }
    clq_free(next);
    return CLQ_OK;
}

void clq_resize_taps_free(clq_resize_taps *taps) {
    clq_free(taps->first);
    clq_free(taps->from);
    clq_free(taps->weight);
    memset(taps, 0, sizeof *taps);
}

/* ---- whole weights ---- */

bool clq_resize_weight_bits(const clq_resize_taps taps[2], int *bits) {
    double most[2] = {0, 0};
    for (int axis = 0; axis < 2; axis++) {
        for (int i = 0; i < taps[axis].out; i++) {
            double sum = 0;
            for (int t = taps[axis].first[i]; t < taps[axis].first[i + 1]; t++) {
                sum += fabs((double)taps[axis].weight[t]);
            }
            most[axis] = fmax(most[axis], sum);
        }
    }
    for (*bits = 11; *bits >= 0; --*bits) {
        const double rounded = ldexp(MOST_TAPS, -*bits); /* what rounding adds at most */
        if (255 * (most[0] + rounded) * (most[1] + rounded) * ldexp(1, 2 * *bits) < 0x1p31) {
            return true;
        }
    }
    return false;
}

/* What rounding leaves goes to the largest weight. */
void clq_resize_weight_codes(const clq_resize_taps *taps, int bits, int32_t *codes) {
    for (int i = 0; i < taps->out; i++) {
        double sum = 0;
        int32_t rest = 0;
        int largest = taps->first[i];
        for (int t = taps->first[i]; t < taps->first[i + 1]; t++) {
            sum += (double)taps->weight[t];
            codes[t] = (int32_t)rint(ldexp((double)taps->weight[t], bits));
            rest += codes[t];
            largest = taps->weight[t] > taps->weight[largest] ? t : largest;
        }
        if (taps->first[i] < taps->first[i + 1]) {
            codes[largest] += (int32_t)rint(ldexp(sum, bits)) - rest;
        }
    }
}
