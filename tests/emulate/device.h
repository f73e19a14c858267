/* A stand-in for host/device where there is no OpenCL: clang compiles the kernels beforehand into
 * shared objects, and work-items run one after the other on this processor. CPU schedule only. */
#ifndef CLQ_TEST_EMULATE_DEVICE_H
#define CLQ_TEST_EMULATE_DEVICE_H

#include <stdbool.h>

/* Before clq_device_open. COMPILE: clq_kernel_get compiles into `folder` what is not there yet, for
 * AVX-512, and launches do nothing. Else kernels are loaded from there and run. */
void stand_in_setup(const char *folder, bool compile);

#endif
