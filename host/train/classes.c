/* Which class of a data set is which output of a network. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/log.h"
#include "base/text.h"
#include "data/dataset.h"
#include "graph/ends.h"
#include "train/metadata.h"

#define CLASSES "clquant.classes" /* names, a line each */

/* ---- metadata ---- */

void clq_class_names_free(char **names, int count) {
    for (int i = 0; names && i < count; i++) {
        clq_free(names[i]);
    }
    clq_free(names);
}

clq_status clq_graph_classes(const clq_graph *graph, char ***names, int *count) {
    CLQ_NEEDS(graph, names, count);
    return clq_metadata_get_lines(graph, CLASSES, names, count);
}

clq_status clq_metadata_get_lines(const clq_graph *graph, const char *key, char ***names,
                                  int *count) {
    const char *text = clq_graph_get_metadata(graph, key);
    size_t lines = 1;
    *names = NULL;
    *count = 0;
    if (!text || !*text) {
        return CLQ_OK;
    }
    for (const char *c = text; *c; c++) {
        lines += *c == '\n' && c[1];
    }
    if (lines > INT16_MAX) {
        return clq_fail(CLQ_BAD_DATA, "the model's metadata \"%s\" has %zu lines, more than %d",
                        key, lines, INT16_MAX);
    }
    char **all = clq_calloc(lines, sizeof *all);
    if (!all) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < lines; i++) {
        const size_t length = strcspn(text, "\n");
        all[i] = clq_format("%.*s", (int)length, text);
        if (!all[i]) {
            clq_class_names_free(all, (int)lines);
            return CLQ_NO_MEMORY;
        }
        text += length + (text[length] == '\n');
    }
    *names = all;
    *count = (int)lines;
    return CLQ_OK;
}

clq_status clq_graph_set_classes(clq_graph *graph, const clq_dataset *dataset) {
    CLQ_NEEDS(graph, dataset);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    clq_text text = {0};
    for (int c = 0; c < info->class_count; c++) {
        clq_text_printf(&text, "%s%s", c ? "\n" : "", info->class_names[c]);
    }
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK && info->class_count > 0) {
        status = clq_graph_set_metadata(graph, CLASSES, text.data);
    }
    clq_text_free(&text);
    return status;
}

enum { MAX_NAMES_BYTES = 16 << 20 }; /* of a file of them */

/* The lines of `text`, each once checked, into `names`; an empty last one is none. */
static clq_status read_names(const char *path, const char *text, clq_text *names, int64_t *count) {
    static const char mark[] = "\xef\xbb\xbf"; /* of UTF-8, as some editors write it */
    text += strncmp(text, mark, 3) == 0 ? 3 : 0;
    for (*count = 0; *text; ++*count) {
        const size_t line = strcspn(text, "\n");
        const size_t length = line && text[line - 1] == '\r' ? line - 1 : line;
        char *name = clq_format("%.*s", (int)length, text);
        clq_status status = name ? clq_check_class_name(path, name) : CLQ_NO_MEMORY;
        if (status == CLQ_OK && !name[strspn(name, " \t")]) {
            status = clq_fail(CLQ_BAD_DATA,
                              "%s:%lld: no name; each line names the class of an "
                              "output, from output 0 on",
                              path, (long long)*count + 1);
        }
        if (status == CLQ_OK) {
            clq_text_printf(names, "%s%s", *count ? "\n" : "", name);
        }
        clq_free(name);
        CLQ_TRY(status);
        text += line + (text[line] == '\n');
    }
    return clq_text_status(names);
}

clq_status clq_graph_load_classes(clq_graph *graph, const char *path) {
    CLQ_NEEDS(graph, path);
    CLQ_NEEDS_ENDS(graph);
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    clq_text names = {0};
    clq_status status = CLQ_OK;
    void *data = NULL;
    size_t size = 0;
    int64_t count = 0;
    CLQ_TRY(clq_graph_check_single(graph, "classes belong to networks with"));
    if (output->rank != 2 || clq_graph_get_metadata(graph, CLQ_META_TARGET_MEAN)) {
        return clq_fail(CLQ_USAGE, "%s: names classes, and the network tells none apart", path);
    }
    CLQ_TRY(clq_file_read(path, MAX_NAMES_BYTES, &data, &size));
    if (memchr(data, '\0', size)) {
        status = clq_fail(CLQ_BAD_DATA, "%s: is no text; it must name a class a line", path);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, read_names(path, data, &names, &count));
    if (count != output->dim[1]) {
        status = clq_fail(
            CLQ_BAD_DATA, "%s: names %lld classes, a line each, and the network has %lld output%s",
            path, (long long)count, (long long)output->dim[1], clq_plural(output->dim[1]));
        goto cleanup;
    }
    status = clq_graph_set_metadata(graph, CLASSES, names.data);
cleanup:
    clq_text_free(&names);
    clq_free(data);
    return status;
}

