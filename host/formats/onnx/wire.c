#include "formats/onnx/wire.h"

#include <string.h>

#include "base/checked.h"
#include "base/files.h"
#include "formats/foreign.h"

/* ---- the scan ---- */

enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

enum { MAX_FIELDS = 1 << 24, MAX_FIELD_NUMBER = (1 << 29) - 1 };

typedef struct scan {
    const uint8_t *data;
    size_t at;
    size_t fields;
} scan;

static clq_status bad(const scan *s, const char *rule) {
    return clq_fail(CLQ_BAD_DATA, "not an ONNX model: byte %zu: %s", s->at, rule);
}

static clq_status read_varint(scan *s, size_t end, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 70; shift += 7) {
        if (s->at >= end) {
            return bad(s, "a number is cut off");
        }
        uint8_t byte = s->data[s->at++];
        if (shift == 63 && byte > 1) {
            return bad(s, "a number exceeds 64 bits");
        }
        *value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return CLQ_OK;
        }
    }
    return bad(s, "a number exceeds 64 bits");
}

/* The wire type of single values of a field. */
static unsigned value_wire_type(ProtobufCType type) {
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return BYTES;
    default:
        return VARINT;
    }
}

/* Packed numbers: whole ones, and nothing else. */
static clq_status scan_packed(scan *s, const ProtobufCFieldDescriptor *field, size_t end) {
    size_t size = end - s->at;
    switch (value_wire_type(field->type)) {
    case FIXED32:
        return size % 4 == 0 ? CLQ_OK : bad(s, "packed floats are cut off");
    case FIXED64:
        return size % 8 == 0 ? CLQ_OK : bad(s, "packed doubles are cut off");
    default:
        while (s->at < end) {
            uint64_t value;
            CLQ_TRY(read_varint(s, end, &value));
        }
        return CLQ_OK;
    }
}

static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *message,
                                                  uint64_t number, unsigned *index) {
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(message, (unsigned)number);
    *index = field ? (unsigned)(field - message->fields) : 0;
    return field;
}

static clq_status scan_message(scan *s, const ProtobufCMessageDescriptor *message, size_t end,
                               int depth);

/* The bytes of a length-delimited field, from s->at to `end`. */
static clq_status scan_bytes(scan *s, const ProtobufCFieldDescriptor *field, size_t end,
                             int depth) {
    switch (field->type) {
    case PROTOBUF_C_TYPE_MESSAGE:
        return scan_message(s, field->descriptor, end, depth + 1);
    case PROTOBUF_C_TYPE_STRING:
        return memchr(s->data + s->at, 0, end - s->at) ? bad(s, "a text contains a NUL") : CLQ_OK;
    case PROTOBUF_C_TYPE_BYTES:
        return CLQ_OK;
    default: /* packed, for a repeated field of numbers */
        return scan_packed(s, field, end);
    }
}

/* Fields that may come once only have their bit in *seen; all members of a oneof share the last. */
static clq_status check_once(scan *s, const ProtobufCFieldDescriptor *field, unsigned index,
                             uint64_t *seen) {
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return CLQ_OK;
    }
    uint64_t bit = UINT64_C(1) << (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF ? 63 : index);
    if (*seen & bit) {
        return bad(s, "a field comes twice that may come once");
    }
    *seen |= bit;
    return CLQ_OK;
}

/* The number and wire type that begin a field; *field is NULL when ONNX does not know it. */
static clq_status read_key(scan *s, const ProtobufCMessageDescriptor *message, size_t end,
                           const ProtobufCFieldDescriptor **field, unsigned *index,
                           unsigned *type) {
    uint64_t key;
    *field = NULL;
    *index = 0;
    CLQ_TRY(read_varint(s, end, &key));
    *type = (unsigned)(key & 7);
    if (key >> 3 < 1 || key >> 3 > MAX_FIELD_NUMBER) {
        return bad(s, "a field number is out of range");
    }
    if (*type != VARINT && *type != FIXED32 && *type != FIXED64 && *type != BYTES) {
        return bad(s, "groups and reserved wire types are not allowed");
    }
    *field = find_field(message, key >> 3, index);
    const bool packed = *field && *type == BYTES && (*field)->label == PROTOBUF_C_LABEL_REPEATED;
    if (*field && *type != value_wire_type((*field)->type) && !packed) {
        return bad(s, "a field has another wire type than ONNX gives it");
    }
    return CLQ_OK;
}

