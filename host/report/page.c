#include "report/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

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
    clq_text_puts(html,
                  "<figure><picture><source media=\"(prefers-color-scheme: dark)\" srcset=\"");
    CLQ_TRY(put_data(picture, &clq_theme_dark, html));
    clq_text_puts(html, "\"><img src=\"");
    CLQ_TRY(put_data(picture, &clq_theme_light, html));
    clq_text_printf(html, "\" width=%d height=%d alt=\"", picture->width, picture->height);
    clq_page_puts(html, picture->alt);
    clq_text_puts(html, "\"></picture></figure>\n");
    return CLQ_OK;
}

static clq_status put_group(const clq_pictures *pictures, clq_picture_group group,
                            const char *heading, clq_text *html) {
    bool open = false;
    for (int i = 0; i < pictures->count; i++) {
        if (pictures->groups[i] != group) {
            continue;
        }
        if (!open && heading) {
            clq_text_printf(html, "<h2>%s</h2>\n", heading);
        }
        clq_text_puts(html, open ? "" : "<div class=pictures>\n");
        open = true;
        CLQ_TRY(put_picture(&pictures->items[i], html));
    }
    clq_text_puts(html, open ? "</div>\n" : "");
    return CLQ_OK;
}

/* ---- the page ---- */

static void put_head(const clq_run_data *data, clq_text *html) {
    const char *name = *data->name ? data->name : "Quantization report";
    clq_text_puts(html, "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
                        "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
                        "<meta name=color-scheme content=\"light dark\">\n<title>");
    clq_page_puts(html, name);
    clq_text_puts(html, " \u2013 clquant</title>\n<style>\n");
    clq_text_puts(html, clq_page_style);
    clq_text_puts(html, "</style>\n</head>\n<body>\n<main>\n<header>\n<h1>");
    clq_page_puts(html, name);
    clq_text_puts(html, "</h1>\n<p class=lead>");
    clq_page_puts(html, data->device);
    if (*data->created) {
        clq_text_puts(html, *data->device ? " \u00b7 " : "");
        clq_page_puts(html, data->created);
    }
    clq_text_puts(html, "</p>\n</header>\n");
}

clq_status clq_page_make(const clq_run_data *data, const clq_pictures *pictures, clq_text *html) {
    put_head(data, html);
    clq_page_headline(data, html);
    clq_page_comparison(data, html);
    CLQ_TRY(put_group(pictures, CLQ_PICTURE_COMPARISON, NULL, html));
    CLQ_TRY(put_group(pictures, CLQ_PICTURE_TRAIN, "FP32 training", html));
    CLQ_TRY(put_group(pictures, CLQ_PICTURE_QAT, "Quantization-aware training", html));
    CLQ_TRY(put_group(pictures, CLQ_PICTURE_CONFUSION, "Confusion matrices", html));
    clq_page_verification(data, html);
    clq_page_bench(data, html);
    clq_page_environment(data, html);
    clq_text_puts(html, "</main>\n</body>\n</html>\n");
    return clq_text_status(html);
}
