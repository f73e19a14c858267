/* Integer form -> float form: equation (1) of docs/quantization.md backwards. */
#include <clquant/quant.h>

#include "base/arguments.h"
#include "graph/codes.h"
#include "graph/ends.h"

/* Gives a parameter the reals that its codes stand for. */
static clq_status dequantize_data(clq_value *value) {
    float *reals = clq_calloc((size_t)clq_shape_count(&value->shape), sizeof *reals);
    const clq_status status = reals ? clq_value_reals(value, reals) : CLQ_NO_MEMORY;
    if (status != CLQ_OK) {
        clq_free(reals);
        return status;
    }
    clq_free(value->data);
    value->data = reals;
    value->dtype = CLQ_F32;
    return CLQ_OK;
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
