#include "quant/observer.h"

#include "quant/report.h"

const char *const clq_observer_names[CLQ_OBSERVER_COUNT] = {"minmax", "moving_average"};

/* ---- the largest -x and the largest x, both >= 0 ---- */

static void average(float *kept, const float *seen, float weight) {
    for (int i = 0; i < 2; i++) {
        kept[i] = kept[i] * (1.0f - weight) + seen[i] * weight;
    }
}

static void extremes(const float *state, float *low, float *high) {
    *low = state[0];
    *high = state[1];
}

static const clq_observer observers[CLQ_OBSERVER_COUNT] = {
    [CLQ_OBSERVER_MIN_MAX] = {2, "observe_reals", NULL, extremes},
    [CLQ_OBSERVER_MOVING_AVERAGE] = {2, "observe_reals", average, extremes},
};

const clq_observer *clq_observer_get(clq_observer_kind kind) {
    return &observers[kind];
}
