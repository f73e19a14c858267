#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/model_info.h"
#include "cli/pipeline.h"
#include "cli/shapes.h"
#include "formats/tensors.h"
#include "report/table.h"

typedef struct options {
    clq_common common;
    const char *model;
} options;

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        return CLQ_OPTION_NEEDS(state, {"a model", o->model});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child children[] = {
    {&clq_host_argp, 0, "Common options:", 90}, {&clq_shape_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    NULL,
    parse,
    "MODEL.onnx|WEIGHTS.safetensors",
    "Tells what is in a model: inputs and outputs, operators, sizes, quantization, metadata, and "
    "the precision of every layer; or the tensors of a safetensors file. No device is needed. "
    "Shapes are as in files, channels first; N is the batch."
    "\vExamples:\n"
    "  clquant info int8.onnx\n"
    "  clquant info weights.safetensors --json",
    children,
    NULL,
    NULL};

/* ---- weights ---- */

enum { SHAPE = 128, COLUMNS = 4 };

static void shape_text(const clq_file_tensor *tensor, char text[SHAPE]) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < tensor->rank && used < SHAPE; i++) {
        used += (size_t)snprintf(text + used, SHAPE - used, "%s%lld", i ? "x" : "",
                                 (long long)tensor->dim[i]);
    }
}

static clq_status print_tensors(const char *path, const clq_tensors *tensors) {
    static const char *const headers[COLUMNS] = {"tensor", "shape", "type", "bytes"};
    static const int right[COLUMNS] = {0, 1, 0, 1};
    const size_t count = (size_t)clq_tensors_count(tensors);
    char(*shapes)[SHAPE] = clq_calloc(count, sizeof *shapes);
    char(*sizes)[24] = clq_calloc(count, sizeof *sizes);
    const char **cells = clq_calloc(count * COLUMNS, sizeof *cells);
    clq_status status = count == 0 || (shapes && sizes && cells) ? CLQ_OK : CLQ_NO_MEMORY;
    size_t bytes = 0;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        const clq_file_tensor *tensor = clq_tensors_at(tensors, (int)i);
        shape_text(tensor, shapes[i]);
        snprintf(sizes[i], sizeof sizes[i], "%zu", tensor->size);
        const char *const row[COLUMNS] = {tensor->name, shapes[i],
                                          clq_file_dtype_name(tensor->dtype), sizes[i]};
        memcpy(cells + i * COLUMNS, row, sizeof row);
        bytes += tensor->size;
    }
    if (status == CLQ_OK) {
        printf("%s: %zu tensor%s, %zu byte%s\n", path, count, clq_plural((int64_t)count), bytes,
               clq_plural((int64_t)bytes));
    }
    for (int i = 0; i < tensors->metadata_count && status == CLQ_OK; i++) {
        printf("metadata ");
        clq_print_name(tensors->metadata[i].key);
        printf(": %zu byte%s\n", strlen(tensors->metadata[i].value),
               clq_plural((int64_t)strlen(tensors->metadata[i].value)));
    }
    if (status == CLQ_OK && count > 0) {
        putchar('\n');
        status = clq_table_print(stdout, headers, right, COLUMNS, cells, (int)count);
    }
    clq_free(shapes);
    clq_free(sizes);
    clq_free(cells);
    return status;
}

static json_t *tensors_to_json(const char *path, const clq_tensors *tensors) {
    json_t *json = clq_json_result(), *list = json_array(), *metadata = json_object();
    for (int i = 0; i < clq_tensors_count(tensors); i++) {
        const clq_file_tensor *tensor = clq_tensors_at(tensors, i);
        json_t *entry = json_object(), *shape = json_array();
        for (int d = 0; d < tensor->rank; d++) {
            json_array_append_new(shape, json_integer(tensor->dim[d]));
        }
        json_object_set_new(entry, "name", clq_json_string(tensor->name));
        json_object_set_new(entry, "type", clq_json_string(clq_file_dtype_name(tensor->dtype)));
        json_object_set_new(entry, "shape", shape);
        json_object_set_new(entry, "bytes", json_integer((json_int_t)tensor->size));
        json_array_append_new(list, entry);
    }
    for (int i = 0; i < tensors->metadata_count; i++) {
        json_object_set_new(metadata, tensors->metadata[i].key,
                            clq_json_string(tensors->metadata[i].value));
    }
    json_object_set_new(json, "weights", clq_json_string(path));
    json_object_set_new(json, "metadata", metadata);
    json_object_set_new(json, "tensors", list);
    return json;
}

/* ---- the command ---- */

static clq_status dump(json_t *json) {
    const clq_status status = json ? clq_json_dump_stdout(json) : CLQ_NO_MEMORY;
    json_decref(json);
    return status;
}

static clq_status show_weights(const options *o) {
    clq_tensors *tensors = NULL;
    CLQ_TRY(clq_tensors_load(o->model, &tensors));
    const clq_status status = o->common.json ? dump(tensors_to_json(o->model, tensors))
                                             : print_tensors(o->model, tensors);
    clq_tensors_destroy(tensors);
    return status;
}

static clq_status show_model(const options *o) {
    clq_graph *graph = NULL;
    clq_model_info info = {0};
    CLQ_TRY(clq_model_open(o->model, &graph));
    clq_status status = clq_model_info_get(o->model, graph, &info);
    if (status == CLQ_OK) {
        status = o->common.json ? dump(clq_model_info_to_json(&info)) : clq_model_info_print(&info);
    }
    clq_model_info_clear(&info);
    clq_graph_destroy(graph);
    return status;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "info", argc, argv, &o, &done));
    const char *dot = strrchr(o.model, '.');
    return dot && strcmp(dot, ".safetensors") == 0 ? show_weights(&o) : show_model(&o);
}

const clq_command clq_command_info = {"info", "what is in a model: shapes, sizes, precision", run};
