#include <stdio.h>

#include "base/files.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *recipe, *data, *out, *weights, *log_file;
    const char *overrides[CLQ_MAX_OVERRIDES];
    size_t override_count;
    int epochs;
    bool resume, overwrite, new_head;
} options;

enum { LOG_FILE = CLQ_KEY_LONG, NEW_HEAD, RECOMPUTE, RESUME, OVERWRITE };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->images;
        return 0;
    case 'D':
        o->data = argument;
        return 0;
    case 'O':
        o->out = argument;
        return 0;
    case 'w':
        o->weights = argument;
        return 0;
    case LOG_FILE:
        o->log_file = argument;
        return 0;
    case NEW_HEAD:
        o->new_head = true;
        return 0;
    case 'e':
        return clq_option_result(state,
                                 clq_option_int("--epochs", argument, CLQ_IN_EPOCHS, &o->epochs));
    case 's':
        return clq_option_result(state,
                                 clq_option_override(argument, o->overrides, &o->override_count));
    case RECOMPUTE:
        return clq_option_result(
            state, clq_option_override("train.recompute=true", o->overrides, &o->override_count));
    case RESUME:
        o->resume = true;
        return 0;
    case OVERWRITE:
        o->overwrite = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->recipe) {
            return clq_option_fail(state, "one recipe only");
        }
        o->recipe = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a recipe", o->recipe}, {"--data", o->data},
                                {"--out", o->out});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_DATA_HELP, 0},
    {"out", 'O', "DIR", 0, "Receives model.onnx, weights.safetensors, history and checkpoints", 0},
    {"epochs", 'e', "N", 0, "Epochs (default: the recipe's train.epochs)", 0},
    {"weights", 'w', "FILE", 0, CLQ_WEIGHTS_HELP, 0},
    {"new-head", NEW_HEAD, NULL, 0, CLQ_NEW_HEAD_HELP, 0},
    {"set", 's', "KEY=VALUE", 0, "Sets a key of the recipe (train.schedule.lr=0.1)", 0},
    {"log-file", LOG_FILE, "FILE", 0, CLQ_LOG_FILE_HELP, 0},
    {"recompute", RECOMPUTE, NULL, 0, CLQ_RECOMPUTE_HELP, 0},
    {"resume", RESUME, NULL, 0, "Continue from the newest checkpoint in --out, to the same bits",
     0},
    {"overwrite", OVERWRITE, NULL, 0, CLQ_OVERWRITE_HELP, 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_preprocessing_argp, 0, "Images (default: as the recipe says):", 20},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "RECIPE.json --data DIR --out DIR",
    "Trains a network in FP32 as the recipe says. Ctrl-C stops it behind a checkpoint, from which "
    "--resume continues."
    "\vExamples:\n"
    "  clquant train resnet20-cifar10 -D cifar-10-batches-bin -O out\n"
    "  clquant train resnet20-cifar10 -D cifar-10-batches-bin -O out --resume\n"
    "  mpirun -np 4 clquant train imagenet-resnet50 -D imagenet -O out",
    children,
    NULL,
    NULL};

static clq_status save(const options *o, const clq_graph *graph) {
    char *model = clq_path_join(o->out, "model.onnx"),
         *weights = clq_path_join(o->out, "weights.safetensors");
    clq_status status = model && weights ? clq_onnx_save(graph, model) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        status = clq_weights_save(graph, weights);
    }
    if (status == CLQ_OK) {
        clq_saved_print(o->common.json, model, graph, graph, NULL);
    }
    clq_free(model);
    clq_free(weights);
    return status;
}

/* Arrays with labels, of one file both splits. */
static clq_status open_arrays(const options *o, const clq_recipe *recipe, clq_graph **graph,
                              clq_arrays **train, clq_arrays **test) {
    if (o->images.given.known) {
        return clq_fail(CLQ_USAGE, "%s: flags that prepare images are of no use to arrays",
                        o->data);
    }
    CLQ_TRY(clq_labelled_arrays_open(o->data, CLQ_SPLIT_TRAIN, false, train));
    if (clq_is_folder(o->data)) {
        CLQ_TRY(clq_labelled_arrays_open(o->data, CLQ_SPLIT_TEST, false, test));
    } else {
        clq_log_warn("%s: the network is tested on the rows that it learns from", o->data);
    }
    return clq_network_from_arrays(recipe, *train, graph);
}

