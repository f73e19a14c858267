#include <stdio.h>

#include "base/files.h"
#include "base/json.h"
#include "base/ranges.h"
#include "cli/analysis.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pipeline.h"
#include "cli/quantized.h"
#include "cli/shapes.h"
#include "session/analyze.h"

typedef struct options {
    clq_common common;
    clq_image_flags images;
    const char *model, *quantized, *data, *inputs, *out;
    clq_quant_flags flags;
    clq_quant_config config;
    uint64_t seed;
    int64_t limit;
    bool overwrite;
} options;

enum { OVERWRITE = CLQ_KEY_LONG };

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        state->child_inputs[1] = &o->flags;
        state->child_inputs[2] = &o->images;
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
    case 'o':
    case 'O':
        o->out = argument;
        return 0;
    case OVERWRITE:
        o->overwrite = true;
        return 0;
    case 'S':
        return clq_option_result(state, clq_option_seed(argument, &o->seed));
    case ARGP_KEY_ARG:
        if (o->quantized) {
            return clq_option_fail(state, "one FP32 model and the quantized one only");
        }
        *(o->model ? &o->quantized : &o->model) = argument;
        return 0;
    case ARGP_KEY_END:
        if (o->data && o->inputs) {
            return clq_option_fail(state, "takes either --data or --inputs, not both");
        }
        return CLQ_OPTION_NEEDS(state, {"the FP32 model", o->model},
                                {"--data (or --inputs)", o->data || o->inputs});
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"data", 'D', "DIR", 0,
     CLQ_UNLABELLED_HELP "; the test split, and the training split where it is to calibrate", 0},
    {"inputs", 'i', "X.npy|X.npz|IMAGES", 0, CLQ_INPUTS_HELP "; instead of --data", 0},
    {"limit", 'n', "N", 0,
     "At most N images or rows, spread over the set (default 512, or fewer that take 1 GB)", 0},
    {"out", 'O', "DIR", 0, "Also leave analysis.json and a report with pictures in this folder", 0},
    {"output", 'o', "DIR", OPTION_HIDDEN, NULL, 0}, /* the same */
    {"overwrite", OVERWRITE, NULL, 0, "Replace an earlier analysis in --out", 0},
    {"seed", 'S', "N", 0, "Seed of the choice of calibration images (default 1)", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_common_argp, 0, "Common options:", 90},
    {&clq_quant_flags_argp, 0, "Quantization, where no quantized model is given:", 10},
    {&clq_images_argp, 0, "Images (default: as the model says):", 20},
    {&clq_shape_argp, 0, NULL, 0},
    {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "FP32.onnx [Q.onnx] --data DIR\nFP32.onnx [Q.onnx] --inputs X.npz",
    "Shows which layer loses accuracy: what each step from the float to the integer network costs, "
    "and for each layer how far its output is off, and how the network does when only this layer "
    "is quantized and when all others are. Without a quantized model it makes one, as ptq does."
    "\vExamples:\n"
    "  clquant analyze model.onnx -D cifar-10-batches-bin\n"
    "  clquant analyze model.onnx int8.onnx -D imagenet -n 200 -o analysis\n"
    "  clquant analyze model.onnx -D images --weight-scales per_tensor --json",
    children,
    NULL,
    NULL};

/* ---- what is read ---- */

static clq_status open_models(const options *o, clq_analyze_work *w) {
    CLQ_TRY(clq_model_open(o->model, &w->trained));
    CLQ_TRY(clq_model_require_float(o->model, w->trained));
    if (o->quantized) {
        CLQ_TRY(clq_model_open(o->quantized, &w->integer));
        CLQ_TRY(clq_model_to_integer(o->quantized, &w->integer));
    }
    return CLQ_OK;
}

/* ---- what is left ---- */

/* analysis.json, and the report of it. */
static clq_status leave(const options *o, clq_out_folder *out, const json_t *json) {
    char *path = NULL, *html = NULL;
    clq_status status = CLQ_OK;
    if (!out->path) {
        return CLQ_OK;
    }
    path = clq_path_join(out->path, "analysis.json");
    CLQ_GOTO(status, cleanup, path ? clq_out_clear(out) : CLQ_NO_MEMORY);
    CLQ_GOTO(status, cleanup, clq_json_dump_file(path, json));
    CLQ_GOTO(status, cleanup, clq_report_write(&out->path, 1, NULL, &html));
    if (!o->common.json) {
        printf("\n%s\n", html);
    }
cleanup:
    clq_free(path);
    clq_free(html);
    return status;
}

static clq_status show(const options *o, const clq_analyze_work *w, clq_out_folder *out) {
    json_t *json = clq_analyze_to_json(w, o->model, o->quantized, o->data ? o->data : o->inputs);
    clq_status status = json ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK && o->common.json) {
        status = clq_json_dump_stdout(json);
    } else if (status == CLQ_OK) {
        if (*w->why_not) {
            printf("accuracy was not measured: %s\n", w->why_not);
        }
        status = clq_analysis_print(&w->analysis);
    }
    if (status == CLQ_OK) {
        status = leave(o, out, json);
    }
    json_decref(json);
    return status;
}

static clq_status analyze(const options *o, clq_analyze_work *w, clq_out_folder *out) {
    CLQ_TRY(open_models(o, w));
    CLQ_TRY(clq_device_open(o->common.device, &w->device));
    CLQ_TRY(clq_inputs_open_arrays(o->inputs, &o->images, w->trained, &w->arrays));
    CLQ_TRY(clq_analyze_open(w));
    CLQ_TRY(clq_out_claim(out));
    clq_quantized_warn(&w->quantized);
    CLQ_TRY(clq_analyze_run(w));
    return show(o, w, out);
}

static clq_status run(int argc, char **argv) {
    static const char *const results[] = {"analysis.json"};
    options o = {.seed = 1};
    bool done;
    clq_quant_config_init(&o.config);
    CLQ_TRY(clq_parse(&argp, "analyze", argc, argv, &o, &done));
    CLQ_TRY(clq_quant_flags_apply(&o.flags, &o.config));
    if (o.quantized && o.flags.count > 0) {
        return clq_fail(CLQ_USAGE,
                        "%s is quantized already: flags of quantization are for making "
                        "one from the FP32 model alone",
                        o.quantized);
    }
    clq_out_folder out = {
        .path = o.out, .overwrite = o.overwrite, .results = results, .result_count = 1};
    CLQ_TRY(clq_out_check(&out));
    clq_analyze_work w = {.name = o.model,
                          .quantized_name = o.quantized,
                          .data = o.data ? o.data : o.inputs,
                          .inputs_only = !o.data,
                          .flags = &o.images,
                          .config = &o.config,
                          .seed = o.seed,
                          .limit = o.limit,
                          .quantized = {.method = "ptq", .config = &o.config}};
    const clq_status status = analyze(&o, &w, &out);
    clq_out_release(&out);
    clq_analyze_close(&w);
    clq_arrays_close(w.arrays);
    clq_device_close(w.device);
    return status;
}

const clq_command clq_command_analyze = {"analyze", "which layer loses accuracy, what it costs",
                                         run};
