#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/dump.h"
#include "cli/pipeline.h"
#include "cli/shapes.h"
#include "data/npy.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *data, *logits, *inputs, *save_labels, *codes;
    int split, batch;
    int64_t limit;
    double min_top1, min_r2;
} options;

enum { SPLIT = CLQ_KEY_LONG, LOGITS, SAVE_INPUTS, SAVE_LABELS, CODES, MIN_TOP1, MIN_R2 };

static error_t parse(int key, char *argument, struct argp_state *state) {
    static const char *const splits[] = {"train", "test"};
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->images;
        return 0;
    case 'D':
        o->data = argument;
        return 0;
    case SPLIT:
        return clq_option_result(state, clq_option_enum("--split", argument, splits, 2, &o->split));
    case 'n':
        return clq_option_result(state,
                                 clq_option_i64("--limit", argument, CLQ_IN_LIMIT, &o->limit));
    case 'b':
        return clq_option_result(state,
                                 clq_option_int("--batch", argument, CLQ_IN_BATCH, &o->batch));
    case LOGITS:
        o->logits = argument;
        return 0;
    case SAVE_INPUTS:
        o->inputs = argument;
        return 0;
    case SAVE_LABELS:
        o->save_labels = argument;
        return 0;
    case CODES:
        o->codes = argument;
        return 0;
    case MIN_TOP1:
        return clq_option_result(state, clq_option_fraction("--min-top1", argument, &o->min_top1));
    case MIN_R2:
        return clq_option_result(state,
                                 clq_option_f64("--min-r2", argument, CLQ_IN_R2, &o->min_r2));
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a model", o->model}, {"--data", o->data});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP, 0},
    {"split", SPLIT, "train|test", 0, "Which part (default test)", 0},
    {"limit", 'n', "N", 0, "At most N images or rows, spread over the set (default: all)", 0},
    {"batch", 'b', "N", 0, "Images at once (default 64, or 8 of more than 64 x 64 pixels)", 0},
    {"logits", LOGITS, "FILE.npy", 0, "Also write all outputs (images, classes) as float32", 0},
    {"save-inputs", SAVE_INPUTS, "FILE.npy", 0,
     "Also write the normalized images (images, C, H, W) as float32", 0},
    {"inputs", 0, NULL, OPTION_ALIAS | OPTION_HIDDEN, NULL, 0},
    {"save-labels", SAVE_LABELS, "FILE.npy", 0, "Also write their labels (images) as float32", 0},
    {"codes", CODES, "FILE", 0, "Also write the codes of every quantized activation (safetensors)",
     0},
    {"min-top1", MIN_TOP1, "FRACTION", 0,
     "Gate: exit code 1 when the top-1 accuracy is lower (0.9 or 90%)", 0},
    {"min-r2", MIN_R2, "NUMBER", 0, "Gate of a regression: exit code 1 when the mean R2 is lower",
     0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {argp_options,
                                 parse,
                                 "MODEL.onnx --data DIR",
                                 "Evaluates a network, FP32 or quantized, on labelled images or "
                                 "on a table."
                                 "\vExamples:\n"
                                 "  clquant eval model.onnx -D cifar-10-batches-bin\n"
                                 "  clquant eval int8.onnx -D imagenet -n 5000 --json\n"
                                 "  clquant eval int8.onnx -D images --labels val_map.txt "
                                 "--min-top1 70%",
                                 children,
                                 NULL,
                                 NULL};

/* A gate is for networks of its kind. */
static clq_status check_kind(const options *o, const clq_dataset *dataset) {
    const bool numbers = clq_dataset_get_info(dataset)->targets > 0;
    if (numbers && !isnan(o->min_top1)) {
        return clq_fail(CLQ_USAGE,
                        "--min-top1: %s predicts numbers, it has no top-1; the gate of "
                        "a regression is --min-r2",
                        o->model);
    }
    if (!numbers && !isnan(o->min_r2)) {
        return clq_fail(CLQ_USAGE,
                        "--min-r2: %s tells classes apart, it has no R2; the gate of a "
                        "classifier is --min-top1",
                        o->model);
    }
    return CLQ_OK;
}

static clq_status check_gates(const options *o, const clq_evaluation *e) {
    if (!isnan(o->min_r2) && isnan(e->r2)) {
        return clq_fail(CLQ_GATE_FAILED,
                        "%s: R2 is not known, since all numbers to predict are "
                        "equal, and so not above the gate of %.4f",
                        o->model, o->min_r2);
    }
    if (!isnan(o->min_top1) && !(e->top1 >= o->min_top1)) {
        return clq_fail(CLQ_GATE_FAILED, "%s: top-1 %.4f is below the gate of %.4f", o->model,
                        e->top1, o->min_top1);
    }
    if (!isnan(o->min_r2) && !(e->r2 >= o->min_r2)) {
        return clq_fail(CLQ_GATE_FAILED, "%s: R2 %.4f is below the gate of %.4f", o->model, e->r2,
                        o->min_r2);
    }
    return CLQ_OK;
}

static clq_status evaluate(const options *o, clq_device *device, clq_graph *graph,
                           clq_dataset *dataset, const char *const *sources) {
    const int64_t classes = graph->values[clq_graph_output(graph)].shape.dim[1];
    const int64_t images = clq_dataset_get_info(dataset)->count;
    clq_evaluation evaluation = {0};
    clq_status status = CLQ_OK;
    float *logits = NULL;
    clq_tell_logits(graph);
    if (o->logits) {
        logits = clq_calloc((size_t)images * (size_t)classes, sizeof *logits);
        if (!logits) {
            return CLQ_NO_MEMORY;
        }
    }
    CLQ_GOTO(status, cleanup,
             clq_stage_evaluate(device, graph, !o->codes, dataset, o->batch, "eval", &evaluation,
                                logits));
    if (logits) {
        CLQ_GOTO(status, cleanup,
                 clq_npy_write(o->logits, logits, (int64_t[]){images, classes}, 2));
    }
    if (o->inputs) {
        CLQ_GOTO(status, cleanup, clq_dump_inputs(device, graph, dataset, o->inputs));
    }
    if (o->save_labels) {
        CLQ_GOTO(status, cleanup, clq_dump_labels(dataset, o->save_labels));
    }
    if (o->codes) {
        CLQ_GOTO(status, cleanup, clq_dump_codes(device, graph, dataset, o->codes));
    }
    if (o->common.json) {
        json_t *json = clq_evaluation_to_json(&evaluation, graph, dataset, sources);
        status = clq_json_dump_stdout(json);
        json_decref(json);
    } else {
        clq_evaluation_print(&evaluation, o->model, dataset);
    }
    if (status == CLQ_OK) {
        status = check_gates(o, &evaluation);
    }
cleanup:
    clq_evaluation_clear(&evaluation);
    clq_free(logits);
    return status;
}

/* Pixels, or rows, of arrays that have labels. */
static clq_status evaluate_arrays(const options *o, clq_device *device, clq_graph *graph) {
    clq_evaluation evaluation = {0};
    clq_status status = CLQ_OK;
    clq_arrays *arrays = NULL;
    if (o->logits || o->inputs || o->save_labels || o->codes || o->images.labels ||
        o->images.given.known || !isnan(o->min_r2)) {
        return clq_fail(CLQ_USAGE,
                        "%s: arrays are fed as they are, and nothing of them is written "
                        "or of a regression; predict writes outputs",
                        o->data);
    }
    clq_tell_logits(graph);
    CLQ_GOTO(status, cleanup,
             clq_labelled_arrays_open(o->data, (clq_split)o->split, false, &arrays));
    CLQ_GOTO(status, cleanup,
             clq_stage_evaluate_arrays(device, graph, arrays, o->limit, o->batch, &evaluation));
    if (o->common.json) {
        json_t *json = clq_evaluation_to_json(&evaluation, graph, NULL, NULL);
        status = clq_json_dump_stdout(json);
        json_decref(json);
    } else {
        clq_evaluation_print(&evaluation, o->model, NULL);
    }
    status = status == CLQ_OK ? check_gates(o, &evaluation) : status;
cleanup:
    clq_evaluation_clear(&evaluation);
    clq_arrays_close(arrays);
    return status;
}

/* Each output beside the inputs and the outputs before it; beside the model's external data once it
 * is loaded, until then `graph` is NULL. */
static clq_status check_outputs(const options *o, const clq_graph *graph) {
    static const char *const names[] = {"--logits", "--save-inputs", "--save-labels", "--codes"};
    enum { INPUTS = 3 };
    const char *const files[] = {o->model,  o->data,        o->images.labels, o->logits,
                                 o->inputs, o->save_labels, o->codes};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *path = files[INPUTS + i];
        CLQ_TRY(graph ? clq_out_check_external(names[i], path, graph)
                      : clq_out_check_file(names[i], path, files, INPUTS + i));
    }
    return CLQ_OK;
}

static clq_status run(int argc, char **argv) {
    options o = {.split = CLQ_SPLIT_TEST, .min_top1 = NAN, .min_r2 = NAN};
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_dataset *dataset = NULL;
    bool done;
    CLQ_TRY(clq_parse(&argp, "eval", argc, argv, &o, &done));
    const char *sources[CLQ_PART_COUNT] = {NULL};
    const clq_data_source source = {.path = o.data, .flags = &o.images, .sources = sources};
    CLQ_TRY(check_outputs(&o, NULL));
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, check_outputs(&o, graph));
    if (o.codes) {
        CLQ_GOTO(status, cleanup, clq_model_to_integer(o.model, &graph));
    }
    if (clq_graph_form(graph) == CLQ_FORM_QUANTIZED) {
        clq_log_warn(
            "%s: its weights are stored as floats: simulated in floats (convert --integer stores "
            "the integers that they stand for)",
            o.model);
    }
    CLQ_GOTO(status, cleanup, clq_device_open(o.common.device, &device));
    if (clq_labelled_arrays_here(o.data)) {
        status = evaluate_arrays(&o, device, graph);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_data_open(&source, graph, (clq_split)o.split, o.limit, &dataset));
    CLQ_GOTO(status, cleanup, check_kind(&o, dataset));
    CLQ_GOTO(status, cleanup, evaluate(&o, device, graph, dataset, sources));
cleanup:
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
    clq_device_close(device);
    return status;
}

const clq_command clq_command_eval = {"eval", "accuracy, loss and confusion of a network on data",
                                      run};
