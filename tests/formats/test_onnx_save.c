/* Graphs in every form through an ONNX file and back. */
#include <clquant/formats.h>
#include <clquant/passes.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "formats/onnx/save.h"
#include "formats/ref_forward.h"
#include "formats/sample_graphs.h"
#include "onnx.pb-c.h"

static clq_graph *round_trip(const clq_graph *graph, const char *name) {
    clq_graph *loaded = NULL;
    assert_ok(clq_onnx_save(graph, clq_test_temp_path(name)));
    assert_ok(clq_onnx_load(clq_test_temp_path(name), &loaded));
    return loaded;
}

static void assert_same_files(const char *a, const char *b) {
    void *x, *y;
    size_t x_size, y_size;
    assert_ok(clq_file_read(clq_test_temp_path(a), 1 << 30, &x, &x_size));
    assert_ok(clq_file_read(clq_test_temp_path(b), 1 << 30, &y, &y_size));
    assert_int_equal(x_size, y_size);
    assert_memory_equal(x, y, x_size);
    clq_free(x);
    clq_free(y);
}

/* The graph comes back the same, and saving it again gives the same bytes. */
static void check(clq_graph *graph) {
    clq_graph *loaded = round_trip(graph, "a.onnx");
    assert_same_graph(graph, loaded);
    assert_ok(clq_onnx_save(loaded, clq_test_temp_path("b.onnx")));
    assert_same_files("a.onnx", "b.onnx");
    clq_graph_destroy(loaded);
    clq_graph_destroy(graph);
}

/* Version and quantization travel; the version is that of the last writer. */
static void files_say_who_wrote_them(void **state) {
    (void)state;
    clq_graph *graph = sample_trained(true);
    assert_ok(clq_graph_set_metadata(graph, "clquant.version", "0.0.0"));
    assert_ok(clq_graph_set_metadata(graph, "clquant.quantization", "{\"method\": \"ptq\"}"));
    clq_graph *loaded = round_trip(graph, "who.onnx");
    assert_null(clq_graph_get_metadata(loaded, "clquant.version"));
    assert_memory_equal(loaded->producer, "clquant ", 8);
    assert_string_equal(loaded->producer + 8, clq_version());
    assert_string_equal(clq_graph_get_metadata(loaded, "clquant.quantization"),
                        "{\"method\": \"ptq\"}");
    void *bytes = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(clq_test_temp_path("who.onnx"), 1 << 30, &bytes, &size));
    Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
    assert_non_null(model);
    assert_string_equal(model->producer_name, "clquant");
    assert_string_equal(model->producer_version, clq_version());
    int found = 0;
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        if (strcmp(model->metadata_props[i]->key, "clquant.version") == 0) {
            assert_string_equal(model->metadata_props[i]->value, clq_version());
            found++;
        }
    }
    assert_int_equal(found, 1);
    onnx__model_proto__free_unpacked(model, NULL);
    clq_free(bytes);
    clq_graph_destroy(loaded);
    clq_graph_destroy(graph);
}

static void trained_form(void **state) {
    (void)state;
    check(sample_trained(false));
    check(sample_trained(true));
}

static void folded_form(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        check(sample_folded(i & 1, i & 2));
    }
}

static void folded_from_trained(void **state) {
    (void)state;
    for (int pooled = 0; pooled < 2; pooled++) {
        clq_graph *trained = sample_trained(pooled), *folded = NULL;
        assert_ok(clq_graph_fold(trained, &folded));
        clq_graph_destroy(trained);
        check(folded);
    }
}

static void integer_form(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        check(sample_quantize(sample_folded(i & 1, i & 2), i & 4, true));
    }
}

static void quantized_form(void **state) {
    (void)state;
    check(sample_quantize(sample_folded(true, true), false, false));
    check(sample_quantize(sample_folded(false, false), true, false));
}

