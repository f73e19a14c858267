__kernel void dot_probe(__global const uint *a, __global const int *b, __global int *out, int n) {
    int i = (int)get_global_id(0);
    if (i < n) {
        out[i] = (int)a[i] * b[i];
    }
}
