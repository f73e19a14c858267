/* .npy and .npz files as rows of arrays: what NumPy writes is read, what is damaged is refused, and
 * what is written is read again. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include <clquant/data.h>

#include "base/files.h"
#include "data/npy.h"
#include "data/npz.h"
#include "support/npy_file.h"

enum { ROWS = 7, WIDTH = 3 };

/* A .npy file in memory. */
typedef struct npy_bytes {
    uint8_t data[2048];
    size_t size;
} npy_bytes;

static npy_bytes make_npy(const char *dictionary, const void *data, size_t size) {
    npy_bytes b = {.data = "\x93NUMPY\x01"};
    const size_t length = strlen(dictionary);
    b.data[8] = (uint8_t)length;
    memcpy(b.data + 10, dictionary, length);
    memcpy(b.data + 10 + length, data, size);
    b.size = 10 + length + size;
    return b;
}

static npy_bytes counting(int rows) {
    float values[64];
    char dictionary[96];
    snprintf(dictionary, sizeof dictionary,
             "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }", rows, WIDTH);
    for (int i = 0; i < rows * WIDTH; i++) {
        values[i] = (float)i;
    }
    return make_npy(dictionary, values, (size_t)(rows * WIDTH) * sizeof *values);
}

/* An archive of these entries, `deflated` or stored, by libzip. */
static const char *make_npz(const char *const *names, const npy_bytes *files, int count,
                            bool deflated) {
    const char *path = clq_test_temp_path("made.npz");
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_non_null(zip);
    for (int i = 0; i < count; i++) {
        zip_source_t *source = zip_source_buffer(zip, files[i].data, files[i].size, 0);
        const zip_int64_t index = zip_file_add(zip, names[i], source, ZIP_FL_ENC_UTF_8);
        assert_true(index >= 0);
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)index,
                                                  deflated ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 0),
                         0);
    }
    assert_int_equal(zip_close(zip), 0);
    return path;
}

static void assert_counts(clq_arrays *arrays, int index, int64_t first, int64_t count) {
    float values[64];
    assert_ok(clq_arrays_read(arrays, index, first, count, values));
    for (int64_t i = 0; i < count * WIDTH; i++) {
        assert_true(values[i] == (float)(first * WIDTH + i));
    }
}

/* ---- reading ---- */

static void rows_come_in_any_order(void **state) {
    (void)state;
    static const char *const names[] = {"left.npy", "sub/right:0.npy"};
    const npy_bytes files[] = {counting(ROWS), counting(ROWS + 2)};
    for (int kind = 0; kind < 3; kind++) {
        const char *path = clq_test_temp_path("one.npy");
        if (kind == 0) {
            test_file_write(path, files[0].data, files[0].size);
        } else {
            path = make_npz(names, files, 2, kind == 2);
        }
        clq_arrays *arrays = NULL;
        assert_ok(clq_arrays_open(path, &arrays));
        assert_int_equal(clq_arrays_count(arrays), kind ? 2 : 1);
        assert_string_equal(clq_arrays_path(arrays), path);
        const clq_array *a = clq_arrays_at(arrays, 0);
        assert_string_equal(a->name, kind ? "left" : "");
        assert_string_equal(a->type, "f4");
        assert_int_equal(a->rank, 2);
        assert_int_equal(a->dims[0], ROWS);
        assert_null(clq_arrays_at(arrays, 2));
        assert_counts(arrays, 0, 0, 2);
        assert_counts(arrays, 0, 2, 1);
        assert_counts(arrays, 0, 5, 2); /* over two, to the end */
        assert_counts(arrays, 0, 1, 3); /* back */
        if (kind) {                     /* two streams at once */
            assert_string_equal(clq_arrays_at(arrays, 1)->name, "sub/right:0");
            assert_counts(arrays, 1, 0, 4);
            assert_counts(arrays, 0, 4, 3);
            assert_counts(arrays, 1, 4, 5);
        }
        float values[64];
        assert_status(clq_arrays_read(arrays, 0, ROWS, 1, values), CLQ_USAGE);
        assert_status(clq_arrays_read(arrays, 0, 0, ROWS + 1, values), CLQ_USAGE);
        assert_status(clq_arrays_read(arrays, 2, 0, 1, values), CLQ_USAGE);
        clq_arrays_close(arrays);
    }
}

