/* What is done with a table's rows: choosing, ordering, copying, normalizing. */
#include <math.h>
#include <string.h>

#include "base/arguments.h"
#include "base/rng.h"
#include "data/draws.h"

void clq_table_limit(clq_table *table, int64_t limit) {
    CLQ_NEEDS_OR(, table);
    const size_t f = (size_t)table->features, t = (size_t)table->targets;
    if (limit <= 0 || limit >= table->rows) {
        return;
    }
    for (int64_t i = 0; i < limit; i++) { /* row i comes from behind it or from itself */
        const size_t to = (size_t)i, from = (size_t)(i * table->rows / limit);
        memmove(table->x + to * f, table->x + from * f, f * sizeof *table->x);
        if (table->y) {
            memmove(table->y + to * t, table->y + from * t, t * sizeof *table->y);
        } else if (table->labels) {
            table->labels[to] = table->labels[from];
        }
    }
    table->rows = limit;
}

void clq_table_order(const clq_table *table, uint64_t seed, int64_t epoch, uint32_t *order) {
    CLQ_NEEDS_OR(, table, order);
    clq_permutation(seed, clq_draw_stream(CLQ_DRAW_ORDER, epoch), (uint32_t)table->rows, order);
}

void clq_table_gather(const clq_table *table, const uint32_t *numbers, int count, float *x,
                      float *y, int32_t *labels) {
    CLQ_NEEDS_OR(, table, numbers, x);
    if (table->y ? !y : !labels) {
        clq_fail(CLQ_USAGE, "clq_table_gather: %s must not be NULL", table->y ? "y" : "labels");
        return;
    }
    const size_t f = (size_t)table->features, t = (size_t)table->targets;
    for (int i = 0; i < count; i++) {
        const size_t row = numbers[i];
        memcpy(x + (size_t)i * f, table->x + row * f, f * sizeof *x);
        if (table->y) {
            memcpy(y + (size_t)i * t, table->y + row * t, t * sizeof *y);
        } else {
            labels[i] = table->labels ? table->labels[row] : 0;
        }
    }
}

/* ---- normalization of values (rows, columns) ---- */

static void measure(const float *values, int64_t rows, int columns, float *mean, float *std) {
    const size_t c = (size_t)columns;
    for (size_t k = 0; k < c; k++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < rows; i++) {
            sum += values[(size_t)i * c + k];
        }
        const double m = sum / (double)rows;
        for (int64_t i = 0; i < rows; i++) {
            const double d = values[(size_t)i * c + k] - m;
            squares += d * d;
        }
        mean[k] = (float)m;
        std[k] = (float)sqrt(squares / (double)rows);
        std[k] = std[k] > 0 ? std[k] : 1;
    }
}

static void normalize(float *values, int64_t rows, int columns, const float *mean,
                      const float *std) {
    const size_t c = (size_t)columns;
    for (size_t i = 0; i < (size_t)rows * c; i++) {
        values[i] = (values[i] - mean[i % c]) / std[i % c];
    }
}

void clq_table_measure(const clq_table *table, float *mean, float *std) {
    CLQ_NEEDS_OR(, table, mean, std);
    measure(table->x, table->rows, table->features, mean, std);
}

void clq_table_measure_targets(const clq_table *table, float *mean, float *std) {
    CLQ_NEEDS_OR(, table, mean, std);
    measure(table->y, table->rows, table->targets, mean, std);
}

void clq_table_normalize(clq_table *table, const float *mean, const float *std) {
    CLQ_NEEDS_OR(, table, mean, std);
    normalize(table->x, table->rows, table->features, mean, std);
}

clq_status clq_table_normalize_targets(clq_table *table, const float *mean, const float *std) {
    CLQ_NEEDS(table, mean, std);
    const size_t targets = (size_t)table->targets;
    if (!table->target_std) {
        table->target_std = clq_calloc(targets, sizeof *table->target_std);
        if (!table->target_std) {
            return CLQ_NO_MEMORY;
        }
    }
    memcpy(table->target_std, std, targets * sizeof *std);
    normalize(table->y, table->rows, table->targets, mean, std);
    return CLQ_OK;
}
