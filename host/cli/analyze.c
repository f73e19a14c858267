#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <clquant/passes.h>

#include "base/files.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/ranges.h"
#include "cli/analysis.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "quant/report.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *quantized, *data, *inputs, *out;
    clq_quant_flags flags;
    clq_quant_config config;
    uint64_t seed;
    int64_t limit;
    bool overwrite;
} options;

enum { OVERWRITE = CLQ_KEY_LONG };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->flags;
        state->child_inputs[2] = &o->images;
        return 0;
    case 'D':
        o->data = argument;
        return 0;
    case 'i':
        o->inputs = argument;
        return 0;
    case 'n':
        return clq_option_result(state,
                                 clq_option_i64("--limit", argument, CLQ_IN_LIMIT, &o->limit));
    case 'o':
    case 'O':
        o->out = argument;
        return 0;
    case OVERWRITE:
        o->overwrite = true;
        return 0;
    case 'S':
        return clq_option_result(state, clq_option_seed(argument, &o->seed));
    case ARGP_KEY_ARG:
        if (o->quantized) {
            return clq_option_fail(state, "one FP32 model and the quantized one only");
        }
        *(o->model ? &o->quantized : &o->model) = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->data && o->inputs) {
            return clq_option_fail(state, "takes either --data or --inputs, not both");
        }
        return CLQ_OPTION_NEEDS(state, {"the FP32 model", o->model},
                                {"--data (or --inputs)", o->data || o->inputs});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0,
     CLQ_UNLABELLED_HELP "; the test split, and the training split where it is to calibrate", 0},
    {"inputs", 'i', "X.npy|X.npz", 0, CLQ_INPUTS_HELP "; instead of --data", 0},
    {"limit", 'n', "N", 0,
     "At most N images or rows, spread over the set (default 512, or fewer that take 1 GB)", 0},
    {"out", 'O', "DIR", 0, "Also leave analysis.json and a report with pictures in this folder", 0},
    {"output", 'o', "DIR", OPTION_HIDDEN, NULL, 0}, /* the same */
    {"overwrite", OVERWRITE, NULL, 0, "Replace an earlier analysis in --out", 0},
    {"seed", 'S', "N", 0, "Seed of the choice of calibration images (default 1)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_quant_flags_argp, 0, "Quantization, where no quantized model is given:", 10},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "FP32.onnx [Q.onnx] --data DIR\nFP32.onnx [Q.onnx] --inputs X.npz",
    "Shows which layer loses accuracy: what each step from the float to the integer network costs, "
    "and for each layer how far its output is off, and how the network does when only this layer "
    "is quantized and when all others are. Without a quantized model it makes one, as ptq does."
    "\vExamples:\n"
    "  clquant analyze model.onnx -D cifar-10-batches-bin\n"
    "  clquant analyze model.onnx int8.onnx -D imagenet -n 200 -o analysis\n"
    "  clquant analyze model.onnx -D images --weight-scales per_tensor --json",
    children,
    NULL,
    NULL};

/* ---- what is read ---- */

typedef struct session {
    const options *options;
    clq_device *device;
    clq_graph *trained, *folded, *integer;
    clq_quantized quantized; /* when this command quantizes */
    clq_dataset *images;
    clq_arrays *arrays;
    clq_feed *feed;
    char why_not[256]; /* accuracy is not measured; "" otherwise */
    const char *sources[CLQ_PART_COUNT];
    clq_analysis analysis;
} session;

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
static int64_t choose_limit(const session *s) {
    enum { USUAL = 512 };
    const int64_t fit = (int64_t)1000000000 / sample_bytes(s->trained);
    if (s->options->limit > 0 || fit >= USUAL) {
        return s->options->limit > 0 ? s->options->limit : USUAL;
    }
    clq_log_info("as many samples as take 1 GB with their outputs; --limit decides otherwise");
    return fit > 0 ? fit : 1;
}

