/* Calculating with constants: element by element, by numpy's rules of
 * broadcasting, on floats, 64-bit and 32-bit integers and truth values. The
 * batch, where the file leaves it open, may be moved around but not be
 * calculated with, but for what leaves it as it is. */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "formats/onnx/operators.h"

enum { MOST_INPUTS = 3 };

/* ---- elements ---- */

typedef struct number {
    bool real;
    float f;
    int64_t i; /* integers and truth values */
} number;

static bool has_numbers(const onnx_constant *constant) {
    return constant->scale || constant->type == ONNX_FLOAT || constant->type == ONNX_INT64 ||
           constant->type == ONNX_INT32 || constant->type == ONNX_BOOL ||
           constant->type == ONNX_INT8 || constant->type == ONNX_UINT8;
}

static number number_at(const onnx_constant *constant, const float *floats, size_t i) {
    number n = {.real = floats != NULL};
    if (floats) {
        n.f = floats[i];
    } else if (constant->type == ONNX_INT64) {
        n.i = ((const int64_t *)constant->data)[i];
    } else {
        n.i = onnx_code(constant, i);
    }
    return n;
}

/* False when the number does not fit the type. */
static bool store(onnx_type type, number n, void *data, size_t i) {
    if (type == ONNX_FLOAT) {
        ((float *)data)[i] = n.real ? n.f : (float)n.i;
    } else if (type == ONNX_INT64) {
        ((int64_t *)data)[i] = n.i;
    } else if (type == ONNX_BOOL) {
        ((uint8_t *)data)[i] = n.i != 0;
    } else if (type == ONNX_INT32) {
        ((int32_t *)data)[i] = (int32_t)n.i;
        return n.i >= INT32_MIN && n.i <= INT32_MAX;
    } else {
        int32_t lowest, highest;
        ((uint8_t *)data)[i] = (uint8_t)n.i;
        return onnx_code_range(type, &lowest, &highest) && n.i >= lowest && n.i <= highest;
    }
    return true;
}

/* ---- broadcasting ---- */

typedef struct spread {
    int rank;
    int64_t dim[ONNX_MAX_RANK];
    int count; /* of inputs */
    const onnx_constant *in[MOST_INPUTS];
    const float *floats[MOST_INPUTS]; /* NULL: of another type */
    size_t step[MOST_INPUTS][ONNX_MAX_RANK];
    size_t index[MOST_INPUTS]; /* of the element that comes next */
    int64_t at[ONNX_MAX_RANK];
} spread;

static clq_status spread_inputs(onnx_loader *load, onnx_node *node, int count, spread *s) {
    *s = (spread){.count = count};
    for (int n = 0; n < count; n++) {
        s->in[n] = onnx_constant_in(load, node, (size_t)n);
        if (!has_numbers(s->in[n])) {
            char name[32];
            return onnx_fail(node, "of constants, element type %s is not supported",
                             onnx_type_name(s->in[n]->type, name, sizeof name));
        }
        if (s->in[n]->scale || s->in[n]->type == ONNX_FLOAT) {
            CLQ_TRY(onnx_constant_floats(&load->arena, s->in[n], &s->floats[n]));
        }
        s->rank = s->in[n]->rank > s->rank ? s->in[n]->rank : s->rank;
    }
    for (int d = 0; d < s->rank; d++) {
        s->dim[d] = 1;
    }
    for (int n = 0; n < count; n++) {
        const onnx_constant *in = s->in[n];
        size_t next = 1;
        for (int k = in->rank - 1; k >= 0; k--) {
            const int d = k + s->rank - in->rank;
            if (in->dim[k] != 1 && s->dim[d] != 1 && in->dim[k] != s->dim[d]) {
                char a[96], b[96];
                onnx_dims_text(s->in[0]->rank, s->in[0]->dim, a, sizeof a);
                onnx_dims_text(in->rank, in->dim, b, sizeof b);
                return onnx_fail(node, "shapes %s and %s do not go together", a, b);
            }
            s->dim[d] = in->dim[k] != 1 ? in->dim[k] : s->dim[d];
            s->step[n][d] = in->dim[k] == 1 ? 0 : next;
            next *= (size_t)in->dim[k];
        }
    }
    return CLQ_OK;
}

