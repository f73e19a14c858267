/* What to do about a step that was not finite: find the layer that is to blame, then stop or skip
 * it.
 *
 * The step left its gradients, and nothing else. The forward pass runs once more on the same batch,
 * with a look at each layer. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "base/numbers.h"
#include "train/trainer.h"

typedef struct finding {
    clq_health *health;
    bool lasting;   /* the network itself is not finite: skipping a step does not help */
    char text[512]; /* "": nothing found yet */
} finding;

/* Notes the tensor described by `format` if it is not finite and the first such one. */
static clq_status examine(finding *f, clq_buffer *x, size_t count, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static clq_status examine(finding *f, clq_buffer *x, size_t count, const char *format, ...) {
    float largest;
    char what[448];
    va_list arguments;
    if (f->text[0]) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_health_largest(f->health, x, count, &largest));
    if (!isfinite(largest)) {
        va_start(arguments, format);
        clq_vsnprintf(what, sizeof what, format, arguments);
        va_end(arguments);
        snprintf(f->text, sizeof f->text, "%s %s", what,
                 isnan(largest) ? "has NaN" : "has infinities");
    }
    return CLQ_OK;
}

static size_t floats_of(const clq_buffer *buffer) {
    return clq_buffer_size(buffer) / sizeof(float);
}

/* ---- where to look ---- */

static clq_status examine_network(trainer *t, finding *f) {
    const clq_graph *graph = t->job->graph;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        for (int i = 0; i < node->input_count; i++) {
            clq_buffer *x = clq_params_value(t->params, node->inputs[i]);
            if (x) {
                CLQ_TRY(examine(f, x, floats_of(x), "layer %s: %s", node->name,
                                graph->values[node->inputs[i]].name));
            }
        }
    }
    f->lasting = f->text[0] != '\0';
    return CLQ_OK;
}

/* A node's output and the statistics that it just changed: an infinite variance makes zeros. */
static clq_status examine_node(void *context, const clq_op_run *run) {
    const char *name = run->node->name;
    if (run->out.buffer && run->out.dtype == CLQ_F32) {
        CLQ_TRY(examine(context, run->out.buffer, (size_t)clq_shape_count(&run->out.shape),
                        "layer %s: its output", name));
    }
    for (int i = 0; i < run->node->input_count; i++) {
        const clq_tensor *in = &run->in[i];
        if (in->buffer && in->value->kind == CLQ_VALUE_STATE) {
            CLQ_TRY(examine(context, in->buffer, floats_of(in->buffer), "layer %s: the new %s",
                            name, in->value->name));
        }
    }
    return CLQ_OK;
}

/* Runs the failed step's forward pass again; what it changes is put back. */
static clq_status examine_forward(trainer *t, finding *f) {
    const clq_tensor *input = clq_exec_input(t->exec);
    const int64_t step = t->step - 1;
    clq_feed_batch batch;
    CLQ_TRY(clq_feed_seek(t->feed, step / t->steps_per_epoch, step % t->steps_per_epoch));
    CLQ_TRY(clq_feed_fill(t->feed, t->exec, &batch));
    CLQ_TRY(clq_health_begin(t->health, input));
    CLQ_TRY(examine(f, input->buffer, (size_t)clq_shape_count(&input->shape),
                    "the batch of normalized inputs"));
    clq_exec_set_hook(t->exec, examine_node, f);
    const clq_status status = clq_exec_forward(t->exec);
    clq_exec_set_hook(t->exec, NULL, NULL);
    CLQ_TRY(status);
    return clq_health_restore(t->health);
}

/* In the order of the backward pass. */
static clq_status examine_gradients(trainer *t, finding *f) {
    const clq_graph *graph = t->job->graph;
    for (int n = graph->node_count - 1; n >= 0; n--) {
        const clq_node *node = &graph->nodes[n];
        for (int i = 0; i < node->input_count; i++) {
            clq_buffer *x = clq_params_gradient(t->params, node->inputs[i]);
            if (x) {
                CLQ_TRY(examine(f, x, floats_of(x), "layer %s: the gradient of %s", node->name,
                                graph->values[node->inputs[i]].name));
            }
        }
    }
    return CLQ_OK;
}

/* Every gradient is finite, but not the sum of their squares. */
static clq_status find_largest_gradient(trainer *t, finding *f) {
    const clq_graph *graph = t->job->graph;
    float most = 0;
    if (isfinite(clq_health_norm(t->health))) {
        snprintf(f->text, sizeof f->text, "all is finite when it is computed again");
        return CLQ_OK;
    }
    for (int v = 0; v < graph->value_count; v++) {
        clq_buffer *x = clq_params_gradient(t->params, v);
        float largest = 0;
        if (x) {
            CLQ_TRY(clq_health_largest(t->health, x, floats_of(x), &largest));
        }
        if (largest > most) {
            most = largest;
            snprintf(f->text, sizeof f->text,
                     "the gradients' norm is too large for FP32; the largest gradient, %g, is one "
                     "of %s",
                     (double)largest, graph->values[v].name);
        }
    }
    return CLQ_OK;
}

static clq_status diagnose(trainer *t, finding *f) {
    clq_buffer *samples = clq_loss_samples(t->loss);
    CLQ_TRY(examine_network(t, f));
    CLQ_TRY(examine_forward(t, f));
    CLQ_TRY(examine(f, samples, floats_of(samples), "the loss"));
    CLQ_TRY(examine_gradients(t, f));
    return f->text[0] ? CLQ_OK : find_largest_gradient(t, f);
}

/* ---- what to do ---- */

clq_status clq_trainer_check(trainer *t) {
    const clq_train_config *config = &t->job->config;
    const long long step = t->step, epoch = (t->step - 1) / t->steps_per_epoch + 1;
    finding f = {.health = t->health};
    clq_step_outcome outcome;
    CLQ_TRY(clq_health_read(t->health, &outcome));
    if (outcome == CLQ_STEP_SOUND) {
        t->skipped.in_a_row = 0;
        return CLQ_OK;
    }
    CLQ_TRY(diagnose(t, &f));
    if (config->on_nonfinite == CLQ_NONFINITE_SKIP && !f.lasting &&
        t->skipped.in_a_row < CLQ_MAX_SKIPPED_IN_A_ROW) {
        t->skipped.total++;
        t->skipped.in_epoch++;
        t->skipped.in_a_row++;
        clq_log_warn("%s: step %lld (epoch %lld) skipped: %s", t->job->phase, step, epoch, f.text);
        return clq_train_log_mark(&t->log, "skipped", t->step);
    }
    int checkpoints = 0;
    if (t->job->out) {
        CLQ_TRY(clq_checkpoint_count(t->job->out, t->job->phase, &checkpoints));
    }
    return clq_fail(CLQ_DIVERGED, "diverged in step %lld (epoch %lld, learning rate %g): %s; %s",
                    step, epoch, clq_learning_rate(config, t->step - 1, t->steps_per_epoch), f.text,
                    checkpoints > 0 ? "the last checkpoint is unharmed"
                                    : "there is no checkpoint from before it");
}
