/* What `clquant analyze` prints (session/analysis.h). */
#ifndef CLQUANT_CLI_ANALYSIS_H
#define CLQUANT_CLI_ANALYSIS_H

#include "session/analysis.h"

/* The ladder, the layers, and what to try, on standard output. */
clq_status clq_analysis_print(const clq_analysis *analysis);

#endif
