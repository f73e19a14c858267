/* clquant info MODEL, as text: nothing wider than 80 columns but for long names of layers. */
#include <stdio.h>
#include <string.h>

#include "base/numbers.h"
#include "base/text.h"
#include "cli/model_info.h"
#include "cli/quantized.h"
#include "formats/layout.h"
#include "quant/report.h"
#include "report/table.h"

enum { LABEL = 14, WIDTH = 79, CELL = 64 };

/* ---- words ---- */

/* "36.9k": three digits and a prefix. */
static const char *short_number(int64_t number, char text[CELL]) {
    static const char *const prefixes[] = {"", "k", "M", "G", "T"};
    double rest = (double)number;
    size_t p = 0;
    while (rest >= 999.5 && p + 1 < sizeof prefixes / sizeof *prefixes) {
        rest /= 1000;
        p++;
    }
    clq_snprintf(text, CELL, p == 0 ? "%.0f%s" : "%.3g%s", rest, prefixes[p]);
    return text;
}

/* "36.9 kB" */
static const char *bytes_text(int64_t bytes, char text[CELL]) {
    char number[CELL];
    short_number(bytes, number);
    const size_t digits = strspn(number, "0123456789.");
    snprintf(text, CELL, "%.*s %sB", (int)digits, number, number + digits);
    return text;
}

/* What a file says may hold anything: a terminal gets no control characters. */
static char printable(char c) {
    return (unsigned char)c < ' ' || c == 0x7f ? ' ' : c;
}

/* `label`, and the words of `text` behind it, wrapped under each other. */
static void print_wrapped(const char *label, const char *text) {
    size_t column = LABEL;
    printf("%-*s", LABEL, label);
    for (const char *word = text; *word;) {
        const size_t length = strcspn(word, " ");
        if (column > LABEL && column + 1 + length > WIDTH) {
            printf("\n%-*s", LABEL, "");
            column = LABEL;
        }
        column += length + (column > LABEL ? (size_t)(putchar(' ') == ' ') : 0);
        for (size_t i = 0; i < length; i++) {
            putchar(printable(word[i]));
        }
        word += length + strspn(word + length, " ");
    }
    putchar('\n');
}

static clq_status print_text(const char *label, clq_text *text) {
    const clq_status status = clq_text_status(text);
    if (status == CLQ_OK) {
        print_wrapped(label, text->data ? text->data : "");
    }
    clq_text_free(text);
    return status;
}

/* "3x32x32": as in files, without the batch. */
static void shape_text(clq_shape shape, char text[CELL]) {
    shape.rank--;
    memmove(shape.dim, shape.dim + 1, (size_t)shape.rank * sizeof *shape.dim);
    clq_shape_text(&shape, text, CELL);
}

/* "Nx3x32x32"; with 1 for N in a network that takes one sample at a time, and without it at an end
 * that has no axis for the batch. */
static void end_text(const clq_graph *graph, bool in, int end, char text[CELL + 8]) {
    const bool batched = in ? clq_input_has_batch(graph, end) : clq_output_has_batch(graph, end);
    const clq_shape shape =
        in ? clq_input_file_shape(graph, end) : clq_output_file_shape(graph, end);
    char rest[CELL];
    shape_text(shape, rest);
    snprintf(text, CELL + 8, "%s%s%s",
             !batched                     ? ""
             : clq_graph_is_of_one(graph) ? "1"
                                          : "N",
             batched && shape.rank > 1 ? "x" : "", shape.rank > 1 ? rest : "");
}

static void add_codes(clq_text *text, const clq_value *value) {
    if (value->q.count > 0) {
        clq_text_printf(text, ", %s codes of scale %.4g, zero point %d", clq_codes_name(&value->q),
                        (double)value->q.scale[0], (int)value->q.zero_point);
    }
}

static void add_range(clq_text *text, const clq_scale_range *range) {
    if (range->count > 0) {
        clq_text_printf(text, "%lld scale%s %.4g..%.4g", (long long)range->count,
                        clq_plural(range->count), (double)range->least, (double)range->most);
    }
}

/* ---- parts ---- */

static clq_status print_ends(const clq_graph *graph) {
    char shape[CELL + 8];
    for (int i = 0; i < graph->input_count + graph->output_count; i++) {
        const bool in = i < graph->input_count;
        const int end = in ? i : i - graph->input_count;
        const clq_value *value =
            &graph->values[in ? graph->inputs[end] : graph->outputs[end].value];
        clq_text text = {0};
        end_text(graph, in, end, shape);
        clq_text_printf(&text, "%s: float32 %s",
                        in ? clq_graph_input_name(graph, end) : clq_graph_output_name(graph, end),
                        shape);
        add_codes(&text, value);
        CLQ_TRY(print_text(end > 0 ? "" : in ? "inputs" : "outputs", &text));
    }
    return CLQ_OK;
}

static bool same_kind(const clq_layer_info *a, const clq_layer_info *b) {
    return a->node->op == b->node->op && clq_layer_act_name(a) == clq_layer_act_name(b);
}