static void types_and_orders(void **state) {
    (void)state;
    static const struct {
        const char *dictionary, *type;
        uint8_t bytes[64];
        size_t size;
        float expected[6];
        const char *error;
    } cases[] = {
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }",
         "u1",
         {1, 2, 3, 4, 5, 6},
         6,
         {1, 3, 5, 2, 4, 6},
         NULL},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (2L, 3L), }",
         "f2",
         {0, 0x3c, 0, 0x40, 0, 0x42, 0, 0x44, 0, 0x45, 0, 0x46},
         12,
         {1, 2, 3, 4, 5, 6},
         NULL},
        {"{'descr': '>i2', 'fortran_order': False, 'shape': (2, 3), }",
         "i2",
         {0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0xff, 0xff},
         12,
         {1, 2, 3, 4, 5, -1},
         NULL},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1), }",
         "i4",
         {1, 0, 0, 0, 0, 0, 0, 1},
         8,
         {0},
         "number 1 is 16777216, and integers from 2^24"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }",
         "f4",
         {0, 0, 0x80, 0x3f, 0, 0, 0xc0, 0x7f},
         8,
         {0},
         "number 1 is not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path =
            test_put_npy("typed.npy", cases[i].dictionary, cases[i].bytes, cases[i].size);
        clq_arrays *arrays = NULL;
        float values[6];
        assert_ok(clq_arrays_open(path, &arrays));
        assert_string_equal(clq_arrays_at(arrays, 0)->type, cases[i].type);
        if (cases[i].error) {
            assert_status(clq_arrays_read(arrays, 0, 0, 2, values), CLQ_BAD_DATA);
            assert_error_has(cases[i].error);
            assert_error_has("typed.npy");
        } else {
            assert_ok(clq_arrays_read(arrays, 0, 0, 1, values));
            assert_ok(clq_arrays_read(arrays, 0, 1, 1, values + 3));
            assert_memory_equal(values, cases[i].expected, sizeof values);
        }
        clq_arrays_close(arrays);
    }
}

/* ---- what is refused ---- */

static void assert_refused(const char *path, clq_status status, const char *error) {
    clq_arrays *arrays = NULL;
    assert_status(clq_arrays_open(path, &arrays), status);
    assert_null(arrays);
    assert_error_has(error);
    assert_error_has(clq_path_basename(path));
}

static void what_is_no_array_is_refused(void **state) {
    (void)state;
    const npy_bytes good = counting(ROWS);
    npy_bytes objects =
        make_npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "x", 1);
    npy_bytes longer = good, scalar;
    longer.size += 4;
    scalar = make_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "1234", 4);
    assert_refused(clq_test_temp_path("none.npz"), CLQ_NO_INPUT, "No such file");
    assert_refused(clq_test_temp_dir(), CLQ_BAD_DATA, "folder");
    test_file_write(clq_test_temp_path("text.npz"), "hello world", 11);
    assert_refused(clq_test_temp_path("text.npz"), CLQ_BAD_DATA, "neither a .npy nor a .npz file");
    test_file_write(clq_test_temp_path("pk.npz"), "PK\x03\x04 and no more", 16);
    assert_refused(clq_test_temp_path("pk.npz"), CLQ_BAD_DATA, "is no .npz file");
    assert_refused(make_npz((const char *const[]){"a.txt"}, &good, 1, false), CLQ_BAD_DATA,
                   "no arrays");
    assert_refused(make_npz((const char *const[]){"a.npy"}, &objects, 1, true), CLQ_BAD_DATA,
                   "array \"a\": holds Python objects");
    assert_refused(make_npz((const char *const[]){"a.npy"}, &longer, 1, true), CLQ_BAD_DATA,
                   "array \"a\": 88 bytes of data; its header promises 21 numbers");
    assert_refused(make_npz((const char *const[]){"a.npy"}, &scalar, 1, true), CLQ_BAD_DATA,
                   "a single number");
}

