/* Which way of running a convolution is the fastest on a device. */
#ifndef CLQ_BENCH_RACE_H
#define CLQ_BENCH_RACE_H

#include "ops/conv/conv_choice.h"

typedef struct clq_race_result {
    int entrants; /* choices measured, the heuristics' among them */
    bool better;  /* `best` beats the default by more than noise */
    clq_conv_choice best;
    double default_ms, best_ms; /* minima of the final */
} clq_race_result;

/* Runs the candidates of one shape in turn on random data, every launch with its weights out of the
 * caches and its input just written, as in a network. Those that are clearly slower drop out; the
 * default and the fastest other meet in a final that decides by new times: minimum and median must
 * both be better by a margin. About `seconds` long, after the kernels are built. What the device's
 * tuning table says about the shape is as before afterwards. */
clq_status clq_race(clq_device *device, clq_conv_family family, const clq_conv_geometry *geometry,
                    double seconds, uint64_t seed, clq_race_result *result);

#endif