/* All of them are kept; more than there is room for would end the process without a word. */
static clq_status check_memory(const session *s, int64_t samples) {
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
static clq_status open_images(session *s, clq_graph *graph, int64_t limit) {
    clq_data_source source = {.path = s->options->data,
                              .flags = &s->options->images,
                              .quiet = s->options->quantized == NULL, /* said in calibration */
                              .sources = s->sources};
    const clq_status status = clq_data_open(&source, graph, CLQ_SPLIT_TEST, limit, &s->images);
    if (status != CLQ_NO_INPUT && status != CLQ_BAD_DATA && status != CLQ_USAGE) {
        return status;
    }
    snprintf(s->why_not, sizeof s->why_not, "%s", clq_last_error());
    source.any_classes = true;
    return clq_data_open(&source, graph, CLQ_SPLIT_TEST, limit, &s->images);
}

/* Of a quantized model whose weights were equalized the float network with equalized weights, made
 * again from the images that calibrated; `train` NULL: from arrays. */
static clq_status equalize_again(session *s, clq_dataset *train, const clq_quant_config *config) {
    clq_graph *real = NULL;
    CLQ_TRY(
        clq_stage_float(s->device, s->trained, train, s->arrays, config, s->options->seed, &real));
    clq_graph_destroy(s->folded);
    s->folded = real;
    return clq_fail_in(clq_analysis_check_weights(s->folded, s->integer),
                       "%s: its weights were equalized on other data; give the data, --seed and "
                       "image flags that ptq had, or only the FP32 model",
                       s->options->quantized ? s->options->quantized : s->options->model);
}

static clq_status quantize(session *s, clq_dataset *train) {
    const options *o = s->options;
    return s->arrays ? clq_stage_ptq_arrays(s->device, s->trained, s->arrays, &o->config,
                                            &s->quantized.report, &s->integer)
                     : clq_stage_ptq(s->device, s->trained, train, &o->config, o->seed,
                                     &s->quantized.report, NULL, &s->integer);
}

/* What the calibration images are needed for: to quantize, and to equalize. */
static clq_status calibrate(session *s) {
    const options *o = s->options;
    clq_data_source source = {.path = o->data, .flags = &o->images, .any_classes = true};
    clq_quant_config config = o->config;
    clq_dataset *train = NULL;
    clq_status status = CLQ_OK;
    if (o->quantized) {
        json_t *json = clq_quantization_recorded(s->integer);
        const json_int_t images = json_integer_value(json_object_get(json, "images"));
        config.equalize = json_is_true(json_object_get(json, "equalize"));
        config.images = images > 0 ? images : config.images;
        json_decref(json);
    }
    if (o->quantized && !config.equalize) {
        if (clq_analysis_check_weights(s->folded, s->integer) != CLQ_OK) {
            clq_log_warn("%s; what this costs is part of all errors", clq_last_error());
        }
        return CLQ_OK;
    }
    CLQ_TRY(s->arrays ? CLQ_OK
                      : clq_data_open(&source, o->quantized ? s->integer : s->trained,
                                      CLQ_SPLIT_TRAIN, 0, &train));
    if (o->quantized && !s->arrays) { /* prepared as for its calibration */
        clq_preprocessing p;
        CLQ_GOTO(status, cleanup, clq_graph_preprocessing(s->integer, &p));
        CLQ_GOTO(status, cleanup, clq_graph_set_preprocessing(s->trained, &p));
    }
    CLQ_GOTO(status, cleanup, o->quantized ? CLQ_OK : quantize(s, train));
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

static clq_status take_unfolded(session *s) {
    clq_graph_destroy(s->folded);
    s->folded = NULL;
    return clq_graph_clone(s->trained, &s->folded);
}

static clq_status open_models(session *s) {
    const options *o = s->options;
    CLQ_TRY(clq_model_open(o->model, &s->trained));
    CLQ_TRY(clq_model_require_float(o->model, s->trained));
    CLQ_TRY(clq_graph_fold(s->trained, &s->folded));
    if (o->quantized) {
        CLQ_TRY(clq_model_open(o->quantized, &s->integer));
        CLQ_TRY(clq_model_to_integer(o->quantized, &s->integer));
        CLQ_TRY(has_batch_norms(s->integer) ? take_unfolded(s) : CLQ_OK);
        CLQ_TRY(clq_fail_in(clq_analysis_check(s->folded, s->integer), "%s: is not made of %s",
                            o->quantized, o->model));
    }
    return CLQ_OK;
}

/* What prepares images is what the quantized model says, which knows it from its calibration. */
static clq_status open_data(session *s, int *batch) {
    const options *o = s->options;
    clq_graph *graph = o->quantized ? s->integer : s->trained;
    const int64_t limit = choose_limit(s);
    if (s->arrays) {
        *batch = clq_eval_batch(s->trained, clq_arrays_rows(s->arrays));
        snprintf(s->why_not, sizeof s->why_not, "arrays have no labels");
        const int64_t rows = clq_arrays_rows(s->arrays);
        CLQ_TRY(check_memory(s, rows < limit ? rows : limit));
        return clq_feed_create_arrays(s->trained, s->arrays, *batch, limit, &s->feed);
    }
    CLQ_TRY(open_images(s, graph, limit));
    CLQ_TRY(check_memory(s, clq_dataset_get_info(s->images)->count));
    *batch = clq_eval_batch(s->trained, clq_dataset_get_info(s->images)->count);
    return clq_data_feed(s->device, graph, s->images, *batch, &s->feed);
}

static void close_session(session *s) {
    clq_analysis_clear(&s->analysis);
    clq_feed_destroy(s->feed);
    clq_dataset_close(s->images);
    clq_arrays_close(s->arrays);
    clq_quant_report_clear(&s->quantized.report);
    clq_graph_destroy(s->trained);
    clq_graph_destroy(s->folded);
    clq_graph_destroy(s->integer);
    clq_device_close(s->device);
}

/* ---- what is left ---- */

static json_t *to_json(const session *s) {
    const options *o = s->options;
    return clq_analysis_result(
        &s->analysis, o->model, o->quantized, o->data ? o->data : o->inputs, s->device, s->integer,
        s->arrays ? json_null()
                  : clq_preprocessing_to_json(o->quantized ? s->integer : s->trained, s->sources));
}

/* analysis.json, and the report of it. */
static clq_status leave(const session *s, clq_out_folder *out, const json_t *json) {
    char *path = NULL, *html = NULL;
    clq_status status = CLQ_OK;
    if (!out->path) {
        return CLQ_OK;
    }
    path = clq_path_join(out->path, "analysis.json");
    CLQ_GOTO(status, cleanup, path ? clq_out_clear(out) : CLQ_NO_MEMORY);
    CLQ_GOTO(status, cleanup, clq_json_dump_file(path, json));
    CLQ_GOTO(status, cleanup, clq_report_write(&out->path, 1, NULL, &html));
    if (!s->options->common.json) {
        printf("\n%s\n", html);
    }
cleanup:
    clq_free(path);
    clq_free(html);
    return status;
}

static clq_status show(const session *s, clq_out_folder *out) {
    json_t *json = to_json(s);
    clq_status status = json ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK && s->options->common.json) {
        status = clq_json_dump_stdout(json);
    } else if (status == CLQ_OK) {
        if (*s->why_not) {
            printf("accuracy was not measured: %s\n", s->why_not);
        }
        status = clq_analysis_print(&s->analysis);
    }
    if (status == CLQ_OK) {
        status = leave(s, out, json);
    }
    json_decref(json);
    return status;
}

static clq_status analyze(session *s, clq_out_folder *out) {
    const options *o = s->options;
    int batch = 1;
    CLQ_TRY(open_models(s));
    CLQ_TRY(clq_device_open(o->common.device, &s->device));
    CLQ_TRY(o->inputs ? clq_inputs_open_arrays(o->inputs, &o->images, &s->arrays) : CLQ_OK);
    CLQ_TRY(calibrate(s));
    CLQ_TRY(open_data(s, &batch));
    CLQ_TRY(clq_out_claim(out));
    clq_quantized_warn(&s->quantized);
    CLQ_TRY(
        clq_analyze(s->device, s->trained, s->folded, s->integer, s->feed, batch, 0, &s->analysis));
    CLQ_TRY(clq_analysis_time(s->device, s->folded, s->integer, &s->analysis));
    return show(s, out);
}

static clq_status run(int argc, char **argv) {
    static const char *const results[] = {"analysis.json"};
    options o = {.seed = 1};
    bool done;
    clq_quant_config_init(&o.config);
    CLQ_TRY(clq_parse(&argp, "analyze", argc, argv, &o, &done));
    CLQ_TRY(clq_quant_flags_apply(&o.flags, &o.config));
    if (o.quantized && o.flags.count > 0) {
        return clq_fail(CLQ_USAGE,
                        "%s is quantized already: flags of quantization are for making "
                        "one from the FP32 model alone",
                        o.quantized);
    }
    clq_out_folder out = {
        .path = o.out, .overwrite = o.overwrite, .results = results, .result_count = 1};
    CLQ_TRY(clq_out_check(&out));
    session s = {.options = &o, .quantized = {.method = "ptq", .config = &o.config}};
    const clq_status status = analyze(&s, &out);
    clq_out_release(&out);
    close_session(&s);
    return status;
}

const clq_command clq_command_analyze = {"analyze", "which layer loses accuracy, what it costs",
                                         run};
