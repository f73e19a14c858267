/* AIMET's encodings (https://quic.github.io/aimet-pages), versions 0.6.1 and 1.0.0:
 *
 *   0.6.1  "activation_encodings": {NAME: [{"bitwidth", "dtype", "is_symmetric", "min", "max",
 *          "offset", "scale"}, ...]}, one object for each channel; "param_encodings" likewise
 *   1.0.0  "activation_encodings": [{"name", "bw", "dtype", "enc_type", "is_sym", "offset": [..],
 *          "scale": [..]}, ...]; "param_encodings" likewise
 *
 * real = scale * (step + offset), step from 0 on. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/files.h"
#include "formats/encodings/encodings.h"
#include "graph/node.h"
#include "ops/layer.h"

enum { MAX_BITS = 32, MAX_CHANNELS = 1 << 20 };

/* ---- reading ---- */

static clq_status bad(const clq_encodings *encodings, const char *name, const char *rule) {
    return clq_fail(CLQ_BAD_DATA, "%s: \"%.200s\": %s", encodings->path, name, rule);
}

/* "dtype" of a channel: int where it is absent. */
static clq_status take_dtype(const clq_encodings *encodings, clq_encoding *e, const json_t *dtype) {
    const char *text = dtype ? json_string_value(dtype) : "int";
    const bool is_float = text && strcasecmp(text, "float") == 0;
    if (!is_float && (!text || strcasecmp(text, "int") != 0)) {
        return bad(encodings, e->name, "dtype must be int or float");
    }
    e->is_float |= is_float;
    return CLQ_OK;
}

/* An offset: a whole number of 0 or less, the same for all channels. */
static clq_status take_offset(const clq_encodings *encodings, clq_encoding *e, int64_t channel,
                              const json_t *offset) {
    const double value = json_number_value(offset);
    if (!json_is_number(offset) || value != floor(value) || value > 0 || value < -4294967296.0) {
        return bad(encodings, e->name, "offset must be a whole number of 0 or less");
    }
    if (channel > 0 && (double)e->offset != value) {
        return bad(encodings, e->name, "channels have different offsets, which is not supported");
    }
    e->offset = value < INT32_MIN ? INT32_MIN : (int32_t)value;
    return CLQ_OK;
}

static clq_status take_scale(const clq_encodings *encodings, clq_encoding *e, int64_t channel,
                             const json_t *scale) {
    if (!json_is_number(scale)) {
        return bad(encodings, e->name, "scale must be a number");
    }
    CLQ_TRY(clq_encoding_check_scale(encodings, e, json_number_value(scale)));
    e->scale[channel] = (float)json_number_value(scale);
    return CLQ_OK;
}

static clq_status take_bits(const clq_encodings *encodings, clq_encoding *e, const json_t *bits) {
    if (!json_is_integer(bits) || json_integer_value(bits) < 2 ||
        json_integer_value(bits) > MAX_BITS) {
        return bad(encodings, e->name, "the bit width must be a whole number from 2 to 32");
    }
    e->bits = (int)json_integer_value(bits);
    return CLQ_OK;
}

static clq_status read_channels(clq_encodings *encodings, const char *name, const json_t *channels,
                                bool parameter) {
    const size_t count = json_array_size(channels);
    clq_encoding *e;
    if (count < 1 || count > MAX_CHANNELS) {
        return bad(encodings, name, "must be an array with an object for each channel");
    }
    CLQ_TRY(clq_encodings_add(encodings, name, &e));
    e->parameter = parameter;
    CLQ_TRY(clq_encoding_set_count(e, count));
    for (size_t i = 0; i < count; i++) {
        const json_t *channel = json_array_get(channels, i);
        CLQ_TRY(take_dtype(encodings, e, json_object_get(channel, "dtype")));
        if (e->is_float) {
            continue;
        }
        const int bits = e->bits;
        CLQ_TRY(take_bits(encodings, e, json_object_get(channel, "bitwidth")));
        if (bits != 0 && bits != e->bits) {
            return bad(encodings, name,
                       "channels have different bit widths, which is not supported");
        }
        CLQ_TRY(take_scale(encodings, e, (int64_t)i, json_object_get(channel, "scale")));
        CLQ_TRY(take_offset(encodings, e, (int64_t)i, json_object_get(channel, "offset")));
    }
    return CLQ_OK;
}

