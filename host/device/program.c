/* Kernels by name: programs built from the embedded registry, kept for the device's life. */
#include <string.h>

#include "base/arguments.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "device/cl_status.h"
#include "device/internal.h"
#include "device/kernel_registry.h"
#include "device/program_cache.h"
#include "device/self_test.h"

static const clq_kernel_entry *find_entry(const char *name) {
    for (unsigned long i = 0; i < clq_kernel_registry_count; i++) {
        if (strcmp(clq_kernel_registry[i].name, name) == 0) {
            return &clq_kernel_registry[i];
        }
    }
    return NULL;
}

const char *clq_kernel_source(const char *name) {
    const clq_kernel_entry *entry = find_entry(name);
    return entry ? entry->source : "";
}

/* The options of a program: what describes the device, then the caller's. Macros that the source
 * does not mention are left out, so that dot paths and schedules share what does not depend on
 * them: compilers and drivers' caches tell programs apart by their options. */
clq_status clq_program_options(const clq_device *device, const char *source, clq_dot dot,
                               const char *options, char **all) {
    const bool gpu = device->info.schedule == CLQ_SCHEDULE_GPU;
    clq_text text = {0};
    clq_text_puts(&text, "-w"); /* some drivers print warnings on stderr */
    if (strstr(source, "CLQ_SCHEDULE_") && !strstr(options, "-DCLQ_SCHEDULE_")) {
        clq_text_printf(&text, " -DCLQ_SCHEDULE_%s=1", gpu ? "GPU" : "CPU"); /* not forced */
    }
    if (strstr(source, "CLQ_SIMD_BYTES")) {
        clq_text_printf(&text, " -DCLQ_SIMD_BYTES=%u", device->info.simd_bytes);
    }
    if (strstr(source, "CLQ_DOT_")) {
        clq_text_puts(&text, " -DCLQ_DOT_");
        for (const char *c = clq_dot_name(dot); *c; c++) {
            clq_text_printf(&text, "%c", *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
        }
        clq_text_puts(&text, "=1");
        if (dot == CLQ_DOT_KHR && strncmp(device->info.version, "OpenCL 3.", 9) == 0) {
            clq_text_puts(&text, " -cl-std=CL3.0"); /* compilers declare its functions only there */
        }
    }
    if (device->info.is_cpu && gpu && clq_is_pocl(device) &&
        (strstr(source, "CLQ_SCHEDULE_") || strstr(source, "CLQ_KEEP_LOOPS"))) {
        /* Such a device runs these kernels to test them, so compiling is what takes the time.
         * Oclgrind 21.10 loses kernels so. */
        clq_text_puts(&text, " -cl-opt-disable -DCLQ_KEEP_LOOPS=1"); /* kernels/include/unroll.h */
    }
    if (device->divides_correctly) {
        clq_text_puts(&text, " -cl-fp32-correctly-rounded-divide-sqrt");
    } else if (strstr(source, "CLQ_INEXACT_DIVIDE")) {
        clq_text_puts(&text, " -DCLQ_INEXACT_DIVIDE=1"); /* kernels/include/requantize.h */
    }
    if (*options) {
        clq_text_printf(&text, " %s", options);
    }
    return clq_text_take(&text, all);
}

/* The first lines of the build log, joined by " | " because errors are one line. */
clq_status clq_program_fail(const clq_device *device, cl_program program, cl_int error,
                            const char *file, const char *options) {
    enum { MAX_LINES = 8, MAX_TEXT = 1200 };
    size_t size = 0;
    char *log = NULL;
    clq_text first = {0};
    if (program) {
        clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    }
    if (size > 1 && (log = clq_calloc(size + 1, 1))) {
        clGetProgramBuildInfo(program, device->id, CL_PROGRAM_BUILD_LOG, size, log, NULL);
        char *save = NULL;
        int lines = 0;
        for (char *line = strtok_r(log, "\r\n", &save);
             line && lines < MAX_LINES && first.size < MAX_TEXT;
             line = strtok_r(NULL, "\r\n", &save)) {
            clq_text_printf(&first, "%s%.300s", lines++ ? " | " : "", line);
        }
    }
    clq_status status = clq_cl_fail(error, "building kernels/%s for %s with \"%s\"", file,
                                    device->info.name, options);
    if (first.data) {
        status = clq_fail(status, "%s: %s", clq_last_error(), first.data);
    }
    clq_text_free(&first);
    clq_free(log);
    return status;
}

static cl_int compile_once(const clq_device *device, cl_program handle, const char *options,
                           bool whole) {
    return whole ? clBuildProgram(handle, 1, &device->id, options, NULL, NULL)
                 : clCompileProgram(handle, 1, &device->id, options, 0, NULL, NULL, NULL, NULL);
}

static cl_int compile_with(const clq_device *device, cl_program handle, const char *options,
                           bool whole) {
    const cl_int error = compile_once(device, handle, options, whole);
    /* PoCL fails where another process puts the same program into its cache at this moment. */
    return error == CL_BUILD_PROGRAM_FAILURE || error == CL_COMPILE_PROGRAM_FAILURE
               ? compile_once(device, handle, options, whole)
               : error;
}

/* PoCL begins each program with Clang's header of all built-ins. It is taken for included, and
 * kernels/include/builtins.h stands in for it: building takes 60 ms less so, and finding a program
 * in PoCL's cache, whose key is the preprocessed text, 7 ms instead of 17. */
cl_int clq_program_compile(clq_device *device, cl_program handle, const char *source,
                           const char *options, bool whole) {
    char *declaring = NULL;
    if (device->declares_builtins && strstr(source, "CLQ_DECLARE_BUILTINS") &&
        !strstr(options, "-cl-std=")) {
        declaring = clq_format("%s -D_OPENCL_H_=1 -DCLQ_DECLARE_BUILTINS=1", options);
    }
    if (declaring && compile_with(device, handle, declaring, whole) == CL_SUCCESS) {
        clq_free(declaring);
        return CL_SUCCESS;
    }
    const cl_int error = compile_with(device, handle, options, whole);
    if (declaring && error == CL_SUCCESS) {
        clq_log_debug("%s does not build kernels with our declarations of built-ins",
                      device->info.name);
        device->declares_builtins = false;
    }
    clq_free(declaring);
    return error;
}

static clq_status build(clq_device *device, const clq_kernel_entry *entry, const char *options,
                        clq_program *program) {
    cl_int error;
    program->handle = clq_program_cache_load(device, entry->source, options, entry->name);
    program->restored = program->handle != NULL;
    if (program->restored) {
        return CLQ_OK;
    }
    cl_program handle = clCreateProgramWithSource(device->context, 1,
                                                  (const char *[]){entry->source}, NULL, &error);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "creating the program of kernels/%s", entry->file);
    }
    error = clq_program_compile(device, handle, entry->source, options, true);
    if (error != CL_SUCCESS) {
        clq_status status = clq_program_fail(device, handle, error, entry->file, options);
        clReleaseProgram(handle);
        return status;
    }
    clq_program_cache_store(device, entry->source, options, handle);
    program->handle = handle;
    return CLQ_OK;
}

