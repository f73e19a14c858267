#include "cli/pipeline.h"

#include <clquant/passes.h>

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/numbers.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/origin.h"
#include "cli/shapes.h"
#include "cli/signals.h"
#include "quant/report.h"

/* ---- models ---- */

clq_status clq_model_open(const char *path, clq_graph **graph) {
    size_t count;
    const clq_onnx_shape *shapes = clq_shapes_given(&count);
    return clq_onnx_load_shaped(path, shapes, count, graph);
}

clq_status clq_model_require_float(const char *path, const clq_graph *graph) {
    if (clq_graph_form(graph) != CLQ_FORM_FLOAT) {
        return clq_fail(CLQ_USAGE, "%s: is already quantized; give the FP32 model", path);
    }
    return CLQ_OK;
}

clq_status clq_model_to_integer(const char *path, clq_graph **graph) {
    clq_graph *integer = NULL;
    switch (clq_graph_form(*graph)) {
    case CLQ_FORM_INTEGER:
        return CLQ_OK;
    case CLQ_FORM_QUANTIZED:
        CLQ_TRY(clq_fail_in(clq_convert(*graph, &integer),
                            "%s: has no integer network; ptq makes one from the FP32 model", path));
        clq_graph_destroy(*graph);
        *graph = integer;
        return CLQ_OK;
    default:
        return clq_fail(CLQ_USAGE, "%s: is not a quantized model; ptq makes one of it", path);
    }
}

/* Class names and, for a table, names of columns and how it was split, so that later commands read
 * it the same way. */
static clq_status describe(clq_graph *graph, clq_dataset *dataset) {
    const clq_table *table = clq_dataset_table(dataset);
    char text[32];
    CLQ_TRY(clq_graph_set_classes(graph, dataset));
    if (!table) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_graph_set_columns(graph, table));
    if (table->test_fraction == 0) {
        return CLQ_OK;
    }
    clq_snprintf(text, sizeof text, "%.15g", table->test_fraction);
    return clq_graph_set_metadata(graph, CLQ_META_TEST_FRACTION, text);
}

/* ---- data ---- */

/* How a data set must be opened for the recipe's network: what training crops from at random may be
 * larger than the network's input. */
static clq_status open_split(const clq_recipe *recipe, const char *data, clq_split split,
                             clq_dataset **dataset) {
    const bool train = split == CLQ_SPLIT_TRAIN;
    clq_dataset_options options = {
        .split = split,
        .height = recipe->data.size ? recipe->data.size : recipe->network.size,
        .resize = recipe->data.given.resize,
        .channels = recipe->network.channels,
        .needs_labels = true,
        .limit = train ? recipe->data.train_limit : recipe->data.test_limit,
        .table = recipe->data.table};
    if (train && recipe->data.source_size) {
        options.height = recipe->data.source_size;
        options.resize = (clq_resize){.interpolation = options.resize.interpolation};
    }
    return clq_dataset_open(data, &options, dataset);
}

/* The network's options that follow from images. */
static clq_status fit_images(const clq_recipe *recipe, const clq_dataset_info *info,
                             clq_network_options *network) {
    if (recipe->data.table.target != CLQ_TARGET_AUTO || network->inputs) {
        return clq_fail(CLQ_BAD_DATA, "%s: holds images, and the recipe is for tables (%s)",
                        info->path, network->inputs ? "network.inputs" : "data.target");
    }
    if (info->height != info->width) {
        return clq_fail(CLQ_BAD_DATA, "%s: images must be square, are %dx%d; give data.size",
                        info->path, info->height, info->width);
    }
    network->size = info->height;
    network->channels = info->channels;
    return CLQ_OK;
}

/* The network's options that follow from a table. */
static clq_status fit_table(const clq_recipe *recipe, const clq_dataset_info *info,
                            clq_network_options *network) {
    if (strcmp(network->network, "mlp") != 0) {
        return clq_fail(CLQ_BAD_DATA, "%s: is a table; the recipe's network must be mlp, is %s",
                        info->path, network->network);
    }
    if (recipe->data.given.known & CLQ_PART_NORMALISATION) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: is a table, normalized as measured; data.mean and data.std are for "
                        "images",
                        info->path);
    }
    if (network->inputs && network->inputs != info->features) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: is a table of %d feature%s, and the recipe's network reads %d: leave "
                        "network.inputs out, or --set network.inputs=%d",
                        info->path, info->features, clq_plural(info->features),
                        (int)network->inputs, info->features);
    }
    network->inputs = info->features;
    network->classes = network->classes ? network->classes : info->targets;
    return CLQ_OK;
}

static clq_status load_weights(const clq_recipe *recipe, clq_graph *graph) {
    if (!recipe->weights) {
        return recipe->new_head ? clq_fail(CLQ_USAGE, "a new head (--new-head, network.new_head) "
                                                      "needs weights for the rest of the network")
                                : CLQ_OK;
    }
    return recipe->new_head ? clq_weights_load_new_head(graph, recipe->weights)
                            : clq_weights_load(graph, recipe->weights);
}

