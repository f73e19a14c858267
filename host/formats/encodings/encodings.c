#include "formats/encodings/encodings.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arguments.h"
#include "base/files.h"
#include "base/text.h"
#include "formats/layout.h"
#include "graph/node.h"
#include "ops/registry.h"

enum { MAX_SIZE = 64 * 1024 * 1024 };

/* ---- the list ---- */

clq_status clq_encodings_add(clq_encodings *encodings, const char *name, clq_encoding **added) {
    if (encodings->count == encodings->capacity) {
        const size_t capacity = encodings->capacity ? 2 * encodings->capacity : 64;
        clq_encoding *grown = clq_realloc(encodings->list, capacity, sizeof *grown);
        if (!grown) {
            return CLQ_NO_MEMORY;
        }
        encodings->list = grown;
        encodings->capacity = capacity;
    }
    clq_encoding *encoding = &encodings->list[encodings->count];
    *encoding = (clq_encoding){.name = clq_strdup(name)};
    if (!encoding->name) {
        return CLQ_NO_MEMORY;
    }
    encodings->count++;
    *added = encoding;
    return CLQ_OK;
}

clq_status clq_encoding_set_count(clq_encoding *encoding, size_t count) {
    encoding->scale = clq_calloc(count, sizeof *encoding->scale);
    if (!encoding->scale) {
        return CLQ_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        encoding->scale[i] = 1;
    }
    encoding->count = (int64_t)count;
    return CLQ_OK;
}

clq_status clq_encoding_check_scale(const clq_encodings *encodings, const clq_encoding *encoding,
                                    double scale) {
    if (!((float)scale >= FLT_MIN) || !isfinite((float)scale)) {
        return clq_fail(CLQ_BAD_DATA, "%s: \"%.200s\": scale %g must be finite and at least %g",
                        encodings->path, encoding->name, scale, (double)FLT_MIN);
    }
    return CLQ_OK;
}

static int by_name(const void *one, const void *other) {
    const clq_encoding *a = *(const clq_encoding *const *)one;
    const clq_encoding *b = *(const clq_encoding *const *)other;
    const int order = strcmp(a->name, b->name);
    return order ? order : (int)a->parameter - (int)b->parameter;
}

/* Which of two would hold is nobody's guess. */
static clq_status check_unique(const clq_encodings *encodings) {
    const size_t count = encodings->count;
    const clq_encoding **sorted = clq_calloc(count, sizeof *sorted);
    clq_status status = sorted ? CLQ_OK : CLQ_NO_MEMORY;
    for (size_t i = 0; sorted && i < count; i++) {
        sorted[i] = &encodings->list[i];
    }
    if (sorted) {
        qsort(sorted, count, sizeof *sorted, by_name);
    }
    for (size_t i = 1; status == CLQ_OK && i < count; i++) {
        if (by_name(&sorted[i - 1], &sorted[i]) == 0) {
            status = clq_fail(CLQ_BAD_DATA, "%s: \"%.200s%s\": has scales twice", encodings->path,
                              sorted[i]->name,
                              sorted[i]->of_layer && sorted[i]->parameter ? "_param_0" : "");
        }
    }
    clq_free(sorted);
    return status;
}

void clq_encodings_destroy(clq_encodings *encodings) {
    if (!encodings) {
        return;
    }
    for (size_t i = 0; i < encodings->count; i++) {
        clq_free(encodings->list[i].name);
        clq_free(encodings->list[i].scale);
    }
    clq_free(encodings->list);
    clq_free(encodings->path);
    clq_free(encodings);
}

/* ---- files ---- */

static const char *const names[] = {"aimet-0.6.1", "aimet-1.0.0", "ncnn"};

const char *clq_encodings_format_name(clq_encodings_format format) {
    return (unsigned)format < CLQ_ENCODINGS_FORMAT_COUNT ? names[format] : NULL;
}

