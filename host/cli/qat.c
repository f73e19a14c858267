#include <stdio.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "cli/written.h"

enum { KEYS = 8, KEY_TEXT = 4096 };

typedef struct options {
    clq_common common;
    clq_image_flags images;
    clq_quant_flags quant;
    const char *model, *data, *inputs, *out, *folder, *recipe, *log_file, *class_names;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
    char keys[KEYS][KEY_TEXT]; /* flags that are keys of the recipe: overrides among the others */
    int key_count;
    bool resume, overwrite, no_labels, distills;
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

/* --inputs: nothing but a teacher's word. */
static clq_status take_inputs(options *o) {
    o->no_labels = true;
    CLQ_TRY(o->distills ? CLQ_OK : set_key(o, "--inputs", "distill.teacher", "fp32"));
    return set_key(o, "--inputs", "distill.weight", "1");
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
    case 'i':
        o->inputs = argument;
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
        o->distills = true;
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
        if (o->data && o->inputs) {
            return clq_option_fail(state, "takes either --data or --inputs, not both");
        }
        return o->inputs && take_inputs(o) != CLQ_OK
                   ? clq_option_result(state, CLQ_USAGE)
                   : CLQ_OPTION_NEEDS(state, {"a model", o->model},
                                      {"--data (or --inputs)", o->data || o->inputs},
                                      {"-o", o->out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP "; training and test split", 0},
    {"inputs", 'i', "X.npy|X.npz|IMAGES", 0,
     CLQ_INPUTS_HELP ". Instead of --data: any network learns, without labels, to give the FP32 "
                     "network's outputs",
     0},
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
    "MODEL.onnx --data DIR -o Q.onnx\nMODEL.onnx --inputs X.npz -o Q.onnx",
    "Fine-tunes a trained FP32 network quantization-aware and converts it to integers. It begins "
    "with the network that ptq makes with the same flags; a model that is quantized already has no "
    "FP32 weights left to begin with. With --out, Ctrl-C stops it behind a checkpoint, from which "
    "--resume continues."
    "\vExamples:\n"
    "  clquant qat model.onnx -D cifar-10-batches-bin -o int8.onnx\n"
    "  clquant qat model.onnx -D imagenet -r imagenet-resnet50 -O out -o int8.onnx\n"
    "  clquant qat model.onnx -D photos --distill fp32 --no-labels -o int8.onnx\n"
    "  clquant qat detector.onnx -i x.npz --epochs 4 -o int8.onnx",
    children,
    NULL,
    NULL};

static const clq_out_training trainings[] = {{CLQ_NORMS_FOLDER, "qat"}, {"", "qat"}};
static const char *const results[] = {"origin.json"};

typedef struct task {
    options o;
    clq_ranks *ranks;
    clq_device *device;
    clq_recipe *recipe;
    clq_graph *graph, *integer, *start;
    clq_data_source source;
    clq_dataset *train, *test;
    clq_arrays *arrays, *test_arrays; /* in their place; the second NULL: the first */
    clq_out_folder out;
    clq_origin origin;
    clq_quantized quantized;
} task;

/* ---- what it works on ---- */

static bool writes(const task *t) {
    return clq_ranks_rank(t->ranks) == 0;
}

/* Folder, files and recipe. */
static clq_status open_outputs(task *t) {
    options *o = &t->o;
    const char *const inputs[] = {o->model,         o->recipe,      o->data, o->inputs,
                                  o->images.labels, o->class_names, o->out};
    const size_t input_count = sizeof inputs / sizeof *inputs - 1;
    const char *out = writes(t) ? o->out : NULL, *log = writes(t) ? o->log_file : NULL;
    t->out = (clq_out_folder){.path = writes(t) ? o->folder : NULL,
                              .resume = o->resume,
                              .overwrite = o->overwrite,
                              .trainings = trainings,
                              .training_count = sizeof trainings / sizeof *trainings,
                              .results = results,
                              .result_count = 1};
    CLQ_TRY(clq_out_check(&t->out));
    CLQ_TRY(clq_out_check_log(log, &t->out, inputs, input_count + 1));
    CLQ_TRY(clq_out_check_file("-o", out, inputs, input_count));
    CLQ_TRY(clq_recipe_load(o->recipe, o->overrides, o->override_count, &t->recipe));
    t->recipe->qat.epochs = t->recipe->qat.epochs ? t->recipe->qat.epochs : 1;
    CLQ_TRY(clq_recipe_take_quant_flags(t->recipe, &o->quant, false));
    CLQ_TRY(clq_out_check_recipe("-o", out, t->recipe));
    return clq_out_check_recipe("--log-file", log, t->recipe);
}

static clq_status open_model(task *t) {
    const options *o = &t->o;
    CLQ_TRY(clq_model_open(o->model, &t->graph));
    CLQ_TRY(clq_out_check_external("-o", writes(t) ? o->out : NULL, t->graph));
    CLQ_TRY(clq_out_check_external("--log-file", writes(t) ? o->log_file : NULL, t->graph));
    CLQ_TRY(clq_model_require_float(o->model, t->graph));
    CLQ_TRY(clq_class_names_keep(o->class_names, t->graph));
    return clq_device_open_nth(o->common.device, clq_ranks_local(t->ranks), &t->device);
}

static clq_status open_splits(task *t) {
    const options *o = &t->o;
    const int64_t test_limit = o->no_labels && t->recipe->data.test_limit == 0
                                   ? o->test_images
                                   : t->recipe->data.test_limit;
    t->source = clq_inputs_source(o->inputs, o->data, &o->images);
    t->source.recipe = &t->recipe->data.given;
    t->source.any_classes = t->source.inputs_only = o->no_labels;
    CLQ_TRY(clq_data_open(&t->source, t->graph, CLQ_SPLIT_TRAIN, t->recipe->data.train_limit,
                          &t->train));
    t->source.quiet = true;
    clq_data_warn_unsplit(t->train, o->images.labels);
    return clq_data_open(&t->source, t->graph, CLQ_SPLIT_TEST, test_limit, &t->test);
}

static clq_status open_data(task *t) {
    const options *o = &t->o;
    if (o->data && clq_labelled_arrays_here(o->data)) {
        if (o->images.given.known || o->images.labels) {
            return clq_fail(CLQ_USAGE, "%s: flags that prepare images are of no use to arrays",
                            o->data);
        }
        CLQ_TRY(clq_labelled_arrays_open(o->data, CLQ_SPLIT_TRAIN, o->no_labels, &t->arrays));
        CLQ_TRY(clq_is_folder(o->data) ? clq_labelled_arrays_open(o->data, CLQ_SPLIT_TEST,
                                                                  o->no_labels, &t->test_arrays)
                                       : CLQ_OK);
    } else {
        CLQ_TRY(clq_inputs_open_arrays(o->inputs, &o->images, t->graph, &t->arrays));
    }
    if (!t->arrays) {
        return open_splits(t);
    }
    if (!t->test_arrays) {
        clq_log_warn("%s: the network is compared on the rows that it learns from",
                     clq_arrays_path(t->arrays));
    }
    return CLQ_OK;
}

/* What the recipe does not say of training without labels or on arrays goes into its section "qat",
 * so that what keeps the recipe has it too. */
static clq_status fit_recipe(task *t) {
    clq_recipe *recipe = t->recipe;
    const clq_train_job job = {
        .graph = t->graph, .train = t->train, .arrays = t->arrays, .no_labels = t->o.no_labels};
    if (!t->o.no_labels && !t->arrays) {
        return CLQ_OK;
    }
    if (!json_object_get(recipe->json, "qat")) {
        CLQ_TRY(clq_json_put(recipe->json, "qat", json_object()));
    }
    CLQ_TRY(clq_fit_qat(json_object_get(recipe->json, "qat"),
                        json_object_get(recipe->json, "train"), t->o.inputs != NULL, &job,
                        clq_ranks_size(t->ranks), &recipe->qat));
    clq_free(recipe->text);
    recipe->text = NULL;
    return clq_json_dump_exact(recipe->json, &recipe->text);
}

/* ---- the whole ---- */

/* Of what was written, and where there are no labels of what QAT began with. */
static clq_status measure(task *t) {
    clq_arrays *const arrays = t->test_arrays ? t->test_arrays : t->arrays;
    const clq_unlabelled inputs = {.images = arrays ? NULL : &t->source, .arrays = arrays};
    clq_quantized *q = &t->quantized;
    if (!t->o.no_labels && !arrays) {
        return clq_compare_accuracy(t->device, t->graph, t->integer, &t->source, t->o.test_images,
                                    &q->accuracy);
    }
    CLQ_TRY(clq_compare_unlabelled(t->device, t->graph, t->start, &inputs, t->o.test_images,
                                   &q->errors_before));
    return clq_compare_unlabelled(t->device, t->graph, t->integer, &inputs, t->o.test_images,
                                  &q->errors);
}

static clq_status train(task *t) {
    const options *o = &t->o;
    const clq_stage_options stage = {.train = t->train,
                                     .test = t->test,
                                     .arrays = t->arrays,
                                     .test_arrays = t->test_arrays,
                                     .test_rows = o->test_images,
                                     .no_labels = o->no_labels,
                                     .start = &t->start,
                                     .config = &t->recipe->qat,
                                     .recipe = t->recipe->text,
                                     .out = o->folder,
                                     .log_file = o->log_file,
                                     .resume = o->resume,
                                     .overwrite = o->overwrite,
                                     .ranks = t->ranks};
    const clq_origin_data data = {t->train, t->test, t->arrays};
    if (!o->folder) {
        clq_log_info("without --out there are no checkpoints: QAT that is interrupted starts anew");
    }
    clq_tell_logits(t->graph);
    CLQ_TRY(clq_out_claim(&t->out));
    CLQ_TRY(clq_origin_begin(&t->origin, t->recipe, t->device, &data, clq_ranks_size(t->ranks),
                             o->resume));
    CLQ_TRY(clq_watched_qat(t->device, t->graph, &stage, &(clq_watch){&t->out, &t->origin},
                            &t->recipe->qat_quant, &t->quantized.report, &t->integer));
    clq_origin_lap(&t->origin, "qat");
    return CLQ_OK;
}

static clq_status write_results(task *t) {
    CLQ_TRY(clq_origin_write(&t->origin, t->out.path, true));
    t->quantized.config = &t->recipe->qat_quant;
    CLQ_TRY(clq_written_save(t->integer, t->o.out));
    CLQ_TRY(clq_fail_in(measure(t), CLQ_BUT_WRITTEN, t->o.out));
    clq_saved_print(t->o.common.json, t->o.out, t->graph, t->integer, &t->quantized);
    return CLQ_OK;
}

static void close_task(task *t, clq_status status) {
    clq_origin_clear(&t->origin);
    clq_quant_report_clear(&t->quantized.report);
    clq_out_release(&t->out);
    clq_dataset_close(t->train);
    clq_dataset_close(t->test);
    clq_arrays_close(t->arrays);
    clq_arrays_close(t->test_arrays);
    clq_graph_destroy(t->graph);
    clq_graph_destroy(t->integer);
    clq_graph_destroy(t->start);
    clq_recipe_free(t->recipe);
    clq_device_close(t->device);
    clq_ranks_close(t->ranks, status);
}

static clq_status run(int argc, char **argv) {
    task t = {.o.test_images = CLQ_TEST_IMAGES, .quantized.method = "qat"};
    clq_status status = CLQ_OK;
    bool done;
    CLQ_TRY(clq_parse(&argp, "qat", argc, argv, &t.o, &done));
    CLQ_GOTO(status, cleanup, clq_ranks_join(&t.ranks));
    CLQ_GOTO(status, cleanup, open_outputs(&t));
    CLQ_GOTO(status, cleanup, open_model(&t));
    CLQ_GOTO(status, cleanup, open_data(&t));
    CLQ_GOTO(status, cleanup, fit_recipe(&t));
    CLQ_GOTO(status, cleanup, train(&t));
    CLQ_GOTO(status, cleanup, writes(&t) ? write_results(&t) : CLQ_OK);
cleanup:
    close_task(&t, status);
    return status;
}

const clq_command clq_command_qat = {"qat", "fine-tune a trained network quantization-aware", run};
