#include "cli/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/files.h"

enum { HEADER_SIZE = 128, PREFIX = 10 /* magic, version, length of the rest */ };

/* The prefix and the description, padded with spaces to 128 bytes that end in a newline. */
static void make_header(const clq_shape *shape, char header[HEADER_SIZE + 1]) {
    int used = PREFIX;
    memset(header, ' ', HEADER_SIZE);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", PREFIX);
    used += snprintf(header + used, HEADER_SIZE - (size_t)used,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int d = 0; d < shape->rank; d++) {
        used +=
            snprintf(header + used, HEADER_SIZE - (size_t)used, "%lld,", (long long)shape->dim[d]);
    }
    used += snprintf(header + used, HEADER_SIZE - (size_t)used, ")}");
    header[used] = ' ';
    header[HEADER_SIZE - 1] = '\n';
}

clq_status clq_npy_write(const char *path, const float *data, const clq_shape *shape) {
    char header[HEADER_SIZE + 1];
    clq_writer *writer = NULL;
    clq_status status = CLQ_OK;
    make_header(shape, header);
    CLQ_TRY(clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, header, HEADER_SIZE));
    CLQ_GOTO(status, cleanup,
             clq_writer_write(writer, data, (size_t)clq_shape_count(shape) * sizeof *data));
    status = clq_writer_commit(&writer);
cleanup:
    clq_writer_abort(&writer);
    return status;
}
