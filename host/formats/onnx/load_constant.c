/* Tensors of an ONNX file as host arrays. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/half.h"
#include "formats/onnx/load.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ONNX's raw_data is used in place, which needs a little-endian machine"
#endif

#define TYPE(name) ONNX__TENSOR_PROTO__DATA_TYPE__##name

void onnx_dims_text(int rank, const int64_t *dim, char *text, size_t size) {
    size_t used = 0;
    snprintf(text, size, rank == 0 ? "scalar" : "");
    for (int i = 0; i < rank && used < size; i++) {
        int length = snprintf(text + used, size - used, i ? "x%" PRId64 : "%" PRId64, dim[i]);
        used += length > 0 ? (size_t)length : 0;
    }
}

const char *onnx_type_name(int64_t type, char *text, size_t size) {
    static const char *const names[] = {
        "undefined",      "float32",    "uint8",          "int8",       "uint16",   "int16",
        "int32",          "int64",      "string",         "bool",       "float16",  "float64",
        "uint32",         "uint64",     "complex64",      "complex128", "bfloat16", "float8e4m3fn",
        "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz", "uint4",      "int4",     "float4e2m1",
    };
    if (type >= 0 && type < (int64_t)(sizeof names / sizeof names[0])) {
        snprintf(text, size, "%s", names[type]);
    } else {
        snprintf(text, size, "number %lld", (long long)type);
    }
    return text;
}

bool onnx_code_range(onnx_type type, int32_t *lowest, int32_t *highest) {
    static const struct {
        onnx_type type;
        int32_t lowest, highest;
    } ranges[] = {
        {ONNX_INT8, -128, 127}, {ONNX_UINT8, 0, 255}, {ONNX_INT4, -8, 7}, {ONNX_UINT4, 0, 15}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (ranges[i].type == type) {
            *lowest = ranges[i].lowest;
            *highest = ranges[i].highest;
            return true;
        }
    }
    return false;
}

int32_t onnx_code(const onnx_constant *constant, size_t i) {
    const onnx_type type = constant->type;
    return type == ONNX_INT32                       ? ((const int32_t *)constant->data)[i]
           : type == ONNX_INT8 || type == ONNX_INT4 ? ((const int8_t *)constant->data)[i]
                                                    : ((const uint8_t *)constant->data)[i];
}

static bool is_half_byte(int64_t type) {
    return type == ONNX_INT4 || type == ONNX_UINT4;
}

size_t onnx_type_size(onnx_type type) {
    if (is_half_byte(type)) {
        return 1;
    }
    switch (type) {
    case ONNX_INT64:
        return 8;
    case ONNX_FLOAT:
    case ONNX_INT32:
        return 4;
    case ONNX_INT8:
    case ONNX_UINT8:
    case ONNX_BOOL:
        return 1;
    default:
        return 0;
    }
}

/* ---- making ---- */

/* Fills in a constant's shape; false when the element count overflows. */
static bool set_shape(onnx_constant *constant, int rank, const int64_t *dim) {
    size_t count = 1;
    for (int i = 0; i < rank; i++) {
        size_t extent;
        if (!clq_narrow_size(dim[i], &extent) || !clq_mul_size(count, extent, &count)) {
            return false;
        }
        constant->dim[i] = dim[i];
    }
    constant->rank = rank;
    constant->count = count;
    return count <= PTRDIFF_MAX / 8;
}

clq_status onnx_constant_make(clq_arena *arena, const char *name, onnx_type type, int rank,
                              const int64_t *dim, onnx_constant **constant, void **data) {
    void *made;
    CLQ_TRY(clq_arena_take(arena, 1, sizeof **constant, &made));
    *constant = made;
    (*constant)->name = name;
    (*constant)->type = type;
    if (!set_shape(*constant, rank, dim)) {
        return clq_fail(CLQ_BAD_DATA, "tensor \"%.200s\": its dimensions are out of range", name);
    }
    CLQ_TRY(clq_arena_take(arena, (*constant)->count, onnx_type_size(type), data));
    (*constant)->data = *data;
    return CLQ_OK;
}

/* ---- reading ---- */

typedef struct source { /* where the elements of one tensor are */
    const void *raw;
    size_t raw_size, typed_count;
    const void *typed;
} source;

static source find_source(const Onnx__TensorProto *tensor) {
    source from = {.raw = tensor->raw_data.data, .raw_size = tensor->raw_data.len};
    switch (tensor->data_type) {
    case TYPE(FLOAT):
        from.typed = tensor->float_data;
        from.typed_count = tensor->n_float_data;
        break;
    case TYPE(DOUBLE):
        from.typed = tensor->double_data;
        from.typed_count = tensor->n_double_data;
        break;
    case TYPE(INT64):
        from.typed = tensor->int64_data;
        from.typed_count = tensor->n_int64_data;
        break;
    default:
        from.typed = tensor->int32_data;
        from.typed_count = tensor->n_int32_data;
    }
    return from;
}

