/* Pictures of an analysis: what each layer costs, and what the worst of them make. */
#include <math.h>
#include <stdio.h>

#include "report/pictures.h"

/* ---- by layer, in the order of the network ---- */

/* values[place] of all layers, by what `offset` says of each, scaled. */
static void fill(const clq_run_analysis *a, size_t offset, double scale, double *values) {
    for (size_t i = 0; i < a->layer_count; i++) {
        const clq_run_analyzed_layer *layer = &a->layers[i];
        values[layer->place] =
            scale * *(const double *)(const void *)((const char *)layer + offset);
    }
}

/* Places are 0, 1, ... each once. */
static bool places_are_good(const clq_run_analysis *a, double *seen) {
    for (size_t i = 0; i < a->layer_count; i++) {
        const int place = a->layers[i].place;
        if ((size_t)place >= a->layer_count || seen[place] != 0) {
            return false;
        }
        seen[place] = 1;
    }
    return true;
}

typedef struct by_layer {
    const char *stem, *what, *y_label, *suffix;
    double scale;
    size_t offsets[2];
    const char *names[2];
} by_layer;

static const by_layer all[] = {
    {"sqnr",
     "SQNR of each layer's output",
     "SQNR, dB",
     "",
     1,
     {offsetof(clq_run_analyzed_layer, sqnr_db),
      offsetof(clq_run_analyzed_layer, sqnr_accumulated_db)},
     {"by itself, on float inputs", "in the network"}},
    {"error",
     "error of the outputs",
     "relative error",
     " %",
     100,
     {offsetof(clq_run_analyzed_layer, error_only),
      offsetof(clq_run_analyzed_layer, error_without)},
     {"this layer quantized alone", "all but this layer quantized"}},
    {"top1",
     "top-1 accuracy",
     "top-1 accuracy",
     " %",
     100,
     {offsetof(clq_run_analyzed_layer, top1_only), offsetof(clq_run_analyzed_layer, top1_without)},
     {"this layer quantized alone", "all but this layer quantized"}},
};
enum { BY_LAYER = sizeof all / sizeof *all }; /* CLQ_BY_LAYER */

static void add_by_layer(clq_pictures *p, const clq_run_analysis *a, const by_layer *which,
                         const double *x, double *values) {
    fill(a, which->offsets[0], which->scale, values);
    fill(a, which->offsets[1], which->scale, values + a->layer_count);
    if (!clq_any_finite(values, 2 * a->layer_count)) {
        return;
    }
    char *title = p->titles[p->count];
    clq_line_plot *plot = &p->curves[p->curve_count++];
    clq_picture *picture = clq_pictures_add(p, CLQ_PICTURE_ANALYSIS, 600, 360);
    snprintf(title, sizeof *p->titles, "Analysis: %s", which->what);
    *plot = (clq_line_plot){
        .title = title,
        .x_label = "layer, in the order of the network",
        .y_label = which->y_label,
        .y_suffix = which->suffix,
        .y_min = NAN,
        .y_max = NAN,
        .x = x,
        .count = a->layer_count,
        .series = {{which->names[0], values}, {which->names[1], values + a->layer_count}},
        .series_count = 2};
    snprintf(picture->name, sizeof picture->name, "analysis-%s", which->stem);
    snprintf(picture->alt, sizeof picture->alt, "%s by layer, in the order of the network",
             which->what);
    picture->draw = clq_line_plot_draw;
    picture->plot = plot;
}

/* ---- histograms ---- */

/* How often each value comes, as a power of ten, and the ends of what the codes can say. */
static void add_histogram(clq_pictures *p, const clq_run_analyzed_layer *layer, int rank,
                          double *memory) {
    double *x = memory, *y = memory + CLQ_RUN_MAX_BINS;
    for (size_t i = 0; i < layer->bins; i++) {
        const double count = (double)json_integer_value(json_array_get(layer->counts, i));
        x[i] = layer->histogram_low + ((double)i + 0.5) * layer->bin_width;
        y[i] = log10(1 + count);
    }
    char *title = p->titles[p->count];
    clq_line_plot *plot = &p->curves[p->curve_count++];
    clq_picture *picture = clq_pictures_add(p, CLQ_PICTURE_ANALYSIS, 600, 360);
    snprintf(title, sizeof *p->titles, "Values of %s", layer->name);
    *plot = (clq_line_plot){.title = title,
                            .x_label = isfinite(layer->code_least)
                                           ? "value (dashed: the ends of what the codes can say)"
                                           : "value",
                            .y_label = "log10 (1 + how often)",
                            .y_suffix = "",
                            .y_min = 0,
                            .y_max = NAN,
                            .x = x,
                            .count = layer->bins,
                            .real_x = true,
                            .marks = {layer->code_least, layer->code_most},
                            .series = {{"float output", y}},
                            .series_count = 1};
    snprintf(picture->name, sizeof picture->name, "analysis-values-%d", rank);
    snprintf(picture->alt, sizeof picture->alt, "How often values come in the output of %.100s",
             layer->name);
    picture->draw = clq_line_plot_draw;
    picture->plot = plot;
}

clq_status clq_pictures_add_analysis(clq_pictures *p, const clq_run_data *data) {
    const clq_run_analysis *a = &data->analysis;
    const size_t layers = a->layer_count, shown = layers < CLQ_HISTOGRAMS ? layers : CLQ_HISTOGRAMS;
    if (!a->present || layers == 0) {
        return CLQ_OK;
    }
    p->analysis =
        clq_calloc((1 + 2 * BY_LAYER) * layers + 2 * shown * CLQ_RUN_MAX_BINS, sizeof *p->analysis);
    if (!p->analysis) {
        return CLQ_NO_MEMORY;
    }
    double *x = p->analysis;
    const bool good = places_are_good(a, x);
    for (size_t i = 0; i < layers; i++) {
        x[i] = (double)i + 1;
    }
    for (size_t i = 0; good && layers > 1 && i < BY_LAYER; i++) {
        add_by_layer(p, a, &all[i], x, x + (1 + 2 * i) * layers);
    }
    for (size_t i = 0; i < shown; i++) {
        if (a->layers[i].bins > 1 && a->layers[i].bin_width > 0 &&
            isfinite(a->layers[i].histogram_low)) {
            add_histogram(p, &a->layers[i], (int)i + 1,
                          x + (1 + 2 * BY_LAYER) * layers + 2 * i * CLQ_RUN_MAX_BINS);
        }
    }
    return CLQ_OK;
}
