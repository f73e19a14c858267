/* Networks as graphs: values (tensors) and nodes (operators, known by their descriptors).
 *
 * A graph is a host object without a device. Activations have 2 to 5 dimensions; images are
 * (N, H, W, C), N = 1 standing for the batch; convolution weights are (OC, KH, KW, IC / G), linear
 * weights (OUT, IN), vectors (C). One graph goes through these forms:
 *
 *   trained form    conv2d, batch_norm, relu, add, ... as the builder or file gave them
 *   folded form     clq_graph_fold: batch norm folded into conv2d and linear, activation fused
 *   quantized form  folded, and activations have qparams (calibration, QAT); parameters still F32
 *   integer form    clq_convert: weights S8 or S4, biases S32; nothing float but scales */
#ifndef CLQUANT_GRAPH_H
#define CLQUANT_GRAPH_H

#include <clquant/base.h>

CLQ_API_BEGIN

enum {
    CLQ_MAX_RANK = 5,
    CLQ_MAX_INPUTS = 32, /* of a node; a concatenation of more is made of several */
    CLQ_MAX_ENDS = 64,   /* inputs, and outputs, of a network */
    CLQ_MAX_AXES = 8,    /* of an input or output in files */
    CLQ_NO_VALUE = -1,
    CLQ_NO_AXES = -1
};

/* S4: two codes a byte, the first in its low bits; the last byte of an odd number is half empty. */
typedef enum clq_dtype { CLQ_F32, CLQ_U8, CLQ_S8, CLQ_S32, CLQ_S4 } clq_dtype;
/* Bytes of an element; 0 for S4, whose elements have none of their own. */
size_t clq_dtype_size(clq_dtype dtype);
/* Bytes of `count` elements. */
int64_t clq_dtype_bytes(clq_dtype dtype, int64_t count);

typedef struct clq_shape {
    int rank;
    int64_t dim[CLQ_MAX_RANK];
} clq_shape;

/* Product of the dimensions; they were checked to fit when the shape was made. */
int64_t clq_shape_count(const clq_shape *shape);
bool clq_shape_equal(const clq_shape *a, const clq_shape *b);
/* "1x32x32x3" */
void clq_shape_text(const clq_shape *shape, char *text, size_t size);

/* ---- quantization types ---- */

/* What codes there are. A type is a row of the table in host/graph/types.c. */
typedef enum clq_qtype {
    CLQ_Q_NONE, /* no codes */
    CLQ_Q_U8,   /* activations, unless a policy says otherwise */
    CLQ_Q_U7,
    CLQ_Q_U6,
    CLQ_Q_U5,
    CLQ_Q_U4,
    CLQ_Q_U3,
    CLQ_Q_U2,
    CLQ_Q_S8,        /* weights of files */
    CLQ_Q_S8_NARROW, /* weights whose scales clquant chooses: without -128 */
    CLQ_Q_S7,
    CLQ_Q_S6,
    CLQ_Q_S5,
    CLQ_Q_S4,
    CLQ_Q_S3,
    CLQ_Q_S2,
    CLQ_Q_S16,   /* known, but not executed */
    CLQ_Q_S32,   /* biases */
    CLQ_Q_FLOAT, /* no codes but reals: what a rule may say */
    CLQ_QTYPE_COUNT
} clq_qtype;

typedef struct clq_qtype_info {
    const char *name;
    int bits;
    bool is_signed;
    int32_t lowest, highest; /* codes */
    clq_dtype storage;       /* of a parameter's codes; activations' are bytes */
    int onnx_type;           /* TensorProto.DataType */
} clq_qtype_info;

const clq_qtype_info *clq_qtype_get(clq_qtype type); /* NULL when there is no such type */
bool clq_qtype_find(const char *name, clq_qtype *type);
/* The type that has exactly these codes. */
bool clq_qtype_find_codes(bool is_signed, int32_t lowest, int32_t highest, clq_qtype *type);
/* The type of 8 bits and the same sign: how ONNX files keep codes of fewer bits. */
clq_qtype clq_qtype_byte(clq_qtype type);
/* Whether activations, or weights, of this type can be executed. */
bool clq_qtype_for_activations(clq_qtype type);
bool clq_qtype_for_weights(clq_qtype type);

