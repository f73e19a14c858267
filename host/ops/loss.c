#include "ops/loss.h"

#include <limits.h>
#include <math.h>

#include "ops/self_test.h"

enum { PART = 1024 }; /* numbers of a sample that are summed in a row */
enum { TOTAL_LOSS, TOTAL_LOST, TOTAL_SAMPLES, TOTAL_TOP1, TOTAL_TOP5, TOTALS };

/* An output of CLQ_LOSS_OUTPUT_ERROR. */
typedef struct loss_output {
    int count, parts; /* numbers of a sample, and the parts that they are summed in */
} loss_output;

struct clq_loss {
    clq_device *device;
    clq_loss_kind kind;
    int n, classes;
    int rows; /* of a sample: its pixels, or 1 */
    float smoothing;
    bool classless;            /* no target is a class */
    clq_buffer *teacher;       /* F32 (N, classes), borrowed; NULL: none */
    float weight, temperature; /* of the teacher */
    clq_buffer *samples;       /* F32 (N) */
    clq_buffer *ranks;         /* S32 (N, rows): classes put before the right one */
    clq_buffer *row_losses;    /* F32 (N, rows), and hits (N, 2); NULL: one row a sample */
    clq_buffer *hits;
    clq_buffer *totals;   /* F32 (TOTALS) */
    loss_output *outputs; /* (output_count); NULL: of the other kinds */
    int output_count;
    clq_buffer *error, *power, *divisor; /* F32 (N, parts), for the output with most; (1) */
};

/* What all kinds have. */
static clq_status create(clq_device *device, clq_loss_kind kind, int n, int rows,
                         clq_loss **result) {
    const size_t words = (size_t)n * sizeof(float);
    clq_loss *loss = *result = clq_calloc(1, sizeof *loss);
    clq_op_self_tests_add();
    if (loss == NULL) {
        return CLQ_NO_MEMORY;
    }
    loss->device = device;
    loss->kind = kind;
    loss->n = n;
    loss->rows = rows;
    CLQ_TRY(clq_buffer_create(device, words, &loss->samples));
    CLQ_TRY(clq_buffer_create(device, words * (size_t)rows, &loss->ranks));
    if (rows > 1) {
        CLQ_TRY(clq_buffer_create(device, words * (size_t)rows, &loss->row_losses));
        CLQ_TRY(clq_buffer_create(device, 2 * words, &loss->hits));
    }
    CLQ_TRY(clq_buffer_create(device, TOTALS * sizeof(float), &loss->totals));
    return clq_loss_reset(loss);
}

clq_status clq_loss_create(clq_device *device, clq_loss_kind kind, const clq_shape *output,
                           double label_smoothing, clq_loss **result) {
    const bool classes = kind == CLQ_LOSS_CROSS_ENTROPY;
    if ((classes && output->rank != 2 && output->rank != 4) || clq_shape_count(output) > INT_MAX) {
        return clq_fail(CLQ_USAGE,
                        "a loss needs an output of shape (N, classes), or (N, H, W, classes), it "
                        "has rank %d",
                        output->rank);
    }
    const int64_t pixels = classes && output->rank == 4 ? output->dim[1] * output->dim[2] : 1;
    if (!(label_smoothing >= 0 && label_smoothing < 1)) {
        return clq_fail(CLQ_USAGE, "label smoothing must be in [0, 1), is %g", label_smoothing);
    }
    clq_loss *loss = NULL;
    const clq_status status = create(device, kind, (int)output->dim[0], (int)pixels, &loss);
    if (status != CLQ_OK) {
        clq_loss_destroy(loss);
        return status;
    }
    loss->classes = (int)(clq_shape_count(output) / output->dim[0] / pixels);
    loss->smoothing = (float)label_smoothing;
    *result = loss;
    return CLQ_OK;
}

static clq_status create_outputs(clq_loss *loss, const clq_shape *outputs, int count) {
    size_t most = 0;
    loss->outputs = clq_calloc((size_t)count, sizeof *loss->outputs);
    if (loss->outputs == NULL) {
        return CLQ_NO_MEMORY;
    }
    loss->output_count = count;
    for (int i = 0; i < count; i++) {
        const int64_t numbers = clq_shape_count(&outputs[i]);
        if (outputs[i].dim[0] != loss->n || numbers > INT_MAX) {
            return clq_fail(CLQ_USAGE,
                            "a loss of several outputs needs %d samples, of less than 2^31 numbers "
                            "together, in each",
                            loss->n);
        }
        loss->outputs[i].count = (int)(numbers / loss->n);
        loss->outputs[i].parts = (loss->outputs[i].count + PART - 1) / PART;
        most = (size_t)loss->outputs[i].parts > most ? (size_t)loss->outputs[i].parts : most;
    }
    const size_t bytes = (size_t)loss->n * most * sizeof(float);
    CLQ_TRY(clq_buffer_create(loss->device, bytes, &loss->error));
    CLQ_TRY(clq_buffer_create(loss->device, bytes, &loss->power));
    CLQ_TRY(clq_buffer_create(loss->device, sizeof(float), &loss->divisor));
    /* No sample is right. */
    return clq_buffer_fill(loss->ranks, 0, (size_t)loss->n * sizeof(int32_t), INT_MAX);
}

