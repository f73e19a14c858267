/* npy files: every type, both orders, and what is refused. */
#include <stdio.h>

#include "base/files.h"
#include "data/npy.h"
#include "support/npy_file.h"

static void npy_is_written_and_read(void **state) {
    (void)state;
    const float values[6] = {1, -2.5f, 3e20f, 0, 1e-30f, 7};
    const char *path = clq_test_temp_path("a.npy");
    clq_npy array;
    assert_ok(clq_npy_write(path, values, (int64_t[]){2, 3}, 2));
    assert_ok(clq_npy_read(path, &array));
    assert_int_equal(array.rank, 2);
    assert_int_equal(array.dims[0], 2);
    assert_int_equal(array.dims[1], 3);
    assert_false(array.is_integer);
    assert_memory_equal(array.values, values, sizeof values);
    clq_npy_free(&array);
    assert_ok(clq_npy_write(path, values, (int64_t[]){1, 2, 1, 3, 1}, 5));
    assert_ok(clq_npy_read(path, &array));
    assert_true(array.rank == 5 && array.dims[1] == 2 && array.dims[3] == 3);
    clq_npy_free(&array);
    void *file = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1000, &file, &size));
    assert_int_equal(size, 128 + 24); /* the header is padded to 64 bytes' multiple */
    for (size_t cut = 0; cut < size; cut++) {
        test_file_write(path, file, cut);
        assert_status(clq_npy_read(path, &array), CLQ_BAD_DATA);
        assert_error_has("a.npy");
        assert_null(array.values);
    }
    clq_free(file);
}

static void npy_types_are_converted(void **state) {
    (void)state;
    const struct {
        const char *type;
        uint8_t bytes[16];
        size_t size;
        float expected[2];
        bool is_integer;
    } cases[] = {
        {"|i1", {0xff, 5}, 2, {-1, 5}, true},
        {"|u1", {0xff, 5}, 2, {255, 5}, true},
        {"|b1", {1, 0}, 2, {1, 0}, true},
        {"<i2", {0xfe, 0xff, 0, 1}, 4, {-2, 256}, true},
        {"<u2", {0xfe, 0xff, 0, 1}, 4, {65534, 256}, true},
        {"<i4", {0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0}, 8, {-1, 1}, true},
        {"<u4", {0, 0, 0, 0x80, 1, 0, 0, 0}, 8, {2147483648.0f, 1}, true},
        {"<i8", {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 9}, 16, {-1, 9}, true},
        {"<u8", {0, 0, 0, 0, 0, 0, 0, 0x80, 1}, 16, {9223372036854775808.0f, 1}, true},
        {"<f2", {0x00, 0xc2, 1, 0}, 4, {-3, 0x1p-24f}, false},
        {"<f8", {0, 0, 0, 0, 0, 0, 0xf8, 0x3f}, 16, {1.5f, 0}, false},
        {">f4", {0x3f, 0xc0, 0, 0, 0x80, 0, 0, 0}, 8, {1.5f, -0.0f}, false},
        {">f8", {0x3f, 0xf8}, 16, {1.5f, 0}, false},
        {">i2", {0xff, 0xfe, 1, 0}, 4, {-2, 256}, true},
        {">u4", {0, 0, 1, 2, 0, 0, 0, 3}, 8, {258, 3}, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char dictionary[128];
        snprintf(dictionary, sizeof dictionary,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (2,), }\n", cases[i].type);
        const char *path = test_put_npy("t.npy", dictionary, cases[i].bytes, cases[i].size);
        clq_npy array;
        assert_ok(clq_npy_read(path, &array));
        assert_int_equal(array.rank, 1);
        assert_int_equal(array.is_integer, cases[i].is_integer);
        assert_memory_equal(array.values, cases[i].expected, sizeof cases[i].expected);
        clq_npy_free(&array);
    }
}

static void broken_npy_is_refused(void **state) {
    (void)state;
    const char *const bad[][2] = {
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "complex numbers"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "Python objects"},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (1,)}", "text"},
        {"{'descr': '|S8', 'fortran_order': False, 'shape': (1,)}", "text"},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,)}", "dates"},
        {"{'descr': [('shape', '<f4'), ('b, c', '<f4')], 'fortran_order': False, 'shape': (1,)}",
         "named fields ([('shape', '<f4'), ('b, c', '<f4')]): save"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,)}", "numbers of type '<f16'"},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", "numbers of type '<f3'"},
        {"{'descr': '", "npy header is not"},
        {"{'descr': '}", "npy header is not"},
        {"{'descr': }", "npy header is not"},
        {"{'descr': '<f4', 'fortran_order': maybe, 'shape': (2,)}", "True or False, is maybe"},
        {"{'descr': '<f4', 'shape': (2,)}", "npy header is not"},
        {"{'descr': '<f4', 'fortran_order': False}", "npy header is not"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", "no shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': ()}", "single number"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", "shape (0,): must"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (7, -2), }  ", "shape (7, -2): must"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2", "npy header is not"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,2)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,4)}", "shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
         "8 bytes of data; its header promises 3 numbers of 4 bytes: the file is cut off"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}",
         "8 bytes of data; its header promises 1 number of 4 bytes"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}", "8 bytes of data"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "not finite"},
        {"", "npy header is not"},
    };
    const uint8_t data[8] = {0, 0, 0, 0, 0, 0, 0xc0, 0x7f};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        clq_npy array;
        assert_status(clq_npy_read(test_put_npy("b.npy", bad[i][0], data, sizeof data), &array),
                      CLQ_BAD_DATA);
        assert_error_has(bad[i][1]);
        assert_null(array.values);
    }
}

/* Element (i, j, k) of shape (2, 3, 2) is 100 i + 10 j + k, in either order. */
static void fortran_order_is_turned_round(void **state) {
    (void)state;
    uint8_t data[2][12];
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 2; k++) {
                const uint8_t value = (uint8_t)(100 * i + 10 * j + k);
                data[0][6 * i + 2 * j + k] = value;
                data[1][i + 2 * j + 6 * k] = value;
            }
        }
    }
    for (int fortran = 0; fortran < 2; fortran++) {
        char dictionary[128];
        snprintf(dictionary, sizeof dictionary,
                 "{'shape': (2L, 3L,2), \"fortran_order\" :%s,'descr':'|u1'}",
                 fortran ? "True" : "False");
        clq_npy array;
        assert_ok(clq_npy_read(test_put_npy("f.npy", dictionary, data[fortran], 12), &array));
        assert_int_equal(array.rank, 3);
        assert_int_equal(array.dims[1], 3);
        for (int i = 0; i < 12; i++) {
            assert_true(array.values[i] == (float)data[0][i]);
        }
        clq_npy_free(&array);
    }
}

int main(void) {
#define WITH_FILES(name)                                                                           \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)
    const struct CMUnitTest tests[] = {
        WITH_FILES(npy_is_written_and_read),
        WITH_FILES(npy_types_are_converted),
        WITH_FILES(fortran_order_is_turned_round),
        WITH_FILES(broken_npy_is_refused),
    };
    return cmocka_run_group_tests_name("data/npy", tests, NULL, NULL);
}
