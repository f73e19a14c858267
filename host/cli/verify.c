#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/ranges.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/shapes.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *data, *inputs;
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
    case 'i':
        o->inputs = argument;
        return 0;
    case 'n':
        return clq_option_result(state,
                                 clq_option_i64("--limit", argument, CLQ_IN_LIMIT, &o->limit));
    case REQUIRE_INT8:
        o->require_int8 = true;
        return 0;
    case ARGP_KEY_ARG:
        if (o->model) {
            return clq_option_fail(state, "one model only");
        }
        o->model = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->data && o->inputs) {
            return clq_option_fail(state, "takes either --data or --inputs, not both");
        }
        return CLQ_OPTION_NEEDS(state, {"a model", o->model});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0, CLQ_UNLABELLED_HELP "; the test split (default: synthetic images)", 0},
    {"inputs", 'i', "X.npy|X.npz|IMAGES", 0, CLQ_INPUTS_HELP "; instead of --data", 0},
    {"limit", 'n', "N", 0, "At most N images or rows, spread over the set (default: all)", 0},
    {"require-int8", REQUIRE_INT8, NULL, 0,
     "Gate: every layer runs in int8 on a dot-product instruction", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "Q.onnx [--data DIR]\nQ.onnx --inputs X.npz",
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

/* On arrays, or else images or a table, of which `sources` tells where the parts of the
 * preprocessing come from (clq_data_source). */
static clq_status verify(const options *o, clq_device *device, clq_graph *graph,
                         const char **sources, clq_verification *v) {
    clq_data_source source =
        clq_inputs_source(o->inputs, o->data ? o->data : "synthetic", &o->images);
    clq_status status = CLQ_OK;
    clq_arrays *arrays = NULL;
    clq_dataset *dataset = NULL;
    clq_feed *feed = NULL;
    source.sources = sources;
    CLQ_GOTO(status, cleanup, clq_inputs_open_arrays(o->inputs, &o->images, graph, &arrays));
    if (arrays) {
        const int batch = clq_eval_batch(graph, clq_arrays_rows(arrays));
        CLQ_GOTO(status, cleanup, clq_feed_create_arrays(graph, arrays, batch, o->limit, &feed));
        status = clq_verify_feed(device, graph, feed, batch, 0, v);
    } else {
        CLQ_GOTO(status, cleanup,
                 clq_data_open(&source, graph, CLQ_SPLIT_TEST, o->limit, &dataset));
        const int batch = clq_eval_batch(graph, clq_dataset_get_info(dataset)->count);
        status = clq_verify(device, graph, dataset, batch, o->limit, v);
    }
cleanup:
    clq_feed_destroy(feed);
    clq_dataset_close(dataset);
    clq_arrays_close(arrays);
    return status;
}

static clq_status print(const options *o, const clq_graph *graph, const char *const *sources,
                        const clq_verification *v) {
    if (o->common.json) {
        const char *data = o->inputs ? o->inputs : o->data ? o->data : "synthetic";
        const bool arrays = o->inputs && clq_inputs_are_arrays(o->inputs);
        json_t *json = clq_verification_to_json(v, graph, data, arrays ? NULL : sources);
        const clq_status status = clq_json_dump_stdout(json);
        json_decref(json);
        return status;
    }
    clq_verification_print(v);
    if (!o->data && !o->inputs) {
        printf("without --data: the images were synthetic\n");
    }
    return CLQ_OK;
}

static clq_status run(int argc, char **argv) {
    options o = {0};
    clq_status status = CLQ_OK;
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_verification verification = {0};
    const char *sources[CLQ_PART_COUNT] = {NULL};
    bool done;
    CLQ_TRY(clq_parse(&argp, "verify", argc, argv, &o, &done));
    CLQ_GOTO(status, cleanup, clq_model_open(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_model_to_integer(o.model, &graph));
    CLQ_GOTO(status, cleanup, clq_device_open(o.common.device, &device));
    CLQ_GOTO(status, cleanup, verify(&o, device, graph, sources, &verification));
    CLQ_GOTO(status, cleanup, print(&o, graph, sources, &verification));
    CLQ_GOTO(status, cleanup, clq_verification_gate(&verification));
    if (o.require_int8) {
        CLQ_GOTO(status, cleanup, check_paths(&verification));
    }
cleanup:
    clq_verification_clear(&verification);
    clq_graph_destroy(graph);
    clq_device_close(device);
    return status;
}

const clq_command clq_command_verify = {"verify", "prove that a quantized model is bit-exact", run};
