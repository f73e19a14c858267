/* The operators: their typed attributes, and what their functions get. The descriptor, clq_op, is
 * in clquant/graph.h.
 *
 * A new operator is one file in host/ops that fills in a clq_op, its line in host/ops/registry.c,
 * its kernel, its reference and its test. */
#ifndef CLQUANT_OPS_H
#define CLQUANT_OPS_H

#include <clquant/device.h>
#include <clquant/graph.h>
#include <clquant/ranks.h>

CLQ_API_BEGIN

/* ---- attributes; an operator not listed has none ---- */

/* "conv2d": x (N,H,W,C), w (OC,KH,KW,IC/G), [bias (OC)]; or x (N,..,C) of other ranks and
 * depthwise with one output channel a group, w (C,1,1,1): a factor and an offset a channel */
typedef struct clq_conv2d_attrs {
    int kernel[2], stride[2], dilation[2]; /* height, width */
    int pad[4];                            /* top, left, bottom, right */
    int groups;
    clq_act act; /* fused by clq_graph_fold; NONE in the trained form */
} clq_conv2d_attrs;

/* "conv_transpose": x (N,H,W,C), w (OC,KH,KW,C/G), [bias (OC)]. Of size (H - 1) stride + dilation
 * (kernel - 1) + 1 + output_padding - both pads. */
typedef struct clq_conv_transpose_attrs {
    clq_conv2d_attrs conv; /* of the convolution that it turns around */
    int output_padding[2]; /* height, width: more pixels at the end */
} clq_conv_transpose_attrs;

typedef struct clq_linear_attrs { /* "linear": x (N,IN), w (OUT,IN), [bias (OUT)] */
    clq_act act;
} clq_linear_attrs;

typedef struct clq_batch_norm_attrs { /* "batch_norm": x, gamma, beta, running_mean, running_var (C)
                                       */
    float epsilon, momentum; /* torch's meaning: new = (1 - momentum) old + momentum batch */
} clq_batch_norm_attrs;

/* "add", "sub", "mul", "div", "min", "max", "pow": y = a op b, element by element, then act. Each
 * operand is an activation or a constant (a parameter), one of them at least an activation. Shapes
 * meet by numpy's rule: dimensions are equal or 1, aligned from the last axis on; the first axis of
 * an activation, the batch, is the first of the result whatever its rank, so that (N,C) meets
 * (N,H,W,C). Of equal elements "min" and "max" take a's. */
typedef struct clq_add_attrs { /* "add" */
    clq_act act;
} clq_add_attrs;
typedef struct clq_binary_attrs { /* the others */
    clq_act act;
} clq_binary_attrs;

typedef struct clq_pool_attrs { /* "max_pool", "avg_pool": x (N,H,W,C) */
    int kernel[2], stride[2], pad[4];
    int dilation[2];        /* 0: 1 */
    bool count_include_pad; /* avg_pool */
    bool ceil_mode;
} clq_pool_attrs;

typedef struct clq_dropout_attrs { /* "dropout" */
    float probability;
} clq_dropout_attrs;

typedef struct clq_pad_channels_attrs { /* "shortcut_a": strided, zero-padded channels, no
                                           parameters */
    int stride;
    int front, back; /* zero channels added before and after */
} clq_pad_channels_attrs;

typedef enum clq_resize_mode {
    CLQ_RESIZE_NEAREST,
    CLQ_RESIZE_LINEAR,
    CLQ_RESIZE_CUBIC
} clq_resize_mode;

/* Where output pixel i of OUT lies among input pixels 0 .. IN - 1, by the names that ONNX gives it:
 */
typedef enum clq_resize_coordinates {
    CLQ_RESIZE_HALF_PIXEL,           /* (i + 0.5) / scale - 0.5 */
    CLQ_RESIZE_HALF_PIXEL_SYMMETRIC, /* the same, around the middle of both images */
    CLQ_RESIZE_PYTORCH_HALF_PIXEL,   /* as half_pixel; 0 where OUT is 1 */
    CLQ_RESIZE_ALIGN_CORNERS,        /* i (IN - 1) / (OUT - 1); 0 where OUT is 1 */
    CLQ_RESIZE_ASYMMETRIC,           /* i / scale */
    CLQ_RESIZE_TF_HALF_PIXEL_FOR_NN, /* (i + 0.5) / scale */
    CLQ_RESIZE_TF_CROP_AND_RESIZE,   /* align_corners within a box */
} clq_resize_coordinates;

