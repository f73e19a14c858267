/* Opening a training, and its way into checkpoints and back. */
#include "train/trainer.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include <clquant/passes.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/ranks.h"
#include "base/text.h"
#include "graph/node.h"
#include "train/array_feed.h"
#include "train/freeze.h"

/* ---- set-up ---- */

int64_t clq_train_rows(const clq_train_job *job) {
    CLQ_NEEDS_OR(0, job);
    return job->arrays  ? clq_array_samples(job->graph, job->arrays)
           : job->train ? clq_dataset_get_info(job->train)->count
                        : 0;
}

/* Who needs a teacher that says all. */
static clq_status check_teacher(const clq_train_job *job) {
    const bool says_all = clq_distill_wanted(job) && job->config.distill.weight == 1;
    if (job->arrays && job->config.progressive_count > 0) {
        return clq_fail(CLQ_USAGE, "progressive: arrays have one size only");
    }
    if (job->arrays && !job->no_labels && clq_arrays_labels(job->arrays) < 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: has no labels to train with",
                        clq_arrays_path(job->arrays));
    }
    if (job->no_labels && !says_all) {
        return clq_fail(CLQ_USAGE,
                        "training without labels needs a teacher (distill.teacher), whose "
                        "word is all (distill.weight 1)");
    }
    if (job->config.loss == CLQ_LOSS_OUTPUT_ERROR) {
        return says_all ? CLQ_OK
                        : clq_fail(CLQ_USAGE, "the loss output_error is how far outputs are from a "
                                              "teacher's (distill.teacher), whose word is all "
                                              "(distill.weight 1)");
    }
    return clq_graph_check_single(job->graph, "without the loss output_error, training takes");
}

/* What only one kind of data can have. */
static clq_status check_data(const clq_train_job *job) {
    clq_train_config plain = job->config, defaults;
    CLQ_TRY(check_teacher(job));
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

/* How much of a batch is this rank's. */
static int rank_batch(const trainer *t) {
    return t->job->config.batch / clq_ranks_size(t->job->ranks);
}

/* The graph whose shapes training has now. */
static const clq_graph *training_graph(const trainer *t) {
    return t->resized ? t->resized : t->job->graph;
}

static clq_status open_feed(const trainer *t, bool training, clq_feed **feed) {
    const clq_train_config *config = &t->job->config;
    const clq_graph *graph = training ? training_graph(t) : t->job->graph;
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    const bool images = input->rank == 4;
    const clq_feed_options options = {.batch = rank_batch(t),
                                      .training = training,
                                      .no_labels = t->job->no_labels,
                                      .seed = config->seed,
                                      .threads = config->loader_threads,
                                      .height = images ? (int)input->dim[1] : 0,
                                      .width = images ? (int)input->dim[2] : 0,
                                      .classes = (int)output->dim[output->rank - 1],
                                      .normalization = t->job->normalization,
                                      .augment = config->augment,
                                      .shard = clq_ranks_rank(t->job->ranks),
                                      .shards = clq_ranks_size(t->job->ranks),
                                      .stop = training ? NULL : t->job->stop};
    clq_dataset *dataset = training ? t->job->train : t->job->test;
    clq_arrays *test = t->job->test_arrays ? t->job->test_arrays : t->job->arrays;
    if (t->job->arrays) {
        return training
                   ? clq_feed_create_arrays_with(t->job->device, graph, t->job->arrays, &options,
                                                 feed)
                   : clq_feed_create_arrays(graph, test, options.batch, t->job->test_rows, feed);
    }
    return dataset ? clq_feed_create(t->job->device, dataset, &options, feed) : CLQ_OK;
}

static clq_status open_executor(const trainer *t, bool training, clq_exec **exec) {
    const clq_train_job *job = t->job;
    const clq_exec_mode inference =
        job->mode == CLQ_EXEC_QAT ? CLQ_EXEC_FAKE_QUANT : CLQ_EXEC_FLOAT;
    const clq_exec_options options = {
        .mode = training ? job->mode : inference,
        .batch = rank_batch(t),
        .params = t->params,
        .qstate = job->qstate,
        .logits = true,
        .recompute = training && job->config.recompute,
        /* An evaluation comes between steps, so it may lie in the memory of an executor that stays.
         */
        .memory_of = training || job->config.progressive_count > 0 ? NULL : t->exec,
        /* of dropout: each rank has masks of its own */
        .seed = job->config.seed + (uint64_t)clq_ranks_rank(job->ranks),
        .ranks = training && job->config.sync_batch_norm ? job->ranks : NULL};
    return clq_exec_create(job->device, training ? training_graph(t) : job->graph, &options, exec);
}

/* A class for each pixel wants labels of pixels. */
static clq_status check_pixels(const trainer *t) {
    const clq_shape *output = &clq_exec_output(t->exec)->shape;
    if (t->feed && t->job->config.loss == CLQ_LOSS_CROSS_ENTROPY && output->rank == 4 &&
        clq_feed_label_size(t->feed) != output->dim[1] * output->dim[2]) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: has no labels of pixels, and the network tells the class of each: "
                        "give arrays, X.npz with \"labels\" (N, H, W), or without labels the loss "
                        "output_error",
                        clq_feed_path(t->feed));
    }
    return CLQ_OK;
}

