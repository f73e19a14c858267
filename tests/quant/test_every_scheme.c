/* Small networks of all operators under every scheme: what is executed is what was simulated. */
#include "quant/network_words.h"

/* No code of the integer network read from a file differs from the simulation's, nor any output on
 * another dot path (all of them in an exhaustive test). */
static void verify_from_file(const clq_graph *quantized, const clq_quant_config *config) {
    clq_graph *integer = NULL;
    clq_verification v;
    assert_ok(clq_convert(quantized, &integer));
    clq_graph *loaded = through_file(integer);
    assert_int_equal(clq_graph_requantizer(loaded), config->requantizer);
    clq_dataset *data = net_data(CLQ_SPLIT_TEST, SIZE, IMAGES);
    assert_ok(net_verify(test_device, loaded, data, BATCH, &v));
    if (v.mismatched_codes > 0) {
        fail_msg("requantizer %s: %s", clq_requantizer_name(config->requantizer), v.first_mismatch);
    }
    assert_true(v.compared_codes > 1000);
    for (int i = 1; i < v.path_count; i++) {
        assert_string_equal(v.paths[i].sha256, v.paths[0].sha256);
    }
    clq_verification_clear(&v);
    clq_dataset_close(data);
    clq_graph_destroy(loaded);
    clq_graph_destroy(integer);
}

/* Additions, fused and not, averages over 4, 6, 8 and 64 codes, curves, and linear layers. */
static const char *const scheme_words[] = {"cr(wrw+raB6(w+pflrl", "B(w+tacsmpvL"};

static void check_scheme(int scheme, const clq_quant_config *config, bool train) {
    clq_graph *graph = network(scheme_words[scheme % 2]);
    clq_graph *quantized = calibrated(graph, config);
    verify_from_file(quantized, config);
    if (train) {
        train_once(quantized, config);
        verify_from_file(quantized, config);
    }
    clq_graph_destroy(quantized);
    clq_graph_destroy(graph);
}

/* Every requantizer with every kind of scale, zero point and granularity that it takes. */
static void test_schemes(void **state) {
    (void)state;
    for (int scheme = 0; scheme < 8 * CLQ_REQUANT_COUNT; scheme++) {
        clq_quant_config config;
        clq_quant_config_init(&config);
        config.images = IMAGES;
        config.requantizer = (clq_requantizer)(scheme / 8);
        config.scale = scheme & 1 ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.symmetric_activations = scheme & 2;
        config.per_tensor_weights = scheme & 4;
        if (config.requantizer == CLQ_REQUANT_SHIFT && config.scale != CLQ_SCALE_POW2) {
            assert_status(clq_quant_config_check(&config), CLQ_USAGE);
            assert_error_has("powers of two");
            continue;
        }
        check_scheme(scheme / 2, &config, scheme % 8 == 1);
        check_scheme(scheme / 2 + 1, &config, scheme % 8 == 3);
    }
}

/* Sums that floats may not hold are made in int32, and requantized from there. */
static void test_schemes_beyond_float(void **state) {
    (void)state;
    for (int r = CLQ_REQUANT_FIXED; r < CLQ_REQUANT_COUNT; r++) {
        clq_quant_config config;
        clq_graph *graph = net_unprovable(), *folded = NULL, *integer = NULL;
        clq_quant_config_init(&config);
        config.images = IMAGES;
        config.requantizer = (clq_requantizer)r;
        config.scale = r == CLQ_REQUANT_SHIFT ? CLQ_SCALE_POW2 : CLQ_SCALE_FLOAT;
        config.max_shift = 12;
        assert_ok(clq_graph_fold(graph, &folded));
        net_calibrate(test_device, folded, &config, IMAGES, BATCH);
        assert_ok(clq_convert(folded, &integer));
        clq_dataset *data = net_data(CLQ_SPLIT_TEST, 24, IMAGES);
        clq_verification v;
        assert_ok(net_verify(test_device, integer, data, BATCH, &v));
        assert_int_equal(v.mismatched_codes, 0);
        assert_false(v.layers[0].float_exact && v.layers[1].float_exact);
        clq_verification_clear(&v);
        clq_dataset_close(data);
        clq_graph_destroy(integer);
        clq_graph_destroy(folded);
        clq_graph_destroy(graph);
    }
}

/* What a graph or a file says of its requantizer is checked. */
static void test_requantizer_is_checked(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("requantizer.onnx");
    clq_graph *graph = quantized_network("crpfl"), *loaded = NULL;
    assert_int_equal(clq_graph_requantizer(graph), CLQ_REQUANT_FLOAT);
    assert_null(clq_graph_get_metadata(graph, CLQ_META_REQUANTIZER));
    assert_ok(clq_graph_set_requantizer(graph, CLQ_REQUANT_SHIFT));
    assert_status(clq_onnx_save(graph, path), CLQ_BAD_DATA);
    assert_error_has("needs powers of two");
    assert_status(clq_convert(graph, &loaded), CLQ_BAD_DATA);
    assert_status(clq_graph_set_requantizer(graph, CLQ_REQUANT_COUNT), CLQ_USAGE);
    assert_ok(clq_graph_set_requantizer(graph, CLQ_REQUANT_FIXED));
    assert_ok(clq_onnx_save(graph, path));
    clq_graph_destroy(graph);

    char bytes[1 << 16];
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    char *word = NULL;
    for (size_t i = 0; i + 5 <= size && !word; i++) {
        word = memcmp(bytes + i, "fixed", 5) == 0 ? bytes + i : NULL;
    }
    assert_non_null(word);
    memcpy(word, "mixed", 5);
    rewind(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    assert_status(clq_onnx_load(path, &loaded), CLQ_BAD_DATA);
    assert_error_has("\"mixed\": must be float, fixed or shift");
}
int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schemes),
        cmocka_unit_test(test_schemes_beyond_float),
        cmocka_unit_test(test_requantizer_is_checked),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
