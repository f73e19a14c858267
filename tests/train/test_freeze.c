/* Layers that do not learn. */
#include <string.h>

#include "train/small_training.h"

/* How many parameters and states, the batch norms' running statistics, differ in name and bits. */
static int count_changed(const clq_graph *a, const clq_graph *b, const char *prefix, int *same) {
    int changed = 0;
    *same = 0;
    for (int v = 0; v < a->value_count; v++) {
        const clq_value *value = &a->values[v];
        if (!value->data || strncmp(value->name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        const size_t bytes = (size_t)clq_shape_count(&value->shape) * sizeof(float);
        const bool equal = memcmp(value->data, b->values[v].data, bytes) == 0;
        changed += !equal;
        *same += equal;
    }
    return changed;
}

static clq_train_job frozen_job(clq_graph *graph, const char *const *prefixes, int count) {
    clq_train_job job = job_of(graph, NULL);
    job.test = NULL;
    job.config.epochs = 1;
    memcpy(job.config.freeze, prefixes, (size_t)count * sizeof *prefixes);
    job.config.freeze_count = count;
    return job;
}

/* Freezes the given layers of a residual network; all else learns. */
static void check_frozen(const char *const *prefixes, int count, clq_optimizer_kind optimizer) {
    clq_graph *graph = build("resnet20", 12, 10, 3), *before = build("resnet20", 12, 10, 3);
    clq_train_job job = frozen_job(graph, prefixes, count);
    int same, frozen = 0;
    job.config.optimizer.kind = optimizer;
    assert_ok(run(&job, NULL));
    for (int i = 0; i < count; i++) {
        assert_int_equal(count_changed(graph, before, prefixes[i], &same), 0);
        assert_true(same > 0);
        frozen += same;
    }
    assert_true(count_changed(graph, before, "", &same) > 0);
    assert_int_equal(same, frozen);
    clq_graph_destroy(graph);
    clq_graph_destroy(before);
}

static void frozen_layers_stay(void **state) {
    (void)state;
    static const char *const first[] = {"conv1", "bn1", "layer1."}, *const middle[] = {"layer2."};
    check_frozen(first, 3, CLQ_OPTIMIZER_SGD);
    check_frozen(first, 3, CLQ_OPTIMIZER_ADAM);
    check_frozen(middle, 1, CLQ_OPTIMIZER_SGD);
}

/* What lies before all that learns has no gradients to hold. */
static void nothing_is_computed_before_the_first_that_learns(void **state) {
    (void)state;
    uint64_t bytes[2];
    for (int frozen = 0; frozen < 2; frozen++) {
        clq_graph *graph = build("resnet20", 12, 10, 3);
        clq_exec *exec = NULL;
        const clq_exec_options options = {.mode = CLQ_EXEC_TRAIN, .batch = 4};
        for (int v = 0; v < graph->value_count; v++) {
            graph->values[v].frozen = frozen && strncmp(graph->values[v].name, "fc", 2) != 0;
        }
        assert_ok(clq_exec_create(device, graph, &options, &exec));
        bytes[frozen] = clq_exec_measure(exec).activations;
        clq_exec_destroy(exec);
        clq_graph_destroy(graph);
    }
    assert_true(bytes[1] < bytes[0] / 4);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *prefix, *error;
    } wrong[] = {
        {"convolution", "no parameter begins with \"convolution\"; the layers are conv1, bn1, lay"},
        {"bn1.weight", "only 1 of the 2 parameters of bn1 would be frozen"},
        {"fc.bias", "only 1 of the 2 parameters of fc"},
    };
    clq_graph *graph = build("resnet20", 12, 10, 3);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        clq_train_job job = frozen_job(graph, &wrong[i].prefix, 1);
        assert_status(run(&job, NULL), CLQ_USAGE);
        assert_error_has(wrong[i].error);
    }
    static const char *const all[] = {"conv1", "bn1", "layer", "fc"};
    clq_train_job job = frozen_job(graph, all, 4);
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("nothing is left to learn");
    clq_graph_destroy(graph);
}

static void other_layers_do_not_resume(void **state) {
    (void)state;
    static const char *const layers[] = {"conv1", "bn1"}, *const others[] = {"layer1."};
    clq_graph *graph = build("resnet20", 12, 10, 3);
    clq_train_job job = frozen_job(graph, layers, 2);
    job.out = clq_test_temp_path("frozen");
    job.stop_after_steps = 4;
    job.config.checkpoint_steps = 2;
    assert_ok(run(&job, NULL));
    job.resume = true;
    job.config.freeze[0] = others[0];
    job.config.freeze_count = 1;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("another network, data set or configuration");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_layers_stay),
        cmocka_unit_test(nothing_is_computed_before_the_first_that_learns),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(other_layers_do_not_resume),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
