/* Training at sizes that grow. */
#include <stdio.h>

#include "train/small_training.h"

static clq_train_job growing(clq_graph *graph, const char *out) {
    clq_train_job job = job_of(graph, out);
    job.config.progressive_count = 2;
    job.config.progressive[0].until_epoch = 1;
    job.config.progressive[0].size = 6;
    job.config.progressive[1].until_epoch = 2;
    job.config.progressive[1].size = 9;
    return job;
}

static void sizes_follow_the_epochs(void **state) {
    (void)state;
    clq_train_job job = growing(NULL, NULL);
    static const int sizes[] = {6, 9, 0, 0};
    for (int epoch = 0; epoch < 4; epoch++) {
        assert_int_equal(clq_train_size(&job.config, epoch), sizes[epoch]);
    }
    job.config.progressive[1].until_epoch = 1;
    assert_status(clq_train_config_check(&job.config), CLQ_USAGE);
    assert_error_has("progressive.until_epoch must increase from 1, 1 follows 1");
}

/* Within the first size, on the way to the second and the last, and behind all; with a teacher that
 * has to grow too. */
static void resuming_gives_the_same_bits(void **state) {
    (void)state;
    static const int steps[] = {5, STEPS_PER_EPOCH, 2 * STEPS_PER_EPOCH - 1,
                                2 * STEPS_PER_EPOCH + 7};
    clq_graph *graph = build("resnet20", 12, 10, 3), *plain = build("resnet20", 12, 10, 3);
    clq_graph *teacher = build("resnet20", 12, 10, 4);
    clq_train_job job = growing(graph, NULL), other = job_of(plain, NULL);
    job.teacher = other.teacher = teacher;
    assert_ok(run(&job, NULL));
    assert_ok(run(&other, NULL));
    const uint64_t hash = hash_of(graph);
    assert_true(hash != hash_of(plain));
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        char folder[512];
        snprintf(folder, sizeof folder, "%s-%d", clq_test_temp_path("growing"), steps[i]);
        for (int resumed = 0; resumed < 2; resumed++) {
            clq_graph *again = build("resnet20", 12, 10, 3);
            job = growing(again, folder);
            job.teacher = teacher;
            job.config.checkpoint_steps = 5;
            job.resume = true;
            job.stop_after_steps = resumed ? 0 : steps[i];
            assert_ok(run(&job, NULL));
            assert_true(!resumed || hash_of(again) == hash);
            clq_graph_destroy(again);
        }
    }
    clq_graph_destroy(graph);
    clq_graph_destroy(plain);
    clq_graph_destroy(teacher);
}

static void networks_of_one_size_are_refused(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_train_job job = growing(graph, NULL);
    assert_status(run(&job, NULL), CLQ_BAD_DATA);
    assert_error_has("progressive: with inputs of 6x6");
    clq_graph_destroy(graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_follow_the_epochs),
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(networks_of_one_size_are_refused),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