clq_status clq_encodings_load_memory(const void *data, size_t size, const char *name,
                                     clq_encodings **encodings) {
    CLQ_NEEDS(data, name, encodings);
    clq_encodings *made = clq_calloc(1, sizeof *made);
    char *text = clq_calloc(size + 1, 1);
    clq_status status = CLQ_NO_MEMORY;
    if (!made || !text || !(made->path = clq_strdup(name))) {
        goto cleanup;
    }
    memcpy(text, data, size);
    const char *first = text + strspn(text, " \t\r\n");
    status = *first == '{' ? clq_aimet_read(made, text, size)
             : strlen(text) == size
                 ? clq_ncnn_read(made, text)
                 : clq_fail(CLQ_BAD_DATA,
                            "%s: is neither AIMET's encodings (JSON) nor ncnn's table", name);
    if (status == CLQ_OK && made->count == 0) {
        status = clq_fail(CLQ_BAD_DATA, "%s: holds no scales", name);
    }
    if (status == CLQ_OK) {
        status = check_unique(made);
    }
    if (status == CLQ_OK) {
        *encodings = made;
        made = NULL;
    }
cleanup:
    clq_free(text);
    clq_encodings_destroy(made);
    return status;
}

clq_status clq_encodings_load(const char *path, clq_encodings **encodings) {
    CLQ_NEEDS(path, encodings);
    void *data;
    size_t size;
    CLQ_TRY(clq_file_read(path, MAX_SIZE, &data, &size));
    const clq_status status = clq_encodings_load_memory(data, size, path, encodings);
    clq_free(data);
    return status;
}

clq_status clq_encodings_save(const clq_graph *graph, clq_encodings_format format,
                              const char *path) {
    CLQ_NEEDS(graph, path);
    if (clq_graph_form(graph) == CLQ_FORM_FLOAT) {
        return clq_fail(CLQ_USAGE, "%s: a float network has no scales; quantize it first", path);
    }
    switch (format) {
    case CLQ_ENCODINGS_AIMET_0_6_1:
    case CLQ_ENCODINGS_AIMET_1_0_0:
        return clq_aimet_save(graph, format == CLQ_ENCODINGS_AIMET_1_0_0, path);
    case CLQ_ENCODINGS_NCNN:
        return clq_ncnn_save(graph, path);
    case CLQ_ENCODINGS_FORMAT_COUNT:
        break;
    }
    return clq_fail(CLQ_USAGE, "there is no format %d of encodings", (int)format);
}

/* ---- values ---- */

const clq_value *clq_encoded_value(const clq_graph *graph, int value) {
    const int producer = graph->values[value].producer;
    if (producer < 0 || graph->nodes[producer].op != &clq_op_quantize) {
        return &graph->values[value];
    }
    const int x = graph->nodes[producer].inputs[0];
    bool first = graph->values[x].q.count == 0;
    for (int n = 0; n < producer; n++) {
        first &= graph->nodes[n].op != &clq_op_quantize || graph->nodes[n].inputs[0] != x;
    }
    return &graph->values[first ? x : value];
}

static clq_status reorder(const clq_graph *graph, int value, bool to_file, const float *in,
                          float *out) {
    const int64_t count = graph->values[value].q.count;
    clq_layout *layouts = clq_calloc((size_t)graph->value_count, sizeof *layouts);
    if (!layouts) {
        return CLQ_NO_MEMORY;
    }
    clq_layout_find(graph, layouts);
    const clq_layout *layout = &layouts[value];
    if (count <= 1 || layout->rows > 1 || layout->transposed) {
        memcpy(out, in, (size_t)count * sizeof *out);
    } else if (to_file) {
        clq_layout_to_file(layout, sizeof *out, in, out);
    } else {
        clq_layout_from_file(layout, sizeof *out, in, out);
    }
    clq_free(layouts);
    return CLQ_OK;
}

clq_status clq_scales_to_file(const clq_graph *graph, int value, const float *in, float *out) {
    return reorder(graph, value, true, in, out);
}

clq_status clq_scales_from_file(const clq_graph *graph, int value, const float *in, float *out) {
    return reorder(graph, value, false, in, out);
}
