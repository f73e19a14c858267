/* Names for the graph's nodes and parameters out of those in the file. */
#include <ctype.h>
#include <string.h>

#include "formats/onnx/load.h"

clq_status onnx_unique_name(onnx_loader *load, const char *wanted, char **name) {
    CLQ_TRY(clq_arena_format(&load->arena, name, "%s", wanted[0] ? wanted : "value"));
    if (clq_names_find(&load->names, *name) < 0) {
        return clq_names_set(&load->names, *name, 1);
    }
    /* The id counts the tries, so that many equal names do not start over each time. */
    int next = clq_names_find(&load->names, *name) + 1;
    const char *base = *name;
    do {
        CLQ_TRY(clq_arena_format(&load->arena, name, "%s_%d", base, next++));
    } while (clq_names_find(&load->names, *name) >= 0);
    CLQ_TRY(clq_names_set(&load->names, base, next - 1));
    return clq_names_set(&load->names, *name, 1);
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Names that an exporter made up: "onnx::Conv_193", "val_72", "193". */
static bool is_made_up(const char *name) {
    if (name[0] == '\0' || strchr(name, ':') || strchr(name, '/')) {
        return true;
    }
    const char *digits = strncmp(name, "val_", 4) == 0 ? name + 4 : name;
    while (isdigit((unsigned char)*digits)) {
        digits++;
    }
    return *digits == '\0';
}

/* torch's "/layer1/layer1.0/conv1/Conv" -> "layer1.0.conv1", in place. A part that continues the
 * one before it replaces it; the last, the operator, is dropped. */
static void join_scopes(char *path) {
    char *out = path;      /* end of what is kept */
    char *previous = NULL; /* start of the last kept part */
    size_t previous_length = 0;
    for (char *part = path + 1, *end; (end = strchr(part, '/')); part = end + 1) {
        size_t length = (size_t)(end - part);
        bool continues = previous && length > previous_length && part[previous_length] == '.' &&
                         memcmp(part, previous, previous_length) == 0;
        if (continues) {
            out = previous;
        } else if (out > path) {
            *out++ = '.';
        }
        memmove(out, part, length);
        previous = out;
        previous_length = length;
        out += length;
    }
    *out = '\0';
}

static bool contains_ignoring_case(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        size_t i = 0;
        while (i < length && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i])) {
            i++;
        }
        if (i == length) {
            return true;
        }
    }
    return false;
}

clq_status onnx_node_name(onnx_loader *load, const onnx_node *node, const char *weight,
                          char **name) {
    const char *own = node->proto->name ? node->proto->name : "";
    char *wanted;
    if (load->own && own[0]) {
        return onnx_unique_name(load, own, name);
    }
    if (weight && ends_with(weight, ".weight") && !is_made_up(weight)) {
        CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%.*s", (int)(strlen(weight) - 7), weight));
        return onnx_unique_name(load, wanted, name);
    }
    CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s", own[0] ? own : onnx_output_name(node)));
    wanted[strcspn(wanted, "\n")] = '\0'; /* of a node that the loader put in: its beginning */
    if (wanted[0] != '/') {
        return onnx_unique_name(load, wanted, name);
    }
    join_scopes(wanted);
    const char *last = strrchr(wanted, '.');
    last = last ? last + 1 : wanted;
    const int op_length = (int)strcspn(node->op, ","); /* one that stands for two: the first */
    bool says_what = weight != NULL || contains_ignoring_case(last, node->op);
    if (!says_what || !wanted[0]) { /* "layer1.0" alone would be a block, so "layer1.0.add" */
        CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s%s%.*s", wanted, wanted[0] ? "." : "",
                                 op_length, node->op));
        for (char *c = wanted + strlen(wanted) - (size_t)op_length; *c; c++) {
            *c = (char)tolower((unsigned char)*c);
        }
    }
    return onnx_unique_name(load, wanted, name);
}

clq_status onnx_parameter_name(onnx_loader *load, const char *own, const char *node_name,
                               const char *role, char **name) {
    char *wanted;
    /* "conv1.weight_bias" is the bias that torch made by folding batch norm into conv1. */
    bool keeps = own[0] && (load->own || (!is_made_up(own) && !ends_with(own, ".weight_bias")));
    CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s", own));
    if (!keeps || clq_names_find(&load->names, wanted) >= 0) {
        CLQ_TRY(clq_arena_format(&load->arena, &wanted, "%s.%s", node_name, role));
    }
    return onnx_unique_name(load, wanted, name);
}
