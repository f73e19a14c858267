/* The same as in test_arguments.c of what trains, quantizes and measures. */
#include "cli/arguments_case.h"

/* Fields of a preprocessing that no text could have said. */
static void preprocessings(void **state) {
    (void)state;
    clq_graph *made = NULL;
    clq_preprocessing p = {0};
    clq_normalization normalization;
    assert_ok(clq_graph_create("x", &made)); /* without an input */
    REFUSED_FOR("has no input", clq_graph_preprocessing(made, &p));
    REFUSED_FOR("has no input", clq_graph_normalization(made, table, &normalization));
    REFUSED_FOR("has no input", clq_graph_match_classes(made, table));
    static const struct {
        clq_preprocessing p;
        const char *field;
    } wrong[] = {
        {{.known = ~0u}, "known"},
        {{.known = CLQ_PART_NORMALISATION}, "are 0"},
        {{.known = CLQ_PART_NORMALISATION, .normalization_count = 99}, "are 99"},
        {{.known = CLQ_PART_NORMALISATION, .normalization_count = -1}, "are -1"},
        {{.known = CLQ_PART_NORMALISATION, .normalization = {.range = 3}}, "range"},
        {{.known = CLQ_PART_NORMALISATION, .normalization_count = 1}, "std"},
        {{.known = CLQ_PART_CHANNELS, .channels = (clq_channel_order)77}, "channels 77"},
        {{.known = CLQ_PART_INTERPOLATION, .resize.interpolation = (clq_interpolation)55},
         "interpolation 55"},
        {{.known = CLQ_PART_RESIZE}, "resize"},
        {{.known = CLQ_PART_RESIZE, .resize.width = 8}, "resize"},
        {{.known = CLQ_PART_RESIZE, .resize.shorter = -8}, "resize"},
        {{.known = CLQ_PART_CROP, .crop_width = 5000, .crop_height = 1}, "crop"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        p = wrong[i].p;
        assert_status(clq_preprocessing_check(&p, NULL, CLQ_BAD_DATA), CLQ_BAD_DATA);
        assert_error_has(wrong[i].field);
        REFUSED_FOR(wrong[i].field, clq_graph_set_preprocessing(made, &p));
        assert_int_equal(made->metadata_count, 0);
    }
    p = (clq_preprocessing){.known = CLQ_PART_CHANNELS, .channels = CLQ_RGB};
    clq_shape odd = {4, {1, 8, 8, -3}};
    assert_status(clq_preprocessing_check(&p, &odd, CLQ_BAD_DATA), CLQ_BAD_DATA);
    clq_graph_destroy(made);
}

static void training(void **state) {
    (void)state;
    clq_graph empty = {0};
    clq_feed *feed = NULL;
    clq_feed_batch batch;
    clq_evaluation evaluation;
    clq_epoch_record *history = NULL;
    clq_train_config zeroed = {0};
    clq_preprocessing preprocessing = {0};
    clq_normalization normalization;
    char **names = NULL;
    int count = 0;
    clq_train_config_init(NULL);
    REFUSED(clq_train_config_check(NULL));
    FAILS(clq_train_config_check(&zeroed));
    assert_int_equal(clq_train_config_hash(NULL), 0);
    assert_int_equal(clq_train_size(NULL, 0), 0);
    assert_true(clq_learning_rate(NULL, 0, 1) == 0);
    REFUSED(clq_feed_create(NULL, table, &(clq_feed_options){.batch = 1}, &feed));
    REFUSED(clq_feed_create(device, NULL, &(clq_feed_options){.batch = 1}, &feed));
    REFUSED(clq_feed_create(device, table, NULL, &feed));
    REFUSED(clq_feed_create(device, table, &(clq_feed_options){.batch = 1}, NULL));
    FAILS(clq_feed_create(device, table, &(clq_feed_options){0}, &feed));
    clq_feed_destroy(NULL);
    assert_null(clq_feed_table(NULL));
    assert_null(clq_feed_unit(NULL));
    assert_int_equal(clq_feed_batches(NULL), 0);
    assert_int_equal(clq_feed_count(NULL), 0);
    REFUSED(clq_feed_seek(NULL, 0, 0));
    REFUSED(clq_feed_next(NULL, NULL, &batch));
    REFUSED(clq_feed_fill(NULL, NULL, &batch));
    REFUSED(clq_feed_create_arrays(graph, NULL, 1, 0, &feed));
    int64_t done;
    REFUSED(clq_predict(NULL, NULL, 0, NULL, NULL, NULL, &done));
    REFUSED(clq_graph_check_data(NULL, table));
    REFUSED(clq_graph_check_data(graph, NULL));
    REFUSED(clq_graph_check_data(&empty, table));
    REFUSED(clq_graph_normalization(NULL, table, &normalization));
    REFUSED(clq_graph_normalization(graph, table, NULL));
    REFUSED(clq_graph_preprocessing(NULL, &preprocessing));
    REFUSED(clq_graph_preprocessing(graph, NULL));
    REFUSED(clq_graph_set_preprocessing(graph, NULL));
    REFUSED(clq_preprocessing_check(NULL, NULL, CLQ_USAGE));
    clq_preprocessing_take(NULL, &preprocessing, 0);
    clq_preprocessing_usual(NULL, &preprocessing);
    clq_normalization_usual(NULL, false, &normalization);
    REFUSED(clq_resize_parse(NULL, &preprocessing.resize));
    REFUSED(clq_crop_parse("3", NULL));
    REFUSED(clq_graph_classes(NULL, &names, &count));
    REFUSED(clq_graph_classes(graph, NULL, &count));
    clq_class_names_free(NULL, 0);
    REFUSED(clq_graph_set_classes(graph, NULL));
    REFUSED(clq_graph_load_classes(graph, NULL));
    REFUSED(clq_graph_match_classes(NULL, table));
    REFUSED(clq_graph_normalize_table(graph, NULL));
    REFUSED(clq_graph_measure_table(graph, NULL));
    REFUSED(clq_graph_measure_table(NULL, clq_dataset_table(table)));
    REFUSED(clq_evaluate(NULL, NULL, NULL, &evaluation, NULL));
    clq_evaluation_clear(NULL);
    REFUSED(clq_train(NULL, &history, &count));
    REFUSED_FOR("job->device", clq_train(&(clq_train_job){0}, &history, &count));
    clq_train_job job = {.device = device, .graph = graph, .train = table, .phase = "train"};
    clq_train_config_init(&job.config);
    REFUSED_FOR("job->mode", clq_train(&job, &history, &count));
    job.mode = CLQ_EXEC_QAT;
    REFUSED_FOR("job->mode", clq_train(&job, &history, &count));
    job.mode = CLQ_EXEC_TRAIN;
    REFUSED_FOR("history must not be NULL", clq_train(&job, NULL, &count));
    job.graph = &empty;
    REFUSED_FOR("has no input", clq_train(&job, &history, &count));
    assert_null(history);
}

static void quantization(void **state) {
    (void)state;
    clq_graph empty = {0}, *made = NULL;
    clq_quant_config config, zeroed = {0};
    clq_epoch_record *history = NULL;
    clq_verification verification;
    clq_feed *feed = NULL;
    float scale;
    int32_t zero_point;
    int count;
    clq_quant_config_init(NULL);
    clq_quant_config_init(&config);
    REFUSED(clq_quant_config_check(NULL));
    clq_policy_rule rule = {.keep_float = true};
    clq_quant_config kept;
    clq_graph *norms = NULL;
    REFUSED(clq_qat_keep_norms(NULL, graph, NULL, 1, &config, &kept, &norms));
    REFUSED(clq_qat_fold_norms(NULL, graph, &norms));
    REFUSED(clq_policy_add(NULL, &rule));
    REFUSED(clq_policy_add(&config.policy, NULL));
    REFUSED(clq_policy_load(NULL, "p.json"));
    REFUSED(clq_policy_load(&config.policy, NULL));
    REFUSED(clq_policy_check(NULL, graph));
    REFUSED(clq_policy_check(&config.policy, NULL));
    assert_false(clq_policy_find(NULL, graph, 0).keep_float);
    assert_false(clq_policy_find(&config.policy, NULL, 0).keep_float);
    clq_qtype type;
    assert_null(clq_qtype_get(CLQ_QTYPE_COUNT));
    assert_false(clq_qtype_find(NULL, &type));
    assert_false(clq_qtype_find("u8", NULL));
    assert_true(clq_qtype_find("s4", &type) && type == CLQ_Q_S4);
    FAILS(clq_quant_config_check(&zeroed));
    REFUSED(clq_activation_qparams(NULL, "x", 0, 1, CLQ_Q_U8, &scale, &zero_point));
    REFUSED(clq_activation_qparams(&config, "x", 0, 1, CLQ_Q_U8, NULL, &zero_point));
    REFUSED(clq_activation_qparams(&config, "x", 0, 1, CLQ_Q_S32, &scale, &zero_point));
    REFUSED(clq_weight_scale(&config, "x", 1, NULL));
    REFUSED(clq_scale_to_pow2("x", 1, 8, NULL));
    assert_ok(clq_feed_create(device, table, &(clq_feed_options){.batch = 4}, &feed));
    REFUSED(clq_ptq(NULL, graph, feed, 4, &config, NULL, &made));
    REFUSED(clq_ptq(device, NULL, feed, 4, &config, NULL, &made));
    REFUSED(clq_ptq(device, graph, NULL, 4, &config, NULL, &made));
    REFUSED(clq_ptq(device, graph, feed, 4, NULL, NULL, &made));
    REFUSED(clq_ptq(device, graph, feed, 4, &config, NULL, NULL));
    REFUSED(clq_ptq(device, &empty, feed, 4, &config, NULL, &made));
    FAILS(clq_ptq(device, graph, feed, 4, &zeroed, NULL, &made));
    REFUSED(clq_ptq_float(NULL, graph, feed, 4, &config, &made));
    REFUSED(clq_ptq_float(device, &empty, feed, 4, &config, &made));
    REFUSED(clq_ptq_float(device, graph, NULL, 4, &config, &made));
    REFUSED(clq_ptq_float(device, graph, feed, 4, NULL, &made));
    REFUSED(clq_ptq_float(device, graph, feed, 4, &config, NULL));
    clq_analysis analysis;
    REFUSED(clq_analysis_check(NULL, graph));
    REFUSED(clq_analysis_check(graph, &empty));
    REFUSED(clq_analysis_check_weights(graph, NULL));
    FAILS(clq_analysis_check_weights(graph, graph));
    REFUSED(clq_analyze(NULL, graph, graph, graph, feed, 4, 0, &analysis));
    REFUSED(clq_analyze(device, graph, NULL, graph, feed, 4, 0, &analysis));
    REFUSED(clq_analyze(device, graph, graph, &empty, feed, 4, 0, &analysis));
    REFUSED(clq_analyze(device, graph, graph, graph, NULL, 4, 0, &analysis));
    REFUSED(clq_analyze(device, graph, graph, graph, feed, 0, 0, &analysis));
    FAILS(clq_analyze(device, graph, graph, graph, feed, 4, 0, &analysis));
    assert_true(clq_score_is_noise(NULL));
    clq_analysis_clear(NULL);
    REFUSED(clq_calibrate(NULL, graph, feed, 4, &config, NULL));
    REFUSED(clq_calibrate(device, NULL, feed, 4, &config, NULL));
    REFUSED(clq_calibrate(device, graph, NULL, 4, &config, NULL));
    REFUSED(clq_calibrate(device, graph, feed, 4, NULL, NULL));
    REFUSED(clq_calibrate(device, &empty, feed, 4, &config, NULL));
    FAILS(clq_calibrate(device, graph, feed, 0, &config, NULL));
    FAILS(clq_calibrate(device, graph, feed, 4, &zeroed, NULL));
    clq_feed_destroy(feed);
    REFUSED(clq_convert(NULL, &made));
    REFUSED(clq_convert(&empty, &made));
    REFUSED(clq_convert(graph, NULL));
    FAILS(clq_convert(graph, &made));
    REFUSED(clq_dequantize(NULL, &made));
    REFUSED(clq_dequantize(&empty, &made));
    FAILS(clq_dequantize(graph, &made));
    REFUSED(clq_qat(NULL, &config, &history, &count));
    REFUSED(clq_qat(&(clq_train_job){0}, &config, &history, &count));
    REFUSED(clq_qat(&(clq_train_job){0}, NULL, &history, &count));
    REFUSED(clq_verify(NULL, graph, table, 1, 0, &verification));
    REFUSED(clq_verify(device, NULL, table, 1, 0, &verification));
    REFUSED(clq_verify(device, graph, NULL, 1, 0, &verification));
    REFUSED(clq_verify_feed(device, graph, NULL, 1, 0, &verification));
    REFUSED(clq_compare_outputs(NULL, NULL, NULL, 0, NULL, NULL));
    REFUSED(clq_verify(device, &empty, table, 1, 0, &verification));
    FAILS(clq_verify(device, graph, table, 1, 0, &verification));
    clq_verification_clear(NULL);
    assert_null(made);
}

static void measuring(void **state) {
    (void)state;
    clq_graph empty = {0};
    clq_bench_result result;
    clq_train_bench_result step;
    clq_tune_report report;
    const clq_graph *const one[] = {NULL};
    const clq_bench_options options = {0};
    clq_bench_case what = {.name = "x", .graph = graph};
    clq_train_bench_case training_case = {.name = "x", .graph = graph, .device = device};
    assert_true(clq_latency_of(NULL, 3).min == 0);
    assert_true(clq_quantile(NULL, 0, 0.5) == 0);
    assert_true(clq_median_error(NULL, 2) == 0);
    assert_string_equal(clq_bench_cause_name((clq_bench_cause)99), "");
    REFUSED(clq_bench_run(NULL, 1, &options, &result));
    REFUSED(clq_bench_run(&what, 1, NULL, &result));
    REFUSED(clq_bench_run(&what, 1, &options, NULL));
    REFUSED_FOR("cases[c].device", clq_bench_run(&what, 1, &options, &result));
    what.device = device;
    what.graph = &empty;
    REFUSED_FOR("has no input", clq_bench_run(&what, 1, &options, &result));
    what.graph = graph;
    FAILS(clq_bench_run(&what, 1, &options, &result)); /* batch 0 */
    assert_ok(clq_bench_run(NULL, 0, &options, NULL));
    clq_bench_result_clear(NULL);
    REFUSED(clq_bench_train(NULL, 1, &options, &step));
    REFUSED_FOR("cases[c].config", clq_bench_train(&training_case, 1, &options, &step));
    clq_train_bench_result_clear(NULL);
    REFUSED(clq_tune(NULL, NULL, 0, &(clq_tune_options){0}, &report));
    REFUSED(clq_tune(device, NULL, 1, &(clq_tune_options){0}, &report));
    REFUSED(clq_tune(device, one, 1, &(clq_tune_options){.batches = (int[]){1}, .batch_count = 1},
                     &report));
    REFUSED(clq_tune(device, one, 1, NULL, &report));
    clq_tune_report_clear(NULL);
    const char *const folders[] = {"."};
    REFUSED(clq_report_write(NULL, 1, NULL, NULL));
    REFUSED(clq_report_write(folders, 0, NULL, NULL));
    REFUSED(clq_ranks_open(NULL));
    assert_int_equal(clq_ranks_size(NULL), 1);
    assert_int_equal(clq_ranks_rank(NULL) + clq_ranks_local(NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preprocessings),
        cmocka_unit_test(training),
        cmocka_unit_test(quantization),
        cmocka_unit_test(measuring),
    };
    return cmocka_run_group_tests_name("cli/arguments", tests, open_all, close_all);
}