typedef enum clq_resize_rounding {
    CLQ_RESIZE_ROUND_PREFER_FLOOR,
    CLQ_RESIZE_ROUND_PREFER_CEIL,
    CLQ_RESIZE_FLOOR,
    CLQ_RESIZE_CEIL
} clq_resize_rounding;

/* "resize" (nearest, linear), "resize_cubic": x (N,H,W,C) -> (N,H',W',C) */
typedef struct clq_resize_attrs {
    /* Height, width. One of the two is given for each axis, or both: size 0 is floor(IN * scale),
     * scale 0 is size / IN. */
    int size[2];
    float scale[2];
    clq_resize_mode mode;
    clq_resize_coordinates coordinates;
    clq_resize_rounding rounding;   /* nearest: of coordinates to pixels */
    float cubic;                    /* cubic: its coefficient, usually -0.75 or -0.5 */
    bool exclude_outside;           /* cubic: pixels beyond the edge weigh nothing; else they repeat
                                       the edge */
    float box_begin[2], box_end[2]; /* tf_crop_and_resize: parts of the image, 0 .. 1 */
    float outside;                  /* tf_crop_and_resize: what lies beyond the image */
} clq_resize_attrs;

/* "reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1", "reduce_l2",
 * "reduce_sum_square", "reduce_log_sum_exp": x of 2 to CLQ_MAX_RANK dimensions */
typedef struct clq_reduce_attrs {
    unsigned axes; /* bit i: over axis i */
    bool keep;     /* they stay, of size 1; otherwise two dimensions must be left */
} clq_reduce_attrs;

/* "arg_max", "arg_min": which element along an axis it is, as a float */
typedef struct clq_arg_attrs {
    int axis;
    bool keep; /* as above */
    bool last; /* of equal ones the last, otherwise the first */
} clq_arg_attrs;

typedef struct clq_softmax_attrs { /* "softmax", "log_softmax" */
    int axis;
} clq_softmax_attrs;

typedef struct clq_lp_normalization_attrs { /* "lp_normalization": x by its rows' lengths */
    int axis;
    int p; /* 1: sum of magnitudes, 2: root of squares' */
} clq_lp_normalization_attrs;

/* Normalization by an image's own mean and variance: x, [gamma], [beta], parameters of a vector.
 *
 * "layer_norm": over the last `axes` axes; gamma and beta have their elements */
typedef struct clq_layer_norm_attrs {
    int axes;
    float epsilon;
} clq_layer_norm_attrs;

/* "instance_norm": x (N,..,C), over all but N and C; gamma and beta (C) */
typedef struct clq_instance_norm_attrs {
    float epsilon;
} clq_instance_norm_attrs;

/* "group_norm": x (N,..,C), over C / groups neighbouring channels and all but N; gamma, beta (C) */
typedef struct clq_group_norm_attrs {
    int groups;
    float epsilon;
} clq_group_norm_attrs;

/* "lrn": x (N,..,C) by (bias + alpha / size * sum of squares over `size` channels)^beta */
typedef struct clq_lrn_attrs {
    int size;
    float alpha, beta, bias;
} clq_lrn_attrs;

/* "matmul": a (N,..,M,K), b (N,..,K,L) of as many dimensions, 3 or more; an axis of 1 between is
 * used for all of the other's. One may be a parameter (K,L), (M,K) or with one axis more in front.
 */
typedef struct clq_matmul_attrs {
    bool transpose_a, transpose_b; /* stored as (..,K,M), (..,N,K) */
} clq_matmul_attrs;

/* Functions of one number, as ONNX defines those that it has, with its alpha and beta:
 *
 *   "leaky_relu" (alpha), "elu" (alpha), "celu" (alpha, not 0), "thresholded_relu" (alpha)
 *   "selu"         alpha, and beta what ONNX calls gamma
 *   "hard_sigmoid" clip(alpha x + beta, 0, 1)
 *   "clip"         min(max(x, alpha), beta); infinite where there is no bound
 *   "pow_const"    x^alpha
 *
 * and without attributes "hard_swish" x clip(x / 6 + 1/2, 0, 1), "silu" x sigmoid(x), "gelu" by
 * erf, "gelu_tanh", "mish", "softplus", "softsign", "exp", "log", "sqrt", "reciprocal", "abs",
 * "neg", "erf", "floor", "ceil", "round" (ties to even), "sign", "tanh", "sigmoid". */
