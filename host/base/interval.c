#include "base/interval.h"

#include <math.h>

void clq_wilson_interval(double share, int64_t count, double *low, double *high) {
    static const double z = 1.959963984540054; /* of the normal distribution, 95 % */
    *low = *high = NAN;
    if (!isfinite(share) || count < 1) {
        return;
    }
    const double n = (double)count, center = (share + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
    *low = fmax(0, center - half);
    *high = fmin(1, center + half);
}

double clq_sign_test(int64_t a, int64_t b) {
    const double n = (double)(a + b);
    const int64_t fewer = a < b ? a : b;
    double tail = 0;
    for (int64_t k = 0; k <= fewer; k++) {
        const double i = (double)k;
        tail += exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(n - i + 1) - n * log(2));
    }
    return fmin(1, 2 * tail);
}
