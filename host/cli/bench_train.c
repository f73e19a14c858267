/* `clquant bench --train`: the training step of a built-in network. */
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/ranges.h"
#include "bench/bench_json.h"
#include "cli/bench_print.h"
#include "cli/cli.h"
#include "cli/pipeline.h"

/* FROZEN and INT8_FORWARD: when observers have stopped. */
enum { FP32, QAT, FROZEN, INT8_FORWARD, MODES, CALIBRATION_IMAGES = 32 };

typedef struct options {
    clq_common common;
    const char *subject; /* a network's name, a recipe's, or a recipe's path */
    clq_network_options network;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
    int batch; /* 0: the recipe's */
    bool qat, int8_forward;
    clq_bench_options bench;
} options;

typedef struct session {
    const options *options;
    clq_recipe *recipe;
    clq_device *device;
    clq_graph *graphs[MODES];
    clq_train_config configs[MODES];
    clq_quant_config quant[MODES];
    clq_train_bench_result results[MODES];
} session;

/* ---- options ---- */

enum { TRAIN = CLQ_KEY_LONG, QUANTIZED, INTEGERS, ITERATIONS, WARMUP, NO_PEAK };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->network;
        return 0;
    case TRAIN:
        return 0;
    case QUANTIZED:
        o->qat = true;
        return 0;
    case INTEGERS:
        o->qat = o->int8_forward = true;
        return 0;
    case 'b':
        return clq_option_result(state,
                                 clq_option_int("--batch", argument, CLQ_IN_BATCH, &o->batch));
    case ITERATIONS:
        return clq_option_result(state, clq_option_int("--iterations", argument, CLQ_IN_ITERATIONS,
                                                       &o->bench.iterations));
    case WARMUP:
        return clq_option_result(
            state, clq_option_int("--warmup", argument, CLQ_IN_ITERATIONS, &o->bench.warmup));
    case NO_PEAK:
        o->bench.no_peak = true;
        return 0;
    case 's':
        return clq_option_result(state,
                                 clq_option_override(argument, o->overrides, &o->override_count));
    case ARGP_KEY_ARG:
        if (o->subject) {
            return clq_option_fail(state, "one network only");
        }
        o->subject = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a network or a recipe", o->subject});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"train", TRAIN, NULL, 0, "Training steps, of a built-in network or a recipe's", 0},
    {"qat", QUANTIZED, NULL, 0, "The quantization-aware step too, in turn with the FP32 one", 0},
    {"int8-forward", INTEGERS, NULL, 0,
     "And that step with fixed ranges, computed forward as simulated and on integers", 0},
    {"batch", 'b', "N", 0, "Images at once (default: the recipe's, else 128)", 0},
    {"iterations", ITERATIONS, "N", 0,
     "Timed steps of each (default: three seconds' worth, at least 5)", 0},
    {"warmup", WARMUP, "N", 0, "Steps before timing (default 2)", 0},
    {"no-peak", NO_PEAK, NULL, 0,
     "Do not measure what the device can do (some seconds); ratios to it are left out", 0},
    {"set", 's', "KEY=VALUE", 0, "Sets a key of the recipe (train.optimizer.name=adam)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90}, {&clq_network_argp, 0, "Network:", 10}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "--train NETWORK|RECIPE.json",
    "Measures the whole training step (forward, loss, backward, optimizer) on random images, as a "
    "recipe or the defaults have it, and where its time goes, kernel by kernel."
    "\vExamples:\n"
    "  clquant bench --train resnet50 --qat\n"
    "  clquant bench --train resnet20 --int8-forward\n"
    "  clquant bench --train resnet20-cifar10 -b 256 --json",
    children,
    NULL,
    NULL};

/* ---- networks ---- */

/* The recipe's network, with what was said on the command line. */
static clq_network_options choose_network(const options *o, const clq_recipe *recipe) {
    clq_network_options network = recipe->network;
    const clq_network_options *said = &o->network;
    network.network = network.network ? network.network : o->subject;
    network.stem = said->stem ? said->stem : network.stem;
    network.size = said->size ? said->size : network.size ? network.size : recipe->data.size;
    network.classes = said->classes ? said->classes : network.classes;
    network.channels = said->channels ? said->channels : network.channels;
    network.shortcut = said->shortcut ? said->shortcut : network.shortcut;
    network.seed = said->seed ? said->seed : network.seed;
    return network;
}

static bool is_network(const char *name) {
    size_t i = 0;
    while (clq_network_list(i) && strcmp(clq_network_list(i)->name, name) != 0) {
        i++;
    }
    return clq_network_list(i) != NULL;
}

/* No network is called so, nor, as the last error says, a recipe. */
static clq_status unknown(const char *name) {
    const clq_network_options network = {.network = name};
    clq_graph *none = NULL;
    char *recipes = clq_strdup(clq_last_error());
    const clq_status status = recipes ? clq_network_build(&network, &none) : CLQ_NO_MEMORY;
    if (status == CLQ_USAGE) {
        (void)clq_fail(status, "%s; or a recipe: %s", clq_last_error(), recipes);
    }
    clq_free(recipes);
    return status;
}