/* Types come back as they were: ONNX's INT4, of two codes a byte, or by the metadata. */
static void weights_of_few_bits(void **state) {
    (void)state;
    for (int type = CLQ_Q_S7; type <= CLQ_Q_S2; type++) {
        for (int i = 0; i < 4; i++) {
            check(sample_quantize_as(sample_folded(i & 1, i & 1), (clq_qtype)type, i & 2, true));
        }
        check(sample_quantize_as(sample_folded(true, true), (clq_qtype)type, false, false));
    }
}

/* Only a file with INT4 needs opset 21, and its weights take half the bytes. */
static void opsets(void **state) {
    (void)state;
    size_t sizes[2];
    for (int four = 0; four < 2; four++) {
        void *bytes = NULL;
        clq_graph *graph =
            sample_quantize_as(sample_folded(true, true), four ? CLQ_Q_S4 : CLQ_Q_S8, false, true);
        const char *path = clq_test_temp_path("opset.onnx");
        assert_ok(clq_onnx_save(graph, path));
        assert_ok(clq_file_read(path, 1 << 30, &bytes, &sizes[four]));
        Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, sizes[four], bytes);
        assert_non_null(model);
        assert_int_equal(model->opset_import[0]->version, four ? 21 : 13);
        assert_int_equal(model->ir_version, four ? 10 : 8);
        int64_t weights = 0;
        for (size_t i = 0; i < model->graph->n_initializer; i++) {
            const Onnx__TensorProto *tensor = model->graph->initializer[i];
            int64_t count = 1;
            for (size_t d = 0; d < tensor->n_dims; d++) {
                count *= tensor->dims[d];
            }
            if (tensor->data_type == 22) {
                assert_int_equal(tensor->raw_data.len, (count + 1) / 2);
                weights += tensor->n_dims > 1;
            }
        }
        assert_true((weights > 1) == four);
        onnx__model_proto__free_unpacked(model, NULL);
        clq_free(bytes);
        clq_graph_destroy(graph);
    }
}

static void quantized_output(void **state) {
    (void)state;
    float scale = 0.125f;
    clq_graph *graph = sample_quantize(sample_folded(true, false), false, true);
    assert_ok(clq_qparams_set(&graph->values[clq_graph_output(graph)].q, 1, &scale, 99, CLQ_Q_U8));
    check(graph);
}

static void vector_input(void **state) {
    (void)state;
    sample s = sample_start("mlp", (clq_shape){2, {1, 12}});
    sample_linear(&s, "fc1", 7, true);
    sample_add(&s, "tanh", "act", NULL, NULL, 0);
    sample_linear(&s, "fc2", 3, true);
    clq_graph *graph = sample_finish(&s);
    check(graph);
}

/* An image as the output, and names that collide with the file's own. */
static void odd_names(void **state) {
    (void)state;
    sample s = sample_start("", (clq_shape){4, {1, 5, 5, 2}});
    clq_conv2d_attrs conv = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};
    sample_conv(&s, "logits", 3, true, conv);
    sample_conv(&s, "logits_2", 3, false, conv);
    sample_conv(
        &s, "logits/Conv", 3, false,
        (clq_conv2d_attrs){.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1});
    clq_graph *graph = sample_finish(&s);
    clq_graph *loaded = round_trip(graph, "a.onnx");
    assert_int_equal(loaded->node_count, 3);
    float image[50], a[3], b[3];
    clq_test_fill_f32(image, 50, -1, 1, 900);
    ref_forward(graph, image, a);
    ref_forward(loaded, image, b);
    assert_memory_equal(a, b, sizeof a);
    clq_graph_destroy(loaded);
    clq_graph_destroy(graph);
}