static clq_status create_loss(trainer *t) {
    const clq_train_job *job = t->job;
    clq_shape outputs[CLQ_MAX_ENDS];
    if (job->config.loss != CLQ_LOSS_OUTPUT_ERROR) {
        return clq_loss_create(job->device, job->config.loss, &clq_exec_output(t->exec)->shape,
                               job->config.label_smoothing, &t->loss);
    }
    for (int i = 0; i < job->graph->output_count; i++) {
        outputs[i] = clq_exec_output_at(t->exec, i)->shape;
    }
    return clq_loss_create_outputs(job->device, outputs, job->graph->output_count, &t->loss);
}

/* What depends on the size of the training images: feed, executor, exchange of gradients, teacher.
 */
static clq_status open_sized(trainer *t, int size) {
    const clq_train_job *job = t->job;
    t->size = size;
    if (size) {
        CLQ_TRY(clq_fail_in(clq_graph_resize(job->graph, size, size, &t->resized), "progressive"));
    }
    CLQ_TRY(open_feed(t, true, &t->feed));
    CLQ_TRY(open_executor(t, true, &t->exec));
    if (job->ranks) {
        CLQ_TRY(clq_reducer_create(job->device, job->graph, t->params, t->exec, job->ranks,
                                   !job->config.sync_batch_norm, &t->reducer));
    }
    CLQ_TRY(check_pixels(t));
    if (!t->loss) {
        CLQ_TRY(create_loss(t));
        if (job->no_labels || (job->train && clq_dataset_get_info(job->train)->targets > 0)) {
            clq_loss_set_classless(t->loss);
        }
    }
    if (clq_distill_wanted(job)) {
        CLQ_TRY(clq_distill_create(job, t->exec, &t->distill));
    }
    if (t->distill && job->config.loss != CLQ_LOSS_OUTPUT_ERROR) {
        clq_loss_set_teacher(t->loss, clq_exec_output(clq_distill_exec(t->distill))->buffer,
                             job->config.distill.weight, job->config.distill.temperature);
    }
    return CLQ_OK;
}

static void close_sized(trainer *t) {
    clq_reducer_destroy(t->reducer);
    clq_distill_destroy(t->distill);
    clq_exec_destroy(t->exec);
    clq_feed_destroy(t->feed);
    clq_graph_destroy(t->resized);
    t->reducer = NULL;
    t->distill = NULL;
    t->exec = NULL;
    t->feed = NULL;
    t->resized = NULL;
}

clq_status clq_trainer_fit_epoch(trainer *t, int64_t epoch) {
    const int size = clq_train_size(&t->job->config, epoch);
    if (size == t->size) {
        return CLQ_OK;
    }
    close_sized(t);
    return open_sized(t, size);
}

static const char *const preprocessing_keys[] = {"clquant.resize", "clquant.crop",
                                                 "clquant.interpolation"};