/* real = scale * (code - zero_point). count 0: not quantized; 1: per tensor; otherwise per channel
 * along axis 0 of the parameter. */
typedef struct clq_qparams {
    int64_t count;
    float *scale;       /* (count), owned, > 0 and finite */
    int32_t zero_point; /* 0 for weights and biases */
    clq_qtype type;
} clq_qparams;

/* How the sums of a network on codes become codes again (docs/quantization.md). A property of the
 * graph: its simulation, its integer network and its file agree on it. */
typedef enum clq_requantizer {
    CLQ_REQUANT_FLOAT, /* one float multiplication */
    CLQ_REQUANT_FIXED, /* a 31-bit integer multiplier and a rounding shift */
    CLQ_REQUANT_SHIFT, /* a rounding shift: all scales are powers of two */
    CLQ_REQUANT_COUNT
} clq_requantizer;
/* "float", "fixed", "shift"; NULL when there is no such requantizer. */
const char *clq_requantizer_name(clq_requantizer requantizer);

typedef enum clq_value_kind {
    CLQ_VALUE_INPUT,      /* an input of the network */
    CLQ_VALUE_ACTIVATION, /* a node's output */
    CLQ_VALUE_PARAMETER,  /* learned: weights, biases, gamma, beta */
    CLQ_VALUE_STATE,      /* not learned but kept: running mean and variance */
} clq_value_kind;

typedef struct clq_value {
    char *name;      /* parameters carry torchvision's names: "layer1.0.conv1.weight" */
    char *file_name; /* owned: what the file that the network was read from calls it, of what is
                        folded into one value the last; NULL: the same, or not from a file */
    clq_value_kind kind;
    clq_dtype dtype; /* of `data`, or of the activation */
    clq_shape shape;
    void *data; /* PARAMETER and STATE: owned host copy; otherwise NULL */
    clq_qparams q;
    bool frozen;  /* PARAMETER: training leaves it as it is */
    int producer; /* node that writes it, -1 for inputs and parameters */
} clq_value;

typedef struct clq_op clq_op; /* descriptor of an operator, below */

typedef struct clq_node {
    char *name; /* "layer1.0.conv1" */
    const clq_op *op;
    void *attrs; /* the operator's typed attributes, owned: clquant/ops.h */
    int input_count;
    int inputs[CLQ_MAX_INPUTS]; /* value ids; CLQ_NO_VALUE for an absent optional input */
    int output;                 /* value id */
} clq_node;

typedef struct clq_metadata {
    char *key, *value;
} clq_metadata;

/* How files and arrays show an input or output: for each of their axes, the value's; -1: a
 * dimension of 1 that the value has not. An axis of the value that is not among them has 1 element.
 * rank 0: images (N, H, W, C) as (N, C, H, W), all else as it is; CLQ_NO_AXES: one number. */
typedef struct clq_axes {
    int rank;
    int axis[CLQ_MAX_AXES];
} clq_axes;

/* An output of the network: a value that a node makes, under the name that files give the output.
 */
typedef struct clq_graph_end {
    char *name; /* owned; NULL: "logits" */
    int value;  /* several outputs may be the same value */
    clq_axes axes;
} clq_graph_end;

typedef struct clq_graph {
    char *name;
    char *file;     /* that it was read from, also through copies; NULL: none. Failures name it */
    char *producer; /* what wrote the file, "pytorch 2.6.0"; NULL: not from a file, not said, or a
                       graph made from another */
    char **data_files; /* owned: paths of the external data that the file's weights were read from;
                          none of a graph made from another */
    int data_file_count;
    clq_value *values;
    int value_count;
    clq_node *nodes; /* in an order in which inputs come before their use */
    int node_count;
    int inputs[CLQ_MAX_ENDS]; /* value ids; an input is called like its value */
    int input_count;
    clq_axes input_axes[CLQ_MAX_ENDS];
    clq_graph_end outputs[CLQ_MAX_ENDS];
    int output_count;
    clq_metadata *metadata;
    int metadata_count;
    bool folded;
    int value_capacity, node_capacity; /* allocated elements: the builder's own */
} clq_graph;

