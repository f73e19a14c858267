/* Gradients of scales, offsets and clipping levels: against PyTorch's (learned_scales_reference.py)
 * and against differences of the function that they are the gradients of, and where training puts
 * what it learned. */
#include <math.h>
#include <stdio.h>

#include <clquant/formats.h>

#include "kernels/include/scales.h"
#include "ops/learned_scales.h"
#include "quant/internal.h"
#include "quant/learned_scales.h"
#include "quant/report.h"
#include "support/quant_nets.h"
#include "support/quant_run.h"

/* ---- one quantizer ---- */

/* An addition whose output is quantized by a scale that is learned. */
typedef struct quantizer {
    clq_graph *graph;
    clq_qstate *qstate;
    clq_params *params;
    clq_learned_scales *learned;
    clq_op_run run;
    int value;
} quantizer;

typedef struct quantizer_case {
    float lowest, highest, zero, act, kind, scale, offset, level, first, second;
} quantizer_case;

static clq_qtype type_with(float lowest, float highest) {
    clq_qtype type;
    assert_true(clq_qtype_find_codes(lowest < 0, (int32_t)lowest, (int32_t)highest, &type));
    return type;
}

static void open_quantizer(quantizer *q, const quantizer_case *c, int n, int features) {
    static const clq_learn_scales kinds[] = {CLQ_LEARN_LSQ, CLQ_LEARN_LSQ_PLUS, CLQ_LEARN_PACT};
    const clq_add_attrs attrs = {.act = (clq_act)c->act};
    clq_quant_config config;
    int inputs[2], groups[2];
    clq_quant_config_init(&config);
    config.learn_scales = kinds[(int)c->kind];
    *q = (quantizer){0};
    assert_ok(clq_graph_create("test", &q->graph));
    assert_ok(clq_graph_add_input(q->graph, "x", (clq_shape){2, {1, features}}, &inputs[0]));
    inputs[1] = inputs[0];
    assert_ok(clq_graph_add_node(q->graph, "add", "add", &attrs, inputs, 2, &q->value));
    clq_graph_set_output(q->graph, q->value);
    assert_ok(clq_qparams_set(&q->graph->values[0].q, 1, &c->scale, 0, CLQ_Q_U8));
    assert_ok(clq_qparams_set(&q->graph->values[q->value].q, 1, &c->scale, (int32_t)c->zero,
                              type_with(c->lowest, c->highest)));
    clq_find_groups(q->graph, groups);
    assert_ok(clq_learned_create(test_device, q->graph, &config, groups, &q->params, &q->learned));
    assert_ok(clq_qstate_create(test_device, q->graph, &q->qstate));
    q->qstate->learned = q->learned;
    q->run = (clq_op_run){.device = test_device,
                          .graph = q->graph,
                          .node = &q->graph->nodes[0],
                          .mode = CLQ_EXEC_QAT,
                          .qstate = q->qstate};
    q->run.out = (clq_tensor){.shape = {2, {n, features}},
                              .dtype = CLQ_F32,
                              .pitch = features,
                              .value = &q->graph->values[q->value]};
    q->run.grad_out = q->run.out;
}

static void close_quantizer(quantizer *q) {
    clq_qstate_destroy(q->qstate);
    clq_learned_destroy(q->learned);
    clq_params_destroy(q->params);
    clq_graph_destroy(q->graph);
}

