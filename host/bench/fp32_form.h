/* Which float network an integer network is the quantized form of. */
#ifndef CLQUANT_BENCH_FP32_FORM_H
#define CLQUANT_BENCH_FP32_FORM_H

#include <clquant/graph.h>

/* Whether `fp32`, trained or folded, has all convolutions and linear layers of `integer` under the
 * same names with weights of the same shape, and inputs of the same shapes. */
bool clq_bench_is_fp32_form(const clq_graph *fp32, const clq_graph *integer);

#endif
