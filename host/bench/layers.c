#include "bench/layers.h"

#include <string.h>

enum { PROFILED_ITERATIONS = 10 };

/* A layer's time in each profiled iteration. */
typedef struct layer_samples {
    const char *name;
    double ms[PROFILED_ITERATIONS];
    double flops;
} layer_samples;

typedef struct samples {
    layer_samples *layers; /* (capacity) */
    int count, capacity;
} samples;

static layer_samples *find_or_add(samples *s, const char *name) {
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->layers[i].name, name) == 0) {
            return &s->layers[i];
        }
    }
    if (s->count == s->capacity) {
        return NULL;
    }
    s->layers[s->count].name = name;
    return &s->layers[s->count++];
}

/* The name must outlive the profile's entries, so it is the graph's where a node has it. */
static const char *lasting_name(const clq_graph *graph, const char *label) {
    const int node = clq_graph_find_node(graph, label);
    return node >= 0 ? graph->nodes[node].name : strcmp(label, "output") == 0 ? "output" : "input";
}

static clq_status add_iteration(samples *s, const clq_graph *graph, clq_device *device,
                                int iteration) {
    const clq_profile_entry *entries;
    size_t count;
    CLQ_TRY(clq_device_profile_entries(device, &entries, &count));
    for (size_t i = 0; i < count; i++) {
        layer_samples *layer = find_or_add(s, lasting_name(graph, entries[i].label));
        if (!layer) {
            return clq_fail(CLQ_INTERNAL, "more layers ran than the graph has");
        }
        layer->ms[iteration] += entries[i].ms;
        layer->flops += iteration == 0 ? entries[i].flops : 0;
    }
    return CLQ_OK;
}

static clq_status fill_layers(const samples *s, const clq_graph *graph, clq_bench_result *result) {
    result->layers = clq_calloc((size_t)s->count + 1, sizeof *result->layers);
    if (!result->layers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < s->count; i++) {
        layer_samples *from = &s->layers[i];
        clq_bench_layer *to = &result->layers[result->layer_count++];
        const int node = clq_graph_find_node(graph, from->name);
        to->name = clq_strdup(from->name);
        to->op = clq_strdup(node >= 0 ? graph->nodes[node].op->name : "quantize");
        if (!to->name || !to->op) {
            return CLQ_NO_MEMORY;
        }
        to->ms = clq_latency_of(from->ms, PROFILED_ITERATIONS).median;
        to->gops = to->ms > 0 ? 1e-6 * from->flops / to->ms : 0;
        to->peak_fraction = to->gops / result->peak_gops;
        to->precision = result->precision;
        to->dot_path = result->dot_path;
    }
    return CLQ_OK;
}

clq_status clq_bench_layers(clq_device *device, clq_exec *exec, const clq_graph *graph,
                            clq_bench_result *result) {
    samples s = {.capacity =
                     graph->node_count + 2}; /* and quantizing the input, dequantizing the output */
    clq_status status = CLQ_OK;
    s.layers = clq_calloc((size_t)s.capacity, sizeof *s.layers);
    if (!s.layers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < PROFILED_ITERATIONS; i++) {
        CLQ_GOTO(status, cleanup, clq_device_profile(device, true));
        CLQ_GOTO(status, cleanup, clq_exec_forward(exec));
        CLQ_GOTO(status, cleanup, add_iteration(&s, graph, device, i));
    }
    CLQ_GOTO(status, cleanup, fill_layers(&s, graph, result));
cleanup:
    if (clq_device_profile(device, false) != CLQ_OK && status == CLQ_OK) {
        status = CLQ_DEVICE;
    }
    clq_free(s.layers);
    return status;
}
