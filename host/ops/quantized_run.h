/* What the quantized operators' files share. */
#ifndef CLQUANT_OPS_QUANTIZED_RUN_H
#define CLQUANT_OPS_QUANTIZED_RUN_H

#include "ops/elementwise.h"
#include "ops/int8_elementwise.h"
#include "ops/learned_scales.h"
#include "ops/quantized.h"

/* Index of an activation in the tables of clq_qstate. */
static inline int clq_table_index(const clq_graph *graph, const clq_tensor *tensor) {
    return (int)(tensor->value - graph->values);
}

static inline bool clq_is_quantized(const clq_tensor *tensor) {
    return tensor->value->q.count > 0;
}

/* Whether the node works on codes. */
static inline bool clq_is_code_mode(const clq_op_run *run) {
    return run->mode == CLQ_EXEC_FAKE_QUANT || run->mode == CLQ_EXEC_QAT ||
           run->mode == CLQ_EXEC_INT8;
}

/* Whether codes of both mean the same. */
static inline bool clq_same_codes(const clq_value *a, const clq_value *b) {
    return a->q.scale[0] == b->q.scale[0] && a->q.zero_point == b->q.zero_point &&
           a->q.type == b->q.type;
}

/* CLQ_USAGE when an activation that the node reads or writes is not quantized. */
clq_status clq_check_codes(const clq_op_run *run, bool output_too);

/* CLQ_USAGE when the output's qparams are not the input's: operators that keep codes. */
clq_status clq_check_shared(const clq_op_run *run);

/* CLQ_BAD_DATA: an addition, product, minimum, maximum or average whose scales the graph's
 * requantizer cannot express. CLQ_OK for other nodes. */
clq_status clq_check_factors(const clq_graph *graph, const clq_node *node);

/* The kernels' arguments for the tables: CODE_TABLES of codes.h. */
#define CLQ_TABLES_OF(qstate)                                                                      \
    CLQ_BUF((qstate)->scale), CLQ_BUF((qstate)->zero_point), CLQ_BUF((qstate)->limits)
#define CLQ_TABLES(run) CLQ_TABLES_OF((run)->qstate)
#define CLQ_INDEX(run, tensor) CLQ_I32(clq_table_index((run)->graph, &(run)->tensor))

/* Work-items for `count` codes. Kernels that observe join their ranges at the end, so on the GPU
 * schedule they want fewer items, in groups. */
clq_range clq_codes_range(const clq_device *device, int64_t count);
clq_range clq_observing_range(const clq_device *device, int64_t count);

/* QAT: what backward needs of every element of the output. A u8, 1 where the gradient passes; of an
 * output whose scale is learned an F32, the code less z before it was rounded and clamped. */
clq_status clq_kept_create(const clq_op_run *run, clq_buffer **kept);
/* The kernels' arguments for it: mask and unrounded, one of them NULL. */
#define CLQ_KEPT(run, kept)                                                                        \
    CLQ_BUF(clq_is_learned((run)->qstate, (run)->graph, (run)->out.value) ? NULL : (kept)),        \
        CLQ_BUF(clq_is_learned((run)->qstate, (run)->graph, (run)->out.value) ? (kept) : NULL)
/* Backward through the output's quantization: grad_out = 0 where it was clamped, and the gradient
 * of a scale that is learned. */
clq_status clq_pass_gradient(const clq_op_run *run, clq_buffer *kept);

/* Calls a function of the operator's FP32 form, to which codes are as good as reals: as FLOAT in
 * FAKE_QUANT, as TRAIN in QAT. `state` is what that form keeps in run->state. NULL functions
 * succeed. */
clq_status clq_call_real(const clq_op_run *run, clq_status (*function)(clq_op_run *), void **state);
void clq_release_real(const clq_op_run *run, void *state);

/* INT8: a code of this activation as the byte that stands for it. */
int32_t clq_code_byte(const clq_value *value, int32_t code);
/* INT8: an activation's meaning, and the bytes that it may take. */
clq_int8_range clq_int8_range_of(const clq_value *value, clq_act act);
int64_t clq_pixels(const clq_tensor *tensor);
int clq_channels(const clq_tensor *tensor);

#endif
