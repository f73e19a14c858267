/* The functions of one number, each once: y = f(x; a, b) and its slope. C11 and OpenCL C: devices
 * compute them in float, and in double the host makes tables of codes of them
 * (docs/quantization.md).
 *
 *   clq_unary_value(function, x, a, b)    clq_unary_slope(function, v, a, b)    on the host
 *   CLQ_VALUE(T, x, a, b)                 CLQ_SLOPE(T, v, a, b)                 of FUNCTION
 *
 * v is x, or y of the functions that CLQ_UNARY_KEEPS_OUTPUT. Nothing overflows on the way to a
 * result that does not; a NaN stays one. a and b are clq_unary_attrs. */
#ifndef CLQ_UNARY_H
#define CLQ_UNARY_H

#ifdef __OPENCL_C_VERSION__
#pragma OPENCL FP_CONTRACT OFF
#define CLQ_N(T, number) ((T)(number##f))
#else
#include <math.h>
#define CLQ_N(T, number) ((T)(number))
#endif

/* F(NAME, T) of every function. */
#define CLQ_UNARY_FUNCTIONS(F, T)                                                                  \
    F(TANH, T)                                                                                     \
    F(SIGMOID, T)                                                                                  \
    F(LEAKY_RELU, T)                                                                               \
    F(ELU, T)                                                                                      \
    F(CELU, T)                                                                                     \
    F(SELU, T)                                                                                     \
    F(HARD_SIGMOID, T)                                                                             \
    F(HARD_SWISH, T)                                                                               \
    F(SILU, T)                                                                                     \
    F(GELU, T)                                                                                     \
    F(GELU_TANH, T)                                                                                \
    F(MISH, T)                                                                                     \
    F(SOFTPLUS, T)                                                                                 \
    F(SOFTSIGN, T)                                                                                 \
    F(THRESHOLDED_RELU, T)                                                                         \
    F(CLIP, T)                                                                                     \
    F(EXP, T)                                                                                      \
    F(LOG, T)                                                                                      \
    F(SQRT, T)                                                                                     \
    F(RECIPROCAL, T)                                                                               \
    F(ABS, T)                                                                                      \
    F(NEG, T)                                                                                      \
    F(ERF, T)                                                                                      \
    F(FLOOR, T)                                                                                    \
    F(CEIL, T)                                                                                     \
    F(ROUND, T)                                                                                    \
    F(SIGN, T)                                                                                     \
    F(POW_CONST, T)

#ifndef __OPENCL_C_VERSION__
#define CLQ_UNARY_NUMBER(NAME, T) CLQ_UNARY_##NAME,
#define CLQ_UNARY_NAME(NAME, T) #NAME,
typedef enum clq_unary { CLQ_UNARY_FUNCTIONS(CLQ_UNARY_NUMBER, 0) CLQ_UNARY_COUNT } clq_unary;

/* Whether the slope is computed from y. */
#define CLQ_UNARY_KEEPS_OUTPUT(function)                                                           \
    ((function) == CLQ_UNARY_TANH || (function) == CLQ_UNARY_SIGMOID ||                            \
     (function) == CLQ_UNARY_EXP || (function) == CLQ_UNARY_SQRT ||                                \
     (function) == CLQ_UNARY_RECIPROCAL)
#endif

/* ---- what several share ---- */

#define CLQ_0(T) CLQ_N(T, 0.0)
#define CLQ_1(T) CLQ_N(T, 1.0)
#define CLQ_LOGISTIC(T, x) (CLQ_1(T) / (CLQ_1(T) + exp(-(x))))
/* e^-|x|, and the logistic function's slope from it: no difference of nearly equal numbers */
#define CLQ_DECAY(x) exp(-fabs(x))
#define CLQ_LOGISTIC_SLOPE(T, x)                                                                   \
    (CLQ_DECAY(x) / ((CLQ_1(T) + CLQ_DECAY(x)) * (CLQ_1(T) + CLQ_DECAY(x))))
#define CLQ_BETWEEN(x, low, high) ((x) < (low) ? (low) : (x) > (high) ? (high) : (x))

