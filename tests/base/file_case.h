/* What tests of files share: small texts in files, and tests in a temporary folder. */
#ifndef CLQ_TEST_FILE_CASE_H
#define CLQ_TEST_FILE_CASE_H

#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "support/clq_test.h"

static inline void put(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

static inline void assert_content(const char *path, const char *expected) {
    void *data = NULL;
    size_t size = 0;
    assert_ok(clq_file_read(path, 1 << 20, &data, &size));
    assert_int_equal(size, strlen(expected));
    assert_string_equal(data, expected);
    clq_free(data);
}

#define file_test(name)                                                                            \
    cmocka_unit_test_setup_teardown(name, clq_test_setup_temp_dir, clq_test_teardown_temp_dir)

#endif