static clq_status scan_message(scan *s, const ProtobufCMessageDescriptor *message, size_t end,
                               int depth) {
    uint64_t seen = 0;
    if (depth > CLQ_ONNX_MAX_DEPTH) {
        return bad(s, "messages nest too deep");
    }
    while (s->at < end) {
        const ProtobufCFieldDescriptor *field;
        uint64_t length;
        unsigned index, type;
        if (++s->fields > MAX_FIELDS) {
            return bad(s, "too many fields");
        }
        CLQ_TRY(read_key(s, message, end, &field, &index, &type));
        if (field) {
            CLQ_TRY(check_once(s, field, index, &seen));
        }
        switch (type) {
        case VARINT:
            CLQ_TRY(read_varint(s, end, &length));
            continue;
        case FIXED32:
            length = 4;
            break;
        case FIXED64:
            length = 8;
            break;
        default: /* BYTES */
            CLQ_TRY(read_varint(s, end, &length));
            break;
        }
        if (length > end - s->at) {
            return bad(s, "a field is longer than what holds it");
        }
        size_t field_end = s->at + (size_t)length;
        if (type == BYTES && field) {
            CLQ_TRY(scan_bytes(s, field, field_end, depth));
        }
        s->at = field_end;
    }
    return CLQ_OK;
}

static clq_status check_size(uint64_t size) {
    return size <= INT32_MAX || size == CLQ_UNKNOWN_SIZE
               ? CLQ_OK
               : clq_fail(
                     CLQ_BAD_DATA,
                     "has %llu bytes, but ONNX (protobuf) ends at 2 GiB; export the model with "
                     "its weights in a file of their own (external data)",
                     (unsigned long long)size);
}

clq_status clq_onnx_scan(const uint8_t *data, size_t size) {
    scan s = {.data = data};
    CLQ_TRY(check_size(size));
    return scan_message(&s, &onnx__model_proto__descriptor, size, 1);
}

clq_status clq_onnx_scan_attribute(const uint8_t *data, size_t size) {
    enum { DEPTH = 3 }; /* in a function of a model */
    scan s = {.data = data};
    return scan_message(&s, &onnx__attribute_proto__descriptor, size, DEPTH);
}

bool clq_onnx_field_bytes(const ProtobufCMessageUnknownField *field, const uint8_t **data,
                          size_t *size) {
    scan s = {.data = field->data};
    uint64_t length;
    if (field->wire_type != PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED ||
        read_varint(&s, field->len, &length) != CLQ_OK || length != field->len - s.at) {
        return false;
    }
    *data = field->data + s.at;
    *size = (size_t)length;
    return true;
}

clq_status clq_onnx_check_head(void *context, const char *path, const void *head, size_t head_size,
                               uint64_t size) {
    scan s = {.data = head};
    const ProtobufCFieldDescriptor *field;
    unsigned index, type;
    (void)context;
    clq_status status = clq_foreign_check(CLQ_EXPECTED_ONNX, head, head_size);
    if (status == CLQ_OK) {
        status = read_key(&s, &onnx__model_proto__descriptor, head_size, &field, &index, &type);
    }
    if (status == CLQ_OK) {
        status = check_size(size);
    }
    return clq_fail_in(status, "%s", path);
}

/* ---- unpacking with bounded memory ---- */

typedef union header { /* before each block, keeps what follows aligned */
    size_t size;
    max_align_t alignment;
} header;

static void *capped_alloc(void *data, size_t size) {
    clq_onnx_memory *memory = data;
    size_t total;
    if (!clq_add_size(size, sizeof(header), &total) || total > memory->limit - memory->live) {
        memory->exceeded = true;
        return NULL;
    }
    header *block = clq_realloc(NULL, total, 1);
    if (!block) {
        memory->exhausted = true;
        return NULL;
    }
    block->size = total;
    memory->live += total;
    return block + 1;
}

static void capped_free(void *data, void *pointer) {
    clq_onnx_memory *memory = data;
    if (pointer) {
        header *block = (header *)pointer - 1;
        memory->live -= block->size;
        clq_free(block);
    }
}

size_t clq_onnx_memory_limit(size_t size) {
    return size * CLQ_ONNX_MEMORY_FACTOR + ((size_t)64 << 20); /* size is below 2 GiB */
}

clq_status clq_onnx_unpack(const void *data, size_t size, clq_onnx_memory *memory,
                           Onnx__ModelProto **model) {
    CLQ_TRY(clq_onnx_scan(data, size));
    *memory = (clq_onnx_memory){.allocator = {capped_alloc, capped_free, memory},
                                .limit = clq_onnx_memory_limit(size)};
    *model = onnx__model_proto__unpack(&memory->allocator, size, data);
    if (*model) {
        return CLQ_OK;
    }
    if (memory->exceeded) {
        return clq_fail(CLQ_BAD_DATA,
                        "not an ONNX model: unpacking needs more than %zu bytes, out of proportion",
                        memory->limit);
    }
    if (memory->exhausted) {
        return CLQ_NO_MEMORY;
    }
    return clq_fail(CLQ_BAD_DATA, "not an ONNX model: protobuf-c cannot unpack it");
}

void clq_onnx_model_free(clq_onnx_memory *memory, Onnx__ModelProto *model) {
    if (model) {
        onnx__model_proto__free_unpacked(model, &memory->allocator);
    }
}
