#include "quant/adaround_layer.h"

#include <math.h>

#include "base/log.h"
#include "ops/conv/conv2d_f32.h"
#include "ops/quantized_run.h"
#include "train/optimizer.h"

/* As in the paper, but for two. The learning rate suits fewer steps. The error counts relative to
 * that of the nearest codes, so that it weighs the same in every layer: `share` of it for each
 * weight beside a regularizer of up to 1, small enough that h goes to its ends. */
enum { QUEUED = 32, CHANNEL_ITEMS_GPU = 64 };
static const double learning_rate = 0.01, share = 1e-4;
static const double warm_start = 0.2, beta_first = 20, beta_last = 2;

/* A layer whose weights are given or learned. */
typedef struct trial {
    const clq_rounding *r;
    clq_conv2d_f32 *conv;
    clq_buffer *w, *bias, *z;
    size_t weights, outputs; /* numbers in w, z */
} trial;

static clq_status open_trial(const clq_rounding *r, int directions, trial *t) {
    const clq_conv_geometry *g = &r->geometry;
    *t = (trial){.r = r, .weights = (size_t)g->oc * r->k};
    t->outputs = (size_t)g->n * (size_t)g->oh * (size_t)g->ow * (size_t)g->oc;
    CLQ_TRY(clq_conv2d_f32_create(r->device, g, directions, &t->conv));
    CLQ_TRY(clq_buffer_create(r->device, t->weights * sizeof(float), &t->w));
    CLQ_TRY(clq_buffer_create(r->device, t->outputs * sizeof(float), &t->z));
    if (r->bias) {
        const size_t bytes = (size_t)g->oc * sizeof(float);
        CLQ_TRY(clq_buffer_create(r->device, bytes, &t->bias));
        CLQ_TRY(clq_buffer_write(t->bias, 0, bytes, r->bias));
    }
    return CLQ_OK;
}

static void close_trial(trial *t) {
    clq_conv2d_f32_destroy(t->conv);
    clq_buffer_release(t->w);
    clq_buffer_release(t->bias);
    clq_buffer_release(t->z);
}

/* ---- errors ---- */

static clq_status add_errors(trial *t, int batch, float *made, float *wanted, double *error,
                             double *power) {
    const size_t bytes = t->outputs * sizeof(float);
    CLQ_TRY(clq_conv2d_f32_forward(t->conv, t->r->x[batch], t->bias, NULL, t->r->act, t->z));
    CLQ_TRY(clq_buffer_read(t->z, 0, bytes, made));
    CLQ_TRY(clq_buffer_read(t->r->y[batch], 0, bytes, wanted));
    for (size_t i = 0; i < t->outputs; i++) {
        const double y = wanted[i], d = made[i] - y;
        *error += d * d;
        *power += y * y;
    }
    return CLQ_OK;
}

clq_status clq_rounding_error(const clq_rounding *r, const float *w, double *result, double *loss) {
    const clq_conv_geometry *g = &r->geometry;
    const int first = r->held > 0 ? r->count - r->held : 0;
    double error = 0, power = 0;
    clq_status status = CLQ_OK;
    float *made = NULL, *wanted = NULL;
    trial t;
    CLQ_GOTO(status, cleanup, open_trial(r, CLQ_CONV_FORWARD | CLQ_CONV_WINOGRAD, &t));
    CLQ_GOTO(status, cleanup, clq_buffer_write(t.w, 0, t.weights * sizeof *w, w));
    CLQ_GOTO(status, cleanup, clq_conv2d_f32_load_weights(t.conv, t.w));
    made = clq_calloc(t.outputs, sizeof *made);
    wanted = clq_calloc(t.outputs, sizeof *wanted);
    status = made && wanted ? CLQ_OK : CLQ_NO_MEMORY;
    for (int b = first; status == CLQ_OK && b < r->count; b++) {
        status = add_errors(&t, b, made, wanted, &error, &power);
    }
    *result = power > 0 ? sqrt(error / power) : error > 0;
    *loss = error / (r->count - first) / ((double)g->n * g->oh * g->ow);
cleanup:
    close_trial(&t);
    clq_free(made);
    clq_free(wanted);
    return status;
}

