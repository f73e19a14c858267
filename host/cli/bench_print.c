#include "cli/bench_print.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/numbers.h"
#include "report/table.h"

/* ---- a table that is filled cell by cell ---- */

enum { CELL = 224, MAX_COLUMNS = 24 };

typedef struct column {
    const char *header;
    enum { TEXT, NUMBER, OF_PEAK /* a number that is left out where no peak was measured */ } kind;
} column;

typedef struct table {
    const column *columns; /* (column_count): cells are put for all of them */
    size_t column_count;
    size_t filled; /* cells, row after row */
    char (*text)[CELL];
} table;

static clq_status table_open(table *t, const column *columns, size_t column_count,
                             size_t row_count) {
    *t = (table){.columns = columns, .column_count = column_count};
    t->text = clq_calloc(column_count * row_count, CELL);
    return t->text ? CLQ_OK : CLQ_NO_MEMORY;
}

static void put(table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(table *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    clq_vsnprintf(t->text[t->filled++], CELL, format, list);
    va_end(list);
}

/* Prints and frees it; without the columns of peaks unless there `are_peaks`. */
static clq_status table_close(table *t, bool are_peaks) {
    const char *headers[MAX_COLUMNS];
    int right[MAX_COLUMNS];
    clq_status status = CLQ_NO_MEMORY;
    const char **cells = clq_calloc(t->filled + 1, sizeof *cells);
    size_t columns = 0, count = 0;
    for (size_t c = 0; c < t->column_count; c++) {
        if (are_peaks || t->columns[c].kind != OF_PEAK) {
            headers[columns] = t->columns[c].header;
            right[columns++] = t->columns[c].kind != TEXT;
        }
    }
    for (size_t i = 0; cells && i < t->filled; i++) {
        if (are_peaks || t->columns[i % t->column_count].kind != OF_PEAK) {
            cells[count++] = t->text[i];
        }
    }
    if (cells) {
        status =
            clq_table_print(stdout, headers, right, (int)columns, cells, (int)(count / columns));
    }
    clq_free(cells);
    clq_free(t->text);
    return status;
}

#define COLUMN_COUNT(columns) (sizeof(columns) / sizeof *(columns))

/* ---- devices and results ---- */

static bool are_peaks(const clq_device_limits *limits) {
    return limits->fp32_gflops > 0; /* NaN: not measured */
}

void clq_print_device(const clq_device_info *info, const clq_device_limits *limits) {
    printf("%d:%d %s\n", info->platform_index, info->device_index, info->name);
    if (!are_peaks(limits)) {
        printf("    peaks were not measured, so nothing is set against them\n\n");
        return;
    }
    printf("    %.0f GFLOPS fp32, %.0f GOPS int8 (%s, %.2fx), requantizes %.1f G/s\n"
           "    memory %.1f GB/s, cache %.1f GB/s, a launch %.1f us\n\n",
           limits->fp32_gflops, limits->int8_gops, clq_dot_name(info->dot),
           limits->int8_gops / limits->fp32_gflops, limits->requantize_gcodes, limits->memory_gbs,
           limits->cache_gbs, limits->launch_us);
}

static clq_status print_startups(const clq_bench_result *results, size_t count) {
    static const column columns[] = {{"from start to first result", TEXT},
                                     {"batch", NUMBER},
                                     {"cold ms", NUMBER},
                                     {"second", NUMBER},
                                     {"warm", NUMBER}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_bench_result *r = &results[i];
        if (r->startup.cold > 0) {
            put(&t, "%s", r->model);
            put(&t, "%d", r->batch);
            put(&t, "%.0f", r->startup.cold);
            put(&t, "%.0f", r->startup.second);
            put(&t, "%.0f", r->startup.warm);
        }
    }
    if (t.filled > 0) {
        putchar('\n');
        return table_close(&t, true);
    }
    clq_free(t.text);
    return CLQ_OK;
}

clq_status clq_print_results(const clq_bench_result *results, size_t count) {
    static const column columns[] = {
        {"model", TEXT},   {"precision", TEXT}, {"batch", NUMBER}, {"median ms", NUMBER},
        {"+-%", NUMBER},   {"img/s", NUMBER},   {"GOPS", NUMBER},  {"% of peak", OF_PEAK},
        {"MB", NUMBER},    {"min ms", NUMBER},  {"mean", NUMBER},  {"p90", NUMBER},
        {"p95", NUMBER},   {"p99", NUMBER},     {"n", NUMBER},     {"h2d ms", NUMBER},
        {"d2h ms", NUMBER}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_bench_result *r = &results[i];
        put(&t, "%s", r->model);
        put(&t, "%s%s%s", r->precision, *r->dot_path ? " " : "", r->dot_path);
        put(&t, "%d", r->batch);
        put(&t, "%.3f", r->latency.median);
        put(&t, "%.1f", 100 * r->median_error);
        put(&t, "%.1f", r->images_per_second);
        put(&t, "%.1f", r->gops);
        put(&t, "%.1f", 100 * r->peak_fraction);
        put(&t, "%.2f", (double)r->bytes / 1e6);
        put(&t, "%.3f", r->latency.min);
        put(&t, "%.3f", r->latency.mean);
        put(&t, "%.3f", r->latency.p90);
        put(&t, "%.3f", r->latency.p95);
        put(&t, "%.3f", r->latency.p99);
        put(&t, "%d", r->iterations);
        put(&t, "%.4f", r->h2d_ms);
        put(&t, "%.4f", r->d2h_ms);
    }
    CLQ_TRY(table_close(&t, are_peaks(&results[0].limits)));
    return print_startups(results, count);
}

/* ---- layers ---- */

static void print_heading(const clq_bench_result *r) {
    printf("\n%s, %s, batch %d: kernels %.3f ms of %.3f ms\n", r->model, r->precision, r->batch,
           r->kernel_ms, r->latency.median);
}

clq_status clq_print_layers(const clq_bench_result *r) {
    static const column columns[] = {{"layer", TEXT},      {"op", TEXT},     {"ms", NUMBER},
                                     {"share %", NUMBER},  {"GOPS", NUMBER}, {"% of peak", OF_PEAK},
                                     {"kB moved", NUMBER}, {"GB/s", NUMBER}, {"launches", NUMBER},
                                     {"precision", TEXT}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), (size_t)r->layer_count));
    for (int i = 0; i < r->layer_count; i++) {
        const clq_bench_layer *layer = &r->layers[i];
        put(&t, "%s%s%s", layer->name, *layer->fused ? " + " : "", layer->fused);
        put(&t, "%s", layer->op);
        put(&t, "%.4f", layer->ms);
        put(&t, "%.1f", 100 * layer->share);
        put(&t, "%.1f", layer->gops);
        put(&t, "%.1f%s", 100 * layer->peak_fraction,
            layer->peak_fraction > 1 ? " peak too low" : "");
        put(&t, "%.1f", (double)layer->bytes / 1e3);
        put(&t, "%.1f", layer->gbs);
        put(&t, "%d", layer->launches);
        put(&t, "%s%s%s", layer->precision, *layer->dot_path ? " " : "", layer->dot_path);
    }
    print_heading(r);
    return table_close(&t, are_peaks(&r->limits));
}

