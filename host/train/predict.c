/* Inference on whatever a feed gives: every output of every sample, no labels. */
#include <math.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/progress.h"
#include "formats/layout.h"

typedef struct predictor {
    clq_exec *exec;
    const clq_graph *graph;
    float *outputs[CLQ_MAX_ENDS]; /* one batch of each, in files' order */
    float *read;                  /* one batch of the largest, as the device has it */
    int64_t bad[CLQ_MAX_ENDS];    /* numbers of each so far that are not finite */
    int64_t first[CLQ_MAX_ENDS];  /* the first sample with one */
} predictor;

static const clq_shape *output_shape(const predictor *p, int index) {
    return &p->graph->values[p->graph->outputs[index].value].shape;
}

static clq_status take_memory(predictor *p, int batch) {
    size_t largest = 0;
    for (int i = 0; i < p->graph->output_count; i++) {
        const size_t size = (size_t)batch * (size_t)clq_shape_count(output_shape(p, i));
        largest = size > largest ? size : largest;
        p->outputs[i] = clq_calloc(size, sizeof *p->outputs[i]);
        if (!p->outputs[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    p->read = clq_calloc(largest, sizeof *p->read);
    return p->read ? CLQ_OK : CLQ_NO_MEMORY;
}

static void warn_of_nonfinite(const predictor *p, int64_t done, const char *unit) {
    for (int i = 0; i < p->graph->output_count; i++) {
        if (p->bad[i] > 0) {
            clq_log_warn(
                "output %s: %lld of its %lld numbers %s infinite or NaN, the first of %s %lld "
                "(from 0)",
                clq_graph_output_name(p->graph, i), (long long)p->bad[i],
                (long long)(done * clq_shape_count(output_shape(p, i))),
                p->bad[i] == 1 ? "is" : "are", unit, (long long)p->first[i]);
        }
    }
}

/* The executor's outputs for `count` samples behind `done`, in files' order. */
static clq_status read_outputs(predictor *p, int64_t done, int count) {
    for (int i = 0; i < p->graph->output_count; i++) {
        const clq_shape *shape = output_shape(p, i);
        const size_t size = (size_t)clq_shape_count(shape);
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(p->exec, i)->buffer, 0,
                                (size_t)count * size * sizeof *p->read, p->read));
        clq_output_to_file(p->graph, i, count, p->read, p->outputs[i]);
        for (size_t k = 0; k < (size_t)count * size; k++) {
            if (!isfinite(p->read[k]) && p->bad[i]++ == 0) {
                p->first[i] = done + (int64_t)(k / size);
            }
        }
    }
    return CLQ_OK;
}

clq_status clq_predict(clq_exec *exec, clq_feed *feed, int64_t limit, const char *label,
                       clq_predict_sink sink, void *context, int64_t *done) {
    CLQ_NEEDS(exec, feed, done);
    CLQ_REQUIRE(sink, "sink must not be NULL");
    const int batch = clq_exec_get_options(exec)->batch;
    const int64_t all = clq_feed_count(feed);
    predictor p = {.exec = exec, .graph = clq_exec_graph(exec)};
    clq_status status = CLQ_OK;
    clq_progress progress;
    *done = 0;
    clq_progress_begin(&progress, label ? label : "", clq_feed_unit(feed),
                       limit > 0 && limit < all ? limit : all);
    CLQ_GOTO(status, cleanup, take_memory(&p, batch));
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    while (limit <= 0 || *done < limit) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, exec, &data));
        if (data.count == 0) {
            break;
        }
        const int count =
            limit > 0 && data.count > limit - *done ? (int)(limit - *done) : data.count;
        CLQ_GOTO(status, cleanup, clq_exec_forward(exec));
        CLQ_GOTO(status, cleanup, read_outputs(&p, *done, count));
        CLQ_GOTO(status, cleanup, sink(context, *done, count, (const float *const *)p.outputs));
        *done += count;
        if (label) {
            clq_progress_update(&progress, *done, NULL);
        }
    }
    if (*done == 0) {
        status = clq_fail(CLQ_BAD_DATA, "no %s to predict", clq_feed_unit(feed));
    }
cleanup:
    clq_progress_end(&progress);
    warn_of_nonfinite(&p, *done, strcmp(clq_feed_unit(feed), "images") == 0 ? "image" : "row");
    for (int i = 0; i < CLQ_MAX_ENDS; i++) {
        clq_free(p.outputs[i]);
    }
    clq_free(p.read);
    return status;
}
