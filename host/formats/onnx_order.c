/* A look at all nodes before the first is read: which matter, in which order, and whether there are
 * operators among them that cannot be read. */
#include <string.h>

#include "base/text.h"
#include "formats/onnx_load.h"

enum { MAX_NAMED = 8, MAX_KINDS = 64 };

/* ---- who makes and who reads what ---- */

static clq_status fail_twice(const onnx_loader *load, const char *name, int first, int second) {
    const onnx_node a = onnx_node_at(load, first), b = onnx_node_at(load, second);
    char place_a[ONNX_PLACE_SIZE], place_b[ONNX_PLACE_SIZE];
    return clq_fail(CLQ_BAD_DATA, "\"%.200s\" is made twice, by %s and %s", name,
                    onnx_place(&a, place_a, sizeof place_a),
                    onnx_place(&b, place_b, sizeof place_b));
}

static clq_status find_makers(const onnx_loader *load, clq_names *makers) {
    const Onnx__GraphProto *proto = load->proto;
    for (size_t i = 0; i < proto->n_node; i++) {
        for (size_t k = 0; k < proto->node[i]->n_output; k++) {
            const char *name = proto->node[i]->output[k];
            const int other = name[0] ? clq_names_find(makers, name) : -1;
            if (other >= 0) {
                return fail_twice(load, name, other, (int)i);
            }
            if (name[0]) {
                CLQ_TRY(clq_names_set(makers, name, (int)i));
            }
        }
    }
    return CLQ_OK;
}

static clq_status count_use(onnx_loader *load, const char *name, int *names) {
    if (name[0] == '\0') {
        return CLQ_OK;
    }
    int index = clq_names_find(&load->uses, name);
    if (index < 0) {
        index = (*names)++;
        CLQ_TRY(clq_names_set(&load->uses, name, index));
    }
    load->use_count[index]++;
    return CLQ_OK;
}

typedef struct walk {
    onnx_loader *load;
    clq_names makers; /* value name -> node */
    int *stack;       /* (n_node): nodes to be looked at */
    size_t *next;     /* (n_node): the input of a node on the stack that is followed next */
    int depth;
    bool *needed, *placed, *open; /* (n_node) */
    int names;                    /* that are read */
} walk;

/* A node that an output depends on, met for the first time. */
static void need(walk *w, const char *name) {
    const int maker = name[0] ? clq_names_find(&w->makers, name) : -1;
    if (maker >= 0 && !w->needed[maker]) {
        w->needed[maker] = true;
        w->stack[w->depth++] = maker;
    }
}

/* From the outputs back: which nodes they depend on, and who reads what among them. */
static clq_status find_needed(walk *w) {
    const Onnx__GraphProto *proto = w->load->proto;
    for (size_t i = 0; i < proto->n_output; i++) {
        CLQ_TRY(count_use(w->load, proto->output[i]->name, &w->names));
        need(w, proto->output[i]->name);
    }
    while (w->depth > 0) {
        const Onnx__NodeProto *node = proto->node[w->stack[--w->depth]];
        for (size_t k = 0; k < node->n_input; k++) {
            CLQ_TRY(count_use(w->load, node->input[k], &w->names));
            need(w, node->input[k]);
        }
    }
    return CLQ_OK;
}

/* ---- order ---- */

static void append_place(const onnx_loader *load, int index, clq_text *text) {
    const onnx_node node = onnx_node_at(load, index);
    char place[ONNX_PLACE_SIZE];
    clq_text_printf(text, "%s", onnx_place(&node, place, sizeof place));
}

/* The nodes on the stack from `first` on read one another. */
static clq_status fail_circle(const walk *w, int first) {
    clq_text text = {0};
    int at = 0, named = 0;
    while (w->stack[at] != first) {
        at++;
    }
    const int count = w->depth - at;
    for (; at < w->depth && named < MAX_NAMED; at++, named++) {
        clq_text_puts(&text, named == 0 ? "" : named == 1 ? " reads " : ", which reads ");
        append_place(w->load, w->stack[at], &text);
    }
    if (count > named) {
        clq_text_printf(&text, ", which reads %d more, the last of which", count - named);
    }
    clq_text_puts(&text, count == 1      ? " reads its own result"
                         : count > named ? " reads the first"
                                         : ", which reads the first");
    clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        status = clq_fail(CLQ_BAD_DATA, "nodes in a circle: %s", text.data);
    }
    clq_text_free(&text);
    return status;
}