clq_status clq_loss_create_outputs(clq_device *device, const clq_shape *outputs, int count,
                                   clq_loss **result) {
    clq_loss *loss = NULL;
    clq_status status = create(device, CLQ_LOSS_OUTPUT_ERROR, (int)outputs[0].dim[0], 1, &loss);
    if (status == CLQ_OK) {
        status = create_outputs(loss, outputs, count);
    }
    if (status != CLQ_OK) {
        clq_loss_destroy(loss);
        return status;
    }
    loss->classless = true;
    *result = loss;
    return CLQ_OK;
}

void clq_loss_destroy(clq_loss *loss) {
    if (loss == NULL) {
        return;
    }
    clq_buffer_release(loss->samples);
    clq_buffer_release(loss->ranks);
    clq_buffer_release(loss->row_losses);
    clq_buffer_release(loss->hits);
    clq_buffer_release(loss->totals);
    clq_buffer_release(loss->error);
    clq_buffer_release(loss->power);
    clq_buffer_release(loss->divisor);
    clq_free(loss->outputs);
    clq_free(loss);
}

void clq_loss_set_teacher(clq_loss *loss, clq_buffer *logits, double weight, double temperature) {
    loss->teacher = logits;
    loss->weight = (float)weight;
    loss->temperature = (float)temperature;
}

/* Adds the latest run to the totals. */
static clq_status add_totals(clq_loss *loss) {
    clq_kernel *totals = NULL;
    CLQ_TRY(clq_kernel_get(loss->device, "loss_totals", NULL, &totals));
    CLQ_TRY(CLQ_LAUNCH(loss->device, totals, CLQ_RANGE1(1), CLQ_BUF(loss->samples),
                       CLQ_BUF(loss->ranks), CLQ_BUF(loss->hits), CLQ_BUF(loss->totals),
                       CLQ_I32(loss->n)));
    clq_device_set_label(loss->device, "");
    return CLQ_OK;
}

/* Of the pixels to samples. */
static clq_status add_rows(clq_loss *loss) {
    clq_kernel *kernel = NULL;
    CLQ_TRY(clq_kernel_get(loss->device, "loss_of_rows", NULL, &kernel));
    return CLQ_LAUNCH(loss->device, kernel, CLQ_RANGE1((size_t)loss->n), CLQ_BUF(loss->row_losses),
                      CLQ_BUF(loss->ranks), CLQ_BUF(loss->samples), CLQ_BUF(loss->hits),
                      CLQ_I32(loss->n), CLQ_I32(loss->rows));
}

static clq_status run(clq_loss *loss, clq_buffer *logits, clq_buffer *labels, clq_buffer *soft,
                      clq_buffer *gradient) {
    const char *name =
        loss->kind == CLQ_LOSS_MSE ? "mean_squared_error_f32" : "softmax_cross_entropy_f32";
    clq_kernel *kernel = NULL;
    clq_device_set_label(loss->device, "loss");
    CLQ_TRY(clq_kernel_get(loss->device, name, NULL, &kernel));
    clq_buffer *losses = loss->row_losses ? loss->row_losses : loss->samples;
    const int rows = loss->n * loss->rows;
    CLQ_TRY(CLQ_LAUNCH(loss->device, kernel, CLQ_RANGE1((size_t)rows), CLQ_BUF(logits),
                       CLQ_BUF(labels), CLQ_BUF(soft), CLQ_BUF(loss->teacher), CLQ_BUF(gradient),
                       CLQ_BUF(losses), CLQ_BUF(loss->ranks), CLQ_I32(rows), CLQ_I32(loss->classes),
                       CLQ_F32(loss->smoothing), CLQ_F32(loss->weight), CLQ_F32(loss->temperature),
                       CLQ_F32(1.0f / (float)rows)));
    CLQ_TRY(loss->row_losses ? add_rows(loss) : CLQ_OK);
    return add_totals(loss);
}

clq_status clq_loss_run(clq_loss *loss, clq_buffer *logits, clq_buffer *labels,
                        clq_buffer *gradient) {
    return run(loss, logits, labels, NULL, gradient);
}

clq_status clq_loss_run_soft(clq_loss *loss, clq_buffer *logits, clq_buffer *targets,
                             clq_buffer *gradient) {
    return run(loss, logits, NULL, targets, gradient);
}

