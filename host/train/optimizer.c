#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum { UNITS_PER_ITEM = 64 };

struct clq_optimizer {
    clq_device *device;
    clq_params *params;
    clq_train_config config;
    clq_kernel *kernel;
    clq_buffer *moments[CLQ_OPTIMIZER_MAX_BUFFERS];
    size_t moment_count;
    clq_buffer *decays; /* u8 (count / unit): does this run of floats have weight decay */
    uint32_t count, unit;
};

/* Batch norm's gamma and beta and all biases are vectors; weights have at least two dimensions. */
static bool has_decay(const clq_train_config *config, const clq_value *value) {
    return config->optimizer.decay_norm_and_bias || value->shape.rank > 1;
}

static clq_status upload_decays(clq_optimizer *optimizer, const clq_graph *graph) {
    const size_t runs = optimizer->count / optimizer->unit;
    uint8_t *decays = clq_calloc(runs, 1);
    if (!decays) {
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
        memset(decays + first, 1, length);
    }
    clq_status status = clq_buffer_create(optimizer->device, runs, &optimizer->decays);
    if (status == CLQ_OK) {
        status = clq_buffer_write(optimizer->decays, 0, runs, decays);
    }
    clq_free(decays);
    return status;
}

clq_status clq_optimizer_create(clq_device *device, const clq_graph *graph, clq_params *params,
                                const clq_train_config *config, clq_optimizer **out) {
    const bool adam = config->optimizer.kind == CLQ_OPTIMIZER_ADAM;
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
    optimizer->moment_count = adam ? 2 : 1;
    CLQ_GOTO(status, cleanup,
             clq_kernel_get(device, adam ? "optimizer_adam" : "optimizer_sgd", NULL,
                            &optimizer->kernel));
    for (size_t i = 0; i < optimizer->moment_count; i++) {
        const size_t bytes = optimizer->count * sizeof(float);
        CLQ_GOTO(status, cleanup, clq_buffer_create(device, bytes, &optimizer->moments[i]));
        CLQ_GOTO(status, cleanup, clq_buffer_fill(optimizer->moments[i], 0, bytes, 0));
    }
    CLQ_GOTO(status, cleanup, upload_decays(optimizer, graph));
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
    clq_buffer_release(optimizer->decays);
    clq_free(optimizer);
}

clq_status clq_optimizer_step(clq_optimizer *o, double lr, int64_t step) {
    clq_buffer *w = clq_params_flat(o->params), *g = clq_params_flat_gradient(o->params);
    const clq_range range = CLQ_RANGE1(clq_ceil_div(o->count / o->unit, UNITS_PER_ITEM));
    const double beta1 = o->config.optimizer.beta1, beta2 = o->config.optimizer.beta2;
    clq_device_set_label(o->device, "optimizer");
    if (o->config.optimizer.kind == CLQ_OPTIMIZER_SGD) {
        return CLQ_LAUNCH(o->device, o->kernel, range, CLQ_BUF(w), CLQ_BUF(g),
                          CLQ_BUF(o->moments[0]), CLQ_BUF(o->decays), CLQ_U32(o->count),
                          CLQ_U32(o->unit), CLQ_F32(lr), CLQ_F32(o->config.optimizer.momentum),
                          CLQ_F32(o->config.optimizer.weight_decay),
                          CLQ_I32(o->config.optimizer.nesterov));
    }
    return CLQ_LAUNCH(o->device, o->kernel, range, CLQ_BUF(w), CLQ_BUF(g), CLQ_BUF(o->moments[0]),
                      CLQ_BUF(o->moments[1]), CLQ_BUF(o->decays), CLQ_U32(o->count),
                      CLQ_U32(o->unit), CLQ_F32(lr), CLQ_F32(beta1), CLQ_F32(1.0 - beta1),
                      CLQ_F32(beta2), CLQ_F32(1.0 - beta2), CLQ_F32(o->config.optimizer.epsilon),
                      CLQ_F32(o->config.optimizer.weight_decay),
                      CLQ_F32(1.0 - pow(beta1, (double)step + 1.0)),
                      CLQ_F32(sqrt(1.0 - pow(beta2, (double)step + 1.0))));
}

size_t clq_optimizer_buffers(clq_optimizer *optimizer, const char *names[CLQ_OPTIMIZER_MAX_BUFFERS],
                             clq_buffer *buffers[CLQ_OPTIMIZER_MAX_BUFFERS]) {
    static const char *const all[] = {"optimizer.moment1", "optimizer.moment2"};
    for (size_t i = 0; i < optimizer->moment_count; i++) {
        names[i] = all[i];
        buffers[i] = optimizer->moments[i];
    }
    return optimizer->moment_count;
}
