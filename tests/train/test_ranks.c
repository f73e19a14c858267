/* Training as two ranks, for which the program starts itself again: the same network as alone, the
 * same bits every time and on both, also through a checkpoint. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "base/files.h"
#include "base/ranks.h"
#include "support/device.h"
#include "support/graph_hash.h"
#include "support/ranks_run.h"
#include "train/health.h"

enum { RANKS = 2, SIZE = 8, BATCH = 16, IMAGES = 96 };

static clq_ranks *ranks;
static clq_device *device;
static clq_dataset *train_set, *test_set;

static clq_graph *new_graph(void) {
    const clq_network_options options = {
        .network = "resnet20", .size = SIZE, .channels = 3, .classes = 10, .seed = 5};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

static clq_train_job job_of(clq_graph *graph, clq_ranks *with) {
    clq_train_job job = {.device = device,
                         .graph = graph,
                         .train = train_set,
                         .mode = CLQ_EXEC_TRAIN,
                         .ranks = with,
                         .phase = "train"};
    clq_train_config_init(&job.config);
    job.config.epochs = 1;
    job.config.batch = BATCH;
    job.config.loader_threads = 1;
    job.config.schedule.lr = 0.01;
    job.config.augment.crop_padding = 1;
    job.config.augment.flip = true;
    for (int c = 0; c < 3; c++) {
        job.normalization.mean[c] = 0.5f;
        job.normalization.std[c] = 0.25f;
    }
    return job;
}

/* Trains a new network as `job` says, but for the graph. */
static clq_graph *trained(clq_train_job job, clq_epoch_record *last) {
    clq_epoch_record *history = NULL;
    int count = 0;
    job.graph = new_graph();
    assert_ok(clq_train(&job, &history, &count));
    if (last && count > 0) {
        *last = history[count - 1];
    }
    clq_free(history);
    return job.graph;
}

/* The hash of the network that the ranks train, which must be one on all. */
static uint64_t hash_of_training(clq_train_job job, clq_epoch_record *last) {
    uint64_t all[RANKS];
    clq_graph *graph = trained(job, last);
    const uint64_t hash = hash_of(graph);
    clq_graph_destroy(graph);
    assert_ok(clq_ranks_gather(ranks, &hash, sizeof hash, all));
    for (int r = 0; r < RANKS; r++) {
        assert_true(all[r] == hash);
    }
    return hash;
}

/* With batch norm over all ranks, two steps of two ranks are two steps of one. */
static void two_ranks_train_as_one(void **state) {
    (void)state;
    clq_train_job job = job_of(NULL, NULL);
    clq_epoch_record alone = {0}, together = {0};
    job.config.sync_batch_norm = true;
    job.config.epochs = 1;
    job.train = test_set; /* two batches */
    clq_graph *expected = trained(job, &alone);
    job.ranks = ranks;
    clq_graph *actual = trained(job, &together);
    for (int v = 0; v < expected->value_count; v++) {
        const clq_value *value = &expected->values[v];
        if (value->data) {
            const size_t count = (size_t)clq_shape_count(&value->shape);
            assert_close_f32(actual->values[v].data, value->data, clq_test_shape_of(count), 2e-4,
                             1e-3);
        }
    }
    assert_true(alone.train_loss > 0);
    assert_float_equal(together.train_loss, alone.train_loss, 1e-3);
    assert_float_equal(together.train_top1, alone.train_top1, 1e-6);
    clq_graph_destroy(expected);
    clq_graph_destroy(actual);
}

static void bits_repeat(void **state) {
    (void)state;
    for (int sync = 0; sync < 2; sync++) {
        clq_train_job job = job_of(NULL, ranks);
        clq_epoch_record first = {0}, second = {0};
        job.config.sync_batch_norm = sync != 0;
        job.test = test_set;
        const uint64_t hash = hash_of_training(job, &first);
        assert_true(hash_of_training(job, &second) == hash);
        assert_true(first.train_loss == second.train_loss);
        assert_true(first.test_loss == second.test_loss);
    }
}

/* Stopped between checkpoints and continued: the same bits, and rank 0 alone writes. */
static void resuming_gives_the_same_bits(void **state) {
    (void)state;
    const bool first = clq_ranks_rank(ranks) == 0;
    clq_train_job job = job_of(NULL, ranks);
    clq_epoch_record whole = {0}, resumed = {0};
    job.config.checkpoint_steps = 2;
    const uint64_t expected = hash_of_training(job, &whole);
    job.out = first ? clq_test_temp_path("ranks") : NULL;
    job.stop_after_steps = 3;
    clq_graph_destroy(trained(job, NULL));
    job.stop_after_steps = 0;
    job.resume = true;
    assert_true(hash_of_training(job, &resumed) == expected);
    assert_true(resumed.train_loss == whole.train_loss);
    assert_int_equal(clq_test_temp_entries(), first ? 1 : 0);
}