/* ---- values, F_NAME, and slopes, D_NAME ---- */

#define CLQ_F_TANH(T, x, a, b) tanh(x)
#define CLQ_D_TANH(T, y, a, b) (CLQ_1(T) - (y) * (y))

#define CLQ_F_SIGMOID(T, x, a, b) CLQ_LOGISTIC(T, x)
#define CLQ_D_SIGMOID(T, y, a, b) ((y) * (CLQ_1(T) - (y)))

#define CLQ_F_LEAKY_RELU(T, x, a, b) ((x) < CLQ_0(T) ? (T)(a) * (x) : (x))
#define CLQ_D_LEAKY_RELU(T, x, a, b) ((x) < CLQ_0(T) ? (T)(a) : CLQ_1(T))

#define CLQ_F_ELU(T, x, a, b) ((x) < CLQ_0(T) ? (T)(a)*expm1(x) : (x))
#define CLQ_D_ELU(T, x, a, b) ((x) < CLQ_0(T) ? (T)(a)*exp(x) : CLQ_1(T))

#define CLQ_F_CELU(T, x, a, b) ((x) < CLQ_0(T) ? (T)(a)*expm1((x) / (T)(a)) : (x))
#define CLQ_D_CELU(T, x, a, b) ((x) < CLQ_0(T) ? exp((x) / (T)(a)) : CLQ_1(T))

#define CLQ_F_SELU(T, x, a, b) ((T)(b)*CLQ_F_ELU(T, x, a, b))
#define CLQ_D_SELU(T, x, a, b) ((T)(b)*CLQ_D_ELU(T, x, a, b))

#define CLQ_LINE(T, x, a, b) ((T)(a) * (x) + (T)(b))
#define CLQ_F_HARD_SIGMOID(T, x, a, b) CLQ_BETWEEN(CLQ_LINE(T, x, a, b), CLQ_0(T), CLQ_1(T))
#define CLQ_D_HARD_SIGMOID(T, x, a, b)                                                             \
    (((CLQ_LINE(T, x, a, b) > CLQ_0(T)) & (CLQ_LINE(T, x, a, b) < CLQ_1(T))) ? (T)(a) : CLQ_0(T))

/* x clip(x / 6 + 1/2, 0, 1); near -3, x + 3 is exact */
#define CLQ_F_HARD_SWISH(T, x, a, b)                                                               \
    ((x) <= CLQ_N(T, -3.0)  ? CLQ_0(T)                                                             \
     : (x) >= CLQ_N(T, 3.0) ? (x)                                                                  \
                            : (x) * ((x) + CLQ_N(T, 3.0)) / CLQ_N(T, 6.0))
#define CLQ_D_HARD_SWISH(T, x, a, b)                                                               \
    ((x) <= CLQ_N(T, -3.0)  ? CLQ_0(T)                                                             \
     : (x) >= CLQ_N(T, 3.0) ? CLQ_1(T)                                                             \
                            : (CLQ_N(T, 2.0) * (x) + CLQ_N(T, 3.0)) / CLQ_N(T, 6.0))

#define CLQ_F_SILU(T, x, a, b) ((x) / (CLQ_1(T) + exp(-(x))))
#define CLQ_D_SILU(T, x, a, b) (CLQ_LOGISTIC(T, x) + (x)*CLQ_LOGISTIC_SLOPE(T, x))

/* x times the normal distribution, (1 + erf(x / sqrt 2)) / 2, which erfc gives in the left tail too
 */
#define CLQ_NORMAL(T, x) (CLQ_N(T, 0.5) * erfc((x)*CLQ_N(T, -0.70710678118654752)))
#define CLQ_F_GELU(T, x, a, b) ((x)*CLQ_NORMAL(T, x))
#define CLQ_D_GELU(T, x, a, b)                                                                     \
    (CLQ_NORMAL(T, x) + (x) * (CLQ_N(T, 0.39894228040143268) * exp((x) * (x)*CLQ_N(T, -0.5))))

/* x (1 + tanh(u)) / 2 = x logistic(2u), u = sqrt(2 / pi) (x + 0.044715 x^3); beyond +-16 the
 * logistic function is 0 and 1 */
