/* Weights of 4 bits whose levels are not evenly spaced. All are multiples of one step, up to 64 of
 * them, so that they are codes of 8 bits: a network with such weights is simulated, converted,
 * written and run as one with weights of 8 bits, and what is tested is what such levels do to
 * accuracy. */
#ifndef CLQ_QUANT_STEPS_H
#define CLQ_QUANT_STEPS_H

#include <clquant/quant.h>

extern const char *const clq_steps_names[CLQ_STEPS_COUNT];

/* Whether weights of this type get such levels: those of 4 bits. */
bool clq_has_levels(const clq_quant_config *config, clq_qtype type);
/* The largest level, in steps. */
int clq_highest_level(clq_weight_steps steps);
/* The level nearest to a weight, both in steps; of two as near the smaller one. */
int clq_nearest_level(clq_weight_steps steps, float steps_of_weight);
/* Moves F32 weights to the nearest levels of their scales and makes their type s8_narrow. */
void clq_set_levels(clq_weight_steps steps, clq_value *w);

#endif
