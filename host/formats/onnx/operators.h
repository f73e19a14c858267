/* Operators in files and in graphs.
 *
 * Each family of operators is one file, ops_*.c, that holds the way of each from the file into the
 * graph (read), to a constant (fold) and back into a file (write). Its rows stand at its end; to
 * add an operator, write its functions in the file of its family and add its row. A new family is a
 * file and its line in FAMILIES. */
#ifndef CLQ_FORMATS_ONNX_OPERATORS_H
#define CLQ_FORMATS_ONNX_OPERATORS_H

#include "formats/onnx/load.h"
#include "formats/onnx/save.h"

typedef struct onnx_operator {
    const char *name; /* ONNX's; NULL: written only, as several ONNX nodes */
    /* A node that reads an activation, all of whose inputs are bound. Binds the outputs. NULL: not
     * of activations. */
    clq_status (*read)(onnx_loader *load, onnx_node *node);
    /* A node that reads constants alone. Binds the outputs to constants. NULL: not of constants. */
    clq_status (*fold)(onnx_loader *load, onnx_node *node);
    bool folds_activations; /* `fold` takes activations too, as only their shape matters */
    const char *op;         /* the graph's operator that `write` writes; NULL: none */
    int opset;              /* the oldest that has what is written; 0: all that clquant writes */
    /* chain->onnx is `name`; inputs[0..count) are the ONNX values that the node reads. */
    clq_status (*write)(onnx_chain *chain, const clq_node *node, const char **inputs, size_t count);
} onnx_operator;

/* The rows that read or fold an operator of ONNX, which may be two, or write one of the graph;
 * NULL: there is none. */
const onnx_operator *onnx_find_reader(const char *name);
const onnx_operator *onnx_find_folder(const char *name);
const onnx_operator *onnx_find_writer(const char *op);

/* An operator of the graph that is one ONNX node without attributes. */
clq_status onnx_write_plain(onnx_chain *chain, const clq_node *node, const char **inputs,
                            size_t count);

/* ops_NAME.c, fold_NAME.c; each has an array onnx_NAME_operators that ends with an empty row. */
/* clang-format off */
#define FAMILIES(X) \
    X(binary) \
    X(concat) \
    X(constant) \
    X(conv) \
    X(depth) \
    X(gather) \
    X(linear) \
    X(norm) \
    X(numbers) \
    X(pad) \
    X(parts) \
    X(pool) \
    X(quantize) \
    X(reduce) \
    X(resize) \
    X(shape) \
    X(slice) \
    X(softmax) \
    X(unary)
/* clang-format on */

#define DECLARE(name) extern const onnx_operator onnx_##name##_operators[];
FAMILIES(DECLARE)
#undef DECLARE

#endif
