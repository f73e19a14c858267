/* State dicts under torchvision's names. */
#include <clquant/formats.h>

#include <string.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/layout.h"
#include "formats/state_names.h"
#include "graph/node.h"

enum { MAX_PROBLEMS = 5 };

typedef struct weights {
    clq_graph *graph;
    const clq_tensors *tensors;
    clq_state_names names;
    clq_text problems;   /* the first ones */
    clq_layout *layouts; /* (value_count) */
    int missing, unexpected, misshapen, mistyped;
    int misshapen_head;   /* of misshapen, those of the last layer */
    const clq_node *last; /* the last layer */
    bool new_head;        /* it may stay as it is */
    clq_text kept;        /* names of what stays */
    int kept_count;
} weights;

/* ---- the head ---- */

/* The last layer that has parameters, from the output backwards; NULL: there is none. */
static const clq_node *find_head(const clq_graph *graph) {
    int id = clq_graph_output(graph);
    while (id >= 0 && graph->values[id].producer >= 0) {
        const clq_node *node = &graph->nodes[graph->values[id].producer];
        for (int i = 0; i < node->input_count; i++) {
            if (node->inputs[i] >= 0 && clq_is_constant(&graph->values[node->inputs[i]])) {
                return node;
            }
        }
        id = node->inputs[0];
    }
    return NULL;
}

static bool is_of_head(const weights *w, int id) {
    for (int i = 0; w->last && i < w->last->input_count; i++) {
        if (w->last->inputs[i] == id) {
            return true;
        }
    }
    return false;
}

/* ---- checks ---- */

static int problem_count(const weights *w) {
    return w->missing + w->unexpected + w->misshapen + w->mistyped;
}

/* Counts one more problem of a kind; the first ones of all go into the list. */
__attribute__((format(printf, 3, 4))) static void problem(weights *w, int *kind, const char *format,
                                                          ...) {
    const int before = problem_count(w);
    if (before < MAX_PROBLEMS) {
        va_list arguments;
        va_start(arguments, format);
        char *text = clq_vformat(format, arguments);
        va_end(arguments);
        clq_text_printf(&w->problems, "%s%s", before ? "; " : "", text ? text : "out of memory");
        clq_free(text);
    }
    (*kind)++;
}

static void shape_text(const clq_file_tensor *tensor, clq_text *text) {
    clq_text_puts(text, "(");
    for (int i = 0; i < tensor->rank; i++) {
        clq_text_printf(text, "%s%lld", i ? ", " : "", (long long)tensor->dim[i]);
    }
    clq_text_puts(text, ")");
}

/* A linear layer may be a 1x1 convolution here: dimensions of 1 at the end may lack on either side.
 */
static bool same_shape(const clq_file_tensor *tensor, const clq_shape *shape) {
    const int rank = tensor->rank > shape->rank ? tensor->rank : shape->rank;
    for (int i = 0; i < rank; i++) {
        const int64_t have = i < tensor->rank ? tensor->dim[i] : 1;
        if (have != (i < shape->rank ? shape->dim[i] : 1)) {
            return false;
        }
    }
    return true;
}

/* Whether the value stays as it is: the head's, when the file has nothing that fits. */
static bool is_kept(const weights *w, int id) {
    const clq_value *value = &w->graph->values[id];
    const clq_shape wanted = clq_layout_file_shape(&w->layouts[id], &value->shape);
    const int index = clq_names_find(&w->names.found, value->name);
    return w->new_head && is_of_head(w, id) &&
           (index < 0 || !same_shape(clq_tensors_at(w->tensors, index), &wanted));
}

static void check_shape(weights *w, int id, const clq_file_tensor *tensor) {
    const clq_value *value = &w->graph->values[id];
    clq_shape wanted = clq_layout_file_shape(&w->layouts[id], &value->shape);
    if (same_shape(tensor, &wanted)) {
        return;
    }
    clq_file_tensor want = {.rank = wanted.rank};
    memcpy(want.dim, wanted.dim, sizeof wanted.dim);
    clq_text is = {0}, must = {0};
    shape_text(tensor, &is);
    shape_text(&want, &must);
    w->misshapen_head += is_of_head(w, id);
    problem(w, &w->misshapen, "\"%s\" has shape %s, must have %s", value->name,
            is.data ? is.data : "?", must.data ? must.data : "?");
    clq_text_free(&is);
    clq_text_free(&must);
}

static void check_values(weights *w, const clq_value *value, const clq_file_tensor *tensor) {
    if (tensor->dtype > CLQ_FILE_F64) {
        problem(w, &w->mistyped, "\"%s\" is %s, must be F32, F16, BF16 or F64", value->name,
                clq_file_dtype_name(tensor->dtype));
    }
}

