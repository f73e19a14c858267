/* Several runs: one table of all their networks, and what makes them hard to compare. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
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

/* ---- recipes ---- */

enum { SHOWN_KEYS = 60 };

/* Adds all that `object` says to `flat`, under names such as "train.schedule.lr". */
static clq_status flatten(const json_t *object, const char *prefix, json_t *flat) {
    const char *key;
    json_t *value;
    clq_status status = CLQ_OK;
    /* jansson's iteration takes a non-const pointer and changes nothing. */
    json_object_foreach((json_t *)object, key, value) {
        char *name = clq_format("%s%s%s", prefix, *prefix ? "." : "", key);
        if (!name) {
            return CLQ_NO_MEMORY;
        }
        status = json_is_object(value) ? flatten(value, name, flat)
                                       : clq_json_put(flat, name, json_incref(value));
        clq_free(name);
        CLQ_TRY(status);
    }
    return CLQ_OK;
}

/* Whether the runs that left a recipe (`flat` is not NULL) say different things under the name. */
static bool differs(json_t *const *flat, size_t count, const char *name) {
    const json_t *first = NULL;
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(flat[i], name);
        if (flat[i] && any && (!first != !value || (first && !json_equal(first, value)))) {
            return true;
        }
        first = flat[i] && !any ? value : first;
        any |= flat[i] != NULL;
    }
    return false;
}

static clq_status put_value(const json_t *value, clq_text *html) {
    char *text = NULL;
    if (!value || json_is_string(value)) {
        clq_page_cell(html, value ? json_string_value(value) : "");
        return CLQ_OK;
    }
    CLQ_TRY(clq_json_dump_line(value, &text));
    text[strcspn(text, "\n")] = '\0';
    clq_page_cell(html, text);
    clq_free(text);
    return CLQ_OK;
}

static clq_status put_key(json_t *const *flat, size_t count, const char *name, clq_text *html) {
    clq_text_puts(html, "<tr><td><code>");
    clq_page_puts(html, name);
    clq_text_puts(html, "</code></td>");
    for (size_t i = 0; i < count; i++) {
        if (flat[i]) {
            CLQ_TRY(put_value(json_object_get(flat[i], name), html));
        }
    }
    clq_text_puts(html, "</tr>\n");
    return CLQ_OK;
}

static void put_recipes_head(const clq_page_run *runs, json_t *const *flat, size_t count,
                             clq_text *html) {
    clq_text_puts(html, "<div class=scroll><table>\n<thead><tr><th>Key</th>");
    for (size_t i = 0; i < count; i++) {
        if (flat[i]) {
            clq_text_printf(html, "<th><a href=\"#run-%zu\">%zu. ", i + 1, i + 1);
            clq_page_puts(html, clq_page_name(&runs[i]));
            clq_text_puts(html, "</a></th>");
        }
    }
    clq_text_puts(html, "</tr></thead>\n<tbody>\n");
}

/* `all`: the names of all recipes. */
static clq_status put_recipes_table(const clq_page_run *runs, json_t *const *flat, size_t count,
                                    json_t *all, clq_text *html) {
    const char *name;
    json_t *unused;
    int shown = 0;
    json_object_foreach(all, name, unused) {
        if (differs(flat, count, name) && shown++ < SHOWN_KEYS) {
            if (shown == 1) {
                put_recipes_head(runs, flat, count, html);
            }
            CLQ_TRY(put_key(flat, count, name, html));
        }
    }
    if (shown == 0) {
        clq_text_puts(html, "<p class=note>Nothing: they say the same.</p>\n");
        return CLQ_OK;
    }
    clq_text_puts(html,
                  "</tbody></table></div>\n<p class=note>\u2013: the recipe does not say it, so "
                  "that it had its default.");
    if (shown > SHOWN_KEYS) {
        clq_text_printf(html, " %d more key%s", shown - SHOWN_KEYS,
                        shown - SHOWN_KEYS == 1 ? " differs." : "s differ.");
    }
    clq_text_puts(html, "</p>\n");
    return CLQ_OK;
}

static clq_status put_recipes(const clq_page_run *runs, size_t count, clq_text *html) {
    size_t known = 0;
    json_t *all = json_object();
    json_t **flat = clq_calloc(count, sizeof(json_t *));
    clq_status status = all && flat ? CLQ_OK : CLQ_NO_MEMORY;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        const json_t *recipe = runs[i].data->origin.recipe;
        if (json_object_size(recipe) > 0) {
            known++;
            flat[i] = json_object();
            status = flat[i] ? flatten(recipe, "", flat[i]) : CLQ_NO_MEMORY;
            status = status == CLQ_OK ? flatten(recipe, "", all) : status;
        }
    }
    if (status == CLQ_OK && known > 1) {
        clq_text_puts(html, "<h2>What differs in their recipes</h2>\n");
        status = put_recipes_table(runs, flat, count, all, html);
    }
    for (size_t i = 0; flat && i < count; i++) {
        json_decref(flat[i]);
    }
    clq_free(flat);
    json_decref(all);
    return status;
}

clq_status clq_page_runs(const clq_page_run *runs, size_t count, clq_text *html) {
    size_t regressions = 0;
    for (size_t i = 0; i < count; i++) {
        regressions += runs[i].data->regression;
    }
    const bool mixed = regressions > 0 && regressions < count;
    bool in_training = false;
    put_differences(runs, count, html);
    clq_text_puts(html, "<h2>All networks</h2>\n");
    clq_page_comparison_head(regressions > 0, mixed, true, html);
    for (size_t i = 0; i < count; i++) {
        put_rows(&runs[i], i, mixed, html);
        in_training |= clq_page_has_training(runs[i].data);
    }
    clq_text_puts(html, "</tbody></table></div>\n<p class=note>Drop, compression and speed-up are "
                        "against each run's own FP32 network. Intervals are Wilson's score "
                        "intervals, 95 %, for the number of test images.");
    clq_text_puts(html, in_training ? clq_page_in_training : "");
    clq_text_puts(html, "</p>\n");
    return put_recipes(runs, count, html);
}
