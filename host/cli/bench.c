#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/ranges.h"
#include "bench/bench_json.h"
#include "bench/fp32_form.h"
#include "bench/runner.h"
#include "cli/bench_print.h"
#include "cli/cli.h"
#include "cli/pipeline.h"
#include "cli/shapes.h"
#include "cli/startup.h"

enum { MAX_MODELS = 32, MAX_DEVICES = 8, MAX_BATCHES = 16 };

typedef struct options {
    clq_common common;
    const char *models[MAX_MODELS], *devices[MAX_DEVICES], *base;
    int batches[MAX_BATCHES];
    size_t model_count, device_count, batch_count;
    bool layers, explain, startup, first_result;
    const char *now;    /* a file of results to compare, instead of models */
    double max_regress; /* negative: not given */
    clq_bench_options bench;
} options;

/* ---- options ---- */

enum {
    ITERATIONS = CLQ_KEY_LONG,
    WARMUP,
    LAYERS,
    EXPLAIN,
    STARTUP,
    COMPARE,
    MAX_REGRESS,
    FIRST_RESULT,
    NO_PEAK,
    TRAIN
};

static error_t add_device(options *o, struct argp_state *state, const char *device) {
    if (o->device_count == MAX_DEVICES) {
        return clq_option_fail(state, "at most %d devices", MAX_DEVICES);
    }
    o->devices[o->device_count++] = device;
    return 0;
}

static error_t add_model(options *o, struct argp_state *state, const char *model) {
    if (o->model_count == MAX_MODELS) {
        return clq_option_fail(state, "at most %d models", MAX_MODELS);
    }
    o->models[o->model_count++] = model;
    return 0;
}

/* With --compare, a file of results takes the place of the models. */
static error_t find_results(options *o, struct argp_state *state) {
    for (size_t m = 0; m < o->model_count; m++) {
        if (!clq_path_has_extension(o->models[m], ".json")) {
            continue;
        }
        if (!o->base || o->model_count > 1) {
            return clq_option_fail(
                state,
                "%s: a file of results is compared with another: --compare A.json "
                "B.json",
                o->models[m]);
        }
        if (o->layers || o->explain || o->startup || o->device_count > 0) {
            return clq_option_fail(state, "nothing is measured where two files are compared");
        }
        o->now = o->models[m];
    }
    return 0;
}

