/* The training loop: steps, epochs, evaluation, history, checkpoints. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"
#include "ops/loss.h"
#include "train/checkpoint.h"
#include "train/history.h"
#include "train/optimizer.h"

enum { LOSS_CHECK_STEPS = 10, MAX_BUFFERS = 16 };

typedef struct trainer {
    clq_train_job *job;
    clq_params *params, *own_params;
    clq_exec *exec, *eval_exec;
    clq_feed *feed, *test_feed;
    clq_optimizer *optimizer;
    clq_loss *loss;
    clq_checkpoint checkpoint;
    clq_checkpoint_buffer buffers[MAX_BUFFERS];
    clq_history history;
    int64_t steps_per_epoch;
    int64_t step; /* optimizer steps done */
    clq_progress progress;
} trainer;

/* ---- set-up ---- */

static clq_status open_feeds(trainer *t) {
    const clq_train_config *config = &t->job->config;
    clq_feed_options options = {.batch = config->batch,
                                .training = true,
                                .seed = config->seed,
                                .threads = config->loader_threads,
                                .crop_padding = config->augment.crop_padding,
                                .flip = config->augment.flip};
    memcpy(options.mean, t->job->mean, sizeof options.mean);
    memcpy(options.std, t->job->std, sizeof options.std);
    CLQ_TRY(clq_feed_create(t->job->device, t->job->train, &options, &t->feed));
    t->steps_per_epoch = clq_feed_batches(t->feed);
    if (t->job->test) {
        options.training = false;
        CLQ_TRY(clq_feed_create(t->job->device, t->job->test, &options, &t->test_feed));
    }
    return CLQ_OK;
}

static clq_status open_executors(trainer *t) {
    const clq_train_job *job = t->job;
    clq_exec_options options = {.mode = job->mode,
                                .batch = job->config.batch,
                                .params = t->params,
                                .qstate = job->qstate,
                                .seed = job->config.seed};
    CLQ_TRY(clq_exec_create(job->device, job->graph, &options, &t->exec));
    if (job->test) {
        options.mode = job->mode == CLQ_EXEC_QAT ? CLQ_EXEC_FAKE_QUANT : CLQ_EXEC_FLOAT;
        CLQ_TRY(clq_exec_create(job->device, job->graph, &options, &t->eval_exec));
    }
    const clq_tensor *output = clq_exec_output(t->exec);
    return clq_loss_create(job->device, job->config.loss, &output->shape,
                           job->config.label_smoothing, &t->loss);
}

/* What must be equal for a checkpoint to be continued: configuration, network and data. */
static uint64_t config_hash(const trainer *t) {
    const clq_dataset_info *info = clq_dataset_get_info(t->job->train);
    const int64_t data[] = {info->count, info->height, info->width, info->channels,
                            info->class_count};
    clq_train_config config = t->job->config;
    config.loader_threads = 1; /* never changes the result */
    config.checkpoint_steps = 0;
    const uint64_t start = t->job->hooks ? t->job->hooks->config_hash : 0;
    uint64_t hash = clq_hash64_seeded(data, sizeof data, start + (uint64_t)t->job->mode);
    /* By field, since padding bytes are not defined. */
    const double numbers[] = {config.epochs,
                              config.batch,
                              (double)config.seed,
                              config.optimizer.kind,
                              config.optimizer.momentum,
                              config.optimizer.weight_decay,
                              config.optimizer.nesterov,
                              config.optimizer.decay_norm_and_bias,
                              config.optimizer.beta1,
                              config.optimizer.beta2,
                              config.optimizer.epsilon,
                              config.schedule.kind,
                              config.schedule.lr,
                              config.schedule.warmup_epochs,
                              config.schedule.final_ratio,
                              config.schedule.eta_min,
                              config.schedule.gamma,
                              config.schedule.t_0,
                              config.schedule.t_mult,
                              config.loss,
                              config.label_smoothing,
                              config.augment.crop_padding,
                              config.augment.flip};
    hash = clq_hash64_seeded(numbers, sizeof numbers, hash);
    hash = clq_hash64_seeded(config.schedule.milestones,
                             (size_t)config.schedule.milestone_count * sizeof(int), hash);
    for (int v = 0; v < t->job->graph->value_count; v++) {
        const clq_value *value = &t->job->graph->values[v];
        hash = clq_hash64_seeded(value->name, strlen(value->name), hash);
        hash =
            clq_hash64_seeded(value->shape.dim, (size_t)value->shape.rank * sizeof(int64_t), hash);
    }
    return hash;
}

