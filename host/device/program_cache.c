#include "device/program_cache.h"

cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options) {
    (void)device;
    (void)source;
    (void)options;
    return NULL;
}

void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program) {
    (void)device;
    (void)source;
    (void)options;
    (void)program;
}
