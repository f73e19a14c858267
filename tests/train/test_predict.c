/* Arrays as the inputs of networks with any number of inputs and outputs, and what such networks
 * give. */
#include <math.h>
#include <string.h>

#include "data/npz.h"
#include "support/graph_hash.h"
#include "support/two_ends.h"

#include <clquant/train.h>

enum { ROWS = 11, BATCH = 4, PIXELS = ENDS_H * ENDS_W };

/* Writes arrays of `rows` random rows; those of one name have the same numbers whatever the file.
 */
typedef struct file_array {
    const char *name;
    int rank;
    int64_t dims[3];
    int rows;
} file_array;

#define LEFT(rows)                                                                                 \
    { "left", 3, {ENDS_LEFT, ENDS_H, ENDS_W}, rows }
#define RIGHT(rows)                                                                                \
    { "right", 3, {ENDS_RIGHT, ENDS_H, ENDS_W}, rows }

static clq_arrays *make_arrays(const file_array *list, int count) {
    const char *path = clq_test_temp_path("x.npz");
    clq_npz_writer *writer = NULL;
    clq_arrays *arrays = NULL;
    assert_ok(clq_npz_open(path, &writer));
    for (int i = 0; i < count; i++) {
        size_t size = (size_t)list[i].rows;
        int index;
        for (int d = 0; d < list[i].rank; d++) {
            size *= (size_t)list[i].dims[d];
        }
        float *rows = random_floats(size, -1, 1, 40 + (uint64_t)list[i].name[0]);
        assert_ok(clq_npz_add(writer, list[i].name, list[i].dims, list[i].rank, &index));
        assert_ok(clq_npz_append(writer, index, rows, list[i].rows));
        free(rows);
    }
    assert_ok(clq_npz_commit(&writer));
    assert_ok(clq_arrays_open(path, &arrays));
    return arrays;
}

/* ---- predictions ---- */

typedef struct sink {
    const clq_graph *graph;
    float *left, *right; /* (ROWS, C, H, W) */
    int64_t next;
    int64_t rows[ROWS]; /* of the arrays, that are expected in turn */
} sink;

static void to_nhwc(const float *x, int channels, float *y) {
    for (int i = 0; i < channels * PIXELS; i++) {
        y[i % PIXELS * channels + i / PIXELS] = x[i];
    }
}

static clq_status check(void *context, int64_t first, int count, const float *const *outputs) {
    sink *s = context;
    float left[ENDS_LEFT * PIXELS], right[ENDS_RIGHT * PIXELS];
    float map[ENDS_MAP * PIXELS], scores[ENDS_SCORES];
    assert_int_equal(first, s->next);
    for (int i = 0; i < count; i++) {
        const size_t row = (size_t)s->rows[s->next++];
        to_nhwc(s->left + row * ENDS_LEFT * PIXELS, ENDS_LEFT, left);
        to_nhwc(s->right + row * ENDS_RIGHT * PIXELS, ENDS_RIGHT, right);
        ref_two_ends(s->graph, left, right, map, scores);
        for (int k = 0; k < ENDS_MAP * PIXELS; k++) { /* (C, H, W) */
            const float expected = map[k % PIXELS * ENDS_MAP + k / PIXELS];
            assert_true(fabsf(outputs[0][i * ENDS_MAP * PIXELS + k] - expected) < 2e-5f);
        }
        for (int o = 1; o < 3; o++) {
            for (int k = 0; k < ENDS_SCORES; k++) {
                assert_true(fabsf(outputs[o][i * ENDS_SCORES + k] - scores[k]) < 2e-5f);
            }
        }
    }
    return CLQ_OK;
}

