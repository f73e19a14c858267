/* What equalization needs of data: how large each channel between layers grows. */
#include <math.h>
#include <string.h>

#include <clquant/passes.h>

#include "quant/batches.h"
#include "quant/internal.h"

typedef struct channels {
    const clq_graph *graph;
    clq_batches *batches;
    float **largest; /* (value_count) of (channels); NULL: not observed */
    float *host;     /* one batch of a value */
    size_t capacity;
} channels;

/* Hook: the largest magnitudes of what a layer made. */
static clq_status observe(void *context, const clq_op_run *run) {
    channels *c = context;
    const clq_tensor *out = &run->out;
    const size_t depth = (size_t)out->shape.dim[out->shape.rank - 1];
    const size_t count =
        (size_t)(clq_shape_count(&out->shape) / out->shape.dim[0]) * (size_t)c->batches->count;
    float *largest = c->largest[run->node->output];
    if (!largest) {
        return CLQ_OK;
    }
    if (count > c->capacity) {
        float *host = clq_realloc(c->host, count, sizeof *host);
        if (!host) {
            return CLQ_NO_MEMORY;
        }
        c->host = host;
        c->capacity = count;
    }
    CLQ_TRY(clq_buffer_read(out->buffer, 0, count * sizeof *c->host, c->host));
    for (size_t i = 0; i < count; i += depth) {
        for (size_t k = 0; k < depth; k++) {
            largest[k] = fmaxf(largest[k], fabsf(c->host[i + k]));
        }
    }
    return CLQ_OK;
}

static clq_status take_channels(channels *c) {
    c->largest = clq_calloc((size_t)c->graph->value_count, sizeof *c->largest);
    if (!c->largest) {
        return CLQ_NO_MEMORY;
    }
    for (int n = 0; n < c->graph->node_count; n++) {
        const clq_node *node = &c->graph->nodes[n];
        const clq_shape *shape = &c->graph->values[node->output].shape;
        if (clq_is_layer(node)) {
            float *largest = clq_calloc((size_t)shape->dim[shape->rank - 1], sizeof *largest);
            c->largest[node->output] = largest;
            if (!largest) {
                return CLQ_NO_MEMORY;
            }
        }
    }
    return CLQ_OK;
}

static void clear(channels *c) {
    for (int v = 0; c->largest && v < c->graph->value_count; v++) {
        clq_free(c->largest[v]);
    }
    clq_free(c->largest);
    clq_free(c->host);
}

static clq_status run_images(channels *c, clq_exec *exec, clq_feed *feed, int64_t images) {
    clq_status status = CLQ_OK;
    clq_batches batches = {0};
    c->batches = &batches;
    clq_exec_set_hook(exec, observe, c);
    CLQ_GOTO(status, cleanup, clq_batches_begin(&batches, exec, feed, images, "equalize"));
    do {
        CLQ_GOTO(status, cleanup, clq_batches_next(&batches));
        CLQ_GOTO(status, cleanup, batches.count ? clq_exec_forward(exec) : CLQ_OK);
    } while (batches.count);
cleanup:
    clq_batches_end(&batches);
    return status;
}

clq_status clq_equalize(clq_device *device, const clq_graph *folded, clq_feed *feed, int batch,
                        int64_t images, clq_equalization *report, clq_graph **equalized) {
    const clq_exec_options options = {
        .mode = CLQ_EXEC_FLOAT, .batch = batch, .no_fusion = true, .fixed_sums = true};
    clq_status status = CLQ_OK;
    clq_exec *exec = NULL;
    channels c = {.graph = folded};
    CLQ_GOTO(status, cleanup, take_channels(&c));
    CLQ_GOTO(status, cleanup, clq_exec_create(device, folded, &options, &exec));
    CLQ_GOTO(status, cleanup, run_images(&c, exec, feed, images));
    CLQ_GOTO(status, cleanup,
             clq_graph_equalize(folded, (const float *const *)c.largest, report, equalized));
cleanup:
    clq_exec_destroy(exec);
    clear(&c);
    return status;
}
