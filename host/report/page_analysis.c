/* Which layer loses accuracy. */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "report/page.h"

enum { SHOWN_OPEN = 40 };

static void put_count(clq_text *html, int64_t count) {
    clq_text_puts(html, "<td class=n>");
    if (count < 0) {
        clq_text_puts(html, "\u2013");
    } else {
        clq_page_count(html, count);
    }
    clq_text_puts(html, "</td>");
}

static void put_percent(clq_text *html, double share) {
    char text[32];
    clq_snprintf(text, sizeof text, "%.3g", 100 * share);
    clq_text_puts(html, "<td class=n>");
    clq_text_puts(html, isfinite(share) ? text : "\u2013");
    clq_text_puts(html, "</td>");
}

static bool has_labels(const clq_run_analysis *a) {
    return a->rung_count > 0 && isfinite(a->ladder[0].top1);
}

static const char *stage_title(const char *stage) {
    static const char *const titles[][2] = {{"fp32", "FP32"},
                                            {"folded", "folded"},
                                            {"weights", "weights rounded"},
                                            {"simulated", "and activations (simulated)"},
                                            {"integer", "integer"}};
    for (size_t i = 0; i < sizeof titles / sizeof *titles; i++) {
        if (strcmp(titles[i][0], stage) == 0) {
            return titles[i][1];
        }
    }
    return stage;
}

static void put_ladder(const clq_run_analysis *a, clq_text *html) {
    const bool labels = has_labels(a);
    clq_text_printf(html,
                    "<div class=scroll><table>\n<thead><tr><th>Network</th>%s"
                    "<th class=n>Other predictions</th><th class=n>Error of the outputs, %%</th>"
                    "</tr></thead>\n<tbody>\n",
                    labels ? "<th class=n>Top-1, 95 % interval</th><th class=n>Lost</th>"
                             "<th class=n>Gained</th>"
                           : "");
    for (size_t i = 0; i < a->rung_count; i++) {
        const clq_run_rung *r = &a->ladder[i];
        clq_text_puts(html, "<tr>");
        clq_page_cell(html, stage_title(r->stage));
        if (labels) {
            clq_text_printf(html, "<td class=n>%.2f %%<small>%.2f to %.2f</small></td>",
                            100 * r->top1, 100 * r->low, 100 * r->high);
            put_count(html, r->lost);
            put_count(html, r->gained);
        }
        put_count(html, r->flips);
        put_percent(html, r->error);
        clq_text_puts(html, "</tr>\n");
    }
    clq_text_puts(html, "</tbody></table></div>\n");
}

static void put_layer(const clq_run_analyzed_layer *l, bool labels, clq_text *html) {
    clq_text_puts(html, "<tr>");
    clq_page_cell(html, l->name);
    clq_page_cell(html, l->op);
    clq_page_cell(html, l->type);
    clq_page_number(html, l->sqnr_db, 1, "");
    clq_page_number(html, l->sqnr_accumulated_db, 1, "");
    clq_page_number(html, l->cosine, 5, "");
    put_percent(html, l->clipped);
    put_percent(html, l->error_only);
    put_percent(html, l->error_without);
    if (labels) {
        clq_page_number(html, 100 * l->top1_only, 2, " %");
        clq_page_number(html, 100 * l->top1_without, 2, " %");
    }
    clq_page_number(html, 1e-3 * l->bytes, 1, "");
    clq_page_number(html, l->fp32_ms, 4, "");
    clq_page_number(html, l->int8_ms, 4, "");
    clq_text_puts(html, "</tr>\n");
}

static void put_layers(const clq_run_analysis *a, clq_text *html) {
    const bool labels = has_labels(a);
    clq_text_printf(
        html,
        "<details%s><summary>Layers, the worst first</summary>\n<div class=scroll><table>\n"
        "<thead><tr><th>Layer</th><th>Operator</th><th>Types</th><th class=n>SQNR, dB</th>"
        "<th class=n>In the network</th><th class=n>Cosine</th><th class=n>Clipped, %%</th>"
        "<th class=n>Error alone, %%</th><th class=n>Without it</th>%s<th class=n>kB</th>"
        "<th class=n>FP32, ms</th><th class=n>int8, ms</th></tr></thead>\n<tbody>\n",
        a->layer_count <= SHOWN_OPEN ? " open" : "",
        labels ? "<th class=n>Top-1 alone</th><th class=n>Without it</th>" : "");
    for (size_t i = 0; i < a->layer_count; i++) {
        put_layer(&a->layers[i], labels, html);
    }
    clq_text_puts(html, "</tbody></table></div></details>\n");
}

void clq_page_analysis(const clq_page_run *run, clq_text *html) {
    const clq_run_analysis *a = &run->data->analysis;
    if (!a->present) {
        return;
    }
    clq_page_heading(run, "Which layer loses accuracy", html);
    if (*a->advice) {
        clq_text_puts(html, "<p>");
        clq_page_puts(html, a->advice);
        clq_text_puts(html, ".</p>\n");
    }
    put_ladder(a, html);
}

void clq_page_analyzed_layers(const clq_page_run *run, clq_text *html) {
    const clq_run_analysis *a = &run->data->analysis;
    if (!a->present) {
        return;
    }
    put_layers(a, html);
    clq_text_puts(html, "<p class=note>On ");
    clq_page_count(html, a->images);
    clq_text_puts(
        html, " samples. Alone: the float network with only this layer quantized; without it: the "
              "integer "
              "network with this layer kept float. Error: of the outputs, root of the mean squared "
              "difference to FP32's, relative. SQNR: of the layer's output, on float inputs and in "
              "the network. Lost and gained: samples that only FP32, or only this network, has "
              "right.</p>\n");
}
