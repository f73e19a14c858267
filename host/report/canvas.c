#include "report/canvas.h"

#include <cairo-svg.h>
#include <math.h>
#include <string.h>

/* Series colours: Okabe and Ito, "Color universal design" (2008), lightened for the dark ground. */
const clq_theme clq_theme_light = {
    .ground = {1, 1, 1},
    .text = {0.10, 0.12, 0.16},
    .muted = {0.36, 0.40, 0.46},
    .grid = {0.90, 0.91, 0.93},
    .frame = {0.72, 0.75, 0.79},
    .series = {{0, 0.447, 0.698}, {0.835, 0.369, 0}, {0, 0.545, 0.40}, {0.70, 0.36, 0.55}},
    .heat = {{0.96, 0.97, 0.98}, {0.02, 0.27, 0.53}},
};
const clq_theme clq_theme_dark = {
    .ground = {0.086, 0.106, 0.133},
    .text = {0.90, 0.93, 0.95},
    .muted = {0.60, 0.65, 0.70},
    .grid = {0.17, 0.20, 0.24},
    .frame = {0.34, 0.38, 0.43},
    .series = {{0.337, 0.706, 0.914}, {0.95, 0.62, 0.20}, {0.25, 0.75, 0.58}, {0.85, 0.60, 0.75}},
    .heat = {{0.12, 0.145, 0.18}, {0.45, 0.77, 0.98}},
};

/* ---- surfaces ---- */

static cairo_status_t append(void *text, const unsigned char *data, unsigned size) {
    clq_text_append(text, data, size);
    return ((clq_text *)text)->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static clq_status check(cairo_status_t status, const clq_picture *picture) {
    if (status == CAIRO_STATUS_SUCCESS) {
        return CLQ_OK;
    }
    return clq_fail(status == CAIRO_STATUS_NO_MEMORY ? CLQ_NO_MEMORY : CLQ_INTERNAL,
                    "cannot draw %s: %s", picture->name, cairo_status_to_string(status));
}

static clq_status draw(cairo_surface_t *surface, const clq_picture *picture, const clq_theme *theme,
                       double scale) {
    cairo_t *cr = cairo_create(surface);
    cairo_scale(cr, scale, scale);
    clq_set_color(cr, theme->ground);
    cairo_paint(cr);
    picture->draw(cr, theme, picture->width, picture->height, picture->plot);
    const clq_status status = check(cairo_status(cr), picture);
    cairo_destroy(cr);
    return status;
}

clq_status clq_picture_png(const clq_picture *picture, const clq_theme *theme, clq_text *out) {
    enum { SCALE = 2 };
    cairo_surface_t *surface = cairo_image_surface_create(
        CAIRO_FORMAT_RGB24, SCALE * picture->width, SCALE * picture->height);
    clq_status status = draw(surface, picture, theme, SCALE);
    if (status == CLQ_OK) {
        status = check(cairo_surface_write_to_png_stream(surface, append, out), picture);
    }
    cairo_surface_destroy(surface);
    return status;
}

clq_status clq_picture_svg(const clq_picture *picture, const clq_theme *theme, clq_text *out) {
    cairo_surface_t *surface =
        cairo_svg_surface_create_for_stream(append, out, picture->width, picture->height);
    cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
    clq_status status = draw(surface, picture, theme, 1);
    cairo_surface_finish(surface);
    if (status == CLQ_OK) {
        status = check(cairo_surface_status(surface), picture);
    }
    cairo_surface_destroy(surface);
    return status;
}

/* ---- colour ---- */

void clq_set_color(cairo_t *cr, clq_color color) {
    cairo_set_source_rgb(cr, color.r, color.g, color.b);
}

clq_color clq_mix(clq_color a, clq_color b, double fraction) {
    return (clq_color){a.r + fraction * (b.r - a.r), a.g + fraction * (b.g - a.g),
                       a.b + fraction * (b.b - a.b)};
}

/* ---- text ---- */

void clq_set_font(cairo_t *cr, double size, bool bold) {
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF); /* same on all surfaces */
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_antialias(options, CAIRO_ANTIALIAS_GRAY);
    cairo_set_font_options(cr, options);
    cairo_font_options_destroy(options);
    cairo_select_font_face(cr, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cr, size);
}

double clq_text_width(cairo_t *cr, const char *text) {
    cairo_text_extents_t extents;
    cairo_text_extents(cr, text, &extents);
    return extents.x_advance;
}

/* The longest beginning of valid UTF-8 `text` that fits into `room` with an ellipsis. */
static void shorten(cairo_t *cr, const char *text, double room, char *out, size_t size) {
    static const char ellipsis[] = "\u2026";
    size_t length = strlen(text);
    if (length > size - sizeof ellipsis) {
        length = size - sizeof ellipsis;
    }
    for (;;) {
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
            length--; /* not inside a character */
        }
        memcpy(out, text, length);
        memcpy(out + length, ellipsis, sizeof ellipsis);
        if (length == 0 || clq_text_width(cr, out) <= room) {
            return;
        }
        length--;
    }
}

void clq_draw_turned(cairo_t *cr, const char *text, double x, double y, clq_align align,
                     double room, double angle) {
    char cut[256];
    cairo_text_extents_t capital;
    if (strlen(text) >= sizeof cut || (room > 0 && clq_text_width(cr, text) > room)) {
        shorten(cr, text, room > 0 ? room : 1e9, cut, sizeof cut);
        text = cut;
    }
    const double width = clq_text_width(cr, text);
    cairo_text_extents(cr, "H", &capital);
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, angle);
    cairo_move_to(cr,
                  align == CLQ_LEFT     ? 0
                  : align == CLQ_CENTER ? -width / 2
                                        : -width,
                  capital.height / 2);
    cairo_show_text(cr, text);
    cairo_restore(cr);
    cairo_new_path(cr);
}

void clq_draw_text(cairo_t *cr, const char *text, double x, double y, clq_align align,
                   double room) {
    clq_draw_turned(cr, text, x, y, align, room, 0);
}
