/* Distillation within a training: the teacher sees the batch, resuming is exact, misfits are named.
 */
#include <math.h>

#include "train/small_training.h"

static clq_train_job taught_by(clq_graph *graph, const clq_graph *teacher, const char *out) {
    clq_train_job job = job_of(graph, out);
    job.teacher = teacher;
    job.config.distill.weight = 0.7;
    job.config.distill.temperature = 3;
    return job;
}

static double largest_difference(const clq_graph *a, const clq_graph *b) {
    double largest = 0;
    for (int v = 0; v < a->value_count; v++) {
        const float *x = a->values[v].data, *y = b->values[v].data;
        for (int64_t i = 0; x && i < clq_shape_count(&a->values[v].shape); i++) {
            largest = fmax(largest, fabs((double)x[i] - (double)y[i]));
        }
    }
    return largest;
}

/* A network that only listens to its own twin has nothing to learn: both see the same batch. */
static void a_twin_teaches_nothing(void **state) {
    (void)state;
    clq_graph *graph = new_graph(), *twin = new_graph(), *other = build("mlp", 12, 10, 6);
    clq_train_job job = taught_by(graph, twin, NULL);
    job.config.distill.weight = 1;
    job.config.optimizer.weight_decay = 0;
    assert_ok(run(&job, NULL));
    assert_true(largest_difference(graph, twin) < 1e-5);
    job.teacher = other;
    assert_ok(run(&job, NULL));
    assert_true(largest_difference(graph, twin) > 1e-3);
    clq_graph_destroy(graph);
    clq_graph_destroy(twin);
    clq_graph_destroy(other);
}

static void resuming_gives_the_same_bits(void **state) {
    (void)state;
    clq_graph *teacher = build("mlp", 12, 10, 6);
    clq_graph *whole = new_graph(), *stopped = new_graph(), *resumed = new_graph();
    clq_train_job job = taught_by(whole, teacher, NULL);
    assert_ok(run(&job, NULL));
    job = taught_by(stopped, teacher, clq_test_temp_path("taught"));
    job.config.checkpoint_steps = 5;
    job.stop_after_steps = 17;
    assert_ok(run(&job, NULL));
    job.graph = resumed;
    job.stop_after_steps = 0;
    job.resume = true;
    assert_ok(run(&job, NULL));
    assert_true(hash_of(resumed) == hash_of(whole));

    clq_graph *another = build("mlp", 12, 10, 7);
    job.teacher = another;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("another network, data set or configuration");
    job.teacher = teacher;
    job.config.distill.temperature = 2;
    assert_status(run(&job, NULL), CLQ_USAGE);
    clq_graph_destroy(teacher);
    clq_graph_destroy(another);
    clq_graph_destroy(whole);
    clq_graph_destroy(stopped);
    clq_graph_destroy(resumed);
}

static void misfits_are_named(void **state) {
    (void)state;
    clq_graph *graph = new_graph(), *small = build("mlp", 10, 10, 1), *few = build("mlp", 12, 9, 1),
              *other = new_graph();
    clq_train_job job = taught_by(graph, small, NULL);
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("the teacher's input is 1x10x10x3, the trained network's is 1x12x12x3");
    job.teacher = few;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("the teacher's output is 1x9, the trained network's is 1x10");

    job.teacher = other;
    assert_ok(clq_graph_set_metadata(other, "clquant.mean", "0.5,0.4,0.5"));
    assert_ok(clq_graph_set_metadata(other, "clquant.std", "0.25,0.25,0.25"));
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("channel 1 normalized with mean 0.4");

    const float scale = 0.1f;
    for (int v = 0; v < few->value_count; v++) {
        if (!few->values[v].data) {
            assert_ok(clq_qparams_set(&few->values[v].q, 1, &scale, 128, CLQ_Q_U8));
        }
    }
    job.teacher = few;
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("the teacher must be an FP32 network");

    job.teacher = small;
    job.config.distill.weight = 0; /* off: nothing to fit */
    assert_ok(run(&job, NULL));
    clq_graph_destroy(graph);
    clq_graph_destroy(small);
    clq_graph_destroy(few);
    clq_graph_destroy(other);
}

/* ---- without labels ---- */

/* A third of the usual values of the teacher, which the student starts from. */
static void disturb(clq_graph *graph) {
    for (int v = 0; v < graph->value_count; v++) {
        float *data = graph->values[v].data;
        for (int64_t i = 0; data && i < clq_shape_count(&graph->values[v].shape); i += 3) {
            data[i] = 0;
        }
    }
}

static clq_train_job unlabelled(clq_graph *graph, const clq_graph *teacher, const char *out) {
    clq_train_job job = taught_by(graph, teacher, out);
    job.config.distill.weight = 1;
    job.config.epochs = 6;
    job.no_labels = true;
    return job;
}

/* Nothing but the teacher's word is learnt from, by either loss, and nothing is said of accuracy.
 */
static void images_without_labels_teach(void **state) {
    (void)state;
    for (int kind = CLQ_LOSS_CROSS_ENTROPY; kind <= CLQ_LOSS_MSE; kind++) {
        clq_graph *teacher = new_graph(), *graph = new_graph(), *stopped = new_graph(),
                  *resumed = new_graph();
        clq_epoch_record *history = NULL;
        int count = 0;
        disturb(graph);
        disturb(stopped);
        disturb(resumed);
        clq_train_job job = unlabelled(graph, teacher, clq_test_temp_path(kind ? "mse" : "kl"));
        job.config.loss = (clq_loss_kind)kind;
        assert_ok(clq_train(&job, &history, &count));
        assert_int_equal(count, 6);
        assert_true(history[0].test_output_error > 0);
        assert_true(history[5].test_output_error < history[0].test_output_error);
        assert_true(history[5].train_loss < history[0].train_loss);
        for (int e = 0; e < count; e++) {
            assert_true(isnan(history[e].train_top1) && isnan(history[e].test_top1) &&
                        isnan(history[e].test_loss));
        }
        clq_free(history);
        /* Stopped and resumed: the same bits, and the same history. */
        job = unlabelled(stopped, teacher, clq_test_temp_path(kind ? "mse2" : "kl2"));
        job.config.loss = (clq_loss_kind)kind;
        job.stop_after_steps = 29;
        job.config.checkpoint_steps = 7;
        assert_ok(run(&job, NULL));
        job.stop_after_steps = 0;
        job.resume = true;
        job.graph = resumed;
        assert_ok(run(&job, NULL));
        assert_true(hash_of(resumed) == hash_of(graph));
        clq_graph_destroy(teacher);
        clq_graph_destroy(graph);
        clq_graph_destroy(stopped);
        clq_graph_destroy(resumed);
    }
}

static void without_labels_a_teacher_must_say_all(void **state) {
    (void)state;
    clq_graph *teacher = new_graph(), *graph = new_graph();
    clq_train_job job = unlabelled(graph, NULL, NULL);
    assert_status(run(&job, NULL), CLQ_USAGE);
    assert_error_has("training without labels needs a teacher");
    job.teacher = teacher;
    job.config.distill.weight = 0.9;
    assert_status(run(&job, NULL), CLQ_USAGE);
    clq_graph_destroy(teacher);
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_twin_teaches_nothing),
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(misfits_are_named),
        cmocka_unit_test(images_without_labels_teach),
        cmocka_unit_test(without_labels_a_teacher_must_say_all),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