/* ---- learning ---- */

typedef struct learning {
    trial trial;
    clq_graph *graph; /* holds v (OC * K), so that it has an optimizer */
    clq_params *params;
    clq_optimizer *optimizer;
    clq_buffer *base, *scale;
    clq_kernel *weights, *gradient, *error;
    float *lower; /* (OC, K): the codes below, on the host */
} learning;

/* The code below, and v for the rest: the inverse of (16). */
static void split(const clq_rounding *r, size_t i, float *lower, float *v) {
    const double real = (double)r->w[i] / (double)r->scale[i / r->k], below = floor(real);
    *lower = (float)below;
    *v = (float)-log(1.2 / (real - below + 0.1) - 1);
}

static clq_status make_variables(learning *l) {
    const clq_rounding *r = l->trial.r;
    const size_t count = l->trial.weights;
    const clq_shape shape = {1, {(int64_t)count}};
    int value;
    CLQ_TRY(clq_graph_create("rounding", &l->graph));
    CLQ_TRY(
        clq_graph_add_parameter(l->graph, "v", CLQ_VALUE_PARAMETER, CLQ_F32, shape, NULL, &value));
    l->lower = clq_calloc(count, sizeof *l->lower);
    if (!l->lower) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        split(r, i, &l->lower[i], (float *)l->graph->values[0].data + i);
    }
    return clq_params_create(r->device, l->graph, true, &l->params);
}

static clq_status open_learning(const clq_rounding *r, learning *l) {
    const int directions = CLQ_CONV_FORWARD | CLQ_CONV_BACKWARD_WEIGHTS | CLQ_CONV_REPACK |
                           CLQ_CONV_WINOGRAD | CLQ_CONV_WINOGRAD_WEIGHTS;
    const size_t oc = (size_t)r->geometry.oc;
    clq_train_config config;
    CLQ_TRY(open_trial(r, directions, &l->trial));
    CLQ_TRY(make_variables(l));
    clq_train_config_init(&config);
    config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    config.optimizer.weight_decay = 0;
    CLQ_TRY(clq_optimizer_create(r->device, l->graph, l->params, &config, &l->optimizer));
    CLQ_TRY(clq_buffer_create(r->device, l->trial.weights * sizeof(float), &l->base));
    CLQ_TRY(clq_buffer_write(l->base, 0, l->trial.weights * sizeof(float), l->lower));
    CLQ_TRY(clq_buffer_create(r->device, oc * sizeof(float), &l->scale));
    CLQ_TRY(clq_buffer_write(l->scale, 0, oc * sizeof(float), r->scale));
    CLQ_TRY(clq_kernel_get(r->device, "adaround_weights", NULL, &l->weights));
    CLQ_TRY(clq_kernel_get(r->device, "adaround_gradient", NULL, &l->gradient));
    return clq_kernel_get(r->device, "adaround_error", NULL, &l->error);
}

static void close_learning(learning *l) {
    close_trial(&l->trial);
    clq_optimizer_destroy(l->optimizer);
    clq_params_destroy(l->params);
    clq_graph_destroy(l->graph);
    clq_buffer_release(l->base);
    clq_buffer_release(l->scale);
    clq_free(l->lower);
}

/* One work-item a channel, or one group on the GPU schedule. */
static clq_range channel_range(const clq_rounding *r) {
    const size_t oc = (size_t)r->geometry.oc;
    if (clq_device_get_info(r->device)->schedule == CLQ_SCHEDULE_CPU) {
        return CLQ_RANGE1(oc);
    }
    return (clq_range){1, {oc * CHANNEL_ITEMS_GPU, 1, 1}, {CHANNEL_ITEMS_GPU, 1, 1}};
}