static error_t check_options(options *o, struct argp_state *state) {
    if (o->model_count == 0) {
        return CLQ_OPTION_NEEDS(state, {"a model", false});
    }
    if (o->explain && o->bench.no_peak) {
        return clq_option_fail(state, "--explain needs the peaks that --no-peak does not measure");
    }
    if (o->max_regress >= 0 && !o->base) {
        return clq_option_fail(state, "--max-regress needs --compare");
    }
    return find_results(o, state);
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &o->common;
        return 0;
    case 'd':
        return add_device(o, state, argument);
    case 'b':
        return clq_option_result(state, clq_option_ints("--batch", argument, CLQ_IN_BATCH,
                                                        o->batches, MAX_BATCHES, &o->batch_count));
    case ITERATIONS:
        return clq_option_result(state, clq_option_int("--iterations", argument, CLQ_IN_ITERATIONS,
                                                       &o->bench.iterations));
    case WARMUP:
        return clq_option_result(
            state, clq_option_int("--warmup", argument, CLQ_IN_ITERATIONS, &o->bench.warmup));
    case LAYERS:
        o->layers = true;
        return 0;
    case EXPLAIN:
        o->explain = true;
        return 0;
    case STARTUP:
        o->startup = true;
        return 0;
    case COMPARE:
        o->base = argument;
        return 0;
    case MAX_REGRESS:
        return clq_option_result(state,
                                 clq_option_fraction("--max-regress", argument, &o->max_regress));
    case NO_PEAK:
        o->bench.no_peak = true;
        return 0;
    case FIRST_RESULT:
        o->first_result = true;
        return 0;
    case TRAIN: /* another command, which run() has not seen */
        return clq_option_fail(state, "--train must be written in full");
    case ARGP_KEY_ARG:
        return add_model(o, state, argument);
    case ARGP_KEY_END:
        return check_options(o, state);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option argp_options[] = {
    {"device", 'd', "DEVICE", 0,
     "P:D indices, part of a name, cpu or gpu; may be repeated (default: CLQUANT_DEVICE, else the "
     "first GPU, else the CPU)",
     0},
    {"batch", 'b', "N[,N...]", 0, "Images at once (default 1)", 0},
    {"iterations", ITERATIONS, "N", 0,
     "Timed iterations of each case (default: a second's, more while the median is not stable)", 0},
    {"warmup", WARMUP, "N", 0, "Iterations of each case before timing (default 3 and 0.1 s)", 0},
    {"train", TRAIN, NULL, 0,
     "Measure a training step instead; `clquant bench --train --help` lists what goes with it", 0},
    {"layers", LAYERS, NULL, 0, "Print the table of layers too (--json always has it)", 0},
    {"explain", EXPLAIN, NULL, 0,
     "Say of each int8 layer that is not twice as fast as in FP32 why; the FP32 form is measured "
     "too, made from the integer model if none of the models is it",
     0},
    {"startup", STARTUP, NULL, 0,
     "Also time from process start to first result, with empty and with full kernel caches (in a "
     "temporary folder)",
     0},
    {"no-peak", NO_PEAK, NULL, 0,
     "Do not measure what the device can do (some seconds); ratios to it are left out", 0},
    {"compare", COMPARE, "BASE.json", 0,
     "Gate: exit code 1 when a median is certainly slower than in an earlier run's --json; with "
     "another such file instead of models, nothing is measured",
     0},
    {"max-regress", MAX_REGRESS, "5%", 0, "How much slower --compare accepts (default 5%)", 0},
    {"first-result", FIRST_RESULT, NULL, OPTION_HIDDEN, "What --startup runs", 0},
    {0},
};
static const struct argp_child children[] = {
    {&clq_host_argp, 0, "Common options:", 90}, {&clq_shape_argp, 0, NULL, 0}, {0}};
static const struct argp argp = {
    argp_options,
    parse,
    "MODEL.onnx...\n--compare BASE.json NOW.json\n--train NETWORK|RECIPE.json",
    "Measures latency, throughput and transfers, with every layer against what the device was "
    "measured to do. All models, devices and batches run in turn, so that drift hits all alike."
    "\vExamples:\n"
    "  clquant bench model.onnx int8.onnx -b 1,8 --explain\n"
    "  clquant bench int8.onnx --json >base.json\n"
    "  clquant bench int8.onnx --compare base.json --max-regress 10%\n"
    "  clquant bench --compare before.json after.json\n"
    "  clquant bench --train resnet50 --qat",
    children,
    NULL,
    NULL};

/* ---- models ---- */

typedef struct network {
    char *name; /* owned, as is the graph */
    clq_graph *graph;
    int fp32; /* index of the network that is its FP32 form; -1: none, or not wanted */
} network;

/* A second network for every integer one may be its FP32 form. */
enum { MAX_NETWORKS = 2 * MAX_MODELS };

typedef struct session {
    const options *options;
    network networks[MAX_NETWORKS]; /* the models, in order, then FP32 forms made here */
    size_t network_count;
    clq_device *devices[MAX_DEVICES];
    clq_bench_case *cases; /* (devices, networks, batches) */
    clq_bench_result *results;
    size_t case_count;
    clq_bench_startup *startups; /* (devices, models, batches); NULL: not wanted */
    clq_bench_base base, now;
    clq_comparison comparison;
} session;

/* The file's stem; its path where another model has the same stem. */
static char *model_name(const options *o, size_t m) {
    char *name = clq_path_stem(o->models[m]);
    for (size_t i = 0; name && i < o->model_count; i++) {
        char *other = clq_path_stem(o->models[i]);
        const bool same = other && i != m && strcmp(name, other) == 0;
        clq_free(other);
        if (same) {
            clq_free(name);
            return clq_strdup(o->models[m]);
        }
    }
    return name;
}

static clq_status open_models(session *s) {
    const options *o = s->options;
    for (size_t m = 0; m < o->model_count; m++) {
        network *n = &s->networks[s->network_count++];
        n->fp32 = -1;
        n->name = model_name(o, m);
        CLQ_TRY(n->name ? CLQ_OK : CLQ_NO_MEMORY);
        CLQ_TRY(clq_model_open(o->models[m], &n->graph));
    }
    return CLQ_OK;
}

/* Gives every integer network its FP32 form: a given model's, else one made from it. */
static clq_status find_fp32_forms(session *s) {
    for (size_t m = 0; m < s->options->model_count; m++) {
        network *integer = &s->networks[m];
        if (clq_graph_form(integer->graph) != CLQ_FORM_INTEGER) {
            continue;
        }
        for (size_t i = 0; i < s->options->model_count && integer->fp32 < 0; i++) {
            if (clq_bench_is_fp32_form(s->networks[i].graph, integer->graph)) {
                integer->fp32 = (int)i;
            }
        }
        if (integer->fp32 < 0) {
            network *made = &s->networks[s->network_count];
            integer->fp32 = (int)s->network_count++;
            made->fp32 = -1;
            made->name = clq_format("%s as fp32", integer->name);
            CLQ_TRY(made->name ? CLQ_OK : CLQ_NO_MEMORY);
            CLQ_TRY(clq_dequantize(integer->graph, &made->graph));
        }
    }
    return CLQ_OK;
}

/* ---- time from start to first result ---- */

/* What the child of --startup does. */
static clq_status give_first_result(const options *o) {
    const clq_bench_options bench = {.iterations = 1, .expected_runs = 1};
    clq_status status = CLQ_OK;
    clq_graph *graph = NULL;
    clq_device *device = NULL;
    clq_bench_runner runner = {0};
    CLQ_GOTO(status, cleanup, clq_model_open(o->models[0], &graph));
    CLQ_GOTO(status, cleanup, clq_device_open(o->devices[0], &device));
    const clq_bench_case item = {.graph = graph, .device = device, .batch = o->batches[0]};
    CLQ_GOTO(status, cleanup, clq_bench_runner_open(&item, &bench, &runner));
    CLQ_GOTO(status, cleanup, clq_bench_runner_iterate(&runner, false));
    puts("first result");
    fflush(stdout);
cleanup:
    clq_bench_runner_close(&runner);
    clq_device_close(device);
    clq_graph_destroy(graph);
    return status;
}

/* `device` NULL: not said. */
static clq_status measure_startup(const char *model, const char *device, int batch,
                                  clq_bench_startup *startup) {
    enum { MOST = 16 };
    const char *argv[MOST] = {"clquant", "bench", "--first-result", "--quiet"};
    char batch_text[16];
    int count = 4;
    snprintf(batch_text, sizeof batch_text, "%d", batch);
    argv[count++] = "--batch";
    argv[count++] = batch_text;
    if (device) {
        argv[count++] = "--device";
        argv[count++] = device;
    }
    argv[count++] = "--";
    argv[count] = model;
    return clq_startup_measure((char *const *)argv, startup);
}

static clq_status measure_startups(session *s) {
    const options *o = s->options;
    const size_t per_device = o->model_count * o->batch_count, count = o->device_count * per_device;
    clq_status status = CLQ_OK;
    clq_progress progress;
    s->startups = clq_calloc(count, sizeof *s->startups);
    if (!s->startups) {
        return CLQ_NO_MEMORY;
    }
    clq_progress_begin(&progress, "startup", "cases", (int64_t)count);
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        const char *model = o->models[i / o->batch_count % o->model_count];
        clq_progress_update(&progress, (int64_t)i, "%s", model);
        status = measure_startup(model, o->devices[i / per_device], o->batches[i % o->batch_count],
                                 &s->startups[i]);
    }
    clq_progress_end(&progress);
    return status;
}