static void every_output_of_every_row(void **state) {
    (void)state;
    static const struct {
        int64_t feed_limit, limit, count;
        int64_t rows[ROWS];
    } cases[] = {
        {0, 0, ROWS, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
        {0, 6, 6, {0, 1, 2, 3, 4, 5}},
        {5, 0, 5, {0, 2, 4, 6, 8}}, /* spread evenly */
        {ROWS, ROWS, ROWS, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
    };
    clq_graph *graph = two_ends();
    clq_arrays *arrays = make_arrays((file_array[]){RIGHT(ROWS), LEFT(ROWS)}, 2);
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = BATCH});
    sink s = {.graph = graph,
              .left = random_floats(ROWS * ENDS_LEFT * PIXELS, -1, 1, 40 + 'l'),
              .right = random_floats(ROWS * ENDS_RIGHT * PIXELS, -1, 1, 40 + 'r')};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_feed *feed = NULL;
        int64_t done = 0;
        assert_ok(clq_feed_create_arrays(graph, arrays, BATCH, cases[i].feed_limit, &feed));
        assert_string_equal(clq_feed_unit(feed), "rows");
        memcpy(s.rows, cases[i].rows, sizeof s.rows);
        for (int run = 0; run < 2; run++) {
            s.next = 0;
            assert_ok(clq_predict(exec, feed, cases[i].limit, NULL, check, &s, &done));
            assert_int_equal(done, cases[i].count);
            assert_int_equal(s.next, cases[i].count);
        }
        clq_feed_batch batch;
        assert_status(clq_feed_next(feed, clq_exec_input(exec)->buffer, &batch), CLQ_USAGE);
        clq_feed_destroy(feed);
    }
    free(s.left), free(s.right);
    clq_exec_destroy(exec);
    clq_arrays_close(arrays);
    clq_graph_destroy(graph);
}

static clq_status stop(void *context, int64_t first, int count, const float *const *outputs) {
    (void)context, (void)first, (void)count, (void)outputs;
    return clq_fail(CLQ_IO, "the disk is full");
}

static void a_sink_can_stop(void **state) {
    (void)state;
    clq_graph *graph = two_ends();
    clq_arrays *arrays = make_arrays((file_array[]){LEFT(2), RIGHT(2)}, 2);
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = BATCH});
    clq_feed *feed = NULL;
    int64_t done;
    assert_ok(clq_feed_create_arrays(graph, arrays, BATCH, 0, &feed));
    assert_status(clq_predict(exec, feed, 0, NULL, stop, NULL, &done), CLQ_IO);
    assert_error_has("the disk is full");
    clq_feed_destroy(feed);
    clq_exec_destroy(exec);
    clq_arrays_close(arrays);
    clq_graph_destroy(graph);
}

/* ---- arrays that do not fit ---- */

static void both_sides_are_listed(void **state) {
    (void)state;
    static const char takes[] = "the network takes left (N, 3, 6, 5), right (N, 2, 6, 5)";
    static const struct {
        file_array arrays[3];
        int count;
        const char *error;
    } cases[] = {
        {{LEFT(2)}, 1, "every input needs an array of its name: the file has left (2, 3, 6, 5); "},
        {{LEFT(2), {"rihgt", 3, {2, 6, 5}, 2}},
         2,
         "needs an array of its name: the file has left (2, 3, 6, 5), rihgt (2, 2, 6, 5); "},
        {{LEFT(2), {"right", 3, {6, 5, 2}, 2}}, 2, "shapes must fit: the file has"},
        {{LEFT(2), {"right", 0, {0}, 2}}, 2, "right (2,); "},
        {{LEFT(2), RIGHT(3)}, 2, "the same number of rows: the file has"},
    };
    clq_graph *graph = two_ends();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_arrays *arrays = make_arrays(cases[i].arrays, cases[i].count);
        clq_feed *feed = NULL;
        assert_status(clq_feed_create_arrays(graph, arrays, BATCH, 0, &feed), CLQ_BAD_DATA);
        assert_null(feed);
        assert_error_has("x.npz: ");
        assert_error_has(cases[i].error);
        assert_error_has(takes);
        clq_arrays_close(arrays);
    }
    clq_graph_destroy(graph);
}

