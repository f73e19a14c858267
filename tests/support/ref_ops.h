/* The FP32 operators by plain loop nests, with sums in double. NHWC. */
#ifndef CLQ_REF_OPS_H
#define CLQ_REF_OPS_H

#include <stdbool.h>
#include <stdint.h>

/* ---- batch normalization of x (R, C), then an addition (residual, may be NULL) and a clamp to
 * [0, top] (`top` 0: none) ---- */

typedef struct ref_batch_norm {
    int rows, channels;
    float epsilon, momentum;
    double top;
    const float *x, *gamma, *beta, *residual;
} ref_batch_norm;

/* running_mean and running_var (C) are updated. */
void ref_batch_norm_train(const ref_batch_norm *bn, float *running_mean, float *running_var,
                          float *y);
void ref_batch_norm_infer(const ref_batch_norm *bn, const float *running_mean,
                          const float *running_var, float *y);
/* From dy and y = the forward's output. dresidual may be NULL. */
void ref_batch_norm_grad(const ref_batch_norm *bn, const float *y, const float *dy, float *dx,
                         float *dgamma, float *dbeta, float *dresidual);

/* ---- pooling x (N, IH, IW, C) -> y (N, OH, OW, C) ---- */

typedef struct ref_pool {
    int n, ih, iw, c, oh, ow, kh, kw, sh, sw, pad[4]; /* top, left, bottom, right */
    bool count_include_pad;
    int dh, dw; /* dilation */
} ref_pool;

void ref_max_pool(const ref_pool *pool, const float *x, float *y);
void ref_max_pool_grad(const ref_pool *pool, const float *x, const float *dy, float *dx);
void ref_avg_pool(const ref_pool *pool, const float *x, float *y);
void ref_avg_pool_grad(const ref_pool *pool, const float *dy, float *dx);

/* ---- losses over logits (N, K) with targets (N, K); gradients of the mean ---- */

void ref_softmax_cross_entropy(int n, int k, const float *logits, const float *targets,
                               double smoothing, float *loss, float *gradient);
/* Turns loss and gradient of the cross-entropy into those with a teacher's logits (N, K). */
void ref_distill(int n, int k, const float *logits, const float *teacher, double weight, double t,
                 float *loss, float *gradient);
void ref_mean_squared_error(int n, int k, const float *logits, const float *targets,
                            double smoothing, float *loss, float *gradient);

#endif
