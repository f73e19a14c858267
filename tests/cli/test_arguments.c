/* Every public function with NULL where something is needed, and with zeroed structures: it says
 * which argument is wrong, and nothing is touched. */
#include <clquant/clquant.h>

#include <string.h>

#include "support/device.h"

#define SMOOTH CLQ_SOURCE_DIR "/tests/data/tables/smooth.csv"

static clq_device *device;
static clq_dataset *table; /* 3 features, 1 target */
static clq_graph *graph;   /* float, folded, of it */

/* `call` ends in CLQ_USAGE and an error that begins with the function's name. */
#define REFUSED(call) assert_refused((call), #call, __LINE__)
/* The same, and the error names the argument. */
#define REFUSED_FOR(argument, call)                                                                \
    do {                                                                                           \
        REFUSED(call);                                                                             \
        assert_error_has(argument);                                                                \
    } while (0)
/* Zeroed options: any error will do, no crash. */
#define FAILS(call) assert_int_not_equal((call), CLQ_OK)

static void assert_refused(clq_status status, const char *call, int line) {
    const size_t name = strcspn(call, "(");
    if (status != CLQ_USAGE || strncmp(clq_last_error(), call, name) != 0) {
        print_error("line %d: %s: status %d, \"%s\"\n", line, call, (int)status, clq_last_error());
        fail();
    }
}

static void base(void **state) {
    (void)state;
    assert_null(clq_strdup(NULL));
    clq_free(NULL);
    clq_set_allocator(NULL);
    clq_set_file_ops(NULL);
    clq_set_log(NULL, NULL, CLQ_LOG_WARN);
}

static void data(void **state) {
    (void)state;
    clq_dataset *dataset = NULL;
    clq_loader *loader = NULL;
    clq_table *made = NULL, empty = {0};
    const clq_batch *batch = NULL;
    float x[4];
    uint32_t order[1] = {0};
    REFUSED_FOR("path must not be NULL", clq_dataset_open(NULL, NULL, &dataset));
    REFUSED_FOR("dataset must not be NULL", clq_dataset_open("synthetic", NULL, NULL));
    FAILS(clq_dataset_open("synthetic", &(clq_dataset_options){.split = (clq_split)7}, &dataset));
    FAILS(clq_dataset_open("synthetic", &(clq_dataset_options){.height = -1}, &dataset));
    static const char *const nameless[] = {NULL};
    clq_dataset_options listed = {.list = {.file = SMOOTH, .classes = nameless}};
    FAILS(clq_dataset_open(CLQ_SOURCE_DIR, &listed, &dataset));
    assert_error_has("a list of labels of 0 classes");
    listed.list.class_count = 1;
    FAILS(clq_dataset_open(CLQ_SOURCE_DIR, &listed, &dataset));
    assert_error_has("class 0 has no name");
    clq_dataset_close(NULL);
    assert_null(clq_dataset_get_info(NULL));
    assert_null(clq_dataset_table(NULL));
    REFUSED(clq_dataset_read(NULL, 0, (uint8_t *)x));
    REFUSED(clq_dataset_read(table, 0, NULL));
    char place[16];
    REFUSED(clq_dataset_name(NULL, 0, place, sizeof place));
    REFUSED_FOR("index must be an image's", clq_dataset_name(table, 0, place, sizeof place));
    clq_arrays *arrays = NULL;
    REFUSED(clq_arrays_open(NULL, &arrays));
    REFUSED(clq_arrays_open("x.npz", NULL));
    clq_arrays_close(NULL);
    assert_null(clq_arrays_path(NULL));
    assert_int_equal(clq_arrays_count(NULL), 0);
    assert_null(clq_arrays_at(NULL, 0));
    REFUSED(clq_arrays_read(NULL, 0, 0, 1, (float *)x));
    REFUSED(clq_dataset_measure(NULL, x, x));
    REFUSED(clq_dataset_measure(table, NULL, x));
    clq_dataset_forget_labels(NULL);
    REFUSED(clq_dataset_map_classes(NULL, NULL, NULL, 0));
    REFUSED(clq_dataset_map_classes(table, NULL, NULL, 0));
    REFUSED(clq_loader_create(NULL, &(clq_loader_options){0}, &loader));
    REFUSED(clq_loader_create(table, NULL, &loader));
    REFUSED(clq_loader_create(table, &(clq_loader_options){.batch = 1}, NULL));
    FAILS(clq_loader_create(table, &(clq_loader_options){0}, &loader));
    clq_loader_destroy(NULL);
    REFUSED(clq_loader_next(NULL, &batch));
    assert_int_equal(clq_loader_get_position(NULL).epoch, 0);
    assert_int_equal(clq_loader_batches(NULL), 0);
    REFUSED(clq_table_open(NULL, NULL, &made));
    REFUSED(clq_table_open(SMOOTH, NULL, NULL));
    FAILS(clq_table_open(SMOOTH, &(clq_table_options){.target = (clq_target)9}, &made));
    clq_table_close(NULL);
    clq_table_limit(NULL, 1);
    clq_table_limit(&empty, 1);
    clq_table_order(NULL, 0, 0, order);
    clq_table_order(&empty, 0, 0, order);
    clq_table_gather(NULL, order, 1, x, x, NULL);
    clq_table_gather(clq_dataset_table(table), order, 1, x, NULL, NULL);
    assert_error_has("clq_table_gather: y must not be NULL");
    clq_table_measure(NULL, x, x);
    clq_table_measure(&empty, x, x);
    clq_table_measure_targets(&empty, x, x);
    clq_table_normalize(&empty, x, x);
    clq_table_normalize(NULL, x, x);
    REFUSED(clq_table_normalize_targets(NULL, x, x));
}

