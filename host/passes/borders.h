/* Where a network's precision changes.
 *
 * Each node works on codes or on reals, and each activation is one of both. Where a node reads the
 * other kind, a quantize or dequantize node is put between; a value gets one of each at most. */
#ifndef CLQ_PASSES_BORDERS_H
#define CLQ_PASSES_BORDERS_H

#include <clquant/graph.h>

/* How a node's input, or an output of the network, reads a value that is real. */
typedef enum clq_read {
    CLQ_READ_AS_IS,   /* by a node on codes: quantized */
    CLQ_READ_ROUNDED, /* by a node on reals, or an output: quantized and dequantized */
} clq_read;

typedef struct clq_borders {
    const bool *on_codes; /* (node_count) */
    const bool *real; /* (value_count): an activation that is made and kept as reals; what it has
                         for qparams is how it is quantized */
    const unsigned char *reads; /* (node_count, CLQ_MAX_INPUTS) clq_read; NULL: all as they are */
    const unsigned char *output_reads; /* (output_count) likewise */
} clq_borders;

/* A new graph with the nodes that are needed, called "VALUE.quantize" and "VALUE.dequantize". A
 * node on codes makes codes unless its output is real, one on reals makes reals. Activations keep
 * their qparams, those of real ones move to their codes. */
clq_status clq_insert_borders(const clq_graph *graph, const clq_borders *borders,
                              clq_graph **typed);

#endif
