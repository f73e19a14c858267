/* Named tensors and safetensors files, good and hostile. */
#include <clquant/formats.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/half.h"
#include "support/clq_test.h"

/* ---- the container ---- */

static void container(void **state) {
    (void)state;
    clq_tensors *t;
    float data[6] = {1, 2, 3, 4, 5, 6};
    int64_t dim[2] = {2, 3}, bad[2] = {-1, 3}, huge[2] = {INT64_MAX, 3};
    assert_ok(clq_tensors_create(&t));
    assert_ok(clq_tensors_add(t, "a", CLQ_FILE_F32, 2, dim, data));
    assert_ok(clq_tensors_lend(t, "b", CLQ_FILE_F32, 2, dim, data));
    assert_ok(clq_tensors_add(t, "scalar", CLQ_FILE_F32, 0, NULL, data));
    assert_int_equal(clq_tensors_count(t), 3);
    data[0] = 9; /* a is a copy, b is not */
    assert_true(((const float *)clq_tensors_find(t, "a")->data)[0] == 1);
    assert_true(((const float *)clq_tensors_find(t, "b")->data)[0] == 9);
    assert_int_equal(clq_tensors_find(t, "scalar")->size, 4);
    assert_null(clq_tensors_find(t, "c"));
    assert_string_equal(clq_tensors_at(t, 1)->name, "b");
    assert_status(clq_tensors_add(t, "a", CLQ_FILE_F32, 2, dim, data), CLQ_USAGE);
    assert_status(clq_tensors_add(t, "", CLQ_FILE_F32, 2, dim, data), CLQ_USAGE);
    assert_status(clq_tensors_add(t, "__metadata__", CLQ_FILE_F32, 2, dim, data), CLQ_USAGE);
    assert_status(clq_tensors_add(t, "n", CLQ_FILE_F32, 2, bad, data), CLQ_USAGE);
    assert_status(clq_tensors_add(t, "n", CLQ_FILE_F32, 2, huge, data), CLQ_USAGE);
    assert_status(clq_tensors_add(t, "n", CLQ_FILE_F32, 9, dim, data), CLQ_USAGE);
    assert_ok(clq_tensors_set_metadata(t, "k", "v"));
    assert_ok(clq_tensors_set_metadata(t, "k", "w"));
    assert_string_equal(clq_tensors_get_metadata(t, "k"), "w");
    assert_null(clq_tensors_get_metadata(t, "none"));
    clq_tensors_destroy(t);
    clq_tensors_destroy(NULL);
}

static void conversions(void **state) {
    (void)state;
    static const uint16_t halves[] = {0x0000, 0x8000, 0x3c00, 0xc000, 0x7bff,
                                      0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00};
    static const float wanted[] = {0,        -0.0f,      1,        -2,       65504,
                                   0x1p-24f, 0x3ffp-24f, 0x1p-14f, INFINITY, -INFINITY};
    for (int i = 0; i < 10; i++) {
        float x = clq_half_to_float(halves[i]);
        assert_memory_equal(&x, &wanted[i], sizeof x);
    }
    assert_true(isnan(clq_half_to_float(0x7e00)));
    assert_true(clq_bfloat_to_float(0xc040) == -3);
    assert_true(clq_double_to_float(1e300) == INFINITY);
    assert_true(clq_double_to_float(-1e300) == -INFINITY);
    assert_true(clq_double_to_float(0.1) == 0.1f);
    assert_true(clq_double_to_float(FP_NAN) == (float)FP_NAN);
    assert_true(isnan(clq_double_to_float(NAN)));
}

/* ---- round trip ---- */

/* All types, odd sizes, an empty tensor, names and metadata that need escapes. */
static clq_tensors *everything(void) {
    static const int64_t five[1] = {5}, none[2] = {0, 7}, cube[3] = {1, 2, 2};
    static unsigned char data[64];
    clq_tensors *t;
    clq_test_fill_u8(data, sizeof data, 0, 255, 5);
    assert_ok(clq_tensors_create(&t));
    for (int dtype = CLQ_FILE_F32; dtype <= CLQ_FILE_I64; dtype++) {
        char name[32];
        snprintf(name, sizeof name, "layer.%s", clq_file_dtype_name((clq_file_dtype)dtype));
        assert_ok(clq_tensors_add(t, name, (clq_file_dtype)dtype, 1, five, data));
    }
    assert_ok(clq_tensors_add(t, "quote\" back\\slash \xc3\xa9", CLQ_FILE_U8, 3, cube, data));
    assert_ok(clq_tensors_add(t, "empty", CLQ_FILE_I32, 2, none, NULL));
    assert_ok(clq_tensors_add(t, "scalar", CLQ_FILE_F64, 0, NULL, data));
    assert_ok(clq_tensors_set_metadata(t, "z", "last"));
    assert_ok(clq_tensors_set_metadata(t, "format", "pt\n\"x\""));
    return t;
}

