/* Finding the OpenCL devices of this machine and picking one of them. */
#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <CL/cl_ext.h>

#include "base/arguments.h"
#include "base/environment.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "device/choose.h"
#include "device/cl_status.h"
#include "device/pocl_cache.h"

static clq_status no_platform(void) {
    return clq_fail(CLQ_DEVICE, "there is no OpenCL platform on this machine; install a vendor "
                                "driver, or PoCL for the CPU (Debian: pocl-opencl-icd)");
}

static bool is_pocl(cl_platform_id platform) {
    char name[64] = "";
    return clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name, name, NULL) == CL_SUCCESS &&
           strcmp(name, "Portable Computing Language") == 0;
}

/* A driver that cannot list or describe its devices is left out with a warning, so that it does not
 * stand in the way of the others. */
static clq_status find_on_platform(cl_platform_id platform, int platform_index,
                                   clq_found_device **found, size_t *count) {
    clq_status status = CLQ_OK;
    cl_device_id *ids = NULL;
    cl_uint id_count = 0;
    cl_int error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &id_count);
    if (error == CL_DEVICE_NOT_FOUND || (error == CL_SUCCESS && id_count == 0)) {
        return CLQ_OK;
    }
    if (error != CL_SUCCESS) {
        clq_log_warn("OpenCL platform %d cannot list its devices: %s", platform_index,
                     clq_cl_error_name(error));
        return CLQ_OK;
    }
    ids = clq_calloc(id_count, sizeof *ids);
    clq_found_device *grown = clq_realloc(*found, *count + id_count, sizeof *grown);
    if (grown) {
        *found = grown;
    }
    if (!ids || !grown) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, id_count, ids, NULL);
    id_count = error == CL_SUCCESS ? id_count : 0;
    for (cl_uint i = 0; i < id_count; i++) {
        clq_found_device *device = &(*found)[*count];
        *device = (clq_found_device){.platform = platform, .id = ids[i]};
        status = clq_query_device(platform, ids[i], &device->info);
        if (status == CLQ_USAGE || status == CLQ_NO_MEMORY) {
            goto cleanup;
        }
        if (status != CLQ_OK) {
            status = CLQ_OK;
            clq_log_warn("leaving out OpenCL device %d:%u: %s", platform_index, i,
                         clq_last_error());
            continue;
        }
        device->info.platform_index = platform_index;
        device->info.device_index = (int)i;
        (*count)++;
    }
cleanup:
    clq_free(ids);
    return status;
}

/* Refuses what would end the process: PoCL 3.1 takes 440 MiB of address space to open and to
 * compile small kernels, 530 for convolutions, and fails an assertion of its own when it gets less.
 */
static clq_status check_address_space(void) {
    enum { LEAST = 544 << 20 };
    uint64_t limit, used;
    if (clq_address_space(&limit, &used) && limit < LEAST) {
        return clq_fail(CLQ_NO_MEMORY,
                        "the address space of this process is limited to %llu bytes (ulimit -v); "
                        "an OpenCL driver and its compiler need at least %d",
                        (unsigned long long)limit, LEAST);
    }
    return CLQ_OK;
}

static clq_status find_devices(clq_found_device **found, size_t *count) {
    clq_status status = CLQ_OK;
    cl_platform_id *platforms = NULL;
    cl_uint platform_count = 0;
    char *pocl_warning = NULL;
    *found = NULL;
    *count = 0;
    CLQ_TRY(check_address_space());
    if (clq_pocl_cache_prepare(&pocl_warning) != CLQ_OK) {
        pocl_warning = clq_strdup(clq_last_error());
    }
    cl_int error = clGetPlatformIDs(0, NULL, &platform_count);
    if (error == CL_PLATFORM_NOT_FOUND_KHR || (error == CL_SUCCESS && platform_count == 0)) {
        status = no_platform();
        goto cleanup;
    }
    if (error != CL_SUCCESS) {
        status = clq_cl_fail(error, "listing the OpenCL platforms");
        goto cleanup;
    }
    platforms = clq_calloc(platform_count, sizeof *platforms);
    if (!platforms) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    error = clGetPlatformIDs(platform_count, platforms, NULL);
    if (error != CL_SUCCESS) {
        status = clq_cl_fail(error, "listing the OpenCL platforms");
        goto cleanup;
    }
    for (cl_uint p = 0; p < platform_count; p++) {
        if (pocl_warning && is_pocl(platforms[p])) {
            clq_log_warn("%s", pocl_warning);
        }
        CLQ_GOTO(status, cleanup, find_on_platform(platforms[p], (int)p, found, count));
    }
cleanup:
    clq_free(platforms);
    clq_free(pocl_warning);
    if (status != CLQ_OK) {
        clq_free(*found);
        *found = NULL;
        *count = 0;
    }
    return status;
}

clq_status clq_find_devices(clq_found_device **found, size_t *count) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* drivers begin at the first call */
    pthread_mutex_lock(&lock);
    const clq_status status = find_devices(found, count);
    pthread_mutex_unlock(&lock);
    return status;
}