/* The next elements, in the order of the result. */
static void spread_next(spread *s, number *numbers) {
    for (int n = 0; n < s->count; n++) {
        numbers[n] = number_at(s->in[n], s->floats[n], s->index[n]);
    }
    for (int d = s->rank - 1; d >= 0; d--) {
        const bool carries = ++s->at[d] == s->dim[d];
        for (int n = 0; n < s->count; n++) {
            s->index[n] += s->step[n][d];
            s->index[n] -= carries ? s->step[n][d] * (size_t)s->dim[d] : 0;
        }
        if (!carries) {
            return;
        }
        s->at[d] = 0;
    }
}

/* ---- operations ---- */

typedef enum operation {
    ADD,
    SUB,
    MUL,
    DIV,
    MIN,
    MAX,
    POW,
    MOD,
    EQUAL,
    GREATER,
    LESS,
    NOT_LESS,
    NOT_GREATER,
    AND,
    OR,
    XOR,
    UNKNOWN
} operation;

static operation find_operation(const char *op) {
    static const char *const names[UNKNOWN] = {"Add",         "Sub",     "Mul",  "Div",
                                               "Min",         "Max",     "Pow",  "Mod",
                                               "Equal",       "Greater", "Less", "GreaterOrEqual",
                                               "LessOrEqual", "And",     "Or",   "Xor"};
    int k = 0;
    while (k < UNKNOWN && strcmp(names[k], op) != 0) {
        k++;
    }
    return (operation)k;
}

/* False where there is no result. */
static bool calculate_reals(operation o, float a, float b, number *out) {
    switch (o) {
    case ADD:
        out->f = a + b;
        return true;
    case SUB:
        out->f = a - b;
        return true;
    case MUL:
        out->f = a * b;
        return true;
    case DIV:
        out->f = a / b;
        return true;
    case MIN:
        out->f = fminf(a, b);
        return true;
    case MAX:
        out->f = fmaxf(a, b);
        return true;
    case POW:
        out->f = powf(a, b);
        return true;
    case MOD:
        out->f = fmodf(a, b);
        return true;
    default:
        return false;
    }
}

static bool power(int64_t a, int64_t b, int64_t *out) {
    *out = 1;
    if (b < 0 || b > 64) {
        return false;
    }
    for (; b > 0; b--) {
        if (!clq_mul_i64(*out, a, out)) {
            return false;
        }
    }
    return true;
}

static bool calculate_integers(operation o, int64_t a, int64_t b, int64_t *out) {
    switch (o) {
    case ADD:
        return clq_add_i64(a, b, out);
    case SUB:
        return clq_sub_i64(a, b, out);
    case MUL:
        return clq_mul_i64(a, b, out);
    case MIN:
        *out = a < b ? a : b;
        return true;
    case MAX:
        *out = a > b ? a : b;
        return true;
    case POW:
        return power(a, b, out);
    case DIV:
    case MOD:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return false;
        }
        *out = o == DIV ? a / b : a % b;
        *out += o == MOD && *out != 0 && (*out < 0) != (b < 0) ? b : 0; /* as Python's */
        return true;
    default:
        return false;
    }
}

static bool compare(operation o, const number *a, const number *b) {
    const bool less = a->real ? a->f < b->f : a->i < b->i;
    const bool more = a->real ? a->f > b->f : a->i > b->i;
    const bool equal = a->real ? a->f == b->f : a->i == b->i;
    switch (o) {
    case EQUAL:
        return equal;
    case GREATER:
        return more;
    case LESS:
        return less;
    case NOT_LESS:
        return more || equal;
    case NOT_GREATER:
        return less || equal;
    case AND:
        return a->i && b->i;
    case OR:
        return a->i || b->i;
    default:
        return !a->i != !b->i;
    }
}

/* What leaves an open batch as it is; the result is the other operand then. */
static bool keeps_batch(operation o, int64_t a, int64_t b) {
    return (a == ONNX_BATCH && b == 1 && (o == MUL || o == DIV)) ||
           (b == ONNX_BATCH && a == 1 && o == MUL) ||
           (a == ONNX_BATCH && b == 0 && (o == ADD || o == SUB)) ||
           (b == ONNX_BATCH && a == 0 && o == ADD);
}

static clq_status calculate(const onnx_node *node, operation o, const number *in, number *out) {
    const number *a = &in[0], *b = &in[1];
    *out = (number){.real = a->real && o < EQUAL};
    if (a->real != b->real || (a->real && o >= AND)) {
        return onnx_fail(node, "of constants, operands must be of one type");
    }
    if (o >= EQUAL) {
        out->i = compare(o, a, b);
        return CLQ_OK;
    }
    if (!a->real && (a->i == ONNX_BATCH || b->i == ONNX_BATCH)) {
        if (!keeps_batch(o, a->i, b->i)) {
            return onnx_fail(node,
                             "calculates with the batch, which is open; export with a fixed one");
        }
        out->i = ONNX_BATCH;
        return CLQ_OK;
    }
    const bool known =
        a->real ? calculate_reals(o, a->f, b->f, out) : calculate_integers(o, a->i, b->i, &out->i);
    return known ? CLQ_OK : onnx_fail(node, "the result is out of range");
}

