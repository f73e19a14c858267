/* What a driver reports about a device. Nothing is inferred from names; what drivers cannot tell or
 * tell wrongly (the instruction sets) is found by running kernels, in dot_probe.c. */
#include <string.h>

#include <CL/cl_ext.h>

#include "base/environment.h"
#include "device/cl_status.h"
#include "device/internal.h"

/* Copies without the blanks that some drivers put around and inside their names. */
static void copy_squeezed(char *to, size_t size, const char *from) {
    size_t n = 0;
    for (; *from && n + 1 < size; from++) {
        bool blank = *from == ' ' || *from == '\t' || *from == '\n';
        if (!blank) {
            to[n++] = *from;
        } else if (n > 0 && to[n - 1] != ' ') {
            to[n++] = ' ';
        }
    }
    while (n > 0 && to[n - 1] == ' ') {
        n--;
    }
    to[n] = '\0';
}

typedef cl_int (*text_query)(void *object, cl_uint parameter, size_t size, void *value,
                             size_t *needed);

static cl_int device_query(void *object, cl_uint parameter, size_t size, void *value,
                           size_t *needed) {
    return clGetDeviceInfo((cl_device_id)object, parameter, size, value, needed);
}

static cl_int platform_query(void *object, cl_uint parameter, size_t size, void *value,
                             size_t *needed) {
    return clGetPlatformInfo((cl_platform_id)object, parameter, size, value, needed);
}

/* A text of any length; clq_free *text. */
static clq_status query_text(text_query query, void *object, cl_uint parameter, char **text) {
    size_t size = 0;
    *text = NULL;
    cl_int error = query(object, parameter, 0, NULL, &size);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "reading OpenCL text 0x%x", parameter);
    }
    char *value = clq_calloc(size + 1, 1);
    if (!value) {
        return CLQ_NO_MEMORY;
    }
    error = query(object, parameter, size, value, NULL);
    if (error != CL_SUCCESS) {
        clq_free(value);
        return clq_cl_fail(error, "reading OpenCL text 0x%x", parameter);
    }
    *text = value;
    return CLQ_OK;
}

static clq_status query_name(text_query query, void *object, cl_uint parameter, char *out,
                             size_t size) {
    char *text;
    CLQ_TRY(query_text(query, object, parameter, &text));
    copy_squeezed(out, size, text);
    clq_free(text);
    return CLQ_OK;
}

static clq_status query_value(cl_device_id id, cl_device_info parameter, void *value, size_t size) {
    cl_int error = clGetDeviceInfo(id, parameter, size, value, NULL);
    return error == CL_SUCCESS
               ? CLQ_OK
               : clq_cl_fail(error, "reading OpenCL device property 0x%x", parameter);
}

clq_status clq_has_extension(cl_device_id id, const char *prefix, bool *has) {
    char *text;
    CLQ_TRY(query_text(device_query, id, CL_DEVICE_EXTENSIONS, &text));
    *has = false;
    for (const char *hit = text; !*has && (hit = strstr(hit, prefix)); hit++) {
        *has = hit == text || hit[-1] == ' ';
    }
    clq_free(text);
    return CLQ_OK;
}

/* Whether the extension is there and u8 times s8 is done by an instruction. Devices with version 1
 * of the extension cannot tell, and count as not accelerated. */
static clq_status query_khr_dot(cl_device_id id, bool *accelerated) {
    cl_device_integer_dot_product_acceleration_properties_khr properties = {0};
    bool has;
    *accelerated = false;
    CLQ_TRY(clq_has_extension(id, "cl_khr_integer_dot_product", &has));
    if (has &&
        clGetDeviceInfo(id, CL_DEVICE_INTEGER_DOT_PRODUCT_ACCELERATION_PROPERTIES_4x8BIT_PACKED_KHR,
                        sizeof properties, &properties, NULL) == CL_SUCCESS) {
        *accelerated = properties.mixed_signedness_accelerated == CL_TRUE;
    }
    return CLQ_OK;
}

