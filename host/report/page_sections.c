/* What a person wants to know of a run: was it worth it, and can it be trusted. */
#include <math.h>
#include <string.h>

#include "base/text.h"
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

static const char *class_of(int64_t mismatched) {
    return mismatched < 0 ? "" : mismatched ? " bad" : " good";
}

/* ---- headline ---- */

static void put_card(clq_text *html, double value, int decimals, const char *suffix,
                     const char *label) {
    if (isfinite(value)) {
        clq_text_printf(html, "<div class=card><b>%.*f%s</b><span>%s</span></div>\n", decimals,
                        value, suffix, label);
    }
}

/* A difference of scores that would print as 0. */
static bool is_small(const clq_run_data *data, double difference) {
    return fabs(difference) < (data->regression ? 0.00005 : 0.005);
}

/* Such a difference is 0, without a sign. */
static double without_noise(const clq_run_data *data, double difference) {
    return is_small(data, difference) ? 0 : difference;
}

static void put_score_card(const clq_run_data *data, clq_run_variant best, clq_text *html) {
    static const char *const labels[2][CLQ_RUN_VARIANTS] = {
        {"FP32 top-1 accuracy", "PTQ top-1 accuracy", "QAT top-1 accuracy"},
        {"FP32 R\u00b2", "PTQ R\u00b2", "QAT R\u00b2"}};
    const double score = clq_run_score(data, best);
    double low, high;
    clq_run_interval(data, best, &low, &high);
    if (!isfinite(low)) {
        put_card(html, score, data->regression ? 4 : 2, data->regression ? "" : " %",
                 labels[data->regression][best]);
        return;
    }
    clq_text_printf(html,
                    "<div class=card><b>%.2f %%</b><span>%s%s, 95 %% interval %.2f to %.2f</span>"
                    "</div>\n",
                    score, labels[0][best], data->summaries[best].in_training ? " in training" : "",
                    100 * low, 100 * high);
}

/* The figures of the best integer network there is. */
static void put_cards(const clq_run_data *data, clq_run_variant best, clq_text *html) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32], *s = &data->summaries[best];
    clq_text_puts(html, "<div class=cards>\n");
    put_score_card(data, best, html);
    const double change = clq_run_score(data, best) - clq_run_score(data, CLQ_RUN_FP32);
    if (best != CLQ_RUN_FP32 && change == 0) {
        clq_text_puts(html, "<div class=card><b>no</b><span>difference to FP32</span></div>\n");
    } else if (best != CLQ_RUN_FP32 && is_small(data, change)) {
        clq_text_printf(html,
                        "<div class=card><b>&lt; %s</b><span>%sdifference to FP32</span></div>\n",
                        data->regression ? "0.0001" : "0.01", data->regression ? "" : "points ");
    } else if (isfinite(change) && best != CLQ_RUN_FP32) {
        clq_text_printf(html, "<div class=card><b>%+.*f</b><span>%sagainst FP32</span></div>\n",
                        data->regression ? 4 : 2, change, data->regression ? "" : "points ");
    }
    if (best != CLQ_RUN_FP32) {
        put_card(html, fp32->size_bytes / s->size_bytes, 2, "\u00d7", "smaller than FP32");
        put_card(html, s->speedup, 2, "\u00d7", "as fast as FP32");
    }
    if (s->mismatched_codes >= 0) {
        clq_text_printf(html, "<div class=card><b class=\"%s\">",
                        class_of(s->mismatched_codes) + 1);
        clq_page_count(html, s->mismatched_codes);
        clq_text_puts(html, "</b><span>codes (activations as 8-bit integers) differ from the "
                            "fake-quantized evaluation</span></div>\n");
    }
    clq_text_puts(html, "</div>\n");
}

