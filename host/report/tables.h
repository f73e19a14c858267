/* The report's tables as CSV (RFC 4180). */
#ifndef CLQUANT_REPORT_TABLES_H
#define CLQUANT_REPORT_TABLES_H

#include "base/text.h"
#include "report/run_data.h"

/* Writes all the run has data for: comparison.csv, train.csv, qat.csv, confusion-*.csv, bench.csv,
 * layers.csv. */
clq_status clq_tables_write(const clq_run_data *data, const char *folder);

#endif
