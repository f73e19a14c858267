/* A tensor seen as rows: the elements of a row differ in the reduced axes alone, and row k makes
 * element k of a result. What kernels/include/reduction.h walks. */
#ifndef CLQUANT_OPS_REDUCTION_H
#define CLQUANT_OPS_REDUCTION_H

#include <clquant/ops.h>

typedef struct clq_reduction {
    int kept[3], kept_stride[3];       /* sizes and strides of up to three groups of axes, */
    int reduced[3], reduced_stride[3]; /* the last of each the fastest; those not there are 1 */
    int side;                          /* rows that are done together */
    int64_t rows, row;                 /* how many, and elements of each */
} clq_reduction;

/* Bit i of `axes`: axis i of the tensor is reduced. */
clq_reduction clq_reduction_of(const clq_tensor *tensor, unsigned axes);
/* Of (outer, pixels, channels), `groups` rows an outer element: those of a group of channels. */
clq_reduction clq_reduction_of_groups(int outer, int pixels, int channels, int groups);

/* Work-items or work-groups for it. */
clq_range clq_reduction_range(clq_device *device, const clq_reduction *r);

/* The kernels' last arguments: REDUCTION. */
#define CLQ_REDUCTION(r)                                                                           \
    CLQ_I32((r).kept[0]), CLQ_I32((r).kept[1]), CLQ_I32((r).kept[2]), CLQ_I32((r).kept_stride[0]), \
        CLQ_I32((r).kept_stride[1]), CLQ_I32((r).kept_stride[2]), CLQ_I32((r).reduced[0]),         \
        CLQ_I32((r).reduced[1]), CLQ_I32((r).reduced[2]), CLQ_I32((r).reduced_stride[0]),          \
        CLQ_I32((r).reduced_stride[1]), CLQ_I32((r).reduced_stride[2]), CLQ_I32((r).side)

/* ---- sums that several operators make: kernels of f32/reduce.cl ---- */

typedef enum clq_reduce_term { CLQ_TERM_X, CLQ_TERM_ABS, CLQ_TERM_SQUARE } clq_reduce_term;
typedef enum clq_reduce_finish {
    CLQ_FINISH_NONE,
    CLQ_FINISH_MEAN,
    CLQ_FINISH_ROOT
} clq_reduce_finish;

/* y (rows) = finish(sum of term(x - offset)); offset (rows) may be NULL. */
clq_status clq_reduce_sum(clq_device *device, const clq_reduction *r, clq_buffer *x,
                          clq_buffer *offset, clq_buffer *y, clq_reduce_term term,
                          clq_reduce_finish finish);
/* y = the largest of each row; of -x with a sign of -1, times it. */
clq_status clq_reduce_largest(clq_device *device, const clq_reduction *r, clq_buffer *x,
                              clq_buffer *y, float sign);
/* y = sum of exp(x - largest), or largest + log of it; y may be `largest`. */
clq_status clq_reduce_exp(clq_device *device, const clq_reduction *r, clq_buffer *x,
                          clq_buffer *largest, clq_buffer *y, bool logarithm);
/* y = sum of a b */
clq_status clq_reduce_dot(clq_device *device, const clq_reduction *r, clq_buffer *a, clq_buffer *b,
                          clq_buffer *y);

#endif