/* "17 conv2d relu, 3 conv2d, 1 linear": in the order in which they come first. */
static clq_status print_operators(const clq_model_info *info) {
    clq_text text = {0};
    for (int n = 0; n < info->graph->node_count; n++) {
        const clq_layer_info *layer = &info->layers[n];
        int before = 0, count = 0;
        for (int i = 0; i < info->graph->node_count; i++) {
            count += same_kind(&info->layers[i], layer);
            before += i < n && same_kind(&info->layers[i], layer);
        }
        if (before == 0) {
            const char *act = clq_layer_act_name(layer);
            clq_text_printf(&text, "%s%d %s%s%s", n ? ", " : "", count, layer->node->op->name,
                            *act ? " + " : "", act);
        }
    }
    return print_text("operators", &text);
}

/* What the external data's files have in all, and the first of them. */
static clq_status print_data_files(const clq_model_info *info) {
    const int count = info->graph->data_file_count;
    char number[CELL];
    clq_text text = {0};
    int64_t bytes = 0;
    if (count == 0) {
        return CLQ_OK;
    }
    for (int i = 0; i < count; i++) {
        bytes += info->data_bytes[i];
    }
    clq_text_printf(&text, "%s in %s", bytes_text(bytes, number), info->graph->data_files[0]);
    if (count > 1) {
        clq_text_printf(&text, " and %d other%s", count - 1, clq_plural(count - 1));
    }
    return print_text("data", &text);
}

static clq_status print_sizes(const clq_model_info *info) {
    char number[CELL];
    clq_text text = {0};
    for (int t = 0; t < CLQ_DTYPES; t++) {
        const clq_stored_type *stored = &info->stored[t];
        if (stored->tensors > 0) {
            clq_text_printf(&text, "%s%lld %s", text.size ? ", " : "", (long long)stored->elements,
                            clq_dtype_name((clq_dtype)t));
            clq_text_printf(&text, " (%s)", bytes_text(stored->bytes, number));
        }
    }
    printf("%-*s%lld\n", LABEL, "parameters", (long long)info->size.parameters);
    printf("%-*s%s\n", LABEL, "file", bytes_text(info->file_bytes, number));
    CLQ_TRY(print_data_files(info));
    CLQ_TRY(print_text("stored", &text));
    printf("%-*s%lld a sample\n", LABEL, "multiply-adds", (long long)info->size.macs);
    return CLQ_OK;
}

/* "method ptq, images 512, observer minmax": what the file tells of its quantization. */
static clq_status print_recorded(const clq_graph *graph, const char *recorded) {
    clq_text text = {0};
    if (!recorded) {
        print_wrapped("", "how it was done is not recorded");
        return CLQ_OK;
    }
    json_t *json = clq_quantization_recorded(graph);
    if (!json_is_object(json)) {
        print_wrapped("recorded", recorded);
        json_decref(json);
        return CLQ_OK;
    }
    const clq_status status = clq_quantization_describe(json, &text);
    json_decref(json);
    if (status != CLQ_OK) {
        clq_text_free(&text);
        return status;
    }
    return print_text("recorded", &text);
}

static clq_status print_quantization(const clq_model_info *info) {
    const char *recorded = clq_graph_get_metadata(info->graph, CLQ_META_QUANTIZATION);
    clq_text text = {0};
    if (clq_graph_form(info->graph) == CLQ_FORM_FLOAT) {
        print_wrapped("quantization", "none");
        return CLQ_OK;
    }
    if (info->quantized_layers > 0) {
        clq_text_printf(&text, "weights of %d layer%s %s, ", info->quantized_layers,
                        clq_plural(info->quantized_layers), clq_weight_names[!info->per_channel]);
        add_range(&text, &info->weight_scales);
        clq_text_puts(&text, "; ");
    }
    const bool codes = info->activation_scales.count > 0;
    clq_text_printf(&text, "activations %s",
                    codes ? clq_activation_names[info->symmetric] : "float");
    clq_text_puts(&text, codes ? ", " : "");
    add_range(&text, &info->activation_scales);
    clq_text_printf(&text, "; requantizer %s",
                    clq_requantizer_name(clq_graph_requantizer(info->graph)));
    CLQ_TRY(print_text("quantization", &text));
    return print_recorded(info->graph, recorded);
}

/* A key and the beginning of its text, in two lines at most. */
static clq_status print_metadata(const clq_graph *graph) {
    enum { MOST = 2 * (WIDTH - LABEL) - 12 };
    int printed = 0;
    for (int i = 0; i < graph->metadata_count; i++) {
        const clq_metadata *m = &graph->metadata[i];
        clq_text text = {0};
        int lines = 1;
        if (strcmp(m->key, CLQ_META_QUANTIZATION) == 0) {
            continue; /* said before */
        }
        clq_text_printf(&text, "%s: ", m->key);
        const size_t start = text.size;
        for (const char *at = m->value; *at; at++) {
            lines += *at == '\n' && at[1] != '\0';
        }
        if (lines > 1) {
            clq_text_printf(&text, "(%d lines) ", lines);
        }
        for (const char *at = m->value; *at && text.size < start + MOST;) {
            const size_t length = clq_utf8_length(at);
            clq_text_append(&text, *at == '\n' ? ", " : at, *at == '\n' ? 2 : length ? length : 1);
            at += *at == '\n' || !length ? 1 : length;
            if (*at && text.size >= start + MOST) {
                clq_text_puts(&text, "...");
            }
        }
        CLQ_TRY(print_text(printed++ ? "" : "metadata", &text));
    }
    return CLQ_OK;
}

