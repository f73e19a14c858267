/* Quantization-aware training.
 *
 * A step quantizes with the scales of the tables in clq_qstate. While observers run, its kernels
 * also note what they saw, and one launch behind the step moves the running ranges towards that and
 * makes the next step's scales. Observers start from calibration, always average, and stop after
 * some epochs: from then on scales are fixed and training adapts to the codes that inference will
 * use. */
#include "quant/qat.h"

#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/ranks.h"
#include "graph/ends.h"
#include "kernels/include/scales.h"
#include "ops/quantized_run.h"
#include "ops/self_test.h"
#include "quant/internal.h"
#include "quant/learned_scales.h"
#include "quant/observers/observer.h"
#include "quant/report.h"
#include "quant/steps.h"

enum { KEPT_BUFFERS = 4 };

struct clq_observers {
    clq_device *device;
    const clq_quant_config *config;
    clq_qstate *qstate;
    clq_kernel *join, *update;
    clq_buffer *running; /* F32 (value_count, 2): the observers' ranges, as in clq_qstate */
    clq_buffer *source;  /* S32 (value_count): clq_find_groups */
    bool joins;          /* some group has several sources */
    clq_ranks *ranks;
    float *host; /* (1 + ranks, value_count, 2), with several: ranges of this rank, and of all */
    int values;
    int64_t steps;               /* observers run in steps 0 .. steps - 1 */
    clq_learned_scales *learned; /* NULL: none */
    clq_params *params; /* those before the network's parameters; NULL: as clq_train makes */
    clq_buffer *kept[KEPT_BUFFERS];
    clq_train_hooks hooks;
};

static size_t range_bytes(const clq_observers *o) {
    return 2 * (size_t)o->values * sizeof(float);
}

/* The range that (3) or (4) turns into these qparams, to the bit: what rounding puts beside it is
 * moved by the few floats that are missing. */
static void start_range(const clq_observers *o, const clq_qparams *q, float *range) {
    enum { MOST_MOVES = 8 };
    const clq_qtype_info *type = clq_qtype_get(q->type);
    const int lowest = type->lowest, highest = type->highest, half = (highest - lowest) / 2;
    const bool symmetric = o->config->symmetric_activations;
    const bool centred = symmetric && clq_is_centred((float)(q->zero_point - lowest), lowest);
    const float scale = q->scale[0];
    float low = scale * (float)(centred ? half : q->zero_point - lowest);
    float high = scale * (float)(centred ? half : highest - q->zero_point);
    for (int i = 0; i < MOST_MOVES; i++) {
        const float made =
            clq_range_scale(low, high, lowest, highest, symmetric, o->qstate->max_shift);
        if (made == scale) {
            break;
        }
        high = nextafterf(high, made < scale ? INFINITY : 0.0f);
        low = centred ? high : low;
    }
    range[0] = low;
    range[1] = high;
}

/* The ranges that the calibrated qparams stand for. */
static clq_status start_ranges(clq_observers *o, const clq_graph *graph) {
    float *ranges = clq_calloc(2 * (size_t)o->values, sizeof *ranges);
    if (!ranges) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < o->values; v++) {
        const clq_value *value = &graph->values[v];
        if (!value->data && value->q.count > 0) {
            start_range(o, &value->q, &ranges[2 * v]);
        }
    }
    const clq_status status = clq_buffer_write(o->running, 0, range_bytes(o), ranges);
    clq_free(ranges);
    return status;
}

static clq_status find_joins(clq_observers *o, const clq_graph *graph, const int *groups) {
    bool *seen = clq_calloc((size_t)o->values, sizeof *seen);
    if (!seen) {
        return CLQ_NO_MEMORY;
    }
    clq_find_sources(graph, groups, seen);
    for (int v = 0; v < o->values; v++) {
        o->joins = o->joins || (seen[v] && groups[v] != v);
    }
    clq_free(seen);
    return CLQ_OK;
}

