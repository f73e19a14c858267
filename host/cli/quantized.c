#include "cli/quantized.h"

#include <math.h>
#include <stdio.h>

#include "base/files.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/pipeline.h"
#include "quant/report.h"

/* ---- words ---- */

static void print_accuracy(const clq_before_after *a) {
    if (a->images > 0 && a->is_r2) {
        printf("R2 on %lld %.*s of the test split: FP32 %.4f, int8 %.4f\n", (long long)a->images,
               clq_unit_length(a->unit, a->images), a->unit, a->fp32, a->int8);
    } else if (a->images > 0) {
        printf("top-1 on %lld %.*s of the test split: FP32 %.2f %%, int8 %.2f %%\n",
               (long long)a->images, clq_unit_length(a->unit, a->images), a->unit, 100 * a->fp32,
               100 * a->int8);
    } else if (*a->why_not) {
        printf("accuracy was not measured: %s\n", a->why_not);
    }
}

static void print_errors(const clq_output_errors *errors, const clq_output_errors *before,
                         const clq_graph *graph) {
    if (errors->rows == 0) {
        return;
    }
    printf("int8 outputs differ from FP32's on %lld %.*s of the calibration data (root mean "
           "square, relative) by",
           (long long)errors->rows, clq_unit_length(errors->unit, errors->rows), errors->unit);
    for (int o = 0; o < errors->count; o++) {
        fputs(o ? ", " : " ", stdout);
        clq_print_name(clq_graph_output_name(graph, o));
        printf(" %.3g %%", 100 * errors->of[o]);
        if (before->rows > 0) {
            printf(" (before QAT %.3g %%)", 100 * before->of[o]);
        }
    }
    putchar('\n');
}

/* "conv1 - conv2, conv2 - conv3 and 7 more" */
static void print_equalized(const clq_equalization *equalization) {
    enum { NAMED = 4 };
    int channels = 0, held = 0;
    printf("equalized %d pair%s of layers", equalization->count, clq_plural(equalization->count));
    for (int i = 0; i < equalization->count; i++) {
        const clq_equalized_pair *pair = &equalization->pairs[i];
        channels += pair->channels;
        held += pair->held;
        if (i < NAMED) {
            fputs(i ? ", " : ": ", stdout);
            clq_print_name(pair->first);
            fputs(" - ", stdout);
            clq_print_name(pair->second);
        }
    }
    if (equalization->count > NAMED) {
        printf(" and %d more", equalization->count - NAMED);
    }
    if (held > 0) {
        printf("; %d of %d channel%s %s, since ReLU6 cuts them", held, channels,
               clq_plural(channels), held == 1 ? "stays as it was" : "stay as they were");
    }
    putchar('\n');
}

/* A line for each observer of all. */
static void print_tried(const clq_quantized *q) {
    const clq_quant_report *report = &q->report;
    char text[CLQ_OBSERVER_TEXT];
    if (report->tried_count == 0) {
        return;
    }
    printf("observers on the %lld %.*s that calibrated", (long long)report->images,
           clq_unit_length(report->unit, report->images), report->unit);
    if (!isnan(report->fp32_top1)) {
        printf(" (FP32 top-1 %.2f %%)", 100 * report->fp32_top1);
    }
    fputs(isnan(report->fp32_top1) ? ", without labels" : "", stdout);
    puts(q->config->adaround > 0       ? ", before AdaRound:"
         : q->config->bias_correct > 0 ? ", before bias correction:"
                                       : ":");
    for (int i = 0; i < report->tried_count; i++) {
        const clq_tried_observer *tried = &report->tried[i];
        printf("  %-18s", clq_observer_text(tried->observer, q->config->percentile, text));
        if (!isnan(tried->top1)) {
            printf(" top-1 %6.2f %%,", 100 * tried->top1);
        }
        printf(" outputs differ from FP32's by %.3g %%%s\n", 100 * tried->error,
               tried->observer == report->observer ? "   kept" : "");
    }
}

/* "softmax prob, div quotient and 7 more" */
static void print_real(const clq_graph *graph) {
    enum { NAMED = 4 };
    int count = 0;
    for (int n = 0; n < graph->node_count; n++) {
        const clq_node *node = &graph->nodes[n];
        if (clq_has_no_codes(node) && count++ < NAMED) {
            printf("%s%s ",
                   count > 1 ? ", " : "stay float, having no integer form: ", node->op->name);
            clq_print_name(node->name);
        }
    }
    if (count > NAMED) {
        printf(" and %d more", count - NAMED);
    }
    if (count > 0) {
        putchar('\n');
    }
}

static void print_methods(const clq_quant_config *config, const clq_quant_report *report) {
    const clq_adaround *a = &report->adaround;
    const char *unit = report->unit ? report->unit : "images";
    const clq_bias_correction *b = &report->bias_correction;
    if (config->equalize) {
        print_equalized(&report->equalization);
    }
    if (config->adaround > 0) {
        printf(
            "adaround on %lld %.*s, %d step%s for each of %d layer%s: error of their outputs %.3g "
            "%%, rounding to the nearest %.3g %%",
            (long long)a->images, clq_unit_length(unit, a->images), unit, config->adaround,
            clq_plural(config->adaround), a->layers, clq_plural(a->layers), 100 * a->after,
            100 * a->before);
        printf(a->nearest ? "; %d keep the nearest\n" : "\n", a->nearest);
    }
    if (config->bias_correct) {
        printf("biases of %d layer%s corrected on %lld %.*s: means were off by %.3g %% of the "
               "outputs' "
               "size, at most by %.3g %%",
               b->layers, clq_plural(b->layers), (long long)b->images,
               clq_unit_length(unit, b->images), unit, 100 * b->mean, 100 * b->largest);
        fputs(b->largest > 0 ? ", in " : "", stdout);
        clq_print_name(b->worst);
        putchar('\n');
    }
}

