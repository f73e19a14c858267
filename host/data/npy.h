/* .npy files (NumPy format versions 1.0 to 3.0): arrays of numbers, read as float. */
#ifndef CLQ_DATA_NPY_H
#define CLQ_DATA_NPY_H

#include <clquant/base.h>

enum { CLQ_NPY_MAX_RANK = 4 };

typedef struct clq_npy {
    int rank;
    int64_t dims[CLQ_NPY_MAX_RANK];
    int64_t count;   /* product of the dimensions */
    bool is_integer; /* the file's type is an integer or bool */
    float *values;   /* (count) in C order, owned */
} clq_npy;

/* Reads f2, f4, f8, i1 to i8, u1 to u8 and bool of either byte order, in C or Fortran order.
 * CLQ_BAD_DATA for anything else, a length that does not match, NaN or infinity; a double beyond
 * the largest float counts as infinity. */
clq_status clq_npy_read(const char *path, clq_npy *array);
void clq_npy_free(clq_npy *array);

/* Writes values (dims[0], ..., dims[rank - 1]), rank 1 to CLQ_NPY_MAX_RANK, as little-endian f4,
 * complete or not at all. */
clq_status clq_npy_write(const char *path, const float *values, const int64_t *dims, int rank);

#endif
