/* .npy files (NumPy format versions 1.0 to 3.0): arrays of numbers, read as float. */
#ifndef CLQ_DATA_NPY_H
#define CLQ_DATA_NPY_H

#include <clquant/base.h>

enum { CLQ_NPY_MAX_RANK = 5, CLQ_NPY_HEADER = 128 /* bytes of those written */ };

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

/* ---- in parts, for files that are read and written row by row ---- */

/* What a header says of the numbers behind it. */
typedef struct clq_npy_head {
    int rank;
    int64_t dims[CLQ_NPY_MAX_RANK];
    int64_t count; /* product of the dimensions */
    char kind;     /* as in the header's 'descr': f, i, u or b */
    int size;      /* bytes of a number */
    bool big_endian;
    bool fortran; /* the first dimension's numbers stand side by side */
    size_t start; /* of the numbers, from the file's beginning */
} clq_npy_head;

/* From the first `size` bytes of a file of `file_size` (CLQ_UNKNOWN_SIZE: not checked). A header
 * ends within CLQ_FILE_HEAD bytes. */
clq_status clq_npy_parse(const char *path, const void *bytes, size_t size, uint64_t file_size,
                         clq_npy_head *head);
/* `count` numbers, which begin at `bytes` and at number `first` of the array; in Fortran order all
 * of them, which come out in C order. CLQ_BAD_DATA names one that is not finite. */
clq_status clq_npy_floats(const char *path, const clq_npy_head *head, const void *bytes,
                          int64_t first, int64_t count, float *values);
/* Into header[CLQ_NPY_HEADER]; `type` as in 'descr', such as "<f4". */
void clq_npy_make_header(const char *type, const int64_t *dims, int rank, char *header);
/* Little-endian, into bytes[4 * count]. */
void clq_npy_put_floats(const float *values, size_t count, uint8_t *bytes);

#endif
