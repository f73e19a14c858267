/* The folder of a run: which files there are, run.json and the histories. */
#include "report/run_data.h"

#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/interval.h"

const char *const clq_run_keys[CLQ_RUN_VARIANTS] = {"fp32", "ptq", "qat"};
const char *const clq_run_titles[CLQ_RUN_VARIANTS] = {"FP32", "PTQ int8", "QAT int8"};

clq_status clq_run_read_real(clq_json_reader *reader, const char *key, double min, double max,
                             double *value) {
    if (json_is_null(json_object_get(reader->object, key))) {
        *value = NAN;
        return CLQ_OK;
    }
    return clq_json_read_f64(reader, key, min, max, value);
}

clq_status clq_run_read_array(clq_json_reader *reader, const char *key, size_t most,
                              const json_t **array, size_t *count) {
    CLQ_TRY(clq_json_read_array(reader, key, array));
    *count = json_array_size(*array);
    return *count <= most ? CLQ_OK
                          : clq_json_fail(reader, key, "must have at most %zu elements, has %zu",
                                          most, *count);
}

clq_status clq_run_read_schema(clq_json_reader *reader) {
    int schema;
    CLQ_TRY(clq_json_require(reader, "schema"));
    return clq_json_read_int(reader, "schema", 1, 1, &schema);
}

/* ---- run.json ---- */

static clq_status read_summary(clq_json_reader *top, clq_run_variant v, clq_run_summary *out) {
    clq_json_reader reader;
    if (!clq_json_has(top, clq_run_keys[v])) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_json_read_object(top, clq_run_keys[v], &reader));
    CLQ_TRY(clq_run_read_real(&reader, "top1", 0, 1, &out->top1));
    CLQ_TRY(clq_run_read_real(&reader, "r2", -CLQ_RUN_LARGE, 1, &out->r2));
    CLQ_TRY(clq_run_read_real(&reader, "loss", -CLQ_RUN_LARGE, CLQ_RUN_LARGE, &out->loss));
    CLQ_TRY(clq_run_read_real(&reader, "size_bytes", 0, 1e18, &out->size_bytes));
    CLQ_TRY(clq_run_read_real(&reader, "latency_ms", 0, CLQ_RUN_LARGE, &out->latency_ms));
    CLQ_TRY(clq_run_read_real(&reader, "speedup", 0, CLQ_RUN_LARGE, &out->speedup));
    CLQ_TRY(clq_json_read_i64(&reader, "mismatched_codes", 0, INT64_MAX, &out->mismatched_codes));
    out->present = true;
    return CLQ_OK;
}

static clq_status read_run(const char *file, const json_t *json, clq_run_data *data) {
    clq_json_reader reader;
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    CLQ_TRY(clq_json_read_string(&reader, "name", &data->name));
    CLQ_TRY(clq_json_read_string(&reader, "device", &data->device));
    CLQ_TRY(clq_json_read_string(&reader, "dot_path", &data->dot_path));
    CLQ_TRY(clq_json_read_string(&reader, "created", &data->created));
    CLQ_TRY(clq_json_read_string(&reader, "version", &data->version));
    CLQ_TRY(clq_json_read_string(&reader, "data", &data->data));
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        CLQ_TRY(read_summary(&reader, v, &data->summaries[v]));
    }
    return CLQ_OK;
}

/* ---- history.json ---- */

