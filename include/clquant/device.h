/* OpenCL devices: choosing one, its capabilities, memory, programs and launches.
 *
 * Only host/device calls OpenCL. Everything else works with the handles below. A device owns
 * one context, one in-order queue, a program cache and a buffer pool. Handles of one device must
 * be used from one thread at a time. */
#ifndef CLQUANT_DEVICE_H
#define CLQUANT_DEVICE_H

#include <clquant/base.h>

CLQ_API_BEGIN

typedef struct clq_device clq_device;
typedef struct clq_buffer clq_buffer;
typedef struct clq_kernel clq_kernel;

/* Integer dot-product paths, in the order the ladder tries them. Their names (clq_dot_name) are
 * the values of CLQUANT_DOT: mma, dp4a, avx512vnni, avxvnni, avx2, khr, amd, arm, portable. */
typedef enum clq_dot {
    CLQ_DOT_MMA,
    CLQ_DOT_DP4A,
    CLQ_DOT_AVX512VNNI,
    CLQ_DOT_AVXVNNI,
    CLQ_DOT_AVX2,
    CLQ_DOT_KHR,
    CLQ_DOT_AMD,
    CLQ_DOT_ARM,
    CLQ_DOT_PORTABLE,
    CLQ_DOT_COUNT
} clq_dot;

const char *clq_dot_name(clq_dot dot);
/* CLQ_USAGE when `name` is none of the above. */
clq_status clq_dot_parse(const char *name, clq_dot *dot);

/* How hot kernels are scheduled: CPU = local size 1, wide vectors, register tile, no barriers;
 * GPU = work-groups, local-memory tiles. */
typedef enum clq_schedule { CLQ_SCHEDULE_CPU, CLQ_SCHEDULE_GPU } clq_schedule;

typedef struct clq_device_info {
    char name[128];
    char vendor[128];
    char platform[128];
    char version[128];
    char driver[128];
    int platform_index, device_index; /* "-d PLATFORM:DEVICE" */
    bool is_cpu, is_gpu;
    bool is_host_cpu; /* the device executes on this process's own processor */
    bool has_fp16, has_int8_dot_khr;
    unsigned compute_units;
    unsigned
        simd_bytes; /* host SIMD register width usable on a host CPU: 64, 32, 16; 0 elsewhere */
    size_t max_work_group;
    uint64_t global_memory, max_allocation, local_memory; /* bytes, as reported: advice */
    uint64_t cache; /* bytes of the largest cache of global memory, as reported; 0: none known */
    size_t base_alignment; /* bytes; offset alignment of clq_buffer_view */
    clq_schedule schedule; /* CLQUANT_SCHEDULE=cpu|gpu forces one (tests) */
    clq_dot dot;           /* first path of the ladder that compiled and gave the right values */
    uint32_t dots;         /* bit (1u << clq_dot) for every path that works here */
} clq_device_info;

/* ---- choosing ---- */

/* Fills up to `capacity` entries with every device of every platform (dot paths not probed:
 * dot = CLQ_DOT_PORTABLE, dots = 0) and stores how many there are. CLQ_DEVICE when there is no
 * OpenCL platform at all. */
clq_status clq_device_list(clq_device_info *infos, size_t capacity, size_t *count);

/* Opens a device. `selector`: "P:D" indices, "cpu", "gpu", or a substring of the name; NULL reads
 * CLQUANT_DEVICE, then takes the first GPU, else the first CPU. CLQ_DEVICE names what is there
 * when nothing matches. CLQUANT_DOT forces a dot path (CLQ_DEVICE when it does not work here). */
clq_status clq_device_open(const char *selector, clq_device **device);
/* The same for rank `index` of a machine (clq_ranks_local): the index-th, round and round, of the
 * devices that the selector could as well mean on the same platform. "P:D" means that one. */
clq_status clq_device_open_nth(const char *selector, int index, clq_device **device);
/* Releases everything the device still owns; buffers of it must already be released. NULL ok. */
void clq_device_close(clq_device *device);
/* One owner more, who calls clq_device_close, too: the last one closes it. From any thread. */
void clq_device_share(clq_device *device);
const clq_device_info *clq_device_get_info(const clq_device *device);
/* Switches the dot path of later kernels; CLQ_DEVICE when `dot` does not work here. */
clq_status clq_device_set_dot(clq_device *device, clq_dot dot);

/* Kernels that gave wrong values in their self-test on this device and are left out: calls `tell`
 * for each family found so far, in this process or in earlier ones. */
void clq_device_failed_kernels(clq_device *device,
                               void (*tell)(void *context, const char *family, const char *how),
                               void *context);