/* How images are prepared, mixed into `hash`. */
static uint64_t hash_preprocessing(const clq_train_job *job, uint64_t hash) {
    const clq_normalization *n = &job->normalization;
    const float numbers[] = {n->range == 255 ? 255 : 1, n->bgr};
    hash = clq_hash64_seeded(n->mean, sizeof n->mean, hash);
    hash = clq_hash64_seeded(n->std, sizeof n->std, hash);
    hash = clq_hash64_seeded(numbers, sizeof numbers, hash);
    for (size_t i = 0; i < sizeof preprocessing_keys / sizeof *preprocessing_keys; i++) {
        const char *text = clq_graph_get_metadata(job->graph, preprocessing_keys[i]);
        hash = text ? clq_hash64_seeded(text, strlen(text), hash) : hash;
    }
    return hash;
}

/* What must be equal for a checkpoint to be continued: configuration, network, data and how it is
 * prepared, ranks. */
static uint64_t config_hash(const trainer *t) {
    uint64_t hash = clq_train_config_hash(&t->job->config) + (uint64_t)t->job->mode;
    hash += t->job->hooks ? t->job->hooks->config_hash : 0;
    hash += (uint64_t)clq_ranks_size(t->job->ranks);
    hash += t->distill ? clq_distill_hash(t->job) + t->job->no_labels : 0;
    if (t->job->arrays) {
        hash += (uint64_t)clq_feed_count(t->feed);
    }
    if (t->job->train) {
        const clq_dataset_info *info = clq_dataset_get_info(t->job->train);
        const int64_t data[] = {info->count,    info->height,  info->width,      info->channels,
                                info->features, info->targets, info->class_count};
        hash = clq_hash64_seeded(data, sizeof data, hash);
        hash = info->features > 0 ? hash : hash_preprocessing(t->job, hash);
    }
    for (int v = 0; v < t->job->graph->value_count; v++) {
        const clq_value *value = &t->job->graph->values[v];
        hash = clq_hash64_seeded(value->name, strlen(value->name), hash);
        hash =
            clq_hash64_seeded(value->shape.dim, (size_t)value->shape.rank * sizeof(int64_t), hash);
    }
    return hash;
}

static void describe_preprocessing(const clq_train_job *job, int channels, clq_text *text) {
    const clq_normalization *n = &job->normalization;
    clq_text_puts(text, "mean");
    for (int c = 0; c < channels; c++) {
        clq_text_printf(text, " %.6g", (double)n->mean[c]);
    }
    clq_text_puts(text, " std");
    for (int c = 0; c < channels; c++) {
        clq_text_printf(text, " %.6g", (double)n->std[c]);
    }
    clq_text_printf(text, " range %d %s", n->range == 255 ? 255 : 1, n->bgr ? "bgr" : "rgb");
    for (size_t i = 0; i < sizeof preprocessing_keys / sizeof *preprocessing_keys; i++) {
        const char *value = clq_graph_get_metadata(job->graph, preprocessing_keys[i]);
        if (value) {
            clq_text_printf(text, " %s %s", strchr(preprocessing_keys[i], '.') + 1, value);
        }
    }
}

/* Puts the text into the object, and empties it. */
static clq_status put_fact(json_t *facts, const char *key, clq_text *text) {
    char *line = NULL;
    clq_status status = clq_text_take(text, &line);
    if (status == CLQ_OK && json_object_set_new(facts, key, clq_json_string(line)) != 0) {
        status = CLQ_NO_MEMORY;
    }
    clq_free(line);
    return status;
}