/* libzip makes no such archives, so one name is changed into the other in the file. */
static void two_of_one_name_are_refused(void **state) {
    (void)state;
    const npy_bytes files[] = {counting(2), counting(2)};
    const char *path = make_npz((const char *const[]){"aa.npy", "ab.npy"}, files, 2, false);
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, SIZE_MAX, &data, &size));
    for (size_t i = 0; i + 6 <= size; i++) {
        if (memcmp((char *)data + i, "ab.npy", 6) == 0) {
            ((char *)data)[i + 1] = 'a';
        }
    }
    test_file_write(path, data, size);
    assert_refused(path, CLQ_BAD_DATA, "two arrays are named \"aa\"");
    clq_free(data);
}

/* A bit of the numbers is turned: stored, only the checksum knows; deflated, unpacking may too. */
static void damage_is_noticed(void **state) {
    (void)state;
    const npy_bytes file = counting(ROWS);
    for (int deflated = 0; deflated < 2; deflated++) {
        const char *path = make_npz((const char *const[]){"a.npy"}, &file, 1, deflated);
        void *data = NULL;
        size_t size = 0;
        int refused = 0;
        assert_ok(clq_file_read(path, SIZE_MAX, &data, &size));
        for (size_t at = 30 + 5; at < size; at += 3) {
            clq_arrays *arrays = NULL;
            float values[ROWS * WIDTH];
            ((uint8_t *)data)[at] ^= 4;
            test_file_write(path, data, size);
            const clq_status opened = clq_arrays_open(path, &arrays);
            const bool same = opened == CLQ_OK && clq_arrays_at(arrays, 0)->dims[0] == ROWS &&
                              clq_arrays_at(arrays, 0)->dims[1] == WIDTH;
            if (opened != CLQ_OK ||
                (same && clq_arrays_read(arrays, 0, 0, ROWS, values) != CLQ_OK)) {
                refused++;
            } else if (same) { /* a name, a date: the numbers are as they were */
                for (int i = 0; i < ROWS * WIDTH; i++) {
                    assert_true(values[i] == (float)i);
                }
            }
            clq_arrays_close(arrays);
            ((uint8_t *)data)[at] ^= 4;
        }
        assert_true(refused > 20);
        for (size_t cut = 0; cut < size; cut += 7) {
            clq_arrays *arrays = NULL;
            test_file_write(path, data, cut);
            assert_status(clq_arrays_open(path, &arrays), CLQ_BAD_DATA);
        }
        clq_free(data);
    }
}

/* 4 GB of zeros in a few megabytes: rows are what costs memory. */
static void a_bomb_costs_its_rows(void **state) {
    (void)state;
    const char *dictionary = "{'descr': '|u1', 'fortran_order': False, 'shape': (4096, 16384), }";
    const size_t size = 10 + strlen(dictionary) + ((size_t)1 << 26);
    uint8_t *file = calloc(size, 1);
    const npy_bytes head = make_npy(dictionary, "", 0);
    memcpy(file, head.data, head.size);
    const char *path = clq_test_temp_path("bomb.npz");
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code);
    assert_true(zip_file_add(zip, "a.npy", zip_source_buffer(zip, file, size, 0), 0) == 0);
    assert_int_equal(zip_close(zip), 0);
    free(file);
    clq_arrays *arrays = NULL;
    float *row = calloc(16384, sizeof *row);
    clq_test_fail_allocation(0);
    assert_ok(clq_arrays_open(path, &arrays));
    assert_ok(clq_arrays_read(arrays, 0, 0, 1, row));
    assert_ok(clq_arrays_read(arrays, 0, 17, 1, row));
    assert_true(row[16383] == 0);
    clq_arrays_close(arrays);
    assert_int_equal(clq_test_live_allocations(), 0);
    clq_test_restore_allocator();
    free(row);
}