static clq_status read_epoch(clq_json_reader *reader, int previous, clq_epoch_record *out) {
    *out = clq_epoch_unknown(0);
    CLQ_TRY(clq_json_require(reader, "epoch"));
    CLQ_TRY(clq_json_read_int(reader, "epoch", 0, INT32_MAX, &out->epoch));
    if (out->epoch <= previous) {
        return clq_json_fail(reader, "epoch", "must be more than the one before, %d, is %d",
                             previous, out->epoch);
    }
    CLQ_TRY(clq_run_read_real(reader, "lr", 0, CLQ_RUN_LARGE, &out->lr));
    CLQ_TRY(
        clq_run_read_real(reader, "train_loss", -CLQ_RUN_LARGE, CLQ_RUN_LARGE, &out->train_loss));
    CLQ_TRY(clq_run_read_real(reader, "train_top1", 0, 1, &out->train_top1));
    CLQ_TRY(clq_run_read_real(reader, "test_loss", -CLQ_RUN_LARGE, CLQ_RUN_LARGE, &out->test_loss));
    CLQ_TRY(clq_run_read_real(reader, "test_top1", 0, 1, &out->test_top1));
    CLQ_TRY(clq_run_read_real(reader, "skipped_steps", 0, CLQ_RUN_LARGE, &out->skipped_steps));
    CLQ_TRY(
        clq_run_read_real(reader, "test_output_error", 0, CLQ_RUN_LARGE, &out->test_output_error));
    CLQ_TRY(
        clq_run_read_real(reader, "images_per_second", 0, CLQ_RUN_LARGE, &out->images_per_second));
    return clq_run_read_real(reader, "seconds", 0, CLQ_RUN_LARGE, &out->seconds);
}

static clq_status read_history(const char *file, const json_t *json, clq_run_curve *curve) {
    clq_json_reader top, row;
    CLQ_TRY(clq_json_reader_init(&top, file, NULL));
    if (!json_is_array(json) || json_array_size(json) > CLQ_RUN_MAX_EPOCHS) {
        return clq_fail(CLQ_BAD_DATA, "%s: must be an array of at most %d epochs", file,
                        CLQ_RUN_MAX_EPOCHS);
    }
    int previous = -1;
    for (size_t i = 0; i < json_array_size(json); i++) {
        clq_epoch_record record;
        CLQ_TRY(clq_json_read_element(&top, "", json, i, &row));
        CLQ_TRY(read_epoch(&row, previous, &record));
        CLQ_TRY(clq_history_add(&curve->history, &record));
        previous = record.epoch;
    }
    return CLQ_OK;
}

/* ---- the folder ---- */

/* Parses folder/name when it is there. *json (NULL: it is not) belongs to `data`; `path` is the
 * caller's in any case. */
static clq_status load(clq_run_data *data, const char *folder, const char *name, char **path,
                       json_t **json) {
    *json = NULL;
    *path = clq_path_join(folder, name);
    if (!*path) {
        return CLQ_NO_MEMORY;
    }
    if (!clq_file_exists(*path)) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_json_load(*path, json));
    data->trees[data->tree_count++] = *json;
    data->files[data->file_count++] = name;
    return CLQ_OK;
}

typedef enum part {
    RUN,
    TRAIN,
    QAT,
    TRAIN_STEPS,
    QAT_STEPS,
    EVALUATION,
    VERIFICATION,
    BENCH,
    ANALYSIS,
    ORIGIN
} part;

static clq_status read_part(clq_run_data *data, const char *folder, const char *name, part which,
                            clq_run_variant v) {
    json_t *json;
    char *path;
    clq_status status = load(data, folder, name, &path, &json);
    if (status == CLQ_OK && json) {
        switch (which) {
        case RUN:
            status = read_run(path, json, data);
            break;
        case TRAIN:
            status = read_history(path, json, &data->train);
            break;
        case QAT:
            status = read_history(path, json, &data->qat);
            break;
        case TRAIN_STEPS:
            status = clq_steps_from_json(&data->train.steps, path, json);
            break;
        case QAT_STEPS:
            status = clq_steps_from_json(&data->qat.steps, path, json);
            break;
        case EVALUATION:
            status = clq_run_read_evaluation(path, json, &data->evaluations[v]);
            break;
        case VERIFICATION:
            status = clq_run_read_verification(path, json, &data->verifications[v]);
            break;
        case BENCH:
            status = clq_run_read_bench(path, json, data);
            break;
        case ANALYSIS:
            status = clq_run_read_analysis(path, json, data);
            break;
        case ORIGIN:
            status = clq_run_read_origin(path, json, data);
            break;
        }
    }
    clq_free(path);
    return status;
}

static void complete(double *value, double other) {
    if (isnan(*value)) {
        *value = other;
    }
}

