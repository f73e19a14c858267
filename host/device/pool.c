/* Device memory blocks, kept for reuse.
 *
 * Sizes are rounded up to classes, eight a power of two, so at most 1/8 is wasted and a training
 * step finds the blocks of the step before it. The queue is in order: a block that goes back while
 * queued work still uses it can be handed out at once. Cached blocks are released when they and the
 * live ones exceed by a quarter what was ever used at once (a CPU's driver would swap rather than
 * fail), and when an allocation fails, which is then tried again. */
#include <inttypes.h>

#include "base/checked.h"
#include "base/limits.h"
#include "device/cl_status.h"
#include "device/internal.h"

enum {
    MIN_SHIFT = 8,             /* the smallest class holds 256 bytes */
    SPARE_BYTES = 64 << 20,    /* always allowed */
    COMPILER_BYTES = 64 << 20, /* address space that a driver needs for its next kernel */
};

/* The class of a size and the bytes of its blocks. */
static size_t pool_class(uint64_t size, uint64_t *class_size) {
    unsigned shift = MIN_SHIFT;
    while (shift < 62 && (UINT64_C(1) << (shift + 1)) <= size) {
        shift++;
    }
    uint64_t base = UINT64_C(1) << shift, step = base / 8;
    uint64_t eighths = size <= base ? 0 : (size - base + step - 1) / step; /* 0..8 */
    *class_size = base + eighths * step;
    return (size_t)(shift - MIN_SHIFT) * 8 + (size_t)eighths;
}

static void free_block(clq_block *block) {
    clReleaseMemObject(block->memory);
    clq_free(block);
}

void clq_pool_trim(clq_device *device) {
    for (size_t c = 0; c < CLQ_POOL_CLASSES; c++) {
        for (clq_block *b = device->pool.cached[c], *next; b; b = next) {
            next = b->next;
            free_block(b);
        }
        device->pool.cached[c] = NULL;
    }
    device->pool.cached_bytes = 0;
}

/* Many drivers allocate on first use, when a failure would end the queue; migrating nothing makes
 * them do it now. */
static cl_int allocate(clq_device *device, size_t size, cl_mem *memory) {
    cl_int error;
    *memory = clCreateBuffer(device->context, CL_MEM_READ_WRITE, size, NULL, &error);
    if (error != CL_SUCCESS || device->info.is_cpu) {
        return error;
    }
    error = clEnqueueMigrateMemObjects(device->queue, 1, memory,
                                       CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, 0, NULL, NULL);
    if (error != CL_SUCCESS) {
        clReleaseMemObject(*memory);
        *memory = NULL;
    }
    return error;
}

/* What the pool may hold, used or not: little more than was ever used at once. */
static uint64_t size_limit(const clq_pool *pool, size_t size) {
    uint64_t used = pool->live + size > pool->peak ? pool->live + size : pool->peak;
    return used + used / 4 + SPARE_BYTES;
}

/* Gives back what nobody uses; false when there is nothing. */
static bool make_room(clq_device *device) {
    clFinish(device->queue);
    clq_scratch_trim(device);
    const bool had = device->pool.cached_bytes > 0;
    clq_pool_trim(device);
    return had;
}

/* Why a new block of `size` bytes, for a buffer of `asked`, cannot be had, where that can be
 * foreseen. Drivers for CPUs take memory when it is first used, and some end the process when there
 * is none. */
static clq_status check_room(const clq_device *device, size_t asked, uint64_t size) {
    const clq_device_info *info = &device->info;
    const uint64_t held = device->pool.live + device->pool.cached_bytes, wanted = held + size;
    uint64_t limit, used;
    if (wanted > info->global_memory) {
        return clq_fail(CLQ_NO_MEMORY,
                        "a buffer of %zu bytes, with %" PRIu64 " held already, exceeds "
                        "the memory of %s, %" PRIu64 " bytes",
                        asked, held, info->name, info->global_memory);
    }
    if (info->is_cpu && wanted > device->group_memory) {
        return clq_fail(CLQ_NO_MEMORY,
                        "a buffer of %zu bytes, with %" PRIu64 " held already, exceeds "
                        "what the control group of this process may have, %" PRIu64 " bytes",
                        asked, held, device->group_memory);
    }
    if (info->is_cpu && clq_address_space(&limit, &used)) {
        const uint64_t all = device->address_space + wanted; /* also what is not used yet */
        const uint64_t needed = (used + size > all ? used + size : all) + COMPILER_BYTES;
        if (needed > limit) {
            return clq_fail(CLQ_NO_MEMORY,
                            "a buffer of %zu bytes does not fit the address space of this "
                            "process (ulimit -v), %" PRIu64 " bytes: %" PRIu64 " are used, and "
                            "the driver's compiler needs %d",
                            asked, limit, used > all - size ? used : all - size, COMPILER_BYTES);
        }
    }
    return CLQ_OK;
}

clq_status clq_pool_take(clq_device *device, size_t size, clq_block **block) {
    clq_pool *pool = &device->pool;
    if (size > device->info.max_allocation) {
        return clq_fail(CLQ_NO_MEMORY,
                        "a buffer of %zu bytes exceeds what %s allows in one buffer, %llu bytes",
                        size, device->info.name, (unsigned long long)device->info.max_allocation);
    }
    uint64_t class_size;
    size_t class = pool_class(size, &class_size);
    if (pool->cached[class]) {
        *block = pool->cached[class];
        pool->cached[class] = (*block)->next;
        pool->cached_bytes -= (*block)->size;
        return CLQ_OK;
    }
    if (class_size > device->info.max_allocation) {
        class_size = device->info.max_allocation;
    }
    clq_block *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->size = (size_t)class_size;
    if (pool->live + pool->cached_bytes + class_size > size_limit(pool, size)) {
        clq_pool_trim(device);
    }
    clq_status status = check_room(device, size, class_size);
    if (status != CLQ_OK && make_room(device)) {
        status = check_room(device, size, class_size);
    }
    if (status != CLQ_OK) {
        clq_free(made);
        return status;
    }
    cl_int error = allocate(device, made->size, &made->memory);
    if (error != CL_SUCCESS && make_room(device)) {
        error = allocate(device, made->size, &made->memory);
    }
    if (error != CL_SUCCESS) {
        clq_free(made);
        return clq_fail(
            CLQ_NO_MEMORY,
            "allocating %zu bytes on %s (%llu bytes in all, %llu held already): %s (%d)", size,
            device->info.name, (unsigned long long)device->info.global_memory,
            (unsigned long long)pool->live, clq_cl_error_name(error), (int)error);
    }
    *block = made;
    return CLQ_OK;
}

void clq_pool_give(clq_device *device, clq_block *block) {
    clq_pool *pool = &device->pool;
    uint64_t class_size;
    size_t class = pool_class(block->size, &class_size);
    block->next = pool->cached[class];
    pool->cached[class] = block;
    pool->cached_bytes += block->size;
}