/* ---- operators ---- */

typedef enum clq_act { CLQ_ACT_NONE, CLQ_ACT_RELU, CLQ_ACT_RELU6 } clq_act;

/* What its functions get, and what it does in the quantized modes: clquant/ops.h. */
typedef struct clq_op_run clq_op_run;
typedef struct clq_quantized_op clq_quantized_op;

/* What of the forward pass an operator's backward reads; decides what training keeps. */
enum { CLQ_READS_INPUT = 1, CLQ_READS_OUTPUT = 2 };

/* Properties of an operator's FP32 functions. IN_PLACE: `out` may be the buffer of an input of its
 * size, and a gradient it writes that of grad_out. VIEW: `out` has in[0]'s floats in another shape,
 * so that it may be in[0]'s buffer while that is still read. TRAINING_ONLY: at inference `out` is
 * in[0], so folding removes the node. ANY_ZERO: the codes of its parameters may have zero points
 * other than 0. */
enum { CLQ_OP_IN_PLACE = 1, CLQ_OP_VIEW = 2, CLQ_OP_TRAINING_ONLY = 4, CLQ_OP_ANY_ZERO = 8 };

struct clq_op {
    const char *name;
    size_t attrs_size;
    int min_inputs, max_inputs;
    /* Checks attributes and input shapes and gives the output's shape. Must not trust any value. */
    clq_status (*infer)(const clq_graph *graph, const clq_node *node, clq_shape *output);
    /* Whether the node mixes what axis 0, the batch, keeps apart although the shapes do not show
     * it: it transposes it, or adds over it. NULL: never. */
    bool (*fixes_batch)(const clq_graph *graph, const clq_node *node);
    /* Chooses kernels, takes workspaces, uploads constants. May be NULL. */
    clq_status (*prepare)(clq_op_run *run);
    /* Parameters changed (after an optimizer step or a load). May be NULL. */
    clq_status (*load_parameters)(clq_op_run *run);
    clq_status (*forward)(clq_op_run *run);  /* FLOAT and TRAIN */
    clq_status (*backward)(clq_op_run *run); /* TRAIN; NULL: not differentiable */
    void (*release)(clq_op_run *run);        /* may be called after a failed prepare */
    int flags;                               /* CLQ_OP_* */
    int backward_reads;                      /* CLQ_READS_* */
    const clq_quantized_op *quantized;       /* NULL: not in the quantized modes */
    /* Whether run->fused_add (and, when set, fused_act) can be done in this node's epilogue, in
     * run->mode. NULL: never. */
    bool (*can_fuse_add)(const clq_op_run *run);
    bool (*can_fuse_act)(const clq_op_run *run); /* the same for fused_act alone */
    bool output_shares_qparams; /* output codes mean the same as the input's: max_pool, flatten,
                                   relu */
    bool joins_qparams; /* calibration gives the output and all inputs of its type one range, as
                           codes are then copied; where they differ nevertheless, they are
                           requantized */
    clq_act *(*act)(void *attrs); /* the activation among the attributes, which the node does last;
                                     NULL: there is none */
    clq_act as_act;               /* relu, relu6: what a node before this one may do instead */
    int64_t (*macs)(const clq_graph *graph,
                    const clq_node *node); /* multiply-adds for one input; NULL = 0 */
};

/* NULL when there is no such operator. */
const clq_op *clq_op_find(const char *name);

/* ---- building ---- */

clq_status clq_graph_create(const char *name, clq_graph **graph); /* name NULL: "" */
void clq_graph_destroy(clq_graph *graph);                         /* NULL ok */
clq_status clq_graph_clone(const clq_graph *graph, clq_graph **clone);

/* One more input: F32 of 2 to 5 dimensions, (1, H, W, C) or (1, C) for instance. CLQ_BAD_DATA past
 * CLQ_MAX_ENDS of them. */
