/* Two tensors beside each other, and how often values come. All sums are made in the order of the
 * elements, in double. */
#include <math.h>
#include <string.h>

#include "quant/analyze.h"

/* ---- signal and noise ---- */

void clq_signal_add(clq_signal *signal, const float *x, const float *y, size_t count) {
    clq_signal s = *signal;
    for (size_t i = 0; i < count; i++) {
        const double real = x[i], other = y[i], d = real - other;
        s.signal += real * real;
        s.noise += d * d;
        s.product += real * other;
        s.other += other * other;
    }
    *signal = s;
}

double clq_signal_sqnr_db(const clq_signal *signal) {
    return signal->noise == 0 ? INFINITY : 10 * log10(signal->signal / signal->noise);
}

double clq_signal_cosine(const clq_signal *signal) {
    return signal->noise == 0 ? 1 : signal->product / sqrt(signal->signal * signal->other);
}

/* ---- histograms ---- */

enum { HALF = CLQ_VALUE_BINS / 2 };

void clq_spread_begin(clq_spread_sums *sums, const clq_qparams *codes) {
    *sums = (clq_spread_sums){.clip_least = -INFINITY, .clip_most = INFINITY};
    if (codes) {
        const clq_qtype_info *type = clq_qtype_get(codes->type);
        const float scale = codes->scale[0];
        /* Half a step beyond the last code is still rounded to it, not clipped. */
        sums->clip_least = scale * ((float)(type->lowest - codes->zero_point) - 0.5f);
        sums->clip_most = scale * ((float)(type->highest - codes->zero_point) + 0.5f);
    }
}

/* Doubles the limit: of two bins each becomes one. */
static void widen(clq_spread_sums *s) {
    int64_t merged[CLQ_VALUE_BINS] = {0};
    for (int i = 0; i < CLQ_VALUE_BINS; i++) {
        merged[HALF / 2 + i / 2] += s->counts[i];
    }
    memcpy(s->counts, merged, sizeof merged);
    s->limit *= 2;
}

void clq_spread_add(clq_spread_sums *s, const float *x, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double value = x[i];
        if (!isfinite(value)) {
            continue;
        }
        if (s->limit == 0 && value != 0) {
            int exponent;
            (void)frexp(value, &exponent);
            s->limit = ldexp(1, exponent); /* |value| < 2^exponent */
        }
        while (fabs(value) >= s->limit && value != 0) {
            widen(s);
        }
        const int bin = value == 0 ? HALF : HALF + (int)floor(value / s->limit * HALF);
        s->counts[bin]++;
        s->least = s->seen == 0 || x[i] < s->least ? x[i] : s->least;
        s->most = s->seen == 0 || x[i] > s->most ? x[i] : s->most;
        s->clipped += x[i] < s->clip_least || x[i] > s->clip_most;
        s->seen++;
    }
}

void clq_spread_end(const clq_spread_sums *sums, clq_value_histogram *histogram) {
    int first = 0, last = CLQ_VALUE_BINS - 1;
    *histogram = (clq_value_histogram){0};
    if (sums->seen == 0) {
        return;
    }
    while (sums->counts[first] == 0) {
        first++;
    }
    while (sums->counts[last] == 0) {
        last--;
    }
    histogram->width = sums->limit / HALF;
    histogram->low = (first - HALF) * histogram->width;
    histogram->bins = last - first + 1;
    memcpy(histogram->counts, sums->counts + first,
           (size_t)histogram->bins * sizeof *histogram->counts);
}
