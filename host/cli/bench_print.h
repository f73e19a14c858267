/* The tables of `clquant bench`. */
#ifndef CLQUANT_CLI_BENCH_PRINT_H
#define CLQUANT_CLI_BENCH_PRINT_H

#include "bench/compare.h"

/* All print on standard output. */
/* A device, which the tables below it do not name again, and what it was measured to do. */
void clq_print_device(const clq_device_info *info, const clq_device_limits *limits);
/* A row a result of one device; with times from start to first result where they were measured. */
clq_status clq_print_results(const clq_bench_result *results, size_t count);
/* A row a layer. */
clq_status clq_print_layers(const clq_bench_result *result);
/* A row a layer of an explained integer result, and what the causes cost together. */
clq_status clq_print_explanations(const clq_bench_result *result);
/* A row a result, then what only one side has. */
clq_status clq_print_comparison(const clq_comparison *comparison);
/* A row a training step, then a row a kernel of each. */
clq_status clq_print_train_results(const clq_train_bench_result *results, size_t count);

#endif