static void report_missing(weights *w, const char *name) {
    const int nearest =
        problem_count(w) < MAX_PROBLEMS ? clq_state_names_nearest(&w->names, name) : -1;
    if (nearest >= 0) {
        problem(w, &w->missing, "\"%s\" is missing (the nearest is \"%s\")", name,
                clq_tensors_at(w->tensors, nearest)->name);
    } else {
        problem(w, &w->missing, "\"%s\" is missing", name);
    }
}

/* Compares names and shapes of both sides. */
static clq_status check(weights *w) {
    for (int i = 0; i < w->graph->value_count; i++) {
        const clq_value *value = &w->graph->values[i];
        if (!clq_is_constant(value)) {
            continue;
        }
        int index = clq_names_find(&w->names.found, value->name);
        if (value->dtype != CLQ_F32) {
            return clq_fail(CLQ_USAGE, "\"%s\": weights go into a float network, this is integer",
                            value->name);
        }
        if (is_kept(w, i)) {
            clq_text_printf(&w->kept, "%s%s", w->kept_count++ ? ", " : "", value->name);
        } else if (index < 0) {
            report_missing(w, value->name);
        } else {
            check_shape(w, i, clq_tensors_at(w->tensors, index));
            check_values(w, value, clq_tensors_at(w->tensors, index));
        }
    }
    for (int i = 0; i < clq_tensors_count(w->tensors); i++) {
        const char *name = clq_state_name(&w->names, i);
        if (name && clq_names_find(&w->names.wanted, name) < 0) {
            problem(w, &w->unexpected, "\"%s\" is not expected",
                    clq_tensors_at(w->tensors, i)->name);
        }
    }
    return CLQ_OK;
}

/* How many of which kind, the first ones, and what may help. */
static clq_status fail_with_problems(weights *w, const char *file) {
    const struct {
        int count;
        const char *kind;
    } kinds[] = {{w->missing, "missing"},
                 {w->unexpected, "not expected"},
                 {w->misshapen, "of another shape"},
                 {w->mistyped, "of a type that is not read"}};
    clq_text counts = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].count > 0) {
            clq_text_printf(&counts, "%s%d %s", counts.size ? ", " : "", kinds[i].count,
                            kinds[i].kind);
        }
    }
    const int all = problem_count(w);
    if (all > MAX_PROBLEMS) {
        clq_text_printf(&w->problems, "; and %d more", all - MAX_PROBLEMS);
    }
    if (w->misshapen_head == all) {
        clq_text_puts(&w->problems,
                      "; the file's last layer is for other classes: make the network "
                      "for as many (--classes), or train a layer of its own "
                      "(--new-head, network.new_head)");
    } else if (w->missing > 0 && strstr(file, "-of-")) {
        clq_text_puts(&w->problems, "; the file's name says that it is one part of several: join "
                                    "them into one file");
    }
    clq_status status = clq_text_status(&counts);
    status = status == CLQ_OK ? clq_text_status(&w->problems) : status;
    if (status == CLQ_OK) {
        status = clq_fail(CLQ_BAD_DATA, "does not fit the network of %d tensor%s: %s: %s",
                          (int)w->names.wanted.count, clq_plural((int64_t)w->names.wanted.count),
                          counts.data, w->problems.data);
    }
    clq_text_free(&counts);
    return status;
}

/* Reads the tensor of value `id`, in the graph's order, into a new array. */
static clq_status convert(const weights *w, int id, void **out) {
    const clq_value *value = &w->graph->values[id];
    const clq_file_tensor *tensor =
        clq_tensors_at(w->tensors, clq_names_find(&w->names.found, value->name));
    size_t count = (size_t)clq_shape_count(&value->shape);
    float *file = clq_calloc(count, sizeof *file), *data = clq_calloc(count, sizeof *data);
    clq_status status = file && data ? clq_file_tensor_to_f32(tensor, file) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        clq_layout_from_file(&w->layouts[id], sizeof *data, file, data);
        *out = data;
        data = NULL;
    }
    clq_free(file);
    clq_free(data);
    return status;
}

/* Exchanges every weight's data with data[id], where there is some. */
static void exchange(clq_graph *graph, void **data) {
    for (int i = 0; i < graph->value_count; i++) {
        if (data[i]) {
            void *old = graph->values[i].data;
            graph->values[i].data = data[i];
            data[i] = old;
        }
    }
}

/* Converts everything before it changes anything, and changes it back when the new values are not
 * valid: not finite, a negative variance. */
