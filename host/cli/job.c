#include "cli/job.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "bench/bench_json.h"
#include "cli/analysis.h"
#include "cli/quantized.h"
#include "cli/written.h"
#include "report/table.h"

static const clq_out_training trainings[] = {
    {"train", "train"}, {"qat/" CLQ_NORMS_FOLDER, "qat"}, {"qat", "qat"}};
static const char *const results[] = {"fp32.onnx",           "ptq.onnx",        "qat.onnx",
                                      "weights.safetensors", "eval-fp32.json",  "eval-ptq.json",
                                      "eval-qat.json",       "bench.json",      "run.json",
                                      "verify-ptq.json",     "verify-qat.json", "report/index.html",
                                      "origin.json",         "analysis.json"};

typedef enum variant { FP32, PTQ, QAT, VARIANTS } variant;
static const char *const keys[VARIANTS] = {"fp32", "ptq", "qat"};
static const char *const titles[VARIANTS] = {"FP32", "PTQ int8", "QAT int8"};

/* The verification batch size is that of evaluation. */
typedef struct job {
    clq_device *device;
    clq_recipe *recipe;
    const clq_job_options *options;
    clq_out_folder out;
    clq_origin origin;
    clq_dataset *train, *test;
    clq_graph *graphs[VARIANTS];       /* trained form; integer forms. QAT may be missing */
    clq_quantized quantized[VARIANTS]; /* of the integer forms */
    clq_evaluation evaluations[VARIANTS];
    clq_verification verifications[VARIANTS];
    clq_bench_result benches[VARIANTS];
} job;

static clq_status write_json(const job *j, const char *name, json_t *json) {
    char *path = clq_path_join(j->options->out, name);
    const clq_status status = path && json ? clq_json_dump_file(path, json) : CLQ_NO_MEMORY;
    clq_free(path);
    json_decref(json);
    return status;
}

static clq_status save_model(const job *j, variant v) {
    char *path = clq_format("%s/%s.onnx", j->options->out, keys[v]);
    const clq_status status = !path       ? CLQ_NO_MEMORY
                              : v == FP32 ? clq_written_save_float(j->graphs[v], path)
                                          : clq_written_save(j->graphs[v], path);
    clq_free(path);
    return status;
}

static clq_status save_weights(const job *j) {
    char *path = clq_path_join(j->options->out, "weights.safetensors");
    const clq_status status = path ? clq_weights_save(j->graphs[FP32], path) : CLQ_NO_MEMORY;
    clq_free(path);
    return status;
}

/* What the comparison is by: R2 of a regression, else top-1 in percent. */
static double score(const clq_evaluation *evaluation) {
    return evaluation->targets > 0 ? evaluation->r2 : 100 * evaluation->top1;
}

/* ---- stages ---- */

static clq_stage_options stage(job *j, const clq_train_config *config, const char *folder) {
    return (clq_stage_options){.train = j->train,
                               .test = j->test,
                               .config = config,
                               .recipe = j->recipe->text,
                               .out = folder,
                               .log_file = j->options->log_file,
                               .resume = j->options->resume,
                               .overwrite = j->options->overwrite};
}

static clq_status train(job *j) {
    char *folder = clq_path_join(j->options->out, "train");
    clq_status status = folder ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        const clq_stage_options options = stage(j, &j->recipe->train, folder);
        status = clq_fail_in(clq_watched_train(j->device, j->graphs[FP32], &options,
                                               &(clq_watch){&j->out, &j->origin}),
                             "train");
    }
    clq_free(folder);
    CLQ_TRY(status);
    clq_origin_lap(&j->origin, "train");
    CLQ_TRY(save_weights(j));
    return save_model(j, FP32);
}

static clq_status quantize(job *j) {
    j->quantized[PTQ] = (clq_quantized){.method = "ptq", .config = &j->recipe->ptq};
    j->quantized[QAT] = (clq_quantized){.method = "qat", .config = &j->recipe->qat_quant};
    CLQ_TRY(clq_stage_ptq(j->device, j->graphs[FP32], j->train, &j->recipe->ptq,
                          j->recipe->train.seed, &j->quantized[PTQ].report, NULL, &j->graphs[PTQ]));
    clq_origin_lap(&j->origin, "ptq");
    clq_quantized_warn(&j->quantized[PTQ]);
    CLQ_TRY(save_model(j, PTQ));
    if (j->recipe->qat.epochs == 0) {
        return CLQ_OK;
    }
    char *folder = clq_path_join(j->options->out, "qat");
    clq_status status = folder ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        const clq_stage_options options = stage(j, &j->recipe->qat, folder);
        status = clq_fail_in(
            clq_watched_qat(j->device, j->graphs[FP32], &options, &(clq_watch){&j->out, &j->origin},
                            &j->recipe->qat_quant, &j->quantized[QAT].report, &j->graphs[QAT]),
            "qat");
    }
    clq_free(folder);
    CLQ_TRY(status);
    clq_origin_lap(&j->origin, "qat");
    clq_quantized_warn(&j->quantized[QAT]);
    return save_model(j, QAT);
}

