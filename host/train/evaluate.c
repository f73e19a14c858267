#include <math.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/checked.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/text.h"
#include "train/evaluate.h"

/* ---- classes ---- */

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

int clq_rank_of(const float *logits, int classes, int label) {
    int rank = 0;
    if (isnan(logits[label])) {
        return classes;
    }
    for (int c = 0; c < classes; c++) {
        rank += logits[c] > logits[label] || (logits[c] == logits[label] && c < label);
    }
    return rank;
}

int clq_predicted_class(const float *logits, int classes) {
    int best = 0;
    for (int c = 1; c < classes; c++) {
        if (logits[c] > logits[best]) {
            best = c;
        }
    }
    return best;
}

/* Adds `count` rows, each of `pixels`, to the sums; evaluation->top1, top5 and loss hold sums until
 * the end. */
static void add_rows(clq_evaluation *e, const float *logits, const int32_t *labels, int count,
                     int64_t pixels) {
    for (int64_t i = 0; i < count * pixels; i++) {
        if (pixels > 1 && labels[i] == CLQ_NO_CLASS && CLQ_NO_CLASS >= e->classes) {
            continue;
        }
        e->pixels += pixels > 1;
        const float *row = logits + (size_t)i * (size_t)e->classes;
        const int rank = clq_rank_of(row, e->classes, labels[i]);
        e->top1 += rank < 1;
        e->top5 += rank < 5;
        e->loss += cross_entropy(row, e->classes, labels[i]);
        e->confusion[(size_t)labels[i] * (size_t)e->classes +
                     (size_t)clq_predicted_class(row, e->classes)]++;
    }
    e->images += count;
}

static clq_status check_labels(const clq_feed *feed, const int32_t *labels, int64_t count,
                               int classes, bool pixels) {
    if (!labels) {
        return clq_fail(CLQ_BAD_DATA, "%s: has no labels to compare the outputs with",
                        clq_feed_path(feed));
    }
    for (int64_t i = 0; i < count; i++) {
        if ((labels[i] < 0 || labels[i] >= classes) && !(pixels && labels[i] == CLQ_NO_CLASS)) {
            return clq_fail(CLQ_BAD_DATA, "%s: has label %d, but the network has %d classes",
                            clq_feed_path(feed), labels[i], classes);
        }
    }
    return CLQ_OK;
}

/* ---- regression ---- */

/* Sums over the rows so far, of one target. */
typedef struct sums {
    double error;          /* of squared errors */
    double value, squares; /* of the numbers, normalized, so that no digits are lost here */
} sums;

static void add_numbers(clq_evaluation *e, sums *all, const float *outputs, const float *numbers,
                        int count) {
    for (int i = 0; i < count * e->targets; i++) {
        sums *s = &all[i % e->targets];
        const double d = (double)outputs[i] - (double)numbers[i];
        s->error += d * d;
        s->value += numbers[i];
        s->squares += (double)numbers[i] * (double)numbers[i];
        e->loss += d * d / e->targets;
    }
    e->images += count;
}

static void finish_fits(clq_evaluation *e, const sums *all, const clq_table *table) {
    const double n = (double)e->images;
    e->r2 = 0;
    for (int t = 0; t < e->targets; t++) {
        const double unit = table->target_std ? (double)table->target_std[t] : 1;
        const double deviation = all[t].squares - all[t].value * all[t].value / n;
        e->fits[t].rmse = sqrt(all[t].error / n) * unit;
        e->fits[t].r2 = deviation > 0 ? 1 - all[t].error / deviation : NAN;
        e->r2 += e->fits[t].r2 / e->targets;
    }
    e->top1 = e->top5 = NAN;
}

/* ---- both ---- */

typedef struct evaluator {
    clq_exec *exec;
    clq_feed *feed;
    clq_evaluation e;
    int outputs;    /* numbers of a sample */
    int64_t pixels; /* of a sample that have classes; 1: it has one itself */
    float *rows;    /* (batch, outputs) */
    sums *sums;     /* (targets) */
    clq_sha256 hash;
    clq_progress progress;
} evaluator;

static clq_status open_evaluator(evaluator *v) {
    const clq_tensor *output = clq_exec_output(v->exec);
    const clq_table *table = clq_feed_table(v->feed);
    const int batch = clq_exec_get_options(v->exec)->batch;
    clq_evaluation *e = &v->e;
    CLQ_TRY(
        clq_graph_check_single(clq_exec_graph(v->exec), "accuracy is measured on networks with"));
    const clq_shape *shape = &output->shape;
    if (shape->rank != 2 && shape->rank != 4) {
        return clq_fail(CLQ_BAD_DATA,
                        "the network's output must be (N, classes), or (N, H, W, classes), has "
                        "rank %d",
                        shape->rank);
    }
    v->pixels = shape->rank == 4 ? shape->dim[1] * shape->dim[2] : 1;
    if (v->pixels > 1 && clq_feed_label_size(v->feed) != v->pixels) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: has no labels of pixels, and the network tells the class of each: "
                        "give arrays, X.npz with \"labels\" (N, H, W)",
                        clq_feed_path(v->feed));
    }
    v->outputs = (int)(clq_shape_count(shape) / shape->dim[0]);
    e->unit = clq_feed_unit(v->feed);
    e->targets = table ? table->targets : 0;
    if (e->targets > 0 && e->targets != v->outputs) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: has %d regression target%s, but the network has %d output%s",
                        clq_feed_path(v->feed), e->targets, clq_plural(e->targets), v->outputs,
                        clq_plural(v->outputs));
    }
    e->classes = e->targets > 0 ? 0 : (int)(v->outputs / v->pixels);
    e->r2 = e->mean_iou = NAN;
    e->confusion = clq_calloc((size_t)e->classes * (size_t)e->classes, sizeof *e->confusion);
    e->fits = clq_calloc((size_t)e->targets, sizeof *e->fits);
    v->sums = clq_calloc((size_t)e->targets, sizeof *v->sums);
    v->rows = clq_calloc((size_t)batch * (size_t)v->outputs, sizeof *v->rows);
    clq_sha256_init(&v->hash);
    return e->confusion && e->fits && v->sums && v->rows ? CLQ_OK : CLQ_NO_MEMORY;
}

