/* The plots of the report. Each draws itself as a clq_picture; values that are NaN are left out. */
#ifndef CLQUANT_REPORT_PLOT_H
#define CLQUANT_REPORT_PLOT_H

#include "report/canvas.h"

/* ---- axes ---- */

/* Ticks at first, first + step, ...: `count` of them, round numbers. */
typedef struct clq_axis {
    double low, high; /* what the axis spans */
    double first, step;
    int count;
    int decimals; /* the labels need; -1: they are written with exponents */
} clq_axis;

/* The axis for values from low to high with at most max_ticks (>= 2) ticks. `whole`: ticks at
 * integers only. `tight` keeps the span as it is; otherwise it grows to the ticks around it.
 * Anything not finite or empty gives an axis around 0 or around the one value. */
clq_axis clq_axis_fit(double low, double high, int max_ticks, bool whole, bool tight);
double clq_axis_tick(const clq_axis *axis, int index);
/* Position of a value, 0 at low and 1 at high. */
double clq_axis_place(const clq_axis *axis, double value);
void clq_axis_label(const clq_axis *axis, double value, const char *suffix, char *out, size_t size);

/* ---- curves ---- */

enum { CLQ_PLOT_MAX_SERIES = 4 };
typedef struct clq_series {
    const char *name;
    const double *y; /* (count) */
} clq_series;

typedef struct clq_line_plot {
    const char *title, *x_label, *y_label;
    const char *y_suffix; /* behind the numbers of the axis: " %" or "" */
    double y_min, y_max;  /* the axis does not leave them; NaN: no such bound */
    const double *x;      /* (count), ascending; integers unless real_x */
    size_t count;
    bool real_x;     /* the axis may have ticks between integers */
    double marks[2]; /* with real_x: dashed verticals at these; NaN: none */
    clq_series series[CLQ_PLOT_MAX_SERIES];
    int series_count;
} clq_line_plot;

void clq_line_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                        const void *line_plot);

/* ---- confusion matrices ---- */

typedef struct clq_matrix_plot {
    const char *title;
    int classes;
    const int64_t *counts;    /* (classes, classes): [true][predicted] */
    const char *const *names; /* (classes) or NULL; NULL inside is shown as the index */
} clq_matrix_plot;

/* Each row is shaded by its share of the row's sum. */
void clq_matrix_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                          const void *matrix_plot);

/* ---- bars ---- */

enum { CLQ_PLOT_MAX_PANELS = 4, CLQ_PLOT_MAX_BARS = 4 };
/* Panels side by side, each with a bar for each name and an axis from 0. */
typedef struct clq_bar_plot {
    const char *title;
    const char *names[CLQ_PLOT_MAX_BARS];
    int bar_count;
    struct {
        const char *title; /* with the unit */
        double values[CLQ_PLOT_MAX_BARS];
        int decimals;
    } panels[CLQ_PLOT_MAX_PANELS];
    int panel_count;
} clq_bar_plot;

void clq_bar_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                       const void *bar_plot);

#endif
