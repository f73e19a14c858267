/* A layer's parameters on codes: weights (OC, K) and biases (OC) to codes, and the factors of (9)
 * and (10).
 *
 *   scale, zero_point          of all activations; x is the layer's input, y its output or -1 when
 *                              that is not quantized
 *   multiplier                 (OC + 16) M of (9); 0 when y is -1
 *   real_multiplier            (OC + 16) x_scale * w_scale; both repeat as codes.h says */
#include "codes.h"
#include "rows.h"

/* ---- scales: (5) ---- */

/* largest (2, 2), from 0: the largest magnitude of all weights is the larger of the first two, that
 * of all biases of the last two; `which` is 0 for weights, 1 for biases. */
#define LARGEST_BODY(ARG, W) RANGE_ADD(W, LOAD##W(w + i));

__kernel void weights_largest(__global const float *w, __global float *largest, int which,
                              int count) {
    RANGE_BEGIN;
    FOR_EACH_CODE(count, LARGEST_BODY, 0);
    RANGE_END(largest, which);
}

/* One scale for all channels. */
__kernel void weights_scale_tensor(__global const float *largest, __global const float *scale,
                                   int x, __global float *w_scale, float highest, int max_shift,
                                   int oc) {
    const int channel = get_global_id(0);
    if (channel < oc) {
        w_scale[channel] =
            clq_weights_scale(RANGE_MAX(largest[0], largest[1]), highest,
                              RANGE_MAX(largest[2], largest[3]), scale[x], max_shift);
    }
}

/* The constant of an elementwise operator: its entry in the table of scales. */
__kernel void constant_scale(__global const float *largest, __global float *scale, int value,
                             float highest, int max_shift) {
    scale[value] = clq_constant_scale(RANGE_MAX(largest[0], largest[1]), highest, max_shift);
}

#define MAGNITUDE_BODY(W) RANGE_ADD(W, LOAD##W(w + j));

/* A scale for each channel. bias may be NULL. */
__kernel void weights_scale_channel(__global const float *w, __global const float *bias,
                                    __global const float *scale, int x, __global float *w_scale,
                                    float highest, int max_shift, int k) {
    RANGE_BEGIN;
    const int channel = CHANNEL;
    w += (long)channel * k;
    FOR_EACH_IN_ROW(k, MAGNITUDE_BODY);
#ifdef CLQ_SCHEDULE_CPU
    const float magnitude =
        RANGE_MAX(RANGE_MAX(low1, high1), clq_max_of_16(RANGE_MAX(low16, high16)));
#else
    atomic_max(&group_[0], as_int(RANGE_MAX(low1, high1)));
    barrier(CLK_LOCAL_MEM_FENCE);
    const float magnitude = as_float(group_[0]);
#endif
    if (IS_FIRST) {
        const float b = bias ? fabs(bias[channel]) : 0.0f;
        w_scale[channel] = clq_weights_scale(magnitude, highest, b, scale[x], max_shift);
    }
}

/* ---- codes: (2) ---- */

static inline void clq_put_multipliers(__global float *multiplier, __global float *real_multiplier,
                                       float w_scale, __global const float *scale, int x, int y,
                                       int channel, int oc) {
    const float real = scale[x] * w_scale;
    const float m = y >= 0 ? clq_divide(real, scale[y]) : 0.0f;
    for (int i = channel; i < oc + 16; i += oc) {
        multiplier[i] = m;
        real_multiplier[i] = real;
    }
}

/* The factors alone, for codes that came from the host. */
__kernel void layer_multipliers(__global const float *w_scale, __global const float *scale, int x,
                                int y, __global float *multiplier, __global float *real_multiplier,
                                int oc) {
    const int channel = get_global_id(0);
    if (channel < oc) {
        clq_put_multipliers(multiplier, real_multiplier, w_scale[channel], scale, x, y, channel,
                            oc);
    }
}

#define CODES_BODY(W)                                                                              \
    {                                                                                              \
        const float##W q = clq_quantize_code##W(LOAD##W(w + j), s, 0.0f, lowest, highest);         \
        STORE##W(q, codes + j);                                                                    \
        if (reals) {                                                                               \
            STORE##W(q *s, reals + j);                                                             \
        }                                                                                          \
    }

/* lowest, highest: codes of the weights' type. reals: w_scale * code, or NULL. bias and bias_codes may both be NULL. */
__kernel void quantize_weights(__global const float *w, __global const float *bias,
                               __global const float *w_scale, __global const float *scale, int x,
                               int y, __global float *codes, __global float *reals,
                               __global float *bias_codes, __global float *multiplier,
                               __global float *real_multiplier, float lowest, float highest, int oc, int k) {
    const int channel = CHANNEL;
    const float s = w_scale[channel];
    if (IS_FIRST) {
        clq_put_multipliers(multiplier, real_multiplier, s, scale, x, y, channel, oc);
        if (bias) {
            const float unit = scale[x] * s;
            bias_codes[channel] = clq_bias_code(bias[channel], unit);
        }
    }
    w += (long)channel * k;
    codes += (long)channel * k;
    if (reals) {
        reals += (long)channel * k;
    }
    FOR_EACH_IN_ROW(k, CODES_BODY);
}

