/* Where the numbers come from, how to get them again, and the files that hold them. */
#include <math.h>
#include <string.h>

#include "base/numbers.h"
#include "base/text.h"
#include "report/page.h"

/* ---- rows ---- */

typedef struct rows {
    clq_text *html;
    bool open;
} rows;

static void begin_row(rows *r, const char *title) {
    clq_text_puts(r->html, r->open ? "" : "<div class=scroll><table class=facts>\n<tbody>\n");
    r->open = true;
    clq_text_printf(r->html, "<tr><th>%s</th><td>", title);
}

static void end_row(rows *r) {
    clq_text_puts(r->html, "</td></tr>\n");
}

static void put_row(rows *r, const char *title, const char *text) {
    if (*text) {
        begin_row(r, title);
        clq_page_puts(r->html, text);
        end_row(r);
    }
}

static void put_list(rows *r, const char *title, const json_t *strings, const char *first) {
    if (json_array_size(strings) == 0) {
        put_row(r, title, first);
        return;
    }
    begin_row(r, title);
    for (size_t i = 0; i < json_array_size(strings); i++) {
        clq_text_puts(r->html, i ? ", " : "");
        clq_page_puts(r->html, json_string_value(json_array_get(strings, i)));
    }
    if (*first) {
        clq_text_puts(r->html, "; used: ");
        clq_page_puts(r->html, first);
    }
    end_row(r);
}

/* ---- program, device ---- */

static void put_program(rows *r, const clq_run_data *data) {
    const clq_run_origin *o = &data->origin;
    if (!*data->version) {
        return;
    }
    begin_row(r, "clquant");
    clq_page_puts(r->html, data->version);
    if (*o->commit) {
        const size_t length = strlen(o->commit);
        clq_text_puts(r->html, ", commit ");
        clq_page_puts(r->html, o->commit);
        clq_text_puts(r->html, o->commit[length - 1] == '+'
                                   ? " (+: built from files that differed from it)"
                                   : "");
    }
    end_row(r);
}

static void put_device(rows *r, const clq_run_data *data) {
    const clq_run_origin *o = &data->origin;
    put_row(r, "Device", data->device);
    if (*o->opencl || *o->driver) {
        begin_row(r, "Driver");
        clq_page_puts(r->html, o->platform);
        clq_text_puts(r->html, " ");
        clq_page_puts(r->html, o->driver);
        clq_text_puts(r->html, " (");
        clq_page_puts(r->html, o->opencl);
        clq_text_puts(r->html, ")");
        if (o->compute_units > 0) {
            clq_text_printf(r->html, ", %d compute unit%s", o->compute_units,
                            clq_plural(o->compute_units));
        }
        end_row(r);
    }
    put_list(r, "Dot paths", o->dot_paths, data->dot_path);
    for (size_t i = 0; i < json_array_size(o->failed_tests); i++) {
        const json_t *test = json_array_get(o->failed_tests, i);
        const char *kernels = json_string_value(json_object_get(test, "kernels"));
        begin_row(r, "Kernels left out");
        clq_page_puts(r->html, kernels ? kernels : "");
        clq_text_puts(r->html, ", which failed their self-test");
        end_row(r);
    }
    put_row(r, "System", o->system);
    if (o->ranks > 1) {
        begin_row(r, "Ranks");
        clq_text_printf(r->html, "%d", o->ranks);
        end_row(r);
    }
}

/* ---- data, seeds ---- */

static void put_split(rows *r, const char *title, const clq_run_split *split) {
    if (split->count < 0) {
        return;
    }
    begin_row(r, title);
    clq_page_count(r->html, split->count);
    clq_text_printf(r->html, " example%s", clq_plural(split->count));
    if (*split->hash) {
        clq_text_puts(r->html, ", fingerprint <code>");
        clq_page_puts(r->html, split->hash);
        clq_text_puts(r->html, "</code>");
    }
    end_row(r);
}

static void put_data(rows *r, const clq_run_data *data) {
    const clq_run_origin *o = &data->origin;
    if (*data->data) {
        begin_row(r, "Data");
        clq_page_puts(r->html, data->data);
        if (o->present && *o->kind) {
            clq_text_puts(r->html, " (");
            clq_page_puts(r->html, o->kind);
            if (o->features > 0) {
                clq_text_printf(r->html, ", %d feature%s", o->features, clq_plural(o->features));
            } else if (o->height > 0) {
                clq_text_printf(r->html, ", %d\u00d7%d, %d channel%s", o->height, o->width,
                                o->channels, clq_plural(o->channels));
            }
            if (o->targets > 0) {
                clq_text_printf(r->html, ", %d number%s to predict", o->targets,
                                clq_plural(o->targets));
            } else if (o->classes > 0) {
                clq_text_printf(r->html, ", %d class%s", o->classes, o->classes == 1 ? "" : "es");
            }
            clq_text_puts(r->html, ")");
        }
        end_row(r);
    }
    if (o->present) {
        put_split(r, "Training split", &o->train);
        put_split(r, "Test split", &o->test);
        if (o->train_seed >= 0) {
            begin_row(r, "Seeds");
            clq_text_printf(r->html, "network %lld, training %lld, QAT %lld",
                            (long long)o->network_seed, (long long)o->train_seed,
                            (long long)o->qat_seed);
            end_row(r);
        }
    }
}

/* ---- times ---- */

static void put_duration(clq_text *html, double seconds) {
    if (seconds < 120) {
        clq_text_printf(html, "%.1f s", seconds);
    } else if (seconds < 7200) {
        clq_text_printf(html, "%.1f min", seconds / 60);
    } else {
        clq_text_printf(html, "%.1f h", seconds / 3600);
    }
}

