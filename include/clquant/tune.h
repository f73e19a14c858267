/* Tuning: finds by measuring how the convolutions of given networks run fastest on a device. */
#ifndef CLQUANT_TUNE_H
#define CLQUANT_TUNE_H

#include <clquant/device.h>
#include <clquant/graph.h>

CLQ_API_BEGIN

typedef struct clq_tune_options {
    const int *batches; /* (batch_count), each at least 1 */
    int batch_count;
    double seconds; /* of measuring, about; 0: 60. Building kernels is not counted */
    bool force;     /* also what the device's table has already */
    uint64_t seed;  /* of the random data */
} clq_tune_options;

/* One shape of conv2d (depthwise too) or linear. */
typedef struct clq_tune_layer {
    const char *family; /* "int8" or "f32" */
    char *shape;    /* owned: "1x56x56x64 256x1x1 s1x1 p0x0 d1x1 g1", see ops/conv/conv_choice.h */
    char *choice;   /* owned: what the table now says; "default": by heuristics */
    int count;      /* layers of that shape, in all graphs and batches */
    int candidates; /* measured; 0: the table had a choice, and there are no times */
    double default_ms, best_ms; /* minima, measured in turn; equal when the default stays */
} clq_tune_layer;

typedef struct clq_tune_report {
    clq_tune_layer *layers; /* owned, in the order in which the graphs have them */
    int layer_count;
} clq_tune_report;

/* Measures the shapes of float and integer graphs on the device and its present dot path, and keeps
 * each outcome in the device's table and its file (CLQUANT_TUNE, else in the cache folder), from
 * where every later clq_device_open takes it: a choice that beats the default by more than noise,
 * or "default". CLQ_USAGE when there is no file to keep it in, or a graph is quantized but not
 * integer. Clear the report after a failure too. */
clq_status clq_tune(clq_device *device, const clq_graph *const *graphs, int graph_count,
                    const clq_tune_options *options, clq_tune_report *report);
void clq_tune_report_clear(clq_tune_report *report);

CLQ_API_END
#endif
