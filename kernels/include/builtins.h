/* The built-in functions that kernels use, for compilers made of Clang. These declare all that
 * OpenCL has, 15,000 functions, in each program, which takes longer than most kernels do. Where
 * the device's compiler can be kept from it (device/program.c) CLQ_DECLARE_BUILTINS is defined,
 * and this is what there is; where a kernel uses another one, its program is built a second time,
 * with all of them. Attributes are those of OpenCL's own header: `const` where a result depends on
 * arguments alone, `pure` where on memory too, `convergent` for what a work-group does together. */
#ifndef CLQ_BUILTINS_H
#define CLQ_BUILTINS_H
#ifdef CLQ_DECLARE_BUILTINS

#define CLQ_OVERLOADED __attribute__((overloadable))
#define CLQ_CONST __attribute__((overloadable, const))
#define CLQ_PURE __attribute__((overloadable, pure))

/* M of a type in all widths, with the width; of all types of integers */
#define CLQ_WIDTHS(M, T) M(T, ) CLQ_VECTORS(M, T)
#define CLQ_VECTORS(M, T) M(T, 2) M(T, 4) M(T, 8) M(T, 16)
#define CLQ_INTEGERS(M)                                                                            \
    CLQ_WIDTHS(M, char)                                                                            \
    CLQ_WIDTHS(M, uchar)                                                                           \
    CLQ_WIDTHS(M, short)                                                                           \
    CLQ_WIDTHS(M, ushort)                                                                          \
    CLQ_WIDTHS(M, int)                                                                             \
    CLQ_WIDTHS(M, uint)                                                                            \
    CLQ_WIDTHS(M, long)                                                                            \
    CLQ_WIDTHS(M, ulong)

/* ---- the index space ---- */

uint CLQ_CONST get_work_dim(void);
size_t CLQ_CONST get_global_size(uint dimension);
size_t CLQ_CONST get_global_id(uint dimension);
size_t CLQ_CONST get_global_offset(uint dimension);
size_t CLQ_CONST get_local_size(uint dimension);
size_t CLQ_CONST get_local_id(uint dimension);
size_t CLQ_CONST get_num_groups(uint dimension);
size_t CLQ_CONST get_group_id(uint dimension);
void __attribute__((overloadable, convergent)) barrier(cl_mem_fence_flags flags);
void CLQ_OVERLOADED mem_fence(cl_mem_fence_flags flags);

/* ---- reals ---- */

#define CLQ_OF_ONE(F, T, W) T##W CLQ_CONST F(T##W);
#define CLQ_OF_TWO(F, T, W) T##W CLQ_CONST F(T##W, T##W);
#define CLQ_OF_THREE(F, T, W) T##W CLQ_CONST F(T##W, T##W, T##W);
#define CLQ_OF_REALS(T, W)                                                                         \
    CLQ_OF_ONE(ceil, T, W)                                                                         \
    CLQ_OF_ONE(erf, T, W)                                                                          \
    CLQ_OF_ONE(erfc, T, W)                                                                         \
    CLQ_OF_ONE(exp, T, W)                                                                          \
    CLQ_OF_ONE(expm1, T, W)                                                                        \
    CLQ_OF_ONE(fabs, T, W)                                                                         \
    CLQ_OF_ONE(floor, T, W)                                                                        \
    CLQ_OF_ONE(log, T, W)                                                                          \
    CLQ_OF_ONE(log1p, T, W)                                                                        \
    CLQ_OF_ONE(rint, T, W)                                                                         \
    CLQ_OF_ONE(sign, T, W)                                                                         \
    CLQ_OF_ONE(sqrt, T, W)                                                                         \
    CLQ_OF_ONE(tanh, T, W)                                                                         \
    CLQ_OF_TWO(fmax, T, W)                                                                         \
    CLQ_OF_TWO(fmin, T, W)                                                                         \
    CLQ_OF_TWO(pow, T, W)                                                                          \
    CLQ_OF_TWO(powr, T, W)                                                                         \
    CLQ_OF_THREE(clamp, T, W)                                                                      \
    CLQ_OF_THREE(fma, T, W)                                                                        \
    CLQ_OF_THREE(mad, T, W)                                                                        \
    int##W CLQ_CONST isfinite(T##W);                                                               \
    int##W CLQ_CONST isnan(T##W);
CLQ_WIDTHS(CLQ_OF_REALS, float)
#define CLQ_WITH_A_NUMBER(T, W)                                                                    \
    T##W CLQ_CONST fmax(T##W, T);                                                                  \
    T##W CLQ_CONST fmin(T##W, T);                                                                  \
    T##W CLQ_CONST clamp(T##W, T, T);