static clq_status fold_binary(onnx_loader *load, onnx_node *node) {
    const operation o = find_operation(node->op);
    const size_t inputs = onnx_input_count(node);
    spread s;
    onnx_constant *out;
    void *data;
    int64_t fmod = 0;
    if (o == MOD) {
        CLQ_TRY(onnx_attribute_int(node, "fmod", 0, 1, &fmod));
    }
    if ((o == MIN || o == MAX) && inputs == 1) {
        return onnx_bind_constant(load, node, onnx_constant_in(load, node, 0));
    }
    CLQ_TRY(onnx_want_inputs(node, 2, 2));
    CLQ_TRY(spread_inputs(load, node, 2, &s));
    const onnx_type type = o >= EQUAL ? ONNX_BOOL : s.floats[0] ? ONNX_FLOAT : s.in[0]->type;
    CLQ_TRY(onnx_fold_make(load, node, type, s.rank, s.dim, &out, &data));
    for (size_t i = 0; i < out->count; i++) {
        number in[MOST_INPUTS], result;
        spread_next(&s, in);
        CLQ_TRY(calculate(node, o, in, &result));
        if (!store(type, result, data, i)) {
            return onnx_fail(node, "the result is out of range");
        }
    }
    return onnx_bind_constant(load, node, out);
}

