#include "session/data.h"

#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"
#include "data/table.h"
#include "train/metadata.h"

int clq_unit_length(const char *unit, int64_t count) {
    return (int)strlen(unit) - (count == 1);
}

/* ---- tables ---- */

/* How a table must be opened for a trained network: as its metadata says. */
static clq_status table_options(const clq_graph *graph, clq_table_options *options) {
    const char *fraction = clq_graph_get_metadata(graph, CLQ_META_TEST_FRACTION);
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    const char *end;
    if (clq_graph_get_metadata(graph, CLQ_META_TARGET_MEAN)) {
        options->target = CLQ_TARGET_REGRESSION;
        options->target_columns = (int)output->dim[output->rank - 1];
    } else if (clq_graph_get_metadata(graph, "clquant.classes")) {
        options->target = CLQ_TARGET_CLASS;
    }
    if (fraction) {
        end = clq_read_real(fraction, &options->test_fraction);
        if (!end || *end || options->test_fraction < 0 || options->test_fraction >= 1) {
            return clq_fail(CLQ_BAD_DATA,
                            "the model's metadata \"" CLQ_META_TEST_FRACTION
                            "\" must be in 0..1 and below 1, is \"%s\"",
                            fraction);
        }
    }
    return CLQ_OK;
}

/* All rows of a table's inputs, found by the names that the network has for them. */
static clq_status open_inputs(const clq_data_source *source, const clq_graph *graph, int64_t limit,
                              clq_dataset **dataset) {
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    const bool regression = clq_graph_get_metadata(graph, CLQ_META_TARGET_MEAN);
    char **names = NULL;
    int count = 0;
    CLQ_TRY(clq_metadata_get_lines(graph, CLQ_META_FEATURES, &names, &count));
    clq_dataset_options options = {.limit = limit};
    options.table.target = CLQ_TARGET_NONE;
    options.table.features = (int)input->dim[1];
    options.table.feature_names = count == input->dim[1] ? (const char *const *)names : NULL;
    options.table.target_columns = regression ? (int)output->dim[output->rank - 1] : 1;
    const clq_status status = clq_dataset_open(source->path, &options, dataset);
    clq_class_names_free(names, count);
    if (status == CLQ_OK) {
        const bool known = clq_graph_get_metadata(graph, CLQ_META_MEAN);
        const int64_t rows = clq_dataset_get_info(*dataset)->count;
        clq_log_info("%s: %lld %.*s of inputs, %s", source->path, (long long)rows,
                     clq_unit_length("rows", rows), "rows",
                     known ? "normalized as the model says"
                           : "as they are: the model does not say how to normalize them");
    }
    return status;
}

static clq_status open_table(const clq_data_source *source, const clq_graph *graph, clq_split split,
                             int64_t limit, clq_dataset **dataset) {
    clq_dataset_options options = {.split = split, .limit = limit};
    if (source->flags && (source->flags->given.known || source->flags->labels)) {
        return clq_fail(CLQ_USAGE, "flags that prepare images are of no use to a network that "
                                   "reads rows; a table is normalized as its model says");
    }
    if (source->inputs_only) {
        CLQ_TRY(open_inputs(source, graph, limit, dataset));
    } else {
        CLQ_TRY(table_options(graph, &options.table));
        CLQ_TRY(clq_dataset_open(source->path, &options, dataset));
    }
    CLQ_TRY(clq_graph_check_data(graph, *dataset));
    clq_table *table = clq_dataset_table(*dataset);
    if (table) {
        CLQ_TRY(clq_graph_match_columns(graph, table, source->path, source->quiet));
    }
    return clq_graph_normalize_table(graph, table);
}

/* ---- images ---- */

/* Where the parts of a preprocessing come from. */
static const char flag_source[] = "flag", recipe_source[] = "recipe", model_source[] = "model",
                  usual_source[] = "usual";

