/* Pictures: drawn once with cairo, written as PNG or SVG, on light or dark ground. */
#ifndef CLQUANT_REPORT_CANVAS_H
#define CLQUANT_REPORT_CANVAS_H

#include <cairo.h>

#include "base/text.h"

typedef struct clq_color {
    double r, g, b; /* 0..1 */
} clq_color;

enum { CLQ_THEME_SERIES = 4 };
typedef struct clq_theme {
    clq_color ground, text, muted, grid, frame;
    clq_color series[CLQ_THEME_SERIES]; /* told apart by people with colour blindness as well */
    clq_color heat[2];                  /* from none to all */
} clq_theme;

extern const clq_theme clq_theme_light, clq_theme_dark;

/* A picture of width x height CSS pixels. `draw` finds the ground painted and reports nothing: a
 * cairo context remembers its first failure. */
typedef struct clq_picture {
    char name[48]; /* stem of its file */
    char alt[160]; /* what is to be seen, for those who cannot see it */
    int width, height;
    void (*draw)(cairo_t *cr, const clq_theme *theme, int width, int height, const void *plot);
    const void *plot;
} clq_picture;

/* Appends the file's bytes. PNGs have two pixels a CSS pixel. CLQ_NO_MEMORY or, should cairo refuse
 * a drawing, CLQ_INTERNAL. */
clq_status clq_picture_png(const clq_picture *picture, const clq_theme *theme, clq_text *out);
clq_status clq_picture_svg(const clq_picture *picture, const clq_theme *theme, clq_text *out);

/* ---- drawing ---- */

typedef enum clq_align { CLQ_LEFT, CLQ_CENTER, CLQ_RIGHT } clq_align;

void clq_set_color(cairo_t *cr, clq_color color);
clq_color clq_mix(clq_color a, clq_color b, double fraction); /* 0: a, 1: b */
void clq_set_font(cairo_t *cr, double size, bool bold);
/* In the font that is set, in pixels. */
double clq_text_width(cairo_t *cr, const char *text);
/* (x, y) is the left end, middle or right end at half the height of capitals. Text wider than
 * `room` (0: no limit) is shortened, with an ellipsis. */
void clq_draw_text(cairo_t *cr, const char *text, double x, double y, clq_align align, double room);
/* The same turned by `angle` radians (clockwise) around (x, y). */
void clq_draw_turned(cairo_t *cr, const char *text, double x, double y, clq_align align,
                     double room, double angle);

#endif
