#include "cli/npy.h"

#include <stdio.h>
#include <string.h>

#include "base/files.h"

clq_status clq_npy_write(const char *path, const float *data, int64_t rows, int64_t columns) {
    /* Magic, version, header length and the header, padded with spaces to 128 bytes and a newline.
     */
    char header[129];
    clq_writer *writer = NULL;
    clq_status status = CLQ_OK;
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10);
    const int used = snprintf(header + 10, sizeof header - 10,
                              "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }",
                              (long long)rows, (long long)columns);
    memset(header + 10 + used, ' ', 117 - (size_t)used);
    header[127] = '\n';
    CLQ_TRY(clq_writer_open(path, &writer));
    CLQ_GOTO(status, cleanup, clq_writer_write(writer, header, 128));
    CLQ_GOTO(status, cleanup,
             clq_writer_write(writer, data, (size_t)rows * (size_t)columns * sizeof *data));
    status = clq_writer_commit(&writer);
cleanup:
    clq_writer_abort(&writer);
    return status;
}
