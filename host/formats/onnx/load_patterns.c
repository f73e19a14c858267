/* Functions that exporters write as several nodes become one:
 *
 *   Swish      x sigmoid(x)
 *   HardSwish  x hardsigmoid(x); x clip(x + 3, 0, 6) / 6
 *   Mish       x tanh(softplus(x))
 *   Gelu       x (1 + erf(x / sqrt(2))) / 2; x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
 *   Softsign   x / (1 + |x|)
 *   Softplus   softplus(x), but x where x > 20 or more
 *
 * in any order of their factors. Nodes between that others read too, or that are rounded to codes,
 * stay what they are. */
#include <math.h>
#include <string.h>

#include "formats/onnx/load.h"

enum { MAX_FACTORS = 4, MAX_DEPTH = 8 }; /* of a product; of products in products */

typedef struct patterns {
    onnx_loader *load;
    Onnx__GraphProto *proto; /* the copy */
    clq_names makers;        /* value name -> node */
    clq_names tensors;       /* -> initializer */
    clq_names uses;          /* -> number of readers */
} patterns;

/* ---- looking at nodes ---- */

static int lookup(const clq_names *names, const char *name) {
    return clq_names_find(names, name);
}

/* The node of ONNX's own operators that makes `name`; NULL: none, or another operator than `op`.
 * All but constants read something. */
static const Onnx__NodeProto *maker_of(const patterns *p, const char *name, const char *op) {
    const int index = lookup(&p->makers, name);
    const Onnx__NodeProto *node = index >= 0 ? p->proto->node[index] : NULL;
    const bool own =
        node && (!node->domain || !node->domain[0] || strcmp(node->domain, "ai.onnx") == 0);
    const bool whole =
        own && node->n_output == 1 && (node->n_input > 0 || strcmp(op, "Constant") == 0);
    return whole && strcmp(node->op_type, op) == 0 ? node : NULL;
}

/* The same of a node that only one other reads. */
static const Onnx__NodeProto *inner(const patterns *p, const char *name, const char *op) {
    return lookup(&p->uses, name) == 1 ? maker_of(p, name, op) : NULL;
}

static float attribute_of(const Onnx__NodeProto *node, const char *name, float absent) {
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (strcmp(node->attribute[i]->name, name) == 0) {
            return node->attribute[i]->f;
        }
    }
    return absent;
}

static const Onnx__TensorProto *tensor_of(const patterns *p, const char *name) {
    const int index = lookup(&p->tensors, name);
    const Onnx__NodeProto *node = index < 0 ? maker_of(p, name, "Constant") : NULL;
    if (index >= 0) {
        return p->proto->initializer[index];
    }
    return node && node->n_attribute == 1 && strcmp(node->attribute[0]->name, "value") == 0
               ? node->attribute[0]->t
               : NULL;
}

/* Whether `name` is one number, a float. */
static clq_status scalar_of(const patterns *p, const char *name, bool *is, double *number) {
    const Onnx__TensorProto *tensor = tensor_of(p, name);
    const Onnx__NodeProto *node = maker_of(p, name, "Constant");
    const onnx_constant *constant;
    const float *value;
    *is = node && node->n_attribute == 1 && strcmp(node->attribute[0]->name, "value_float") == 0;
    if (*is) {
        *number = (double)node->attribute[0]->f;
    }
    if (!tensor || !onnx_is_real(tensor->data_type)) {
        return CLQ_OK;
    }
    for (size_t i = 0; i < tensor->n_dims; i++) {
        if (tensor->dims[i] != 1) {
            return CLQ_OK;
        }
    }
    CLQ_TRY(onnx_constant_read(p->load, tensor, name, &constant));
    CLQ_TRY(onnx_constant_floats(&p->load->arena, constant, &value));
    *is = true;
    *number = (double)value[0];
    return CLQ_OK;
}

/* Constants are float32, some rounded to a few digits more. */
static bool is_near(double number, double wanted) {
    return fabs(number - wanted) <= 1e-6 * fabs(wanted);
}

/* ---- products and sums ---- */

/* number * factors[0] * factors[1] ...; count beyond MAX_FACTORS: too many */
typedef struct product {
    double number;
    const char *factors[MAX_FACTORS];
    int count, depth;
} product;

/* What `node`, a Mul or Div by a number, multiplies by. */
static clq_status multiply(const patterns *p, const Onnx__NodeProto *node, product *of);

