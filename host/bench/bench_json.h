/* Benchmark results as JSON (schema 1, docs/json.md). */
#ifndef CLQUANT_BENCH_BENCH_JSON_H
#define CLQUANT_BENCH_BENCH_JSON_H

#include <jansson.h>

#include <clquant/bench.h>

json_t *clq_bench_to_json(const clq_bench_result *results, size_t count);
json_t *clq_train_bench_to_json(const clq_train_bench_result *results, size_t count);

#endif
