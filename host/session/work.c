/* The work of sessions: options are read, data opened, a stage run, and its result put into JSON.
 */
#include <string.h>

#include <clquant/bench.h>
#include <clquant/formats.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/ranges.h"
#include "bench/bench_json.h"
#include "session/analyze.h"
#include "session/keys.h"
#include "session/model_info.h"
#include "session/options.h"
#include "session/quantized.h"
#include "session/results.h"
#include "session/session.h"
#include "session/stages.h"
#include "session/training.h"

/* ---- what all work has in common ---- */

typedef struct work {
    const clq_session *session;
    const char *path;
    clq_arrays *arrays;
    clq_json_reader reader; /* of the options */
    clq_image_flags images;
    const char *sources[CLQ_PART_COUNT];
    clq_graph *graph; /* a copy of the session's, which learns how images are prepared */
} work;

/* "data": how images are prepared. */
static clq_status read_data(work *w) {
    clq_json_reader r;
    const char *crop = NULL;
    CLQ_TRY(clq_json_read_object(&w->reader, "data", &r));
    CLQ_TRY(clq_keys_read_preprocessing(&r, &w->images.given));
    CLQ_TRY(clq_json_read_string(&r, "crop", &crop));
    if (crop && clq_crop_parse(crop, &w->images.given) != CLQ_OK) {
        return clq_json_fail(&r, "crop", "%s", clq_last_error());
    }
    w->images.given.known |= crop ? CLQ_PART_CROP : 0u;
    CLQ_TRY(clq_json_read_string(&r, "labels", &w->images.labels));
    CLQ_TRY(clq_json_reader_finish(&r));
    if (w->arrays && r.object) {
        return clq_json_fail(&w->reader, "data",
                             "is of no use to arrays, which are fed as they are");
    }
    return CLQ_OK;
}

static bool has_key(const clq_options *options, const char *key) {
    return options && json_object_get(options->json, key);
}

static clq_status begin(work *w, const char *function, const clq_session *session, const char *path,
                        clq_arrays *arrays, const clq_options *options) {
    *w = (work){.session = session, .path = path, .arrays = arrays};
    clq_forget_stop();
    if (path ? arrays != NULL : !arrays && !has_key(options, "encodings")) {
        return clq_fail(CLQ_USAGE, "%s: give either a path or arrays", function);
    }
    CLQ_TRY(clq_json_reader_init(&w->reader, "options", options ? options->json : NULL));
    CLQ_TRY(read_data(w));
    return clq_graph_clone(session->graph, &w->graph);
}

static void end(work *w) {
    clq_graph_destroy(w->graph);
}

static clq_data_source source_of(work *w, bool any_classes) {
    return (clq_data_source){
        .path = w->path, .flags = &w->images, .any_classes = any_classes, .sources = w->sources};
}

/* The result is made only where it is wanted. */
#define GIVE(result, json) ((result) ? clq_result_take((json), (result)) : CLQ_OK)

/* ---- PTQ ---- */

static clq_status read_ptq(work *w, clq_quant_config *config, int64_t *seed, int64_t *test_images) {
    const char *encodings = NULL;
    *seed = 1;
    *test_images = 0;
    CLQ_TRY(clq_keys_read_quantization(&w->reader, config));
    CLQ_TRY(clq_json_read_i64(&w->reader, "seed", CLQ_IN_SEED, seed));
    CLQ_TRY(clq_json_read_i64(&w->reader, "test_images", CLQ_IN_DATA_LIMIT, test_images));
    CLQ_TRY(clq_json_read_string(&w->reader, "encodings", &encodings));
    CLQ_TRY(clq_json_reader_finish(&w->reader));
    CLQ_TRY(clq_quant_config_check(config));
    return encodings ? clq_encodings_load(encodings, &config->encodings) : CLQ_OK;
}

static clq_status quantize(work *w, const clq_quant_config *config, uint64_t seed,
                           clq_quantized *quantized, clq_graph **integer) {
    const clq_data_source source = source_of(w, true);
    clq_dataset *train = NULL;
    if (w->arrays) {
        return clq_stage_ptq_arrays(w->session->device, w->graph, w->arrays, config,
                                    &quantized->report, integer);
    }
    if (!w->path) {
        return clq_stage_ptq_encodings(w->graph, config, &quantized->report, integer);
    }
    CLQ_TRY(clq_calibration_images(&source, config, w->graph, &train));
    const clq_status status = clq_stage_ptq(w->session->device, w->graph, train, config, seed,
                                            &quantized->report, NULL, integer);
    clq_dataset_close(train);
    return status;
}