/* Gradients of scale or level, and offset; g becomes that of x. */
static void quantizer_gradient(quantizer *q, const quantizer_case *c, const float *x, float *g,
                               size_t count, float gradient[2]) {
    const clq_learned_place *place = &q->learned->places[q->value];
    const float first = c->kind == 2 ? c->level : c->scale;
    float scale;
    int32_t zero;
    float *unrounded = malloc(count * sizeof *unrounded);
    assert_int_equal(place->scale, 0);
    assert_int_equal(q->learned->count, place->offset >= 0 ? place->offset + 1 : 1);
    assert_ok(clq_buffer_write(q->learned->learned, 0, sizeof first, &first));
    if (place->offset >= 0) {
        assert_ok(clq_buffer_write(q->learned->learned, sizeof first * (size_t)place->offset,
                                   sizeof first, &c->offset));
    }
    assert_ok(clq_learned_load(q->qstate));
    assert_ok(
        clq_buffer_read(q->qstate->scale, sizeof scale * (size_t)q->value, sizeof scale, &scale));
    assert_ok(
        clq_buffer_read(q->qstate->zero_point, sizeof zero * (size_t)q->value, sizeof zero, &zero));
    assert_true(fabsf(scale - c->scale) <= 1e-6f * c->scale);
    assert_int_equal(zero, (int32_t)c->zero);
    for (size_t i = 0; i < count; i++) {
        unrounded[i] = clq_divide(x[i], scale);
    }
    clq_buffer *buffer = make_buffer(unrounded, count * sizeof *unrounded);
    q->run.grad_out.buffer = make_buffer(g, count * sizeof *g);
    assert_ok(clq_learned_begin(q->qstate));
    assert_ok(clq_learned_gradient(&q->run, buffer, false));
    assert_ok(clq_buffer_read(q->run.grad_out.buffer, 0, count * sizeof *g, g));
    gradient[1] = 0;
    assert_ok(clq_buffer_read(q->learned->gradient, 0, sizeof *gradient, gradient));
    if (place->offset >= 0) {
        assert_ok(clq_buffer_read(q->learned->gradient, sizeof *gradient * (size_t)place->offset,
                                  sizeof *gradient, &gradient[1]));
    }
    clq_buffer_release(buffer);
    clq_buffer_release(q->run.grad_out.buffer);
    free(unrounded);
}

/* ---- against PyTorch ---- */

static const clq_file_tensor *find(const clq_tensors *file, const char *name, const char *part) {
    char full[64];
    snprintf(full, sizeof full, "%s.%s", name, part);
    const clq_file_tensor *tensor = clq_tensors_find(file, full);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, CLQ_FILE_F32);
    return tensor;
}

static float *copy(const clq_file_tensor *tensor) {
    float *data = malloc(tensor->size);
    memcpy(data, tensor->data, tensor->size);
    return data;
}

static void check_activation(const clq_tensors *file, const char *name) {
    const clq_file_tensor *x = find(file, name, "x");
    const size_t count = x->size / sizeof(float);
    float *g = copy(find(file, name, "g")), gradient[2];
    quantizer_case c;
    quantizer q;
    memcpy(&c, find(file, name, "numbers")->data, sizeof c);
    open_quantizer(&q, &c, (int)x->dim[0], (int)x->dim[1]);
    quantizer_gradient(&q, &c, x->data, g, count, gradient);
    assert_memory_equal(g, find(file, name, "dx")->data, count * sizeof *g);
    const float expected[2] = {c.first, c.second};
    assert_close_f32(gradient, expected, clq_test_shape_of(2), 1e-5, 1e-4);
    assert_true(fabsf(c.first) > 1e-3f);
    close_quantizer(&q);
    free(g);
}

/* dw with an x scale of 1, which is what the kernel multiplies with. */
static void check_weights(const clq_tensors *file, const char *name) {
    const clq_file_tensor *w = find(file, name, "w"), *scale = find(file, name, "scale");
    const float *limits = find(file, name, "numbers")->data, one = 1;
    const int oc = (int)w->dim[0], k = (int)w->dim[1];
    const bool per_tensor = scale->dim[0] == 1;
    const float factor = (float)(1 / sqrt((double)((per_tensor ? oc : 1) * k) * (double)limits[1]));
    const bool cpu = clq_device_get_info(test_device)->schedule == CLQ_SCHEDULE_CPU;
    const clq_range range =
        cpu ? CLQ_RANGE1((size_t)oc) : (clq_range){1, {64 * (size_t)oc, 1, 1}, {64, 1, 1}};
    float *dw = copy(find(file, name, "g")), scales[16], gradient[16];
    for (int c = 0; c < oc; c++) {
        scales[c] = ((const float *)scale->data)[per_tensor ? 0 : c];
    }
    clq_buffer *buffers[] = {make_buffer(dw, w->size),           make_buffer(w->data, w->size),
                             make_buffer(scales, sizeof scales), make_buffer(&one, sizeof one),
                             make_buffer(NULL, sizeof gradient), make_buffer(NULL, sizeof one)};
    clq_kernel *kernel = NULL;
    assert_ok(clq_kernel_get(test_device, "weights_gradient_learned", NULL, &kernel));
    assert_ok(CLQ_LAUNCH(test_device, kernel, range, CLQ_BUF(buffers[0]), CLQ_BUF(buffers[1]),
                         CLQ_BUF(buffers[2]), CLQ_BUF(buffers[2]), CLQ_I32(0), CLQ_I32(per_tensor),
                         CLQ_BUF(buffers[3]), CLQ_I32(0), CLQ_BUF(buffers[4]), CLQ_I32(0),
                         CLQ_F32(factor), CLQ_I32(-1), CLQ_F32(limits[0]), CLQ_F32(limits[1]),
                         CLQ_I32(k)));
    assert_ok(clq_kernel_get(test_device, "weights_gradient_tensor", NULL, &kernel));
    assert_ok(CLQ_LAUNCH(test_device, kernel, CLQ_RANGE1(1), CLQ_BUF(buffers[4]),
                         CLQ_BUF(buffers[5]), CLQ_I32(0), CLQ_I32(oc)));
    assert_ok(clq_buffer_read(buffers[0], 0, w->size, dw));
    assert_ok(clq_buffer_read(buffers[per_tensor ? 5 : 4], 0, scale->size, gradient));
    assert_memory_equal(dw, find(file, name, "dw")->data, w->size);
    assert_close_f32(gradient, find(file, name, "dscale")->data,
                     clq_test_shape_of((size_t)scale->dim[0]), 1e-5, 1e-4);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        clq_buffer_release(buffers[i]);
    }
    free(dw);
}

