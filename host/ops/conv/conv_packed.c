#include "ops/conv/conv_packed.h"

size_t clq_conv_packed_bytes(const clq_conv_packed *packed) {
    return (packed->weights + packed->zeros) * sizeof(float);
}

clq_status clq_conv_packed_take(clq_conv_packed *packed, clq_device *device, bool scratch) {
    const size_t bytes = clq_conv_packed_bytes(packed);
    CLQ_TRY(scratch ? clq_scratch_take(device, bytes, &packed->buffer)
                    : clq_buffer_create(device, bytes, &packed->buffer));
    return clq_buffer_fill(packed->buffer, packed->weights * sizeof(float),
                           packed->zeros * sizeof(float), 0);
}

void clq_conv_packed_release(clq_conv_packed *packed) {
    clq_buffer_release(packed->buffer);
    packed->buffer = NULL;
}
