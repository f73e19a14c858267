/* Where a tensor's bytes are: three lines, location, offset and length, and a fourth of how many
 * bytes the tensor needs. What is read are bytes of a file below the folder, and no others. */
#include <stdlib.h>
#include <string.h>

#include "formats/onnx/external.h"
#include "fuzz.h"

enum { FILE_SIZE = 300 };

static uint8_t byte_at(size_t i) {
    return (uint8_t)(i * 7 + i / 31);
}

static const char *model_folder(void) {
    static char path[4096];
    if (!path[0]) {
        uint8_t bytes[FILE_SIZE], other[FILE_SIZE];
        for (size_t i = 0; i < FILE_SIZE; i++) {
            bytes[i] = byte_at(i);
            other[i] = (uint8_t)~byte_at(i);
        }
        fuzz_put("secret", other, sizeof other);
        fuzz_put("model/sub/w", bytes, sizeof bytes);
        const char *file = fuzz_put("model/w", bytes, sizeof bytes);
        memcpy(path, file, strlen(file) - 2);
    }
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char *const keys[] = {"location", "offset", "length"};
    Onnx__StringStringEntryProto entries[3], *list[3];
    Onnx__TensorProto tensor = ONNX__TENSOR_PROTO__INIT;
    onnx_external external = {.folder = model_folder()};
    clq_arena arena = {.limit = 1 << 20};
    const void *read = NULL;
    char *text = fuzz_text(data, size), *line = text;
    for (int i = 0; i < 3; i++) {
        char *end = line ? strchr(line, '\n') : NULL;
        onnx__string_string_entry_proto__init(&entries[i]);
        entries[i].key = keys[i];
        entries[i].value = line;
        list[i] = &entries[i];
        if (line && line[0] != '-') { /* "-": the key is missing */
            list[tensor.n_external_data++] = &entries[i];
        }
        if (end) {
            *end = '\0';
        }
        line = end ? end + 1 : NULL;
    }
    tensor.external_data = list;
    const size_t wanted = line ? (size_t)strtoul(line, NULL, 10) : 16;
    if (onnx_external_read(&external, &arena, &tensor, wanted, &read) == CLQ_OK) {
        const char *given = entries[1].value;
        const size_t offset = given && given[0] != '-' ? (size_t)strtoul(given, NULL, 10) : 0;
        fuzz_check(wanted <= FILE_SIZE && offset <= FILE_SIZE - wanted, "within the file");
        for (size_t i = 0; i < wanted; i++) {
            fuzz_check(((const uint8_t *)read)[i] == byte_at(offset + i), "the file's bytes");
        }
    }
    onnx_external_free(&external);
    clq_arena_free(&arena);
    clq_free(text);
    return 0;
}

void fuzz_seeds(void) {
    fuzz_add_text("w\n0\n300\n300");
    fuzz_add_text("w\n-\n-\n16");
    fuzz_add_text("sub/w\n284\n16\n16");
    fuzz_add_text("./sub//w\n00\n-\n1");
    fuzz_add_text("../secret\n0\n16\n16");
    fuzz_add_text("sub/../../secret\n0\n-\n16");
    fuzz_add_text("/etc/hostname\n0\n-\n1");
    fuzz_add_text("w\n9223372036854775807\n18446744073709551615\n1");
}
