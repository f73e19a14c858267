/* Training on tables: what is fed, how a regression is evaluated, exact resume, what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/models.h>
#include <clquant/train.h>

#include "support/device.h"

/* 500 rows of 3 features and a number; 400 rows of 2 features and one of 3 classes. */
#define SMOOTH CLQ_SOURCE_DIR "/tests/data/tables/smooth.csv"
#define RINGS CLQ_SOURCE_DIR "/tests/data/tables/rings.csv"

enum { LIMIT = 37, BATCH = 8 };

static clq_device *device;

static clq_dataset *open_table(const char *path, clq_split split, int64_t limit, int targets) {
    const clq_dataset_options options = {
        .split = split, .limit = limit, .table.target_columns = targets};
    clq_dataset *dataset = NULL;
    assert_ok(clq_dataset_open(path, &options, &dataset));
    return dataset;
}

static clq_graph *new_graph(int inputs, int outputs) {
    const int hidden[] = {12, 7};
    const clq_network_options options = {.network = "mlp",
                                         .inputs = inputs,
                                         .classes = outputs,
                                         .hidden = hidden,
                                         .hidden_count = 2,
                                         .activation = "tanh",
                                         .seed = 3};
    clq_graph *graph = NULL;
    assert_ok(clq_network_build(&options, &graph));
    return graph;
}

/* ---- feeding ---- */

static clq_feed *new_feed(clq_dataset *dataset, clq_feed_options options) {
    clq_feed *feed = NULL;
    options.batch = BATCH;
    options.seed = 5;
    assert_ok(clq_feed_create(device, dataset, &options, &feed));
    return feed;
}

/* The batch's rows are those of `order` from `first` on, the last one repeated. */
static void check_batch(const clq_table *table, const clq_feed_batch *batch, clq_buffer *x,
                        const uint32_t *order, int64_t first) {
    float features[BATCH * 3], numbers[BATCH];
    int32_t labels[BATCH];
    const size_t f = (size_t)table->features;
    assert_ok(clq_buffer_read(x, 0, BATCH * f * sizeof(float), features));
    if (table->y) {
        assert_ok(clq_buffer_read(batch->targets, 0, sizeof numbers, numbers));
        assert_memory_equal(numbers, batch->numbers, sizeof numbers);
    } else {
        assert_null(batch->targets);
        assert_null(batch->numbers);
        assert_ok(clq_buffer_read(batch->device_labels, 0, sizeof labels, labels));
        assert_memory_equal(labels, batch->labels, sizeof labels);
    }
    for (int i = 0; i < BATCH; i++) {
        const size_t row = order[first + (i < batch->count ? i : batch->count - 1)];
        assert_memory_equal(features + (size_t)i * f, table->x + row * f, f * sizeof(float));
        if (table->y) {
            assert_true(numbers[i] == table->y[row]);
        } else {
            assert_int_equal(labels[i], table->labels[row]);
        }
    }
}

static void rows_come_in_the_order_of_the_epoch(void **state) {
    const char *const paths[] = {SMOOTH, RINGS};
    (void)state;
    for (int p = 0; p < 2; p++) {
        clq_dataset *dataset = open_table(paths[p], CLQ_SPLIT_TRAIN, LIMIT, 0);
        const clq_table *table = clq_dataset_table(dataset);
        clq_feed *feed = new_feed(dataset, (clq_feed_options){.training = true});
        clq_feed_batch batch;
        clq_buffer *x = NULL;
        uint32_t order[LIMIT];
        assert_ok(clq_buffer_create(device, BATCH * 3 * sizeof(float), &x));
        assert_ptr_equal(clq_feed_table(feed), table);
        assert_string_equal(clq_feed_unit(feed), "rows");
        assert_int_equal(clq_feed_batches(feed), LIMIT / BATCH); /* the rest is dropped */
        for (int k = 0; k < 2 * (LIMIT / BATCH); k++) {
            clq_table_order(table, 5, k / (LIMIT / BATCH), order);
            assert_ok(clq_feed_next(feed, x, &batch));
            assert_int_equal(batch.count, BATCH);
            check_batch(table, &batch, x, order, k % (LIMIT / BATCH) * BATCH);
        }
        assert_ok(clq_feed_seek(feed, 7, 2));
        assert_ok(clq_feed_next(feed, x, &batch));
        clq_table_order(table, 5, 7, order);
        check_batch(table, &batch, x, order, 2 * BATCH);
        assert_status(clq_feed_seek(feed, 0, LIMIT / BATCH), CLQ_USAGE);
        clq_feed_destroy(feed);
        clq_buffer_release(x);
        clq_dataset_close(dataset);
    }
}

