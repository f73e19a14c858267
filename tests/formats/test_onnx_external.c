/* External data: what PyTorch's exporter writes is read; what leads astray is refused. */
#include "formats/onnx_make.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"

enum { COUNT = 4 * 3 * 3 * 3, BYTES = COUNT * 4 };

static float weights[COUNT];

/* A convolution of 4 channels whose weights are in `location`; NULL: the key is left out. */
static make_model *start(const char *location, const char *offset, const char *length) {
    make_model *m = make_start();
    Onnx__TensorProto *w = make_tensor(m, "conv1.weight", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                                       DIMS(4, 3, 3, 3), "", 0);
    w->has_raw_data = false;
    const char *const keys[3] = {"location", "offset", "length"};
    const char *const values[3] = {location, offset, length};
    for (int i = 0; i < 3; i++) {
        if (values[i]) {
            make_external(m, w, keys[i], values[i]);
        }
    }
    w->has_data_location = true;
    w->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    make_node(m, "Conv", "x,conv1.weight", "y");
    return m;
}

/* Saves and frees the model, and loads it. */
static clq_status load(make_model *m, clq_graph **graph) {
    size_t size;
    const char *path = clq_test_temp_path("folder/m.onnx");
    uint8_t *bytes = make_bytes(m, &size);
    assert_ok(clq_file_write_atomic(path, bytes, size));
    make_free(m);
    *graph = NULL;
    return clq_onnx_load(path, graph);
}

static void check_loads(make_model *m) {
    clq_graph *graph;
    assert_ok(load(m, &graph));
    const clq_value *w = &graph->values[clq_graph_find_value(graph, "conv1.weight")];
    for (int o = 0; o < 4; o++) {
        for (int c = 0; c < 3; c++) {
            for (int p = 0; p < 9; p++) {
                assert_true(((const float *)w->data)[(o * 9 + p) * 3 + c] ==
                            weights[(o * 3 + c) * 9 + p]);
            }
        }
    }
    clq_graph_destroy(graph);
}

static void check_refused(make_model *m, clq_status status, const char *error) {
    clq_graph *graph;
    assert_status(load(m, &graph), status);
    assert_null(graph);
    assert_error_has("folder/m.onnx: tensor \"conv1.weight\": ");
    assert_error_has(error);
}

/* folder/w.data: 7 bytes, the weights, 5 bytes; outside of the folder the weights. */
static int setup(void **state) {
    clq_test_setup_temp_dir(state);
    uint8_t bytes[7 + BYTES + 5] = {0};
    clq_test_fill_f32(weights, COUNT, -1, 1, 5);
    memcpy(bytes + 7, weights, BYTES);
    assert_ok(clq_make_dirs(clq_test_temp_path("folder/sub")));
    assert_ok(clq_file_write_atomic(clq_test_temp_path("folder/w.data"), bytes, sizeof bytes));
    assert_ok(clq_file_write_atomic(clq_test_temp_path("folder/sub/w"), weights, BYTES));
    assert_ok(clq_file_write_atomic(clq_test_temp_path("outside"), weights, BYTES));
    assert_int_equal(symlink("../outside", clq_test_temp_path("folder/out")), 0);
    assert_int_equal(symlink("sub/w", clq_test_temp_path("folder/in")), 0);
    assert_int_equal(mkfifo(clq_test_temp_path("folder/fifo"), 0600), 0);
    return 0;
}