static clq_status step(learning *l, int t, int iterations) {
    const trial *trial = &l->trial;
    const clq_rounding *r = trial->r;
    const int batch = t % (r->count - r->held);
    const double at = ((double)t / iterations - warm_start) / (1 - warm_start);
    const double beta = beta_last + (beta_first - beta_last) * (1 - at);
    const double pixels = (double)trial->outputs / r->geometry.oc;
    const double factor = share * (double)trial->weights / r->nearest_loss;
    clq_buffer *v = clq_params_value(l->params, 0), *dv = clq_params_gradient(l->params, 0);
    CLQ_TRY(CLQ_LAUNCH(r->device, l->weights, channel_range(r), CLQ_BUF(v), CLQ_BUF(l->base),
                       CLQ_BUF(l->scale), CLQ_BUF(trial->w), CLQ_F32(r->type->lowest),
                       CLQ_F32(r->type->highest), CLQ_I32(r->k)));
    CLQ_TRY(clq_conv2d_f32_load_weights(trial->conv, trial->w));
    CLQ_TRY(clq_conv2d_f32_forward(trial->conv, r->x[batch], trial->bias, NULL, CLQ_ACT_NONE,
                                   trial->z));
    CLQ_TRY(CLQ_LAUNCH(r->device, l->error, clq_codes_range(r->device, (int64_t)trial->outputs),
                       CLQ_BUF(trial->z), CLQ_BUF(r->y[batch]), CLQ_I32(r->act),
                       CLQ_F32(2 / pixels * factor), CLQ_I32(trial->outputs)));
    CLQ_TRY(clq_conv2d_f32_backward_weights(trial->conv, r->x[batch], trial->z, dv, NULL));
    CLQ_TRY(CLQ_LAUNCH(r->device, l->gradient, channel_range(r), CLQ_BUF(dv), CLQ_BUF(v),
                       CLQ_BUF(l->base), CLQ_BUF(l->scale), CLQ_F32(at < 0 ? 0.0 : 1.0),
                       CLQ_F32(beta), CLQ_F32(r->type->lowest), CLQ_F32(r->type->highest),
                       CLQ_I32(r->k)));
    return clq_optimizer_step(l->optimizer, learning_rate, t);
}

/* The nearer end of each h. */
static clq_status read_codes(learning *l, float *codes) {
    const clq_rounding *r = l->trial.r;
    size_t undecided = 0;
    CLQ_TRY(clq_params_download(l->params));
    const float *v = l->graph->values[0].data;
    for (size_t i = 0; i < l->trial.weights; i++) {
        const float code = l->lower[i] + (v[i] >= 0 ? 1.0f : 0.0f);
        codes[i] = fminf(fmaxf(code, (float)r->type->lowest), (float)r->type->highest);
        undecided += fabsf(v[i]) < 2.0f;
    }
    clq_log_debug("rounding: %zu of %zu undecided", undecided, l->trial.weights);
    return CLQ_OK;
}

clq_status clq_rounding_learn(const clq_rounding *r, int iterations, clq_progress *progress,
                              int64_t done, float *codes) {
    learning l = {0};
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, open_learning(r, &l));
    for (int t = 0; t < iterations; t++) {
        CLQ_GOTO(status, cleanup, step(&l, t, iterations));
        if (t % QUEUED == 0) {
            CLQ_GOTO(status, cleanup, clq_device_finish(r->device));
            clq_progress_update(progress, done + t, NULL);
            CLQ_GOTO(status, cleanup, clq_check_stopped());
        }
    }
    status = read_codes(&l, codes);
cleanup:
    close_learning(&l);
    return status;
}

void clq_rounding_clear(clq_rounding *r) {
    for (int i = 0; i < r->count; i++) {
        clq_buffer_release(r->x[i]);
        clq_buffer_release(r->y[i]);
    }
    clq_free(r->x);
    clq_free(r->y);
    clq_free(r->scale);
    *r = (clq_rounding){0};
}
