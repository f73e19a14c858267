/* Self-tests of quant/weights.cl and quant/conv2d_exact.cl. */
#ifndef CLQUANT_OPS_SELF_TEST_WEIGHTS_H
#define CLQUANT_OPS_SELF_TEST_WEIGHTS_H

#include "device/self_bench.h"

clq_status clq_test_weights(clq_self_bench *b);
clq_status clq_test_conv2d_exact(clq_self_bench *b);

#endif
