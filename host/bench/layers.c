#include "bench/layers.h"

#include <math.h>
#include <string.h>

#include "ops/layer.h"
#include "ops/quantized.h"

/* One step of the executor, or a conversion at its edges. */
typedef struct step {
    const char *label;             /* of its launches */
    const char *name, *op, *fused; /* as in clq_bench_layer, lent */
    double operations;             /* of the sum over taps */
    double done; /* by its launches of the latest round: Winograd's algorithm does fewer */
    int64_t weight_bytes, bytes, codes;
    int channels, taps;
    bool depthwise;
    double padded;    /* as in clq_bench_layer */
    const char *real; /* how it runs on reals, lent: "fp32", "w4"; NULL: on codes */
    bool multiplies;  /* has a dot path: */
    clq_dot dot;
    int launches;
    int64_t work_items, work_groups; /* of the longest launch of the latest round */
    double ms[CLQ_PROFILED_ROUNDS];
} step;

struct clq_layer_profile {
    clq_device *device;
    clq_exec *exec;
    const clq_graph *graph;
    step *steps; /* (node_count + 2) */
    int step_count;
};

/* ---- what layers do ---- */

static int64_t code_bytes(const clq_shape *shape) {
    const int64_t channels = shape->dim[shape->rank - 1];
    return clq_shape_count(shape) / channels * ((channels + 3) / 4 * 4);
}

static int64_t tensor_bytes(const clq_tensor *tensor) {
    return tensor->dtype == CLQ_U8
               ? code_bytes(&tensor->shape)
               : clq_shape_count(&tensor->shape) * (int64_t)clq_dtype_size(tensor->dtype);
}

static void add_input(const clq_tensor *tensor, step *s) {
    const int64_t size = tensor->value ? tensor_bytes(tensor) : 0;
    s->bytes += size;
    s->weight_bytes += tensor->value && tensor->value->data ? size : 0;
}

/* Operations of a convolution on zeros: input channels are filled up to four, which one dot product
 * takes, output channels to the lanes of a register. */
static void note_padding(const clq_op_run *run, unsigned simd_bytes, step *s) {
    const clq_shape *w = &run->graph->values[run->node->inputs[1]].shape;
    const int64_t groups = w->rank == 4 ? run->in[0].shape.dim[3] / w->dim[3] : 1;
    const int64_t in = w->dim[w->rank - 1], out = w->dim[0];
    const int64_t lanes = simd_bytes >= 4 ? simd_bytes / 4 : 1;
    s->depthwise = groups > 1 && in == 1;
    s->taps = w->rank == 4 ? (int)(w->dim[1] * w->dim[2]) : 1;
    if (!s->depthwise) {
        const double filled = (double)((in + 3) / 4 * 4) / (double)in *
                              (double)((out + lanes - 1) / lanes * lanes) / (double)out;
        s->padded = s->operations * (filled - 1);
    }
}

/* The executor's hook: appends the node that was just queued. */
static clq_status note_step(void *context, const clq_op_run *run) {
    clq_layer_profile *profile = context;
    const clq_node *node = run->node;
    step *s = &profile->steps[profile->step_count++];
    *s = (step){.label = node->name,
                .name = node->name,
                .op = node->op->name,
                .fused = run->fused_add ? run->fused_add->name : "",
                .bytes = tensor_bytes(&run->out)};
    for (int i = 0; i < node->input_count; i++) {
        add_input(&run->in[i], s);
    }
    add_input(&run->residual, s);
    if (node->op->macs) {
        s->operations = 2.0 * (double)node->op->macs(run->graph, node) * run->batch;
    }
    s->channels = (int)run->out.shape.dim[run->out.shape.rank - 1];
    if (node->op->macs && node->input_count > 1) {
        note_padding(run, clq_device_get_info(profile->device)->simd_bytes, s);
    }
    if (run->out.dtype == CLQ_U8 && !node->op->output_shares_qparams) {
        s->codes = clq_shape_count(&run->out.shape);
    }
    s->real = run->mode == CLQ_EXEC_FLOAT ? clq_real_precision(run->graph, node) : NULL;
    s->multiplies = clq_layer_dot(run, &s->dot);
    return CLQ_OK;
}

/* The conversions between reals and codes at the inputs or outputs of an integer network, which are
 * one layer together; they launch nothing where those are real. */
static void add_edge(clq_layer_profile *profile, bool inputs) {
    const clq_graph *graph = profile->graph;
    const int count = inputs ? graph->input_count : graph->output_count;
    step *s = &profile->steps[profile->step_count++];
    *s = (step){.label = inputs ? "quantize input" : "dequantize output",
                .name = inputs ? "input" : "output",
                .op = inputs ? "quantize" : "dequantize",
                .fused = ""};
    for (int i = 0; i < count; i++) {
        const clq_shape *shape = inputs ? &clq_exec_input_at(profile->exec, i)->shape
                                        : &clq_exec_output_at(profile->exec, i)->shape;
        if (graph->values[inputs ? graph->inputs[i] : graph->outputs[i].value].q.count > 0) {
            s->bytes += clq_shape_count(shape) * (int64_t)sizeof(float) + code_bytes(shape);
        }
    }
}

clq_status clq_layer_profile_open(clq_device *device, clq_exec *exec, const clq_graph *graph,
                                  clq_layer_profile **profile) {
    clq_layer_profile *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    *made = (clq_layer_profile){.device = device, .exec = exec, .graph = graph};
    made->steps = clq_calloc((size_t)graph->node_count + 2, sizeof *made->steps);
    if (!made->steps) {
        clq_free(made);
        return CLQ_NO_MEMORY;
    }
    add_edge(made, true);
    clq_exec_set_hook(exec, note_step, made);
    const clq_status status = clq_exec_forward(exec);
    clq_exec_set_hook(exec, NULL, NULL);
    if (status != CLQ_OK) {
        clq_layer_profile_close(made);
        return status;
    }
    add_edge(made, false);
    *profile = made;
    return CLQ_OK;
}