static clq_status require_float(const clq_graph *graph) {
    return clq_graph_form(graph) == CLQ_FORM_FLOAT
               ? CLQ_OK
               : clq_fail(CLQ_USAGE, "the network is already quantized; give the FP32 one");
}

/* The new network; its result, which was made before, goes with it. */
static clq_status give_session(const clq_session *session, clq_graph **integer, clq_session **out,
                               clq_result **result) {
    const clq_status status = clq_session_take(session->device, integer, out);
    if (status != CLQ_OK && result) {
        clq_result_free(*result);
        *result = NULL;
    }
    return status;
}

clq_status clq_session_ptq(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **out, clq_result **result) {
    CLQ_NEEDS(session, out);
    clq_status status = CLQ_OK;
    work w;
    clq_quant_config config;
    clq_quantized quantized = {.method = "ptq", .config = &config};
    clq_graph *integer = NULL;
    int64_t seed, test_images;
    *out = NULL;
    clq_quant_config_init(&config);
    CLQ_TRY(require_float(session->graph));
    CLQ_GOTO(status, cleanup, begin(&w, __func__, session, path, arrays, options));
    CLQ_GOTO(status, cleanup, read_ptq(&w, &config, &seed, &test_images));
    CLQ_GOTO(status, cleanup, quantize(&w, &config, (uint64_t)seed, &quantized, &integer));
    const clq_data_source source = source_of(&w, true);
    if (path || arrays) {
        CLQ_GOTO(status, cleanup,
                 clq_compare_quantized(session->device, w.graph, integer, arrays ? NULL : &source,
                                       arrays, test_images, &quantized));
    }
    clq_quantized_warn(&quantized);
    clq_quantized_hint(&quantized, integer);
    CLQ_GOTO(status, cleanup,
             GIVE(result, clq_saved_to_json(NULL, session->graph, integer, &quantized)));
    status = give_session(session, &integer, out, result);
cleanup:
    clq_encodings_destroy(config.encodings);
    clq_quant_report_clear(&quantized.report);
    clq_graph_destroy(integer);
    end(&w);
    return status;
}

/* ---- QAT ---- */

typedef struct qat_settings {
    clq_train_config train;
    clq_quant_config quant;
    clq_stage_options stage;
    int64_t test_images;
    json_t *said; /* the options, and what they do not say */
    char *text;
} qat_settings;

static clq_status read_qat(work *w, const clq_options *options, qat_settings *q) {
    clq_train_config train;
    clq_quant_config ptq;
    clq_stage_options *stage = &q->stage;
    clq_train_config_init(&train);
    clq_quant_config_init(&ptq);
    clq_keys_init_qat(&train, &ptq, &q->train, &q->quant);
    q->train.epochs = 1;
    q->test_images = CLQ_TEST_IMAGES;
    CLQ_TRY(clq_keys_read_qat(&w->reader, &q->train, &q->quant));
    CLQ_TRY(clq_json_read_bool(&w->reader, "no_labels", &stage->no_labels));
    CLQ_TRY(clq_json_read_i64(&w->reader, "test_images", CLQ_IN_DATA_LIMIT, &q->test_images));
    CLQ_TRY(clq_json_read_string(&w->reader, "out", &stage->out));
    CLQ_TRY(clq_json_read_string(&w->reader, "log_file", &stage->log_file));
    CLQ_TRY(clq_json_read_bool(&w->reader, "resume", &stage->resume));
    CLQ_TRY(clq_json_read_bool(&w->reader, "overwrite", &stage->overwrite));
    CLQ_TRY(clq_json_reader_finish(&w->reader));
    CLQ_TRY(clq_train_config_check(&q->train));
    CLQ_TRY(clq_quant_config_check(&q->quant));
    q->said = options ? json_deep_copy(options->json) : json_object();
    return q->said ? CLQ_OK : CLQ_NO_MEMORY;
}

/* The data, and what follows from it. */
static clq_status open_qat(work *w, qat_settings *q) {
    clq_stage_options *stage = &q->stage;
    clq_data_source source = source_of(w, stage->no_labels);
    source.inputs_only = stage->no_labels;
    stage->arrays = w->arrays;
    stage->test_rows = q->test_images;
    if (!w->arrays) {
        CLQ_TRY(clq_data_open(&source, w->graph, CLQ_SPLIT_TRAIN, 0, &stage->train));
        source.quiet = true;
        CLQ_TRY(clq_data_open(&source, w->graph, CLQ_SPLIT_TEST, q->test_images, &stage->test));
    }
    if (stage->no_labels || w->arrays) {
        const clq_train_job job = {.no_labels = stage->no_labels,
                                   .graph = w->graph,
                                   .train = stage->train,
                                   .arrays = stage->arrays};
        CLQ_TRY(clq_fit_qat(q->said, NULL, w->arrays != NULL, &job, 1, &q->train));
    }
    CLQ_TRY(clq_json_dump_exact(q->said, &q->text));
    stage->config = &q->train;
    stage->recipe = q->text;
    clq_tell_logits(w->graph);
    return CLQ_OK;
}

