/* Model files: ONNX (FP32, QDQ and QOperator), safetensors, and encodings (scales by name).
 *
 * Everything read is checked before it is used: a file can only be loaded or refused, with
 * CLQ_BAD_DATA and a text that names the file, the place in it and the rule it breaks. Everything
 * written appears complete or not at all. */
#ifndef CLQUANT_FORMATS_H
#define CLQUANT_FORMATS_H

#include <clquant/graph.h>

CLQ_API_BEGIN

/* ---- ONNX ---- */

/* Loads a network (clq_graph_destroy it). What becomes of it depends on the file:
 *
 *   with BatchNormalization or Dropout       trained form
 *   neither                                  folded form (graph->folded), activations fused
 *   Quantize/DequantizeLinear, S8 weights    integer form
 *   the same around FP32 weights             quantized form
 *
 * The file's (N, C, H, W) becomes (N, H, W, C), its weights (OC, IC/G, KH, KW) become
 * (OC, KH, KW, IC/G); columns of a linear layer behind a flatten are put in H, W, C order. The
 * batch may be symbolic or any number; other dimensions must be numbers. metadata_props become the
 * graph's metadata. External data is read from below the file's folder. CLQ_BAD_DATA names node,
 * operator and rule when something cannot be mapped; CLQ_NO_INPUT when the file cannot be read. */
clq_status clq_onnx_load(const char *path, clq_graph **graph);

/* Dimensions of an input that the file leaves open; a number that the file has must be the same. */
typedef struct clq_onnx_shape {
    const char *input;
    int rank;
    int64_t dim[CLQ_MAX_AXES];
} clq_onnx_shape;
/* The same with shapes[count] of inputs; NULL: none. CLQ_USAGE names an input that the model does
 * not have, or a dimension that differs. */
clq_status clq_onnx_load_shaped(const char *path, const clq_onnx_shape *shapes, size_t count,
                                clq_graph **graph);

/* The same from `size` bytes in memory; `name` stands for the path in errors. External data, which
 * would need a folder, is refused. */
clq_status clq_onnx_load_memory(const void *data, size_t size, const char *name, clq_graph **graph);

/* How a network on codes is written. */
typedef enum clq_onnx_form {
    CLQ_ONNX_QDQ,           /* QuantizeLinear and DequantizeLinear around operators on reals */
    CLQ_ONNX_QOPERATOR,     /* QLinearConv, QLinearMatMul; MaxPool, Reshape and others of codes */
    CLQ_ONNX_QOPERATOR_ORT, /* ONNX Runtime's too (com.microsoft): QGemm, QLinearAdd, ... */
    CLQ_ONNX_FORM_COUNT
} clq_onnx_form;
/* "qdq", "qoperator", "qoperator-ort"; NULL when there is no such form. */
const char *clq_onnx_form_name(clq_onnx_form form);

enum { CLQ_ONNX_OLDEST_OPSET = 13, CLQ_ONNX_NEWEST_OPSET = 21 };

typedef struct clq_onnx_options {
    clq_onnx_form form; /* QOPERATOR..: of integer networks. What its operators do not say stays in
                           QDQ form between them, and the log tells how much */
    int opset;          /* 0: the oldest from 13 on that has all that the network needs */
} clq_onnx_options;

/* clq_onnx_save by options; NULL: the usual ones, all 0. CLQ_USAGE where the network does not have
 * the form, or needs a newer opset. An integer network is read back before anything is written:
 * CLQ_INTERNAL names a node that would be another. */
clq_status clq_onnx_save_as(const clq_graph *graph, const clq_onnx_options *options,
                            const char *path);

/* Writes opset 13, IR version 8: inputs and outputs under the graph's names, float (N, C, H, W) or
 * (N, C), N symbolic. A float graph becomes an FP32 model (trained form: with BatchNormalization);
 * a graph with qparams gets QuantizeLinear -> DequantizeLinear behind every quantized activation,
 * S8 weights and S32 biases with DequantizeLinear (axis 0). Metadata goes to metadata_props.
 * CLQ_BAD_DATA when the model would exceed protobuf's 2 GiB; CLQ_CANNOT_CREATE, CLQ_IO from the
 * file. */
clq_status clq_onnx_save(const clq_graph *graph, const char *path);

/* ---- named tensors: safetensors ---- */

enum { CLQ_FILE_MAX_RANK = 8 };

typedef enum clq_file_dtype {
    CLQ_FILE_F32,
    CLQ_FILE_F16,
    CLQ_FILE_BF16,
    CLQ_FILE_F64,
    CLQ_FILE_I8,
    CLQ_FILE_U8,
    CLQ_FILE_I32,
    CLQ_FILE_I64,
} clq_file_dtype;

size_t clq_file_dtype_size(clq_file_dtype dtype);
const char *clq_file_dtype_name(clq_file_dtype dtype); /* "F32" */

typedef struct clq_file_tensor {
    const char *name;
    clq_file_dtype dtype;
    int rank; /* 0 for a scalar */
    int64_t dim[CLQ_FILE_MAX_RANK];
    const void *data; /* little-endian, aligned for dtype */
    size_t size;      /* bytes */
} clq_file_tensor;

/* Tensors by name and a map of strings: what one .safetensors file holds. */
typedef struct clq_tensors clq_tensors;

