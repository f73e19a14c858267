/* How images become a network's input, kept in its metadata. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <clquant/train.h>

#include "base/arguments.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "base/text.h"
#include "graph/ends.h"
#include "train/metadata.h"

#define RANGE "clquant.range"
#define CHANNELS "clquant.channels"
#define RESIZE "clquant.resize"
#define CROP "clquant.crop"
#define INTERPOLATION "clquant.interpolation"

enum { MAX_SIDE = 4096 };

const char *const clq_interpolation_names[CLQ_INTERPOLATIONS] = {"bilinear", "bicubic", "linear",
                                                                 "nearest"};
const char *const clq_channels_names[CLQ_CHANNEL_ORDERS] = {"rgb", "bgr", "grey"};

/* ---- text ---- */

/* A whole number in 1..MAX_SIDE that ends at `stop`. */
static bool read_side(const char *text, char stop, const char **end, int *side) {
    char *behind;
    const long number = strtol(text, &behind, 10);
    *side = (int)number;
    *end = behind;
    return *text >= '0' && *text <= '9' && number >= 1 && number <= MAX_SIDE && *behind == stop;
}

clq_status clq_resize_parse(const char *text, clq_resize *resize) {
    CLQ_NEEDS(text, resize);
    const char *end;
    int first = 0, second = 0;
    if (read_side(text, '\0', &end, &first)) {
        resize->shorter = first;
        resize->height = resize->width = 0;
        return CLQ_OK;
    }
    if (read_side(text, 'x', &end, &first) && read_side(end + 1, '\0', &end, &second)) {
        resize->shorter = 0;
        resize->width = first;
        resize->height = second;
        return CLQ_OK;
    }
    return clq_fail(CLQ_USAGE,
                    "must be pixels like 256 or WIDTHxHEIGHT like 320x256, in 1..%d, is \"%s\"",
                    MAX_SIDE, text);
}

clq_status clq_crop_parse(const char *text, clq_preprocessing *p) {
    CLQ_NEEDS(text, p);
    clq_resize size = {0};
    CLQ_TRY(clq_resize_parse(text, &size));
    p->crop_width = size.shorter ? size.shorter : size.width;
    p->crop_height = size.shorter ? size.shorter : size.height;
    return CLQ_OK;
}

/* ---- checking ---- */

/* As floats, which the limits are not all of; NaN is in no range. */
static clq_status check_number(const char *name, float value, double low, double high,
                               clq_status status) {
    return value >= (float)low && value <= (float)high
               ? CLQ_OK
               : clq_fail(status, "%s must be a number in %.9g..%.9g, is %g", name, low, high,
                          (double)value);
}

static clq_status check_normalization(const clq_normalization *n, int channels, clq_status status) {
    const double white = n->range == 0 ? 1 : (double)n->range;
    bool small = true;
    if (white != 1 && white != 255) {
        return clq_fail(status, "the range must be 1 or 255, is %g", white);
    }
    if (channels < 1 || channels > CLQ_MAX_CHANNELS) {
        return clq_fail(status, "numbers in mean and std must be 1..%d, are %d", CLQ_MAX_CHANNELS,
                        channels);
    }
    for (int c = 0; c < channels; c++) {
        const double mean = (double)n->mean[c], std = (double)n->std[c];
        CLQ_TRY(check_number("mean", n->mean[c], CLQ_IN_MEAN, status));
        CLQ_TRY(check_number("std", n->std[c], CLQ_IN_STD, status));
        if (mean > white || std > 2 * white) {
            return clq_fail(status,
                            "mean %g and std %g do not fit pixels in 0..1; with numbers for pixels "
                            "in 0..255 give the range, 255",
                            mean, std);
        }
        small = small && std < 1;
    }
    return small && white == 255
               ? clq_fail(status,
                          "std %g is less than one step of pixels in 0..255; with numbers for "
                          "pixels in 0..1 leave the range 255 out",
                          (double)n->std[0])
               : CLQ_OK;
}

