/* Which processor runs this, and how wide its registers may be used. One work-item.
 *
 * words[0 .. 15]: the words of clq_host_cpu.identity (host/device/cpuid.h), zeros elsewhere than on
 * x86; words[16]: CLQ_PROBE_SIMD when an addition in registers of that many bytes gave the right
 * values, else 0. */
#ifndef CLQ_PROBE_SIMD
#define CLQ_PROBE_SIMD 16
#endif

#if defined(__x86_64__) || defined(__i386__)
#define IS_X86 1
#else
#define IS_X86 0
#endif

#if IS_X86
static uint4 cpuid(uint leaf) {
    uint4 r;
    uint a = leaf, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    r = (uint4)(a, b, c, d);
    return r;
}
#endif

__kernel void cpu_probe(__global uint *words) {
    for (int i = 0; i < 17; i++) {
        words[i] = 0;
    }
#if IS_X86
    uint4 maker = cpuid(0), model = cpuid(1);
    words[0] = maker.y;
    words[1] = maker.z;
    words[2] = maker.w;
    words[3] = model.x;
    for (uint i = 0; i < 3; i++) {
        vstore4(cpuid(0x80000002u + i), i + 1, words);
    }
#if CLQ_PROBE_SIMD == 64 && defined(__AVX512F__)
    int16 x = (int16)(as_int(model.x)), sum;
    __asm__ volatile("vpaddd %1, %1, %0" : "=v"(sum) : "v"(x));
    words[16] = all(sum == x + x) ? 64 : 0;
#elif CLQ_PROBE_SIMD == 32 && defined(__AVX2__)
    int8 x = (int8)(as_int(model.x)), sum;
    __asm__ volatile("vpaddd %1, %1, %0" : "=x"(sum) : "x"(x));
    words[16] = all(sum == x + x) ? 32 : 0;
#elif CLQ_PROBE_SIMD == 16
    words[16] = 16;
#endif
#endif
}
