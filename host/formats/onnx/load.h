/* The inside of the ONNX loader: what its files share.
 *
 *   load_model.c       reads a model: initializers, nodes in order
 *   load_qoperator.c   models in QOperator form, made into QDQ form
 *   load_dynamic.c     dynamically quantized ones, made into layers on reals
 *   load_ends.c        inputs and outputs
 *   load_functions.c   functions of the model's own, inlined
 *   load_patterns.c    functions that exporters write as several nodes become one
 *   load_order.c       a look at all nodes: which matter, in which order
 *   load_survey.c      likewise: operators that cannot be read
 *   load_node.c        looking at one node: inputs, attributes, errors
 *   load_constant.c    tensors of the file as host arrays
 *   external.c         those whose bytes are in another file
 *   load_fold.c        nodes that only compute constants (shapes, transposed weights)
 *   fold_numbers.c     calculating with them
 *   fold_parts.c       taking them apart and putting them together
 *   load_activation.c  activations as nodes read and make them
 *   load_axes.c        which of their axes is which, and nodes that move them
 *   load_parameters.c  weights and biases, which may be codes
 *   load_types.c       which nodes of a quantized model work on codes
 *   load_names.c       names for the graph's nodes and parameters
 *   operators.h        the operators: ops_*.c
 *
 * The nodes are visited once, each behind those that it reads: in the file's order where that is
 * one, as ONNX demands. Every value name is bound to an operand: a constant, or an activation of
 * the graph being built together with how the file sees it. Parameters are taken over in the file's
 * element order first; when the graph stands, clq_layout_find knows which ones to turn. */
#ifndef CLQ_FORMATS_ONNX_LOAD_H
#define CLQ_FORMATS_ONNX_LOAD_H

#include <clquant/formats.h>
#include <clquant/ops.h>

#include "base/json.h"
#include "formats/arena.h"
#include "formats/names.h"
#include "formats/onnx/external.h"
#include "formats/onnx/wire.h"
#include "ops/binary.h"

enum {
    ONNX_MAX_RANK = 8,
    ONNX_MAX_NODES = 1 << 14,
    ONNX_MAX_VALUES = 1 << 17,
    ONNX_MAX_ATTRIBUTES = 64, /* of a node */
    ONNX_PLACE_SIZE = 512,
    ONNX_MAX_OUTPUTS = 64,    /* of a node */
    ONNX_MAX_FOLDED = 1 << 24 /* elements of a computed constant; all together lie in the arena */
};

/* Numbers that a Pad before a MaxPool stands for nothing by. */
#define ONNX_LOWEST (-1e30f)

/* Stands for the batch in computed shapes, when the file leaves it open. */
#define ONNX_BATCH (INT64_MIN + INT64_C(0x62617463))

/* Element types after loading; the file's other float types become FLOAT. */
typedef Onnx__TensorProto__DataType onnx_type;
#define ONNX_FLOAT ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT
#define ONNX_UINT8 ONNX__TENSOR_PROTO__DATA_TYPE__UINT8
#define ONNX_INT8 ONNX__TENSOR_PROTO__DATA_TYPE__INT8
#define ONNX_INT32 ONNX__TENSOR_PROTO__DATA_TYPE__INT32
#define ONNX_INT64 ONNX__TENSOR_PROTO__DATA_TYPE__INT64
#define ONNX_BOOL ONNX__TENSOR_PROTO__DATA_TYPE__BOOL
/* Since opset 21, which onnx.proto may be older than. A file has two of them in a byte, the first
 * in the low bits; a constant one a byte. */
#define ONNX_UINT4 ((onnx_type)21)
#define ONNX_INT4 ((onnx_type)22)

typedef struct onnx_constant {
    const char *name; /* the value it was first bound to */
    onnx_type type;
    int rank;
    int64_t dim[ONNX_MAX_RANK];
    size_t count;     /* elements, product of dim */
    const void *data; /* (count) */
    /* Codes that went through DequantizeLinear: real = scale * (code - zero_point). */
    const float *scale; /* (scale_count); NULL: plain numbers */
    size_t scale_count; /* 1, or dim[axis] */
    int axis;
    int32_t zero_point;
    const struct onnx_constant *unrounded; /* what QuantizeLinear made the codes from, or NULL */
} onnx_constant;