static void reads(void **state) {
    (void)state;
    check_loads(start("w.data", "7", "432"));
    check_loads(start("w.data", "7", NULL)); /* what the tensor needs */
    check_loads(start("sub/w", NULL, NULL));
    check_loads(start("sub/w", "0", "432"));
    check_loads(start("in", NULL, NULL));

    make_model *m = start("w.data", "7", "432"); /* keys of no meaning here */
    make_external(m, m->tensors[0], "checksum", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check_loads(m);

    m = start("outside", NULL, NULL); /* what nobody reads need not be there */
    m->nodes[0]->input[1] = make_text(m, "own");
    make_tensor(m, "own", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(4, 3, 3, 3), weights, BYTES);
    clq_graph *graph;
    assert_ok(load(m, &graph));
    clq_graph_destroy(graph);
}

/* 16-bit weights, a Constant's value, and more than one file. */
static void other_tensors(void **state) {
    (void)state;
    static const uint16_t halves[4] = {0x3c00, 0xc000, 0x3800, 0x0000}; /* 1, -2, 0.5, 0 */
    clq_graph *graph;
    assert_ok(clq_file_write_atomic(clq_test_temp_path("folder/b.data"), halves, sizeof halves));
    make_model *m = start("sub/w", NULL, NULL);
    Onnx__TensorProto *bias =
        make_tensor(m, "b", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, DIMS(4), "", 0);
    bias->has_raw_data = false;
    make_external(m, bias, "location", "b.data");
    m->graph.n_node = m->graph.n_initializer = 0;
    m->graph.n_initializer = 1;
    make_node(m, "Constant", "", "b");
    make_attribute(m, "value", ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = bias;
    make_node(m, "Conv", "x,conv1.weight,b", "y");
    assert_ok(load(m, &graph));
    const float *b = graph->values[graph->nodes[0].inputs[2]].data;
    assert_true(b[0] == 1 && b[1] == -2 && b[2] == 0.5f && b[3] == 0);
    clq_graph_destroy(graph);
}

static void refused_places(void **state) {
    (void)state;
    check_refused(start("", NULL, NULL), CLQ_BAD_DATA, "has no name");
    check_refused(start(NULL, "0", NULL), CLQ_BAD_DATA, "the location is missing");
    check_refused(start("/etc/passwd", NULL, NULL), CLQ_BAD_DATA,
                  "data file \"/etc/passwd\": must not be an absolute path");
    check_refused(start("../outside", NULL, NULL), CLQ_BAD_DATA,
                  "data file \"../outside\": must not have \"..\"");
    check_refused(start("sub/../../outside", NULL, NULL), CLQ_BAD_DATA, "must not have \"..\"");
    check_refused(start("out", NULL, NULL), CLQ_BAD_DATA, "a symbolic link leads out");
    check_refused(start("fifo", NULL, NULL), CLQ_BAD_DATA, "is no regular file");
    check_refused(start("sub", NULL, NULL), CLQ_BAD_DATA, "is no regular file");
    check_refused(start("none.data", NULL, NULL), CLQ_NO_INPUT,
                  "data file \"none.data\", which belongs beside the model: cannot open");
}

static void refused_ranges(void **state) {
    (void)state;
    check_refused(start("w.data", "13", NULL), CLQ_BAD_DATA,
                  "432 bytes from 13 on are needed, but it has 444");
    check_refused(start("w.data", "445", NULL), CLQ_BAD_DATA, "432 bytes from 445 on are needed");
    check_refused(start("w.data", "9223372036854775807", NULL), CLQ_BAD_DATA, "are needed");
    check_refused(start("w.data", "9223372036854775808", NULL), CLQ_BAD_DATA, "must be a number");
    check_refused(start("w.data", "18446744073709551616", NULL), CLQ_BAD_DATA, "must be a number");
    check_refused(start("w.data", "7", "431"), CLQ_BAD_DATA,
                  "length is 431, but type and shape make up 432 bytes");
    check_refused(start("w.data", "7", "0"), CLQ_BAD_DATA, "length is 0");
    static const char *const numbers[] = {"", "-1", "+7", " 7", "7 ", "0x7", "7.0", "seven"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        check_refused(start("w.data", numbers[i], NULL), CLQ_BAD_DATA, "offset is");
        check_refused(start("w.data", "7", numbers[i]), CLQ_BAD_DATA, "length is");
    }
    make_model *m = start("w.data", "7", "432");
    make_external(m, m->tensors[0], "offset", "0");
    check_refused(m, CLQ_BAD_DATA, "\"offset\" is there twice");

    m = start("w.data", "7", "432");
    for (int i = 0; i < 80; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        make_external(m, m->tensors[0], key, "");
    }
    check_refused(m, CLQ_BAD_DATA, "has 83 entries, must have up to 64");

    m = start("w.data", "7", "432");
    m->tensors[0]->has_raw_data = true;
    m->tensors[0]->raw_data = (ProtobufCBinaryData){BYTES, (uint8_t *)weights};
    check_refused(m, CLQ_BAD_DATA, "both in the model and in another file");

    m = start("w.data", "7", NULL);
    m->tensors[0]->dims[0] = INT64_C(1) << 40; /* claims what the file does not have */
    check_refused(m, CLQ_BAD_DATA, "are needed");
}

static void without_a_folder(void **state) {
    (void)state;
    make_refused(start("w.data", "7", "432"), "has no folder to find it in");
}

/* One megabyte of weights read hundreds of times: more than the files stand for. */
static void out_of_proportion(void **state) {
    (void)state;
    enum { TENSORS = 400 };
    clq_test_put_zeros(clq_test_temp_path("folder/big.data"), 1 << 20);
    assert_int_equal(
        link(clq_test_temp_path("folder/big.data"), clq_test_temp_path("folder/big2.data")), 0);
    make_model *m = make_start();
    static const int64_t dim[4] = {-1, 64, 1, 1};
    m->inputs[0] = make_info(m, "x", 4, dim);
    Onnx__TensorProto **tensors = make_array(m, TENSORS, sizeof *tensors);
    Onnx__NodeProto **nodes = make_array(m, TENSORS, sizeof *nodes);
    for (int i = 0; i < TENSORS; i++) {
        char name[16], in[16], out[16], inputs[40];
        snprintf(name, sizeof name, "w%d", i);
        snprintf(in, sizeof in, i ? "c%d" : "x", i - 1);
        snprintf(out, sizeof out, i == TENSORS - 1 ? "y" : "c%d", i);
        snprintf(inputs, sizeof inputs, "%s,%s", in, name);
        tensors[i] =
            make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, DIMS(64, 64, 8, 8), "", 0);
        tensors[i]->has_raw_data = false;
        make_external(m, tensors[i], "location", i % 2 ? "big.data" : "big2.data");
        nodes[i] = make_node(m, "Conv", inputs, out);
        m->graph.n_initializer = m->graph.n_node = 0;
    }
    m->graph.initializer = tensors;
    m->graph.node = nodes;
    m->graph.n_initializer = m->graph.n_node = TENSORS;
    clq_graph *graph;
    assert_status(load(m, &graph), CLQ_BAD_DATA);
    assert_error_has("out of proportion");
}

static void calls_that_fail(void **state) {
    (void)state;
    size_t size;
    make_model *m = start("sub/w", NULL, NULL);
    const char *path = clq_test_temp_path("folder/f.onnx");
    uint8_t *bytes = make_bytes(m, &size);
    assert_ok(clq_file_write_atomic(path, bytes, size));
    make_free(m);
    for (int files = 0; files < 2; files++) {
        for (int nth = 1;; nth++) {
            clq_graph *graph = NULL;
            clq_test_fail_allocation(files ? 0 : nth);
            clq_test_fail_file_op(files ? nth : 0, EIO);
            clq_status status = clq_onnx_load(path, &graph);
            const bool done = (files ? clq_test_file_ops() : clq_test_allocations()) < nth;
            assert_int_equal(clq_test_open_files(), 0);
            if (status == CLQ_OK) {
                clq_graph_destroy(graph);
            } else {
                assert_int_equal(status, files ? CLQ_IO : CLQ_NO_MEMORY);
            }
            assert_int_equal(clq_test_live_allocations(), 0);
            clq_test_restore_file_ops();
            clq_test_restore_allocator();
            if (done) {
                assert_int_equal(status, CLQ_OK);
                break;
            }
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads),
        cmocka_unit_test(other_tensors),
        cmocka_unit_test(refused_places),
        cmocka_unit_test(refused_ranges),
        cmocka_unit_test(without_a_folder),
        cmocka_unit_test(out_of_proportion),
        cmocka_unit_test(calls_that_fail),
    };
    return cmocka_run_group_tests(tests, setup, clq_test_teardown_temp_dir);
}
