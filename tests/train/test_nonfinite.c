/* NaN and infinity in parameters, gradients and data: found in the very step that makes them, with
 * the layer's name, and without a trace in what is kept. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "train/small_training.h"

/* ---- a network that is damaged for one step ---- */

typedef struct damage {
    clq_params *params;
    int value;    /* of the graph */
    int64_t step; /* the step (1-based) that meets NaN there */
    bool once;    /* it is gone behind that step */
    float old;
    float *before;  /* parameters and states before the damage */
    bool unchanged; /* those behind the step were compared with them */
} damage;

static size_t size_of_network(const damage *d) {
    return clq_params_count(d->params) * sizeof(float) +
           clq_buffer_size(clq_params_flat_states(d->params));
}

static float *read_network(const damage *d) {
    const size_t size = size_of_network(d), first = clq_params_count(d->params) * sizeof(float);
    float *data = malloc(size);
    assert_non_null(data);
    assert_ok(clq_buffer_read(clq_params_flat(d->params), 0, first, data));
    assert_ok(
        clq_buffer_read(clq_params_flat_states(d->params), 0, size - first, (char *)data + first));
    return data;
}

/* Behind a step, before the executor takes the new parameters. */
static clq_status do_damage(void *context, int64_t step) {
    damage *d = context;
    clq_buffer *buffer = clq_params_value(d->params, d->value);
    const float nan = NAN;
    if (step == d->step - 1) {
        d->before = read_network(d);
        assert_ok(clq_buffer_read(buffer, 0, sizeof d->old, &d->old));
        assert_ok(clq_buffer_write(buffer, 0, sizeof nan, &nan));
    } else if (step == d->step && d->once) {
        assert_ok(clq_buffer_write(buffer, 0, sizeof d->old, &d->old));
    }
    return CLQ_OK;
}

/* Before the step that follows. */
static clq_status compare(void *context, int64_t step) {
    damage *d = context;
    if (step == d->step) {
        float *after = read_network(d);
        assert_equal_bits(after, d->before, size_of_network(d));
        free(after);
        d->unchanged = true;
    }
    return CLQ_OK;
}

/* Trains with `value` damaged in step `step`. */
static clq_status run_damaged(clq_train_job *job, const char *value, int64_t step, bool once,
                              clq_epoch_record *last) {
    damage d = {.value = clq_graph_find_value(job->graph, value), .step = step, .once = once};
    const clq_train_hooks hooks = {.context = &d, .before_step = compare, .after_step = do_damage};
    assert_ok(clq_params_create(device, job->graph, true, &d.params));
    assert_true(d.value >= 0);
    job->params = d.params;
    job->hooks = &hooks;
    const clq_status status = run(job, last);
    const bool went_past = d.before && status == CLQ_OK && !job->stop_after_steps;
    assert_true(!went_past || d.unchanged);
    clq_params_destroy(d.params);
    free(d.before);
    job->params = NULL;
    job->hooks = NULL;
    return status;
}

/* ---- stopping ---- */