/* Bytes of one element in raw_data; 0: a type that is not supported. */
static size_t raw_element_size(int32_t type) {
    switch (type) {
    case TYPE(DOUBLE):
        return 8;
    case TYPE(FLOAT16):
    case TYPE(BFLOAT16):
        return 2;
    default:
        return onnx_type_size((onnx_type)type);
    }
}

static size_t raw_bytes(int32_t type, size_t count) {
    return is_half_byte(type) ? count / 2 + count % 2 : count * raw_element_size(type);
}

/* Element i of a 16-bit or 8-bit type: from raw bytes, or from the int32_data that hold it. */
static int32_t small_element(const source *from, size_t element_size, size_t i) {
    if (from->typed_count > 0) {
        return ((const int32_t *)from->typed)[i];
    }
    if (element_size == 2) {
        return ((const uint16_t *)from->raw)[i];
    }
    return ((const uint8_t *)from->raw)[i];
}

static void convert_floats(const source *from, int32_t type, size_t count, float *out) {
    const double *doubles = from->typed_count ? from->typed : from->raw;
    for (size_t i = 0; i < count; i++) {
        if (type == TYPE(DOUBLE)) {
            out[i] = clq_double_to_float(doubles[i]);
        } else {
            uint16_t bits = (uint16_t)small_element(from, 2, i);
            out[i] = type == TYPE(FLOAT16) ? clq_half_to_float(bits) : clq_bfloat_to_float(bits);
        }
    }
}

/* int32_data to 8-bit elements. */
static clq_status narrow_bytes(const source *from, int32_t type, size_t count, const char *name,
                               uint8_t *out) {
    int32_t least = 0, most = 1; /* bool */
    (void)onnx_code_range((onnx_type)type, &least, &most);
    for (size_t i = 0; i < count; i++) {
        int32_t element = ((const int32_t *)from->typed)[i];
        if (element < least || element > most) {
            return clq_fail(CLQ_BAD_DATA, "tensor \"%.200s\": element %zu is %d, must be %d..%d",
                            name, i, element, least, most);
        }
        out[i] = (uint8_t)element;
    }
    return CLQ_OK;
}

/* Two elements a byte, or a number of int32_data, to one a byte. */
static clq_status spread_half_bytes(const source *from, int32_t type, size_t count,
                                    const char *name, uint8_t *out) {
    for (size_t i = 0; i < count; i++) {
        const int32_t pair = from->typed_count > 0 ? ((const int32_t *)from->typed)[i / 2]
                                                   : ((const uint8_t *)from->raw)[i / 2];
        if (pair < 0 || pair > 255) {
            return clq_fail(CLQ_BAD_DATA,
                            "tensor \"%.200s\": number %zu is %d, must be 0..255: two elements",
                            name, i / 2, pair);
        }
        const uint8_t element = (uint8_t)(pair >> (i % 2 * 4) & 15);
        out[i] = type == ONNX_INT4 && element > 7 ? (uint8_t)(element - 16) : element;
    }
    return CLQ_OK;
}

static clq_status check_tensor(const Onnx__TensorProto *tensor, onnx_constant *constant) {
    if (tensor->segment) {
        return clq_fail(
            CLQ_BAD_DATA,
            "is stored in segments, which are not supported; save the model again with onnx.save");
    }
    if (raw_element_size(tensor->data_type) == 0) {
        char type[32];
        return clq_fail(
            CLQ_BAD_DATA,
            "element type %s is not supported, only floats, int4, uint4, int8, uint8, int32, int64 "
            "and bool",
            onnx_type_name(tensor->data_type, type, sizeof type));
    }
    if (tensor->n_dims > ONNX_MAX_RANK || !set_shape(constant, (int)tensor->n_dims, tensor->dims)) {
        return clq_fail(
            CLQ_BAD_DATA,
            "its dimensions are out of range: there may be %d, their product below 2^60",
            ONNX_MAX_RANK);
    }
    return CLQ_OK;
}

/* Finds the elements, in the model or in another file: as many as the shape has. */
static clq_status read_source(onnx_loader *load, const Onnx__TensorProto *tensor,
                              const onnx_constant *shape, source *from) {
    const size_t bytes = raw_bytes(tensor->data_type, shape->count);
    const size_t numbers = is_half_byte(tensor->data_type) ? bytes : shape->count;
    *from = find_source(tensor);
    if (tensor->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL) {
        if (from->raw_size > 0 || from->typed_count > 0) {
            return clq_fail(CLQ_BAD_DATA, "its data are both in the model and in another file");
        }
        from->raw_size = bytes;
        return onnx_external_read(&load->external, &load->arena, tensor, bytes, &from->raw);
    }
    const bool typed = from->typed_count > 0;
    if ((typed && from->raw_size > 0) ||
        (typed ? from->typed_count != numbers : from->raw_size != bytes)) {
        char text[96];
        onnx_dims_text(shape->rank, shape->dim, text, sizeof text);
        return clq_fail(CLQ_BAD_DATA, "%zu %s do not make up its shape %s",
                        typed ? from->typed_count : from->raw_size, typed ? "numbers" : "bytes",
                        text);
    }
    return CLQ_OK;
}