/* Measured arithmetic peaks of this device by micro-kernels with independent accumulators,
 * in 1e9 operations a second (a multiply-add is two). Measured once per open device, ~0.5 s.
 * int8 is measured on the device's current dot path. */
clq_status clq_device_peak(clq_device *device, double *fp32_gflops, double *int8_gops);

/* What bounds the speed of this device, each measured by a micro-kernel. */
typedef struct clq_device_limits {
    double fp32_gflops, int8_gops; /* clq_device_peak */
    double requantize_gcodes;      /* 1e9 int32 sums a second turned into u8 codes */
    double memory_gbs;             /* 1e9 bytes a second read from memory */
    double cache_gbs;              /* the same from info.cache; memory_gbs when there is none */
    double launch_us;              /* one kernel in a long in-order chain of empty ones */
} clq_device_limits;
/* Measured once per open device, ~1 s. Takes up to 1 GiB of device memory meanwhile. */
clq_status clq_device_measure_limits(clq_device *device, clq_device_limits *limits);
/* Measures all again and keeps the better of each, as the first time may have been disturbed. */
clq_status clq_device_remeasure_limits(clq_device *device);

/* ---- memory ---- */

/* Device memory of `size` bytes (> 0) from the pool, contents undefined. CLQ_NO_MEMORY names the
 * size and the device's limit. */
clq_status clq_buffer_create(clq_device *device, size_t size, clq_buffer **buffer);
/* A window onto `parent` (which must outlive it); offset a multiple of base_alignment. */
clq_status clq_buffer_view(clq_buffer *parent, size_t offset, size_t size, clq_buffer **view);
/* Returns the memory to the pool; queued work that uses it still completes. NULL ok. */
void clq_buffer_release(clq_buffer *buffer);
size_t clq_buffer_size(const clq_buffer *buffer);
/* Whether both start at the same byte of device memory. */
bool clq_buffer_same(const clq_buffer *a, const clq_buffer *b);
/* Blocking copies; CLQ_INTERNAL when the range lies outside the buffer. */
clq_status clq_buffer_write(clq_buffer *buffer, size_t offset, size_t size, const void *data);
clq_status clq_buffer_read(clq_buffer *buffer, size_t offset, size_t size, void *data);
/* A write that is queued, not blocking: `data` is read until a later read or clq_device_finish
 * returns. */
clq_status clq_buffer_queue_write(clq_buffer *buffer, size_t offset, size_t size, const void *data);
/* Lends memory of the host for all of a buffer, which it takes the place of when it is given back:
 * what is not written then is undefined. No other use of the buffer meanwhile. */
clq_status clq_buffer_map(clq_buffer *buffer, void **data);
clq_status clq_buffer_unmap(clq_buffer *buffer, void *data);
/* Queued, not blocking. fill repeats a 4-byte pattern; offset and size are multiples of 4. */
clq_status clq_buffer_fill(clq_buffer *buffer, size_t offset, size_t size, uint32_t pattern);
clq_status clq_buffer_copy(clq_buffer *to, size_t to_offset, clq_buffer *from, size_t from_offset,
                           size_t size);
/* Memory for the length of a few launches (partial sums, repacked weights): as clq_buffer_create,
 * but all share one allocation of the most that was reserved, since the queue is in order. Release
 * it before another operation runs. `size` is the sum of what one operation takes at once. */
clq_status clq_scratch_reserve(clq_device *device, size_t size);
clq_status clq_scratch_take(clq_device *device, size_t size, clq_buffer **buffer);
size_t clq_scratch_size(const clq_device *device); /* bytes now reserved */
/* Bytes now held by live buffers, and the highest value so far. Scratch is not counted. */
void clq_device_memory(const clq_device *device, uint64_t *live, uint64_t *peak);

/* ---- copies beside other work, in queues of their own, one a direction ---- */

typedef struct clq_transfer {
    clq_device *device;
    void *event; /* NULL: none under way */
} clq_transfer;

/* Begins to read what the work queued so far leaves in `buffer`; `data` must stay until then. */
clq_status clq_transfer_read(clq_buffer *buffer, size_t size, void *data, clq_transfer *transfer);
/* Begins to write at once. Work already queued must not use `buffer`; work that is queued after
 * clq_transfer_join finds the data. */
clq_status clq_transfer_write(clq_buffer *buffer, size_t size, const void *data,
                              clq_transfer *transfer);
/* Whether it is complete, or there is none; does not wait. */
clq_status clq_transfer_done(const clq_transfer *transfer, bool *done);
/* Lets all work queued from now on wait for it, and forgets it. */
clq_status clq_transfer_join(clq_transfer *transfer);

