/* Curves over whole numbers, such as epochs, or over reals. */
#include <math.h>

#include "report/plot.h"

enum { MAX_POINTS = 2000, MARKED_POINTS = 40 };
static const double TITLE = 15, LABEL = 12, TICK = 11.5;

typedef struct frame {
    double left, top, right, bottom; /* of the data */
    clq_axis x, y;
} frame;

/* ---- layout ---- */

static void range(const clq_line_plot *plot, double *low, double *high) {
    *low = INFINITY;
    *high = -INFINITY;
    for (int s = 0; s < plot->series_count; s++) {
        for (size_t i = 0; i < plot->count; i++) {
            const double y = plot->series[s].y[i];
            if (isfinite(y)) {
                *low = fmin(*low, y);
                *high = fmax(*high, y);
            }
        }
    }
}

static clq_axis fit_y(const clq_line_plot *plot, double height) {
    double low, high;
    range(plot, &low, &high);
    if (low > 0 && low < 0.6 * high) {
        low = 0;
    }
    clq_axis axis = clq_axis_fit(low, high, (int)(height / 44) + 1, false, false);
    if (axis.low < plot->y_min || axis.high > plot->y_max) {
        axis = clq_axis_fit(fmax(axis.low, plot->y_min), fmin(axis.high, plot->y_max),
                            (int)(height / 44) + 1, false, true);
    }
    return axis;
}

static double widest_label(cairo_t *cr, const clq_axis *axis, const char *suffix) {
    double widest = 0;
    for (int i = 0; i < axis->count; i++) {
        char label[48];
        clq_axis_label(axis, clq_axis_tick(axis, i), suffix, label, sizeof label);
        widest = fmax(widest, clq_text_width(cr, label));
    }
    return widest;
}

static frame lay_out(cairo_t *cr, const clq_line_plot *plot, int width, int height) {
    frame f = {.top = 64, .right = width - 22, .bottom = height - 52};
    double first = plot->count ? plot->x[0] : 0;
    double last = plot->count ? plot->x[plot->count - 1] : 1;
    for (int m = 0; m < 2 && plot->real_x; m++) { /* fmin and fmax pass NaN by */
        first = fmin(first, plot->marks[m]);
        last = fmax(last, plot->marks[m]);
    }
    char label[48];
    f.y = fit_y(plot, f.bottom - f.top);
    clq_set_font(cr, TICK, false);
    f.left = 40 + widest_label(cr, &f.y, plot->y_suffix);
    /* The last label is the widest: it decides how many there may be. */
    f.x = clq_axis_fit(first, last, 12, !plot->real_x, true);
    clq_axis_label(&f.x, last, "", label, sizeof label);
    const double room = clq_text_width(cr, label) + 26;
    f.x = clq_axis_fit(first, last, (int)fmin(12, (f.right - f.left) / room) + 1, !plot->real_x,
                       true);
    return f;
}

static double place_x(const frame *f, double x) {
    return f->left + clq_axis_place(&f->x, x) * (f->right - f->left);
}

static double place_y(const frame *f, double y) {
    return f->bottom - clq_axis_place(&f->y, y) * (f->bottom - f->top);
}

/* ---- parts ---- */

static void line(cairo_t *cr, double x0, double y0, double x1, double y1) {
    cairo_move_to(cr, x0, y0);
    cairo_line_to(cr, x1, y1);
    cairo_stroke(cr);
}

static void draw_axes(cairo_t *cr, const clq_theme *theme, const clq_line_plot *plot,
                      const frame *f) {
    char label[48];
    clq_set_font(cr, TICK, false);
    cairo_set_line_width(cr, 1);
    for (int i = 0; i < f->y.count; i++) {
        const double tick = clq_axis_tick(&f->y, i), y = floor(place_y(f, tick)) + 0.5;
        clq_set_color(cr, theme->grid);
        line(cr, f->left, y, f->right, y);
        clq_axis_label(&f->y, tick, plot->y_suffix, label, sizeof label);
        clq_set_color(cr, theme->muted);
        clq_draw_text(cr, label, f->left - 8, y, CLQ_RIGHT, 0);
    }
    const double base = floor(f->bottom) + 0.5;
    for (int i = 0; i < f->x.count; i++) {
        const double tick = clq_axis_tick(&f->x, i), x = floor(place_x(f, tick)) + 0.5;
        clq_set_color(cr, theme->frame);
        line(cr, x, base, x, base + 4);
        clq_axis_label(&f->x, tick, "", label, sizeof label);
        clq_set_color(cr, theme->muted);
        clq_draw_text(cr, label, x, base + 14, CLQ_CENTER, 0);
    }
    clq_set_color(cr, theme->frame);
    line(cr, f->left, base, f->right, base);
    clq_set_font(cr, LABEL, false);
    clq_set_color(cr, theme->muted);
    clq_draw_text(cr, plot->x_label, (f->left + f->right) / 2, base + 36, CLQ_CENTER, 0);
    clq_draw_turned(cr, plot->y_label, 14, (f->top + f->bottom) / 2, CLQ_CENTER, 0, -M_PI / 2);
}