/* What a value name of the file stands for: a constant, or an activation together with the place of
 * each of its axes. Nodes that only move, add or drop axes change these places and make no node of
 * the graph; onnx_arrange makes one where a reader needs an order that is not there. */
typedef struct onnx_operand {
    const onnx_constant *constant;  /* NULL: an activation */
    int value;                      /* of the graph */
    int rank;                       /* that the file sees */
    int axis[ONNX_MAX_RANK];        /* (rank): the value's axis that each is; -1: a dimension of 1
                                       that the value has not. An axis of the value that is none of
                                       these has 1 element. The value's axis 0 is the batch. */
    const Onnx__NodeProto *flatten; /* an image, rank and axis say how, seen as (N, C * H * W) by
                                       this node, which is not yet in the graph; NULL: none */
    bool codes;                     /* behind QuantizeLinear, before DequantizeLinear */
    bool dequantized;               /* behind DequantizeLinear */
    clq_qtype type;                 /* of the codes, which a Clip may have narrowed */
    /* A Slice or Pad of an image not yet in the graph: it becomes part of the node that reads it.
     */
    int stride[2];   /* 0: none */
    int pad[4];      /* around the image: top, left, bottom, right */
    float pad_value; /* 0, or at most ONNX_LOWEST */
} onnx_operand;

/* One node of the file. */
typedef struct onnx_node {
    const Onnx__NodeProto *proto;
    const char *op;
    int index;      /* in the file, from 0 */
    uint64_t asked; /* attributes that were looked at */
} onnx_node;

/* How the file uses a value of the graph. */
typedef struct onnx_value_use {
    int names;       /* bound to it */
    int uses;        /* of these names */
    bool typed;      /* a DequantizeLinear has shown which type its codes are of */
    bool turned;     /* (N, features) in the order H, W, C of `image`, where the file has C, H, W */
    clq_shape image; /* (1, H, W, C) */
} onnx_value_use;

/* That nodes of the file read a value of the graph. */
typedef struct onnx_read {
    int value;
    int first, end; /* the nodes of the graph that were made of the reader; end -1: being made */
    bool rounded;   /* behind QuantizeLinear and DequantizeLinear */
} onnx_read;

/* A node that moves axes, made once for a value: onnx_arrange. */
typedef struct onnx_moved {
    int value, moved; /* what it reads and makes */
    bool rounded;     /* reads it behind QuantizeLinear and DequantizeLinear */
    const char *op;
    int64_t number[CLQ_MAX_RANK]; /* its permutation or dimensions */
} onnx_moved;

typedef struct onnx_loader {
    const Onnx__GraphProto *proto;
    const clq_onnx_shape *shapes; /* (shape_count), of inputs, from the caller */
    size_t shape_count;
    int64_t opset;
    clq_arena arena;
    size_t parameter_bytes; /* within arena.limit too */
    onnx_external external;

    clq_names bound; /* value name -> index in operands */
    onnx_operand *operands;
    int operand_count;
    clq_names uses; /* value name -> index in use_count */
    int *use_count; /* readers among the nodes that matter, and the output */
    int *order;     /* (order_count): the nodes that the outputs depend on, as they are read */
    int order_count;
    clq_names names;   /* names of the graph's values */
    clq_names rounded; /* those of the file that QuantizeLinear reads */

    clq_graph *graph;
    int64_t batch;   /* the declared one, or ONNX_BATCH */
    bool whole;      /* the batch is an axis like others: of values, and of the file, which is one
                        sample as a whole */
    bool surveyed;   /* all operators are known */
    bool has_q;      /* some activation is quantized, or weights are that stay codes */
    bool own;        /* written by clquant: names are kept as they are */
    bool keep_form;  /* written by clquant from a trained form */
    bool keep_float; /* written by clquant from a quantized form, whose parameters are float */
    onnx_value_use *value_uses; /* (value_use_capacity), by value of the graph */
    int value_use_capacity;
    onnx_read *reads; /* (read_count), by the file's node */
    int read_count, read_capacity;
    onnx_moved *moved; /* (moved_count) */
    int moved_count, moved_capacity;
    bool output_rounded[CLQ_MAX_ENDS];
    bool keep_codes; /* written by clquant with weights that are codes, also of layers on reals */
    json_t *types;   /* what ONNX_TYPES_KEY says; NULL: nothing */
    json_t *real_nodes; /* likewise */
    int training_count; /* nodes that say they are in training mode */
    int training;       /* the first of them */
    int dynamic_count;  /* nodes that round by their input's own range */
    int64_t other_type; /* that the model computes in; 0: float32 */
} onnx_loader;

