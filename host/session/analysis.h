/* What an analysis found, as JSON. */
#ifndef CLQUANT_SESSION_ANALYSIS_H
#define CLQUANT_SESSION_ANALYSIS_H

#include <jansson.h>

#include <clquant/analyze.h>

/* The times of the layers on the device, one sample at a time, into the analysis. */
clq_status clq_analysis_time(clq_device *device, const clq_graph *real, const clq_graph *integer,
                             clq_analysis *analysis);

/* "ladder" and "layers" into a JSON object, and "advice", the last line of the text. */
void clq_analysis_to_json(const clq_analysis *analysis, json_t *json);
/* What analysis.json holds: that, behind which networks, data and device it is of. `quantized`
 * NULL: it was made for the analysis; `model` and `data` NULL: they are of no file; `preprocessing`
 * is taken over. */
json_t *clq_analysis_result(const clq_analysis *analysis, const char *model, const char *quantized,
                            const char *data, clq_device *device, const clq_graph *integer,
                            json_t *preprocessing);
/* Which layer costs most, and what to try (clq_free it); NULL: no memory. */
char *clq_analysis_advice(const clq_analysis *analysis);

#endif
