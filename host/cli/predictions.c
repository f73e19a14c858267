#include "cli/predictions.h"

#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/numbers.h"
#include "data/npz.h"
#include "formats/layout.h"
#include "train/metadata.h"

enum { MAX_COLUMNS = 4096, MAX_PATH = 4352 };

struct clq_predictions {
    const clq_graph *graph;
    const clq_dataset *dataset; /* of images; NULL: rows, which have numbers for names */
    clq_npz_writer *npz;        /* .npz and .npy; else NULL */
    clq_writer *csv;
    bool single;           /* .npy: the one array alone */
    bool has_top1;         /* .csv: one output of classes */
    const int32_t *labels; /* of a list, which has the network's numbers; NULL: none */
    char **classes;
    int class_count;
    char **names; /* (count), of the images, for .npz */
    int64_t count, name_room;
    float *mean, *std; /* (outputs) of a table's targets; NULL: outputs are written as they are */
    char **targets;    /* (target_count): their names, or NULL */
    int target_count;
    float *values; /* (value_room, outputs): one batch in the targets' units */
    int value_room;
};

/* Of one sample. */
static clq_shape output_shape(const clq_graph *graph, int index) {
    return clq_output_array_shape(graph, index, 1);
}

static int64_t output_size(const clq_graph *graph, int index) {
    const clq_shape shape = output_shape(graph, index);
    return clq_shape_count(&shape);
}

/* ---- csv ---- */

static clq_status write_text(clq_predictions *p, const char *text) {
    if (!text[strcspn(text, ",\"\r\n")]) {
        return clq_writer_printf(p->csv, "%s", text);
    }
    CLQ_TRY(clq_writer_printf(p->csv, "\""));
    for (; *text; text++) {
        CLQ_TRY(clq_writer_printf(p->csv, *text == '"' ? "\"%c" : "%c", *text));
    }
    return clq_writer_printf(p->csv, "\"");
}

/* "scores[0]", or the name alone where there is one number. */
static clq_status write_columns(clq_predictions *p) {
    char column[256];
    CLQ_TRY(clq_writer_printf(p->csv, "%s", p->dataset ? "file" : "index"));
    CLQ_TRY(clq_writer_printf(p->csv, p->labels ? ",label" : ""));
    if (p->has_top1) {
        CLQ_TRY(clq_writer_printf(p->csv, p->classes ? ",top1,class" : ",top1"));
    }
    for (int o = 0; o < p->graph->output_count; o++) {
        const int64_t size = output_size(p->graph, o);
        for (int64_t i = 0; i < size; i++) {
            if (p->targets) {
                snprintf(column, sizeof column, "%.200s", p->targets[i]);
            } else if (size == 1) {
                snprintf(column, sizeof column, "%.200s", clq_graph_output_name(p->graph, o));
            } else {
                snprintf(column, sizeof column, "%.200s[%lld]", clq_graph_output_name(p->graph, o),
                         (long long)i);
            }
            CLQ_TRY(clq_writer_printf(p->csv, ","));
            CLQ_TRY(write_text(p, column));
        }
    }
    return clq_writer_printf(p->csv, "\n");
}

static clq_status open_csv(clq_predictions *p, const char *path) {
    const clq_graph *graph = p->graph;
    int64_t columns = 0;
    for (int o = 0; o < graph->output_count; o++) {
        columns += output_size(graph, o);
    }
    if (columns > MAX_COLUMNS) {
        return clq_fail(CLQ_USAGE,
                        "-o: %s would have %lld columns, more than %d; write a .npz file instead",
                        path, (long long)columns, MAX_COLUMNS);
    }
    p->has_top1 = graph->output_count == 1 && output_shape(graph, 0).rank == 2 &&
                  output_shape(graph, 0).dim[1] == columns && columns > 1 &&
                  !clq_graph_get_metadata(graph, CLQ_META_TARGET_MEAN);
    CLQ_TRY(clq_graph_classes(graph, &p->classes, &p->class_count));
    if (p->class_count != (int)columns) {
        clq_class_names_free(p->classes, p->class_count);
        p->classes = NULL;
        p->class_count = 0;
    }
    CLQ_TRY(clq_writer_open(path, &p->csv));
    return write_columns(p);
}

