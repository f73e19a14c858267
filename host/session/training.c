/* Training and fine-tuning a network on data that is open. */
#include "session/training.h"

#include <string.h>

#include <clquant/formats.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "quant/report.h"
#include "session/session.h"
#include "session/stages.h"

/* ---- what is not said of training without labels, or on arrays ---- */

/* The learning rate for outputs' errors, by Adam. */
static const double UNLABELLED_LR = 1e-5;

typedef struct fitting {
    json_t *section;
    const json_t *other;
    clq_train_config *config;
} fitting;

static bool says(const fitting *f, const char *key) {
    return json_object_get(f->section, key) || json_object_get(f->other, key);
}

static bool classifies(const clq_graph *graph) {
    const clq_shape *shape = &graph->values[graph->outputs[0].value].shape;
    return graph->output_count == 1 && shape->rank == 2 && shape->dim[1] > 1;
}

/* Of a network that nothing is known of: steps of a size that does not depend on its outputs'. */
static clq_status take_small_steps(const fitting *f) {
    if (!says(f, "optimizer")) {
        f->config->optimizer.kind = CLQ_OPTIMIZER_ADAM;
        f->config->optimizer.weight_decay = 0;
        CLQ_TRY(clq_json_put(f->section, "optimizer",
                             json_pack("{s:s, s:i}", "name", "adam", "weight_decay", 0)));
    }
    if (!says(f, "schedule")) {
        f->config->schedule.lr = UNLABELLED_LR;
        CLQ_TRY(clq_json_put(f->section, "schedule", json_pack("{s:f}", "lr", UNLABELLED_LR)));
    }
    return CLQ_OK;
}

/* A batch that the inputs fill. */
static clq_status fit_batch(const fitting *f, bool inputs, const clq_train_job *job, int ranks) {
    const int64_t rows = clq_train_rows(job);
    int64_t batch = f->config->batch;
    if (inputs && !says(f, "batch")) {
        batch = clq_eval_batch(job->graph, rows) * ranks;
    }
    if (clq_graph_has_fixed_batch(job->graph)) {
        batch = ranks;
    } else if (rows < batch) {
        batch = rows / ranks * ranks;
    }
    if (batch == f->config->batch || batch <= 0) {
        return CLQ_OK;
    }
    clq_log_info("a step takes %lld of the %lld inputs", (long long)batch, (long long)rows);
    f->config->batch = (int)batch;
    return clq_json_put(f->section, "batch", json_integer(batch));
}

clq_status clq_fit_qat(json_t *section, const json_t *other, bool inputs, const clq_train_job *job,
                       int ranks, clq_train_config *config) {
    const fitting f = {section, other, config};
    if (job->no_labels && !says(&f, "loss") && (inputs || !classifies(job->graph))) {
        config->loss = CLQ_LOSS_OUTPUT_ERROR;
        CLQ_TRY(clq_json_put(section, "loss", json_string("output_error")));
        CLQ_TRY(take_small_steps(&f));
    }
    return fit_batch(&f, inputs, job, ranks);
}

/* ---- stages ---- */

static clq_train_job job_of(clq_device *device, clq_graph *graph, const char *phase,
                            const clq_stage_options *options) {
    const bool writes = clq_ranks_rank(options->ranks) == 0;
    return (clq_train_job){.device = device,
                           .graph = graph,
                           .train = options->train,
                           .test = options->test,
                           .arrays = options->arrays,
                           .test_arrays = options->test_arrays,
                           .test_rows = options->test_rows,
                           .config = *options->config,
                           .mode = CLQ_EXEC_TRAIN,
                           .ranks = options->ranks,
                           .out = writes ? options->out : NULL,
                           .phase = phase,
                           .log_file = writes ? options->log_file : NULL,
                           .recipe_json = options->recipe,
                           .resume = options->resume,
                           .overwrite = options->overwrite,
                           .ready = options->ready,
                           .ready_context = options->context,
                           .stop = options->stop};
}

/* Arrays are normalized already. */
static clq_status take_normalization(const clq_stage_options *options, const clq_graph *graph,
                                     clq_train_job *job) {
    return options->train ? clq_graph_normalization(graph, options->train, &job->normalization)
                          : CLQ_OK;
}

static clq_status end_stage(const clq_stage_options *options, clq_status status) {
    return options->ended ? options->ended(options->context, status) : status;
}

/* The network that config.distill.teacher names: `trained` where it is "fp32", else a file's, which
 * is the caller's in *own where it is not open. */
static clq_status open_teacher(const clq_stage_options *options, const clq_graph *trained,
                               clq_graph **own, const clq_graph **teacher) {
    const clq_train_config *config = options->config;
    const char *name = config->distill.teacher;
    *teacher = NULL;
    if (!name || config->distill.weight == 0) {
        return CLQ_OK;
    }
    if (strcmp(name, "fp32") != 0) {
        CLQ_TRY(options->teacher ? CLQ_OK
                                 : clq_fail_in(clq_onnx_load(name, own), "distill.teacher"));
        *teacher = options->teacher ? options->teacher : *own;
        return CLQ_OK;
    }
    if (!trained) {
        return clq_fail(CLQ_USAGE, "distill.teacher: \"fp32\" is for qat; give an .onnx file");
    }
    *teacher = trained;
    return CLQ_OK;
}

