#include "quant/replay.h"

#include <string.h>

#include "ops/layer.h"
#include "passes/part.h"

void clq_replay_init(clq_replay *r, clq_device *device, const clq_graph *graph, clq_feed *feed,
                     int batch, int64_t images) {
    const int64_t there = clq_feed_count(feed);
    *r = (clq_replay){.device = device,
                      .graph = graph,
                      .feed = feed,
                      .batch = batch,
                      .images = images < there ? images : there,
                      .from = CLQ_NO_VALUE};
}

void clq_replay_clear(clq_replay *r) {
    clq_free(r->stored);
    r->stored = NULL;
    r->from = CLQ_NO_VALUE;
}

static size_t size_of(const clq_replay *r, int value) {
    return (size_t)clq_shape_count(&r->graph->values[value].shape);
}

/* ---- one run ---- */

typedef struct run {
    clq_replay *replay;
    clq_graph *part;
    clq_exec *exec;
    clq_tensor *tensor; /* what is visited */
    float scale;        /* of its floats */
    size_t size;        /* of one image of it */
    float *y;           /* (batch, size) on the host */
} run;

/* The layer that makes the part's output gives its sums as reals. */
static void keep_sums(clq_graph *part) {
    clq_value *output = &part->values[clq_graph_output(part)];
    const clq_node *node = &part->nodes[output->producer];
    if (node->op->act) {
        *node->op->act(node->attrs) = CLQ_ACT_NONE;
    }
    clq_qparams_clear(&output->q);
}

static clq_status open_run(run *r, int n, clq_replay_part what) {
    const clq_replay *replay = r->replay;
    const clq_node *node = &replay->graph->nodes[n];
    clq_exec_options options = {.batch = replay->batch, .fixed_sums = true};
    CLQ_TRY(clq_graph_part(replay->graph, replay->from, node->output, &r->part));
    if (what == CLQ_REPLAY_SUMS) {
        keep_sums(r->part);
    }
    options.mode = clq_graph_form(r->part) == CLQ_FORM_FLOAT ? CLQ_EXEC_FLOAT : CLQ_EXEC_FAKE_QUANT;
    CLQ_TRY(clq_exec_create(replay->device, r->part, &options, &r->exec));
    r->tensor = clq_exec_output(r->exec);
    r->scale = 1;
    if (what == CLQ_REPLAY_INPUT) { /* codes less their zero point, or reals */
        const clq_node *layer = &r->part->nodes[r->part->node_count - 1];
        const clq_value *x = &r->part->values[layer->inputs[CLQ_LAYER_X]];
        r->tensor = clq_exec_value(r->exec, layer->inputs[CLQ_LAYER_X]);
        r->scale = x->q.count > 0 ? x->q.scale[0] : 1;
    }
    r->y = clq_calloc((size_t)replay->batch * r->size, sizeof *r->y);
    return r->y ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status fill(run *r, int64_t first, int *count) {
    const clq_replay *replay = r->replay;
    if (replay->from == CLQ_NO_VALUE) {
        clq_feed_batch batch;
        CLQ_TRY(clq_feed_fill(replay->feed, r->exec, &batch));
        *count = batch.count;
        return CLQ_OK;
    }
    const size_t size = size_of(replay, replay->from);
    const int64_t left = replay->images - first;
    *count = (int)(left < replay->batch ? left : replay->batch);
    return clq_buffer_write(clq_exec_input(r->exec)->buffer, 0,
                            (size_t)*count * size * sizeof(float),
                            replay->stored + (size_t)first * size);
}

static clq_status read_tensor(run *r, int count) {
    const size_t total = (size_t)count * r->size;
    CLQ_TRY(clq_buffer_read(r->tensor->buffer, 0, total * sizeof(float), r->y));
    for (size_t i = 0; r->scale != 1 && i < total; i++) {
        r->y[i] *= r->scale;
    }
    return CLQ_OK;
}

static clq_status run_batches(run *r, int64_t images, clq_replay_visit visit, void *context) {
    int count = 0;
    if (r->replay->from == CLQ_NO_VALUE) {
        CLQ_TRY(clq_feed_seek(r->replay->feed, 0, 0));
    }
    for (int64_t first = 0; first < images; first += count) {
        CLQ_TRY(fill(r, first, &count));
        if (count == 0) {
            break;
        }
        count = count < images - first ? count : (int)(images - first);
        CLQ_TRY(clq_exec_forward(r->exec));
        CLQ_TRY(read_tensor(r, count));
        CLQ_TRY(visit(context, r->y, first, count));
    }
    return CLQ_OK;
}

clq_status clq_replay_run(clq_replay *replay, int n, clq_replay_part what, int64_t images,
                          clq_replay_visit visit, void *context) {
    const clq_node *node = &replay->graph->nodes[n];
    const int value = what == CLQ_REPLAY_INPUT ? node->inputs[CLQ_LAYER_X] : node->output;
    run r = {.replay = replay, .size = size_of(replay, value)};
    images = images < replay->images ? images : replay->images;
    if (value == replay->from && what != CLQ_REPLAY_SUMS) {
        for (int64_t i = 0; i < images; i++) {
            CLQ_TRY(visit(context, replay->stored + (size_t)i * r.size, i, 1));
        }
        return CLQ_OK;
    }
    clq_status status = open_run(&r, n, what);
    if (status == CLQ_OK) {
        status = run_batches(&r, images, visit, context);
    }
    clq_exec_destroy(r.exec);
    clq_graph_destroy(r.part);
    clq_free(r.y);
    return status;
}

/* ---- advancing ---- */

typedef struct keeping {
    float *to;
    size_t size;
} keeping;

static clq_status keep(void *context, const float *y, int64_t first, int count) {
    const keeping *k = context;
    memcpy(k->to + (size_t)first * k->size, y, (size_t)count * k->size * sizeof *y);
    return CLQ_OK;
}

clq_status clq_replay_advance(clq_replay *replay, int n) {
    const int cut = clq_graph_cut_before(replay->graph, n);
    if (cut == CLQ_NO_VALUE || cut == replay->from ||
        (size_t)replay->images > CLQ_REPLAY_BYTES / sizeof(float) / size_of(replay, cut)) {
        return CLQ_OK;
    }
    keeping k = {.size = size_of(replay, cut)};
    k.to = clq_calloc((size_t)replay->images * k.size, sizeof *k.to);
    if (!k.to) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = clq_replay_run(replay, replay->graph->values[cut].producer,
                                             CLQ_REPLAY_OUTPUT, replay->images, keep, &k);
    if (status != CLQ_OK) {
        clq_free(k.to);
        return status;
    }
    clq_free(replay->stored);
    replay->stored = k.to;
    replay->from = cut;
    return CLQ_OK;
}