/* "NAME 61 %, NAME 20 %." on lines that fit; `parts` below half a percent are left out. */
static void print_shares(const char *title, const char *const *names, const double *parts,
                         int count) {
    const int line = clq_line_width(stdout);
    int used = printf("%s", title);
    const char *separator = "";
    for (int i = 0; i < count; i++) {
        char text[64];
        if (parts[i] < 0.005) {
            continue;
        }
        const int length = clq_snprintf(text, sizeof text, "%s %.0f %%", names[i], 100 * parts[i]);
        used += printf("%s", separator);
        used = used + 1 + length + 1 > line ? printf("\n    ") - 1 : used + printf(" ");
        used += printf("%s", text);
        separator = ",";
    }
    puts("");
}

/* Why layers are not twice as fast, and where the time of all layers goes. */
static void print_causes(const clq_bench_result *r) {
    enum { CAUSES = CLQ_CAUSE_OTHER + 2 }; /* and layers that FP32 has none of */
    double shares[CAUSES] = {0}, parts[CLQ_TIME_PARTS] = {0}, fp32_ms = 0;
    const char *causes[CAUSES], *names[CLQ_TIME_PARTS];
    for (int i = 0; i < r->layer_count; i++) {
        const clq_bench_layer *layer = &r->layers[i];
        fp32_ms += layer->fp32_ms;
        shares[layer->fp32_ms > 0 ? (int)layer->cause : CAUSES - 1] += layer->share;
        for (int p = 0; p < CLQ_TIME_PARTS; p++) {
            parts[p] += layer->share * layer->parts[p];
        }
    }
    for (int c = 0; c < CAUSES; c++) {
        causes[c] = clq_bench_cause_name((clq_bench_cause)c);
    }
    causes[CLQ_CAUSE_NONE] = "at least 2x as fast";
    causes[CAUSES - 1] = "only in int8";
    for (int p = 0; p < CLQ_TIME_PARTS; p++) {
        names[p] = clq_bench_part_name((clq_bench_part)p);
    }
    printf("FP32 takes %.2fx the time in these kernels.\n", fp32_ms / r->kernel_ms);
    print_shares("Of the int8 time is in layers that are:", causes, shares, CAUSES);
    print_shares("Of the int8 time goes into:", names, parts, CLQ_TIME_PARTS);
}

