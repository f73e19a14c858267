/* The flags that say how images become a network's input, and what is said about it. */
#include <string.h>

#include "base/log.h"
#include "base/numbers.h"
#include "base/ranges.h"
#include "base/text.h"
#include "cli/cli.h"
#include "cli/data.h"

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

clq_status clq_image_flags_check(clq_preprocessing *given, const clq_shape *input) {
    static const char *const flags[CLQ_PART_COUNT] = {"--mean, --std", "--channels", "--resize",
                                                      "--crop", "--interpolation"};
    for (int i = 0; i < CLQ_PART_COUNT; i++) { /* each alone, so that an error names its flag */
        clq_preprocessing part = *given;
        part.known &= 1u << i;
        CLQ_TRY(clq_fail_in(clq_preprocessing_check(&part, input, CLQ_USAGE), "%s", flags[i]));
    }
    return clq_preprocessing_check(given, input, CLQ_USAGE);
}

void clq_normalization_reorder(clq_preprocessing *p, const char *source, clq_channel_order from,
                               clq_channel_order to, bool quiet) {
    clq_normalization *n = &p->normalization;
    if ((from == CLQ_BGR) == (to == CLQ_BGR) || p->normalization_count != 3) {
        return;
    }
    const float mean = n->mean[0], std = n->std[0];
    n->mean[0] = n->mean[2];
    n->std[0] = n->std[2];
    n->mean[2] = mean;
    n->std[2] = std;
    if (!quiet && (n->mean[0] != mean || n->std[0] != std)) {
        clq_log_warn("mean and std come from the %s, in the order %s: they are taken in the order "
                     "%s, that of the channels. Give --mean and --std if they were in it",
                     source, clq_channels_names[from], clq_channels_names[to]);
    }
}

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

/* ---- saying ---- */

static const char *const part_names[CLQ_PART_COUNT] = {"mean, std", "channels", "resize", "crop",
                                                       "interpolation"};

static void add_numbers(clq_text *text, const char *what, const float *values, int count) {
    bool equal = true;
    for (int c = 1; c < count; c++) {
        equal = equal && values[c] == values[0];
    }
    clq_text_printf(text, ", %s", what);
    for (int c = 0; c < (equal ? 1 : count); c++) {
        clq_text_printf(text, " %.6g", (double)values[c]);
    }
}

/* "flag: mean, std; model: resize, crop": each source once, in the order in which they come. */
static void add_sources(clq_text *text, const char *const *sources) {
    for (int i = 0; i < CLQ_PART_COUNT; i++) {
        bool seen = false;
        for (int k = 0; k < i; k++) {
            seen = seen || strcmp(sources[k], sources[i]) == 0;
        }
        for (int k = i; !seen && k < CLQ_PART_COUNT; k++) {
            if (k == i) {
                clq_text_printf(text, "%s%s: %s", i ? "; " : " (", sources[i], part_names[i]);
            } else if (strcmp(sources[k], sources[i]) == 0) {
                clq_text_printf(text, ", %s", part_names[k]);
            }
        }
    }
    clq_text_puts(text, ")");
}

clq_status clq_preprocessing_log(const clq_preprocessing *p, const char *const *sources) {
    const clq_normalization *n = &p->normalization;
    const clq_resize *r = &p->resize;
    clq_text text = {0};
    if (r->shorter) {
        clq_text_printf(&text, "shorter side %d", r->shorter);
    } else {
        clq_text_printf(&text, "resized to %d x %d", r->width, r->height);
    }
    clq_text_printf(&text, ", centre crop %d x %d, %s, %s, 0..%d", p->crop_width, p->crop_height,
                    clq_interpolation_names[r->interpolation], clq_channels_names[p->channels],
                    n->range == 255 ? 255 : 1);
    add_numbers(&text, "mean", n->mean, p->normalization_count);
    add_numbers(&text, "std", n->std, p->normalization_count);
    add_sources(&text, sources);
    const clq_status status = clq_text_status(&text);
    if (status == CLQ_OK) {
        clq_log_info("preprocessing: %s", text.data);
    }
    clq_text_free(&text);
    return status;
}

static json_t *floats_to_json(const float *values, int count) {
    json_t *json = json_array();
    for (int c = 0; c < count; c++) {
        json_array_append_new(json, json_real((double)values[c]));
    }
    return json;
}

static json_t *size_to_json(int width, int height) {
    json_t *json = json_array();
    json_array_append_new(json, json_integer(width));
    json_array_append_new(json, json_integer(height));
    return json;
}

static void add_sources_to_json(const clq_preprocessing *p, const char *const *sources,
                                json_t *json) {
    static const struct {
        const char *key;
        int part;
    } keys[] = {{"mean", 0},   {"std", 0},  {"range", 0},        {"channels", 1},
                {"resize", 2}, {"crop", 3}, {"interpolation", 4}};
    json_t *words = json_object();
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if ((p->known & (1u << keys[i].part)) && sources[keys[i].part]) {
            json_object_set_new(words, keys[i].key, clq_json_string(sources[keys[i].part]));
        }
    }
    json_object_set_new(json, "sources", words);
}

json_t *clq_preprocessing_to_json(const clq_graph *graph, const char *const *sources) {
    clq_preprocessing p;
    if (graph->values[clq_graph_input(graph)].shape.rank != 4 ||
        clq_graph_preprocessing(graph, &p) != CLQ_OK || !p.known) {
        return json_null();
    }
    json_t *json = json_object();
    if (p.known & CLQ_PART_RESIZE) {
        json_object_set_new(json, "resize",
                            p.resize.shorter ? json_integer(p.resize.shorter)
                                             : size_to_json(p.resize.width, p.resize.height));
    }
    if (p.known & CLQ_PART_CROP) {
        json_object_set_new(json, "crop", size_to_json(p.crop_width, p.crop_height));
    }
    if (p.known & CLQ_PART_INTERPOLATION) {
        json_object_set_new(json, "interpolation",
                            clq_json_string(clq_interpolation_names[p.resize.interpolation]));
    }
    if (p.known & CLQ_PART_CHANNELS) {
        json_object_set_new(json, "channels", clq_json_string(clq_channels_names[p.channels]));
    }
    if (p.known & CLQ_PART_NORMALISATION) {
        json_object_set_new(json, "range", json_integer(p.normalization.range == 255 ? 255 : 1));
        json_object_set_new(json, "mean",
                            floats_to_json(p.normalization.mean, p.normalization_count));
        json_object_set_new(json, "std",
                            floats_to_json(p.normalization.std, p.normalization_count));
    }
    add_sources_to_json(&p, sources, json);
    return json;
}
