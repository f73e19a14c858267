/* A look at all nodes before the first is read: which matter, and in which order. */
#include <string.h>

#include "base/text.h"
#include "formats/onnx/load.h"

enum { MAX_NAMED = 8 };

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
