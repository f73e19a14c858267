/* Confusion matrices. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "report/plot.h"

/* Above so many classes the cells become the pixels of an image: a rectangle each would make
 * megabytes of SVG. */
enum { MAX_RECTANGLES = 40, IMAGE_SIZE = 1200 };
static const double TITLE = 15, LABEL = 12, MAX_NAME = 96, MIN_LABEL_PITCH = 13;

typedef struct layout {
    double left, top, side, cell; /* of the square of cells */
    int stride;                   /* every stride-th class has its label */
    bool turned;                  /* column labels stand on end */
    double label_y;               /* of the axis' title, under the cells */
} layout;

static int64_t count_at(const clq_matrix_plot *plot, int r, int c) {
    return plot->counts[(size_t)r * (size_t)plot->classes + (size_t)c];
}

static double row_sum(const clq_matrix_plot *plot, int r) {
    double sum = 0;
    for (int c = 0; c < plot->classes; c++) {
        sum += (double)count_at(plot, r, c);
    }
    return sum;
}

/* The square root lets a confusion of one in a hundred be seen beside a diagonal near 1. */
static double shade_of(double share) {
    return sqrt(share);
}

/* Valid until the next call with the same buffer. */
static const char *name_of(const clq_matrix_plot *plot, int c, char buffer[16]) {
    if (plot->names && plot->names[c]) {
        return plot->names[c];
    }
    snprintf(buffer, 16, "%d", c);
    return buffer;
}

static layout lay_out(cairo_t *cr, const clq_matrix_plot *plot, int width, int height) {
    double widest = 0;
    layout l = {0};
    clq_set_font(cr, LABEL - 0.5, false);
    for (int c = 0; c < plot->classes; c++) {
        char buffer[16];
        widest = fmax(widest, clq_text_width(cr, name_of(plot, c, buffer)));
    }
    widest = fmin(widest, MAX_NAME);
    l.left = widest + 36;
    l.top = 40;
    const double across = width - l.left - 74, down = height - l.top;
    l.turned = widest > fmin(across, down - 60) / plot->classes - 6;
    l.label_y = l.turned ? widest + 26 : 36;
    l.side = fmin(across, down - l.label_y - 14);
    l.cell = l.side / plot->classes;
    l.stride = 1;
    if (l.cell < MIN_LABEL_PITCH) {
        static const int strides[] = {2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000};
        for (size_t i = 0; i < sizeof strides / sizeof *strides; i++) {
            l.stride = strides[i];
            if (l.stride * l.cell >= MIN_LABEL_PITCH) {
                break;
            }
        }
    }
    return l;
}

static void draw_rectangles(cairo_t *cr, const clq_theme *theme, const clq_matrix_plot *plot,
                            const layout *l) {
    const double gap = l->cell > 12 ? 1 : 0;
    for (int r = 0; r < plot->classes; r++) {
        const double sum = row_sum(plot, r);
        for (int c = 0; c < plot->classes; c++) {
            const double share = sum > 0 ? (double)count_at(plot, r, c) / sum : 0;
            clq_set_color(cr, clq_mix(theme->heat[0], theme->heat[1], shade_of(share)));
            cairo_rectangle(cr, l->left + c * l->cell, l->top + r * l->cell, l->cell - gap,
                            l->cell - gap);
            cairo_fill(cr);
        }
    }
}

static uint32_t pixel_of(clq_color color) {
    return (uint32_t)lrint(255 * color.r) << 16 | (uint32_t)lrint(255 * color.g) << 8 |
           (uint32_t)lrint(255 * color.b);
}

/* One pixel shows the greatest share of the cells under it, so single confusions stay visible. */
static void draw_image(cairo_t *cr, const clq_theme *theme, const clq_matrix_plot *plot,
                       const layout *l) {
    const int repeat = plot->classes < IMAGE_SIZE ? IMAGE_SIZE / plot->classes : 1;
    const int skip = (plot->classes + IMAGE_SIZE - 1) / IMAGE_SIZE;
    const int blocks = (plot->classes + skip - 1) / skip, size = blocks * repeat;
    cairo_surface_t *image = cairo_image_surface_create(CAIRO_FORMAT_RGB24, size, size);
    double *shares = clq_calloc((size_t)blocks, sizeof *shares);
    if (cairo_surface_status(image) == CAIRO_STATUS_SUCCESS && shares) {
        unsigned char *data = cairo_image_surface_get_data(image);
        const size_t pitch = (size_t)cairo_image_surface_get_stride(image);
        for (int block = 0; block < blocks; block++) {
            for (int i = 0; i < blocks; i++) {
                shares[i] = 0;
            }
            for (int r = block * skip; r < (block + 1) * skip && r < plot->classes; r++) {
                const double sum = row_sum(plot, r);
                for (int c = 0; sum > 0 && c < plot->classes; c++) {
                    shares[c / skip] = fmax(shares[c / skip], (double)count_at(plot, r, c) / sum);
                }
            }
            for (int y = block * repeat; y < (block + 1) * repeat; y++) {
                uint32_t *row = (uint32_t *)(void *)(data + (size_t)y * pitch);
                for (int x = 0; x < size; x++) {
                    row[x] = pixel_of(
                        clq_mix(theme->heat[0], theme->heat[1], shade_of(shares[x / repeat])));
                }
            }
        }
        cairo_surface_mark_dirty(image);
    }
    cairo_save(cr);
    cairo_translate(cr, l->left, l->top);
    cairo_scale(cr, l->side / size, l->side / size);
    cairo_set_source_surface(cr, image, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr), CAIRO_FILTER_GOOD);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_surface_destroy(image);
    clq_free(shares);
}

