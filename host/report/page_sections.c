/* The tables of the page. */
#include <math.h>
#include <string.h>

#include "report/page.h"

static void put_count(clq_text *html, int64_t count, const char *class) {
    clq_text_printf(html, "<td class=\"n%s\">", class);
    if (count < 0) {
        clq_text_puts(html, "\u2013");
    } else {
        clq_page_count(html, count);
    }
    clq_text_puts(html, "</td>");
}

static const char *judgement(int64_t mismatched) {
    return mismatched < 0 ? "" : mismatched ? " bad" : " good";
}

static void put_cell(clq_text *html, const char *text) {
    clq_text_puts(html, "<td>");
    clq_page_puts(html, *text ? text : "\u2013");
    clq_text_puts(html, "</td>");
}

/* ---- headline ---- */

static void put_card(clq_text *html, double value, int decimals, const char *suffix,
                     const char *label) {
    if (isfinite(value)) {
        clq_text_printf(html, "<div class=card><b>%.*f%s</b><span>%s</span></div>\n", decimals,
                        value, suffix, label);
    }
}

/* A difference of scores that would print as 0 is 0, without a sign. */
static double without_noise(const clq_run_data *data, double difference) {
    return fabs(difference) < (data->regression ? 0.00005 : 0.005) ? 0 : difference;
}

/* The figures of the best integer network there is. */
void clq_page_headline(const clq_run_data *data, clq_text *html) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32];
    const clq_run_variant best = data->summaries[CLQ_RUN_QAT].present ? CLQ_RUN_QAT : CLQ_RUN_PTQ;
    const clq_run_summary *s = &data->summaries[best];
    const char *const labels[2][2] = {{"PTQ top-1 accuracy", "QAT top-1 accuracy"},
                                      {"PTQ R\u00b2", "QAT R\u00b2"}};
    const double score = clq_run_score(data, best);
    if (!s->present) {
        return;
    }
    clq_text_puts(html, "<div class=cards>\n");
    put_card(html, score, data->regression ? 4 : 2, data->regression ? "" : " %",
             labels[data->regression][best == CLQ_RUN_QAT]);
    const double change = without_noise(data, score - clq_run_score(data, CLQ_RUN_FP32));
    if (isfinite(change)) {
        clq_text_printf(html, "<div class=card><b>%+.*f</b><span>%sagainst FP32</span></div>\n",
                        data->regression ? 4 : 2, change, data->regression ? "" : "points ");
    }
    put_card(html, fp32->size_bytes / s->size_bytes, 2, "\u00d7", "smaller");
    put_card(html, s->speedup, 2, "\u00d7", "speed-up");
    if (s->mismatched_codes >= 0) {
        clq_text_printf(html, "<div class=card><b class=\"%s\">",
                        judgement(s->mismatched_codes) + 1);
        clq_page_count(html, s->mismatched_codes);
        clq_text_puts(html, "</b><span>mismatched codes</span></div>\n");
    }
    clq_text_puts(html, "</div>\n");
}

/* ---- comparison ---- */

void clq_page_comparison(const clq_run_data *data, clq_text *html) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32];
    bool open = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        const clq_run_summary *s = &data->summaries[v];
        if (!s->present) {
            continue;
        }
        if (!open) {
            clq_text_printf(html,
                            "<h2>Comparison</h2>\n<div class=scroll><table>\n<thead><tr><th>Network"
                            "</th><th class=n>%s</th><th class=n>Loss</th><th class=n>Size, MB"
                            "</th><th class=n>Compression</th><th class=n>Latency, ms</th>"
                            "<th class=n>Speed-up</th><th class=n>Mismatched codes</th></tr>"
                            "</thead>\n<tbody>\n",
                            data->regression ? "R\u00b2</th><th class=n>Drop"
                                             : "Top-1</th><th class=n>Drop, points");
            open = true;
        }
        const double score = clq_run_score(data, v);
        const double drop = without_noise(data, clq_run_score(data, CLQ_RUN_FP32) - score);
        const int decimals = data->regression ? 4 : 2;
        clq_text_printf(html, "<tr><th>%s</th>", clq_run_titles[v]);
        clq_page_number(html, score, decimals, data->regression ? "" : " %");
        clq_page_number(html, v == CLQ_RUN_FP32 ? NAN : drop, decimals, "");
        clq_page_number(html, s->loss, data->regression ? 6 : 4, "");
        clq_page_number(html, 1e-6 * s->size_bytes, fp32->size_bytes < 1e4 ? 6 : 3, "");
        clq_page_number(html, fp32->size_bytes / s->size_bytes, 2, "\u00d7");
        clq_page_number(html, s->latency_ms, 3, "");
        clq_page_number(html, s->speedup, 2, "\u00d7");
        put_count(html, s->mismatched_codes, judgement(s->mismatched_codes));
        clq_text_puts(html, "</tr>\n");
    }
    if (open) {
        clq_text_puts(html,
                      "</tbody></table></div>\n<p class=note>Size is that of the parameters as "
                      "stored. Mismatched codes: activations in which the integer network differs "
                      "from the fake-quantized evaluation.</p>\n");
    }
}

/* ---- verification ---- */

