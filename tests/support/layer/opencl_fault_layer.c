/* An OpenCL layer that makes the n-th call fail, or kernels of some name do nothing, as if the
 * driver had compiled them wrongly (loaded by the ICD loader from OPENCL_LAYERS). It stands between
 * the program and every driver, so the library under test is the shipped one.
 *
 * A test finds the functions at the end with dlsym in the loaded library; for a command it sets
 * CLQ_FAULT_BREAK to the name. Only calls that report an error code are counted; releases pass
 * through. */
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>

static const cl_icd_dispatch *next;
static cl_icd_dispatch layer;
static atomic_long calls, failing_call;
static _Atomic cl_int failure;
static const char *_Atomic broken_kernels;

/* Counts a call; whether it is the one that fails. */
static int fails(void) {
    return atomic_fetch_add(&calls, 1) + 1 == atomic_load(&failing_call);
}

/* A wrapper of an entry point that returns its error, and of one that stores it in the last
 * argument. The arguments come twice: with types, and plain. */
#define RETURNS_ERROR(name, typed, plain)                                                          \
    static cl_int CL_API_CALL fault_##name typed {                                                 \
        return fails() ? atomic_load(&failure) : next->name plain;                                 \
    }
#define STORES_ERROR(type, name, typed, plain)                                                     \
    static type CL_API_CALL fault_##name typed {                                                   \
        if (!fails()) {                                                                            \
            return next->name plain;                                                               \
        }                                                                                          \
        if (error) {                                                                               \
            *error = atomic_load(&failure);                                                        \
        }                                                                                          \
        return NULL;                                                                               \
    }

typedef void(CL_CALLBACK *context_notify)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *program_notify)(cl_program, void *);

RETURNS_ERROR(clGetPlatformInfo,
              (cl_platform_id platform, cl_platform_info name, size_t size, void *value,
               size_t *needed),
              (platform, name, size, value, needed))
RETURNS_ERROR(clGetDeviceIDs,
              (cl_platform_id platform, cl_device_type type, cl_uint count, cl_device_id *devices,
               cl_uint *found),
              (platform, type, count, devices, found))
RETURNS_ERROR(clGetDeviceInfo,
              (cl_device_id device, cl_device_info name, size_t size, void *value, size_t *needed),
              (device, name, size, value, needed))
STORES_ERROR(cl_context, clCreateContext,
             (const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
              context_notify notify, void *data, cl_int *error),
             (properties, count, devices, notify, data, error))
STORES_ERROR(cl_command_queue, clCreateCommandQueue,
             (cl_context context, cl_device_id device, cl_command_queue_properties properties,
              cl_int *error),
             (context, device, properties, error))
STORES_ERROR(cl_mem, clCreateBuffer,
             (cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *error),
             (context, flags, size, host, error))
STORES_ERROR(cl_mem, clCreateSubBuffer,
             (cl_mem buffer, cl_mem_flags flags, cl_buffer_create_type type, const void *info,
              cl_int *error),
             (buffer, flags, type, info, error))
STORES_ERROR(cl_program, clCreateProgramWithSource,
             (cl_context context, cl_uint count, const char **strings, const size_t *lengths,
              cl_int *error),
             (context, count, strings, lengths, error))
STORES_ERROR(cl_program, clCreateProgramWithBinary,
             (cl_context context, cl_uint count, const cl_device_id *devices, const size_t *lengths,
              const unsigned char **binaries, cl_int *states, cl_int *error),
             (context, count, devices, lengths, binaries, states, error))
RETURNS_ERROR(clBuildProgram,
              (cl_program program, cl_uint count, const cl_device_id *devices, const char *options,
               program_notify notify, void *data),
              (program, count, devices, options, notify, data))
RETURNS_ERROR(clGetProgramInfo,
              (cl_program program, cl_program_info name, size_t size, void *value, size_t *needed),
              (program, name, size, value, needed))
RETURNS_ERROR(clGetProgramBuildInfo,
              (cl_program program, cl_device_id device, cl_program_build_info name, size_t size,
               void *value, size_t *needed),
              (program, device, name, size, value, needed))
STORES_ERROR(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *error),
             (program, name, error))
RETURNS_ERROR(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t size, const void *value),
              (kernel, index, size, value))
RETURNS_ERROR(clGetKernelInfo,
              (cl_kernel kernel, cl_kernel_info name, size_t size, void *value, size_t *needed),
              (kernel, name, size, value, needed))
RETURNS_ERROR(clGetKernelWorkGroupInfo,
              (cl_kernel kernel, cl_device_id device, cl_kernel_work_group_info name, size_t size,
               void *value, size_t *needed),
              (kernel, device, name, size, value, needed))
RETURNS_ERROR(clGetEventInfo,
              (cl_event event, cl_event_info name, size_t size, void *value, size_t *needed),
              (event, name, size, value, needed))
RETURNS_ERROR(clGetEventProfilingInfo,
              (cl_event event, cl_profiling_info name, size_t size, void *value, size_t *needed),
              (event, name, size, value, needed))