clq_status clq_tensors_create(clq_tensors **tensors);
void clq_tensors_destroy(clq_tensors *tensors); /* NULL ok */

/* Reads a whole file. CLQ_BAD_DATA unless the header is strict JSON without double keys, all
 * offsets are in bounds and the tensors cover the data without gap or overlap. */
clq_status clq_tensors_load(const char *path, clq_tensors **tensors);
/* The same from memory (copied); `name` stands for the path in errors. */
clq_status clq_tensors_load_memory(const void *data, size_t size, const char *name,
                                   clq_tensors **tensors);
/* Writes the largest element types first and names in order, so equal contents give equal bytes and
 * every tensor is aligned. Complete or not at all. */
clq_status clq_tensors_save(const clq_tensors *tensors, const char *path);

/* Adds a tensor. `data` is copied by add; by lend it stays the caller's and must outlive `tensors`.
 * CLQ_USAGE for a name that is taken, empty or "__metadata__", and for a rank or dimension out of
 * range. */
clq_status clq_tensors_add(clq_tensors *tensors, const char *name, clq_file_dtype dtype, int rank,
                           const int64_t *dim, const void *data);
clq_status clq_tensors_lend(clq_tensors *tensors, const char *name, clq_file_dtype dtype, int rank,
                            const int64_t *dim, const void *data);

int clq_tensors_count(const clq_tensors *tensors);
const clq_file_tensor *clq_tensors_at(const clq_tensors *tensors, int index); /* NULL past it */
const clq_file_tensor *clq_tensors_find(const clq_tensors *tensors, const char *name); /* or NULL */

clq_status clq_tensors_set_metadata(clq_tensors *tensors, const char *key, const char *text);
const char *clq_tensors_get_metadata(const clq_tensors *tensors, const char *key); /* or NULL */

/* Converts F32, F16, BF16 or F64 elements to floats (as many as the tensor has). CLQ_BAD_DATA for
 * integers. */
clq_status clq_file_tensor_to_f32(const clq_file_tensor *tensor, float *out);

/* ---- weights under torchvision's names ---- */

/* Puts a state dict into a float graph: every parameter and state must be in the file under its own
 * name with torch's shape (OC, IC/G, KH, KW), and nothing else may be. Prefixes of wrappers
 * ("module.", "_orig_mod.", "model.", ...) are taken off where that lets more names match, which
 * the log tells; "num_batches_tracked" is left out, F16, BF16 and F64 converted. CLQ_BAD_DATA
 * counts the tensors that are missing, unexpected or of another shape, lists up to five with the
 * nearest names, and leaves the graph as it was. */
clq_status clq_weights_load(clq_graph *graph, const char *path);
/* For other classes than those of the file: the last layer's parameters stay as they are where the
 * file has none of their shape. The log tells what was loaded and what was not. */
clq_status clq_weights_load_new_head(clq_graph *graph, const char *path);
/* As clq_weights_load, from tensors already read; `name` stands for the path in errors. */
clq_status clq_weights_load_tensors(clq_graph *graph, const clq_tensors *tensors, const char *name);

/* Writes all F32 parameters and states in torch's layout under their names. */
clq_status clq_weights_save(const clq_graph *graph, const char *path);

/* ---- encodings: scales by name, without the network ---- */

typedef enum clq_encodings_format {
    CLQ_ENCODINGS_AIMET_0_6_1, /* AIMET's JSON: by tensors' names */
    CLQ_ENCODINGS_AIMET_1_0_0,
    CLQ_ENCODINGS_NCNN, /* ncnn's calibration table: by layers' names, of weights and of what layers
                           read; its scale is one over clquant's */
    CLQ_ENCODINGS_FORMAT_COUNT
} clq_encodings_format;
/* "aimet-0.6.1", "aimet-1.0.0", "ncnn"; NULL when there is no such format. */
const char *clq_encodings_format_name(clq_encodings_format format);

/* Writes the scales of a quantized or integer network under the names that clq_onnx_save gives its
 * values. CLQ_USAGE for a float network. What ncnn cannot say exactly, codes that are not -127..127
 * around 0, is widened, and the log counts it. */
clq_status clq_encodings_save(const clq_graph *graph, clq_encodings_format format,
                              const char *path);

typedef struct clq_encodings clq_encodings;
/* Reads a file of any of the formats (clq_encodings_destroy it). */
clq_status clq_encodings_load(const char *path, clq_encodings **encodings);
clq_status clq_encodings_load_memory(const void *data, size_t size, const char *name,
                                     clq_encodings **encodings);
void clq_encodings_destroy(clq_encodings *encodings); /* NULL ok */
const char *clq_encodings_path(const clq_encodings *encodings);

/* Sets scales, zero points and types of the activations, or parameters, of a graph that have
 * qparams already and that the file names, by the graph's or the names of the file that the graph
 * was read from; given[value_count] becomes true for them, and for activations whose codes are
 * theirs. CLQ_BAD_DATA for what cannot be executed, and where numbers of channels differ. */
clq_status clq_encodings_apply(clq_encodings *encodings, clq_graph *graph, bool parameters,
                               bool *given);
/* Warns of names that no value had so far; CLQ_BAD_DATA when these are all. */
clq_status clq_encodings_check_used(const clq_encodings *encodings);

CLQ_API_END
#endif
