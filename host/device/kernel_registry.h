/* The embedded kernels, written at build from kernels/registry.def by cmake/embed.c. */
#ifndef CLQUANT_DEVICE_KERNEL_REGISTRY_H
#define CLQUANT_DEVICE_KERNEL_REGISTRY_H

typedef struct clq_kernel_entry {
    const char *name;   /* __kernel function */
    const char *file;   /* path below kernels/ */
    const char *source; /* OpenCL C with its includes pasted in; entries of one file share it */
} clq_kernel_entry;

extern const clq_kernel_entry clq_kernel_registry[]; /* ends with a NULL name */
extern const unsigned long clq_kernel_registry_count;

#endif
