/* One allocation for memory that is needed between a few launches only. The queue is in order, so
 * the next taker may overwrite it while work that reads it is still queued. */
#include "base/arguments.h"
#include "base/checked.h"
#include "device/internal.h"

enum { PIECES = 4 }; /* that a reservation has room to align */

static void release_block(clq_device *device) {
    clq_scratch *scratch = &device->scratch;
    if (scratch->whole.block) {
        clq_pool_give(device, scratch->whole.block);
        scratch->moves++;
    }
    scratch->whole = (clq_buffer){0};
}

clq_status clq_scratch_reserve(clq_device *device, size_t size) {
    CLQ_NEEDS(device);
    clq_scratch *scratch = &device->scratch;
    size_t all = 0;
    if (!clq_add_size(size, PIECES * device->info.base_alignment, &all)) {
        return clq_fail(CLQ_NO_MEMORY, "scratch of %zu bytes overflows", size);
    }
    if (scratch->whole.size >= all || scratch->pieces > 0) {
        return CLQ_OK;
    }
    release_block(device);
    clq_block *block = NULL;
    CLQ_TRY(clq_pool_take(device, all, &block));
    scratch->whole =
        (clq_buffer){.device = device, .memory = block->memory, .size = all, .block = block};
    return CLQ_OK;
}

clq_status clq_scratch_take(clq_device *device, size_t size, clq_buffer **buffer) {
    CLQ_NEEDS(device, buffer);
    clq_scratch *scratch = &device->scratch;
    size_t end = 0;
    *buffer = NULL;
    CLQ_TRY(clq_scratch_reserve(device, size));
    if (!clq_add_size(scratch->used, size, &end) || end > scratch->whole.size) {
        return clq_buffer_create(device, size, buffer); /* nobody reserved enough */
    }
    CLQ_TRY(clq_buffer_view(&scratch->whole, scratch->used, size, buffer));
    (*buffer)->is_scratch = true;
    scratch->pieces++;
    /* Past the end at most: then the next piece does not fit. */
    scratch->used = (end + device->info.base_alignment - 1) / device->info.base_alignment *
                    device->info.base_alignment;
    return CLQ_OK;
}

size_t clq_scratch_size(const clq_device *device) {
    CLQ_NEEDS_OR(0, device);
    return device->scratch.whole.size;
}

void clq_scratch_give(clq_device *device) {
    clq_scratch *scratch = &device->scratch;
    if (--scratch->pieces == 0) {
        scratch->used = 0;
    }
}

void clq_scratch_trim(clq_device *device) {
    if (device->scratch.pieces == 0) {
        release_block(device);
    }
}
