/* What this process may have of the machine's memory. */
#ifndef CLQ_BASE_LIMITS_H
#define CLQ_BASE_LIMITS_H

#include "clquant/base.h"

/* Bytes of address space that it may have (`ulimit -v`), and those it has now; false when there is
 * no limit, or it cannot be known. */
bool clq_address_space(uint64_t *limit, uint64_t *used);
/* Bytes of memory that its control group may have, caches included; UINT64_MAX when there is no
 * limit. */
uint64_t clq_group_memory(void);

#endif
