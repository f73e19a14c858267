/* Chains: launches that are queued again and again in the same order, on the same buffers, run as
 * one launch (kernels/chain.cl).
 *
 * Between two kernels a driver of CPUs puts its threads to sleep and wakes them again, and which
 * thread then does which part of a kernel is chance. In a chain as many work-groups as the device
 * has compute units meet between kernels without sleeping, and each goes on with what lies in its
 * own cache. The kernels are those of the launches, their work-items too: no bit changes.
 *
 * This relies on two things that OpenCL does not promise: that a buffer keeps its address, and that
 * a work-group which runs goes on running while another one waits for it. So chains exist for
 * drivers where both are known (PoCL on the host's processor), and whoever makes one compares what
 * it computes with what the launches compute before trusting it. */
#ifndef CLQ_DEVICE_CHAIN_H
#define CLQ_DEVICE_CHAIN_H

#include "clquant/device.h"

typedef struct clq_chain clq_chain;

/* Whether chains exist on the device. */
bool clq_chain_possible(const clq_device *device);

/* From now on launches are noted and not queued; whatever else would use the queue fails. */
clq_status clq_chain_record(clq_device *device);
/* Ends it. *chain NULL: makes one of what was noted; `options` are for kernels/chain.cl, NULL for
 * none. Else *chain, which was made of launches of the same kernels, takes these instead.
 * CLQ_DEVICE, with the reason: that cannot be, and *chain is as before. */
clq_status clq_chain_make(clq_device *device, const char *options, clq_chain **chain);
/* Ends it, and forgets what was noted. */
void clq_chain_drop(clq_device *device);
/* Launches noted so far, and different kernels among them. */
int clq_chain_noted(const clq_device *device, int *kernels);

/* Whether it can stand for its launches now: not while they are profiled one by one. */
bool clq_chain_ready(const clq_chain *chain);
/* Whether scratch memory that it uses has moved: it is to be made again, with new buffers. */
bool clq_chain_moved(const clq_chain *chain);
/* Queues all its launches as one. */
clq_status clq_chain_run(clq_chain *chain);
void clq_chain_destroy(clq_chain *chain); /* NULL ok */

#endif