/* Two ranks with half a batch each have the rows that one has. */
static void shards_make_up_the_batch(void **state) {
    (void)state;
    clq_dataset *dataset = open_table(SMOOTH, CLQ_SPLIT_TRAIN, LIMIT, 0);
    const clq_table *table = clq_dataset_table(dataset);
    clq_buffer *x = NULL;
    uint32_t order[LIMIT];
    assert_ok(clq_buffer_create(device, BATCH * 3 * sizeof(float), &x));
    for (int shard = 0; shard < 2; shard++) {
        clq_feed *feed =
            new_feed(dataset, (clq_feed_options){.training = true, .shard = shard, .shards = 2});
        assert_int_equal(clq_feed_batches(feed), LIMIT / (2 * BATCH));
        for (int k = 0; k < 2 * (LIMIT / (2 * BATCH)); k++) {
            const int64_t batch = k % (LIMIT / (2 * BATCH));
            clq_feed_batch fed;
            clq_table_order(table, 5, k / (LIMIT / (2 * BATCH)), order);
            assert_ok(clq_feed_next(feed, x, &fed));
            check_batch(table, &fed, x, order, (2 * batch + shard) * BATCH);
        }
        clq_feed_destroy(feed);
    }
    clq_buffer_release(x);
    clq_dataset_close(dataset);
}

static void evaluation_sees_every_row_once(void **state) {
    (void)state;
    clq_dataset *dataset = open_table(SMOOTH, CLQ_SPLIT_TEST, LIMIT, 0);
    clq_feed *feed = new_feed(dataset, (clq_feed_options){0});
    clq_feed_batch batch;
    clq_buffer *x = NULL;
    uint32_t order[LIMIT];
    for (uint32_t i = 0; i < LIMIT; i++) {
        order[i] = i;
    }
    assert_ok(clq_buffer_create(device, BATCH * 3 * sizeof(float), &x));
    assert_int_equal(clq_feed_batches(feed), (LIMIT + BATCH - 1) / BATCH);
    for (int round = 0; round < 2; round++) {
        for (int first = 0; first < LIMIT; first += BATCH) {
            assert_ok(clq_feed_next(feed, x, &batch));
            assert_int_equal(batch.count, LIMIT - first < BATCH ? LIMIT - first : BATCH);
            check_batch(clq_dataset_table(dataset), &batch, x, order, first);
        }
        assert_ok(clq_feed_next(feed, x, &batch));
        assert_int_equal(batch.count, 0);
    }
    clq_feed_destroy(feed);
    clq_buffer_release(x);
    clq_dataset_close(dataset);
}

/* ---- normalization ---- */

static void normalization_is_kept_with_the_network(void **state) {
    (void)state;
    clq_dataset *train = open_table(SMOOTH, CLQ_SPLIT_TRAIN, 0, 2),
                *test = open_table(SMOOTH, CLQ_SPLIT_TEST, 0, 2);
    clq_table *table = clq_dataset_table(test);
    clq_graph *graph = new_graph(2, 2);
    float mean[2], std[2], target_mean[2], target_std[2];
    const float x = table->x[3], y = table->y[3];
    assert_ok(clq_graph_normalize_table(graph, table)); /* nothing known: nothing done */
    assert_true(table->x[3] == x && table->y[3] == y && !table->target_std);
    clq_table_measure(clq_dataset_table(train), mean, std);
    clq_table_measure_targets(clq_dataset_table(train), target_mean, target_std);
    assert_ok(clq_graph_measure_table(graph, clq_dataset_table(train)));
    assert_ok(clq_graph_normalize_table(graph, table));
    assert_true(table->x[3] == (x - mean[1]) / std[1]);
    assert_true(table->y[3] == (y - target_mean[1]) / target_std[1]);
    assert_memory_equal(table->target_std, target_std, sizeof target_std);
    assert_ok(clq_graph_set_metadata(graph, "clquant.target_std", "1,0"));
    assert_status(clq_graph_normalize_table(graph, table), CLQ_BAD_DATA);
    assert_error_has("must be positive");
    assert_ok(clq_graph_set_metadata(graph, "clquant.mean", "1,2,3"));
    assert_status(clq_graph_normalize_table(graph, table), CLQ_BAD_DATA);
    assert_error_has("must be 2 numbers with commas");
    clq_graph_destroy(graph);
    clq_dataset_close(train);
    clq_dataset_close(test);
}

/* ---- evaluation ---- */

