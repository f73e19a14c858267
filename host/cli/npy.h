/* NumPy's .npy files, version 1.0, little-endian float32 matrices. */
#ifndef CLQUANT_CLI_NPY_H
#define CLQUANT_CLI_NPY_H

#include <clquant/base.h>

/* Writes data (rows, columns), complete or not at all. */
clq_status clq_npy_write(const char *path, const float *data, int64_t rows, int64_t columns);

#endif
