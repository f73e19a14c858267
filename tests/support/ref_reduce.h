/* Reductions and what is made with them, by plain loops in double. */
#ifndef CLQ_REF_REDUCE_H
#define CLQ_REF_REDUCE_H

#include <clquant/graph.h>

/* The row that element `at` of a dense tensor belongs to when the axes of bits `axes` are reduced,
 * and, where not NULL, its place in the row. */
size_t ref_row(const clq_shape *shape, unsigned axes, size_t at, size_t *place);
/* Elements of a row. */
size_t ref_row_length(const clq_shape *shape, unsigned axes);

/* "mean", "sum", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum_exp": y of each row. */
void ref_reduce(const char *kind, const clq_shape *shape, unsigned axes, const float *x, double *y);
/* dx from dy (rows); of equal extremes the first has it. */
void ref_reduce_grad(const char *kind, const clq_shape *shape, unsigned axes, const float *x,
                     const float *dy, double *dx);
/* Places of extremes: sign -1 of the smallest; NaN counts as the most extreme. */
void ref_arg_max(const clq_shape *shape, int axis, int sign, bool last, const float *x,
                 float *index);

#endif