static clq_status describe_checkpoint(trainer *t) {
    const char *names[CLQ_OPTIMIZER_MAX_BUFFERS];
    clq_buffer *moments[CLQ_OPTIMIZER_MAX_BUFFERS];
    const clq_train_hooks *hooks = t->job->hooks;
    size_t count = clq_optimizer_buffers(t->optimizer, names, moments);
    for (size_t i = 0; i < count; i++) {
        t->buffers[i] = (clq_checkpoint_buffer){names[i], moments[i]};
    }
    t->buffers[count++] = (clq_checkpoint_buffer){"loss.totals", clq_loss_totals_buffer(t->loss)};
    for (size_t i = 0; hooks && i < hooks->buffer_count; i++) {
        if (count == MAX_BUFFERS) {
            return clq_fail(CLQ_INTERNAL, "more than %d buffers in a checkpoint", MAX_BUFFERS);
        }
        t->buffers[count++] = (clq_checkpoint_buffer){hooks->buffer_names[i], hooks->buffers[i]};
    }
    t->checkpoint = (clq_checkpoint){.folder = t->job->out,
                                     .phase = t->job->phase,
                                     .graph = t->job->graph,
                                     .params = t->params,
                                     .buffers = t->buffers,
                                     .buffer_count = count,
                                     .config_hash = config_hash(t),
                                     .recipe = t->job->recipe_json};
    return CLQ_OK;
}

static clq_status open_trainer(trainer *t) {
    const clq_train_job *job = t->job;
    CLQ_TRY(clq_train_config_check(&job->config));
    if (job->out) {
        CLQ_TRY(clq_make_dirs(job->out));
    }
    t->params = job->params;
    if (!t->params) {
        CLQ_TRY(clq_params_create(job->device, job->graph, true, &t->own_params));
        t->params = t->own_params;
    }
    CLQ_TRY(open_feeds(t));
    CLQ_TRY(open_executors(t));
    CLQ_TRY(clq_optimizer_create(job->device, job->graph, t->params, &job->config, &t->optimizer));
    return describe_checkpoint(t);
}

static void close_trainer(trainer *t) {
    clq_loss_destroy(t->loss);
    clq_optimizer_destroy(t->optimizer);
    clq_exec_destroy(t->eval_exec);
    clq_exec_destroy(t->exec);
    clq_feed_destroy(t->test_feed);
    clq_feed_destroy(t->feed);
    clq_params_destroy(t->own_params);
    clq_history_clear(&t->history);
}

/* ---- checkpoints ---- */

static clq_status save_checkpoint(trainer *t) {
    if (!t->job->out) {
        return CLQ_OK;
    }
    json_t *state = json_object();
    json_object_set_new(state, "step", json_integer(t->step));
    json_object_set_new(state, "steps_per_epoch", json_integer(t->steps_per_epoch));
    json_object_set_new(state, "history", clq_history_to_json(&t->history, false));
    const clq_status status = clq_checkpoint_save(&t->checkpoint, t->step, state);
    json_decref(state);
    return status;
}

