#include "device/cpuid.h"

#if defined(__x86_64__) || defined(__i386__)

#include <cpuid.h>

typedef struct leaf {
    uint32_t eax, ebx, ecx, edx;
} leaf;

static leaf read_leaf(uint32_t number, uint32_t sub) {
    leaf l = {0};
    if (!__get_cpuid_count(number, sub, &l.eax, &l.ebx, &l.ecx, &l.edx)) {
        return (leaf){0};
    }
    return l;
}

/* XCR0: which register states the operating system saves. */
static uint32_t read_xcr0(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

clq_host_cpu clq_read_host_cpu(void) {
    enum { OSXSAVE = 1 << 27, AVX = 1 << 28, YMM_STATE = 0x6, ZMM_STATE = 0xe6 };
    clq_host_cpu cpu = {.simd_bytes = 16};
    leaf zero = read_leaf(0, 0), one = read_leaf(1, 0);
    uint32_t *word = cpu.identity;
    *word++ = zero.ebx;
    *word++ = zero.ecx;
    *word++ = zero.edx;
    *word++ = one.eax;
    for (uint32_t i = 0; i < 3; i++) {
        leaf brand = read_leaf(0x80000002u + i, 0);
        *word++ = brand.eax;
        *word++ = brand.ebx;
        *word++ = brand.ecx;
        *word++ = brand.edx;
    }
    if (!(one.ecx & OSXSAVE) || !(one.ecx & AVX)) {
        return cpu;
    }
    uint32_t xcr0 = read_xcr0();
    leaf seven = read_leaf(7, 0), seven_one = read_leaf(7, 1);
    if ((xcr0 & YMM_STATE) == YMM_STATE && (seven.ebx & (1u << 5))) {
        cpu.simd_bytes = 32;
        cpu.avx2 = true;
        cpu.avxvnni = seven_one.eax & (1u << 4);
    }
    if (cpu.avx2 && (xcr0 & ZMM_STATE) == ZMM_STATE && (seven.ebx & (1u << 16))) {
        cpu.simd_bytes = 64;
        cpu.avx512vnni = seven.ecx & (1u << 11);
    }
    return cpu;
}

#else

clq_host_cpu clq_read_host_cpu(void) {
    return (clq_host_cpu){0};
}

#endif