static const clq_history *history_of(const clq_run_data *data, clq_run_variant v) {
    static const clq_history none = {0};
    return v == CLQ_RUN_FP32 ? &data->train.history : v == CLQ_RUN_QAT ? &data->qat.history : &none;
}

static bool was_tested(const clq_epoch_record *record) {
    return isfinite(record->test_top1) || isfinite(record->test_loss);
}

const clq_epoch_record *clq_run_last_test(const clq_run_data *data, clq_run_variant v) {
    const clq_history *history = history_of(data, v);
    for (int i = history->count - 1; i >= 0; i--) {
        if (was_tested(&history->records[i])) {
            return &history->records[i];
        }
    }
    return NULL;
}

const clq_epoch_record *clq_run_best_test(const clq_run_data *data, clq_run_variant v) {
    const clq_history *history = history_of(data, v);
    const clq_epoch_record *best = NULL;
    for (int i = 0; i < history->count; i++) {
        const clq_epoch_record *record = &history->records[i];
        const bool by_top1 = isfinite(record->test_top1) || (best && isfinite(best->test_top1));
        if (was_tested(record) && (!best || (by_top1 ? record->test_top1 > best->test_top1
                                                     : record->test_loss < best->test_loss))) {
            best = record;
        }
    }
    return best;
}

/* What the training found, where nobody evaluated the network that it left. */
static void complete_from_training(clq_run_data *data, clq_run_variant v) {
    clq_run_summary *summary = &data->summaries[v];
    const clq_epoch_record *last = clq_run_last_test(data, v);
    if (last && isnan(summary->top1) && isnan(summary->r2) && isnan(summary->loss)) {
        summary->top1 = last->test_top1;
        summary->loss = last->test_loss;
        summary->in_training = summary->present = true;
    }
}

/* The comparison's gaps from the stages' own files, for a folder that has no run.json. */
static void complete_summaries(clq_run_data *data) {
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        clq_run_summary *summary = &data->summaries[v];
        const clq_run_evaluation *evaluation = &data->evaluations[v];
        if (evaluation->present) {
            complete(&summary->top1, evaluation->top1);
            complete(&summary->r2, evaluation->r2);
            complete(&summary->loss, evaluation->loss);
            summary->present = true;
        }
        complete_from_training(data, v);
        for (size_t i = 0; i < data->bench_count; i++) {
            if (strcmp(data->benches[i].model, clq_run_keys[v]) == 0) {
                complete(&summary->size_bytes, data->benches[i].bytes);
                complete(&summary->latency_ms, data->benches[i].latency.median);
                summary->present = true;
                break;
            }
        }
        data->regression |= isfinite(summary->r2) || data->origin.targets > 0;
        if (summary->mismatched_codes < 0 && data->verifications[v].present) {
            summary->mismatched_codes = data->verifications[v].mismatched;
            summary->present = true;
        }
        if (summary->latency_ms > 0) {
            complete(&summary->speedup,
                     data->summaries[CLQ_RUN_FP32].latency_ms / summary->latency_ms);
        }
    }
}

double clq_run_score(const clq_run_data *data, clq_run_variant v) {
    const clq_run_summary *summary = &data->summaries[v];
    return data->regression ? summary->r2 : 100 * summary->top1;
}

void clq_run_interval(const clq_run_data *data, clq_run_variant v, double *low, double *high) {
    const int64_t images = data->evaluations[v].present     ? data->evaluations[v].images
                           : data->summaries[v].in_training ? data->origin.test.count
                                                            : 0;
    clq_wilson_interval(data->summaries[v].top1, images, low, high);
}

bool clq_run_ptq_suffices(const clq_run_data *data) {
    static const double NOISE = 1.05; /* of two latencies of the same arithmetic */
    const clq_run_summary *ptq = &data->summaries[CLQ_RUN_PTQ];
    const clq_run_summary *qat = &data->summaries[CLQ_RUN_QAT];
    return ptq->present && qat->present &&
           clq_run_score(data, CLQ_RUN_PTQ) >= clq_run_score(data, CLQ_RUN_QAT) &&
           !(ptq->latency_ms > NOISE * qat->latency_ms) && !(ptq->size_bytes > qat->size_bytes);
}

