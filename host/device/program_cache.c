#include "device/program_cache.h"

#include "base/log.h"
#include "device/cache_file.h"
#include "device/cl_status.h"

static clq_cache_key program_key(const clq_device *device, const char *source,
                                 const char *options) {
    clq_cache_key key = clq_cache_key_start();
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    clq_cache_key_add_text(&key, options);
    clq_cache_key_add_text(&key, source);
    return key;
}

cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options) {
    void *binary = NULL;
    size_t size;
    if (!clq_cache_load("program", program_key(device, source, options), &binary, &size)) {
        return NULL;
    }
    cl_int error, binary_error;
    cl_program program =
        clCreateProgramWithBinary(device->context, 1, &device->id, &size,
                                  (const unsigned char *[]){binary}, &binary_error, &error);
    clq_free(binary);
    if (error == CL_SUCCESS) {
        error = binary_error != CL_SUCCESS
                    ? binary_error
                    : clBuildProgram(program, 1, &device->id, options, NULL, NULL);
        if (error != CL_SUCCESS) {
            clReleaseProgram(program);
        }
    }
    if (error != CL_SUCCESS) {
        clq_log_debug("%s does not take a cached program: %s", device->info.name,
                      clq_cl_error_name(error));
        return NULL;
    }
    return program;
}

/* Whether this is the first time that the program would be stored; leaves a mark. */
static bool first_time(clq_cache_key key) {
    void *mark = NULL;
    size_t size;
    if (clq_cache_load("built", key, &mark, &size)) {
        clq_free(mark);
        return false;
    }
    clq_cache_store("built", key, "", 0);
    return true;
}

void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program) {
    size_t size = 0;
    if (!clq_cache_enabled()) {
        return;
    }
    clq_cache_key key = program_key(device, source, options);
    if (device->info.is_cpu && first_time(key)) {
        return;
    }
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) !=
            CL_SUCCESS ||
        size == 0) {
        return;
    }
    unsigned char *binary = clq_calloc(size, 1);
    if (!binary) {
        return;
    }
    if (clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) ==
        CL_SUCCESS) {
        clq_cache_store("program", key, binary, size);
    }
    clq_free(binary);
}