static void devices(void **state) {
    (void)state;
    clq_device *opened = NULL;
    clq_buffer *buffer = NULL, *view = NULL;
    clq_kernel *kernel = NULL;
    clq_transfer transfer = {0};
    clq_device_limits limits;
    const clq_profile_entry *entries;
    clq_dot dot;
    size_t count = 0;
    uint64_t bytes;
    double rate;
    bool done = false;
    char byte = 0;
    assert_string_equal(clq_dot_name((clq_dot)99), "unknown");
    REFUSED(clq_dot_parse(NULL, &dot));
    REFUSED(clq_dot_parse("avx2", NULL));
    REFUSED(clq_device_list(NULL, 0, NULL));
    REFUSED_FOR("infos must not be NULL", clq_device_list(NULL, 3, &count));
    REFUSED(clq_device_open(NULL, NULL));
    REFUSED(clq_device_open_nth(NULL, 0, NULL));
    assert_null(opened);
    clq_device_close(NULL);
    assert_null(clq_device_get_info(NULL));
    REFUSED(clq_device_set_dot(NULL, CLQ_DOT_PORTABLE));
    FAILS(clq_device_set_dot(device, (clq_dot)77));
    REFUSED(clq_device_peak(NULL, &rate, &rate));
    REFUSED(clq_device_peak(device, NULL, &rate));
    REFUSED(clq_device_measure_limits(NULL, &limits));
    REFUSED(clq_device_measure_limits(device, NULL));
    REFUSED(clq_device_remeasure_limits(NULL));
    REFUSED(clq_buffer_create(NULL, 4, &buffer));
    REFUSED(clq_buffer_create(device, 4, NULL));
    FAILS(clq_buffer_create(device, 0, &buffer));
    assert_ok(clq_buffer_create(device, 64, &buffer));
    REFUSED(clq_buffer_view(NULL, 0, 4, &view));
    REFUSED(clq_buffer_view(buffer, 0, 4, NULL));
    clq_buffer_release(NULL);
    assert_int_equal(clq_buffer_size(NULL), 0);
    assert_false(clq_buffer_same(NULL, buffer));
    assert_false(clq_buffer_same(buffer, NULL));
    REFUSED(clq_buffer_write(NULL, 0, 1, &byte));
    REFUSED_FOR("data must not be NULL", clq_buffer_write(buffer, 0, 1, NULL));
    REFUSED(clq_buffer_read(NULL, 0, 1, &byte));
    REFUSED(clq_buffer_read(buffer, 0, 1, NULL));
    REFUSED(clq_buffer_fill(NULL, 0, 4, 0));
    REFUSED_FOR("from must not be NULL", clq_buffer_copy(buffer, 0, NULL, 0, 4));
    REFUSED(clq_buffer_copy(NULL, 0, buffer, 0, 4));
    REFUSED(clq_scratch_reserve(NULL, 4));
    REFUSED(clq_scratch_take(NULL, 4, &view));
    REFUSED(clq_scratch_take(device, 4, NULL));
    assert_int_equal(clq_scratch_size(NULL), 0);
    clq_device_memory(NULL, &bytes, &bytes);
    clq_device_memory(device, NULL, NULL);
    REFUSED(clq_transfer_read(NULL, 1, &byte, &transfer));
    REFUSED(clq_transfer_read(buffer, 1, NULL, &transfer));
    REFUSED(clq_transfer_write(buffer, 1, &byte, NULL));
    REFUSED(clq_transfer_done(NULL, &done));
    REFUSED(clq_transfer_join(NULL));
    assert_ok(clq_transfer_done(&transfer, &done)); /* none is under way */
    assert_ok(clq_transfer_join(&transfer));
    REFUSED(clq_kernel_get(NULL, "fill", NULL, &kernel));
    REFUSED(clq_kernel_get(device, NULL, NULL, &kernel));
    REFUSED(clq_kernel_get(device, "fill", NULL, NULL));
    REFUSED(clq_launch(device, NULL, (clq_range){0}, NULL, 0));
    REFUSED(clq_launch(NULL, NULL, CLQ_RANGE1(1), NULL, 0));
    REFUSED(clq_device_finish(NULL));
    REFUSED(clq_gemm_f32(device, 1, 1, 1, buffer, NULL, false, buffer));
    REFUSED(clq_device_profile(NULL, true));
    clq_device_set_label(NULL, "x");
    clq_device_set_label(device, NULL);
    clq_device_set_work(NULL, 1);
    REFUSED(clq_device_profile_entries(device, NULL, &count));
    REFUSED(clq_device_profile_entries(NULL, &entries, &count));
    clq_buffer_release(buffer);
}

