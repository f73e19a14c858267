/* The training loop: epochs, evaluation, history, when to write checkpoints. */
#include <math.h>
#include <stdio.h>

#include "base/arguments.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/numbers.h"
#include "graph/ends.h"
#include "train/checkpoint.h"
#include "train/folder.h"
#include "train/trainer.h"

enum { LOSS_SHOWN_STEPS = 10 };

/* Mean loss and accuracy (NaN in a regression) of the epoch so far; NaN when no step counted. */
static clq_status read_loss(trainer *t, double *loss, double *top1) {
    clq_loss_totals totals;
    CLQ_TRY(clq_trainer_read_totals(t, &totals));
    *loss = totals.samples > 0 ? totals.loss / totals.samples : NAN;
    *top1 = totals.samples > 0 ? totals.top1 / totals.samples : NAN;
    return CLQ_OK;
}

/* "  top-1 93.75 %", or nothing where it is not known. */
static const char *top1_text(const char *name, double top1, char text[40]) {
    text[0] = '\0';
    if (!isnan(top1)) {
        clq_snprintf(text, 40, "  %s %.2f %%", name, 100 * top1);
    }
    return text;
}

/* "  loss 0.1234", the same. */
static const char *loss_text(double loss, char text[40]) {
    text[0] = '\0';
    if (!isnan(loss)) {
        clq_snprintf(text, 40, "  loss %.4g", loss);
    }
    return text;
}

static bool stopped(const trainer *t) {
    return t->job->stop_after_steps > 0 && t->step >= t->job->stop_after_steps;
}

/* Keeps what some of the steps, and the last one of each epoch, add to the curve. */
static clq_status keep_step(trainer *t, int64_t epoch, double lr) {
    const int64_t total = (int64_t)t->job->config.epochs * t->steps_per_epoch;
    const clq_loss_totals before = t->at_record;
    if (!t->job->out ||
        (t->step % clq_steps_interval(total) != 0 && t->step % t->steps_per_epoch != 0)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_loss_read(t->loss, &t->at_record));
    const double samples = t->at_record.samples - before.samples;
    const clq_step_record record = {
        .step = t->step,
        .epoch = (int)epoch + 1,
        .lr = lr,
        .loss = samples > 0 ? (t->at_record.loss - before.loss) / samples : NAN,
        .top1 = samples > 0 ? (t->at_record.top1 - before.top1) / samples : NAN};
    return clq_steps_add(&t->steps, &record);
}

/* From the present step to the end of the epoch, or to the step in which training shall stop. */
static clq_status train_epoch(trainer *t, int64_t epoch, clq_epoch_record *record) {
    const clq_train_config *config = &t->job->config;
    const double start = clq_now_seconds();
    const int64_t first = t->step, batch = first - epoch * t->steps_per_epoch;
    double loss = NAN, top1 = NAN;
    char loss_words[40], top1_words[40];
    CLQ_TRY(clq_trainer_fit_epoch(t, epoch));
    if (batch < t->steps_per_epoch) {
        CLQ_TRY(clq_feed_seek(t->feed, epoch, batch));
    }
    clq_train_log_time_from(&t->log, t->step);
    if (batch == 0) {
        CLQ_TRY(clq_loss_reset(t->loss));
        t->at_record = (clq_loss_totals){0};
        t->skipped.in_epoch = 0;
    }
    while (t->step < (epoch + 1) * t->steps_per_epoch && !t->stopping && !stopped(t)) {
        CLQ_TRY(clq_trainer_step(t));
        const double lr = clq_learning_rate(config, t->step - 1, t->steps_per_epoch);
        CLQ_TRY(clq_train_log_step(&t->log, epoch + 1, t->step, lr, t->loss));
        CLQ_TRY(keep_step(t, epoch, lr));
        if (t->step % LOSS_SHOWN_STEPS == 0 || isnan(loss)) {
            CLQ_TRY(read_loss(t, &loss, &top1));
        }
        if (config->checkpoint_steps && t->step % config->checkpoint_steps == 0 &&
            t->step % t->steps_per_epoch != 0 && !t->stopping) {
            CLQ_TRY(clq_trainer_save(t));
            clq_train_log_time_from(&t->log, t->step);
        }
        clq_progress_update(&t->progress, t->step * config->batch, "epoch %lld/%d%s%s  lr %.4g",
                            (long long)epoch + 1, config->epochs, loss_text(loss, loss_words),
                            top1_text("top-1", top1, top1_words),
                            clq_learning_rate(config, t->step, t->steps_per_epoch));
    }
    CLQ_TRY(read_loss(t, &loss, &top1));
    record->epoch = (int)epoch + 1;
    record->lr = clq_learning_rate(config, t->step - 1, t->steps_per_epoch);
    record->train_loss = loss;
    record->train_top1 = top1;
    record->test_loss = record->test_top1 = record->test_output_error = NAN;
    record->skipped_steps = (double)t->skipped.in_epoch;
    /* Of an epoch that was resumed, another process knew what the first part took. */
    const double seconds = clq_now_seconds() - start;
    record->seconds = batch == 0 ? seconds : NAN;
    record->images_per_second =
        t->step > first ? (double)((t->step - first) * config->batch) / seconds : NAN;
    return CLQ_OK;
}