/* A factor, or the factors of a product that nobody else reads. */
static clq_status multiply_by(const patterns *p, const char *name, product *of) {
    const Onnx__NodeProto *mul = inner(p, name, "Mul"), *div = inner(p, name, "Div");
    double number;
    bool is;
    CLQ_TRY(scalar_of(p, name, &is, &number));
    if (is) {
        of->number *= number;
    } else if ((mul || div) && of->count < MAX_FACTORS) {
        return multiply(p, mul ? mul : div, of);
    } else {
        if (of->count < MAX_FACTORS) {
            of->factors[of->count] = name;
        }
        of->count++;
    }
    return CLQ_OK;
}

static clq_status multiply(const patterns *p, const Onnx__NodeProto *node, product *of) {
    const bool divides = strcmp(node->op_type, "Div") == 0;
    double number;
    bool is = true;
    if (node->n_input != 2 || of->depth == MAX_DEPTH) {
        of->count = MAX_FACTORS + 1;
        return CLQ_OK;
    }
    of->depth++;
    if (divides) {
        CLQ_TRY(scalar_of(p, node->input[1], &is, &number));
    }
    if (!is || of->count > MAX_FACTORS) {
        of->count = MAX_FACTORS + 1;
        return CLQ_OK;
    }
    CLQ_TRY(multiply_by(p, node->input[0], of));
    if (divides) {
        of->number /= number;
    } else {
        CLQ_TRY(multiply_by(p, node->input[1], of));
    }
    of->depth--;
    return CLQ_OK;
}

/* `name` as a product, itself one where it is none. */
static clq_status product_of(const patterns *p, const char *name, product *of) {
    *of = (product){.number = 1};
    return multiply_by(p, name, of);
}

/* *other: what is added to `number` to make `name`; NULL: nothing is. */
static clq_status added_to(const patterns *p, const char *name, double number, const char **other) {
    const Onnx__NodeProto *node = inner(p, name, "Add");
    *other = NULL;
    for (int k = 0; node && node->n_input == 2 && k < 2; k++) {
        double found;
        bool is;
        CLQ_TRY(scalar_of(p, node->input[k], &is, &found));
        if (is && is_near(found, number)) {
            *other = node->input[1 - k];
        }
    }
    return CLQ_OK;
}

static bool is_same(const char *a, const char *b) {
    return a && b && strcmp(a, b) == 0;
}

/* ---- the gates: what x is multiplied by ---- */

/* clip(x + 3, 0, 6) */
static clq_status is_six(const patterns *p, const char *name, const char *x, bool *is) {
    const Onnx__NodeProto *clip = inner(p, name, "Clip");
    const char *shifted;
    double bounds[2];
    bool found = true;
    *is = false;
    if (!clip) {
        return CLQ_OK;
    }
    bounds[0] = (double)attribute_of(clip, "min", -1);
    bounds[1] = (double)attribute_of(clip, "max", -1);
    for (size_t k = 0; k < 2 && clip->n_input == 3 && found; k++) {
        CLQ_TRY(scalar_of(p, clip->input[1 + k], &found, &bounds[k]));
    }
    CLQ_TRY(added_to(p, clip->input[0], 3, &shifted));
    *is = found && bounds[0] == 0 && bounds[1] == 6 && is_same(shifted, x);
    return CLQ_OK;
}

/* x^3: a power, or a product. */
static clq_status is_cube(const patterns *p, const product *of, const char *x, bool *is) {
    const Onnx__NodeProto *pow = of->count == 1 ? inner(p, of->factors[0], "Pow") : NULL;
    double exponent = 0;
    bool found = false;
    if (pow && pow->n_input == 2) {
        CLQ_TRY(scalar_of(p, pow->input[1], &found, &exponent));
    }
    *is = of->count == 3 && is_same(of->factors[0], x) && is_same(of->factors[1], x) &&
          is_same(of->factors[2], x);
    *is = *is || (found && exponent == 3 && is_same(pow->input[0], x));
    return CLQ_OK;
}

/* sqrt(2 / pi) (x + 0.044715 x^3) */
static clq_status is_cubic(const patterns *p, const char *name, const char *x, bool *is) {
    product outer, cube;
    *is = false;
    CLQ_TRY(product_of(p, name, &outer));
    const Onnx__NodeProto *sum = outer.count == 1 ? inner(p, outer.factors[0], "Add") : NULL;
    if (!sum || sum->n_input != 2 || !is_near(outer.number, 0.79788456080286536)) {
        return CLQ_OK;
    }
    for (int k = 0; k < 2 && !*is; k++) {
        if (is_same(sum->input[k], x)) {
            CLQ_TRY(product_of(p, sum->input[1 - k], &cube));
            CLQ_TRY(is_cube(p, &cube, x, is));
            *is = *is && is_near(cube.number, 0.044715);
        }
    }
    return CLQ_OK;
}