/* ---- writing ---- */

static clq_status write_some(const char *path) {
    static const float rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    static const char *const texts[] = {"a.png",
                                        ("gr\xc3\xbc\xc3\x9f"
                                         "e \xf0\x9f\x98\x80"),
                                        "bad \xff\xc3"};
    clq_npz_writer *writer = NULL;
    clq_status status;
    int wide = -1, scalar = -1;
    CLQ_TRY(clq_npz_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_npz_add(writer, "wide", (int64_t[]){1, 3}, 2, &wide));
    CLQ_GOTO(status, cleanup, clq_npz_add(writer, "a/b:0", NULL, 0, &scalar));
    CLQ_GOTO(status, cleanup, clq_npz_append(writer, wide, rows, 1));
    CLQ_GOTO(status, cleanup, clq_npz_append(writer, scalar, rows + 5, 3));
    CLQ_GOTO(status, cleanup, clq_npz_append(writer, wide, rows + 3, 2));
    CLQ_GOTO(status, cleanup, clq_npz_add_strings(writer, "file", texts, 3));
    status = clq_npz_commit(&writer);
cleanup:
    clq_npz_abort(&writer);
    return status;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("out.npz"), *again = clq_test_temp_path("again.npz");
    void *one = NULL, *two = NULL;
    size_t size = 0, other = 0;
    assert_ok(write_some(path));
    assert_ok(write_some(again));
    assert_ok(clq_file_read(path, SIZE_MAX, &one, &size));
    assert_ok(clq_file_read(again, SIZE_MAX, &two, &other));
    assert_int_equal(size, other);
    assert_memory_equal(one, two, size);
    clq_free(one), clq_free(two);

    /* libzip's consistency checks, and every checksum */
    int code = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    assert_non_null(zip);
    assert_int_equal(zip_get_num_entries(zip, 0), 3);
    assert_string_equal(zip_get_name(zip, 1, 0), "a/b:0.npy");
    uint8_t text[1024];
    zip_file_t *file = zip_fopen(zip, "file.npy", 0);
    const zip_int64_t got = zip_fread(file, text, sizeof text);
    assert_int_equal(got, 128 + 3 * 7 * 4);
    assert_non_null(strstr((char *)text + 10, "'descr': '<U7'"));
    assert_non_null(strstr((char *)text + 10, "'shape': (3,)"));
    const uint8_t *second = text + 128 + 28, *third = second + 28;
    assert_int_equal(second[4 * 2], 0xfc);                      /* u with dots */
    assert_memory_equal(second + 4 * 6, "\x00\xf6\x01\x00", 4); /* U+1F600 */
    assert_memory_equal(third + 4 * 4, "\xff\xdc\x00\x00", 4);  /* as os.fsdecode has it */
    assert_memory_equal(third + 4 * 5, "\xc3\xdc\x00\x00", 4);
    zip_fclose(file);
    zip_discard(zip);
}