/* What config_hash is made of in words, as far as the recipe does not say it. */
static clq_status describe_facts(trainer *t) {
    const clq_train_job *job = t->job;
    clq_text text = {0};
    clq_status status = CLQ_OK;
    json_t *facts = json_object();
    const int64_t parameters = clq_graph_measure(job->graph).parameters;
    clq_text_printf(&text, "%s, %lld parameter%s", job->graph->name, (long long)parameters,
                    clq_plural(parameters));
    CLQ_GOTO(status, cleanup, put_fact(facts, "network", &text));
    clq_text_printf(&text, "%d", clq_ranks_size(job->ranks));
    CLQ_GOTO(status, cleanup, put_fact(facts, "ranks", &text));
    if (job->arrays) {
        clq_text_printf(&text, "%lld rows of arrays", (long long)clq_feed_count(t->feed));
        CLQ_GOTO(status, cleanup, put_fact(facts, "data set", &text));
    }
    if (job->train) {
        const clq_dataset_info *info = clq_dataset_get_info(job->train);
        clq_text_printf(&text, "%lld x ", (long long)info->count);
        if (info->features > 0) {
            clq_text_printf(&text, "%d feature%s, %d target%s, ", info->features,
                            clq_plural(info->features), info->targets, clq_plural(info->targets));
        } else {
            clq_text_printf(&text, "%dx%dx%d, ", info->width, info->height, info->channels);
        }
        clq_text_printf(&text, "%d classes", info->class_count);
        CLQ_GOTO(status, cleanup, put_fact(facts, "data set", &text));
        if (info->features == 0) {
            describe_preprocessing(job, info->channels, &text);
            CLQ_GOTO(status, cleanup, put_fact(facts, "preprocessing", &text));
        }
    }
    status = clq_json_dump_line(facts, &t->facts);
cleanup:
    clq_text_free(&text);
    json_decref(facts);
    return status;
}

/* Of the parameters as they are now, before the first step. */
static uint64_t start_hash(const clq_graph *graph) {
    uint64_t hash = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (clq_is_constant(value)) {
            hash = clq_hash64_seeded(value->data,
                                     (size_t)clq_shape_count(&value->shape) * sizeof(float), hash);
        }
    }
    return hash;
}

/* Of the content of both splits, for checkpoints; without a folder nobody asks. */
static clq_status data_hash(const trainer *t, uint64_t *hash) {
    const clq_train_job *job = t->job;
    uint64_t test = 0;
    *hash = 0;
    if (job->out && job->arrays) {
        *hash = clq_feed_hash_arrays(t->feed);
        return CLQ_OK;
    }
    if (!job->out || !job->train) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_dataset_hash(job->train, hash));
    if (job->test) {
        CLQ_TRY(clq_dataset_hash(job->test, &test));
    }
    *hash = clq_hash64_seeded(&test, sizeof test, *hash);
    return CLQ_OK;
}

static clq_status describe_checkpoint(trainer *t) {
    const clq_train_hooks *hooks = t->job->hooks;
    size_t count = clq_optimizer_buffers(t->optimizer, t->buffers);
    clq_buffer *totals = t->all_totals ? t->all_totals : clq_loss_totals_buffer(t->loss);
    t->buffers[count++] = (clq_checkpoint_buffer){"loss.totals", totals};
    for (size_t i = 0; hooks && i < hooks->buffer_count; i++) {
        if (count == CLQ_TRAINER_MAX_BUFFERS) {
            return clq_fail(CLQ_INTERNAL, "more than %d buffers in a checkpoint",
                            CLQ_TRAINER_MAX_BUFFERS);
        }
        t->buffers[count++] = (clq_checkpoint_buffer){hooks->buffer_names[i], hooks->buffers[i]};
    }
    CLQ_TRY(describe_facts(t));
    uint64_t data = 0;
    CLQ_TRY(data_hash(t, &data));
    t->checkpoint = (clq_checkpoint){.folder = t->job->out,
                                     .phase = t->job->phase,
                                     .graph = t->job->graph,
                                     .params = t->params,
                                     .buffers = t->buffers,
                                     .buffer_count = count,
                                     .config_hash = config_hash(t),
                                     .data_hash = data,
                                     .start_hash = start_hash(t->job->graph),
                                     .recipe = t->job->recipe_json,
                                     .facts = t->facts};
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
    clq_optimizer_follow(t->optimizer, clq_health_result(t->health));
    return CLQ_OK;
}

/* Several ranks: room for the loss's totals of them all. */
static clq_status open_totals(trainer *t) {
    const size_t ranks = (size_t)clq_ranks_size(t->job->ranks);
    const size_t size = clq_buffer_size(clq_loss_totals_buffer(t->loss));
    return t->job->ranks ? clq_buffer_create(t->job->device, ranks * size, &t->all_totals) : CLQ_OK;
}

