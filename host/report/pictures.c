#include "report/pictures.h"

#include <math.h>
#include <stdio.h>

static clq_picture *add(clq_pictures *p, clq_picture_group group, int width, int height) {
    p->groups[p->count] = group;
    p->items[p->count].width = width;
    p->items[p->count].height = height;
    return &p->items[p->count++];
}

/* ---- curves ---- */

/* What the curves of a training go through, (count) each: by epoch or, for a training so short that
 * it has few epochs, by step, where the test set was only evaluated behind an epoch's last one. */
typedef struct columns {
    double *x, *loss[2], *top1[2], *lr; /* [train, test] */
    size_t count;
    const char *unit;
} columns;
enum { COLUMNS = 6, FEW_EPOCHS = 5 };

static bool any_finite(const double *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (isfinite(values[i])) {
            return true;
        }
    }
    return false;
}

static void fill_epochs(const clq_history *history, columns *c) {
    for (size_t i = 0; i < c->count; i++) {
        const clq_epoch_record *record = &history->records[i];
        c->x[i] = record->epoch;
        c->lr[i] = record->lr;
        c->loss[0][i] = record->train_loss;
        c->loss[1][i] = record->test_loss;
        c->top1[0][i] = 100 * record->train_top1;
        c->top1[1][i] = 100 * record->test_top1;
    }
}

/* An epoch's evaluation belongs to its last step. */
static void fill_steps(const clq_run_curve *curve, columns *c) {
    const clq_step_record *steps = curve->steps.records;
    for (size_t i = 0; i < c->count; i++) {
        c->x[i] = (double)steps[i].step;
        c->lr[i] = steps[i].lr;
        c->loss[0][i] = steps[i].loss;
        c->top1[0][i] = 100 * steps[i].top1;
        c->loss[1][i] = c->top1[1][i] = NAN;
        const bool last = i + 1 == c->count || steps[i + 1].epoch != steps[i].epoch;
        for (int e = 0; last && e < curve->history.count; e++) {
            const clq_epoch_record *record = &curve->history.records[e];
            if (record->epoch == steps[i].epoch) {
                c->loss[1][i] = record->test_loss;
                c->top1[1][i] = 100 * record->test_top1;
            }
        }
    }
}

static clq_status make_columns(const clq_run_curve *curve, bool by_step, double **memory,
                               columns *c) {
    c->count = by_step ? curve->steps.count : (size_t)curve->history.count;
    c->unit = by_step ? "step" : "epoch";
    *memory = clq_calloc(COLUMNS * c->count, sizeof **memory);
    if (!*memory) {
        return CLQ_NO_MEMORY;
    }
    double **const all[COLUMNS] = {&c->x,       &c->lr,      &c->loss[0],
                                   &c->loss[1], &c->top1[0], &c->top1[1]};
    for (size_t i = 0; i < COLUMNS; i++) {
        *all[i] = *memory + i * c->count;
    }
    if (by_step) {
        fill_steps(curve, c);
    } else {
        fill_epochs(&curve->history, c);
    }
    return CLQ_OK;
}

/* A plot of `what` with no series yet. */
static clq_line_plot *add_curve(clq_pictures *p, clq_picture_group group, const char *network,
                                const char *key, const char *stem, const char *what,
                                const columns *c) {
    clq_line_plot *plot = &p->curves[p->curve_count++];
    char *title = p->titles[p->count];
    clq_picture *picture = add(p, group, 600, 360);
    snprintf(title, sizeof *p->titles, "%s: %s", network, what);
    *plot = (clq_line_plot){.title = title,
                            .x_label = c->unit,
                            .y_suffix = "",
                            .y_min = NAN,
                            .y_max = NAN,
                            .x = c->x,
                            .count = c->count};
    snprintf(picture->name, sizeof picture->name, "%s-%s", key, stem);
    snprintf(picture->alt, sizeof picture->alt, "%s: %s by %s", network, what, c->unit);
    picture->draw = clq_line_plot_draw;
    picture->plot = plot;
    return plot;
}

static void add_splits(clq_line_plot *plot, double *const values[2]) {
    plot->series[plot->series_count++] = (clq_series){"train", values[0]};
    plot->series[plot->series_count++] = (clq_series){"test", values[1]};
}