static clq_status fold_where(onnx_loader *load, onnx_node *node) {
    spread s;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 3, 3));
    CLQ_TRY(spread_inputs(load, node, 3, &s));
    const onnx_type type = s.floats[1] ? ONNX_FLOAT : s.in[1]->type;
    if (s.in[0]->type != ONNX_BOOL || !s.floats[1] != !s.floats[2] ||
        (!s.floats[1] && s.in[1]->type != s.in[2]->type)) {
        return onnx_fail(node, "must have a truth value and two operands of one type");
    }
    CLQ_TRY(onnx_fold_make(load, node, type, s.rank, s.dim, &out, &data));
    for (size_t i = 0; i < out->count; i++) {
        number in[MOST_INPUTS];
        spread_next(&s, in);
        (void)store(type, in[in[0].i ? 1 : 2], data, i); /* it is of that type */
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- one operand ---- */

static bool calculate_one(const char *op, number x, number *out) {
    static const struct {
        const char *op;
        float (*function)(float);
    } functions[] = {{"Sqrt", sqrtf}, {"Exp", expf},    {"Log", logf}, {"Floor", floorf},
                     {"Ceil", ceilf}, {"Round", rintf}, {"Abs", fabsf}};
    *out = x;
    if (strcmp(op, "Not") == 0) {
        out->i = !x.i;
        return !x.real;
    }
    if (strcmp(op, "Neg") == 0) {
        out->f = -x.f;
        return x.real || clq_sub_i64(0, x.i, &out->i);
    }
    if (strcmp(op, "Reciprocal") == 0) {
        out->f = 1 / x.f;
        return x.real;
    }
    if (strcmp(op, "Abs") == 0 && !x.real) {
        return x.i >= 0 || clq_sub_i64(0, x.i, &out->i);
    }
    for (size_t k = 0; x.real && k < sizeof functions / sizeof *functions; k++) {
        if (strcmp(op, functions[k].op) == 0) {
            out->f = functions[k].function(x.f);
            return true;
        }
    }
    return false;
}

static clq_status fold_unary(onnx_loader *load, onnx_node *node) {
    spread s;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(spread_inputs(load, node, 1, &s));
    const onnx_type type = s.floats[0] ? ONNX_FLOAT : s.in[0]->type;
    CLQ_TRY(onnx_fold_make(load, node, type, s.rank, s.dim, &out, &data));
    for (size_t i = 0; i < out->count; i++) {
        number in[MOST_INPUTS], result;
        spread_next(&s, in);
        if ((!in[0].real && in[0].i == ONNX_BATCH) || !calculate_one(node->op, in[0], &result) ||
            !store(type, result, data, i)) {
            return onnx_fail(node, "cannot be computed of these constants");
        }
    }
    return onnx_bind_constant(load, node, out);
}

static clq_status fold_cast(onnx_loader *load, onnx_node *node) {
    int64_t to = 0;
    spread s;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 1, 1));
    CLQ_TRY(onnx_attribute_int(node, "to", 0, INT_MAX, &to));
    onnx_attribute_ignore(node, "saturate");
    const onnx_constant *from = onnx_constant_in(load, node, 0);
    if (onnx_is_real(to)) { /* all floats are read as float32 */
        onnx_note_type(load, to);
        to = ONNX_FLOAT;
    }
    const bool real = from->scale || from->type == ONNX_FLOAT;
    if (real ? to == ONNX_FLOAT : to == (int64_t)from->type) {
        return onnx_fold_identity(load, node);
    }
    const bool known = to == ONNX_INT64 || to == ONNX_INT32 || to == ONNX_FLOAT || to == ONNX_BOOL;
    if (!known || !has_numbers(from)) {
        char from_name[32], to_name[32];
        return onnx_fail(node, "casts constants from %s to %s, which is not supported",
                         onnx_type_name(from->type, from_name, sizeof from_name),
                         onnx_type_name(to, to_name, sizeof to_name));
    }
    CLQ_TRY(spread_inputs(load, node, 1, &s));
    CLQ_TRY(onnx_fold_make(load, node, (onnx_type)to, from->rank, from->dim, &out, &data));
    for (size_t i = 0; i < out->count; i++) {
        number x;
        spread_next(&s, &x);
        if (x.real && to != ONNX_FLOAT) {
            if (!(fabsf(x.f) < 9.2e18f)) {
                return onnx_fail(node, "%g does not fit 64 bits", (double)x.f);
            }
            x = (number){.i = to == ONNX_BOOL ? x.f != 0 : (int64_t)x.f};
        }
        if (!store((onnx_type)to, x, data, i)) {
            return onnx_fail(node, "%lld does not fit 32 bits", (long long)x.i);
        }
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- lists ---- */

static clq_status fold_range(onnx_loader *load, onnx_node *node) {
    spread s;
    number in[MOST_INPUTS];
    onnx_constant *out;
    void *data;
    int64_t count = 0;
    CLQ_TRY(onnx_want_inputs(node, 3, 3));
    CLQ_TRY(spread_inputs(load, node, 3, &s));
    const onnx_type type = s.floats[0] ? ONNX_FLOAT : s.in[0]->type;
    for (int n = 0; n < 3; n++) {
        if (s.in[n]->count != 1 || !s.floats[n] != !s.floats[0]) {
            return onnx_fail(node, "start, limit and delta must be one number each, of one type");
        }
    }
    spread_next(&s, in);
    const bool real = in[0].real;
    const double start = real ? (double)in[0].f : (double)in[0].i;
    const double delta = real ? (double)in[2].f : (double)in[2].i;
    const double steps = ceil(((real ? (double)in[1].f : (double)in[1].i) - start) / delta);
    if ((!real && (in[0].i == ONNX_BATCH || in[1].i == ONNX_BATCH)) ||
        !(steps <= ONNX_MAX_FOLDED)) {
        return onnx_fail(node, "makes a list of an unknown or too large length");
    }
    count = steps > 0 ? (int64_t)steps : 0;
    CLQ_TRY(onnx_fold_make(load, node, type, 1, &count, &out, &data));
    for (int64_t i = 0; i < count; i++) {
        const number x = {.real = real,
                          .f = real ? in[0].f + (float)i * in[2].f : 0,
                          .i = real ? 0 : in[0].i + i * in[2].i};
        if (!store(type, x, data, (size_t)i)) {
            return onnx_fail(node, "the result is out of range");
        }
    }
    return onnx_bind_constant(load, node, out);
}

/* ---- reductions ---- */

static operation reduction(const char *op) {
    return strcmp(op, "ReduceProd") == 0  ? MUL
           : strcmp(op, "ReduceMax") == 0 ? MAX
           : strcmp(op, "ReduceMin") == 0 ? MIN
                                          : ADD; /* of ReduceMean too */
}

static clq_status fold_reduce(onnx_loader *load, onnx_node *node) {
    const int64_t *axes;
    size_t count = 0;
    int64_t keepdims = 1, noop = 0, dim[ONNX_MAX_RANK], kept[ONNX_MAX_RANK];
    size_t step[ONNX_MAX_RANK] = {0}, at[ONNX_MAX_RANK] = {0}, next = 1, to = 0;
    unsigned reduced = 0;
    int rank = 0;
    spread s;
    onnx_constant *out;
    void *data;
    CLQ_TRY(onnx_want_inputs(node, 1, 2));
    CLQ_TRY(onnx_attribute_ints(node, "axes", &axes, &count));
    CLQ_TRY(onnx_attribute_int(node, "keepdims", 0, 1, &keepdims));
    CLQ_TRY(onnx_attribute_int(node, "noop_with_empty_axes", 0, 1, &noop));
    if (count == 0) {
        CLQ_TRY(onnx_want_integers(load, node, 1, "axes", &axes, &count));
    }
    CLQ_TRY(spread_inputs(load, node, 1, &s));
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes[i];
        if (!onnx_wrap(&axis, s.rank)) {
            return onnx_fail(node, "axis %lld is out of range", (long long)axes[i]);
        }
        reduced |= 1u << axis;
    }
    reduced = count == 0 && !noop ? (1u << s.rank) - 1 : reduced;
    for (int d = s.rank - 1; d >= 0; d--) {
        kept[d] = reduced & 1u << d ? 1 : s.dim[d];
        step[d] = reduced & 1u << d ? 0 : next;
        next *= (size_t)kept[d];
    }
    for (int d = 0; d < s.rank; d++) {
        if (keepdims || !(reduced & 1u << d)) {
            dim[rank++] = kept[d];
        }
    }
    const onnx_type type = s.floats[0] ? ONNX_FLOAT : s.in[0]->type;
    CLQ_TRY(onnx_fold_make(load, node, type, rank, dim, &out, &data));
    const size_t each = out->count > 0 ? s.in[0]->count / out->count : 0;
    if (each == 0) {
        return onnx_fail(node, "reduces nothing");
    }
    const operation o = reduction(node->op);
    bool *begun = NULL;
    void *memory;
    CLQ_TRY(clq_arena_take(&load->arena, out->count, sizeof *begun, &memory));
    begun = memory;
    for (size_t i = 0; i < s.in[0]->count; i++) {
        number in[2], result;
        spread_next(&s, &in[1]);
        result = in[1];
        if (begun[to]) {
            in[0] = number_at(out, type == ONNX_FLOAT ? data : NULL, to);
            CLQ_TRY(calculate(node, o, in, &result));
        }
        begun[to] = true;
        if (!store(type, result, data, to)) {
            return onnx_fail(node, "the result is out of range");
        }
        for (int d = s.rank - 1; d >= 0; d--) {
            to += step[d];
            if (++at[d] < (size_t)s.dim[d]) {
                break;
            }
            to -= step[d] * at[d];
            at[d] = 0;
        }
    }
    for (size_t i = 0; strcmp(node->op, "ReduceMean") == 0 && i < out->count; i++) {
        if (type != ONNX_FLOAT) {
            return onnx_fail(node, "of constants, only floats have a mean");
        }
        ((float *)data)[i] /= (float)each;
    }
    return onnx_bind_constant(load, node, out);
}