static clq_status read_lists(clq_encodings *encodings, const json_t *object, bool parameter) {
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *kind = json_string_value(json_object_get(object, "enc_type"));
    const json_t *scales = json_object_get(object, "scale");
    const json_t *offsets = json_object_get(object, "offset");
    const size_t count = json_array_size(scales);
    clq_encoding *e;
    if (!name) {
        return clq_fail(CLQ_BAD_DATA, "%s: encodings must be objects with a name", encodings->path);
    }
    CLQ_TRY(clq_encodings_add(encodings, name, &e));
    e->parameter = parameter;
    CLQ_TRY(take_dtype(encodings, e, json_object_get(object, "dtype")));
    if (e->is_float) {
        return clq_encoding_set_count(e, 1);
    }
    if (kind && strcmp(kind, "PER_TENSOR") != 0 && strcmp(kind, "PER_CHANNEL") != 0) {
        return clq_fail(CLQ_BAD_DATA,
                        "%s: \"%.200s\": enc_type %.40s; PER_TENSOR and PER_CHANNEL are supported",
                        encodings->path, name, kind);
    }
    if (count < 1 || count > MAX_CHANNELS ||
        (json_array_size(offsets) != count && json_array_size(offsets) != 1)) {
        return bad(encodings, name, "scale and offset must be arrays of one length");
    }
    CLQ_TRY(clq_encoding_set_count(e, count));
    CLQ_TRY(take_bits(encodings, e, json_object_get(object, "bw")));
    for (size_t i = 0; i < count; i++) {
        CLQ_TRY(take_scale(encodings, e, (int64_t)i, json_array_get(scales, i)));
    }
    for (size_t i = 0; i < json_array_size(offsets); i++) {
        CLQ_TRY(take_offset(encodings, e, (int64_t)i, json_array_get(offsets, i)));
    }
    return CLQ_OK;
}

static clq_status read_part(clq_encodings *encodings, const json_t *part, const char *key,
                            bool parameter) {
    if (json_is_object(part)) {
        const char *name;
        json_t *channels;
        json_object_foreach((json_t *)part, name, channels) {
            CLQ_TRY(read_channels(encodings, name, channels, parameter));
        }
        return CLQ_OK;
    }
    if (!json_is_array(part)) {
        return clq_fail(CLQ_BAD_DATA, "%s: %s must be an object or an array", encodings->path, key);
    }
    for (size_t i = 0; i < json_array_size(part); i++) {
        CLQ_TRY(read_lists(encodings, json_array_get(part, i), parameter));
    }
    return CLQ_OK;
}

clq_status clq_aimet_read(clq_encodings *encodings, const void *text, size_t size) {
    static const char activations[] = "activation_encodings", parameters[] = "param_encodings";
    json_t *json = NULL;
    CLQ_TRY(clq_json_parse(encodings->path, text, size, &json));
    clq_status status =
        read_part(encodings, json_object_get(json, activations), activations, false);
    if (status == CLQ_OK) {
        status = read_part(encodings, json_object_get(json, parameters), parameters, true);
    }
    json_decref(json);
    return status;
}

/* ---- writing ---- */

/* The first step's distance from zero. */
static int32_t offset_of(const clq_qparams *q) {
    return clq_qtype_get(q->type)->lowest - q->zero_point;
}

static bool is_symmetric(const clq_qparams *q) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    const int32_t offset = offset_of(q);
    return offset == -(1 << (type->bits - 1)) || -offset == type->highest - q->zero_point;
}

