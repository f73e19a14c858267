/* Opening a training, and its way into checkpoints and back. */
#include "train/trainer.h"

#include <string.h>

#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "train/freeze.h"

/* ---- set-up ---- */

/* What only one kind of data can have. */
static clq_status check_data(const clq_train_job *job) {
    clq_train_config plain = job->config, defaults;
    if (!job->train) {
        return CLQ_OK;
    }
    const clq_dataset_info *info = clq_dataset_get_info(job->train);
    CLQ_TRY(clq_graph_check_data(job->graph, job->train));
    if (job->test) {
        CLQ_TRY(clq_graph_check_data(job->graph, job->test));
    }
    if (info->targets > 0 &&
        (job->config.loss != CLQ_LOSS_MSE || job->config.label_smoothing > 0)) {
        return clq_fail(CLQ_USAGE,
                        "%s: has regression targets: the loss must be mse, without "
                        "label smoothing",
                        info->path);
    }
    clq_train_config_init(&defaults);
    plain.augment = defaults.augment;
    if (info->features > 0 &&
        clq_train_config_hash(&plain) != clq_train_config_hash(&job->config)) {
        return clq_fail(CLQ_USAGE, "%s: is a table; augmentation is for images", info->path);
    }
    return CLQ_OK;
}

static clq_status open_feeds(trainer *t) {
    const clq_train_config *config = &t->job->config;
    const clq_graph *graph = t->job->graph;
    const clq_shape *input = &graph->values[graph->input].shape;
    const clq_shape *output = &graph->values[graph->output].shape;
    const bool images = input->rank == 4;
    clq_feed_options options = {.batch = config->batch,
                                .training = true,
                                .seed = config->seed,
                                .threads = config->loader_threads,
                                .height = images ? (int)input->dim[1] : 0,
                                .width = images ? (int)input->dim[2] : 0,
                                .classes = (int)output->dim[1],
                                .augment = config->augment};
    memcpy(options.mean, t->job->mean, sizeof options.mean);
    memcpy(options.std, t->job->std, sizeof options.std);
    if (t->job->train) {
        CLQ_TRY(clq_feed_create(t->job->device, t->job->train, &options, &t->feed));
        t->steps_per_epoch = clq_feed_batches(t->feed);
    }
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
                                .recompute = job->config.recompute,
                                .seed = job->config.seed};
    CLQ_TRY(clq_exec_create(job->device, job->graph, &options, &t->exec));
    if (job->test) {
        options.mode = job->mode == CLQ_EXEC_QAT ? CLQ_EXEC_FAKE_QUANT : CLQ_EXEC_FLOAT;
        CLQ_TRY(clq_exec_create(job->device, job->graph, &options, &t->eval_exec));
    }
    const clq_tensor *output = clq_exec_output(t->exec);
    CLQ_TRY(clq_loss_create(job->device, job->config.loss, &output->shape,
                            job->config.label_smoothing, &t->loss));
    if (job->train && clq_dataset_get_info(job->train)->targets > 0) {
        clq_loss_set_regression(t->loss);
    }
    return clq_distill_wanted(job) ? clq_distill_create(job, t->exec, t->loss, &t->distill)
                                   : CLQ_OK;
}

/* What must be equal for a checkpoint to be continued: configuration, network and data. */
static uint64_t config_hash(const trainer *t) {
    uint64_t hash = clq_train_config_hash(&t->job->config) + (uint64_t)t->job->mode;
    hash += t->job->hooks ? t->job->hooks->config_hash : 0;
    hash += t->distill ? clq_distill_hash(t->job) : 0;
    if (t->job->train) {
        const clq_dataset_info *info = clq_dataset_get_info(t->job->train);
        const int64_t data[] = {info->count,    info->height,  info->width,      info->channels,
                                info->features, info->targets, info->class_count};
        hash = clq_hash64_seeded(data, sizeof data, hash);
    }
    for (int v = 0; v < t->job->graph->value_count; v++) {
        const clq_value *value = &t->job->graph->values[v];
        hash = clq_hash64_seeded(value->name, strlen(value->name), hash);
        hash =
            clq_hash64_seeded(value->shape.dim, (size_t)value->shape.rank * sizeof(int64_t), hash);
    }
    return hash;
}

