/* Asking for a line of memory before it is needed. */
#ifndef CLQ_PREFETCH_H
#define CLQ_PREFETCH_H

/* Never faults, whatever the address. PoCL's prefetch() does nothing; the builtin is clang's and
 * cannot be used where the program goes through SPIR-V, whose compilers do not all say so but do not
 * call themselves a processor's either. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define PREFETCH(p) __builtin_prefetch((__private const void *)(size_t)(p))
#else
#define PREFETCH(p) prefetch(p, 1)
#endif

#define LINE_FLOATS 16 /* floats of a line of most caches */

#endif
