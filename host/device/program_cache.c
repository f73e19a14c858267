#include "device/program_cache.h"

#include <string.h>

#include "base/log.h"
#include "device/cache_file.h"
#include "device/cl_status.h"

static const char program_kind[] = "program", mark_kind[] = "trying";

bool clq_program_cache_pays(const clq_device *device) {
    return !clq_is_pocl(device);
}

/* ---- the mark ---- */

static clq_cache_key driver_key(const clq_device *device) {
    clq_cache_key key = clq_cache_key_start();
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    return key;
}

bool clq_program_trial_begin(clq_device *device) {
    if (device->trials == 0) {
        const clq_mark_state state =
            clq_cache_mark_begin(mark_kind, driver_key(device), &device->mark);
        if (state == CLQ_MARK_LEFT) {
            clq_log_warn("%s, driver %s: its built programs are not kept, as a process that used "
                         "kept ones did not come to its end; to try again, remove %s",
                         device->info.name, device->info.driver, device->mark.path);
            clq_free(device->mark.path);
            device->mark.path = NULL;
        }
        if (state != CLQ_MARK_MADE) {
            device->restores_programs = false;
            return false;
        }
    }
    device->trials++;
    return true;
}

void clq_program_trial_end(clq_device *device, bool failed) {
    device->trials--;
    if (failed || device->trials == 0) {
        clq_cache_mark_end(&device->mark, failed);
        device->restores_programs &= !failed;
    }
}

/* ---- programs ---- */

static clq_cache_key program_key(const clq_device *device, const char *source,
                                 const char *options) {
    clq_cache_key key = clq_cache_key_start();
    clq_cache_key_add(&key, &device->identity, sizeof device->identity);
    clq_cache_key_add_text(&key, options);
    clq_cache_key_add_text(&key, source);
    return key;
}

/* A program of the binary that gives the kernel; NULL when the driver does not take it. */
static cl_program restore(const clq_device *device, const void *binary, size_t size,
                          const char *options, const char *name) {
    cl_int error, binary_error = CL_SUCCESS;
    cl_program program =
        clCreateProgramWithBinary(device->context, 1, &device->id, &size,
                                  (const unsigned char *[]){binary}, &binary_error, &error);
    if (error != CL_SUCCESS) {
        program = NULL;
    } else if (binary_error != CL_SUCCESS) {
        error = binary_error;
    } else {
        error = clBuildProgram(program, 1, &device->id, options, NULL, NULL);
    }
    if (error == CL_SUCCESS) {
        cl_kernel kernel = clCreateKernel(program, name, &error);
        if (error == CL_SUCCESS) {
            clReleaseKernel(kernel);
            return program;
        }
    }
    if (program) {
        clReleaseProgram(program);
    }
    clq_log_debug("%s does not take a cached program: %s", device->info.name,
                  clq_cl_error_name(error));
    return NULL;
}

cl_program clq_program_cache_load(clq_device *device, const char *source, const char *options,
                                  const char *name) {
    void *binary = NULL;
    size_t size;
    cl_program program = NULL;
    const clq_cache_key key = program_key(device, source, options);
    if (!device->restores_programs || !clq_cache_load(program_kind, key, &binary, &size)) {
        return NULL;
    }
    if (clq_program_trial_begin(device)) {
        program = restore(device, binary, size, options, name);
        clq_program_trial_end(device, false);
        if (!program) {
            clq_cache_drop(program_kind, key); /* to be stored anew */
        }
    }
    clq_free(binary);
    return program;
}

/* clq_free it; NULL when the driver does not give it. */
static unsigned char *binary_of(cl_program program, size_t *size) {
    *size = 0;
    if (clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof *size, size, NULL) !=
            CL_SUCCESS ||
        *size == 0) {
        return NULL;
    }
    unsigned char *binary = clq_calloc(*size, 1);
    if (binary && clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof binary, &binary, NULL) !=
                      CL_SUCCESS) {
        clq_free(binary);
        return NULL;
    }
    return binary;
}

void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program) {
    size_t size;
    if (!device->restores_programs || !clq_cache_enabled() || !clq_program_trial_begin(device)) {
        return;
    }
    unsigned char *binary = binary_of(program, &size);
    clq_program_trial_end(device, false);
    if (binary) {
        clq_cache_store(program_kind, program_key(device, source, options), binary, size);
    }
    clq_free(binary);
}
