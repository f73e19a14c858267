/* Sessions: a network on a device, run on arrays that the caller has.
 *
 * Threads: a device and the sessions on it are used by one thread at a time; which one may change,
 * and each thread may use a device of its own at the same time (two may be opened of one piece of
 * hardware). clq_last_error is the calling thread's own. What a session lends (names, shapes, the
 * graph) is valid until it is destroyed, and may be read from any thread. */
#ifndef CLQUANT_SESSION_H
#define CLQUANT_SESSION_H

#include <clquant/data.h>
#include <clquant/device.h>
#include <clquant/graph.h>

CLQ_API_BEGIN

typedef struct clq_session clq_session;

/* A session with a copy of a graph of any form. The device stays open until it is closed and its
 * last session destroyed. CLQ_BAD_DATA for a graph that breaks a rule. */
clq_status clq_session_create(clq_device *device, const clq_graph *graph, clq_session **session);
/* The same of an .onnx file. CLQ_NO_INPUT, CLQ_BAD_DATA as clq_onnx_load. */
clq_status clq_session_load(clq_device *device, const char *path, clq_session **session);
void clq_session_destroy(clq_session *session); /* NULL ok */

const clq_graph *clq_session_graph(const clq_session *session);
clq_device *clq_session_device(const clq_session *session);

/* Inputs and outputs in the order of the model; their numbers are the graph's input_count and
 * output_count, their names clq_graph_input_name and clq_graph_output_name. dim[0] is that of one
 * sample: 1, but for networks that take a whole batch as one. CLQ_USAGE past them. */
clq_status clq_session_input_shape(const clq_session *session, int input, clq_order order,
                                   clq_shape *shape);
clq_status clq_session_output_shape(const clq_session *session, int output, clq_order order,
                                    clq_shape *shape);

/* Runs `count` samples, any number of them: inputs[i] (count, ...) is read, outputs[i] (count, ...)
 * written, both dense, in `order`. Kernels are built, and memory is taken, when a number of samples
 * is new; the latest few stay. The first `count` of more samples give the same numbers, in networks
 * on codes to the bit. CLQ_BAD_DATA for numbers that are not finite where the network rounds them
 * to codes. */
clq_status clq_session_run(clq_session *session, clq_order order, int64_t count,
                           const float *const *inputs, float *const *outputs);

CLQ_API_END
#endif