/* Evaluates one variant and, when it is an integer network, verifies it. */
static clq_status evaluate(job *j, variant v) {
    const int batch = clq_eval_batch(j->graphs[v], clq_dataset_get_info(j->test)->count);
    char name[32];
    const char *sources[CLQ_PART_COUNT];
    clq_recipe_sources(j->recipe, sources);
    CLQ_TRY(clq_stage_evaluate(j->device, j->graphs[v], false, j->test, 0, keys[v],
                               &j->evaluations[v], NULL));
    clq_origin_lap(&j->origin, "evaluate");
    const clq_evaluation *e = &j->evaluations[v];
    clq_log_info(e->targets ? "%s: R2 %.4f  loss %.4g" : "%s: top-1 %.2f %%  loss %.4f", keys[v],
                 score(e), e->loss);
    snprintf(name, sizeof name, "eval-%s.json", keys[v]);
    CLQ_TRY(write_json(j, name,
                       clq_evaluation_to_json(&j->evaluations[v], j->graphs[v], j->test, sources)));
    if (v == FP32) {
        return CLQ_OK;
    }
    const clq_evaluation *fp32 = &j->evaluations[FP32];
    j->quantized[v].accuracy = (clq_before_after){.images = e->images,
                                                  .unit = e->unit,
                                                  .is_r2 = e->targets > 0,
                                                  .fp32 = e->targets > 0 ? fp32->r2 : fp32->top1,
                                                  .int8 = e->targets > 0 ? e->r2 : e->top1};
    clq_quantized_hint(&j->quantized[v], j->graphs[v]);
    CLQ_TRY(clq_verify(j->device, j->graphs[v], j->test, batch, 0, &j->verifications[v]));
    clq_origin_lap(&j->origin, "verify");
    clq_log_info("%s: %lld of %lld codes differ from the fake-quantized evaluation", keys[v],
                 (long long)j->verifications[v].mismatched_codes,
                 (long long)j->verifications[v].compared_codes);
    snprintf(name, sizeof name, "verify-%s.json", keys[v]);
    return write_json(
        j, name,
        clq_verification_to_json(&j->verifications[v], j->graphs[v], j->options->data, sources));
}

/* PTQ layer by layer, on at most so many test samples, spread over the set. */
static clq_status analyze(job *j) {
    enum { SAMPLES = 512 };
    const clq_data_source source = {
        .path = j->options->data, .recipe = &j->recipe->data.given, .quiet = true};
    const int64_t most = j->recipe->data.test_limit;
    const char *sources[CLQ_PART_COUNT];
    clq_status status = CLQ_OK;
    clq_analysis analysis = {0};
    clq_graph *trained = j->graphs[FP32], *integer = j->graphs[PTQ], *real = NULL;
    clq_dataset *images = NULL;
    clq_feed *feed = NULL;
    if (!j->options->analyze) {
        return CLQ_OK;
    }
    clq_recipe_sources(j->recipe, sources);
    CLQ_GOTO(status, cleanup,
             clq_stage_float(j->device, trained, j->train, NULL, &j->recipe->ptq,
                             j->recipe->train.seed, &real));
    CLQ_GOTO(status, cleanup,
             clq_data_open(&source, trained, CLQ_SPLIT_TEST,
                           most > 0 && most < SAMPLES ? most : SAMPLES, &images));
    const int batch = clq_eval_batch(trained, clq_dataset_get_info(images)->count);
    CLQ_GOTO(status, cleanup, clq_data_feed(j->device, trained, images, batch, &feed));
    CLQ_GOTO(status, cleanup,
             clq_analyze(j->device, trained, real, integer, feed, batch, 0, &analysis));
    CLQ_GOTO(status, cleanup, clq_analysis_time(j->device, real, integer, &analysis));
    clq_origin_lap(&j->origin, "analyze");
    status = write_json(j, "analysis.json",
                        clq_analysis_result(&analysis, "fp32.onnx", "ptq.onnx", j->options->data,
                                            j->device, integer,
                                            clq_preprocessing_to_json(trained, sources)));
cleanup:
    clq_analysis_clear(&analysis);
    clq_feed_destroy(feed);
    clq_dataset_close(images);
    clq_graph_destroy(real);
    return status;
}

