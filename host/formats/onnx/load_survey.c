/* A look at all nodes before the first is read: whether there are operators among them that cannot
 * be read, and what to do about them. */
#include <string.h>

#include "base/text.h"
#include "formats/onnx/operators.h"

enum { MAX_NAMED = 8, MAX_KINDS = 64 };

static void append_place(const onnx_loader *load, int index, clq_text *text) {
    const onnx_node node = onnx_node_at(load, index);
    char place[ONNX_PLACE_SIZE];
    clq_text_printf(text, "%s", onnx_place(&node, place, sizeof place));
}

typedef struct unknown {
    const Onnx__NodeProto *node; /* the first of its kind */
    int first, count;
} unknown;

typedef struct findings {
    unknown kinds[MAX_KINDS];
    int count, more; /* kinds; nodes of others */
    clq_names constants;
} findings;

static const char *domain_of(const Onnx__NodeProto *node) {
    return node->domain && strcmp(node->domain, "ai.onnx") != 0 ? node->domain : "";
}

/* Whether there is a way to read the operator, where all its inputs are constant or not. */
static bool knows(const char *op, bool constant) {
    const onnx_operator *folder = onnx_find_folder(op);
    return onnx_find_reader(op) || (folder && (constant || folder->folds_activations));
}

static void add_unknown(const onnx_loader *load, int index, findings *f) {
    const Onnx__NodeProto *node = load->proto->node[index];
    for (int i = 0; i < f->count; i++) {
        const unknown *kind = &f->kinds[i];
        if (strcmp(kind->node->op_type, node->op_type) == 0 &&
            strcmp(domain_of(kind->node), domain_of(node)) == 0) {
            f->kinds[i].count++;
            return;
        }
    }
    if (f->count < MAX_KINDS) {
        f->kinds[f->count++] = (unknown){node, index, 1};
    } else {
        f->more++;
    }
}

#define INSTEAD                                                                                    \
    "by quantize_static(..., quant_format=QuantFormat.QDQ) of onnxruntime.quantization, or give "  \
    "`clquant ptq` the FP32 model"
static const char dynamic[] = "the model is quantized dynamically, otherwise than ONNX Runtime's "
                              "quantize_dynamic does: quantize it statically, " INSTEAD;
static const char qoperator[] = "not read in QOperator form: quantize it in QDQ form, " INSTEAD;
static const char wide_codes[] =
    "ONNX Runtime's own QuantizeLinear is for 16-bit and 4-bit codes: quantize to int8 or uint8";

/* What to do about some operators, by their domain and the beginning of their name. */
static const struct {
    const char *domain, *op, *advice;
} advices[] = {
    {"", "DynamicQuantize", dynamic},
    {"", "ConvInteger", dynamic},
    {"", "MatMulInteger", dynamic},
    {"", "QLinear", qoperator},
    {"com.microsoft", "QuantizeLinear", wide_codes},
    {"com.microsoft", "DequantizeLinear", wide_codes},
    {"com.microsoft", "Q", qoperator}, /* QGemm, QLinearAdd, ... */
    {"com.microsoft", "DynamicQuantize", dynamic},
    {"com.microsoft", "",
     "ONNX Runtime wrote a graph that it had optimised: give the model as it was exported"},
};

/* NULL: there is none. */
static const char *find_advice(const Onnx__NodeProto *node) {
    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if (strcmp(advices[i].domain, domain_of(node)) == 0 &&
            strncmp(advices[i].op, node->op_type, strlen(advices[i].op)) == 0) {
            return advices[i].advice;
        }
    }
    return NULL;
}

static void append_kind(const onnx_loader *load, const unknown *kind, clq_text *text) {
    const char *domain = domain_of(kind->node);
    clq_text_printf(text, "%.60s%s%.60s%s", domain, domain[0] ? "." : "", kind->node->op_type,
                    !domain[0] && onnx_find_folder(kind->node->op_type) ? " of activations" : "");
    clq_text_printf(text, " (%d, %s", kind->count, kind->count > 1 ? "the first is " : "");
    append_place(load, kind->first, text);
    clq_text_puts(text, ")");
}

/* An advice comes once for all kinds that it fits. */
static void append_advices(const findings *f, clq_text *text) {
    bool open = f->more > 0; /* some kind has none */
    for (int i = 0; i < f->count; i++) {
        const unknown *kind = &f->kinds[i];
        const char *advice = find_advice(kind->node);
        bool said = !advice;
        for (int k = 0; k < i && !said; k++) {
            said = find_advice(f->kinds[k].node) == advice;
        }
        if (!said) {
            clq_text_printf(text, "; %s", advice);
        }
        open = open || !advice;
    }
    if (open) {
        clq_text_puts(text, "; docs/formats.md (installed in share/doc/clquant/docs) lists those "
                            "that are");
    }
}

static void append_findings(const onnx_loader *load, const findings *f, clq_text *text) {
    for (int i = 0; i < f->count && i < MAX_NAMED; i++) {
        clq_text_puts(text, i ? ", " : "");
        append_kind(load, &f->kinds[i], text);
    }
    if (f->count > MAX_NAMED || f->more > 0) {
        clq_text_puts(text, " and others");
    }
    append_advices(f, text);
}

/* Whether all that a node reads is constant: initializers and what is computed from them alone. Its
 * results join them then; a shape is constant whatever it is of. */
static clq_status follow_constants(const Onnx__NodeProto *node, clq_names *constants,
                                   bool *constant) {
    *constant = true;
    for (size_t k = 0; k < node->n_input; k++) {
        *constant = *constant &&
                    (node->input[k][0] == '\0' || clq_names_find(constants, node->input[k]) >= 0);
    }
    const bool result = *constant || strcmp(node->op_type, "Shape") == 0;
    for (size_t k = 0; result && k < node->n_output; k++) {
        CLQ_TRY(clq_names_set(constants, node->output[k], 0));
    }
    return CLQ_OK;
}

static clq_status survey(onnx_loader *load, findings *f) {
    for (size_t i = 0; i < load->proto->n_initializer; i++) {
        const char *name = load->proto->initializer[i]->name;
        CLQ_TRY(clq_names_set(&f->constants, name ? name : "", 0));
    }
    for (int i = 0; i < load->order_count; i++) {
        const Onnx__NodeProto *node = load->proto->node[load->order[i]];
        bool constant;
        CLQ_TRY(follow_constants(node, &f->constants, &constant));
        if (!constant && strcmp(node->op_type, "QuantizeLinear") == 0) {
            load->has_q = true;
            CLQ_TRY(clq_names_set(&load->rounded, node->n_input > 0 ? node->input[0] : "", 0));
        }
        load->has_q |= load->keep_codes && strcmp(node->op_type, "DequantizeLinear") == 0;
        if (domain_of(node)[0] || !knows(node->op_type, constant)) {
            add_unknown(load, load->order[i], f);
        }
    }
    return CLQ_OK;
}

clq_status onnx_survey(onnx_loader *load) {
    findings f = {.count = 0};
    clq_text text = {0};
    clq_status status = survey(load, &f);
    if (status == CLQ_OK && f.count > 0) {
        append_findings(load, &f, &text);
        status = clq_text_status(&text);
    }
    if (status == CLQ_OK && f.count > 0) {
        status = clq_fail(CLQ_BAD_DATA, "operator%s not supported: %s",
                          f.count > 1 ? "s that are" : " that is", text.data);
    }
    clq_names_free(&f.constants);
    clq_text_free(&text);
    return status;
}
