#include "cli/bench_print.h"

#include <stdio.h>
#include <string.h>

#include "base/numbers.h"
#include "cli/cells.h"
#include "report/table.h"

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
    static const clq_column columns[] = {{"from start to first result", CLQ_TEXT},
                                         {"batch", CLQ_NUMBER},
                                         {"cold ms", CLQ_NUMBER},
                                         {"second", CLQ_NUMBER},
                                         {"warm", CLQ_NUMBER}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_bench_result *r = &results[i];
        if (r->startup.cold > 0) {
            clq_cells_put(&t, "%s", r->model);
            clq_cells_put(&t, "%d", r->batch);
            clq_cells_put(&t, "%.0f", r->startup.cold);
            clq_cells_put(&t, "%.0f", r->startup.second);
            clq_cells_put(&t, "%.0f", r->startup.warm);
        }
    }
    if (t.filled > 0) {
        putchar('\n');
        return clq_cells_print(&t, true);
    }
    clq_cells_close(&t);
    return CLQ_OK;
}

clq_status clq_print_results(const clq_bench_result *results, size_t count) {
    static const clq_column columns[] = {
        {"model", CLQ_TEXT},       {"precision", CLQ_TEXT},     {"batch", CLQ_NUMBER},
        {"median ms", CLQ_NUMBER}, {"+-%", CLQ_NUMBER},         {"img/s", CLQ_NUMBER},
        {"GOPS", CLQ_NUMBER},      {"% of peak", CLQ_OPTIONAL}, {"MB", CLQ_NUMBER},
        {"min ms", CLQ_NUMBER},    {"mean", CLQ_NUMBER},        {"p90", CLQ_NUMBER},
        {"p95", CLQ_NUMBER},       {"p99", CLQ_NUMBER},         {"n", CLQ_NUMBER},
        {"h2d ms", CLQ_NUMBER},    {"d2h ms", CLQ_NUMBER}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_bench_result *r = &results[i];
        clq_cells_put(&t, "%s", r->model);
        clq_cells_put(&t, "%s%s%s", r->precision, *r->dot_path ? " " : "", r->dot_path);
        clq_cells_put(&t, "%d", r->batch);
        clq_cells_put(&t, "%.3f", r->latency.median);
        clq_cells_put(&t, "%.1f", 100 * r->median_error);
        clq_cells_put(&t, "%.1f", r->images_per_second);
        clq_cells_put(&t, "%.1f", r->gops);
        clq_cells_put(&t, "%.1f", 100 * r->peak_fraction);
        clq_cells_put(&t, "%.2f", (double)r->bytes / 1e6);
        clq_cells_put(&t, "%.3f", r->latency.min);
        clq_cells_put(&t, "%.3f", r->latency.mean);
        clq_cells_put(&t, "%.3f", r->latency.p90);
        clq_cells_put(&t, "%.3f", r->latency.p95);
        clq_cells_put(&t, "%.3f", r->latency.p99);
        clq_cells_put(&t, "%d", r->iterations);
        clq_cells_put(&t, "%.4f", r->h2d_ms);
        clq_cells_put(&t, "%.4f", r->d2h_ms);
    }
    CLQ_TRY(clq_cells_print(&t, are_peaks(&results[0].limits)));
    return print_startups(results, count);
}

/* ---- layers ---- */

static void print_heading(const clq_bench_result *r) {
    printf("\n%s, %s, batch %d: kernels %.3f ms of %.3f ms\n", r->model, r->precision, r->batch,
           r->kernel_ms, r->latency.median);
}

