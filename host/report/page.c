#include "report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/files.h"

/* ---- text ---- */

void clq_page_puts(clq_text *html, const char *text) {
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '<':
            clq_text_puts(html, "&lt;");
            break;
        case '>':
            clq_text_puts(html, "&gt;");
            break;
        case '&':
            clq_text_puts(html, "&amp;");
            break;
        case '"':
            clq_text_puts(html, "&quot;");
            break;
        case '\'':
            clq_text_puts(html, "&#39;");
            break;
        default:
            if ((unsigned char)*c < 0x20 || *c == 0x7F) {
                clq_text_puts(html, " ");
            } else {
                clq_text_append(html, c, 1);
            }
        }
    }
}

void clq_page_number(clq_text *html, double value, int decimals, const char *suffix) {
    clq_text_puts(html, "<td class=n>");
    if (!isfinite(value)) {
        clq_text_puts(html, "\u2013");
    } else if (fabs(value) >= 1e9) {
        clq_text_printf(html, "%.3g%s", value, suffix);
    } else {
        clq_text_printf(html, "%.*f%s", decimals, value, suffix);
    }
    clq_text_puts(html, "</td>");
}

void clq_page_count(clq_text *html, int64_t count) {
    char digits[24];
    const int length = snprintf(digits, sizeof digits, "%" PRId64, count);
    for (int i = 0; i < length; i++) {
        clq_text_puts(html, i > 0 && (length - i) % 3 == 0 && length > 4 ? "\u202f" : "");
        clq_text_append(html, digits + i, 1);
    }
}

/* ---- pictures ---- */

/* RFC 4648, section 4. */
static void put_base64(clq_text *html, const char *bytes, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = (const unsigned char *)bytes;
    for (size_t i = 0; i < size; i += 3) {
        const size_t rest = size - i;
        const unsigned word = (unsigned)in[i] << 16 | (rest > 1 ? (unsigned)in[i + 1] << 8 : 0) |
                              (rest > 2 ? in[i + 2] : 0);
        const char group[4] = {digits[word >> 18], digits[word >> 12 & 63],
                               rest > 1 ? digits[word >> 6 & 63] : '=',
                               rest > 2 ? digits[word & 63] : '='};
        clq_text_append(html, group, sizeof group);
    }
}

static clq_status put_data(const clq_picture *picture, const clq_theme *theme, clq_text *html) {
    clq_text svg = {0};
    clq_status status = clq_picture_svg(picture, theme, &svg);
    if (status == CLQ_OK) {
        clq_text_puts(html, "data:image/svg+xml;base64,");
        put_base64(html, svg.data, svg.size);
    }
    clq_text_free(&svg);
    return status;
}

/* As an image each: inlined SVGs of one page would share the names of their glyphs. */
static clq_status put_picture(const clq_picture *picture, clq_text *html) {
    const bool wide = picture->width > 600; /* it would become too small to read on a telephone */
    clq_text_printf(html,
                    "<figure%s><picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"",
                    wide ? " class=wide" : "");
    CLQ_TRY(put_data(picture, &clq_theme_dark, html));
    clq_text_puts(html, "\"><img src=\"");
    CLQ_TRY(put_data(picture, &clq_theme_light, html));
    clq_text_printf(html, "\" width=%d height=%d alt=\"", picture->width, picture->height);
    clq_page_puts(html, picture->alt);
    clq_text_puts(html, "\"></picture></figure>\n");
    return CLQ_OK;
}

static clq_status put_group(const clq_page_run *run, clq_picture_group group, const char *heading,
                            clq_text *html) {
    const clq_pictures *pictures = run->pictures;
    bool open = false;
    for (int i = 0; i < pictures->count; i++) {
        if (pictures->groups[i] != group) {
            continue;
        }
        if (!open && heading) {
            clq_page_heading(run, heading, html);
        }
        clq_text_puts(html, open ? "" : "<div class=pictures>\n");
        open = true;
        CLQ_TRY(put_picture(&pictures->items[i], html));
    }
    clq_text_puts(html, open ? "</div>\n" : "");
    return CLQ_OK;
}

