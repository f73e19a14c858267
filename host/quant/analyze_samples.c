/* The samples of an analysis: read once, then fed to one network after the other. */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/interval.h"
#include "quant/analyze.h"
#include "train/evaluate.h"
#include "train/output_error.h"

static size_t value_size(const clq_graph *graph, int value) {
    return (size_t)clq_shape_count(&graph->values[value].shape);
}

static size_t input_size(const clq_samples *s, int index) {
    return value_size(s->graph, s->graph->inputs[index]);
}

static size_t output_size(const clq_samples *s, int index) {
    return value_size(s->graph, s->graph->outputs[index].value);
}

/* The classes of a network with one output of them; 0: it has none. */
static int classes_of(const clq_graph *graph) {
    const clq_shape *shape = &graph->values[graph->outputs[0].value].shape;
    return graph->output_count == 1 && shape->rank == 2 && shape->dim[1] > 1 ? (int)shape->dim[1]
                                                                             : 0;
}

/* ---- scores ---- */

typedef struct scoring {
    const clq_samples *samples;
    const bool *base;
    bool *right_of; /* as in clq_samples_run */
    clq_output_error errors[CLQ_MAX_ENDS];
    int64_t right, flips, lost, gained;
} scoring;

static void count_predictions(scoring *s, int64_t first, int count, const float *logits) {
    const int classes = classes_of(s->samples->graph);
    for (int i = 0; i < count && s->samples->predictions; i++) {
        const float *row = logits + (size_t)i * (size_t)classes;
        s->flips += clq_predicted_class(row, classes) != s->samples->predictions[first + i];
        if (s->samples->labels) {
            const bool is_right = clq_rank_of(row, classes, s->samples->labels[first + i]) < 1;
            const bool was_right = s->base[first + i];
            s->right += is_right;
            s->lost += was_right && !is_right;
            s->gained += is_right && !was_right;
            if (s->right_of) {
                s->right_of[first + i] = is_right;
            }
        }
    }
}

static void score_output(scoring *s, int index, int64_t first, int count, const float *values) {
    const size_t each = output_size(s->samples, index);
    clq_output_error_add(&s->errors[index], s->samples->reference[index] + (size_t)first * each,
                         values, (size_t)count * each);
    if (index == 0) {
        count_predictions(s, first, count, values);
    }
}

static void finish_score(const scoring *s, clq_score *score) {
    const clq_samples *samples = s->samples;
    const bool labels = samples->predictions && samples->labels;
    *score = (clq_score){.top1 = labels ? (double)s->right / (double)samples->count : NAN,
                         .flips = samples->predictions ? s->flips : -1,
                         .lost = labels ? s->lost : -1,
                         .gained = labels ? s->gained : -1};
    clq_wilson_interval(score->top1, samples->count, &score->low, &score->high);
    for (int o = 0; o < samples->graph->output_count; o++) {
        const double error = clq_output_error_of(&s->errors[o]);
        score->error = isnan(error) || error > score->error ? error : score->error;
    }
}

bool clq_score_is_noise(const clq_score *score) {
    static const double LEVEL = 0.05;
    return !score || score->lost < 0 || clq_sign_test(score->lost, score->gained) >= LEVEL;
}

/* ---- running ---- */

/* Samples first .. first + count - 1; the rest of the batch repeats the last, as feeds do. */
static clq_status fill_inputs(const clq_samples *s, clq_exec *exec, int64_t first, int count) {
    for (int i = 0; i < s->graph->input_count; i++) {
        const size_t each = input_size(s, i), bytes = each * sizeof(float);
        clq_buffer *buffer = clq_exec_input_at(exec, i)->buffer;
        const float *from = s->inputs[i] + (size_t)first * each;
        CLQ_TRY(clq_buffer_write(buffer, 0, (size_t)count * bytes, from));
        for (int k = count; k < s->batch; k++) {
            CLQ_TRY(clq_buffer_write(buffer, (size_t)k * bytes, bytes,
                                     from + (size_t)(count - 1) * each));
        }
    }
    return CLQ_OK;
}

static clq_status run_batch(clq_samples *s, const clq_samples_run *run, clq_exec *exec,
                            int64_t first, int count, scoring *scoring) {
    CLQ_TRY(fill_inputs(s, exec, first, count));
    if (run->before) {
        CLQ_TRY(run->before(run->context, exec, count));
    }
    CLQ_TRY(clq_exec_forward(exec));
    for (int o = 0; o < s->graph->output_count; o++) {
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(exec, o)->buffer, 0,
                                (size_t)count * output_size(s, o) * sizeof(float), s->outputs));
        score_output(scoring, o, first, count, s->outputs);
    }
    return CLQ_OK;
}

clq_status clq_samples_score(clq_samples *s, const clq_samples_run *run, clq_progress *progress,
                             int64_t *done, clq_score *score) {
    const clq_exec_options options = {.mode = run->mode,
                                      .batch = s->batch,
                                      .fixed_sums = run->mode == CLQ_EXEC_FLOAT,
                                      .no_fusion = run->hook != NULL};
    scoring scoring = {
        .samples = s, .base = run->base ? run->base : s->right, .right_of = run->right};
    clq_exec *exec = NULL;
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, clq_exec_create(s->device, run->graph, &options, &exec));
    clq_exec_set_hook(exec, run->hook, run->context);
    for (int64_t first = 0; first < s->count; first += s->batch) {
        const int count = s->count - first < s->batch ? (int)(s->count - first) : s->batch;
        CLQ_GOTO(status, cleanup, run_batch(s, run, exec, first, count, &scoring));
        *done += count;
        clq_progress_update(progress, *done, NULL);
        CLQ_GOTO(status, cleanup, clq_check_stopped());
    }
    finish_score(&scoring, score);
