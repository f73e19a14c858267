#include <stdio.h>

#include <clquant/passes.h>
#include <string.h>

#include "base/files.h"
#include "cli/cli.h"
#include "cli/data.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "cli/written.h"

typedef struct options {
    clq_common common;
    const char *model, *out, *weights_in, *weights_out, *class_names, *encodings_out;
    int encodings; /* clq_encodings_format; -1: by the file's name */
    clq_image_flags images;
    clq_network_options network;
    bool fold, integer;
} options;

enum {
    NETWORK = CLQ_KEY_LONG,
    WEIGHTS_OUT,
    FOLD,
    INTEGER,
    CLASS_NAMES,
    ENCODINGS_OUT,
    ENCODINGS_FORMAT
};

static clq_status take_format(const char *argument, int *format) {
    const char *names[CLQ_ENCODINGS_FORMAT_COUNT];
    for (int i = 0; i < CLQ_ENCODINGS_FORMAT_COUNT; i++) {
        names[i] = clq_encodings_format_name((clq_encodings_format)i);
    }
    return clq_option_enum("--encodings-format", argument, names, CLQ_ENCODINGS_FORMAT_COUNT,
                           format);
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->network;
        state->child_inputs[2] = &o->images;
        return 0;
    case NETWORK:
        o->network.network = argument;
        return 0;
    case 'w':
        o->weights_in = argument;
        return 0;
    case WEIGHTS_OUT:
        o->weights_out = argument;
        return 0;
    case ENCODINGS_OUT:
        o->encodings_out = argument;
        return 0;
    case ENCODINGS_FORMAT:
        return clq_option_result(state, take_format(argument, &o->encodings));
    case CLASS_NAMES:
        o->class_names = argument;
        return 0;
    case FOLD:
        o->fold = true;
        return 0;
    case INTEGER:
        o->integer = true;
        return 0;
    case 'o':
        o->out = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->model && o->network.network) {
            return clq_option_fail(state, "takes either a model or --network, not both");
        }
        return CLQ_OPTION_NEEDS(state, {"a model (or --network)", o->model || o->network.network},
                                {"-o (or --weights-out, --encodings-out)",
                                 o->out || o->weights_out || o->encodings_out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"network", NETWORK, "NAME", 0, "Build this network (listed below)", 0},
    {"weights", 'w', "FILE", 0, CLQ_WEIGHTS_HELP, 0},
    {"weights-out", WEIGHTS_OUT, "FILE", 0,
     "Write the weights: safetensors, with torchvision's names", 0},
    {"encodings-out", ENCODINGS_OUT, "FILE", 0, "Write the scales of a quantized model", 0},
    {"encodings-format", ENCODINGS_FORMAT, "aimet-0.6.1|aimet-1.0.0|ncnn", 0,
     "As AIMET's encodings or ncnn's calibration table (default: ncnn for FILE.table, else "
     "aimet-0.6.1)",
     0},
    {"class-names", CLASS_NAMES, "FILE", 0, CLQ_CLASS_NAMES_HELP, 0},
    {"fold", FOLD, NULL, 0, "Fold batch norm into the convolutions", 0},
    {"integer", INTEGER, NULL, 0,
     "Store the weights of a quantized model as integers, by the scales in its file", 0},
    {"output", 'o', "M.onnx", 0, "The model", 0},
    {0},
};

