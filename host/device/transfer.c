/* Copies that run beside kernels: each direction has a queue of its own, so that a read that waits
 * for a kernel holds up no write. */
#include "base/arguments.h"
#include "device/cl_status.h"
#include "device/internal.h"

enum { READS, WRITES };

static clq_status queue_of(clq_device *device, int direction, cl_command_queue *queue) {
    cl_int error = CL_SUCCESS;
    if (!device->transfer_queues[direction]) {
        device->transfer_queues[direction] =
            clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, &error);
    }
    *queue = device->transfer_queues[direction];
    return error == CL_SUCCESS
               ? CLQ_OK
               : clq_cl_fail(error, "creating an OpenCL queue on %s", device->info.name);
}

void clq_transfer_free_queues(clq_device *device) {
    for (int i = 0; i < 2; i++) {
        if (device->transfer_queues[i]) {
            clFinish(device->transfer_queues[i]);
            clReleaseCommandQueue(device->transfer_queues[i]);
        }
    }
}

/* Takes the event of a copy that was queued, and sends the queue's commands off. */
static clq_status begun(clq_buffer *buffer, cl_int error, const char *what, size_t size,
                        cl_command_queue queue, cl_event event, clq_transfer *transfer) {
    clq_device *device = buffer->device;
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "%s of %zu bytes on %s", what, size, device->info.name);
    }
    *transfer = (clq_transfer){device, event};
    if (device->profile.on) {
        clRetainEvent(event);
        clq_profile_add(device, what, NULL, event);
    }
    error = clFlush(queue);
    return error == CL_SUCCESS
               ? CLQ_OK
               : clq_cl_fail(error, "sending off a %s on %s", what, device->info.name);
}

clq_status clq_transfer_read(clq_buffer *buffer, size_t size, void *data, clq_transfer *transfer) {
    CLQ_NEEDS(buffer, data, transfer);
    clq_device *device = buffer->device;
    cl_command_queue queue;
    cl_event before, event = NULL;
    CLQ_TRY(clq_buffer_check_range(buffer, 0, size, "a read"));
    CLQ_TRY(queue_of(device, READS, &queue));
    cl_int error = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &before);
    if (error != CL_SUCCESS) {
        return clq_cl_fail(error, "marking the work queued on %s", device->info.name);
    }
    error = clFlush(device->queue);
    if (error == CL_SUCCESS) {
        error =
            clEnqueueReadBuffer(queue, buffer->memory, CL_FALSE, 0, size, data, 1, &before, &event);
    }
    clReleaseEvent(before);
    return begun(buffer, error, "read", size, queue, event, transfer);
}

clq_status clq_transfer_write(clq_buffer *buffer, size_t size, const void *data,
                              clq_transfer *transfer) {
    CLQ_NEEDS(buffer, data, transfer);
    cl_command_queue queue;
    cl_event event = NULL;
    CLQ_TRY(clq_buffer_check_range(buffer, 0, size, "a write"));
    CLQ_TRY(queue_of(buffer->device, WRITES, &queue));
    const cl_int error =
        clEnqueueWriteBuffer(queue, buffer->memory, CL_FALSE, 0, size, data, 0, NULL, &event);
    return begun(buffer, error, "write", size, queue, event, transfer);
}

clq_status clq_transfer_done(const clq_transfer *transfer, bool *done) {
    CLQ_NEEDS(transfer, done);
    cl_int state = CL_QUEUED;
    *done = true;
    if (!transfer->event) {
        return CLQ_OK;
    }
    cl_int error = clGetEventInfo(transfer->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state,
                                  &state, NULL);
    error = error == CL_SUCCESS && state < 0 ? state : error;
    *done = state == CL_COMPLETE;
    return error == CL_SUCCESS ? CLQ_OK
                               : clq_cl_fail(error, "a copy on %s", transfer->device->info.name);
}

clq_status clq_transfer_join(clq_transfer *transfer) {
    CLQ_NEEDS(transfer);
    cl_event event = transfer->event;
    cl_int error = CL_SUCCESS;
    if (!event) {
        return CLQ_OK;
    }
    error = clEnqueueBarrierWithWaitList(transfer->device->queue, 1, &event, NULL);
    clReleaseEvent(event);
    transfer->event = NULL;
    return error == CL_SUCCESS
               ? CLQ_OK
               : clq_cl_fail(error, "waiting for a copy on %s", transfer->device->info.name);
}