static bool is_side(int side) {
    return side >= 1 && side <= MAX_SIDE;
}

/* What no text could have said. */
static clq_status check_fields(const clq_preprocessing *p, clq_status status) {
    const clq_resize *r = &p->resize;
    if (p->known >= 1u << CLQ_PART_COUNT) {
        return clq_fail(status, "known has parts that there are not: %#x", p->known);
    }
    if ((p->known & CLQ_PART_CHANNELS) && (unsigned)p->channels >= CLQ_CHANNEL_ORDERS) {
        return clq_fail(status, "channels %d is not known", (int)p->channels);
    }
    if ((p->known & CLQ_PART_INTERPOLATION) && (unsigned)r->interpolation >= CLQ_INTERPOLATIONS) {
        return clq_fail(status, "interpolation %d is not known", (int)r->interpolation);
    }
    if ((p->known & CLQ_PART_RESIZE) &&
        !(r->shorter ? is_side(r->shorter) : is_side(r->height) && is_side(r->width))) {
        return clq_fail(status, "resize to %d, or %d x %d, must be in 1..%d", r->shorter, r->width,
                        r->height, MAX_SIDE);
    }
    if ((p->known & CLQ_PART_CROP) && !(is_side(p->crop_height) && is_side(p->crop_width))) {
        return clq_fail(status, "crop of %d x %d must be in 1..%d", p->crop_width, p->crop_height,
                        MAX_SIDE);
    }
    return p->known & CLQ_PART_NORMALISATION
               ? check_normalization(&p->normalization, p->normalization_count, status)
               : CLQ_OK;
}

static clq_status check_geometry(const clq_preprocessing *p, int height, int width,
                                 clq_status status) {
    const clq_resize *r = &p->resize;
    if ((p->known & CLQ_PART_CROP) && (p->crop_height != height || p->crop_width != width)) {
        return clq_fail(status, "a crop of %d x %d, but the network reads images of %d x %d",
                        p->crop_width, p->crop_height, width, height);
    }
    if (!(p->known & CLQ_PART_RESIZE)) {
        return CLQ_OK;
    }
    const int high = r->shorter ? r->shorter : r->height, wide = r->shorter ? r->shorter : r->width;
    return high >= height && wide >= width
               ? CLQ_OK
               : clq_fail(status,
                          "resizing to %d x %d%s leaves less than the %d x %d that the network "
                          "reads",
                          wide, high, r->shorter ? " or more" : "", width, height);
}

clq_status clq_preprocessing_check(clq_preprocessing *p, const clq_shape *input,
                                   clq_status status) {
    CLQ_NEEDS(p);
    clq_normalization *n = &p->normalization;
    CLQ_TRY(check_fields(p, status));
    if (!input) {
        return CLQ_OK;
    }
    const int channels = input->dim[3] <= CLQ_MAX_CHANNELS ? (int)input->dim[3] : 0;
    if (channels < 1) {
        return clq_fail(status, "the network's input has %lld channel%s; images have 1 or 3",
                        (long long)input->dim[3], clq_plural(input->dim[3]));
    }
    if (p->known & CLQ_PART_NORMALISATION) {
        if (p->normalization_count == 1) {
            for (int c = 1; c < CLQ_MAX_CHANNELS; c++) {
                n->mean[c] = n->mean[0];
                n->std[c] = n->std[0];
            }
            p->normalization_count = channels;
        }
        if (p->normalization_count != channels) {
            return clq_fail(status,
                            "numbers for %d channel%s; the network's input has %d channel%s",
                            p->normalization_count, clq_plural(p->normalization_count), channels,
                            clq_plural(channels));
        }
    }
    if ((p->known & CLQ_PART_CHANNELS) && (p->channels == CLQ_GREY) != (channels == 1)) {
        return clq_fail(status, "channels %s, but the network's input has %d",
                        clq_channels_names[p->channels], channels);
    }
    return check_geometry(p, (int)input->dim[1], (int)input->dim[2], status);
}

