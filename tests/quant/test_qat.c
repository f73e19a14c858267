/* Quantization-aware training: the loop, its observers, its checkpoint, what it hands over. */
#include <math.h>

#include "base/ranks.h"
#include "ops/quantized.h"
#include "support/op_run.h"
#include "support/quant_nets.h"
#include "support/ranks_run.h"

static clq_ranks *ranks; /* NULL but in as_rank */

enum { SIZE = 13, BATCH = 16, IMAGES = 128 };

static clq_graph *calibrated(const clq_quant_config *config) {
    clq_graph *graph = net_folded(net_everything(SIZE));
    net_calibrate(test_device, graph, config, 32, 8);
    return graph;
}

static clq_train_job job_of(clq_graph *graph, clq_dataset *train, clq_dataset *test, int epochs) {
    const clq_dataset_info *info = clq_dataset_get_info(train);
    clq_train_job job = {
        .device = test_device, .graph = graph, .train = train, .test = test, .phase = "qat"};
    job.ranks = ranks;
    clq_train_config_init(&job.config);
    job.config.epochs = epochs;
    job.config.batch = BATCH;
    job.config.schedule.lr = 0.01;
    job.config.loader_threads = 1;
    memcpy(job.normalization.mean, info->mean, sizeof info->mean);
    memcpy(job.normalization.std, info->std, sizeof info->std);
    return job;
}

static void run_qat(clq_train_job *job, const clq_quant_config *config, double *first_loss,
                    double *last_loss) {
    clq_epoch_record *history = NULL;
    int count = 0;
    assert_ok(clq_qat(job, config, &history, &count));
    if (count > 0) {
        *first_loss = history[0].train_loss;
        *last_loss = history[count - 1].train_loss;
    }
    clq_free(history);
}

static uint64_t bits_of(const clq_graph *graph) {
    uint64_t hash = 1469598103934665603u;
    for (int v = 0; v < graph->value_count; v++) {
        const clq_value *value = &graph->values[v];
        const unsigned char *data = value->data;
        const size_t size =
            data ? (size_t)clq_shape_count(&value->shape) * clq_dtype_size(value->dtype) : 0;
        for (size_t i = 0; i < size; i++) {
            hash = (hash ^ data[i]) * 1099511628211u;
        }
        for (int64_t i = 0; i < value->q.count; i++) {
            uint32_t bits;
            memcpy(&bits, &value->q.scale[i], sizeof bits);
            hash = (hash ^ bits) * 1099511628211u;
        }
        hash = (hash ^ (uint32_t)value->q.zero_point) * 1099511628211u;
    }
    return hash;
}

/* The loss falls, and what comes out converts to a network that computes the same codes. */
static void train_and_verify(const clq_quant_config *config, int images, int epochs) {
    clq_graph *graph = calibrated(config), *integer = NULL;
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, images);
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, 24);
    clq_train_job job = job_of(graph, train, test, epochs);
    clq_verification v;
    double first = 0, last = 0;
    run_qat(&job, config, &first, &last);
    assert_true(last < first);
    assert_null(job.qstate);
    assert_ok(clq_graph_validate(graph));
    assert_ok(clq_convert(graph, &integer));
    assert_ok(clq_graph_validate(integer));
    assert_ok(net_verify(test_device, integer, test, 4, &v));
    assert_string_equal(v.first_mismatch, "");
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_graph_destroy(integer);
    clq_graph_destroy(graph);
    clq_dataset_close(train);
    clq_dataset_close(test);
}

static void training_leads_to_an_equal_integer_network(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.scale = variant == 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.per_tensor_weights = variant == 2;
        config.symmetric_activations = variant == 2;
        if (variant == 3) {
            config.observer = CLQ_OBSERVER_ALL;
            config.weight_observer = CLQ_WEIGHTS_MSE;
        }
        train_and_verify(&config, IMAGES, 4);
    }
}

/* An average that takes nothing of the new keeps the calibrated scales and zero points, to the bit:
 * QAT starts where calibration ended, with one scale of each kind. */