clq_status clq_session_qat(const clq_session *session, const char *path, clq_arrays *arrays,
                           const clq_options *options, clq_session **out, clq_result **result) {
    CLQ_NEEDS(session, out);
    clq_status status = CLQ_OK;
    work w;
    qat_settings q = {.said = NULL};
    clq_quantized quantized = {.method = "qat", .config = &q.quant};
    clq_graph *integer = NULL;
    *out = NULL;
    CLQ_TRY(require_float(session->graph));
    CLQ_GOTO(status, cleanup, begin(&w, __func__, session, path, arrays, options));
    CLQ_GOTO(status, cleanup, read_qat(&w, options, &q));
    CLQ_GOTO(status, cleanup, open_qat(&w, &q));
    CLQ_GOTO(
        status, cleanup,
        clq_stage_qat(session->device, w.graph, &q.stage, &q.quant, &quantized.report, &integer));
    CLQ_GOTO(status, cleanup,
             GIVE(result, clq_saved_to_json(NULL, session->graph, integer, &quantized)));
    status = give_session(session, &integer, out, result);
cleanup:
    clq_quant_report_clear(&quantized.report);
    clq_dataset_close(q.stage.train);
    clq_dataset_close(q.stage.test);
    clq_graph_destroy(integer);
    clq_free(q.text);
    json_decref(q.said);
    end(&w);
    return status;
}

/* ---- evaluation and verification ---- */

clq_status clq_session_evaluate(const clq_session *session, const char *path, clq_arrays *arrays,
                                const clq_options *options, clq_result **result) {
    CLQ_NEEDS(session);
    static const char *const splits[] = {"train", "test"};
    clq_status status = CLQ_OK;
    work w;
    int split = CLQ_SPLIT_TEST;
    clq_dataset *dataset = NULL;
    clq_evaluation evaluation = {0};
    int64_t limit = 0;
    int batch = 0;
    CLQ_GOTO(status, cleanup, begin(&w, __func__, session, path, arrays, options));
    CLQ_GOTO(status, cleanup, clq_json_read_enum(&w.reader, "split", splits, 2, &split));
    CLQ_GOTO(status, cleanup, clq_json_read_i64(&w.reader, "limit", CLQ_IN_DATA_LIMIT, &limit));
    CLQ_GOTO(status, cleanup, clq_json_read_int(&w.reader, "batch", CLQ_IN_BATCH, &batch));
    CLQ_GOTO(status, cleanup, clq_json_reader_finish(&w.reader));
    clq_tell_logits(w.graph);
    if (arrays) {
        CLQ_GOTO(
            status, cleanup,
            clq_stage_evaluate_arrays(session->device, w.graph, arrays, limit, batch, &evaluation));
    } else {
        const clq_data_source source = source_of(&w, false);
        CLQ_GOTO(status, cleanup,
                 clq_data_open(&source, w.graph, (clq_split)split, limit, &dataset));
        CLQ_GOTO(status, cleanup,
                 clq_stage_evaluate(session->device, w.graph, true, dataset, batch, "eval",
                                    &evaluation, NULL));
    }
    status = GIVE(result,
                  clq_evaluation_to_json(&evaluation, w.graph, dataset, arrays ? NULL : w.sources));
cleanup:
    clq_evaluation_clear(&evaluation);
    clq_dataset_close(dataset);
    end(&w);
    return status;
}

/* The network that codes run through, made of a file's simulated one where it has to be. */
static clq_status take_integer(clq_graph **graph) {
    clq_graph *integer = NULL;
    switch (clq_graph_form(*graph)) {
    case CLQ_FORM_INTEGER:
        return CLQ_OK;
    case CLQ_FORM_QUANTIZED:
        CLQ_TRY(clq_convert(*graph, &integer));
        clq_graph_destroy(*graph);
        *graph = integer;
        return CLQ_OK;
    default:
        return clq_fail(CLQ_USAGE, "the network is not quantized");
    }
}

