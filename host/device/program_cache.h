/* Built programs on disk (cache_file.h says where and how). The key of a program: its source with
 * all includes, its build options, and the platform, device and driver with their versions.
 *
 * CPU drivers compile once more to produce a binary (PoCL: a fifth of the build), so on a CPU the
 * first build leaves only a mark and the second one stores: a machine that runs once, as in CI,
 * does not pay for a cache that nobody reads. */
#ifndef CLQ_DEVICE_PROGRAM_CACHE_H
#define CLQ_DEVICE_PROGRAM_CACHE_H

#include "device/internal.h"

/* A built program from the cache; NULL when it is not there or the driver does not take it. */
cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options);
/* Keeps a built program's binary. Failing to is not an error. */
void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program);

#endif
