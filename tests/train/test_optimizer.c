/* Optimizers, clipping and averages against the plainest loops in double, over several steps, with
 * parameters that do not fill the flat buffer's runs; and the result that forbids a step. */
#include <math.h>
#include <string.h>

#include "exec/small_net.h"
#include "train/health.h"
#include "train/optimizer.h"

enum { STEPS = 6, SAMPLES = 3 };

/* ---- references ---- */

/* One value of the graph, in double all the way. */
typedef struct reference {
    size_t count;
    bool learned, decays;
    double *w, *m, *v, *average;
} reference;

static void ref_optimizer_sgd(reference *r, const float *g, double scale, double lr,
                              const clq_train_config *config) {
    const double decay = r->decays ? config->optimizer.weight_decay : 0;
    const double momentum = config->optimizer.momentum;
    for (size_t i = 0; i < r->count; i++) {
        const double step = scale * g[i] + decay * r->w[i];
        r->m[i] = momentum * r->m[i] + step;
        r->w[i] -= lr * (config->optimizer.nesterov ? step + momentum * r->m[i] : r->m[i]);
    }
}

static void ref_optimizer_adam(reference *r, const float *g, double scale, double lr, int t,
                               const clq_train_config *config) {
    const double decay = r->decays ? config->optimizer.weight_decay : 0;
    const double b1 = config->optimizer.beta1, b2 = config->optimizer.beta2;
    for (size_t i = 0; i < r->count; i++) {
        double step = scale * g[i];
        if (config->optimizer.kind == CLQ_OPTIMIZER_ADAMW) {
            r->w[i] *= 1 - lr * decay;
        } else {
            step += decay * r->w[i];
        }
        r->m[i] = b1 * r->m[i] + (1 - b1) * step;
        r->v[i] = b2 * r->v[i] + (1 - b2) * step * step;
        const double first = r->m[i] / (1 - pow(b1, t)), second = r->v[i] / (1 - pow(b2, t));
        r->w[i] -= lr * first / (sqrt(second) + config->optimizer.epsilon);
    }
}

static void ref_optimizer_average(reference *r, int t, const clq_train_config *config) {
    double kept = config->ema.decay;
    if (config->ema.warmup) {
        kept = fmin(kept, (1.0 + t) / (10.0 + t));
    }
    for (size_t i = 0; i < r->count; i++) {
        r->average[i] = t == 0 ? r->w[i] : kept * r->average[i] + (1 - kept) * r->w[i];
    }
}

/* ---- what is tested ---- */

typedef struct setup {
    const clq_train_config *config;
    clq_graph *graph;
    clq_params *params;
    clq_optimizer *optimizer;
    clq_health *health;
    clq_loss *loss;
    clq_tensor input;
    reference *references; /* (graph->value_count) */
    float **gradients;     /* (graph->value_count) */
} setup;

static setup open_setup(const clq_train_config *config) {
    static const float input[4] = {1, -2, 3, 4}, samples[SAMPLES] = {0.5f, 2, 1};
    const clq_shape output = {2, {SAMPLES, 5}};
    setup s = {.config = config, .graph = residual_net('B', "relu")};
    const size_t values = (size_t)s.graph->value_count;
    assert_ok(clq_params_create(test_device, s.graph, true, &s.params));
    assert_ok(clq_optimizer_create(test_device, s.graph, s.params, config, &s.optimizer));
    assert_ok(clq_health_create(test_device, s.params, config->clip_norm, &s.health));
    assert_ok(clq_loss_create(test_device, CLQ_LOSS_CROSS_ENTROPY, &output, 0, &s.loss));
    assert_ok(clq_buffer_write(clq_loss_samples(s.loss), 0, sizeof samples, samples));
    s.input = op_tensor((clq_shape){1, {4}}, input);
    clq_optimizer_follow(s.optimizer, clq_health_result(s.health));
    s.references = calloc(values, sizeof *s.references);
    s.gradients = calloc(values, sizeof *s.gradients);
    for (size_t v = 0; v < values; v++) {
        const clq_value *value = &s.graph->values[v];
        reference *r = &s.references[v];
        if (!value->data) {
            continue;
        }
        const size_t n = (size_t)clq_shape_count(&value->shape);
        const bool learned = value->kind == CLQ_VALUE_PARAMETER;
        *r = (reference){.count = n,
                         .learned = learned,
                         .decays = config->optimizer.decay_norm_and_bias || value->shape.rank > 1,
                         .w = calloc(n, sizeof(double)),
                         .m = calloc(n, sizeof(double)),
                         .v = calloc(n, sizeof(double)),
                         .average = calloc(n, sizeof(double))};
        s.gradients[v] = calloc(n, sizeof(float));
        for (size_t i = 0; i < n; i++) {
            r->w[i] = ((float *)value->data)[i];
        }
    }
    return s;
}