static void gradients_are_torchs(void **state) {
    (void)state;
    clq_tensors *file = NULL;
    int cases = 0;
    assert_ok(
        clq_tensors_load(CLQ_SOURCE_DIR "/tests/quant/data/learned_scales.safetensors", &file));
    for (int i = 0; i < clq_tensors_count(file); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s", clq_tensors_at(file, i)->name);
        char *dot = strchr(name, '.');
        if (dot && strcmp(dot, ".numbers") == 0) {
            *dot = '\0';
            (strncmp(name, "weights", 7) == 0 ? check_weights : check_activation)(file, name);
            cases++;
        }
    }
    assert_int_equal(cases, 11);
    clq_tensors_destroy(file);
}

/* ---- against differences ---- */

static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

/* The function whose gradient straight-through rounding is: rounding adds what it adds at
 * (x0, s0, o0), whatever x, s and o. PACT's level is s (highest - z), and what rounding adds there
 * does not depend on it. */
static double surrogate(const quantizer_case *c, double x, double s, double o, double x0, double s0,
                        double o0) {
    const double least = c->act > 0 ? 0 : -INFINITY, most = c->act == 2 ? 6 : INFINITY;
    const double z = (double)c->zero, y = clamp(x, least, most), y0 = clamp(x0, least, most);
    const double low = (double)c->lowest, high = (double)c->highest;
    if (c->kind == 2) {
        const double inside = clamp(y0 / s0, low - z, high - z);
        return clamp(y, s * (low - z), s * (high - z)) + s0 * (rint(inside) - inside);
    }
    const double shift = c->kind == 1 ? -o / s + (z + o0 / s0) : z;
    const double inside = clamp(y0 / s0 + z, low, high);
    return s * (clamp(y / s + shift, low, high) + (rint(inside) - inside) - shift);
}

static double loss(const quantizer_case *c, const float *x, const float *g, size_t count,
                   const double moved[3], size_t which) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (which == SIZE_MAX || which == i) {
            sum += (double)g[i] * surrogate(c, (double)x[i] + moved[0], (double)c->scale + moved[1],
                                            (double)c->offset + moved[2], (double)x[i],
                                            (double)c->scale, (double)c->offset);
        }
    }
    return sum;
}

static double difference(const quantizer_case *c, const float *x, const float *g, size_t count,
                         int of, size_t which) {
    double moved[3] = {0};
    const double step = 1e-7 * (double)c->scale;
    moved[of] = step;
    const double above = loss(c, x, g, count, moved, which);
    moved[of] = -step;
    return (above - loss(c, x, g, count, moved, which)) / (2 * step);
}

