/* What quantizing a network did, and how well the network does then. */
#ifndef CLQUANT_SESSION_QUANTIZED_H
#define CLQUANT_SESSION_QUANTIZED_H

#include "base/text.h"
#include "session/data.h"

#include <clquant/quant.h>

/* How well the network does before and after, on the same labelled images. */
typedef struct clq_before_after {
    int64_t images;    /* or rows; 0: not measured */
    const char *unit;  /* "images" or "rows" */
    bool is_r2;        /* of a regression; else top-1 */
    double fp32, int8; /* NaN: not known */
    char why_not[256]; /* "" when it was not asked for */
} clq_before_after;

/* How far the integer network's outputs are from the float one's, where there are no labels. */
typedef struct clq_output_errors {
    int64_t rows;     /* or images; 0: not measured */
    const char *unit; /* "images" or "rows" */
    int count;        /* outputs */
    double of[CLQ_MAX_ENDS];
} clq_output_errors;

typedef struct clq_quantized {
    const char *method; /* "ptq", "qat" */
    const clq_quant_config *config;
    clq_quant_report report;
    clq_before_after accuracy;
    clq_output_errors errors, errors_before; /* before: of QAT's start */
} clq_quantized;

/* How many images of the test split accuracy is measured on where --test-images does not say. */
enum { CLQ_TEST_IMAGES = 512 };

/* Evaluates both on up to `limit` images of the test split, spread over it; 0: does nothing. Data
 * without such a split, or with other classes, is no failure: `why_not` then says so. */
clq_status clq_compare_accuracy(clq_device *device, clq_graph *trained, clq_graph *integer,
                                const clq_data_source *source, int64_t limit,
                                clq_before_after *accuracy);

/* Inputs without labels: one of them, the other NULL. */
typedef struct clq_unlabelled {
    const clq_data_source *images;
    clq_arrays *arrays;
} clq_unlabelled;

/* Compares the outputs of both on up to `limit` of what calibrated, spread over them; 0: does
 * nothing. */
clq_status clq_compare_unlabelled(clq_device *device, clq_graph *trained, clq_graph *integer,
                                  const clq_unlabelled *inputs, int64_t limit,
                                  clq_output_errors *errors);

/* What ptq says of its network: accuracy where the images (else NULL) have labels, and how far
 * outputs are from the float network's where they have none, or are arrays. */
clq_status clq_compare_quantized(clq_device *device, clq_graph *trained, clq_graph *integer,
                                 const clq_data_source *images, clq_arrays *arrays, int64_t limit,
                                 clq_quantized *quantized);

/* What a failure of it adds, about the file that it is measured after. */
#define CLQ_BUT_WRITTEN "%s is written and whole, but its accuracy could not be measured"

/* Warns where max_shift clamped scales. */
void clq_quantized_warn(const clq_quantized *quantized);
/* Where PTQ lost much, warns, and names what usually helps of what was not used; `graph` is the
 * integer network. */
void clq_quantized_hint(const clq_quantized *quantized, const clq_graph *graph);
/* Into a JSON object: "quantization", "scales", "clamped", "widened_for_bias". */
void clq_quantized_to_json(const clq_quantized *quantized, json_t *json);
/* What a quantized network's metadata tells of its quantization; null where it tells nothing. */
json_t *clq_quantization_recorded(const clq_graph *graph);
/* That as a list: "method ptq, images 512, ...". */
clq_status clq_quantization_describe(const json_t *recorded, clq_text *text);
/* All of what ptq and qat say: the network beside the original, and what quantizing it did (NULL:
 * only what the network tells of an earlier one). `path` NULL: it is in no file. */
json_t *clq_saved_to_json(const char *path, const clq_graph *original, const clq_graph *saved,
                          const clq_quantized *quantized);

/* What ranges were found by. */
clq_observer_kind clq_quantized_observer(const clq_quantized *quantized);
/* Whether any activation is quantized. */
bool clq_has_codes(const clq_graph *graph);
/* Whether the node works on reals whatever the policy says. */
bool clq_has_no_codes(const clq_node *node);

#endif
