#include "support/ref_ops.h"

#include <math.h>
#include <string.h>

/* ---- batch normalization ---- */

static void statistics(const ref_batch_norm *bn, int c, double *mean, double *var) {
    double sum = 0, squares = 0;
    for (int r = 0; r < bn->rows; r++) {
        sum += bn->x[r * bn->channels + c];
    }
    *mean = sum / bn->rows;
    for (int r = 0; r < bn->rows; r++) {
        const double d = bn->x[r * bn->channels + c] - *mean;
        squares += d * d;
    }
    *var = squares / bn->rows;
}

static void normalize(const ref_batch_norm *bn, int c, double mean, double var, float *y) {
    for (int r = 0; r < bn->rows; r++) {
        const int at = r * bn->channels + c;
        double v = (bn->x[at] - mean) / sqrt(var + bn->epsilon) * bn->gamma[c] + bn->beta[c];
        v += bn->residual ? bn->residual[at] : 0;
        if (bn->top > 0) {
            v = fmin(fmax(v, 0), bn->top);
        }
        y[at] = (float)v;
    }
}

void ref_batch_norm_train(const ref_batch_norm *bn, float *running_mean, float *running_var,
                          float *y) {
    for (int c = 0; c < bn->channels; c++) {
        double mean, var;
        statistics(bn, c, &mean, &var);
        normalize(bn, c, mean, var, y);
        const double unbiased = var * bn->rows / (bn->rows - 1), m = bn->momentum;
        running_mean[c] = (float)((1 - m) * running_mean[c] + m * mean);
        running_var[c] = (float)((1 - m) * running_var[c] + m * unbiased);
    }
}

void ref_batch_norm_infer(const ref_batch_norm *bn, const float *running_mean,
                          const float *running_var, float *y) {
    for (int c = 0; c < bn->channels; c++) {
        normalize(bn, c, running_mean[c], running_var[c], y);
    }
}

void ref_batch_norm_grad(const ref_batch_norm *bn, const float *y, const float *dy, float *dx,
                         float *dgamma, float *dbeta, float *dresidual) {
    for (int c = 0; c < bn->channels; c++) {
        double mean, var, sum_g = 0, sum_gx = 0;
        statistics(bn, c, &mean, &var);
        const double invstd = 1 / sqrt(var + bn->epsilon);
        for (int pass = 0; pass < 2; pass++) {
            for (int r = 0; r < bn->rows; r++) {
                const int at = r * bn->channels + c;
                const bool through = bn->top == 0 || (y[at] > 0 && y[at] < bn->top);
                const double g = through ? dy[at] : 0, xhat = (bn->x[at] - mean) * invstd;
                if (pass == 0) {
                    sum_g += g;
                    sum_gx += g * xhat;
                    continue;
                }
                dx[at] = (float)(bn->gamma[c] * invstd *
                                 (g - sum_g / bn->rows - xhat * sum_gx / bn->rows));
                if (dresidual) {
                    dresidual[at] = (float)g;
                }
            }
        }
        dgamma[c] = (float)sum_gx;
        dbeta[c] = (float)sum_g;
    }
}

/* ---- pooling ---- */

static int input_at(const ref_pool *p, int n, int h, int w, int c) {
    return ((n * p->ih + h) * p->iw + w) * p->c + c;
}

static int output_at(const ref_pool *p, int n, int h, int w, int c) {
    return ((n * p->oh + h) * p->ow + w) * p->c + c;
}

/* Calls visit for every (output, input pixel of its window) pair; `first` opens an output's window.
 */
typedef void (*visitor)(const ref_pool *p, int out, int in, int h, int w, bool first,
                        void *context);

static void visit_windows(const ref_pool *p, visitor visit, void *context) {
    for (int n = 0; n < p->n; n++) {
        for (int i = 0; i < p->oh * p->ow * p->c; i++) {
            const int c = i % p->c, w = i / p->c % p->ow, h = i / p->c / p->ow;
            bool first = true;
            for (int k = 0; k < p->kh * p->kw; k++) {
                const int ih = h * p->sh - p->pad[0] + k / p->kw * p->dh;
                const int iw = w * p->sw - p->pad[1] + k % p->kw * p->dw;
                if (ih >= 0 && ih < p->ih && iw >= 0 && iw < p->iw) {
                    visit(p, output_at(p, n, h, w, c), input_at(p, n, ih, iw, c), h, w, first,
                          context);
                    first = false;
                }
            }
        }
    }
}

typedef struct max_state {
    const float *x;
    float *y;
    int *where;
} max_state;

static void visit_max(const ref_pool *p, int out, int in, int h, int w, bool first, void *context) {
    max_state *s = context;
    (void)p, (void)h, (void)w;
    if (first || s->x[in] > s->y[out]) {
        s->y[out] = s->x[in];
        s->where[out] = in;
    }
}

void ref_max_pool(const ref_pool *p, const float *x, float *y) {
    int where[p->n * p->oh * p->ow * p->c];
    max_state state = {x, y, where};
    visit_windows(p, visit_max, &state);
}

