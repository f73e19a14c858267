/* The inside of encodings: what their files share.
 *
 *   encodings.c  the list, which format a file has
 *   aimet.c      AIMET's JSON
 *   ncnn.c       ncnn's calibration table
 *   apply.c      from the list to a graph's values */
#ifndef CLQ_FORMATS_ENCODINGS_H
#define CLQ_FORMATS_ENCODINGS_H

#include <clquant/formats.h>

#include "base/json.h"

/* Scales of one tensor: real = scale * (step + offset), step in 0..2^bits - 1. */
typedef struct clq_encoding {
    char *name;     /* of a value; of_layer: of a node */
    bool of_layer;  /* the weights of that layer, or what it reads */
    bool parameter; /* else an activation */
    bool is_float;  /* it has no codes */
    int bits;
    int64_t count;  /* 1: for the whole tensor */
    float *scale;   /* (count) */
    int32_t offset; /* <= 0 */
    bool used;      /* by clq_encodings_apply */
} clq_encoding;

struct clq_encodings {
    char *path;
    clq_encoding *list;
    size_t count, capacity;
};

/* One more, zeroed but for its name; it is the list's. */
clq_status clq_encodings_add(clq_encodings *encodings, const char *name, clq_encoding **added);
/* Room for the scales, 1 at first. */
clq_status clq_encoding_set_count(clq_encoding *encoding, size_t count);
/* CLQ_BAD_DATA unless a scale is finite and no smaller than FLT_MIN. */
clq_status clq_encoding_check_scale(const clq_encodings *encodings, const clq_encoding *encoding,
                                    double scale);

clq_status clq_aimet_read(clq_encodings *encodings, const void *text, size_t size);
clq_status clq_ncnn_read(clq_encodings *encodings, const char *text);
clq_status clq_aimet_save(const clq_graph *graph, bool lists, const char *path);
clq_status clq_ncnn_save(const clq_graph *graph, const char *path);

/* What files know a value of a typed graph by: codes that the first quantize node makes of reals
 * belong to these. */
const clq_value *clq_encoded_value(const clq_graph *graph, int value);
/* A parameter's scales in the order of files and back; `out` (q.count). */
clq_status clq_scales_to_file(const clq_graph *graph, int value, const float *in, float *out);
clq_status clq_scales_from_file(const clq_graph *graph, int value, const float *in, float *out);

#endif