static void assert_same_tensors(const clq_tensors *a, const clq_tensors *b) {
    assert_int_equal(clq_tensors_count(a), clq_tensors_count(b));
    for (int i = 0; i < clq_tensors_count(a); i++) {
        const clq_file_tensor *x = clq_tensors_at(a, i), *y = clq_tensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->rank, y->rank);
        assert_memory_equal(x->dim, y->dim, sizeof x->dim);
        assert_int_equal(x->size, y->size);
        assert_int_equal((uintptr_t)y->data % clq_file_dtype_size(y->dtype), 0);
        if (x->size > 0) {
            assert_memory_equal(x->data, y->data, x->size);
        }
    }
}

static void *read_file(const char *name, size_t *size) {
    void *data;
    assert_ok(clq_file_read(clq_test_temp_path(name), 1 << 20, &data, size));
    return data;
}

static void round_trip(void **state) {
    (void)state;
    clq_tensors *t = everything(), *loaded;
    size_t a_size, b_size;
    assert_ok(clq_tensors_save(t, clq_test_temp_path("a.safetensors")));
    assert_ok(clq_tensors_load(clq_test_temp_path("a.safetensors"), &loaded));
    assert_same_tensors(t, loaded);
    assert_string_equal(clq_tensors_get_metadata(loaded, "format"), "pt\n\"x\"");
    assert_ok(clq_tensors_save(loaded, clq_test_temp_path("b.safetensors")));
    void *a = read_file("a.safetensors", &a_size), *b = read_file("b.safetensors", &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a, b, a_size);
    assert_int_equal((8 + ((unsigned char *)a)[0] + 256 * ((unsigned char *)a)[1]) % 8, 0);
    clq_free(a);
    clq_free(b);
    clq_tensors_destroy(t);
    clq_tensors_destroy(loaded);
}

static void empty_file(void **state) {
    (void)state;
    clq_tensors *t, *loaded;
    assert_ok(clq_tensors_create(&t));
    assert_ok(clq_tensors_save(t, clq_test_temp_path("none.safetensors")));
    assert_ok(clq_tensors_load(clq_test_temp_path("none.safetensors"), &loaded));
    assert_int_equal(clq_tensors_count(loaded), 0);
    clq_tensors_destroy(t);
    clq_tensors_destroy(loaded);
    assert_status(clq_tensors_load(clq_test_temp_path("missing"), &loaded), CLQ_NO_INPUT);
}

static void not_utf8(void **state) {
    (void)state;
    clq_tensors *t;
    assert_ok(clq_tensors_create(&t));
    assert_ok(clq_tensors_add(t, "\xff\xfe", CLQ_FILE_U8, 0, NULL, "x"));
    assert_status(clq_tensors_save(t, clq_test_temp_path("bad.safetensors")), CLQ_USAGE);
    assert_false(clq_file_exists(clq_test_temp_path("bad.safetensors")));
    clq_tensors_destroy(t);
}

/* ---- hostile files ---- */

/* A file with this header and `data_size` bytes behind it. */
static clq_status load_header(const char *header, size_t data_size, clq_tensors **t) {
    size_t length = strlen(header), size = 8 + length + data_size;
    unsigned char *file = calloc(1, size);
    for (int i = 0; i < 8; i++) {
        file[i] = (unsigned char)(length >> 8 * i);
    }
    memcpy(file + 8, header, length);
    *t = NULL;
    clq_status status = clq_tensors_load_memory(file, size, "h.safetensors", t);
    free(file);
    return status;
}

static void refuse(const char *header, size_t data_size, const char *error) {
    clq_tensors *t;
    assert_status(load_header(header, data_size, &t), CLQ_BAD_DATA);
    assert_null(t);
    assert_error_has("h.safetensors");
    assert_error_has(error);
}

#define ENTRY(name, dtype, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" begin "," end   \
    "]}"

static void accepted(void **state) {
    (void)state;
    clq_tensors *t; /* data in another order than the header, and not aligned */
    assert_ok(load_header(
        "{" ENTRY("b", "F32", "[1]", "1", "5") "," ENTRY("a", "U8", "[1]", "0", "1") "}   ", 5,
        &t));
    assert_int_equal((uintptr_t)clq_tensors_find(t, "b")->data % 4, 0);
    clq_tensors_destroy(t);
}

