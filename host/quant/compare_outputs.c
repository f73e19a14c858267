/* How far one form of a network is from another, where no labels say how good either is. */
#include <math.h>

#include "base/arguments.h"
#include "base/progress.h"
#include "quant/compare.h"
#include "train/evaluate.h"
#include "train/output_error.h"

typedef struct comparison {
    clq_exec *real;
    clq_exec *const *others;
    int count; /* of others */
    const clq_graph *graph;
    float *x, *y;                           /* one batch of the largest output, of two */
    clq_output_error (*sums)[CLQ_MAX_ENDS]; /* (1 + count) */
    int64_t *right;                         /* (1 + count): samples whose label won */
    bool labelled;
} comparison;

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
    c->sums = clq_calloc(1 + (size_t)c->count, sizeof *c->sums);
    c->right = clq_calloc(1 + (size_t)c->count, sizeof *c->right);
    return c->x && c->y && c->sums && c->right ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status check_ends(const comparison *c, clq_exec *compared) {
    const clq_graph *other = clq_exec_graph(compared);
    bool same = other->input_count == c->graph->input_count &&
                other->output_count == c->graph->output_count &&
                clq_exec_get_options(c->real)->batch == clq_exec_get_options(compared)->batch;
    for (int i = 0; same && i < other->input_count; i++) {
        same = clq_shape_equal(&clq_exec_input_at(c->real, i)->shape,
                               &clq_exec_input_at(compared, i)->shape);
    }
    for (int i = 0; same && i < other->output_count; i++) {
        same = clq_shape_equal(&clq_exec_output_at(c->real, i)->shape,
                               &clq_exec_output_at(compared, i)->shape);
    }
    return same ? CLQ_OK
                : clq_fail(CLQ_USAGE, "networks to compare must have the same inputs, outputs and "
                                      "batch");
}

/* Before real runs, which may use its inputs' memory for others. */
static clq_status copy_inputs(comparison *c) {
    for (int n = 0; n < c->count; n++) {
        for (int i = 0; i < c->graph->input_count; i++) {
            const clq_tensor *input = clq_exec_input_at(c->real, i);
            CLQ_TRY(clq_buffer_copy(clq_exec_input_at(c->others[n], i)->buffer, 0, input->buffer, 0,
                                    (size_t)clq_shape_count(&input->shape) * sizeof(float)));
        }
    }
    return CLQ_OK;
}

/* Whether labels are classes of the one output. */
static bool are_classes(const comparison *c, const clq_feed_batch *data) {
    const clq_shape *shape = &c->graph->values[c->graph->outputs[0].value].shape;
    if (!data->labels || data->numbers || c->graph->output_count != 1 || shape->rank != 2) {
        return false;
    }
    for (int i = 0; i < data->count; i++) {
        if (data->labels[i] < 0 || data->labels[i] >= shape->dim[1]) {
            return false;
        }
    }
    return true;
}

static void count_right(const comparison *c, int network, const float *rows, const int32_t *labels,
                        int count) {
    const int classes = (int)output_size(c, 0);
    for (int i = 0; c->labelled && i < count; i++) {
        c->right[network] +=
            clq_rank_of(rows + (size_t)i * (size_t)classes, classes, labels[i]) == 0;
    }
}

/* Adds up the squares of `count` samples. */
static clq_status add_batch(comparison *c, const clq_feed_batch *data, int count) {
    for (int o = 0; o < c->graph->output_count; o++) {
        const size_t total = (size_t)count * output_size(c, o), bytes = total * sizeof(float);
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(c->real, o)->buffer, 0, bytes, c->x));
        count_right(c, 0, c->x, data->labels, count);
        for (int n = 0; n < c->count; n++) {
            CLQ_TRY(clq_buffer_read(clq_exec_output_at(c->others[n], o)->buffer, 0, bytes, c->y));
            clq_output_error_add(&c->sums[1 + n][o], c->x, c->y, total);
            count_right(c, 1 + n, c->y, data->labels, count);
        }
    }
    return CLQ_OK;
}

static clq_status run_all(comparison *c) {
    CLQ_TRY(copy_inputs(c));
    CLQ_TRY(clq_exec_forward(c->real));
    for (int n = 0; n < c->count; n++) {
        CLQ_TRY(clq_exec_forward(c->others[n]));
    }
    return CLQ_OK;
}

static void take_results(const comparison *c, int64_t done, clq_compared *compared) {
    for (int n = 0; n <= c->count; n++) {
        compared[n] = (clq_compared){
            .top1 = c->labelled && done > 0 ? (double)c->right[n] / (double)done : NAN};
        for (int o = 0; o < c->graph->output_count; o++) {
            compared[n].errors[o] = clq_output_error_of(&c->sums[n][o]);
        }
    }
}

clq_status clq_compare_networks(clq_exec *real, clq_exec *const *others, int count, clq_feed *feed,
                                int64_t limit, const char *label, clq_compared *compared,
                                int64_t *done) {
    comparison c = {.real = real,
                    .others = others,
                    .count = count,
                    .graph = clq_exec_graph(real),
                    .labelled = true};
    const int64_t batch = clq_exec_get_options(real)->batch, all = clq_feed_count(feed);
    clq_status status = CLQ_OK;
    clq_progress progress;
    *done = 0;
    for (int n = 0; n < count; n++) {
        CLQ_TRY(check_ends(&c, others[n]));
    }
    clq_progress_begin(&progress, label, clq_feed_unit(feed),
                       limit > 0 && limit < all ? limit : all);
    CLQ_GOTO(status, cleanup, take_memory(&c, (int)batch));
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    while (limit <= 0 || *done < limit) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, real, &data));
        if (data.count == 0) {
            break;
        }
        const int valid =
            limit > 0 && data.count > limit - *done ? (int)(limit - *done) : data.count;
        c.labelled &= are_classes(&c, &data);
        CLQ_GOTO(status, cleanup, run_all(&c));
        CLQ_GOTO(status, cleanup, add_batch(&c, &data, valid));
        *done += valid;
        clq_progress_update(&progress, *done, NULL);
    }
    take_results(&c, *done, compared);
cleanup:
    clq_progress_end(&progress);
    clq_free(c.x);
    clq_free(c.y);
    clq_free(c.sums);
    clq_free(c.right);
    return status;
}

clq_status clq_compare_outputs(clq_exec *real, clq_exec *other, clq_feed *feed, int64_t limit,
                               double *errors, int64_t *done) {
    CLQ_NEEDS(real, other, feed, errors, done);
    clq_compared compared[2];
    CLQ_TRY(clq_compare_networks(real, &other, 1, feed, limit, "compare outputs", compared, done));
    for (int o = 0; o < clq_exec_graph(real)->output_count; o++) {
        errors[o] = compared[1].errors[o];
    }
    return CLQ_OK;
}
