#include "quant/nonfinite.h"

#include <math.h>

#include "base/numbers.h"

typedef struct finding {
    char text[512]; /* "": nothing found yet */
} finding;

/* How many of a tensor's numbers are not finite. */
static clq_status count_bad(const clq_tensor *tensor, int64_t *bad, bool *nan) {
    const size_t count = (size_t)clq_shape_count(&tensor->shape);
    float *values = clq_calloc(count, sizeof *values);
    *bad = 0;
    *nan = false;
    if (!values) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_buffer_read(tensor->buffer, 0, count * sizeof *values, values);
    for (size_t i = 0; status == CLQ_OK && i < count; i++) {
        *bad += !isfinite(values[i]);
        *nan |= isnan(values[i]);
    }
    clq_free(values);
    return status;
}

static clq_status examine(void *context, const clq_op_run *run) {
    finding *f = context;
    int64_t bad;
    bool nan;
    if (f->text[0] || !run->out.buffer || run->out.dtype != CLQ_F32) {
        return CLQ_OK;
    }
    CLQ_TRY(count_bad(&run->out, &bad, &nan));
    if (bad > 0) {
        clq_snprintf(f->text, sizeof f->text, "node %s (%s) makes %s: %lld of its %lld numbers",
                     run->node->name, run->node->op->name, nan ? "NaN" : "infinities",
                     (long long)bad, (long long)clq_shape_count(&run->out.shape));
    }
    return CLQ_OK;
}

clq_status clq_name_nonfinite(clq_exec *exec) {
    finding f = {.text = ""};
    clq_exec_set_hook(exec, examine, &f);
    const clq_status status = clq_exec_forward(exec);
    clq_exec_set_hook(exec, NULL, NULL);
    CLQ_TRY(status);
    return f.text[0] ? clq_fail(CLQ_BAD_DATA, "%s; --keep-float keeps what reads it float", f.text)
                     : CLQ_OK;
}
