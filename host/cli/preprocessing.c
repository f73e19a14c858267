/* The flags that say how images become a network's input. */
#include <string.h>

#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/data.h"
#include "session/keys.h"

/* ---- flags ---- */

enum { MEAN = CLQ_KEY_LONG, STD, RANGE, CHANNELS, RESIZE, CROP, INTERPOLATION, LABELS };

static clq_status parse_normalization(clq_image_flags *f) {
    clq_normalization *n = &f->given.normalization;
    size_t means = 0, stds = 0;
    int range = 0;
    static const char *const ranges[] = {"1", "255"};
    if (!f->mean && !f->std && !f->range) {
        return CLQ_OK;
    }
    if (!f->mean || !f->std) {
        return clq_fail(CLQ_USAGE, "--mean and --std go together%s",
                        f->range ? ", and --range with both" : "");
    }
    CLQ_TRY(clq_option_floats("--mean", f->mean, n->mean, CLQ_MAX_CHANNELS, &means));
    CLQ_TRY(clq_option_floats("--std", f->std, n->std, CLQ_MAX_CHANNELS, &stds));
    if (f->range) {
        CLQ_TRY(clq_option_enum("--range", f->range, ranges, 2, &range));
    }
    if (!clq_normalization_spread(n, &means, &stds)) {
        return clq_fail(CLQ_USAGE, "--mean has %zu number%s, --std %zu", means,
                        clq_plural((int64_t)means), stds);
    }
    n->range = range == 1 ? 255 : 1;
    f->given.normalization_count = (int)means;
    f->given.known |= CLQ_PART_NORMALISATION;
    CLQ_TRY(clq_fail_in(clq_preprocessing_check(&f->given, NULL, CLQ_USAGE), "--mean, --std"));
    for (size_t i = 0; i < stds; i++) {
        CLQ_TRY(clq_in_range("--std", (double)n->std[i], CLQ_IN_STD));
    }
    return CLQ_OK;
}

static error_t parse(int key, char *argument, struct argp_state *state) {
    clq_image_flags *f = state->input;
    clq_status status = CLQ_OK;
    int index = 0;
    switch (key) {
    case MEAN:
        f->mean = argument;
        break;
    case STD:
        f->std = argument;
        break;
    case RANGE:
        f->range = argument;
        break;
    case CHANNELS:
        status =
            clq_option_enum("--channels", argument, clq_channels_names, CLQ_CHANNEL_ORDERS, &index);
        f->given.channels = (clq_channel_order)index;
        f->given.known |= CLQ_PART_CHANNELS;
        break;
    case RESIZE:
        f->resize = argument;
        status = clq_fail_in(clq_resize_parse(argument, &f->given.resize), "--resize");
        f->given.known |= CLQ_PART_RESIZE;
        break;
    case CROP:
        f->crop = argument;
        status = clq_fail_in(clq_crop_parse(argument, &f->given), "--crop");
        f->given.known |= CLQ_PART_CROP;
        break;
    case INTERPOLATION:
        status = clq_option_enum("--interpolation", argument, clq_interpolation_names,
                                 CLQ_INTERPOLATIONS, &index);
        f->given.resize.interpolation = (clq_interpolation)index;
        f->given.known |= CLQ_PART_INTERPOLATION;
        break;
    case ARGP_KEY_END:
        status = parse_normalization(f);
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return clq_option_result(state, status);
}

static const struct argp_option argp_options[] = {
    {"mean", MEAN, "R,G,B", 0,
     "Subtracted from the pixels: a number a channel, in the network's order, or one for all", 0},
    {"std", STD, "R,G,B", 0, "Divides them then", 0},
    {"range", RANGE, "1|255", 0,
     "White, in the unit of --mean and --std; with these, 1 is the default", 0},
    {"channels", CHANNELS, "rgb|bgr|grey", 0, "Their order in the network", 0},
    {"resize", RESIZE, "N|WxH", 0,
     "Shorter side before the centre crop (256 for a 224 crop is usual), or exactly W x H", 0},
    {"crop", CROP, "N|WxH", 0, "The centre that is cut out: the network's input size", 0},
    {"interpolation", INTERPOLATION, "bilinear|bicubic|linear|nearest", 0,
     "bilinear and bicubic are as PIL has them (no aliasing), linear as OpenCV", 0},
    {0},
};
const struct argp clq_preprocessing_argp = {argp_options, parse, NULL, NULL, NULL, NULL, NULL};

static error_t parse_images(int key, char *argument, struct argp_state *state) {
    clq_image_flags *f = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = f;
        return 0;
    case LABELS:
        f->labels = argument;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option images_options[] = {
    {"labels", LABELS, "FILE", 0,
     "Which images of the folder, and their classes: IMAGE LABEL a line", 0},
    {0},
};
static const struct argp_child images_children[] = {{&clq_preprocessing_argp, 0, NULL, 0}, {0}};
const struct argp clq_images_argp = {images_options,  parse_images, NULL, NULL,
                                     images_children, NULL,         NULL};

/* ---- as a recipe's keys ---- */

/* Overrides live until the program ends, like the arguments that they stand for. */
static clq_status override(const char **overrides, size_t *count, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static clq_status override(const char **overrides, size_t *count, const char *format, ...) {
    static char texts[CLQ_PART_COUNT + 2][128];
    static size_t used;
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(texts[used], sizeof texts[used], format, arguments);
    va_end(arguments);
    return clq_option_override(texts[used++], overrides, count);
}

static clq_status override_floats(const char **overrides, size_t *count, const char *key,
                                  const float *values, int value_count) {
    char text[128];
    size_t length = 0;
    for (int c = 0; c < value_count; c++) {
        length += (size_t)clq_snprintf(text + length, sizeof text - length, "%s%.9g", c ? "," : "",
                                       (double)values[c]);
    }
    return override(overrides, count, "data.%s=[%s]", key, text);
}

clq_status clq_image_flags_override(const clq_image_flags *f, const char **overrides,
                                    size_t *count) {
    const clq_preprocessing *p = &f->given;
    if (p->known & CLQ_PART_NORMALISATION) {
        const clq_normalization *n = &p->normalization;
        CLQ_TRY(override_floats(overrides, count, "mean", n->mean, p->normalization_count));
        CLQ_TRY(override_floats(overrides, count, "std", n->std, p->normalization_count));
        CLQ_TRY(override(overrides, count, "data.range=%d", (int)n->range));
    }
    if (p->known & CLQ_PART_CHANNELS) {
        CLQ_TRY(override(overrides, count, "data.channels=%s", clq_channels_names[p->channels]));
    }
    if (p->known & CLQ_PART_RESIZE) {
        CLQ_TRY(override(overrides, count, "data.resize=%s", f->resize));
    }
    if (p->known & CLQ_PART_CROP) {
        if (p->crop_width != p->crop_height) {
            return clq_fail(CLQ_USAGE, "--crop: the networks built here read squares, is %s",
                            f->crop);
        }
        CLQ_TRY(override(overrides, count, "data.size=%d", p->crop_width));
    }
    if (p->known & CLQ_PART_INTERPOLATION) {
        CLQ_TRY(override(overrides, count, "data.interpolation=%s",
                         clq_interpolation_names[p->resize.interpolation]));
    }
    return CLQ_OK;
}