static void observers_start_from_calibration(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.scale = variant % 2 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.symmetric_activations = variant / 2 == 1;
        clq_graph *graph = calibrated(&config), *start = NULL;
        assert_ok(clq_graph_clone(graph, &start));
        clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, 2 * BATCH);
        clq_train_job job = job_of(graph, train, NULL, 1);
        double first, last;
        config.averaging = 1e-30;
        run_qat(&job, &config, &first, &last);
        for (int v = 0; v < graph->value_count; v++) {
            const clq_qparams *now = &graph->values[v].q, *then = &start->values[v].q;
            if (!graph->values[v].data && then->count > 0) {
                assert_true(now->scale[0] == then->scale[0]);
                assert_int_equal(now->zero_point, then->zero_point);
            }
        }
        clq_graph_destroy(graph);
        clq_graph_destroy(start);
        clq_dataset_close(train);
    }
}

/* Ranges that leave out outliers on purpose do not go back to the extremes, nor do weights'. */
static void clipped_ranges_stay(void **state) {
    (void)state;
    static const clq_observer_kind kinds[] = {CLQ_OBSERVER_PERCENTILE, CLQ_OBSERVER_MSE,
                                              CLQ_OBSERVER_MOVING_AVERAGE};
    for (int i = 0; i < 3; i++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.observer = kinds[i];
        config.percentile = 95;
        config.weight_observer = i == 0 ? CLQ_WEIGHTS_MSE : CLQ_WEIGHTS_MIN_MAX;
        config.averaging = 0.5;
        clq_graph *graph = calibrated(&config), *start = NULL;
        assert_ok(clq_graph_clone(graph, &start));
        clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, 2 * BATCH);
        clq_train_job job = job_of(graph, train, NULL, 1);
        double first, last;
        bool same = true;
        run_qat(&job, &config, &first, &last);
        for (int v = 0; v < graph->value_count; v++) {
            const clq_qparams *now = &graph->values[v].q, *then = &start->values[v].q;
            const bool moves = graph->values[v].data && i > 0; /* weights' scales follow them */
            same &= moves || then->count == 0 || now->scale[0] == then->scale[0];
        }
        assert_int_equal(same, kinds[i] != CLQ_OBSERVER_MOVING_AVERAGE);
        clq_graph_destroy(graph);
        clq_graph_destroy(start);
        clq_dataset_close(train);
    }
}

/* The scales of activations behind `steps` steps of QAT. */
static float *scales_after(const clq_quant_config *config, int epochs, int steps, size_t *count) {
    clq_graph *graph = calibrated(config);
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, 4 * BATCH);
    clq_train_job job = job_of(graph, train, NULL, epochs);
    float *scales = malloc((size_t)graph->value_count * sizeof *scales);
    double first, last;
    *count = 0;
    job.stop_after_steps = steps;
    run_qat(&job, config, &first, &last);
    for (int v = 0; v < graph->value_count; v++) {
        if (!graph->values[v].data && graph->values[v].q.count > 0) {
            scales[(*count)++] = graph->values[v].q.scale[0];
        }
    }
    clq_graph_destroy(graph);
    clq_dataset_close(train);
    return scales;
}

/* Of 4 steps an epoch: ranges move in the steps that observer_epochs says, and no longer. */
static void observers_stop_when_told(void **state) {
    (void)state;
    static const struct {
        double observer_epochs;
        int epochs, steps;
    } cases[] = {{0, 2, 0}, {0.25, 2, 1}, {1.5, 2, 6}, {-1, 2, 4}, {-1, 1, 2}, {7, 1, 4}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        clq_quant_config config;
        size_t count, same;
        clq_quant_config_init(&config);
        config.observer_epochs = cases[i].observer_epochs;
        config.averaging = 0.3;
        const int all = 4 * cases[i].epochs, last = cases[i].steps;
        float *end = scales_after(&config, cases[i].epochs, all, &count);
        float *at = scales_after(&config, cases[i].epochs, last ? last : 1, &same);
        assert_true(count == same && count > 5);
        assert_memory_equal(end, at, count * sizeof *end);
        if (last > 1) {
            float *before = scales_after(&config, cases[i].epochs, last - 1, &same);
            assert_memory_not_equal(end, before, count * sizeof *end);
            free(before);
        }
        free(end), free(at);
    }
}

static void the_same_on_the_gpu_schedule(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    train_and_verify(&config, 2 * BATCH, 2);
}

/* Weights whose scale follows from their bias: (5)'s second term. */
static void shrink_weights(clq_graph *graph, const char *name) {
    clq_value *w = &graph->values[clq_graph_find_value(graph, name)];
    const int64_t count = clq_shape_count(&w->shape);
    for (int64_t i = 0; i < count; i++) {
        ((float *)w->data)[i] *= 1e-7f;
    }
}