/* Exchanges the network and its moving average, if there is one. */
static clq_status swap_average(trainer *t) {
    CLQ_TRY(clq_optimizer_swap_average(t->optimizer));
    return clq_exec_load_parameters(t->exec);
}

static clq_status evaluate_labelled(trainer *t, clq_epoch_record *record) {
    clq_evaluation evaluation;
    CLQ_TRY(clq_evaluate(t->eval_exec, t->test_feed, "test", &evaluation, NULL));
    record->test_loss = evaluation.loss;
    record->test_top1 = evaluation.top1;
    clq_evaluation_clear(&evaluation);
    return CLQ_OK;
}

/* Breaks off, with t->stopping, when training shall stop. */
static clq_status evaluate(trainer *t, clq_epoch_record *record) {
    if (!t->test_feed) {
        return CLQ_OK;
    }
    CLQ_TRY(swap_average(t));
    CLQ_TRY(clq_exec_load_parameters(t->eval_exec));
    const clq_status status = t->eval_teacher
                                  ? clq_distill_compare(t->eval_teacher, t->eval_exec, t->test_feed,
                                                        &record->test_output_error)
                                  : evaluate_labelled(t, record);
    clq_progress_continue(&t->progress, t->step * t->job->config.batch);
    if (status != CLQ_OK && status != CLQ_INTERRUPTED) {
        return status;
    }
    CLQ_TRY(swap_average(t));
    return clq_trainer_agree_to_stop(t, status == CLQ_INTERRUPTED);
}

/* "  test loss 0.1234  test top-1 93.75 %", or how far from the teacher. */
static const char *test_text(const clq_epoch_record *record, char text[96]) {
    char top1[40];
    text[0] = '\0';
    if (!isnan(record->test_output_error)) {
        clq_snprintf(text, 96, "  test output error %.3g %%", 100 * record->test_output_error);
    } else {
        clq_snprintf(text, 96, "  test loss %.4g%s", record->test_loss,
                     top1_text("test top-1", record->test_top1, top1));
    }
    return text;
}

/* A checkpoint behind the last step; where an epoch's evaluation is still to come, resuming starts
 * with it. */
static clq_status interrupt(trainer *t) {
    const clq_train_job *job = t->job;
    CLQ_TRY(clq_trainer_save(t));
    CLQ_TRY(clq_trainer_agree_to_stop(t, true)); /* no rank leaves before rank 0 has written */
    const long long steps = (long long)(job->config.epochs * t->steps_per_epoch);
    char *path = job->out ? clq_checkpoint_path(job->out, job->phase, t->step) : NULL;
    const clq_status status =
        job->out
            ? clq_fail(CLQ_INTERRUPTED, "interrupted after step %lld of %lld, which is kept in %s",
                       (long long)t->step, steps, path ? path : job->out)
            : clq_fail(CLQ_INTERRUPTED, "interrupted after step %lld of %lld", (long long)t->step,
                       steps);
    clq_free(path);
    return status;
}

