/* An analysis from networks and data to its result. */
#include "session/analyze.h"

#include <string.h>
#include <unistd.h>

#include <clquant/passes.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/numbers.h"
#include "session/analysis.h"
#include "session/session.h"
#include "session/stages.h"

static int64_t sample_bytes(const clq_graph *graph) {
    int64_t elements = 0;
    for (int i = 0; i < graph->input_count; i++) {
        elements += clq_shape_count(&graph->values[graph->inputs[i]].shape);
    }
    for (int i = 0; i < graph->output_count; i++) {
        elements += clq_shape_count(&graph->values[graph->outputs[i].value].shape);
    }
    return elements * (int64_t)sizeof(float);
}

/* The default must fit into memory, and what fits is said. */
static int64_t choose_limit(const clq_analyze_work *s) {
    enum { USUAL = 512 };
    const int64_t fit = (int64_t)1000000000 / sample_bytes(s->trained);
    if (s->limit > 0 || fit >= USUAL) {
        return s->limit > 0 ? s->limit : USUAL;
    }
    clq_log_info("as many samples as take 1 GB with their outputs; --limit decides otherwise");
    return fit > 0 ? fit : 1;
}

/* All of them are kept; more than there is room for would end the process without a word. */
static clq_status check_memory(const clq_analyze_work *s, int64_t samples) {
    const uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t group = clq_group_memory(), room = machine < group ? machine : group;
    const double bytes = (double)samples * (double)sample_bytes(s->trained);
    return bytes <= 0.5 * (double)room
               ? CLQ_OK
               : clq_fail(CLQ_NO_MEMORY,
                          "%lld samples take %.1f GB with their outputs, more than half of the "
                          "memory here; --limit takes fewer",
                          (long long)samples, 1e-9 * bytes);
}

/* Labelled images or rows where there are any, else what there is. `graph` keeps how they are
 * prepared. */
static clq_status open_images(clq_analyze_work *s, clq_graph *graph, int64_t limit) {
    clq_data_source source = {.path = s->data,
                              .flags = s->flags,
                              .inputs_only = s->inputs_only,
                              .quiet = !s->is_given, /* said in calibration */
                              .sources = s->sources};
    const clq_status status = clq_data_open(&source, graph, CLQ_SPLIT_TEST, limit, &s->images);
    if (status != CLQ_NO_INPUT && status != CLQ_BAD_DATA && status != CLQ_USAGE) {
        return status;
    }
    clq_snprintf(s->why_not, sizeof s->why_not, "%s", clq_last_error());
    source.any_classes = true;
    return clq_data_open(&source, graph, CLQ_SPLIT_TEST, limit, &s->images);
}

/* Of a quantized model whose weights were equalized the float network with equalized weights, made
 * again from the images that calibrated; `train` NULL: from arrays. */
static clq_status equalize_again(clq_analyze_work *s, clq_dataset *train,
                                 const clq_quant_config *config) {
    clq_graph *real = NULL;
    CLQ_TRY(clq_stage_float(s->device, s->trained, train, s->arrays, config, s->seed, &real));
    clq_graph_destroy(s->folded);
    s->folded = real;
    return clq_fail_in(clq_analysis_check_weights(s->folded, s->integer),
                       "%s: its weights were equalized on other data; give the data, --seed and "
                       "image flags that ptq had, or only the FP32 model",
                       s->is_given ? s->quantized_name : s->name);
}

static clq_status quantize(clq_analyze_work *s, clq_dataset *train) {
    return s->arrays ? clq_stage_ptq_arrays(s->device, s->trained, s->arrays, s->config,
                                            &s->quantized.report, &s->integer)
                     : clq_stage_ptq(s->device, s->trained, train, s->config, s->seed,
                                     &s->quantized.report, NULL, &s->integer);
}