/* Whose ranges a value goes by: those of its group, or nobody's where its scale is learned. */
static clq_status start_sources(clq_observers *o, clq_graph *graph) {
    const size_t bytes = (size_t)o->values * sizeof(int);
    int *sources = clq_calloc((size_t)o->values, sizeof *sources);
    clq_status status = CLQ_OK;
    if (!sources) {
        return CLQ_NO_MEMORY;
    }
    clq_find_groups(graph, sources);
    CLQ_GOTO(status, cleanup, find_joins(o, graph, sources));
    CLQ_GOTO(status, cleanup,
             clq_learned_create(o->device, graph, o->config, sources, &o->params, &o->learned));
    o->qstate->learned = o->learned;
    for (int v = 0; v < o->values; v++) {
        sources[v] = clq_is_learned(o->qstate, graph, &graph->values[v]) ? -1 : sources[v];
    }
    status = clq_buffer_write(o->source, 0, bytes, sources);
cleanup:
    clq_free(sources);
    return status;
}

/* LSQ learns the scales of all but the network's inputs, which keep the calibrated ones. */
static bool observes(const clq_quant_config *config) {
    return config->learn_scales == CLQ_LEARN_NONE || config->learn_scales == CLQ_LEARN_PACT;
}

static clq_status open_observers(clq_observers *o, clq_graph *graph) {
    clq_op_self_tests_add();
    CLQ_TRY(clq_qstate_create(o->device, graph, &o->qstate));
    o->qstate->choose_weight_scales = o->config->weight_observer == CLQ_WEIGHTS_MIN_MAX;
    o->qstate->choose_constant_scales = true;
    o->qstate->per_tensor_weights = o->config->per_tensor_weights;
    o->qstate->max_shift = clq_scale_shift(o->config);
    o->qstate->int8_forward = o->config->int8_forward && o->steps == 0;
    CLQ_TRY(clq_buffer_create(o->device, range_bytes(o), &o->running));
    CLQ_TRY(clq_buffer_create(o->device, (size_t)o->values * sizeof(int), &o->source));
    CLQ_TRY(clq_kernel_get(o->device, "observer_join", NULL, &o->join));
    CLQ_TRY(clq_kernel_get(o->device, "observer_update", NULL, &o->update));
    CLQ_TRY(start_ranges(o, graph));
    if (o->ranks) {
        o->host = clq_calloc(1 + (size_t)clq_ranks_size(o->ranks), range_bytes(o));
        if (!o->host) {
            return CLQ_NO_MEMORY;
        }
    }
    return start_sources(o, graph);
}

static clq_status before_step(void *context, int64_t step) {
    clq_observers *o = context;
    o->qstate->observe = step < o->steps;
    return CLQ_OK;
}

/* Widens this rank's ranges to what any rank saw, so that all choose the same scales. */
static clq_status widen_over_ranks(clq_observers *o) {
    const int floats = 2 * o->values;
    float *all = o->host + floats;
    if (!o->ranks) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_buffer_read(o->qstate->range, 0, range_bytes(o), o->host));
    CLQ_TRY(clq_ranks_gather(o->ranks, o->host, range_bytes(o), all));
    for (int r = 0; r < clq_ranks_size(o->ranks); r++) {
        for (int i = 0; i < floats; i++) {
            o->host[i] = fmaxf(o->host[i], all[r * floats + i]);
        }
    }
    return clq_buffer_write(o->qstate->range, 0, range_bytes(o), o->host);
}

