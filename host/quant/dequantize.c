/* Integer form -> float form: equation (1) of docs/quantization.md backwards. */
#include <clquant/quant.h>

#include "base/arguments.h"
#include "graph/codes.h"
#include "graph/ends.h"

/* Gives a parameter the reals that its codes stand for. */
static clq_status dequantize_data(clq_value *value) {
    const int64_t count = clq_shape_count(&value->shape);
    const int64_t each = value->q.count > 0 ? count / value->q.count : 0; /* codes of one scale */
    const int32_t *s32 = value->data;
    int8_t *s8 = NULL;
    clq_status status = CLQ_NO_MEMORY;
    if (each == 0) {
        return clq_fail(CLQ_USAGE, "parameter \"%s\" is integer and has no scale", value->name);
    }
    float *real = clq_calloc((size_t)count, sizeof *real);
    if (!real) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, value->dtype == CLQ_S32 ? CLQ_OK : clq_value_codes(value, &s8));
    for (int64_t i = 0; i < count; i++) {
        real[i] = value->q.scale[i / each] * (float)(s8 ? s8[i] : s32[i]);
    }
    clq_free(value->data);
    value->data = real;
    value->dtype = CLQ_F32;
    real = NULL;
cleanup:
    clq_free(real);
    clq_free(s8);
    return status;
}

clq_status clq_dequantize(const clq_graph *integer, clq_graph **real) {
    CLQ_NEEDS(integer, real);
    CLQ_NEEDS_ENDS(integer);
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL;
    if (clq_graph_form(integer) != CLQ_FORM_INTEGER) {
        return clq_fail(CLQ_USAGE, "graph %s is not an integer network", integer->name);
    }
    CLQ_TRY(clq_graph_clone(integer, &graph));
    for (int v = 0; v < graph->value_count; v++) {
        clq_value *value = &graph->values[v];
        if (value->data && value->dtype != CLQ_F32) {
            CLQ_GOTO(status, cleanup, dequantize_data(value));
        }
        clq_qparams_clear(&value->q);
    }
    *real = graph;
    graph = NULL;
cleanup:
    clq_graph_destroy(graph);
    return status;
}
