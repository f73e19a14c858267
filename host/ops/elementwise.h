/* Launches of kernels that treat every element alike, and how many work-items share such work. */
#ifndef CLQUANT_OPS_ELEMENTWISE_H
#define CLQUANT_OPS_ELEMENTWISE_H

#include <clquant/ops.h>

/* Work-items for `count` units of work on the CPU schedule: a few long ones for each compute unit,
 * none with less than `grain` units. On the GPU schedule one a unit. Never affects a result's bits.
 */
size_t clq_work_items(const clq_device *device, int64_t count, int64_t grain);

/* A FOR_EACH kernel (kernels/include/elementwise.h) over `count` floats: kernel(a, y, count), or
 * kernel(a, b, y, count) when b is not NULL. y may be a or b. */
clq_status clq_elementwise(clq_device *device, const char *kernel, clq_buffer *a, clq_buffer *b,
                           clq_buffer *y, int64_t count);

/* *_grad_f32: dx = dy f'(y), or dx += it. dx may be dy. */
clq_status clq_elementwise_gradient(clq_device *device, const char *kernel, clq_buffer *y,
                                    clq_buffer *dy, clq_buffer *dx, int64_t count, bool accumulate);

/* Backward through an activation that a node does last, in place: dy = dy act'(y). */
clq_status clq_act_gradient(clq_device *device, clq_act act, clq_buffer *y, clq_buffer *dy,
                            int64_t count);

/* An unchanged value or gradient goes on: to = from, or to += from. Nothing is queued when both
 * are the same buffer and nothing is added. */
clq_status clq_copy_or_add(clq_device *device, clq_buffer *from, clq_buffer *to, int64_t count,
                           bool accumulate);

#endif