cleanup:
    clq_exec_destroy(exec);
    return status;
}

/* ---- reading ---- */

static clq_status take_memory(clq_samples *s, int64_t count) {
    size_t largest = 1, size;
    for (int i = 0; i < s->graph->input_count; i++) {
        if (!clq_mul_size(input_size(s, i), (size_t)count, &size)) {
            return CLQ_NO_MEMORY;
        }
        s->inputs[i] = clq_calloc(size, sizeof(float));
        if (!s->inputs[i]) {
            return CLQ_NO_MEMORY;
        }
    }
    for (int o = 0; o < s->graph->output_count; o++) {
        if (!clq_mul_size(output_size(s, o), (size_t)count, &size)) {
            return CLQ_NO_MEMORY;
        }
        largest = output_size(s, o) > largest ? output_size(s, o) : largest;
        s->reference[o] = clq_calloc(size, sizeof(float));
        if (!s->reference[o]) {
            return CLQ_NO_MEMORY;
        }
    }
    s->labels = clq_calloc((size_t)count, sizeof *s->labels);
    s->predictions = clq_calloc((size_t)count, sizeof *s->predictions);
    s->right = clq_calloc((size_t)count, sizeof *s->right);
    s->outputs = clq_calloc(largest * (size_t)s->batch, sizeof *s->outputs);
    return s->labels && s->predictions && s->right && s->outputs ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status keep_labels(clq_samples *s, const clq_feed_batch *batch, int count) {
    const int classes = classes_of(s->graph);
    if (!batch->labels || batch->numbers) {
        clq_free(s->labels);
        s->labels = NULL;
    }
    for (int i = 0; s->labels && i < count; i++) {
        if (classes > 0 && (batch->labels[i] < 0 || batch->labels[i] >= classes)) {
            return clq_fail(CLQ_BAD_DATA, "the data has label %d, but the network has %d classes",
                            batch->labels[i], classes);
        }
        s->labels[s->count + i] = batch->labels[i];
    }
    if (classes == 0 || batch->numbers) {
        clq_free(s->predictions);
        s->predictions = NULL;
    }
    return CLQ_OK;
}

/* What is in the executor's inputs, and what it made of them. */
static clq_status keep_batch(clq_samples *s, clq_exec *exec, const clq_feed_batch *batch,
                             int count) {
    const int classes = classes_of(s->graph);
    CLQ_TRY(keep_labels(s, batch, count));
    for (int i = 0; i < s->graph->input_count; i++) {
        const size_t each = input_size(s, i);
        CLQ_TRY(clq_buffer_read(clq_exec_input_at(exec, i)->buffer, 0,
                                (size_t)count * each * sizeof(float),
                                s->inputs[i] + (size_t)s->count * each));
    }
    CLQ_TRY(clq_exec_forward(exec));
    for (int o = 0; o < s->graph->output_count; o++) {
        const size_t each = output_size(s, o);
        CLQ_TRY(clq_buffer_read(clq_exec_output_at(exec, o)->buffer, 0,
                                (size_t)count * each * sizeof(float),
                                s->reference[o] + (size_t)s->count * each));
    }
    for (int i = 0; s->predictions && i < count; i++) {
        const int64_t at = s->count + i;
        const float *row = s->reference[0] + (size_t)at * (size_t)classes;
        s->predictions[at] = clq_predicted_class(row, classes);
        s->right[at] = s->labels && clq_rank_of(row, classes, s->labels[at]) < 1;
    }
    s->count += count;
    return CLQ_OK;
}

clq_status clq_samples_open(clq_device *device, const clq_graph *trained, clq_feed *feed, int batch,
                            int64_t limit, clq_samples *s, clq_score *score) {
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = batch, .fixed_sums = true};
    const int64_t there = clq_feed_count(feed), most = limit > 0 && limit < there ? limit : there;
    clq_exec *exec = NULL;
    clq_progress progress;
    clq_status status = CLQ_OK;
    *s = (clq_samples){
        .device = device, .graph = trained, .batch = batch, .unit = clq_feed_unit(feed)};
    clq_progress_begin(&progress, "analyze: fp32", s->unit, most);
    CLQ_GOTO(status, cleanup, take_memory(s, most));
    CLQ_GOTO(status, cleanup, clq_exec_create(device, trained, &options, &exec));
    while (s->count < most) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, exec, &data));
        if (data.count == 0) {
            break;
        }
        const int count = data.count > most - s->count ? (int)(most - s->count) : data.count;
        CLQ_GOTO(status, cleanup, keep_batch(s, exec, &data, count));
        clq_progress_update(&progress, s->count, NULL);
    }
    if (s->count == 0) {
        status = clq_fail(CLQ_BAD_DATA, "no %s to analyze with", s->unit);
        goto cleanup;
    }
    scoring scoring = {.samples = s, .base = s->right};
    for (int o = 0; o < trained->output_count; o++) {
        for (int64_t i = 0; i < s->count; i++) {
            score_output(&scoring, o, i, 1, s->reference[o] + (size_t)i * output_size(s, o));
        }
    }
    finish_score(&scoring, score);
cleanup:
    clq_progress_end(&progress);
    clq_exec_destroy(exec);
    return status;
}

void clq_samples_close(clq_samples *s) {
    for (int i = 0; i < CLQ_MAX_ENDS; i++) {
        clq_free(s->inputs[i]);
        clq_free(s->reference[i]);
    }
    clq_free(s->labels);
    clq_free(s->predictions);
    clq_free(s->right);
    clq_free(s->outputs);
    *s = (clq_samples){0};
}
