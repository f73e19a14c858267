/* eval-*.json and verify-*.json. */
#include <math.h>
#include <stdio.h>

#include "base/text.h"
#include "report/run_data.h"

/* ---- evaluation ---- */

static clq_status read_confusion_row(const clq_json_reader *reader, const json_t *row, int index,
                                     int64_t *counts, int64_t *sum, clq_run_evaluation *out) {
    char place[64];
    snprintf(place, sizeof place, "confusion[%d]", index);
    if (!json_is_array(row) || json_array_size(row) != (size_t)out->classes) {
        return clq_json_fail(reader, place, "must be an array of %d counts, as there are %d rows",
                             out->classes, out->classes);
    }
    for (int c = 0; c < out->classes; c++) {
        const json_t *count = json_array_get(row, (size_t)c);
        const int64_t value = json_integer_value(count);
        snprintf(place, sizeof place, "confusion[%d][%d]", index, c);
        if (!json_is_integer(count) || value < 0) {
            return clq_json_fail(reader, place, "must be an integer of at least 0");
        }
        if (value > out->images - *sum) {
            return clq_json_fail(reader, place, "brings the counts to more than the %lld image%s",
                                 (long long)out->images, clq_plural(out->images));
        }
        *sum += value;
        counts[c] = value;
    }
    return CLQ_OK;
}

static clq_status read_confusion(clq_json_reader *reader, clq_run_evaluation *out) {
    const json_t *rows = NULL;
    size_t classes;
    int64_t sum = 0;
    CLQ_TRY(clq_run_read_array(reader, "confusion", CLQ_RUN_MAX_CLASSES, &rows, &classes));
    if (classes == 0) {
        return CLQ_OK;
    }
    out->classes = (int)classes;
    out->confusion = clq_calloc(classes * classes, sizeof *out->confusion);
    if (!out->confusion) {
        return CLQ_NO_MEMORY;
    }
    for (size_t r = 0; r < classes; r++) {
        CLQ_TRY(read_confusion_row(reader, json_array_get(rows, r), (int)r,
                                   out->confusion + r * classes, &sum, out));
    }
    if (sum != out->images) {
        return clq_json_fail(reader, "confusion", "counts %lld image%s, but there are %lld",
                             (long long)sum, clq_plural(sum), (long long)out->images);
    }
    return CLQ_OK;
}

static clq_status read_classes(clq_json_reader *reader, clq_run_evaluation *out) {
    const json_t *names = NULL;
    CLQ_TRY(clq_json_read_array(reader, "classes", &names));
    const size_t count = json_array_size(names);
    if (count == 0 || out->classes == 0) {
        return CLQ_OK;
    }
    if (count > (size_t)out->classes) {
        return clq_json_fail(reader, "classes", "has %zu names, but the matrix has %d row%s", count,
                             out->classes, clq_plural(out->classes));
    }
    out->names = clq_calloc((size_t)out->classes, sizeof *out->names);
    if (!out->names) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        out->names[i] = json_string_value(json_array_get(names, i));
        if (!out->names[i]) {
            char place[64];
            snprintf(place, sizeof place, "classes[%zu]", i);
            return clq_json_fail(reader, place, "must be a string");
        }
    }
    return CLQ_OK;
}

clq_status clq_run_read_evaluation(const char *file, const json_t *json, clq_run_evaluation *out) {
    clq_json_reader reader;
    out->top1 = out->top5 = out->loss = out->r2 = NAN;
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    CLQ_TRY(clq_json_require(&reader, "images"));
    CLQ_TRY(clq_json_read_i64(&reader, "images", 0, INT64_MAX, &out->images));
    CLQ_TRY(clq_run_read_real(&reader, "top1", 0, 1, &out->top1));
    CLQ_TRY(clq_run_read_real(&reader, "top5", 0, 1, &out->top5));
    CLQ_TRY(clq_run_read_real(&reader, "loss", -1e30, 1e30, &out->loss));
    CLQ_TRY(clq_run_read_real(&reader, "r2", -CLQ_RUN_LARGE, 1, &out->r2));
    CLQ_TRY(read_confusion(&reader, out));
    CLQ_TRY(read_classes(&reader, out));
    out->present = true;
    return CLQ_OK;
}

/* ---- verification ---- */

static clq_status read_paths(clq_json_reader *reader, clq_run_verification *out) {
    clq_json_reader paths;
    const char *key;
    json_t *value;
    CLQ_TRY(clq_json_read_object(reader, "dot_paths", &paths));
    const size_t count = json_object_size(paths.object);
    out->paths = clq_calloc(count, sizeof *out->paths);
    out->path_sha256 = clq_calloc(count, sizeof *out->path_sha256);
    if (!out->paths || !out->path_sha256) {
        return CLQ_NO_MEMORY;
    }
    /* jansson's iteration takes a non-const pointer and changes nothing. */
    json_object_foreach((json_t *)paths.object, key, value) {
        if (!json_is_string(value)) {
            return clq_json_fail(&paths, key, "must be a string");
        }
        out->paths[out->path_count] = key;
        out->path_sha256[out->path_count++] = json_string_value(value);
    }
    return CLQ_OK;
}

clq_status clq_run_read_verification(const char *file, const json_t *json,
                                     clq_run_verification *out) {
    clq_json_reader reader;
    out->first_mismatch = out->sha256 = "";
    out->compared = -1;
    CLQ_TRY(clq_json_reader_init(&reader, file, json));
    CLQ_TRY(clq_run_read_schema(&reader));
    CLQ_TRY(clq_json_require(&reader, "images"));
    CLQ_TRY(clq_json_require(&reader, "mismatched_codes"));
    CLQ_TRY(clq_json_read_i64(&reader, "images", 0, INT64_MAX, &out->images));
    CLQ_TRY(clq_json_read_i64(&reader, "compared_codes", 0, INT64_MAX, &out->compared));
    CLQ_TRY(clq_json_read_i64(&reader, "mismatched_codes", 0, INT64_MAX, &out->mismatched));
    if (out->compared >= 0 && out->mismatched > out->compared) {
        return clq_json_fail(&reader, "mismatched_codes", "%lld is more than the %lld compared",
                             (long long)out->mismatched, (long long)out->compared);
    }
    if (!json_is_null(json_object_get(json, "first_mismatch"))) {
        CLQ_TRY(clq_json_read_string(&reader, "first_mismatch", &out->first_mismatch));
    }
    CLQ_TRY(clq_json_read_string(&reader, "logits_sha256", &out->sha256));
    CLQ_TRY(read_paths(&reader, out));
    out->present = true;
    return CLQ_OK;
}
