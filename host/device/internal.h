/* What the files of host/device share: the device object and the pieces it is made of. */
#ifndef CLQ_DEVICE_INTERNAL_H
#define CLQ_DEVICE_INTERNAL_H

#include <stdatomic.h>

#include <CL/cl.h>
#include <jansson.h>

#include "clquant/device.h"
#include "device/cache_file.h"
#include "device/kernel_registry.h"

/* ---- choose.c, capabilities.c ---- */

typedef struct clq_found_device {
    cl_platform_id platform;
    cl_device_id id;
    clq_device_info info; /* as reported; nothing probed */
} clq_found_device;

/* Every device of every platform, in the loader's order; clq_free *found. CLQ_DEVICE when there
 * is none. */
clq_status clq_find_devices(clq_found_device **found, size_t *count);

/* Fills what the driver reports. */
clq_status clq_query_device(cl_platform_id platform, cl_device_id id, clq_device_info *info);

/* Whether an extension whose name starts with `prefix` is there. */
clq_status clq_has_extension(cl_device_id id, const char *prefix, bool *has);

/* ---- program.c ---- */

typedef struct clq_program {
    const char *source; /* of the registry; its address identifies the file */
    char *options;      /* the caller's */
    clq_dot dot;
    cl_program handle;
    struct clq_program *next;
    bool restored; /* from the cache: program_cache.h */
} clq_program;

struct clq_kernel {
    const char *name; /* in the registry */
    const clq_program *program;
    cl_kernel handle;
    bool on_trial; /* of a restored program, and has not run yet */
    cl_uint arg_count;
    size_t max_local;        /* work-items that a group of this kernel may have here */
    size_t compile_local[3]; /* reqd_work_group_size, or zeros */
    uint64_t hash;           /* of name, options and dot path */
    struct clq_kernel *next; /* in its bucket */
};

enum { CLQ_KERNEL_BUCKETS = 256 };

typedef struct clq_programs {
    clq_program *first;
    clq_kernel *buckets[CLQ_KERNEL_BUCKETS];
} clq_programs;

/* clq_kernel_get on a given dot path, and for a kernel that need not be in the registry (`entry`
 * must outlive the device). */
clq_status clq_kernel_get_entry(clq_device *device, const clq_kernel_entry *entry,
                                const char *options, clq_dot dot, clq_kernel **kernel);
clq_status clq_kernel_get_dot(clq_device *device, const char *name, const char *options,
                              clq_dot dot, clq_kernel **kernel);
void clq_programs_free(clq_device *device);
/* What a program of a source is built with: options that describe the device, then the caller's.
 * clq_free *all. */
clq_status clq_program_options(const clq_device *device, const char *source, clq_dot dot,
                               const char *options, char **all);
/* Builds a program of `source`, or of that and what goes with it; not `whole`: for linking. */
cl_int clq_program_compile(clq_device *device, cl_program handle, const char *source,
                           const char *options, bool whole);
/* CLQ_DEVICE with the first lines of the build log; `file`: below kernels/. */
clq_status clq_program_fail(const clq_device *device, cl_program program, cl_int error,
                            const char *file, const char *options);
/* The embedded source that holds a kernel; "" when the registry has no such kernel. */
const char *clq_kernel_source(const char *name);

/* ---- buffer.c, pool.c ---- */

/* One piece of device memory; cached blocks of a class form a list. */
typedef struct clq_block {
    cl_mem memory;
    size_t size;
    struct clq_block *next;
} clq_block;

enum { CLQ_POOL_CLASSES = 8 * 56 }; /* eight a power of two, see pool.c */

typedef struct clq_pool {
    clq_block *cached[CLQ_POOL_CLASSES];
    uint64_t cached_bytes;
    uint64_t live, peak;   /* bytes the callers asked for */
    uint64_t live_handles; /* buffers and views not yet released */
} clq_pool;

clq_status clq_pool_take(clq_device *device, size_t size, clq_block **block);
void clq_pool_give(clq_device *device, clq_block *block);
/* Releases all cached blocks. */
void clq_pool_trim(clq_device *device);

struct clq_buffer {
    clq_device *device;
    cl_mem memory;
    size_t size;
    size_t offset;    /* in the block */
    clq_block *block; /* the memory; a view has its root's */
    bool is_view;
    bool is_scratch; /* then is_view too */
};

/* CLQ_INTERNAL unless the bytes lie inside; `what` names the copy. */
clq_status clq_buffer_check_range(const clq_buffer *buffer, size_t offset, size_t size,
                                  const char *what);

/* ---- scratch.c ---- */

