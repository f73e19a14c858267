/* Buffers and views of them, and the copies to and from them. */
#include "base/arguments.h"
#include "base/checked.h"
#include "base/log.h"
#include "device/cl_status.h"
#include "device/recording.h"

clq_status clq_buffer_create(clq_device *device, size_t size, clq_buffer **buffer) {
    CLQ_NEEDS(device, buffer);
    *buffer = NULL;
    if (size == 0) {
        return clq_fail(CLQ_INTERNAL, "a device buffer cannot have 0 bytes");
    }
    clq_buffer *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_pool_take(device, size, &made->block);
    if (status != CLQ_OK) {
        clq_free(made);
        return status;
    }
    made->device = device;
    made->memory = made->block->memory;
    made->size = size;
    device->pool.live_handles++;
    device->pool.live += size;
    if (device->pool.live > device->pool.peak) {
        device->pool.peak = device->pool.live;
    }
    *buffer = made;
    return CLQ_OK;
}

static bool range_fits(const clq_buffer *buffer, size_t offset, size_t size) {
    size_t end;
    return clq_add_size(offset, size, &end) && end <= buffer->size;
}

clq_status clq_buffer_check_range(const clq_buffer *buffer, size_t offset, size_t size,
                                  const char *what) {
    if (range_fits(buffer, offset, size)) {
        return CLQ_OK;
    }
    return clq_fail(CLQ_INTERNAL, "%s of %zu bytes at %zu lies outside a buffer of %zu bytes", what,
                    size, offset, buffer->size);
}

clq_status clq_buffer_view(clq_buffer *parent, size_t offset, size_t size, clq_buffer **view) {
    CLQ_NEEDS(parent, view);
    *view = NULL;
    clq_device *device = parent->device;
    CLQ_TRY(clq_buffer_check_range(parent, offset, size, "a view"));
    if (size == 0 || offset % device->info.base_alignment != 0) {
        return clq_fail(CLQ_INTERNAL,
                        "a view of %zu bytes at %zu: it needs a size, and %s wants offsets that "
                        "are multiples of %zu",
                        size, offset, device->info.name, device->info.base_alignment);
    }
    clq_buffer *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    /* OpenCL has no views of views: offsets count from the block. */
    *made = (clq_buffer){.device = device,
                         .size = size,
                         .offset = parent->offset + offset,
                         .block = parent->block,
                         .is_view = true};
    cl_int error;
    cl_buffer_region region = {made->offset, size};
    made->memory = clCreateSubBuffer(made->block->memory, CL_MEM_READ_WRITE,
                                     CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    if (error != CL_SUCCESS) {
        clq_free(made);
        return clq_cl_fail(error, "making a view of %zu bytes at %zu of a buffer of %zu bytes",
                           size, offset, parent->size);
    }
    device->pool.live_handles++;
    *view = made;
    return CLQ_OK;
}

void clq_buffer_release(clq_buffer *buffer) {
    if (!buffer) {
        return;
    }
    clq_device *device = buffer->device;
    if (!buffer->is_scratch) { /* somebody else may get its memory */
        clq_recorder_refuse(device, "memory that is taken for a launch");
    }
    device->pool.live_handles--;
    if (buffer->is_view) {
        clReleaseMemObject(buffer->memory);
        if (buffer->is_scratch) {
            clq_scratch_give(device);
        }
    } else {
        device->pool.live -= buffer->size;
        clq_pool_give(device, buffer->block);
    }
    clq_free(buffer);
}

size_t clq_buffer_size(const clq_buffer *buffer) {
    CLQ_NEEDS_OR(0, buffer);
    return buffer->size;
}

bool clq_buffer_same(const clq_buffer *a, const clq_buffer *b) {
    CLQ_NEEDS_OR(false, a, b);
    return a->block == b->block && a->offset == b->offset;
}

void clq_device_memory(const clq_device *device, uint64_t *live, uint64_t *peak) {
    CLQ_NEEDS_OR(, device, live, peak);
    *live = device->pool.live;
    *peak = device->pool.peak;
}

/* Before a copy of whatever kind is queued. */
static clq_status check_copy(const clq_buffer *buffer, size_t offset, size_t size,
                             const char *what) {
    CLQ_TRY(clq_recorder_refuse(buffer->device, what));
    return clq_buffer_check_range(buffer, offset, size, what);
}

/* Records a queued copy, or reports why it was not queued. */
static clq_status queued(clq_device *device, cl_int error, const char *what, size_t size,
                         cl_event *event) {
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "%s of %zu bytes on %s", what, size, device->info.name);
    }
    if (event) {
        clq_profile_add(device, what, NULL, *event);
    }
    return CLQ_OK;
}

