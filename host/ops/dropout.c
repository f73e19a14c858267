/* dropout: in training y = x / (1 - p) or 0, by a mask that is drawn again in backward instead of
 * being kept; otherwise y = x. The mask is a function of the seed, the step and the node. */
#include "ops/elementwise.h"
#include "ops/registry.h"
#include "ops/shape_rules.h"

enum { BLOCK_GRAIN = 256 }; /* draws of four that an item makes at least */

/* Keeps the masks apart from all else that is drawn with the run's seed. */
static const uint64_t seed_of_dropout = UINT64_C(0x64726f706f757400);

static clq_status launch(clq_op_run *run, clq_buffer *from, clq_buffer *to, bool accumulate) {
    const clq_dropout_attrs *attrs = run->node->attrs;
    const int64_t count = clq_shape_count(&run->out.shape);
    const uint64_t seed = run->seed ^ seed_of_dropout;
    const uint64_t stream = run->step << 16 | (uint64_t)(run->node_index & 0xffff);
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(run->device, "dropout_f32", NULL, &kernel));
    return CLQ_LAUNCH(
        run->device, kernel, CLQ_RANGE1(clq_work_items(run->device, (count + 3) / 4, BLOCK_GRAIN)),
        CLQ_BUF(from), CLQ_BUF(to), CLQ_I32(count), CLQ_F32(attrs->probability),
        CLQ_F32(1.0f / (1.0f - attrs->probability)), CLQ_U32(seed), CLQ_U32(seed >> 32),
        CLQ_U32(stream), CLQ_U32(stream >> 32), CLQ_I32(accumulate));
}

static clq_status dropout_forward(clq_op_run *run) {
    if (run->mode != CLQ_EXEC_TRAIN) {
        return clq_copy_or_add(run->device, run->in[0].buffer, run->out.buffer,
                               clq_shape_count(&run->out.shape), false);
    }
    return launch(run, run->in[0].buffer, run->out.buffer, false);
}

static clq_status dropout_backward(clq_op_run *run) {
    if (run->grad_in[0].buffer == NULL) {
        return CLQ_OK;
    }
    return launch(run, run->grad_out.buffer, run->grad_in[0].buffer, run->accumulate[0]);
}

const clq_op clq_op_dropout = {
    .name = "dropout",
    .attrs_size = sizeof(clq_dropout_attrs),
    .min_inputs = 1,
    .max_inputs = 1,
    .infer = clq_infer_dropout,
    .forward = dropout_forward,
    .backward = dropout_backward,
    .flags = CLQ_OP_IN_PLACE | CLQ_OP_TRAINING_ONLY,
};