static void close_evaluator(evaluator *v) {
    clq_progress_end(&v->progress);
    clq_evaluation_clear(&v->e);
    clq_free(v->sums);
    clq_free(v->rows);
}

/* One batch; its outputs also into `to` when that is not NULL. */
static clq_status evaluate_batch(evaluator *v, const clq_feed_batch *data, float *to) {
    const size_t bytes = (size_t)data->count * (size_t)v->outputs * sizeof *v->rows;
    if (v->e.classes > 0) {
        CLQ_TRY(check_labels(v->feed, data->labels, data->count * v->pixels, v->e.classes,
                             v->pixels > 1));
    }
    CLQ_TRY(clq_exec_forward(v->exec));
    CLQ_TRY(clq_buffer_read(clq_exec_output(v->exec)->buffer, 0, bytes, v->rows));
    clq_sha256_update(&v->hash, v->rows, bytes);
    if (to) {
        memcpy(to + (size_t)v->e.images * (size_t)v->outputs, v->rows, bytes);
    }
    if (v->e.classes > 0) {
        add_rows(&v->e, v->rows, data->labels, data->count, v->pixels);
    } else {
        add_numbers(&v->e, v->sums, v->rows, data->numbers, data->count);
    }
    return CLQ_OK;
}

static void show(evaluator *v) {
    const double n = (double)(v->e.pixels ? v->e.pixels : v->e.images);
    if (v->e.classes > 0) {
        clq_progress_update(&v->progress, v->e.images, "top-1 %.2f %%", 100 * v->e.top1 / n);
    } else {
        clq_progress_update(&v->progress, v->e.images, "loss %.4f", v->e.loss / n);
    }
}

/* A class that neither is nor is told takes no part. */
static double find_mean_iou(const clq_evaluation *e) {
    double sum = 0;
    int there = 0;
    for (int c = 0; c < e->classes; c++) {
        int64_t either = -e->confusion[(size_t)c * (size_t)(e->classes + 1)];
        for (int k = 0; k < e->classes; k++) {
            either += e->confusion[(size_t)c * (size_t)e->classes + (size_t)k] +
                      e->confusion[(size_t)k * (size_t)e->classes + (size_t)c];
        }
        if (either > 0) {
            sum += (double)e->confusion[(size_t)c * (size_t)(e->classes + 1)] / (double)either;
            there++;
        }
    }
    return sum / there;
}

/* Turns the sums into means. */
static void finish(evaluator *v) {
    const double n = (double)(v->e.pixels ? v->e.pixels : v->e.images);
    v->e.mean_iou = v->e.pixels ? find_mean_iou(&v->e) : NAN;
    v->e.loss /= n;
    if (v->e.classes > 0) {
        v->e.top1 /= n;
        v->e.top5 /= n;
    } else {
        finish_fits(&v->e, v->sums, clq_feed_table(v->feed));
    }
    clq_sha256_hex(&v->hash, v->e.logits_sha256);
}

clq_status clq_evaluate(clq_exec *exec, clq_feed *feed, const char *label,
                        clq_evaluation *evaluation, float *logits) {
    CLQ_NEEDS(exec, feed, evaluation);
    evaluator v = {.exec = exec, .feed = feed};
    clq_status status = CLQ_OK;
    memset(evaluation, 0, sizeof *evaluation);
    CLQ_GOTO(status, cleanup, open_evaluator(&v));
    clq_progress_begin(&v.progress, label ? label : "", v.e.unit, clq_feed_count(feed));
    CLQ_GOTO(status, cleanup, clq_feed_seek(feed, 0, 0));
    for (;;) {
        clq_feed_batch data;
        CLQ_GOTO(status, cleanup, clq_feed_fill(feed, exec, &data));
        if (data.count == 0) {
            break;
        }
        CLQ_GOTO(status, cleanup, evaluate_batch(&v, &data, logits));
        if (label) {
            show(&v);
        }
    }
    if (v.e.images == 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: no %s to evaluate", clq_feed_path(feed), v.e.unit);
        goto cleanup;
    }
    if (v.pixels > 1 && v.e.pixels == 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: no pixel to evaluate: all labels are %d, none",
                          clq_feed_path(feed), CLQ_NO_CLASS);
        goto cleanup;
    }
    finish(&v);
    *evaluation = v.e;
    v.e = (clq_evaluation){0};
cleanup:
    close_evaluator(&v);
    return status;
}

void clq_evaluation_clear(clq_evaluation *evaluation) {
    CLQ_NEEDS_OR(, evaluation);
    clq_free(evaluation->confusion);
    clq_free(evaluation->fits);
    evaluation->confusion = NULL;
    evaluation->fits = NULL;
}
