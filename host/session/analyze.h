/* An analysis from networks and data to its result (docs/analyze.md). */
#ifndef CLQUANT_SESSION_ANALYZE_H
#define CLQUANT_SESSION_ANALYZE_H

#include <jansson.h>

#include <clquant/analyze.h>

#include "session/data.h"
#include "session/quantized.h"

typedef struct clq_analyze_work {
    /* For the caller to fill in: */
    clq_device *device;
    clq_graph *trained; /* the float network; owned */
    clq_graph *integer; /* what was made of it; NULL: it is made here, with `config`; owned */
    const char *name, *quantized_name; /* of both, for errors */
    const char *data;                  /* images or a table, where there are no arrays */
    clq_arrays *arrays;
    bool inputs_only; /* labels that `data` may have are not used */
    const clq_image_flags *flags;
    const clq_quant_config *config;
    uint64_t seed;
    int64_t limit; /* samples; 0: 512, or fewer that take 1 GB */
    /* What comes of it: */
    clq_graph *folded;
    clq_quantized quantized; /* where the integer network is made here */
    bool is_given;           /* it is not */
    clq_dataset *images;
    clq_feed *feed;
    int batch;
    char why_not[256]; /* accuracy is not measured; "" otherwise */
    const char *sources[CLQ_PART_COUNT];
    clq_analysis analysis;
} clq_analyze_work;

/* Quantizes where that is wanted, and opens the data. */
clq_status clq_analyze_open(clq_analyze_work *work);
/* Measures all, times too. */
clq_status clq_analyze_run(clq_analyze_work *work);
/* As clq_analysis_result. */
json_t *clq_analyze_to_json(const clq_analyze_work *work, const char *model, const char *quantized,
                            const char *data);
/* After a failure too; device and arrays stay the caller's. */
void clq_analyze_close(clq_analyze_work *work);

#endif
