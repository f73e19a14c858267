/* PoCL compiles in a folder, and has no device, or builds no kernel, where that cannot be written.
 */
#ifndef CLQ_DEVICE_POCL_CACHE_H
#define CLQ_DEVICE_POCL_CACHE_H

#include <clquant/base.h>

/* The folder that PoCL takes: POCL_CACHE_DIR, else pocl/kcache in XDG_CACHE_HOME, in HOME/.cache or
 * in /tmp. *variable (NULL ok) names where it comes from; "": nowhere. NULL: out of memory;
 * clq_free it. */
char *clq_pocl_cache_folder(const char **variable);

/* CLQ_CANNOT_CREATE when the disk of a file or folder has fewer bytes left. */
clq_status clq_pocl_check_space(const char *place, uint64_t wanted);

/* Before the first question to OpenCL, as a loader that sorts several platforms asks each for its
 * devices: where PoCL's folder can neither be written nor made, or its disk is full, POCL_CACHE_DIR
 * becomes one of this user's in TMPDIR or /tmp. *warning says so, for machines that have PoCL: NULL
 * where the folder is good; clq_free it. CLQ_CANNOT_CREATE when no folder can be had. */
clq_status clq_pocl_cache_prepare(char **warning);

#endif