static clq_status verify(work *w, int64_t limit, clq_verification *verification) {
    clq_device *device = w->session->device;
    clq_dataset *dataset = NULL;
    clq_feed *feed = NULL;
    clq_status status = CLQ_OK;
    if (w->arrays) {
        const int batch = clq_eval_batch(w->graph, clq_arrays_rows(w->arrays));
        CLQ_TRY(clq_feed_create_arrays(w->graph, w->arrays, batch, limit, &feed));
        status = clq_verify_feed(device, w->graph, feed, batch, 0, verification);
    } else {
        const clq_data_source source = source_of(w, true);
        CLQ_TRY(clq_data_open(&source, w->graph, CLQ_SPLIT_TEST, limit, &dataset));
        status = clq_verify(device, w->graph, dataset,
                            clq_eval_batch(w->graph, clq_dataset_get_info(dataset)->count), limit,
                            verification);
    }
    clq_feed_destroy(feed);
    clq_dataset_close(dataset);
    return status;
}

clq_status clq_session_verify(const clq_session *session, const char *path, clq_arrays *arrays,
                              const clq_options *options, clq_result **result) {
    CLQ_NEEDS(session);
    clq_status status = CLQ_OK;
    work w;
    clq_verification verification = {0};
    int64_t limit = 0;
    CLQ_GOTO(status, cleanup, begin(&w, __func__, session, path, arrays, options));
    CLQ_GOTO(status, cleanup, clq_json_read_i64(&w.reader, "limit", CLQ_IN_DATA_LIMIT, &limit));
    CLQ_GOTO(status, cleanup, clq_json_reader_finish(&w.reader));
    CLQ_GOTO(status, cleanup, take_integer(&w.graph));
    CLQ_GOTO(status, cleanup, verify(&w, limit, &verification));
    status = GIVE(
        result, clq_verification_to_json(&verification, w.graph, path, arrays ? NULL : w.sources));
cleanup:
    clq_verification_clear(&verification);
    end(&w);
    return status;
}

/* ---- analysis ---- */

clq_status clq_session_analyze(const clq_session *session, const clq_session *quantized,
                               const char *path, clq_arrays *arrays, const clq_options *options,
                               clq_result **result) {
    CLQ_NEEDS(session, quantized);
    clq_status status = CLQ_OK;
    work w;
    clq_quant_config config;
    int64_t seed = 1;
    clq_quant_config_init(&config);
    clq_analyze_work a = {.device = session->device,
                          .name = "the float network",
                          .quantized_name = "the quantized network",
                          .data = path,
                          .arrays = arrays,
                          .flags = &w.images,
                          .config = &config};
    CLQ_TRY(require_float(session->graph));
    CLQ_GOTO(status, cleanup, begin(&w, __func__, session, path, arrays, options));
    CLQ_GOTO(status, cleanup, clq_json_read_i64(&w.reader, "limit", CLQ_IN_DATA_LIMIT, &a.limit));
    CLQ_GOTO(status, cleanup, clq_json_read_i64(&w.reader, "seed", CLQ_IN_SEED, &seed));
    CLQ_GOTO(status, cleanup, clq_json_reader_finish(&w.reader));
    a.seed = (uint64_t)seed;
    a.trained = w.graph;
    w.graph = NULL;
    CLQ_GOTO(status, cleanup, clq_graph_clone(quantized->graph, &a.integer));
    CLQ_GOTO(status, cleanup, take_integer(&a.integer));
    CLQ_GOTO(status, cleanup, clq_analyze_open(&a));
    CLQ_GOTO(status, cleanup, clq_analyze_run(&a));
    status = GIVE(result, clq_analyze_to_json(&a, NULL, NULL, path));
cleanup:
    clq_analyze_close(&a);
    end(&w);
    return status;
}

/* ---- bench ---- */

enum { MAX_BATCHES = 16, MAX_CASES = 1024 };

typedef struct bench_settings {
    clq_bench_options options;
    int64_t batches[MAX_BATCHES];
    size_t batch_count;
} bench_settings;