static void close_setup(setup *s) {
    for (int v = 0; v < s->graph->value_count; v++) {
        free(s->references[v].w), free(s->references[v].m);
        free(s->references[v].v), free(s->references[v].average);
        free(s->gradients[v]);
    }
    free(s->references), free(s->gradients);
    clq_buffer_release(s->input.buffer);
    clq_loss_destroy(s->loss);
    clq_health_destroy(s->health);
    clq_optimizer_destroy(s->optimizer);
    clq_params_destroy(s->params);
    clq_graph_destroy(s->graph);
}

/* Gives every parameter a gradient, and every state what a forward pass would; the norm. */
static double new_gradients(setup *s, int t) {
    double squares = 0;
    for (int v = 0; v < s->graph->value_count; v++) {
        reference *r = &s->references[v];
        const uint64_t stream = (uint64_t)(100 * t + v);
        if (r->count == 0) {
            continue;
        }
        clq_test_fill_f32(s->gradients[v], r->count, -1, 1, stream);
        for (size_t i = 0; i < r->count; i++) {
            if (r->learned) {
                squares += (double)s->gradients[v][i] * s->gradients[v][i];
            } else {
                r->w[i] = s->gradients[v][i];
            }
        }
        clq_buffer *x =
            r->learned ? clq_params_gradient(s->params, v) : clq_params_value(s->params, v);
        assert_ok(clq_buffer_write(x, 0, r->count * sizeof(float), s->gradients[v]));
    }
    return sqrt(squares);
}

static clq_step_outcome take_step(setup *s, double lr, int t) {
    clq_step_outcome outcome;
    assert_ok(clq_health_begin(s->health, &s->input));
    assert_ok(clq_health_check(s->health, s->loss));
    assert_ok(clq_optimizer_step(s->optimizer, lr, t));
    assert_ok(clq_health_restore(s->health));
    assert_ok(clq_health_read(s->health, &outcome));
    return outcome;
}

static void ref_step(setup *s, double norm, double lr, int t) {
    const double clip = s->config->clip_norm;
    const double scale = clip > 0 ? fmin(1, clip / (norm + 1e-6)) : 1;
    for (int v = 0; v < s->graph->value_count; v++) {
        reference *r = &s->references[v];
        if (r->learned && s->config->optimizer.kind == CLQ_OPTIMIZER_SGD) {
            ref_optimizer_sgd(r, s->gradients[v], scale, lr, s->config);
        } else if (r->learned) {
            ref_optimizer_adam(r, s->gradients[v], scale, lr, t + 1, s->config);
        }
        ref_optimizer_average(r, t, s->config);
    }
}

/* What is in the parameters and states now, against the references' w or average. */
static void assert_matches(setup *s, bool average) {
    assert_ok(clq_params_download(s->params));
    for (int v = 0; v < s->graph->value_count; v++) {
        const reference *r = &s->references[v];
        if (r->count == 0) {
            continue;
        }
        float *expected = malloc(r->count * sizeof *expected);
        for (size_t i = 0; i < r->count; i++) {
            expected[i] = (float)(average ? r->average : r->w)[i];
        }
        assert_close_f32(s->graph->values[v].data, expected, clq_test_shape_of(r->count), 2e-6,
                         1e-5);
        free(expected);
    }
}

static void matches_reference(const clq_train_config *config) {
    setup s = open_setup(config);
    for (int t = 0; t < STEPS; t++) {
        const double lr = 0.1 / (t + 1), norm = new_gradients(&s, t);
        assert_int_equal(take_step(&s, lr, t), CLQ_STEP_SOUND);
        assert_true(fabs(clq_health_norm(s.health) - norm) <= 1e-6 * norm);
        ref_step(&s, norm, lr, t);
    }
    assert_matches(&s, false);
    if (config->ema.decay > 0) {
        assert_ok(clq_optimizer_swap_average(s.optimizer));
        assert_matches(&s, true);
        assert_ok(clq_optimizer_swap_average(s.optimizer));
    }
    assert_matches(&s, false);
    close_setup(&s);
}

static clq_train_config config_of(clq_optimizer_kind kind, double weight_decay) {
    clq_train_config config;
    clq_train_config_init(&config);
    config.optimizer.kind = kind;
    config.optimizer.weight_decay = weight_decay;
    return config;
}

/* ---- tests ---- */

static void sgd_nesterov(void **unused) {
    (void)unused;
    const clq_train_config config = config_of(CLQ_OPTIMIZER_SGD, 0.01);
    matches_reference(&config);
}