/* What `from` knows and nobody before it did. */
static void add(clq_preprocessing *to, const clq_preprocessing *from, const char *source,
                const char **sources) {
    const unsigned parts = from->known & ~to->known;
    clq_preprocessing_take(to, from, parts);
    for (int i = 0; i < CLQ_PART_COUNT; i++) {
        sources[i] = parts & (1u << i) ? source : sources[i];
    }
}

/* All parts but a normalization that nobody gives. */
static clq_status gather(const clq_data_source *source, const clq_graph *graph,
                         clq_preprocessing *p, const char **sources) {
    enum { FLAGS, RECIPE, MODEL, USUAL, PLACES };
    static const char *const names[PLACES] = {flag_source, recipe_source, model_source,
                                              usual_source};
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    clq_preprocessing places[PLACES] = {0};
    CLQ_TRY(clq_graph_preprocessing(graph, &places[MODEL]));
    clq_preprocessing_usual(input, &places[USUAL]);
    if (source->flags) {
        places[FLAGS] = source->flags->given;
        CLQ_TRY(clq_image_flags_check(&places[FLAGS], input));
    }
    if (source->recipe) {
        places[RECIPE] = *source->recipe;
        CLQ_TRY(clq_fail_in(clq_preprocessing_check(&places[RECIPE], input, CLQ_BAD_DATA),
                            "the recipe's data"));
    }
    *p = (clq_preprocessing){0};
    for (int i = 0; i < PLACES; i++) {
        add(p, &places[i], names[i], sources);
    }
    /* Mean and std have the order of the channels where they were said, or behind that. */
    int at = 0, order;
    while (at < USUAL && !(places[at].known & CLQ_PART_NORMALISATION)) {
        at++;
    }
    for (order = at; !(places[order].known & CLQ_PART_CHANNELS); order++) {
    }
    if (at == RECIPE || at == MODEL) {
        clq_normalization_reorder(p, names[at], places[order].channels, p->channels, source->quiet);
    }
    return CLQ_OK;
}

/* Says what was taken because nobody said better, where that can change the result. */
static void warn(const clq_dataset *dataset, const clq_preprocessing *p,
                 const char *const *sources) {
    enum { NORMALISATION, CHANNELS, RESIZE };
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    const bool numbers = sources[NORMALISATION] == usual_source;
    const bool scaled = sources[RESIZE] == usual_source && !info->equal_sizes;
    clq_text text = {0};
    if (numbers) {
        clq_text_printf(&text, "the mean and std of %s%s", info->usual,
                        strcmp(info->kind, "folder") == 0 && strcmp(info->usual, "CIFAR-10") == 0
                            ? " (by the folders' names)"
                            : "");
    }
    if (scaled && p->resize.shorter) {
        clq_text_printf(&text, "%sa shorter side of %d", numbers ? ", " : "", p->resize.shorter);
    } else if (scaled) {
        clq_text_printf(&text, "%sa size of %d x %d", numbers ? ", " : "", p->resize.width,
                        p->resize.height);
    }
    if (numbers || scaled) {
        clq_log_warn("the model does not say how its images are prepared; assumed: %s (else give "
                     "%s%s%s)",
                     text.data ? text.data : "", numbers ? "--mean, --std" : "",
                     numbers && scaled ? ", " : "", scaled ? "--resize" : "");
    }
    clq_text_free(&text);
}

clq_status clq_data_say_unsplit(const clq_dataset *dataset, const char *list) {
    enum { SHOWN = 3 };
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    clq_text text = {0};
    if (!info->unsplit || !info->labels) {
        return CLQ_OK;
    }
    clq_text_printf(&text, "%s: ", list ? list : info->path);
    if (info->count < info->stored) {
        clq_text_printf(&text, "%lld of ", (long long)info->count);
    }
    clq_text_printf(&text, "%lld %.*s", (long long)info->stored,
                    clq_unit_length("images", info->stored), "images");
    for (int c = 0; !list && c < info->class_count && c < SHOWN; c++) {
        clq_text_printf(&text, c ? ", \"%.60s\"" : " in folders for classes, \"%.60s\"",
                        info->class_names[c]);
    }
    if (!list && info->class_count > SHOWN) {
        clq_text_printf(&text, " and %d more", info->class_count - SHOWN);
    }
    clq_text_puts(&text, ", not split: training and test part are both all of them");
    const clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        clq_log_info("%s", text.data);
    }
    clq_text_free(&text);
    return status;
}

