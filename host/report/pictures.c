#include "report/pictures.h"

#include <math.h>
#include <stdio.h>

clq_picture *clq_pictures_add(clq_pictures *p, clq_picture_group group, int width, int height) {
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
    const char *unit, *label; /* "step"; of the axis */
} columns;
enum { COLUMNS = 6, FEW_EPOCHS = 5 };
enum { LEAST_POINTS = 8, MOST_POINTS = 40, STEPS_PER_POINT = 8 };

bool clq_any_finite(const double *values, size_t count) {
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

/* Points of a picture of the steps: each is to stand for some. */
static size_t count_points(const clq_steps *steps) {
    const size_t points = (size_t)steps->records[steps->count - 1].step / STEPS_PER_POINT;
    return points < LEAST_POINTS ? LEAST_POINTS : points > MOST_POINTS ? MOST_POINTS : points;
}

/* Where the point that begins with row `at` ends. An epoch's rows are cut evenly, so that all
 * epochs have about `points` together. */
static size_t point_end(const clq_run_curve *curve, size_t points, size_t at) {
    const clq_step_record *steps = curve->steps.records;
    size_t begin = at, end = at;
    while (begin > 0 && steps[begin - 1].epoch == steps[at].epoch) {
        begin--;
    }
    while (end < curve->steps.count && steps[end].epoch == steps[at].epoch) {
        end++;
    }
    const size_t rows = end - begin;
    size_t parts = (rows * points + curve->steps.count - 1) / curve->steps.count;
    parts = parts > rows ? rows : parts;
    const size_t part = (at - begin) * parts / rows;
    size_t next = at + 1;
    while (next < end && (next - begin) * parts / rows == part) {
        next++;
    }
    return next;
}

/* Single batches scatter: a point is their mean since the one before. A row stands for as many
 * steps as lie behind the row before. */
static void fill_point(const clq_step_record *steps, size_t begin, size_t end, columns *c,
                       size_t at) {
    double loss = 0, top1 = 0, weight = 0;
    for (size_t i = begin; i < end; i++) {
        const int64_t before = i == 0 ? 0 : steps[i - 1].step;
        const double own = (double)(steps[i].step - before);
        if (isfinite(steps[i].loss)) { /* otherwise all its steps were skipped */
            loss += own * steps[i].loss;
            top1 += own * steps[i].top1;
            weight += own;
        }
    }
    c->x[at] = (double)steps[end - 1].step;
    c->lr[at] = steps[end - 1].lr;
    c->loss[0][at] = weight > 0 ? loss / weight : NAN;
    c->top1[0][at] = weight > 0 ? 100 * top1 / weight : NAN;
    c->loss[1][at] = c->top1[1][at] = NAN;
}

/* An epoch's evaluation belongs to its last step. */
static void fill_steps(const clq_run_curve *curve, bool mean, columns *c) {
    const clq_step_record *steps = curve->steps.records;
    const size_t points = count_points(&curve->steps);
    size_t count = 0;
    for (size_t i = 0, end; i < curve->steps.count; i = end) {
        end = mean ? point_end(curve, points, i) : i + 1;
        fill_point(steps, i, end, c, count);
        const int epoch = steps[end - 1].epoch;
        const bool last = end == curve->steps.count || steps[end].epoch != epoch;
        for (int e = 0; last && e < curve->history.count; e++) {
            const clq_epoch_record *record = &curve->history.records[e];
            if (record->epoch == epoch) {
                c->loss[1][count] = record->test_loss;
                c->top1[1][count] = 100 * record->test_top1;
            }
        }
        count++;
    }
    c->count = count;
}

/* `mean`: by step, points are means over several. */
static clq_status make_columns(const clq_run_curve *curve, bool by_step, bool mean, double **memory,
                               columns *c) {
    c->count = by_step ? curve->steps.count : (size_t)curve->history.count;
    c->unit = by_step ? "step" : "epoch";
    c->label = by_step && mean ? "step (points: means since the one before)" : c->unit;
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
        fill_steps(curve, mean, c);
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
    clq_picture *picture = clq_pictures_add(p, group, 600, 360);
    snprintf(title, sizeof *p->titles, "%s: %s", network, what);
    *plot = (clq_line_plot){.title = title,
                            .x_label = c->label,
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
    const bool by_step = has_steps && curve->history.count < FEW_EPOCHS;
    CLQ_TRY(make_columns(curve, by_step, true, &memory[0], &c));
    CLQ_TRY(
        make_columns(curve, has_steps, false, &memory[1], &rate)); /* it may change within epochs */
    if (c.count == 0) {
        return CLQ_OK;
    }
    /* Otherwise it was a regression. */
    const bool accuracy = clq_any_finite(c.top1[0], c.count) || clq_any_finite(c.top1[1], c.count);
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
    if (clq_any_finite(rate.lr, rate.count)) {
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
    clq_picture *picture = clq_pictures_add(p, CLQ_PICTURE_CONFUSION, 600, 560);
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
    clq_picture *picture =
        clq_pictures_add(p, CLQ_PICTURE_COMPARISON, 300 * plot->panel_count, 300);
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
    CLQ_TRY(clq_pictures_add_analysis(pictures, data));
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        add_confusion(pictures, data, v);
    }
    return CLQ_OK;
}

void clq_pictures_clear(clq_pictures *pictures) {
    for (size_t i = 0; i < sizeof pictures->columns / sizeof *pictures->columns; i++) {
        clq_free(pictures->columns[i]);
    }
    clq_free(pictures->analysis);
    *pictures = (clq_pictures){0};
}