/* Latency of all variants at batch 1, measured in turn. */
static clq_status measure(job *j) {
    clq_bench_case cases[VARIANTS];
    clq_bench_result results[VARIANTS] = {0};
    variant order[VARIANTS];
    size_t count = 0;
    for (variant v = FP32; v < VARIANTS; v++) {
        if (j->graphs[v]) {
            order[count] = v;
            const clq_bench_case *fp32 = v == FP32 ? NULL : &cases[0];
            cases[count++] = (clq_bench_case){keys[v], j->graphs[v], j->device, 1, fp32};
        }
    }
    const clq_bench_options options = {.iterations = j->recipe->bench_iterations,
                                       .layers = true,
                                       .no_peak = !j->recipe->bench_peaks};
    CLQ_TRY(clq_bench_run(cases, count, &options, results));
    clq_origin_lap(&j->origin, "bench");
    for (size_t i = 0; i < count; i++) {
        j->benches[order[i]] = results[i];
    }
    return write_json(j, "bench.json", clq_bench_to_json(results, count));
}

/* ---- results ---- */

static double speedup(const job *j, variant v) {
    return j->benches[FP32].latency.median / j->benches[v].latency.median;
}

static json_t *summary(const job *j) {
    char created[CLQ_TIMESTAMP_SIZE];
    json_t *json = clq_json_result();
    clq_timestamp(created);
    json_object_set_new(json, "name", clq_json_string(j->recipe->name));
    json_object_set_new(json, "data", clq_json_string(j->options->data));
    json_object_set_new(json, "device", clq_json_string(clq_device_get_info(j->device)->name));
    json_object_set_new(json, "dot_path",
                        clq_json_string(clq_dot_name(clq_device_get_info(j->device)->dot)));
    json_object_set_new(json, "created", clq_json_string(created));
    for (variant v = FP32; v < VARIANTS; v++) {
        if (!j->graphs[v]) {
            continue;
        }
        json_t *part = json_object();
        json_object_set_new(part, "top1", clq_json_real(j->evaluations[v].top1));
        if (j->evaluations[v].targets > 0) {
            json_object_set_new(part, "r2", clq_json_real(j->evaluations[v].r2));
        }
        json_object_set_new(part, "loss", clq_json_real(j->evaluations[v].loss));
        json_object_set_new(part, "size_bytes",
                            json_integer(clq_graph_measure(j->graphs[v]).bytes));
        json_object_set_new(part, "latency_ms", clq_json_real(j->benches[v].latency.median));
        json_object_set_new(part, "speedup", clq_json_real(speedup(j, v)));
        if (v != FP32) {
            clq_quantized_to_json(&j->quantized[v], part);
            json_object_set_new(part, "mismatched_codes",
                                json_integer(j->verifications[v].mismatched_codes));
        }
        json_object_set_new(json, keys[v], part);
    }
    return json;
}

static clq_status print_summary(const job *j) {
    enum { COLUMNS = 9 };
    const bool numbers = j->evaluations[FP32].targets > 0;
    const char *const headers[COLUMNS] = {"",
                                          numbers ? "R2" : "top-1",
                                          numbers ? "drop" : "drop, points",
                                          "loss",
                                          "size MB",
                                          "smaller",
                                          "latency ms",
                                          "speed-up",
                                          "mismatched codes"};
    static const int right[COLUMNS] = {0, 1, 1, 1, 1, 1, 1, 1, 1};
    static char text[VARIANTS * COLUMNS][32];
    const char *cells[VARIANTS * COLUMNS];
    const double size = (double)clq_graph_measure(j->graphs[FP32]).bytes;
    int rows = 0;
    for (variant v = FP32; v < VARIANTS; v++) {
        if (!j->graphs[v]) {
            continue;
        }
        char(*row)[32] = text + rows * COLUMNS;
        const double bytes = (double)clq_graph_measure(j->graphs[v]).bytes;
        snprintf(row[0], 32, "%s", titles[v]);
        const clq_evaluation *e = &j->evaluations[v];
        snprintf(row[1], 32, numbers ? "%.4f" : "%.2f %%", score(e));
        snprintf(row[2], 32, numbers ? "%.4f" : "%.2f", score(&j->evaluations[FP32]) - score(e));
        snprintf(row[3], 32, numbers ? "%.4g" : "%.4f", e->loss);
        snprintf(row[4], 32, "%.4g", bytes / 1e6);
        snprintf(row[5], 32, "%.2fx", size / bytes);
        snprintf(row[6], 32, "%.3f", j->benches[v].latency.median);
        snprintf(row[7], 32, "%.2fx", speedup(j, v));
        if (v != FP32) {
            snprintf(row[8], 32, "%lld", (long long)j->verifications[v].mismatched_codes);
        }
        rows++;
    }
    for (int i = 0; i < rows * COLUMNS; i++) {
        cells[i] = text[i];
    }
    return clq_table_print(stdout, headers, right, COLUMNS, cells, rows);
}