/* ---- matching ---- */

typedef struct match {
    clq_dataset *dataset;
    const clq_dataset_info *info;
    char **names; /* the model's, (count) */
    int count;
    int64_t outputs;
    bool *used;   /* (info->class_count): some label has it */
    int32_t *map; /* (info->class_count): the model's number, -1: none */
} match;

/* Whether the names are no more than the numbers. */
static bool are_numbers(const char *const *names, int count) {
    char text[16];
    for (int c = 0; c < count; c++) {
        snprintf(text, sizeof text, "%d", c);
        if (strcmp(names[c], text) != 0) {
            return false;
        }
    }
    return true;
}

static bool are_equal(const match *m) {
    bool equal = m->count == m->info->class_count;
    for (int c = 0; equal && c < m->count; c++) {
        equal = strcmp(m->names[c], m->info->class_names[c]) == 0;
    }
    return equal;
}

static clq_status find_used(match *m) {
    const size_t count = (size_t)m->info->class_count;
    m->used = clq_calloc(count, sizeof *m->used);
    m->map = clq_calloc(count, sizeof *m->map);
    if (!m->used || !m->map) {
        return CLQ_NO_MEMORY;
    }
    for (int64_t i = 0; i < m->info->count; i++) {
        m->used[m->info->labels[i]] = true;
    }
    return CLQ_OK;
}

/* map by name; *missing is how many used classes the model does not have. */
static clq_status map_names(match *m, int *missing) {
    *missing = 0;
    for (int c = 0; c < m->info->class_count; c++) {
        m->map[c] = -1;
        for (int n = 0; n < m->count; n++) {
            if (strcmp(m->names[n], m->info->class_names[c]) != 0) {
                continue;
            }
            if (m->map[c] >= 0 && m->used[c]) {
                return clq_fail(CLQ_BAD_DATA,
                                "%s: class \"%s\" could be %d or %d of the model's, which have "
                                "that name both; give numbers (--labels)",
                                m->info->path, m->names[n], m->map[c], n);
            }
            m->map[c] = n;
        }
        *missing += m->used[c] && m->map[c] < 0;
    }
    return CLQ_OK;
}

/* Some names in quotes: those of the used classes that have no number when `map` is given. */
static void list_names(clq_text *text, const match *m, bool missing) {
    enum { SHOWN = 12 };
    const int count = missing ? m->info->class_count : m->count;
    int listed = 0;
    for (int c = 0; c < count; c++) {
        if (missing && (!m->used[c] || m->map[c] >= 0)) {
            continue;
        }
        if (listed++ < SHOWN) {
            clq_text_printf(text, "%s\"%.60s\"", listed > 1 ? ", " : "",
                            missing ? m->info->class_names[c] : m->names[c]);
        }
    }
    if (listed > SHOWN) {
        clq_text_printf(text, ", and %d more", listed - SHOWN);
    }
}

static clq_status refuse(const match *m) {
    clq_text theirs = {0}, ours = {0};
    list_names(&theirs, m, true);
    list_names(&ours, m, false);
    const bool good = clq_text_status(&theirs) == CLQ_OK && clq_text_status(&ours) == CLQ_OK;
    const clq_status status =
        good ? clq_fail(CLQ_BAD_DATA,
                        "%s: has %s of %s, which are not among the model's %d classes: %s",
                        m->info->path, m->info->features ? "rows" : "images", theirs.data, m->count,
                        ours.data)
             : CLQ_NO_MEMORY;
    clq_text_free(&theirs);
    clq_text_free(&ours);
    return status;
}

/* The number that a class name is; -1: none. */
static int number_of(const char *name) {
    char *end;
    const long number = strtol(name, &end, 10);
    return *name >= '0' && *name <= '9' && !*end && number <= INT16_MAX ? (int)number : -1;
}

/* Whether all classes that have images are numbers: map has them then, *first is the first such. */
static bool map_numbers(const match *m, int *first) {
    *first = -1;
    for (int c = 0; c < m->info->class_count; c++) {
        m->map[c] = number_of(m->info->class_names[c]);
        if (m->used[c] && m->map[c] < 0) {
            return false;
        }
        *first = m->used[c] && *first < 0 ? c : *first;
    }
    return *first >= 0;
}