static void gradients_are_those_of_the_surrogate(void **state) {
    (void)state;
    static const quantizer_case cases[] = {
        {0, 255, 0, 1, 0, 0.021f, 0, 0, 0, 0},
        {0, 255, 97, 0, 0, 0.013f, 0, 0, 0, 0},
        {-8, 7, 0, 0, 0, 0.31f, 0, 0, 0, 0},
        {0, 255, 61, 0, 1, 0.017f, -61.3f * 0.017f, 0, 0, 0},
        {0, 255, 0, 1, 2, 0.019f, 0, 255 * 0.019f, 0, 0},
    };
    enum { FEATURES = 2003, N = 11, COUNT = N * FEATURES }; /* more than one piece */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const quantizer_case *c = &cases[i];
        const float width = c->scale * (c->highest - c->lowest);
        const float middle = c->scale * ((c->highest + c->lowest) / 2 - c->zero);
        float *x = random_floats(COUNT, middle - width, middle + width, i), gradient[2];
        float *g = random_floats(COUNT, -1, 1, 100 + i), *dx = malloc(COUNT * sizeof *dx);
        quantizer q;
        memcpy(dx, g, COUNT * sizeof *dx);
        open_quantizer(&q, c, N, FEATURES);
        quantizer_gradient(&q, c, x, dx, COUNT, gradient);
        const double factor = (double)q.learned->places[q.value].factor;
        const double span = c->kind == 2 ? (double)(c->highest - c->zero) : 1;
        const double ds = difference(c, x, g, COUNT, 1, SIZE_MAX) * factor / span;
        assert_true(fabs((double)gradient[0] - ds) <= 1e-4 * fabs(ds) + 1e-4 * factor);
        if (c->kind == 1) {
            const double d_offset = difference(c, x, g, COUNT, 2, SIZE_MAX) * factor;
            assert_true(fabs((double)gradient[1] - d_offset) <= 1e-4 * fabs(d_offset));
        }
        for (size_t e = 0; e < COUNT; e += 97) {
            const double d = difference(c, x, g, COUNT, 0, e);
            assert_true(fabs((double)dx[e] - d) <= 1e-5);
        }
        close_quantizer(&q);
        free(x);
        free(g);
        free(dx);
    }
}

/* ---- training ---- */

enum { SIZE = 13, BATCH = 16, IMAGES = 64 };

typedef struct training {
    clq_quant_config config;
    const char *out;
    int stop_after;
    bool resume, ema, recompute;
    double lr, weight_decay, clip_norm;
} training;

static training training_of(clq_learn_scales learn) {
    training t = {.lr = 0.01};
    clq_quant_config_init(&t.config);
    t.config.learn_scales = learn;
    return t;
}

static clq_graph *calibrated(const clq_quant_config *config) {
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(test_device, graph, config, 32, 8);
    return graph;
}

static clq_status train(const training *t, clq_graph *graph, double loss[2]) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    const clq_dataset_info *info = clq_dataset_get_info(data);
    clq_train_job job = {
        .device = test_device, .graph = graph, .train = data, .phase = "qat", .out = t->out};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 3;
    job.config.batch = BATCH;
    job.config.schedule.lr = t->lr;
    job.config.optimizer.weight_decay = t->weight_decay;
    job.config.clip_norm = t->clip_norm;
    job.config.loader_threads = 1;
    job.config.ema.decay = t->ema ? 0.9 : 0;
    job.config.recompute = t->recompute;
    job.resume = t->resume;
    job.stop_after_steps = t->stop_after;
    memcpy(job.normalization.mean, info->mean, sizeof info->mean);
    memcpy(job.normalization.std, info->std, sizeof info->std);
    const clq_status status = clq_qat(&job, &t->config, &history, &count);
    if (loss && count > 0) {
        loss[0] = history[0].train_loss;
        loss[1] = history[count - 1].train_loss;
    }
    assert_null(job.params);
    clq_free(history);
    clq_dataset_close(data);
    return status;
}

static clq_graph *trained(const training *t) {
    clq_graph *graph = calibrated(&t->config);
    assert_ok(train(t, graph, NULL));
    return graph;
}