static void graphs(void **state) {
    (void)state;
    clq_graph empty = {0}, *made = NULL, *other = NULL;
    const clq_shape shape = {0};
    clq_qparams q = {0};
    char text[8] = "";
    int value;
    assert_int_equal(clq_dtype_size((clq_dtype)9), 0);
    assert_int_equal(clq_shape_count(NULL), 0);
    assert_false(clq_shape_equal(NULL, &shape));
    clq_shape_text(NULL, text, sizeof text);
    clq_shape_text(&shape, NULL, 3);
    REFUSED(clq_graph_create("x", NULL));
    assert_ok(clq_graph_create(NULL, &made));
    clq_graph_destroy(NULL);
    REFUSED(clq_graph_clone(NULL, &other));
    REFUSED(clq_graph_clone(made, NULL));
    REFUSED(clq_graph_add_input(NULL, "x", shape, &value));
    REFUSED(clq_graph_add_input(made, NULL, shape, &value));
    FAILS(clq_graph_add_input(made, "x", shape, &value));
    REFUSED(clq_graph_add_parameter(made, NULL, CLQ_VALUE_STATE, CLQ_F32, shape, NULL, &value));
    FAILS(clq_graph_add_parameter(made, "x", CLQ_VALUE_STATE, CLQ_F32, shape, NULL, &value));
    REFUSED(clq_graph_add_node(made, NULL, "x", NULL, NULL, 0, &value));
    REFUSED_FOR("inputs must not be NULL",
                clq_graph_add_node(made, "add", "x", NULL, NULL, 2, &value));
    clq_graph_set_output(NULL, 0);
    REFUSED(clq_graph_add_output(NULL, "y", 0));
    assert_int_equal(clq_graph_input(NULL), CLQ_NO_VALUE);
    assert_int_equal(clq_graph_output(NULL), CLQ_NO_VALUE);
    assert_null(clq_graph_input_name(NULL, 0));
    assert_null(clq_graph_output_name(NULL, 0));
    REFUSED(clq_graph_check_single(NULL, "x"));
    REFUSED(clq_graph_check_one_input(made, NULL));
    assert_int_equal(clq_graph_find_value(NULL, "x"), -1);
    assert_int_equal(clq_graph_find_value(made, NULL), -1);
    assert_int_equal(clq_graph_find_node(NULL, "x"), -1);
    assert_int_equal(clq_graph_use_count(NULL, 0), 0);
    REFUSED(clq_graph_set_metadata(made, "x", NULL));
    REFUSED(clq_graph_set_metadata(NULL, "x", "y"));
    assert_null(clq_graph_get_metadata(NULL, "x"));
    assert_null(clq_graph_get_metadata(made, NULL));
    REFUSED(clq_qparams_set(NULL, 0, NULL, 0, CLQ_Q_U8));
    REFUSED(clq_qparams_set(&q, 3, NULL, 0, CLQ_Q_U8));
    clq_qparams_clear(NULL);
    REFUSED(clq_graph_validate(NULL));
    FAILS(clq_graph_validate(&empty));
    assert_int_equal(clq_graph_form(NULL), CLQ_FORM_FLOAT);
    assert_int_equal(clq_graph_measure(NULL).bytes, 0);
    assert_int_equal(clq_graph_measure(&empty).bytes, 0);
    REFUSED(clq_graph_fold(NULL, &other));
    REFUSED_FOR("has no input", clq_graph_fold(&empty, &other));
    REFUSED_FOR("has no input", clq_graph_fold(made, &other));
    REFUSED(clq_graph_resize(NULL, 1, 1, &other));
    REFUSED(clq_graph_equalize(NULL, NULL, NULL, &other));
    REFUSED(clq_graph_equalize(&empty, NULL, NULL, &other));
    REFUSED(clq_graph_resize(&empty, 1, 1, &other));
    assert_null(clq_network_list(1000));
    REFUSED(clq_network_build(NULL, &other));
    FAILS(clq_network_build(&(clq_network_options){0}, &other)); /* no network */
    REFUSED(clq_network_build(&(clq_network_options){.network = "mlp"}, NULL));
    assert_null(clq_op_find(NULL));
    assert_null(clq_op_list(NULL));
    assert_null(other);
    clq_graph_destroy(made);
}

