/* One optimizer step over all parameters of a network, which lie in one flat buffer.
 *
 * w, g, m, v: F32 (n), n a multiple of `unit`. rules[i] says of the i-th run of `unit` floats whether
 *   it has weight decay (RULE_DECAY), and is of numbers that stay positive, as a step at most halves
 *   them (RULE_POSITIVE); a parameter starts at a multiple of `unit`.
 * average: F32 (n), or null: the moving average of w, which the same pass keeps. It becomes
 *   kept average + rest w, kept + rest = 1; equal to w, it stays so to the bit, as in PyTorch's lerp.
 * check: step_check.h, or null. Its scale multiplies g; when that is 0 nothing happens.
 *
 * Numbers like rest that differ from 1 by little come from the host, which computes them in double:
 * 1 - 0.999f is off by 5e-5. */
#include "step_check.h"

#pragma OPENCL FP_CONTRACT OFF

static inline float averaged(float average, float x, float kept, float rest) {
    const float apart = x - average;
    return rest < 0.5f ? average + rest * apart : x - kept * apart;
}

enum { RULE_DECAY = 1, RULE_POSITIVE = 2 };

/* Runs the block behind it for this work-item's floats i; `rule` is that of i's run. CPU schedule:
 * a work-item does RUNS_PER_ITEM runs. GPU schedule: neighbouring work-items do neighbouring
 * floats. */
#ifdef CLQ_SCHEDULE_CPU
#ifndef RUNS_PER_ITEM
#define RUNS_PER_ITEM 64 /* 64 runs of 32 floats: 8 KB of each array, 16..256 work well */
#endif
#define FOR_EACH_FLOAT(i, rule)                                                                    \
    for (uint u = get_global_id(0) * RUNS_PER_ITEM, u_end = min(u + RUNS_PER_ITEM, n / unit);      \
         u < u_end; u++)                                                                           \
        for (uint rule = rules[u], i = u * unit, i_end = i + unit; i < i_end; i++)
#else
#define FOR_EACH_FLOAT(i, rule)                                                                    \
    for (uint i = get_global_id(0); i < n; i += get_global_size(0))                                \
        for (uint once = 1, rule = rules[i / unit]; once; once = 0)
#endif

/* What every optimizer takes, and what it does before, for each new value, and after. */
#define ARGUMENTS                                                                                  \
    __global float *restrict w, __global const float *restrict g,                                  \
        __global const uchar *restrict rules, __global float *restrict average,                   \
        __global float *check, uint n, uint unit, float kept, float rest, float lr,              \
        float weight_decay
#define BEGIN                                                                                      \
    const float scale = check ? check[STEP_SCALE] : 1.0f;                                   \
    uint largest = 0; /* the bits of |w| order like |w|, NaN last */                               \
    if (scale == 0.0f) {                                                                           \
        return;                                                                                    \
    }
#define SET_PARAMETER(i, expression)                                                               \
    const float moved = (expression);                                                              \
    const float value = (rule & RULE_POSITIVE) && moved < 0.5f * w[i] ? 0.5f * w[i] : moved;       \
    w[i] = value;                                                                                  \
    largest = max(largest, as_uint(fabs(value)));                                                  \
    if (average) {                                                                                 \
        average[i] = averaged(average[i], value, kept, rest);                                      \
    }
#define END                                                                                        \
    if (check && largest >= INFINITY_BITS) {                                                     \
        check[STEP_BROKEN] = 1.0f; /* the same from every work-item */                        \
    }

/* Stochastic gradient descent with momentum m, as in PyTorch's SGD (dampening 0):
 * m = momentum m + (g + weight_decay w);  w -= lr (nesterov ? g + momentum m : m). */
__kernel void optimizer_sgd(ARGUMENTS, __global float *restrict m, float momentum,
                            int nesterov){BEGIN FOR_EACH_FLOAT(i, rule){
    const float step = scale * g[i] + (rule & RULE_DECAY ? weight_decay : 0.0f) * w[i];
const float velocity = momentum * m[i] + step;
m[i] = velocity;
SET_PARAMETER(i, w[i] - lr * (nesterov ? step + momentum * velocity : velocity))
}
END
}

/* Adam (Kingma and Ba, 2015): weight decay is an L2 term of the gradient, or, `decoupled`, shrinks
 * w beside it (AdamW; Loshchilov and Hutter, 2019: w -= lr weight_decay w). correction1 = 1 -
 * beta1^t, correction2 = sqrt(1 - beta2^t), t counted from 1; rest1 = 1 - beta1, rest2 = 1 - beta2.
 */
__kernel void optimizer_adam(ARGUMENTS, __global float *restrict m, __global float *restrict v,
                             int decoupled, float beta1, float rest1, float beta2, float rest2,
                             float epsilon, float correction1, float correction2){
    BEGIN FOR_EACH_FLOAT(i, rule){const float lost =
        (rule & RULE_DECAY ? weight_decay : 0.0f) * w[i];
const float step = scale * g[i] + (decoupled ? 0.0f : lost);
const float first = beta1 * m[i] + rest1 * step;
const float second = beta2 * v[i] + rest2 * step * step;
m[i] = first;
v[i] = second;
SET_PARAMETER(i, w[i] - (decoupled ? lr * lost : 0.0f) -
                     lr / correction1 * first / (sqrt(second) / correction2 + epsilon))
}
END
}

/* ---- averages ---- */

/* average = kept average + rest x, for what the forward pass changes: F32 (n). */
__kernel void optimizer_average(__global const float *restrict x, __global float *restrict average,
                                __global const float *check, uint n, float kept, float rest) {
    const uint i = get_global_id(0);
    if (i < n && !(check && check[STEP_SCALE] == 0.0f)) {
        average[i] = averaged(average[i], x[i], kept, rest);
    }
}

/* Exchanges a and b: F32 (n). */
__kernel void optimizer_swap(__global float *restrict a, __global float *restrict b, uint n) {
    const uint i = get_global_id(0);
    if (i < n) {
        const float kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}
