#include "device.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/internal.h"
#include "device/self_test.h"
#include "device/tuning.h"

#define COMPILE                                                                                    \
    "clang -x cl -target x86_64-linux-gnu -march=skylake-avx512 -O2 -ffp-contract=off -fPIC "      \
    "-shared -cl-no-stdinc -include " CLQ_SOURCE_DIR "/tests/emulate/builtins.h "                  \
    "-I" CLQ_SOURCE_DIR "/kernels/include -DCLQ_SCHEDULE_CPU=1 "

/* ---- the device ---- */

static const char *folder;
static bool compiling;

void stand_in_setup(const char *kernels, bool compile) {
    folder = kernels;
    compiling = compile;
}

/* As dot4.h spells them. */
const char *clq_dot_name(clq_dot dot) {
    static const char *const names[] = {"MMA", "DP4A", "AVX512VNNI", "AVXVNNI", "AVX2",
                                        "KHR", "AMD",  "ARM",        "PORTABLE"};
    return names[dot];
}

/* The kernels that clq_probe would ask for on a processor with AVX-512. */
static clq_status compile_probes(clq_device *device) {
    const clq_dot dots[] = {CLQ_DOT_AVX512VNNI, CLQ_DOT_AVXVNNI, CLQ_DOT_AVX2, CLQ_DOT_PORTABLE};
    clq_kernel *kernel = NULL;
    CLQ_TRY(
        clq_kernel_get_dot(device, "cpu_probe", "-DCLQ_PROBE_SIMD=64", CLQ_DOT_PORTABLE, &kernel));
    device->info.simd_bytes = 64;
    device->info.dot = CLQ_DOT_AVX512VNNI;
    for (size_t i = 0; i < sizeof dots / sizeof dots[0]; i++) {
        CLQ_TRY(clq_kernel_get_dot(device, "dot_probe", NULL, dots[i], &kernel));
        device->info.dots |= 1u << dots[i];
    }
    return CLQ_OK;
}

clq_status clq_device_open(const char *selector, clq_device **opened) {
    static clq_device device;
    (void)selector;
    device = (clq_device){.info = {.name = "this processor",
                                   .is_cpu = true,
                                   .compute_units = 1,
                                   .base_alignment = 64,
                                   .schedule = CLQ_SCHEDULE_CPU}};
    *opened = &device;
    return compiling ? compile_probes(&device) : clq_probe(&device);
}

const clq_device_info *clq_device_get_info(const clq_device *device) {
    return &device->info;
}

clq_status clq_has_extension(cl_device_id id, const char *prefix, bool *has) {
    (void)id;
    (void)prefix;
    *has = false;
    return CLQ_OK;
}

const char *clq_tuning_find(const clq_device *device, const char *key) {
    (void)device;
    (void)key;
    return NULL;
}

/* ---- kernels ---- */

static const clq_kernel_entry *find_entry(const char *name) {
    const clq_kernel_entry *entry = clq_kernel_registry;
    while (strcmp(entry->name, name) != 0) {
        entry++;
    }
    return entry;
}

const char *clq_kernel_source(const char *name) {
    return find_entry(name)->source;
}

clq_status clq_kernel_get_dot(clq_device *device, const char *name, const char *options,
                              clq_dot dot, clq_kernel **kernel) {
    char defines[256], path[512], command[2048];
    snprintf(defines, sizeof defines, "-DCLQ_DOT_%s=1 -DCLQ_SIMD_BYTES=%u %s", clq_dot_name(dot),
             device->info.simd_bytes, options ? options : "");
    snprintf(path, sizeof path, "%s/%s %s.so", folder, name, defines);
    snprintf(command, sizeof command,
             "[ -e '%s' ] || " COMPILE "%s -o '%s' " CLQ_SOURCE_DIR "/kernels/%s", path, defines,
             path, find_entry(name)->file);
    if (compiling && system(command) != 0) {
        return clq_fail(CLQ_DEVICE, "%s", command);
    }
    *kernel = clq_calloc(1, sizeof **kernel); /* kept until the program ends */
    void *library = dlopen(path, RTLD_NOW);
    if (!*kernel || !library) {
        return clq_fail(CLQ_DEVICE, "%s", library ? "no memory" : dlerror());
    }
    (*kernel)->handle = dlsym(library, name);
    return CLQ_OK;
}

clq_status clq_kernel_get(clq_device *device, const char *name, const char *options,
                          clq_kernel **kernel) {
    return clq_kernel_get_dot(device, name, options, device->info.dot, kernel);
}

/* ---- launches ---- */

static size_t global_id[3], global_size[3];

/* As clang names OpenCL's get_global_id(uint) and get_global_size(uint). */
size_t _Z13get_global_idj(unsigned dimension);
size_t _Z15get_global_sizej(unsigned dimension);

size_t _Z13get_global_idj(unsigned dimension) {
    return global_id[dimension];
}

size_t _Z15get_global_sizej(unsigned dimension) {
    return global_size[dimension];
}

static char *data_of(const clq_buffer *buffer) {
    return buffer ? (char *)buffer->memory + buffer->offset : NULL;
}

void clq_device_set_work(clq_device *device, double operations) { /* nothing is profiled */
    (void)device;
    (void)operations;
}

clq_status clq_launch(clq_device *device, clq_kernel *kernel, clq_range range, const clq_arg *args,
                      size_t arg_count) {
    /* A pointer and an int32 take one place each in the x86-64 calling convention, and a function
     * may be passed more than it takes. */
    void (*function)(uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t, uintptr_t);
    uintptr_t a[6] = {0};
    (void)device;
    *(void **)&function = kernel->handle;
    for (size_t i = 0; i < arg_count; i++) {
        a[i] = args[i].kind == CLQ_ARG_BUFFER ? (uintptr_t)data_of(args[i].value.buffer)
                                              : (uintptr_t)args[i].value.u32;
    }
    memcpy(global_size, range.global, sizeof global_size);
    size_t items = compiling ? 0 : range.global[0] * range.global[1];
    for (size_t i = 0; i < items; i++) {
        global_id[0] = i % range.global[0];
        global_id[1] = i / range.global[0];
        function(a[0], a[1], a[2], a[3], a[4], a[5]);
    }
    return CLQ_OK;
}

/* ---- memory ---- */

clq_status clq_buffer_create(clq_device *device, size_t size, clq_buffer **buffer) {
    *buffer = clq_calloc(1, sizeof **buffer);
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!*buffer || !memory) {
        return CLQ_NO_MEMORY;
    }
    **buffer = (clq_buffer){.device = device, .memory = memory, .size = size};
    return CLQ_OK;
}

clq_status clq_buffer_view(clq_buffer *parent, size_t offset, size_t size, clq_buffer **view) {
    *view = clq_calloc(1, sizeof **view);
    if (!*view) {
        return CLQ_NO_MEMORY;
    }
    **view = (clq_buffer){.device = parent->device,
                          .memory = parent->memory,
                          .size = size,
                          .offset = parent->offset + offset,
                          .is_view = true};
