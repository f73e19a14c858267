#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/pipeline.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *data;
    int64_t limit;
    bool require_int8;
} options;

enum { REQUIRE_INT8 = CLQ_KEY_LONG };

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
    case 'n':
        return clq_option_result(state,
                                 clq_option_i64("--limit", argument, CLQ_IN_LIMIT, &o->limit));
    case REQUIRE_INT8:
        o->require_int8 = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            argp_error(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        if (!o->model) {
            argp_error(state, "needs a model");
        }
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_UNLABELLED_HELP "; the test split (default: synthetic images)", 0},
    {"limit", 'n', "N", 0, "At most N images or rows, spread over the set (default: all)", 0},
    {"require-int8", REQUIRE_INT8, NULL, 0,
     "Gate: every layer runs in int8 on a dot-product instruction", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "Q.onnx [--data DIR]",
    "Proves that the integer network computes what the fake-quantized evaluation promised: "
    "compares every code, "
    "and the logits of every dot-product path of the device. Exit code 1 when anything differs."
    "\vExamples:\n"
    "  clquant verify int8.onnx -D cifar-10-batches-bin -n 1000\n"
    "  clquant verify int8.onnx -D imagenet --require-int8 -d gpu",
    children,
    NULL,
    NULL};

/* The gate of --require-int8: no layer fell back to float or to portable C. */
static clq_status check_paths(const clq_verification *v) {
    for (int i = 0; i < v->layer_count; i++) {
        if (strcmp(v->layers[i].precision, "int8") != 0 ||
            strcmp(v->layers[i].dot_path, "portable") == 0) {
            return clq_fail(
                CLQ_GATE_FAILED, "--require-int8: layer %s (%s) runs as %s on dot path %s",
                v->layers[i].name, v->layers[i].op, v->layers[i].precision, v->layers[i].dot_path);
        }
    }
    return CLQ_OK;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_dataset *dataset = NULL;
    clq_verification verification = {0};
    bool done;
    CLQ_TRY(clq_parse(&argp, "verify", argc, argv, &o, &done));
    const char *sources[CLQ_PART_COUNT] = {NULL};
    const char *data = o.data ? o.data : "synthetic";
    const clq_data_source source = {
        .path = data, .flags = &o.images, .any_classes = true, .sources = sources};
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_model_to_integer(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_data_open(&source, graph, CLQ_SPLIT_TEST, o.limit, &dataset));
    CLQ_GOTO(status, cleanup, clq_device_open(o.common.device, &device));
    const int batch = clq_eval_batch(graph, clq_dataset_get_info(dataset)->count);
    CLQ_GOTO(status, cleanup, clq_verify(device, graph, dataset, batch, o.limit, &verification));
    if (o.common.json) {
        json_t *json = clq_verification_to_json(&verification, graph, data, sources);
        status = clq_json_dump_stdout(json);
        json_decref(json);
    } else {
        clq_verification_print(&verification);
        if (!o.data) {
            printf("without --data: the images were synthetic\n");
        }
    }
    CLQ_GOTO(status, cleanup, clq_verification_gate(&verification));
    if (o.require_int8) {
        CLQ_GOTO(status, cleanup, check_paths(&verification));
    }
cleanup:
    clq_verification_clear(&verification);
    clq_dataset_close(dataset);
    clq_graph_destroy(graph);
    clq_device_close(device);
    return status;
}

const clq_command clq_command_verify = {"verify", "prove that a quantized model is bit-exact", run};
