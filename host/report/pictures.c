#include "report/pictures.h"

#include <math.h>
#include <stdio.h>

enum { COLUMNS = 5 }; /* epoch, and loss and accuracy of both splits */

static clq_picture *add(clq_pictures *p, clq_picture_group group, int width, int height) {
    p->groups[p->count] = group;
    p->items[p->count].width = width;
    p->items[p->count].height = height;
    return &p->items[p->count++];
}

/* ---- curves ---- */

/* Otherwise it was a regression. */
static bool has_accuracy(const clq_history *history) {
    for (int i = 0; i < history->count; i++) {
        if (isfinite(history->records[i].train_top1) || isfinite(history->records[i].test_top1)) {
            return true;
        }
    }
    return false;
}

static void add_curve(clq_pictures *p, clq_picture_group group, const char *network,
                      const char *key, bool loss, const clq_run_curve *curve,
                      const double *columns) {
    const size_t count = (size_t)curve->history.count;
    clq_line_plot *plot = &p->curves[p->curve_count++];
    char *title = p->titles[p->count];
    clq_picture *picture = add(p, group, 600, 360);
    snprintf(title, sizeof *p->titles, "%s: %s", network, loss ? "loss" : "accuracy");
    *plot = (clq_line_plot){
        .title = title,
        .x_label = curve->unit,
        .y_label = !loss                           ? "top-1 accuracy"
                   : has_accuracy(&curve->history) ? "cross-entropy"
                                                   : "mean squared error",
        .y_suffix = loss ? "" : " %",
        .y_min = loss ? NAN : 0,
        .y_max = loss ? NAN : 100,
        .x = columns,
        .count = count,
        .series = {{"train", columns + (loss ? 1 : 3) * count},
                   {"test", columns + (loss ? 2 : 4) * count}},
        .series_count = 2,
    };
    snprintf(picture->name, sizeof picture->name, "%s-%s", key, loss ? "loss" : "accuracy");
    snprintf(picture->alt, sizeof picture->alt, "%s: %s by %s, on the training and the test data",
             network, loss ? "loss" : "accuracy", curve->unit);
    picture->draw = clq_line_plot_draw;
    picture->plot = plot;
}

static void fill_columns(const clq_history *history, double *columns) {
    const size_t count = (size_t)history->count;
    for (size_t i = 0; i < count; i++) {
        const clq_epoch_record *record = &history->records[i];
        columns[i] = record->epoch;
        columns[count + i] = record->train_loss;
        columns[2 * count + i] = record->test_loss;
        columns[3 * count + i] = 100 * record->train_top1;
        columns[4 * count + i] = 100 * record->test_top1;
    }
}

static void add_curves(clq_pictures *p, clq_picture_group group, const char *network,
                       const char *key, const clq_run_curve *curve, double *columns) {
    if (curve->history.count > 0) {
        fill_columns(&curve->history, columns);
        add_curve(p, group, network, key, true, curve, columns);
    }
    if (has_accuracy(&curve->history)) {
        add_curve(p, group, network, key, false, curve, columns);
    }
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
    const size_t train = (size_t)data->train.history.count;
    const size_t qat = (size_t)data->qat.history.count;
    pictures->columns = clq_calloc(COLUMNS * (train + qat), sizeof *pictures->columns);
    if (!pictures->columns) {
        return CLQ_NO_MEMORY;
    }
    add_comparison(pictures, data);
    add_curves(pictures, CLQ_PICTURE_TRAIN, "FP32 training", "train", &data->train,
               pictures->columns);
    add_curves(pictures, CLQ_PICTURE_QAT, "Quantization-aware training", "qat", &data->qat,
               pictures->columns + COLUMNS * train);
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        add_confusion(pictures, data, v);
    }
    return CLQ_OK;
}

void clq_pictures_clear(clq_pictures *pictures) {
    clq_free(pictures->columns);
    *pictures = (clq_pictures){0};
}
