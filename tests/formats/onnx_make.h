/* Small ONNX models written in a few lines, for tests of the loader. */
#ifndef CLQ_TESTS_FORMATS_ONNX_MAKE_H
#define CLQ_TESTS_FORMATS_ONNX_MAKE_H

#include <clquant/formats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/arena.h"
#include "formats/onnx/wire.h"
#include "support/clq_test.h"

enum { MAKE_MOST = 64 };

typedef struct make_model {
    clq_arena arena;
    Onnx__ModelProto model;
    Onnx__GraphProto graph;
    Onnx__OperatorSetIdProto opset, *opsets[1];
    Onnx__NodeProto *nodes[MAKE_MOST];
    Onnx__TensorProto *tensors[MAKE_MOST];
    Onnx__ValueInfoProto *inputs[4], *outputs[4];
    Onnx__StringStringEntryProto *metadata[4];
    uint64_t stream;
} make_model;

#define MAKE_NEW(m, type, init)                                                                    \
    type *made = NULL;                                                                             \
    do {                                                                                           \
        void *memory_;                                                                             \
        assert_ok(clq_arena_take(&(m)->arena, 1, sizeof(type), &memory_));                         \
        made = memory_;                                                                            \
        init(made);                                                                                \
    } while (0)

static inline char *make_text(make_model *m, const char *text) {
    char *copy;
    assert_ok(clq_arena_format(&m->arena, &copy, "%s", text));
    return copy;
}

static inline void *make_array(make_model *m, size_t count, size_t size) {
    void *array;
    assert_ok(clq_arena_take(&m->arena, count, size, &array));
    return array;
}

/* A float value "NAME" of (N, 3, 8, 8), or of the dims given; -1: symbolic. */
static inline Onnx__ValueInfoProto *make_info(make_model *m, const char *name, int rank,
                                              const int64_t *dim) {
    MAKE_NEW(m, Onnx__ValueInfoProto, onnx__value_info_proto__init);
    Onnx__TypeProto *type = make_array(m, 1, sizeof *type);
    Onnx__TypeProto__Tensor *tensor = make_array(m, 1, sizeof *tensor);
    Onnx__TensorShapeProto *shape = make_array(m, 1, sizeof *shape);
    onnx__type_proto__init(type);
    onnx__type_proto__tensor__init(tensor);
    onnx__tensor_shape_proto__init(shape);
    shape->dim = make_array(m, (size_t)rank, sizeof *shape->dim);
    shape->n_dim = (size_t)rank;
    for (int i = 0; i < rank; i++) {
        Onnx__TensorShapeProto__Dimension *d = make_array(m, 1, sizeof *d);
        onnx__tensor_shape_proto__dimension__init(d);
        if (dim[i] >= 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            d->dim_value = dim[i];
        } else {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = make_text(m, "N");
        }
        shape->dim[i] = d;
    }
    tensor->has_elem_type = true;
    tensor->elem_type = ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    tensor->shape = shape;
    type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    type->tensor_type = tensor;
    made->name = make_text(m, name);
    made->type = type;
    return made;
}

/* Opset 13, input "x" (N, 3, 8, 8), output "y". */
static inline make_model *make_start(void) {
    make_model *m = calloc(1, sizeof *m);
    static const int64_t dim[4] = {-1, 3, 8, 8};
    onnx__model_proto__init(&m->model);
    onnx__graph_proto__init(&m->graph);
    onnx__operator_set_id_proto__init(&m->opset);
    m->opset.has_version = true;
    m->opset.version = 13;
    m->opsets[0] = &m->opset;
    m->model.has_ir_version = true;
    m->model.ir_version = 8;
    m->model.opset_import = m->opsets;
    m->model.n_opset_import = 1;
    m->model.metadata_props = m->metadata;
    m->model.graph = &m->graph;
    m->graph.name = make_text(m, "made");
    m->graph.node = m->nodes;
    m->graph.initializer = m->tensors;
    m->graph.input = m->inputs;
    m->graph.output = m->outputs;
    m->inputs[m->graph.n_input++] = make_info(m, "x", 4, dim);
    m->outputs[m->graph.n_output++] = make_info(m, "y", 2, dim);
    return m;
}