typedef struct clq_unary_attrs {
    float alpha, beta;
} clq_unary_attrs;

/* "prelu": x (..., C), slope (C) or (1): x, or slope x below 0. No attributes. */

/* "dynamic_quantize": x of 2 to CLQ_MAX_RANK dimensions, rounded to what codes 0..255 stand for by
 * the range of each sample, (3) and (4) of docs/quantization.md. Reals in every mode; gradients go
 * straight through. No attributes. */

/* Axes are those of the tensors as they are stored; axis 0 is the batch. */

typedef struct clq_reshape_attrs { /* "reshape", "expand": x becomes of this shape */
    int rank;
    int64_t dim[CLQ_MAX_RANK];
} clq_reshape_attrs;

typedef struct clq_transpose_attrs { /* "transpose": axis k of y is axis perm[k] of x */
    int perm[CLQ_MAX_RANK];
} clq_transpose_attrs;

/* "slice": count[a] elements along axis a, from start[a] on, step[a] apart, which may be negative
 */
typedef struct clq_slice_attrs {
    int64_t start[CLQ_MAX_RANK], step[CLQ_MAX_RANK], count[CLQ_MAX_RANK];
} clq_slice_attrs;

typedef struct clq_concat_attrs { /* "concat": up to CLQ_MAX_INPUTS inputs */
    int axis;
} clq_concat_attrs;

/* What a padding consists of: a value, the element at the edge, or x mirrored at the edge (which is
 * not repeated), or x again. */
typedef enum clq_pad_mode {
    CLQ_PAD_CONSTANT,
    CLQ_PAD_EDGE,
    CLQ_PAD_REFLECT,
    CLQ_PAD_WRAP
} clq_pad_mode;

typedef struct clq_pad_attrs {                         /* "pad" */
    int64_t before[CLQ_MAX_RANK], after[CLQ_MAX_RANK]; /* elements along each axis */
    clq_pad_mode mode;
    float value; /* CONSTANT */
} clq_pad_attrs;

/* How a block of pixels is one of channels: (block, block, C), or (C, block, block). */
typedef enum clq_depth_mode { CLQ_DEPTH_DCR, CLQ_DEPTH_CRD } clq_depth_mode;

typedef struct clq_space_depth_attrs { /* "depth_to_space", "space_to_depth": x (N,H,W,C) */
    int block;
    clq_depth_mode mode;
} clq_space_depth_attrs;

/* "relu", "relu6", "global_avg_pool" and "global_max_pool" (N,H,W,C)->(N,C), "flatten"
 * (N,..)->(N,F) in the order of the axes: no attributes. Formats convert a flatten's following
 * weights from C,H,W order. */

/* What a loss takes of the network: what a softmax or log_softmax over the classes, at its end,
 * reads; without one, the first output. The value has the output's shape. */
int clq_graph_logits(const clq_graph *graph);

/* ---- running an operator ---- */

typedef enum clq_exec_mode {
    CLQ_EXEC_FLOAT,      /* FP32 inference; batch norm uses running statistics */
    CLQ_EXEC_TRAIN,      /* FP32 training: batch statistics, dropout, keeps what backward reads */
    CLQ_EXEC_FAKE_QUANT, /* inference on codes held as floats (q - z), exact */
    CLQ_EXEC_QAT,        /* the same with observers and a straight-through backward */
    CLQ_EXEC_INT8,       /* the integer network: codes as bytes, s8 weights, int32 sums */
} clq_exec_mode;

typedef struct clq_exec clq_exec;

typedef struct clq_learned_scales clq_learned_scales; /* host/ops/learned_scales.h */

/* Scales, zero points, limits and observers of every quantized activation (and, of the constants of
 * elementwise operators, all but observers), in device tables indexed
 * by value id, so that QAT changes them without the host, and how weights get their scales. Made by
 * quant/ (or, for FAKE_QUANT, from the graph's qparams by the executor), read by operators. */