/* By what scales were chosen, where no file gave them all. */
static void print_settings(const clq_quantized *q, bool codes) {
    const clq_quant_config *config = q->config;
    const clq_quant_report *report = &q->report;
    const char *unit = report->unit ? report->unit : "images";
    const bool pow2 = config->scale == CLQ_SCALE_POW2;
    char observer[CLQ_OBSERVER_TEXT];
    if (codes) {
        printf("%s: calibrated on %lld %.*s, observer %s", q->method, (long long)report->images,
               clq_unit_length(unit, report->images), unit,
               clq_observer_text(clq_quantized_observer(q), config->percentile, observer));
    } else {
        printf("%s: nothing to calibrate, as no activation is quantized", q->method);
    }
    printf("; activations %s, weights %s%s, scales %s",
           codes ? clq_activation_names[config->symmetric_activations] : "float",
           clq_weight_names[config->per_tensor_weights],
           config->weight_observer == CLQ_WEIGHTS_MSE ? " by mse" : "",
           clq_scale_names[config->scale]);
    if (pow2 && config->max_shift > 0) {
        printf(" within 2^-%d..2^%d", config->max_shift, config->max_shift);
    } else if (pow2) {
        printf(", 2^0 only");
    }
    if (config->learn_scales != CLQ_LEARN_NONE) {
        printf(", learned (%s)", clq_learn_names[config->learn_scales]);
    }
}

static void print_text(const clq_quantized *q, const clq_graph *graph) {
    const clq_quant_config *config = q->config;
    const clq_quant_report *report = &q->report;
    const bool pow2 = config->scale == CLQ_SCALE_POW2;
    const bool codes = clq_has_codes(graph);
    if (codes && report->images == 0 && config->encodings) {
        printf("%s: scales of %s", q->method, clq_encodings_path(config->encodings));
    } else {
        print_settings(q, codes);
    }
    printf(", requantizer %s\n", clq_requantizer_name(config->requantizer));
    if (report->encoded > 0) {
        printf("scales of %lld tensor%s given", (long long)report->encoded,
               clq_plural(report->encoded));
    } else {
        printf("%lld scale%s", (long long)report->scales, clq_plural(report->scales));
    }
    if (report->widened > 0 && report->encoded == 0) {
        printf(", %lld of them larger than its weights need, so that a bias fits into 32 bits",
               (long long)report->widened);
    }
    if (pow2) {
        printf(", %lld clamped by max_shift", (long long)report->clamped);
    }
    putchar('\n');
    print_real(graph);
    print_methods(config, report);
    print_tried(q);
    print_accuracy(&q->accuracy);
    print_errors(&q->errors, &q->errors_before, graph);
}

/* ---- what was written ---- */

static void print_json(const char *path, const clq_graph *original, const clq_graph *saved,
                       const clq_quantized *quantized) {
    json_t *json = clq_saved_to_json(path, original, saved, quantized);
    (void)clq_json_dump_stdout(json);
    json_decref(json);
}

static void print_recorded(const clq_graph *graph) {
    json_t *json = clq_quantization_recorded(graph);
    clq_text text = {0};
    if (json_object_size(json) > 0 && clq_quantization_describe(json, &text) == CLQ_OK) {
        fputs("quantized earlier: ", stdout);
        clq_print_name(text.data);
        putchar('\n');
    } else {
        puts("quantized earlier, nothing is known of how");
    }
    clq_text_free(&text);
    json_decref(json);
}

/* Of the file as it lies there, which holds names and scales too. */
static void print_file_size(const char *path) {
    clq_reader *reader = NULL;
    if (clq_reader_open(path, &reader) == CLQ_OK) {
        const double size = (double)clq_reader_size(reader);
        const bool small = size < 100000;
        printf("; the file has %.2f %s", size / (small ? 1e3 : 1e6), small ? "kB" : "MB");
    }
    clq_reader_close(reader);
}

void clq_saved_print(bool json, const char *path, const clq_graph *original, const clq_graph *saved,
                     const clq_quantized *quantized) {
    const clq_graph_size before = clq_graph_measure(original), after = clq_graph_measure(saved);
    const char *earlier = clq_graph_get_metadata(saved, CLQ_META_QUANTIZATION);
    if (quantized) {
        clq_quantized_warn(quantized);
        clq_quantized_hint(quantized, saved);
    }
    if (json) {
        print_json(path, original, saved, quantized);
        return;
    }
    const bool small = after.bytes < 100000;
    const char *unit = small ? "kB" : "MB";
    const double one = small ? 1e3 : 1e6;
    printf("%s: %s network, %lld parameter%s in %.2f %s", path, clq_graph_form_name(saved),
           (long long)after.parameters, clq_plural(after.parameters), (double)after.bytes / one,
           unit);
    if (after.bytes != before.bytes) {
        printf(" (FP32 %.2f %s, %.2fx smaller)", (double)before.bytes / one, unit,
               (double)before.bytes / (double)after.bytes);
    }
    print_file_size(path);
    putchar('\n');
    if (quantized) {
        print_text(quantized, saved);
    } else if (earlier) {
        print_recorded(saved);
    }
}
