/* The gate of `clquant bench --compare`: this run, or a saved one, against an earlier one's JSON.
 */
#ifndef CLQUANT_BENCH_COMPARE_H
#define CLQUANT_BENCH_COMPARE_H

#include <jansson.h>

#include "bench/bootstrap.h"

/* What is compared of an earlier result. */
typedef struct clq_base_row {
    const char *model, *device, *precision;
    const char *driver, *dot_path; /* "" where the file does not say */
    int batch;
    double *samples; /* (sample_count) ms, owned */
    size_t sample_count;
    bool used; /* a result of this run was compared with it */
} clq_base_row;

typedef struct clq_bench_base {
    char *path;          /* owned */
    json_t *json;        /* owns the rows' strings */
    const char *version; /* clquant's; "" where the file does not say */
    clq_base_row *rows;
    size_t row_count;
} clq_bench_base; /* starts zeroed */

/* Reads what `clquant bench --json` wrote. CLQ_NO_INPUT, or CLQ_BAD_DATA with the file, the place
 * and the rule. Clear it after a failure too. */
clq_status clq_bench_base_read(const char *path, clq_bench_base *base);
void clq_bench_base_clear(clq_bench_base *base);

/* The rows of a file as results (row_count), which have what a comparison needs and lend it from
 * the file; clq_free them, and do not clear them. */
clq_status clq_bench_base_results(const clq_bench_base *base, clq_bench_result **results);

typedef struct clq_change {
    const clq_bench_result *result; /* of this run */
    const clq_base_row *row;        /* NULL: the base has none of this model, device, batch and
                                       precision */
    double base_median;             /* ms, of its samples */
    clq_ratio ratio;                /* of the medians, this run's to the base's */
    bool failed;                    /* certainly more than max_regress slower */
} clq_change;

typedef struct clq_comparison {
    const clq_bench_base *base, *now; /* now NULL: this run */
    double max_regress;               /* 0.05: 5 % slower is still accepted */
    clq_change *changes;              /* one for each result, in order; owned */
    size_t count, failed;
} clq_comparison; /* starts zeroed */

/* Matches rows and compares them; rows that are alike in all four are matched in order. `now` is
 * the file that the results are from, NULL for this run: only between two files may the device be
 * another one, where none is the same. A result fails when even the lower end of the ratio's
 * interval is above 1 + max_regress. CLQ_BAD_DATA when no row matches. Base, file and results must
 * outlive the comparison; clear it after a failure too. */
clq_status clq_bench_compare(clq_bench_base *base, const clq_bench_base *now,
                             const clq_bench_result *results, size_t count, double max_regress,
                             clq_comparison *comparison);
void clq_comparison_clear(clq_comparison *comparison);

/* What two results that are compared were measured with, where it is not the same. */
typedef struct clq_difference {
    const char *what; /* "device", "driver", "dot path", "version" */
    const char *base, *now;
} clq_difference;
enum { CLQ_MAX_DIFFERENCES = 16 };
/* Each once; how many there are, at most CLQ_MAX_DIFFERENCES. */
size_t clq_comparison_differences(const clq_comparison *comparison,
                                  clq_difference differences[CLQ_MAX_DIFFERENCES]);

json_t *clq_comparison_to_json(const clq_comparison *comparison);
/* CLQ_GATE_FAILED when a row failed; the error names the worst. */
clq_status clq_comparison_gate(const clq_comparison *comparison);

#endif