const onnx_operator onnx_numbers_operators[] = {
    {"Add", .fold = fold_binary},
    {"Sub", .fold = fold_binary},
    {"Mul", .fold = fold_binary},
    {"Div", .fold = fold_binary},
    {"Mod", .fold = fold_binary},
    {"Equal", .fold = fold_binary},
    {"Greater", .fold = fold_binary},
    {"Less", .fold = fold_binary},
    {"GreaterOrEqual", .fold = fold_binary},
    {"LessOrEqual", .fold = fold_binary},
    {"And", .fold = fold_binary},
    {"Or", .fold = fold_binary},
    {"Xor", .fold = fold_binary},
    {"Min", .fold = fold_binary},
    {"Max", .fold = fold_binary},
    {"Pow", .fold = fold_binary},
    {"Not", .fold = fold_unary},
    {"Neg", .fold = fold_unary},
    {"Abs", .fold = fold_unary},
    {"Sqrt", .fold = fold_unary},
    {"Exp", .fold = fold_unary},
    {"Log", .fold = fold_unary},
    {"Floor", .fold = fold_unary},
    {"Ceil", .fold = fold_unary},
    {"Round", .fold = fold_unary},
    {"Reciprocal", .fold = fold_unary},
    {"Where", .fold = fold_where},
    {"Range", .fold = fold_range},
    {"Cast", .fold = fold_cast},
    {"ReduceProd", .fold = fold_reduce},
    {"ReduceMax", .fold = fold_reduce},
    {"ReduceMin", .fold = fold_reduce},
    {"ReduceSum", .fold = fold_reduce},
    {"ReduceMean", .fold = fold_reduce},
    {0},
};