/* ---- the page ---- */

void clq_page_cell(clq_text *html, const char *text) {
    clq_text_puts(html, "<td>");
    clq_page_puts(html, *text ? text : "\u2013");
    clq_text_puts(html, "</td>");
}

void clq_page_heading(const clq_page_run *run, const char *text, clq_text *html) {
    clq_text_printf(html, "<h%d>%s</h%d>\n", run->level, text, run->level);
}

const char *clq_page_name(const clq_page_run *run) {
    return *run->data->name ? run->data->name : clq_path_basename(run->folder);
}

static void put_lead(const clq_run_data *data, clq_text *html) {
    const char *const parts[] = {data->device, data->data, data->created};
    bool open = false;
    clq_text_puts(html, "<p class=lead>");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (*parts[i]) {
            clq_text_puts(html, open ? " \u00b7 " : "");
            clq_page_puts(html, parts[i]);
            open = true;
        }
    }
    if (*data->version) {
        clq_text_puts(html, open ? " \u00b7 clquant " : "clquant ");
        clq_page_puts(html, data->version);
    }
    clq_text_puts(html, "</p>\n");
}

static void put_head(const char *name, clq_text *html) {
    clq_text_puts(html, "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                        "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
                        "<meta name=color-scheme content=\"light dark\">\n"
                        "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; "
                        "img-src data:; style-src 'unsafe-inline'\">\n<title>");
    clq_page_puts(html, name);
    clq_text_puts(html, " \u2013 clquant</title>\n<style>\n");
    for (int i = 0; i < CLQ_PAGE_STYLES; i++) {
        clq_text_puts(html, clq_page_style[i]);
    }
    clq_text_puts(html, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
    clq_page_puts(html, name);
    clq_text_puts(html, "</h1>\n");
}

static clq_status put_run(const clq_page_run *run, const clq_report_files *files, clq_text *html) {
    clq_page_headline(run, html);
    clq_page_comparison(run, html);
    CLQ_TRY(put_group(run, CLQ_PICTURE_COMPARISON, NULL, html));
    clq_page_verification(run, html);
    clq_page_analysis(run, html);
    CLQ_TRY(put_group(run, CLQ_PICTURE_ANALYSIS, NULL, html));
    clq_page_analyzed_layers(run, html);
    clq_page_bench(run, html);
    CLQ_TRY(put_group(run, CLQ_PICTURE_TRAIN, "FP32 training", html));
    CLQ_TRY(put_group(run, CLQ_PICTURE_QAT, "Quantization-aware training", html));
    CLQ_TRY(put_group(run, CLQ_PICTURE_CONFUSION, "Confusion matrices", html));
    CLQ_TRY(clq_page_origin(run, html));
    clq_page_files(run, files, html);
    return CLQ_OK;
}

clq_status clq_page_make(const clq_page_run *runs, size_t count, const clq_report_files *files,
                         clq_text *html) {
    if (count == 1) {
        put_head(clq_page_name(runs), html);
        put_lead(runs->data, html);
        clq_text_puts(html, "</header>\n");
        CLQ_TRY(put_run(runs, files, html));
    } else {
        char title[64];
        snprintf(title, sizeof title, "%zu runs compared", count);
        put_head(title, html);
        clq_text_puts(html, "</header>\n");
        CLQ_TRY(clq_page_runs(runs, count, html));
    }
    for (size_t i = 0; count > 1 && i < count; i++) {
        clq_text_printf(html, "<section id=run-%zu>\n<h2>%zu. ", i + 1, i + 1);
        clq_page_puts(html, clq_page_name(&runs[i]));
        clq_text_puts(html, "</h2>\n");
        put_lead(runs[i].data, html);
        CLQ_TRY(put_run(&runs[i], files, html));
        clq_text_puts(html, "</section>\n");
    }
    clq_text_puts(html, "</main>\n</body>\n</html>\n");
    return clq_text_status(html);
}
