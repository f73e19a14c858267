/* What ranks do together. All ranks make the same calls in the same order, each lane's apart; with
 * NULL ranks a blocking call does nothing. Failures (CLQ_IO: a rank that is gone or silent) leave
 * the ranks unusable.
 *
 * MPI only moves bytes here. Sums are made by the ranks themselves, in the order of ranks, so that
 * they depend neither on timing nor on an MPI's choice of algorithm. */
#ifndef CLQ_BASE_RANKS_H
#define CLQ_BASE_RANKS_H

#include "clquant/ranks.h"

/* Operations under way at once: at most one on each lane. The first is for the blocking calls. */
enum { CLQ_LANE_BLOCKING, CLQ_LANE_EXCHANGE, CLQ_LANE_GATHER, CLQ_LANES };

/* ---- blocking ---- */

/* `size` bytes of every rank into all (ranks, size). */
clq_status clq_ranks_gather(clq_ranks *ranks, const void *mine, size_t size, void *all);
/* Rank 0's data to all. */
clq_status clq_ranks_broadcast(clq_ranks *ranks, void *data, size_t size);
/* Each value becomes the sum over the ranks, in their order. */
clq_status clq_ranks_sum(clq_ranks *ranks, double *values, size_t count);

/* ---- beside other work: begin, then poll until done; the arrays must stay ---- */

/* From values (ranks, chunk), chunk r to rank r; parts (ranks, chunk) receives this rank's chunk of
 * every rank. */
clq_status clq_ranks_begin_exchange(clq_ranks *ranks, const float *values, float *parts,
                                    size_t chunk);
/* values (ranks, chunk): each rank has filled in its own chunk, and receives the others'. */
clq_status clq_ranks_begin_gather(clq_ranks *ranks, float *values, size_t chunk);
clq_status clq_ranks_poll(clq_ranks *ranks, int lane, bool *done);
/* A short rest between polls: the processors are wanted elsewhere. */
void clq_ranks_rest(void);

/* mean[i] = (parts[0][i] + parts[1][i] + ...) / ranks, of parts (ranks, chunk). */
void clq_ranks_mean(const clq_ranks *ranks, const float *parts, size_t chunk, float *mean);

/* ---- what moves the bytes: ranks_mpi.c ---- */

typedef struct clq_transport {
    /* Joins the others: who is this, how many are there, and the same on this machine. */
    clq_status (*open)(int *rank, int *size, int *local, int *local_size);
    void (*close)(void);
    void (*end_all)(int code); /* ends every rank */
    /* Begin an operation on a lane. Sizes are bytes, at most INT_MAX. */
    clq_status (*exchange)(int lane, const void *values, void *parts, size_t size);
    clq_status (*gather)(int lane, const void *mine, void *all, size_t size); /* NULL: in place */
    clq_status (*broadcast)(int lane, void *data, size_t size);
    clq_status (*test)(int lane, bool *done);
} clq_transport;

extern const clq_transport clq_mpi; /* all NULL in a build without MPI */

#endif