static void put_times(rows *r, const clq_run_data *data) {
    const clq_run_origin *o = &data->origin;
    const char *stage;
    json_t *value;
    double all = 0;
    put_row(r, "Started", o->present ? o->started : data->created);
    if (!o->present) {
        return;
    }
    put_row(r, "Finished", *o->finished ? o->finished : "not yet, or it was ended on the way");
    if (json_object_size(o->seconds) == 0) {
        return;
    }
    begin_row(r, o->resumed ? "Durations of this start" : "Durations");
    /* jansson's iteration takes a non-const pointer and changes nothing. */
    json_object_foreach((json_t *)o->seconds, stage, value) {
        clq_text_puts(r->html, all > 0 ? ", " : "");
        clq_page_puts(r->html, stage);
        clq_text_puts(r->html, " ");
        put_duration(r->html, json_number_value(value));
        all += json_number_value(value);
    }
    clq_text_puts(r->html, "; together ");
    put_duration(r->html, all);
    if (o->resumed) {
        clq_text_puts(r->html, " (it went on from a checkpoint; earlier starts are not counted)");
    }
    end_row(r);
}

/* ---- commands, recipe ---- */

static void put_commands(const clq_run_data *data, clq_text *html) {
    const clq_run_origin *o = &data->origin;
    if (!o->present || !*o->command) {
        return;
    }
    clq_text_puts(html, "<p class=note>The command, with clquant's environment variables that were "
                        "set. The same seeds on the same device and data give the same bits.");
    if (o->ranks > 1) {
        clq_text_printf(html, " It ran as %d processes (<code>mpirun -np %d</code>).", o->ranks,
                        o->ranks);
    }
    clq_text_puts(html, "</p>\n<pre><code>");
    clq_page_puts(html, o->command);
    clq_text_puts(html, "</code></pre>\n");
}

static clq_status put_recipe(const json_t *recipe, clq_text *html) {
    char *text = NULL;
    if (!recipe || json_object_size(recipe) == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_json_dump_indented(recipe, &text));
    clq_text_puts(html,
                  "<details><summary>Recipe</summary>\n<p class=note>With all overrides. What "
                  "it does not say had its default.</p>\n<pre><code>");
    for (char *line = text; line;) { /* control characters are escaped, but lines must stay */
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
        }
        clq_page_puts(html, line);
        clq_text_puts(html, "\n");
        line = end ? end + 1 : NULL;
    }
    clq_text_puts(html, "</code></pre></details>\n");
    clq_free(text);
    return CLQ_OK;
}

clq_status clq_page_origin(const clq_page_run *run, clq_text *html) {
    const clq_run_data *data = run->data;
    rows r = {html, false};
    clq_page_heading(run, "Where the numbers come from", html);
    if (!data->origin.present) {
        clq_text_puts(html, "<p class=note>This run is of a clquant that left no "
                            "<code>origin.json</code>: commit, command, recipe, seeds and driver "
                            "are not known.</p>\n");
    }
    put_program(&r, data);
    put_times(&r, data);
    put_data(&r, data);
    put_device(&r, data);
    clq_text_puts(html, r.open ? "</tbody></table></div>\n" : "");
    put_commands(data, html);
    return put_recipe(data->origin.recipe, html);
}

/* ---- files ---- */

static void put_link(const char *folder, const char *name, const char *shown, clq_text *html) {
    clq_text_puts(html, "<li><a href=\"");
    clq_page_puts(html, folder);
    clq_page_puts(html, name); /* such names are plain */
    clq_text_puts(html, "\">");
    clq_page_puts(html, shown);
    clq_text_puts(html, "</a></li>\n");
}

/* The results that a whole job leaves and this folder lacks, so that nobody looks for them. */
static void put_missing(const clq_run_data *data, clq_text *html) {
    const clq_run_variant best = clq_run_best(data);
    const bool integer =
        data->summaries[CLQ_RUN_PTQ].present || data->summaries[CLQ_RUN_QAT].present;
    const struct {
        bool missing;
        const char *text;
    } parts[] = {
        {data->train.history.count == 0, "history of an FP32 training"},
        {data->qat.history.count == 0, "history of a QAT"},
        {!isfinite(clq_run_score(data, best)) || data->summaries[best].in_training, "evaluation"},
        {!data->verifications[CLQ_RUN_PTQ].present && !data->verifications[CLQ_RUN_QAT].present,
         integer ? "verification" : "verified integer network"},
        {data->bench_count == 0, "benchmark"},
    };
    bool open = false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].missing) {
            clq_text_puts(html, open ? ", " : "<p class=note>Not in this folder: ");
            clq_text_puts(html, parts[i].text);
            open = true;
        }
    }
    clq_text_puts(html, open ? ".</p>\n" : "");
}

void clq_page_files(const clq_page_run *run, const clq_report_files *files, clq_text *html) {
    const clq_run_data *data = run->data;
    const size_t prefix = strlen(run->prefix);
    clq_page_heading(run, "Files", html);
    clq_text_puts(html, "<p class=note>What this page shows, for other programs: tables and "
                        "pictures beside it, and what the run left.</p>\n<ul class=files>\n");
    for (size_t i = 0; i < files->count; i++) {
        const char *name = files->items[i].name;
        if (strncmp(name, run->prefix, prefix) == 0) {
            put_link("", name, name + prefix, html);
        }
    }
    for (size_t i = 0; i < data->file_count; i++) {
        put_link(run->link, data->files[i], data->files[i], html);
    }
    clq_text_puts(html, "</ul>\n");
    put_missing(data, html);
}
