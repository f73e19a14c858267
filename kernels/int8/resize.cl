/* Resizing of images of u8 codes: include/resize.h, equation (12i). An item makes whole rows on the
 * CPU schedule; on the GPU's, neighbouring ones do neighbouring chunks of channels. */
#include "code_chunks.h"
#include "elementwise.h"
#include "requantize.h"
#include "resize.h"

#define READ_CODES4(ih, iw) codes_load4(from + ((ih) * (long)IW + (iw)) * pitch)
#define READ_CODES16(ih, iw) codes_load16(from + ((ih) * (long)IW + (iw)) * pitch)

__kernel void int8_resize(__global const uchar *x, __global uchar *y, RESIZE_AXES(int),
                          RESIZE_SHAPE, int shift, int zero, int lo, int hi, float outside,
                          float scale) {
    const int pitch = CODE_PITCH(C), chunks = CODE_CHUNKS(C), row = OW * chunks;
    const int outside_code = clq_quantize_int(outside, scale, (float)zero, (float)lo, (float)hi);
#ifdef CLQ_SCHEDULE_CPU
    long unit, end;
    clq_share((long)batch * OH * row, row, &unit, &end);
    for (; unit < end; unit++) {
#else
    for (long unit = get_global_id(0); unit < (long)batch * OH * row; unit += get_global_size(0)) {
#endif
        const long pixel = unit / chunks;
        const int first = (int)(unit % chunks) * CHUNK;
        const int w = (int)(pixel % OW), h = (int)(pixel / OW % OH);
        const bool beyond = RESIZE_BEYOND(h, w);
#define RESIZE_CODES(W)                                                                            \
    __global const uchar *from = x + pixel / OW / OH * IH * IW * pitch + first + c;                \
    int##W sum = (int##W)(-(zero << shift));                                                       \
    RESIZE_SUM(int##W, sum, h, w, READ_CODES##W)                                                   \
    const int##W code = clq_requantize_shift##W(sum, (int##W)(shift), zero, lo, hi);               \
    codes_put##W(beyond ? (int##W)(outside_code) : code, C - first - c,                            \
                 y + pixel * pitch + first + c);
        FOR_CHUNK(first, C, RESIZE_CODES)
    }
}