static clq_status enqueue_write(clq_buffer *buffer, size_t offset, size_t size, const void *data,
                                cl_bool blocking) {
    clq_device *device = buffer->device;
    cl_event slot, *event = clq_profile_event(device, &slot);
    CLQ_TRY(check_copy(buffer, offset, size, "a write"));
    if (size == 0) {
        return CLQ_OK;
    }
    cl_int error = clEnqueueWriteBuffer(device->queue, buffer->memory, blocking, offset, size, data,
                                        0, NULL, event);
    return queued(device, error, "write", size, event);
}

clq_status clq_buffer_write(clq_buffer *buffer, size_t offset, size_t size, const void *data) {
    CLQ_NEEDS(buffer);
    CLQ_REQUIRE(data || size == 0, "data must not be NULL");
    return enqueue_write(buffer, offset, size, data, CL_TRUE);
}

clq_status clq_buffer_queue_write(clq_buffer *buffer, size_t offset, size_t size,
                                  const void *data) {
    CLQ_NEEDS(buffer);
    CLQ_REQUIRE(data || size == 0, "data must not be NULL");
    return enqueue_write(buffer, offset, size, data, CL_FALSE);
}

clq_status clq_buffer_read(clq_buffer *buffer, size_t offset, size_t size, void *data) {
    CLQ_NEEDS(buffer);
    CLQ_REQUIRE(data || size == 0, "data must not be NULL");
    clq_device *device = buffer->device;
    cl_event slot, *event = clq_profile_event(device, &slot);
    CLQ_TRY(check_copy(buffer, offset, size, "a read"));
    if (size == 0) {
        return CLQ_OK;
    }
    cl_int error = clEnqueueReadBuffer(device->queue, buffer->memory, CL_TRUE, offset, size, data,
                                       0, NULL, event);
    return queued(device, error, "read", size, event);
}

clq_status clq_buffer_map(clq_buffer *buffer, void **data) {
    CLQ_NEEDS(buffer, data);
    cl_int error;
    CLQ_TRY(clq_recorder_refuse(buffer->device, "a write"));
    *data =
        clEnqueueMapBuffer(buffer->device->queue, buffer->memory, CL_TRUE,
                           CL_MAP_WRITE_INVALIDATE_REGION, 0, buffer->size, 0, NULL, NULL, &error);
    return queued(buffer->device, error, "map", buffer->size, NULL);
}

clq_status clq_buffer_unmap(clq_buffer *buffer, void *data) {
    CLQ_NEEDS(buffer, data);
    const cl_int error =
        clEnqueueUnmapMemObject(buffer->device->queue, buffer->memory, data, 0, NULL, NULL);
    return queued(buffer->device, error, "unmap", buffer->size, NULL);
}

clq_status clq_buffer_fill(clq_buffer *buffer, size_t offset, size_t size, uint32_t pattern) {
    CLQ_NEEDS(buffer);
    clq_device *device = buffer->device;
    cl_event slot, *event = clq_profile_event(device, &slot);
    CLQ_TRY(check_copy(buffer, offset, size, "a fill"));
    if (offset % 4 != 0 || size % 4 != 0) {
        return clq_fail(CLQ_INTERNAL, "a fill of %zu bytes at %zu: both must be multiples of 4",
                        size, offset);
    }
    if (size == 0) {
        return CLQ_OK;
    }
    cl_int error = clEnqueueFillBuffer(device->queue, buffer->memory, &pattern, sizeof pattern,
                                       offset, size, 0, NULL, event);
    return queued(device, error, "fill", size, event);
}

clq_status clq_buffer_copy(clq_buffer *to, size_t to_offset, clq_buffer *from, size_t from_offset,
                           size_t size) {
    CLQ_NEEDS(to, from);
    clq_device *device = to->device;
    cl_event slot, *event = clq_profile_event(device, &slot);
    CLQ_TRY(check_copy(to, to_offset, size, "a copy to"));
    CLQ_TRY(check_copy(from, from_offset, size, "a copy from"));
    if (from->device != device) {
        return clq_fail(CLQ_INTERNAL, "a copy between buffers of two devices");
    }
    if (size == 0) {
        return CLQ_OK;
    }
    cl_int error = clEnqueueCopyBuffer(device->queue, from->memory, to->memory, from_offset,
                                       to_offset, size, 0, NULL, event);
    return queued(device, error, "copy", size, event);
}
