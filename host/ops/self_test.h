/* Self-tests of the kernels (device/self_test.h): small data, plain C beside them. Convolutions
 * have several kernels that can stand in for each other, and ask before they take one. */
#ifndef CLQUANT_OPS_SELF_TEST_H
#define CLQUANT_OPS_SELF_TEST_H

#include "device/self_test.h"
#include "ops/conv2d_f32_plan.h"
#include "ops/conv2d_f32_winograd.h"
#include "ops/conv2d_int8_plan.h"

/* ---- data ---- */

/* The next of a fixed sequence of numbers that look random, 0 .. 2^24 - 1. */
uint32_t clq_self_test_draw(uint32_t *state);
/* A new buffer that holds `size` bytes of data, or what no result is where data is NULL. */
clq_status clq_self_test_buffer(clq_device *device, size_t size, const void *data,
                                clq_buffer **buffer);

/* ---- convolutions: whether the program of a plan works ---- */

/* On the device's present dot path. */
clq_status clq_int8_plan_works(clq_device *device, const clq_int8_plan *plan,
                               clq_requantizer requantizer, bool *works);
/* Forward and backward-data as planned for a shape. */
clq_status clq_f32_plan_works(clq_device *device, const clq_f32_plan *plan,
                              const clq_conv_geometry *geometry, bool *works);
clq_status clq_f32_gemm_works(clq_device *device, bool *works);
clq_status clq_f32_winograd_works(clq_device *device, const clq_winograd_plan *plan, bool *works);
/* Backward-weights, by Winograd's algorithm or not. */
clq_status clq_f32_weights_work(clq_device *device, const clq_conv_geometry *geometry,
                                bool winograd, bool *works);

/* ---- all others: a clq_file_test ---- */

/* `file` NULL: tests all files, whose outcomes clq_device_failed_kernels lists. */
clq_status clq_op_self_test(clq_device *device, const char *file);

/* CLQ_DEVICE: none of the kernels for `what` works. */
clq_status clq_self_test_none_left(const clq_device *device, const char *what);

#endif
