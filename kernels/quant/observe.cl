/* Observers: from what a step saw to the scales of the next. */
#include "codes.h"

/* Widens value's range by `count` reals. NaN counts as infinite, so that it is noticed. */
#define OBSERVE_BODY(ARG, W)                                                                       \
    {                                                                                              \
        const float##W real = LOAD##W(x + i);                                                      \
        RANGE_ADD(W, real == real ? real : (float##W)(INFINITY));                                  \
    }

__kernel void observe_reals(__global const float *x, __global float *range, int value, int count) {
    RANGE_BEGIN;
    FOR_EACH_CODE(count, OBSERVE_BODY, 0);
    RANGE_END(range, value);
}

/* One work-item a value, which brings what was seen of it to whose range it goes by. */
__kernel void observer_join(__global float *seen, __global const int *observer, int values) {
    const int value = get_global_id(0);
    if (value < values && observer[value] >= 0 && observer[value] != value) {
        clq_range_join(seen, observer[value], seen[2 * value], seen[2 * value + 1]);
    }
}

/* One work-item a value. seen, running (values, 2): the largest -x and the largest x of this step,
 * and the observer's; observer (values): whose ranges the value goes by - its own, or those of the
 * value it shares qparams with, so that both compute the same -, or -1 when it is not quantized;
 * limits: as in codes.h.
 * averaging: weight of the new range, or 0 to keep the extremes. */
__kernel void observer_update(__global const float *seen, __global float *running,
                              __global const int *observer, __global float *scale,
                              __global int *zero_point, __global const int *limits, float averaging,
                              int symmetric, int max_shift, int values) {
    const int value = get_global_id(0);
    if (value >= values || observer[value] < 0) {
        return;
    }
    float range[2];
    for (int i = 0; i < 2; i++) {
        const float old = running[2 * value + i], now = seen[2 * observer[value] + i];
        const float kept = old * (1.0f - averaging), added = now * averaging;
        range[i] = averaging > 0.0f ? kept + added : RANGE_MAX(old, now);
        running[2 * value + i] = range[i];
    }
    const int lowest = limits[2 * value], highest = limits[2 * value + 1];
    const float s = clq_range_scale(range[0], range[1], lowest, highest, symmetric, max_shift);
    scale[value] = s;
    zero_point[value] = clq_range_zero_point(range[0], s, lowest, highest, symmetric);
}