/* 1 + erf(x / sqrt(2)), or 1 + tanh(...); *approximate: which; NULL: neither. */
static clq_status find_gelu(const patterns *p, const char *name, const char *x,
                            const char **approximate) {
    const char *bell;
    product inside;
    bool is;
    *approximate = NULL;
    CLQ_TRY(added_to(p, name, 1, &bell));
    const Onnx__NodeProto *erf = bell ? inner(p, bell, "Erf") : NULL;
    const Onnx__NodeProto *tanh = bell ? inner(p, bell, "Tanh") : NULL;
    if (erf) {
        CLQ_TRY(product_of(p, erf->input[0], &inside));
        if (inside.count == 1 && is_same(inside.factors[0], x) &&
            is_near(inside.number, 0.70710678118654752)) {
            *approximate = "none";
        }
    } else if (tanh) {
        CLQ_TRY(is_cubic(p, tanh->input[0], x, &is));
        *approximate = is ? "tanh" : NULL;
    }
    return CLQ_OK;
}

typedef struct match {
    const char *op; /* NULL: none */
    const char *x, *approximate;
} match;

/* number * x * gate */
static clq_status find_gate(const patterns *p, double number, const char *x, const char *gate,
                            match *found) {
    const Onnx__NodeProto *sigmoid = inner(p, gate, "Sigmoid"), *tanh = inner(p, gate, "Tanh");
    const Onnx__NodeProto *hard = inner(p, gate, "HardSigmoid");
    const Onnx__NodeProto *softplus = tanh ? inner(p, tanh->input[0], "Softplus") : NULL;
    bool six = false;
    *found = (match){.x = x};
    if (number == 1 && sigmoid && is_same(sigmoid->input[0], x)) {
        found->op = "Swish";
    } else if (number == 1 && softplus && is_same(softplus->input[0], x)) {
        found->op = "Mish";
    } else if (number == 1 && hard && is_same(hard->input[0], x)) {
        const bool sixth = is_near((double)attribute_of(hard, "alpha", 0.2f), 1.0 / 6) &&
                           attribute_of(hard, "beta", 0.5f) == 0.5f;
        found->op = sixth ? "HardSwish" : NULL;
    } else if (is_near(number, 1.0 / 6)) {
        CLQ_TRY(is_six(p, gate, x, &six));
        found->op = six ? "HardSwish" : NULL;
    } else if (is_near(number, 0.5)) {
        CLQ_TRY(find_gelu(p, gate, x, &found->approximate));
        found->op = found->approximate ? "Gelu" : NULL;
    }
    return CLQ_OK;
}

/* ---- putting one node in the place of several ---- */

/* Files of clquant's own name their nodes "act", "act/Mul", ...: the whole is "act". */
static clq_status name_of(const patterns *p, const Onnx__NodeProto *last, char **name) {
    CLQ_TRY(clq_arena_format(&p->load->arena, name, "%s", last->name ? last->name : ""));
    char *slash = p->load->own ? strrchr(*name, '/') : NULL;
    if (slash) {
        *slash = '\0';
    }
    return CLQ_OK;
}

static clq_status replace(patterns *p, size_t index, const match *found) {
    Onnx__NodeProto *last = p->proto->node[index];
    clq_arena *arena = &p->load->arena;
    void *memory;
    CLQ_TRY(clq_arena_take(arena, 1, sizeof(Onnx__NodeProto), &memory));
    Onnx__NodeProto *node = memory;
    onnx__node_proto__init(node);
    CLQ_TRY(name_of(p, last, &node->name));
    CLQ_TRY(clq_arena_format(arena, &node->op_type, "%s", found->op));
    CLQ_TRY(clq_arena_take(arena, 1, sizeof(char *), &memory));
    node->input = memory;
    node->n_input = 1;
    CLQ_TRY(clq_arena_format(arena, &node->input[0], "%s", found->x));
    node->output = last->output;
    node->n_output = 1;
    if (found->approximate) {
        Onnx__AttributeProto *attribute;
        CLQ_TRY(clq_arena_take(arena, 1, sizeof *attribute, &memory));
        attribute = memory;
        onnx__attribute_proto__init(attribute);
        CLQ_TRY(clq_arena_format(arena, &attribute->name, "approximate"));
        attribute->has_type = true;
        attribute->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        attribute->has_s = true;
        attribute->s.len = strlen(found->approximate);
        CLQ_TRY(clq_arena_format(arena, (char **)&attribute->s.data, "%s", found->approximate));
        CLQ_TRY(clq_arena_take(arena, 1, sizeof attribute, &memory));
        node->attribute = memory;
        node->attribute[0] = attribute;
        node->n_attribute = 1;
    }
    p->proto->node[index] = node;
    return CLQ_OK;
}

