#include "graph/shape.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/arguments.h"
#include "base/checked.h"

size_t clq_dtype_size(clq_dtype dtype) {
    switch (dtype) {
    case CLQ_F32:
    case CLQ_S32:
        return 4;
    case CLQ_U8:
    case CLQ_S8:
        return 1;
    case CLQ_S4:
        return 0;
    }
    return 0;
}

int64_t clq_dtype_bytes(clq_dtype dtype, int64_t count) {
    return dtype == CLQ_S4 ? count / 2 + count % 2 : count * (int64_t)clq_dtype_size(dtype);
}

int64_t clq_shape_count(const clq_shape *shape) {
    CLQ_NEEDS_OR(0, shape);
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        count *= shape->dim[i];
    }
    return count;
}

bool clq_shape_equal(const clq_shape *a, const clq_shape *b) {
    CLQ_NEEDS_OR(false, a, b);
    if (a->rank != b->rank) {
        return false;
    }
    for (int i = 0; i < a->rank; i++) {
        if (a->dim[i] != b->dim[i]) {
            return false;
        }
    }
    return true;
}

void clq_shape_text(const clq_shape *shape, char *text, size_t size) {
    CLQ_NEEDS_OR(, shape);
    if (!text) {
        return;
    }
    size_t used = 0;
    int rank = shape->rank < CLQ_MAX_RANK ? shape->rank : CLQ_MAX_RANK;
    if (size > 0) {
        text[0] = '\0';
    }
    for (int i = 0; i < rank && used < size; i++) {
        int length =
            snprintf(text + used, size - used, i ? "x%" PRId64 : "%" PRId64, shape->dim[i]);
        used += length > 0 ? (size_t)length : 0;
    }
}

clq_status clq_shape_check(const clq_shape *shape) {
    if (shape->rank < 1 || shape->rank > CLQ_MAX_RANK) {
        return clq_fail(CLQ_BAD_DATA, "rank %d must be 1..%d", shape->rank, CLQ_MAX_RANK);
    }
    char text[CLQ_SHAPE_TEXT_SIZE];
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dim[i] < 1) {
            clq_shape_text(shape, text, sizeof text);
            return clq_fail(CLQ_BAD_DATA, "shape %s: every dimension must be at least 1", text);
        }
        if (!clq_mul_i64(count, shape->dim[i], &count) || count > CLQ_MAX_ELEMENTS) {
            clq_shape_text(shape, text, sizeof text);
            return clq_fail(CLQ_BAD_DATA, "shape %s: more than 2^31 - 1 elements", text);
        }
    }
    return CLQ_OK;
}