static void arrays_written_are_read_again(void **state) {
    (void)state;
    static const float rows[6] = {1, 2, 3, 4, 5, 6};
    const char *path = clq_test_temp_path("numbers.npz");
    clq_npz_writer *writer = NULL;
    clq_arrays *arrays = NULL;
    float values[6];
    int a, b;
    assert_ok(clq_npz_open(path, &writer));
    assert_ok(clq_npz_add(writer, "a", (int64_t[]){3}, 1, &a));
    assert_status(clq_npz_add(writer, "a", NULL, 0, &b), CLQ_USAGE);
    assert_ok(clq_npz_add(writer, "b", NULL, 0, &b));
    assert_ok(clq_npz_append(writer, a, rows, 2));
    assert_ok(clq_npz_append(writer, b, rows, 2));
    assert_ok(clq_npz_commit(&writer));
    assert_null(writer);
    assert_int_equal(clq_test_temp_entries(), 1); /* no rows are left beside it */
    assert_ok(clq_arrays_open(path, &arrays));
    assert_int_equal(clq_arrays_count(arrays), 2);
    assert_int_equal(clq_arrays_at(arrays, 1)->rank, 1);
    assert_ok(clq_arrays_read(arrays, 0, 0, 2, values));
    assert_memory_equal(values, rows, sizeof rows);
    clq_arrays_close(arrays);

    assert_ok(clq_npz_open_single(clq_test_temp_path("one.npy"), &writer));
    assert_ok(clq_npz_add(writer, "a", (int64_t[]){3}, 1, &a));
    assert_status(clq_npz_add(writer, "b", NULL, 0, &b), CLQ_USAGE);
    assert_ok(clq_npz_append(writer, a, rows, 2));
    assert_ok(clq_npz_commit(&writer));
    clq_npy array;
    assert_ok(clq_npy_read(clq_test_temp_path("one.npy"), &array));
    assert_int_equal(array.rank, 2);
    assert_memory_equal(array.values, rows, sizeof rows);
    clq_npy_free(&array);
}

/* ---- failures ---- */

static void every_failure_is_reported(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("fail.npz");
    assert_ok(write_some(path));
    for (int operation = 0; operation < 2; operation++) {
        for (long n = 1;; n++) {
            char folder[512];
            snprintf(folder, sizeof folder, "%s", path);
            assert_ok(clq_file_remove(folder));
            clq_test_fail_allocation(operation == 0 ? n : 0);
            clq_test_fail_file_op(operation == 1 ? n : 0, 28 /* no space */);
            const clq_status status = write_some(folder);
            const bool failed =
                operation == 0 ? clq_test_allocations() >= n : clq_test_file_ops() >= n;
            assert_int_equal(clq_test_live_allocations(), 0);
            assert_int_equal(clq_test_open_files(), 0);
            clq_test_restore_allocator();
            clq_test_restore_file_ops();
            if (status != CLQ_OK && clq_file_exists(folder)) {
                assert_error_has("written, but its folder cannot be flushed");
            }
            if (!failed) {
                assert_ok(status);
                break;
            }
        }
    }
    clq_npz_writer *writer = NULL;
    int index;
    float value = 1;
    assert_ok(clq_npz_open(path, &writer));
    assert_ok(clq_npz_add(writer, "x", NULL, 0, &index));
    assert_ok(clq_npz_append(writer, index, &value, 1));
    assert_ok(clq_npz_commit(&writer));
    for (long n = 1;; n++) {
        clq_arrays *arrays = NULL;
        clq_test_fail_allocation(n);
        clq_status status = clq_arrays_open(path, &arrays);
        if (status == CLQ_OK) {
            status = clq_arrays_read(arrays, 0, 0, 1, &value);
        }
        clq_arrays_close(arrays);
        const bool failed = clq_test_allocations() >= n;
        assert_int_equal(clq_test_live_allocations(), 0);
        clq_test_restore_allocator();
        if (!failed) {
            break;
        }
        assert_int_equal(status, CLQ_NO_MEMORY);
    }
}

