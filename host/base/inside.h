/* Files that another file names, which may come from a stranger: read by pieces, and only from
 * below a folder. */
#ifndef CLQ_BASE_INSIDE_H
#define CLQ_BASE_INSIDE_H

#include "clquant/base.h"

typedef struct clq_inside_file {
    int fd;
    uint64_t size;
    uint64_t device, inode; /* which file it is, under whatever name */
} clq_inside_file;

/* Opens folder/name for reading. CLQ_BAD_DATA for an empty or absolute name, one with "..", one
 * that a symbolic link leads out of the folder, and for what is no regular file (nothing is waited
 * for); CLQ_NO_INPUT when it is missing or may not be read. Nobody who changes names meanwhile can
 * make it open a file elsewhere. A hard link is the file itself, wherever else it has a name.
 * Errors do not name the file. */
clq_status clq_inside_open(const char *folder, const char *name, clq_inside_file *file);

/* `size` bytes from `offset` on; CLQ_IO when they cannot be read, or are not there any more. */
clq_status clq_inside_read(const clq_inside_file *file, uint64_t offset, void *data, size_t size);

void clq_inside_close(clq_inside_file *file);

#endif
