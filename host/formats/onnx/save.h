/* The inside of the ONNX writer: what its files share.
 *
 *   save_model.c    the model: ends, metadata, packing
 *   save_message.c  making messages: nodes, attributes, tensors, names
 *   save_value.c    quantized values and parameters
 *   save_chain.c    the ONNX nodes of one graph node
 *   save_qoperator.c  all nodes, from QDQ form into QOperator form
 *   save_check.c    whether what is written reads back
 *   operators.h     the operators: ops_*.c
 *
 * One node of the graph becomes a chain of ONNX nodes: the operator, its fused activation, then
 * QuantizeLinear and DequantizeLinear when its output is quantized, with a Clip between them for a
 * type that has not all codes of int8 or uint8. */
#ifndef CLQ_FORMATS_ONNX_SAVE_H
#define CLQ_FORMATS_ONNX_SAVE_H

#include <clquant/formats.h>
#include <clquant/ops.h>

#include "base/json.h"
#include "formats/arena.h"
#include "formats/layout.h"
#include "formats/names.h"
#include "formats/onnx/wire.h"

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
    int opset;                              /* that the file says */
    clq_onnx_form form;
    json_t *types;      /* for ONNX_TYPES_KEY, owned; NULL: none */
    json_t *real_nodes; /* likewise */
    Onnx__NodeProto **node;
    size_t node_count, node_capacity;
    Onnx__TensorProto **tensor;
    size_t tensor_count, tensor_capacity;
} onnx_saver;

/* The ONNX nodes of one graph node. */
typedef struct onnx_chain {
    onnx_saver *save;
    int value;           /* that the chain makes */
    const char *onnx;    /* the operator's name in files */
    const char *base;    /* its name: names of nodes and of values on the way begin with it */
    const char *current; /* ONNX value made so far */
    const char *last;    /* operator of the last step, whose output gets the value's final name */
} onnx_chain;

/* ---- save_message.c ---- */

/* A name not used before: `wanted`, or with _2, _3, ... behind it. */
clq_status onnx_save_name(onnx_saver *save, clq_names *names, const char *wanted,
                          const char **name);

/* A node that reads `inputs` and writes `output`. */
clq_status onnx_save_node(onnx_saver *save, const char *op, const char *name,
                          const char *const *inputs, size_t input_count, const char *output,
                          Onnx__NodeProto **node);
/* One more node as it is. */
clq_status onnx_save_keep(onnx_saver *save, Onnx__NodeProto *node);
clq_status onnx_save_int(onnx_saver *save, Onnx__NodeProto *node, const char *name, int64_t value);
clq_status onnx_save_float(onnx_saver *save, Onnx__NodeProto *node, const char *name, float value);
/* `text` must live until the model is packed. */
clq_status onnx_save_text(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                          const char *text);
clq_status onnx_save_ints(onnx_saver *save, Onnx__NodeProto *node, const char *name,
                          const int *values, size_t count);

/* An initializer called `wanted` or nearly; `data` must live until the model is packed. */
clq_status onnx_save_tensor(onnx_saver *save, const char *wanted, int type, int rank,
                            const int64_t *dim, const void *data, size_t size, const char **name);
clq_status onnx_save_scalar(onnx_saver *save, const char *wanted, float value, const char **name);
clq_status onnx_save_longs(onnx_saver *save, const char *wanted, const int64_t *values,
                           size_t count, const char **name);

/* ---- save_value.c ---- */

/* Scale and zero point of `q` as initializers named after `of`; they follow `x` in inputs[3]. */
clq_status onnx_save_qparams(onnx_saver *save, const char *of, const clq_qparams *q, const char *x,
                             const char *inputs[3]);
/* An activation's qparams as the file has them: in bytes, of all codes. */
clq_qparams onnx_byte_qparams(const clq_qparams *q);
/* inputs[3] of a Clip behind `x` to the codes that the type has; *needed: it has not all bytes. */
clq_status onnx_save_limits(onnx_saver *save, clq_qtype type, const char *x, const char *inputs[3],
                            bool *needed);
/* An activation to codes and back: *output is a new value. `inputs`: what QuantizeLinear reads. */
clq_status onnx_save_rounding(onnx_saver *save, const char *of, const clq_qparams *q, const char *x,
                              const char *inputs[3], const char **output);
/* *name is what the operator reads: the initializer, or behind it DequantizeLinear. */
clq_status onnx_save_parameter(onnx_saver *save, int value, const char **name);

/* ---- save_chain.c: what writers of operators call, in this order ---- */

/* `op` is the operator's last node before its activation `act` and its rounding. */
void onnx_save_plan(onnx_chain *chain, const char *op, clq_act act);
/* One more ONNX node, reading inputs[0..count); the first of a chain has the base's name. */
clq_status onnx_save_step(onnx_chain *chain, const char *op, const char *const *inputs,
                          size_t count, Onnx__NodeProto **node);
/* The fused activation, then the rounding to codes and back. */
clq_status onnx_save_finish(onnx_chain *chain, clq_act act);

/* Clip to 0..6. */
clq_status onnx_save_clip(onnx_chain *chain);
/* To codes and back, by inputs[1] and [2]: the last steps of a chain. */
clq_status onnx_save_finish_codes(onnx_chain *chain, const char *inputs[3]);

/* For operators that ONNX has of (N, C, ..) alone: `*x` (N, .., C) of 3 or 5 dimensions, as `value`
 * has, becomes (N, C, P, 1), and what the chain has made the value's again. Others stay. */
bool onnx_is_column(const onnx_saver *save, int value);
clq_status onnx_save_column(onnx_chain *chain, int value, const char **x);
clq_status onnx_save_from_column(onnx_chain *chain, int value);
/* The file's axis of a value's axis: images are (N, C, H, W) in the file, all else is as stored. */
int onnx_file_axis(const clq_shape *shape, int axis);
/* Where the file has the axes of a value that a node makes, or reads. */
clq_axes onnx_save_kept_axes(const onnx_saver *save, int value);
/* Writes the nodes that bring `*x` from the axes `from` of a value to those of `to`, the last of
 * which makes `output`; NULL: a new value. *x then is what they make. `of` begins their names. */
clq_status onnx_save_axes(onnx_saver *save, const char *of, const clq_axes *from,
                          const clq_axes *to, const char *output, const char **x);

/* The ends' names; call both before any node, so that they are kept free for them. */
clq_status onnx_save_inputs(onnx_saver *save);
clq_status onnx_save_output_names(onnx_saver *save);
/* Identity nodes for a value's second and later names as an output; call behind the last node. */
clq_status onnx_save_more_outputs(onnx_saver *save);
clq_status onnx_save_graph_node(onnx_saver *save, const clq_node *node);

/* The nodes made so far in QOperator form, as far as standard operators, or `microsoft` ones too,
 * say them; the log tells how far. */
clq_status onnx_save_qoperators(onnx_saver *save, bool microsoft);

/* CLQ_INTERNAL names the first node in which the packed model's network differs from the graph. */
clq_status onnx_check_saved(const clq_graph *graph, const void *data, size_t size,
                            const char *path);

#endif