/* Checks those of the `parts` of a preprocessing that flags, and then that the recipe, said. */
static clq_status check_parts(const clq_recipe *recipe, unsigned parts, const clq_shape *input,
                              clq_preprocessing *given) {
    const unsigned flags = recipe->data.from_flags;
    clq_preprocessing flagged = *given = recipe->data.given;
    given->known &= parts;
    flagged.known &= parts & flags;
    CLQ_TRY(clq_image_flags_check(&flagged, input));
    CLQ_TRY(clq_fail_in(clq_preprocessing_check(given, input, CLQ_BAD_DATA), "the recipe's data"));
    const clq_normalization *n = &given->normalization;
    if ((flags & CLQ_PART_CHANNELS) && !(flags & CLQ_PART_NORMALISATION) &&
        (given->known & CLQ_PART_NORMALISATION) &&
        (n->mean[0] != n->mean[2] || n->std[0] != n->std[2])) {
        return clq_fail(CLQ_USAGE, "--channels: the recipe's mean and std are in the order of its "
                                   "own channels; give --mean and --std in the new one, too");
    }
    return CLQ_OK;
}

/* What the recipe says of images, and what is usual where it says nothing, into the metadata. */
static clq_status keep_preprocessing(const clq_recipe *recipe, clq_graph *graph,
                                     const clq_dataset *train) {
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    const char *sources[CLQ_PART_COUNT];
    clq_preprocessing p, given;
    CLQ_TRY(check_parts(recipe, ~0u, input, &given));
    clq_preprocessing_usual(input, &p);
    clq_preprocessing_take(&p, &given, given.known);
    if (!(p.known & CLQ_PART_NORMALISATION)) {
        clq_normalization_usual(train, p.channels == CLQ_BGR, &p.normalization);
        p.normalization_count = (int)input->dim[3];
        p.known |= CLQ_PART_NORMALISATION;
    }
    clq_recipe_sources(recipe, sources);
    CLQ_TRY(clq_graph_set_preprocessing(graph, &p));
    return clq_preprocessing_log(&p, sources);
}

clq_status clq_network_from_recipe(const clq_recipe *recipe, const char *data, clq_graph **graph,
                                   clq_dataset **train, clq_dataset **test) {
    clq_network_options network = recipe->network;
    const int64_t size = recipe->data.size ? recipe->data.size : recipe->network.size;
    if (size) { /* before all images are scaled */
        clq_preprocessing resize;
        const clq_shape input = {4, {1, size, size, 3}};
        CLQ_TRY(check_parts(recipe, CLQ_PART_RESIZE, &input, &resize));
    }
    CLQ_TRY(open_split(recipe, data, CLQ_SPLIT_TRAIN, train));
    CLQ_TRY(clq_data_say_unsplit(*train, NULL));
    clq_data_warn_unsplit(*train, NULL);
    CLQ_TRY(open_split(recipe, data, CLQ_SPLIT_TEST, test));
    const clq_dataset_info *info = clq_dataset_get_info(*train);
    const clq_dataset_info *input = recipe->data.source_size ? clq_dataset_get_info(*test) : info;
    clq_table *const tables[] = {clq_dataset_table(*train), clq_dataset_table(*test)};
    if (!network.network) {
        return clq_fail(CLQ_BAD_DATA, "the recipe names no network (network.name)");
    }
    CLQ_TRY(tables[0] ? fit_table(recipe, info, &network) : fit_images(recipe, input, &network));
    if (network.classes && network.classes < info->class_count) {
        return clq_fail(CLQ_BAD_DATA, "%s: has %d classes, but the recipe's network has %d", data,
                        info->class_count, network.classes);
    }
    network.classes = network.classes ? network.classes : info->class_count;
    CLQ_TRY(clq_network_build(&network, graph));
    CLQ_TRY(load_weights(recipe, *graph));
    if (tables[0]) {
        CLQ_TRY(clq_graph_check_data(*graph, *train));
        CLQ_TRY(clq_graph_measure_table(*graph, tables[0]));
        CLQ_TRY(clq_graph_normalize_table(*graph, tables[0]));
        CLQ_TRY(clq_graph_normalize_table(*graph, tables[1]));
    } else {
        CLQ_TRY(keep_preprocessing(recipe, *graph, *train));
    }
    return describe(*graph, *train);
}