clq_status clq_trainer_open(trainer *t) {
    const clq_train_job *job = t->job;
    CLQ_TRY(clq_train_config_check(&job->config));
    CLQ_TRY(check_data(job));
    if (job->config.batch % clq_ranks_size(job->ranks) != 0) {
        return clq_fail(CLQ_USAGE, "batch must be a multiple of the number of ranks, is %d for %d",
                        job->config.batch, clq_ranks_size(job->ranks));
    }
    CLQ_TRY(clq_freeze(job->graph, job->config.freeze, job->config.freeze_count));
    t->params = job->params;
    if (!t->params) {
        CLQ_TRY(clq_params_create(job->device, job->graph, true, &t->own_params));
        t->params = t->own_params;
    }
    CLQ_TRY(open_sized(t, job->train ? clq_train_size(&job->config, 0) : 0));
    t->steps_per_epoch = t->feed ? clq_feed_batches(t->feed) : 0;
    if (job->test || job->arrays) {
        CLQ_TRY(open_feed(t, false, &t->test_feed));
        CLQ_TRY(open_executor(t, false, &t->eval_exec));
        CLQ_TRY(job->no_labels ? clq_distill_create(job, t->eval_exec, &t->eval_teacher) : CLQ_OK);
    }
    CLQ_TRY(open_totals(t));
    CLQ_TRY(clq_optimizer_create(job->device, job->graph, t->params, &job->config, &t->optimizer));
    CLQ_TRY(open_health(t));
    return describe_checkpoint(t);
}

void clq_trainer_close(trainer *t) {
    clq_distill_destroy(t->eval_teacher);
    clq_exec_destroy(t->eval_exec); /* may lie in the training executor's memory */
    close_sized(t);
    clq_buffer_release(t->all_totals);
    clq_health_destroy(t->health);
    clq_loss_destroy(t->loss);
    clq_optimizer_destroy(t->optimizer);
    clq_feed_destroy(t->test_feed);
    clq_params_destroy(t->own_params);
    clq_history_clear(&t->history);
    clq_steps_clear(&t->steps);
    clq_free(t->facts);
}

bool clq_trainer_is_asked_to_stop(const trainer *t) {
    return (t->job->stop && *t->job->stop) || clq_is_stopped();
}

/* ---- checkpoints ---- */

clq_status clq_trainer_save(trainer *t) {
    CLQ_TRY(clq_trainer_gather_totals(t));
    if (!t->job->out) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_steps_write(&t->steps, t->job->out));
    json_t *state = json_object();
    json_object_set_new(state, "step", json_integer(t->step));
    json_object_set_new(state, "steps_per_epoch", json_integer(t->steps_per_epoch));
    json_object_set_new(state, "skipped_steps", json_integer(t->skipped.total));
    json_object_set_new(state, "skipped_in_epoch", json_integer(t->skipped.in_epoch));
    json_object_set_new(state, "skipped_in_a_row", json_integer(t->skipped.in_a_row));
    json_object_set_new(state, "record_loss", clq_json_real(t->at_record.loss));
    json_object_set_new(state, "record_top1", clq_json_real(t->at_record.top1));
    json_object_set_new(state, "record_samples", clq_json_real(t->at_record.samples));
    json_object_set_new(state, "history", clq_history_to_json(&t->history, false));
    const clq_status status = clq_checkpoint_save(&t->checkpoint, t->step, state);
    json_decref(state);
    CLQ_TRY(status);
    return clq_train_log_mark(&t->log, "checkpoint", t->step);
}

/* What a checkpoint's state says. */
typedef struct saved_state {
    int64_t step;
    skipped_steps skipped;
    clq_loss_totals at_record;
    clq_history history;
} saved_state;

/* NaN where it is null, as the accuracy of a regression, or is missing: earlier versions did not
 * know it. */
