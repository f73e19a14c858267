/* Looking at one node of an ONNX file. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "formats/onnx/load.h"

onnx_node onnx_node_at(const onnx_loader *load, int index) {
    const Onnx__NodeProto *proto = load->proto->node[index];
    return (onnx_node){.proto = proto, .op = proto->op_type, .index = index};
}

const char *onnx_place(const onnx_node *node, char *text, size_t size) {
    const char *name = node->proto->name;
    if (name && name[0]) {
        snprintf(text, size, "node \"%.200s\" (%.60s)", name, node->op);
    } else {
        const char *made = onnx_output_name(node);
        const int length = (int)strcspn(made, "\n"); /* behind it, what the loader put there */
        snprintf(text, size, "node %d (%.60s, which makes \"%.*s\")", node->index, node->op,
                 length < 200 ? length : 200, made);
    }
    return text;
}

clq_status onnx_fail(const onnx_node *node, const char *format, ...) {
    char place[ONNX_PLACE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    char *rule = clq_vformat(format, arguments);
    va_end(arguments);
    if (!rule) {
        return CLQ_NO_MEMORY;
    }
    clq_status status =
        clq_fail(CLQ_BAD_DATA, "%s: %s", onnx_place(node, place, sizeof place), rule);
    clq_free(rule);
    return status;
}

/* ---- inputs ---- */

size_t onnx_input_count(const onnx_node *node) {
    return node->proto->n_input;
}

const char *onnx_input_name(const onnx_node *node, size_t index) {
    return index < node->proto->n_input ? node->proto->input[index] : "";
}

const char *onnx_output_name(const onnx_node *node) {
    return node->proto->n_output > 0 ? node->proto->output[0] : "";
}

const onnx_operand *onnx_input(const onnx_loader *load, const onnx_node *node, size_t index) {
    const char *name = onnx_input_name(node, index);
    int bound = name[0] ? clq_names_find(&load->bound, name) : -1;
    return bound < 0 ? NULL : &load->operands[bound];
}

clq_status onnx_want_inputs(const onnx_node *node, size_t least, size_t most) {
    size_t count = onnx_input_count(node);
    if (count < least || count > most) {
        return onnx_fail(node, "has %zu input%s, must have %zu..%zu", count,
                         clq_plural((int64_t)count), least, most);
    }
    for (size_t i = 0; i < least; i++) {
        if (onnx_input_name(node, i)[0] == '\0') {
            return onnx_fail(node, "input %zu is missing", i);
        }
    }
    return CLQ_OK;
}

clq_status onnx_want_constant(const onnx_loader *load, const onnx_node *node, size_t index,
                              const onnx_constant **constant) {
    const onnx_operand *operand = onnx_input(load, node, index);
    *constant = operand ? operand->constant : NULL;
    if (operand && !operand->constant) {
        return onnx_fail(node, "input \"%.100s\" must be a constant", onnx_input_name(node, index));
    }
    return CLQ_OK;
}

clq_status onnx_want_integers(const onnx_loader *load, const onnx_node *node, size_t index,
                              const char *what, const int64_t **values, size_t *count) {
    const onnx_constant *constant;
    *count = 0;
    *values = NULL;
    CLQ_TRY(onnx_want_constant(load, node, index, &constant));
    if (!constant) {
        return CLQ_OK;
    }
    if (constant->type != ONNX_INT64 || constant->rank > 1) {
        return onnx_fail(node, "%s must be a list of 64-bit integers", what);
    }
    *values = constant->data;
    *count = constant->count;
    return CLQ_OK;
}

clq_status onnx_want_scalar(onnx_loader *load, const onnx_node *node, size_t index,
                            const char *what, float absent, float *value) {
    const onnx_constant *constant;
    const float *floats;
    CLQ_TRY(onnx_want_constant(load, node, index, &constant));
    *value = absent;
    if (!constant) {
        return CLQ_OK;
    }
    if (constant->count != 1) {
        return onnx_fail(node, "%s must be one number", what);
    }
    if (constant->type == ONNX_BOOL) {
        *value = *(const uint8_t *)constant->data;
        return CLQ_OK;
    }
    if (constant->type == ONNX_INT64) {
        *value = (float)*(const int64_t *)constant->data;
        return CLQ_OK;
    }
    CLQ_TRY(onnx_constant_floats(&load->arena, constant, &floats));
    *value = floats[0];
    return CLQ_OK;
}

/* ---- attributes ---- */

const Onnx__AttributeProto *onnx_attribute(onnx_node *node, const char *name) {
    for (size_t i = 0; i < node->proto->n_attribute && i < ONNX_MAX_ATTRIBUTES; i++) {
        const Onnx__AttributeProto *attribute = node->proto->attribute[i];
        if (attribute->name && strcmp(attribute->name, name) == 0) {
            node->asked |= UINT64_C(1) << i;
            return attribute;
        }
    }
    return NULL;
}

void onnx_attribute_ignore(onnx_node *node, const char *name) {
    (void)onnx_attribute(node, name);
}

/* *attribute is NULL when it is missing. */
static clq_status find_typed(onnx_node *node, const char *name,
                             Onnx__AttributeProto__AttributeType type, const char *type_name,
                             const Onnx__AttributeProto **attribute) {
    *attribute = onnx_attribute(node, name);
    if (*attribute && ((*attribute)->type != type || (*attribute)->ref_attr_name)) {
        return onnx_fail(node, "attribute %s must be %s", name, type_name);
    }
    return CLQ_OK;
}

clq_status onnx_attribute_int(onnx_node *node, const char *name, int64_t least, int64_t most,
                              int64_t *value) {
    const Onnx__AttributeProto *attribute;
    CLQ_TRY(find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT, "an integer",
                       &attribute));
    if (!attribute) {
        return CLQ_OK;
    }
    if (attribute->i < least || attribute->i > most) {
        return onnx_fail(node, "attribute %s is %lld, must be %lld..%lld", name,
                         (long long)attribute->i, (long long)least, (long long)most);
    }
    *value = attribute->i;
    return CLQ_OK;
}

