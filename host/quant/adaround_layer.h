/* One layer's rounding, learned. */
#ifndef CLQUANT_QUANT_ADAROUND_LAYER_H
#define CLQUANT_QUANT_ADAROUND_LAYER_H

#include <clquant/quant.h>

#include "base/progress.h"
#include "ops/conv/conv_geometry.h"

/* A layer, and mini-batches of what it reads and should make, on the device. */
typedef struct clq_rounding {
    clq_device *device;
    clq_conv_geometry geometry; /* of a mini-batch */
    clq_act act;
    const clq_qtype_info *type; /* of the weights */
    size_t k;                   /* weights of an output channel */
    const float *w;             /* (OC, K) */
    float *scale;               /* (OC), owned */
    const float *bias;          /* (OC), or NULL */
    clq_buffer **x, **y;        /* (count), owned: F32 of geometry's input and output */
    int count;                  /* mini-batches */
    int held;                   /* the last of them, that learning does not see */
    double nearest_loss;        /* of the nearest codes, by clq_rounding_error; above 0 */
} clq_rounding;

/* Learns codes (OC, K), each one of the two next to w / scale, within the type. `progress` shows
 * steps, of which `done` were done before. */
clq_status clq_rounding_learn(const clq_rounding *rounding, int iterations, clq_progress *progress,
                              int64_t done, float *codes);
/* How far the layer's output is off with weights w (OC, K), on the mini-batches that are held back
 * (all, when none is). error: the root of its mean square beside that of what should come out;
 * loss: squares, summed up over channels, as a mean over pixels. */
clq_status clq_rounding_error(const clq_rounding *rounding, const float *w, double *error,
                              double *loss);
void clq_rounding_clear(clq_rounding *rounding);

#endif