/* ---- tables ---- */

enum { COLUMNS = 6 };

static void fill_layer(const clq_layer_info *layer, char row[COLUMNS][CELL]) {
    const char *act = clq_layer_act_name(layer);
    snprintf(row[1], CELL, "%s%s%s", layer->node->op->name, *act ? "+" : "", act);
    shape_text(clq_layout_file_shape(NULL, &layer->output->shape), row[2]);
    if (layer->weights) {
        const clq_qparams *q = &layer->weights->q;
        snprintf(row[3], CELL, "%s",
                 q->count > 0 ? clq_codes_name(q) : clq_dtype_name(layer->weights->dtype));
    }
    if (layer->parameters > 0) {
        short_number(layer->parameters, row[4]);
    }
    if (layer->macs > 0) {
        short_number(layer->macs, row[5]);
    }
}

static void fill_precision(const clq_layer_info *layer, char row[COLUMNS][CELL]) {
    const clq_scale_range *range = &layer->weight_scales;
    const clq_qparams *q = &layer->output->q;
    if (range->count > 1) {
        clq_snprintf(row[1], CELL, "%s x%lld", clq_codes_name(&layer->weights->q),
                     (long long)range->count);
        clq_snprintf(row[2], CELL, "%.3g..%.3g", (double)range->least, (double)range->most);
    } else if (range->count == 1) {
        clq_snprintf(row[1], CELL, "%s", clq_codes_name(&layer->weights->q));
        clq_snprintf(row[2], CELL, "%.4g", (double)range->least);
    } else if (layer->weights) {
        clq_snprintf(row[1], CELL, "%s", clq_dtype_name(layer->weights->dtype));
    }
    clq_snprintf(row[3], CELL, "%s", q->count > 0 ? clq_codes_name(q) : clq_dtype_name(CLQ_F32));
    if (q->count > 0) {
        clq_snprintf(row[4], CELL, "%.4g", (double)q->scale[0]);
        clq_snprintf(row[5], CELL, "%d", (int)q->zero_point);
    }
}

static clq_status print_table(const clq_model_info *info, const char *const headers[COLUMNS],
                              const int right[COLUMNS],
                              void (*fill)(const clq_layer_info *, char[COLUMNS][CELL])) {
    const size_t rows = (size_t)info->graph->node_count;
    char(*text)[COLUMNS][CELL] = clq_calloc(rows, sizeof *text);
    const char **cells = clq_calloc(rows * COLUMNS, sizeof *cells);
    clq_status status = text && cells ? CLQ_OK : CLQ_NO_MEMORY;
    for (size_t r = 0; r < rows && status == CLQ_OK; r++) {
        fill(&info->layers[r], text[r]);
        cells[r * COLUMNS] = info->layers[r].node->name;
        for (size_t c = 1; c < COLUMNS; c++) {
            cells[r * COLUMNS + c] = text[r][c];
        }
    }
    if (status == CLQ_OK && rows > 0) {
        putchar('\n');
        status = clq_table_print(stdout, headers, right, COLUMNS, cells, (int)rows);
    }
    clq_free(cells);
    clq_free(text);
    return status;
}

clq_status clq_model_info_print(const clq_model_info *info) {
    static const char *const of_layers[COLUMNS] = {"layer",   "operator",   "output",
                                                   "weights", "parameters", "multiply-adds"};
    static const char *const of_precision[COLUMNS] = {"layer",  "weights", "weight scales",
                                                      "output", "scale",   "zero point"};
    static const int layers_right[COLUMNS] = {0, 0, 1, 0, 1, 1},
                     precision_right[COLUMNS] = {0, 0, 0, 0, 1, 1};
    const clq_form form = clq_graph_form(info->graph);
    clq_text text = {0};
    clq_text_printf(&text, "%s: %s%s%s network%s", info->path, info->graph->name,
                    *info->graph->name ? ", " : "", clq_graph_form_name(info->graph),
                    form == CLQ_FORM_QUANTIZED
                        ? " (activations quantized, weights float: simulated in floats)"
                        : "");
    CLQ_TRY(print_text("model", &text));
    if (info->graph->producer) {
        print_wrapped("producer", info->graph->producer);
    }
    CLQ_TRY(print_ends(info->graph));
    CLQ_TRY(print_operators(info));
    CLQ_TRY(print_sizes(info));
    CLQ_TRY(print_quantization(info));
    CLQ_TRY(print_metadata(info->graph));
    CLQ_TRY(print_table(info, of_layers, layers_right, fill_layer));
    return form == CLQ_FORM_FLOAT
               ? CLQ_OK
               : print_table(info, of_precision, precision_right, fill_precision);
}
