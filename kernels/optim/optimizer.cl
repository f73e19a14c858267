/* One optimizer step over all parameters of a network, which lie in one flat buffer.
 *
 * w, g, m, v: F32 (n), n a multiple of `unit`. decays[i] says whether the i-th run of `unit` floats has
 * weight decay; a parameter starts at a multiple of `unit`. A work-item updates UNITS_PER_ITEM runs. */
#pragma OPENCL FP_CONTRACT OFF

#ifndef UNITS_PER_ITEM
#define UNITS_PER_ITEM 64 /* 64 runs of 32 floats: 8 KB of each array, 16..256 work well */
#endif

#define FOR_EACH_FLOAT(i, decay)                                                                   \
    for (uint u = get_global_id(0) * UNITS_PER_ITEM, u_end = min(u + UNITS_PER_ITEM, n / unit);    \
         u < u_end; u++)                                                                           \
        for (uint decay = decays[u], i = u * unit, i_end = i + unit; i < i_end; i++)

/* Stochastic gradient descent with momentum m, as in PyTorch's SGD (dampening 0):
 * m = momentum m + (g + weight_decay w);  w -= lr (nesterov ? g + momentum m : m). */
__kernel void optimizer_sgd(__global float *restrict w, __global const float *restrict g,
                            __global float *restrict m, __global const uchar *restrict decays,
                            uint n, uint unit, float lr, float momentum, float weight_decay,
                            int nesterov) {
    FOR_EACH_FLOAT(i, decay) {
        const float step = g[i] + (decay ? weight_decay : 0.0f) * w[i];
        const float velocity = momentum * m[i] + step;
        m[i] = velocity;
        w[i] -= lr * (nesterov ? step + momentum * velocity : velocity);
    }
}

/* Adam (Kingma and Ba, 2015) with L2 weight decay. correction1 = 1 - beta1^t,
 * correction2 = sqrt(1 - beta2^t), t counted from 1. rest1 = 1 - beta1 and rest2 = 1 - beta2 come from the host,
 * which computes them in double: 1 - 0.999f is off by 5e-5. */
__kernel void optimizer_adam(__global float *restrict w, __global const float *restrict g,
                             __global float *restrict m, __global float *restrict v,
                             __global const uchar *restrict decays, uint n, uint unit, float lr,
                             float beta1, float rest1, float beta2, float rest2, float epsilon,
                             float weight_decay, float correction1, float correction2) {
    FOR_EACH_FLOAT(i, decay) {
        const float step = g[i] + (decay ? weight_decay : 0.0f) * w[i];
        const float first = beta1 * m[i] + rest1 * step;
        const float second = beta2 * v[i] + rest2 * step * step;
        m[i] = first;
        v[i] = second;
        w[i] -= lr / correction1 * first / (sqrt(second) / correction2 + epsilon);
    }
}