/* Counts in the cells, as large as the widest allows; none when that is too small to read. */
static void draw_counts(cairo_t *cr, const clq_theme *theme, const clq_matrix_plot *plot,
                        const layout *l) {
    char text[24];
    int64_t largest = 0;
    for (int i = 0; i < plot->classes * plot->classes; i++) {
        largest = plot->counts[i] > largest ? plot->counts[i] : largest;
    }
    snprintf(text, sizeof text, "%" PRId64, largest);
    clq_set_font(cr, 10, false);
    const double size = fmin(13, 10 * (l->cell - 6) / clq_text_width(cr, text));
    if (size < 7 || l->cell < 14) {
        return;
    }
    clq_set_font(cr, size, false);
    for (int r = 0; r < plot->classes; r++) {
        const double sum = row_sum(plot, r);
        for (int c = 0; c < plot->classes; c++) {
            const int64_t count = count_at(plot, r, c);
            const double share = sum > 0 ? (double)count / sum : 0;
            snprintf(text, sizeof text, "%" PRId64, count);
            clq_set_color(cr, shade_of(share) > 0.5 ? theme->ground
                              : count > 0           ? theme->text
                                                    : clq_mix(theme->muted, theme->heat[0], 0.55));
            clq_draw_text(cr, text, l->left + (c + 0.5) * l->cell, l->top + (r + 0.5) * l->cell,
                          CLQ_CENTER, 0);
        }
    }
}

static void draw_labels(cairo_t *cr, const clq_theme *theme, const clq_matrix_plot *plot,
                        const layout *l) {
    char buffer[16];
    const double bottom = l->top + l->side, middle = l->side / 2;
    clq_set_font(cr, LABEL - 0.5, false);
    clq_set_color(cr, theme->text);
    for (int c = 0; c < plot->classes; c += l->stride) {
        const char *name = name_of(plot, c, buffer);
        const double at = (c + 0.5) * l->cell;
        clq_draw_text(cr, name, l->left - 7, l->top + at, CLQ_RIGHT, MAX_NAME);
        if (l->turned) {
            clq_draw_turned(cr, name, l->left + at, bottom + 7, CLQ_RIGHT, MAX_NAME, -M_PI / 2);
        } else {
            clq_draw_text(cr, name, l->left + at, bottom + 13, CLQ_CENTER, l->cell - 2);
        }
    }
    clq_set_font(cr, LABEL, false);
    clq_set_color(cr, theme->muted);
    clq_draw_text(cr, "predicted class", l->left + middle, bottom + l->label_y, CLQ_CENTER, 0);
    clq_draw_turned(cr, "true class", 12, l->top + middle, CLQ_CENTER, 0, -M_PI / 2);
}

static void draw_scale(cairo_t *cr, const clq_theme *theme, const layout *l) {
    static const int percents[] = {0, 1, 5, 10, 25, 50, 75, 100};
    const double x = l->left + l->side + 16, bottom = l->top + l->side;
    cairo_pattern_t *ramp = cairo_pattern_create_linear(0, bottom, 0, l->top);
    for (int i = 0; i < 2; i++) {
        cairo_pattern_add_color_stop_rgb(ramp, i, theme->heat[i].r, theme->heat[i].g,
                                         theme->heat[i].b);
    }
    cairo_set_source(cr, ramp);
    cairo_rectangle(cr, x, l->top, 10, l->side);
    cairo_fill(cr);
    cairo_pattern_destroy(ramp);
    clq_set_font(cr, LABEL - 1.5, false);
    clq_set_color(cr, theme->muted);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        char label[16];
        snprintf(label, sizeof label, "%d %%", percents[i]);
        clq_draw_text(cr, label, x + 15, bottom - l->side * shade_of(percents[i] / 100.0), CLQ_LEFT,
                      0);
    }
}

void clq_matrix_plot_draw(cairo_t *cr, const clq_theme *theme, int width, int height,
                          const void *matrix_plot) {
    const clq_matrix_plot *plot = matrix_plot;
    const layout l = lay_out(cr, plot, width, height);
    clq_set_font(cr, TITLE, true);
    clq_set_color(cr, theme->text);
    clq_draw_text(cr, plot->title, 8, 18, CLQ_LEFT, width - 16);
    if (plot->classes <= MAX_RECTANGLES) {
        draw_rectangles(cr, theme, plot, &l);
        draw_counts(cr, theme, plot, &l);
    } else {
        draw_image(cr, theme, plot, &l);
    }
    draw_labels(cr, theme, plot, &l);
    draw_scale(cr, theme, &l);
}
