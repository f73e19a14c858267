#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "bench/bench_json.h"
#include "cli/cli.h"
#include "cli/pipeline.h"
#include "report/table.h"

enum { MAX_MODELS = 32, MAX_DEVICES = 8 };

typedef struct options {
    clq_common common;
    const char *models[MAX_MODELS], *devices[MAX_DEVICES];
    int model_count, device_count, batch;
    bool layers;
    clq_bench_options bench;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case 'd':
        if (o->device_count == MAX_DEVICES) {
            argp_error(state, "at most %d devices", MAX_DEVICES);
        }
        o->devices[o->device_count++] = argument;
        return 0;
    case 'b':
        return clq_option_result(state, clq_option_int("--batch", argument, 1, 65536, &o->batch));
    case 'i':
        return clq_option_result(
            state, clq_option_int("--iterations", argument, 1, 1000000, &o->bench.iterations));
    case 'w':
        return clq_option_result(
            state, clq_option_int("--warmup", argument, 1, 1000000, &o->bench.warmup));
    case 'L':
        o->layers = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model_count == MAX_MODELS) {
            argp_error(state, "at most %d models", MAX_MODELS);
        }
        o->models[o->model_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->model_count == 0) {
            argp_error(state, "needs a model");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"device", 'd', "DEVICE", 0, "P:D indices, part of a name, cpu or gpu; may be repeated", 0},
    {"batch", 'b', "N", 0, "Images at once (default 1)", 0},
    {"iterations", 'i', "N", 0, "Timed iterations of each model (default: about a second's)", 0},
    {"warmup", 'w', "N", 0, "Iterations before timing (default 3)", 0},
    {"layers", 'L', NULL, 0, "Print the table of layers too (--json always has it)", 0},
    {0},
};
static const struct argp_child children[] = {{&clq_common_argp, 0, "Common options:", 90}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx...",
    "Measures latency and throughput, with every layer against the device's measured peak. "
    "Several models and devices run in turn, so that drift hits all alike.",
    children,
    NULL,
    NULL};

/* ---- text ---- */

enum { CELL = 64 };

