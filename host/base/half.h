/* Floats of other sizes, as files store them. */
#ifndef CLQ_BASE_HALF_H
#define CLQ_BASE_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* IEEE 754 binary16, exact. */
static inline float clq_half_to_float(uint16_t bits) {
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float magnitude;
    if (exponent == 31) {
        magnitude = mantissa ? NAN : INFINITY;
    } else if (exponent == 0) {
        magnitude = ldexpf((float)mantissa, -24);
    } else {
        magnitude = ldexpf((float)(mantissa + 1024), exponent - 25);
    }
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* bfloat16: the upper half of a float. */
static inline float clq_bfloat_to_float(uint16_t bits) {
    uint32_t word = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &word, sizeof value);
    return value;
}

/* The nearest float; beyond the largest one, an infinity. */
static inline float clq_double_to_float(double value) {
    return fabs(value) < 0x1.ffffffp127 || isnan(value) ? (float)value
                                                        : (float)copysign(INFINITY, value);
}

#endif