CLQ_VECTORS(CLQ_WITH_A_NUMBER, float)

/* ---- integers ---- */

#define CLQ_OF_INTEGERS(T, W)                                                                      \
    CLQ_OF_TWO(max, T, W)                                                                          \
    CLQ_OF_TWO(min, T, W)                                                                          \
    CLQ_OF_TWO(mul_hi, T, W)                                                                       \
    CLQ_OF_THREE(clamp, T, W)
CLQ_INTEGERS(CLQ_OF_INTEGERS)
uint CLQ_CONST abs(int);
#define CLQ_OF_FLAGS(T, W)                                                                         \
    int CLQ_CONST all(T##W);                                                                       \
    int CLQ_CONST any(T##W);
CLQ_WIDTHS(CLQ_OF_FLAGS, int)
#define CLQ_OF_BITS(T, W) CLQ_OF_ONE(clz, T, W)
CLQ_WIDTHS(CLQ_OF_BITS, uint)
CLQ_WIDTHS(CLQ_OF_BITS, ulong)

/* ---- conversions ---- */

#define CLQ_TO_ALL(T, W)                                                                           \
    uchar##W CLQ_CONST convert_uchar##W(T##W);                                                     \
    short##W CLQ_CONST convert_short##W(T##W);                                                     \
    ushort##W CLQ_CONST convert_ushort##W(T##W);                                                   \
    int##W CLQ_CONST convert_int##W(T##W);                                                         \
    uint##W CLQ_CONST convert_uint##W(T##W);                                                       \
    long##W CLQ_CONST convert_long##W(T##W);                                                       \
    float##W CLQ_CONST convert_float##W(T##W);
CLQ_INTEGERS(CLQ_TO_ALL)
CLQ_WIDTHS(CLQ_TO_ALL, float)

/* ---- memory ---- */

/* Vectors are stored here, not by the compiler's own functions: PoCL's take a vector apart, and what
 * is put together again of float16 is two stores of 16 bytes and one of 32. */
#define CLQ_IN(SPACE, T, W)                                                                        \
    T##W CLQ_PURE vload##W(size_t, const SPACE T *);                                               \
    static inline void CLQ_OVERLOADED vstore##W(T##W v, size_t i, SPACE T *p) {                    \
        *(SPACE clq_##T##W##_anywhere *)(p + i * W) = v;                                           \
    }
#ifdef __opencl_c_generic_address_space /* pointers of functions are generic then */
#define CLQ_IN_GENERIC(T, W) CLQ_IN(, T, W)
#else
#define CLQ_IN_GENERIC(T, W)
#endif
#define CLQ_IN_MEMORY(T, W)                                                                        \
    typedef T##W clq_##T##W##_anywhere __attribute__((aligned(sizeof(T))));                        \
    CLQ_IN_GENERIC(T, W)                                                                           \
    CLQ_IN(__global, T, W)                                                                         \
    CLQ_IN(__local, T, W)                                                                          \
    CLQ_IN(__private, T, W)                                                                        \
    T##W CLQ_PURE vload##W(size_t, const __constant T *);
#define CLQ_AHEAD(T, W) void CLQ_OVERLOADED prefetch(const __global T##W *, size_t);
#define CLQ_VECTORS_OF(T)                                                                          \
    CLQ_VECTORS(CLQ_IN_MEMORY, T)                                                                  \
    CLQ_WIDTHS(CLQ_AHEAD, T)
CLQ_VECTORS_OF(char)
CLQ_VECTORS_OF(uchar)
CLQ_VECTORS_OF(short)
CLQ_VECTORS_OF(ushort)
CLQ_VECTORS_OF(int)
CLQ_VECTORS_OF(uint)
CLQ_VECTORS_OF(float)

#define CLQ_COUNTER(SPACE, T)                                                                      \
    T CLQ_OVERLOADED atomic_add(volatile SPACE T *, T);                                            \
    T CLQ_OVERLOADED atomic_inc(volatile SPACE T *);                                               \
    T CLQ_OVERLOADED atomic_max(volatile SPACE T *, T);
CLQ_COUNTER(__global, int)
CLQ_COUNTER(__global, uint)
CLQ_COUNTER(__local, int)
CLQ_COUNTER(__local, uint)

#endif

#ifdef CLQ_ITEM /* a kernel as a function, of ids and sizes that it is given: host/device/chain.c */
#define get_global_id(d) CLQ_ITEM[d]
#define get_global_size(d) CLQ_ITEM[3 + (d)]
#endif
#endif
