/* The weights of an FP32 convolution in the order in which its kernel reads them, and behind them a
 * row of zeros that pixels outside the image read. */
#ifndef CLQUANT_OPS_CONV_PACKED_H
#define CLQUANT_OPS_CONV_PACKED_H

#include <clquant/device.h>

typedef struct clq_conv_packed {
    clq_buffer *buffer;    /* NULL: not taken */
    size_t weights, zeros; /* floats */
} clq_conv_packed;

size_t clq_conv_packed_bytes(const clq_conv_packed *packed);
/* Takes the memory, as scratch if it is for one use only, and queues the zeros. */
clq_status clq_conv_packed_take(clq_conv_packed *packed, clq_device *device, bool scratch);
void clq_conv_packed_release(clq_conv_packed *packed); /* not taken: nothing happens */

#endif
