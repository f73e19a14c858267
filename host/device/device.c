/* Opening and closing a device. */
#include <string.h>

#include "base/arguments.h"
#include "base/environment.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "device/choose.h"
#include "device/cl_status.h"
#include "device/program_cache.h"
#include "device/self_test.h"
#include "device/tuning.h"

bool clq_is_pocl(const clq_device *device) {
    return strcmp(device->info.platform, "Portable Computing Language") == 0;
}

static const char *const dot_names[CLQ_DOT_COUNT] = {
    "mma", "dp4a", "avx512vnni", "avxvnni", "avx2", "khr", "amd", "arm", "portable",
};

const char *clq_dot_name(clq_dot dot) {
    return (unsigned)dot < CLQ_DOT_COUNT ? dot_names[dot] : "unknown";
}

clq_status clq_dot_parse(const char *name, clq_dot *dot) {
    CLQ_NEEDS(name, dot);
    for (int i = 0; i < CLQ_DOT_COUNT; i++) {
        if (strcmp(name, dot_names[i]) == 0) {
            *dot = (clq_dot)i;
            return CLQ_OK;
        }
    }
    return clq_fail(CLQ_USAGE,
                    "'%s' is no integer dot-product path; they are mma, dp4a, avx512vnni, "
                    "avxvnni, avx2, khr, amd, arm and portable",
                    name);
}

static uint64_t hash_text(const char *text, uint64_t seed) {
    return clq_hash64_seeded(text, strlen(text) + 1, seed);
}

/* Everything a driver's compiler may depend on. */
static uint64_t identity_of(cl_platform_id platform, const clq_device_info *info) {
    char version[256] = "";
    clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof version, version, NULL);
    version[sizeof version - 1] = '\0';
    uint64_t hash = hash_text(info->platform, 0);
    hash = hash_text(version, hash);
    hash = hash_text(info->name, hash);
    hash = hash_text(info->vendor, hash);
    hash = hash_text(info->version, hash);
    return hash_text(info->driver, hash);
}

static clq_status create_queue(clq_device *device) {
    cl_int error;
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                          (cl_context_properties)device->platform, 0};
    device->context = clCreateContext(properties, 1, &device->id, NULL, NULL, &error);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "creating an OpenCL context on %s", device->info.name);
    }
    device->queue =
        clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, &error);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "creating an OpenCL queue on %s", device->info.name);
    }
    cl_device_fp_config floats = 0;
    clGetDeviceInfo(device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof floats, &floats, NULL);
    device->divides_correctly = (floats & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    device->declares_builtins = clq_is_pocl(device);
    device->identity = identity_of(device->platform, &device->info);
    device->restores_programs = clq_program_cache_pays(device);
    return CLQ_OK;
}

clq_status clq_device_open(const char *selector, clq_device **device) {
    CLQ_NEEDS(device);
    return clq_device_open_nth(selector, 0, device);
}

clq_status clq_device_open_nth(const char *selector, int index, clq_device **device) {
    CLQ_NEEDS(device);
    clq_status status = CLQ_OK;
    clq_found_device chosen;
    uint64_t limit;
    *device = NULL;
    CLQ_TRY(clq_environment_check());
    CLQ_TRY(clq_choose_device(selector, index, &chosen));
    clq_device *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->info = chosen.info;
    made->platform = chosen.platform;
    made->id = chosen.id;
    made->group_memory = clq_group_memory();
    CLQ_GOTO(status, cleanup, create_queue(made));
    CLQ_GOTO(status, cleanup, clq_probe(made));
    const char *forced = clq_environment("CLQUANT_DOT");
    if (forced) {
        clq_dot dot;
        CLQ_GOTO(status, cleanup, clq_fail_in(clq_dot_parse(forced, &dot), "CLQUANT_DOT"));
        CLQ_GOTO(status, cleanup, clq_fail_in(clq_device_set_dot(made, dot), "CLQUANT_DOT"));
    }
    CLQ_GOTO(status, cleanup, clq_tuning_open(made));
    clq_address_space(&limit, &made->address_space);
    *device = made;
    made = NULL;
cleanup:
    clq_device_close(made);
    return status;
}

void clq_device_share(clq_device *device) {
    CLQ_NEEDS_OR(, device);
    atomic_fetch_add(&device->owners, 1);
}

void clq_device_close(clq_device *device) {
    if (!device || atomic_fetch_sub(&device->owners, 1) > 0) {
        return;
    }
    if (device->queue) {
        clFinish(device->queue);
    }
    clq_transfer_free_queues(device);
    if (device->pool.live_handles > 0) {
        clq_log_warn("closing %s with %llu buffers not released", device->info.name,
                     (unsigned long long)device->pool.live_handles);
    }
    clq_tuning_close(device);
    clq_self_test_close(device);
    clq_profile_free(device);
    clq_scratch_trim(device);
    clq_pool_trim(device);
    clq_programs_free(device);
    clq_gemm_forget(device);
    if (device->queue) {
        clReleaseCommandQueue(device->queue);
    }
    if (device->context) {
        clReleaseContext(device->context);
    }
    clq_free(device);
}

const clq_device_info *clq_device_get_info(const clq_device *device) {
    CLQ_NEEDS_OR(NULL, device);
    return &device->info;
}

clq_status clq_device_set_dot(clq_device *device, clq_dot dot) {
    CLQ_NEEDS(device);
    if ((unsigned)dot >= CLQ_DOT_COUNT || !(device->info.dots & (1u << dot))) {
        return clq_fail(CLQ_DEVICE, "the dot path %s does not work on %s", clq_dot_name(dot),
                        device->info.name);
    }
    device->info.dot = dot;
    return CLQ_OK;
}