void clq_preprocessing_take(clq_preprocessing *to, const clq_preprocessing *from, unsigned parts) {
    CLQ_NEEDS_OR(, to, from);
    parts &= from->known;
    if (parts & CLQ_PART_NORMALISATION) {
        to->normalization = from->normalization;
        to->normalization_count = from->normalization_count;
    }
    if (parts & CLQ_PART_CHANNELS) {
        to->channels = from->channels;
    }
    if (parts & CLQ_PART_RESIZE) {
        to->resize.shorter = from->resize.shorter;
        to->resize.height = from->resize.height;
        to->resize.width = from->resize.width;
    }
    if (parts & CLQ_PART_CROP) {
        to->crop_height = from->crop_height;
        to->crop_width = from->crop_width;
    }
    if (parts & CLQ_PART_INTERPOLATION) {
        to->resize.interpolation = from->resize.interpolation;
    }
    to->known |= parts;
}

/* ---- metadata ---- */

static clq_status read_name(const clq_graph *graph, const char *key, const char *const *names,
                            int count, int *index, bool *found) {
    const char *text = clq_graph_get_metadata(graph, key);
    *found = text != NULL;
    for (*index = 0; text && *index < count; ++*index) {
        if (strcmp(text, names[*index]) == 0) {
            return CLQ_OK;
        }
    }
    return text ? clq_fail(CLQ_BAD_DATA, "\"%s\" is \"%s\", which is not known", key, text)
                : CLQ_OK;
}

static clq_status read_normalization(const clq_graph *graph, int channels, clq_preprocessing *p) {
    clq_normalization *n = &p->normalization;
    const char *range = clq_graph_get_metadata(graph, RANGE);
    bool found;
    CLQ_TRY(clq_metadata_get_pair(graph, CLQ_META_MEAN, CLQ_META_STD, channels, n->mean, n->std,
                                  &found));
    n->range = range && strcmp(range, "255") == 0 ? 255 : 1;
    if (range && n->range == 1 && strcmp(range, "1") != 0) {
        return clq_fail(CLQ_BAD_DATA, RANGE " must be 1 or 255, is \"%.100s\"", range);
    }
    p->normalization_count = channels;
    p->known |= found ? CLQ_PART_NORMALISATION : 0u;
    return CLQ_OK;
}

static clq_status read_metadata(const clq_graph *graph, const clq_shape *input,
                                clq_preprocessing *p) {
    const char *resize = clq_graph_get_metadata(graph, RESIZE);
    const char *crop = clq_graph_get_metadata(graph, CROP);
    int index;
    bool found;
    CLQ_TRY(read_normalization(graph, (int)input->dim[3], p));
    CLQ_TRY(read_name(graph, CHANNELS, clq_channels_names, CLQ_CHANNEL_ORDERS, &index, &found));
    if (found) {
        p->channels = (clq_channel_order)index;
        p->known |= CLQ_PART_CHANNELS;
    }
    CLQ_TRY(read_name(graph, INTERPOLATION, clq_interpolation_names, CLQ_INTERPOLATIONS, &index,
                      &found));
    if (found) {
        p->resize.interpolation = (clq_interpolation)index;
        p->known |= CLQ_PART_INTERPOLATION;
    }
    if (resize) {
        CLQ_TRY(clq_fail_in(clq_resize_parse(resize, &p->resize), RESIZE));
        p->known |= CLQ_PART_RESIZE;
    }
    if (crop) {
        CLQ_TRY(clq_fail_in(clq_crop_parse(crop, p), CROP));
        p->known |= CLQ_PART_CROP;
    }
    return clq_preprocessing_check(p, input, CLQ_BAD_DATA);
}

clq_status clq_graph_preprocessing(const clq_graph *graph, clq_preprocessing *p) {
    CLQ_NEEDS(graph, p);
    CLQ_NEEDS_ENDS(graph);
    const clq_shape *input = &graph->values[clq_graph_input(graph)].shape;
    *p = (clq_preprocessing){0};
    if (input->rank != 4 || input->dim[3] > CLQ_MAX_CHANNELS) {
        return CLQ_OK;
    }
    return read_metadata(graph, input, p) == CLQ_OK
               ? CLQ_OK
               : clq_fail_in(CLQ_BAD_DATA, "the model's metadata");
}

