/* No kernel runs for its results before its family gave the right values in a small self-test on
 * the device: drivers miscompile, and say nothing.
 *
 * A family is what stands or falls together: a kernel on one dot path ("conv2d_int8_group khr"). A
 * variant of it is one set of build options; each is tested when it is first needed, with the very
 * program that will then run. One that fails takes its family with it: a warning, once, and the
 * caller takes another family. What was found is kept in the cache (cache_file.h) for this device,
 * driver and kernels. CLQUANT_SELFTEST=off: everything works.
 *
 * The tests themselves lie where the kernels are used: self_test*.c in host/data, ops and train. */
#ifndef CLQ_DEVICE_SELF_TEST_H
#define CLQ_DEVICE_SELF_TEST_H

#include "clquant/device.h"

/* Runs kernels on small data. *right: whether all values were the reference's; where not, `wrong`
 * may say how. CLQ_DEVICE (does not build, cannot be launched) counts as failing too, but is not
 * kept for later runs; any other status is returned. */
enum { CLQ_WRONG_TEXT = 96 };
typedef clq_status (*clq_self_test_run)(clq_device *device, const void *context, bool *right,
                                        char wrong[CLQ_WRONG_TEXT]);

/* *works: whether `variant` (NULL: there is but one) of the family does, and the family was not
 * found failing before. Runs the test when that is not known; a test may itself use what it tests.
 */
clq_status clq_self_test(clq_device *device, const char *family, const char *variant,
                         clq_self_test_run run, const void *context, bool *works);

/* ---- by file: kernels that nothing can stand in for; those of a file stand or fall together, and
 * each is tested when it is first asked for ---- */

struct clq_self_bench;
typedef struct clq_file_test {
    const char *file; /* below kernels/ */
    clq_status (*run)(struct clq_self_bench *bench);
    bool by_kernel; /* tests only what clq_bench_wants names; else all of the file at once */
} clq_file_test;

/* From now on clq_kernel_get tests kernels of these files first, on every device. The table, which
 * ends with NULL, must stay; adding it again does nothing. Whoever asks for such kernels adds their
 * tests before. */
void clq_self_tests_add(const clq_file_test *tests);
/* CLQ_DEVICE when a kernel, built with `options` (NULL: none), or another of its file fails; CLQ_OK
 * also for files without a test. */
clq_status clq_self_test_kernel(clq_device *device, const char *file, const char *kernel,
                                const char *options);
/* Tests all files that were added, built without options; what fails is listed by
 * clq_device_failed_kernels. */
clq_status clq_self_test_files(clq_device *device);
/* CLQ_DEVICE: none of the kernels for `what` works. */
clq_status clq_self_test_none_left(const clq_device *device, const char *what);

/* Keeps what was found; frees it. */
void clq_self_test_close(clq_device *device);

#endif