static clq_status resume(trainer *t) {
    clq_json_reader reader;
    json_t *state = NULL;
    int64_t steps_per_epoch = t->steps_per_epoch;
    const json_t *history = NULL;
    CLQ_TRY(clq_checkpoint_load(&t->checkpoint, &state));
    if (!state) {
        return CLQ_OK;
    }
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, clq_json_reader_init(&reader, "checkpoint state", state));
    CLQ_GOTO(status, cleanup, clq_json_read_i64(&reader, "step", 0, INT64_MAX / 2, &t->step));
    CLQ_GOTO(status, cleanup,
             clq_json_read_i64(&reader, "steps_per_epoch", t->steps_per_epoch, t->steps_per_epoch,
                               &steps_per_epoch));
    CLQ_GOTO(status, cleanup, clq_json_read_array(&reader, "history", &history));
    CLQ_GOTO(status, cleanup, clq_history_from_json(&t->history, "checkpoint state", history));
    clq_history_read_timing(&t->history, t->job->out);
    CLQ_GOTO(status, cleanup, clq_exec_load_parameters(t->exec));
    clq_log_info("%s: resuming at epoch %lld, step %lld", t->job->phase,
                 (long long)(t->step / t->steps_per_epoch + 1), (long long)t->step);
cleanup:
    json_decref(state);
    return status;
}

/* ---- steps and epochs ---- */

static clq_status one_step(trainer *t) {
    const clq_train_hooks *hooks = t->job->hooks;
    const double lr = clq_learning_rate(&t->job->config, t->step, t->steps_per_epoch);
    clq_buffer *labels = NULL;
    int count = 0;
    if (hooks && hooks->before_step) {
        CLQ_TRY(hooks->before_step(hooks->context, t->step));
    }
    CLQ_TRY(clq_feed_next(t->feed, clq_exec_input(t->exec)->buffer, &count, NULL, &labels));
    clq_exec_set_step(t->exec, (uint64_t)t->step);
    CLQ_TRY(clq_exec_forward(t->exec));
    CLQ_TRY(clq_loss_run(t->loss, clq_exec_output(t->exec)->buffer, labels,
                         clq_exec_output_gradient(t->exec)->buffer));
    CLQ_TRY(clq_exec_backward(t->exec));
    CLQ_TRY(clq_optimizer_step(t->optimizer, lr, t->step));
    t->step++;
    if (hooks && hooks->after_step) {
        CLQ_TRY(hooks->after_step(hooks->context, t->step));
    }
    return clq_exec_load_parameters(t->exec);
}

/* Mean loss and accuracy of the epoch so far; CLQ_DIVERGED when the loss is no number any more. */
static clq_status read_loss(trainer *t, double *loss, double *top1) {
    clq_loss_totals totals;
    CLQ_TRY(clq_loss_read(t->loss, &totals));
    *loss = totals.samples > 0 ? totals.loss / totals.samples : 0;
    *top1 = totals.samples > 0 ? totals.top1 / totals.samples : 0;
    if (!isfinite(totals.loss)) {
        return clq_fail(
            CLQ_DIVERGED,
            "%s: the loss became %s in epoch %lld, by step %lld (learning rate %g); the last "
            "checkpoint is unharmed",
            t->job->phase, isnan(totals.loss) ? "NaN" : "infinite",
            (long long)((t->step - 1) / t->steps_per_epoch + 1), (long long)t->step,
            clq_learning_rate(&t->job->config, t->step - 1, t->steps_per_epoch));
    }
    return CLQ_OK;
}

static bool stopped(const trainer *t) {
    return t->job->stop_after_steps > 0 && t->step >= t->job->stop_after_steps;
}

