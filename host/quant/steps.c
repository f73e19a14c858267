/* Weights whose levels are not evenly spaced: powers of two, and sums of two of them. */
#include "quant/steps.h"

#include <math.h>
#include <stdlib.h>

/* Magnitudes of 4 bits, 0 and seven more, as multiples of one step. pow2: 2^0 .. 2^-6 of the
 * largest. apot (Li et al., 1909.13144): sums of one of 0, 1/2, 1/4, 1/16 and one of 0, 1/8. */
enum { MAGNITUDES = 8 };
static const int magnitudes[CLQ_STEPS_COUNT][MAGNITUDES] = {
    [CLQ_STEPS_POW2] = {0, 1, 2, 4, 8, 16, 32, 64},
    [CLQ_STEPS_APOT] = {0, 1, 2, 3, 4, 6, 8, 10},
};

const char *const clq_steps_names[CLQ_STEPS_COUNT] = {"uniform", "pow2", "apot"};

bool clq_has_levels(const clq_quant_config *config, clq_qtype type) {
    return config->weight_steps != CLQ_STEPS_UNIFORM && type == CLQ_Q_S4;
}

int clq_highest_level(clq_weight_steps steps) {
    return magnitudes[steps][MAGNITUDES - 1];
}

int clq_nearest_level(clq_weight_steps steps, float steps_of_weight) {
    const float size = fabsf(steps_of_weight);
    int best = 0;
    for (int i = 1; i < MAGNITUDES; i++) {
        const int level = magnitudes[steps][i];
        if (fabsf(size - (float)level) < fabsf(size - (float)best)) {
            best = level;
        }
    }
    return steps_of_weight < 0 ? -best : best;
}

void clq_set_levels(clq_weight_steps steps, clq_value *w) {
    const int64_t count = clq_shape_count(&w->shape), each = count / w->q.count;
    float *data = w->data;
    for (int64_t i = 0; i < count; i++) {
        const float scale = w->q.scale[i / each];
        data[i] = scale * (float)clq_nearest_level(steps, data[i] / scale);
    }
    w->q.type = CLQ_Q_S8_NARROW;
}