/* A checkpoint of two ranks is not one rank's. */
static void ranks_belong_to_the_configuration(void **state) {
    (void)state;
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, NULL);
    job.config.checkpoint_steps = 2;
    job.resume = true;
    if (clq_ranks_rank(ranks) == 0) {
        job.out = clq_test_temp_path("ranks");
        assert_status(clq_train(&job, &history, &count), CLQ_USAGE);
        assert_error_has("another network, data set or configuration");
    }
    clq_graph_destroy(graph);
}

static void batch_must_divide(void **state) {
    (void)state;
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, ranks);
    job.config.batch = 7;
    assert_status(clq_train(&job, &history, &count), CLQ_USAGE);
    assert_error_has("batch must be a multiple of the number of ranks, is 7 for 2");
    clq_graph_destroy(graph);
}

/* What only one rank sees ends the training on all. */
static void divergence_reaches_all(void **state) {
    (void)state;
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_graph *graph = new_graph();
    clq_train_job job = job_of(graph, ranks);
    if (clq_ranks_rank(ranks) == 1) {
        job.normalization.mean[0] = 1e38f;
        job.normalization.std[0] = 1e-30f; /* infinite inputs */
    }
    assert_status(clq_train(&job, &history, &count), CLQ_DIVERGED);
    clq_graph_destroy(graph);
}

/* An input can be bad where the gradients, which all share, are good. */
static void doubts_are_shared(void **state) {
    (void)state;
    clq_graph *graph = new_graph();
    clq_params *params = NULL;
    clq_health *health = NULL;
    clq_loss *loss = NULL;
    clq_tensor input = {.shape = {2, {1, 1}}};
    const clq_shape output = {2, {BATCH, 10}};
    assert_ok(clq_params_create(device, graph, true, &params));
    assert_ok(clq_health_create(device, params, 0, &health));
    assert_ok(clq_loss_create(device, CLQ_LOSS_CROSS_ENTROPY, &output, 0, &loss));
    assert_ok(clq_buffer_fill(clq_loss_samples(loss), 0, BATCH * sizeof(float), 0));
    assert_ok(clq_buffer_create(device, sizeof(float), &input.buffer));
    for (int bad = 0; bad <= RANKS; bad++) { /* the rank with a bad input; RANKS: none */
        const float x = clq_ranks_rank(ranks) == bad ? NAN : 1;
        clq_step_outcome outcome;
        assert_ok(clq_buffer_write(input.buffer, 0, sizeof x, &x));
        assert_ok(clq_health_begin(health, &input));
        assert_ok(clq_health_check(health, loss));
        bool stop = false;
        assert_ok(clq_health_agree(health, ranks, &stop));
        assert_ok(clq_health_restore(health));
        assert_ok(clq_health_read(health, &outcome));
        assert_int_equal(outcome, bad == RANKS ? CLQ_STEP_SOUND : CLQ_STEP_UNDONE);
    }
    clq_buffer_release(input.buffer);
    clq_loss_destroy(loss);
    clq_health_destroy(health);
    clq_params_destroy(params);
    clq_graph_destroy(graph);
}

static int open_ranks(void **state) {
    const clq_dataset_options train = {.height = SIZE, .limit = IMAGES};
    const clq_dataset_options test = {.split = CLQ_SPLIT_TEST, .height = SIZE, .limit = 2 * BATCH};
    assert_ok(clq_dataset_open("synthetic:size=8", &train, &train_set));
    assert_ok(clq_dataset_open("synthetic:size=8", &test, &test_set));
    assert_ok(clq_test_open_nth(NULL, clq_ranks_local(ranks), &device));
    return clq_test_setup_temp_dir(state);
}

static int close_ranks(void **state) {
    clq_dataset_close(train_set);
    clq_dataset_close(test_set);
    clq_device_close(device);
    return clq_test_teardown_temp_dir(state);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_ranks_train_as_one),
        cmocka_unit_test(bits_repeat),
        cmocka_unit_test(resuming_gives_the_same_bits),
        cmocka_unit_test(ranks_belong_to_the_configuration),
        cmocka_unit_test(batch_must_divide),
        cmocka_unit_test(divergence_reaches_all),
        cmocka_unit_test(doubts_are_shared),
    };
    (void)argc;
    if (!clq_ranks_launched()) {
        return ranks_can_run() ? ranks_run(argv[0], RANKS) : RANKS_SKIPPED;
    }
    assert_ok(clq_ranks_open(&ranks));
    const int failed = cmocka_run_group_tests_name("ranks", tests, open_ranks, close_ranks);
    clq_ranks_close(ranks, failed ? CLQ_GATE_FAILED : CLQ_OK);
    return failed;
}
