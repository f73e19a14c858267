#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_getaffinity */
#endif
#include "base/ranks.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arguments.h"
#include "base/clock.h"
#include "base/environment.h"
#include "base/log.h"

struct clq_ranks {
    int rank, size, local;
    int timeout;             /* seconds */
    double begun[CLQ_LANES]; /* when the lane's operation began */
};

enum { DEFAULT_TIMEOUT = 300 };

/* ---- meeting and parting ---- */

bool clq_ranks_launched(void) {
    /* How many processes Open MPI, MPICH and its relatives, and Slurm say they started. */
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *text = getenv(sizes[i]);
        if (text && strtol(text, NULL, 10) > 1) {
            return true;
        }
    }
    return false;
}

/* Gives PoCL as many threads as fall to one of `ranks` processes on this machine. A launcher that
 * has bound this process to some of the processors has shared them out already. */
static void share_processors(int ranks) {
    const long all = sysconf(_SC_NPROCESSORS_ONLN);
    cpu_set_t mine;
    char text[32];
    long share = all / ranks;
    if (ranks == 1) {
        return;
    }
    if (sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) < all) {
        share = CPU_COUNT(&mine);
    }
    snprintf(text, sizeof text, "%ld", share < 1 ? 1 : share);
    setenv("POCL_MAX_PTHREAD_COUNT", text, 0);
}

clq_status clq_ranks_open(clq_ranks **ranks) {
    CLQ_NEEDS(ranks);
    int local_size = 1;
    *ranks = NULL;
    if (!clq_ranks_launched()) {
        return CLQ_OK;
    }
    if (!clq_mpi.open) {
        return clq_fail(CLQ_USAGE, "started by an MPI launcher, but built without MPI (the CMake "
                                   "option CLQ_MPI)");
    }
    clq_ranks *made = clq_calloc(1, sizeof *made);
    if (!made) {
        return CLQ_NO_MEMORY;
    }
    made->timeout = DEFAULT_TIMEOUT;
    clq_status status = clq_environment_seconds("CLQUANT_RANKS_TIMEOUT", &made->timeout);
    if (status == CLQ_OK) {
        status = clq_mpi.open(&made->rank, &made->size, &made->local, &local_size);
    }
    if (status != CLQ_OK) {
        clq_free(made);
        return status;
    }
    share_processors(local_size);
    *ranks = made;
    return CLQ_OK;
}

void clq_ranks_close(clq_ranks *ranks, clq_status status) {
    if (!ranks) {
        return;
    }
    if (status != CLQ_OK && status != CLQ_INTERRUPTED) {
        clq_log_error("rank %d of %d: %s", ranks->rank, ranks->size, clq_last_error());
        clq_mpi.end_all((int)status);
    }
    clq_mpi.close();
    clq_free(ranks);
}

int clq_ranks_rank(const clq_ranks *ranks) {
    return ranks ? ranks->rank : 0;
}

int clq_ranks_size(const clq_ranks *ranks) {
    return ranks ? ranks->size : 1;
}

int clq_ranks_local(const clq_ranks *ranks) {
    return ranks ? ranks->local : 0;
}

/* ---- operations ---- */

static clq_status begin(clq_ranks *ranks, int lane, size_t size) {
    if (size > INT_MAX) {
        return clq_fail(CLQ_INTERNAL, "%zu bytes for a rank at once", size);
    }
    ranks->begun[lane] = clq_now_seconds();
    return CLQ_OK;
}

clq_status clq_ranks_poll(clq_ranks *ranks, int lane, bool *done) {
    CLQ_TRY(clq_mpi.test(lane, done));
    if (!*done && clq_now_seconds() - ranks->begun[lane] > ranks->timeout) {
        return clq_fail(CLQ_IO,
                        "no word from another rank for %d s (CLQUANT_RANKS_TIMEOUT); it is gone, "
                        "or stuck",
                        ranks->timeout);
    }
    return CLQ_OK;
}

void clq_ranks_rest(void) {
    const struct timespec moment = {.tv_nsec = 20000};
    nanosleep(&moment, NULL);
}

static clq_status wait(clq_ranks *ranks, int lane) {
    enum { QUICK_POLLS = 20 };
    bool done = false;
    for (int polls = 0;; polls++) {
        CLQ_TRY(clq_ranks_poll(ranks, lane, &done));
        if (done) {
            return CLQ_OK;
        }
        if (polls >= QUICK_POLLS) {
            clq_ranks_rest();
        }
    }
}

clq_status clq_ranks_gather(clq_ranks *ranks, const void *mine, size_t size, void *all) {
    if (!ranks) {
        memcpy(all, mine, size);
        return CLQ_OK;
    }
    CLQ_TRY(begin(ranks, CLQ_LANE_BLOCKING, size));
    CLQ_TRY(clq_mpi.gather(CLQ_LANE_BLOCKING, mine, all, size));
    return wait(ranks, CLQ_LANE_BLOCKING);
}

clq_status clq_ranks_broadcast(clq_ranks *ranks, void *data, size_t size) {
    enum { PIECE = 1 << 28 };
    for (size_t done = 0; ranks && done < size; done += PIECE) {
        const size_t piece = size - done < PIECE ? size - done : PIECE;
        CLQ_TRY(begin(ranks, CLQ_LANE_BLOCKING, piece));
        CLQ_TRY(clq_mpi.broadcast(CLQ_LANE_BLOCKING, (char *)data + done, piece));
        CLQ_TRY(wait(ranks, CLQ_LANE_BLOCKING));
    }
    return CLQ_OK;
}

clq_status clq_ranks_sum(clq_ranks *ranks, double *values, size_t count) {
    if (!ranks) {
        return CLQ_OK;
    }
    double *all = clq_calloc((size_t)ranks->size * count, sizeof *all);
    clq_status status =
        all ? clq_ranks_gather(ranks, values, count * sizeof *values, all) : CLQ_NO_MEMORY;
    for (size_t i = 0; status == CLQ_OK && i < count; i++) {
        values[i] = 0;
        for (int r = 0; r < ranks->size; r++) {
            values[i] += all[(size_t)r * count + i];
        }
    }
    clq_free(all);
    return status;
}

clq_status clq_ranks_begin_exchange(clq_ranks *ranks, const float *values, float *parts,
                                    size_t chunk) {
    CLQ_TRY(begin(ranks, CLQ_LANE_EXCHANGE, chunk * sizeof *values));
    return clq_mpi.exchange(CLQ_LANE_EXCHANGE, values, parts, chunk * sizeof *values);
}

clq_status clq_ranks_begin_gather(clq_ranks *ranks, float *values, size_t chunk) {
    CLQ_TRY(begin(ranks, CLQ_LANE_GATHER, chunk * sizeof *values));
    return clq_mpi.gather(CLQ_LANE_GATHER, NULL, values, chunk * sizeof *values);
}

void clq_ranks_mean(const clq_ranks *ranks, const float *parts, size_t chunk, float *mean) {
    const float share = 1.0f / (float)ranks->size;
    memcpy(mean, parts, chunk * sizeof *mean);
    for (int r = 1; r < ranks->size; r++) {
        const float *part = parts + (size_t)r * chunk;
        for (size_t i = 0; i < chunk; i++) {
            mean[i] += part[i];
        }
    }
    for (size_t i = 0; i < chunk; i++) {
        mean[i] *= share;
    }
}
