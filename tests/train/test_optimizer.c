/* The optimizer kernels against the plainest loops, for several steps and parameter sizes that do
 * not fill the flat buffer's runs. */
#include <math.h>
#include <stdlib.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "support/clq_test.h"
#include "train/optimizer.h"

enum { STEPS = 4 };

typedef struct state {
    float *w, *m, *v;
} state;

static void ref_sgd(state *s, const float *g, size_t count, double lr, double decay,
                    const clq_train_config *config) {
    const double momentum = config->optimizer.momentum;
    for (size_t i = 0; i < count; i++) {
        const double step = g[i] + decay * s->w[i];
        s->m[i] = (float)(momentum * s->m[i] + step);
        s->w[i] -= (float)(lr * (config->optimizer.nesterov ? step + momentum * s->m[i] : s->m[i]));
    }
}

static void ref_adam(state *s, const float *g, size_t count, double lr, double decay, int t,
                     const clq_train_config *config) {
    const double b1 = config->optimizer.beta1, b2 = config->optimizer.beta2;
    for (size_t i = 0; i < count; i++) {
        const double step = g[i] + decay * s->w[i];
        s->m[i] = (float)(b1 * s->m[i] + (1 - b1) * step);
        s->v[i] = (float)(b2 * s->v[i] + (1 - b2) * step * step);
        const double first = s->m[i] / (1 - pow(b1, t)), second = s->v[i] / (1 - pow(b2, t));
        s->w[i] -= (float)(lr * first / (sqrt(second) + config->optimizer.epsilon));
    }
}

static void matches_reference(const clq_train_config *config) {
    const int hidden[] = {17, 5};
    const clq_network_options network = {.network = "mlp",
                                         .inputs = 7,
                                         .classes = 3,
                                         .hidden = hidden,
                                         .hidden_count = 2,
                                         .seed = 3};
    clq_device *device = NULL;
    clq_graph *graph = NULL;
    clq_params *params = NULL;
    clq_optimizer *optimizer = NULL;
    assert_ok(clq_device_open(NULL, &device));
    assert_ok(clq_network_build(&network, &graph));
    assert_ok(clq_params_create(device, graph, true, &params));
    assert_ok(clq_optimizer_create(device, graph, params, config, &optimizer));

    state *states = calloc((size_t)graph->value_count, sizeof *states);
    for (int v = 0; v < graph->value_count; v++) {
        const size_t count = (size_t)clq_shape_count(&graph->values[v].shape);
        if (graph->values[v].kind == CLQ_VALUE_PARAMETER) {
            states[v] = (state){calloc(count, 4), calloc(count, 4), calloc(count, 4)};
            for (size_t i = 0; i < count; i++) {
                states[v].w[i] = ((float *)graph->values[v].data)[i];
            }
        }
    }
    for (int step = 0; step < STEPS; step++) {
        const double lr = 0.1 / (step + 1);
        for (int v = 0; v < graph->value_count; v++) {
            const clq_value *value = &graph->values[v];
            const size_t count = (size_t)clq_shape_count(&value->shape);
            if (value->kind != CLQ_VALUE_PARAMETER) {
                continue;
            }
            float *g = malloc(count * sizeof *g);
            clq_test_fill_f32(g, count, -1, 1, (uint64_t)(100 * step + v));
            assert_ok(clq_buffer_write(clq_params_gradient(params, v), 0, count * sizeof *g, g));
            const bool decays = config->optimizer.decay_norm_and_bias || value->shape.rank > 1;
            const double decay = decays ? config->optimizer.weight_decay : 0;
            if (config->optimizer.kind == CLQ_OPTIMIZER_SGD) {
                ref_sgd(&states[v], g, count, lr, decay, config);
            } else {
                ref_adam(&states[v], g, count, lr, decay, step + 1, config);
            }
            free(g);
        }
        assert_ok(clq_optimizer_step(optimizer, lr, step));
    }
    assert_ok(clq_params_download(params));
    for (int v = 0; v < graph->value_count; v++) {
        if (states[v].w) {
            const size_t count = (size_t)clq_shape_count(&graph->values[v].shape);
            assert_close_f32(graph->values[v].data, states[v].w, clq_test_shape_of(count), 1e-6,
                             1e-5);
            free(states[v].w);
            free(states[v].m);
            free(states[v].v);
        }
    }
    free(states);
    clq_optimizer_destroy(optimizer);
    clq_params_destroy(params);
    clq_graph_destroy(graph);
    clq_device_close(device);
}

static void sgd_nesterov(void **unused) {
    (void)unused;
    clq_train_config config;
    clq_train_config_init(&config);
    config.optimizer.weight_decay = 0.01;
    matches_reference(&config);
}

static void sgd_without_decay_on_biases(void **unused) {
    (void)unused;
    clq_train_config config;
    clq_train_config_init(&config);
    config.optimizer.nesterov = false;
    config.optimizer.weight_decay = 0.1;
    config.optimizer.decay_norm_and_bias = false;
    matches_reference(&config);
}

static void adam(void **unused) {
    (void)unused;
    clq_train_config config;
    clq_train_config_init(&config);
    config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    config.optimizer.weight_decay = 0.01;
    matches_reference(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_nesterov),
        cmocka_unit_test(sgd_without_decay_on_biases),
        cmocka_unit_test(adam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
