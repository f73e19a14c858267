/* Where the time goes: whole networks, and their layers side by side. */
#include <math.h>
#include <string.h>

#include "report/page.h"

enum { SHOWN_OPEN = 40, MAX_SIDE_BY_SIDE = 6 };

/* "PTQ int8" for "ptq". */
static const char *title_of(const clq_run_bench *b) {
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (strcmp(b->model, clq_run_keys[v]) == 0) {
            return clq_run_titles[v];
        }
    }
    return b->model;
}

/* ---- networks ---- */

static bool one_device(const clq_run_data *data) {
    for (size_t i = 1; i < data->bench_count; i++) {
        if (strcmp(data->benches[i].device, data->benches[0].device) != 0) {
            return false;
        }
    }
    return true;
}

static void put_result(const clq_run_bench *b, bool with_device, clq_text *html) {
    clq_text_puts(html, "<tr><td>");
    clq_page_puts(html, title_of(b));
    clq_text_puts(html, "</td>");
    clq_page_cell(html, b->precision);
    clq_page_cell(html, b->dot_path);
    clq_page_number(html, b->batch, 0, "");
    clq_page_number(html, b->latency.median, 3, "");
    clq_page_number(html, b->latency.min, 3, "");
    clq_page_number(html, b->latency.p99, 3, "");
    clq_page_number(html, b->images_per_second, 1, "");
    clq_page_number(html, b->gops, 1, "");
    clq_page_number(html, 100 * b->peak_fraction, 1, " %");
    clq_page_number(html, b->h2d_ms, 3, "");
    clq_page_number(html, b->d2h_ms, 3, "");
    if (with_device) {
        clq_page_cell(html, b->device);
    }
    clq_text_puts(html, "</tr>\n");
}

static void put_networks(const clq_run_data *data, clq_text *html) {
    const bool with_device = !one_device(data);
    clq_text_puts(html,
                  "<div class=scroll><table>\n<thead><tr><th>Network</th><th>Precision</th>"
                  "<th>Dot path</th><th class=n>Batch</th><th class=n>Median, ms</th>"
                  "<th class=n>Min</th><th class=n>p99</th><th class=n>Images/s</th><th class=n>"
                  "GOPS</th><th class=n>Of peak</th><th class=n>To device, ms</th><th class=n>"
                  "Back, ms</th>");
    clq_text_puts(html, with_device ? "<th>Device</th>" : "");
    clq_text_puts(html, "</tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < data->bench_count; i++) {
        put_result(&data->benches[i], with_device, html);
    }
    clq_text_puts(html, "</tbody></table></div>\n<p class=note>");
    if (!with_device && *data->benches[0].device) {
        clq_text_puts(html, "Measured on ");
        clq_page_puts(html, data->benches[0].device);
        clq_text_puts(html, ". ");
    }
    clq_text_puts(html, "Latency is from queueing the forward pass to its end, transfers apart. "
                        "The peak is the device's own, measured with the same kind of arithmetic. "
                        "One multiply-add is two operations.</p>\n");
}

/* ---- layers ---- */

static const clq_run_layer *find_layer(const clq_run_bench *b, const char *name) {
    for (size_t i = 0; i < b->layer_count; i++) {
        if (strcmp(b->layers[i].name, name) == 0) {
            return &b->layers[i];
        }
    }
    return NULL;
}

const clq_run_layer *clq_page_slowest(const clq_run_data *data, double *share) {
    const clq_run_layer *slowest = NULL;
    for (size_t i = 0; i < data->bench_count; i++) {
        const clq_run_bench *b = &data->benches[i];
        if (strcmp(b->model, clq_run_keys[clq_run_best(data)]) != 0 || !(b->layers_ms > 0)) {
            continue;
        }
        for (size_t l = 0; l < b->layer_count; l++) {
            if (isfinite(b->layers[l].ms) && (!slowest || b->layers[l].ms > slowest->ms)) {
                slowest = &b->layers[l];
                *share = slowest->ms / b->layers_ms;
            }
        }
        break;
    }
    return slowest;
}

/* Networks that ran on one device with one batch, the first of them the one to compare with. */
typedef struct side_by_side {
    const clq_run_bench *networks[MAX_SIDE_BY_SIDE];
    int count;
} side_by_side;

/* Behind the point of milliseconds, for the layers of a network that takes `all`. */
static int decimals_for(double all) {
    return all < 0.01 ? 6 : all < 0.1 ? 5 : 4;
}

static void put_time(const clq_run_layer *layer, double all, clq_text *html) {
    if (!layer || !isfinite(layer->ms) || !(all > 0)) {
        clq_page_number(html, layer ? layer->ms : NAN, decimals_for(all), "");
        return;
    }
    const double share = 100 * layer->ms / all;
    clq_text_printf(html, "<td class=share style=\"--s:%.1f%%\">%.*f<small>%.1f %%</small></td>",
                    share, decimals_for(all), layer->ms, share);
}