static json_t *channel_to_json(const clq_qparams *q, double scale) {
    const clq_qtype_info *type = clq_qtype_get(q->type);
    json_t *json = json_object();
    json_object_set_new(json, "bitwidth", json_integer(type->bits));
    json_object_set_new(json, "dtype", json_string("int"));
    json_object_set_new(json, "is_symmetric", json_string(is_symmetric(q) ? "True" : "False"));
    json_object_set_new(json, "max", json_real(scale * (type->highest - q->zero_point)));
    json_object_set_new(json, "min", json_real(scale * offset_of(q)));
    json_object_set_new(json, "offset", json_integer(offset_of(q)));
    json_object_set_new(json, "scale", json_real(scale));
    return json;
}

static clq_status put_channels(json_t *part, const char *name, const clq_qparams *q,
                               const float *scales) {
    json_t *channels = json_array();
    for (int64_t i = 0; i < q->count; i++) {
        json_array_append_new(channels, channel_to_json(q, (double)scales[i]));
    }
    return clq_json_put(part, name, channels);
}

static clq_status put_lists(json_t *part, const char *name, const clq_qparams *q,
                            const float *scales) {
    json_t *json = json_object(), *offset = json_array(), *scale = json_array();
    for (int64_t i = 0; i < q->count; i++) {
        json_array_append_new(offset, json_integer(offset_of(q)));
        json_array_append_new(scale, json_real((double)scales[i]));
    }
    json_object_set_new(json, "bw", json_integer(clq_qtype_get(q->type)->bits));
    json_object_set_new(json, "dtype", json_string("INT"));
    json_object_set_new(json, "enc_type", json_string(q->count > 1 ? "PER_CHANNEL" : "PER_TENSOR"));
    json_object_set_new(json, "is_sym", json_boolean(is_symmetric(q)));
    json_object_set_new(json, "name", clq_json_string(name));
    json_object_set_new(json, "offset", offset);
    json_object_set_new(json, "scale", scale);
    return json_array_append_new(part, json) == 0 ? CLQ_OK : CLQ_NO_MEMORY;
}

static clq_status put_value(const clq_graph *graph, int value, bool lists, json_t *activations,
                            json_t *parameters) {
    const clq_value *v = &graph->values[value];
    const char *name = clq_encoded_value(graph, value)->name;
    json_t *part = clq_is_constant(v) ? parameters : activations;
    if (v->q.count == 0 || v->q.type == CLQ_Q_S32) { /* a bias follows from the others */
        return CLQ_OK;
    }
    float *scales = clq_calloc((size_t)v->q.count, sizeof *scales);
    clq_status status =
        scales ? clq_scales_to_file(graph, value, v->q.scale, scales) : CLQ_NO_MEMORY;
    if (status == CLQ_OK) {
        status = (lists ? put_lists : put_channels)(part, name, &v->q, scales);
    }
    clq_free(scales);
    return status;
}

clq_status clq_aimet_save(const clq_graph *graph, bool lists, const char *path) {
    json_t *json = json_object(), *activations = lists ? json_array() : json_object();
    json_t *parameters = lists ? json_array() : json_object();
    char *text = NULL;
    clq_writer *writer = NULL;
    clq_status status = CLQ_OK;
    CLQ_GOTO(status, cleanup, clq_json_put_text(json, "version", lists ? "1.0.0" : "0.6.1"));
    for (int v = 0; v < graph->value_count; v++) {
        CLQ_GOTO(status, cleanup, put_value(graph, v, lists, activations, parameters));
    }
    json_object_set(json, "activation_encodings", activations);
    json_object_set(json, "param_encodings", parameters);
    json_object_set_new(json, "producer", json_string("clquant"));
    CLQ_GOTO(status, cleanup, clq_json_dump_exact(json, &text));
    CLQ_GOTO(status, cleanup, clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, text, strlen(text)));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, "\n", 1));
    status = clq_writer_commit(&writer);
cleanup:
    clq_writer_abort(&writer);
    clq_free(text);
    json_decref(activations);
    json_decref(parameters);
    json_decref(json);
    return status;
}