static clq_status replace_all(weights *w) {
    size_t count = (size_t)w->graph->value_count;
    void **data = clq_calloc(count, sizeof *data);
    clq_status status = data ? CLQ_OK : CLQ_NO_MEMORY;
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        if (clq_is_constant(&w->graph->values[i]) && !is_kept(w, (int)i)) {
            status = convert(w, (int)i, &data[i]);
        }
    }
    if (status == CLQ_OK) {
        exchange(w->graph, data);
        status = clq_graph_validate(w->graph);
        if (status != CLQ_OK) {
            exchange(w->graph, data);
        }
    }
    for (size_t i = 0; data && i < count; i++) {
        clq_free(data[i]);
    }
    clq_free(data);
    return status;
}

static clq_status load(clq_graph *graph, const clq_tensors *tensors, bool new_head,
                       const char *name) {
    weights w = {
        .graph = graph, .tensors = tensors, .last = find_head(graph), .new_head = new_head};
    clq_status status = CLQ_NO_MEMORY;
    w.layouts = clq_calloc((size_t)graph->value_count, sizeof *w.layouts);
    if (!w.layouts) {
        goto cleanup;
    }
    clq_layout_find(graph, w.layouts);
    clq_layout_keep_ranks(graph, w.layouts);
    CLQ_GOTO(status, cleanup, clq_state_names_match(&w.names, graph, tensors));
    CLQ_GOTO(status, cleanup, check(&w));
    if (problem_count(&w) > 0) {
        CLQ_GOTO(status, cleanup, fail_with_problems(&w, name));
    }
    CLQ_GOTO(status, cleanup, clq_text_status(&w.kept));
    CLQ_GOTO(status, cleanup, replace_all(&w));
    clq_state_names_log(&w.names, name);
    if (new_head) {
        const int all = (int)w.names.wanted.count;
        clq_log_info("%s: %d of %d tensor%s loaded; not loaded, as initialised: %s", name,
                     all - w.kept_count, all, clq_plural(all), w.kept_count ? w.kept.data : "none");
    }
cleanup:
    clq_state_names_free(&w.names);
    clq_text_free(&w.problems);
    clq_text_free(&w.kept);
    clq_free(w.layouts);
    return clq_fail_in(status, "%s", name);
}

clq_status clq_weights_load_tensors(clq_graph *graph, const clq_tensors *tensors,
                                    const char *name) {
    CLQ_NEEDS(graph, tensors, name);
    return load(graph, tensors, false, name);
}

static clq_status load_file(clq_graph *graph, const char *path, bool new_head) {
    clq_tensors *tensors = NULL;
    CLQ_TRY(clq_tensors_load(path, &tensors));
    clq_status status = load(graph, tensors, new_head, path);
    clq_tensors_destroy(tensors);
    return status;
}

clq_status clq_weights_load(clq_graph *graph, const char *path) {
    CLQ_NEEDS(graph, path);
    return load_file(graph, path, false);
}

clq_status clq_weights_load_new_head(clq_graph *graph, const char *path) {
    CLQ_NEEDS(graph, path);
    return load_file(graph, path, true);
}

/* ---- saving ---- */

static clq_status add_value(clq_tensors *tensors, const clq_value *value,
                            const clq_layout *layout) {
    if (value->dtype != CLQ_F32) {
        return clq_fail(CLQ_USAGE, "\"%s\": only a float network's weights can be saved",
                        value->name);
    }
    clq_shape shape = clq_layout_file_shape(layout, &value->shape);
    float *data = clq_calloc((size_t)clq_shape_count(&shape), sizeof *data);
    if (!data) {
        return CLQ_NO_MEMORY;
    }
    clq_layout_to_file(layout, sizeof *data, value->data, data);
    clq_status status =
        clq_tensors_add(tensors, value->name, CLQ_FILE_F32, shape.rank, shape.dim, data);
    clq_free(data);
    return status;
}

clq_status clq_weights_save(const clq_graph *graph, const char *path) {
    CLQ_NEEDS(graph, path);
    clq_tensors *tensors = NULL;
    clq_status status = CLQ_NO_MEMORY;
    clq_layout *layouts = clq_calloc((size_t)graph->value_count, sizeof *layouts);
    if (!layouts) {
        return status;
    }
    clq_layout_find(graph, layouts);
    clq_layout_keep_ranks(graph, layouts);
    CLQ_GOTO(status, cleanup, clq_tensors_create(&tensors));
    CLQ_GOTO(status, cleanup, clq_tensors_set_metadata(tensors, "format", "pt"));
    CLQ_GOTO(status, cleanup, clq_tensors_set_metadata(tensors, "clquant.version", clq_version()));
    for (int i = 0; i < graph->value_count; i++) {
        if (clq_is_constant(&graph->values[i])) {
            CLQ_GOTO(status, cleanup, add_value(tensors, &graph->values[i], &layouts[i]));
        }
    }
    status = clq_tensors_save(tensors, path);
cleanup:
    clq_tensors_destroy(tensors);
    clq_free(layouts);
    return clq_fail_in(status, "%s", path);
}