/* ---- cases ---- */

static size_t case_index(const session *s, size_t device, size_t network, size_t batch) {
    return (device * s->network_count + network) * s->options->batch_count + batch;
}

static clq_status make_cases(session *s) {
    const options *o = s->options;
    s->case_count = o->device_count * s->network_count * o->batch_count;
    s->cases = clq_calloc(s->case_count, sizeof *s->cases);
    s->results = clq_calloc(s->case_count, sizeof *s->results);
    if (!s->cases || !s->results) {
        return CLQ_NO_MEMORY;
    }
    for (size_t d = 0; d < o->device_count; d++) {
        for (size_t n = 0; n < s->network_count; n++) {
            const network *of = &s->networks[n];
            for (size_t b = 0; b < o->batch_count; b++) {
                s->cases[case_index(s, d, n, b)] = (clq_bench_case){
                    .name = of->name,
                    .graph = of->graph,
                    .device = s->devices[d],
                    .batch = o->batches[b],
                    .fp32 = of->fp32 < 0 ? NULL : &s->cases[case_index(s, d, (size_t)of->fp32, b)]};
            }
        }
    }
    return CLQ_OK;
}

static void hand_out_startups(session *s) {
    const size_t models = s->options->model_count, batches = s->options->batch_count;
    for (size_t i = 0; s->startups && i < s->options->device_count * models * batches; i++) {
        const size_t at = case_index(s, i / (models * batches), i / batches % models, i % batches);
        s->results[at].startup = s->startups[i];
    }
}

/* ---- the command ---- */