void clq_layer_profile_close(clq_layer_profile *profile) {
    if (profile) {
        clq_free(profile->steps);
        clq_free(profile);
    }
}

/* ---- how long they take ---- */

/* The step of a launch: entries come in the order of the steps, so the search starts at the step
 * before it. NULL when there is none. */
static step *find_step(clq_layer_profile *profile, int *at, const char *label) {
    for (int i = 0; i < profile->step_count; i++) {
        step *s = &profile->steps[(*at + i) % profile->step_count];
        if (strcmp(s->label, label) == 0) {
            *at = (int)(s - profile->steps);
            return s;
        }
    }
    return NULL;
}

static clq_status add_round(clq_layer_profile *profile, int round) {
    const clq_profile_entry *entries;
    size_t count;
    int at = 0;
    double longest = 0;
    CLQ_TRY(clq_device_profile_entries(profile->device, &entries, &count));
    for (int i = 0; i < profile->step_count; i++) {
        profile->steps[i].launches = 0;
        profile->steps[i].done = 0;
    }
    for (size_t i = 0; i < count; i++) {
        step *s = find_step(profile, &at, entries[i].label);
        if (!s) {
            return clq_fail(CLQ_INTERNAL, "no layer is called \"%s\"", entries[i].label);
        }
        if (s->launches++ == 0 || entries[i].ms > longest) {
            longest = entries[i].ms;
            s->work_items = (int64_t)entries[i].work_items;
            s->work_groups = (int64_t)entries[i].work_groups;
        }
        s->ms[round] += entries[i].ms;
        s->done += entries[i].flops;
    }
    return CLQ_OK;
}

clq_status clq_layer_profile_run(clq_layer_profile *profile, int round) {
    clq_status status = CLQ_OK;
    CLQ_TRY(clq_exec_forward(profile->exec)); /* brings its data back into the caches */
    CLQ_TRY(clq_device_profile(profile->device, true));
    CLQ_GOTO(status, cleanup, clq_exec_forward(profile->exec));
    CLQ_GOTO(status, cleanup, add_round(profile, round));
cleanup:
    if (clq_device_profile(profile->device, false) != CLQ_OK && status == CLQ_OK) {
        status = CLQ_DEVICE;
    }
    return status;
}

/* ---- results ---- */

/* The int8 peak on a path, which need not be the device's own. */
static clq_status peak_of(clq_device *device, clq_dot dot, double *gops) {
    const clq_dot present = clq_device_get_info(device)->dot;
    double fp32_gflops;
    CLQ_TRY(clq_device_set_dot(device, dot));
    const clq_status status = clq_device_peak(device, &fp32_gflops, gops);
    CLQ_TRY(clq_device_set_dot(device, present));
    return status;
}

static clq_status fill_layer(const clq_layer_profile *profile, const step *s,
                             const clq_bench_result *result, clq_bench_layer *layer) {
    double sorted[CLQ_PROFILED_ROUNDS];
    memcpy(sorted, s->ms, sizeof sorted);
    *layer = (clq_bench_layer){.name = clq_strdup(s->name),
                               .op = clq_strdup(s->op),
                               .fused = clq_strdup(s->fused),
                               .ms = clq_latency_of(sorted, CLQ_PROFILED_ROUNDS).median,
                               .operations = s->operations,
                               .peak_gops =
                                   s->real ? result->limits.fp32_gflops : result->limits.int8_gops,
                               .weight_bytes = s->weight_bytes,
                               .bytes = s->bytes,
                               .codes = s->codes,
                               .channels = s->channels,
                               .taps = s->taps,
                               .depthwise = s->depthwise,
                               .padded = s->padded,
                               .launches = s->launches,
                               .work_items = s->work_items,
                               .work_groups = s->work_groups,
                               .precision = s->real ? s->real : "int8",
                               .dot_path = s->multiplies ? clq_dot_name(s->dot) : ""};
    if (!layer->name || !layer->op || !layer->fused) {
        return CLQ_NO_MEMORY;
    }
    if (s->multiplies && !isnan(result->peak_gops)) {
        CLQ_TRY(peak_of(profile->device, s->dot, &layer->peak_gops));
    }
    if (layer->ms > 0) {
        layer->gops = 1e-6 * s->done / layer->ms;
        layer->gbs = 1e-6 * (double)s->bytes / layer->ms;
    }
    layer->peak_fraction = layer->gops / layer->peak_gops;
    return CLQ_OK;
}

clq_status clq_layer_profile_fill(const clq_layer_profile *profile, clq_bench_result *result) {
    result->layers = clq_calloc((size_t)profile->step_count, sizeof *result->layers);
    if (!result->layers) {
        return CLQ_NO_MEMORY;
    }
    for (int i = 0; i < profile->step_count; i++) {
        if (profile->steps[i].launches > 0) {
            clq_bench_layer *layer = &result->layers[result->layer_count++];
            CLQ_TRY(fill_layer(profile, &profile->steps[i], result, layer));
            result->kernel_ms += layer->ms;
        }
    }
    for (int i = 0; i < result->layer_count && result->kernel_ms > 0; i++) {
        result->layers[i].share = result->layers[i].ms / result->kernel_ms;
    }
    return CLQ_OK;
}