clq_status clq_print_layers(const clq_bench_result *r) {
    static const clq_column columns[] = {{"layer", CLQ_TEXT},      {"op", CLQ_TEXT},
                                         {"ms", CLQ_NUMBER},       {"share %", CLQ_NUMBER},
                                         {"GOPS", CLQ_NUMBER},     {"% of peak", CLQ_OPTIONAL},
                                         {"kB moved", CLQ_NUMBER}, {"GB/s", CLQ_NUMBER},
                                         {"launches", CLQ_NUMBER}, {"precision", CLQ_TEXT}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), (size_t)r->layer_count));
    for (int i = 0; i < r->layer_count; i++) {
        const clq_bench_layer *layer = &r->layers[i];
        clq_cells_put(&t, "%s%s%s", layer->name, *layer->fused ? " + " : "", layer->fused);
        clq_cells_put(&t, "%s", layer->op);
        clq_cells_put(&t, "%.4f", layer->ms);
        clq_cells_put(&t, "%.1f", 100 * layer->share);
        clq_cells_put(&t, "%.1f", layer->gops);
        clq_cells_put(&t, "%.1f%s", 100 * layer->peak_fraction,
                      layer->peak_fraction > 1 ? " peak too low" : "");
        clq_cells_put(&t, "%.1f", (double)layer->bytes / 1e3);
        clq_cells_put(&t, "%.1f", layer->gbs);
        clq_cells_put(&t, "%d", layer->launches);
        clq_cells_put(&t, "%s%s%s", layer->precision, *layer->dot_path ? " " : "", layer->dot_path);
    }
    print_heading(r);
    return clq_cells_print(&t, are_peaks(&r->limits));
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
    static const clq_column columns[] = {{"layer", CLQ_TEXT},
                                         {"int8 ms", CLQ_NUMBER},
                                         {"fp32 ms", CLQ_NUMBER},
                                         {"speedup", CLQ_NUMBER},
                                         {"why not 2x", CLQ_TEXT}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), (size_t)r->layer_count));
    for (int i = 0; i < r->layer_count; i++) {
        const clq_bench_layer *layer = &r->layers[i];
        clq_cells_put(&t, "%s%s%s", layer->name, *layer->fused ? " + " : "", layer->fused);
        clq_cells_put(&t, "%.4f", layer->ms);
        if (layer->fp32_ms > 0) {
            clq_cells_put(&t, "%.4f", layer->fp32_ms);
            clq_cells_put(&t, "%.2fx", layer->fp32_ms / layer->ms);
        } else {
            clq_cells_put(&t, "-");
            clq_cells_put(&t, "-");
        }
        clq_cells_put(&t, "%s", layer->fp32_ms > 0 ? layer->why : "only in int8");
    }
    print_heading(r);
    CLQ_TRY(clq_cells_print(&t, true));
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
    static const clq_column columns[] = {
        {"compared", CLQ_TEXT},        {"precision", CLQ_TEXT}, {"batch", CLQ_NUMBER},
        {"base ms", CLQ_NUMBER},       {"ms", CLQ_NUMBER},      {"times base's", CLQ_NUMBER},
        {"95 % interval", CLQ_NUMBER}, {"result", CLQ_TEXT}};
    const char *device = NULL;
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), comparison->count));
    for (size_t i = 0; i < comparison->count; i++) {
        const clq_change *change = &comparison->changes[i];
        const clq_bench_result *r = change->result;
        if (!change->row || printed[i] || (device && strcmp(device, r->device) != 0)) {
            continue;
        }
        device = r->device;
        printed[i] = true;
        clq_cells_put(&t, "%s", r->model);
        clq_cells_put(&t, "%s", r->precision);
        clq_cells_put(&t, "%d", r->batch);
        clq_cells_put(&t, "%.3f", change->base_median);
        clq_cells_put(&t, "%.3f", r->latency.median);
        clq_cells_put(&t, "%.3f", change->ratio.value);
        clq_cells_put(&t, "%.3f..%.3f", change->ratio.low, change->ratio.high);
        clq_cells_put(&t, "%s",
                      change->failed           ? "FAILED: slower"
                      : change->ratio.high < 1 ? "faster"
                                               : "ok");
    }
    *any = device != NULL;
    if (!device) {
        clq_cells_close(&t);
        return CLQ_OK;
    }
    printf("on %s:\n", device);
    return clq_cells_print(&t, true);
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
    static const clq_column columns[] = {{"kernel", CLQ_TEXT},
                                         {"calls", CLQ_NUMBER},
                                         {"ms", CLQ_NUMBER},
                                         {"share %", CLQ_NUMBER},
                                         {"GFLOPS", CLQ_NUMBER}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), (size_t)r->kernel_count));
    for (int i = 0; i < r->kernel_count; i++) {
        const clq_train_bench_kernel *kernel = &r->kernels[i];
        clq_cells_put(&t, "%s", kernel->name);
        clq_cells_put(&t, "%d", kernel->calls);
        clq_cells_put(&t, "%.3f", kernel->ms);
        clq_cells_put(&t, "%.1f", 100 * kernel->share);
        if (kernel->gflops > 0) {
            clq_cells_put(&t, "%.1f", kernel->gflops);
        } else {
            clq_cells_put(&t, "-");
        }
    }
    printf("\n%s, %s step, batch %d: kernels %.1f ms of %.1f ms\n", r->model, r->mode, r->batch,
           r->kernel_ms, r->step.median);
    return clq_cells_print(&t, true);
}

clq_status clq_print_train_results(const clq_train_bench_result *results, size_t count) {
    static const clq_column columns[] = {
        {"model", CLQ_TEXT},         {"step", CLQ_TEXT},          {"batch", CLQ_NUMBER},
        {"min ms", CLQ_NUMBER},      {"mean", CLQ_NUMBER},        {"median", CLQ_NUMBER},
        {"p90", CLQ_NUMBER},         {"n", CLQ_NUMBER},           {"img/s", CLQ_NUMBER},
        {"GFLOPS", CLQ_NUMBER},      {"% of peak", CLQ_OPTIONAL}, {"MB held", CLQ_NUMBER},
        {"activations", CLQ_NUMBER}, {"workspaces", CLQ_NUMBER}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), count));
    for (size_t i = 0; i < count; i++) {
        const clq_train_bench_result *r = &results[i];
        clq_cells_put(&t, "%s", r->model);
        clq_cells_put(&t, "%s", r->mode);
        clq_cells_put(&t, "%d", r->batch);
        clq_cells_put(&t, "%.2f", r->step.min);
        clq_cells_put(&t, "%.2f", r->step.mean);
        clq_cells_put(&t, "%.2f", r->step.median);
        clq_cells_put(&t, "%.2f", r->step.p90);
        clq_cells_put(&t, "%d", r->steps);
        clq_cells_put(&t, "%.1f", r->images_per_second);
        clq_cells_put(&t, "%.1f", r->gflops);
        clq_cells_put(&t, "%.1f", 100 * r->peak_fraction);
        clq_cells_put(&t, "%.1f", (double)r->bytes / 1e6);
        clq_cells_put(&t, "%.1f", (double)r->activation_bytes / 1e6);
        clq_cells_put(&t, "%.1f", (double)r->workspace_bytes / 1e6);
    }
    CLQ_TRY(clq_cells_print(&t, count == 0 || are_peaks(&results[0].limits)));
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(print_kernels(&results[i]));
    }
    return CLQ_OK;
}
