/* Self-tests (device/self_test.h) of the optimizers' kernels and of those that check a step, and of
 * all there is. */
#ifndef CLQUANT_TRAIN_SELF_TEST_H
#define CLQUANT_TRAIN_SELF_TEST_H

#include "device/self_test.h"

/* Before such a kernel is asked for. */
void clq_train_self_tests_add(void);
/* The part of clq_self_test_device that makes convolutions. */
clq_status clq_self_test_convolutions(clq_device *device);

#endif
