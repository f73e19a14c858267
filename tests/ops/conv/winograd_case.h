/* Data of the tests of FP32 convolutions by Winograd's algorithm. */
#ifndef CLQ_TEST_WINOGRAD_CASE_H
#define CLQ_TEST_WINOGRAD_CASE_H

#include <math.h>
#include <stdlib.h>

#include "clquant/device.h"
#include "ops/conv/conv_geometry.h"
#include "support/clq_test.h"

/* 3x3, stride 1, padding `pad` on all sides: what Winograd's algorithm takes. */
static inline clq_conv_geometry geometry(int n, int h, int w, int ic, int oc, int pad) {
    return (clq_conv_geometry){.n = n,
                               .ih = h,
                               .iw = w,
                               .ic = ic,
                               .oc = oc,
                               .kh = 3,
                               .kw = 3,
                               .oh = h + 2 * pad - 2,
                               .ow = w + 2 * pad - 2,
                               .stride_h = 1,
                               .stride_w = 1,
                               .pad_top = pad,
                               .pad_left = pad,
                               .dilation_h = 1,
                               .dilation_w = 1,
                               .groups = 1};
}

/* Standard normal; to be freed. */
static inline float *random_floats(size_t count, uint64_t stream) {
    float *data = malloc(count * sizeof *data);
    clq_test_fill_normal(data, count, 1, stream);
    return data;
}

static inline clq_buffer *upload(clq_device *device, const float *data, size_t count) {
    clq_buffer *buffer;
    assert_ok(clq_buffer_create(device, count * sizeof *data, &buffer));
    assert_ok(clq_buffer_write(buffer, 0, count * sizeof *data, data));
    return buffer;
}

/* |data|, to be freed: what a sum's rounding is measured by. */
static inline float *magnitudes(const float *data, size_t count) {
    float *result = malloc(count * sizeof *result);
    for (size_t i = 0; i < count; i++) {
        result[i] = fabsf(data[i]);
    }
    return result;
}

#endif