/* Two targets: error, RMSE in the data's unit and R2 as their definitions say. */
static void a_regression_is_evaluated_by_its_errors(void **state) {
    (void)state;
    clq_dataset *dataset = open_table(SMOOTH, CLQ_SPLIT_TEST, LIMIT, 2);
    clq_table *table = clq_dataset_table(dataset);
    clq_graph *graph = new_graph(2, 2);
    const clq_exec_options options = {.mode = CLQ_EXEC_FLOAT, .batch = BATCH};
    clq_exec *exec = NULL;
    clq_evaluation e;
    float outputs[LIMIT * 2];
    assert_ok(clq_graph_measure_table(graph, table));
    assert_ok(clq_graph_normalize_table(graph, table));
    assert_ok(clq_exec_create(device, graph, &options, &exec));
    clq_feed *feed = new_feed(dataset, (clq_feed_options){0});
    assert_ok(clq_evaluate(exec, feed, NULL, &e, outputs));
    double all = 0;
    for (int t = 0; t < 2; t++) {
        double mean = 0, error = 0, deviation = 0;
        for (int i = 0; i < LIMIT; i++) {
            mean += (double)table->y[2 * i + t] / LIMIT;
        }
        for (int i = 0; i < LIMIT; i++) {
            const double y = table->y[2 * i + t];
            error += (y - outputs[2 * i + t]) * (y - outputs[2 * i + t]);
            deviation += (y - mean) * (y - mean);
        }
        all += error / (2 * LIMIT);
        assert_true(fabs(e.fits[t].r2 - (1 - error / deviation)) < 1e-9);
        assert_true(fabs(e.fits[t].rmse / (sqrt(error / LIMIT) * table->target_std[t]) - 1) < 1e-9);
    }
    assert_true(fabs(e.loss / all - 1) < 1e-9);
    assert_true(fabs(e.r2 - (e.fits[0].r2 + e.fits[1].r2) / 2) < 1e-12);
    assert_true(isnan(e.top1) && isnan(e.top5));
    assert_int_equal(e.images, LIMIT);
    assert_int_equal(e.targets, 2);
    assert_int_equal(e.classes, 0);
    assert_string_equal(e.unit, "rows");
    clq_evaluation_clear(&e);
    clq_feed_destroy(feed);
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
    clq_dataset_close(dataset);
}

/* ---- training ---- */

typedef struct setup {
    clq_dataset *train, *test;
    clq_graph *graph;
} setup;

static setup open_setup(const char *path, int inputs, int outputs) {
    setup s = {open_table(path, CLQ_SPLIT_TRAIN, 0, 0), open_table(path, CLQ_SPLIT_TEST, 0, 0),
               new_graph(inputs, outputs)};
    assert_ok(clq_graph_measure_table(s.graph, clq_dataset_table(s.train)));
    assert_ok(clq_graph_normalize_table(s.graph, clq_dataset_table(s.train)));
    assert_ok(clq_graph_normalize_table(s.graph, clq_dataset_table(s.test)));
    return s;
}

static void close_setup(setup *s) {
    clq_dataset_close(s->train);
    clq_dataset_close(s->test);
    clq_graph_destroy(s->graph);
}

static clq_status train(setup *s, clq_train_config config, const char *out, int stop,
                        clq_epoch_record *last) {
    clq_train_job job = {.device = device,
                         .graph = s->graph,
                         .train = s->train,
                         .test = s->test,
                         .config = config,
                         .mode = CLQ_EXEC_TRAIN,
                         .out = out,
                         .phase = "train",
                         .resume = out != NULL,
                         .stop_after_steps = stop};
    clq_epoch_record *history = NULL;
    int count = 0;
    const clq_status status = clq_train(&job, &history, &count);
    if (status == CLQ_OK && last && count) {
        *last = history[count - 1];
    }
    clq_free(history);
    return status;
}

static clq_train_config adam(clq_loss_kind loss) {
    clq_train_config config;
    clq_train_config_init(&config);
    config.epochs = 12;
    config.batch = 16;
    config.loss = loss;
    config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    config.optimizer.weight_decay = 0;
    config.schedule.kind = CLQ_LR_COSINE;
    config.schedule.lr = 0.02;
    return config;
}

static void numbers_and_classes_are_learned(void **state) {
    (void)state;
    clq_epoch_record last = {0};
    setup s = open_setup(SMOOTH, 3, 1);
    assert_ok(train(&s, adam(CLQ_LOSS_MSE), NULL, 0, &last));
    assert_true(last.train_loss < 0.05 && last.test_loss < 0.05); /* 1: it gives the mean */
    assert_true(isnan(last.train_top1) && isnan(last.test_top1));
    close_setup(&s);
    s = open_setup(RINGS, 2, 3);
    assert_ok(train(&s, adam(CLQ_LOSS_CROSS_ENTROPY), NULL, 0, &last));
    assert_true(last.test_top1 > 0.8);
    close_setup(&s);
}

