/* .npy files made from a header's words, for tests of readers. */
#ifndef CLQ_TEST_NPY_FILE_H
#define CLQ_TEST_NPY_FILE_H

#include <stdint.h>
#include <string.h>

#include "support/clq_test.h"
#include "support/image_files.h"

/* An npy file of version 1 with this dictionary and data. */
static inline const char *test_put_npy(const char *name, const char *dictionary, const void *data,
                                       size_t size) {
    uint8_t file[1024] = "\x93NUMPY\x01";
    const size_t length = strlen(dictionary);
    file[7] = 0;
    file[8] = (uint8_t)length;
    file[9] = (uint8_t)(length >> 8);
    memcpy(file + 10, dictionary, length);
    memcpy(file + 10 + length, data, size);
    const char *path = clq_test_temp_path(name);
    test_file_write(path, file, 10 + length + size);
    return path;
}

#endif
