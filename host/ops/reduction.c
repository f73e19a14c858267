#include "ops/reduction.h"

#include "ops/elementwise.h"

enum { ROW_GRAIN = 4096 };            /* floats an item handles at least */
enum { VECTOR = 16, ROW_ITEMS = 64 }; /* kernels/include/reduction.h */
enum { MAX_GROUPS = 1 << 20 };

/* Puts an axis, or one that continues it, behind the groups of its kind; they fill from the end. */
static void add_axis(int size[3], int stride[3], int axis_size, int axis_stride) {
    if (axis_size == 1) {
        return;
    }
    if (size[2] == 1) {
        size[2] = axis_size;
        stride[2] = axis_stride;
    } else if (stride[2] == axis_size * axis_stride) {
        size[2] *= axis_size;
        stride[2] = axis_stride;
    } else {
        for (int i = 0; i < 2; i++) {
            size[i] = size[i + 1];
            stride[i] = stride[i + 1];
        }
        size[2] = axis_size;
        stride[2] = axis_stride;
    }
}

static clq_reduction empty(void) {
    return (clq_reduction){.kept = {1, 1, 1}, .reduced = {1, 1, 1}};
}

static clq_reduction complete(clq_reduction r) {
    r.rows = (int64_t)r.kept[0] * r.kept[1] * r.kept[2];
    r.row = (int64_t)r.reduced[0] * r.reduced[1] * r.reduced[2];
    r.side = (r.kept_stride[2] == 1 && r.kept[2] >= VECTOR) || r.row < VECTOR ? VECTOR : 1;
    return r;
}

clq_reduction clq_reduction_of(const clq_tensor *tensor, unsigned axes) {
    const clq_shape *shape = &tensor->shape;
    int stride[CLQ_MAX_RANK];
    clq_reduction r = empty();
    stride[shape->rank - 1] = 1;
    for (int i = shape->rank - 2; i >= 0; i--) {
        stride[i] = i == shape->rank - 2 ? tensor->pitch : stride[i + 1] * (int)shape->dim[i + 1];
    }
    for (int i = 0; i < shape->rank; i++) {
        const bool reduced = (axes >> i & 1) != 0;
        add_axis(reduced ? r.reduced : r.kept, reduced ? r.reduced_stride : r.kept_stride,
                 (int)shape->dim[i], stride[i]);
    }
    return complete(r);
}

clq_reduction clq_reduction_of_groups(int outer, int pixels, int channels, int groups) {
    clq_reduction r = empty();
    add_axis(r.kept, r.kept_stride, outer, pixels * channels);
    add_axis(r.kept, r.kept_stride, groups, channels / groups);
    add_axis(r.reduced, r.reduced_stride, pixels, channels);
    add_axis(r.reduced, r.reduced_stride, channels / groups, 1);
    return complete(r);
}

clq_range clq_reduction_range(clq_device *device, const clq_reduction *r) {
    if (clq_device_get_info(device)->schedule == CLQ_SCHEDULE_GPU) {
        const int64_t groups = (r->rows + r->side - 1) / r->side;
        return (clq_range){1,
                           {(size_t)(groups < MAX_GROUPS ? groups : MAX_GROUPS) * ROW_ITEMS, 1, 1},
                           {ROW_ITEMS, 1, 1}};
    }
    return CLQ_RANGE1(clq_work_items(device, r->rows, 1 + (ROW_GRAIN - 1) / r->row));
}

/* ---- sums ---- */

clq_status clq_reduce_sum(clq_device *device, const clq_reduction *r, clq_buffer *x,
                          clq_buffer *offset, clq_buffer *y, clq_reduce_term term,
                          clq_reduce_finish finish) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "reduce_sum_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_reduction_range(device, r), CLQ_BUF(x), CLQ_BUF(offset),
                      CLQ_BUF(y), CLQ_I32(term), CLQ_I32(finish), CLQ_REDUCTION(*r));
}

clq_status clq_reduce_largest(clq_device *device, const clq_reduction *r, clq_buffer *x,
                              clq_buffer *y, float sign) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "reduce_max_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_reduction_range(device, r), CLQ_BUF(x), CLQ_BUF(y),
                      CLQ_F32(sign), CLQ_REDUCTION(*r));
}

clq_status clq_reduce_exp(clq_device *device, const clq_reduction *r, clq_buffer *x,
                          clq_buffer *largest, clq_buffer *y, bool logarithm) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "reduce_exp_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_reduction_range(device, r), CLQ_BUF(x), CLQ_BUF(largest),
                      CLQ_BUF(y), CLQ_I32(logarithm), CLQ_REDUCTION(*r));
}

clq_status clq_reduce_dot(clq_device *device, const clq_reduction *r, clq_buffer *a, clq_buffer *b,
                          clq_buffer *y) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(device, "reduce_dot_f32", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_reduction_range(device, r), CLQ_BUF(a), CLQ_BUF(b),
                      CLQ_BUF(y), CLQ_REDUCTION(*r));
}
