/* The report: one HTML page with its pictures inside, PNGs and CSVs beside it. */
#ifndef CLQUANT_REPORT_H
#define CLQUANT_REPORT_H

#include <clquant/base.h>

CLQ_API_BEGIN

/* Reads what a run left in `folder` and writes folder/report/: index.html, *.png, *.csv.
 *
 *   run.json {"schema":1,"name":,"device":,"created":,"fp32":{...},"ptq":{...},"qat":{...}}: each
 * with top1, loss, size_bytes, latency_ms, speedup, mismatched_codes (ptq, qat) eval-fp32.json
 * eval-ptq.json eval-qat.json    as `clquant eval --json`, with "classes": [names]
 *   train/history.json qat/history.json           as clq_train writes them
 *   bench.json                                    as `clquant bench --json`
 *
 * Parts that are missing are left out of the page; with none at all CLQ_NO_INPUT. `html` (owned by
 * the caller, clq_free) receives the page's path and may be NULL. */
clq_status clq_report_write(const char *folder, char **html);

CLQ_API_END
#endif
