/* Several runs: one table of all their networks, and what makes them hard to compare. */
#include <stdio.h>
#include <string.h>

#include "report/page.h"

/* ---- what differs ---- */

/* A text that runs should share; "" where it is not known. */
static const char *device_of(const clq_run_data *data) {
    return data->device;
}

static const char *version_of(const clq_run_data *data) {
    return data->version;
}

static const char *data_of(const clq_run_data *data) {
    return data->origin.test.hash; /* a path may be that of other data, or data lie elsewhere */
}

static const struct {
    const char *(*of)(const clq_run_data *data);
    const char *differ, *unknown;
} shared[] = {
    {data_of, "The runs were tested on different data: accuracies and losses cannot be compared.",
     "Some runs left no fingerprint of their data: they may have been tested on others."},
    {device_of, "The runs were measured on different devices: their latencies show that, too.",
     "On which device some runs were measured is not known."},
    {version_of, "The runs were made by different versions of clquant.", NULL},
};

static void put_differences(const clq_page_run *runs, size_t count, clq_text *html) {
    for (size_t s = 0; s < sizeof shared / sizeof *shared; s++) {
        const char *first = NULL, *say = NULL;
        for (size_t i = 0; i < count; i++) {
            const char *text = shared[s].of(runs[i].data);
            if (!*text) {
                say = say ? say : shared[s].unknown;
            } else if (!first) {
                first = text;
            } else if (strcmp(first, text) != 0) {
                say = shared[s].differ;
                break;
            }
        }
        if (say) {
            clq_text_printf(html, "<p class=warning>%s</p>\n", say);
        }
    }
}

/* ---- the table ---- */

static void put_name(const clq_page_run *run, size_t index, clq_text *html) {
    int rows = 0;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        rows += run->data->summaries[v].present;
    }
    clq_text_printf(html, "<td rowspan=%d class=run><a href=\"#run-%zu\">%zu. ", rows ? rows : 1,
                    index + 1, index + 1);
    clq_page_puts(html, clq_page_name(run));
    clq_text_puts(html, "</a><small>");
    clq_page_puts(html, run->folder);
    clq_text_puts(html, "</small></td>");
}

static void put_rows(const clq_page_run *run, size_t index, bool mixed, clq_text *html) {
    bool named = false;
    for (int v = 0; v < CLQ_RUN_VARIANTS; v++) {
        if (run->data->summaries[v].present) {
            clq_text_puts(html, named ? "<tr>" : "<tr class=first>");
            if (!named) {
                put_name(run, index, html);
            }
            clq_page_comparison_cells(run->data, v, mixed, html);
            clq_text_puts(html, "</tr>\n");
            named = true;
        }
    }
    if (!named) {
        clq_text_puts(html, "<tr class=first>");
        put_name(run, index, html);
        clq_text_puts(html, "<td colspan=8>no network was evaluated or measured yet</td></tr>\n");
    }
}

void clq_page_runs(const clq_page_run *runs, size_t count, clq_text *html) {
    size_t regressions = 0;
    for (size_t i = 0; i < count; i++) {
        regressions += runs[i].data->regression;
    }
    const bool mixed = regressions > 0 && regressions < count;
    put_differences(runs, count, html);
    clq_text_puts(html, "<h2>All networks</h2>\n");
    clq_page_comparison_head(regressions > 0, mixed, true, html);
    for (size_t i = 0; i < count; i++) {
        put_rows(&runs[i], i, mixed, html);
    }
    clq_text_puts(html, "</tbody></table></div>\n<p class=note>Drop, compression and speed-up are "
                        "against each run's own FP32 network. Intervals are Wilson's score "
                        "intervals, 95 %, for the number of test images.</p>\n");
}
