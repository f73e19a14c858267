/* The report's tables as CSV (RFC 4180). */
#ifndef CLQUANT_REPORT_TABLES_H
#define CLQUANT_REPORT_TABLES_H

#include "report/files.h"
#include "report/run_data.h"

/* Adds all the run has data for: comparison.csv, train.csv, train-steps.csv, qat.csv,
 * qat-steps.csv, confusion-*.csv,
 * analysis-ladder.csv, analysis-layers.csv, bench.csv, layers.csv, each behind `prefix`. */
clq_status clq_tables_make(const clq_run_data *data, const char *prefix, clq_report_files *files);

#endif
