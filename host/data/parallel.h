/* A loop over independent items on several threads. */
#ifndef CLQ_DATA_PARALLEL_H
#define CLQ_DATA_PARALLEL_H

#include <clquant/base.h>

#include "base/progress.h"

/* `threads` when > 0, else the number of processors; between 1 and 64. */
int clq_thread_count(int threads);

typedef clq_status (*clq_parallel_body)(void *context, int64_t index);

/* Calls body(context, i) for i in 0 .. count - 1, each once, on up to `threads` threads (the
 * caller's among them; fewer when no more can be started). When bodies fail, the failure of the
 * smallest index is returned, whatever the number of threads. `progress` may be NULL. */
clq_status clq_parallel_for(int threads, int64_t count, clq_parallel_body body, void *context,
                            clq_progress *progress);

#endif