clq_status clq_network_from_arrays(const clq_recipe *recipe, const clq_arrays *arrays,
                                   clq_graph **graph) {
    clq_network_options network = recipe->network;
    const clq_array *images = NULL;
    for (int i = 0; i < clq_arrays_count(arrays); i++) {
        images = i == clq_arrays_labels(arrays) ? images : clq_arrays_at(arrays, i);
    }
    if (!network.network) {
        return clq_fail(CLQ_BAD_DATA, "the recipe names no network (network.name)");
    }
    if (!images || images->rank != 4 || images->dims[2] != images->dims[3] ||
        images->dims[1] > INT32_MAX || images->dims[2] > INT32_MAX) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: training needs one array of images (N, C, H, W), H = W, "
                        "beside \"labels\"",
                        clq_arrays_path(arrays));
    }
    network.size = (int)images->dims[2];
    network.channels = (int)images->dims[1];
    CLQ_TRY(clq_network_build(&network, graph));
    return load_weights(recipe, *graph);
}

/* ---- ranks ---- */

clq_status clq_ranks_join(clq_ranks **ranks) {
    CLQ_TRY(clq_ranks_open(ranks));
    if (clq_ranks_rank(*ranks) > 0) {
        clq_progress_enable(false);
        clq_set_log(NULL, NULL, CLQ_LOG_WARN);
    }
    return CLQ_OK;
}

/* ---- stages ---- */

typedef struct watched {
    const clq_stage_options *stage;
    const clq_watch *watch;
} watched;

static const char *under_launcher(const clq_stage_options *stage) {
    return stage->ranks ? ", under the same launcher" : "";
}

/* Until now nothing was to be lost. */
static clq_status get_ready(void *context) {
    const clq_stage_options *stage = ((const watched *)context)->stage;
    const clq_watch *watch = ((const watched *)context)->watch;
    if (stage->out && clq_ranks_rank(stage->ranks) == 0) {
        char *command = clq_command_line_to_resume();
        clq_signals_say_at_end(command
                                   ? clq_format("checkpoints so far are in %s; to go on%s: %s",
                                                watch->clears ? watch->clears->path : stage->out,
                                                under_launcher(stage), command)
                                   : NULL);
        clq_free(command);
    }
    clq_signals_defer(stage->out != NULL);
    CLQ_TRY(watch->clears ? clq_out_clear(watch->clears) : CLQ_OK);
    return watch->origin ? clq_origin_write(watch->origin, watch->clears->path, false) : CLQ_OK;
}

/* What get_ready began. A driver's compiler that a signal meets may drop what it works on (LLVM
 * removes its files), so its failure is the signal's. The other ranks leave the words to rank 0. */
static clq_status end_training(void *context, clq_status status) {
    const clq_stage_options *stage = ((const watched *)context)->stage;
    const bool asked = *clq_signals_flag() != 0;
    clq_signals_undefer(status != CLQ_OK);
    if (status == CLQ_DEVICE && asked && !stage->ranks) {
        return clq_fail(CLQ_INTERRUPTED, "interrupted: %s", clq_last_error());
    }
    if (status != CLQ_INTERRUPTED) {
        return status;
    }
    if (clq_ranks_rank(stage->ranks) > 0) {
        return clq_fail(status, "%s", "");
    }
    if (!stage->out) {
        return clq_fail(status, "%s; nothing of it is kept, for want of --out", clq_last_error());
    }
    char *command = clq_command_line_to_resume();
    status = clq_fail(status, "%s; to go on%s: %s", clq_last_error(), under_launcher(stage),
                      command ? command : "the same command with --resume");
    clq_free(command);
    return status;
}

/* The stage with the command's hooks; a teacher that is a file is opened into *teacher, with the
 * shapes that the command line has. */
static clq_status watch_stage(watched *w, clq_stage_options *stage, clq_graph **teacher) {
    const char *name = stage->config->distill.teacher;
    if (name && stage->config->distill.weight > 0 && strcmp(name, "fp32") != 0) {
        CLQ_TRY(clq_fail_in(clq_model_open(name, teacher), "distill.teacher"));
        stage->teacher = *teacher;
    }
    stage->ready = get_ready;
    stage->ended = end_training;
    stage->context = w;
    stage->stop = clq_signals_flag();
    return CLQ_OK;
}

clq_status clq_watched_train(clq_device *device, clq_graph *graph, const clq_stage_options *options,
                             const clq_watch *watch) {
    clq_stage_options stage = *options;
    watched w = {&stage, watch};
    clq_graph *teacher = NULL;
    CLQ_TRY(watch_stage(&w, &stage, &teacher));
    const clq_status status = clq_stage_train(device, graph, &stage);
    clq_graph_destroy(teacher);
    return status;
}

clq_status clq_watched_qat(clq_device *device, const clq_graph *trained,
                           const clq_stage_options *options, const clq_watch *watch,
                           const clq_quant_config *config, clq_quant_report *report,
                           clq_graph **integer) {
    clq_stage_options stage = *options;
    watched w = {&stage, watch};
    clq_graph *teacher = NULL;
    CLQ_TRY(watch_stage(&w, &stage, &teacher));
    const clq_status status = clq_stage_qat(device, trained, &stage, config, report, integer);
    clq_graph_destroy(teacher);
    return status;
}
