/* Self-test of quant/weights.cl. */
#ifndef CLQUANT_OPS_SELF_TEST_WEIGHTS_H
#define CLQUANT_OPS_SELF_TEST_WEIGHTS_H

#include "device/self_bench.h"

clq_status clq_test_weights(clq_self_bench *b);

#endif