void clq_data_warn_unsplit(const clq_dataset *dataset, const char *list) {
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    if (info->unsplit) {
        clq_log_warn("%s has no split: the network is tested on the images that it learns from",
                     list ? list : info->path);
    }
}

/* Completes the normalization, and keeps and says what is used. */
static clq_status complete_preprocessing(const clq_data_source *source, clq_graph *graph,
                                         const clq_dataset *dataset, clq_preprocessing *p,
                                         const char **sources) {
    if (!(p->known & CLQ_PART_NORMALISATION)) {
        clq_normalization_usual(dataset, p->channels == CLQ_BGR, &p->normalization);
        p->normalization_count = clq_dataset_get_info(dataset)->channels;
        p->known |= CLQ_PART_NORMALISATION;
        sources[0] = usual_source;
    }
    CLQ_TRY(clq_graph_set_preprocessing(graph, p));
    for (int i = 0; source->sources && i < CLQ_PART_COUNT; i++) {
        source->sources[i] = sources[i];
    }
    if (source->quiet) {
        return CLQ_OK;
    }
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    if (!info->labels) {
        clq_log_info("%s: %lld %.*s without labels", info->path, (long long)info->count,
                     clq_unit_length("images", info->count), "images");
    }
    CLQ_TRY(clq_data_say_unsplit(dataset, source->flags ? source->flags->labels : NULL));
    warn(dataset, p, sources);
    return clq_preprocessing_log(p, sources);
}

static clq_status open_images(const clq_data_source *source, clq_graph *graph, clq_split split,
                              int64_t limit, clq_dataset **dataset) {
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    const char *sources[CLQ_PART_COUNT] = {NULL};
    clq_preprocessing p;
    char **names = NULL;
    int count = 0;
    if (clq_table_here(source->path) && !(source->flags && source->flags->labels)) {
        return clq_fail(CLQ_BAD_DATA, "%s: is a table, and the network reads images of %lld x %lld",
                        source->path, (long long)input->dim[2], (long long)input->dim[1]);
    }
    CLQ_TRY(gather(source, graph, &p, sources));
    clq_dataset_options options = {.split = split,
                                   .limit = limit,
                                   .height = p.crop_height,
                                   .width = p.crop_width,
                                   .resize = p.resize,
                                   .channels = (int)input->dim[3],
                                   .needs_labels = !source->any_classes,
                                   .no_classes = source->inputs_only};
    CLQ_TRY(table_options(graph, &options.table));
    CLQ_TRY(clq_graph_classes(graph, &names, &count));
    if (source->flags && source->flags->labels) {
        const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
        options.list.file = source->flags->labels;
        options.list.classes = (const char *const *)names;
        options.list.class_count = count ? count : (int)output->dim[output->rank - 1];
    }
    const clq_status status = clq_dataset_open(source->path, &options, dataset);
    clq_class_names_free(names, count);
    CLQ_TRY(status);
    CLQ_TRY(clq_graph_check_data(graph, *dataset));
    return complete_preprocessing(source, graph, *dataset, &p, sources);
}