clq_status onnx_constant_read(onnx_loader *load, const Onnx__TensorProto *tensor, const char *name,
                              const onnx_constant **constant) {
    clq_arena *arena = &load->arena;
    void *made, *data = NULL;
    source from;
    CLQ_TRY(clq_arena_take(arena, 1, sizeof(onnx_constant), &made));
    onnx_constant *read = made;
    read->name = name;
    CLQ_TRY(clq_fail_in(check_tensor(tensor, read), "tensor \"%.200s\"", name));
    CLQ_TRY(clq_fail_in(read_source(load, tensor, read, &from), "tensor \"%.200s\"", name));
    const bool typed = from.typed_count > 0;
    if (is_half_byte(tensor->data_type)) {
        CLQ_TRY(clq_arena_take(arena, read->count, 1, &data));
        CLQ_TRY(spread_half_bytes(&from, tensor->data_type, read->count, name, data));
        read->type = (onnx_type)tensor->data_type;
        read->data = data;
        *constant = read;
        return CLQ_OK;
    }
    switch (tensor->data_type) {
    case TYPE(FLOAT16):
    case TYPE(BFLOAT16):
    case TYPE(DOUBLE):
        CLQ_TRY(clq_arena_take(arena, read->count, sizeof(float), &data));
        convert_floats(&from, tensor->data_type, read->count, data);
        read->type = ONNX_FLOAT;
        read->data = data;
        break;
    case TYPE(INT8):
    case TYPE(UINT8):
    case TYPE(BOOL):
        if (typed) {
            CLQ_TRY(clq_arena_take(arena, read->count, 1, &data));
            CLQ_TRY(narrow_bytes(&from, tensor->data_type, read->count, name, data));
        }
        read->type = (onnx_type)tensor->data_type;
        read->data = typed ? data : from.raw;
        break;
    default:
        read->type = (onnx_type)tensor->data_type;
        read->data = typed ? from.typed : from.raw;
    }
    *constant = read;
    return CLQ_OK;
}

/* ---- views ---- */

/* Which scale belongs to element i: codes are (outer, dim[axis], inner). */
static void float_codes(const onnx_constant *codes, float *out) {
    size_t inner = 1;
    for (int i = codes->axis + 1; i < codes->rank; i++) {
        inner *= (size_t)codes->dim[i];
    }
    for (size_t i = 0; i < codes->count; i++) {
        size_t channel = codes->scale_count > 1 ? i / inner % codes->scale_count : 0;
        const int64_t code = (int64_t)onnx_code(codes, i) - codes->zero_point;
        out[i] = (float)code * codes->scale[channel];
    }
}

clq_status onnx_constant_number(onnx_loader *load, float number, const onnx_constant **constant) {
    onnx_constant *made;
    void *data;
    CLQ_TRY(onnx_constant_make(&load->arena, "", ONNX_FLOAT, 0, NULL, &made, &data));
    *(float *)data = number;
    *constant = made;
    return CLQ_OK;
}

clq_status onnx_constant_floats(clq_arena *arena, const onnx_constant *constant,
                                const float **values) {
    if (constant->scale) {
        void *data;
        CLQ_TRY(clq_arena_take(arena, constant->count, sizeof(float), &data));
        float_codes(constant, data);
        *values = data;
        return CLQ_OK;
    }
    if (constant->type != ONNX_FLOAT) {
        char type[32];
        return clq_fail(CLQ_BAD_DATA, "tensor \"%.200s\": has element type %s, must be float32",
                        constant->name, onnx_type_name(constant->type, type, sizeof type));
    }
    *values = constant->data;
    return CLQ_OK;
}

clq_status onnx_constant_transpose(clq_arena *arena, const onnx_constant *in, const int *perm,
                                   onnx_constant **out) {
    int64_t dim[ONNX_MAX_RANK];
    size_t stride[ONNX_MAX_RANK], step[ONNX_MAX_RANK], at[ONNX_MAX_RANK] = {0};
    size_t next = 1, size = onnx_type_size(in->type);
    for (int i = in->rank - 1; i >= 0; i--) {
        stride[i] = next;
        next *= (size_t)in->dim[i];
    }
    for (int i = 0; i < in->rank; i++) {
        dim[i] = in->dim[perm[i]];
        step[i] = stride[perm[i]] * size;
    }
    void *data;
    CLQ_TRY(onnx_constant_make(arena, in->name, in->type, in->rank, dim, out, &data));
    (*out)->scale = in->scale;
    (*out)->scale_count = in->scale_count;
    (*out)->zero_point = in->zero_point;
    for (int i = 0; i < in->rank; i++) {
        (*out)->axis = perm[i] == in->axis ? i : (*out)->axis;
    }
    const char *from = in->data;
    for (size_t i = 0; i < (*out)->count; i++) {
        memcpy((char *)data + i * size, from, size);
        for (int axis = in->rank - 1; axis >= 0; axis--) { /* count up, like an odometer */
            from += step[axis];
            if (++at[axis] < (size_t)dim[axis]) {
                break;
            }
            from -= step[axis] * at[axis];
            at[axis] = 0;
        }
    }
    return CLQ_OK;
}
