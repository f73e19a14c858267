/* Histograms of the magnitudes of floats, shared by the host and the device. C11 and OpenCL C.
 *
 * A bin holds the magnitudes whose bits are equal but for the lowest 16: 128 bins an octave, each at
 * most 1/128 as wide as what it holds is large, so that an outlier takes no resolution from the
 * rest. A histogram has the bins `first` .. first + CLQ_BINS - 1, 24 octaves; its lowest one holds
 * all smaller magnitudes too. When values demand it, its range doubles: `first` rises by an octave,
 * and the bins below join the lowest. */
#ifndef CLQ_HISTOGRAM_H
#define CLQ_HISTOGRAM_H

#include "scales.h"

#define CLQ_BINS 3072
#define CLQ_BINS_OCTAVE 128
#define CLQ_BIN_SHIFT 16

/* The first bin of a histogram whose last octave holds `largest` (>= 0). */
CLQ_INLINE int clq_first_bin(float largest) {
    const int first =
        ((CLQ_FLOAT_BITS(largest) >> CLQ_BIN_SHIFT) | (CLQ_BINS_OCTAVE - 1)) + 1 - CLQ_BINS;
    return first > 0 ? first : 0;
}

#endif