static clq_status read_total(clq_json_reader *r, const char *key, double *value) {
    *value = NAN;
    if (json_is_null(json_object_get(r->object, key))) {
        return CLQ_OK;
    }
    return clq_json_read_f64(r, key, -DBL_MAX, DBL_MAX, value);
}

static clq_status read_numbers(const trainer *t, clq_json_reader *r, saved_state *s) {
    const int64_t last = (int64_t)t->job->config.epochs * t->steps_per_epoch;
    int64_t steps_per_epoch;
    CLQ_TRY(clq_json_read_i64(r, "step", 0, last, &s->step));
    CLQ_TRY(clq_json_read_i64(r, "steps_per_epoch", t->steps_per_epoch, t->steps_per_epoch,
                              &steps_per_epoch));
    CLQ_TRY(clq_json_read_i64(r, "skipped_steps", 0, INT64_MAX, &s->skipped.total));
    CLQ_TRY(clq_json_read_i64(r, "skipped_in_epoch", 0, INT64_MAX, &s->skipped.in_epoch));
    CLQ_TRY(clq_json_read_i64(r, "skipped_in_a_row", 0, INT64_MAX, &s->skipped.in_a_row));
    CLQ_TRY(read_total(r, "record_loss", &s->at_record.loss));
    CLQ_TRY(read_total(r, "record_top1", &s->at_record.top1));
    return read_total(r, "record_samples", &s->at_record.samples);
}

/* *s: its history is to be cleared, whatever the status. */
static clq_status read_state(const trainer *t, const char *file, const json_t *state,
                             saved_state *s) {
    clq_json_reader reader;
    const json_t *history = NULL;
    *s = (saved_state){0};
    CLQ_TRY(clq_json_reader_init(&reader, file, state));
    CLQ_TRY(read_numbers(t, &reader, s));
    CLQ_TRY(clq_json_read_array(&reader, "history", &history));
    CLQ_TRY(clq_history_from_json(&s->history, file, history));
    /* An epoch's last step without its row: the evaluation did not come to its end. */
    const int64_t done = s->step / t->steps_per_epoch;
    const bool unevaluated = s->step % t->steps_per_epoch == 0 && s->history.count == done - 1;
    if (s->history.count != done && !unevaluated) {
        return clq_fail(CLQ_BAD_DATA, "%s: has %d epoch%s in its history at step %lld", file,
                        s->history.count, clq_plural(s->history.count), (long long)s->step);
    }
    return CLQ_OK;
}

static clq_status check_state(void *context, const char *path, const json_t *state) {
    saved_state saved;
    const clq_status status = read_state(context, path, state, &saved);
    clq_history_clear(&saved.history);
    return status;
}

clq_status clq_trainer_resume(trainer *t) {
    saved_state saved = {0};
    json_t *state = NULL;
    if (t->job->out) {
        CLQ_TRY(clq_checkpoint_load(&t->checkpoint, check_state, t, &state));
    }
    CLQ_TRY(clq_trainer_share_state(t, &state));
    if (!state) {
        return CLQ_OK;
    }
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, read_state(t, "checkpoint state", state, &saved));
    t->step = saved.step;
    t->skipped = saved.skipped;
    t->history = saved.history;
    saved.history = (clq_history){0};
    if (t->job->out) {
        clq_history_read_timing(&t->history, t->job->out);
        clq_steps_read(&t->steps, t->job->out, t->step);
        t->at_record = saved.at_record;
        if (isnan(saved.at_record.samples)) {
            CLQ_GOTO(status, cleanup, clq_loss_read(t->loss, &t->at_record));
        }
    }
    CLQ_GOTO(status, cleanup, clq_exec_load_parameters(t->exec));
    if (t->history.count < t->job->config.epochs) {
        clq_log_info("%s: resuming at epoch %d, step %lld", t->job->phase, t->history.count + 1,
                     (long long)t->step);
    } else {
        clq_log_info("%s: was done, all %lld steps", t->job->phase, (long long)t->step);
    }
    status = clq_train_log_mark(&t->log, "resume", t->step);
cleanup:
    clq_history_clear(&saved.history);
    json_decref(state);
    return status;
}
