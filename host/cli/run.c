#include <stdio.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/job.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    clq_job_options job;
    const char *recipe, *weights;
    bool new_head;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->images;
        return 0;
    case 'D':
        o->job.data = argument;
        return 0;
    case 'f':
        o->job.out = argument;
        return 0;
    case 'w':
        o->weights = argument;
        return 0;
    case 'H':
        o->new_head = true;
        return 0;
    case 'l':
        o->job.log_file = argument;
        return 0;
    case 's':
        return clq_option_result(state,
                                 clq_option_override(argument, o->overrides, &o->override_count));
    case 'M':
        return clq_option_result(
            state, clq_option_override("train.recompute=true", o->overrides, &o->override_count));
    case 'C':
        o->job.resume = true;
        return 0;
    case CLQ_KEY_OVERWRITE:
        o->job.overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->recipe) {
            argp_error(state, "one recipe only");
        }
        o->recipe = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP, 0},
    {"out", 'f', "DIR", 0, "Folder for models, results and the report", 0},
    {"weights", 'w', "FILE", 0, "Start from these weights (safetensors, torchvision's names)", 0},
    {"new-head", 'H', NULL, 0, "Keep the seeded last layer where --weights has another", 0},
    {"set", 's', "KEY=VALUE", 0, "Overrides a key of the recipe (train.epochs=3)", 0},
    {"log-file", 'l', "FILE", 0, "Append what happens as JSON lines, as it happens", 0},
    {"recompute", 'M', NULL, 0,
     "Compute activations again instead of keeping them: less memory, the same result", 0},
    {"resume", 'C', NULL, 0, "Continue from the newest checkpoints in --out, to the same bits", 0},
    {"overwrite", CLQ_KEY_OVERWRITE, NULL, 0, CLQ_OVERWRITE_HELP, 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90}, {&clq_preprocessing_argp, 0, "Images:", 20}, {0}};
static const struct argp run_argp = {
    argp_options,
    parse,
    "RECIPE.json --data DIR --out DIR",
    "The whole job: trains in FP32, quantizes after training (PTQ), fine-tunes "
    "quantization-aware (QAT), converts to integer networks, evaluates, verifies, "
    "benchmarks and writes the report.",
    children,
    NULL,
    NULL};
static const struct argp demo_argp = {
    argp_options,
    parse,
    "",
    "The whole job on built-in data, in minutes: `clquant run` with a small recipe "
    "on synthetic images (default --out out-demo, where it replaces a demo that was finished).",
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
    if (!o.recipe || !o.job.data || !o.job.out) {
        return clq_fail(CLQ_USAGE,
                        "needs a recipe, --data and --out; `clquant run --help` explains");
    }
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
    return execute(&o);
}

const clq_command clq_command_run = {
    "run", "the whole job: train, PTQ, QAT, convert, evaluate, bench, report", run};
const clq_command clq_command_demo = {"demo", "the whole job on built-in data, in minutes", demo};