/* "fp32 | int8 avx2": a new part where a network differs from the one before. */
static void put_precisions(const side_by_side *s, const char *name, clq_text *html) {
    const char *precision = "", *path = "";
    clq_text_puts(html, "<td>");
    for (int n = 0; n < s->count; n++) {
        const clq_run_layer *layer = find_layer(s->networks[n], name);
        if (!layer ||
            (strcmp(layer->precision, precision) == 0 && strcmp(layer->dot_path, path) == 0)) {
            continue;
        }
        clq_text_puts(html, *precision ? " | " : "");
        precision = layer->precision;
        path = layer->dot_path;
        clq_page_puts(html, *precision ? precision : "?");
        clq_text_puts(html, *path ? " " : "");
        clq_page_puts(html, path);
    }
    clq_text_puts(html, "</td>");
}

static void put_ratio(double base, double ms, clq_text *html) {
    clq_page_number(html, ms > 0 ? base / ms : NAN, 2, "\u00d7");
}

static void put_layer(const side_by_side *s, const clq_run_layer *layer, clq_text *html) {
    const clq_run_layer *base = find_layer(s->networks[0], layer->name);
    clq_text_puts(html, "<tr>");
    clq_page_cell(html, layer->name);
    clq_page_cell(html, layer->op);
    for (int n = 0; n < s->count; n++) {
        const clq_run_layer *its = find_layer(s->networks[n], layer->name);
        put_time(its, s->networks[n]->layers_ms, html);
        if (n > 0) {
            put_ratio(base && its ? base->ms : NAN, its ? its->ms : NAN, html);
        }
    }
    put_precisions(s, layer->name, html);
    if (s->count == 1) {
        clq_page_number(html, layer->gops, 1, "");
        clq_page_number(html, 100 * layer->peak_fraction, 1, " %");
    }
    clq_text_puts(html, "</tr>\n");
}

static void put_layers_head(const side_by_side *s, size_t rows, clq_text *html) {
    clq_text_printf(html, "<details%s><summary>Layers of ", rows <= SHOWN_OPEN ? " open" : "");
    for (int n = 0; n < s->count; n++) {
        clq_text_puts(html, n == 0 ? "" : n + 1 == s->count ? " and " : ", ");
        clq_page_puts(html, title_of(s->networks[n]));
    }
    clq_text_printf(html,
                    ", batch %d</summary>\n<div class=scroll><table>\n<thead><tr><th>Layer</th>"
                    "<th>Operator</th>",
                    s->networks[0]->batch);
    for (int n = 0; n < s->count; n++) {
        clq_text_puts(html, "<th class=n>");
        clq_page_puts(html, title_of(s->networks[n]));
        clq_text_puts(html, n ? ", ms</th><th class=n>Ratio</th>" : ", ms</th>");
    }
    clq_text_puts(html, s->count == 1 ? "<th>Precision</th><th class=n>GOPS</th>"
                                        "<th class=n>Of peak</th></tr></thead>\n<tbody>\n"
                                      : "<th>Precision</th></tr></thead>\n<tbody>\n");
}

/* Layers of all networks, those that an earlier one has in its order, then what others add. */
static void put_layers(const side_by_side *s, clq_text *html) {
    put_layers_head(s, s->networks[0]->layer_count, html);
    for (int n = 0; n < s->count; n++) {
        for (size_t l = 0; l < s->networks[n]->layer_count; l++) {
            const clq_run_layer *layer = &s->networks[n]->layers[l];
            bool shown = false;
            for (int before = 0; before < n; before++) {
                shown = shown || find_layer(s->networks[before], layer->name);
            }
            if (!shown) {
                put_layer(s, layer, html);
            }
        }
    }
    clq_text_puts(html, "</tbody><tfoot><tr><td>All layers</td><td></td>");
    for (int n = 0; n < s->count; n++) {
        clq_page_number(html, s->networks[n]->layers_ms, decimals_for(s->networks[n]->layers_ms),
                        "");
        if (n > 0) {
            put_ratio(s->networks[0]->layers_ms, s->networks[n]->layers_ms, html);
        }
    }
    clq_text_puts(html, s->count == 1 ? "<td></td><td></td><td></td>" : "<td></td>");
    clq_text_puts(html, "</tr></tfoot></table></div></details>\n");
}

/* Networks that can be compared layer by layer share most names with the first. */
static bool is_beside(const clq_run_bench *first, const clq_run_bench *other) {
    size_t shared = 0;
    if (strcmp(first->device, other->device) != 0 || first->batch != other->batch) {
        return false;
    }
    for (size_t l = 0; l < other->layer_count; l++) {
        shared += find_layer(first, other->layers[l].name) != NULL;
    }
    return 2 * shared >= other->layer_count;
}

void clq_page_bench(const clq_page_run *run, clq_text *html) {
    const clq_run_data *data = run->data;
    bool done[CLQ_RUN_MAX_RESULTS] = {false};
    if (data->bench_count == 0) {
        return;
    }
    clq_page_heading(run, "Where the time goes", html);
    put_networks(data, html);
    for (size_t i = 0; i < data->bench_count; i++) {
        const clq_run_bench *first = &data->benches[i];
        side_by_side s = {{first}, 1};
        if (done[i] || first->layer_count == 0) {
            continue;
        }
        for (size_t b = i + 1; b < data->bench_count && s.count < MAX_SIDE_BY_SIDE; b++) {
            if (!done[b] && data->benches[b].layer_count > 0 &&
                is_beside(first, &data->benches[b])) {
                s.networks[s.count++] = &data->benches[b];
                done[b] = true;
            }
        }
        put_layers(&s, html);
    }
}