/* NaN is no largest one. */
static int64_t largest(const float *values, int64_t count) {
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++) {
        best = values[i] > values[best] || values[best] != values[best] ? i : best;
    }
    return best;
}

static clq_status write_row(clq_predictions *p, int64_t index, int sample,
                            const float *const *outputs) {
    char text[MAX_PATH];
    if (p->dataset) {
        CLQ_TRY(clq_dataset_name(p->dataset, index, text, sizeof text));
        CLQ_TRY(write_text(p, text));
    } else {
        CLQ_TRY(clq_writer_printf(p->csv, "%lld", (long long)index));
    }
    if (p->labels) {
        CLQ_TRY(clq_writer_printf(p->csv, ",%d", p->labels[index]));
    }
    if (p->has_top1) {
        const int64_t size = output_size(p->graph, 0),
                      top = largest(outputs[0] + sample * size, size);
        CLQ_TRY(clq_writer_printf(p->csv, ",%lld", (long long)top));
        if (p->classes) {
            CLQ_TRY(clq_writer_printf(p->csv, ","));
            CLQ_TRY(write_text(p, p->classes[top]));
        }
    }
    for (int o = 0; o < p->graph->output_count; o++) {
        const int64_t size = output_size(p->graph, o);
        for (int64_t i = 0; i < size; i++) {
            clq_snprintf(text, sizeof text, ",%.9g", (double)outputs[o][sample * size + i]);
            CLQ_TRY(clq_writer_write(p->csv, text, strlen(text)));
        }
    }
    return clq_writer_printf(p->csv, "\n");
}

/* ---- arrays ---- */

/* The array of file names must not take the name of an output. */
static const char *names_array(const clq_graph *graph) {
    for (int o = 0; o < graph->output_count; o++) {
        if (strcmp(clq_graph_output_name(graph, o), "file") == 0) {
            return "clquant.file";
        }
    }
    return "file";
}

static clq_status open_arrays(clq_predictions *p, const char *path) {
    if (p->single && p->graph->output_count > 1) {
        return clq_fail(CLQ_USAGE,
                        "-o: %s holds one array, and the network has %d outputs; write "
                        "a .npz file",
                        path, p->graph->output_count);
    }
    CLQ_TRY(p->single ? clq_npz_open_single(path, &p->npz) : clq_npz_open(path, &p->npz));
    for (int o = 0; o < p->graph->output_count; o++) {
        const clq_shape shape = output_shape(p->graph, o);
        int index;
        CLQ_TRY(clq_npz_add(p->npz, clq_graph_output_name(p->graph, o), shape.dim + 1,
                            shape.rank - 1, &index));
    }
    return CLQ_OK;
}

static clq_status keep_name(clq_predictions *p, int64_t index) {
    char text[MAX_PATH];
    if (p->count == p->name_room) {
        const int64_t room = 2 * p->name_room + 64;
        char **names = clq_realloc(p->names, (size_t)room, sizeof *names);
        if (!names) {
            return CLQ_NO_MEMORY;
        }
        p->names = names;
        p->name_room = room;
    }
    CLQ_TRY(clq_dataset_name(p->dataset, index, text, sizeof text));
    p->names[p->count] = clq_strdup(text);
    return p->names[p->count++] ? CLQ_OK : CLQ_NO_MEMORY;
}

/* ---- a table's targets ---- */

static clq_status find_units(clq_predictions *p) {
    const int64_t size = output_size(p->graph, 0);
    bool found;
    p->mean = clq_calloc(2 * (size_t)size, sizeof *p->mean);
    if (!p->mean) {
        return CLQ_NO_MEMORY;
    }
    p->std = p->mean + size;
    CLQ_TRY(clq_metadata_get_targets(p->graph, (int)size, p->mean, p->std, &found));
    if (!found) {
        clq_free(p->mean);
        p->mean = NULL;
        return CLQ_OK;
    }
    CLQ_TRY(clq_metadata_get_lines(p->graph, CLQ_META_TARGETS, &p->targets, &p->target_count));
    if (p->target_count != size) {
        clq_class_names_free(p->targets, p->target_count);
        p->targets = NULL;
        p->target_count = 0;
    }
    return CLQ_OK;
}

