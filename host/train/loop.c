/* The training loop: epochs, evaluation, history, when to write checkpoints. */
#include <math.h>

#include "base/clock.h"
#include "base/log.h"
#include "train/trainer.h"

enum { LOSS_CHECK_STEPS = 10 };

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
    CLQ_TRY(clq_trainer_fit_epoch(t, epoch));
    CLQ_TRY(clq_feed_seek(t->feed, epoch, batch));
    clq_train_log_time_from(&t->log, t->step);
    if (batch == 0) {
        CLQ_TRY(clq_loss_reset(t->loss));
    }
    while (t->step < (epoch + 1) * t->steps_per_epoch && !stopped(t)) {
        CLQ_TRY(clq_trainer_step(t));
        CLQ_TRY(clq_train_log_step(&t->log, epoch + 1, t->step,
                                   clq_learning_rate(config, t->step - 1, t->steps_per_epoch),
                                   t->loss));
        if (t->step % LOSS_CHECK_STEPS == 0) {
            CLQ_TRY(read_loss(t, &loss, &top1));
        }
        if (config->checkpoint_steps && t->step % config->checkpoint_steps == 0 &&
            t->step % t->steps_per_epoch != 0) {
            CLQ_TRY(read_loss(t, &loss, &top1));
            CLQ_TRY(clq_trainer_save(t));
            clq_train_log_time_from(&t->log, t->step);
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
        CLQ_TRY(clq_train_log_epoch(&t->log, &record, t->step));
        CLQ_TRY(clq_trainer_save(t));
    }
    return CLQ_OK;
}

clq_status clq_train(clq_train_job *job, clq_epoch_record **history, int *history_count) {
    trainer t = {.job = job};
    clq_status status = CLQ_OK;
    *history = NULL;
    *history_count = 0;
    CLQ_GOTO(status, cleanup, clq_train_log_open(&t.log, job));
    CLQ_GOTO(status, cleanup, clq_trainer_open(&t));
    if (job->resume && job->out) {
        CLQ_GOTO(status, cleanup, clq_trainer_resume(&t));
    }
    clq_progress_begin(&t.progress, job->phase, "images",
                       (int64_t)job->config.epochs * t.steps_per_epoch * job->config.batch);
    clq_progress_continue(&t.progress, t.step * job->config.batch);
    status = run_epochs(&t);
    clq_progress_end(&t.progress);
    if (status == CLQ_OK) {
        CLQ_GOTO(status, cleanup, clq_params_download(t.params));
        *history = t.history.records;
        *history_count = t.history.count;
        t.history = (clq_history){0};
    }
cleanup:
    status = clq_train_log_close(&t.log, status, t.step);
    clq_trainer_close(&t);
    return status;
}
