/* Self-tests of the kernels (device/self_test.h): small data, plain C beside them. Convolutions
 * have several kernels that can stand in for each other, and ask before they take one. */
#ifndef CLQUANT_OPS_SELF_TEST_H
#define CLQUANT_OPS_SELF_TEST_H

#include <math.h>

#include "device/self_bench.h"
#include "ops/conv/conv2d_f32_plan.h"
#include "ops/conv/conv2d_f32_winograd.h"
#include "ops/conv/conv2d_int8_plan.h"

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

/* ---- all others: tests by file; added by whoever asks for such kernels ---- */

/* The requantizer that the bench's options build kernels with. */
clq_requantizer clq_bench_requantizer(const clq_self_bench *b);

extern const clq_file_test clq_op_self_tests[];    /* codes, activations, losses */
extern const clq_file_test clq_float_self_tests[]; /* the other FP32 operators */
extern const clq_file_test clq_rows_self_tests[];  /* reductions and what is made with them */
extern const clq_file_test clq_resize_self_tests[];
extern const clq_file_test clq_quant_self_tests[];  /* fake quantization, observers */
extern const clq_file_test clq_binary_self_tests[]; /* operators of two operands */
extern const clq_file_test clq_move_self_tests[];   /* transposing, padding and their like */
extern const clq_file_test clq_histogram_self_tests[];
extern const clq_file_test clq_rounding_self_tests[];
void clq_op_self_tests_add(void);

/* (4), (4f), (4s) of centred codes a and c in plain arithmetic: the code before zero point and
 * clamp. */
double clq_self_test_sum(clq_requantizer requantizer, int a, float ma, int c, float mc);

/* Widens a range, as observers keep it: the largest -x and the largest x. */
static inline void clq_self_test_widen(float range[2], float x) {
    range[0] = fmaxf(range[0], -x);
    range[1] = fmaxf(range[1], x);
}

#endif