static clq_status after_step(void *context, int64_t step) {
    clq_observers *o = context;
    CLQ_TRY(clq_learned_after_step(o->qstate));
    /* Zero points stay from the next step on, for which parameters are loaded now. */
    o->qstate->int8_forward = o->config->int8_forward && step + 1 >= o->steps;
    if (!o->qstate->observe) {
        return CLQ_OK;
    }
    o->qstate->observe = false; /* evaluation must not widen ranges */
    CLQ_TRY(widen_over_ranks(o));
    clq_device_set_label(o->device, "observers");
    if (o->joins) {
        CLQ_TRY(CLQ_LAUNCH(o->device, o->join, CLQ_RANGE1((size_t)o->values),
                           CLQ_BUF(o->qstate->range), CLQ_BUF(o->source), CLQ_I32(o->values)));
    }
    CLQ_TRY(CLQ_LAUNCH(o->device, o->update, CLQ_RANGE1((size_t)o->values),
                       CLQ_BUF(o->qstate->range), CLQ_BUF(o->running), CLQ_BUF(o->source),
                       CLQ_TABLES_OF(o->qstate), CLQ_F32(o->config->averaging),
                       CLQ_I32(o->config->symmetric_activations),
                       CLQ_I32(clq_scale_shift(o->config)), CLQ_I32(o->values)));
    CLQ_TRY(clq_buffer_fill(o->qstate->range, 0, range_bytes(o), 0));
    clq_device_set_label(o->device, "");
    return CLQ_OK;
}

/* The tables, and the trained weights' scales, into the graph. */
static clq_status store_qparams(const clq_observers *o, clq_graph *graph) {
    const size_t values = (size_t)o->values;
    clq_status status = CLQ_NO_MEMORY;
    float *scale = clq_calloc(values, sizeof *scale);
    int32_t *zero_point = clq_calloc(values, sizeof *zero_point);
    if (!scale || !zero_point) {
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_learned_load(o->qstate)); /* of averaged parameters, if any */
    CLQ_GOTO(status, cleanup, clq_buffer_read(o->qstate->scale, 0, values * sizeof *scale, scale));
    CLQ_GOTO(status, cleanup,
             clq_buffer_read(o->qstate->zero_point, 0, values * sizeof *zero_point, zero_point));
    for (int v = 0; v < o->values; v++) {
        clq_value *value = &graph->values[v];
        if (!value->data && value->q.count > 0) {
            CLQ_GOTO(status, cleanup,
                     clq_qparams_set(&value->q, 1, &scale[v], zero_point[v], value->q.type));
        }
    }
    if (o->qstate->choose_weight_scales && !(o->learned && o->learned->weights)) {
        CLQ_GOTO(status, cleanup, clq_set_weight_qparams(o->config, graph, NULL, NULL));
    }
    CLQ_GOTO(status, cleanup, clq_set_constant_qparams(o->config, graph, NULL));
    status = o->learned ? clq_learned_store(o->learned, o->config, graph) : CLQ_OK;
cleanup:
    clq_free(scale);
    clq_free(zero_point);
    return status;
}

/* Steps in which observers run. What left out the ends of ranges on purpose would lose that to
 * averages of extremes. */
static int64_t observing_steps(const clq_train_job *job, const clq_quant_config *config) {
    const clq_quant_config found = clq_quant_config_found(config, job->graph);
    const int64_t steps = clq_train_rows(job) / job->config.batch;
    double epochs = job->config.epochs > 1 ? 1 : 0.5;
    if (clq_observer_get(found.observer)->histogram) {
        epochs = 0;
    }
    if (config->observer_epochs >= 0) {
        epochs = config->observer_epochs;
    }
    return (int64_t)ceil(epochs * (double)steps);
}

/* Of all settings, as a model keeps them. */
static clq_status config_hash(const clq_quant_config *config, uint64_t *hash) {
    char *text = NULL;
    json_t *json = clq_quant_config_to_json(config, "qat", config->images);
    json_object_del(json, "int8_forward"); /* the same bits */
    const clq_status status = json ? clq_json_dump_line(json, &text) : CLQ_NO_MEMORY;
    json_decref(json);
    *hash = status == CLQ_OK ? clq_hash64(text, strlen(text)) : 0;
    clq_free(text);
    return status;
}