/* Which networks were verified, on what, and what came of it. */
static void put_trust(const clq_run_data *data, clq_run_variant best, clq_text *html) {
    const clq_run_verification *check = &data->verifications[best];
    size_t different = 0;
    if (!check->present) {
        if (best != CLQ_RUN_FP32) {
            clq_text_puts(html, "<li><b>Can it be trusted?</b> It was not verified; "
                                "<code>clquant verify</code> does.</li>\n");
        }
        return;
    }
    clq_text_puts(html, "<li><b>Can it be trusted?</b> ");
    clq_page_count(html, check->mismatched);
    if (check->compared >= 0) {
        clq_text_puts(html, " of ");
        clq_page_count(html, check->compared);
    }
    clq_text_puts(html, " codes differ between integer network and fake-quantized evaluation, on ");
    clq_page_count(html, check->images);
    clq_text_printf(html, " example%s", clq_plural(check->images));
    for (size_t i = 0; i < check->path_count; i++) {
        different += strcmp(check->path_sha256[i], check->sha256) != 0;
    }
    if (check->path_count > 0) {
        clq_text_printf(html, "; the results are %s on ",
                        different ? "<b class=bad>not the same</b>" : "the same bits");
    }
    for (size_t i = 0; i < check->path_count; i++) {
        clq_text_puts(html, i == 0 ? "" : i + 1 == check->path_count ? " and " : ", ");
        clq_page_puts(html, check->paths[i]);
    }
    clq_text_puts(html, ".</li>\n");
}

/* "from 99.00 % to 98.50 %" or "stays at 99.00 %", and how much that is. */
static void put_change(const clq_run_data *data, clq_run_variant best, clq_text *html) {
    const int decimals = data->regression ? 4 : 2;
    const char *unit = data->regression ? "" : " %";
    const double before = clq_run_score(data, CLQ_RUN_FP32), after = clq_run_score(data, best);
    double low, high;
    clq_run_interval(data, CLQ_RUN_FP32, &low, &high);
    if (is_small(data, after - before)) {
        clq_text_printf(html, " stays at %.*f%s", decimals, after, unit);
    } else {
        clq_text_printf(html, " goes from %.*f%s to %.*f%s", decimals, before, unit, decimals,
                        after, unit);
    }
    if (!isfinite(low)) {
        return;
    }
    if (after == before) {
        clq_text_puts(html, " (no difference; ");
    } else {
        clq_text_printf(html, " (%s%.2f points %s; ",
                        is_small(data, after - before) ? "less than " : "",
                        fmax(0.01, fabs(after - before)), after < before ? "less" : "more");
    }
    clq_text_printf(html, "FP32's own is known to about \u00b1%.2f points)", 50 * (high - low));
}

/* What QAT brought that PTQ alone had not. */
static void put_training(const clq_run_data *data, clq_text *html) {
    const clq_run_summary *ptq = &data->summaries[CLQ_RUN_PTQ];
    const clq_run_summary *qat = &data->summaries[CLQ_RUN_QAT];
    const double alone = clq_run_score(data, CLQ_RUN_PTQ),
                 trained = clq_run_score(data, CLQ_RUN_QAT);
    const int decimals = data->regression ? 4 : 2;
    const char *unit = data->regression ? "" : " %";
    if (!isfinite(alone) || !isfinite(trained)) {
        return;
    }
    if (clq_run_ptq_suffices(data)) {
        clq_text_printf(html,
                        " Quantization-aware training was not needed: PTQ alone has %.*f%s, QAT "
                        "%.*f%s",
                        decimals, alone, unit, decimals, trained, unit);
        if (isfinite(ptq->latency_ms) && isfinite(qat->latency_ms)) {
            clq_text_printf(html, ", at %.3f and %.3f ms", ptq->latency_ms, qat->latency_ms);
        }
        clq_text_puts(html, ".");
    } else if (trained > alone) {
        clq_text_printf(html, " PTQ alone has %.*f%s.", decimals, alone, unit);
    }
}