static clq_status load_recipe(session *s) {
    const options *o = s->options;
    const bool network = is_network(o->subject);
    const clq_status status =
        clq_recipe_load(network ? NULL : o->subject, o->overrides, o->override_count, &s->recipe);
    if (status == CLQ_NO_INPUT && !clq_path_has_extension(o->subject, ".json")) {
        return unknown(o->subject);
    }
    CLQ_TRY(status);
    if (!network && !s->recipe->network.network) {
        return clq_fail(CLQ_BAD_DATA, "%s: names no network (network.name)", o->subject);
    }
    s->configs[FP32] = s->recipe->train;
    for (int m = QAT; m < MODES; m++) {
        s->configs[m] = s->recipe->qat;
        s->configs[m].epochs = 1; /* 0: the recipe has no fine-tuning of its own */
        s->quant[m] = s->recipe->qat_quant;
        s->quant[m].int8_forward = m == INT8_FORWARD;
    }
    for (int m = FP32; o->batch && m < MODES; m++) {
        s->configs[m].batch = o->batch;
    }
    return CLQ_OK;
}

/* The calibrated form of the FP32 graph, on built-in images. */
static clq_status quantize(session *s) {
    clq_graph *trained = s->graphs[FP32];
    clq_graph *integer = NULL;
    clq_dataset *images = NULL;
    clq_status status = CLQ_OK;
    char source[64];
    const clq_data_source data = {.path = source, .any_classes = true, .quiet = true};
    snprintf(source, sizeof source, "synthetic:train=%d,test=1,size=%lld", CALIBRATION_IMAGES,
             (long long)trained->values[clq_graph_input(trained)].shape.dim[1]);
    CLQ_GOTO(status, cleanup, clq_data_open(&data, trained, CLQ_SPLIT_TRAIN, 0, &images));
    CLQ_GOTO(status, cleanup,
             clq_stage_ptq(s->device, trained, images, &s->recipe->qat_quant, 0, NULL,
                           &s->graphs[QAT], &integer));
cleanup:
    clq_graph_destroy(integer);
    clq_dataset_close(images);
    return status;
}

/* ---- the command ---- */

static clq_status print(const session *s, size_t count) {
    if (s->options->common.json) {
        json_t *json = clq_train_bench_to_json(s->results, count);
        const clq_status status = json ? clq_json_dump_stdout(json) : CLQ_NO_MEMORY;
        json_decref(json);
        return status;
    }
    clq_print_device(clq_device_get_info(s->device), &s->results[FP32].limits);
    CLQ_TRY(clq_print_train_results(s->results, count));
    if (count > QAT) {
        printf("\nThe quantization-aware step takes %.2fx the FP32 step (minima; medians %.2fx)\n",
               s->results[QAT].step.min / s->results[FP32].step.min,
               s->results[QAT].step.median / s->results[FP32].step.median);
    }
    if (count > INT8_FORWARD) {
        printf("With fixed ranges, forward on integers, it takes %.2fx of that simulated in floats "
               "(minima; medians %.2fx)\n",
               s->results[INT8_FORWARD].step.min / s->results[FROZEN].step.min,
               s->results[INT8_FORWARD].step.median / s->results[FROZEN].step.median);
    }
    return CLQ_OK;
}

static clq_status bench(session *s) {
    const size_t count = s->options->int8_forward ? MODES : s->options->qat ? FROZEN : QAT;
    clq_train_bench_case cases[MODES];
    CLQ_TRY(load_recipe(s));
    const clq_network_options network = choose_network(s->options, s->recipe);
    CLQ_TRY(clq_network_build(&network, &s->graphs[FP32]));
    CLQ_TRY(clq_device_open(s->options->common.device, &s->device));
    if (s->options->qat) {
        CLQ_TRY(quantize(s));
    }
    for (size_t m = 0; m < count; m++) {
        cases[m] = (clq_train_bench_case){.name = s->recipe->network.network ? s->recipe->name
                                                                             : network.network,
                                          .graph = s->graphs[m == FP32 ? FP32 : QAT],
                                          .device = s->device,
                                          .config = &s->configs[m],
                                          .quant = &s->quant[m],
                                          .frozen = m >= FROZEN};
    }
    CLQ_TRY(clq_bench_train(cases, count, &s->options->bench, s->results));
    return print(s, count);
}

clq_status clq_bench_train_command(int argc, char **argv) {
    options o = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "bench", argc, argv, &o, &done));
    session s = {.options = &o};
    const clq_status status = bench(&s);
    for (int m = 0; m < MODES; m++) {
        clq_train_bench_result_clear(&s.results[m]);
        clq_graph_destroy(s.graphs[m]);
    }
    clq_device_close(s.device);
    clq_recipe_free(s.recipe);
    return status;
}