static void a_stopped_training_resumes_to_the_same_bits(void **state) {
    (void)state;
    const char *folder = clq_test_temp_path("stopped");
    clq_train_config config = adam(CLQ_LOSS_MSE);
    config.epochs = 2;
    setup whole = open_setup(SMOOTH, 3, 1);
    assert_ok(train(&whole, config, NULL, 0, NULL));
    config.checkpoint_steps = 7;
    for (int steps = 9; steps < 50; steps += 18) { /* 25 an epoch */
        setup part = open_setup(SMOOTH, 3, 1);
        assert_ok(train(&part, config, folder, steps, NULL));
        close_setup(&part);
    }
    setup rest = open_setup(SMOOTH, 3, 1);
    assert_ok(train(&rest, config, folder, 0, NULL));
    for (int v = 0; v < rest.graph->value_count; v++) {
        const clq_value *a = &whole.graph->values[v], *b = &rest.graph->values[v];
        if (a->data) {
            assert_memory_equal(a->data, b->data,
                                (size_t)clq_shape_count(&a->shape) * sizeof(float));
        }
    }
    close_setup(&rest);
    close_setup(&whole);
}

static void what_does_not_fit_is_refused(void **state) {
    (void)state;
    setup s = open_setup(SMOOTH, 3, 1);
    clq_train_config config = adam(CLQ_LOSS_CROSS_ENTROPY);
    assert_status(train(&s, config, NULL, 0, NULL), CLQ_USAGE);
    assert_error_has("the loss must be mse");
    config = adam(CLQ_LOSS_MSE);
    config.label_smoothing = 0.1;
    assert_status(train(&s, config, NULL, 0, NULL), CLQ_USAGE);
    assert_error_has("label smoothing");
    config = adam(CLQ_LOSS_MSE);
    config.augment.flip = true;
    assert_status(train(&s, config, NULL, 0, NULL), CLQ_USAGE);
    assert_error_has("augmentation is for images");
    config = adam(CLQ_LOSS_MSE);
    config.batch = 401;
    assert_status(train(&s, config, NULL, 0, NULL), CLQ_USAGE);
    assert_error_has("400 rows are less than one batch of 401");
    clq_graph_destroy(s.graph);
    s.graph = new_graph(4, 1);
    assert_status(train(&s, adam(CLQ_LOSS_MSE), NULL, 0, NULL), CLQ_BAD_DATA);
    assert_error_has("a table of 3 features, but the network's input is 1x4");
    clq_graph_destroy(s.graph);
    s.graph = new_graph(3, 2);
    assert_status(train(&s, adam(CLQ_LOSS_MSE), NULL, 0, NULL), CLQ_BAD_DATA);
    assert_error_has("1 regression targets, but the network has 2 outputs");
    close_setup(&s);
    s = (setup){open_table(RINGS, CLQ_SPLIT_TRAIN, 0, 0), NULL, new_graph(2, 2)};
    assert_status(train(&s, adam(CLQ_LOSS_CROSS_ENTROPY), NULL, 0, NULL), CLQ_BAD_DATA);
    assert_error_has("has 3 classes, but the network has 2 outputs");
    close_setup(&s);
}

static void out_of_memory_leaves_nothing(void **state) {
    (void)state;
    clq_dataset *dataset = open_table(SMOOTH, CLQ_SPLIT_TRAIN, LIMIT, 0);
    clq_status status = CLQ_NO_MEMORY;
    for (long n = 1; n < 100 && status != CLQ_OK; n++) {
        const clq_feed_options options = {.batch = BATCH};
        clq_feed *feed = NULL;
        clq_test_fail_allocation(n);
        status = clq_feed_create(device, dataset, &options, &feed);
        clq_feed_destroy(feed);
        const long live = clq_test_live_allocations();
        clq_test_restore_allocator();
        assert_int_equal(live, 0);
        assert_true(status == CLQ_OK || status == CLQ_NO_MEMORY);
    }
    assert_int_equal(status, CLQ_OK);
    clq_dataset_close(dataset);
}

static int open_device(void **state) {
    clq_test_setup_temp_dir(state);
    return clq_test_open(NULL, &device) == CLQ_OK ? 0 : -1;
}

static int close_device(void **state) {
    clq_device_close(device);
    return clq_test_teardown_temp_dir(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_in_the_order_of_the_epoch),
        cmocka_unit_test(shards_make_up_the_batch),
        cmocka_unit_test(evaluation_sees_every_row_once),
        cmocka_unit_test(normalization_is_kept_with_the_network),
        cmocka_unit_test(a_regression_is_evaluated_by_its_errors),
        cmocka_unit_test(numbers_and_classes_are_learned),
        cmocka_unit_test(a_stopped_training_resumes_to_the_same_bits),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(out_of_memory_leaves_nothing),
    };
    return cmocka_run_group_tests_name("train/table", tests, open_device, close_device);
}
