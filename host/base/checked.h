/* Arithmetic on sizes that come from files or the user. Each function returns false, and leaves
 * *out alone, when the exact result does not fit. */
#ifndef CLQ_BASE_CHECKED_H
#define CLQ_BASE_CHECKED_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool clq_add_size(size_t a, size_t b, size_t *out) {
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

static inline bool clq_mul_size(size_t a, size_t b, size_t *out) {
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return false;
    }
    *out = product;
    return true;
}

static inline bool clq_add_i64(int64_t a, int64_t b, int64_t *out) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

static inline bool clq_sub_i64(int64_t a, int64_t b, int64_t *out) {
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference)) {
        return false;
    }
    *out = difference;
    return true;
}

static inline bool clq_mul_i64(int64_t a, int64_t b, int64_t *out) {
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return false;
    }
    *out = product;
    return true;
}

/* ceil(a / b) without a + b - 1, which could wrap; b > 0. */
static inline size_t clq_ceil_div(size_t a, size_t b) {
    return a / b + (a % b != 0);
}

/* The same of numbers known to be far from INT_MAX; a >= 0, b > 0. */
static inline int clq_ceil_div_int(int a, int b) {
    return (a + b - 1) / b;
}

/* The least multiple of `multiple` (> 0) that is >= value. */
static inline bool clq_round_up_size(size_t value, size_t multiple, size_t *out) {
    return clq_mul_size(clq_ceil_div(value, multiple), multiple, out);
}

/* clq_round_up_size for values known to be far from SIZE_MAX (tile and shape arithmetic). */
static inline size_t clq_round_up(size_t value, size_t multiple) {
    return clq_ceil_div(value, multiple) * multiple;
}

static inline bool clq_narrow_int(int64_t value, int *out) {
    if (value < INT_MIN || value > INT_MAX) {
        return false;
    }
    *out = (int)value;
    return true;
}

static inline bool clq_narrow_u32(uint64_t value, uint32_t *out) {
    if (value > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* A signed 64-bit file value as a size: false for negative values. */
static inline bool clq_narrow_size(int64_t value, size_t *out) {
    if (value < 0 || (uint64_t)value > SIZE_MAX) {
        return false;
    }
    *out = (size_t)value;
    return true;
}

/* A size as an int64_t. */
static inline bool clq_size_to_i64(size_t value, int64_t *out) {
    if (value > (uint64_t)INT64_MAX) {
        return false;
    }
    *out = (int64_t)value;
    return true;
}

#endif
