/* What tests of data sets share: opening them, or failing to. */
#ifndef CLQ_TEST_DATASET_CASE_H
#define CLQ_TEST_DATASET_CASE_H

#include <clquant/data.h>

#include "support/clq_test.h"

static const clq_dataset_options train = {.split = CLQ_SPLIT_TRAIN};
static const clq_dataset_options test = {.split = CLQ_SPLIT_TEST};

static inline clq_dataset *open_ok(const char *path, clq_dataset_options options) {
    clq_dataset *dataset = NULL;
    options.threads = 2;
    assert_ok(clq_dataset_open(path, &options, &dataset));
    return dataset;
}

static inline void assert_fails(const char *path, clq_dataset_options options, clq_status status,
                                const char *text) {
    clq_dataset *dataset = (clq_dataset *)&dataset;
    assert_status(clq_dataset_open(path, &options, &dataset), status);
    assert_error_has(text);
    assert_null(dataset);
}

#endif
