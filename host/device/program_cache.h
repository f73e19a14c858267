/* Built programs on disk (cache_file.h says where and how). The key of a program: its source with
 * all includes, its build options, and the platform, device and driver with their versions.
 *
 * PoCL is left out: it keeps what it builds itself. Making a binary costs it a second build of all
 * kernels (3.5 s for ResNet-20 in PoCL 3.1, and what restoring saves is a tenth of a second a run),
 * and PoCL 6.0 fails an assertion of LLVM on a restored program that holds inline assembly.
 *
 * A driver that dies or fails on a restored program does so once. The program is on trial until
 * each kernel that is taken from it has run; for so long the cache holds a mark, and a program that
 * is found marked is built from its source, now and in every later run. (Two processes that restore
 * one program at the same time may see each other's marks: then one builds it, which does no harm.)
 */
#ifndef CLQ_DEVICE_PROGRAM_CACHE_H
#define CLQ_DEVICE_PROGRAM_CACHE_H

#include "device/internal.h"

/* Whether programs for the device are kept and restored; clq_device's restores_programs. */
bool clq_program_cache_pays(const clq_device *device);
/* Restores program->handle; false, with nothing changed, when the cache does not hold it, or the
 * driver does not take it or did not when it was restored before. `name`: a kernel in it. */
bool clq_program_cache_load(clq_device *device, const char *source, const char *options,
                            const char *name, clq_program *program);
/* Keeps a built program's binary. Failing to is not an error. */
void clq_program_cache_store(clq_device *device, const char *source, const char *options,
                             cl_program program);

/* A kernel was created from a program that is on trial. */
void clq_program_trial_begin(clq_program *program);
/* It has run or is not going to; `failed`: it did not run to its end. */
void clq_program_trial_end(clq_program *program, bool failed);

#endif
