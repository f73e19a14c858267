#include <stdio.h>

#include "base/files.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "cli/written.h"

enum { KEYS = 8, KEY_TEXT = 4096 };

typedef struct options {
    clq_common common;
    clq_image_flags images;
    clq_quant_flags quant;
    const char *model, *data, *out, *folder, *recipe, *log_file, *class_names;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
    char keys[KEYS][KEY_TEXT]; /* flags that are keys of the recipe: overrides among the others */
    int key_count;
    bool resume, overwrite, no_labels;
    int64_t test_images;
} options;

enum {
    LOG_FILE = CLQ_KEY_LONG,
    LEARN_SCALES,
    INT8_FORWARD,
    RECOMPUTE,
    TEST_IMAGES,
    RESUME,
    OVERWRITE,
    CLASS_NAMES,
    OBSERVER_EPOCHS,
    FREEZE_BN_EPOCH,
    DISTILL,
    NO_LABELS
};

/* A flag as a key of the recipe's section "qat", so that what keeps the recipe has it too. */
static clq_status set_key(options *o, const char *flag, const char *key, const char *value) {
    char *text = o->keys[o->key_count];
    if (o->key_count == KEYS) {
        return clq_fail(CLQ_USAGE, "%s: was given too often", flag);
    }
    if (clq_snprintf(text, KEY_TEXT, "qat.%s=%s", key, value) >= KEY_TEXT) {
        return clq_fail(CLQ_USAGE, "%s: is longer than %d bytes", flag, KEY_TEXT);
    }
    o->key_count++;
    return clq_option_override(text, o->overrides, &o->override_count);
}

static clq_status set_whole(options *o, const char *flag, const char *key, const char *value,
                            int low, int high) {
    int number;
    CLQ_TRY(clq_option_int(flag, value, low, high, &number));
    return set_key(o, flag, key, value);
}

