/* Keys that say how images become a network's input. */
#include "base/ranges.h"
#include "session/keys.h"

/* "resize": pixels, or a text "WIDTHxHEIGHT". */
static clq_status read_resize(clq_json_reader *r, clq_preprocessing *given) {
    const char *text = NULL;
    int shorter = 0;
    if (r->object && json_is_string(json_object_get(r->object, "resize"))) {
        CLQ_TRY(clq_json_read_string(r, "resize", &text));
        if (clq_resize_parse(text, &given->resize) != CLQ_OK) {
            return clq_json_fail(r, "resize", "%s", clq_last_error());
        }
    } else {
        CLQ_TRY(clq_json_read_int(r, "resize", CLQ_IN_DATA_SIZE, &shorter));
        given->resize.shorter = shorter;
    }
    given->known |= text || shorter ? CLQ_PART_RESIZE : 0u;
    return CLQ_OK;
}

static void spread(float *values, size_t *count, size_t wanted) {
    for (size_t i = 1; *count == 1 && i < wanted; i++) {
        values[i] = values[0];
    }
    *count = *count == 1 ? wanted : *count;
}

bool clq_normalization_spread(clq_normalization *n, size_t *means, size_t *stds) {
    if (*means && *stds) {
        spread(n->mean, means, *stds);
        spread(n->std, stds, *means);
    }
    return *means == *stds;
}

/* A number, or an array of a number a channel. */
static clq_status read_channels(clq_json_reader *r, const char *key, double low, double high,
                                float *values, size_t *count) {
    double numbers[CLQ_MAX_CHANNELS];
    if (r->object && json_is_number(json_object_get(r->object, key))) {
        CLQ_TRY(clq_json_read_f64(r, key, low, high, &numbers[0]));
        *count = 1;
    } else {
        CLQ_TRY(clq_json_read_f64_array(r, key, low, high, numbers, CLQ_MAX_CHANNELS, count));
    }
    for (size_t i = 0; i < *count; i++) {
        values[i] = (float)numbers[i];
    }
    return CLQ_OK;
}

/* "mean", "std" and "range". */
static clq_status read_normalization(clq_json_reader *r, clq_preprocessing *given) {
    clq_normalization *n = &given->normalization;
    size_t means = 0, stds = 0;
    int range = 1;
    CLQ_TRY(read_channels(r, "mean", CLQ_IN_MEAN, n->mean, &means));
    CLQ_TRY(read_channels(r, "std", CLQ_IN_STD, n->std, &stds));
    CLQ_TRY(clq_json_read_int(r, "range", 1, 255, &range));
    if (!clq_normalization_spread(n, &means, &stds)) {
        return clq_json_fail(r, "std", "must have as many numbers as mean (%zu), has %zu", means,
                             stds);
    }
    if (means == 0) {
        return range == 1 ? CLQ_OK : clq_json_fail(r, "range", "needs mean and std");
    }
    n->range = (float)range;
    given->normalization_count = (int)means;
    given->known |= CLQ_PART_NORMALISATION;
    return clq_preprocessing_check(given, NULL, CLQ_BAD_DATA) == CLQ_OK
               ? CLQ_OK
               : clq_json_fail(r, "mean, std, range", "%s", clq_last_error());
}

clq_status clq_keys_read_preprocessing(clq_json_reader *r, clq_preprocessing *given) {
    CLQ_TRY(read_resize(r, given));
    CLQ_TRY(read_normalization(r, given));
    if (clq_json_has(r, "channels")) {
        CLQ_READ_ENUM(r, "channels", clq_channels_names, given->channels);
        given->known |= CLQ_PART_CHANNELS;
    }
    if (clq_json_has(r, "interpolation")) {
        CLQ_READ_ENUM(r, "interpolation", clq_interpolation_names, given->resize.interpolation);
        given->known |= CLQ_PART_INTERPOLATION;
    }
    return CLQ_OK;
}