/* The fake-quantized evaluation of the quantized form, whose weights get their scales and codes on
 * the device, and the integer network (quantized on the host) give the same logits. */
static void check_weights_alike(const clq_quant_config *config) {
    clq_graph *graph = net_folded(net_everything(SIZE)), *integer = NULL;
    shrink_weights(graph, "b2.conv1.weight");
    net_calibrate(test_device, graph, config, 32, 8);
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, 24);
    clq_feed *feed = net_feed(test_device, test, 8);
    clq_qstate *qstate = NULL;
    assert_ok(clq_convert(graph, &integer));
    assert_ok(clq_qstate_create(test_device, graph, &qstate));
    qstate->choose_weight_scales = true;
    qstate->per_tensor_weights = config->per_tensor_weights;
    qstate->max_shift = config->scale == CLQ_SCALE_POW2 ? config->max_shift : -1;
    char hashes[2][65];
    for (int i = 0; i < 2; i++) {
        const clq_exec_options options = {.mode = i ? CLQ_EXEC_INT8 : CLQ_EXEC_FAKE_QUANT,
                                          .qstate = i ? NULL : qstate,
                                          .batch = 8};
        clq_exec *exec = NULL;
        clq_evaluation evaluation;
        assert_ok(clq_exec_create(test_device, i ? integer : graph, &options, &exec));
        assert_ok(clq_evaluate(exec, feed, NULL, &evaluation, NULL));
        memcpy(hashes[i], evaluation.logits_sha256, sizeof hashes[i]);
        clq_evaluation_clear(&evaluation);
        clq_exec_destroy(exec);
    }
    assert_string_equal(hashes[0], hashes[1]);
    clq_qstate_destroy(qstate);
    clq_feed_destroy(feed);
    clq_dataset_close(test);
    clq_graph_destroy(graph);
    clq_graph_destroy(integer);
}

static void device_and_host_quantize_weights_alike(void **state) {
    (void)state;
    for (int variant = 0; variant < 3; variant++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.per_tensor_weights = variant > 0;
        config.scale = variant > 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.max_shift = 30;
        check_weights_alike(&config);
    }
}

static uint64_t train_bits(const char *out, int stop_after, bool resume, int epochs,
                           bool recompute) {
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = calibrated(&config);
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_train_job job = job_of(graph, train, NULL, epochs);
    double first = 0, last = 0;
    job.out = out;
    job.resume = resume;
    job.stop_after_steps = stop_after;
    job.config.checkpoint_steps = 3;
    job.config.recompute = recompute;
    run_qat(&job, &config, &first, &last);
    const uint64_t bits = bits_of(graph);
    clq_graph_destroy(graph);
    clq_dataset_close(train);
    return bits;
}

static void same_bits_every_run(void **state) {
    (void)state;
    assert_true(train_bits(NULL, 0, false, 2, false) == train_bits(NULL, 0, false, 2, false));
}

/* Activations that are made again are neither observed twice nor other codes. */
static void recomputation_changes_no_bit(void **state) {
    (void)state;
    assert_true(train_bits(NULL, 0, false, 2, true) == train_bits(NULL, 0, false, 2, false));
}

/* Stopped while observers run, and after. */
static void resumes_to_the_same_bits(void **state) {
    (void)state;
    const uint64_t whole = train_bits(NULL, 0, false, 2, false);
    const int stops[] = {4, 11};
    for (int i = 0; i < 2; i++) {
        const char *out = clq_test_temp_path(i ? "late" : "early");
        train_bits(out, stops[i], false, 2, false);
        assert_true(train_bits(out, 0, true, 2, i == 0) == whole); /* recompute may change */
    }
}

/* Values that share codes keep sharing qparams; scales are fixed after the first epoch. */
static void qparams_stay_shared(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = calibrated(&config);
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_train_job job = job_of(graph, train, NULL, 2);
    double first, last;
    run_qat(&job, &config, &first, &last);
    int shared = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (node->op->output_shares_qparams) {
            const clq_qparams *x = &graph->values[node->inputs[0]].q;
            const clq_qparams *y = &graph->values[node->output].q;
            assert_true(x->scale[0] == y->scale[0]);
            assert_int_equal(x->zero_point, y->zero_point);
            shared++;
        }
    }
    assert_true(shared >= 4);
    clq_graph_destroy(graph);
    clq_dataset_close(train);
}

