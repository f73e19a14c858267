/* How far outputs are from those of another network. */
#ifndef CLQUANT_TRAIN_OUTPUT_ERROR_H
#define CLQUANT_TRAIN_OUTPUT_ERROR_H

#include <stddef.h>

typedef struct clq_output_error {
    double error, power; /* sums of squares: of differences, and of the real ones */
} clq_output_error;

void clq_output_error_add(clq_output_error *sums, const float *real, const float *other,
                          size_t count);
/* Root of the mean squared difference, divided by the root of the mean square. */
double clq_output_error_of(const clq_output_error *sums);

#endif