/* Each number is an output's, and one class's. */
static clq_status check_numbers(const match *m, int64_t count) {
    for (int c = 0; c < m->info->class_count; c++) {
        if (m->used[c] && m->map[c] >= count) {
            return clq_fail(CLQ_BAD_DATA,
                            "%s: class \"%s\" is a number, and the model's %lld output%s "
                            "numbered 0..%lld",
                            m->info->path, m->info->class_names[c], (long long)count,
                            count == 1 ? " is" : "s are", (long long)count - 1);
        }
        for (int k = 0; k < c; k++) {
            if (m->used[c] && m->used[k] && m->map[c] == m->map[k]) {
                return clq_fail(CLQ_BAD_DATA, "%s: classes \"%s\" and \"%s\" are one number",
                                m->info->path, m->info->class_names[k], m->info->class_names[c]);
            }
        }
    }
    return CLQ_OK;
}

#define NAMES_HINT "(ptq, qat and convert keep others: --class-names FILE)"

/* The order of the data's classes for the outputs' of a network that does not name them. */
static clq_status keep_order(const match *m) {
    const clq_dataset_info *info = m->info;
    const int last = info->class_count - 1;
    if (info->class_count > m->outputs) {
        return clq_fail(CLQ_BAD_DATA, "%s: has %d classes, but the network has %lld output%s",
                        info->path, info->class_count, (long long)m->outputs,
                        clq_plural(m->outputs));
    }
    clq_log_warn("%s: the model does not name its classes; assumed: the data's order, from \"%s\", "
                 "output 0, to \"%s\", output %d of 0..%lld " NAMES_HINT,
                 info->path, info->class_names[0], info->class_names[last], last,
                 (long long)m->outputs - 1);
    return CLQ_OK;
}

static clq_status map_classes(match *m, const char *by) {
    int used = 0;
    for (int c = 0; c < m->info->class_count; c++) {
        used += m->used[c];
    }
    clq_log_info("%s: classes by %s: %d of the model's %d", m->info->path, by, used, m->count);
    return clq_dataset_map_classes(m->dataset, m->map, (const char *const *)m->names, m->count);
}

/* The names of outputs that have none: their numbers. */
static clq_status number_outputs(match *m) {
    m->names = clq_calloc((size_t)m->outputs, sizeof *m->names);
    for (int64_t n = 0; m->names && n < m->outputs; n++) {
        m->names[m->count++] = clq_format("%lld", (long long)n);
        if (!m->names[n]) {
            return CLQ_NO_MEMORY;
        }
    }
    return m->names ? CLQ_OK : CLQ_NO_MEMORY;
}

/* By the numbers that the data has for names, of which class `first` is one. */
static clq_status match_numbers(match *m, int first) {
    const bool named = m->count > 0;
    CLQ_TRY(check_numbers(m, named ? m->count : m->outputs));
    if (!named) {
        CLQ_TRY(number_outputs(m));
        clq_log_warn(
            "%s: the model does not name its classes; assumed: the data's names are numbers of "
            "outputs, \"%s\" is output %d of %d " NAMES_HINT,
            m->info->path, m->info->class_names[first], m->map[first], m->count);
    } else {
        clq_log_warn("%s: names no classes, its numbers are taken for those of the model's: "
                     "\"%s\" is \"%s\"",
                     m->info->path, m->info->class_names[first], m->names[m->map[first]]);
    }
    return map_classes(m, "number");
}

static clq_status decide(match *m) {
    int missing = 0, first;
    if (m->count > m->outputs) {
        return clq_fail(CLQ_BAD_DATA,
                        "the model's metadata \"" CLASSES "\" names %d classes, but the network "
                        "has %lld output%s",
                        m->count, (long long)m->outputs, clq_plural(m->outputs));
    }
    if (are_equal(m)) {
        return CLQ_OK;
    }
    CLQ_TRY(find_used(m));
    if (m->count > 0) {
        CLQ_TRY(map_names(m, &missing));
        if (missing == 0) {
            return map_classes(m, "name");
        }
    } else if (m->info->class_count == m->outputs &&
               are_numbers(m->info->class_names, m->info->class_count)) {
        return CLQ_OK;
    }
    if (map_numbers(m, &first)) {
        return match_numbers(m, first);
    }
    if (m->count == 0 || are_numbers((const char *const *)m->names, m->count)) {
        return keep_order(m);
    }
    CLQ_TRY(map_names(m, &missing));
    return refuse(m);
}

clq_status clq_graph_match_classes(const clq_graph *graph, clq_dataset *dataset) {
    CLQ_NEEDS(graph, dataset);
    CLQ_NEEDS_ENDS(graph);
    const clq_shape *output = &graph->values[clq_graph_output(graph)].shape;
    match m = {.dataset = dataset, .info = clq_dataset_get_info(dataset)};
    if (m.info->class_count == 0 || output->rank != 2) {
        return CLQ_OK;
    }
    m.outputs = output->dim[1];
    clq_status status = clq_graph_classes(graph, &m.names, &m.count);
    if (status == CLQ_OK) {
        status = decide(&m);
    }
    clq_class_names_free(m.names, m.count);
    clq_free(m.used);
    clq_free(m.map);
    return status;
}