static void divergence_is_noticed(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = calibrated(&config);
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_train_job job = job_of(graph, train, NULL, 3);
    clq_epoch_record *history = NULL;
    int count = 0;
    job.config.schedule.lr = 1000;
    job.config.schedule.warmup_epochs = 0;
    assert_status(clq_qat(&job, &config, &history, &count), CLQ_DIVERGED);
    assert_null(history);
    clq_graph_destroy(graph);
    clq_dataset_close(train);
}

/* Codes are clamped, so that neither a weight nor an input that is no number shows in them. */
static void nan_behind_a_quantizer_is_noticed(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    for (int in_data = 0; in_data < 2; in_data++) {
        clq_graph *graph = calibrated(&config);
        clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
        clq_train_job job = job_of(graph, train, NULL, 3);
        clq_epoch_record *history = NULL;
        int count = 0;
        if (in_data) {
            job.normalization.std[0] = 1e-42f;
        } else {
            int v = 0;
            while (graph->values[v].kind != CLQ_VALUE_PARAMETER) {
                v++;
            }
            ((float *)graph->values[v].data)[0] = NAN;
        }
        assert_status(clq_qat(&job, &config, &history, &count), CLQ_DIVERGED);
        assert_error_has("diverged in step 1 (epoch 1");
        assert_error_has(in_data ? "the batch of normalized inputs has " : " has NaN");
        clq_graph_destroy(graph);
        clq_dataset_close(train);
    }
}

static void wants_a_calibrated_graph(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    clq_graph *graph = net_folded(net_everything(SIZE));
    clq_dataset *train = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_train_job job = job_of(graph, train, NULL, 1);
    clq_epoch_record *history = NULL;
    int count = 0;
    assert_status(clq_qat(&job, &config, &history, &count), CLQ_USAGE);
    assert_error_has("calibrate");
    clq_graph_destroy(graph);
    clq_dataset_close(train);
}

/* ---- two ranks ---- */

enum { RANKS = 2 };

/* Scales and weights are the same on both ranks, every time and through a checkpoint. */
static void ranks_share_observers(void **state) {
    (void)state;
    uint64_t bits[RANKS];
    const uint64_t mine = train_bits(NULL, 0, false, 2, false);
    assert_ok(clq_ranks_gather(ranks, &mine, sizeof mine, bits));
    assert_true(bits[0] == bits[1]);
    const char *out = clq_ranks_rank(ranks) == 0 ? clq_test_temp_path("ranks") : NULL;
    train_bits(out, 4, false, 2, false);
    assert_true(train_bits(out, 0, true, 2, false) == mine);
}

static void ranks_train_an_equal_integer_network(void **state) {
    (void)state;
    clq_quant_config config;
    clq_quant_config_init(&config);
    train_and_verify(&config, IMAGES, 4);
}

static int as_rank(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranks_share_observers, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(ranks_train_an_equal_integer_network),
    };
    assert_ok(clq_ranks_open(&ranks));
    const int failed = cmocka_run_group_tests_name("ranks", tests, open_own_schedule, close_device);
    clq_ranks_close(ranks, failed ? CLQ_GATE_FAILED : CLQ_OK);
    return failed;
}

int main(int argc, char **argv) {
    (void)argc;
    if (clq_ranks_launched()) {
        return as_rank();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_leads_to_an_equal_integer_network),
        cmocka_unit_test(device_and_host_quantize_weights_alike),
        cmocka_unit_test(observers_start_from_calibration),
        cmocka_unit_test(clipped_ranges_stay),
        cmocka_unit_test(observers_stop_when_told),
        cmocka_unit_test(qparams_stay_shared),
        cmocka_unit_test(same_bits_every_run),
        cmocka_unit_test(recomputation_changes_no_bit),
        cmocka_unit_test_setup_teardown(resumes_to_the_same_bits, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
        cmocka_unit_test(divergence_is_noticed),
        cmocka_unit_test(nan_behind_a_quantizer_is_noticed),
        cmocka_unit_test(wants_a_calibrated_graph),
    };
    const struct CMUnitTest on_gpu[] = {
        cmocka_unit_test(the_same_on_the_gpu_schedule),
        cmocka_unit_test(device_and_host_quantize_weights_alike),
    };
    const int failed =
        cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device) +
        cmocka_run_group_tests_name("gpu schedule", on_gpu, open_gpu_schedule, close_device);
    return failed || !ranks_can_run() ? failed : ranks_run(argv[0], RANKS);
}
