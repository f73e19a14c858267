#include <stdio.h>

#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/job.h"
#include "cli/written.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    clq_quant_flags quant;
    clq_job_options job;
    const char *recipe, *weights;
    bool new_head;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
    char epochs[32]; /* one of the overrides */
} options;

enum { NEW_HEAD = CLQ_KEY_LONG, LOG_FILE, RECOMPUTE, RESUME, OVERWRITE, ANALYZE };

/* A key like others, so that what keeps the recipe has it too. */
static clq_status set_epochs(options *o, const char *argument) {
    int epochs = 0;
    CLQ_TRY(clq_option_int("--epochs", argument, CLQ_IN_EPOCHS, &epochs));
    clq_snprintf(o->epochs, sizeof o->epochs, "train.epochs=%d", epochs);
    return clq_option_override(o->epochs, o->overrides, &o->override_count);
}

static error_t parse_job(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case 'e':
        return clq_option_result(state, set_epochs(o, argument));
    case 'w':
        o->weights = argument;
        return 0;
    case NEW_HEAD:
        o->new_head = true;
        return 0;
    case LOG_FILE:
        o->job.log_file = argument;
        return 0;
    case 's':
        return clq_option_result(state,
                                 clq_option_override(argument, o->overrides, &o->override_count));
    case RECOMPUTE:
        return clq_option_result(
            state, clq_option_override("train.recompute=true", o->overrides, &o->override_count));
    case RESUME:
        o->job.resume = true;
        return 0;
    case OVERWRITE:
        o->job.overwrite = true;
        return 0;
    case ANALYZE:
        o->job.analyze = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = o;
        state->child_inputs[1] = &o->common;
        state->child_inputs[2] = &o->quant;
        state->child_inputs[3] = &o->images;
        return 0;
    case 'D':
        o->job.data = argument;
        return 0;
    case 'O':
        o->job.out = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (o->recipe) {
            return clq_option_fail(state, "one recipe only");
        }
        o->recipe = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option job_options[] = {
    {"weights", 'w', "FILE", 0, CLQ_WEIGHTS_HELP, 0},
    {"new-head", NEW_HEAD, NULL, 0, CLQ_NEW_HEAD_HELP, 0},
    {"epochs", 'e', "N", 0,
     "Epochs of FP32 training (default: the recipe's train.epochs; of QAT: --set qat.epochs=N)", 0},
    {"set", 's', "KEY=VALUE", 0, "Sets a key of the recipe (qat.epochs=3)", 0},
    {"log-file", LOG_FILE, "FILE", 0, CLQ_LOG_FILE_HELP, 0},
    {"analyze", ANALYZE, NULL, 0,
     "Also find which layer loses accuracy after PTQ, on 512 test images: analysis.json, and a "
     "section of the report",
     0},
    {"recompute", RECOMPUTE, NULL, 0, CLQ_RECOMPUTE_HELP, 0},
    {"resume", RESUME, NULL, 0, "Continue from the newest checkpoints in --out, to the same bits",
     0},
    {"overwrite", OVERWRITE, NULL, 0, CLQ_OVERWRITE_HELP, 0},
    {0},
};
static const struct argp job_argp = {job_options, parse_job, NULL, NULL, NULL, NULL, NULL};
static const struct argp_option run_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP, 0},
    {"out", 'O', "DIR", 0, "Folder for models, results and the report", 0},
    {0},
};
static const struct argp_option demo_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP " (default: synthetic images of 16 x 16 pixels)", 0},
    {"out", 'O', "DIR", 0, "Folder for models, results and the report (default out-demo)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&job_argp, 0, NULL, 0},
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_quant_flags_argp, 0, "Quantization (default: as the recipe says):", 10},
    {&clq_preprocessing_argp, 0, "Images (default: as the recipe says):", 20},
    {&clq_written_argp, 0, NULL, 0},
    {0}};
static const struct argp run_argp = {
    run_options,
    parse,
    "RECIPE.json --data DIR --out DIR",
    "The whole job: trains in FP32, quantizes after training (PTQ), fine-tunes quantization-aware "
    "(QAT), converts to integers, evaluates, verifies, benchmarks and reports. Ctrl-C stops a "
    "training behind a checkpoint, from which --resume continues."
    "\vExamples:\n"
    "  clquant run resnet20-cifar10 -D cifar-10-batches-bin -O out\n"
    "  clquant run resnet20-cifar10 -D cifar-10-batches-bin -O out --resume",
    children,
    NULL,
    NULL};
