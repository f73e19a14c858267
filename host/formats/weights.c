/* State dicts under torchvision's names. */
#include <clquant/formats.h>

#include <string.h>

#include "base/arguments.h"
#include "base/log.h"
#include "base/text.h"
#include "formats/layout.h"
#include "formats/names.h"
#include "graph/node.h"

enum { MAX_PROBLEMS = 5 };

typedef struct weights {
    clq_graph *graph;
    const clq_tensors *tensors;
    clq_names found; /* tensor name without prefix -> index in tensors */
    clq_text problems;
    int problem_count;
    const clq_node *head; /* the layer that may stay as it is; NULL: none */
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
    for (int i = 0; w->head && i < w->head->input_count; i++) {
        if (w->head->inputs[i] == id) {
            return true;
        }
    }
    return false;
}

/* ---- checks ---- */

/* Counts one more problem; the first ones go into the list. */
__attribute__((format(printf, 2, 3))) static void problem(weights *w, const char *format, ...) {
    if (w->problem_count < MAX_PROBLEMS) {
        va_list arguments;
        va_start(arguments, format);
        char *text = clq_vformat(format, arguments);
        va_end(arguments);
        clq_text_printf(&w->problems, "%s%s", w->problem_count ? "; " : "",
                        text ? text : "out of memory");
        clq_free(text);
    }
    w->problem_count++;
}

static const char *without_prefix(const char *name) {
    return strncmp(name, "module.", 7) == 0 ? name + 7 : name;
}

static bool is_ignored(const char *name) {
    static const char suffix[] = "num_batches_tracked";
    size_t length = strlen(name), tail = sizeof suffix - 1;
    return length >= tail && strcmp(name + length - tail, suffix) == 0 &&
           (length == tail || name[length - tail - 1] == '.');
}

static clq_status index_names(weights *w) {
    for (int i = 0; i < clq_tensors_count(w->tensors); i++) {
        const char *name = without_prefix(clq_tensors_at(w->tensors, i)->name);
        if (is_ignored(name)) {
            continue;
        }
        if (clq_names_find(&w->found, name) >= 0) {
            problem(w, "\"%s\" is there twice, with and without \"module.\"", name);
        }
        CLQ_TRY(clq_names_set(&w->found, name, i));
    }
    return CLQ_OK;
}

static void shape_text(const clq_file_tensor *tensor, clq_text *text) {
    clq_text_puts(text, "(");
    for (int i = 0; i < tensor->rank; i++) {
        clq_text_printf(text, "%s%lld", i ? ", " : "", (long long)tensor->dim[i]);
    }
    clq_text_puts(text, ")");
}

static bool same_shape(const clq_file_tensor *tensor, const clq_shape *shape) {
    if (tensor->rank != shape->rank) {
        return false;
    }
    for (int i = 0; i < shape->rank; i++) {
        if (tensor->dim[i] != shape->dim[i]) {
            return false;
        }
    }
    return true;
}

/* Whether the value stays as it is: the head's, when the file has nothing that fits. */
static bool is_kept(const weights *w, int id) {
    const clq_value *value = &w->graph->values[id];
    const clq_shape wanted = clq_layout_file_shape(&value->shape);
    const int index = clq_names_find(&w->found, value->name);
    return is_of_head(w, id) &&
           (index < 0 || !same_shape(clq_tensors_at(w->tensors, index), &wanted));
}

static void check_shape(weights *w, const clq_value *value, const clq_file_tensor *tensor) {
    clq_shape wanted = clq_layout_file_shape(&value->shape);
    if (same_shape(tensor, &wanted)) {
        return;
    }
    clq_file_tensor want = {.rank = wanted.rank};
    memcpy(want.dim, wanted.dim, sizeof wanted.dim);
    clq_text is = {0}, must = {0};
    shape_text(tensor, &is);
    shape_text(&want, &must);
    problem(w, "\"%s\" has shape %s, must have %s", value->name, is.data ? is.data : "?",
            must.data ? must.data : "?");
    clq_text_free(&is);
    clq_text_free(&must);
}

static void check_values(weights *w, const clq_value *value, const clq_file_tensor *tensor) {
    if (tensor->dtype > CLQ_FILE_F64) {
        problem(w, "\"%s\" is %s, must be F32, F16, BF16 or F64", value->name,
                clq_file_dtype_name(tensor->dtype));
    }
}

