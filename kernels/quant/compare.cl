/* Compares the codes of a fake-quantized network, floats q - z (pixels, channels), with those of
 * the integer network, bytes (pixels, pitch); zero_point is z's byte. result (values, 2) starts as
 * 0: [value][0] counts the codes that differ, [value][1] is INT_MAX less the lowest place (pixel *
 * channels + channel) of one. */
__kernel void compare_codes(__global const float *fake, __global const uchar *codes, int zero_point,
                            int value, volatile __global int *result, int pixels, int channels,
                            int pitch) {
    const float z = (float)zero_point;
    int wrong = 0, first = INT_MAX;
    for (int pixel = get_global_id(0); pixel < pixels; pixel += get_global_size(0)) {
        for (int c = 0; c < channels; c++) {
            const int place = pixel * channels + c;
            if (fake[place] + z != (float)codes[(long)pixel * pitch + c]) {
                wrong++;
                first = min(first, place);
            }
        }
    }
    if (wrong > 0) {
        atomic_add(result + 2 * value, wrong);
        atomic_max(result + 2 * value + 1, INT_MAX - first);
    }
}