static const struct argp demo_argp = {
    demo_options,
    parse,
    NULL,
    "The whole job on built-in data, in minutes: `clquant run` with a small recipe "
    "on synthetic images. It replaces a finished demo in --out, and no other run."
    "\vExamples:\n"
    "  clquant demo\n"
    "  clquant demo --epochs 10 --out out-longer",
    children,
    NULL,
    NULL};

static clq_status execute(options *o) {
    clq_status status = CLQ_OK;
    clq_recipe *recipe = NULL;
    clq_device *device = NULL;
    const char *const inputs[] = {o->recipe, o->weights, o->job.data};
    o->job.json = o->common.json;
    CLQ_GOTO(status, cleanup,
             clq_image_flags_override(&o->images, o->overrides, &o->override_count));
    CLQ_GOTO(status, cleanup, clq_job_check(&o->job));
    CLQ_GOTO(status, cleanup, clq_job_check_log(&o->job, inputs, sizeof inputs / sizeof *inputs));
    CLQ_GOTO(status, cleanup, clq_recipe_load(o->recipe, o->overrides, o->override_count, &recipe));
    CLQ_GOTO(status, cleanup, clq_out_check_recipe("--log-file", o->job.log_file, recipe));
    CLQ_GOTO(status, cleanup, clq_recipe_take_quant_flags(recipe, &o->quant, true));
    recipe->data.from_flags = o->images.given.known;
    recipe->weights = o->weights ? o->weights : recipe->weights;
    recipe->new_head |= o->new_head;
    CLQ_GOTO(status, cleanup, clq_device_open(o->common.device, &device));
    CLQ_GOTO(status, cleanup, clq_job_run(device, recipe, &o->job));
cleanup:
    clq_recipe_free(recipe);
    clq_device_close(device);
    return status;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    bool done;
    CLQ_TRY(clq_parse(&run_argp, "run", argc, argv, &o, &done));
    const clq_need needs[] = {{"a recipe", o.recipe}, {"--data", o.job.data}, {"--out", o.job.out}};
    CLQ_TRY(clq_missing("clquant run", needs, sizeof needs / sizeof *needs));
    return execute(&o);
}

/* The demo's data and recipe, so that the command works from anywhere. */
#define DEMO_DATA "synthetic:train=6144,test=2048,size=16,noise=0.45"
static const char *const demo_recipe[] = {
    "name=demo",
    "network={\"name\": \"resnet20\", \"seed\": 1}",
    "train={\"epochs\": 5, \"batch\": 64, \"augment\": {\"crop_padding\": 2}, \"schedule\": "
    "{\"name\": "
    "\"one_cycle\", \"lr\": 0.1, \"warmup_epochs\": 1, \"final_ratio\": 0.01}}",
    "qat={\"epochs\": 1}",
};
enum { DEMO_KEYS = sizeof demo_recipe / sizeof *demo_recipe };

static clq_status demo(int argc, char **argv) {
    options given = {.job = {.data = DEMO_DATA, .out = "out-demo"}};
    bool done;
    CLQ_TRY(clq_parse(&demo_argp, "demo", argc, argv, &given, &done));
    if (given.recipe) {
        return clq_fail(CLQ_USAGE, "takes no recipe; use `clquant run %s`", given.recipe);
    }
    options o = given;
    if (given.override_count + DEMO_KEYS > CLQ_MAX_OVERRIDES) {
        return clq_fail(CLQ_USAGE, "--set was given too often");
    }
    for (size_t i = 0; i < DEMO_KEYS; i++) {
        o.overrides[i] = demo_recipe[i];
    }
    for (size_t i = 0; i < given.override_count; i++) {
        o.overrides[DEMO_KEYS + i] = given.overrides[i];
    }
    o.override_count = DEMO_KEYS + given.override_count;
    /* A demo that came to its end has been seen; it may make room for the next. */
    if (!o.job.resume && !o.job.overwrite && clq_job_was(&o.job, "demo")) {
        clq_log_info("replaces the finished demo in %s", o.job.out);
        o.job.overwrite = true;
    }
    CLQ_TRY(execute(&o));
    if (!o.common.json) {
        puts("Next, a network of your own: clquant ptq MODEL.onnx --data DIR -o int8.onnx");
    }
    return CLQ_OK;
}

const clq_command clq_command_run = {
    "run", "the whole job: train, PTQ, QAT, convert, evaluate, bench, report", run};
const clq_command clq_command_demo = {"demo", "the whole job on built-in data, in minutes", demo};
