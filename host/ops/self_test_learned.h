/* Self-tests of what QAT has besides simulation: quant/learned_scales.cl, quant/int8_sums.cl. */
#ifndef CLQUANT_OPS_SELF_TEST_LEARNED_H
#define CLQUANT_OPS_SELF_TEST_LEARNED_H

#include "device/self_bench.h"

clq_status clq_test_learned_scales(clq_self_bench *b);
clq_status clq_test_int8_sums(clq_self_bench *b);

#endif