static void refused(void **state) {
    (void)state;
    refuse("", 0, "h.safetensors");
    refuse("[]", 0, "must be a JSON object");
    refuse("{", 0, "h.safetensors");
    refuse("{} {}", 0, "h.safetensors");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "__metadata__.a must be a string");
    refuse("{\"__metadata__\":3}", 0, "__metadata__ must be an object");
    refuse("{\"\":{}}", 0, "needs a name");
    refuse("{\"a\":{}}", 0, "must be an object with dtype, shape and data_offsets");
    refuse("{" ENTRY("a", "F8_E4M3", "[1]", "0", "1") "}", 1, "dtype F8_E4M3 is not supported");
    refuse("{" ENTRY("a", "U8", "[1.0]", "0", "1") "}", 1, "shape must be");
    refuse("{" ENTRY("a", "U8", "[-1]", "0", "1") "}", 1, "shape must be");
    refuse("{" ENTRY("a", "U8", "[1,1,1,1,1,1,1,1,1]", "0", "1") "}", 1, "shape must be");
    refuse("{" ENTRY("a", "U8", "[1]", "0", "2") "}", 1, "outside the file's data");
    refuse("{" ENTRY("a", "U8", "[1]", "1", "0") "}", 1, "outside the file's data");
    refuse("{" ENTRY("a", "U8", "[1]", "-1", "0") "}", 1, "data_offsets must be");
    refuse("{" ENTRY("a", "F32", "[1]", "0", "3") "}", 3, "do not span");
    refuse("{" ENTRY("a", "F32", "[4611686018427387905]", "0", "4") "}", 4, "do not span");
    refuse("{" ENTRY("a", "F32", "[4294967296,4294967296]", "0", "0") "}", 0, "do not span");
    refuse("{" ENTRY("a", "U8", "[2]", "0", "2") "," ENTRY("b", "U8", "[2]", "1", "3") "}", 3,
           "overlap");
    refuse("{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("b", "U8", "[1]", "2", "3") "}", 3,
           "gap");
    refuse("{" ENTRY("a", "U8", "[1]", "0", "1") "}", 3, "2 bytes behind the last tensor");
    refuse("{" ENTRY("a", "U8", "[1]", "0", "1") "," ENTRY("a", "U8", "[1]", "1", "2") "}", 2,
           "h.safetensors"); /* a double key */
    refuse("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
           "h.safetensors");
    refuse("{\"a\\u0000b\":{}}", 0, "h.safetensors");
}

static void huge_header(void **state) {
    (void)state;
    clq_tensors *t;
    unsigned char file[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, '{', '}'};
    assert_status(clq_tensors_load_memory(file, sizeof file, "h", &t), CLQ_BAD_DATA);
    assert_error_has("a header of");
    memset(file, 0, 8);
    file[3] = 2; /* 32 MiB, which the file does not have */
    assert_status(clq_tensors_load_memory(file, sizeof file, "h", &t), CLQ_BAD_DATA);
    for (size_t size = 0; size < 8; size++) {
        assert_status(clq_tensors_load_memory(file, size, "h", &t), CLQ_BAD_DATA);
    }
}

static void damaged(void **state) {
    (void)state;
    clq_tensors *t = everything();
    size_t size;
    assert_ok(clq_tensors_save(t, clq_test_temp_path("a.safetensors")));
    clq_tensors_destroy(t);
    unsigned char *data = read_file("a.safetensors", &size);
    for (size_t length = 0; length < size; length++) {
        unsigned char *copy = calloc(length + (length == 0), 1);
        memcpy(copy, data, length);
        assert_status(clq_tensors_load_memory(copy, length, "cut", &t), CLQ_BAD_DATA);
        free(copy);
    }
    for (size_t i = 0; i < size * 8; i++) {
        data[i / 8] ^= (unsigned char)(1 << i % 8);
        t = NULL;
        clq_status status = clq_tensors_load_memory(data, size, "flip", &t);
        assert_true(status == CLQ_OK || status == CLQ_BAD_DATA);
        clq_tensors_destroy(t);
        data[i / 8] ^= (unsigned char)(1 << i % 8);
    }
    clq_free(data);
}

/* ---- failing calls ---- */

static void out_of_memory(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("m.safetensors");
    bool done = false;
    for (long nth = 1; !done; nth++) {
        clq_tensors *t = everything(), *loaded = NULL;
        clq_test_fail_allocation(nth);
        clq_status status = clq_tensors_save(t, path);
        if (status == CLQ_OK) {
            status = clq_tensors_load(path, &loaded);
        }
        if (status == CLQ_OK) {
            assert_same_tensors(t, loaded);
        }
        clq_tensors_destroy(loaded);
        assert_int_equal(clq_test_live_allocations(), 0);
        done = clq_test_allocations() < nth;
        clq_test_restore_allocator();
        assert_int_equal(status, done ? CLQ_OK : CLQ_NO_MEMORY);
        clq_tensors_destroy(t);
    }
}

static void failing_files(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("f.safetensors");
    clq_tensors *t = everything();
    bool done = false;
    for (long nth = 1; !done; nth++) {
        clq_test_fail_file_op(nth, 28 /* ENOSPC */);
        clq_status status = clq_tensors_save(t, path);
        done = clq_test_file_ops() < nth;
        assert_int_equal(clq_test_open_files(), 0);
        clq_test_restore_file_ops();
        assert_true(done
                        ? status == CLQ_OK
                        : status == CLQ_IO || status == CLQ_CANNOT_CREATE || clq_file_exists(path));
    }
    clq_tensors_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(container),     cmocka_unit_test(conversions),
        cmocka_unit_test(round_trip),    cmocka_unit_test(empty_file),
        cmocka_unit_test(not_utf8),      cmocka_unit_test(accepted),
        cmocka_unit_test(refused),       cmocka_unit_test(huge_header),
        cmocka_unit_test(damaged),       cmocka_unit_test(out_of_memory),
        cmocka_unit_test(failing_files),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