clq_status clq_device_list(clq_device_info *infos, size_t capacity, size_t *count) {
    CLQ_NEEDS(count);
    CLQ_REQUIRE(infos || capacity == 0, "infos must not be NULL");
    clq_found_device *found = NULL;
    CLQ_TRY(clq_find_devices(&found, count));
    for (size_t i = 0; i < *count && i < capacity; i++) {
        infos[i] = found[i].info;
    }
    clq_free(found);
    return CLQ_OK;
}

/* "P:D", both plain decimal numbers. */
static bool parse_indices(const char *text, long *platform, long *device) {
    char *end;
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    *platform = strtol(text, &end, 10);
    if (*end != ':' || !isdigit((unsigned char)end[1])) {
        return false;
    }
    *device = strtol(end + 1, &end, 10);
    return *end == '\0';
}

static bool contains_ignoring_case(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; strlen(text) >= length; text++) {
        if (strncasecmp(text, part, length) == 0) {
            return true;
        }
    }
    return false;
}

static const clq_found_device *first_of_kind(const clq_found_device *found, size_t count,
                                             bool gpu) {
    for (size_t i = 0; i < count; i++) {
        if (gpu ? found[i].info.is_gpu : found[i].info.is_cpu) {
            return &found[i];
        }
    }
    return NULL;
}

static const clq_found_device *match(const clq_found_device *found, size_t count,
                                     const char *selector) {
    long platform, device;
    if (parse_indices(selector, &platform, &device)) {
        for (size_t i = 0; i < count; i++) {
            if (found[i].info.platform_index == platform && found[i].info.device_index == device) {
                return &found[i];
            }
        }
        return NULL;
    }
    if (strcasecmp(selector, "gpu") == 0 || strcasecmp(selector, "cpu") == 0) {
        return first_of_kind(found, count, strcasecmp(selector, "gpu") == 0);
    }
    for (size_t i = 0; i < count; i++) {
        if (contains_ignoring_case(found[i].info.name, selector)) {
            return &found[i];
        }
    }
    for (size_t i = 0; i < count; i++) { /* two drivers may give one CPU the same name */
        if (contains_ignoring_case(found[i].info.platform, selector)) {
            return &found[i];
        }
    }
    return NULL;
}

/* Whether the selector could as well mean `other` as `hit`. */
static bool is_alternative(const clq_device_info *hit, const clq_device_info *other,
                           const char *selector) {
    long platform, device;
    if (other->platform_index != hit->platform_index || other->is_gpu != hit->is_gpu ||
        other->is_cpu != hit->is_cpu) {
        return false;
    }
    if (!selector || strcasecmp(selector, "gpu") == 0 || strcasecmp(selector, "cpu") == 0) {
        return true;
    }
    if (parse_indices(selector, &platform, &device)) {
        return other->device_index == hit->device_index;
    }
    return contains_ignoring_case(other->name, selector) ||
           contains_ignoring_case(other->platform, selector);
}

/* The index-th of the alternatives to `hit`, itself among them, round and round. */
static const clq_found_device *nth(const clq_found_device *found, size_t count,
                                   const clq_found_device *hit, const char *selector, int index) {
    int alternatives = 0;
    for (size_t i = 0; i < count; i++) {
        alternatives += is_alternative(&hit->info, &found[i].info, selector);
    }
    index %= alternatives;
    for (size_t i = 0; i < count; i++) {
        if (is_alternative(&hit->info, &found[i].info, selector) && index-- == 0) {
            return &found[i];
        }
    }
    return hit;
}

static clq_status no_match(const clq_found_device *found, size_t count, const char *selector,
                           const char *origin) {
    clq_text text = {0};
    for (size_t i = 0; i < count; i++) {
        const clq_device_info *info = &found[i].info;
        clq_text_printf(&text, "%s%d:%d %s (%s)", i ? ", " : "", info->platform_index,
                        info->device_index, info->name, info->platform);
    }
    clq_status status = clq_fail(CLQ_DEVICE, "no OpenCL device matches %s'%s'; there is %s", origin,
                                 selector, text.data ? text.data : "none");
    clq_text_free(&text);
    return status;
}

clq_status clq_choose_device(const char *selector, int index, clq_found_device *chosen) {
    clq_found_device *found = NULL;
    const clq_found_device *hit = NULL;
    const char *origin = "";
    size_t count;
    if (!selector || !*selector) {
        selector = clq_environment("CLQUANT_DEVICE");
        origin = "CLQUANT_DEVICE=";
    }
    CLQ_TRY(clq_find_devices(&found, &count));
    if (count == 0) {
        clq_free(found);
        return clq_fail(CLQ_DEVICE, "the OpenCL platforms of this machine have no device");
    }
    selector = selector && *selector ? selector : NULL;
    if (selector) {
        hit = match(found, count, selector);
    } else {
        hit = first_of_kind(found, count, true);
        hit = hit ? hit : first_of_kind(found, count, false);
        hit = hit ? hit : &found[0];
    }
    clq_status status = CLQ_OK;
    if (hit) {
        *chosen = index == 0 ? *hit : *nth(found, count, hit, selector, index);
    } else {
        status = no_match(found, count, selector, origin);
    }
    clq_free(found);
    return status;
}
