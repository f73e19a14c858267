/* QAT whose batch norms learn before they are folded. */
#include <math.h>

#include "graph/node.h"
#include "ops/layer.h"
#include "ops/registry.h"
#include "support/graph_hash.h"
#include "support/op_run.h"
#include "support/quant_nets.h"

enum { SIZE = 9, BATCH = 8, IMAGES = 64, CALIBRATION = 16 };

static clq_graph *trained(void) {
    const clq_network_options options = {.network = "resnet20", .size = SIZE};
    return net_built(&options);
}

static clq_graph *with_norms(const clq_graph *fp32, const clq_quant_config *config,
                             clq_quant_config *kept) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, CALIBRATION);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    clq_graph *graph = NULL;
    assert_ok(clq_qat_keep_norms(test_device, fp32, feed, BATCH, config, kept, &graph));
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    return graph;
}

static void train(clq_graph *graph, const clq_quant_config *config, const char *out, int stop,
                  bool resume) {
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, IMAGES);
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, BATCH);
    const clq_dataset_info *info = clq_dataset_get_info(data);
    clq_train_job job = {.device = test_device,
                         .graph = graph,
                         .train = data,
                         .test = test,
                         .phase = "qat",
                         .out = out,
                         .stop_after_steps = stop,
                         .resume = resume};
    clq_epoch_record *history = NULL;
    int count = 0;
    clq_train_config_init(&job.config);
    job.config.epochs = 2;
    job.config.batch = BATCH;
    job.config.schedule.lr = 0.02;
    job.config.loader_threads = 1;
    job.config.checkpoint_steps = 3;
    memcpy(job.normalization.mean, info->mean, sizeof info->mean);
    memcpy(job.normalization.std, info->std, sizeof info->std);
    assert_ok(clq_qat(&job, config, &history, &count));
    if (stop == 0) {
        assert_int_equal(count, 2);
        assert_true(history[1].train_loss < history[0].train_loss);
    }
    clq_free(history);
    clq_dataset_close(data);
    clq_dataset_close(test);
}

/* Everything on codes but batch norms and the activations behind them. */
static void norms_are_real_behind_codes(void **state) {
    (void)state;
    clq_quant_config config, kept;
    clq_graph *fp32 = trained();
    int norms = 0, layers = 0;
    clq_quant_config_init(&config);
    const clq_policy_rule three = {.name = "layer1.0.conv1", .activations = CLQ_Q_U3};
    assert_ok(clq_policy_add(&config.policy, &three));
    clq_graph *graph = with_norms(fp32, &config, &kept);
    int of_three = 0;
    for (int v = 0; v < graph->value_count; v++) {
        of_three += graph->values[v].q.count > 0 && graph->values[v].q.type == CLQ_Q_U3;
    }
    assert_int_equal(of_three, 1); /* the codes of what the batch norm behind it makes */
    assert_int_equal(clq_graph_form(graph), CLQ_FORM_QUANTIZED);
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        const bool real = node->op == &clq_op_batch_norm || node->op == &clq_op_relu;
        assert_int_equal(clq_node_on_codes(graph, node), !real);
        norms += node->op == &clq_op_batch_norm;
        layers += clq_is_layer(node);
    }
    assert_int_equal(norms, 19);
    assert_int_equal(layers, 20);
    clq_graph_destroy(graph);
    clq_graph_destroy(fp32);
}

/* Codes of weights by a scale of their largest magnitude. */
static int code_of(const float *w, int64_t row, int64_t i) {
    float largest = 0;
    for (int64_t k = 0; k < row; k++) {
        largest = fmaxf(largest, fabsf(w[k]));
    }
    return (int)rintf(w[i] / (largest / 127));
}