static clq_status find_product(const patterns *p, const Onnx__NodeProto *node, match *found) {
    product of = {.number = 1};
    CLQ_TRY(multiply(p, node, &of));
    for (int k = 0; of.count == 2 && !found->op && k < 2; k++) {
        CLQ_TRY(find_gate(p, of.number, of.factors[k], of.factors[1 - k], found));
    }
    return CLQ_OK;
}

static clq_status find_softsign(const patterns *p, const Onnx__NodeProto *div, match *found) {
    const char *size;
    if (div->n_input == 2) {
        CLQ_TRY(added_to(p, div->input[1], 1, &size));
        const Onnx__NodeProto *abs = size ? inner(p, size, "Abs") : NULL;
        if (abs && is_same(abs->input[0], div->input[0])) {
            *found = (match){.op = "Softsign", .x = div->input[0]};
        }
    }
    return CLQ_OK;
}

/* From 20 on, softplus(x) and x are the same float. */
static clq_status find_softplus(const patterns *p, const Onnx__NodeProto *where, match *found) {
    const bool three = where->n_input == 3;
    const Onnx__NodeProto *greater = three ? inner(p, where->input[0], "Greater") : NULL;
    const Onnx__NodeProto *softplus = three ? inner(p, where->input[2], "Softplus") : NULL;
    double threshold = 0;
    bool is;
    if (greater && softplus && greater->n_input == 2) {
        CLQ_TRY(scalar_of(p, greater->input[1], &is, &threshold));
        const char *x = where->input[1];
        if (is && threshold >= 20 && is_same(greater->input[0], x) &&
            is_same(softplus->input[0], x)) {
            *found = (match){.op = "Softplus", .x = x};
        }
    }
    return CLQ_OK;
}

static clq_status join_node(patterns *p, size_t index) {
    const Onnx__NodeProto *node = p->proto->node[index];
    const char *output = node->n_output == 1 ? node->output[0] : "";
    const bool mul = maker_of(p, output, "Mul"), div = maker_of(p, output, "Div");
    match found = {0};
    if (mul || div) {
        CLQ_TRY(find_product(p, node, &found));
    }
    if (div && !found.op) {
        CLQ_TRY(find_softsign(p, node, &found));
    }
    if (maker_of(p, output, "Where")) {
        CLQ_TRY(find_softplus(p, node, &found));
    }
    return found.op ? replace(p, index, &found) : CLQ_OK;
}

/* ---- the walk ---- */

static clq_status count_uses(patterns *p) {
    const Onnx__GraphProto *proto = p->proto;
    for (size_t i = 0; i < proto->n_initializer; i++) {
        if (proto->initializer[i]->name) {
            CLQ_TRY(clq_names_set(&p->tensors, proto->initializer[i]->name, (int)i));
        }
    }
    for (size_t i = 0; i < proto->n_node; i++) {
        const Onnx__NodeProto *node = proto->node[i];
        for (size_t k = 0; k < node->n_input; k++) {
            const int uses = lookup(&p->uses, node->input[k]);
            CLQ_TRY(clq_names_set(&p->uses, node->input[k], uses < 0 ? 1 : uses + 1));
        }
        for (size_t k = 0; k < node->n_output; k++) {
            CLQ_TRY(clq_names_set(&p->makers, node->output[k], (int)i));
        }
    }
    for (size_t i = 0; i < proto->n_output; i++) { /* an output counts for more than one */
        CLQ_TRY(clq_names_set(&p->uses, proto->output[i]->name, 2));
    }
    return CLQ_OK;
}

clq_status onnx_join_patterns(onnx_loader *load, const Onnx__GraphProto **graph) {
    patterns p = {.load = load};
    void *copy, *nodes;
    CLQ_TRY(clq_arena_copy(&load->arena, *graph, sizeof **graph, &copy));
    CLQ_TRY(clq_arena_take(&load->arena, (*graph)->n_node, sizeof(Onnx__NodeProto *), &nodes));
    p.proto = copy;
    p.proto->node = nodes;
    for (size_t i = 0; i < p.proto->n_node; i++) {
        p.proto->node[i] = (*graph)->node[i];
    }
    clq_status status = count_uses(&p);
    for (size_t i = 0; status == CLQ_OK && i < p.proto->n_node; i++) {
        status = join_node(&p, i);
    }
    *graph = p.proto;
    clq_names_free(&p.makers);
    clq_names_free(&p.tensors);
    clq_names_free(&p.uses);
    return status;
}
