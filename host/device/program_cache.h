#ifndef CLQ_DEVICE_PROGRAM_CACHE_H
#define CLQ_DEVICE_PROGRAM_CACHE_H

#include "device/internal.h"

/* A built program from the cache; NULL when it is not there or not usable. */
cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options);
/* Keeps a built program's binary. Failing to is not an error. */
void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program);

#endif