clq_run_variant clq_run_best(const clq_run_data *data) {
    const bool qat = data->summaries[CLQ_RUN_QAT].present && !clq_run_ptq_suffices(data);
    return qat ? CLQ_RUN_QAT : data->summaries[CLQ_RUN_PTQ].present ? CLQ_RUN_PTQ : CLQ_RUN_FP32;
}

/* The history that `clquant train` or `clquant qat` leave in their --out; checkpoints tell which.
 */
static clq_status read_stage_history(clq_run_data *data, const char *folder) {
    char **names = NULL;
    size_t count = 0;
    part which = TRAIN;
    CLQ_TRY(clq_folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        which = strncmp(names[i], "qat-checkpoint-", 15) == 0 ? QAT : which;
    }
    clq_folder_list_free(names, count);
    CLQ_TRY(read_part(data, folder, "history.json", which, 0));
    return read_part(data, folder, "steps.json", which == QAT ? QAT_STEPS : TRAIN_STEPS, 0);
}

clq_status clq_run_data_read(clq_run_data *data, const char *folder) {
    data->name = data->device = data->dot_path = data->created = data->version = data->data = "";
    clq_run_forget_origin(data);
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        data->summaries[v] = (clq_run_summary){false, NAN, NAN, NAN, NAN, NAN, NAN, -1, false};
    }
    if (!clq_is_folder(folder)) {
        return clq_fail(CLQ_NO_INPUT, "%s: no such folder", folder);
    }
    CLQ_TRY(read_part(data, folder, "run.json", RUN, 0));
    CLQ_TRY(read_part(data, folder, "train/history.json", TRAIN, 0));
    CLQ_TRY(read_part(data, folder, "train/steps.json", TRAIN_STEPS, 0));
    CLQ_TRY(read_part(data, folder, "qat/history.json", QAT, 0));
    CLQ_TRY(read_part(data, folder, "qat/steps.json", QAT_STEPS, 0));
    if (data->tree_count == 0) {
        CLQ_TRY(read_stage_history(data, folder));
    }
    CLQ_TRY(clq_run_read_log(data, folder));
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        static const char *const evals[] = {"eval-fp32.json", "eval-ptq.json", "eval-qat.json"};
        static const char *const verifies[] = {"verify-fp32.json", "verify-ptq.json",
                                               "verify-qat.json"};
        CLQ_TRY(read_part(data, folder, evals[v], EVALUATION, v));
        CLQ_TRY(read_part(data, folder, verifies[v], VERIFICATION, v));
    }
    CLQ_TRY(read_part(data, folder, "bench.json", BENCH, 0));
    CLQ_TRY(read_part(data, folder, "analysis.json", ANALYSIS, 0));
    const size_t results = data->tree_count + data->train.steps.count + data->qat.steps.count;
    CLQ_TRY(read_part(data, folder, "origin.json", ORIGIN, 0));
    if (results == 0) {
        return clq_fail(CLQ_NO_INPUT,
                        "%s: has no run.json, history.json, log.jsonl with steps, eval-fp32.json, "
                        "bench.json, analysis.json or other result of a run",
                        folder);
    }
    complete_summaries(data);
    return CLQ_OK;
}

void clq_run_data_clear(clq_run_data *data) {
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        clq_free(data->evaluations[v].confusion);
        clq_free(data->evaluations[v].names);
        clq_free(data->verifications[v].paths);
        clq_free(data->verifications[v].path_sha256);
    }
    for (size_t i = 0; i < data->bench_count; i++) {
        clq_free(data->benches[i].layers);
    }
    clq_free(data->benches);
    clq_free(data->analysis.layers);
    clq_history_clear(&data->train.history);
    clq_history_clear(&data->qat.history);
    clq_steps_clear(&data->train.steps);
    clq_steps_clear(&data->qat.steps);
    for (size_t i = 0; i < data->tree_count; i++) {
        json_decref(data->trees[i]);
    }
    *data = (clq_run_data){0};
}
