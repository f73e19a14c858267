#include "ops/elementwise.h"

/* Items a compute unit: enough that a slow core does not hold up the rest, few enough that starting
 * them costs nothing. */
enum { ITEMS_PER_UNIT = 4 };
/* Floats an item handles at least; below that, starting it costs more than it does. */
enum { ELEMENT_GRAIN = 4096 };

size_t clq_work_items(const clq_device *device, int64_t count, int64_t grain) {
    const clq_device_info *info = clq_device_get_info(device);
    if (info->schedule == CLQ_SCHEDULE_GPU) {
        return count > 0 ? (size_t)count : 1;
    }
    const int64_t most = (int64_t)info->compute_units * ITEMS_PER_UNIT;
    const int64_t items = count / grain < most ? count / grain : most;
    return items > 0 ? (size_t)items : 1;
}

clq_status clq_elementwise(clq_device *device, const char *kernel, clq_buffer *a, clq_buffer *b,
                           clq_buffer *y, int64_t count) {
    clq_kernel *handle = NULL;
    CLQ_TRY(clq_kernel_get(device, kernel, NULL, &handle));
    const clq_range range = CLQ_RANGE1(clq_work_items(device, count, ELEMENT_GRAIN));
    if (b == NULL) {
        return CLQ_LAUNCH(device, handle, range, CLQ_BUF(a), CLQ_BUF(y), CLQ_I32(count));
    }
    return CLQ_LAUNCH(device, handle, range, CLQ_BUF(a), CLQ_BUF(b), CLQ_BUF(y), CLQ_I32(count));
}

clq_status clq_elementwise_gradient(clq_device *device, const char *kernel, clq_buffer *y,
                                    clq_buffer *dy, clq_buffer *dx, int64_t count,
                                    bool accumulate) {
    clq_kernel *handle = NULL;
    CLQ_TRY(clq_kernel_get(device, kernel, NULL, &handle));
    return CLQ_LAUNCH(device, handle, CLQ_RANGE1(clq_work_items(device, count, ELEMENT_GRAIN)),
                      CLQ_BUF(y), CLQ_BUF(dy), CLQ_BUF(dx), CLQ_I32(count), CLQ_I32(accumulate));
}

clq_status clq_act_gradient(clq_device *device, clq_act act, clq_buffer *y, clq_buffer *dy,
                            int64_t count) {
    static const char *const kernels[] = {
        [CLQ_ACT_RELU] = "relu_grad_f32",
        [CLQ_ACT_RELU6] = "relu6_grad_f32",
    };
    return act == CLQ_ACT_NONE
               ? CLQ_OK
               : clq_elementwise_gradient(device, kernels[act], y, dy, dy, count, false);
}

clq_status clq_copy_or_add(clq_device *device, clq_buffer *from, clq_buffer *to, int64_t count,
                           bool accumulate) {
    if (accumulate) {
        return clq_elementwise(device, "add_f32", to, from, to, count);
    }
    if (from == to) {
        return CLQ_OK;
    }
    return clq_buffer_copy(to, 0, from, 0, (size_t)count * sizeof(float));
}
