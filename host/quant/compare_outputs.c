/* How far one form of a network is from another, where no labels say how good either is. */
#include <math.h>

#include <clquant/quant.h>

#include "base/arguments.h"
#include "base/progress.h"
#include "quant/output_error.h"

typedef struct comparison {
    clq_exec *real, *other;
    const clq_graph *graph;
    float *x, *y; /* one batch of the largest output, of both */
    clq_output_error sums[CLQ_MAX_ENDS];
} comparison;

void clq_output_error_add(clq_output_error *sums, const float *real, const float *other,
                          size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double x = real[i], d = other[i] - x;
        sums->error += d * d;
        sums->power += x * x;
    }
}

double clq_output_error_of(const clq_output_error *sums) {
    return sums->error > 0 || isnan(sums->error) ? sqrt(sums->error / sums->power) : 0;
}

static size_t output_size(const comparison *c, int index) {
    return (size_t)clq_shape_count(&c->graph->values[c->graph->outputs[index].value].shape);
}

static clq_status take_memory(comparison *c, int batch) {
    size_t largest = 1;
    for (int i = 0; i < c->graph->output_count; i++) {
        largest = output_size(c, i) > largest ? output_size(c, i) : largest;
    }
    c->x = clq_calloc((size_t)batch * largest, sizeof *c->x);
    c->y = clq_calloc((size_t)batch * largest, sizeof *c->y);
    return c->x && c->y ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status check_ends(const comparison *c) {
    const clq_graph *other = clq_exec_graph(c->other);
    bool same = other->input_count == c->graph->input_count &&
                other->output_count == c->graph->output_count &&
                clq_exec_get_options(c->real)->batch == clq_exec_get_options(c->other)->batch;
    for (int i = 0; same && i < other->input_count; i++) {
        same = clq_shape_equal(&clq_exec_input_at(c->real, i)->shape,
                               &clq_exec_input_at(c->other, i)->shape);
    }
    for (int i = 0; same && i < other->output_count; i++) {
        same = clq_shape_equal(&clq_exec_output_at(c->real, i)->shape,
                               &clq_exec_output_at(c->other, i)->shape);
    }
    return same ? CLQ_OK
                : clq_fail(CLQ_USAGE, "networks to compare must have the same inputs, outputs and "
                                      "batch");
}

static clq_status run_both(comparison *c) {
    for (int i = 0; i < c->graph->input_count; i++) {
        const clq_tensor *input = clq_exec_input_at(c->real, i);
        CLQ_TRY(clq_buffer_copy(clq_exec_input_at(c->other, i)->buffer, 0, input->buffer, 0,
                                (size_t)clq_shape_count(&input->shape) * sizeof(float)));
    }
    CLQ_TRY(clq_exec_forward(c->real));
    return clq_exec_forward(c->other);
}

/* Adds up the squares of `count` samples. */
static clq_status add_batch(comparison *c, int count) {
    for (int o = 0; o < c->graph->output_count; o++) {
        const size_t total = (size_t)count * output_size(c, o), bytes = total * sizeof(float);
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(c->real, o)->buffer, 0, bytes, c->x));
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(c->other, o)->buffer, 0, bytes, c->y));
        clq_output_error_add(&c->sums[o], c->x, c->y, total);
    }
    return CLQ_OK;
}

clq_status clq_compare_outputs(clq_exec *real, clq_exec *other, clq_feed *feed, int64_t limit,
                               double *errors, int64_t *done) {
    CLQ_NEEDS(real, other, feed, errors, done);
    comparison c = {.real = real, .other = other, .graph = clq_exec_graph(real)};
    const int64_t batch = clq_exec_get_options(real)->batch, all = clq_feed_count(feed);
    clq_status status = CLQ_OK;
    clq_progress progress;
    *done = 0;
    CLQ_TRY(check_ends(&c));
    clq_progress_begin(&progress, "compare outputs", clq_feed_unit(feed),
                       limit > 0 && limit < all ? limit : all);
    CLQ_GOTO(status, cleanup, take_memory(&c, (int)batch));
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    while (limit <= 0 || *done < limit) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, real, &data));
        if (data.count == 0) {
            break;
        }
        const int count =
            limit > 0 && data.count > limit - *done ? (int)(limit - *done) : data.count;
        CLQ_GOTO(status, cleanup, run_both(&c));
        CLQ_GOTO(status, cleanup, add_batch(&c, count));
        *done += count;
        clq_progress_update(&progress, *done, NULL);
    }
    for (int o = 0; o < c.graph->output_count; o++) {
        errors[o] = clq_output_error_of(&c.sums[o]);
    }
cleanup:
    clq_progress_end(&progress);
    clq_free(c.x);
    clq_free(c.y);
    return status;
}
