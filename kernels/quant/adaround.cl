/* AdaRound: which of the two codes next to each weight serves the layer's output best, learned as a
 * number h between 0 (the lower one) and 1. Equations (16) to (18) of docs/quantization.md.
 *
 * v, base: F32 (OC, K): what is learned, and the lower code. w_scale: (OC). lowest, highest: codes
 * of the weights' type. */
#include "codes.h"
#include "rows.h"

/* (16): h = clip(1.2 sigmoid(v) - 0.1, 0, 1) */
#define SIGMOID(W, v) ((float##W)(1.0f) / ((float##W)(1.0f) + exp(-(v))))
#define STRETCH(W, s) ((s)*1.2f - 0.1f)
#define CLIP(W, x) clamp((x), (float##W)(0.0f), (float##W)(1.0f))

/* w = w_scale * clamp(base + h, lowest, highest) */
#define WEIGHTS_BODY(W)                                                                            \
    {                                                                                              \
        const float##W h = CLIP(W, STRETCH(W, SIGMOID(W, LOAD##W(v + j))));                        \
        const float##W code =                                                                      \
            clamp(LOAD##W(base + j) + h, (float##W)(lowest), (float##W)(highest));                 \
        STORE##W(code *s, w + j);                                                                  \
    }

__kernel void adaround_weights(__global const float *v, __global const float *base,
                               __global const float *w_scale, __global float *w, float lowest,
                               float highest, int k) {
    const int channel = CHANNEL;
    const float s = w_scale[channel];
    v += (long)channel * k;
    base += (long)channel * k;
    w += (long)channel * k;
    FOR_EACH_IN_ROW(k, WEIGHTS_BODY);
}

/* (17), (18): from the loss's gradient with respect to w, in `dw`, to that with respect to v:
 * nothing where h or the code is at its end. `weight` is that of the regularizer 1 - |2h - 1|^beta;
 * 0: none. */
#define GRADIENT_BODY(W)                                                                           \
    {                                                                                              \
        const float##W sigmoid = SIGMOID(W, LOAD##W(v + j));                                       \
        const float##W wide = STRETCH(W, sigmoid), h = CLIP(W, wide);                              \
        const float##W code = LOAD##W(base + j) + h;                                               \
        const float##W inside = h * 2.0f - 1.0f;                                                   \
        float##W g = LOAD##W(dw + j) * s;                                                          \
        g = ((code >= lowest) & (code <= highest)) ? g : (float##W)(0.0f);                         \
        if (weight > 0.0f) {                                                                       \
            const float##W steep = powr(fabs(inside), (float##W)(beta - 1.0f)) * slope;            \
            g -= inside < 0.0f ? -steep : steep;                                                   \
        }                                                                                          \
        g *= sigmoid * ((float##W)(1.0f) - sigmoid) * 1.2f;                                        \
        STORE##W(wide == h ? g : (float##W)(0.0f), dw + j);                                        \
    }

__kernel void adaround_gradient(__global float *dw, __global const float *v,
                                __global const float *base, __global const float *w_scale,
                                float weight, float beta, float lowest, float highest, int k) {
    const int channel = CHANNEL;
    const float s = w_scale[channel], slope = 2.0f * weight * beta;
    dw += (long)channel * k;
    v += (long)channel * k;
    base += (long)channel * k;
    FOR_EACH_IN_ROW(k, GRADIENT_BODY);
}

/* The gradient of factor / 2 * (act(z) - y)^2 with respect to z, in its place. */
#define ERROR_BODY(ACT, W)                                                                         \
    {                                                                                              \
        const float##W sum = LOAD##W(z + i);                                                       \
        const float##W cut =                                                                       \
            ACT == ACT_NONE ? sum                                                                  \
                            : clamp(sum, (float##W)(0.0f),                                         \
                                    (float##W)(ACT == ACT_RELU6 ? 6.0f : INFINITY));               \
        const float##W g = (cut - LOAD##W(y + i)) * factor;                                        \
        STORE##W(cut == sum ? g : (float##W)(0.0f), z + i);                                        \
    }

__kernel void adaround_error(__global float *z, __global const float *y, int act, float factor,
                             int count) {
    FOR_EACH_CODE(count, ERROR_BODY, act);
}