static void executors(void **state) {
    (void)state;
    clq_graph empty = {0};
    clq_params *params = NULL;
    clq_exec *exec = NULL;
    const clq_exec_options one = {.batch = 1};
    REFUSED(clq_params_create(NULL, graph, false, &params));
    REFUSED(clq_params_create(device, NULL, false, &params));
    REFUSED(clq_params_create(device, graph, false, NULL));
    const clq_params_extras extras = {0};
    REFUSED(clq_params_create_extra(NULL, graph, &extras, &params));
    REFUSED(clq_params_create_extra(device, NULL, &extras, &params));
    REFUSED(clq_params_create_extra(device, graph, NULL, &params));
    REFUSED(clq_params_create_extra(device, graph, &extras, NULL));
    assert_null(clq_params_extra(NULL));
    assert_null(clq_params_extra_gradient(NULL));
    assert_int_equal(clq_params_get_extras(NULL).count, 0);
    clq_params_destroy(NULL);
    REFUSED(clq_params_upload(NULL));
    REFUSED(clq_params_download(NULL));
    assert_null(clq_params_flat(NULL));
    assert_null(clq_params_flat_gradient(NULL));
    assert_null(clq_params_flat_states(NULL));
    assert_int_equal(clq_params_count(NULL), 0);
    assert_null(clq_params_value(NULL, 0));
    assert_null(clq_params_gradient(NULL, 0));
    assert_int_equal(clq_params_offset(NULL, 0), 0);
    assert_ok(clq_params_create(device, graph, false, &params));
    assert_null(clq_params_extra(params));
    assert_null(clq_params_value(params, 1000));
    assert_int_equal(clq_params_offset(params, -1), 0);
    clq_params_destroy(params);
    REFUSED(clq_exec_create(NULL, graph, &one, &exec));
    REFUSED(clq_exec_create(device, NULL, &one, &exec));
    REFUSED(clq_exec_create(device, graph, NULL, &exec));
    REFUSED(clq_exec_create(device, graph, &one, NULL));
    REFUSED_FOR("has no input", clq_exec_create(device, &empty, &one, &exec));
    FAILS(clq_exec_create(device, graph, &(clq_exec_options){0}, &exec));
    FAILS(clq_exec_create(device, graph, &(clq_exec_options){.mode = (clq_exec_mode)9, .batch = 1},
                          &exec));
    clq_exec_destroy(NULL);
    assert_null(clq_exec_input(NULL));
    assert_null(clq_exec_output(NULL));
    assert_null(clq_exec_input_at(NULL, 0));
    assert_null(clq_exec_output_at(NULL, 0));
    assert_null(clq_exec_graph(NULL));
    assert_null(clq_exec_output_gradient(NULL));
    assert_null(clq_exec_value(NULL, 0));
    REFUSED(clq_exec_load_parameters(NULL));
    REFUSED(clq_exec_forward(NULL));
    REFUSED(clq_exec_backward(NULL));
    clq_exec_set_step(NULL, 1);
    assert_null(clq_exec_get_options(NULL));
    clq_exec_set_hook(NULL, NULL, NULL);
    clq_exec_set_backward_hook(NULL, NULL, NULL);
    assert_int_equal(clq_exec_measure(NULL).activations, 0);
    assert_ok(clq_exec_create(device, graph, &one, &exec));
    FAILS(clq_exec_backward(exec)); /* it does not train */
    clq_exec_destroy(exec);
}