static clq_status set_hooks(clq_observers *o) {
    uint64_t hash = 0;
    static const char *const names[KEPT_BUFFERS] = {"observer.range", "observer.scale",
                                                    "observer.zero_point", "learned_scales"};
    CLQ_TRY(config_hash(o->config, &hash));
    o->kept[0] = o->running;
    o->kept[1] = o->qstate->scale;
    o->kept[2] = o->qstate->zero_point;
    o->kept[3] = o->learned ? o->learned->learned : NULL;
    o->hooks = (clq_train_hooks){
        .context = o,
        .before_step = before_step,
        .after_step = after_step,
        .config_hash = hash,
        .buffer_count = o->learned ? KEPT_BUFFERS : KEPT_BUFFERS - 1,
        .buffer_names = names,
        .buffers = o->kept,
    };
    return CLQ_OK;
}

clq_status clq_observers_attach(clq_train_job *job, const clq_quant_config *config, int64_t steps,
                                clq_observers **out) {
    *out = NULL;
    CLQ_TRY(clq_quant_config_check(config));
    if (config->weight_steps != CLQ_STEPS_UNIFORM) {
        return clq_fail(CLQ_USAGE, "weight_steps %s cannot be trained so far; ptq can choose them",
                        clq_steps_names[config->weight_steps]);
    }
    for (int n = 0; n < job->graph->node_count; n++) {
        if (clq_is_weight_only(job->graph, &job->graph->nodes[n])) {
            return clq_fail(CLQ_USAGE,
                            "node %s: weights of codes with real activations cannot be trained so "
                            "far; quantize them by ptq",
                            job->graph->nodes[n].name);
        }
    }
    if (clq_graph_form(job->graph) == CLQ_FORM_FLOAT || clq_has_integers(job->graph)) {
        return clq_fail(CLQ_USAGE, "graph %s is not quantized; calibrate it first",
                        job->graph->name);
    }
    CLQ_TRY(clq_graph_set_requantizer(job->graph, config->requantizer));
    clq_observers *o = clq_calloc(1, sizeof *o);
    if (!o) {
        return CLQ_NO_MEMORY;
    }
    *o = (clq_observers){.device = job->device,
                         .config = config,
                         .ranks = job->ranks,
                         .values = job->graph->value_count,
                         .steps = observes(config) ? steps : 0};
    clq_status status = open_observers(o, job->graph);
    status = status == CLQ_OK ? set_hooks(o) : status;
    if (status != CLQ_OK) {
        clq_observers_detach(job, o);
        return status;
    }
    job->mode = CLQ_EXEC_QAT;
    job->params = o->params;
    job->qstate = o->qstate;
    job->hooks = &o->hooks;
    *out = o;
    return CLQ_OK;
}

void clq_observers_detach(clq_train_job *job, clq_observers *o) {
    if (!o) {
        return;
    }
    job->qstate = NULL;
    job->params = NULL;
    job->hooks = NULL;
    clq_learned_destroy(o->learned);
    clq_params_destroy(o->params);
    clq_qstate_destroy(o->qstate);
    clq_buffer_release(o->running);
    clq_buffer_release(o->source);
    clq_free(o->host);
    clq_free(o);
}

clq_status clq_qat(clq_train_job *job, const clq_quant_config *config, clq_epoch_record **history,
                   int *history_count) {
    CLQ_NEEDS(job, config, history, history_count);
    CLQ_NEEDS(job->device, job->graph);
    CLQ_NEEDS_ENDS(job->graph);
    CLQ_REQUIRE(!job->train != !job->arrays, "job needs train, or arrays in its place");
    clq_status status = CLQ_OK;
    clq_observers *o = NULL;
    *history = NULL;
    *history_count = 0;
    CLQ_TRY(clq_train_config_check(&job->config));
    CLQ_GOTO(status, cleanup, clq_observers_attach(job, config, observing_steps(job, config), &o));
    CLQ_GOTO(status, cleanup, clq_train(job, history, history_count));
    CLQ_GOTO(status, cleanup, store_qparams(o, job->graph));
    const clq_quant_config found = clq_quant_config_found(config, job->graph);
    CLQ_GOTO(status, cleanup, clq_quant_record(job->graph, &found, "qat", 0));
cleanup:
    if (status != CLQ_OK) {
        clq_free(*history);
        *history = NULL;
        *history_count = 0;
    }
    clq_observers_detach(job, o);
    return status;
}
