#include "cli/analysis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cells.h"
#include "cli/pipeline.h"
#include "report/table.h"

/* ---- text ---- */

static const char *const stage_words[CLQ_LADDER_STAGES] = {
    "FP32", "folded", "weights rounded", "and activations (simulated)", "integer"};

static void put_count(clq_cells *t, int64_t count) {
    if (count < 0) {
        clq_cells_put(t, "-");
    } else {
        clq_cells_put(t, "%lld", (long long)count);
    }
}

static clq_status print_ladder(const clq_analysis *a) {
    static const clq_column columns[] = {{"network", CLQ_TEXT},
                                         {"top-1 %", CLQ_OPTIONAL},
                                         {"95 % interval", CLQ_OPTIONAL},
                                         {"points", CLQ_OPTIONAL},
                                         {"lost", CLQ_OPTIONAL},
                                         {"gained", CLQ_OPTIONAL},
                                         {"other predictions", CLQ_NUMBER},
                                         {"error %", CLQ_NUMBER}};
    const clq_score *fp32 = &a->ladder[CLQ_LADDER_FP32];
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), CLQ_LADDER_STAGES));
    for (int i = 0; i < CLQ_LADDER_STAGES; i++) {
        const clq_score *s = &a->ladder[i];
        clq_cells_put(&t, "%s", stage_words[i]);
        clq_cells_put(&t, "%.2f", 100 * s->top1);
        clq_cells_put(&t, "%.2f..%.2f", 100 * s->low, 100 * s->high);
        if (i == CLQ_LADDER_FP32) {
            clq_cells_put(&t, "%s", "");
        } else {
            clq_cells_put(&t, "%s%+.2f", clq_score_is_noise(s) ? "~ " : "",
                          100 * (s->top1 - fp32->top1));
        }
        clq_cells_put(&t, "%lld", (long long)s->lost);
        clq_cells_put(&t, "%lld", (long long)s->gained);
        put_count(&t, s->flips);
        clq_cells_put(&t, "%.3g", 100 * s->error);
    }
    return clq_cells_print(&t, a->has_labels);
}

static void put_real(clq_cells *t, const char *format, double value)
    __attribute__((format(printf, 2, 0)));
static void put_real(clq_cells *t, const char *format, double value) {
    char text[48] = "-";
    if (!isnan(value)) {
        snprintf(text, sizeof text, format, value);
    }
    clq_cells_put(t, "%s", text);
}

static void put_top1(clq_cells *t, const clq_score *score) {
    char text[48] = "-";
    if (!isnan(score->top1)) {
        snprintf(text, sizeof text, "%s%.2f", clq_score_is_noise(score) ? "~ " : "",
                 100 * score->top1);
    }
    clq_cells_put(t, "%s", text);
}

static clq_status print_layers(const clq_analysis *a) {
    static const clq_column columns[] = {
        {"layer", CLQ_TEXT},       {"op", CLQ_TEXT},          {"type", CLQ_TEXT},
        {"SQNR dB", CLQ_NUMBER},   {"in net", CLQ_NUMBER},    {"cosine", CLQ_NUMBER},
        {"clipped %", CLQ_NUMBER}, {"error %", CLQ_NUMBER},   {"without", CLQ_NUMBER},
        {"top-1 %", CLQ_OPTIONAL}, {"without", CLQ_OPTIONAL}, {"kB", CLQ_NUMBER},
        {"fp32 ms", CLQ_NUMBER},   {"int8 ms", CLQ_NUMBER}};
    clq_cells t;
    CLQ_TRY(clq_cells_open(&t, columns, CLQ_COLUMN_COUNT(columns), (size_t)a->layer_count));
    for (int i = 0; i < a->layer_count; i++) {
        const clq_analysis_layer *l = &a->layers[i];
        clq_cells_put(&t, "%s", l->name);
        clq_cells_put(&t, "%s", l->op);
        clq_cells_put(&t, "%s", l->type);
        put_real(&t, "%.1f", l->sqnr_db);
        put_real(&t, "%.1f", l->sqnr_accumulated_db);
        put_real(&t, "%.5f", l->cosine);
        put_real(&t, "%.3g", 100 * l->clipped);
        put_real(&t, "%.3g", 100 * l->only.error);
        put_real(&t, "%.3g", 100 * l->without.error);
        put_top1(&t, &l->only);
        put_top1(&t, &l->without);
        put_real(&t, "%.1f", 1e-3 * (double)l->bytes);
        put_real(&t, "%.4f", l->fp32_ms);
        put_real(&t, "%.4f", l->int8_ms);
    }
    return clq_cells_print(&t, a->has_labels);
}

/* On lines that fit. */
static void print_wrapped(const char *text) {
    const int line = clq_line_width(stdout);
    int used = 0;
    while (*text) {
        const int length = (int)strcspn(text, " ");
        if (used > 0 && used + 1 + length > line) {
            putchar('\n');
            used = 0;
        }
        used += printf("%s%.*s", used > 0 ? " " : "", length, text);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
}

clq_status clq_analysis_print(const clq_analysis *a) {
    char note[256], *advice = clq_analysis_advice(a);
    clq_status status = advice ? print_ladder(a) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        putchar('\n');
        status = print_layers(a);
    }
    if (status == CLQ_OK) {
        putchar('\n');
        snprintf(note, sizeof note, "%s%lld %.*s; error: of the outputs, beside FP32's%s",
                 a->has_labels ? "~: by no more than chance (sign test, 5 %). " : "",
                 (long long)a->samples, clq_unit_length(a->unit, a->samples), a->unit,
                 a->layer_count > 0 ? "; worst layer first" : "");
        print_wrapped(note);
        char *shown = advice;
        for (char *c = shown; *c; c++) { /* a name from a file, which a terminal would interpret */
            *c = (unsigned char)*c < ' ' || *c == 0x7f ? '?' : *c;
        }
        print_wrapped(shown);
    }
    clq_free(advice);
    return status;
}
