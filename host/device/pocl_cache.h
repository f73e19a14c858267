/* PoCL compiles in a folder, and has no device, or builds no kernel, where that cannot be written.
 */
#ifndef CLQ_DEVICE_POCL_CACHE_H
#define CLQ_DEVICE_POCL_CACHE_H

#include <clquant/base.h>

/* The folder that PoCL takes: POCL_CACHE_DIR, else pocl/kcache in XDG_CACHE_HOME, in HOME/.cache or
 * in /tmp. *variable (NULL ok) names where it comes from; "": nowhere. NULL: out of memory;
 * clq_free it. */
char *clq_pocl_cache_folder(const char **variable);

/* Before PoCL's first device: makes the folder or, where it cannot be written, points
 * POCL_CACHE_DIR to one of this user's in TMPDIR or /tmp, with a warning. CLQ_CANNOT_CREATE when
 * that fails too. */
clq_status clq_pocl_cache_prepare(void);

#endif