static clq_status finish(job *j) {
    json_t *json = summary(j);
    char *html = NULL;
    clq_status status = j->options->json ? clq_json_dump_stdout(json) : CLQ_OK;
    if (status != CLQ_OK) {
        json_decref(json);
        return status;
    }
    CLQ_TRY(write_json(j, "run.json", json));
    CLQ_TRY(clq_origin_write(&j->origin, j->options->out, true));
    /* What somebody put where the run's own report belongs makes room for it. */
    const clq_report_options options = {.overwrite = true};
    CLQ_TRY(clq_report_write(&j->options->out, 1, &options, &html));
    if (!j->options->json) {
        status = print_summary(j);
        printf("\nReport: %s\n", html);
    }
    clq_free(html);
    CLQ_TRY(status);
    for (variant v = PTQ; v < VARIANTS; v++) {
        if (j->graphs[v]) {
            CLQ_TRY(clq_fail_in(clq_verification_gate(&j->verifications[v]), "%s", keys[v]));
        }
    }
    return CLQ_OK;
}

static clq_out_folder out_of(const clq_job_options *options) {
    return (clq_out_folder){.path = options->out,
                            .resume = options->resume,
                            .overwrite = options->overwrite,
                            .trainings = trainings,
                            .training_count = sizeof trainings / sizeof *trainings,
                            .results = results,
                            .result_count = sizeof results / sizeof *results};
}

clq_status clq_job_check(const clq_job_options *options) {
    const clq_out_folder out = out_of(options);
    if (clq_ranks_launched()) {
        return clq_fail(CLQ_USAGE, "the whole job is for one process, and a launcher started "
                                   "several: train and qat share their work among them");
    }
    return clq_out_check(&out);
}

clq_status clq_job_check_log(const clq_job_options *options, const char *const *inputs,
                             size_t count) {
    const clq_out_folder out = out_of(options);
    return clq_out_check_log(options->log_file, &out, inputs, count);
}

bool clq_job_was(const clq_job_options *options, const char *name) {
    char *path = clq_path_join(options->out, "run.json");
    json_t *json = NULL;
    bool was = false;
    if (path && clq_file_exists(path) && clq_json_load(path, &json) == CLQ_OK) {
        const char *its_name = json_string_value(json_object_get(json, "name"));
        const char *its_data = json_string_value(json_object_get(json, "data"));
        was = its_name && its_data && strcmp(its_name, name) == 0 &&
              strcmp(its_data, options->data) == 0;
    }
    json_decref(json);
    clq_free(path);
    return was;
}

/* Before anything is trained: every rule of the policies means something in this network. */
static clq_status check_policies(const job *j) {
    const clq_recipe *recipe = j->recipe;
    clq_graph *folded = NULL;
    CLQ_TRY(clq_graph_fold(j->graphs[FP32], &folded));
    clq_status status = clq_fail_in(clq_policy_check(&recipe->ptq.policy, folded), "ptq");
    if (status == CLQ_OK && recipe->qat.epochs > 0) {
        status = clq_fail_in(clq_policy_check(&recipe->qat_quant.policy, folded), "qat");
    }
    clq_graph_destroy(folded);
    return status == CLQ_USAGE ? CLQ_BAD_DATA : status; /* it is the recipe that breaks them */
}

clq_status clq_job_run(clq_device *device, clq_recipe *recipe, const clq_job_options *options) {
    job j = {.device = device, .recipe = recipe, .options = options, .out = out_of(options)};
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup,
             clq_network_from_recipe(recipe, options->data, &j.graphs[FP32], &j.train, &j.test));
    CLQ_GOTO(status, cleanup, check_policies(&j));
    CLQ_GOTO(status, cleanup, clq_out_claim(&j.out));
    CLQ_GOTO(status, cleanup,
             clq_origin_begin(&j.origin, recipe, device, &(clq_origin_data){j.train, j.test, NULL},
                              1, options->resume));
    CLQ_GOTO(status, cleanup, train(&j));
    CLQ_GOTO(status, cleanup, quantize(&j));
    for (variant v = FP32; v < VARIANTS; v++) {
        if (j.graphs[v]) {
            CLQ_GOTO(status, cleanup, evaluate(&j, v));
        }
    }
    CLQ_GOTO(status, cleanup, analyze(&j));
    CLQ_GOTO(status, cleanup, measure(&j));
    CLQ_GOTO(status, cleanup, finish(&j));
cleanup:
    for (variant v = FP32; v < VARIANTS; v++) {
        clq_quant_report_clear(&j.quantized[v].report);
        clq_evaluation_clear(&j.evaluations[v]);
        clq_verification_clear(&j.verifications[v]);
        clq_bench_result_clear(&j.benches[v]);
        clq_graph_destroy(j.graphs[v]);
    }
    clq_origin_clear(&j.origin);
    clq_out_release(&j.out);
    clq_dataset_close(j.train);
    clq_dataset_close(j.test);
    return status;
}
