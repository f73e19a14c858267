/* Files of other kinds given as a model or as weights: said by name, with the way out. */
#include <clquant/formats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "support/clq_test.h"

/* Loads the file as both; NULL: not the one in question. */
static void check(const char *path, const char *as_model, const char *as_weights) {
    clq_graph *graph = NULL;
    clq_tensors *tensors = NULL;
    if (as_model) {
        assert_status(clq_onnx_load(path, &graph), CLQ_BAD_DATA);
        assert_error_has(path);
        assert_error_has(as_model);
    }
    if (as_weights) {
        assert_status(clq_tensors_load(path, &tensors), CLQ_BAD_DATA);
        assert_error_has(path);
        assert_error_has(as_weights);
    }
}

static void check_bytes(const void *bytes, size_t size, const char *as_model,
                        const char *as_weights) {
    const char *path = clq_test_temp_path("file");
    assert_ok(clq_file_write_atomic(path, bytes, size));
    check(path, as_model, as_weights);
}
#define CHECK(bytes, as_model, as_weights)                                                         \
    check_bytes(bytes, sizeof(bytes) - 1, as_model, as_weights)

static void said_by_name(void **state) {
    (void)state;
    CHECK("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
          "is a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`",
          "is a Git LFS pointer, not the file itself; fetch the file with `git lfs pull`");
    CHECK("", "is empty", "is empty");
    CHECK("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", "is a PyTorch checkpoint",
          "safetensors.torch.save_file");
    CHECK("\x89HDF\r\n\x1a\n\0\0\0\0", "Keras .h5); convert the network to ONNX with tf2onnx",
          "give the weights as safetensors");
    CHECK("\x1c\0\0\0TFL3\x14\0\0\0", "is a TensorFlow Lite model", "is a TensorFlow Lite model");
    CHECK("\x1f\x8b\x08\0\0\0\0\0", "compressed by gzip; unpack it", "compressed by gzip");
    CHECK("\n\n<!DOCTYPE html>\n<html><title>404</title></html>", "is a web page (HTML)",
          "download the file again");
    CHECK("<HTML><body>Sign in</body>", "is a web page (HTML)", "is a web page (HTML)");
    CHECK("{\"error\": \"not found\"}", "is a JSON text", "is a JSON text");
    CHECK("{\"weight_map\": {\"fc.weight\": \"model-00001.safetensors\"}}", "the index of weights",
          "join the files that it names");
    CHECK("Entry not found at this address\n", "is a text", "is a text");
    CHECK("PK\3\4\x14\0\0\0\0\0", "is a zip archive", "is a zip archive");
    CHECK("\x08\x01\x12\x80\x02\x0a\x10\x08", "is a TensorFlow SavedModel", NULL);
    CHECK("\x0a\x10\x0a\x01x\x12\x0bPlaceholder", "is a TensorFlow graph", NULL);
    CHECK("\x08\x08\x12\x07pytorch\x3a", NULL, "is an ONNX model, where weights are expected");
    CHECK("\x40\0\0\0\0\0\0\0{\"__metadata__\":{}}", "clquant convert --network NAME --weights",
          NULL);
}

/* torch.save pads its entries by an extra field of its own. */
static void zip_archives(void **state) {
    (void)state;
    uint8_t zip[64] = "PK\3\4";
    zip[26] = 10;
    memcpy(zip + 30, "w/data.pkl", 10);
    check_bytes(zip, sizeof zip, "is a PyTorch file (.pt, .pth); export the network",
                "save its state_dict");
    zip[26] = 7;
    memcpy(zip + 30, "w/.dataFB\0\0", 11);
    check_bytes(zip, sizeof zip, "is a PyTorch file", "is a PyTorch file");
    memcpy(zip + 30, "fc1.npy\0\0\0", 10);
    check_bytes(zip, sizeof zip, "is a NumPy archive", "is a NumPy archive");
}

/* Every beginning of a file, and every byte of it changed, is read within its bounds. */
static void cut(void **state) {
    static const char seeds[][32] = {"PK\3\4            \x0b\0 w/data.pkl", "\x08\x01\x12\xff\xff",
                                     "\x0a\x10\x0a\x01x\x12\x0bPlaceholder", "  <!doctype html"};
    (void)state;
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        for (size_t size = 0; size <= 32; size++) {
            clq_graph *graph = NULL;
            clq_tensors *tensors = NULL;
            uint8_t *copy = malloc(size + (size == 0));
            memcpy(copy, seeds[i], size);
            assert_status(clq_onnx_load_memory(copy, size, "cut", &graph), CLQ_BAD_DATA);
            assert_status(clq_tensors_load_memory(copy, size, "cut", &tensors), CLQ_BAD_DATA);
            free(copy);
        }
    }
}

static void folders(void **state) {
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", clq_test_temp_path("folder"));
    assert_ok(clq_make_dirs(path));
    check(path, "is a folder; give an .onnx file", "is a folder; give a .safetensors file");
    char *inside = clq_path_join(path, "net.onnx");
    assert_ok(clq_file_write_atomic(inside, "x", 1));
    clq_free(inside);
    check(path, "such as \"net.onnx\"", "is a folder; give a .safetensors file");
    inside = clq_path_join(path, "saved_model.pb");
    assert_ok(clq_file_write_atomic(inside, "x", 1));
    clq_free(inside);
    check(path, "is a TensorFlow SavedModel; convert the network to ONNX", NULL);
}

/* What protobuf cannot hold is not read. */
static void too_large(void **state) {
    (void)state;
    const char *path = clq_test_temp_path("large.onnx");
    clq_graph *graph = NULL;
    assert_ok(clq_file_write_atomic(path, "\x08\x08\x12\x07pytorch", 11));
    assert_int_equal(truncate(path, 3000000000), 0);
    assert_status(clq_onnx_load(path, &graph), CLQ_BAD_DATA);
    assert_error_has("large.onnx: has 3000000000 bytes, but ONNX (protobuf) ends at 2 GiB");
    assert_error_has("external data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said_by_name), cmocka_unit_test(zip_archives), cmocka_unit_test(cut),
        cmocka_unit_test(folders),      cmocka_unit_test(too_large),
    };
    return cmocka_run_group_tests(tests, clq_test_setup_temp_dir, clq_test_teardown_temp_dir);
}