static clq_status read_bench(const clq_options *options, bench_settings *b) {
    clq_json_reader r;
    bool peak = true;
    CLQ_TRY(clq_json_reader_init(&r, "options", options ? options->json : NULL));
    b->options.layers = true;
    b->batches[0] = 1;
    b->batch_count = 1;
    if (options && json_is_number(json_object_get(options->json, "batch"))) {
        CLQ_TRY(clq_json_read_i64(&r, "batch", CLQ_IN_BATCH, &b->batches[0]));
    } else {
        CLQ_TRY(clq_json_read_i64_array(&r, "batch", CLQ_IN_BATCH, b->batches, MAX_BATCHES,
                                        &b->batch_count));
    }
    CLQ_TRY(clq_json_read_int(&r, "iterations", CLQ_IN_ITERATIONS, &b->options.iterations));
    CLQ_TRY(clq_json_read_bool(&r, "layers", &b->options.layers));
    CLQ_TRY(clq_json_read_bool(&r, "peak", &peak));
    b->options.no_peak = !peak;
    return clq_json_reader_finish(&r);
}

clq_status clq_session_bench(clq_session *const *sessions, size_t count, const clq_options *options,
                             clq_result **result) {
    CLQ_NEEDS(sessions);
    clq_status status = CLQ_OK;
    bench_settings b = {0};
    clq_forget_stop();
    CLQ_TRY(read_bench(options, &b));
    CLQ_REQUIRE(count >= 1 && b.batch_count >= 1 && count <= MAX_CASES / b.batch_count,
                "give 1..1024 networks and batches");
    const size_t cases = count * b.batch_count;
    clq_bench_case *items = clq_calloc(cases, sizeof *items);
    clq_bench_result *results = clq_calloc(cases, sizeof *results);
    CLQ_GOTO(status, cleanup, items && results ? CLQ_OK : CLQ_NO_MEMORY);
    for (size_t i = 0; i < cases; i++) {
        const clq_session *session = sessions[i / b.batch_count];
        if (!session) {
            status = clq_fail(CLQ_USAGE, "%s: a session is NULL", __func__);
            goto cleanup;
        }
        items[i] =
            (clq_bench_case){.name = session->graph->name[0] ? session->graph->name : "network",
                             .graph = session->graph,
                             .device = session->device,
                             .batch = (int)b.batches[i % b.batch_count]};
    }
    CLQ_GOTO(status, cleanup, clq_bench_run(items, cases, &b.options, results));
    status = GIVE(result, clq_bench_to_json(results, cases));
cleanup:
    for (size_t i = 0; results && i < cases; i++) {
        clq_bench_result_clear(&results[i]);
    }
    clq_free(results);
    clq_free(items);
    return status;
}

/* ---- what is there ---- */

clq_status clq_session_info(const clq_session *session, clq_result **result) {
    CLQ_NEEDS(session, result);
    clq_model_info info = {0};
    clq_status status = clq_model_info_get(NULL, session->graph, &info);
    if (status == CLQ_OK) {
        status = clq_result_take(clq_model_info_to_json(&info), result);
    }
    clq_model_info_clear(&info);
    return status;
}

clq_status clq_session_save(const clq_session *session, const char *path,
                            const clq_options *options) {
    CLQ_NEEDS(session, path);
    const char *names[CLQ_ONNX_FORM_COUNT];
    clq_onnx_options given = {.form = CLQ_ONNX_QDQ};
    clq_json_reader r;
    int form = CLQ_ONNX_QDQ;
    for (int i = 0; i < CLQ_ONNX_FORM_COUNT; i++) {
        names[i] = clq_onnx_form_name((clq_onnx_form)i);
    }
    CLQ_TRY(clq_json_reader_init(&r, "options", options ? options->json : NULL));
    CLQ_TRY(clq_json_read_enum(&r, "form", names, CLQ_ONNX_FORM_COUNT, &form));
    CLQ_TRY(
        clq_json_read_int(&r, "opset", CLQ_ONNX_OLDEST_OPSET, CLQ_ONNX_NEWEST_OPSET, &given.opset));
    CLQ_TRY(clq_json_reader_finish(&r));
    given.form = (clq_onnx_form)form;
    return clq_onnx_save_as(session->graph, &given, path);
}

clq_status clq_device_describe(clq_device *device, clq_result **result) {
    CLQ_NEEDS(device, result);
    return clq_result_take(clq_device_to_json(device, clq_device_get_info(device)), result);
}

clq_status clq_devices_describe(clq_result **result) {
    CLQ_NEEDS(result);
    size_t count = 0;
    CLQ_TRY(clq_device_list(NULL, 0, &count));
    clq_device_info *infos = clq_calloc(count, sizeof *infos);
    if (!infos) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_device_list(infos, count, &count);
    if (status == CLQ_OK) {
        json_t *json = json_array();
        for (size_t i = 0; i < count; i++) {
            json_array_append_new(json, clq_device_to_json(NULL, &infos[i]));
        }
        status = clq_result_take(json, result);
    }
    clq_free(infos);
    return status;
}
