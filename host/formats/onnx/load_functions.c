/* Functions of a model's own: each call becomes the function's nodes before
 * anything else looks at the graph. */
#include <stddef.h>
#include <string.h>

#include "formats/onnx/load.h"

enum { MAX_DEPTH = 16 };

/* Attributes that a function gives itself where its call does not. */
typedef struct defaults {
    Onnx__AttributeProto **list;
    size_t count;
    bool read;
} defaults;

typedef struct inliner {
    clq_arena *arena;
    const Onnx__ModelProto *model;
    Onnx__NodeProto **node; /* (ONNX_MAX_NODES) */
    size_t count;
    int calls;
    clq_names names;    /* of calls */
    defaults *defaults; /* (n_functions) */
} inliner;

static const char *text_of(const char *text) {
    return text ? text : "";
}

static const char *domain_of(const char *domain) {
    return domain && strcmp(domain, "ai.onnx") != 0 ? domain : "";
}

static const Onnx__FunctionProto *find_function(const inliner *in, const Onnx__NodeProto *node) {
    for (size_t i = 0; i < in->model->n_functions; i++) {
        const Onnx__FunctionProto *f = in->model->functions[i];
        if (strcmp(text_of(f->name), text_of(node->op_type)) == 0 &&
            strcmp(domain_of(f->domain), domain_of(node->domain)) == 0) {
            return f;
        }
    }
    return NULL;
}

/* ---- names ---- */

/* What the values of a function are called where it is called. */
typedef struct scope {
    const char *call; /* begins the names of values that are the function's own */
    clq_names names;  /* formal input or output -> index in actual */
    const char **actual;
    int count;
} scope;

static clq_status bind_formals(scope *s, char *const *formal, size_t formals, char *const *actual,
                               size_t actuals) {
    for (size_t i = 0; i < formals; i++) {
        s->actual[s->count] = i < actuals ? actual[i] : "";
        CLQ_TRY(clq_names_set(&s->names, formal[i], s->count++));
    }
    return CLQ_OK;
}

static clq_status rename_values(inliner *in, const scope *s, size_t count, char *const *old,
                                char ***renamed) {
    void *memory;
    CLQ_TRY(clq_arena_take(in->arena, count, sizeof **renamed, &memory));
    *renamed = memory;
    for (size_t i = 0; i < count; i++) {
        const int known = old[i][0] ? clq_names_find(&s->names, old[i]) : -1;
        if (!old[i][0] || known >= 0) {
            (*renamed)[i] = (char *)(known >= 0 ? s->actual[known] : "");
        } else {
            CLQ_TRY(clq_arena_format(in->arena, &(*renamed)[i], "%s/%s", s->call, old[i]));
        }
    }
    return CLQ_OK;
}

/* ---- attributes ---- */

static const Onnx__AttributeProto *find_attribute(Onnx__AttributeProto *const *list, size_t count,
                                                  const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text_of(list[i]->name), name) == 0) {
            return list[i];
        }
    }
    return NULL;
}

/* Field 11 of a function, which protobuf-c unpacks where the schema knows it, and else keeps. */
enum { DEFAULTS_FIELD = 11 };

static void *arena_alloc(void *arena, size_t size) {
    void *memory;
    return clq_arena_take(arena, size, 1, &memory) == CLQ_OK ? memory : NULL;
}

static void arena_free(void *arena, void *memory) {
    (void)arena;
    (void)memory; /* with the arena */
}

static clq_status unpack_defaults(inliner *in, const Onnx__FunctionProto *f, defaults *d) {
    ProtobufCAllocator allocator = {arena_alloc, arena_free, in->arena};
    void *memory;
    CLQ_TRY(clq_arena_take(in->arena, f->base.n_unknown_fields, sizeof *d->list, &memory));
    d->list = memory;
    for (unsigned i = 0; i < f->base.n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &f->base.unknown_fields[i];
        const uint8_t *data;
        size_t size;
        if (field->tag != DEFAULTS_FIELD || !clq_onnx_field_bytes(field, &data, &size)) {
            continue;
        }
        CLQ_TRY(clq_fail_in(clq_onnx_scan_attribute(data, size),
                            "function \"%.100s\": the default of an attribute", text_of(f->name)));
        d->list[d->count] = onnx__attribute_proto__unpack(&allocator, size, data);
        if (!d->list[d->count++]) {
            return clq_fail(CLQ_BAD_DATA,
                            "function \"%.100s\": the default of an attribute cannot be unpacked",
                            text_of(f->name));
        }
    }
    return CLQ_OK;
}

/* The function's, read once. */
static clq_status find_defaults(inliner *in, const Onnx__FunctionProto *f, const defaults **out) {
    const ProtobufCFieldDescriptor *known =
        protobuf_c_message_descriptor_get_field(&onnx__function_proto__descriptor, DEFAULTS_FIELD);
    size_t index = 0;
    while (in->model->functions[index] != f) {
        index++;
    }
    defaults *d = &in->defaults[index];
    *out = d;
    if (d->read) {
        return CLQ_OK;
    }
    d->read = true;
    if (!known) {
        return unpack_defaults(in, f, d);
    }
    memcpy(&d->list, (const char *)f + known->offset, sizeof d->list);
    memcpy(&d->count, (const char *)f + known->quantifier_offset, sizeof d->count);
    return CLQ_OK;
}

