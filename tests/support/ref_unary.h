/* The functions of one number as they are defined, in double: independent of
 * kernels/include/unary.h. */
#ifndef CLQ_TEST_REF_UNARY_H
#define CLQ_TEST_REF_UNARY_H

#include <math.h>

#include "clquant/ops.h"

typedef struct ref_unary {
    const char *op;
    clq_unary_attrs attrs;
    double (*f)(double x, double a, double b);
    float low, high; /* where it is tried */
} ref_unary;

static inline double ref_clamp(double x, double low, double high) {
    return fmin(fmax(x, low), high);
}
static inline double ref_fn_sigmoid(double x, double a, double b) {
    (void)a, (void)b;
    return 1 / (1 + exp(-x));
}
#define REF_UNARY(NAME, EXPRESSION)                                                                \
    static inline double ref_fn_##NAME(double x, double a, double b) {                             \
        (void)a, (void)b;                                                                          \
        return EXPRESSION;                                                                         \
    }
REF_UNARY(tanh, tanh(x))
REF_UNARY(leaky_relu, x > 0 ? x : a * x)
REF_UNARY(elu, x > 0 ? x : a * (exp(x) - 1))
REF_UNARY(celu, fmax(0, x) + fmin(0, a *(exp(x / a) - 1)))
REF_UNARY(selu, b *(x > 0 ? x : a * exp(x) - a))
REF_UNARY(hard_sigmoid, ref_clamp(a *x + b, 0, 1))
REF_UNARY(hard_swish, x *ref_clamp(x / 6 + 0.5, 0, 1))
REF_UNARY(silu, x *ref_fn_sigmoid(x, 0, 0))
REF_UNARY(gelu, 0.5 * x * erfc(-x / sqrt(2)))
REF_UNARY(gelu_tanh,
          x *ref_fn_sigmoid(2 * sqrt(2 / 3.14159265358979324) * (x + 0.044715 * x * x * x), 0, 0))
REF_UNARY(mish, x *tanh(log1p(exp(x))))
REF_UNARY(softplus, log1p(exp(x)))
REF_UNARY(softsign, x / (1 + fabs(x)))
REF_UNARY(thresholded_relu, x > a ? x : 0)
REF_UNARY(clip, fmin(fmax(x, a), b))
REF_UNARY(exp, exp(x))
REF_UNARY(log, log(x))
REF_UNARY(sqrt, sqrt(x))
REF_UNARY(reciprocal, 1 / x)
REF_UNARY(abs, fabs(x))
REF_UNARY(neg, -x)
REF_UNARY(erf, erf(x))
REF_UNARY(floor, floor(x))
REF_UNARY(ceil, ceil(x))
REF_UNARY(round, nearbyint(x))
REF_UNARY(sign, (x > 0) - (x < 0))
REF_UNARY(pow_const, pow(x, a))

/* The default attributes of ONNX and PyTorch, where there are any; powers of three kinds. */
static const ref_unary ref_unaries[] = {
    {"tanh", {0, 0}, ref_fn_tanh, -20, 20},
    {"sigmoid", {0, 0}, ref_fn_sigmoid, -20, 20},
    {"leaky_relu", {0.01f, 0}, ref_fn_leaky_relu, -20, 20},
    {"elu", {1.5f, 0}, ref_fn_elu, -20, 20},
    {"celu", {0.7f, 0}, ref_fn_celu, -20, 20},
    {"selu", {1.67326319f, 1.05070102f}, ref_fn_selu, -20, 20},
    {"hard_sigmoid", {0.2f, 0.5f}, ref_fn_hard_sigmoid, -20, 20},
    {"hard_swish", {0, 0}, ref_fn_hard_swish, -20, 20},
    {"silu", {0, 0}, ref_fn_silu, -20, 20},
    {"gelu", {0, 0}, ref_fn_gelu, -20, 20},
    {"gelu_tanh", {0, 0}, ref_fn_gelu_tanh, -20, 20},
    {"mish", {0, 0}, ref_fn_mish, -20, 20},
    {"softplus", {0, 0}, ref_fn_softplus, -20, 20},
    {"softsign", {0, 0}, ref_fn_softsign, -20, 20},
    {"thresholded_relu", {1.25f, 0}, ref_fn_thresholded_relu, -20, 20},
    {"clip", {-1.5f, 2.25f}, ref_fn_clip, -20, 20},
    {"exp", {0, 0}, ref_fn_exp, -20, 20},
    {"log", {0, 0}, ref_fn_log, 0.01f, 20},
    {"sqrt", {0, 0}, ref_fn_sqrt, 0.01f, 20},
    {"reciprocal", {0, 0}, ref_fn_reciprocal, 0.01f, 20},
    {"abs", {0, 0}, ref_fn_abs, -20, 20},
    {"neg", {0, 0}, ref_fn_neg, -20, 20},
    {"erf", {0, 0}, ref_fn_erf, -20, 20},
    {"floor", {0, 0}, ref_fn_floor, -20, 20},
    {"ceil", {0, 0}, ref_fn_ceil, -20, 20},
    {"round", {0, 0}, ref_fn_round, -20, 20},
    {"sign", {0, 0}, ref_fn_sign, -20, 20},
    {"pow_const", {2, 0}, ref_fn_pow_const, -20, 20},
    {"pow_const", {3, 0}, ref_fn_pow_const, -20, 20},
    {"pow_const", {-0.5f, 0}, ref_fn_pow_const, 0.01f, 20},
};
enum { REF_UNARIES = sizeof ref_unaries / sizeof *ref_unaries };

static inline double ref_unary_value(const ref_unary *u, double x) {
    return u->f(x, (double)u->attrs.alpha, (double)u->attrs.beta);
}

/* By central differences, good to 1e-9 of the values where there is no kink within 1e-5. */
static inline double ref_unary_slope(const ref_unary *u, double x) {
    const double step = 0x1p-17;
    return (ref_unary_value(u, x + step) - ref_unary_value(u, x - step)) / (2 * step);
}

/* Whether f has a corner or a step within 1e-4 of x. */
static inline bool ref_unary_kink(const ref_unary *u, double x) {
    const double h = 1e-4;
    const double left = (ref_unary_value(u, x) - ref_unary_value(u, x - h)) / h;
    const double right = (ref_unary_value(u, x + h) - ref_unary_value(u, x)) / h;
    const double near = ref_unary_value(u, x + h / 16) - ref_unary_value(u, x - h / 16);
    const bool step = fabs(near) > 1e-3 && fabs(near) > 0.5 * h * fabs(left + right);
    return step || fabs(right - left) > 0.02 * (1 + fabs(left) + fabs(right));
}

#endif