static clq_status run_output(clq_loss *loss, const loss_output *output, clq_buffer *x,
                             clq_buffer *teacher, clq_buffer *gradient, bool first) {
    const int count = loss->n * output->count, sums = loss->n * output->parts;
    clq_kernel *parts = NULL, *samples = NULL, *slope = NULL;
    CLQ_TRY(clq_kernel_get(loss->device, "output_error_parts", NULL, &parts));
    CLQ_TRY(clq_kernel_get(loss->device, "output_error_samples", NULL, &samples));
    CLQ_TRY(clq_kernel_get(loss->device, "output_error_gradient", NULL, &slope));
    CLQ_TRY(CLQ_LAUNCH(loss->device, parts, CLQ_RANGE1((size_t)sums), CLQ_BUF(x), CLQ_BUF(teacher),
                       CLQ_BUF(loss->error), CLQ_BUF(loss->power), CLQ_I32(loss->n),
                       CLQ_I32(output->count), CLQ_I32(output->parts)));
    CLQ_TRY(CLQ_LAUNCH(loss->device, samples, CLQ_RANGE1(1), CLQ_BUF(loss->error),
                       CLQ_BUF(loss->power), CLQ_BUF(loss->samples), CLQ_BUF(loss->divisor),
                       CLQ_I32(loss->n), CLQ_I32(output->parts), CLQ_I32(first)));
    return gradient == NULL ? CLQ_OK
                            : CLQ_LAUNCH(loss->device, slope, CLQ_RANGE1((size_t)count), CLQ_BUF(x),
                                         CLQ_BUF(teacher), CLQ_BUF(loss->divisor),
                                         CLQ_BUF(gradient), CLQ_U32(count));
}

clq_status clq_loss_run_outputs(clq_loss *loss, clq_buffer *const *outputs,
                                clq_buffer *const *teacher, clq_buffer *const *gradients) {
    bool first = true;
    clq_device_set_label(loss->device, "loss");
    for (int i = 0; i < loss->output_count; i++) {
        if (outputs[i] != NULL) {
            CLQ_TRY(
                run_output(loss, &loss->outputs[i], outputs[i], teacher[i], gradients[i], first));
            first = false;
        }
    }
    return first ? clq_fail(CLQ_USAGE, "no output takes part in the loss") : add_totals(loss);
}

void clq_loss_set_classless(clq_loss *loss) {
    loss->classless = true;
}

static void forget_classes(const clq_loss *loss, clq_loss_totals *totals) {
    if (loss->classless) {
        totals->top1 = totals->top5 = NAN;
    }
}

clq_status clq_loss_reset(clq_loss *loss) {
    return clq_buffer_fill(loss->totals, 0, TOTALS * sizeof(float), 0);
}

clq_status clq_loss_read(clq_loss *loss, clq_loss_totals *totals) {
    float words[TOTALS];
    CLQ_TRY(clq_buffer_read(loss->totals, 0, sizeof words, words));
    *totals = (clq_loss_totals){.loss = (double)words[TOTAL_LOSS] - (double)words[TOTAL_LOST],
                                .top1 = words[TOTAL_TOP1],
                                .top5 = words[TOTAL_TOP5],
                                .samples = words[TOTAL_SAMPLES]};
    forget_classes(loss, totals);
    return CLQ_OK;
}

clq_status clq_loss_read_batch(clq_loss *loss, clq_loss_totals *batch) {
    const size_t n = (size_t)loss->n;
    clq_status status = CLQ_NO_MEMORY;
    float *samples = clq_calloc(n, sizeof *samples), *hits = clq_calloc(2 * n, sizeof *hits);
    int32_t *ranks = clq_calloc(n, sizeof *ranks);
    *batch = (clq_loss_totals){.samples = (double)n};
    if (!samples || !hits || !ranks) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_buffer_read(loss->samples, 0, n * sizeof *samples, samples));
    CLQ_GOTO(status, cleanup,
             loss->hits ? clq_buffer_read(loss->hits, 0, 2 * n * sizeof *hits, hits)
                        : clq_buffer_read(loss->ranks, 0, n * sizeof *ranks, ranks));
    for (size_t i = 0; i < n; i++) {
        batch->loss += samples[i];
        batch->top1 += loss->hits ? (double)hits[2 * i] : ranks[i] < 1;
        batch->top5 += loss->hits ? (double)hits[2 * i + 1] : ranks[i] < 5;
    }
    forget_classes(loss, batch);
cleanup:
    clq_free(samples);
    clq_free(hits);
    clq_free(ranks);
    return status;
}

clq_buffer *clq_loss_samples(clq_loss *loss) {
    return loss->samples;
}

clq_buffer *clq_loss_totals_buffer(clq_loss *loss) {
    return loss->totals;
}