RETURNS_ERROR(clFinish, (cl_command_queue queue), (queue))
RETURNS_ERROR(clEnqueueReadBuffer,
              (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
               void *data, cl_uint count, const cl_event *events, cl_event *event),
              (queue, buffer, blocking, offset, size, data, count, events, event))
RETURNS_ERROR(clEnqueueWriteBuffer,
              (cl_command_queue queue, cl_mem buffer, cl_bool blocking, size_t offset, size_t size,
               const void *data, cl_uint count, const cl_event *events, cl_event *event),
              (queue, buffer, blocking, offset, size, data, count, events, event))
RETURNS_ERROR(clEnqueueFillBuffer,
              (cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size,
               size_t offset, size_t size, cl_uint count, const cl_event *events, cl_event *event),
              (queue, buffer, pattern, pattern_size, offset, size, count, events, event))
RETURNS_ERROR(clEnqueueCopyBuffer,
              (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset,
               size_t size, cl_uint count, const cl_event *events, cl_event *event),
              (queue, from, to, from_offset, to_offset, size, count, events, event))
/* Whether a kernel's name begins with one of those that are to do nothing. */
static int is_broken(cl_kernel kernel) {
    char name[128] = "";
    const char *broken = atomic_load(&broken_kernels);
    if (!broken ||
        next->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL) != 0) {
        return 0;
    }
    return strncmp(name, broken, strlen(broken)) == 0;
}

static cl_int CL_API_CALL fault_clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                                       cl_uint dims, const size_t *offset,
                                                       const size_t *global, const size_t *local,
                                                       cl_uint count, const cl_event *events,
                                                       cl_event *event) {
    if (fails()) {
        return atomic_load(&failure);
    }
    if (is_broken(kernel)) {
        return event ? next->clEnqueueMarkerWithWaitList(queue, count, events, event) : CL_SUCCESS;
    }
    return next->clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, count, events,
                                        event);
}
RETURNS_ERROR(clEnqueueMigrateMemObjects,
              (cl_command_queue queue, cl_uint objects, const cl_mem *memory,
               cl_mem_migration_flags flags, cl_uint count, const cl_event *events,
               cl_event *event),
              (queue, objects, memory, flags, count, events, event))

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info name, size_t size, void *value,
                                               size_t *needed) {
    if (name != CL_LAYER_API_VERSION || (value && size < sizeof(cl_layer_api_version))) {
        return CL_INVALID_VALUE;
    }
    if (value) {
        *(cl_layer_api_version *)value = CL_LAYER_API_VERSION_100;
    }
    if (needed) {
        *needed = sizeof(cl_layer_api_version);
    }
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint count, const cl_icd_dispatch *target,
                                            cl_uint *count_out, const cl_icd_dispatch **out) {
    if (count < offsetof(cl_icd_dispatch, clEnqueueMigrateMemObjects) / sizeof(void *) + 1) {
        return CL_INVALID_VALUE; /* a loader from before OpenCL 1.2 */
    }
    next = target;
    if (getenv("CLQ_FAULT_BREAK")) {
        atomic_store(&broken_kernels, getenv("CLQ_FAULT_BREAK"));
    }
#define WRAP(name) layer.name = fault_##name
    WRAP(clGetPlatformInfo);
    WRAP(clGetDeviceIDs);
    WRAP(clGetDeviceInfo);
    WRAP(clCreateContext);
    WRAP(clCreateCommandQueue);
    WRAP(clCreateBuffer);
    WRAP(clCreateSubBuffer);
    WRAP(clCreateProgramWithSource);
    WRAP(clCreateProgramWithBinary);
    WRAP(clBuildProgram);
    WRAP(clGetProgramInfo);
    WRAP(clGetProgramBuildInfo);
    WRAP(clCreateKernel);
    WRAP(clSetKernelArg);
    WRAP(clGetKernelInfo);
    WRAP(clGetKernelWorkGroupInfo);
    WRAP(clGetEventInfo);
    WRAP(clGetEventProfilingInfo);
    WRAP(clFinish);
    WRAP(clEnqueueReadBuffer);
    WRAP(clEnqueueWriteBuffer);
    WRAP(clEnqueueFillBuffer);
    WRAP(clEnqueueCopyBuffer);
    WRAP(clEnqueueNDRangeKernel);
    WRAP(clEnqueueMigrateMemObjects);
    *out = &layer;
    *count_out = sizeof layer / sizeof(void *); /* entries left NULL go to the driver */
    return CL_SUCCESS;
}

/* ---- for tests ---- */

/* Counts calls from now on and makes the nth fail with `error`; 0: none fails. */
void clq_fault_set(long nth, cl_int error) {
    atomic_store(&failing_call, 0);
    atomic_store(&calls, 0);
    atomic_store(&failure, error);
    atomic_store(&failing_call, nth);
}

/* From now on kernels whose names begin so do nothing; NULL: all do what they should. The text is
 * the caller's. */
void clq_fault_break(const char *prefix) {
    atomic_store(&broken_kernels, prefix);
}

long clq_fault_calls(void) {
    return atomic_load(&calls);
}