/* Puts a node behind those whose results it reads. */
static clq_status place(walk *w, int index) {
    const Onnx__GraphProto *proto = w->load->proto;
    w->stack[w->depth++] = index;
    w->open[index] = true;
    while (w->depth > 0) {
        const int top = w->stack[w->depth - 1];
        const Onnx__NodeProto *node = proto->node[top];
        if (w->next[top] == node->n_input) {
            w->load->order[w->load->order_count++] = top;
            w->open[top] = false;
            w->placed[top] = true;
            w->depth--;
            continue;
        }
        const char *name = node->input[w->next[top]++];
        const int maker = name[0] ? clq_names_find(&w->makers, name) : -1;
        if (maker < 0 || w->placed[maker]) {
            continue;
        }
        if (w->open[maker]) {
            return fail_circle(w, maker);
        }
        w->stack[w->depth++] = maker;
        w->open[maker] = true;
    }
    return CLQ_OK;
}

static clq_status walk_nodes(walk *w) {
    const size_t count = w->load->proto->n_node;
    void *memory;
    CLQ_TRY(clq_arena_take(&w->load->arena, count, sizeof *w->stack, &memory));
    w->stack = memory;
    CLQ_TRY(clq_arena_take(&w->load->arena, count, sizeof *w->next, &memory));
    w->next = memory;
    CLQ_TRY(clq_arena_take(&w->load->arena, 3 * count, sizeof(bool), &memory));
    w->needed = memory;
    w->placed = w->needed + count;
    w->open = w->placed + count;
    CLQ_TRY(find_makers(w->load, &w->makers));
    CLQ_TRY(find_needed(w));
    for (size_t i = 0; i < count; i++) { /* a file in order keeps it */
        if (w->needed[i] && !w->placed[i]) {
            CLQ_TRY(place(w, (int)i));
        }
    }
    return CLQ_OK;
}

clq_status onnx_order_nodes(onnx_loader *load) {
    walk w = {.load = load};
    clq_status status = walk_nodes(&w);
    clq_names_free(&w.makers);
    return status;
}

/* ---- operators ---- */

typedef struct unknown {
    const Onnx__NodeProto *node; /* the first of its kind */
    const char *pattern;         /* what it is part of; NULL: it stands for itself */
    int first, count;
} unknown;

typedef struct findings {
    unknown kinds[MAX_KINDS];
    int count, more; /* kinds; nodes of others */
    int nodes;       /* in all */
    int ends;        /* of them, Softmax whose result is an output */
    clq_names constants;
    clq_names makers; /* of Sigmoid, HardSigmoid and Softmax: value name -> node */
} findings;

static const char *domain_of(const Onnx__NodeProto *node) {
    return node->domain && strcmp(node->domain, "ai.onnx") != 0 ? node->domain : "";
}

static bool is_softmax(const Onnx__NodeProto *node) {
    return !domain_of(node)[0] &&
           (strcmp(node->op_type, "Softmax") == 0 || strcmp(node->op_type, "LogSoftmax") == 0);
}

/* Of the nodes before it, the one that makes a value; NULL: none that is kept. */
static const Onnx__NodeProto *maker_of(const onnx_loader *load, const findings *f,
                                       const char *name) {
    const int maker = clq_names_find(&f->makers, name);
    return maker >= 0 ? load->proto->node[maker] : NULL;
}

/* The activation that exporters write as a product; NULL: another operator. */
static const char *find_pattern(const onnx_loader *load, const findings *f,
                                const Onnx__NodeProto *node) {
    if (strcmp(node->op_type, "Mul") != 0 || domain_of(node)[0] || node->n_input != 2) {
        return NULL;
    }
    for (int k = 0; k < 2; k++) {
        const Onnx__NodeProto *gate = maker_of(load, f, node->input[k]);
        if (gate && !is_softmax(gate) && gate->n_input > 0) {
            const bool own = strcmp(gate->input[0], node->input[1 - k]) == 0;
            const bool hard = strcmp(gate->op_type, "HardSigmoid") == 0;
            return !own   ? "x * sigmoid(y) (a gate, as in squeeze-and-excitation)"
                   : hard ? "x * hardsigmoid(x) (Hardswish)"
                          : "x * sigmoid(x) (SiLU)";
        }
    }
    return NULL;
}