/* From the present step to the end of its epoch. */
static clq_status train_epoch(trainer *t, int64_t epoch, clq_epoch_record *record) {
    const clq_train_config *config = &t->job->config;
    const double start = clq_now_seconds();
    const int64_t first = t->step, batch = first % t->steps_per_epoch;
    double loss = 0, top1 = 0;
    CLQ_TRY(clq_feed_seek(t->feed, epoch, batch));
    if (batch == 0) {
        CLQ_TRY(clq_loss_reset(t->loss));
    }
    while (t->step < (epoch + 1) * t->steps_per_epoch && !stopped(t)) {
        CLQ_TRY(one_step(t));
        if (t->step % LOSS_CHECK_STEPS == 0) {
            CLQ_TRY(read_loss(t, &loss, &top1));
        }
        if (config->checkpoint_steps && t->step % config->checkpoint_steps == 0 &&
            t->step % t->steps_per_epoch != 0) {
            CLQ_TRY(read_loss(t, &loss, &top1));
            CLQ_TRY(save_checkpoint(t));
        }
        clq_progress_update(&t->progress, t->step * config->batch,
                            "epoch %lld/%d  loss %.4f  top-1 %.2f %%  lr %.4g",
                            (long long)epoch + 1, config->epochs, loss, 100 * top1,
                            clq_learning_rate(config, t->step, t->steps_per_epoch));
    }
    CLQ_TRY(read_loss(t, &loss, &top1));
    record->epoch = (int)epoch + 1;
    record->lr = clq_learning_rate(config, t->step - 1, t->steps_per_epoch);
    record->train_loss = loss;
    record->train_top1 = top1;
    record->test_loss = record->test_top1 = NAN;
    record->seconds = clq_now_seconds() - start;
    record->images_per_second = (double)((t->step - first) * config->batch) / record->seconds;
    return CLQ_OK;
}

static clq_status evaluate(trainer *t, clq_epoch_record *record) {
    const clq_train_hooks *hooks = t->job->hooks;
    clq_evaluation evaluation = {0};
    if (!t->job->test) {
        return CLQ_OK;
    }
    if (hooks && hooks->evaluate) {
        CLQ_TRY(hooks->evaluate(hooks->context, &evaluation));
    } else {
        CLQ_TRY(clq_exec_load_parameters(t->eval_exec));
        CLQ_TRY(clq_evaluate(t->eval_exec, t->test_feed, NULL, &evaluation, NULL));
    }
    record->test_loss = evaluation.loss;
    record->test_top1 = evaluation.top1;
    clq_evaluation_clear(&evaluation);
    return CLQ_OK;
}

static clq_status run_epochs(trainer *t) {
    const int64_t last = (int64_t)t->job->config.epochs * t->steps_per_epoch;
    while (t->step < last) {
        clq_epoch_record record = {0};
        CLQ_TRY(train_epoch(t, t->step / t->steps_per_epoch, &record));
        if (stopped(t)) {
            return CLQ_OK;
        }
        CLQ_TRY(evaluate(t, &record));
        CLQ_TRY(clq_history_add(&t->history, &record));
        clq_log_info("%s: epoch %d/%d  lr %.4g  loss %.4f  top-1 %.2f %%  test loss %.4f  test "
                     "top-1 %.2f %%  "
                     "%.0f images/s",
                     t->job->phase, record.epoch, t->job->config.epochs, record.lr,
                     record.train_loss, 100 * record.train_top1, record.test_loss,
                     100 * record.test_top1, record.images_per_second);
        if (t->job->out) {
            CLQ_TRY(clq_history_write(&t->history, t->job->out));
        }
        CLQ_TRY(save_checkpoint(t));
    }
    return CLQ_OK;
}

clq_status clq_train(clq_train_job *job, clq_epoch_record **history, int *history_count) {
    trainer t = {.job = job};
    clq_status status = CLQ_OK;
    *history = NULL;
    *history_count = 0;
    CLQ_GOTO(status, cleanup, open_trainer(&t));
    if (job->resume && job->out) {
        CLQ_GOTO(status, cleanup, resume(&t));
    }
    clq_progress_begin(&t.progress, job->phase, "images",
                       (int64_t)job->config.epochs * t.steps_per_epoch * job->config.batch);
    status = run_epochs(&t);
    clq_progress_end(&t.progress);
    if (status == CLQ_OK) {
        CLQ_GOTO(status, cleanup, clq_params_download(t.params));
        *history = t.history.records;
        *history_count = t.history.count;
        t.history = (clq_history){0};
    }
cleanup:
    close_trainer(&t);
    return status;
}
