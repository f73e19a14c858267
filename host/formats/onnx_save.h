/* The inside of the ONNX writer: what its files share.
 *
 *   onnx_save.c        the model: ends, metadata, packing
 *   onnx_build.c       making messages: nodes, attributes, tensors, names
 *   onnx_save_ops.c    each operator as ONNX nodes; quantized values and parameters
 *
 * One node of the graph becomes a chain of ONNX nodes: the operator, its fused activation, then
 * QuantizeLinear and DequantizeLinear when its output is quantized, with a Clip between them for a
 * type that has not all codes of int8 or uint8. */
#ifndef CLQ_FORMATS_ONNX_SAVE_H
#define CLQ_FORMATS_ONNX_SAVE_H

#include <clquant/ops.h>

#include "base/json.h"
#include "formats/arena.h"
#include "formats/layout.h"
#include "formats/names.h"
#include "formats/onnx_wire.h"

enum { ONNX_SAVE_MAX_INPUTS = 5, ONNX_SAVE_MAX_ATTRIBUTES = 8 };

typedef struct onnx_saver {
    const clq_graph *graph;
    clq_arena arena;
    clq_layout *layouts;    /* (value_count) */
    const char **reads;     /* (value_count): the ONNX value that readers of a value take */
    clq_names values;       /* names of ONNX values */
    clq_names nodes;        /* names of ONNX nodes */
    const char *zero, *six; /* initializers for Clip, once made */
    const char *limits[CLQ_QTYPE_COUNT][2]; /* likewise: of types' codes */
    bool half_bytes;                        /* the file has types of 4 bits */
    json_t *types;                          /* for ONNX_TYPES_KEY, owned; NULL: none */
    json_t *real_nodes;                     /* likewise */
    Onnx__NodeProto **node;
    size_t node_count, node_capacity;
    Onnx__TensorProto **tensor;
    size_t tensor_count, tensor_capacity;
} onnx_saver;

/* The ONNX nodes of one graph node. */
typedef struct onnx_chain {
    onnx_saver *save;
    int value;           /* that the chain makes */
    const char *base;    /* its name: names of nodes and of values on the way begin with it */
    const char *current; /* ONNX value made so far */
    const char *last;    /* operator of the last step, whose output gets the value's final name */
} onnx_chain;

/* ---- onnx_build.c ---- */

/* A name not used before: `wanted`, or with _2, _3, ... behind it. */
clq_status onnx_save_name(onnx_saver *save, clq_names *names, const char *wanted,
                          const char **name);

/* A node that reads `inputs` and writes `output`. */
clq_status onnx_save_node(onnx_saver *save, const char *op, const char *name,
                          const char *const *inputs, size_t input_count, const char *output,
                          Onnx__NodeProto **node);
clq_status onnx_save_int(onnx_saver *save, Onnx__NodeProto *node, const char *name, int64_t value);
clq_status onnx_save_float(onnx_saver *save, Onnx__NodeProto *node, const char *name, float value);
clq_status onnx_save_ints(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                          const int *values, size_t count);

/* An initializer called `wanted` or nearly; `data` must live until the model is packed. */
clq_status onnx_save_tensor(onnx_saver *save, const char *wanted, int type, int rank,
                            const int64_t *dim, const void *data, size_t size, const char **name);
clq_status onnx_save_scalar(onnx_saver *save, const char *wanted, float value, const char **name);
clq_status onnx_save_longs(onnx_saver *save, const char *wanted, const int64_t *values,
                           size_t count, const char **name);

/* ---- onnx_save_ops.c ---- */

/* The ends' names; call both before any node, so that they are kept free for them. */
clq_status onnx_save_inputs(onnx_saver *save);
clq_status onnx_save_output_names(onnx_saver *save);
/* Identity nodes for a value's second and later names as an output; call behind the last node. */
clq_status onnx_save_more_outputs(onnx_saver *save);
clq_status onnx_save_graph_node(onnx_saver *save, const clq_node *node);

#endif