clq_status clq_stage_train(clq_device *device, clq_graph *graph, const clq_stage_options *options) {
    clq_status status = CLQ_OK;
    clq_graph *teacher = NULL;
    clq_epoch_record *history = NULL;
    int history_count = 0;
    clq_train_job job = job_of(device, graph, "train", options);
    CLQ_GOTO(status, cleanup, open_teacher(options, NULL, &teacher, &job.teacher));
    CLQ_GOTO(status, cleanup, take_normalization(options, graph, &job));
    status = end_stage(options, clq_train(&job, &history, &history_count));
cleanup:
    clq_free(history);
    clq_graph_destroy(teacher);
    return status;
}

/* The first epochs, in which batch norms learn: in a folder of their own, with a schedule of their
 * own. *learnt: `trained` as it is then. */
static clq_status train_norms(clq_device *device, const clq_graph *trained,
                              const clq_stage_options *options, const clq_quant_config *config,
                              clq_graph **learnt) {
    clq_train_config training = *options->config;
    clq_stage_options stage = *options;
    clq_status status = CLQ_OK;
    int batch = 1, history_count = 0;
    clq_quant_config kept;
    clq_feed *feed = NULL;
    clq_graph *graph = NULL, *teacher = NULL;
    clq_epoch_record *history = NULL;
    char *folder = options->out ? clq_path_join(options->out, CLQ_NORMS_FOLDER) : NULL;
    training.epochs = config->freeze_bn_epoch;
    stage.config = &training;
    stage.out = folder;
    CLQ_GOTO(status, cleanup, options->out && !folder ? CLQ_NO_MEMORY : CLQ_OK);
    CLQ_GOTO(status, cleanup,
             clq_calibration_open(device, trained, options->train, options->arrays, config,
                                  training.seed, &batch, &feed));
    CLQ_GOTO(status, cleanup,
             clq_qat_keep_norms(device, trained, feed, batch, config, &kept, &graph));
    clq_train_job job = job_of(device, graph, "qat", &stage);
    job.no_labels = options->no_labels;
    CLQ_GOTO(status, cleanup, open_teacher(&stage, trained, &teacher, &job.teacher));
    CLQ_GOTO(status, cleanup, take_normalization(options, graph, &job));
    CLQ_GOTO(status, cleanup, end_stage(&stage, clq_qat(&job, &kept, &history, &history_count)));
    status = clq_qat_fold_norms(graph, trained, learnt);
cleanup:
    clq_free(history);
    clq_free(folder);
    clq_feed_destroy(feed);
    clq_graph_destroy(teacher);
    clq_graph_destroy(graph);
    return status;
}

clq_status clq_stage_qat(clq_device *device, const clq_graph *trained,
                         const clq_stage_options *options, const clq_quant_config *config,
                         clq_quant_report *report, clq_graph **integer) {
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL, *teacher = NULL, *learnt = NULL;
    clq_epoch_record *history = NULL;
    int history_count = 0;
    if (config->freeze_bn_epoch > options->config->epochs) {
        return clq_fail(CLQ_USAGE,
                        "freeze_bn_epoch must be at most the number of epochs, %d, is %d",
                        options->config->epochs, config->freeze_bn_epoch);
    }
    CLQ_GOTO(status, cleanup,
             clq_stage_quantize(device, trained, options->train, options->arrays, config,
                                options->config->seed, report, &graph));
    if (options->start) {
        CLQ_GOTO(status, cleanup, clq_convert(graph, options->start));
    }
    if (config->freeze_bn_epoch > 0) {
        CLQ_GOTO(status, cleanup, train_norms(device, trained, options, config, &learnt));
        clq_graph_destroy(graph);
        graph = NULL;
        clq_quant_report_clear(report);
        CLQ_GOTO(status, cleanup,
                 clq_stage_quantize(device, learnt, options->train, options->arrays, config,
                                    options->config->seed, report, &graph));
    }
    clq_train_job job = job_of(device, graph, "qat", options);
    job.config.epochs -= config->freeze_bn_epoch;
    job.no_labels = options->no_labels;
    CLQ_GOTO(status, cleanup, open_teacher(options, trained, &teacher, &job.teacher));
    CLQ_GOTO(status, cleanup, take_normalization(options, graph, &job));
    CLQ_GOTO(status, cleanup,
             job.config.epochs > 0
                 ? end_stage(options, clq_qat(&job, config, &history, &history_count))
                 : clq_quant_record(graph, config, "qat", 0));
    CLQ_GOTO(status, cleanup, clq_convert(graph, integer));
cleanup:
    clq_free(history);
    clq_graph_destroy(teacher);
    clq_graph_destroy(learnt);
    clq_graph_destroy(graph);
    return status;
}
