/* Observers of weights: they see all values at once. */
#ifndef CLQUANT_QUANT_WEIGHTS_H
#define CLQUANT_QUANT_WEIGHTS_H

#include <clquant/quant.h>

/* The magnitude that gets the type's highest code for the least squared error of the codes; where
 * max_shift says so, that of a power of two. 0 for weights that are all 0. All must be finite. */
float clq_weights_reach(const float *w, size_t count, const clq_qtype_info *type, int max_shift);

#endif