static void add_unknown(const onnx_loader *load, int index, findings *f) {
    const Onnx__NodeProto *node = load->proto->node[index];
    const char *pattern = find_pattern(load, f, node);
    f->nodes++;
    for (int i = 0; i < f->count; i++) {
        const unknown *kind = &f->kinds[i];
        if (strcmp(kind->node->op_type, node->op_type) == 0 && kind->pattern == pattern &&
            strcmp(domain_of(kind->node), domain_of(node)) == 0) {
            f->kinds[i].count++;
            return;
        }
    }
    if (f->count < MAX_KINDS) {
        f->kinds[f->count++] = (unknown){node, pattern, index, 1};
    } else {
        f->more++;
    }
}

#define INSTEAD                                                                                    \
    "by quantize_static(..., quant_format=QuantFormat.QDQ) of onnxruntime.quantization, or give "  \
    "`clquant ptq` the FP32 model"
static const char dynamic[] = "the model is quantized dynamically, which leaves scales open: "
                              "quantize it statically, " INSTEAD;
static const char qoperator[] =
    "the model is quantized in QOperator form: quantize it in QDQ form, " INSTEAD;
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
    if (kind->pattern) {
        clq_text_puts(text, kind->pattern);
    } else {
        clq_text_printf(text, "%.60s%s%.60s%s", domain, domain[0] ? "." : "", kind->node->op_type,
                        !domain[0] && onnx_folds(kind->node->op_type) ? " of activations" : "");
    }
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
        open = open || (!advice && !(is_softmax(kind->node) && f->ends > 0));
    }
    if (open) {
        clq_text_puts(text, "; docs/formats.md (installed in share/doc/clquant/docs) lists those "
                            "that are");
    }
}

/* How to cut the file off before each Softmax whose result is an output. */
static void append_cut(const onnx_loader *load, const findings *f, clq_text *text) {
    const Onnx__GraphProto *proto = load->proto;
    clq_text_puts(text, f->ends < f->nodes ? "; besides, a last Softmax must go"
                                           : "; a last Softmax must go");
    clq_text_puts(text, ": outputs are the logits before it. In Python: "
                        "onnx.utils.extract_model(\"IN.onnx\", \"OUT.onnx\", [");
    for (size_t i = 0, said = 0; i < proto->n_input && said < MAX_NAMED; i++) {
        if (clq_names_find(&f->constants, proto->input[i]->name) < 0) {
            clq_text_printf(text, "%s\"%.60s\"", said++ ? ", " : "", proto->input[i]->name);
        }
    }
    clq_text_puts(text, "], [");
    for (size_t i = 0; i < proto->n_output && i < MAX_NAMED; i++) {
        const char *name = proto->output[i]->name;
        const Onnx__NodeProto *maker = maker_of(load, f, name);
        const bool cut = maker && is_softmax(maker) && maker->n_input > 0;
        clq_text_printf(text, "%s\"%.60s\"", i ? ", " : "", cut ? maker->input[0] : name);
    }
    clq_text_puts(text, "])");
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
    if (f->ends > 0) {
        append_cut(load, f, text);
    }
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
    static const char *const kept[] = {"Sigmoid", "HardSigmoid", "Softmax", "LogSoftmax"};
    for (size_t i = 0; i < load->proto->n_initializer; i++) {
        const char *name = load->proto->initializer[i]->name;
        CLQ_TRY(clq_names_set(&f->constants, name ? name : "", 0));
    }
    for (int i = 0; i < load->order_count; i++) {
        const Onnx__NodeProto *node = load->proto->node[load->order[i]];
        bool constant;
        CLQ_TRY(follow_constants(node, &f->constants, &constant));
        load->has_q |= !constant && strcmp(node->op_type, "QuantizeLinear") == 0;
        load->has_q |= load->keep_codes && strcmp(node->op_type, "DequantizeLinear") == 0;
        for (size_t k = 0; k < sizeof kept / sizeof *kept && !domain_of(node)[0]; k++) {
            if (strcmp(node->op_type, kept[k]) == 0) {
                CLQ_TRY(clq_names_set(&f->makers, node->output[0], load->order[i]));
            }
        }
        if (domain_of(node)[0] || !onnx_knows(node->op_type, constant)) {
            add_unknown(load, load->order[i], f);
        }
    }
    for (size_t i = 0; i < load->proto->n_output; i++) {
        const Onnx__NodeProto *maker = maker_of(load, f, load->proto->output[i]->name);
        f->ends += maker && is_softmax(maker);
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
    clq_names_free(&f.makers);
    clq_text_free(&text);
    return status;
}