/* ---- backward: dw came as sum of (q_x - z_x) g; (14) wants it times x_scale, and 0 where the
 * weight's code was clamped, which only rounded or given scales (`may_clip`) bring about ---- */

#define GRADIENT_BODY(W)                                                                           \
    {                                                                                              \
        float##W g = LOAD##W(dw + j) * x_scale;                                                    \
        if (may_clip) {                                                                            \
            const float##W q = clq_quantize_code##W(LOAD##W(w + j), s, 0.0f, lowest - 1.0f, highest + 1.0f); \
            g = ((q >= lowest) & (q <= highest)) ? g : (float##W)(0.0f);                           \
        }                                                                                          \
        STORE##W(g, dw + j);                                                                       \
    }

__kernel void weights_gradient(__global float *dw, __global const float *w,
                               __global const float *w_scale, __global const float *scale, int x,
                               int may_clip, float lowest, float highest, int k) {
    const int channel = CHANNEL;
    const float s = w_scale[channel];
    const float x_scale = scale[x];
    dw += (long)channel * k;
    w += (long)channel * k;
    FOR_EACH_IN_ROW(k, GRADIENT_BODY);
}

/* ---- scales that are learned: (20) and (23). The channels' lie in `learned` from `at` on, or one
 * for all channels does ---- */

/* largest: as weights_largest left it; for `one` scale only. */
__kernel void weights_scale_learned(__global const float *learned, __global const float *bias,
                                    __global const float *largest, __global const float *scale,
                                    int x, __global float *w_scale, int at, int one, int max_shift,
                                    int oc) {
    const int channel = get_global_id(0);
    if (channel < oc) {
        const float b = one ? RANGE_MAX(largest[2], largest[3]) : bias ? fabs(bias[channel]) : 0.0f;
        w_scale[channel] =
            clq_learned_weights_scale(learned[at + (one ? 0 : channel)], b, scale[x], max_shift);
    }
}

#define LEARNED_GRADIENT_BODY(W)                                                                   \
    {                                                                                              \
        const float##W g = LOAD##W(dw + j) * x_scale;                                              \
        const float##W v = clq_divide##W(LOAD##W(w + j), (float##W)(s));                           \
        const float##W c = CLQ_AT_MOST(CLQ_AT_LEAST(v, (float##W)(lowest)), (float##W)(highest));  \
        const float##W rounding = clq_clamp_code##W(c, 0.0f, lowest, highest) - v;                 \
        sum##W += g * (v == c ? rounding : c);                                                     \
        STORE##W(v == c ? g : (float##W)(0.0f), dw + j);                                           \
    }

/* As weights_gradient; `gradient` from `to` on becomes `factor` times that of the channels' scales.
 * A scale that follows from a bias does not follow its entry in `learned`. */
__kernel void weights_gradient_learned(__global float *dw, __global const float *w,
                                       __global const float *w_scale, __global const float *learned,
                                       int at, int one, __global const float *scale, int x,
                                       __global float *gradient, int to, float factor,
                                       int max_shift, float lowest, float highest, int k) {
#ifdef CLQ_SCHEDULE_CPU
    float16 sum16 = 0.0f;
#else
    __local float group_sums[64];
#endif
    float sum1 = 0.0f;
    const int channel = CHANNEL;
    const float s = w_scale[channel], entry = learned[at + (one ? 0 : channel)];
    const float x_scale = scale[x];
    dw += (long)channel * k;
    w += (long)channel * k;
    FOR_EACH_IN_ROW(k, LEARNED_GRADIENT_BODY);
#ifdef CLQ_SCHEDULE_CPU
    const float8 a = sum16.lo + sum16.hi;
    const float4 b = a.lo + a.hi;
    sum1 += b.x + b.y + b.z + b.w;
#else
    const int item = get_local_id(0);
    group_sums[item] = sum1;
    for (int half_ = 32; half_ > 0; half_ /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < half_) {
            group_sums[item] += group_sums[item + half_];
        }
    }
    sum1 = group_sums[0];
#endif
    if (IS_FIRST) {
        const float follows = clq_learned_weights_scale(entry, 0.0f, 1.0f, max_shift);
        gradient[to + channel] = s == follows ? sum1 * factor * clq_divide(s, entry) : 0.0f;
    }
}

/* One scale for all channels: its gradient is the sum of theirs, in their order. */
__kernel void weights_gradient_tensor(__global const float *channels, __global float *gradient,
                                      int to, int oc) {
    float sum = 0.0f;
    for (int c = 0; c < oc; c++) {
        sum += channels[c];
    }
    gradient[to] = sum;
}