static clq_status add_curves(clq_pictures *p, clq_picture_group group, const char *network,
                             const char *key, const clq_run_curve *curve, double *memory[2]) {
    const bool has_steps = curve->steps.count > 1;
    columns c, rate;
    CLQ_TRY(make_columns(curve, has_steps && curve->history.count < FEW_EPOCHS, &memory[0], &c));
    CLQ_TRY(make_columns(curve, has_steps, &memory[1], &rate)); /* it may change within epochs */
    if (c.count == 0) {
        return CLQ_OK;
    }
    /* Otherwise it was a regression. */
    const bool accuracy = any_finite(c.top1[0], c.count) || any_finite(c.top1[1], c.count);
    clq_line_plot *plot = add_curve(p, group, network, key, "loss", "loss", &c);
    plot->y_label = accuracy ? "cross-entropy" : "mean squared error";
    add_splits(plot, c.loss);
    if (accuracy) {
        plot = add_curve(p, group, network, key, "accuracy", "accuracy", &c);
        plot->y_label = "top-1 accuracy";
        plot->y_suffix = " %";
        plot->y_min = 0;
        plot->y_max = 100;
        add_splits(plot, c.top1);
    }
    if (any_finite(rate.lr, rate.count)) {
        plot = add_curve(p, group, network, key, "lr", "learning rate", &rate);
        plot->y_label = "learning rate";
        plot->y_min = 0;
        plot->series[plot->series_count++] = (clq_series){"learning rate", rate.lr};
    }
    return CLQ_OK;
}

/* ---- confusion ---- */

static void add_confusion(clq_pictures *p, const clq_run_data *data, clq_run_variant v) {
    const clq_run_evaluation *evaluation = &data->evaluations[v];
    if (evaluation->classes == 0) {
        return;
    }
    char *title = p->titles[p->count];
    clq_picture *picture = add(p, CLQ_PICTURE_CONFUSION, 600, 560);
    snprintf(title, sizeof *p->titles, "%s", clq_run_titles[v]);
    p->matrices[v] =
        (clq_matrix_plot){title, evaluation->classes, evaluation->confusion, evaluation->names};
    snprintf(picture->name, sizeof picture->name, "confusion-%s", clq_run_keys[v]);
    snprintf(picture->alt, sizeof picture->alt,
             "Confusion matrix of the %s network: true class by predicted class",
             clq_run_titles[v]);
    picture->draw = clq_matrix_plot_draw;
    picture->plot = &p->matrices[v];
}

/* ---- comparison ---- */

/* One panel: a member of each summary that is present, scaled; none when it is never known. */
static void add_panel(clq_bar_plot *plot, const clq_run_data *data, const char *title,
                      size_t offset, double scale, int decimals) {
    bool any = false;
    int b = 0;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        const clq_run_summary *summary = &data->summaries[v];
        if (summary->present) {
            const double value =
                scale * *(const double *)(const void *)((const char *)summary + offset);
            plot->panels[plot->panel_count].values[b++] = value;
            any |= isfinite(value);
        }
    }
    if (any) {
        plot->panels[plot->panel_count].title = title;
        plot->panels[plot->panel_count++].decimals = decimals;
    }
}

static int decimals_for(double value) {
    return value >= 100 ? 1 : value >= 10 ? 2 : value >= 0.01 ? 3 : 6;
}

static void add_comparison(clq_pictures *p, const clq_run_data *data) {
    clq_bar_plot *plot = &p->comparison;
    const clq_run_summary *first = &data->summaries[CLQ_RUN_FP32];
    plot->title = data->regression ? "R\u00b2, size and latency" : "Accuracy, size and latency";
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (data->summaries[v].present) {
            plot->names[plot->bar_count++] = clq_run_titles[v];
        }
    }
    if (data->regression) {
        add_panel(plot, data, "R\u00b2", offsetof(clq_run_summary, r2), 1, 4);
    } else {
        add_panel(plot, data, "top-1 accuracy, %", offsetof(clq_run_summary, top1), 100, 2);
    }
    add_panel(plot, data, "parameters, MB", offsetof(clq_run_summary, size_bytes), 1e-6,
              decimals_for(1e-6 * first->size_bytes));
    add_panel(plot, data, "latency, ms", offsetof(clq_run_summary, latency_ms), 1,
              decimals_for(first->latency_ms));
    if (plot->bar_count < 2 || plot->panel_count == 0) {
        return;
    }
    clq_picture *picture = add(p, CLQ_PICTURE_COMPARISON, 300 * plot->panel_count, 300);
    snprintf(picture->name, sizeof picture->name, "comparison");
    snprintf(picture->alt, sizeof picture->alt, "%s of each network as bars", plot->title);
    picture->draw = clq_bar_plot_draw;
    picture->plot = plot;
}

clq_status clq_pictures_make(clq_pictures *pictures, const clq_run_data *data) {
    add_comparison(pictures, data);
    CLQ_TRY(add_curves(pictures, CLQ_PICTURE_TRAIN, "FP32 training", "train", &data->train,
                       &pictures->columns[0]));
    CLQ_TRY(add_curves(pictures, CLQ_PICTURE_QAT, "Quantization-aware training", "qat", &data->qat,
                       &pictures->columns[2]));
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        add_confusion(pictures, data, v);
    }
    return CLQ_OK;
}

void clq_pictures_clear(clq_pictures *pictures) {
    for (size_t i = 0; i < sizeof pictures->columns / sizeof *pictures->columns; i++) {
        clq_free(pictures->columns[i]);
    }
    *pictures = (clq_pictures){0};
}
