/* The integer network's kernels besides convolution. Everything is queued, nothing waits.
 *
 * Codes are u8 (pixels, P): P = C rounded up to a multiple of 4, the bytes of the padding channels
 * are written as 0 and never read as values. `pixels` counts all of N, H, W. Arithmetic and numbers
 * in brackets: kernels/include/requantize.h. Parameters are the caller's to check, but scales that
 * are not positive and finite give CLQ_BAD_DATA. Results are the same bits on every device. */
#ifndef CLQUANT_OPS_INT8_ELEMENTWISE_H
#define CLQUANT_OPS_INT8_ELEMENTWISE_H

#include <clquant/device.h>
#include <clquant/graph.h>

/* The build option of the kernels that requantize; NULL for float. */
const char *clq_requantizer_option(clq_requantizer requantizer);

/* What bytes mean, and which of them a result may take: lo and hi, 0..255. */
typedef struct clq_int8_range {
    float scale;
    int32_t zero_point, lo, hi;
} clq_int8_range;

/* real (pixels, C) F32 -> codes, equation (5). NaN becomes lo. */
clq_status clq_int8_quantize(clq_device *device, clq_buffer *real, clq_buffer *codes,
                             int64_t pixels, int channels, clq_int8_range range);

/* codes -> real = scale * (q - zero_point), (pixels, C) F32. */
clq_status clq_int8_dequantize(clq_device *device, clq_buffer *codes, clq_buffer *real,
                               int64_t pixels, int channels, float scale, int32_t zero_point);

/* y = a + b, equation (4), (4f) or (4s). y may be a or b. Only scale and zero_point of a and b
 * count. */
clq_status clq_int8_add(clq_device *device, clq_requantizer requantizer, clq_buffer *a,
                        clq_int8_range a_range, clq_buffer *b, clq_int8_range b_range,
                        clq_buffer *y, clq_int8_range y_range, int64_t pixels, int channels);

/* y = table[x] for 256 u8 entries on the device: any function of one code. y may be x. */
clq_status clq_int8_lookup(clq_device *device, clq_buffer *x, clq_buffer *table, clq_buffer *y,
                           int64_t pixels, int channels);
/* The same by a table for each channel: (256, C). */
clq_status clq_int8_lookup_channels(clq_device *device, clq_buffer *x, clq_buffer *table,
                                    clq_buffer *y, int64_t pixels, int channels);

/* CIFAR's shortcut A: y[n, oh, ow, c] = x[n, oh * stride, ow * stride, c - front], and zero_point
 * where there is no such input channel. */
typedef struct clq_int8_shortcut {
    int n, ih, iw, ic, oh, ow, oc, stride, front, zero_point;
} clq_int8_shortcut;
clq_status clq_int8_shortcut_a(clq_device *device, clq_buffer *x, clq_buffer *y,
                               const clq_int8_shortcut *shape);

/* A window over x (N, IH, IW, C) for every pixel of y (N, OH, OW, C). Bottom and right padding
 * follow from oh and ow. Every window must hold at least one pixel of x. */
typedef struct clq_int8_pool {
    int n, ih, iw, channels, oh, ow;
    int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left;
    int dilation_h, dilation_w;
} clq_int8_pool;

/* The greatest code; padding is ignored. x and y mean the same by their codes. */
clq_status clq_int8_max_pool(clq_device *device, clq_buffer *x, clq_buffer *y,
                             const clq_int8_pool *pool);

/* Average: sum = int32 sum of q - x_zero over the window's pixels inside x, count = their number,
 * or that of those inside x or its padding when `include_pad` (the pixels that ceil mode adds
 * beyond the padding never count; pad_bottom and pad_right say where it ends): y is the code of
 * their mean, (1) or (2) with M = x_scale / (y_scale * (float)count) computed on the host in float,
 * or (6s). A global average pool has kernel = IH x IW. */
typedef struct clq_int8_avg_pool clq_int8_avg_pool;
clq_status clq_int8_avg_pool_create(clq_device *device, clq_requantizer requantizer,
                                    const clq_int8_pool *pool, int pad_bottom, int pad_right,
                                    bool include_pad, clq_int8_range x_range,
                                    clq_int8_range y_range, clq_int8_avg_pool **made);
void clq_int8_avg_pool_destroy(clq_int8_avg_pool *pool); /* NULL ok */
clq_status clq_int8_avg_pool_forward(clq_int8_avg_pool *pool, clq_buffer *x, clq_buffer *y);

#endif
