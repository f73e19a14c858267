#include <stdio.h>
#include <stdlib.h>

#include "base/environment.h"
#include "base/files.h"
#include "base/json.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/pipeline.h"
#include "cli/shapes.h"
#include "device/tuning.h"
#include "report/table.h"

enum { MAX_MODELS = 32, MAX_BATCHES = 16 };

typedef struct options {
    clq_common common;
    const char *models[MAX_MODELS];
    int model_count;
    int batches[MAX_BATCHES];
    const char *out;
    clq_tune_options tune;
} options;

static clq_status parse_batches(const char *text, options *o) {
    size_t count = 0;
    CLQ_TRY(clq_option_ints("--batch", text, CLQ_IN_BATCH, o->batches, MAX_BATCHES, &count));
    o->tune.batch_count = (int)count;
    return CLQ_OK;
}

enum { SECONDS = CLQ_KEY_LONG, FORCE };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case 'b':
        return clq_option_result(state, parse_batches(argument, o));
    case SECONDS:
        return clq_option_result(
            state, clq_option_f64("--seconds", argument, CLQ_IN_SECONDS, &o->tune.seconds));
    case FORCE:
        o->tune.force = true;
        return 0;
    case 'o':
        o->out = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model_count == MAX_MODELS) {
            return clq_option_fail(state, "at most %d models", MAX_MODELS);
        }
        o->models[o->model_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a model", o->model_count > 0});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"batch", 'b', "N[,N...]", 0, "Images at once (default 1)", 0},
    {"seconds", SECONDS, "S", 0, "Time for measuring, about (default 60)", 0},
    {"force", FORCE, NULL, 0, "Measure again what was tuned before", 0},
    {"output", 'o', "FILE", 0,
     "Keep the choices here, for CLQUANT_TUNE=FILE (default: in the cache folder)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90}, {&clq_shape_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx...",
    "Measures ways of running each shape of convolution and linear layer in the models on the "
    "device, and keeps those that beat the default. Every later command on this device uses them. "
    "Integer results stay the same bits."
    "\vExamples:\n"
    "  clquant tune model.onnx int8.onnx -b 1,8\n"
    "  clquant tune int8.onnx --seconds 300 -o tuning.json",
    children,
    NULL,
    NULL};

/* ---- results ---- */

typedef struct totals {
    double before, after; /* ms of all measured layers */
} totals;

static totals add_up(const clq_tune_report *report) {
    totals sum = {0, 0};
    for (int i = 0; i < report->layer_count; i++) {
        sum.before += report->layers[i].count * report->layers[i].default_ms;
        sum.after += report->layers[i].count * report->layers[i].best_ms;
    }
    return sum;
}

enum { COLUMNS = 7, CELL = 176 };

static void fill_row(const clq_tune_layer *layer, char row[COLUMNS][CELL]) {
    snprintf(row[0], CELL, "%s", layer->family);
    snprintf(row[1], CELL, "%s", layer->shape);
    snprintf(row[2], CELL, "%d", layer->count);
    if (layer->candidates > 0) {
        snprintf(row[3], CELL, "%.4f", layer->default_ms);
        snprintf(row[4], CELL, "%.4f", layer->best_ms);
        snprintf(row[5], CELL, "%.2f", layer->default_ms / layer->best_ms);
    }
    snprintf(row[6], CELL, "%s%s", layer->choice, layer->candidates > 0 ? "" : " (as before)");
}

static clq_status print_text(const clq_tune_report *report, const char *path) {
    static const char *const headers[COLUMNS] = {"family",  "shape", "layers", "default ms",
                                                 "best ms", "ratio", "choice"};
    static const int right[COLUMNS] = {0, 0, 1, 1, 1, 1, 0};
    const size_t rows = (size_t)report->layer_count;
    char(*text)[COLUMNS][CELL] = clq_calloc(rows, sizeof *text);
    const char **cells = clq_calloc(rows * COLUMNS, sizeof *cells);
    clq_status status = CLQ_NO_MEMORY;
    if (text && cells) {
        for (size_t i = 0; i < rows * COLUMNS; i++) {
            if (i % COLUMNS == 0) {
                fill_row(&report->layers[i / COLUMNS], text[i / COLUMNS]);
            }
            cells[i] = text[i / COLUMNS][i % COLUMNS];
        }
        status = clq_table_print(stdout, headers, right, COLUMNS, cells, (int)rows);
    }
    const totals sum = add_up(report);
    if (status == CLQ_OK && sum.after > 0) {
        printf("measured layers: %.3f ms by default, %.3f ms tuned (%.2fx)\n", sum.before,
               sum.after, sum.before / sum.after);
    }
    printf("kept in %s\n", path);
    clq_free(text);
    clq_free(cells);
    return status;
}

static json_t *layer_to_json(const clq_tune_layer *layer) {
    const bool measured = layer->candidates > 0;
    json_t *json = json_object();
    json_object_set_new(json, "family", clq_json_string(layer->family));
    json_object_set_new(json, "shape", clq_json_string(layer->shape));
    json_object_set_new(json, "layers", json_integer(layer->count));
    json_object_set_new(json, "candidates", json_integer(layer->candidates));
    json_object_set_new(json, "default_ms",
                        measured ? clq_json_real(layer->default_ms) : json_null());
    json_object_set_new(json, "best_ms", measured ? clq_json_real(layer->best_ms) : json_null());
    json_object_set_new(json, "choice", clq_json_string(layer->choice));
    return json;
}

static clq_status print_json(const clq_tune_report *report, const char *device, const char *path) {
    const totals sum = add_up(report);
    json_t *json = clq_json_result(), *layers = json_array();
    for (int i = 0; i < report->layer_count; i++) {
        json_array_append_new(layers, layer_to_json(&report->layers[i]));
    }
    json_object_set_new(json, "device", clq_json_string(device));
    json_object_set_new(json, "file", clq_json_string(path));
    json_object_set_new(json, "default_ms", clq_json_real(sum.before));
    json_object_set_new(json, "best_ms", clq_json_real(sum.after));
    json_object_set_new(json, "results", layers);
    const clq_status status = clq_json_dump_stdout(json);
    json_decref(json);
    return status;
}

static clq_status print_report(const options *o, const clq_device *device,
                               const clq_tune_report *report) {
    char *path = clq_tuning_path(device);
    clq_status status = CLQ_NO_MEMORY;
    if (path) {
        status = o->common.json ? print_json(report, clq_device_get_info(device)->name, path)
                                : print_text(report, path);
    }
    clq_free(path);
    return status;
}

/* ---- the command ---- */

/* The device reads and writes the file of CLQUANT_TUNE. One that is still to be made is no mistake
 * here, so opening does not look for it. */
static clq_status open_device(const options *o, clq_device **device) {
    const char *named = clq_environment("CLQUANT_TUNE");
    const bool off = !o->out && clq_environment_is_off("CLQUANT_TUNE");
    char *file = o->out ? clq_strdup(o->out) : named && !off ? clq_strdup(named) : NULL;
    clq_status status = CLQ_OK;
    if (!file) {
        return o->out ? CLQ_NO_MEMORY : clq_device_open(o->common.device, device);
    }
    if (setenv("CLQUANT_TUNE", clq_file_exists(file) ? file : "off", 1) != 0) {
        status = clq_fail(CLQ_NO_MEMORY, "out of memory");
    }
    if (status == CLQ_OK) {
        status = clq_device_open(o->common.device, device);
    }
    if (status == CLQ_OK && setenv("CLQUANT_TUNE", file, 1) != 0) {
        status = clq_fail(CLQ_NO_MEMORY, "out of memory");
    }
    clq_free(file);
    return status;
}

static clq_status run(int argc, char **argv) {
    options o = {.batches = {1}, .tune = {.batch_count = 1}};
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_graph *graphs[MAX_MODELS] = {NULL};
    clq_tune_report report = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "tune", argc, argv, &o, &done));
    o.tune.batches = o.batches;
    for (int m = 0; m < o.model_count; m++) {
        CLQ_GOTO(status, cleanup, clq_model_open(o.models[m], &graphs[m]));
    }
    CLQ_GOTO(status, cleanup, open_device(&o, &device));
    CLQ_GOTO(status, cleanup,
             clq_tune(device, (const clq_graph *const *)graphs, o.model_count, &o.tune, &report));
    CLQ_GOTO(status, cleanup, print_report(&o, device, &report));
cleanup:
    clq_tune_report_clear(&report);
    for (int m = 0; m < o.model_count; m++) {
        clq_graph_destroy(graphs[m]);
    }
    clq_device_close(device);
    return status;
}

const clq_command clq_command_tune = {
    "tune", "find the fastest way to run a model's layers on this device", run};