#define FRESH(test)                                                                                \
    cmocka_unit_test_setup_teardown(test, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

/* ---- a program's own ---- */

typedef struct maker {
    int calls;
    int64_t first, count;
    bool fails, spoils;
} maker;

/* Row r of x is r, r + 0.5; of y is 100 + r. */
static clq_status make(void *context, int64_t first, int64_t count, float *const *values) {
    maker *m = context;
    m->calls++;
    m->first = first;
    m->count = count;
    for (int64_t r = 0; r < count; r++) {
        values[0][2 * r] = (float)(first + r);
        values[0][2 * r + 1] = m->spoils ? NAN : (float)(first + r) + 0.5f;
        values[1][r] = 100 + (float)(first + r);
    }
    return m->fails ? clq_fail(CLQ_IO, "the camera is off") : CLQ_OK;
}

static void rows_of_a_program(void **state) {
    (void)state;
    static const float own[] = {5, 6, 7, 8};
    const int64_t two = 2, huge[] = {INT32_MAX, INT32_MAX, INT32_MAX};
    clq_arrays *arrays = NULL;
    maker m = {0};
    float x[8], y[4];
    assert_status(clq_arrays_create(0, &arrays), CLQ_USAGE);
    assert_ok(clq_arrays_create(4, &arrays));
    assert_ok(clq_arrays_add(arrays, "x", &two, 1, NULL));
    assert_ok(clq_arrays_add(arrays, "own", NULL, 0, own));
    assert_ok(clq_arrays_add(arrays, "y", NULL, 0, NULL));
    assert_status(clq_arrays_add(arrays, "y", NULL, 0, own), CLQ_USAGE);
    assert_error_has("two arrays are named \"y\"");
    assert_status(clq_arrays_add(arrays, "z", huge, 3, own), CLQ_USAGE);
    assert_status(clq_arrays_add(arrays, "z", huge, CLQ_ARRAY_MAX_RANK, own), CLQ_USAGE);
    assert_int_equal(clq_arrays_count(arrays), 3);
    assert_int_equal(clq_arrays_at(arrays, 0)->rank, 2);
    assert_int_equal(clq_arrays_at(arrays, 0)->dims[0], 4);
    assert_ok(clq_arrays_read(arrays, 1, 1, 2, y));
    assert_true(y[0] == 6 && y[1] == 7);
    assert_status(clq_arrays_read(arrays, 0, 0, 1, x), CLQ_USAGE);
    assert_error_has("neither values nor a function");
    assert_ok(clq_arrays_set_fill(arrays, make, &m));
    assert_ok(clq_arrays_read(arrays, 0, 1, 3, x));
    assert_ok(clq_arrays_read(arrays, 2, 1, 3, y)); /* made with the others */
    assert_int_equal(m.calls, 1);
    assert_true(m.first == 1 && m.count == 3);
    assert_true(x[4] == 3 && x[5] == 3.5f && y[2] == 103);
    assert_ok(clq_arrays_read(arrays, 2, 0, 4, y));
    assert_true(y[0] == 100 && y[3] == 103);
    m.spoils = true;
    assert_status(clq_arrays_read(arrays, 0, 2, 1, x), CLQ_BAD_DATA);
    assert_error_has("array \"x\": number 5 is not finite");
    m.fails = true;
    assert_status(clq_arrays_read(arrays, 0, 3, 1, x), CLQ_IO);
    assert_error_has("the camera is off");
    assert_int_equal(clq_arrays_labels(arrays), -1);
    assert_status(clq_arrays_set_labels(arrays, "x"), CLQ_USAGE);
    assert_error_has("array \"x\" has 2 axes, labels have 1 or, of pixels, 3");
    assert_ok(clq_arrays_set_labels(arrays, "own"));
    assert_int_equal(clq_arrays_labels(arrays), 1);
    assert_status(clq_arrays_set_order(arrays, CLQ_ORDER_COUNT), CLQ_USAGE);
    assert_ok(clq_arrays_set_order(arrays, CLQ_ORDER_NHWC));
    assert_int_equal(clq_arrays_order(arrays), CLQ_ORDER_NHWC);
    clq_arrays_close(arrays);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        FRESH(rows_come_in_any_order),      FRESH(types_and_orders),
        FRESH(what_is_no_array_is_refused), FRESH(two_of_one_name_are_refused),
        FRESH(damage_is_noticed),           FRESH(a_bomb_costs_its_rows),
        FRESH(what_is_written_is_read),     FRESH(arrays_written_are_read_again),
        FRESH(every_failure_is_reported),   cmocka_unit_test(rows_of_a_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
