/* Which column of a table is which input, or number to predict, of a network. */
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/text.h"
#include "train/metadata.h"

/* ---- metadata ---- */

/* Whether the names can be kept as lines of UTF-8, none of them longer and the last not empty. */
static bool are_lines(char *const *names, int count) {
    if (!names || count == 0 || count > INT16_MAX || !*names[count - 1]) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!clq_is_utf8(names[i]) || strpbrk(names[i], "\r\n")) {
            return false;
        }
    }
    return true;
}

static clq_status set_names(clq_graph *graph, const char *key, char *const *names, int count) {
    clq_text text = {0};
    if (!are_lines(names, count)) {
        return CLQ_OK;
    }
    for (int i = 0; i < count; i++) {
        clq_text_printf(&text, "%s%s", i ? "\n" : "", names[i]);
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_graph_set_metadata(graph, key, text.data);
    }
    clq_text_free(&text);
    return status;
}

clq_status clq_graph_set_columns(clq_graph *graph, const clq_table *table) {
    CLQ_NEEDS(graph, table);
    CLQ_TRY(set_names(graph, CLQ_META_FEATURES, table->column_names, table->features));
    return set_names(graph, CLQ_META_TARGETS, table->target_names, table->targets);
}

/* ---- matching ---- */

static bool has(char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static void list(clq_text *text, char *const *names, int count) {
    enum { SHOWN = 12 };
    for (int i = 0; i < count && i < SHOWN; i++) {
        clq_text_printf(text, "%s\"%.60s\"", i ? ", " : "", names[i]);
    }
    if (count > SHOWN) {
        clq_text_printf(text, ", and %d more", count - SHOWN);
    }
}

/* Says how two lists of names differ, which they do. */
static clq_status refuse(const char *path, const char *what, char *const *ours, char *const *theirs,
                         int count) {
    clq_text is = {0}, wanted = {0};
    bool same = true;
    for (int i = 0; i < count; i++) {
        same = same && has(theirs, count, ours[i]) && has(ours, count, theirs[i]);
    }
    list(&is, theirs, count);
    list(&wanted, ours, count);
    const bool good = clq_text_status(&is) == CLQ_OK && clq_text_status(&wanted) == CLQ_OK;
    const clq_status status =
        good ? clq_fail(CLQ_BAD_DATA, "%s: its %s are %s, %s: %s", path, what, is.data,
                        same ? "in another order than the model's" : "the model's are others",
                        wanted.data)
             : CLQ_NO_MEMORY;
    clq_text_free(&is);
    clq_text_free(&wanted);
    return status;
}

/* Compares a table's names (NULL: none) with the metadata's, or takes these. */
static clq_status match_names(const clq_graph *graph, const char *key, const char *what, int count,
                              const char *path, bool quiet, char ***names) {
    char **ours = NULL;
    int our_count = 0;
    CLQ_TRY(clq_metadata_get_lines(graph, key, &ours, &our_count));
    clq_status status = CLQ_OK;
    if (count == 0 || (our_count == 0 && !*names)) {
        goto cleanup;
    }
    if (our_count > 0 && our_count != count) {
        status = clq_fail(CLQ_BAD_DATA, "%s: has %d %s, but the model's metadata \"%s\" names %d",
                          path, count, what, key, our_count);
    } else if (our_count == 0 || !*names) {
        if (!quiet) {
            clq_log_info("%s: %s names no %s: they are taken by their place", path,
                         our_count ? "the table" : "the model", what);
        }
        if (!*names) {
            *names = ours;
            return CLQ_OK;
        }
    } else {
        for (int i = 0; i < count && status == CLQ_OK; i++) {
            if (strcmp(ours[i], (*names)[i]) != 0) {
                status = refuse(path, what, ours, *names, count);
            }
        }
    }
cleanup:
    clq_class_names_free(ours, our_count);
    return status;
}

clq_status clq_graph_match_columns(const clq_graph *graph, clq_table *table, const char *path,
                                   bool quiet) {
    CLQ_NEEDS(graph, table, path);
    CLQ_TRY(match_names(graph, CLQ_META_FEATURES, "features", table->features, path, quiet,
                        &table->column_names));
    return match_names(graph, CLQ_META_TARGETS, "targets", table->targets, path, quiet,
                       &table->target_names);
}