static clq_status set_text(clq_graph *graph, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static clq_status set_text(clq_graph *graph, const char *key, const char *format, ...) {
    char text[64];
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return clq_graph_set_metadata(graph, key, text);
}

clq_status clq_graph_set_preprocessing(clq_graph *graph, const clq_preprocessing *p) {
    CLQ_NEEDS(graph, p);
    CLQ_TRY(clq_fail_in(check_fields(p, CLQ_USAGE), "%s", __func__));
    const clq_normalization *n = &p->normalization;
    const clq_resize *r = &p->resize;
    if (p->known & CLQ_PART_NORMALISATION) {
        CLQ_TRY(clq_metadata_set_floats(graph, CLQ_META_MEAN, n->mean, p->normalization_count));
        CLQ_TRY(clq_metadata_set_floats(graph, CLQ_META_STD, n->std, p->normalization_count));
        CLQ_TRY(set_text(graph, RANGE, "%d", n->range == 255 ? 255 : 1));
    }
    if (p->known & CLQ_PART_CHANNELS) {
        CLQ_TRY(clq_graph_set_metadata(graph, CHANNELS, clq_channels_names[p->channels]));
    }
    if (p->known & CLQ_PART_RESIZE) {
        CLQ_TRY(r->shorter ? set_text(graph, RESIZE, "%d", r->shorter)
                           : set_text(graph, RESIZE, "%dx%d", r->width, r->height));
    }
    if (p->known & CLQ_PART_CROP) {
        CLQ_TRY(set_text(graph, CROP, "%dx%d", p->crop_width, p->crop_height));
    }
    if (p->known & CLQ_PART_INTERPOLATION) {
        CLQ_TRY(clq_graph_set_metadata(graph, INTERPOLATION,
                                       clq_interpolation_names[r->interpolation]));
    }
    return CLQ_OK;
}

/* ---- use ---- */

void clq_preprocessing_usual(const clq_shape *input, clq_preprocessing *p) {
    CLQ_NEEDS_OR(, input, p);
    const int height = (int)input->dim[1], width = (int)input->dim[2];
    *p = (clq_preprocessing){.known = CLQ_PART_CHANNELS | CLQ_PART_RESIZE | CLQ_PART_CROP |
                                      CLQ_PART_INTERPOLATION,
                             .channels = input->dim[3] == 1 ? CLQ_GREY : CLQ_RGB,
                             .crop_height = height,
                             .crop_width = width};
    p->resize.shorter = height == width ? height : 0;
    p->resize.height = height == width ? 0 : height;
    p->resize.width = height == width ? 0 : width;
}

void clq_normalization_usual(const clq_dataset *dataset, bool bgr, clq_normalization *n) {
    CLQ_NEEDS_OR(, dataset, n);
    const clq_dataset_info *info = clq_dataset_get_info(dataset);
    const bool swap = bgr && info->channels == 3;
    *n = (clq_normalization){.range = 1, .bgr = bgr};
    for (int c = 0; c < CLQ_MAX_CHANNELS; c++) {
        n->mean[c] = info->mean[swap && c < 3 ? 2 - c : c];
        n->std[c] = info->std[swap && c < 3 ? 2 - c : c];
    }
}

clq_status clq_graph_normalization(const clq_graph *graph, const clq_dataset *dataset,
                                   clq_normalization *n) {
    CLQ_NEEDS(graph, dataset, n);
    CLQ_NEEDS_ENDS(graph);
    clq_preprocessing p;
    CLQ_TRY(clq_graph_preprocessing(graph, &p));
    clq_normalization_usual(dataset, p.channels == CLQ_BGR, n);
    if (p.known & CLQ_PART_NORMALISATION) {
        *n = p.normalization;
        n->bgr = p.channels == CLQ_BGR;
    }
    return CLQ_OK;
}