static void put_worth(const clq_run_data *data, clq_run_variant best, clq_text *html) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32], *s = &data->summaries[best];
    if (best == CLQ_RUN_FP32 || !isfinite(clq_run_score(data, CLQ_RUN_FP32)) ||
        !isfinite(clq_run_score(data, best))) {
        return;
    }
    clq_text_printf(html, "<li><b>Was it worth it?</b> From FP32 to %s the %s",
                    clq_run_titles[best], data->regression ? "R\u00b2" : "top-1 accuracy");
    put_change(data, best, html);
    if (isfinite(s->size_bytes) && isfinite(fp32->size_bytes)) {
        const bool small = fp32->size_bytes < 1e5;
        clq_text_printf(html, ", parameters from %.4g to %.4g %s",
                        fp32->size_bytes * (small ? 1e-3 : 1e-6),
                        s->size_bytes * (small ? 1e-3 : 1e-6), small ? "kB" : "MB");
    }
    if (isfinite(s->latency_ms) && isfinite(fp32->latency_ms)) {
        clq_text_printf(html, ", latency from %.3f to %.3f ms", fp32->latency_ms, s->latency_ms);
    }
    clq_text_puts(html, ".");
    put_training(data, html);
    clq_text_puts(html, "</li>\n");
}

static void put_time(const clq_run_data *data, clq_text *html) {
    double share;
    const clq_run_layer *slowest = clq_page_slowest(data, &share);
    if (slowest) {
        clq_text_puts(html, "<li><b>Where is the time?</b> The slowest layer, ");
        clq_page_puts(html, slowest->name);
        clq_text_printf(html, ", takes %.1f %% of the integer network's; all are below.</li>\n",
                        100 * share);
    }
}

void clq_page_headline(const clq_page_run *run, clq_text *html) {
    const clq_run_data *data = run->data;
    const clq_run_variant best = clq_run_best(data);
    if (!data->summaries[best].present) {
        return;
    }
    put_cards(data, best, html);
    clq_text_puts(html, "<ul class=short>\n");
    put_worth(data, best, html);
    put_trust(data, best, html);
    put_time(data, html);
    clq_text_puts(html, "</ul>\n");
}

/* ---- comparison ---- */

const char clq_page_in_training[] =
    " Results in training are those of the test set behind the epoch, "
    "as nobody evaluated the network that was left.";

bool clq_page_has_training(const clq_run_data *data) {
    bool any = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        any |= data->summaries[v].in_training;
    }
    return any;
}

void clq_page_comparison_head(bool regression, bool mixed, bool with_run, clq_text *html) {
    clq_text_printf(html,
                    "<div class=scroll><table>\n<thead><tr>%s<th>Network</th><th class=n>%s</th>"
                    "<th class=n>Loss</th><th class=n>Size, MB</th><th class=n>Smaller</th>"
                    "<th class=n>Latency, ms</th><th class=n>Speed-up</th>"
                    "<th class=n>Codes that differ</th></tr></thead>\n<tbody>\n",
                    with_run ? "<th>Run</th>" : "",
                    mixed        ? "Top-1 or R\u00b2</th><th class=n>Drop"
                    : regression ? "R\u00b2</th><th class=n>Drop"
                                 : "Top-1, 95 % interval</th><th class=n>Drop, points");
}

/* "in training, epoch 4, the best 91.20 % in epoch 3" */
static void put_epochs(const clq_run_data *data, clq_run_variant v, clq_text *html) {
    const clq_epoch_record *last = clq_run_last_test(data, v), *best = clq_run_best_test(data, v);
    clq_text_printf(html, "<small>in training, epoch %d</small>", last->epoch);
    if (best != last && isfinite(best->test_top1)) {
        clq_text_printf(html, "<small>best %.2f %% in epoch %d</small>", 100 * best->test_top1,
                        best->epoch);
    } else if (best != last) {
        clq_text_printf(html, "<small>lowest loss %.4g in epoch %d</small>", best->test_loss,
                        best->epoch);
    } else if (last->epoch > 1) {
        clq_text_puts(html, "<small>its best</small>");
    }
}