#define CLQ_NEAR(T, x) CLQ_BETWEEN(x, CLQ_N(T, -16.0), CLQ_N(T, 16.0))
#define CLQ_CUBIC(T, x)                                                                            \
    (CLQ_NEAR(T, x) * (CLQ_N(T, 1.5957691216057308) +                                              \
                       CLQ_N(T, 0.071354816272600249) * (CLQ_NEAR(T, x) * CLQ_NEAR(T, x))))
#define CLQ_CUBIC_SLOPE(T, x)                                                                      \
    (CLQ_N(T, 1.5957691216057308) +                                                                \
     CLQ_N(T, 0.21406444881780075) * (CLQ_NEAR(T, x) * CLQ_NEAR(T, x)))
#define CLQ_F_GELU_TANH(T, x, a, b) ((x) / (CLQ_1(T) + exp(-CLQ_CUBIC(T, x))))
#define CLQ_D_GELU_TANH(T, x, a, b)                                                                \
    (CLQ_LOGISTIC(T, CLQ_CUBIC(T, x)) +                                                            \
     (x) * (CLQ_LOGISTIC_SLOPE(T, CLQ_CUBIC(T, x)) * CLQ_CUBIC_SLOPE(T, x)))

/* x tanh(log(1 + e^x)) = x p / (p + q), in w = e^-|x|: numerator and denominator of the tanh are
 * multiplied by w^2 where x is not negative */
#define CLQ_MISH_P(T, x, w)                                                                        \
    ((x) < CLQ_0(T) ? (w) * ((w) + CLQ_N(T, 2.0)) : CLQ_1(T) + CLQ_N(T, 2.0) * (w))
#define CLQ_MISH_Q(T, x, w) ((x) < CLQ_0(T) ? CLQ_N(T, 2.0) : CLQ_N(T, 2.0) * (w) * (w))
#define CLQ_MISH_SUM(T, x) (CLQ_MISH_P(T, x, CLQ_DECAY(x)) + CLQ_MISH_Q(T, x, CLQ_DECAY(x)))
#define CLQ_MISH_TANH(T, x) (CLQ_MISH_P(T, x, CLQ_DECAY(x)) / CLQ_MISH_SUM(T, x))
#define CLQ_F_MISH(T, x, a, b) ((x)*CLQ_MISH_TANH(T, x))
#define CLQ_D_MISH(T, x, a, b)                                                                     \
    (CLQ_MISH_TANH(T, x) + (x) * (CLQ_N(T, 4.0) * CLQ_DECAY(x) * (CLQ_1(T) + CLQ_DECAY(x)) *       \
                                  ((x) < CLQ_0(T) ? CLQ_1(T) : CLQ_DECAY(x)) /                     \
                                  (CLQ_MISH_SUM(T, x) * CLQ_MISH_SUM(T, x))))

#define CLQ_F_SOFTPLUS(T, x, a, b) (((x) > CLQ_0(T) ? (x) : CLQ_0(T)) + log1p(CLQ_DECAY(x)))
#define CLQ_D_SOFTPLUS(T, x, a, b) CLQ_LOGISTIC(T, x)

#define CLQ_F_SOFTSIGN(T, x, a, b) ((x) / (CLQ_1(T) + fabs(x)))
#define CLQ_D_SOFTSIGN(T, x, a, b) (CLQ_1(T) / ((CLQ_1(T) + fabs(x)) * (CLQ_1(T) + fabs(x))))

#define CLQ_F_THRESHOLDED_RELU(T, x, a, b) ((x) <= (T)(a) ? CLQ_0(T) : (x))
#define CLQ_D_THRESHOLDED_RELU(T, x, a, b) ((x) <= (T)(a) ? CLQ_0(T) : CLQ_1(T))

/* min(max(x, a), b): b where a is above it */
#define CLQ_LEAST(T, x, a) ((x) < (T)(a) ? (T)(a) : (x))
#define CLQ_F_CLIP(T, x, a, b) (CLQ_LEAST(T, x, a) > (T)(b) ? (T)(b) : CLQ_LEAST(T, x, a))
#define CLQ_D_CLIP(T, x, a, b) ((((x) < (T)(a)) | ((x) > (T)(b))) ? CLQ_0(T) : CLQ_1(T))

