#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "cli/written.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *data, *inputs, *out, *class_names, *encodings;
    clq_quant_flags flags;
    clq_quant_config config;
    uint64_t seed;
    int64_t test_images;
} options;

enum { TEST_IMAGES = CLQ_KEY_LONG, CLASS_NAMES, ENCODINGS };

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
    case 'o':
        o->out = argument;
        return 0;
    case 'S':
        return clq_option_result(state, clq_option_seed(argument, &o->seed));
    case CLASS_NAMES:
        o->class_names = argument;
        return 0;
    case ENCODINGS:
        o->encodings = argument;
        return 0;
    case TEST_IMAGES:
        return clq_option_result(
            state, clq_option_i64("--test-images", argument, CLQ_IN_DATA_LIMIT, &o->test_images));
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->data && o->inputs) {
            return clq_option_fail(state, "takes either --data or --inputs, not both");
        }
        return CLQ_OPTION_NEEDS(
            state, {"a model", o->model},
            {"--data (or --inputs, --encodings)", o->data || o->inputs || o->encodings},
            {"-o", o->out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_UNLABELLED_HELP "; the training split calibrates", 0},
    {"inputs", 'i', "X.npy|X.npz|IMAGES", 0, CLQ_INPUTS_HELP "; instead of --data", 0},
    {"output", 'o', "Q.onnx", 0, "The quantized model", 0},
    {"encodings", ENCODINGS, "FILE", 0,
     "Take scales from AIMET's encodings or ncnn's table; --data or --inputs then calibrate only "
     "what the file does not name",
     0},
    {"test-images", TEST_IMAGES, "N", 0, CLQ_TEST_IMAGES_HELP, 0},
    {"class-names", CLASS_NAMES, "FILE", 0, CLQ_CLASS_NAMES_HELP, 0},
    {"seed", 'S', "N", 0, "Seed of the choice of calibration images (default 1)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_quant_flags_argp, 0, "Quantization:", 10},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {&clq_written_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx --data DIR -o Q.onnx\nMODEL.onnx --inputs X.npz -o Q.onnx\n"
    "MODEL.onnx --encodings FILE -o Q.onnx",
    "Quantizes a trained FP32 network by calibration (PTQ), or by given scales."
    "\vExamples:\n"
    "  clquant ptq model.onnx -D cifar-10-batches-bin -o int8.onnx\n"
    "  clquant ptq model.onnx -D imagenet --scale pow2 -o int8.onnx\n"
    "  clquant ptq model.onnx -D imagenet --observer all -o int8.onnx\n"
    "  clquant ptq detector.onnx -i x.npz -o int8.onnx\n"
    "  clquant ptq model.onnx --encodings model.encodings -o int8.onnx",
    children,
    NULL,
    NULL};

/* On arrays, or else images or a table. */
static clq_status quantize_on_data(const options *o, clq_graph *graph, clq_graph **integer,
                                   clq_quantized *quantized) {
    const clq_data_source source = clq_inputs_source(o->inputs, o->data, &o->images);
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_dataset *train = NULL;
    clq_arrays *arrays = NULL;
    CLQ_GOTO(status, cleanup, clq_device_open(o->common.device, &device));
    CLQ_GOTO(status, cleanup, clq_inputs_open_arrays(o->inputs, &o->images, graph, &arrays));
    if (arrays) {
        CLQ_GOTO(
            status, cleanup,
            clq_stage_ptq_arrays(device, graph, arrays, &o->config, &quantized->report, integer));
    } else {
        CLQ_GOTO(status, cleanup, clq_calibration_images(&source, &o->config, graph, &train));
        CLQ_GOTO(status, cleanup,
                 clq_stage_ptq(device, graph, train, &o->config, o->seed, &quantized->report, NULL,
                               integer));
    }
    CLQ_GOTO(status, cleanup, clq_written_save(*integer, o->out));
    status = clq_fail_in(clq_compare_quantized(device, graph, *integer, arrays ? NULL : &source,
                                               arrays, o->test_images, quantized),
                         CLQ_BUT_WRITTEN, o->out);
cleanup:
    clq_dataset_close(train);
    clq_arrays_close(arrays);
    clq_device_close(device);
    return status;
}

/* Without images nothing is measured either. */
static clq_status quantize_by_encodings(const options *o, const clq_graph *graph,
                                        clq_graph **integer, clq_quantized *quantized) {
    CLQ_TRY(clq_stage_ptq_encodings(graph, &o->config, &quantized->report, integer));
    snprintf(quantized->accuracy.why_not, sizeof quantized->accuracy.why_not,
             "no images were given");
    return clq_written_save(*integer, o->out);
}

static clq_status run(int argc, char **argv) {
    options o = {.seed = 1, .test_images = CLQ_TEST_IMAGES};
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL, *integer = NULL;
    clq_quantized quantized = {.method = "ptq", .config = &o.config};
    bool done;
    clq_quant_config_init(&o.config);
    CLQ_TRY(clq_parse(&argp, "ptq", argc, argv, &o, &done));
    CLQ_TRY(clq_quant_flags_apply(&o.flags, &o.config));
    const char *const inputs[] = {o.model,         o.data,        o.inputs,
                                  o.images.labels, o.class_names, o.encodings};
    CLQ_TRY(clq_out_check_file("-o", o.out, inputs, sizeof inputs / sizeof *inputs));
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_out_check_external("-o", o.out, graph));
    CLQ_GOTO(status, cleanup, clq_model_require_float(o.model, graph));
    CLQ_GOTO(status, cleanup, clq_class_names_keep(o.class_names, graph));
    if (o.encodings) {
        CLQ_GOTO(status, cleanup, clq_encodings_load(o.encodings, &o.config.encodings));
    }
    CLQ_GOTO(status, cleanup,
             o.inputs || o.data ? quantize_on_data(&o, graph, &integer, &quantized)
                                : quantize_by_encodings(&o, graph, &integer, &quantized));
    clq_saved_print(o.common.json, o.out, graph, integer, &quantized);
cleanup:
    clq_encodings_destroy(o.config.encodings);
    clq_quant_report_clear(&quantized.report);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
    return status;
}

const clq_command clq_command_ptq = {"ptq", "quantize a trained network by calibration", run};