/* What has no input's name is left out, whatever its rows and place. */
static void more_arrays_are_left_out(void **state) {
    (void)state;
    clq_graph *graph = two_ends();
    clq_arrays *arrays =
        make_arrays((file_array[]){{"aside", 0, {0}, 1}, LEFT(2), RIGHT(2), {"y", 0, {0}, 2}}, 4);
    clq_feed *feed = NULL;
    assert_ok(clq_feed_create_arrays(graph, arrays, BATCH, 0, &feed));
    assert_int_equal(clq_feed_count(feed), 2);
    clq_feed_destroy(feed);
    clq_arrays_close(arrays);
    clq_graph_destroy(graph);
}

/* One array for one input may be called anything. */
static void a_single_array_needs_no_name(void **state) {
    (void)state;
    net n = net_begin((clq_shape){2, {1, 3}});
    net_linear(&n, "fc", n.at, 2);
    clq_graph *graph = net_end(&n);
    clq_arrays *arrays = make_arrays((file_array[]){{"anything", 1, {3}, 2}}, 1);
    clq_feed *feed = NULL;
    assert_ok(clq_feed_create_arrays(graph, arrays, BATCH, 0, &feed));
    clq_feed_destroy(feed);
    clq_arrays_close(arrays);
    clq_graph_destroy(graph);
}

/* Images and tables feed one input, accuracy is that of one output. */
static void data_sets_feed_one_input(void **state) {
    (void)state;
    clq_graph *graph = two_ends();
    clq_dataset *data = NULL;
    clq_feed *feed = NULL;
    clq_evaluation evaluation;
    clq_exec *exec = make_exec(graph, (clq_exec_options){.batch = BATCH});
    int64_t done;
    assert_ok(
        clq_dataset_open("synthetic:train=8,test=8,size=8", &(clq_dataset_options){0}, &data));
    assert_ok(clq_feed_create(
        test_device, data, &(clq_feed_options){.batch = BATCH, .normalization = {.std = {1, 1, 1}}},
        &feed));
    assert_status(clq_evaluate(exec, feed, NULL, &evaluation, NULL), CLQ_BAD_DATA);
    assert_error_has("accuracy is measured on networks with one of each");
    assert_status(clq_predict(exec, feed, 0, NULL, check, NULL, &done), CLQ_BAD_DATA);
    assert_error_has("2 inputs (left, right); images or rows of a data set feed one");
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_exec_destroy(exec);
    clq_graph_destroy(graph);
}

/* ---- learning from a teacher on arrays ---- */

/* Every third parameter zero, so that there is something to learn. */
static clq_graph *forgetful(void) {
    clq_graph *graph = two_ends();
    for (int v = 0; v < graph->value_count; v++) {
        float *data = graph->values[v].data;
        for (int64_t i = 0; data && i < clq_shape_count(&graph->values[v].shape); i += 3) {
            data[i] = 0;
        }
    }
    return graph;
}

static clq_train_job job_on(clq_graph *graph, const clq_graph *teacher, clq_arrays *arrays) {
    clq_train_job job = {.device = test_device,
                         .graph = graph,
                         .arrays = arrays,
                         .no_labels = true,
                         .teacher = teacher,
                         .mode = CLQ_EXEC_TRAIN,
                         .phase = "train"};
    clq_train_config_init(&job.config);
    job.config.epochs = 20;
    job.config.batch = BATCH;
    job.config.optimizer.kind = CLQ_OPTIMIZER_ADAM;
    job.config.schedule.lr = 0.03;
    job.config.loss = CLQ_LOSS_OUTPUT_ERROR;
    job.config.distill.weight = 1;
    return job;
}

static clq_status train_on(clq_train_job *job, clq_epoch_record *first, clq_epoch_record *last) {
    clq_epoch_record *history = NULL;
    int count = 0;
    const clq_status status = clq_train(job, &history, &count);
    if (status == CLQ_OK && count > 0) {
        *first = history[0];
        *last = history[count - 1];
    }
    clq_free(history);
    return status;
}