static inline void make_free(make_model *m) {
    clq_arena_free(&m->arena);
    free(m);
}

static inline size_t make_split(make_model *m, const char *names, char ***out) {
    char *copy = make_text(m, names);
    size_t count = 0;
    *out = make_array(m, 16, sizeof **out);
    while (copy && *copy) {
        char *comma = strchr(copy, ',');
        if (comma) {
            *comma = '\0';
        }
        (*out)[count++] = strcmp(copy, "-") == 0 ? make_text(m, "") : copy;
        copy = comma ? comma + 1 : NULL;
    }
    return count;
}

/* A node; `inputs` and `outputs` separated by commas, "-" for an absent one. */
static inline Onnx__NodeProto *make_node(make_model *m, const char *op, const char *inputs,
                                         const char *outputs) {
    MAKE_NEW(m, Onnx__NodeProto, onnx__node_proto__init);
    made->op_type = make_text(m, op);
    made->n_input = make_split(m, inputs, &made->input);
    made->n_output = make_split(m, outputs, &made->output);
    made->attribute = make_array(m, 16, sizeof *made->attribute);
    m->nodes[m->graph.n_node++] = made;
    return made;
}

static inline Onnx__AttributeProto *make_attribute(make_model *m, const char *name, int type) {
    MAKE_NEW(m, Onnx__AttributeProto, onnx__attribute_proto__init);
    Onnx__NodeProto *node = m->nodes[m->graph.n_node - 1];
    made->name = make_text(m, name);
    made->has_type = true;
    made->type = (Onnx__AttributeProto__AttributeType)type;
    node->attribute[node->n_attribute++] = made;
    return made;
}

/* Attributes of the newest node. */
static inline void make_int(make_model *m, const char *name, int64_t value) {
    Onnx__AttributeProto *a = make_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = true;
    a->i = value;
}

static inline void make_float(make_model *m, const char *name, float value) {
    Onnx__AttributeProto *a = make_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = true;
    a->f = value;
}

static inline void make_string(make_model *m, const char *name, const char *value) {
    Onnx__AttributeProto *a =
        make_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = true;
    a->s = (ProtobufCBinaryData){strlen(value), (uint8_t *)make_text(m, value)};
}

static inline void make_ints_of(make_model *m, const char *name, const int64_t *values,
                                size_t count) {
    Onnx__AttributeProto *a = make_attribute(m, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->ints = make_array(m, count, sizeof *a->ints);
    memcpy(a->ints, values, count * sizeof *values);
    a->n_ints = count;
}
#define make_ints(m, name, ...)                                                                    \
    make_ints_of((m), (name), (const int64_t[]){__VA_ARGS__},                                      \
                 sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- tensors ---- */

typedef struct make_dims {
    int rank;
    int64_t dim[8];
} make_dims;
#define DIMS(...) ((make_dims){sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), {__VA_ARGS__}})
#define SCALAR ((make_dims){0, {0}})

static inline Onnx__TensorProto *make_tensor(make_model *m, const char *name, int type,
                                             make_dims dims, const void *data, size_t size) {
    MAKE_NEW(m, Onnx__TensorProto, onnx__tensor_proto__init);
    made->name = make_text(m, name);
    made->has_data_type = true;
    made->data_type = type;
    made->dims = make_array(m, (size_t)dims.rank, sizeof *made->dims);
    made->n_dims = (size_t)dims.rank;
    memcpy(made->dims, dims.dim, (size_t)dims.rank * sizeof *made->dims);
    made->has_raw_data = true;
    made->raw_data.len = size;
    made->raw_data.data = make_array(m, size, 1);
    if (size > 0) {
        memcpy(made->raw_data.data, data, size);
    }
    m->tensors[m->graph.n_initializer++] = made;
    return made;
}

/* An entry of a tensor's external_data. */
static inline void make_external(make_model *m, Onnx__TensorProto *tensor, const char *key,
                                 const char *value) {
    MAKE_NEW(m, Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init);
    Onnx__StringStringEntryProto **entries =
        make_array(m, tensor->n_external_data + 1, sizeof *entries);
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        entries[i] = tensor->external_data[i];
    }
    made->key = make_text(m, key);
    made->value = make_text(m, value);
    entries[tensor->n_external_data++] = made;
    tensor->external_data = entries;
    tensor->has_data_location = true;
    tensor->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
}

static inline size_t make_count(make_dims dims) {
    size_t count = 1;
    for (int i = 0; i < dims.rank; i++) {
        count *= (size_t)dims.dim[i];
    }
    return count;
}

/* Random floats. */
static inline const float *make_weights(make_model *m, const char *name, make_dims dims) {
    size_t count = make_count(dims);
    float *data = make_array(m, count, sizeof *data);
    clq_test_fill_f32(data, count, -1, 1, ++m->stream);
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims, data, count * sizeof *data);
    return data;
}