typedef struct clq_qstate {
    clq_buffer *scale;      /* F32 (value_count) */
    clq_buffer *zero_point; /* S32 (value_count) */
    clq_buffer *limits;     /* S32 (value_count, 2): the lowest and the highest code of its type */
    clq_buffer *range; /* F32 (value_count, 2): the largest -x and the largest x seen, both >= 0 */
    bool observe;      /* QAT: operators also widen `range` */
    /* load_parameters gives F32 weights scales by equation (5) of docs/quantization.md; otherwise
     * they keep those of value->q. */
    bool choose_weight_scales;
    bool per_tensor_weights;
    /* load_parameters gives constants of elementwise operators scales by equation (27); otherwise
     * they have those of value->q. */
    bool choose_constant_scales;
    int max_shift;     /* scales are powers of two, exponents within +-max_shift; -1: any scale */
    bool int8_forward; /* QAT: layers' sums by the integer network's kernels */
    clq_learned_scales *learned; /* QAT: those that are parameters; NULL: none. Not owned */
} clq_qstate;

typedef struct clq_tensor {
    clq_buffer *buffer; /* NULL when the input is absent or the gradient is not wanted */
    clq_shape shape;    /* with the real batch in dim[0] for activations */
    clq_dtype dtype;    /* F32, or U8 with `pitch` bytes a pixel in INT8 mode */
    int pitch;          /* elements between pixels: C for F32, C rounded up to 4 for U8 */
    const clq_value *value;
} clq_tensor;

/* What an operator's functions get: one node of one executor. Lives as long as the executor. */
struct clq_op_run {
    clq_exec *exec;
    clq_device *device;
    const clq_graph *graph;
    const clq_node *node;
    int node_index;
    clq_exec_mode mode;
    int batch;
    const clq_qstate *qstate;    /* FAKE_QUANT and QAT; else NULL */
    clq_requantizer requantizer; /* the graph's */
    bool fixed_sums;             /* FLOAT: clq_exec_options.fixed_sums */
    clq_ranks *ranks; /* TRAIN: whose batches batch norm takes together; NULL: this one */
    clq_tensor in[CLQ_MAX_INPUTS], out;
    /* Backward: gradient of the loss with respect to each input and to the output, F32, of the
     * tensor's shape. Parameter gradients are overwritten; an activation's gradient is added to
     * when `accumulate[i]` (it has several readers). Gradients are always of real values, also on
     * codes. A grad_in that is not wanted has no buffer. */
    clq_tensor grad_in[CLQ_MAX_INPUTS], grad_out;
    bool accumulate[CLQ_MAX_INPUTS];
    /* An "add" node that reads this node's output and nothing else does, executed in this node's
     * epilogue: `residual` is its other input, `out` the add's output. When training (batch_norm
     * only) the gradient goes to grad_residual as well. */
    const clq_node *fused_add;
    clq_tensor residual, grad_residual;
    bool accumulate_residual;
    /* A "relu" or "relu6" node that alone reads the result so far, executed in the epilogue too.
     * When training, `out` is there in backward only behind a fused_add too. */
    const clq_node *fused_act;
    /* The node's parameters are frozen: no gradients for them, and batch norm takes its running
     * statistics and leaves them alone. */
    bool frozen;
    /* This forward only makes `out` again, for the backward pass, from the same inputs. What the
     * first one left in the operator's state and in the graph's states stays as it is. */
    bool recomputes;
    void *state;         /* the operator's own; made by prepare, freed by release */
    uint64_t seed, step; /* for dropout: Philox key and counter */
};

/* What an operator does in the quantized modes (FAKE_QUANT, QAT, INT8); NULLs as in clq_op. */
struct clq_quantized_op {
    clq_status (*prepare)(clq_op_run *run);
    clq_status (*load_parameters)(clq_op_run *run);
    clq_status (*forward)(clq_op_run *run);
    clq_status (*backward)(clq_op_run *run); /* QAT */
    void (*release)(clq_op_run *run);
    int backward_reads; /* CLQ_READS_* */
};

typedef enum clq_loss_kind {
    CLQ_LOSS_CROSS_ENTROPY,
    CLQ_LOSS_MSE,
    CLQ_LOSS_OUTPUT_ERROR, /* of a teacher alone, for any outputs: the sum over the outputs of
                              |output - teacher's|^2 / |teacher's|^2 */
} clq_loss_kind;

const clq_op *const *clq_op_list(size_t *count);

CLQ_API_END
#endif
