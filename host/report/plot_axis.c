#include <math.h>
#include <stdio.h>

#include "base/numbers.h"
#include "report/plot.h"

/* The least 1, 2 or 5 times a power of ten that is not under `least`. */
static double nice_step(double least, bool whole) {
    static const double mantissas[] = {1, 2, 5, 10};
    const double power = pow(10, floor(log10(least)));
    double step = 10 * power;
    for (int i = 0; i < 4; i++) {
        if (mantissas[i] * power >= least * (1 - 1e-9)) {
            step = mantissas[i] * power;
            break;
        }
    }
    return whole && step < 1 ? 1 : step;
}

static int decimals_of(double step, double largest) {
    if (largest >= 1e6 || step < 1e-5) {
        return -1;
    }
    const double digits = -floor(log10(step) + 1e-9);
    return digits > 0 ? (int)digits : 0;
}

clq_axis clq_axis_fit(double low, double high, int max_ticks, bool whole, bool tight) {
    clq_axis axis = {0};
    if (!isfinite(low) || !isfinite(high) || low > high) {
        low = 0;
        high = 1;
    }
    /* A span too small for its numbers would give ticks that round to each other. */
    const double least = 1e-9 * fmax(fabs(low), fabs(high));
    if (high - low <= least) {
        const double pad = fmax(whole || low == 0 ? 0.5 : 0.1 * fabs(low), least);
        low -= pad;
        high += pad;
    }
    if (max_ticks < 2) {
        max_ticks = 2;
    }
    axis.step = nice_step((high - low) / (max_ticks - 1), whole);
    if (!tight) {
        low = axis.step * floor(low / axis.step + 1e-9);
        high = fmax(axis.step * ceil(high / axis.step - 1e-9), low + axis.step);
    }
    axis.low = low;
    axis.high = high;
    axis.first = axis.step * ceil(low / axis.step - 1e-9);
    axis.count = (int)floor((high - axis.first) / axis.step + 1e-9) + 1;
    axis.decimals = decimals_of(axis.step, fmax(fabs(low), fabs(high)));
    return axis;
}

double clq_axis_tick(const clq_axis *axis, int index) {
    const double value = axis->first + index * axis->step;
    return fabs(value) < 1e-9 * axis->step ? 0 : value;
}

double clq_axis_place(const clq_axis *axis, double value) {
    return (value - axis->low) / (axis->high - axis->low);
}

void clq_axis_label(const clq_axis *axis, double value, const char *suffix, char *out,
                    size_t size) {
    if (axis->decimals < 0) {
        clq_snprintf(out, size, "%.3g%s", value, suffix);
    } else {
        clq_snprintf(out, size, "%.*f%s", axis->decimals, value, suffix);
    }
}
