#include "bench/compare.h"

#include <string.h>

#include "base/json.h"
#include "base/ranges.h"

enum { MAX_ROWS = 1000, MAX_SAMPLES = 1 << 16, SEED = 1 };
static const double LEAST_MS = 1e-9, MOST_MS = 1e12;

/* ---- the base ---- */

static clq_status read_samples(clq_json_reader *reader, clq_base_row *row) {
    const json_t *samples = NULL;
    CLQ_TRY(clq_json_read_array(reader, "samples_ms", &samples));
    const size_t count = json_array_size(samples);
    if (count < 1 || count > MAX_SAMPLES) {
        return clq_json_fail(reader, "samples_ms", "must have 1..%d elements, has %zu", MAX_SAMPLES,
                             count);
    }
    row->samples = clq_calloc(count, sizeof *row->samples);
    if (!row->samples) {
        return CLQ_NO_MEMORY;
    }
    return clq_json_read_f64_array(reader, "samples_ms", LEAST_MS, MOST_MS, row->samples, count,
                                   &row->sample_count);
}

static clq_status read_said(clq_json_reader *reader, const char *key, const char **value) {
    *value = "";
    return clq_json_has(reader, key) ? clq_json_read_string(reader, key, value) : CLQ_OK;
}

static clq_status read_row(clq_json_reader *reader, clq_base_row *row) {
    static const char *const keys[] = {"model", "device", "batch", "precision", "samples_ms"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        CLQ_TRY(clq_json_require(reader, keys[i]));
    }
    CLQ_TRY(clq_json_read_string(reader, "model", &row->model));
    CLQ_TRY(clq_json_read_string(reader, "device", &row->device));
    CLQ_TRY(clq_json_read_string(reader, "precision", &row->precision));
    CLQ_TRY(read_said(reader, "driver", &row->driver));
    CLQ_TRY(read_said(reader, "dot_path", &row->dot_path));
    CLQ_TRY(clq_json_read_int(reader, "batch", 1, INT32_MAX, &row->batch));
    return read_samples(reader, row);
}

clq_status clq_bench_base_read(const char *path, clq_bench_base *base) {
    clq_json_reader reader, element;
    const json_t *results = NULL;
    int schema = 0;
    base->path = clq_strdup(path);
    if (!base->path) {
        return CLQ_NO_MEMORY;
    }
    CLQ_TRY(clq_json_load(path, &base->json));
    CLQ_TRY(clq_json_reader_init(&reader, base->path, base->json));
    CLQ_TRY(clq_json_require(&reader, "schema"));
    CLQ_TRY(clq_json_read_int(&reader, "schema", 1, 1, &schema));
    CLQ_TRY(read_said(&reader, "version", &base->version));
    CLQ_TRY(clq_json_require(&reader, "results"));
    CLQ_TRY(clq_json_read_array(&reader, "results", &results));
    const size_t count = json_array_size(results);
    if (count > MAX_ROWS) {
        return clq_json_fail(&reader, "results", "must have at most %d elements, has %zu", MAX_ROWS,
                             count);
    }
    base->rows = clq_calloc(count, sizeof *base->rows);
    if (!base->rows) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(clq_json_read_element(&reader, "results", results, i, &element));
        if (!clq_json_has(&element, "mode")) { /* else a training step, which has no latency */
            CLQ_TRY(read_row(&element, &base->rows[base->row_count++]));
        }
    }
    return CLQ_OK;
}

static clq_status median_of(const clq_base_row *row, double *median) {
    double *sorted = clq_calloc(row->sample_count, sizeof *sorted);
    if (!sorted) {
        return CLQ_NO_MEMORY;
    }
    memcpy(sorted, row->samples, row->sample_count * sizeof *sorted);
    *median = clq_latency_of(sorted, row->sample_count).median;
    clq_free(sorted);
    return CLQ_OK;
}