clq_status onnx_attribute_float(onnx_node *node, const char *name, float *value) {
    const Onnx__AttributeProto *attribute;
    CLQ_TRY(find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT, "a float",
                       &attribute));
    if (!attribute) {
        return CLQ_OK;
    }
    if (!isfinite(attribute->f)) {
        return onnx_fail(node, "attribute %s is %f, must be finite", name, (double)attribute->f);
    }
    *value = attribute->f;
    return CLQ_OK;
}

clq_status onnx_attribute_text(onnx_node *node, const char *name, const char **value) {
    const Onnx__AttributeProto *attribute;
    CLQ_TRY(find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING, "a text",
                       &attribute));
    if (!attribute) {
        return CLQ_OK;
    }
    /* A text of the file's has no NUL behind it; only known words are of interest here. */
    static const char *const words[] = {
        "", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", "constant", "edge", "reflect", "wrap",
        "CRD", "DCR", "none", "tanh",
        /* of Resize */
        "nearest", "linear", "cubic", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel",
        "align_corners", "asymmetric", "tf_half_pixel_for_nn", "tf_crop_and_resize",
        "round_prefer_floor", "round_prefer_ceil", "floor", "ceil", "stretch", "not_larger",
        "not_smaller"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t length = strlen(words[i]);
        if (attribute->s.len == length &&
            (length == 0 || memcmp(attribute->s.data, words[i], length) == 0)) {
            *value = words[i];
            return CLQ_OK;
        }
    }
    return onnx_fail(node, "attribute %s is \"%.*s\", which is not supported", name,
                     attribute->s.len < 40 ? (int)attribute->s.len : 40,
                     (const char *)attribute->s.data);
}

clq_status onnx_attribute_ints(onnx_node *node, const char *name, const int64_t **values,
                               size_t *count) {
    const Onnx__AttributeProto *attribute;
    size_t wanted = *count;
    *count = 0;
    CLQ_TRY(find_typed(node, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS,
                       "a list of integers", &attribute));
    if (!attribute) {
        return CLQ_OK;
    }
    if (wanted && attribute->n_ints != wanted) {
        return onnx_fail(node, "attribute %s has %zu number%s, must have %zu", name,
                         attribute->n_ints, clq_plural((int64_t)attribute->n_ints), wanted);
    }
    *values = attribute->ints;
    *count = attribute->n_ints;
    return CLQ_OK;
}

clq_status onnx_attributes_done(const onnx_node *node) {
    for (size_t i = 0; i < node->proto->n_attribute; i++) {
        if (i >= ONNX_MAX_ATTRIBUTES || !(node->asked & UINT64_C(1) << i)) {
            const char *name = node->proto->attribute[i]->name;
            return onnx_fail(node, "attribute \"%.60s\" is not supported or comes twice",
                             name ? name : "");
        }
    }
    return CLQ_OK;
}
