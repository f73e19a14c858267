#include "support/ref_reduce.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Every test program links this file, also those without graphs. */
static size_t ref_count(const clq_shape *shape) {
    return ref_row_length(shape, UINT_MAX);
}

size_t ref_row(const clq_shape *shape, unsigned axes, size_t at, size_t *place) {
    size_t coordinate[CLQ_MAX_RANK], row = 0, in_row = 0;
    for (int i = shape->rank - 1; i >= 0; i--) {
        coordinate[i] = at % (size_t)shape->dim[i];
        at /= (size_t)shape->dim[i];
    }
    for (int i = 0; i < shape->rank; i++) {
        size_t *index = axes >> i & 1 ? &in_row : &row;
        *index = *index * (size_t)shape->dim[i] + coordinate[i];
    }
    if (place) {
        *place = in_row;
    }
    return row;
}

size_t ref_row_length(const clq_shape *shape, unsigned axes) {
    size_t length = 1;
    for (int i = 0; i < shape->rank; i++) {
        length *= axes >> i & 1 ? (size_t)shape->dim[i] : 1;
    }
    return length;
}

static bool is(const char *kind, const char *name) {
    return strcmp(kind, name) == 0;
}

void ref_reduce(const char *kind, const clq_shape *shape, unsigned axes, const float *x,
                double *y) {
    const size_t count = ref_count(shape), length = ref_row_length(shape, axes);
    const size_t rows = count / length;
    double *top = malloc(rows * sizeof *top);
    for (size_t k = 0; k < rows; k++) {
        top[k] = -INFINITY;
        y[k] = is(kind, "prod") ? 1 : is(kind, "max") ? -INFINITY : is(kind, "min") ? INFINITY : 0;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t k = ref_row(shape, axes, i, NULL);
        top[k] = fmax(top[k], (double)x[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t k = ref_row(shape, axes, i, NULL);
        const double v = (double)x[i];
        y[k] = is(kind, "max")                            ? fmax(y[k], v)
               : is(kind, "min")                          ? fmin(y[k], v)
               : is(kind, "prod")                         ? y[k] * v
               : is(kind, "l1")                           ? y[k] + fabs(v)
               : is(kind, "l2") || is(kind, "sum_square") ? y[k] + v * v
               : is(kind, "log_sum_exp")                  ? y[k] + exp(v - top[k])
                                                          : y[k] + v;
    }
    for (size_t k = 0; k < rows; k++) {
        y[k] = is(kind, "mean")          ? y[k] / (double)length
               : is(kind, "l2")          ? sqrt(y[k])
               : is(kind, "log_sum_exp") ? top[k] + log(y[k])
                                         : y[k];
    }
    free(top);
}

/* dy_k / dx_i, of an extreme unless an earlier element made it. */
static double slope(const char *kind, const clq_shape *shape, unsigned axes, const float *x,
                    const double *y, size_t i) {
    const size_t count = ref_count(shape), k = ref_row(shape, axes, i, NULL);
    const double v = (double)x[i];
    double others = 1;
    bool earlier = false;
    const bool alone = !is(kind, "prod") && !is(kind, "max") && !is(kind, "min");
    for (size_t j = 0; j < count && !alone; j++) {
        if (j != i && ref_row(shape, axes, j, NULL) == k) {
            others *= (double)x[j];
            earlier |= j < i && (double)x[j] == y[k];
        }
    }
    return is(kind, "max") || is(kind, "min") ? v == y[k] && !earlier
           : is(kind, "prod")                 ? others
           : is(kind, "l1")                   ? (v > 0) - (v < 0)
           : is(kind, "l2")                   ? (y[k] > 0 ? v / y[k] : 0)
           : is(kind, "sum_square")           ? 2 * v
           : is(kind, "log_sum_exp")          ? exp(v - y[k])
           : is(kind, "mean")                 ? 1 / (double)ref_row_length(shape, axes)
                                              : 1;
}

void ref_reduce_grad(const char *kind, const clq_shape *shape, unsigned axes, const float *x,
                     const float *dy, double *dx) {
    const size_t count = ref_count(shape);
    double *y = malloc(count * sizeof *y);
    ref_reduce(kind, shape, axes, x, y);
    for (size_t i = 0; i < count; i++) {
        dx[i] = (double)dy[ref_row(shape, axes, i, NULL)] * slope(kind, shape, axes, x, y, i);
    }
    free(y);
}

void ref_arg_max(const clq_shape *shape, int axis, int sign, bool last, const float *x,
                 float *index) {
    const unsigned axes = 1u << axis;
    const size_t count = ref_count(shape), rows = count / (size_t)shape->dim[axis];
    float *best = malloc(rows * sizeof *best);
    for (size_t i = 0; i < count; i++) { /* places of a row rise with i */
        size_t place, k = ref_row(shape, axes, i, &place);
        const float v = (float)sign * x[i];
        if (place == 0 ||
            (!isnan(best[k]) && (isnan(v) || v > best[k] || (last && v == best[k])))) {
            best[k] = v;
            index[k] = (float)place;
        }
    }
    free(best);
}
