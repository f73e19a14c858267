/* OpenCL results as clquant statuses. */
#ifndef CLQ_DEVICE_CL_STATUS_H
#define CLQ_DEVICE_CL_STATUS_H

#include <CL/cl.h>

#include "clquant/base.h"

/* "CL_OUT_OF_RESOURCES"; "unknown OpenCL error" for a value that OpenCL does not define. */
const char *clq_cl_error_name(cl_int error);

/* Sets the last error to "<format>: CL_NAME (number)". CLQ_NO_MEMORY when the device or the host
 * ran out of memory, CLQ_DEVICE otherwise. */
clq_status clq_cl_fail(cl_int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
