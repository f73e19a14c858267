/* resize on floats and on codes: what both forms share. */
#ifndef CLQUANT_OPS_RESIZE_H
#define CLQUANT_OPS_RESIZE_H

#include "ops/resize_taps.h"

/* The taps of one axis on the device; weights are F32 or S32. */
typedef struct clq_resize_axis {
    clq_buffer *first, *from, *weight;
} clq_resize_axis;

typedef struct clq_resize_state {
    clq_resize_axis forward[2];  /* rows, columns */
    clq_resize_axis backward[2]; /* only where the input's gradient is wanted */
    int bits;                    /* on codes: forward's weights are multiples of 2^-bits */
    clq_buffer *mask;            /* U8, QAT's cubic: 1 where an output's gradient passes */
} clq_resize_state;

/* `whole`: forward's weights as codes of equation (12i). CLQ_USAGE where that cannot be. */
clq_status clq_resize_prepare_as(clq_op_run *run, bool whole);
void clq_resize_release(clq_op_run *run);
clq_status clq_resize_backward(clq_op_run *run);

/* Work-items that make dst, by rows of pixels. */
clq_range clq_resize_range(const clq_device *device, const clq_shape *dst);

/* The kernels' arguments RESIZE_AXES and RESIZE_SHAPE (kernels/include/resize.h). */
#define CLQ_RESIZE_AXES(axes)                                                                      \
    CLQ_BUF((axes)[0].first), CLQ_BUF((axes)[0].from), CLQ_BUF((axes)[0].weight),                  \
        CLQ_BUF((axes)[1].first), CLQ_BUF((axes)[1].from), CLQ_BUF((axes)[1].weight)
#define CLQ_RESIZE_SHAPE(x, y)                                                                     \
    CLQ_I32((y)[0]), CLQ_I32((x)[1]), CLQ_I32((x)[2]), CLQ_I32((x)[3]), CLQ_I32((y)[1]),           \
        CLQ_I32((y)[2])

#endif
