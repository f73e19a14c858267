/* Times layer by layer, from the device's own events. */
#ifndef CLQUANT_BENCH_LAYERS_H
#define CLQUANT_BENCH_LAYERS_H

#include <clquant/bench.h>

/* Runs the executor a few times with profiling and fills result->layers: one entry for each label
 * the executor gave its launches (the nodes that ran), in order of execution, with the median time.
 * result's precision, dot_path, batch and peak_gops must be set. */
clq_status clq_bench_layers(clq_device *device, clq_exec *exec, const clq_graph *graph,
                            clq_bench_result *result);

#endif
