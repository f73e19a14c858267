/* From bytes that may be hostile to an unpacked ONNX model. */
#ifndef CLQ_FORMATS_ONNX_WIRE_H
#define CLQ_FORMATS_ONNX_WIRE_H

#include <clquant/base.h>

#include "onnx.pb-c.h"

/* Nested messages of a network: model, graph, node, attribute, tensor; 7 for a value's dimension.
 */
enum { CLQ_ONNX_MAX_DEPTH = 12 };

/* Loading may take so many times the bytes of a model and of its data files. */
enum { CLQ_ONNX_MEMORY_FACTOR = 4 };

/* The metadata keys of what clquant writes about the file itself: the graph's form (trained,
 * folded, quantized, integer), the version that wrote it, and the types of codes that ONNX has no
 * name for, as JSON: {"conv1.weight": "s3"}. A graph does not keep them. */
#define ONNX_FORM_KEY "clquant.form"
#define ONNX_VERSION_KEY "clquant.version"
#define ONNX_TYPES_KEY "clquant.types"
/* Names of nodes that work on reals where all else in the file says codes, as a JSON array. */
#define ONNX_REAL_NODES_KEY "clquant.real_nodes"

/* Memory that loading a file of `size` bytes may use: in proportion, with room for small files that
 * consist of many small messages. */
size_t clq_onnx_memory_limit(size_t size);

/* Checks the wire format by ONNX's schema before anything is allocated: protobuf-c recurses without
 * a limit, merges repeated messages and counts on honest lengths. CLQ_BAD_DATA names the byte. */
clq_status clq_onnx_scan(const uint8_t *data, size_t size);

/* The same of an attribute, in a field of a function's that older schemas do not know. */
clq_status clq_onnx_scan_attribute(const uint8_t *data, size_t size);
/* The bytes of a field that holds a length before them; false: it does not. */
bool clq_onnx_field_bytes(const ProtobufCMessageUnknownField *field, const uint8_t **data,
                          size_t *size);

/* A clq_file_check: that the file is of no other known kind (foreign.h), begins with a field of a
 * model's, and ends below protobuf's 2 GiB. */
clq_status clq_onnx_check_head(void *context, const char *path, const void *head, size_t head_size,
                               uint64_t size);

typedef struct clq_onnx_memory {
    ProtobufCAllocator allocator;
    size_t live, limit;
    bool exceeded;  /* the limit, or */
    bool exhausted; /* the machine's memory */
} clq_onnx_memory;

/* Scans and unpacks. The model lives in `memory`, which must stay where it is until
 * clq_onnx_model_free. */
clq_status clq_onnx_unpack(const void *data, size_t size, clq_onnx_memory *memory,
                           Onnx__ModelProto **model);
void clq_onnx_model_free(clq_onnx_memory *memory, Onnx__ModelProto *model); /* NULL ok */

#endif