/* Whatever fails while writing or reading: an error, nothing leaked, no file left. */
static void failures(void **state) {
    (void)state;
    clq_graph *graph = sample_quantize_as(sample_folded(false, true), CLQ_Q_S4, false, true);
    clq_value *layer = &graph->values[graph->nodes[0].inputs[1]];
    int8_t *codes = NULL; /* and one of another type */
    assert_ok(clq_value_codes(layer, &codes));
    const int8_t *borrowed = NULL;
    int8_t *own = NULL;
    assert_ok(clq_value_borrow_codes(layer, &borrowed, &own)); /* two a byte: a copy */
    assert_ptr_equal(borrowed, own);
    assert_memory_equal(borrowed, codes, (size_t)clq_shape_count(&layer->shape));
    clq_free(own);
    assert_ok(clq_value_set_codes(layer, CLQ_S8, codes));
    assert_ok(clq_value_borrow_codes(layer, &borrowed, &own));
    assert_null(own);
    assert_ptr_equal(borrowed, layer->data);
    layer->q.type = CLQ_Q_S5;
    const char *path = clq_test_temp_path("failing.onnx");
    bool done = false;
    for (long nth = 1; !done; nth++) {
        clq_test_fail_allocation(nth);
        clq_status status = clq_onnx_save(graph, path);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        done = status == CLQ_OK;
        assert_true(done || status == CLQ_NO_MEMORY);
        assert_int_equal(clq_file_exists(path), done);
    }
    done = false;
    for (long nth = 1; !done; nth++) {
        clq_graph *loaded = NULL;
        clq_test_fail_allocation(nth);
        clq_status status = clq_onnx_load(path, &loaded);
        clq_graph_destroy(loaded);
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        done = status == CLQ_OK;
        assert_true(done || status == CLQ_NO_MEMORY);
    }
    clq_graph_destroy(graph);
}

static void missing_folder(void **state) {
    (void)state;
    clq_graph *graph = sample_folded(true, false), *loaded;
    assert_status(clq_onnx_save(graph, clq_test_temp_path("no/such/x.onnx")), CLQ_CANNOT_CREATE);
    assert_status(clq_onnx_load(clq_test_temp_path("missing.onnx"), &loaded), CLQ_NO_INPUT);
    clq_graph_destroy(graph);
}

/* The bytes of one network, checked to be those of another in which something differs. */
static void files_are_checked(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("checked.onnx");
    static const char *const expected[] = {
        NULL, "\"conv1\" makes other codes", "\"layer1.0.conv1\" has other parameters",
        "\"layer1.0.conv2\" has other parameters", "\"conv1\" is another operator"};
    for (int i = 0; i < 5; i++) {
        clq_graph *graph = sample_quantize(sample_folded(true, false), false, true);
        void *bytes;
        size_t size;
        assert_ok(clq_onnx_save(graph, path));
        assert_ok(clq_file_read(path, SIZE_MAX, &bytes, &size));
        clq_value *weights = &graph->values[graph->nodes[2].inputs[1]];
        clq_value *bias = &graph->values[graph->nodes[3].inputs[2]];
        if (i == 1) {
            graph->values[graph->nodes[0].output].q.scale[0] *= 2;
        } else if (i == 2) {
            ((int8_t *)weights->data)[5] ^= 1;
        } else if (i == 3) {
            bias->q.scale[0] *= 2;
        } else if (i == 4) {
            graph->nodes[0].op = clq_op_find("conv_transpose");
        }
        assert_status(onnx_check_saved(graph, bytes, size, path), i ? CLQ_INTERNAL : CLQ_OK);
        if (i) {
            assert_error_has(expected[i]);
            assert_error_has("nothing was written");
        }
        clq_free(bytes);
        clq_graph_destroy(graph);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_say_who_wrote_them),
        cmocka_unit_test(trained_form),
        cmocka_unit_test(folded_form),
        cmocka_unit_test(integer_form),
        cmocka_unit_test(quantized_form),
        cmocka_unit_test(weights_of_few_bits),
        cmocka_unit_test(opsets),
        cmocka_unit_test(vector_input),
        cmocka_unit_test(quantized_output),
        cmocka_unit_test(odd_names),
        cmocka_unit_test(folded_from_trained),
        cmocka_unit_test(missing_folder),
        cmocka_unit_test(files_are_checked),
        cmocka_unit_test(failures),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