void clq_bench_base_clear(clq_bench_base *base) {
    for (size_t i = 0; i < base->row_count; i++) {
        clq_free(base->rows[i].samples);
    }
    clq_free(base->rows);
    clq_free(base->path);
    json_decref(base->json);
    *base = (clq_bench_base){0};
}

clq_status clq_bench_base_results(const clq_bench_base *base, clq_bench_result **results) {
    clq_bench_result *made = clq_calloc(base->row_count, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < base->row_count; i++) {
        const clq_base_row *row = &base->rows[i];
        made[i] = (clq_bench_result){.model = (char *)row->model,
                                     .device = (char *)row->device,
                                     .driver = (char *)row->driver,
                                     .batch = row->batch,
                                     .precision = row->precision,
                                     .dot_path = row->dot_path,
                                     .samples = row->samples,
                                     .sample_count = row->sample_count};
        const clq_status status = median_of(row, &made[i].latency.median);
        if (status != CLQ_OK) {
            clq_free(made);
            return status;
        }
    }
    *results = made;
    return CLQ_OK;
}

/* ---- comparing ---- */

/* The first unused row of the same case, on whatever device if `any_device`; NULL when there is
 * none. */
static clq_base_row *find_row(clq_bench_base *base, const clq_bench_result *result,
                              bool any_device) {
    for (size_t i = 0; i < base->row_count; i++) {
        clq_base_row *row = &base->rows[i];
        if (!row->used && row->batch == result->batch && strcmp(row->model, result->model) == 0 &&
            (any_device || strcmp(row->device, result->device) == 0) &&
            strcmp(row->precision, result->precision) == 0) {
            return row;
        }
    }
    return NULL;
}

clq_status clq_bench_compare(clq_bench_base *base, const clq_bench_base *now,
                             const clq_bench_result *results, size_t count, double max_regress,
                             clq_comparison *comparison) {
    size_t matched = 0;
    CLQ_TRY(clq_in_range("max_regress", max_regress, CLQ_IN_MAX_REGRESS));
    *comparison =
        (clq_comparison){.base = base, .now = now, .max_regress = max_regress, .count = count};
    comparison->changes = clq_calloc(count, sizeof *comparison->changes);
    if (!comparison->changes) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        clq_change *change = &comparison->changes[i];
        clq_base_row *row = find_row(base, &results[i], false);
        if (!row && now) {
            row = find_row(base, &results[i], true);
        }
        *change = (clq_change){.result = &results[i], .row = row};
        if (row) {
            CLQ_TRY(clq_median_ratio(row->samples, row->sample_count, results[i].samples,
                                     results[i].sample_count, SEED, &change->ratio));
            CLQ_TRY(median_of(row, &change->base_median));
            row->used = true;
            change->failed = change->ratio.low > 1 + max_regress;
            comparison->failed += change->failed;
            matched++;
        }
    }
    return matched > 0 ? CLQ_OK
                       : clq_fail(CLQ_BAD_DATA,
                                  "%s: none of its %zu results is of a model, %sbatch and "
                                  "precision of %s",
                                  base->path, base->row_count, now ? "" : "device, ",
                                  now ? now->path : "this run");
}

void clq_comparison_clear(clq_comparison *comparison) {
    clq_free(comparison->changes);
    *comparison = (clq_comparison){0};
}

/* ---- what was not the same ---- */

static size_t add_difference(const char *what, const char *base, const char *now,
                             clq_difference *differences, size_t count) {
    if (!base || !now || !*base || !*now || strcmp(base, now) == 0) {
        return count;
    }
    for (size_t i = 0; i < count; i++) {
        const clq_difference *d = &differences[i];
        if (d->what == what && strcmp(d->base, base) == 0 && strcmp(d->now, now) == 0) {
            return count;
        }
    }
    if (count < CLQ_MAX_DIFFERENCES) {
        differences[count++] = (clq_difference){what, base, now};
    }
    return count;
}

