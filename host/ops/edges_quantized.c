/* Reals to codes at the network's input, codes to reals at its output. */
#include "ops/quantized_run.h"

clq_status clq_quantize_activation(clq_device *device, const clq_graph *graph,
                                   const clq_qstate *qstate, const clq_tensor *real,
                                   const clq_tensor *codes) {
    const int64_t count = clq_shape_count(&codes->shape);
    const int value = clq_table_index(graph, codes);
    clq_kernel *kernel = NULL;
    if (codes->dtype == CLQ_U8) {
        return clq_int8_quantize(device, real->buffer, codes->buffer, clq_pixels(codes),
                                 clq_channels(codes),
                                 clq_int8_range_of(codes->value, CLQ_ACT_NONE));
    }
    if (qstate->observe) {
        CLQ_TRY(clq_kernel_get(device, "quantize_codes_observe", NULL, &kernel));
        return CLQ_LAUNCH(device, kernel, clq_observing_range(device, count), CLQ_BUF(real->buffer),
                          CLQ_BUF(codes->buffer), CLQ_TABLES_OF(qstate), CLQ_BUF(qstate->range),
                          CLQ_I32(value), CLQ_I32(count));
    }
    CLQ_TRY(clq_kernel_get(device, "quantize_codes", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_codes_range(device, count), CLQ_BUF(real->buffer),
                      CLQ_BUF(codes->buffer), CLQ_TABLES_OF(qstate), CLQ_I32(value),
                      CLQ_I32(count));
}

clq_status clq_dequantize_activation(clq_device *device, const clq_graph *graph,
                                     const clq_qstate *qstate, const clq_tensor *codes,
                                     const clq_tensor *real) {
    const int64_t count = clq_shape_count(&codes->shape);
    clq_kernel *kernel = NULL;
    if (codes->dtype == CLQ_U8) {
        return clq_int8_dequantize(device, codes->buffer, real->buffer, clq_pixels(codes),
                                   clq_channels(codes), codes->value->q.scale[0],
                                   clq_code_byte(codes->value, codes->value->q.zero_point));
    }
    CLQ_TRY(clq_kernel_get(device, "dequantize_codes", NULL, &kernel));
    return CLQ_LAUNCH(device, kernel, clq_codes_range(device, count), CLQ_BUF(codes->buffer),
                      CLQ_BUF(real->buffer), CLQ_BUF(qstate->scale),
                      CLQ_I32(clq_table_index(graph, codes)), CLQ_I32(count));
}