/* p->values: the outputs of `count` rows as the targets were before they were normalized. */
static clq_status to_units(clq_predictions *p, int count, const float *outputs) {
    const size_t size = (size_t)output_size(p->graph, 0);
    if (count > p->value_room) {
        float *values = clq_realloc(p->values, (size_t)count * size, sizeof *values);
        if (!values) {
            return CLQ_NO_MEMORY;
        }
        p->values = values;
        p->value_room = count;
    }
    for (size_t i = 0; i < (size_t)count * size; i++) {
        p->values[i] = outputs[i] * p->std[i % size] + p->mean[i % size];
    }
    return CLQ_OK;
}

/* ---- both ---- */

clq_status clq_predictions_check_path(const char *path) {
    if (clq_path_has_extension(path, ".npz") || clq_path_has_extension(path, ".npy") ||
        clq_path_has_extension(path, ".csv")) {
        return CLQ_OK;
    }
    return clq_fail(CLQ_USAGE, "-o: %s must end in .npz, .npy or .csv, which says what is written",
                    path);
}

clq_status clq_predictions_open(const char *path, const clq_graph *graph, clq_dataset *dataset,
                                clq_predictions **out) {
    *out = NULL;
    CLQ_TRY(clq_predictions_check_path(path));
    clq_predictions *p = clq_calloc(1, sizeof *p);
    if (!p) {
        return CLQ_NO_MEMORY;
    }
    p->graph = graph;
    const bool table = dataset && clq_dataset_table(dataset);
    p->dataset = table ? NULL : dataset;
    if (dataset && strcmp(clq_dataset_get_info(dataset)->kind, "list") == 0) {
        p->labels = clq_dataset_get_info(dataset)->labels;
    }
    p->single = clq_path_has_extension(path, ".npy");
    clq_status status = table && graph->output_count == 1 ? find_units(p) : CLQ_OK;
    if (status == CLQ_OK) {
        status = clq_path_has_extension(path, ".csv") ? open_csv(p, path) : open_arrays(p, path);
    }
    if (status != CLQ_OK) {
        clq_predictions_abort(&p);
        return status;
    }
    *out = p;
    return CLQ_OK;
}

clq_status clq_predictions_add(void *context, int64_t first, int count,
                               const float *const *outputs) {
    clq_predictions *p = context;
    const float *in_units[1];
    if (p->mean) {
        CLQ_TRY(to_units(p, count, outputs[0]));
        in_units[0] = p->values;
        outputs = in_units;
    }
    for (int i = 0; p->csv && i < count; i++) {
        CLQ_TRY(write_row(p, first + i, i, outputs));
    }
    for (int o = 0; p->npz && o < p->graph->output_count; o++) {
        CLQ_TRY(clq_npz_append(p->npz, o, outputs[o], count * output_shape(p->graph, o).dim[0]));
    }
    for (int i = 0; p->npz && !p->single && p->dataset && i < count; i++) {
        CLQ_TRY(keep_name(p, first + i));
    }
    return CLQ_OK;
}

clq_status clq_predictions_commit(clq_predictions **predictions) {
    clq_predictions *p = *predictions;
    clq_status status = CLQ_OK;
    if (p->csv) {
        status = clq_writer_commit(&p->csv);
    }
    if (p->npz && p->count > 0) {
        CLQ_GOTO(status, cleanup,
                 clq_npz_add_strings(p->npz, names_array(p->graph), (const char *const *)p->names,
                                     p->count));
    }
    if (p->npz) {
        status = clq_npz_commit(&p->npz);
    }
cleanup:
    clq_predictions_abort(predictions);
    return status;
}

void clq_predictions_abort(clq_predictions **predictions) {
    clq_predictions *p = *predictions;
    *predictions = NULL;
    if (p) {
        clq_writer_abort(&p->csv);
        clq_npz_abort(&p->npz);
        clq_class_names_free(p->classes, p->class_count);
        clq_class_names_free(p->targets, p->target_count);
        clq_free(p->mean);
        clq_free(p->values);
        for (int64_t i = 0; i < p->count; i++) {
            clq_free(p->names[i]);
        }
        clq_free(p->names);
        clq_free(p);
    }
}
