/* Files that want to do harm: every one must be refused in time, without reading past its end. */
#include "formats/onnx_make.h"

#include "base/files.h"
#include "formats/sample_graphs.h"

/* ---- bytes by hand ---- */

typedef struct bytes {
    uint8_t data[1 << 17];
    size_t size;
} bytes;

static void put_varint(bytes *b, uint64_t value) {
    do {
        uint8_t byte = value & 127;
        value >>= 7;
        b->data[b->size++] = value ? byte | 128 : byte;
    } while (value);
}

static void put_key(bytes *b, unsigned number, unsigned type) {
    put_varint(b, (uint64_t)number << 3 | type);
}

static void refuse(const void *data, size_t size, const char *error) {
    clq_graph *graph = NULL;
    /* A copy of exactly this size, so that a sanitizer sees every byte read too far. */
    uint8_t *copy = calloc(size + (size == 0), 1);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    assert_status(clq_onnx_load_memory(copy, size, "hostile.onnx", &graph), CLQ_BAD_DATA);
    assert_null(graph);
    assert_error_has("hostile.onnx");
    assert_error_has(error);
    free(copy);
}

static void empty(void **state) {
    (void)state;
    refuse("", 0, "is empty");
    refuse("\x89PNG\r\n\x1a\n", 8, "is a PNG image");
    refuse("PK\3\4", 4, "is a zip archive");
}

/* Attributes that hold graphs that hold nodes that hold attributes ...: protobuf-c would recurse.
 */
static void nested(void **state) {
    (void)state;
    static const unsigned path[] = {1, 5, 6}; /* graph.node, node.attribute, attribute.g */
    bytes *inner = calloc(1, sizeof *inner), *outer = calloc(1, sizeof *outer);
    for (int depth = 0; inner->size < 100000; depth++) {
        outer->size = 0;
        put_key(outer, path[(3000000 - depth) % 3], 2);
        put_varint(outer, inner->size);
        memcpy(outer->data + outer->size, inner->data, inner->size);
        outer->size += inner->size;
        bytes *swap = inner;
        inner = outer;
        outer = swap;
    }
    for (int start = 0; start < 3; start++) { /* one of the three fits the schema */
        clq_graph *graph = NULL;
        outer->size = 0;
        put_key(outer, 7, 2);
        put_varint(outer, inner->size);
        memcpy(outer->data + outer->size, inner->data, inner->size);
        outer->size += inner->size;
        assert_status(clq_onnx_load_memory(outer->data, outer->size, "deep.onnx", &graph),
                      CLQ_BAD_DATA);
        inner->size -= 4; /* the next level becomes the outermost */
        memmove(inner->data, inner->data + 4, inner->size);
    }
    free(inner);
    free(outer);
}

static void deep_message(void **state) {
    (void)state;
    bytes *inner = calloc(1, sizeof *inner), *outer = calloc(1, sizeof *outer);
    for (int depth = 0; depth < 40; depth++) { /* attribute.g.node.attribute.g... */
        for (int level = 0; level < 3; level++) {
            static const unsigned numbers[3] = {6, 5, 1};
            outer->size = 0;
            put_key(outer, numbers[level], 2);
            put_varint(outer, inner->size);
            memcpy(outer->data + outer->size, inner->data, inner->size);
            outer->size += inner->size;
            bytes *swap = inner;
            inner = outer;
            outer = swap;
        }
    }
    outer->size = 0;
    put_key(outer, 7, 2);
    put_varint(outer, inner->size);
    memcpy(outer->data + outer->size, inner->data, inner->size);
    outer->size += inner->size;
    refuse(outer->data, outer->size, "messages nest too deep");
    free(inner);
    free(outer);
}

static void wire_rules(void **state) {
    (void)state;
    bytes b = {.size = 0};
    put_key(&b, 1, 0);
    put_varint(&b, 8);
    put_key(&b, 1, 0);
    put_varint(&b, 8);
    refuse(b.data, b.size, "comes twice");

    b.size = 0;
    put_key(&b, 99, 3);
    refuse(b.data, b.size, "groups and reserved wire types");

    b.size = 0;
    put_key(&b, 7, 2);
    put_varint(&b, UINT64_MAX);
    refuse(b.data, b.size, "longer than what holds it");

    b.size = 0;
    put_key(&b, 7, 0);
    put_varint(&b, 1);
    refuse(b.data, b.size, "another wire type");

    b.size = 0;
    put_varint(&b, 2);
    refuse(b.data, b.size, "field number");

    b.size = 0;
    memset(b.data, 0xff, 11);
    refuse(b.data, 11, "exceeds 64 bits");
    refuse(b.data, 5, "cut off");

    b.size = 0; /* producer_name with a NUL */
    put_key(&b, 2, 2);
    put_varint(&b, 3);
    memcpy(b.data + b.size, "a\0b", 3);
    refuse(b.data, b.size + 3, "contains a NUL");
}

/* Two bytes become a node of over 100: only so much memory is granted. */
static void small_messages(void **state) {
    (void)state;
    size_t count = 2000000, size = 0;
    uint8_t *data = malloc(count * 2 + 16);
    bytes head = {.size = 0};
    put_key(&head, 7, 2);
    put_varint(&head, count * 2);
    memcpy(data, head.data, head.size);
    for (size = head.size; size < head.size + count * 2; size += 2) {
        data[size] = 0x0a; /* node, empty */
        data[size + 1] = 0;
    }
    refuse(data, size, "out of proportion");
    free(data);
}

