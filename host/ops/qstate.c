#include "graph/node.h"
#include "ops/quantized.h"

static clq_status upload(clq_device *device, size_t size, const void *data, clq_buffer **buffer) {
    CLQ_TRY(clq_buffer_create(device, size, buffer));
    return clq_buffer_write(*buffer, 0, size, data);
}

clq_status clq_qstate_create(clq_device *device, const clq_graph *graph, clq_qstate **result) {
    clq_status status = CLQ_NO_MEMORY;
    const size_t count = (size_t)graph->value_count;
    clq_qstate *qstate = clq_calloc(1, sizeof *qstate);
    float *scale = clq_calloc(count, sizeof *scale);
    int32_t *zero_point = clq_calloc(count, sizeof *zero_point);
    int32_t *limits = clq_calloc(2 * count, sizeof *limits);
    if (!qstate || !scale || !zero_point || !limits) {
        goto cleanup;
    }
    for (size_t v = 0; v < count; v++) {
        const clq_value *value = &graph->values[v];
        scale[v] = 1.0f;
        /* Nobody looks up weights. */
        if (value->q.count > 0 && (value->q.count == 1 || !clq_is_constant(value))) {
            const clq_qtype_info *type = clq_qtype_get(value->q.type);
            scale[v] = value->q.scale[0];
            zero_point[v] = value->q.zero_point;
            limits[2 * v] = type->lowest;
            limits[2 * v + 1] = type->highest;
        }
    }
    qstate->max_shift = -1;
    CLQ_GOTO(status, cleanup, upload(device, count * sizeof *scale, scale, &qstate->scale));
    CLQ_GOTO(status, cleanup,
             upload(device, count * sizeof *zero_point, zero_point, &qstate->zero_point));
    CLQ_GOTO(status, cleanup, upload(device, 2 * count * sizeof *limits, limits, &qstate->limits));
    CLQ_GOTO(status, cleanup, clq_buffer_create(device, 2 * count * sizeof(float), &qstate->range));
    CLQ_GOTO(status, cleanup, clq_buffer_fill(qstate->range, 0, 2 * count * sizeof(float), 0));
    *result = qstate;
    qstate = NULL;
cleanup:
    clq_qstate_destroy(qstate);
    clq_free(scale);
    clq_free(zero_point);
    clq_free(limits);
    return status;
}

void clq_qstate_destroy(clq_qstate *qstate) {
    if (qstate == NULL) {
        return;
    }
    clq_buffer_release(qstate->scale);
    clq_buffer_release(qstate->zero_point);
    clq_buffer_release(qstate->limits);
    clq_buffer_release(qstate->range);
    clq_free(qstate);
}