static clq_status get_program(clq_device *device, const clq_kernel_entry *entry,
                              const char *options, clq_dot dot, clq_program **program) {
    clq_status status = CLQ_OK;
    char *all = NULL;
    clq_program *made = NULL;
    for (clq_program *p = device->programs.first; p; p = p->next) {
        if (p->source == entry->source && p->dot == dot && strcmp(p->options, options) == 0) {
            *program = p;
            return CLQ_OK;
        }
    }
    made = clq_calloc(1, sizeof *made);
    char *copy = clq_strdup(options);
    if (!made || !copy) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_program_options(device, entry->source, dot, options, &all));
    CLQ_GOTO(status, cleanup, build(device, entry, all, made));
    made->source = entry->source;
    made->options = copy;
    made->dot = dot;
    made->next = device->programs.first;
    device->programs.first = made;
    *program = made;
    made = NULL;
    copy = NULL;
cleanup:
    clq_free(made);
    clq_free(copy);
    clq_free(all);
    return status;
}

static clq_status create_kernel(clq_device *device, const clq_program *program, const char *name,
                                clq_kernel **kernel) {
    cl_int error;
    clq_kernel *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->name = name;
    made->program = program;
    made->handle = clCreateKernel(program->handle, name, &error);
    if (error != CL_SUCCESS) {
        clq_free(made);
        return clq_cl_fail(error, "creating kernel %s", name);
    }
    error = clGetKernelInfo(made->handle, CL_KERNEL_NUM_ARGS, sizeof made->arg_count,
                            &made->arg_count, NULL);
    if (error == CL_SUCCESS) {
        error = clGetKernelWorkGroupInfo(made->handle, device->id, CL_KERNEL_WORK_GROUP_SIZE,
                                         sizeof made->max_local, &made->max_local, NULL);
    }
    if (error == CL_SUCCESS) {
        error =
            clGetKernelWorkGroupInfo(made->handle, device->id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
                                     sizeof made->compile_local, made->compile_local, NULL);
    }
    if (error != CL_SUCCESS) {
        clReleaseKernel(made->handle);
        clq_free(made);
        return clq_cl_fail(error, "reading the properties of kernel %s", name);
    }
    made->on_trial = program->restored && clq_program_trial_begin(device);
    *kernel = made;
    return CLQ_OK;
}

