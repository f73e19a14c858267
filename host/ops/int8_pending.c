/* Stand-ins for host/ops/int8_elementwise.c until it exists. */
#include "ops/int8_elementwise.h"

#define PENDING __attribute__((weak))

static clq_status pending(void) {
    return clq_fail(CLQ_INTERNAL, "the integer network's kernels are not written yet");
}

PENDING clq_status clq_int8_quantize(clq_device *device, clq_buffer *real, clq_buffer *codes,
                                     int64_t pixels, int channels, clq_int8_range range) {
    (void)device, (void)real, (void)codes, (void)pixels, (void)channels, (void)range;
    return pending();
}
PENDING clq_status clq_int8_dequantize(clq_device *device, clq_buffer *codes, clq_buffer *real,
                                       int64_t pixels, int channels, float scale,
                                       int32_t zero_point) {
    (void)device, (void)real, (void)codes, (void)pixels, (void)channels, (void)scale;
    (void)zero_point;
    return pending();
}
PENDING clq_status clq_int8_add(clq_device *device, clq_buffer *a, clq_int8_range a_range,
                                clq_buffer *b, clq_int8_range b_range, clq_buffer *y,
                                clq_int8_range y_range, int64_t pixels, int channels) {
    (void)device, (void)a, (void)a_range, (void)b, (void)b_range, (void)y, (void)y_range;
    (void)pixels, (void)channels;
    return pending();
}
PENDING clq_status clq_int8_lookup(clq_device *device, clq_buffer *x, clq_buffer *table,
                                   clq_buffer *y, int64_t pixels, int channels) {
    (void)device, (void)x, (void)table, (void)y, (void)pixels, (void)channels;
    return pending();
}
PENDING clq_status clq_int8_shortcut_a(clq_device *device, clq_buffer *x, clq_buffer *y,
                                       const clq_int8_shortcut *shape) {
    (void)device, (void)x, (void)y, (void)shape;
    return pending();
}
PENDING clq_status clq_int8_flatten(clq_device *device, clq_buffer *x, clq_buffer *y, int n,
                                    int pixels, int channels) {
    (void)device, (void)x, (void)y, (void)n, (void)pixels, (void)channels;
    return pending();
}
PENDING clq_status clq_int8_max_pool(clq_device *device, clq_buffer *x, clq_buffer *y,
                                     const clq_int8_pool *pool) {
    (void)device, (void)x, (void)y, (void)pool;
    return pending();
}
PENDING clq_status clq_int8_avg_pool_create(clq_device *device, const clq_int8_pool *pool,
                                            int pad_bottom, int pad_right, bool include_pad,
                                            clq_int8_range x_range, clq_int8_range y_range,
                                            clq_int8_avg_pool **made) {
    (void)device, (void)pool, (void)pad_bottom, (void)pad_right, (void)include_pad, (void)x_range;
    (void)y_range, (void)made;
    return pending();
}
PENDING void clq_int8_avg_pool_destroy(clq_int8_avg_pool *pool) {
    (void)pool;
}
PENDING clq_status clq_int8_avg_pool_forward(clq_int8_avg_pool *pool, clq_buffer *x,
                                             clq_buffer *y) {
    (void)pool, (void)x, (void)y;
    return pending();
}
