#include "ops/conv/conv_class.h"

#include <string.h>

#define KIB 1024

/* clang-format off */
/*         panel     inputs weights   macs     items   | weights   pixels    tiles depth items least */
#define CPU_DEFAULTS \
    .int8 = {48 * KIB, 4864,  320 * KIB, 1000000, 4}, \
    .f32 =                                             {128 * KIB, 128 * KIB, 12,   32,   8,    32}

/* A GPU has the CPU schedule's constants too: CLQUANT_SCHEDULE can force it. */
static const clq_conv_class classes[] = {
    {.name = "CPU with AVX-512", CPU_DEFAULTS},
    {.name = "CPU with AVX2",    CPU_DEFAULTS},
    {.name = "CPU",              CPU_DEFAULTS},
    {.name = "NVIDIA GPU",       CPU_DEFAULTS},
    {.name = "GPU",              CPU_DEFAULTS},
};
enum { CPU_AVX512, CPU_AVX2, CPU, GPU_NVIDIA, GPU };

/* What stays in registers: 24 sums of 32 registers; 12 of 16 with 4 inputs a step, 10 with 2, as
 * products need one more. */
static const clq_int8_vectors int8_wide = {
    16, 4, 1, {{6, 4, 1.0}, {5, 4, 1.02}, {8, 3, 1.03}, {12, 2, 1.05}, {20, 1, 1.15}}};
static const clq_int8_vectors int8_narrow = {8, 4, 1, {{6, 2, 1.0}, {12, 1, 1.1}}};
static const clq_int8_vectors int8_pairs = {8, 2, 2, {{5, 2, 1.0}, {10, 1, 1.1}}};
static const clq_int8_vectors int8_split = {8, 4, 1, {{5, 2, 1.0}}};
static const clq_int8_vectors int8_winograd = {8, 2, 2, {{5, 2, 1.0}, {4, 2, 1.05}}};
static const clq_int8_vectors int8_winograd_of_4 = {4, 2, 2, {{5, 2, 1.0}, {4, 2, 1.05}}};
static const clq_int8_vectors int8_pairs_of_4 = {4, 2, 2, {{5, 2, 1.0}, {10, 1, 1.1}}};

/* Accumulators + one row of weights + a broadcast fill the registers: 32 with 64-byte vectors, 16
 * below. Narrow tiles load more per multiply-add; those of more than 8 rows keep no pointer of each
 * in a register. */
static const clq_f32_vectors f32_forms[] = {
    {64, {{6, 4, 1.0}, {8, 3, 1.0}, {7, 3, 1.0}, {12, 2, 1.02}, {8, 2, 1.01}, {7, 2, 1.01},
          {8, 1, 1.13}}},
    {32, {{6, 2, 1.0}, {5, 2, 1.02}, {8, 1, 1.25}}},
    {16, {{6, 2, 1.0}, {8, 1, 1.25}}},
};
/* clang-format on */

const clq_conv_class *clq_conv_class_of(const clq_device_info *info) {
    if (!info->is_cpu) {
        return &classes[strstr(info->vendor, "NVIDIA") ? GPU_NVIDIA : GPU];
    }
    return &classes[info->simd_bytes >= 64 ? CPU_AVX512 : info->simd_bytes == 32 ? CPU_AVX2 : CPU];
}

const clq_int8_vectors *clq_int8_vectors_of(const clq_device_info *info, clq_conv_kernel kernel) {
    const bool winograd = kernel == CLQ_CONV_INT8_WINOGRAD;
    if (kernel == CLQ_CONV_SPLIT) {
        return info->dot == CLQ_DOT_AVX2 ? &int8_split : NULL;
    }
    switch (info->dot) {
    case CLQ_DOT_AVX512VNNI:
        return winograd ? NULL : &int8_wide;
    case CLQ_DOT_AVXVNNI:
        return winograd ? NULL : &int8_narrow;
    case CLQ_DOT_AVX2:
        return winograd ? &int8_winograd : &int8_pairs;
    default:
        if (info->simd_bytes >= 32) {
            return winograd ? &int8_winograd : &int8_pairs;
        }
        return winograd ? &int8_winograd_of_4 : &int8_pairs_of_4;
    }
}

const clq_f32_vectors *clq_f32_vectors_of(const clq_device_info *info) {
    return &f32_forms[info->simd_bytes >= 64 ? 0 : info->simd_bytes == 32 ? 1 : 2];
}
