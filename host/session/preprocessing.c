/* How images become a network's input: rules, and what is said about it. */
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "session/data.h"

/* ---- rules ---- */

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