typedef struct clq_scratch {
    clq_buffer whole; /* not counted as live, like the pool's cached blocks */
    size_t used;      /* bytes from its start up to which pieces may be taken */
    int pieces;       /* taken and not yet released */
    unsigned moves;   /* how often `whole` was another block before */
} clq_scratch;

/* A piece was released. */
void clq_scratch_give(clq_device *device);
/* Returns the memory to the pool when nobody has any of it. */
void clq_scratch_trim(clq_device *device);

/* ---- profile.c ---- */

typedef struct clq_pending {
    cl_event event;
    size_t entry;
} clq_pending;

typedef struct clq_profile {
    bool on;
    bool lost;         /* memory ran out while recording */
    double work;       /* of the next launch */
    char *label;       /* of later launches; NULL = "" */
    const char *known; /* the same text in `labels`, once an entry has used it */
    char **labels;     /* hash table of the texts that entries point to; NULL = free slot */
    size_t label_count, label_slots;
    clq_profile_entry *entries;
    size_t entry_count, entry_capacity;
    clq_pending *pending; /* entries whose times are not read yet, in queue order */
    size_t pending_count, pending_capacity;
} clq_profile;

/* The event argument of the next enqueue: NULL while recording is off. */
cl_event *clq_profile_event(clq_device *device, cl_event *event);
/* Records a queued command; takes the event. `range`: of a launch, complete; NULL for copies. */
void clq_profile_add(clq_device *device, const char *kernel, const clq_range *range,
                     cl_event event);
void clq_profile_free(clq_device *device);

/* ---- transfer.c ---- */

void clq_transfer_free_queues(clq_device *device);

/* ---- self_test.c ---- */

typedef struct clq_self_tests {
    json_t *found;   /* "FAMILY VARIANT" -> "" for what works, "FAMILY" -> how it failed; or NULL */
    json_t *failing; /* "FAMILY" -> how, of those that were told of; or NULL */
    bool changed;    /* found differs from the cache's */
} clq_self_tests;

/* ---- device.c ---- */

struct clq_device {
    atomic_int owners; /* beside the first one */
    clq_device_info info;
    cl_platform_id platform;
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    cl_command_queue transfer_queues[2]; /* transfer.c; NULL until used */
    bool divides_correctly;              /* takes -cl-fp32-correctly-rounded-divide-sqrt */
    bool declares_builtins;              /* kernels/include/builtins.h serves here */
    uint64_t address_space; /* of the process when the device was open, bytes; 0 without a limit */
    uint64_t group_memory;  /* that its control group may have, bytes */
    bool restores_programs; /* program_cache.h */
    int trials;             /* program_cache.h: what is being tried, */
    clq_cache_mark mark;    /* and its mark */
    uint64_t identity;      /* hash of platform, device and driver, for the caches */
    clq_programs programs;
    clq_self_tests self_tests;
    clq_pool pool;
    clq_scratch scratch;
    clq_profile profile;
    struct clq_recorder *recorder;              /* recording.h; NULL: launches are queued */
    json_t *tuning;                             /* key -> choice: tuning.h */
    bool gemm_used;                             /* CLBlast keeps programs of this device */
    double peak_fp32, peak_int8[CLQ_DOT_COUNT]; /* 0: not measured yet */
    clq_device_limits limits;                   /* but for those; launch_us 0: not measured yet */
};

/* ---- peak.c: micro-kernels ---- */

/* Work-items enough for every compute unit. */
clq_range clq_peak_range(const clq_device_info *info);
/* The time of some launches in a chain, on the host's clock. */
clq_status clq_time_launches(clq_device *device, clq_kernel *kernel, clq_range range,
                             const clq_arg *args, size_t arg_count, int launches, double *seconds);
/* The best rate of many runs, in 1e9 a second, of a kernel whose args are: sinks; operations, where
 * it writes how many one work-item does an iteration; constants; and last the iterations, which
 * are chosen here. */
clq_status clq_measure_rate(clq_device *device, clq_kernel *kernel, clq_range range, clq_arg *args,
                            size_t arg_count, double *giga_per_second);
/* Fills in peak_fp32 and peak_int8 of the current dot path where they are not known; `again`:
 * measures them in any case and keeps the better. */
clq_status clq_measure_peaks(clq_device *device, bool again);

/* ---- clblast.c ---- */

/* Before the context goes: drops what CLBlast keeps of it. */
void clq_gemm_forget(clq_device *device);

/* ---- dot_probe.c ---- */

/* Finds out is_host_cpu, simd_bytes and the dot paths that work, by running kernels. */
clq_status clq_probe(clq_device *device);

/* Whether the device is one of PoCL's. */
bool clq_is_pocl(const clq_device *device);

#endif
