/* Noting launches instead of queueing them, for chains (chain.h). */
#ifndef CLQ_DEVICE_RECORDING_H
#define CLQ_DEVICE_RECORDING_H

#include "device/internal.h"

typedef struct clq_recorded {
    clq_kernel *kernel;
    size_t global[3];
    clq_arg *args;  /* (kernel->arg_count); buffers may be gone, */
    cl_mem *memory; /* what they were is here, retained; NULL for other arguments */
} clq_recorded;

typedef struct clq_recorder {
    clq_recorded *launches; /* (count) */
    int count, capacity;
    bool uses_scratch;
    const char *refused; /* why what was done cannot be a chain; NULL: it can */
} clq_recorder;

/* Instead of a launch; `range` is complete. */
clq_status clq_recorder_add(clq_device *device, clq_kernel *kernel, const clq_range *range,
                            const clq_arg *args);
/* CLQ_DEVICE while launches are noted, as `what` is none; CLQ_OK otherwise. */
clq_status clq_recorder_refuse(clq_device *device, const char *what);
void clq_recorder_free(clq_recorder *recorder); /* NULL ok */

#endif