static const clq_out_training trainings[] = {{"", "train"}};
static const char *const results[] = {"model.onnx", "weights.safetensors", "origin.json"};

static clq_status run(int argc, char **argv) {
    options o = {0};
    clq_status status = CLQ_OK;
    clq_ranks *ranks = NULL;
    clq_device *device = NULL;
    clq_recipe *recipe = NULL;
    clq_graph *graph = NULL;
    clq_dataset *train = NULL, *test = NULL;
    clq_arrays *arrays = NULL, *test_arrays = NULL;
    clq_out_folder out = {0};
    clq_origin origin = {0};
    char epochs[32];
    bool done;
    CLQ_TRY(clq_parse(&argp, "train", argc, argv, &o, &done));
    CLQ_GOTO(status, cleanup, clq_ranks_join(&ranks));
    CLQ_GOTO(status, cleanup, clq_image_flags_override(&o.images, o.overrides, &o.override_count));
    const bool writes = clq_ranks_rank(ranks) == 0;
    const char *const inputs[] = {o.recipe, o.weights, o.data};
    out = (clq_out_folder){.path = writes ? o.out : NULL,
                           .resume = o.resume,
                           .overwrite = o.overwrite,
                           .trainings = trainings,
                           .training_count = 1,
                           .results = results,
                           .result_count = sizeof results / sizeof *results};
    CLQ_GOTO(status, cleanup, clq_out_check(&out));
    CLQ_GOTO(status, cleanup,
             clq_out_check_log(writes ? o.log_file : NULL, &out, inputs,
                               sizeof inputs / sizeof *inputs));
    if (o.epochs) { /* a key like others, so that what keeps the recipe has it too */
        clq_snprintf(epochs, sizeof epochs, "train.epochs=%d", o.epochs);
        CLQ_GOTO(status, cleanup, clq_option_override(epochs, o.overrides, &o.override_count));
    }
    CLQ_GOTO(status, cleanup, clq_recipe_load(o.recipe, o.overrides, o.override_count, &recipe));
    CLQ_GOTO(status, cleanup,
             clq_out_check_recipe("--log-file", writes ? o.log_file : NULL, recipe));
    recipe->data.from_flags = o.images.given.known;
    recipe->weights = o.weights ? o.weights : recipe->weights;
    recipe->new_head |= o.new_head;
    CLQ_GOTO(status, cleanup,
             clq_device_open_nth(o.common.device, clq_ranks_local(ranks), &device));
    CLQ_GOTO(status, cleanup,
             clq_labelled_arrays_here(o.data)
                 ? open_arrays(&o, recipe, &graph, &arrays, &test_arrays)
                 : clq_network_from_recipe(recipe, o.data, &graph, &train, &test));
    CLQ_GOTO(status, cleanup, clq_out_claim(&out));
    CLQ_GOTO(status, cleanup,
             clq_origin_begin(&origin, recipe, device, &(clq_origin_data){train, test, arrays},
                              clq_ranks_size(ranks), o.resume));
    const clq_stage_options stage = {.train = train,
                                     .test = test,
                                     .arrays = arrays,
                                     .test_arrays = test_arrays,
                                     .config = &recipe->train,
                                     .recipe = recipe->text,
                                     .out = o.out,
                                     .log_file = o.log_file,
                                     .resume = o.resume,
                                     .overwrite = o.overwrite,
                                     .ranks = ranks};
    CLQ_GOTO(status, cleanup,
             clq_watched_train(device, graph, &stage, &(clq_watch){&out, &origin}));
    clq_origin_lap(&origin, "train");
    if (writes) {
        CLQ_GOTO(status, cleanup, save(&o, graph));
        CLQ_GOTO(status, cleanup, clq_origin_write(&origin, out.path, true));
    }
cleanup:
    clq_origin_clear(&origin);
    clq_out_release(&out);
    clq_dataset_close(train);
    clq_dataset_close(test);
    clq_arrays_close(arrays);
    clq_arrays_close(test_arrays);
    clq_graph_destroy(graph);
    clq_recipe_free(recipe);
    clq_device_close(device);
    clq_ranks_close(ranks, status);
    return status;
}

const clq_command clq_command_train = {"train", "train a network in FP32 as a recipe says", run};