/* Bytes of a float vector that a CPU driver calls native, as one of 0, 16, 32, 64. */
static unsigned vector_bytes(cl_uint native_floats) {
    return native_floats >= 16 ? 64 : native_floats >= 8 ? 32 : native_floats >= 4 ? 16 : 0;
}

/* CLQUANT_SCHEDULE, else CPU devices take the CPU schedule. */
static clq_status choose_schedule(const clq_device_info *info, clq_schedule *schedule) {
    const char *forced = clq_environment("CLQUANT_SCHEDULE");
    *schedule = info->is_cpu ? CLQ_SCHEDULE_CPU : CLQ_SCHEDULE_GPU;
    if (!forced) {
        return CLQ_OK;
    }
    if (strcmp(forced, "cpu") != 0 && strcmp(forced, "gpu") != 0) {
        return clq_fail(CLQ_USAGE, "CLQUANT_SCHEDULE is '%s'; it can be cpu or gpu", forced);
    }
    *schedule = strcmp(forced, "cpu") == 0 ? CLQ_SCHEDULE_CPU : CLQ_SCHEDULE_GPU;
    return CLQ_OK;
}

clq_status clq_query_device(cl_platform_id platform, cl_device_id id, clq_device_info *info) {
    const struct {
        text_query query;
        void *object;
        cl_uint parameter;
        char *out;
    } names[] = {
        {device_query, id, CL_DEVICE_NAME, info->name},
        {device_query, id, CL_DEVICE_VENDOR, info->vendor},
        {device_query, id, CL_DEVICE_VERSION, info->version},
        {device_query, id, CL_DRIVER_VERSION, info->driver},
        {platform_query, platform, CL_PLATFORM_NAME, info->platform},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CLQ_TRY(query_name(names[i].query, names[i].object, names[i].parameter, names[i].out,
                           sizeof info->name));
    }
    cl_device_type type = 0;
    cl_uint units = 0, align_bits = 0, native_floats = 0;
    cl_ulong global = 0, allocation = 0, local = 0, cache = 0;
    CLQ_TRY(query_value(id, CL_DEVICE_TYPE, &type, sizeof type));
    CLQ_TRY(query_value(id, CL_DEVICE_MAX_COMPUTE_UNITS, &units, sizeof units));
    CLQ_TRY(query_value(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, &align_bits, sizeof align_bits));
    CLQ_TRY(
        query_value(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, &native_floats, sizeof native_floats));
    CLQ_TRY(query_value(id, CL_DEVICE_GLOBAL_MEM_SIZE, &global, sizeof global));
    CLQ_TRY(query_value(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &allocation, sizeof allocation));
    CLQ_TRY(query_value(id, CL_DEVICE_LOCAL_MEM_SIZE, &local, sizeof local));
    CLQ_TRY(query_value(id, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, &cache, sizeof cache));
    CLQ_TRY(query_value(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, &info->max_work_group,
                        sizeof info->max_work_group));
    CLQ_TRY(clq_has_extension(id, "cl_khr_fp16", &info->has_fp16));
    CLQ_TRY(query_khr_dot(id, &info->has_int8_dot_khr));
    info->is_cpu = type & CL_DEVICE_TYPE_CPU;
    info->is_gpu = type & CL_DEVICE_TYPE_GPU;
    info->compute_units = units;
    info->global_memory = global;
    info->max_allocation = allocation;
    info->local_memory = local;
    info->cache = cache;
    info->base_alignment = align_bits >= 8 ? align_bits / 8 : 1;
    info->simd_bytes = info->is_cpu ? vector_bytes(native_floats) : 0;
    CLQ_TRY(choose_schedule(info, &info->schedule));
    info->dot = CLQ_DOT_PORTABLE;
    info->dots = 0;
    return CLQ_OK;
}
