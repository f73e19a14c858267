#include "train/output_error.h"

#include <math.h>

void clq_output_error_add(clq_output_error *sums, const float *real, const float *other,
                          size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double x = real[i], d = other[i] - x;
        sums->error += d * d;
        sums->power += x * x;
    }
}

double clq_output_error_of(const clq_output_error *sums) {
    return sums->error > 0 || isnan(sums->error) ? sqrt(sums->error / sums->power) : 0;
}
