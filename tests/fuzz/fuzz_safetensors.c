/* Fuzzes the safetensors loader: any bytes give tensors inside the file or an error. Every byte of
 * every tensor is read.
 *
 *     cmake -B build-fuzz -DCMAKE_C_COMPILER=clang -DCLQ_FUZZ=ON -DCLQ_SANITIZE=address,undefined
 *     build-fuzz/fuzz_safetensors -max_len=20000 corpus tests/formats/data */
#include <clquant/formats.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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
        if (clq_tensors_find(tensors, tensor->name) != tensor) {
            abort();
        }
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
