#include <math.h>
#include <string.h>

#include <clquant/train.h>

#include "base/checked.h"
#include "base/hash.h"
#include "base/progress.h"

/* Cross-entropy of one row of logits, in double with the largest subtracted. */
static double cross_entropy(const float *logits, int classes, int label) {
    double largest = logits[0], sum = 0;
    for (int c = 1; c < classes; c++) {
        largest = fmax(largest, logits[c]);
    }
    for (int c = 0; c < classes; c++) {
        sum += exp(logits[c] - largest);
    }
    return log(sum) + largest - logits[label];
}

/* How many classes stand before `label`: greater logits, and equal ones with a lower index. NaN
 * ranks last, so a broken network never counts as right. */
static int rank_of(const float *logits, int classes, int label) {
    int rank = 0;
    if (isnan(logits[label])) {
        return classes;
    }
    for (int c = 0; c < classes; c++) {
        rank += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    }
    return rank;
}

static int argmax(const float *logits, int classes) {
    int best = 0;
    for (int c = 1; c < classes; c++) {
        if (logits[c] > logits[best]) {
            best = c;
        }
    }
    return best;
}

/* Adds `count` rows to the sums; evaluation->top1, top5 and loss hold sums until the end. */
static void add_rows(clq_evaluation *e, const float *logits, const int32_t *labels, int count) {
    for (int i = 0; i < count; i++) {
        const float *row = logits + (size_t)i * (size_t)e->classes;
        const int rank = rank_of(row, e->classes, labels[i]);
        e->top1 += rank < 1;
        e->top5 += rank < 5;
        e->loss += cross_entropy(row, e->classes, labels[i]);
        e->confusion[(size_t)labels[i] * (size_t)e->classes + (size_t)argmax(row, e->classes)]++;
    }
    e->images += count;
}

static clq_status check_labels(const int32_t *labels, int count, int classes) {
    for (int i = 0; i < count; i++) {
        if (labels[i] < 0 || labels[i] >= classes) {
            return clq_fail(CLQ_BAD_DATA, "the data has label %d, but the network has %d classes",
                            labels[i], classes);
        }
    }
    return CLQ_OK;
}

clq_status clq_evaluate(clq_exec *exec, clq_feed *feed, const char *label,
                        clq_evaluation *evaluation, float *logits) {
    const clq_tensor *output = clq_exec_output(exec);
    const int batch = clq_exec_get_options(exec)->batch;
    clq_status status = CLQ_OK;
    clq_progress progress = {0};
    clq_sha256 hash;
    clq_evaluation e = {0};
    float *rows = NULL;

    memset(evaluation, 0, sizeof *evaluation);
    if (output->shape.rank != 2) {
        return clq_fail(CLQ_BAD_DATA, "the network's output must be (N, classes), has rank %d",
                        output->shape.rank);
    }
    e.classes = (int)output->shape.dim[1];
    e.confusion = clq_calloc((size_t)e.classes * (size_t)e.classes, sizeof *e.confusion);
    rows = clq_calloc((size_t)batch * (size_t)e.classes, sizeof *rows);
    if (!e.confusion || !rows) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    clq_sha256_init(&hash);
    clq_progress_begin(&progress, label ? label : "", "images", clq_feed_batches(feed) * batch);
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    for (;;) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_next(feed, clq_exec_input(exec)->buffer, &data));
        const int count = data.count;
        if (count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, check_labels(data.labels, count, e.classes));
        CLQ_GOTO(status, cleanup, clq_exec_forward(exec));
        const size_t bytes = (size_t)count * (size_t)e.classes * sizeof *rows;
        CLQ_GOTO(status, cleanup, clq_buffer_read(output->buffer, 0, bytes, rows));
        clq_sha256_update(&hash, rows, bytes);
        if (logits) {
            memcpy(logits + (size_t)e.images * (size_t)e.classes, rows, bytes);
        }
        add_rows(&e, rows, data.labels, count);
        if (label) {
            clq_progress_update(&progress, e.images, "top-1 %.2f %%",
                                100 * e.top1 / (double)e.images);
        }
    }
    if (e.images == 0) {
        status = clq_fail(CLQ_BAD_DATA, "no images to evaluate");
        goto cleanup;
    }
    e.top1 /= (double)e.images;
    e.top5 /= (double)e.images;
    e.loss /= (double)e.images;
    clq_sha256_hex(&hash, e.logits_sha256);
    *evaluation = e;
    e.confusion = NULL;
cleanup:
    clq_progress_end(&progress);
    clq_free(e.confusion);
    clq_free(rows);
    return status;
}

void clq_evaluation_clear(clq_evaluation *evaluation) {
    clq_free(evaluation->confusion);
    evaluation->confusion = NULL;
}