clq_status clq_graph_add_input(clq_graph *graph, const char *name, clq_shape shape, int *value);
/* A parameter or state tensor; `data` (F32/S8/S4/S32 in the shape's order) is copied, NULL = zeros.
 */
clq_status clq_graph_add_parameter(clq_graph *graph, const char *name, clq_value_kind kind,
                                   clq_dtype dtype, clq_shape shape, const void *data, int *value);
/* Adds a node (attrs copied; NULL: zeroed), infers its output's shape and creates the output value,
 * named like the node. CLQ_BAD_DATA when the operator's shape rule is broken: the text names node
 * and rule. */
clq_status clq_graph_add_node(clq_graph *graph, const char *op, const char *name, const void *attrs,
                              const int *inputs, int input_count, int *output);
/* Makes `value` the only output, called "logits". */
void clq_graph_set_output(clq_graph *graph, int value);
/* One more output; `name` NULL: "logits". CLQ_BAD_DATA past CLQ_MAX_ENDS of them. */
clq_status clq_graph_add_output(clq_graph *graph, const char *name, int value);
/* The same, with name and axes of `like`, an output of another graph. */
clq_status clq_graph_add_output_like(clq_graph *graph, const clq_graph_end *like, int value);

/* The first input or output, which is the only one where images or rows are fed and classes read;
 * CLQ_NO_VALUE when there is none. */
int clq_graph_input(const clq_graph *graph);
int clq_graph_output(const clq_graph *graph);
/* Names of the ends; NULL past their number. */
const char *clq_graph_input_name(const clq_graph *graph, int index);
const char *clq_graph_output_name(const clq_graph *graph, int index);
/* CLQ_BAD_DATA, naming all inputs and outputs, unless there is one of each. `who` begins the rule:
 * "training takes" (one of each). */
clq_status clq_graph_check_single(const clq_graph *graph, const char *who);
/* The same of the inputs alone. */
clq_status clq_graph_check_one_input(const clq_graph *graph, const char *who);

/* Whether the network takes one sample at a time only: some value has another number of elements
 * than one along axis 0, or some node does more to that axis than to keep it. */
bool clq_graph_has_fixed_batch(const clq_graph *graph);

/* -1 when there is none. */
int clq_graph_find_value(const clq_graph *graph, const char *name);
int clq_graph_find_node(const clq_graph *graph, const char *name);
/* How many node inputs (plus outputs of the graph) read the value. */
int clq_graph_use_count(const clq_graph *graph, int value);

/* Both UTF-8, as files want it; CLQ_BAD_DATA otherwise. */
clq_status clq_graph_set_metadata(clq_graph *graph, const char *key, const char *text);
const char *clq_graph_get_metadata(const clq_graph *graph, const char *key); /* NULL when absent */

/* Metadata that files keep; a graph without it has CLQ_REQUANT_FLOAT. */
#define CLQ_META_REQUANTIZER "clquant.requantizer"
clq_requantizer clq_graph_requantizer(const clq_graph *graph);
clq_status clq_graph_set_requantizer(clq_graph *graph, clq_requantizer requantizer);

clq_status clq_qparams_set(clq_qparams *q, int64_t count, const float *scale, int32_t zero_point,
                           clq_qtype type);
void clq_qparams_clear(clq_qparams *q);

/* Full check of a graph that came from outside: ids in range, order, arity, shapes, parameter
 * kinds, finite parameter values, qparams; CLQ_BAD_DATA names the first offender. */
clq_status clq_graph_validate(const clq_graph *graph);

typedef enum clq_form { CLQ_FORM_FLOAT, CLQ_FORM_QUANTIZED, CLQ_FORM_INTEGER } clq_form;
clq_form clq_graph_form(const clq_graph *graph);
/* "trained", "folded", "quantized" or "integer". */
const char *clq_graph_form_name(const clq_graph *graph);

/* Parameter count, bytes of parameters as stored (two S4 a byte), multiply-adds for one input. */
typedef struct clq_graph_size {
    int64_t parameters, bytes, macs;
} clq_graph_size;
clq_graph_size clq_graph_measure(const clq_graph *graph);

CLQ_API_END
#endif
