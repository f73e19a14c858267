/* The report: one HTML page with its pictures inside, PNGs and CSVs beside it. */
#ifndef CLQUANT_REPORT_H
#define CLQUANT_REPORT_H

#include <clquant/base.h>

CLQ_API_BEGIN

typedef struct clq_report_options {
    const char *out; /* folder for the report; NULL: the run's own, "report" in it */
    bool overwrite;  /* replace the report of other runs, or files that are no report's */
} clq_report_options;

/* Reads what runs left in folders (count) and writes one page of them all, index.html, with *.png
 * and *.csv beside it and report.json, which says what is there and of which runs.
 *
 *   run.json {"schema":1,"name":,"device":,"created":,"fp32":{...},"ptq":{...},"qat":{...}}: each
 * with top1, loss, size_bytes, latency_ms, speedup, mismatched_codes (ptq, qat) eval-fp32.json
 * eval-ptq.json eval-qat.json    as `clquant eval --json`, with "classes": [names]
 *   train/history.json qat/history.json           as clq_train writes them, steps.json too
 *   bench.json                                    as `clquant bench --json`
 *   origin.json                                   docs/json.md
 *
 * Parts that are missing are left out of the page, which says so; a folder with none at all is
 * CLQ_NO_INPUT. CLQ_USAGE for several runs without options->out and for one run given twice,
 * CLQ_CANNOT_CREATE where another report or other files would be lost, and where options->out is
 * the folder of a run. `options` may be NULL. `html` (owned by the caller,
 * clq_free) receives the page's path and may be NULL. */
clq_status clq_report_write(const char *const *folders, size_t count,
                            const clq_report_options *options, char **html);

CLQ_API_END
#endif