static uint64_t kernel_hash(const char *name, const char *options, clq_dot dot) {
    uint64_t hash = clq_hash64_seeded(name, strlen(name), (uint64_t)dot);
    return clq_hash64_seeded(options, strlen(options), hash);
}

/* A kernel made before, or NULL. `source` NULL: of any program. */
static clq_kernel *find_made(const clq_device *device, const char *name, const char *options,
                             clq_dot dot, const char *source) {
    uint64_t hash = kernel_hash(name, options, dot);
    clq_kernel *k = device->programs.buckets[hash % CLQ_KERNEL_BUCKETS];
    while (k && !(k->hash == hash && k->program->dot == dot && strcmp(k->name, name) == 0 &&
                  strcmp(k->program->options, options) == 0 &&
                  (!source || k->program->source == source))) {
        k = k->next;
    }
    return k;
}

clq_status clq_kernel_get_entry(clq_device *device, const clq_kernel_entry *entry,
                                const char *options, clq_dot dot, clq_kernel **kernel) {
    options = options ? options : "";
    *kernel = find_made(device, entry->name, options, dot, entry->source);
    if (*kernel) {
        return CLQ_OK;
    }
    clq_program *program = NULL;
    clq_kernel *made = NULL;
    CLQ_TRY(get_program(device, entry, options, dot, &program));
    CLQ_TRY(create_kernel(device, program, entry->name, &made));
    made->hash = kernel_hash(entry->name, options, dot);
    clq_kernel **bucket = &device->programs.buckets[made->hash % CLQ_KERNEL_BUCKETS];
    made->next = *bucket;
    *bucket = made;
    *kernel = made;
    return CLQ_OK;
}

/* Kernels that probe or measure the device are not asked for by clq_kernel_get, nor is one again
 * that was made before. */
clq_status clq_kernel_get(clq_device *device, const char *name, const char *options,
                          clq_kernel **kernel) {
    CLQ_NEEDS(device, name, kernel);
    const clq_dot dot = device->info.dot;
    const clq_kernel_entry *entry = NULL;
    *kernel = find_made(device, name, options ? options : "", dot, NULL);
    if (*kernel) {
        return CLQ_OK;
    }
    entry = find_entry(name);
    if (entry) {
        CLQ_TRY(clq_self_test_kernel(device, entry->file, name, options));
    }
    return clq_kernel_get_dot(device, name, options, dot, kernel);
}

clq_status clq_kernel_get_dot(clq_device *device, const char *name, const char *options,
                              clq_dot dot, clq_kernel **kernel) {
    *kernel = find_made(device, name, options ? options : "", dot, NULL);
    if (*kernel) {
        return CLQ_OK;
    }
    const clq_kernel_entry *entry = find_entry(name);
    if (!entry) {
        return clq_fail(CLQ_INTERNAL, "kernel %s is not in kernels/registry.def", name);
    }
    return clq_kernel_get_entry(device, entry, options, dot, kernel);
}

void clq_programs_free(clq_device *device) {
    for (size_t b = 0; b < CLQ_KERNEL_BUCKETS; b++) {
        for (clq_kernel *k = device->programs.buckets[b], *next; k; k = next) {
            next = k->next;
            if (k->on_trial) { /* was never launched */
                clq_program_trial_end(device, false);
            }
            clReleaseKernel(k->handle);
            clq_free(k);
        }
        device->programs.buckets[b] = NULL;
    }
    for (clq_program *p = device->programs.first, *next; p; p = next) {
        next = p->next;
        clReleaseProgram(p->handle);
        clq_free(p->options);
        clq_free(p);
    }
    device->programs.first = NULL;
}
