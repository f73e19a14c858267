/* Which node makes numbers that are not finite. */
#ifndef CLQUANT_QUANT_NONFINITE_H
#define CLQUANT_QUANT_NONFINITE_H

#include <clquant/exec.h>

/* Runs the float executor once more on what is in its inputs, with a look at each node's output.
 * CLQ_BAD_DATA: names the first node whose output has infinities or NaN; CLQ_OK: there is none. */
clq_status clq_name_nonfinite(clq_exec *exec);

#endif
