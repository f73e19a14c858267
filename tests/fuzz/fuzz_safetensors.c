/* The safetensors loader: any bytes give tensors inside the file or an error. Every byte of every
 * tensor is read. */
#include <clquant/formats.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static unsigned char sum; /* kept, so that the reads are */
    clq_tensors *tensors = NULL;
    if (clq_tensors_load_memory(data, size, "fuzz", &tensors) != CLQ_OK) {
        return 0;
    }
    for (int i = 0; i < clq_tensors_count(tensors); i++) {
        const clq_file_tensor *tensor = clq_tensors_at(tensors, i);
        for (size_t k = 0; k < tensor->size; k++) {
            sum = (unsigned char)(sum + ((const unsigned char *)tensor->data)[k]);
        }
        fuzz_check(clq_tensors_find(tensors, tensor->name) == tensor, "found by name");
        size_t count = tensor->size / clq_file_dtype_size(tensor->dtype);
        float *floats = clq_calloc(count, sizeof *floats);
        if (floats) {
            (void)clq_file_tensor_to_f32(tensor, floats);
        }
        clq_free(floats);
    }
    clq_tensors_destroy(tensors);
    return 0;
}

void fuzz_seeds(void) {
    static const char small[] = "\x3c\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
                                "\"data_offsets\":[0,8]}}         abcdefgh";
    fuzz_add(small, sizeof small - 1);
    fuzz_add_file("tests/formats/data/tiny.safetensors");
    fuzz_add_file("tests/formats/data/tiny_io.safetensors");
}
