/* The environment variables that are clquant's, CLQUANT_*: what they may be is checked here, the
 * same way for all. One that is empty counts as not set. "off" and "0" switch off. */
#ifndef CLQ_BASE_ENVIRONMENT_H
#define CLQ_BASE_ENVIRONMENT_H

#include "clquant/base.h"

/* The value; NULL when not set. */
const char *clq_environment(const char *name);
/* The names of all that anything reads, one after the other; NULL behind the last. */
const char *clq_environment_name(size_t index);
/* Whether a variable, of any kind, switches off. */
bool clq_environment_is_off(const char *name);
/* Leaves *seconds where the variable is not set. CLQ_USAGE for anything but a whole number from 1.
 */
clq_status clq_environment_seconds(const char *name, int *seconds);
/* CLQ_USAGE, with what it may be, for a variable that has a value that it cannot have; those that
 * name a device, a dot path or a schedule are checked where they are read. Warns, once in a
 * process, of variables whose names begin like ours but that nothing reads. */
clq_status clq_environment_check(void);

#endif