void ref_max_pool_grad(const ref_pool *p, const float *x, const float *dy, float *dx) {
    const int outputs = p->n * p->oh * p->ow * p->c;
    int where[outputs];
    float y[outputs];
    max_state state = {x, y, where};
    visit_windows(p, visit_max, &state);
    memset(dx, 0, sizeof *dx * (size_t)(p->n * p->ih * p->iw * p->c));
    for (int i = 0; i < outputs; i++) {
        dx[where[i]] += dy[i];
    }
}

/* Pixels that count in the mean along one axis. */
static int axis_count(int out, int stride, int before, int after, int kernel, int dilation,
                      int size, bool include_pad) {
    const int start = out * stride - before;
    int count = 0;
    for (int k = 0; k < kernel; k++) {
        const int at = start + k * dilation;
        count += include_pad ? at < size + after : at >= 0 && at < size;
    }
    return count;
}

static double window_count(const ref_pool *p, int h, int w) {
    return (double)axis_count(h, p->sh, p->pad[0], p->pad[2], p->kh, p->dh, p->ih,
                              p->count_include_pad) *
           axis_count(w, p->sw, p->pad[1], p->pad[3], p->kw, p->dw, p->iw, p->count_include_pad);
}

typedef struct avg_state {
    const float *from;
    double *sum;
} avg_state;

static void visit_avg(const ref_pool *p, int out, int in, int h, int w, bool first, void *context) {
    avg_state *s = context;
    (void)first;
    s->sum[out] += s->from[in] / window_count(p, h, w);
}

static void visit_avg_grad(const ref_pool *p, int out, int in, int h, int w, bool first,
                           void *context) {
    avg_state *s = context;
    (void)first;
    s->sum[in] += s->from[out] / window_count(p, h, w);
}

static void round_sums(const double *sum, int count, float *out) {
    for (int i = 0; i < count; i++) {
        out[i] = (float)sum[i];
    }
}

void ref_avg_pool(const ref_pool *p, const float *x, float *y) {
    const int count = p->n * p->oh * p->ow * p->c;
    double sum[count];
    avg_state state = {x, sum};
    memset(sum, 0, sizeof sum);
    visit_windows(p, visit_avg, &state);
    round_sums(sum, count, y);
}

void ref_avg_pool_grad(const ref_pool *p, const float *dy, float *dx) {
    const int count = p->n * p->ih * p->iw * p->c;
    double sum[count];
    avg_state state = {dy, sum};
    memset(sum, 0, sizeof sum);
    visit_windows(p, visit_avg_grad, &state);
    round_sums(sum, count, dx);
}

/* ---- losses ---- */

void ref_softmax_cross_entropy(int n, int k, const float *logits, const float *targets,
                               double smoothing, float *loss, float *gradient) {
    for (int i = 0; i < n; i++) {
        const float *x = logits + i * k;
        double top = x[0], sum = 0, total = 0, mass = 0;
        for (int j = 1; j < k; j++) {
            top = fmax(top, x[j]);
        }
        for (int j = 0; j < k; j++) {
            sum += exp(x[j] - top);
            mass += (1 - smoothing) * targets[i * k + j] + smoothing / k;
        }
        for (int j = 0; j < k; j++) {
            const double q = (1 - smoothing) * targets[i * k + j] + smoothing / k;
            total += q * (log(sum) + top - x[j]);
            gradient[i * k + j] = (float)((exp(x[j] - top) / sum * mass - q) / n);
        }
        loss[i] = (float)total;
    }
}

/* log softmax(x / t)_j */
static double log_softmax(int k, const float *x, double t, int j) {
    double top = x[0], sum = 0;
    for (int i = 1; i < k; i++) {
        top = fmax(top, x[i]);
    }
    for (int i = 0; i < k; i++) {
        sum += exp((x[i] - top) / t);
    }
    return (x[j] - top) / t - log(sum);
}

void ref_distill(int n, int k, const float *logits, const float *teacher, double weight, double t,
                 float *loss, float *gradient) {
    for (int i = 0; i < n; i++) {
        double divergence = 0;
        for (int j = 0; j < k; j++) {
            const double p = log_softmax(k, teacher + i * k, t, j);
            const double s = log_softmax(k, logits + i * k, t, j);
            divergence += exp(p) * (p - s);
            gradient[i * k + j] =
                (float)((1 - weight) * gradient[i * k + j] + weight * t * (exp(s) - exp(p)) / n);
        }
        loss[i] = (float)((1 - weight) * loss[i] + weight * t * t * divergence);
    }
}

void ref_mean_squared_error(int n, int k, const float *logits, const float *targets,
                            double smoothing, float *loss, float *gradient) {
    for (int i = 0; i < n; i++) {
        double total = 0;
        for (int j = 0; j < k; j++) {
            const double q = (1 - smoothing) * targets[i * k + j] + smoothing / k;
            const double d = logits[i * k + j] - q;
            total += d * d / k;
            gradient[i * k + j] = (float)(2 * d / k / n);
        }
        loss[i] = (float)total;
    }
}