/* Compares names and shapes of both sides. */
static clq_status check(weights *w) {
    clq_names wanted = {0};
    clq_status status = CLQ_OK;
    for (int i = 0; i < w->graph->value_count && status == CLQ_OK; i++) {
        const clq_value *value = &w->graph->values[i];
        if (!clq_is_constant(value)) {
            continue;
        }
        status = clq_names_set(&wanted, value->name, i);
        int index = clq_names_find(&w->found, value->name);
        if (value->dtype != CLQ_F32) {
            status = clq_fail(CLQ_USAGE, "\"%s\": weights go into a float network, this is integer",
                              value->name);
        } else if (is_kept(w, i)) {
            clq_text_printf(&w->kept, "%s%s", w->kept_count++ ? ", " : "", value->name);
        } else if (index < 0) {
            problem(w, "\"%s\" is missing", value->name);
        } else {
            check_shape(w, value, clq_tensors_at(w->tensors, index));
            check_values(w, value, clq_tensors_at(w->tensors, index));
        }
    }
    for (int i = 0; i < clq_tensors_count(w->tensors) && status == CLQ_OK; i++) {
        const char *name = without_prefix(clq_tensors_at(w->tensors, i)->name);
        if (!is_ignored(name) && clq_names_find(&wanted, name) < 0) {
            problem(w, "\"%s\" is not expected", name);
        }
    }
    clq_names_free(&wanted);
    return status;
}

/* Reads the tensor of value `id`, in the graph's order, into a new array. */
static clq_status convert(const weights *w, int id, const clq_layout *layout, void **out) {
    const clq_value *value = &w->graph->values[id];
    const clq_file_tensor *tensor =
        clq_tensors_at(w->tensors, clq_names_find(&w->found, value->name));
    size_t count = (size_t)clq_shape_count(&value->shape);
    float *file = clq_calloc(count, sizeof *file), *data = clq_calloc(count, sizeof *data);
    clq_status status = file && data ? clq_file_tensor_to_f32(tensor, file) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        clq_layout_from_file(layout, sizeof *data, file, data);
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
    clq_layout *layouts = clq_calloc(count, sizeof *layouts);
    clq_status status = data && layouts ? CLQ_OK : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        clq_layout_find(w->graph, layouts);
    }
    for (size_t i = 0; i < count && status == CLQ_OK; i++) {
        if (clq_is_constant(&w->graph->values[i]) && !is_kept(w, (int)i)) {
            status = convert(w, (int)i, &layouts[i], &data[i]);
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
    clq_free(layouts);
    return status;
}

static int count_weights(const clq_graph *graph) {
    int count = 0;
    for (int i = 0; i < graph->value_count; i++) {
        count += clq_is_constant(&graph->values[i]);
    }
    return count;
}

static clq_status load(clq_graph *graph, const clq_tensors *tensors, bool new_head,
                       const char *name) {
    weights w = {.graph = graph, .tensors = tensors, .head = new_head ? find_head(graph) : NULL};
    clq_status status;
    CLQ_GOTO(status, cleanup, index_names(&w));
    CLQ_GOTO(status, cleanup, check(&w));
    if (w.problem_count > 0) {
        int more = w.problem_count - MAX_PROBLEMS;
        if (more > 0) {
            clq_text_printf(&w.problems, "; and %d more", more);
        }
        CLQ_GOTO(status, cleanup, clq_text_status(&w.problems));
        status = clq_fail(CLQ_BAD_DATA, "%s", w.problems.data);
        goto cleanup;
    }
    CLQ_GOTO(status, cleanup, clq_text_status(&w.kept));
    CLQ_GOTO(status, cleanup, replace_all(&w));
    if (new_head) {
        const int all = count_weights(graph);
        clq_log_info("%s: %d of %d tensors loaded; not loaded, as initialised: %s", name,
                     all - w.kept_count, all, w.kept_count ? w.kept.data : "none");
    }
cleanup:
    clq_names_free(&w.found);
    clq_text_free(&w.problems);
    clq_text_free(&w.kept);
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
    clq_shape shape = clq_layout_file_shape(&value->shape);
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
