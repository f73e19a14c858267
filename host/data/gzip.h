/* Gzipped files in memory. */
#ifndef CLQ_DATA_GZIP_H
#define CLQ_DATA_GZIP_H

#include <clquant/base.h>

/* Whether bytes begin as a gzip file does. */
bool clq_is_gzip(const void *data, size_t size);

/* The first `room` bytes of what is packed in data[size], into `out`; *got is how many there are,
 * fewer where the content ends before. CLQ_BAD_DATA names `name`: damaged, or cut off. */
clq_status clq_gunzip(const char *name, const void *data, size_t size, void *out, size_t room,
                      size_t *got);

#endif