static clq_status print_results(const clq_bench_result *results, size_t count) {
    enum { COLUMNS = 11 };
    static const char *const headers[COLUMNS] = {"model",     "device",    "precision", "batch",
                                                 "median ms", "min",       "p99",       "img/s",
                                                 "GOPS",      "% of peak", "MB"};
    static const int right[COLUMNS] = {0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
    char(*text)[CELL] = clq_calloc(count * COLUMNS, CELL);
    const char **cells = clq_calloc(count * COLUMNS, sizeof *cells);
    clq_status status = CLQ_NO_MEMORY;
    if (text && cells) {
        for (size_t i = 0; i < count; i++) {
            const clq_bench_result *r = &results[i];
            char(*row)[CELL] = text + i * COLUMNS;
            snprintf(row[0], CELL, "%s", r->model);
            snprintf(row[1], CELL, "%s", r->device);
            snprintf(row[2], CELL, "%s %s", r->precision, r->dot_path);
            snprintf(row[3], CELL, "%d", r->batch);
            snprintf(row[4], CELL, "%.3f", r->latency.median);
            snprintf(row[5], CELL, "%.3f", r->latency.min);
            snprintf(row[6], CELL, "%.3f", r->latency.p99);
            snprintf(row[7], CELL, "%.1f", r->images_per_second);
            snprintf(row[8], CELL, "%.1f", r->gops);
            snprintf(row[9], CELL, "%.1f", 100 * r->peak_fraction);
            snprintf(row[10], CELL, "%.2f", (double)r->bytes / 1e6);
        }
        for (size_t i = 0; i < count * COLUMNS; i++) {
            cells[i] = text[i];
        }
        status = clq_table_print(stdout, headers, right, COLUMNS, cells, (int)count);
    }
    clq_free(text);
    clq_free(cells);
    return status;
}

static clq_status print_layers(const clq_bench_result *r) {
    enum { COLUMNS = 7 };
    static const char *const headers[COLUMNS] = {"layer", "op",        "ms",  "share %",
                                                 "GOPS",  "% of peak", "path"};
    static const int right[COLUMNS] = {0, 0, 1, 1, 1, 1, 0};
    const size_t count = (size_t)r->layer_count * COLUMNS;
    char(*text)[CELL] = clq_calloc(count, CELL);
    const char **cells = clq_calloc(count, sizeof *cells);
    clq_status status = CLQ_NO_MEMORY;
    double total = 0;
    for (int i = 0; i < r->layer_count; i++) {
        total += r->layers[i].ms;
    }
    if (text && cells) {
        for (int i = 0; i < r->layer_count; i++) {
            const clq_bench_layer *layer = &r->layers[i];
            char(*row)[CELL] = text + i * COLUMNS;
            snprintf(row[0], CELL, "%s", layer->name);
            snprintf(row[1], CELL, "%s", layer->op);
            snprintf(row[2], CELL, "%.4f", layer->ms);
            snprintf(row[3], CELL, "%.1f", total > 0 ? 100 * layer->ms / total : 0);
            snprintf(row[4], CELL, "%.1f", layer->gops);
            snprintf(row[5], CELL, "%.1f%s", 100 * layer->peak_fraction,
                     layer->peak_fraction > 1 ? " peak too low" : "");
            snprintf(row[6], CELL, "%s %s", layer->precision, layer->dot_path);
        }
        for (size_t i = 0; i < count; i++) {
            cells[i] = text[i];
        }
        printf("\n%s, %s on %s, batch %d, profiled %.3f ms\n", r->model, r->precision, r->device,
               r->batch, total);
        status = clq_table_print(stdout, headers, right, COLUMNS, cells, r->layer_count);
    }
    clq_free(text);
    clq_free(cells);
    return status;
}

static clq_status print_all(const options *o, const clq_bench_result *results, size_t count) {
    if (o->common.json) {
        json_t *json = clq_bench_to_json(results, count);
        const clq_status status = json ? clq_json_dump_stdout(json) : CLQ_NO_MEMORY;
        json_decref(json);
        return status;
    }
    CLQ_TRY(print_results(results, count));
    for (size_t i = 0; o->layers && i < count; i++) {
        CLQ_TRY(print_layers(&results[i]));
    }
    return CLQ_OK;
}

/* ---- the command ---- */

static clq_status run(int argc, char **argv) {
    options o = {.batch = 1};
    clq_status status = CLQ_OK;
    clq_device *devices[MAX_DEVICES] = {NULL};
    clq_graph *graphs[MAX_MODELS] = {NULL};
    char *names[MAX_MODELS] = {NULL};
    clq_bench_case *cases = NULL;
    clq_bench_result *results = NULL;
    size_t count = 0;
    bool done;
    CLQ_TRY(clq_parse(&argp, "bench", argc, argv, &o, &done));
    o.bench.layers = o.layers || o.common.json;
    if (o.device_count == 0) {
        o.devices[o.device_count++] = NULL;
    }
    for (int m = 0; m < o.model_count; m++) {
        CLQ_GOTO(status, cleanup, clq_model_open(o.models[m], &graphs[m]));
        names[m] = clq_path_stem(o.models[m]);
        if (!names[m]) {
            status = CLQ_NO_MEMORY;
            goto cleanup;
        }
    }
    for (int d = 0; d < o.device_count; d++) {
        CLQ_GOTO(status, cleanup, clq_device_open(o.devices[d], &devices[d]));
    }
    cases = clq_calloc((size_t)(o.model_count * o.device_count), sizeof *cases);
    results = clq_calloc((size_t)(o.model_count * o.device_count), sizeof *results);
    if (!cases || !results) {
        status = CLQ_NO_MEMORY;
        goto cleanup;
    }
    for (int d = 0; d < o.device_count; d++) {
        for (int m = 0; m < o.model_count; m++) {
            cases[count++] = (clq_bench_case){names[m], graphs[m], devices[d], o.batch};
        }
    }
    CLQ_GOTO(status, cleanup, clq_bench_run(cases, count, &o.bench, results));
    CLQ_GOTO(status, cleanup, print_all(&o, results, count));
cleanup:
    for (size_t i = 0; results && i < count; i++) {
        clq_bench_result_clear(&results[i]);
    }
    clq_free(results);
    clq_free(cases);
    for (int m = 0; m < o.model_count; m++) {
        clq_graph_destroy(graphs[m]);
        clq_free(names[m]);
    }
    for (int d = 0; d < o.device_count; d++) {
        clq_device_close(devices[d]);
    }
    return status;
}

const clq_command clq_command_bench = {
    "bench", "latency, throughput and layers against the device's peak", run};