clq_status clq_print_explanations(const clq_bench_result *r) {
    static const column columns[] = {{"layer", TEXT},
                                     {"int8 ms", NUMBER},
                                     {"fp32 ms", NUMBER},
                                     {"speedup", NUMBER},
                                     {"why not 2x", TEXT}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), (size_t)r->layer_count));
    for (int i = 0; i < r->layer_count; i++) {
        const clq_bench_layer *layer = &r->layers[i];
        put(&t, "%s%s%s", layer->name, *layer->fused ? " + " : "", layer->fused);
        put(&t, "%.4f", layer->ms);
        if (layer->fp32_ms > 0) {
            put(&t, "%.4f", layer->fp32_ms);
            put(&t, "%.2fx", layer->fp32_ms / layer->ms);
        } else {
            put(&t, "-");
            put(&t, "-");
        }
        put(&t, "%s", layer->fp32_ms > 0 ? layer->why : "only in int8");
    }
    print_heading(r);
    CLQ_TRY(table_close(&t, true));
    print_causes(r);
    return CLQ_OK;
}

/* ---- comparison ---- */

/* Of whom results are that are compared with the base. */
static const char *now_name(const clq_comparison *comparison) {
    return comparison->now ? comparison->now->path : "this run";
}

static void print_missing(const clq_comparison *comparison) {
    for (size_t i = 0; i < comparison->base->row_count; i++) {
        const clq_base_row *row = &comparison->base->rows[i];
        if (!row->used) {
            printf("missing in %s: %s, %s on %s, batch %d\n", now_name(comparison), row->model,
                   row->precision, row->device, row->batch);
        }
    }
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_bench_result *r = comparison->changes[i].result;
        if (!comparison->changes[i].row) {
            printf("missing in %s: %s, %s on %s, batch %d\n", comparison->base->path, r->model,
                   r->precision, r->device, r->batch);
        }
    }
}

static void print_differences(const clq_comparison *comparison) {
    clq_difference differences[CLQ_MAX_DIFFERENCES];
    const size_t count = clq_comparison_differences(comparison, differences);
    for (size_t i = 0; i < count; i++) {
        printf("not the same %s: %s, and %s in %s\n", differences[i].what, differences[i].now,
               differences[i].base, comparison->base->path);
    }
}

/* Rows of the device of the first row that was not `printed`, which they are then; false: there is
 * none. */
