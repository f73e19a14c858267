#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/ranges.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/predictions.h"
#include "cli/shapes.h"
#include "formats/layout.h"
#include "train/metadata.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *inputs, *out;
    int64_t limit;
    int batch;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->images;
        return 0;
    case 'i':
        o->inputs = argument;
        return 0;
    case 'o':
        o->out = argument;
        return 0;
    case 'n':
        return clq_option_result(state,
                                 clq_option_i64("--limit", argument, CLQ_IN_LIMIT, &o->limit));
    case 'b':
        return clq_option_result(state,
                                 clq_option_int("--batch", argument, CLQ_IN_BATCH, &o->batch));
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a model", o->model}, {"--inputs", o->inputs},
                                {"-o", o->out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"inputs", 'i', "X.npy|X.npz|X.csv|IMAGES", 0,
     CLQ_INPUTS_HELP ". A table's columns go by name, and those to predict may be missing", 0},
    {"output", 'o', "OUT.npz|OUT.csv", 0,
     "Outputs under their names as float32 (.npz; .npy when there is one), or a line each with the "
     "largest output and its class (.csv)",
     0},
    {"limit", 'n', "N", 0, "The first N rows; N images, spread over the set (default: all)", 0},
    {"batch", 'b', "N", 0, "Inputs at once (default 64, or 8 of more than 64 x 64 pixels)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx --inputs X.npy|X.npz|X.csv|IMAGES -o OUT.npz|OUT.csv",
    "Runs a network, FP32 or quantized, with any inputs and outputs, on data without labels."
    "\vExamples:\n"
    "  clquant predict int8.onnx -i photos -o classes.csv\n"
    "  clquant predict model.onnx -i rows.csv -o predicted.csv\n"
    "  clquant predict model.onnx -i x.npz -o y.npz",
    children,
    NULL,
    NULL};

/* ---- what was done ---- */

typedef struct result {
    int64_t count;
    const char *unit;
    double seconds;
} result;

static clq_status print_json(const options *o, const clq_graph *graph, const result *r) {
    json_t *json = clq_json_result(), *outputs = json_array();
    json_object_set_new(json, "model", clq_json_string(o->model));
    json_object_set_new(json, "form", clq_json_string(clq_graph_form_name(graph)));
    json_object_set_new(json, "inputs", clq_json_string(o->inputs));
    json_object_set_new(json, "output", clq_json_string(o->out));
    json_object_set_new(json, "unit", clq_json_string(r->unit));
    json_object_set_new(json, "count", json_integer(r->count));
    json_object_set_new(json, "seconds", clq_json_real(r->seconds));
    for (int i = 0; i < graph->output_count; i++) {
        const clq_shape shape = clq_output_array_shape(graph, i, r->count);
        json_t *output = json_object(), *dims = json_array();
        for (int d = 0; d < shape.rank; d++) {
            json_array_append_new(dims, json_integer(shape.dim[d]));
        }
        json_object_set_new(output, "name", clq_json_string(clq_graph_output_name(graph, i)));
        json_object_set_new(output, "shape", dims);
        json_array_append_new(outputs, output);
    }
    json_object_set_new(json, "outputs", outputs);
    const clq_status status = clq_json_dump_stdout(json);
    json_decref(json);
    return status;
}

static void print_text(const options *o, const clq_graph *graph, const result *r) {
    printf("%s: %lld %.*s through the %s network %s in %.2f s\n", o->out, (long long)r->count,
           clq_unit_length(r->unit, r->count), r->unit, clq_graph_form_name(graph), o->model,
           r->seconds);
    for (int i = 0; i < graph->output_count; i++) {
        const clq_shape shape = clq_output_array_shape(graph, i, r->count);
        char text[96];
        clq_shape_text(&shape, text, sizeof text);
        printf("  ");
        clq_print_name(clq_graph_output_name(graph, i));
        printf(": %s\n", text);
    }
}

/* ---- networks whose result for one sample depends on the others ---- */

static bool rounds_together(const clq_graph *graph) {
    for (int n = 0; n < graph->node_count; n++) {
        if (strcmp(graph->nodes[n].op->name, "dynamic_quantize") == 0) {
            return true;
        }
    }
    return false;
}

/* A dynamically quantized network rounds by the range of all that it is given at once: where the
 * model leaves the batch open, all rows of the arrays, as other runtimes do. *graph then takes them
 * as one sample. */
