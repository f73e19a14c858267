/* Puts the phases of a transposed convolution in their places: y (N, OH, OW, OC) at (oh, ow) is
 * made (N, GH, GW, ..) at (oh / SH, ow / SW), where channel c = group * (OC / G) + o is number
 * (group * SH * SW + phase) * (OC / G) + o of phase (oh % SH) * SW + ow % SW. Channels are bytes, or
 * words where they are reals; a unit is a word of y, `row` words a pixel. */
#include "elementwise.h"

__kernel void int8_place_phases(__global const uchar *made, __global uint *y, int words, int OH,
                                int OW, int OC, int GH, int GW, int SH, int SW, int groups,
                                int made_bytes, int row, int reals) {
    const int cols = OC / groups, phases = SH * SW;
    long i, end;
    clq_share(words, 1, &i, &end);
    for (; i < end; i++) {
        const long pixel = i / row;
        const int word = (int)(i % row), first = reals ? word : 4 * word;
        const int ow = (int)(pixel % OW), oh = (int)(pixel / OW % OH);
        const long n = pixel / OW / OH;
        const int phase = oh % SH * SW + ow % SW;
        __global const uchar *from = made + ((n * GH + oh / SH) * GW + ow / SW) * made_bytes;
        uint value = 0;
        if (reals || cols % 4 == 0) {
            const int at = (first / cols * phases + phase) * cols + first % cols;
            value = ((__global const uint *)from)[reals ? at : at / 4];
        } else {
            for (int k = 0; k < 4 && first + k < OC; k++) {
                const int c = first + k;
                value |= (uint)from[(c / cols * phases + phase) * cols + c % cols] << (8 * k);
            }
        }
        y[i] = value;
    }
}
