/* A multilayer perceptron: fc1, activation, fc2, ... to the logits. */
#include <stdio.h>

#include "models/builder.h"

void clq_build_mlp(clq_builder *b) {
    const clq_network_options *o = b->options;
    int x;
    if (o->inputs > 0) {
        x = clq_build_input(b, (clq_shape){2, {1, o->inputs}});
    } else {
        x = clq_build_input(b, (clq_shape){4, {1, o->size, o->size, o->channels}});
        x = clq_build_op(b, "flatten", "flatten", x);
    }
    char name[32];
    for (int i = 0; i < o->hidden_count; i++) {
        snprintf(name, sizeof name, "fc%d", i + 1);
        x = clq_build_linear(b, name, x, o->hidden[i], CLQ_LINEAR_UNIFORM);
        snprintf(name, sizeof name, "%s%d", o->activation, i + 1);
        x = clq_build_op(b, o->activation, name, x);
    }
    snprintf(name, sizeof name, "fc%d", o->hidden_count + 1);
    x = clq_build_linear(b, name, x, o->classes, CLQ_LINEAR_UNIFORM);
    clq_graph_set_output(b->graph, x);
}
