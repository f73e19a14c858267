/* Ranks: the processes that train one network together, each on a device of its own (data
 * parallel).
 *
 * A launcher starts them (`mpirun -np 4 clquant train ...`); they talk through MPI. A NULL
 * clq_ranks stands for a process alone, and every function takes it. Use from one thread. */
#ifndef CLQUANT_RANKS_H
#define CLQUANT_RANKS_H

#include <clquant/base.h>

CLQ_API_BEGIN

typedef struct clq_ranks clq_ranks;

/* Whether a launcher started this process and others with it. */
bool clq_ranks_launched(void);

/* Meets the other ranks that a launcher started; NULL when it started none. Call it before opening
 * a device: ranks that share this machine also share its processors between their CPU devices, by
 * POCL_MAX_PTHREAD_COUNT where the environment does not set it. Waiting for the others longer than
 * CLQUANT_RANKS_TIMEOUT seconds (300) is an error. CLQ_USAGE: launched, but built without MPI. */
clq_status clq_ranks_open(clq_ranks **ranks);

/* Parts from the others. With a status that is not CLQ_OK it logs the last error, ends all ranks at
 * once with that exit code and does not return: without this one they would wait for ever. */
void clq_ranks_close(clq_ranks *ranks, clq_status status);

int clq_ranks_rank(const clq_ranks *ranks); /* 0 .. size - 1 */
int clq_ranks_size(const clq_ranks *ranks);
/* Of the ranks on this machine, which one this is: it takes that device. */
int clq_ranks_local(const clq_ranks *ranks);

CLQ_API_END
#endif