static void draw_marks(cairo_t *cr, const clq_theme *theme, const clq_line_plot *plot,
                       const frame *f) {
    static const double dashes[] = {6, 4};
    cairo_set_dash(cr, dashes, 2, 0);
    cairo_set_line_width(cr, 1.5);
    clq_set_color(cr, theme->muted);
    for (int m = 0; m < 2 && plot->real_x; m++) {
        if (isfinite(plot->marks[m])) {
            const double x = place_x(f, plot->marks[m]);
            line(cr, x, f->top, x, f->bottom);
        }
    }
    cairo_set_dash(cr, NULL, 0, 0);
}

static void dot(cairo_t *cr, double x, double y, double radius) {
    cairo_new_sub_path(cr);
    cairo_arc(cr, x, y, radius, 0, 2 * M_PI);
    cairo_fill(cr);
}

static void draw_legend(cairo_t *cr, const clq_theme *theme, const clq_line_plot *plot,
                        const frame *f) {
    double x = f->left;
    const double y = f->top - 20;
    clq_set_font(cr, LABEL, false);
    for (int s = 0; s < plot->series_count; s++) {
        clq_set_color(cr, theme->series[s % CLQ_THEME_SERIES]);
        cairo_set_line_width(cr, 2.2);
        line(cr, x, y, x + 22, y);
        dot(cr, x + 11, y, 3);
        clq_set_color(cr, theme->text);
        clq_draw_text(cr, plot->series[s].name, x + 29, y, CLQ_LEFT, 0);
        x += 29 + clq_text_width(cr, plot->series[s].name) + 24;
    }
}

/* A line through all values that are there, or only where neighbours are (`gaps` false). */
static void trace(cairo_t *cr, const clq_line_plot *plot, const double *values, const frame *f,
                  size_t stride, bool gaps) {
    bool pen_down = false;
    for (size_t i = 0; i < plot->count; i += stride) {
        if (!isfinite(values[i])) {
            pen_down = pen_down && gaps;
            continue;
        }
        const double x = place_x(f, plot->x[i]), y = place_y(f, values[i]);
        if (pen_down) {
            cairo_line_to(cr, x, y);
        } else {
            cairo_move_to(cr, x, y);
        }
        pen_down = true;
    }
    cairo_stroke(cr);
}

/* Values that were not measured, as when only some epochs are evaluated, are bridged by dashes. */
static bool draw_curve(cairo_t *cr, const clq_line_plot *plot, const double *values,
                       const frame *f) {
    static const double dashes[] = {3, 4};
    const size_t stride = plot->count / MAX_POINTS + 1;
    bool any = false;
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_width(cr, 1.2);
    cairo_set_dash(cr, dashes, 2, 0);
    trace(cr, plot, values, f, stride, true);
    cairo_set_line_width(cr, 2);
    cairo_set_dash(cr, NULL, 0, 0);
    trace(cr, plot, values, f, stride, false);
    for (size_t i = 0; i < plot->count; i += stride) {
        const bool before = i >= stride && isfinite(values[i - stride]);
        const bool after = i + stride < plot->count && isfinite(values[i + stride]);
        any |= isfinite(values[i]) != 0;
        if (isfinite(values[i]) && (plot->count <= MARKED_POINTS || (!before && !after))) {
            dot(cr, place_x(f, plot->x[i]), place_y(f, values[i]), 3);
        }
    }
    return any;
}

void clq_line_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                        const void *line_plot) {
    const clq_line_plot *plot = line_plot;
    const frame f = lay_out(cr, plot, width, height);
    bool any = false;
    clq_set_font(cr, TITLE, true);
    clq_set_color(cr, theme->text);
    clq_draw_text(cr, plot->title, 8, 18, CLQ_LEFT, width - 16);
    draw_axes(cr, theme, plot, &f);
    draw_marks(cr, theme, plot, &f);
    draw_legend(cr, theme, plot, &f);
    for (int s = 0; s < plot->series_count; s++) {
        clq_set_color(cr, theme->series[s % CLQ_THEME_SERIES]);
        any |= draw_curve(cr, plot, plot->series[s].y, &f);
    }
    if (!any) {
        clq_set_font(cr, LABEL, false);
        clq_set_color(cr, theme->muted);
        clq_draw_text(cr, "no finite values", (f.left + f.right) / 2, (f.top + f.bottom) / 2,
                      CLQ_CENTER, 0);
    }
}