/* ---- load_make.c ---- */

/* A node of the file's kind that loading adds, in the arena; its inputs are to be filled in where
 * `inputs` is NULL. */
clq_status onnx_new_proto(onnx_loader *load, const char *op, const char *const *inputs,
                          size_t count, const char *output, Onnx__NodeProto **node);
/* Its one attribute `axis`. */
clq_status onnx_give_axis(onnx_loader *load, Onnx__NodeProto *node, int axis);

/* ---- load_node.c ---- */

onnx_node onnx_node_at(const onnx_loader *load, int index);
/* `node "conv1" (Conv)`, or `node 12 (Conv, which makes "y")`; in `text`, which it returns. */
const char *onnx_place(const onnx_node *node, char *text, size_t size);
/* CLQ_BAD_DATA: `<place>: <rule>`. */
clq_status onnx_fail(const onnx_node *node, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

size_t onnx_input_count(const onnx_node *node);
const char *onnx_input_name(const onnx_node *node, size_t index); /* "" when absent */
const char *onnx_output_name(const onnx_node *node);
/* The operand of an input; NULL when it is absent (optional). */
const onnx_operand *onnx_input(const onnx_loader *load, const onnx_node *node, size_t index);

/* Inputs that must be there, and at most `most` of them. */
clq_status onnx_want_inputs(const onnx_node *node, size_t least, size_t most);
/* An input that is a constant; *constant is NULL when it is absent. */
clq_status onnx_want_constant(const onnx_loader *load, const onnx_node *node, size_t index,
                              const onnx_constant **constant);
/* The same for small arrays of integers; absent: *count = 0. `what` goes in the error. */
clq_status onnx_want_integers(const onnx_loader *load, const onnx_node *node, size_t index,
                              const char *what, const int64_t **values, size_t *count);
/* One number, float or not; `absent` when the input is not there. */
clq_status onnx_want_scalar(onnx_loader *load, const onnx_node *node, size_t index,
                            const char *what, float absent, float *value);

/* Attributes; a missing one leaves *value alone. CLQ_BAD_DATA for another type or number. */
clq_status onnx_attribute_int(onnx_node *node, const char *name, int64_t least, int64_t most,
                              int64_t *value);
clq_status onnx_attribute_float(onnx_node *node, const char *name, float *value);
clq_status onnx_attribute_text(onnx_node *node, const char *name, const char **value);
/* `count` in: how many there must be, 0 for any number; out: how many there are, 0 when missing. */
clq_status onnx_attribute_ints(onnx_node *node, const char *name, const int64_t **values,
                               size_t *count);
const Onnx__AttributeProto *onnx_attribute(onnx_node *node, const char *name);
/* Marks an attribute as known that changes nothing here. */
void onnx_attribute_ignore(onnx_node *node, const char *name);
/* CLQ_BAD_DATA when an attribute was not looked at, so that none is passed over. */
clq_status onnx_attributes_done(const onnx_node *node);

/* ---- load_constant.c ---- */

/* A tensor of the file. Its bytes are used in place where they can be. */
clq_status onnx_constant_read(onnx_loader *load, const Onnx__TensorProto *tensor, const char *name,
                              const onnx_constant **constant);
/* A new constant with room for its elements at *data. */
clq_status onnx_constant_make(clq_arena *arena, const char *name, onnx_type type, int rank,
                              const int64_t *dim, onnx_constant **constant, void **data);
size_t onnx_type_size(onnx_type type);
/* Whether the type is one of weights' and activations' codes, and the codes that it has. */
bool onnx_code_range(onnx_type type, int32_t *lowest, int32_t *highest);
/* Element `i` of such a constant, or of INT32. */
int32_t onnx_code(const onnx_constant *constant, size_t i);
/* "float16", for messages; in `text`, which it returns. */
const char *onnx_type_name(int64_t type, char *text, size_t size);
/* A FLOAT of no dimensions. */
clq_status onnx_constant_number(onnx_loader *load, float number, const onnx_constant **constant);
/* Plain floats of a FLOAT constant or of dequantized codes. */
clq_status onnx_constant_floats(clq_arena *arena, const onnx_constant *constant,
                                const float **values);
/* Axes of the dimensions swapped by `perm`. */
clq_status onnx_constant_transpose(clq_arena *arena, const onnx_constant *in, const int *perm,
                                   onnx_constant **out);
/* Numpy's view of "1x3x8" for messages. */
void onnx_dims_text(int rank, const int64_t *dim, char *text, size_t size);

/* ---- load_qoperator.c ---- */

/* Replaces *graph by one without operators on codes where that can be; it lives in the arena. */
clq_status onnx_expand_qoperators(onnx_loader *load, const Onnx__GraphProto **graph);

/* ---- load_dynamic.c ---- */

/* The operator that rounds x to what the codes stand for that DynamicQuantizeLinear makes of it: of
 * no file. */
#define ONNX_DYNAMIC_ROUNDING "DynamicQuantizeLinear, DequantizeLinear"
/* Replaces *graph by a copy in the arena where layers on integers that were quantized dynamically
 * are layers on reals that read such. */
clq_status onnx_join_dynamic(onnx_loader *load, const Onnx__GraphProto **graph);

/* ---- load_patterns.c ---- */

/* Replaces *graph by a copy in the arena where the last node of x * sigmoid(x) and the like is one
 * of Swish, HardSwish, Mish or Gelu, so that nobody reads the others. */
clq_status onnx_join_patterns(onnx_loader *load, const Onnx__GraphProto **graph);

/* ---- load_functions.c ---- */

/* *graph is the model's, or one in the arena with the nodes of functions in place of their calls.
 */
clq_status onnx_inline_functions(clq_arena *arena, const Onnx__ModelProto *model,
                                 const Onnx__GraphProto **graph);

/* ---- load_order.c ---- */

/* Sets order, and counts uses. CLQ_BAD_DATA names nodes that read each other in a circle. */
clq_status onnx_order_nodes(onnx_loader *load);
/* Whether a node of the graph is stated to work on reals. */
bool onnx_is_real_node(const onnx_loader *load, const char *name);
/* Sets has_q. CLQ_BAD_DATA names all operators that cannot be read. */
clq_status onnx_survey(onnx_loader *load);

/* ---- load_model.c ---- */

clq_status onnx_bind(onnx_loader *load, const char *name, const onnx_operand *operand);
clq_status onnx_bind_output(onnx_loader *load, const onnx_node *node, const onnx_operand *operand);
clq_status onnx_bind_constant(onnx_loader *load, const onnx_node *node,
                              const onnx_constant *constant);
int onnx_use_count(const onnx_loader *load, const char *name);
/* Readers of a value of the graph under all names that it has so far; those that only give it
 * another name do not count. */
int onnx_reader_count(const onnx_loader *load, int value);
/* The node says that it is in training mode, which a warning names at the end. */
void onnx_note_training(onnx_loader *load, const onnx_node *node);
/* float32, float16, bfloat16 and float64: all become float32. */
bool onnx_is_real(int64_t type);
/* The model computes in this type of float, which the log tells at the end. */
void onnx_note_type(onnx_loader *load, int64_t type);

/* Nothing is bound to a name that is read: says why. */
clq_status onnx_fail_unbound(const onnx_loader *load, const char *name);

/* ---- load_ends.c ---- */

/* All inputs but those that have an initializer, which are parameters (IR version 3). */
clq_status onnx_add_inputs(onnx_loader *load);
/* One output, when all nodes are there. */
clq_status onnx_add_output(onnx_loader *load, const char *name);

/* ---- load_fold.c ---- */

/* Evaluates a node all of whose inputs are constants, or Shape. *done is false when this is no
 * operator that computes constants. */
clq_status onnx_fold_node(onnx_loader *load, onnx_node *node, bool *done);

/* Input `index` of a node that reads constants alone; NULL when it is absent. */
const onnx_constant *onnx_constant_in(const onnx_loader *load, const onnx_node *node, size_t index);
/* A constant called like the node's output, of at most ONNX_MAX_FOLDED elements; not bound. */
clq_status onnx_fold_make(onnx_loader *load, const onnx_node *node, onnx_type type, int rank,
                          const int64_t *dim, onnx_constant **out, void **data);
/* Binds the output to a constant with the same elements in another shape. */
clq_status onnx_fold_reshaped(onnx_loader *load, const onnx_node *node, const onnx_constant *from,
                              int rank, const int64_t *dim);
/* Gives constant input 0 another name. */
clq_status onnx_fold_identity(onnx_loader *load, onnx_node *node);
/* An index along an axis of `extent`, counted from the end when negative; false: outside. */
bool onnx_wrap(int64_t *index, int64_t extent);

/* ---- load_activation.c ---- */

/* Input `index`, an activation that is no codes, as it is bound. */
clq_status onnx_peek(const onnx_loader *load, const onnx_node *node, size_t index,
                     onnx_operand *operand);
/* Input 0 to be seen in another way: not read yet. */
clq_status onnx_view(onnx_loader *load, const onnx_node *node, onnx_operand *operand);
/* Input `index` as a real activation: no codes, nothing pending; its elements are what the file
 * has, wherever its axes are. */
clq_status onnx_want_activation(onnx_loader *load, const onnx_node *node, size_t index,
                                onnx_operand *operand);
/* The same for an operator that works on each element alone, or whose parameters of a feature each
 * clq_layout_find turns: (N, features) may be a flattened image in the order H, W, C. */
clq_status onnx_want_features(onnx_loader *load, const onnx_node *node, size_t index,
                              onnx_operand *operand);
/* Of (N, C, H, W), or (N, C, L), whose height is 1: the graph's image (N, H, W, C), or its (N, C)
 * where H and W are 1 (onnx_is_row), which may be turned as above. pad[4] receives a pending Pad by
 * zeros, or by the `lowest` numbers, which becomes a node when it is NULL. */
clq_status onnx_want_image(onnx_loader *load, const onnx_node *node, size_t index,
                           onnx_operand *operand, int *pad, bool lowest);
/* Notes that the node being loaded reads an activation, and that it is loaded. */
clq_status onnx_note_read(onnx_loader *load, const onnx_operand *operand);
clq_status onnx_end_reads(onnx_loader *load, const onnx_node *node);

/* Makes a slice of it for its reader. */
clq_status onnx_make_crop(onnx_loader *load, onnx_operand *operand, const clq_slice_attrs *attrs);
/* Makes a node of a pending Slice, or Pad. */
clq_status onnx_make_slice(onnx_loader *load, onnx_operand *operand);
clq_status onnx_make_pad(onnx_loader *load, onnx_operand *operand);
/* Makes nodes of a pending Slice or Flatten; `features` as onnx_want_features. The operand has been
 * noted as read. */
clq_status onnx_settle(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                       bool features);

/* Gives input 0, an activation, another name. */
clq_status onnx_pass_on(onnx_loader *load, const onnx_node *node);
/* Adds a node to the graph; *made is its output, not bound, with axes as below. */
clq_status onnx_make_node(onnx_loader *load, const onnx_node *node, const char *op,
                          const char *name, const void *attrs, const int *inputs, int input_count,
                          const onnx_operand *like, onnx_operand *made);
/* Binds output `index` to what a node made for it. */
clq_status onnx_bind_made(onnx_loader *load, const onnx_node *node, size_t index,
                          const onnx_operand *made);
/* Adds a node to the graph and binds its output, whose axes are where those of `like` are; NULL:
 * (N, C, H, W) for an image, else as stored. `name` NULL: from the file's node. */
clq_status onnx_add_node(onnx_loader *load, const onnx_node *node, const char *op, const char *name,
                         const void *attrs, const int *inputs, int input_count,
                         const onnx_operand *like);
/* The same for the node's output `index`, after which it is called. */
clq_status onnx_add_node_at(onnx_loader *load, const onnx_node *node, size_t index, const char *op,
                            const void *attrs, const int *inputs, int input_count,
                            const onnx_operand *like);

/* ---- load_axes.c ---- */

/* How the file sees an activation; the batch is load->batch. */
typedef struct onnx_dims {
    int rank;
    int64_t dim[ONNX_MAX_RANK];
} onnx_dims;
onnx_dims onnx_activation_dims(const onnx_loader *load, const onnx_operand *operand);

/* Axes of a new value of `rank` dimensions: (N, C, H, W) of (N, H, W, C), else as stored. */
void onnx_default_axes(int rank, onnx_operand *operand);
/* Whether the value is (N, H, W, C) and seen as (N, C, H, W); whether it is (N, C). */
bool onnx_is_image(const onnx_loader *load, const onnx_operand *operand);
bool onnx_is_row(const onnx_loader *load, const onnx_operand *operand);
/* Whether its features are in the order of a flattened image, H, W, C. */
bool onnx_is_turned(const onnx_loader *load, const onnx_operand *operand);
/* The file's axis, counted from the end when negative; CLQ_BAD_DATA when it is none. */
clq_status onnx_want_axis(const onnx_node *node, const onnx_operand *operand, int64_t axis,
                          int *place);
/* Lets `places` say where the file's axes are stored: places[p] of the value's `rank` dimensions is
 * the axis at p, -1 a dimension of 1 that is no axis. Every axis of more than one element must be
 * there. Makes nodes where they are elsewhere, once for a value and order. */
clq_status onnx_arrange(onnx_loader *load, const onnx_node *node, onnx_operand *operand, int rank,
                        const int *places);
/* The axes where those of `like`, which has the same dimensions, are. */
clq_status onnx_arrange_like(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                             const onnx_operand *like);
/* A place for each of the file's axes, also those of 1: its image (N, C, H, W) as (N, H, W, C),
 * else in their order. */
clq_status onnx_store_all(onnx_loader *load, const onnx_node *node, onnx_operand *operand);
/* Two operands of a node that works element by element: dimension for dimension from the last,
 * their axes are in places that meet (clquant/ops.h); a dimension that one lacks is 1. *out has the
 * axes of the result. */
clq_status onnx_match(onnx_loader *load, const onnx_node *node, onnx_operand *a, onnx_operand *b,
                      onnx_operand *out);
/* Places for all dimensions in which a constant operand has more than one element. */
clq_status onnx_match_constant(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                               const onnx_constant *constant);
/* The same elements in other dimensions, the batch among them where it is the operand's first axis
 * and `keeps_batch`. Makes a node unless only dimensions of 1 come or go. */
clq_status onnx_regroup(onnx_loader *load, const onnx_node *node, onnx_operand *operand,
                        bool keeps_batch, int rank, const int64_t *dim);
/* A graph node that only moves elements, "transpose" by a permutation, "reshape" to dimensions or
 * "flatten". Called like the file's node `of`, NULL: after the value. Made once. The operand then
 * is its output. */
clq_status onnx_move(onnx_loader *load, onnx_operand *operand, const char *op, int rank,
                     const int64_t *number, const Onnx__NodeProto *of);
/* The operand is what a node made of value `from` for the reader of it, which moves or leaves out
 * elements alone: where it was rounded, it has the same codes. Notes that it is read. */
clq_status onnx_keep_codes(onnx_loader *load, const onnx_operand *operand, int from);
/* Room in value_uses for a value of the graph. */
clq_status onnx_make_room(onnx_loader *load, int value);

/* ---- load_names.c ---- */

/* A name that no value of the graph has yet: `wanted`, or with _2, _3, ... behind it. */
clq_status onnx_unique_name(onnx_loader *load, const char *wanted, char **name);
/* "layer1.0.conv1" from a weight's name, else from torch's "/layer1/layer1.0/conv1/Conv", else the
 * node's or output's name. `weight` may be NULL. */
clq_status onnx_node_name(onnx_loader *load, const onnx_node *node, const char *weight,
                          char **name);
/* The parameter's own name when it says something, else `node_name`.`role`. */
clq_status onnx_parameter_name(onnx_loader *load, const char *own, const char *node_name,
                               const char *role, char **name);

/* ---- load_parameters.c ---- */

/* Adds `constant` as an F32 parameter of this shape (the file's element order). */
clq_status onnx_add_float(onnx_loader *load, const onnx_node *node, const onnx_constant *constant,
                          clq_value_kind kind, clq_shape shape, const char *node_name,
                          const char *role, int *value);
/* Dimensions of weights, which must have `rank` of them, as the graph wants them: all >= 1. */
clq_status onnx_weight_shape(const onnx_node *node, const onnx_constant *weight, int rank,
                             clq_shape *shape);
/* Adds the constant of an elementwise node that also reads `x`, with elements and shape of
 * `turned`. Codes with one scale stay codes beside an x that is quantized; `codes` tells scale and
 * zero point, and whether `turned` is what they were made from. */
clq_status onnx_add_operand(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                            const onnx_constant *turned, const onnx_constant *codes,
                            clq_shape shape, const char *node_name, int *value);
/* Adds weights and bias (may be NULL) of a conv2d or linear that reads `x`: S8 and S32 when both x
 * and the weights are quantized, else F32. Stores ids in inputs[1], inputs[2] and their number. */
clq_status onnx_add_weights(onnx_loader *load, const onnx_node *node, const onnx_operand *x,
                            const onnx_constant *weight, const onnx_constant *bias, clq_shape shape,
                            const char *node_name, int inputs[3], int *input_count);
/* Turns parameters into the graph's order, passes qparams along operators that share them, checks
 * that the graph is wholly float or wholly quantized. */
clq_status onnx_finish_layouts(onnx_loader *load);
clq_status onnx_finish_qparams(onnx_loader *load);

/* ---- shared by operators ---- */

/* A Clip of codes. ops_quantize.c */
clq_status onnx_clip_codes(onnx_loader *load, onnx_node *node);

/* One of two operands of a node that works element by element. */
typedef struct onnx_side {
    const onnx_constant *constant; /* NULL: an activation */
    onnx_operand x;
} onnx_side;
/* Input `index`; result: a op b, a node called `name`, whose output is not bound; one of them is an
 * activation. ops_binary.c */
clq_status onnx_read_side(onnx_loader *load, const onnx_node *node, size_t index, onnx_side *side);
clq_status onnx_combine(onnx_loader *load, const onnx_node *node, clq_binary kind, onnx_side *a,
                        onnx_side *b, const char *name, onnx_side *result);

/* Binds the output to `x` in other dimensions, of which the first may be the batch and one -1; 0 is
 * what x has there where `copies`. ops_shape.c */
clq_status onnx_bind_dims(onnx_loader *load, const onnx_node *node, onnx_operand *x, int rank,
                          const int64_t *wanted, bool copies);

/* The mean over the image `x`, or (N, C) as it is; the result (N, C) has the axes of `like`.
 * ops_pool.c */
clq_status onnx_add_global_pool(onnx_loader *load, const onnx_node *node, onnx_operand *x,
                                const onnx_operand *like);

/* A slice of all elements of a value. ops_slice.c */
void onnx_take_all(const onnx_loader *load, int value, clq_slice_attrs *attrs);

/* Values one after the other along a stored axis, `count` of them, whose array is used up; more
 * than a node takes become several. The last node is called `name`. ops_concat.c */
clq_status onnx_join(onnx_loader *load, const char *name, int *values, int count, int axis,
                     int *joined);

/* What Slice takes, as attributes of opset 9 and before or inputs. ops_slice.c */
typedef struct onnx_slices {
    const int64_t *starts, *ends, *axes, *steps;
    size_t count, axis_count, step_count;
} onnx_slices;
clq_status onnx_read_slices(onnx_loader *load, onnx_node *node, onnx_slices *s);
/* The first element and how many are taken of an axis, by ONNX's rules of clamping; false when the
 * step is 0. fold_parts.c */
bool onnx_slice_axis(int64_t extent, int64_t start, int64_t end, int64_t step, int64_t *first,
                     int64_t *count);

/* Which axis of a tensor Split takes apart, and the elements of each part, as many as the node has
 * outputs: counts[ONNX_MAX_OUTPUTS]. fold_parts.c */
clq_status onnx_read_split(onnx_loader *load, onnx_node *node, int rank, const int64_t *dim,
                           int *axis, int64_t *counts);

/* Windows of Conv and pooling: kernel_shape, strides, dilations, pads, auto_pad. ops_pool.c */
typedef struct onnx_window {
    int kernel[2], stride[2], dilation[2], pad[4];
} onnx_window;
/* `kernel` from kernel_shape; `weight` (NULL for pools) must agree with it. Of (N, C, L) the last
 * of two numbers each. */
clq_status onnx_read_window(onnx_node *node, const onnx_dims *x, const onnx_constant *weight,
                            onnx_window *window);

#endif