/* No code of the integer network differs from the simulation's. */
static void verify(const clq_graph *graph) {
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, 24);
    clq_graph *integer = NULL;
    clq_verification v;
    assert_ok(clq_graph_validate(graph));
    assert_ok(clq_convert(graph, &integer));
    assert_ok(net_verify(test_device, integer, test, 4, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
    clq_dataset_close(test);
}

/* Activations and layers' weights whose scales differ. */
static void count_moved(const clq_graph *a, const clq_graph *b, int *activations, int *weights) {
    *activations = *weights = 0;
    for (int v = 0; v < a->value_count; v++) {
        const clq_value *value = &a->values[v];
        if (value->q.count > 0 && value->q.scale[0] != b->values[v].q.scale[0]) {
            ++*(value->data ? weights : activations);
        }
    }
}

static void training_learns_and_verifies(void **state) {
    (void)state;
    for (int variant = 0; variant < 5; variant++) {
        static const clq_learn_scales kinds[] = {CLQ_LEARN_LSQ, CLQ_LEARN_LSQ_PLUS, CLQ_LEARN_PACT,
                                                 CLQ_LEARN_LSQ, CLQ_LEARN_LSQ_PLUS};
        training t = training_of(kinds[variant]);
        t.config.per_tensor_weights = variant == 3;
        t.config.symmetric_activations = variant == 3;
        t.config.scale = variant == 4 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        t.config.averaging = 1e-30; /* of what is observed nothing moves */
        clq_graph *graph = calibrated(&t.config), *start = NULL;
        double loss[2] = {0};
        int activations, weights;
        assert_ok(clq_graph_clone(graph, &start));
        assert_ok(train(&t, graph, loss));
        assert_true(loss[1] < loss[0]);
        count_moved(start, graph, &activations, &weights);
        assert_true(variant == 4 || activations >= 4);
        assert_true(variant == 4 || weights >= (t.config.learn_scales == CLQ_LEARN_PACT ? 0 : 5));
        const int input = clq_graph_input(graph);
        assert_true(graph->values[input].q.scale[0] == start->values[input].q.scale[0]);
        verify(graph);
        clq_graph_destroy(start);
        clq_graph_destroy(graph);
    }
}

/* A learning rate that changes nothing leaves calibration's scales and zero points, to the bit. */
static void learning_starts_from_calibration(void **state) {
    (void)state;
    for (int kind = CLQ_LEARN_LSQ; kind < CLQ_LEARN_COUNT; kind++) {
        training t = training_of((clq_learn_scales)kind);
        t.lr = 1e-30;
        t.config.averaging = 1e-30;
        clq_graph *graph = calibrated(&t.config), *start = NULL;
        assert_ok(clq_graph_clone(graph, &start));
        assert_ok(train(&t, graph, NULL));
        for (int v = 0; v < graph->value_count; v++) {
            const clq_qparams *now = &graph->values[v].q, *then = &start->values[v].q;
            assert_int_equal(now->count, then->count);
            assert_int_equal(now->zero_point, then->zero_point);
            for (int64_t c = 0; c < now->count; c++) {
                assert_true(now->scale[c] == then->scale[c]);
            }
        }
        clq_graph_destroy(start);
        clq_graph_destroy(graph);
    }
}

static bool same(const clq_graph *a, const clq_graph *b) {
    for (int v = 0; v < a->value_count; v++) {
        const clq_value *x = &a->values[v], *y = &b->values[v];
        const size_t bytes = x->data ? (size_t)clq_shape_count(&x->shape) * sizeof(float) : 0;
        if ((bytes > 0 && memcmp(x->data, y->data, bytes) != 0) ||
            x->q.zero_point != y->q.zero_point ||
            (x->q.count > 0 && memcmp(x->q.scale, y->q.scale, (size_t)x->q.count * 4) != 0)) {
            return false;
        }
    }
    return true;
}

/* With averaged parameters, and stopped on the way. */
static void resumes_to_the_same_bits(void **state) {
    (void)state;
    for (int ema = 0; ema < 2; ema++) {
        training t = training_of(ema ? CLQ_LEARN_LSQ_PLUS : CLQ_LEARN_LSQ);
        t.ema = ema;
        clq_graph *whole = trained(&t), *again = trained(&t);
        assert_true(same(whole, again));
        clq_graph_destroy(again);
        t.out = clq_test_temp_path(ema ? "average" : "plain");
        t.stop_after = 5;
        clq_graph_destroy(trained(&t));
        t.stop_after = 0;
        t.resume = true;
        again = trained(&t);
        assert_true(same(whole, again));
        verify(again);
        clq_graph_destroy(again);
        clq_graph_destroy(whole);
    }
}

/* Forward on integers: not a bit differs, with scales that are learned and observed, signed codes,
 * activations made again for the backward pass, and resumed on the way. */
static void int8_forward_changes_no_bit(void **state) {
    (void)state;
    static const clq_learn_scales kinds[] = {CLQ_LEARN_NONE, CLQ_LEARN_LSQ, CLQ_LEARN_PACT};
    for (int i = 0; i < 3; i++) {
        training t = training_of(kinds[i]);
        if (i == 1) {
            const clq_policy_rule rule = {.activations = CLQ_Q_S8, .weights = CLQ_Q_S4};
            assert_ok(clq_policy_add(&t.config.policy, &rule));
        }
        clq_graph *simulated = trained(&t);
        t.config.int8_forward = true;
        t.recompute = i == 1;
        t.out = clq_test_temp_path(clq_learn_names[kinds[i]]);
        t.stop_after = i == 0 ? 7 : 0;
        clq_graph *integer = trained(&t);
        if (t.stop_after > 0) {
            clq_graph_destroy(integer);
            t.stop_after = 0;
            t.resume = true;
            integer = trained(&t);
        }
        assert_true(same(simulated, integer));
        clq_graph_destroy(simulated);
        clq_graph_destroy(integer);
    }
}

static float largest_level(const clq_graph *graph) {
    float largest = 0;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_qparams *q = &graph->values[v].q;
        if (graph->values[v].kind == CLQ_VALUE_ACTIVATION && q->count > 0 && q->zero_point == 0) {
            largest = fmaxf(largest, q->scale[0]);
        }
    }
    return largest;
}

