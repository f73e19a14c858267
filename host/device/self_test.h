/* No kernel runs for its results before its family gave the right values in a small self-test on
 * the device: drivers miscompile, and say nothing.
 *
 * A family is what stands or falls together: a kernel on one dot path ("conv2d_int8_group khr"). A
 * variant of it is one set of build options; each is tested when it is first needed, with the very
 * program that will then run. One that fails takes its family with it: a warning, once, and the
 * caller takes another family. What was found is kept in the cache (cache_file.h) for this device,
 * driver and kernels. CLQUANT_SELFTEST=off: everything works.
 *
 * The tests themselves lie where the kernels are used, in host/ops/self_test*.c. */
#ifndef CLQ_DEVICE_SELF_TEST_H
#define CLQ_DEVICE_SELF_TEST_H

#include "clquant/device.h"

/* Runs kernels on small data. *right: whether all values were the reference's; where not, `wrong`
 * may say how. CLQ_DEVICE (does not build, cannot be launched) counts as failing too, but is not
 * kept for later runs; any other status is handed on. */
enum { CLQ_WRONG_TEXT = 96 };
typedef clq_status (*clq_self_test_run)(clq_device *device, const void *context, bool *right,
                                        char wrong[CLQ_WRONG_TEXT]);

/* *works: whether `variant` (NULL: there is but one) of the family does, and the family was not
 * found failing before. Runs the test when that is not known; a test may itself use what it tests.
 */
clq_status clq_self_test(clq_device *device, const char *family, const char *variant,
                         clq_self_test_run run, const void *context, bool *works);

/* Tests the kernels of a file below kernels/ that nothing can stand in for: CLQ_DEVICE when they
 * fail, CLQ_OK also for files without a test. */
typedef clq_status (*clq_file_test)(clq_device *device, const char *file);
/* From now on clq_kernel_get asks this first, on every device. */
void clq_self_test_files_by(clq_file_test test);
clq_status clq_self_test_file(clq_device *device, const char *file);

/* Keeps what was found; frees it. */
void clq_self_test_close(clq_device *device);

#endif
