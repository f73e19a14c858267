#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "train/self_test.h"

/* As in kernels/optim/optimizer.cl. */
enum { RUNS_PER_ITEM = 64, MAX_MOMENTS = 2, RULE_DECAY = 1, RULE_POSITIVE = 2 };

struct clq_optimizer {
    clq_device *device;
    clq_params *params;
    clq_train_config config;
    clq_kernel *kernel, *average, *swap;
    clq_buffer *moments[MAX_MOMENTS];
    size_t moment_count;
    clq_buffer *average_params, *average_states; /* NULL: none */
    clq_buffer *rules; /* u8 (count / unit): RULE_DECAY, RULE_POSITIVE of a run of floats */
    clq_buffer *check; /* of another; NULL: none */
    uint32_t count, unit;
};

/* Batch norm's gamma and beta and all biases are vectors; weights have at least two dimensions. */
static bool has_decay(const clq_train_config *config, const clq_value *value) {
    return config->optimizer.decay_norm_and_bias || value->shape.rank > 1;
}

static clq_status upload_rules(clq_optimizer *optimizer, const clq_graph *graph) {
    const size_t runs = optimizer->count / optimizer->unit;
    uint8_t *rules = clq_calloc(runs, 1);
    if (!rules) {
        return CLQ_NO_MEMORY;
    }
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        if (value->kind != CLQ_VALUE_PARAMETER || value->frozen ||
            !has_decay(&optimizer->config, value)) {
            continue;
        }
        const size_t first = clq_params_offset(optimizer->params, v) / optimizer->unit;
        const size_t length = clq_ceil_div((size_t)clq_shape_count(&value->shape), optimizer->unit);
        memset(rules + first, RULE_DECAY, length);
    }
    const clq_params_extras extras = clq_params_get_extras(optimizer->params);
    memset(rules, RULE_POSITIVE | (extras.decay ? RULE_DECAY : 0),
           clq_ceil_div(extras.positive, optimizer->unit));
    clq_status status = clq_buffer_create(optimizer->device, runs, &optimizer->rules);
    if (status == CLQ_OK) {
        status = clq_buffer_write(optimizer->rules, 0, runs, rules);
    }
    clq_free(rules);
    return status;
}

static clq_status copy_of(clq_device *device, clq_buffer *from, clq_buffer **copy) {
    const size_t bytes = clq_buffer_size(from);
    CLQ_TRY(clq_buffer_create(device, bytes, copy));
    return clq_buffer_copy(*copy, 0, from, 0, bytes);
}

static clq_status create_averages(clq_optimizer *o) {
    clq_buffer *states = clq_params_flat_states(o->params);
    if (o->config.ema.decay == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_kernel_get(o->device, "optimizer_average", NULL, &o->average));
    CLQ_TRY(clq_kernel_get(o->device, "optimizer_swap", NULL, &o->swap));
    CLQ_TRY(copy_of(o->device, clq_params_flat(o->params), &o->average_params));
    return states ? copy_of(o->device, states, &o->average_states) : CLQ_OK;
}

clq_status clq_optimizer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                                const clq_train_config *config, clq_optimizer **out) {
    clq_train_self_tests_add();
    const bool sgd = config->optimizer.kind == CLQ_OPTIMIZER_SGD;
    clq_status status = CLQ_OK;
    clq_optimizer *optimizer = clq_calloc(1, sizeof *optimizer);
    *out = NULL;
    if (!optimizer) {
        return CLQ_NO_MEMORY;
    }
    optimizer->device = device;
    optimizer->params = params;
    optimizer->config = *config;
    optimizer->unit = (uint32_t)(clq_device_get_info(device)->base_alignment / sizeof(float));
    optimizer->count = (uint32_t)clq_params_count(params);
    optimizer->moment_count = sgd ? 1 : 2;
    CLQ_GOTO(
        status, cleanup,
        clq_kernel_get(device, sgd ? "optimizer_sgd" : "optimizer_adam", NULL, &optimizer->kernel));
    for (size_t i = 0; i < optimizer->moment_count; i++) {
        const size_t bytes = optimizer->count * sizeof(float);
        CLQ_GOTO(status, cleanup, clq_buffer_create(device, bytes, &optimizer->moments[i]));
        CLQ_GOTO(status, cleanup, clq_buffer_fill(optimizer->moments[i], 0, bytes, 0));
    }
    CLQ_GOTO(status, cleanup, create_averages(optimizer));
    CLQ_GOTO(status, cleanup, upload_rules(optimizer, graph));
    *out = optimizer;
    optimizer = NULL;
cleanup:
    clq_optimizer_destroy(optimizer);
    return status;
}

void clq_optimizer_destroy(clq_optimizer *optimizer) {
    if (!optimizer) {
        return;
    }
    for (size_t i = 0; i < optimizer->moment_count; i++) {
        clq_buffer_release(optimizer->moments[i]);
    }
    clq_buffer_release(optimizer->average_params);
    clq_buffer_release(optimizer->average_states);
    clq_buffer_release(optimizer->rules);
    clq_free(optimizer);
}