static void files(void **state) {
    (void)state;
    clq_graph empty = {0}, *made = NULL;
    clq_tensors *tensors = NULL;
    const clq_file_tensor none = {0};
    float x[1];
    REFUSED(clq_onnx_load(NULL, &made));
    REFUSED(clq_onnx_load("x", NULL));
    REFUSED(clq_onnx_load_memory(NULL, 5, "x", &made));
    REFUSED(clq_onnx_load_memory("x", 1, NULL, &made));
    FAILS(clq_onnx_load_memory(NULL, 0, "x", &made));
    REFUSED(clq_onnx_save(NULL, "x"));
    REFUSED(clq_onnx_save(graph, NULL));
    REFUSED_FOR("has no input", clq_onnx_save(&empty, "x"));
    assert_int_equal(clq_file_dtype_size((clq_file_dtype)99), 0);
    assert_string_equal(clq_file_dtype_name((clq_file_dtype)99), "?");
    REFUSED(clq_tensors_create(NULL));
    assert_ok(clq_tensors_create(&tensors));
    clq_tensors_destroy(NULL);
    REFUSED(clq_tensors_load(NULL, &tensors));
    REFUSED(clq_tensors_load_memory(NULL, 9, "x", &tensors));
    FAILS(clq_tensors_load_memory(NULL, 0, "x", &tensors));
    REFUSED(clq_tensors_save(NULL, "x"));
    REFUSED(clq_tensors_save(tensors, NULL));
    REFUSED_FOR("dim must not be NULL", clq_tensors_add(tensors, "x", CLQ_FILE_F32, 1, NULL, x));
    REFUSED(clq_tensors_add(NULL, "x", CLQ_FILE_F32, 0, NULL, x));
    FAILS(clq_tensors_add(tensors, "x", CLQ_FILE_F32, 0, NULL, NULL));
    assert_error_has("data must not be NULL");
    FAILS(clq_tensors_lend(tensors, "x", CLQ_FILE_F32, 0, NULL, NULL));
    REFUSED(clq_tensors_lend(tensors, NULL, CLQ_FILE_F32, 0, NULL, x));
    assert_int_equal(clq_tensors_count(NULL), 0);
    assert_int_equal(clq_tensors_count(tensors), 0);
    assert_null(clq_tensors_at(tensors, 0));
    assert_null(clq_tensors_at(NULL, 0));
    assert_null(clq_tensors_find(tensors, NULL));
    REFUSED(clq_tensors_set_metadata(tensors, NULL, "x"));
    assert_null(clq_tensors_get_metadata(tensors, NULL));
    REFUSED(clq_file_tensor_to_f32(NULL, x));
    REFUSED(clq_file_tensor_to_f32(&none, NULL));
    REFUSED(clq_weights_load(NULL, "x"));
    REFUSED(clq_weights_load(graph, NULL));
    REFUSED(clq_weights_load_new_head(NULL, "x"));
    REFUSED(clq_weights_load_tensors(graph, NULL, "x"));
    REFUSED(clq_weights_save(graph, NULL));
    REFUSED(clq_weights_save(NULL, "x"));
    assert_null(made);
    clq_tensors_destroy(tensors);
}

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

static int open_all(void **state) {
    (void)state;
    return clq_test_open(NULL, &device) == CLQ_OK &&
                   clq_dataset_open(SMOOTH, NULL, &table) == CLQ_OK &&
                   clq_network_build(
                       &(clq_network_options){.network = "mlp", .inputs = 3, .classes = 1},
                       &graph) == CLQ_OK
               ? 0
               : -1;
}

static int close_all(void **state) {
    (void)state;
    clq_graph_destroy(graph);
    clq_dataset_close(table);
    clq_device_close(device);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base),           cmocka_unit_test(data),
        cmocka_unit_test(devices),        cmocka_unit_test(graphs),
        cmocka_unit_test(executors),      cmocka_unit_test(files),
        cmocka_unit_test(preprocessings), cmocka_unit_test(training),
        cmocka_unit_test(quantization),   cmocka_unit_test(measuring),
    };
    return cmocka_run_group_tests_name("cli/arguments", tests, open_all, close_all);
}