static clq_status run_epochs(trainer *t) {
    while (t->history.count < t->job->config.epochs) {
        clq_epoch_record record = {0};
        CLQ_TRY(train_epoch(t, t->history.count, &record));
        if (stopped(t)) {
            return CLQ_OK;
        }
        if (!t->stopping) {
            CLQ_TRY(evaluate(t, &record));
        }
        if (t->stopping) {
            return interrupt(t);
        }
        CLQ_TRY(clq_history_add(&t->history, &record));
        char train[40], test[96], rate[40] = "";
        if (!isnan(record.images_per_second)) {
            clq_snprintf(rate, sizeof rate, "  %.0f %s/s", record.images_per_second,
                         clq_feed_unit(t->feed));
        }
        clq_log_info("%s: epoch %d/%d  lr %.4g  loss %.4g%s%s%s", t->job->phase, record.epoch,
                     t->job->config.epochs, record.lr, record.train_loss,
                     top1_text("top-1", record.train_top1, train), test_text(&record, test), rate);
        if (t->job->out) {
            CLQ_TRY(clq_history_write(&t->history, t->job->out));
        }
        CLQ_TRY(clq_train_log_epoch(&t->log, &record, t->step));
        CLQ_TRY(clq_trainer_save(t));
    }
    return CLQ_OK;
}

/* A schedule made for a longer training. */
static void warn_of_warmup(const clq_train_job *job) {
    const double warmup = job->config.schedule.warmup_epochs;
    if (warmup > 0 && warmup >= job->config.epochs) {
        clq_log_warn(
            "%s: the learning rate still rises at the end, as its warm-up takes %.4g epochs "
            "and the training %d; set %s.schedule.warmup_epochs",
            job->phase, warmup, job->config.epochs, job->phase);
    }
}

clq_status clq_train(clq_train_job *job, clq_epoch_record **history, int *history_count) {
    CLQ_NEEDS(job, history, history_count);
    CLQ_NEEDS(job->device, job->graph, job->phase);
    CLQ_REQUIRE(!job->train != !job->arrays, "job needs train, or arrays in its place");
    CLQ_NEEDS_ENDS(job->graph);
    CLQ_REQUIRE(job->mode == CLQ_EXEC_TRAIN || (job->mode == CLQ_EXEC_QAT && job->qstate),
                "job->mode must be CLQ_EXEC_TRAIN, or CLQ_EXEC_QAT with a qstate");
    trainer t = {.job = job};
    clq_status status = CLQ_OK;
    *history = NULL;
    *history_count = 0;
    CLQ_TRY(clq_train_folder_open(job));
    CLQ_GOTO(status, cleanup, clq_train_log_open(&t.log, job));
    CLQ_GOTO(status, cleanup, clq_trainer_open(&t));
    if (job->resume) {
        CLQ_GOTO(status, cleanup, clq_trainer_resume(&t));
    }
    CLQ_GOTO(status, cleanup, clq_trainer_share(&t)); /* all ranks are ready then */
    if (job->out && job->overwrite) {
        CLQ_GOTO(status, cleanup, clq_train_folder_clear(job->out, job->phase));
    }
    if (job->ready) {
        CLQ_GOTO(status, cleanup, job->ready(job->ready_context));
    }
    warn_of_warmup(job);
    clq_progress_begin(&t.progress, job->phase, clq_feed_unit(t.feed),
                       (int64_t)job->config.epochs * t.steps_per_epoch * job->config.batch);
    clq_progress_continue(&t.progress, t.step * job->config.batch);
    status = run_epochs(&t);
    clq_progress_end(&t.progress);
    clq_reducer_log(t.reducer, job->phase);
    if (status == CLQ_OK) {
        CLQ_GOTO(status, cleanup, clq_optimizer_swap_average(t.optimizer));
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