/* ---- programs and launches ---- */

/* The kernel `name` of the kernel registry, built with `options` ("-DMR=6 -DNR=64"; NULL = none).
 * Owned by the device and built once per (name, options, dot path): later calls are a look-up.
 * The options that describe the device (schedule, dot path, SIMD) are added by the device.
 * CLQ_DEVICE carries the first lines of the build log. */
clq_status clq_kernel_get(clq_device *device, const char *name, const char *options,
                          clq_kernel **kernel);

typedef enum clq_arg_kind {
    CLQ_ARG_BUFFER,
    CLQ_ARG_I32,
    CLQ_ARG_U32,
    CLQ_ARG_F32,
    CLQ_ARG_LOCAL
} clq_arg_kind;

typedef struct clq_arg {
    clq_arg_kind kind;
    union {
        clq_buffer *buffer; /* NULL passes a null pointer */
        int32_t i32;
        uint32_t u32;
        float f32;
        size_t local_bytes;
    } value;
} clq_arg;

#define CLQ_BUF(b) ((clq_arg){CLQ_ARG_BUFFER, {.buffer = (b)}})
#define CLQ_I32(x) ((clq_arg){CLQ_ARG_I32, {.i32 = (int32_t)(x)}})
#define CLQ_U32(x) ((clq_arg){CLQ_ARG_U32, {.u32 = (uint32_t)(x)}})
#define CLQ_F32(x) ((clq_arg){CLQ_ARG_F32, {.f32 = (float)(x)}})
#define CLQ_LOCAL(n) ((clq_arg){CLQ_ARG_LOCAL, {.local_bytes = (n)}})

/* A 1..3 dimensional index space. local all 0: the device chooses (local size 1 on the CPU
 * schedule). On the GPU schedule global is rounded up to a multiple of local, so kernels check
 * their bounds. */
typedef struct clq_range {
    unsigned dims;
    size_t global[3], local[3];
} clq_range;

#define CLQ_RANGE1(x) ((clq_range){1, {(x), 1, 1}, {0, 0, 0}})
#define CLQ_RANGE2(x, y) ((clq_range){2, {(x), (y), 1}, {0, 0, 0}})
#define CLQ_RANGE3(x, y, z) ((clq_range){3, {(x), (y), (z)}, {0, 0, 0}})

/* Queues one launch; does not wait. */
clq_status clq_launch(clq_device *device, clq_kernel *kernel, clq_range range, const clq_arg *args,
                      size_t arg_count);
#define CLQ_LAUNCH(device, kernel, range, ...)                                                     \
    clq_launch((device), (kernel), (range), (clq_arg[]){__VA_ARGS__},                              \
               sizeof((clq_arg[]){__VA_ARGS__}) / sizeof(clq_arg))

/* Waits until everything queued has finished; reports a failure of any of it. */
clq_status clq_device_finish(clq_device *device);

/* ---- matrix products by CLBlast ---- */

/* Whether this build has CLBlast (the CMake option CLQ_CLBLAST). */
bool clq_has_gemm_f32(void);
/* Queues c = a b^T, or c += it when `accumulate`: row-major a (m, k), b (n, k), c (m, n), all
 * sizes > 0. CLQ_USAGE without CLBlast. The order of its sums depends on the shape and on CLBlast's
 * choices for the device. */
clq_status clq_gemm_f32(clq_device *device, size_t m, size_t n, size_t k, clq_buffer *a,
                        clq_buffer *b, bool accumulate, clq_buffer *c);

/* ---- profiling by events ---- */

typedef struct clq_profile_entry {
    const char *label;  /* clq_device_set_label at the time of the launch; "" when unset */
    const char *kernel; /* registry name, or "write"/"read"/"fill"/"copy" */
    double ms;
    double flops; /* clq_device_set_work at the time of the launch; 0 when unset */
    size_t work_items, work_groups; /* of a launch; 0 for copies */
} clq_profile_entry;

/* Starts recording (drops earlier entries) or stops it. Off by default. */
clq_status clq_device_profile(clq_device *device, bool on);
/* Names later launches, for instance by graph node. The text is copied. */
void clq_device_set_label(clq_device *device, const char *label);
/* Operations (a multiply-add is two) that the next launch does; reset to 0 after it. */
void clq_device_set_work(clq_device *device, double operations);
/* Waits, then lends the recorded entries (valid until the next profile call). */
clq_status clq_device_profile_entries(clq_device *device, const clq_profile_entry **entries,
                                      size_t *count);

CLQ_API_END
#endif