clq_status clq_data_open(const clq_data_source *source, clq_graph *graph, clq_split split,
                         int64_t limit, clq_dataset **dataset) {
    const clq_shape *shape = &graph->values[clq_graph_input(graph)].shape;
    *dataset = NULL;
    CLQ_TRY(clq_graph_check_one_input(graph, "images or rows of a data set feed"));
    if (!source->any_classes) {
        CLQ_TRY(clq_graph_check_single(graph, "accuracy is measured on networks with"));
    }
    if (shape->rank != 4 && shape->rank != 2) {
        char text[64];
        clq_shape_text(shape, text, sizeof text);
        return clq_fail(CLQ_BAD_DATA,
                        "the network's input must be images (1, H, W, C) or rows (1, features), "
                        "is %s",
                        text);
    }
    clq_status status = shape->rank == 4 ? open_images(source, graph, split, limit, dataset)
                                         : open_table(source, graph, split, limit, dataset);
    if (status == CLQ_OK && !source->any_classes) {
        status = clq_graph_match_classes(graph, *dataset);
    }
    if (status != CLQ_OK) {
        clq_dataset_close(*dataset);
        *dataset = NULL;
    }
    return status;
}

clq_status clq_class_names_keep(const char *file, clq_graph *graph) {
    const char *old = file ? clq_graph_get_metadata(graph, "clquant.classes") : NULL;
    char *before = old ? clq_strdup(old) : NULL;
    if (old && !before) {
        return CLQ_NO_MEMORY;
    }
    const clq_status status = file ? clq_graph_load_classes(graph, file) : CLQ_OK;
    if (status == CLQ_OK && before &&
        strcmp(before, clq_graph_get_metadata(graph, "clquant.classes")) != 0) {
        clq_log_warn("%s: its names take the place of others that the model had", file);
    }
    clq_free(before);
    return clq_fail_in(status, "--class-names");
}

/* ---- feeding ---- */

/* NULL: no memory. */
static char *arrays_of_split(const char *path, clq_split split) {
    return clq_path_join(path, split == CLQ_SPLIT_TRAIN ? "train.npz" : "test.npz");
}

bool clq_labelled_arrays_here(const char *path) {
    if (clq_path_has_extension(path, ".npz")) {
        return true;
    }
    char *train = clq_is_folder(path) ? arrays_of_split(path, CLQ_SPLIT_TRAIN) : NULL;
    const bool here = train && clq_file_exists(train);
    clq_free(train);
    return here;
}

clq_status clq_labelled_arrays_open(const char *path, clq_split split, bool no_labels,
                                    clq_arrays **arrays) {
    char *file = clq_is_folder(path) ? arrays_of_split(path, split) : clq_strdup(path);
    *arrays = NULL;
    if (!file) {
        return CLQ_NO_MEMORY;
    }
    clq_status status = clq_arrays_open(file, arrays);
    if (status == CLQ_OK && !no_labels) {
        status = clq_arrays_set_labels(*arrays, "labels");
    }
    if (status != CLQ_OK) {
        clq_arrays_close(*arrays);
        *arrays = NULL;
        status = status == CLQ_USAGE ? clq_fail(CLQ_BAD_DATA, "%s", clq_last_error()) : status;
    }
    clq_free(file);
    return status;
}

int64_t clq_arrays_rows(const clq_arrays *arrays) {
    int64_t most = 0;
    for (int i = 0; i < clq_arrays_count(arrays); i++) {
        const int64_t rows = clq_arrays_at(arrays, i)->dims[0];
        most = rows > most ? rows : most;
    }
    return most;
}

clq_status clq_inference_options(const clq_graph *graph, const clq_dataset *dataset, int batch,
                                 clq_feed_options *options) {
    const clq_shape *shape = &graph->values[clq_graph_input(graph)].shape;
    const bool images = shape->rank == 4;
    *options = (clq_feed_options){.batch = batch,
                                  .threads = 2,
                                  .height = images ? (int)shape->dim[1] : 0,
                                  .width = images ? (int)shape->dim[2] : 0,
                                  .centre_crop = true};
    return clq_graph_normalization(graph, dataset, &options->normalization);
}

clq_status clq_data_feed(clq_device *device, const clq_graph *graph, clq_dataset *dataset,
                         int batch, clq_feed **feed) {
    clq_feed_options options;
    CLQ_TRY(clq_inference_options(graph, dataset, batch, &options));
    return clq_feed_create(device, dataset, &options, feed);
}
