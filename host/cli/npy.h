/* NumPy's .npy files, version 1.0, little-endian float32 arrays. */
#ifndef CLQUANT_CLI_NPY_H
#define CLQUANT_CLI_NPY_H

#include <clquant/graph.h>

/* Writes data of this shape, complete or not at all. */
clq_status clq_npy_write(const char *path, const float *data, const clq_shape *shape);

#endif