static void nan_in_a_parameter(void **state) {
    (void)state;
    clq_graph *graph = conv_net();
    clq_train_job job = job_of(graph, clq_test_temp_path("parameter"));
    job.config.checkpoint_steps = 2;
    assert_status(run_damaged(&job, "conv.weight", 6, false, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 6 (epoch 1, ");
    assert_error_has("layer conv: conv.weight has NaN");
    clq_graph_destroy(graph);

    /* Checkpoint 4 is the last one, and good: going on from it is as if nothing had happened. */
    clq_graph *whole = conv_net();
    clq_train_job undisturbed = job_of(whole, NULL);
    undisturbed.stop_after_steps = 8;
    assert_ok(run(&undisturbed, NULL));
    graph = conv_net();
    job = job_of(graph, clq_test_temp_path("parameter"));
    assert_true(
        clq_file_exists(clq_test_temp_path("parameter/train-checkpoint-000000004.safetensors")));
    job.resume = true;
    job.stop_after_steps = 8;
    assert_ok(run(&job, NULL));
    assert_true(hash_of(graph) == hash_of(whole));
    clq_graph_destroy(graph);
    clq_graph_destroy(whole);
}

static void nan_in_a_running_statistic(void **state) {
    (void)state;
    clq_graph *graph = conv_net();
    clq_train_job job = job_of(graph, NULL);
    job.config.on_nonfinite = CLQ_NONFINITE_SKIP; /* would not help */
    assert_status(run_damaged(&job, "bn.running_var", 3, false, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 3 (epoch 1, ");
    assert_error_has("layer bn: bn.running_var has NaN");
    clq_graph_destroy(graph);
}

/* The forward pass is finite: fc1 gives zeros, which no weight behind it makes large. On the way
 * back two factors of 1e25 meet. */
static void infinity_in_a_gradient(void **state) {
    (void)state;
    const int hidden[] = {8, 8};
    const clq_network_options options = {.network = "mlp",
                                         .size = 12,
                                         .channels = 3,
                                         .classes = 10,
                                         .hidden = hidden,
                                         .hidden_count = 2,
                                         .activation = "tanh"};
    static const struct {
        const char *name;
        float factor;
    } factors[] = {{"fc1.weight", 0},
                   {"fc1.bias", 0},
                   {"fc2.weight", 1e25f},
                   {"fc2.bias", 0},
                   {"fc3.weight", 1e25f}};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        const clq_value *value = &graph->values[clq_graph_find_value(graph, factors[i].name)];
        float *data = value->data;
        for (int64_t j = 0; j < clq_shape_count(&value->shape); j++) {
            data[j] *= factors[i].factor;
        }
    }
    clq_train_job job = job_of(graph, NULL);
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 1 (epoch 1, ");
    assert_error_has("layer fc1: the gradient of fc1.weight has ");

    /* One factor less: finite, but not the sum of squares. */
    const int value = clq_graph_find_value(graph, "fc2.weight");
    memset(graph->values[value].data, 0,
           (size_t)clq_shape_count(&graph->values[value].shape) * sizeof(float));
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("the gradients' norm is too large for FP32");
    assert_error_has("of fc2.bias");
    clq_graph_destroy(graph);
}

static void infinity_in_an_output(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    float *bias = graph->values[clq_graph_find_value(graph, "fc1.bias")].data;
    float *weight = graph->values[clq_graph_find_value(graph, "fc2.weight")].data;
    bias[0] = weight[0] = 1e30f;
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 1 (epoch 1, ");
    assert_error_has("layer fc2: its output has infinities");
    clq_graph_destroy(graph);
}

static void infinity_in_the_data(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    job.normalization.std[1] = 1e-42f;
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 1 (epoch 1, ");
    assert_error_has("the batch of normalized inputs has ");
    clq_graph_destroy(graph);
}

/* ---- skipping ---- */

static clq_train_job skipping_job(clq_graph *graph, const char *out) {
    clq_train_job job = job_of(graph, out);
    job.config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    job.config.schedule.lr = 0.002;
    job.config.on_nonfinite = CLQ_NONFINITE_SKIP;
    job.config.ema.decay = 0.9;
    job.config.checkpoint_steps = 4;
    job.config.epochs = 1;
    return job;
}

/* Step 6 meets a NaN that is gone behind it: run_damaged sees to it that the step changes nothing.
 * Stopped and resumed around it, the training has the same bits. */
static void a_step_is_skipped(void **state) {
    (void)state;
    static const int stops[] = {0, 5, 6, 9};
    uint64_t whole = 0;
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        char folder[512];
        clq_epoch_record last = {0};
        snprintf(folder, sizeof folder, "%s-%d", clq_test_temp_path("skip"), stops[i]);
        clq_graph *graph = conv_net();
        clq_train_job job = skipping_job(graph, folder);
        if (stops[i]) {
            clq_graph *first = conv_net();
            clq_train_job stopped = skipping_job(first, folder);
            stopped.stop_after_steps = stops[i];
            assert_ok(run_damaged(&stopped, "conv.weight", 6, true, NULL));
            clq_graph_destroy(first);
            job.resume = true;
        }
        assert_ok(run_damaged(&job, "conv.weight", 6, true, &last));
        assert_int_equal(last.epoch, 1);
        assert_true(last.skipped_steps == 1);
        assert_true(isfinite(last.train_loss) && isfinite(last.test_loss));
        whole = whole ? whole : hash_of(graph);
        assert_true(hash_of(graph) == whole);
        clq_graph_destroy(graph);
    }
}

static void too_many_in_a_row_stop(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = skipping_job(graph, NULL);
    job.normalization.std[0] = 1e-42f;
    assert_status(run(&job, NULL), CLQ_DIVERGED);
    assert_error_has("diverged in step 11 (epoch 1, ");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nan_in_a_parameter),     cmocka_unit_test(nan_in_a_running_statistic),
        cmocka_unit_test(infinity_in_a_gradient), cmocka_unit_test(infinity_in_an_output),
        cmocka_unit_test(infinity_in_the_data),   cmocka_unit_test(a_step_is_skipped),
        cmocka_unit_test(too_many_in_a_row_stop),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