static inline const int8_t *make_codes(make_model *m, const char *name, make_dims dims) {
    size_t count = make_count(dims);
    int8_t *data = make_array(m, count, 1);
    clq_test_fill_s8(data, count, -127, 127, ++m->stream);
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT8, dims, data, count);
    return data;
}

static inline void make_metadata(make_model *m, const char *key, const char *value) {
    MAKE_NEW(m, Onnx__StringStringEntryProto, onnx__string_string_entry_proto__init);
    made->key = make_text(m, key);
    made->value = make_text(m, value);
    m->metadata[m->model.n_metadata_props++] = made;
}

static inline void make_scalar(make_model *m, const char *name, float value) {
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, SCALAR, &value, sizeof value);
}

static inline void make_byte(make_model *m, const char *name, bool is_signed, int value) {
    uint8_t byte = (uint8_t)value;
    make_tensor(m, name,
                is_signed ? ONNX__TENSOR_PROTO__DATA_TYPE__INT8
                          : ONNX__TENSOR_PROTO__DATA_TYPE__UINT8,
                SCALAR, &byte, 1);
}

static inline void make_longs_of(make_model *m, const char *name, const int64_t *values,
                                 size_t count) {
    make_tensor(m, name, ONNX__TENSOR_PROTO__DATA_TYPE__INT64, DIMS((int64_t)count), values,
                count * sizeof *values);
}
#define make_longs(m, name, ...)                                                                   \
    make_longs_of((m), (name), (const int64_t[]){__VA_ARGS__},                                     \
                  sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- loading ---- */

static inline uint8_t *make_bytes(make_model *m, size_t *size) {
    *size = onnx__model_proto__get_packed_size(&m->model);
    uint8_t *bytes = make_array(m, *size, 1);
    onnx__model_proto__pack(&m->model, bytes);
    return bytes;
}

static inline clq_status make_load(make_model *m, clq_graph **graph) {
    size_t size;
    uint8_t *bytes = make_bytes(m, &size);
    *graph = NULL;
    return clq_onnx_load_memory(bytes, size, "made.onnx", graph);
}

/* Loads and frees the model. */
static inline clq_graph *make_finish(make_model *m) {
    clq_graph *graph;
    assert_ok(make_load(m, &graph));
    make_free(m);
    return graph;
}

/* The model must be refused, with this in the error. */
static inline void make_refused(make_model *m, const char *error) {
    clq_graph *graph;
    assert_status(make_load(m, &graph), CLQ_BAD_DATA);
    assert_null(graph);
    assert_error_has("made.onnx");
    assert_error_has(error);
    make_free(m);
}

#endif