/* PACT's levels have weight decay; clipping and decay see what is learned. */
static void levels_decay(void **state) {
    (void)state;
    training t = training_of(CLQ_LEARN_PACT);
    t.lr = 1e-3;
    clq_graph *plain = trained(&t);
    t.weight_decay = 1;
    clq_graph *decayed = trained(&t);
    assert_true(largest_level(decayed) < largest_level(plain));
    t = training_of(CLQ_LEARN_LSQ);
    t.clip_norm = 1e-9; /* nothing moves any more, scales neither */
    clq_graph *start = calibrated(&t.config), *clipped = trained(&t);
    for (int v = 0; v < start->value_count; v++) {
        const clq_qparams *q = &clipped->values[v].q;
        if (q->count > 0) {
            assert_true(fabsf(q->scale[0] / start->values[v].q.scale[0] - 1) < 1e-5f);
        }
    }
    clq_graph_destroy(start);
    clq_graph_destroy(clipped);
    clq_graph_destroy(plain);
    clq_graph_destroy(decayed);
}

/* A step that is far too large leaves scales positive, or is found. */
static void scales_stay_positive(void **state) {
    (void)state;
    training t = training_of(CLQ_LEARN_LSQ_PLUS);
    t.lr = 3;
    clq_graph *graph = calibrated(&t.config);
    const clq_status status = train(&t, graph, NULL);
    assert_true(status == CLQ_OK || status == CLQ_DIVERGED);
    if (status == CLQ_OK) {
        assert_ok(clq_graph_validate(graph));
        verify(graph);
    }
    clq_graph_destroy(graph);
}

static void what_cannot_be_learned_is_refused(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    config.learn_scales = CLQ_LEARN_LSQ_PLUS;
    config.symmetric_activations = true;
    assert_status(clq_quant_config_check(&config), CLQ_USAGE);
    assert_error_has("symmetric");
    config.symmetric_activations = false;
    config.int8_forward = true;
    assert_status(clq_quant_config_check(&config), CLQ_USAGE);
    assert_error_has("int8_forward");
    config.learn_scales = CLQ_LEARN_COUNT;
    assert_status(clq_quant_config_check(&config), CLQ_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_torchs),
        cmocka_unit_test(gradients_are_those_of_the_surrogate),
    };
    const struct CMUnitTest trainings[] = {
        cmocka_unit_test(training_learns_and_verifies),
        cmocka_unit_test(learning_starts_from_calibration),
        cmocka_unit_test_setup_teardown(resumes_to_the_same_bits, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test_setup_teardown(int8_forward_changes_no_bit, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(levels_decay),
        cmocka_unit_test(scales_stay_positive),
        cmocka_unit_test(what_cannot_be_learned_is_refused),
    };
    return RUN_ON_BOTH_SCHEDULES(tests) +
           cmocka_run_group_tests_name("training", trainings, open_own_schedule, close_device);
}