static void put_verification(const clq_run_verification *check, const char *title, clq_text *html) {
    clq_text_printf(html, "<tr><th>%s</th>", title);
    put_count(html, check->images, "");
    put_count(html, check->compared, "");
    put_count(html, check->mismatched, judgement(check->mismatched));
    put_cell(html, check->first_mismatch);
    clq_text_puts(html, "<td class=long>");
    for (size_t i = 0; i < check->path_count; i++) {
        const bool same = strcmp(check->path_sha256[i], check->sha256) == 0;
        clq_text_puts(html, i ? ", " : "");
        clq_page_puts(html, check->paths[i]);
        clq_text_puts(html, same ? "" : " <b class=bad>differs</b>");
    }
    clq_text_puts(html, check->path_count ? "</td><td><code>" : "\u2013</td><td><code>");
    char digest[17] = "";
    strncat(digest, check->sha256, sizeof digest - 1); /* hexadecimal: cut where it will */
    clq_page_puts(html, digest);
    clq_text_puts(html, *check->sha256 ? "\u2026</code></td></tr>\n" : "</code></td></tr>\n");
}

void clq_page_verification(const clq_run_data *data, clq_text *html) {
    bool open = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (!data->verifications[v].present) {
            continue;
        }
        if (!open) {
            clq_text_puts(html, "<h2>Bit-exactness</h2>\n<div class=scroll><table>\n<thead><tr>"
                                "<th>Network</th><th class=n>Images</th><th class=n>Codes compared"
                                "</th><th class=n>Mismatched</th><th>First mismatch</th><th>Dot "
                                "paths</th><th>SHA-256 of the logits</th></tr></thead>\n<tbody>\n");
            open = true;
        }
        put_verification(&data->verifications[v], clq_run_titles[v], html);
    }
    clq_text_puts(html, open ? "</tbody></table></div>\n" : "");
}

/* ---- benchmark ---- */

static bool one_device(const clq_run_data *data) {
    for (size_t i = 1; i < data->bench_count; i++) {
        if (strcmp(data->benches[i].device, data->benches[0].device) != 0) {
            return false;
        }
    }
    return true;
}

static void put_result(const clq_run_bench *b, bool with_device, clq_text *html) {
    clq_text_puts(html, "<tr><th>");
    clq_page_puts(html, b->model);
    clq_text_puts(html, "</th>");
    put_cell(html, b->precision);
    put_cell(html, b->dot_path);
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
        put_cell(html, b->device);
    }
    clq_text_puts(html, "</tr>\n");
}

static void put_layers(const clq_run_bench *b, clq_text *html) {
    clq_text_puts(html, "<details><summary>Layers of ");
    clq_page_puts(html, b->model);
    clq_text_printf(html,
                    " (%zu, together %.3f ms)</summary>\n<div class=scroll><table>\n<thead><tr>"
                    "<th>Layer</th><th>Operator</th><th class=n>Time, ms</th><th class=n>Share"
                    "</th><th class=n>GOPS</th><th class=n>%% of peak</th><th>Precision</th><th>"
                    "Dot path</th></tr></thead>\n<tbody>\n",
                    b->layer_count, b->layers_ms);
    for (size_t i = 0; i < b->layer_count; i++) {
        const clq_run_layer *layer = &b->layers[i];
        const double share = b->layers_ms > 0 ? 100 * layer->ms / b->layers_ms : NAN;
        clq_text_puts(html, "<tr>");
        put_cell(html, layer->name);
        put_cell(html, layer->op);
        clq_page_number(html, layer->ms, 4, "");
        if (isfinite(share)) {
            clq_text_printf(html, "<td class=share style=\"--s:%.1f%%\">%.1f %%</td>", share,
                            share);
        } else {
            clq_page_number(html, share, 0, "");
        }
        clq_page_number(html, layer->gops, 1, "");
        clq_page_number(html, 100 * layer->peak_fraction, 1, "");
        put_cell(html, layer->precision);
        put_cell(html, layer->dot_path);
        clq_text_puts(html, "</tr>\n");
    }
    clq_text_puts(html, "</tbody></table></div></details>\n");
}

void clq_page_bench(const clq_run_data *data, clq_text *html) {
    if (data->bench_count == 0) {
        return;
    }
    const bool with_device = !one_device(data);
    clq_text_puts(html,
                  "<h2>Benchmark</h2>\n<div class=scroll><table>\n<thead><tr><th>Model</th><th>"
                  "Precision</th><th>Dot path</th><th class=n>Batch</th><th class=n>Median, ms</th>"
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
    for (size_t i = 0; i < data->bench_count; i++) {
        if (data->benches[i].layer_count > 0) {
            put_layers(&data->benches[i], html);
        }
    }
}

/* ---- environment ---- */

void clq_page_environment(const clq_run_data *data, clq_text *html) {
    const char *const rows[][2] = {{"Run", data->name},
                                   {"Device", data->device},
                                   {"Dot path", data->dot_path},
                                   {"Date", data->created}};
    bool open = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!*rows[i][1]) {
            continue;
        }
        clq_text_puts(html,
                      open ? "" : "<h2>Environment</h2>\n<div class=scroll><table>\n<tbody>\n");
        open = true;
        clq_text_printf(html, "<tr><th>%s</th><td class=long>", rows[i][0]);
        clq_page_puts(html, rows[i][1]);
        clq_text_puts(html, "</td></tr>\n");
    }
    clq_text_puts(html, open ? "</tbody></table></div>\n" : "");
}