static const struct argp_child children[] = {
    {&clq_host_argp, 0, "Common options:", 90},
    {&clq_network_argp, 0, "Network:", 10},
    {&clq_preprocessing_argp, 0, "Images, kept in the model:", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {&clq_written_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "--network NAME -o M.onnx\n"
    "MODEL.onnx [--weights-out W.safetensors] [--encodings-out FILE] [-o M.onnx]",
    "Makes a model file from a built-in network and weights, or converts one."
    "\vExamples:\n"
    "  clquant convert --network resnet50 -w resnet50.safetensors -o resnet50.onnx\n"
    "  clquant convert model.onnx --weights-out weights.safetensors\n"
    "  clquant convert model.onnx --mean 127 --std 128 --range 255 -o prepared.onnx\n"
    "  clquant convert model.onnx --class-names names.txt -o named.onnx\n"
    "  clquant convert int8.onnx --onnx-form qoperator -o qoperator.onnx",
    children,
    NULL,
    NULL};

/* Keeps in the metadata how the network's images are prepared, as far as flags say. */
static clq_status keep_preprocessing(const clq_image_flags *flags, clq_graph *graph) {
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    clq_preprocessing given = flags->given, model;
    if (!given.known) {
        return CLQ_OK;
    }
    if (input->rank != 4) {
        return clq_fail(CLQ_USAGE, "flags that prepare images are of no use to a network that "
                                   "reads rows");
    }
    CLQ_TRY(clq_image_flags_check(&given, input));
    CLQ_TRY(clq_graph_preprocessing(graph, &model));
    if ((given.known & CLQ_PART_CHANNELS) && !(given.known & CLQ_PART_NORMALISATION)) {
        clq_preprocessing_take(&given, &model, CLQ_PART_NORMALISATION);
        clq_normalization_reorder(&given, "model", model.channels, given.channels, false);
    }
    CLQ_TRY(clq_graph_set_preprocessing(graph, &given));
    return clq_graph_preprocessing(graph, &model);
}

static clq_status make(const options *o, clq_graph **graph) {
    if (o->model) {
        CLQ_TRY(clq_model_open(o->model, graph));
        CLQ_TRY(clq_out_check_external("-o", o->out, *graph));
        CLQ_TRY(clq_out_check_external("--weights-out", o->weights_out, *graph));
        CLQ_TRY(clq_out_check_external("--encodings-out", o->encodings_out, *graph));
    } else {
        clq_network_options network = o->network;
        network.leave_zero = o->weights_in != NULL;
        CLQ_TRY(clq_network_build(&network, graph));
    }
    if (o->weights_in) {
        CLQ_TRY(clq_weights_load(*graph, o->weights_in));
    }
    CLQ_TRY(clq_class_names_keep(o->class_names, *graph));
    return keep_preprocessing(&o->images, *graph);
}

static clq_encodings_format encodings_format(const options *o) {
    const char *dot = strrchr(o->encodings_out, '.');
    return o->encodings >= 0                   ? (clq_encodings_format)o->encodings
           : dot && strcmp(dot, ".table") == 0 ? CLQ_ENCODINGS_NCNN
                                               : CLQ_ENCODINGS_AIMET_0_6_1;
}

static clq_status run(int argc, char **argv) {
    options o = {.encodings = -1};
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL, *folded = NULL;
    bool done;
    CLQ_TRY(clq_parse(&argp, "convert", argc, argv, &o, &done));
    const char *const others[] = {o.model, o.weights_in, o.class_names, o.weights_out,
                                  o.encodings_out};
    CLQ_TRY(clq_out_check_file("-o", o.out, others, 5));
    CLQ_TRY(clq_out_check_file("--weights-out", o.weights_out, others, 3));
    CLQ_TRY(clq_out_check_file("--encodings-out", o.encodings_out, others, 4));
    CLQ_GOTO(status, cleanup, make(&o, &graph));
    if (o.integer) {
        CLQ_GOTO(status, cleanup,
                 clq_model_to_integer(o.model ? o.model : o.network.network, &graph));
    }
    if (o.fold) {
        CLQ_GOTO(status, cleanup,
                 clq_model_require_float(o.model ? o.model : o.network.network, graph));
        CLQ_GOTO(status, cleanup, clq_graph_fold(graph, &folded));
    }
    const clq_graph *result = folded ? folded : graph;
    if (o.weights_out) {
        CLQ_GOTO(status, cleanup, clq_weights_save(result, o.weights_out));
    }
    if (o.encodings_out) {
        CLQ_GOTO(status, cleanup,
                 clq_encodings_save(result, encodings_format(&o), o.encodings_out));
    }
    if (o.out) {
        CLQ_GOTO(status, cleanup, clq_written_save(result, o.out));
    }
    clq_saved_print(o.common.json,
                    o.out           ? o.out
                    : o.weights_out ? o.weights_out
                                    : o.encodings_out,
                    result, result, NULL);
cleanup:
    clq_graph_destroy(folded);
    clq_graph_destroy(graph);
    return status;
}

const clq_command clq_command_convert = {
    "convert", "make a model file from a network, weights or another model", run};