static void sgd_without_decay_on_biases(void **unused) {
    (void)unused;
    clq_train_config config = config_of(CLQ_OPTIMIZER_SGD, 0.1);
    config.optimizer.nesterov = false;
    config.optimizer.decay_norm_and_bias = false;
    matches_reference(&config);
}

static void adam(void **unused) {
    (void)unused;
    const clq_train_config config = config_of(CLQ_OPTIMIZER_ADAM, 0.01);
    matches_reference(&config);
}

static void adamw_without_decay_on_biases(void **unused) {
    (void)unused;
    clq_train_config config = config_of(CLQ_OPTIMIZER_ADAMW, 0.5);
    config.optimizer.decay_norm_and_bias = false;
    matches_reference(&config);
}

/* The norm of new_gradients is near 43: one bound clips, the other does not. */
static void clipping(void **unused) {
    (void)unused;
    for (double clip = 1; clip <= 1000; clip *= 1000) {
        for (clq_optimizer_kind kind = CLQ_OPTIMIZER_SGD; kind <= CLQ_OPTIMIZER_ADAMW; kind++) {
            clq_train_config config = config_of(kind, 0.01);
            config.clip_norm = clip;
            matches_reference(&config);
        }
    }
}

static void averages(void **unused) {
    (void)unused;
    for (int warmup = 0; warmup < 2; warmup++) {
        clq_train_config config = config_of(CLQ_OPTIMIZER_SGD, 0.01);
        config.ema.decay = warmup ? 0.999 : 0.3;
        config.ema.warmup = warmup;
        matches_reference(&config);
        config.optimizer.kind = CLQ_OPTIMIZER_ADAMW;
        config.clip_norm = 2;
        matches_reference(&config);
    }
}

/* One NaN among the gradients: parameters, states, moments and averages keep every bit. */
static void a_failed_check_forbids_the_step(void **unused) {
    (void)unused;
    enum { BUFFERS = CLQ_OPTIMIZER_MAX_BUFFERS + 2 };
    clq_train_config config = config_of(CLQ_OPTIMIZER_ADAM, 0.01);
    config.ema.decay = 0.9;
    setup s = open_setup(&config);
    clq_checkpoint_buffer buffers[BUFFERS];
    float *before[BUFFERS];
    size_t count = clq_optimizer_buffers(s.optimizer, buffers);
    buffers[count++] = (clq_checkpoint_buffer){"parameters", clq_params_flat(s.params)};
    buffers[count++] = (clq_checkpoint_buffer){"states", clq_params_flat_states(s.params)};
    assert_int_equal(count, BUFFERS);
    new_gradients(&s, 0);
    assert_int_equal(take_step(&s, 0.1, 0), CLQ_STEP_SOUND);
    for (size_t i = 0; i < count; i++) {
        before[i] = read_floats(buffers[i].buffer);
    }
    new_gradients(&s, 1); /* of which the states are not to be undone: they came before the step */
    assert_ok(clq_buffer_write(buffers[count - 1].buffer, 0,
                               clq_buffer_size(buffers[count - 1].buffer), before[count - 1]));
    const float nan = NAN;
    assert_ok(clq_buffer_write(clq_params_flat_gradient(s.params), 40, sizeof nan, &nan));
    assert_int_equal(take_step(&s, 0.1, 1), CLQ_STEP_UNDONE);
    for (size_t i = 0; i < count; i++) {
        float *after = read_floats(buffers[i].buffer);
        assert_equal_bits(after, before[i], clq_buffer_size(buffers[i].buffer));
        free(after), free(before[i]);
    }
    close_setup(&s);
}

/* A parameter that is NaN already, and whose gradient does not show it. */
static void a_broken_parameter_is_noticed(void **unused) {
    (void)unused;
    const float nan = NAN;
    const clq_train_config config = config_of(CLQ_OPTIMIZER_SGD, 0);
    setup s = open_setup(&config);
    new_gradients(&s, 0);
    assert_ok(clq_buffer_write(clq_params_flat(s.params), 0, sizeof nan, &nan));
    assert_int_equal(take_step(&s, 0.1, 0), CLQ_STEP_BROKEN);
    close_setup(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_nesterov),
        cmocka_unit_test(sgd_without_decay_on_biases),
        cmocka_unit_test(adam),
        cmocka_unit_test(adamw_without_decay_on_biases),
        cmocka_unit_test(clipping),
        cmocka_unit_test(averages),
        cmocka_unit_test(a_failed_check_forbids_the_step),
        cmocka_unit_test(a_broken_parameter_is_noticed),
    };
    return RUN_ON_BOTH_SCHEDULES(tests);
}