static clq_status describe_checkpoint(trainer *t) {
    const clq_train_hooks *hooks = t->job->hooks;
    size_t count = clq_optimizer_buffers(t->optimizer, t->buffers);
    t->buffers[count++] = (clq_checkpoint_buffer){"loss.totals", clq_loss_totals_buffer(t->loss)};
    for (size_t i = 0; hooks && i < hooks->buffer_count; i++) {
        if (count == CLQ_TRAINER_MAX_BUFFERS) {
            return clq_fail(CLQ_INTERNAL, "more than %d buffers in a checkpoint",
                            CLQ_TRAINER_MAX_BUFFERS);
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

/* A step changes parameters, states, the loss's totals and what the hooks keep. */
static clq_status open_health(trainer *t) {
    const clq_train_hooks *hooks = t->job->hooks;
    CLQ_TRY(clq_health_create(t->job->device, t->params, t->job->config.clip_norm, &t->health));
    CLQ_TRY(clq_health_protect(t->health, clq_loss_totals_buffer(t->loss)));
    for (size_t i = 0; hooks && i < hooks->buffer_count; i++) {
        CLQ_TRY(clq_health_protect(t->health, hooks->buffers[i]));
    }
    clq_optimizer_obey(t->optimizer, clq_health_verdict(t->health));
    return CLQ_OK;
}

clq_status clq_trainer_open(trainer *t) {
    const clq_train_job *job = t->job;
    CLQ_TRY(clq_train_config_check(&job->config));
    CLQ_TRY(check_data(job));
    if (job->out) {
        CLQ_TRY(clq_make_dirs(job->out));
    }
    CLQ_TRY(clq_freeze(job->graph, job->config.freeze, job->config.freeze_count));
    t->params = job->params;
    if (!t->params) {
        CLQ_TRY(clq_params_create(job->device, job->graph, true, &t->own_params));
        t->params = t->own_params;
    }
    CLQ_TRY(open_feeds(t));
    CLQ_TRY(open_executors(t));
    CLQ_TRY(clq_optimizer_create(job->device, job->graph, t->params, &job->config, &t->optimizer));
    CLQ_TRY(open_health(t));
    return describe_checkpoint(t);
}

void clq_trainer_close(trainer *t) {
    clq_distill_destroy(t->distill);
    clq_health_destroy(t->health);
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

clq_status clq_trainer_save(trainer *t) {
    if (!t->job->out) {
        return CLQ_OK;
    }
    json_t *state = json_object();
    json_object_set_new(state, "step", json_integer(t->step));
    json_object_set_new(state, "steps_per_epoch", json_integer(t->steps_per_epoch));
    json_object_set_new(state, "skipped_steps", json_integer(t->skipped.total));
    json_object_set_new(state, "skipped_in_epoch", json_integer(t->skipped.in_epoch));
    json_object_set_new(state, "skipped_in_a_row", json_integer(t->skipped.in_a_row));
    json_object_set_new(state, "history", clq_history_to_json(&t->history, false));
    const clq_status status = clq_checkpoint_save(&t->checkpoint, t->step, state);
    json_decref(state);
    CLQ_TRY(status);
    return clq_train_log_mark(&t->log, "checkpoint", t->step);
}

static clq_status read_skipped(clq_json_reader *r, skipped_steps *skipped) {
    CLQ_TRY(clq_json_read_i64(r, "skipped_steps", 0, INT64_MAX, &skipped->total));
    CLQ_TRY(clq_json_read_i64(r, "skipped_in_epoch", 0, INT64_MAX, &skipped->in_epoch));
    return clq_json_read_i64(r, "skipped_in_a_row", 0, INT64_MAX, &skipped->in_a_row);
}

clq_status clq_trainer_resume(trainer *t) {
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
    CLQ_GOTO(status, cleanup, read_skipped(&reader, &t->skipped));
    CLQ_GOTO(status, cleanup, clq_json_read_array(&reader, "history", &history));
    CLQ_GOTO(status, cleanup, clq_history_from_json(&t->history, "checkpoint state", history));
    clq_history_read_timing(&t->history, t->job->out);
    CLQ_GOTO(status, cleanup, clq_exec_load_parameters(t->exec));
    clq_log_info("%s: resuming at epoch %lld, step %lld", t->job->phase,
                 (long long)(t->step / t->steps_per_epoch + 1), (long long)t->step);
    status = clq_train_log_mark(&t->log, "resume", t->step);
cleanup:
    json_decref(state);
    return status;
}
