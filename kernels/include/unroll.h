/* UNROLL before a loop of the work-group kernels: unrolled on GPUs. The GPU schedule on a CPU is for
 * tests, where the loops stay loops: its compiler takes half the time for the same arithmetic. */
#ifndef CLQ_UNROLL_H
#define CLQ_UNROLL_H

#ifdef CLQ_KEEP_LOOPS
#define UNROLL _Pragma("unroll 1")
#else
#define UNROLL _Pragma("unroll")
#endif

#endif