static clq_status take_together(const options *o, clq_inputs *inputs, clq_graph **graph) {
    const int64_t rows = inputs->count;
    clq_onnx_shape shapes[CLQ_MAX_ENDS];
    clq_graph *together = NULL;
    if (rows == 1 || o->batch == 1 || !clq_input_has_batch(*graph, 0) || !rounds_together(*graph)) {
        return CLQ_OK;
    }
    if ((o->batch && o->batch != rows) || (o->limit && o->limit < rows)) {
        return clq_fail(CLQ_USAGE,
                        "%s: is quantized dynamically, by the range of all that it is given: all "
                        "%lld rows of %s, or --batch 1 for each by itself",
                        o->model, (long long)rows, o->inputs);
    }
    for (int i = 0; i < (*graph)->input_count; i++) {
        const clq_shape shape = clq_input_file_shape(*graph, i);
        shapes[i] = (clq_onnx_shape){.input = clq_graph_input_name(*graph, i), .rank = shape.rank};
        memcpy(shapes[i].dim, shape.dim, sizeof shape.dim);
        shapes[i].dim[0] = rows;
    }
    const clq_status status =
        clq_onnx_load_shaped(o->model, shapes, (size_t)(*graph)->input_count, &together);
    if (status == CLQ_USAGE) { /* the batch is not open */
        return CLQ_OK;
    }
    CLQ_TRY(status);
    clq_graph_destroy(*graph);
    *graph = together;
    inputs->count = 1;
    clq_log_info("%s: rounds by the range of all %lld rows together; --batch 1: of each by itself",
                 o->model, (long long)rows);
    return CLQ_OK;
}

/* ---- the command ---- */

static clq_status predict(const options *o, clq_device *device, clq_graph *graph,
                          const clq_inputs *inputs, result *r) {
    const int64_t count = o->limit && o->limit < inputs->count ? o->limit : inputs->count;
    const bool together = inputs->arrays && count < clq_arrays_rows(inputs->arrays) && !o->limit;
    const int batch = o->batch && !together ? o->batch : clq_eval_batch(graph, count);
    clq_status status = CLQ_OK;
    clq_graph *folded = NULL;
    clq_exec *exec = NULL;
    clq_feed *feed = NULL;
    clq_predictions *predictions = NULL;
    const clq_exec_options options = {.batch = batch, .expected_runs = (uint64_t)(count / batch)};
    CLQ_GOTO(status, cleanup, clq_inference_open(device, graph, &options, &folded, &exec));
    CLQ_GOTO(status, cleanup, clq_inputs_feed(device, clq_exec_graph(exec), inputs, batch, &feed));
    CLQ_GOTO(status, cleanup, clq_predictions_open(o->out, graph, inputs->dataset, &predictions));
    const double start = clq_now_seconds();
    CLQ_GOTO(
        status, cleanup,
        clq_predict(exec, feed, count, "predict", clq_predictions_add, predictions, &r->count));
    CLQ_GOTO(status, cleanup, clq_predictions_commit(&predictions));
    r->seconds = clq_now_seconds() - start;
    r->unit = together ? "samples" : clq_feed_unit(feed);
cleanup:
    clq_predictions_abort(&predictions);
    clq_feed_destroy(feed);
    clq_exec_destroy(exec);
    clq_graph_destroy(folded);
    return status;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    result r = {0};
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_inputs inputs = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "predict", argc, argv, &o, &done));
    const char *const others[] = {o.model, o.inputs, o.images.labels};
    CLQ_TRY(clq_predictions_check_path(o.out));
    CLQ_TRY(clq_out_check_file("-o", o.out, others, sizeof others / sizeof *others));
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_out_check_external("-o", o.out, graph));
    if (clq_graph_form(graph) == CLQ_FORM_QUANTIZED) {
        clq_log_warn("%s: its activations are quantized, its weights float: simulated in floats",
                     o.model);
    }
    CLQ_GOTO(status, cleanup, clq_device_open(o.common.device, &device));
    CLQ_GOTO(status, cleanup, clq_inputs_open(o.inputs, &o.images, graph, o.limit, &inputs));
    if (inputs.arrays) {
        CLQ_GOTO(status, cleanup, take_together(&o, &inputs, &graph));
    }
    if (clq_graph_get_metadata(graph, CLQ_META_TARGET_MEAN)) {
        clq_log_info("%s: %s", o.model,
                     inputs.dataset
                         ? "outputs are written in the units of its targets"
                         : "inputs and outputs are normalized: its metadata "
                           "clquant.target_mean and clquant.target_std turn outputs back");
    }
    CLQ_GOTO(status, cleanup, predict(&o, device, graph, &inputs, &r));
    if (o.common.json) {
        status = print_json(&o, graph, &r);
    } else {
        print_text(&o, graph, &r);
    }
cleanup:
    clq_inputs_close(&inputs);
    clq_graph_destroy(graph);
    clq_device_close(device);
    return status;
}

const clq_command clq_command_predict = {"predict", "outputs of a network for data without labels",
                                         run};
