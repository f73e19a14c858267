/* What this process's own processor can do, asked of the processor itself. All zero where it is
 * not an x86 one. */
#ifndef CLQ_DEVICE_CPUID_H
#define CLQ_DEVICE_CPUID_H

#include <stdbool.h>
#include <stdint.h>

enum { CLQ_CPUID_WORDS = 16 };

typedef struct clq_host_cpu {
    /* Leaf 0 (maker), leaf 1 eax (family, model) and the brand string: words that do not depend
     * on the core. kernels/int8/cpu_probe.cl reads the same ones in the same order. */
    uint32_t identity[CLQ_CPUID_WORDS];
    unsigned simd_bytes; /* widest registers the processor has and the system saves */
    bool avx2, avxvnni, avx512vnni;
} clq_host_cpu;

clq_host_cpu clq_read_host_cpu(void);

#endif
