/* npy: any file gives finite numbers of the header's shape, or an error. */
#include <math.h>
#include <string.h>

#include "data/npy.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    clq_npy array = {0};
    if (clq_npy_read(fuzz_put("x.npy", data, size), &array) == CLQ_OK) {
        int64_t count = 1;
        for (int d = 0; d < array.rank; d++) {
            count *= array.dims[d];
        }
        fuzz_check(count == array.count && count > 0, "count");
        for (int64_t i = 0; i < count; i++) {
            fuzz_check(isfinite(array.values[i]), "is finite");
        }
    }
    clq_npy_free(&array);
    return 0;
}

static void add(const char *type, const char *order, const char *shape, const void *data,
                size_t size) {
    uint8_t file[512] = "\x93NUMPY\x01";
    char *header =
        clq_format("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }\n", type, order, shape);
    const size_t length = strlen(header);
    file[8] = (uint8_t)length;
    memcpy(file + 10, header, length);
    memcpy(file + 10 + length, data, size);
    fuzz_add(file, 10 + length + size);
    clq_free(header);
}

void fuzz_seeds(void) {
    static const float floats[6] = {1, 2, 3, 4, 5, 6};
    static const int64_t integers[2] = {-1, 5};
    add("<f4", "False", "(2, 3)", floats, sizeof floats);
    add(">f8", "False", "(3,)", floats, sizeof floats);
    add("|u1", "True", "(4L, 6L)", floats, sizeof floats);
    add("<i8", "False", "(2, 1)", integers, sizeof integers);
    add("<f2", "True", "(2, 3, 2)", floats, sizeof floats);
}