/* Folding changes no code of a weight, but for a factor's sign and its last bit. */
static void folded_weights_have_the_same_codes(void **state) {
    (void)state;
    clq_graph *fp32 = trained(), *folded = NULL;
    int64_t same = 0, all = 0;
    net_randomise(fp32, 0.1f);
    assert_ok(clq_graph_fold(fp32, &folded));
    for (int v = 0; v < fp32->value_count; v++) {
        const clq_value *w = &fp32->values[v];
        if (w->shape.rank != 4 || !w->data) {
            continue;
        }
        const clq_value *f = &folded->values[clq_graph_find_value(folded, w->name)];
        const int64_t count = clq_shape_count(&w->shape), row = count / w->shape.dim[0];
        for (int64_t i = 0; i < count; i++) {
            const int64_t at = i / row * row;
            const int a = code_of((const float *)w->data + at, row, i - at);
            const int b = code_of((const float *)f->data + at, row, i - at);
            assert_true(abs(a) - abs(b) <= 1 && abs(b) - abs(a) <= 1);
            same += abs(a) == abs(b);
            all++;
        }
    }
    assert_true(all > 10000 && same > all - all / 1000);
    clq_graph_destroy(folded);
    clq_graph_destroy(fp32);
}

/* Statistics and weights learn, stop and resume come to the same bits, and what is folded then and
 * calibrated has an equal integer network. */
static void learns_and_folds(void **state) {
    (void)state;
    clq_quant_config config, kept;
    clq_verification v;
    clq_graph *fp32 = trained(), *learnt = NULL, *folded = NULL, *integer = NULL;
    const char *out = clq_test_temp_path("stopped");
    clq_quant_config_init(&config);
    config.learn_scales = CLQ_LEARN_LSQ; /* from when norms are frozen */
    const clq_policy_rule four = {.name = "layer2*", .weights = CLQ_Q_S4};
    assert_ok(clq_policy_add(&config.policy, &four));
    clq_graph *whole = with_norms(fp32, &config, &kept), *stopped = NULL, *resumed = NULL;
    assert_ok(clq_graph_clone(whole, &stopped));
    assert_ok(clq_graph_clone(whole, &resumed));
    train(whole, &kept, NULL, 0, false);
    train(stopped, &kept, out, 7, false);
    train(resumed, &kept, out, 0, true);
    assert_true(hash_of(resumed) == hash_of(whole));

    assert_ok(clq_qat_fold_norms(whole, fp32, &learnt));
    int moved = 0;
    for (int i = 0; i < fp32->value_count; i++) {
        const clq_value *a = &fp32->values[i], *b = &learnt->values[i];
        moved += a->data && memcmp(a->data, b->data, (size_t)clq_shape_count(&a->shape) * 4) != 0;
    }
    assert_int_equal(moved,
                     19 * 5 + 2); /* all weights, gammas, betas and statistics, and fc's bias */
    folded = net_folded(learnt);
    net_calibrate(test_device, folded, &config, CALIBRATION, BATCH);
    assert_ok(clq_convert(folded, &integer));
    clq_dataset *test = net_data(CLQ_SPLIT_TEST, SIZE, 12);
    assert_ok(net_verify(test_device, integer, test, BATCH, &v));
    assert_int_equal(v.mismatched_codes, 0);
    clq_verification_clear(&v);
    clq_dataset_close(test);
    clq_graph_destroy(integer);
    clq_graph_destroy(folded);
    clq_graph_destroy(whole);
    clq_graph_destroy(stopped);
    clq_graph_destroy(resumed);
    clq_graph_destroy(fp32);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    clq_quant_config config, kept;
    clq_graph *fp32 = trained(), *folded = NULL, *graph = NULL;
    clq_dataset *data = net_data(CLQ_SPLIT_TRAIN, SIZE, CALIBRATION);
    clq_feed *feed = net_feed(test_device, data, BATCH);
    clq_quant_config_init(&config);
    assert_ok(clq_graph_fold(fp32, &folded));
    assert_status(clq_qat_keep_norms(test_device, folded, feed, BATCH, &config, &kept, &graph),
                  CLQ_USAGE);
    assert_error_has("has no batch norms");
    config.per_tensor_weights = true;
    assert_status(clq_qat_keep_norms(test_device, fp32, feed, BATCH, &config, &kept, &graph),
                  CLQ_USAGE);
    assert_error_has("not per tensor");
    assert_null(graph);
    clq_feed_destroy(feed);
    clq_dataset_close(data);
    clq_graph_destroy(folded);
    clq_graph_destroy(fp32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_are_real_behind_codes),
        cmocka_unit_test(folded_weights_have_the_same_codes),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test_setup_teardown(learns_and_folds, clq_test_setup_temp_dir,
                                        clq_test_teardown_temp_dir),
    };
    return cmocka_run_group_tests_name("own schedule", tests, open_own_schedule, close_device);
}