size_t clq_comparison_differences(const clq_comparison *comparison,
                                  clq_difference differences[CLQ_MAX_DIFFERENCES]) {
    static const char device[] = "device", driver[] = "driver", path[] = "dot path",
                      version[] = "version";
    const char *now = comparison->now ? comparison->now->version : clq_version();
    size_t count = add_difference(version, comparison->base->version, now, differences, 0);
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_base_row *row = comparison->changes[i].row;
        const clq_bench_result *r = comparison->changes[i].result;
        if (row) {
            count = add_difference(device, row->device, r->device, differences, count);
            count = add_difference(driver, row->driver, r->driver, differences, count);
            count = add_difference(path, row->dot_path, r->dot_path, differences, count);
        }
    }
    return count;
}

/* ---- results ---- */

static json_t *identity(const char *model, const char *device, int batch, const char *precision) {
    json_t *json = json_object();
    json_object_set_new(json, "model", clq_json_string(model));
    json_object_set_new(json, "device", clq_json_string(device));
    json_object_set_new(json, "batch", json_integer(batch));
    json_object_set_new(json, "precision", clq_json_string(precision));
    return json;
}

static json_t *differences_to_json(const clq_comparison *comparison) {
    clq_difference differences[CLQ_MAX_DIFFERENCES];
    const size_t count = clq_comparison_differences(comparison, differences);
    json_t *json = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_object();
        json_object_set_new(one, "what", clq_json_string(differences[i].what));
        json_object_set_new(one, "base", clq_json_string(differences[i].base));
        json_object_set_new(one, "now", clq_json_string(differences[i].now));
        json_array_append_new(json, one);
    }
    return json;
}

json_t *clq_comparison_to_json(const clq_comparison *comparison) {
    json_t *json = json_object(), *rows = json_array(), *added = json_array();
    json_t *missing = json_array();
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_change *change = &comparison->changes[i];
        const clq_bench_result *r = change->result;
        json_t *row = identity(r->model, r->device, r->batch, r->precision);
        if (change->row) {
            json_object_set_new(row, "base_median_ms", clq_json_real(change->base_median));
            json_object_set_new(row, "median_ms", clq_json_real(r->latency.median));
            json_object_set_new(row, "ratio", clq_json_real(change->ratio.value));
            json_object_set_new(row, "low", clq_json_real(change->ratio.low));
            json_object_set_new(row, "high", clq_json_real(change->ratio.high));
            json_object_set_new(row, "failed", json_boolean(change->failed));
        }
        json_array_append_new(change->row ? rows : added, row);
    }
    for (size_t i = 0; i < comparison->base->row_count; i++) {
        const clq_base_row *row = &comparison->base->rows[i];
        if (!row->used) {
            json_array_append_new(missing,
                                  identity(row->model, row->device, row->batch, row->precision));
        }
    }
    json_object_set_new(json, "base", clq_json_string(comparison->base->path));
    json_object_set_new(json, "now",
                        comparison->now ? clq_json_string(comparison->now->path) : json_null());
    json_object_set_new(json, "differences", differences_to_json(comparison));
    json_object_set_new(json, "max_regress", clq_json_real(comparison->max_regress));
    json_object_set_new(json, "failed", json_integer((json_int_t)comparison->failed));
    json_object_set_new(json, "rows", rows);
    json_object_set_new(json, "missing", missing);
    json_object_set_new(json, "added", added);
    return json;
}

clq_status clq_comparison_gate(const clq_comparison *comparison) {
    const clq_change *worst = NULL;
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_change *change = &comparison->changes[i];
        if (change->failed && (!worst || change->ratio.value > worst->ratio.value)) {
            worst = change;
        }
    }
    return worst ? clq_fail(CLQ_GATE_FAILED,
                            "%zu of %zu results are more than %g %% slower than in %s; worst: %s, "
                            "batch %d, %.1f %% slower",
                            comparison->failed, comparison->count, 100 * comparison->max_regress,
                            comparison->base->path, worst->result->model, worst->result->batch,
                            100 * (worst->ratio.value - 1))
                 : CLQ_OK;
}
