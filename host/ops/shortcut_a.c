/* shortcut_a: y (N,OH,OW,front+C+back) = every stride-th pixel of x (N,IH,IW,C) between zero
 * channels. */
#include "ops/elementwise.h"
#include "ops/quantized.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { PIXEL_GRAIN = 4096 }; /* floats an item handles at least */

#define SHORTCUT_SHAPE(run, attrs)                                                                 \
    CLQ_I32((run)->in[0].shape.dim[0]), CLQ_I32((run)->in[0].shape.dim[1]),                        \
        CLQ_I32((run)->in[0].shape.dim[2]), CLQ_I32((run)->in[0].shape.dim[3]),                    \
        CLQ_I32((run)->out.shape.dim[1]), CLQ_I32((run)->out.shape.dim[2]),                        \
        CLQ_I32((attrs)->stride), CLQ_I32((attrs)->front), CLQ_I32((attrs)->back)

static clq_status shortcut_a_forward(clq_op_run *run) {
    const clq_pad_channels_attrs *attrs = run->node->attrs;
    const int64_t channels = run->out.shape.dim[3];
    const int64_t pixels = clq_shape_count(&run->out.shape) / channels;
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "shortcut_a_f32", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel,
        CLQ_RANGE1(clq_work_items(run->device, pixels, 1 + (PIXEL_GRAIN - 1) / channels)),
        CLQ_BUF(run->in[0].buffer), CLQ_BUF(run->out.buffer), SHORTCUT_SHAPE(run, attrs));
}

static clq_status shortcut_a_backward(clq_op_run *run) {
    const clq_pad_channels_attrs *attrs = run->node->attrs;
    const int64_t *x = run->in[0].shape.dim;
    const bool gpu = clq_device_get_info(run->device)->schedule == CLQ_SCHEDULE_GPU;
    const int64_t grain = 1 + (PIXEL_GRAIN - 1) / (x[2] * x[3]);
    const int64_t work = gpu ? clq_shape_count(&run->in[0].shape) : x[0] * x[1];
    clq_kernel *kernel = NULL;
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(run->device, "shortcut_a_grad_f32", NULL, &kernel));
    return CLQ_LAUNCH(run->device, kernel, CLQ_RANGE1(clq_work_items(run->device, work, grain)),
                      CLQ_BUF(run->grad_out.buffer), CLQ_BUF(run->grad_in[0].buffer),
                      SHORTCUT_SHAPE(run, attrs), CLQ_I32(run->accumulate[0]));
}

const clq_op clq_op_shortcut_a = {
    .name = "shortcut_a",
    .attrs_size = sizeof(clq_pad_channels_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_shortcut_a,
    .forward = shortcut_a_forward,
    .backward = shortcut_a_backward,
    .quantized = &clq_shortcut_a_quantized,
    .output_shares_qparams = true,
};
