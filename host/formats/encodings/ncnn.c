/* ncnn's calibration table: a line each, first the weights', then the activations':
 *
 *   LAYER_param_0 S S S ...   of the layer's weights, one an output channel or a group
 *   LAYER S                   of what the layer reads
 *
 * Codes are rint(real * S) in -127..127: S is 127 over the largest magnitude, 1 over clquant's
 * scale. */
#include <math.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "base/numbers.h"
#include "base/text.h"
#include "formats/encodings/encodings.h"
#include "graph/node.h"
#include "ops/layer.h"

#define WEIGHTS "_param_0"
enum { LARGEST = 127, MAX_SCALES = 1 << 20 };

/* ---- reading ---- */

static clq_status bad_line(const clq_encodings *encodings, int line, const char *rule) {
    return clq_fail(CLQ_BAD_DATA, "%s:%d: %s", encodings->path, line, rule);
}

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t\r");
}

static clq_status read_line(clq_encodings *encodings, char *text, int line) {
    char *name = text + strspn(text, " \t\r"), *end = name + strcspn(name, " \t\r");
    const size_t length = (size_t)(end - name), suffix = strlen(WEIGHTS);
    size_t count = 0;
    double value;
    clq_encoding *e;
    if (length == 0 || name[0] == '#') {
        return CLQ_OK;
    }
    const char *first = *end ? skip_blanks(end + 1) : end;
    for (const char *at = first; *at; count++) {
        const char *next = clq_read_real(at, &value);
        if (!next || (*next && !strchr(" \t\r", *next)) || count == MAX_SCALES) {
            return bad_line(encodings, line, "must be a name and numbers");
        }
        at = skip_blanks(next);
    }
    if (count == 0) {
        return bad_line(encodings, line, "has no scales");
    }
    *end = '\0';
    const bool weights = length > suffix && strcmp(end - suffix, WEIGHTS) == 0;
    if (weights) {
        end[-(ptrdiff_t)suffix] = '\0';
    }
    if (!weights && count > 1) {
        return bad_line(encodings, line, "an activation has one scale");
    }
    CLQ_TRY(clq_encodings_add(encodings, name, &e));
    e->of_layer = true;
    e->parameter = weights;
    e->bits = 8;
    e->offset = -LARGEST;
    CLQ_TRY(clq_encoding_set_count(e, count));
    for (size_t i = 0; i < count; i++) {
        first = skip_blanks(clq_read_real(first, &value));
        CLQ_TRY(clq_encoding_check_scale(encodings, e, 1 / value));
        e->scale[i] = (float)(1 / value);
    }
    return CLQ_OK;
}

clq_status clq_ncnn_read(clq_encodings *encodings, const char *text) {
    clq_status status = CLQ_OK;
    char *copy = clq_strdup(text), *at = copy;
    if (!copy) {
        return CLQ_NO_MEMORY;
    }
    for (int line = 1; at && status == CLQ_OK; line++) {
        char *next = strchr(at, '\n');
        if (next) {
            *next++ = '\0';
        }
        status = read_line(encodings, at, line);
        at = next;
    }
    clq_free(copy);
    return status;
}

/* ---- writing ---- */

/* The layers that ncnn quantizes. */
static bool is_written(const clq_graph *graph, const clq_node *node) {
    const clq_qparams *w = clq_is_layer(node) ? &graph->values[node->inputs[CLQ_LAYER_W]].q : NULL;
    return w && w->count > 0 && node->op != &clq_op_conv_transpose &&
           graph->values[node->inputs[CLQ_LAYER_X]].q.count > 0;
}

static clq_status write_weights(clq_writer *writer, const clq_graph *graph, const clq_node *node) {
    const clq_conv2d_attrs *conv = clq_layer_conv(node);
    const clq_value *w = &graph->values[node->inputs[CLQ_LAYER_W]];
    const int64_t channels = w->shape.dim[0], groups = conv ? conv->groups : 1;
    const int64_t rows = groups > 1 ? groups : channels, each = channels / rows;
    const clq_qtype_info *type = clq_qtype_get(w->q.type);
    float *scales = clq_calloc((size_t)w->q.count, sizeof *scales);
    clq_status status =
        scales ? clq_scales_to_file(graph, node->inputs[CLQ_LAYER_W], w->q.scale, scales)
               : CLQ_NO_MEMORY;
    CLQ_GOTO(status, cleanup, status);
    CLQ_GOTO(status, cleanup, clq_writer_printf(writer, "%s" WEIGHTS, node->name));
    for (int64_t r = 0; r < rows; r++) {
        float largest = 0;
        for (int64_t k = 0; k < each; k++) {
            largest = fmaxf(largest, scales[w->q.count > 1 ? r * each + k : 0]);
        }
        const double exact = (double)largest * type->highest / LARGEST;
        CLQ_GOTO(status, cleanup, clq_writer_printf(writer, " %.17g", 1 / exact));
    }
    status = clq_writer_printf(writer, "\n");
cleanup:
    clq_free(scales);
    return status;
}

static clq_status write_activation(clq_writer *writer, const clq_graph *graph, const clq_node *node,
                                   int *widened) {
    const clq_qparams *q = &graph->values[node->inputs[CLQ_LAYER_X]].q;
    const clq_qtype_info *type = clq_qtype_get(q->type);
    const int below = q->zero_point - type->lowest, above = type->highest - q->zero_point;
    const int most = type->is_signed && q->zero_point == 0 ? above : below > above ? below : above;
    *widened += most != LARGEST;
    return clq_writer_printf(writer, "%s %.17g\n", node->name,
                             LARGEST / ((double)q->scale[0] * most));
}

clq_status clq_ncnn_save(const clq_graph *graph, const char *path) {
    clq_writer *writer = NULL;
    clq_status status = CLQ_OK;
    int layers = 0, widened = 0;
    for (int n = 0; n < graph->node_count; n++) {
        layers += is_written(graph, &graph->nodes[n]);
        if (is_written(graph, &graph->nodes[n]) && strpbrk(graph->nodes[n].name, " \t\r\n")) {
            return clq_fail(CLQ_USAGE, "%s: \"%.200s\": ncnn's tables take no blanks in names",
                            path, graph->nodes[n].name);
        }
    }
    if (layers == 0) {
        return clq_fail(CLQ_USAGE,
                        "%s: the network has no convolution and no linear layer on "
                        "codes, of which ncnn's table is",
                        path);
    }
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &writer));
    for (int n = 0; n < graph->node_count; n++) {
        if (is_written(graph, &graph->nodes[n])) {
            CLQ_GOTO(status, cleanup, write_weights(writer, graph, &graph->nodes[n]));
        }
    }
    for (int n = 0; n < graph->node_count; n++) {
        if (is_written(graph, &graph->nodes[n])) {
            CLQ_GOTO(status, cleanup, write_activation(writer, graph, &graph->nodes[n], &widened));
        }
    }
    status = clq_writer_commit(&writer);
    if (status == CLQ_OK && widened > 0) {
        clq_log_info("ncnn's activations have codes -127..127 around 0: of %d of %d layers the "
                     "scale is that of the largest magnitude, so codes will differ",
                     widened, layers);
    }
cleanup:
    clq_writer_abort(&writer);
    return status;
}
