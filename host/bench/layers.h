/* Layer by layer: what each does, from shapes, and how long it takes, from the device's events. */
#ifndef CLQUANT_BENCH_LAYERS_H
#define CLQUANT_BENCH_LAYERS_H

#include <clquant/bench.h>

enum { CLQ_PROFILED_ROUNDS = 15 };

typedef struct clq_layer_profile clq_layer_profile;

/* Runs one forward to see which layers there are. All arguments must outlive the profile. */
clq_status clq_layer_profile_open(clq_device *device, clq_exec *exec, const clq_graph *graph,
                                  clq_layer_profile **profile);
void clq_layer_profile_close(clq_layer_profile *profile); /* NULL ok */

/* Two forwards, the second one recorded; round 0..CLQ_PROFILED_ROUNDS-1, each once. */
clq_status clq_layer_profile_run(clq_layer_profile *profile, int round);

/* Fills result->layers: those that launched anything, in order of execution, with the medians of
 * all rounds; and kernel_ms. result->limits must be set. */
clq_status clq_layer_profile_fill(const clq_layer_profile *profile, clq_bench_result *result);

#endif