static clq_status print_changes(const clq_comparison *comparison, bool *printed, bool *any) {
    static const column columns[] = {
        {"compared", TEXT},        {"precision", TEXT}, {"batch", NUMBER},
        {"base ms", NUMBER},       {"ms", NUMBER},      {"times base's", NUMBER},
        {"95 % interval", NUMBER}, {"verdict", TEXT}};
    const char *device = NULL;
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), comparison->count));
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_change *change = &comparison->changes[i];
        const clq_bench_result *r = change->result;
        if (!change->row || printed[i] || (device && strcmp(device, r->device) != 0)) {
            continue;
        }
        device = r->device;
        printed[i] = true;
        put(&t, "%s", r->model);
        put(&t, "%s", r->precision);
        put(&t, "%d", r->batch);
        put(&t, "%.3f", change->base_median);
        put(&t, "%.3f", r->latency.median);
        put(&t, "%.3f", change->ratio.value);
        put(&t, "%.3f..%.3f", change->ratio.low, change->ratio.high);
        put(&t, "%s", change->failed ? "FAILED: slower" : change->ratio.high < 1 ? "faster" : "ok");
    }
    *any = device != NULL;
    if (!device) {
        clq_free(t.text);
        return CLQ_OK;
    }
    printf("on %s:\n", device);
    return table_close(&t, true);
}

clq_status clq_print_comparison(const clq_comparison *comparison) {
    bool any = true, *printed = clq_calloc(comparison->count, sizeof *printed);
    clq_status status = printed ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        printf("%s against %s, at most %g %% slower:\n", now_name(comparison),
               comparison->base->path, 100 * comparison->max_regress);
        print_differences(comparison);
    }
    while (status == CLQ_OK && any) {
        status = print_changes(comparison, printed, &any);
    }
    clq_free(printed);
    if (status == CLQ_OK) {
        print_missing(comparison);
    }
    return status;
}

/* ---- training steps ---- */

static clq_status print_kernels(const clq_train_bench_result *r) {
    static const column columns[] = {{"kernel", TEXT},
                                     {"calls", NUMBER},
                                     {"ms", NUMBER},
                                     {"share %", NUMBER},
                                     {"GFLOPS", NUMBER}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), (size_t)r->kernel_count));
    for (int i = 0; i < r->kernel_count; i++) {
        const clq_train_bench_kernel *kernel = &r->kernels[i];
        put(&t, "%s", kernel->name);
        put(&t, "%d", kernel->calls);
        put(&t, "%.3f", kernel->ms);
        put(&t, "%.1f", 100 * kernel->share);
        if (kernel->gflops > 0) {
            put(&t, "%.1f", kernel->gflops);
        } else {
            put(&t, "-");
        }
    }
    printf("\n%s, %s step, batch %d: kernels %.1f ms of %.1f ms\n", r->model, r->mode, r->batch,
           r->kernel_ms, r->step.median);
    return table_close(&t, true);
}

clq_status clq_print_train_results(const clq_train_bench_result *results, size_t count) {
    static const column columns[] = {
        {"model", TEXT},         {"step", TEXT},        {"batch", NUMBER},     {"min ms", NUMBER},
        {"mean", NUMBER},        {"median", NUMBER},    {"p90", NUMBER},       {"n", NUMBER},
        {"img/s", NUMBER},       {"GFLOPS", NUMBER},    {"% of peak", NUMBER}, {"MB held", NUMBER},
        {"activations", NUMBER}, {"workspaces", NUMBER}};
    table t;
    CLQ_TRY(table_open(&t, columns, COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_train_bench_result *r = &results[i];
        put(&t, "%s", r->model);
        put(&t, "%s", r->mode);
        put(&t, "%d", r->batch);
        put(&t, "%.2f", r->step.min);
        put(&t, "%.2f", r->step.mean);
        put(&t, "%.2f", r->step.median);
        put(&t, "%.2f", r->step.p90);
        put(&t, "%d", r->steps);
        put(&t, "%.1f", r->images_per_second);
        put(&t, "%.1f", r->gflops);
        put(&t, "%.1f", 100 * r->peak_fraction);
        put(&t, "%.1f", (double)r->bytes / 1e6);
        put(&t, "%.1f", (double)r->activation_bytes / 1e6);
        put(&t, "%.1f", (double)r->workspace_bytes / 1e6);
    }
    CLQ_TRY(table_close(&t, true));
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(print_kernels(&results[i]));
    }
    return CLQ_OK;
}
