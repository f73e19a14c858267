/* What ptq, qat and convert print (session/quantized.h). */
#ifndef CLQUANT_CLI_QUANTIZED_H
#define CLQUANT_CLI_QUANTIZED_H

#include "cli/data.h"
#include "session/quantized.h"

/* Says on stdout what was written: path, form, size beside the original's, and what quantizing did
 * (NULL: not said, but for what the file itself tells of an earlier one). */
void clq_saved_print(bool json, const char *path, const clq_graph *original, const clq_graph *saved,
                     const clq_quantized *quantized);

#endif