/* One initializer of 400 KB, read by thousands of nodes. */
static void many_copies(void **state) {
    (void)state;
    make_model *m = make_start();
    clq_graph *graph;
    Onnx__NodeProto **nodes = calloc(12000, sizeof *nodes);
    int64_t dim[4] = {-1, 320, 1, 1};
    m->inputs[0] = make_info(m, "x", 4, dim);
    make_weights(m, "w", DIMS(320, 320, 1, 1));
    char in[32] = "x";
    for (int i = 0; i < 12000; i++) {
        char inputs[48], out[32];
        snprintf(inputs, sizeof inputs, "%s,w", in);
        snprintf(out, sizeof out, i == 11999 ? "y" : "c%d", i);
        nodes[i] = make_node(m, "Conv", inputs, out);
        m->graph.n_node = 0;
        snprintf(in, sizeof in, "%s", out);
    }
    m->graph.node = nodes;
    m->graph.n_node = 12000;
    assert_status(make_load(m, &graph), CLQ_BAD_DATA);
    assert_error_has("out of proportion");
    free(nodes);
    make_free(m);
}

static void large_constants(void **state) {
    (void)state;
    make_model *m = make_start();
    make_longs(m, "shape", 1 << 20, 1 << 20);
    make_node(m, "ConstantOfShape", "shape", "big");
    make_node(m, "Conv", "x,big", "y");
    make_refused(m, "computes a constant of more than");

    m = make_start();
    make_longs(m, "shape", INT64_MAX, INT64_MAX, 0);
    make_node(m, "ConstantOfShape", "shape", "big");
    make_node(m, "Conv", "x,big", "y");
    make_refused(m, "computes a constant of more than");
}

/* ---- damaged files ---- */

/* A file of a few KB with everything in it. */
static uint8_t *small_file(bool integer, size_t *size) {
    clq_graph *graph = sample_folded(true, true);
    if (integer) {
        sample_quantize(graph, false, true);
    }
    assert_ok(clq_onnx_save(graph, clq_test_temp_path("small.onnx")));
    clq_graph_destroy(graph);
    void *data;
    assert_ok(clq_file_read(clq_test_temp_path("small.onnx"), 1 << 20, &data, size));
    return data;
}

static void truncated(void **state) {
    (void)state;
    for (int integer = 0; integer < 2; integer++) {
        size_t size;
        uint8_t *data = small_file(integer, &size);
        for (size_t length = 0; length < size; length++) {
            clq_graph *graph = NULL;
            uint8_t *copy = calloc(length + (length == 0), 1);
            memcpy(copy, data, length);
            /* Cut between two fields of the model a file can still be whole. */
            clq_status status = clq_onnx_load_memory(copy, length, "cut.onnx", &graph);
            assert_true(status == CLQ_BAD_DATA || (status == CLQ_OK && length + 256 > size));
            clq_graph_destroy(graph);
            free(copy);
        }
        clq_free(data);
    }
}

/* Each byte replaced: refused, or still a valid graph. */
static void flipped(void **state) {
    (void)state;
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    for (int integer = 0; integer < 2; integer++) {
        size_t size;
        uint8_t *data = small_file(integer, &size);
        for (size_t i = 0; i < size; i++) {
            uint8_t mask = masks[i % 3];
            clq_graph *graph = NULL;
            data[i] ^= mask;
            clq_status status = clq_onnx_load_memory(data, size, "flipped.onnx", &graph);
            assert_true(status == CLQ_BAD_DATA || status == CLQ_OK);
            if (status == CLQ_OK) {
                assert_ok(clq_graph_validate(graph));
            }
            clq_graph_destroy(graph);
            data[i] ^= mask;
        }
        clq_free(data);
    }
}

/* Large files that are no models are not read, and no device is. */
static void unread(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("zeros");
    clq_graph *graph = NULL;
    clq_tensors *tensors = NULL;
    clq_test_put_zeros(path, 2000000000);
    for (int i = 0; i < 2; i++) {
        clq_test_fail_file_op(0, 0);
        assert_status(i ? clq_onnx_load(path, &graph) : clq_tensors_load(path, &tensors),
                      CLQ_BAD_DATA);
        assert_error_has("zeros");
        assert_int_equal(clq_test_file_ops(), 3); /* open, read the head, close */
        clq_test_restore_file_ops();
    }
    assert_status(clq_tensors_load("/dev/zero", &tensors), CLQ_BAD_DATA);
    assert_error_has("/dev/zero: is a device");
    assert_status(clq_onnx_load("/dev/zero", &graph), CLQ_BAD_DATA);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),          cmocka_unit_test(nested),
        cmocka_unit_test(deep_message),   cmocka_unit_test(wire_rules),
        cmocka_unit_test(small_messages), cmocka_unit_test(many_copies),
        cmocka_unit_test(truncated),      cmocka_unit_test(large_constants),
        cmocka_unit_test(flipped),        cmocka_unit_test(unread),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