void clq_page_comparison_cells(const clq_run_data *data, clq_run_variant v, bool mixed,
                               clq_text *html) {
    const clq_run_summary *fp32 = &data->summaries[CLQ_RUN_FP32], *s = &data->summaries[v];
    const double score = clq_run_score(data, v);
    const double drop = without_noise(data, clq_run_score(data, CLQ_RUN_FP32) - score);
    const int decimals = data->regression ? 4 : 2;
    double low, high;
    clq_run_interval(data, v, &low, &high);
    clq_text_printf(html, "<td>%s", clq_run_titles[v]);
    if (s->in_training) {
        put_epochs(data, v, html);
    }
    clq_text_puts(html, "</td>");
    if (isfinite(low)) {
        clq_text_printf(html, "<td class=n>%.2f %%<small>%.2f to %.2f</small></td>", score,
                        100 * low, 100 * high);
    } else {
        clq_page_number(html, score, decimals, data->regression ? (mixed ? " R\u00b2" : "") : " %");
    }
    clq_page_number(html, v == CLQ_RUN_FP32 ? NAN : drop, decimals, "");
    clq_page_number(html, s->loss, data->regression ? 6 : 4, "");
    clq_page_number(html, 1e-6 * s->size_bytes, fp32->size_bytes < 1e4 ? 6 : 3, "");
    clq_page_number(html, fp32->size_bytes / s->size_bytes, 2, "\u00d7");
    clq_page_number(html, s->latency_ms, 3, "");
    clq_page_number(html, s->speedup, 2, "\u00d7");
    put_count(html, s->mismatched_codes, class_of(s->mismatched_codes));
}

void clq_page_comparison(const clq_page_run *run, clq_text *html) {
    const clq_run_data *data = run->data;
    bool open = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (!data->summaries[v].present) {
            continue;
        }
        if (!open) {
            clq_page_heading(run, "Accuracy, size and speed", html);
            clq_page_comparison_head(data->regression, false, false, html);
            open = true;
        }
        clq_text_puts(html, "<tr>");
        clq_page_comparison_cells(data, v, false, html);
        clq_text_puts(html, "</tr>\n");
    }
    if (open) {
        clq_text_puts(
            html,
            "</tbody></table></div>\n<p class=note>Size is that of the parameters "
            "as stored. Codes that differ: activations, as 8-bit integers, in which the integer "
            "network is not what the fake-quantized evaluation promised.");
        clq_text_puts(html, clq_page_has_training(data) ? clq_page_in_training : "");
        clq_text_puts(html, data->regression
                                ? "</p>\n"
                                : " The interval is Wilson's score interval for this many test "
                                  "images. All networks saw the same images, so that differences "
                                  "between them are surer than their intervals.</p>\n");
    }
}

/* ---- verification ---- */

static void put_verification(const clq_run_verification *check, const char *title, clq_text *html) {
    clq_text_printf(html, "<tr><td>%s</td>", title);
    put_count(html, check->images, "");
    put_count(html, check->compared, "");
    put_count(html, check->mismatched, class_of(check->mismatched));
    clq_page_cell(html, check->first_mismatch);
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

void clq_page_verification(const clq_page_run *run, clq_text *html) {
    const clq_run_data *data = run->data;
    bool open = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (!data->verifications[v].present) {
            continue;
        }
        if (!open) {
            clq_page_heading(run, "Bit-exactness", html);
            clq_text_puts(html,
                          "<div class=scroll><table>\n<thead><tr>"
                          "<th>Network</th><th class=n>Examples</th><th class=n>Codes compared"
                          "</th><th class=n>Differ</th><th>First that differs</th><th>Dot "
                          "paths</th><th>SHA-256 of the logits</th></tr></thead>\n<tbody>\n");
            open = true;
        }
        put_verification(&data->verifications[v], clq_run_titles[v], html);
    }
    clq_text_puts(html, open ? "</tbody></table></div>\n" : "");
}