#define CLQ_F_EXP(T, x, a, b) exp(x)
#define CLQ_D_EXP(T, y, a, b) (y)

#define CLQ_F_LOG(T, x, a, b) log(x)
#define CLQ_D_LOG(T, x, a, b) (CLQ_1(T) / (x))

#define CLQ_F_SQRT(T, x, a, b) sqrt(x)
#define CLQ_D_SQRT(T, y, a, b) (CLQ_N(T, 0.5) / (y))

#define CLQ_F_RECIPROCAL(T, x, a, b) (CLQ_1(T) / (x))
#define CLQ_D_RECIPROCAL(T, y, a, b) (-(y) * (y))

#define CLQ_F_ABS(T, x, a, b) fabs(x)
#define CLQ_D_ABS(T, x, a, b) CLQ_F_SIGN(T, x, a, b)

#define CLQ_F_NEG(T, x, a, b) (-(x))
#define CLQ_D_NEG(T, x, a, b) CLQ_N(T, -1.0)

#define CLQ_F_ERF(T, x, a, b) erf(x)
#define CLQ_D_ERF(T, x, a, b) (CLQ_N(T, 1.1283791670955126) * exp(-(x) * (x)))

#define CLQ_F_FLOOR(T, x, a, b) floor(x)
#define CLQ_D_FLOOR(T, x, a, b) CLQ_0(T)

#define CLQ_F_CEIL(T, x, a, b) ceil(x)
#define CLQ_D_CEIL(T, x, a, b) CLQ_0(T)

#define CLQ_F_ROUND(T, x, a, b) rint(x)
#define CLQ_D_ROUND(T, x, a, b) CLQ_0(T)

#define CLQ_F_SIGN(T, x, a, b) ((x) > CLQ_0(T) ? CLQ_1(T) : (x) < CLQ_0(T) ? CLQ_N(T, -1.0) : (x))
#define CLQ_D_SIGN(T, x, a, b) CLQ_0(T)

/* Squares are the powers that networks have; a is one number, so only one side is computed. */
#define CLQ_F_POW_CONST(T, x, a, b) ((a) == 2.0f ? (x) * (x) : pow((x), (T)(a)))
#define CLQ_D_POW_CONST(T, x, a, b)                                                                \
    ((a) == 2.0f ? CLQ_N(T, 2.0) * (x) : (a) == 0.0f ? CLQ_0(T) : (T)(a)*pow((x), (T)((a)-1.0f)))

/* ---- the functions by their number, and in a program of FUNCTION ---- */

#ifdef __OPENCL_C_VERSION__
#define CLQ_JOIN_(a, b) a##b
#define CLQ_JOIN(a, b) CLQ_JOIN_(a, b)
#define CLQ_VALUE(T, x, a, b) CLQ_JOIN(CLQ_F_, FUNCTION)(T, x, a, b)
#define CLQ_SLOPE(T, v, a, b) CLQ_JOIN(CLQ_D_, FUNCTION)(T, v, a, b)
#else
#define CLQ_UNARY_VALUE(NAME, T)                                                                   \
    case CLQ_UNARY_##NAME:                                                                         \
        return CLQ_F_##NAME(T, x, a, b);
static inline double clq_unary_value(clq_unary function, double x, float a, float b) {
    switch (function) {
        CLQ_UNARY_FUNCTIONS(CLQ_UNARY_VALUE, double)
    default:
        return x;
    }
}
#define CLQ_UNARY_SLOPE(NAME, T)                                                                   \
    case CLQ_UNARY_##NAME:                                                                         \
        return CLQ_D_##NAME(T, v, a, b);
static inline double clq_unary_slope(clq_unary function, double v, float a, float b) {
    switch (function) {
        CLQ_UNARY_FUNCTIONS(CLQ_UNARY_SLOPE, double)
    default:
        return v;
    }
}
#endif

#endif