/* Attributes that stand for one of the call become that one, or its default; they go where there
 * is none. */
static clq_status fill_attributes(inliner *in, const Onnx__FunctionProto *f,
                                  const Onnx__NodeProto *call, Onnx__NodeProto *node) {
    const defaults *own;
    void *memory;
    size_t count = 0;
    CLQ_TRY(find_defaults(in, f, &own));
    CLQ_TRY(clq_arena_take(in->arena, node->n_attribute, sizeof *node->attribute, &memory));
    Onnx__AttributeProto **filled = memory;
    for (size_t i = 0; i < node->n_attribute; i++) {
        Onnx__AttributeProto *attribute = node->attribute[i];
        const char *name = text_of(attribute->ref_attr_name);
        if (!name[0]) {
            filled[count++] = attribute;
            continue;
        }
        const Onnx__AttributeProto *given =
            find_attribute(call->attribute, call->n_attribute, name);
        given = given ? given : find_attribute(own->list, own->count, name);
        if (given) {
            CLQ_TRY(clq_arena_copy(in->arena, given, sizeof *given, &memory));
            filled[count] = memory;
            filled[count++]->name = attribute->name;
        }
    }
    node->attribute = filled;
    node->n_attribute = count;
    return CLQ_OK;
}

/* ---- calls ---- */

static clq_status add_node(inliner *in, const Onnx__NodeProto *node, int depth);

static clq_status add_body(inliner *in, const Onnx__FunctionProto *f, const Onnx__NodeProto *call,
                           const scope *s, int depth) {
    for (size_t i = 0; i < f->n_node; i++) {
        Onnx__NodeProto node = *f->node[i];
        char *name;
        CLQ_TRY(rename_values(in, s, node.n_input, node.input, &node.input));
        CLQ_TRY(rename_values(in, s, node.n_output, node.output, &node.output));
        CLQ_TRY(clq_arena_format(in->arena, &name, "%s/%s", s->call,
                                 node.name && node.name[0] ? node.name : text_of(node.op_type)));
        node.name = name;
        CLQ_TRY(fill_attributes(in, f, call, &node));
        CLQ_TRY(add_node(in, &node, depth + 1));
    }
    return CLQ_OK;
}

static clq_status add_call(inliner *in, const Onnx__FunctionProto *f, const Onnx__NodeProto *call,
                           int depth) {
    scope s = {.count = 0};
    void *memory;
    char *name;
    if (depth == MAX_DEPTH || ++in->calls > ONNX_MAX_NODES) {
        return clq_fail(CLQ_BAD_DATA,
                        "function \"%.100s\": calls of functions are more than %d "
                        "deep, or more "
                        "than %d in all",
                        text_of(f->name), MAX_DEPTH, ONNX_MAX_NODES);
    }
    CLQ_TRY(clq_arena_take(in->arena, f->n_input + f->n_output + 1, sizeof *s.actual, &memory));
    s.actual = memory;
    const bool named = call->name && call->name[0];
    CLQ_TRY(clq_arena_format(in->arena, &name, "%s", named ? call->name : text_of(f->name)));
    if (clq_names_find(&in->names, name) >= 0) {
        CLQ_TRY(clq_arena_format(in->arena, &name, "%s_%d", name, in->calls));
    }
    CLQ_TRY(clq_names_set(&in->names, name, 0));
    s.call = name;
    clq_status status = bind_formals(&s, f->input, f->n_input, call->input, call->n_input);
    if (status == CLQ_OK) {
        status = bind_formals(&s, f->output, f->n_output, call->output, call->n_output);
    }
    if (status == CLQ_OK) {
        status = add_body(in, f, call, &s, depth);
    }
    clq_names_free(&s.names);
    return status;
}

static clq_status add_node(inliner *in, const Onnx__NodeProto *node, int depth) {
    const Onnx__FunctionProto *f = find_function(in, node);
    void *copy;
    if (f) {
        return add_call(in, f, node, depth);
    }
    if (in->count == ONNX_MAX_NODES) {
        return clq_fail(CLQ_BAD_DATA, "has more than %d nodes with those of its functions",
                        ONNX_MAX_NODES);
    }
    CLQ_TRY(clq_arena_copy(in->arena, node, sizeof *node, &copy));
    in->node[in->count++] = copy;
    return CLQ_OK;
}

clq_status onnx_inline_functions(clq_arena *arena, const Onnx__ModelProto *model,
                                 const Onnx__GraphProto **graph) {
    inliner in = {.arena = arena, .model = model};
    void *memory;
    *graph = model->graph;
    if (model->n_functions == 0) {
        return CLQ_OK;
    }
    CLQ_TRY(clq_arena_take(arena, ONNX_MAX_NODES, sizeof *in.node, &memory));
    in.node = memory;
    CLQ_TRY(clq_arena_take(arena, model->n_functions, sizeof *in.defaults, &memory));
    in.defaults = memory;
    clq_status status = CLQ_OK;
    for (size_t i = 0; status == CLQ_OK && i < model->graph->n_node; i++) {
        status = add_node(&in, model->graph->node[i], 0);
    }
    clq_names_free(&in.names);
    CLQ_TRY(status);
    CLQ_TRY(clq_arena_copy(arena, model->graph, sizeof *model->graph, &memory));
    Onnx__GraphProto *copy = memory;
    copy->node = in.node;
    copy->n_node = in.count;
    *graph = copy;
    return CLQ_OK;
}
