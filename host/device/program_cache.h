/* Built programs on disk (cache_file.h says where and how). The key of a program: its source with
 * all includes, its build options, and the platform, device and driver with their versions.
 *
 * PoCL is left out: it keeps what it builds itself. Making a binary costs it a second build of all
 * kernels (3.5 s for ResNet-20 in PoCL 3.1; what restoring saves is a tenth of a second a run), and
 * PoCL 6.0 fails assertions of LLVM in making and restoring them.
 *
 * A driver that dies of binaries does so once. While one is made, and while a restored program is
 * on trial, that is until each kernel taken from it has run, the cache holds a mark of the driver.
 * A mark that a process finds was left by one that crashed: no program of that driver is kept any
 * more, and each run says so, until the mark is removed. (Where another process that is alive has
 * the mark, this one builds from source without a word, which does no harm.) */
#ifndef CLQ_DEVICE_PROGRAM_CACHE_H
#define CLQ_DEVICE_PROGRAM_CACHE_H

#include "device/internal.h"

/* Whether programs for the device are kept and restored; clq_device's restores_programs. */
bool clq_program_cache_pays(const clq_device *device);
/* A built program from the cache; NULL when it is not there or the driver does not take it. `name`:
 * a kernel in it. */
cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options,
                                  const char *name);
/* Keeps a built program's binary. Failing to is not an error. */
void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program);

/* Before something that a driver may die of; false: it must not be tried. */
bool clq_program_trial_begin(clq_device *device);
/* It came to its end; `failed`: with an error, so that it is not to be tried again. */
void clq_program_trial_end(clq_device *device, bool failed);

#endif
