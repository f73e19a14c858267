/* The OpenCL C functions that the kernels call, for clang alone: an OpenCL implementation brings
 * them in its own library. get_global_id and get_global_size are in device.c. */
#include <opencl-c.h>

#define BUILTIN __attribute__((always_inline, overloadable))

#define MIN_AND_CLAMP(T)                                                                           \
    BUILTIN T min(T a, T b) {                                                                      \
        return b < a ? b : a;                                                                      \
    }                                                                                              \
    BUILTIN T clamp(T x, T low, T high) {                                                          \
        return x < low ? low : x > high ? high : x;                                                \
    }
MIN_AND_CLAMP(int)
MIN_AND_CLAMP(long)

/* Whether all 16 elements have their highest bit set. */
BUILTIN int all(int16 v) {
    int bits = -1;
    for (int i = 0; i < 16; i++)
        bits &= v[i];
    return bits < 0;
}

/* Vectors of W elements T at any multiple of the element's size. */
#define LOAD(T, W, SPACE)                                                                          \
    BUILTIN T##W vload##W(size_t i, const SPACE T *p) {                                            \
        typedef T##W unaligned __attribute__((aligned(sizeof(T))));                                \
        return *(const SPACE unaligned *)(p + i * W);                                              \
    }
#define STORE(T, W, SPACE)                                                                         \
    BUILTIN void vstore##W(T##W v, size_t i, SPACE T *p) {                                         \
        typedef T##W unaligned __attribute__((aligned(sizeof(T))));                                \
        *(SPACE unaligned *)(p + i * W) = v;                                                       \
    }
#define LOAD_STORE(T, W, SPACE) LOAD(T, W, SPACE) STORE(T, W, SPACE)
#define LOADS_STORES(T, SPACE)                                                                     \
    LOAD_STORE(T, 2, SPACE)                                                                        \
    LOAD_STORE(T, 4, SPACE) LOAD_STORE(T, 8, SPACE) LOAD_STORE(T, 16, SPACE)
LOADS_STORES(uchar, __global)
LOADS_STORES(int, __global)
LOADS_STORES(uint, __global)
LOADS_STORES(float, __global)
LOADS_STORES(int, __private)
LOADS_STORES(uint, __private)

#define CONVERT(FROM, TO, W)                                                                       \
    BUILTIN TO##W convert_##TO##W(FROM##W v) {                                                     \
        return __builtin_convertvector(v, TO##W);                                                  \
    }
#define CONVERT_CODES(W)                                                                           \
    CONVERT(uchar, int, W)                                                                         \
    CONVERT(uchar, float, W) CONVERT(int, float, W) CONVERT(int, uchar, W) CONVERT(uchar, ushort, W)
CONVERT_CODES(4)
CONVERT_CODES(16)
