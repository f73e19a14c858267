/* A few bars in panels side by side. */
#include <math.h>
#include <stdio.h>

#include "base/numbers.h"
#include "report/plot.h"

static const double TITLE = 15, LABEL = 12, GAP = 24;

static void draw_panel(cairo_t *cr, const clq_theme *theme, const clq_bar_plot *plot, int p,
                       double left, double width, double height) {
    const double top = 78, bottom = height - 34, slot = width / plot->bar_count;
    const double bar = fmin(54, 0.62 * slot);
    double largest = 0;
    for (int b = 0; b < plot->bar_count; b++) {
        largest = fmax(largest, plot->panels[p].values[b]); /* fmax passes NaN by */
    }
    clq_set_font(cr, LABEL, false);
    clq_set_color(cr, theme->muted);
    clq_draw_text(cr, plot->panels[p].title, left, 48, CLQ_LEFT, width);
    for (int b = 0; b < plot->bar_count; b++) {
        const double value = plot->panels[p].values[b], x = left + (b + 0.5) * slot;
        char label[32] = "\u2013";
        double y = bottom;
        if (isfinite(value)) {
            clq_snprintf(label, sizeof label, value < 1e6 ? "%.*f" : "%.*e",
                         plot->panels[p].decimals, value);
            y = largest > 0 ? bottom - value / largest * (bottom - top) : bottom;
            clq_set_color(cr, theme->series[b % CLQ_THEME_SERIES]);
            cairo_rectangle(cr, x - bar / 2, y, bar, bottom - y);
            cairo_fill(cr);
        }
        clq_set_font(cr, LABEL, true);
        clq_set_color(cr, theme->text);
        clq_draw_text(cr, label, x, y - 10, CLQ_CENTER, slot);
        clq_set_font(cr, LABEL - 0.5, false);
        clq_set_color(cr, theme->muted);
        clq_draw_text(cr, plot->names[b], x, bottom + 15, CLQ_CENTER, slot - 2);
    }
    clq_set_color(cr, theme->frame);
    cairo_set_line_width(cr, 1);
    cairo_move_to(cr, left, floor(bottom) + 0.5);
    cairo_line_to(cr, left + width, floor(bottom) + 0.5);
    cairo_stroke(cr);
}

void clq_bar_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                       const void *bar_plot) {
    const clq_bar_plot *plot = bar_plot;
    const double room = (width - 16 - GAP * (plot->panel_count - 1)) / plot->panel_count;
    clq_set_font(cr, TITLE, true);
    clq_set_color(cr, theme->text);
    clq_draw_text(cr, plot->title, 8, 18, CLQ_LEFT, width - 16);
    for (int p = 0; p < plot->panel_count; p++) {
        draw_panel(cr, theme, plot, p, 8 + p * (room + GAP), room, height);
    }
}
