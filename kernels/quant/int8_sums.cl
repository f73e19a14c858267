/* Between codes in floats and the integer convolution's bytes: what a training step needs whose sums
 * it makes. */
#include "codes.h"

/* x (pixels, channels), q - z, to y (pixels, pitch): `shift`, z less the type's lowest code, is added;
 * padding is 0. */
#define BYTES_BODY(ARG, W) PUT_BYTES##W(LOAD##W(x + i) + (float##W)(shift), y + i);
#define PUT_BYTES16(v, p) vstore16(convert_uchar16(convert_int16(v)), 0, (p))
#define PUT_BYTES1(v, p) (*(p) = (uchar)convert_int(v))

__kernel void codes_to_bytes(__global const float *x, __global uchar *y, int shift, int pixels,
                             int channels, int pitch) {
    if (channels == pitch) {
        FOR_EACH_CODE((long)pixels * channels, BYTES_BODY, 0);
        return;
    }
    for (int pixel = get_global_id(0); pixel < pixels; pixel += get_global_size(0)) {
        for (int c = 0; c < pitch; c++) {
            const float q = c < channels ? x[(long)pixel * channels + c] + (float)shift : 0.0f;
            y[(long)pixel * pitch + c] = (uchar)convert_int(q);
        }
    }
}

/* packed (count) gets the codes where `map` says: the number of the weight, from 1; 0 is no weight.
 * With `wide` its elements are of 16 bits. */
#define PACK_BODY(ARG, W)                                                                          \
    for (int l = 0; l < W; l++) {                                                                  \
        const int from = map[i + l], q = from > 0 ? convert_int(codes[from - 1]) : 0;              \
        if (wide) {                                                                                \
            ((__global short *)packed)[i + l] = (short)q;                                          \
        } else {                                                                                   \
            packed[i + l] = (char)q;                                                               \
        }                                                                                          \
    }

__kernel void pack_codes(__global const float *codes, __global const int *map,
                         __global char *packed, int wide, int count) {
    FOR_EACH_CODE(count, PACK_BODY, 0);
}

/* One work-item a place of the convolution's table: where the sum starts of the channel whose number,
 * from 1, is there (0: none), the bias less the zero point's share. reach: the largest of what (13) bounds, `most` being the largest
 * |q_x - z_x|. bias_codes may be NULL. Sums of codes are exact in floats, whatever their order. */
__kernel void sum_starts(__global const float *codes, __global const float *bias_codes,
                         __global const int *numbers, __global int *channels,
                         volatile __global int *reach, int zero_point, int most, int places,
                         int k) {
    const int place = get_global_id(0);
    if (place >= places || numbers[place] == 0) {
        return;
    }
    const int channel = numbers[place] - 1;
    codes += (long)channel * k;
    float16 sum16 = 0.0f, size16 = 0.0f;
    float sum = 0.0f, size = 0.0f;
    int j = 0;
    for (; j + 16 <= k; j += 16) {
        const float16 q = LOAD16(codes + j);
        sum16 += q;
        size16 += fabs(q);
    }
    for (; j < k; j++) {
        sum += codes[j];
        size += fabs(codes[j]);
    }
    const float8 a = sum16.lo + sum16.hi, b = size16.lo + size16.hi;
    const float4 c = a.lo + a.hi, d = b.lo + b.hi;
    const int bias = bias_codes ? convert_int(bias_codes[channel]) : 0;
    const long all = convert_long(sum + c.x + c.y + c.z + c.w);
    const long bound = most * convert_long(size + d.x + d.y + d.z + d.w) + abs(bias);
    channels[place] = (int)(bias - zero_point * all);
    atomic_max(reach, (int)min(bound, (long)0x7fffffff));
}