void clq_optimizer_follow(clq_optimizer *optimizer, clq_buffer *check) {
    optimizer->check = check;
}

/* ---- a step ---- */

/* What the average keeps of itself. The first update replaces it, as in PyTorch's AveragedModel;
 * warm-up as in TensorFlow's ExponentialMovingAverage with num_updates. */
static double average_decay(const clq_train_config *config, int64_t update) {
    const double t = (double)update;
    if (update == 0) {
        return 0;
    }
    return config->ema.warmup ? fmin(config->ema.decay, (1 + t) / (10 + t)) : config->ema.decay;
}

static clq_range step_range(const clq_optimizer *o) {
    return clq_device_get_info(o->device)->schedule == CLQ_SCHEDULE_GPU
               ? CLQ_RANGE1(o->count)
               : CLQ_RANGE1(clq_ceil_div(o->count / o->unit, RUNS_PER_ITEM));
}

/* The arguments that all optimizers take first. */
#define COMMON_ARGUMENTS(o, lr, kept)                                                              \
    CLQ_BUF(clq_params_flat((o)->params)), CLQ_BUF(clq_params_flat_gradient((o)->params)),         \
        CLQ_BUF((o)->rules), CLQ_BUF((o)->average_params), CLQ_BUF((o)->check),                    \
        CLQ_U32((o)->count), CLQ_U32((o)->unit), CLQ_F32(kept), CLQ_F32(1.0 - (kept)),             \
        CLQ_F32(lr), CLQ_F32((o)->config.optimizer.weight_decay)

static clq_status step_sgd(clq_optimizer *o, double lr, double kept) {
    return CLQ_LAUNCH(o->device, o->kernel, step_range(o), COMMON_ARGUMENTS(o, lr, kept),
                      CLQ_BUF(o->moments[0]), CLQ_F32(o->config.optimizer.momentum),
                      CLQ_I32(o->config.optimizer.nesterov));
}

static clq_status step_adam(clq_optimizer *o, double lr, double kept, int64_t update) {
    const double beta1 = o->config.optimizer.beta1, beta2 = o->config.optimizer.beta2;
    const double t = (double)update + 1.0;
    return CLQ_LAUNCH(o->device, o->kernel, step_range(o), COMMON_ARGUMENTS(o, lr, kept),
                      CLQ_BUF(o->moments[0]), CLQ_BUF(o->moments[1]),
                      CLQ_I32(o->config.optimizer.kind == CLQ_OPTIMIZER_ADAMW), CLQ_F32(beta1),
                      CLQ_F32(1.0 - beta1), CLQ_F32(beta2), CLQ_F32(1.0 - beta2),
                      CLQ_F32(o->config.optimizer.epsilon), CLQ_F32(1.0 - pow(beta1, t)),
                      CLQ_F32(sqrt(1.0 - pow(beta2, t))));
}

clq_status clq_optimizer_step(clq_optimizer *o, double lr, int64_t update) {
    clq_buffer *states = clq_params_flat_states(o->params);
    const double kept = average_decay(&o->config, update);
    clq_device_set_label(o->device, "optimizer");
    CLQ_TRY(o->config.optimizer.kind == CLQ_OPTIMIZER_SGD ? step_sgd(o, lr, kept)
                                                          : step_adam(o, lr, kept, update));
    if (!o->average_states) {
        return CLQ_OK;
    }
    const size_t count = clq_buffer_size(states) / sizeof(float);
    return CLQ_LAUNCH(o->device, o->average, CLQ_RANGE1(count), CLQ_BUF(states),
                      CLQ_BUF(o->average_states), CLQ_BUF(o->check), CLQ_U32(count), CLQ_F32(kept),
                      CLQ_F32(1.0 - kept));
}

static clq_status swap(clq_optimizer *o, clq_buffer *a, clq_buffer *b) {
    if (!b) {
        return CLQ_OK;
    }
    const size_t count = clq_buffer_size(b) / sizeof(float);
    return CLQ_LAUNCH(o->device, o->swap, CLQ_RANGE1(count), CLQ_BUF(a), CLQ_BUF(b),
                      CLQ_U32(count));
}

clq_status clq_optimizer_swap_average(clq_optimizer *o) {
    CLQ_TRY(swap(o, clq_params_flat(o->params), o->average_params));
    return swap(o, clq_params_flat_states(o->params), o->average_states);
}

size_t clq_optimizer_buffers(const clq_optimizer *o,
                             clq_checkpoint_buffer buffers[CLQ_OPTIMIZER_MAX_BUFFERS]) {
    const clq_checkpoint_buffer all[CLQ_OPTIMIZER_MAX_BUFFERS] = {
        {"optimizer.moment1", o->moments[0]},
        {"optimizer.moment2", o->moments[1]},
        {"average.parameters", o->average_params},
        {"average.states", o->average_states},
    };
    size_t count = 0;
    for (size_t i = 0; i < CLQ_OPTIMIZER_MAX_BUFFERS; i++) {
        if (all[i].buffer) {
            buffers[count++] = all[i];
        }
    }
    return count;
}