/* Of rows in a new order each epoch, the last three of which are left out. */
static void several_outputs_learn(void **state) {
    (void)state;
    clq_graph *teacher = two_ends(), *graph = forgetful(), *halves = forgetful(),
              *rest = forgetful();
    clq_arrays *arrays = make_arrays((file_array[]){LEFT(ROWS), RIGHT(ROWS)}, 2);
    clq_train_job job = job_on(graph, teacher, arrays);
    clq_epoch_record first, last;
    assert_ok(train_on(&job, &first, &last));
    assert_true(last.test_output_error < first.test_output_error / 2);
    assert_true(last.train_loss < first.train_loss && isnan(last.train_top1));
    /* the loss is the squared relative error of map and scores, of which "again" is the same */
    assert_true(first.train_loss > 0 && first.train_loss < 3);

    job = job_on(halves, teacher, arrays);
    job.out = clq_test_temp_path("out");
    job.config.checkpoint_steps = 3;
    job.stop_after_steps = 7;
    assert_ok(train_on(&job, &first, &last));
    job.stop_after_steps = 0;
    job.resume = true;
    job.graph = rest;
    assert_ok(train_on(&job, &first, &last));
    assert_true(hash_of(rest) == hash_of(graph));
    clq_arrays_close(arrays);

    arrays = make_arrays((file_array[]){LEFT(ROWS),
                                        {"right", 3, {ENDS_RIGHT, ENDS_H, ENDS_W}, ROWS},
                                        {"aside", 0, {0}, 1}},
                         3);
    job.arrays = arrays;
    clq_graph_destroy(rest);
    job.graph = rest = forgetful();
    assert_ok(train_on(&job, &first, &last)); /* the same rows */
    clq_arrays_close(arrays);
    clq_graph_destroy(teacher);
    clq_graph_destroy(graph);
    clq_graph_destroy(halves);
    clq_graph_destroy(rest);
}

static void what_arrays_cannot_train(void **state) {
    (void)state;
    clq_graph *teacher = two_ends(), *graph = two_ends();
    clq_arrays *arrays = make_arrays((file_array[]){LEFT(3), RIGHT(3)}, 2);
    clq_epoch_record first, last;
    clq_train_job job = job_on(graph, teacher, arrays);
    assert_status(train_on(&job, &first, &last), CLQ_USAGE);
    assert_error_has("has 3 rows, and training takes 4 or more");
    job.config.batch = 3;
    job.config.loss = CLQ_LOSS_MSE;
    assert_status(train_on(&job, &first, &last), CLQ_BAD_DATA);
    assert_error_has("without the loss output_error, training takes one of each");
    job.config.loss = CLQ_LOSS_OUTPUT_ERROR;
    job.no_labels = false;
    assert_status(train_on(&job, &first, &last), CLQ_BAD_DATA);
    assert_error_has("has no labels to train with");
    job.no_labels = true;
    job.teacher = NULL;
    assert_status(train_on(&job, &first, &last), CLQ_USAGE);
    assert_error_has("needs a teacher");
    job.arrays = NULL;
    assert_status(train_on(&job, &first, &last), CLQ_USAGE);
    clq_arrays_close(arrays);
    clq_graph_destroy(teacher);
    clq_graph_destroy(graph);
}

#define FRESH(test)                                                                                \
    cmocka_unit_test_setup_teardown(test, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

int main(void) {
    const struct CMUnitTest tests[] = {
        FRESH(every_output_of_every_row),    FRESH(a_sink_can_stop),
        FRESH(both_sides_are_listed),        FRESH(more_arrays_are_left_out),
        FRESH(a_single_array_needs_no_name), cmocka_unit_test(data_sets_feed_one_input),
        FRESH(several_outputs_learn),        FRESH(what_arrays_cannot_train),
    };
    return cmocka_run_group_tests(tests, open_cpu_schedule, close_device);
}