static clq_status print_json(const session *s) {
    json_t *json = clq_bench_to_json(s->results, s->options->now ? 0 : s->case_count);
    if (s->options->base) {
        json_object_set_new(json, "compare", clq_comparison_to_json(&s->comparison));
    }
    const clq_status status = json ? clq_json_dump_stdout(json) : CLQ_NO_MEMORY;
    json_decref(json);
    return status;
}

/* A device and all that was measured on it. */
static clq_status print_of_device(const session *s, size_t d) {
    const options *o = s->options;
    const clq_bench_result *results = &s->results[case_index(s, d, 0, 0)];
    const size_t count = s->network_count * o->batch_count;
    if (d > 0) {
        putchar('\n');
    }
    clq_print_device(clq_device_get_info(s->devices[d]), &results[0].limits);
    CLQ_TRY(clq_print_results(results, count));
    for (size_t i = 0; o->layers && i < count; i++) {
        CLQ_TRY(clq_print_layers(&results[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (results[i].explained) {
            CLQ_TRY(clq_print_explanations(&results[i]));
        }
    }
    return CLQ_OK;
}

static clq_status print_text(const session *s) {
    for (size_t d = 0; d < s->options->device_count; d++) {
        CLQ_TRY(print_of_device(s, d));
    }
    if (!s->options->base) {
        return CLQ_OK;
    }
    if (!s->options->now) {
        putchar('\n');
    }
    return clq_print_comparison(&s->comparison);
}

/* The results of a file in place of measured ones. */
static clq_status read_results(session *s) {
    CLQ_TRY(clq_bench_base_read(s->options->now, &s->now));
    s->case_count = s->now.row_count;
    return clq_bench_base_results(&s->now, &s->results);
}

static clq_status measure(session *s) {
    const options *o = s->options;
    CLQ_TRY(open_models(s));
    if (o->startup) {
        CLQ_TRY(measure_startups(s)); /* before there are devices, which have threads */
    }
    if (o->explain) {
        CLQ_TRY(find_fp32_forms(s));
    }
    for (size_t d = 0; d < o->device_count; d++) {
        CLQ_TRY(clq_device_open(o->devices[d], &s->devices[d]));
    }
    CLQ_TRY(make_cases(s));
    CLQ_TRY(clq_bench_run(s->cases, s->case_count, &o->bench, s->results));
    hand_out_startups(s);
    return CLQ_OK;
}

static clq_status bench(session *s) {
    const options *o = s->options;
    if (o->base) {
        CLQ_TRY(clq_bench_base_read(o->base, &s->base));
    }
    CLQ_TRY(o->now ? read_results(s) : measure(s));
    if (o->base) {
        CLQ_TRY(clq_bench_compare(&s->base, o->now ? &s->now : NULL, s->results, s->case_count,
                                  o->max_regress < 0 ? 0.05 : o->max_regress, &s->comparison));
    }
    CLQ_TRY(o->common.json ? print_json(s) : print_text(s));
    return o->base ? clq_comparison_gate(&s->comparison) : CLQ_OK;
}

static void close_session(session *s) {
    clq_comparison_clear(&s->comparison);
    clq_bench_base_clear(&s->base);
    clq_bench_base_clear(&s->now);
    for (size_t i = 0; s->results && i < s->case_count && !s->options->now; i++) { /* else lent */
        clq_bench_result_clear(&s->results[i]);
    }
    clq_free(s->results);
    clq_free(s->cases);
    clq_free(s->startups);
    for (size_t n = 0; n < s->network_count; n++) {
        clq_graph_destroy(s->networks[n].graph);
        clq_free(s->networks[n].name);
    }
    for (size_t d = 0; d < s->options->device_count; d++) {
        clq_device_close(s->devices[d]);
    }
}

/* Training steps have options of their own. */
static bool is_about_training(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--train") == 0) {
            return true;
        }
    }
    return false;
}

static clq_status run(int argc, char **argv) {
    if (is_about_training(argc, argv)) {
        return clq_bench_train_command(argc, argv);
    }
    options o = {.batches = {1}, .batch_count = 1, .max_regress = -1};
    bool done;
    CLQ_TRY(clq_parse(&argp, "bench", argc, argv, &o, &done));
    o.bench.layers = o.layers || o.explain || o.common.json;
    if (o.device_count == 0 && !o.now) {
        o.devices[o.device_count++] = NULL;
    }
    if (o.first_result) {
        return give_first_result(&o);
    }
    session s = {.options = &o};
    const clq_status status = bench(&s);
    close_session(&s);
    return status;
}

const clq_command clq_command_bench = {
    "bench", "latency, throughput and layers against the device's peak", run};
