#include <clquant/graph.h>

#include <string.h>

#include "base/arguments.h"

clq_status clq_qparams_set(clq_qparams *q, int64_t count, const float *scale, int32_t zero_point,
                           clq_qtype type) {
    CLQ_NEEDS(q);
    CLQ_REQUIRE(scale || count <= 0, "scale must not be NULL");
    float *copy = NULL;
    if (count < 0) {
        return clq_fail(CLQ_USAGE, "%lld scales: must be at least 0", (long long)count);
    }
    if (count > 0) {
        copy = clq_realloc(NULL, (size_t)count, sizeof *copy);
        if (!copy) {
            return CLQ_NO_MEMORY;
        }
        memcpy(copy, scale, (size_t)count * sizeof *copy);
    }
    clq_free(q->scale); /* after the copy: `scale` may be q's own */
    *q = (clq_qparams){.count = count, .scale = copy, .zero_point = zero_point, .type = type};
    return CLQ_OK;
}

void clq_qparams_clear(clq_qparams *q) {
    CLQ_NEEDS_OR(, q);
    clq_free(q->scale);
    *q = (clq_qparams){0};
}