/* What the calibration images are needed for: to quantize, and to equalize. */
static clq_status calibrate(clq_analyze_work *s) {
    clq_data_source source = {
        .path = s->data, .flags = s->flags, .any_classes = true, .inputs_only = s->inputs_only};
    clq_quant_config config = *s->config;
    clq_dataset *train = NULL;
    clq_status status = CLQ_OK;
    if (s->is_given) {
        json_t *json = clq_quantization_recorded(s->integer);
        const json_int_t images = json_integer_value(json_object_get(json, "images"));
        config.equalize = json_is_true(json_object_get(json, "equalize"));
        config.images = images > 0 ? images : config.images;
        json_decref(json);
    }
    if (s->is_given && !config.equalize) {
        if (clq_analysis_check_weights(s->folded, s->integer) != CLQ_OK) {
            clq_log_warn("%s; what this costs is part of all errors", clq_last_error());
        }
        return CLQ_OK;
    }
    CLQ_TRY(s->arrays ? CLQ_OK
                      : clq_data_open(&source, s->is_given ? s->integer : s->trained,
                                      CLQ_SPLIT_TRAIN, 0, &train));
    if (s->is_given && !s->arrays) { /* prepared as for its calibration */
        clq_preprocessing p;
        CLQ_GOTO(status, cleanup, clq_graph_preprocessing(s->integer, &p));
        CLQ_GOTO(status, cleanup, clq_graph_set_preprocessing(s->trained, &p));
    }
    CLQ_GOTO(status, cleanup, s->is_given ? CLQ_OK : quantize(s, train));
    CLQ_GOTO(status, cleanup, config.equalize ? equalize_again(s, train, &config) : CLQ_OK);
cleanup:
    clq_dataset_close(train);
    return status;
}

/* Other tools quantize networks as they are. */
static bool has_batch_norms(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        if (strcmp(graph->nodes[n].op->name, "batch_norm") == 0) {
            return true;
        }
    }
    return false;
}

static clq_status take_unfolded(clq_analyze_work *s) {
    clq_graph_destroy(s->folded);
    s->folded = NULL;
    return clq_graph_clone(s->trained, &s->folded);
}

/* The float network with the integer one's nodes. */
static clq_status fold(clq_analyze_work *s) {
    CLQ_TRY(clq_graph_fold(s->trained, &s->folded));
    if (s->integer) {
        CLQ_TRY(has_batch_norms(s->integer) ? take_unfolded(s) : CLQ_OK);
        CLQ_TRY(clq_fail_in(clq_analysis_check(s->folded, s->integer), "%s: is not made of %s",
                            s->quantized_name, s->name));
    }
    return CLQ_OK;
}

/* What prepares images is what the quantized model says, which knows it from its calibration. */
static clq_status open_data(clq_analyze_work *s) {
    clq_graph *graph = s->is_given ? s->integer : s->trained;
    const int64_t limit = choose_limit(s);
    if (s->arrays) {
        s->batch = clq_eval_batch(s->trained, clq_arrays_rows(s->arrays));
        clq_snprintf(s->why_not, sizeof s->why_not, "%s",
                     clq_arrays_labels(s->arrays) < 0 ? "arrays have no labels" : "");
        const int64_t rows = clq_arrays_rows(s->arrays);
        CLQ_TRY(check_memory(s, rows < limit ? rows : limit));
        return clq_feed_create_arrays(s->trained, s->arrays, s->batch, limit, &s->feed);
    }
    CLQ_TRY(open_images(s, graph, limit));
    CLQ_TRY(check_memory(s, clq_dataset_get_info(s->images)->count));
    s->batch = clq_eval_batch(s->trained, clq_dataset_get_info(s->images)->count);
    return clq_data_feed(s->device, graph, s->images, s->batch, &s->feed);
}

clq_status clq_analyze_open(clq_analyze_work *s) {
    s->is_given = s->integer != NULL;
    CLQ_TRY(fold(s));
    CLQ_TRY(calibrate(s));
    return open_data(s);
}

clq_status clq_analyze_run(clq_analyze_work *s) {
    CLQ_TRY(clq_analyze(s->device, s->trained, s->folded, s->integer, s->feed, s->batch, 0,
                        &s->analysis));
    return clq_analysis_time(s->device, s->folded, s->integer, &s->analysis);
}

json_t *clq_analyze_to_json(const clq_analyze_work *s, const char *model, const char *quantized,
                            const char *data) {
    return clq_analysis_result(
        &s->analysis, model, quantized, data, s->device, s->integer,
        s->arrays ? json_null()
                  : clq_preprocessing_to_json(s->is_given ? s->integer : s->trained, s->sources));
}

void clq_analyze_close(clq_analyze_work *s) {
    clq_analysis_clear(&s->analysis);
    clq_feed_destroy(s->feed);
    clq_dataset_close(s->images);
    clq_quant_report_clear(&s->quantized.report);
    clq_graph_destroy(s->trained);
    clq_graph_destroy(s->folded);
    clq_graph_destroy(s->integer);
}