static clq_status set_number(options *o, const char *flag, const char *key, const char *value,
                             double low, double high) {
    double number;
    CLQ_TRY(clq_option_f64(flag, value, low, high, &number));
    return set_key(o, flag, key, value);
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->quant;
        state->child_inputs[2] = &o->images;
        return 0;
    case 'D':
        o->data = argument;
        return 0;
    case 'o':
        o->out = argument;
        return 0;
    case 'O':
        o->folder = argument;
        return 0;
    case 'r':
        o->recipe = argument;
        return 0;
    case LOG_FILE:
        o->log_file = argument;
        return 0;
    case 'e':
        return clq_option_result(state,
                                 set_whole(o, "--epochs", "epochs", argument, CLQ_IN_EPOCHS));
    case OBSERVER_EPOCHS:
        return clq_option_result(state, set_number(o, "--observer-epochs", "observer_epochs",
                                                   argument, CLQ_IN_OBSERVER_EPOCHS));
    case 's':
        return clq_option_result(state,
                                 clq_option_override(argument, o->overrides, &o->override_count));
    case LEARN_SCALES:
        return clq_option_result(state, set_key(o, "--learn-scales", "learn_scales", argument));
    case INT8_FORWARD:
        return clq_option_result(
            state, clq_option_override("qat.int8_forward=true", o->overrides, &o->override_count));
    case RECOMPUTE:
        return clq_option_result(
            state, clq_option_override("qat.recompute=true", o->overrides, &o->override_count));
    case FREEZE_BN_EPOCH:
        return clq_option_result(state, set_whole(o, "--freeze-bn-epoch", "freeze_bn_epoch",
                                                  argument, CLQ_IN_QAT_EPOCHS));
    case DISTILL:
        return clq_option_result(state, set_key(o, "--distill", "distill.teacher", argument));
    case NO_LABELS:
        o->no_labels = true;
        return clq_option_result(state, set_key(o, "--no-labels", "distill.weight", "1"));
    case TEST_IMAGES:
        return clq_option_result(
            state, clq_option_i64("--test-images", argument, CLQ_IN_DATA_LIMIT, &o->test_images));
    case CLASS_NAMES:
        o->class_names = argument;
        return 0;
    case RESUME:
        o->resume = true;
        return 0;
    case OVERWRITE:
        o->overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->resume && !o->folder) {
            return clq_option_fail(state, "--resume needs --out");
        }
        return CLQ_OPTION_NEEDS(state, {"a model", o->model}, {"--data", o->data}, {"-o", o->out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP "; training and test split", 0},
    {"output", 'o', "Q.onnx", 0, "The quantized model", 0},
    {"out", 'O', "DIR", 0, "Folder for history and checkpoints (default: none are kept)", 0},
    {"epochs", 'e', "N", 0, "Epochs of fine-tuning (default: the recipe's, else 1)", 0},
    {"observer-epochs", OBSERVER_EPOCHS, "NUMBER", 0,
     "Epochs in which the activations' ranges still move; may be fractional (default 1, or half of "
     "the only one)",
     0},
    {"freeze-bn-epoch", FREEZE_BN_EPOCH, "N", 0,
     "Batch norms learn in so many of the first epochs, with the batch's statistics, and are "
     "folded "
     "and frozen from then on (default 0)",
     0},
    {"distill", DISTILL, "fp32|FILE.onnx", 0,
     "Learn from a teacher too: the FP32 network, or another one (default: the recipe's)", 0},
    {"no-labels", NO_LABELS, NULL, 0,
     "Learn from the teacher alone, on images or rows without labels; instead of accuracy, says "
     "how "
     "far outputs are from FP32's",
     0},
    {"recipe", 'r', "FILE", 0, "Its section \"qat\" applies (default: no recipe)", 0},
    {"set", 's', "KEY=VALUE", 0, "Sets a key of the recipe (qat.schedule.lr=0.01)", 0},
    {"class-names", CLASS_NAMES, "FILE", 0, CLQ_CLASS_NAMES_HELP, 0},
    {"log-file", LOG_FILE, "FILE", 0, CLQ_LOG_FILE_HELP, 0},
    {"learn-scales", LEARN_SCALES, "HOW", 0,
     "Learns scales by gradient: lsq, lsq+ (and offsets of activations) or pact (clipping levels "
     "behind ReLU); default: none are learned",
     0},
    {"int8-forward", INT8_FORWARD, NULL, 0,
     "Once ranges are fixed, layers compute forward on integers: the same bits, faster with VNNI",
     0},
    {"recompute", RECOMPUTE, NULL, 0, CLQ_RECOMPUTE_HELP, 0},
    {"test-images", TEST_IMAGES, "N", 0, CLQ_TEST_IMAGES_HELP, 0},
    {"resume", RESUME, NULL, 0, "Continue from the newest checkpoint in --out, to the same bits",
     0},
    {"overwrite", OVERWRITE, NULL, 0, CLQ_OVERWRITE_HELP, 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_quant_flags_argp, 0, "Quantization (default: the recipe's, else as ptq's):", 10},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {&clq_written_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx --data DIR -o Q.onnx",
    "Fine-tunes a trained FP32 network quantization-aware and converts it to integers. It begins "
    "with the network that ptq makes with the same flags; a model that is quantized already has no "
    "FP32 weights left to begin with. With --out, Ctrl-C stops it behind a checkpoint, from which "
    "--resume continues."
    "\vExamples:\n"
    "  clquant qat model.onnx -D cifar-10-batches-bin -o int8.onnx\n"
    "  clquant qat model.onnx -D imagenet -r imagenet-resnet50 -O out -o int8.onnx\n"
    "  clquant qat model.onnx -D photos --distill fp32 --no-labels -o int8.onnx",
    children,
    NULL,
    NULL};

static const clq_out_training trainings[] = {{CLQ_NORMS_FOLDER, "qat"}, {"", "qat"}};
static const char *const results[] = {"origin.json"};

/* Of what was written, and where there are no labels of what QAT began with. */
static clq_status measure(const options *o, clq_device *device, clq_graph *fp32, clq_graph *start,
                          clq_graph *integer, const clq_data_source *source,
                          clq_quantized *quantized) {
    const clq_unlabelled inputs = {.images = source};
    if (!o->no_labels) {
        return clq_compare_accuracy(device, fp32, integer, source, o->test_images,
                                    &quantized->accuracy);
    }
    CLQ_TRY(clq_compare_unlabelled(device, fp32, start, &inputs, o->test_images,
                                   &quantized->errors_before));
    return clq_compare_unlabelled(device, fp32, integer, &inputs, o->test_images,
                                  &quantized->errors);
}

static clq_status run(int argc, char **argv) {
    options o = {.test_images = CLQ_TEST_IMAGES};
    clq_status status = CLQ_OK;
    clq_ranks *ranks = NULL;
    clq_device *device = NULL;
    clq_recipe *recipe = NULL;
    clq_graph *graph = NULL, *integer = NULL, *start = NULL;
    clq_dataset *train = NULL, *test = NULL;
    clq_out_folder out = {0};
    clq_origin origin = {0};
    clq_quantized quantized = {.method = "qat"};
    bool done;
    CLQ_TRY(clq_parse(&argp, "qat", argc, argv, &o, &done));
    CLQ_GOTO(status, cleanup, clq_ranks_join(&ranks));
    const bool writes = clq_ranks_rank(ranks) == 0;
    const char *const inputs[] = {o.model, o.recipe, o.data, o.images.labels, o.class_names, o.out};
    const size_t input_count = sizeof inputs / sizeof *inputs - 1;
    out = (clq_out_folder){.path = writes ? o.folder : NULL,
                           .resume = o.resume,
                           .overwrite = o.overwrite,
                           .trainings = trainings,
                           .training_count = sizeof trainings / sizeof *trainings,
                           .results = results,
                           .result_count = 1};
    CLQ_GOTO(status, cleanup, clq_out_check(&out));
    CLQ_GOTO(status, cleanup,
             clq_out_check_log(writes ? o.log_file : NULL, &out, inputs, input_count + 1));
    CLQ_GOTO(status, cleanup, clq_out_check_file("-o", writes ? o.out : NULL, inputs, input_count));
    CLQ_GOTO(status, cleanup, clq_recipe_load(o.recipe, o.overrides, o.override_count, &recipe));
    recipe->qat.epochs = recipe->qat.epochs ? recipe->qat.epochs : 1;
    CLQ_GOTO(status, cleanup, clq_recipe_take_quant_flags(recipe, &o.quant, false));
    CLQ_GOTO(status, cleanup, clq_out_check_recipe("-o", writes ? o.out : NULL, recipe));
    CLQ_GOTO(status, cleanup,
             clq_out_check_recipe("--log-file", writes ? o.log_file : NULL, recipe));
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_out_check_external("-o", writes ? o.out : NULL, graph));
    CLQ_GOTO(status, cleanup,
             clq_out_check_external("--log-file", writes ? o.log_file : NULL, graph));
    CLQ_GOTO(status, cleanup, clq_model_require_float(o.model, graph));
    CLQ_GOTO(status, cleanup, clq_class_names_keep(o.class_names, graph));
    CLQ_GOTO(status, cleanup,
             clq_device_open_nth(o.common.device, clq_ranks_local(ranks), &device));
    clq_data_source source = {.path = o.data,
                              .flags = &o.images,
                              .recipe = &recipe->data.given,
                              .any_classes = o.no_labels,
                              .inputs_only = o.no_labels};
    const int64_t test_limit =
        o.no_labels && recipe->data.test_limit == 0 ? o.test_images : recipe->data.test_limit;
    CLQ_GOTO(status, cleanup,
             clq_data_open(&source, graph, CLQ_SPLIT_TRAIN, recipe->data.train_limit, &train));
    source.quiet = true;
    clq_data_warn_unsplit(train, o.images.labels);
    CLQ_GOTO(status, cleanup, clq_data_open(&source, graph, CLQ_SPLIT_TEST, test_limit, &test));
    if (!o.folder) {
        clq_log_info("without --out there are no checkpoints: QAT that is interrupted starts anew");
    }
    clq_tell_logits(graph);
    CLQ_GOTO(status, cleanup, clq_out_claim(&out));
    CLQ_GOTO(
        status, cleanup,
        clq_origin_begin(&origin, recipe, device, train, test, clq_ranks_size(ranks), o.resume));
    const clq_stage_options stage = {.train = train,
                                     .test = test,
                                     .no_labels = o.no_labels,
                                     .start = &start,
                                     .config = &recipe->qat,
                                     .recipe = recipe->text,
                                     .out = o.folder,
                                     .log_file = o.log_file,
                                     .resume = o.resume,
                                     .overwrite = o.overwrite,
                                     .clears = &out,
                                     .origin = &origin,
                                     .ranks = ranks};
    CLQ_GOTO(status, cleanup,
             clq_stage_qat(device, graph, &stage, &recipe->qat_quant, &quantized.report, &integer));
    clq_origin_lap(&origin, "qat");
    if (writes) {
        CLQ_GOTO(status, cleanup, clq_origin_write(&origin, out.path, true));
        quantized.config = &recipe->qat_quant;
        CLQ_GOTO(status, cleanup, clq_written_save(integer, o.out));
        CLQ_GOTO(status, cleanup,
                 clq_fail_in(measure(&o, device, graph, start, integer, &source, &quantized),
                             CLQ_BUT_WRITTEN, o.out));
        clq_saved_print(o.common.json, o.out, graph, integer, &quantized);
    }
cleanup:
    clq_origin_clear(&origin);
    clq_quant_report_clear(&quantized.report);
    clq_out_release(&out);
    clq_dataset_close(train);
    clq_dataset_close(test);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
    clq_graph_destroy(start);
    clq_recipe_free(recipe);
    clq_device_close(device);
    clq_ranks_close(ranks, status);
    return status;
}

const clq_command clq_command_qat = {"qat", "fine-tune a trained network quantization-aware", run};
