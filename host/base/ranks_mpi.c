/* The only MPI calls. Lanes are communicators of their own, because operations on one communicator
 * must begin in the same order everywhere. */
#include "base/ranks.h"

#ifdef CLQ_HAVE_MPI

#include <mpi.h>
#include <time.h>

static struct {
    MPI_Comm comm;
    MPI_Request request;
} lanes[CLQ_LANES];

static clq_status check(int code, const char *what) {
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS) {
        return CLQ_OK;
    }
    MPI_Error_string(code, text, &length);
    return clq_fail(CLQ_IO, "MPI: %s: %.*s", what, length, text);
}

static clq_status mpi_open(int *rank, int *size, int *local, int *local_size) {
    int level;
    MPI_Comm machine;
    /* The loader has threads, but only this one calls MPI. */
    CLQ_TRY(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "starting"));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, rank);
    MPI_Comm_size(MPI_COMM_WORLD, size);
    CLQ_TRY(check(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, *rank, MPI_INFO_NULL, &machine),
        "finding the ranks of this machine"));
    MPI_Comm_rank(machine, local);
    MPI_Comm_size(machine, local_size);
    MPI_Comm_free(&machine);
    for (int i = 0; i < CLQ_LANES; i++) {
        lanes[i].request = MPI_REQUEST_NULL;
        CLQ_TRY(check(MPI_Comm_dup(MPI_COMM_WORLD, &lanes[i].comm), "making a communicator"));
    }
    return CLQ_OK;
}

static void mpi_close(void) {
    for (int i = 0; i < CLQ_LANES; i++) {
        MPI_Comm_free(&lanes[i].comm);
    }
    MPI_Finalize();
}

static void mpi_end_all(int code) {
    /* Open MPI 5 drops what a rank has just said when its job is aborted at once. */
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL);
    MPI_Abort(MPI_COMM_WORLD, code);
}

static clq_status mpi_exchange(int lane, const void *values, void *parts, size_t size) {
    return check(MPI_Ialltoall(values, (int)size, MPI_BYTE, parts, (int)size, MPI_BYTE,
                               lanes[lane].comm, &lanes[lane].request),
                 "exchanging parts");
}

static clq_status mpi_gather(int lane, const void *mine, void *all, size_t size) {
    return check(MPI_Iallgather(mine ? mine : MPI_IN_PLACE, (int)size, MPI_BYTE, all, (int)size,
                                MPI_BYTE, lanes[lane].comm, &lanes[lane].request),
                 "gathering");
}

static clq_status mpi_broadcast(int lane, void *data, size_t size) {
    return check(MPI_Ibcast(data, (int)size, MPI_BYTE, 0, lanes[lane].comm, &lanes[lane].request),
                 "broadcasting");
}

static clq_status mpi_test(int lane, bool *done) {
    int flag = 0;
    const int code = MPI_Test(&lanes[lane].request, &flag, MPI_STATUS_IGNORE);
    *done = flag != 0;
    return check(code, "waiting for the other ranks");
}

const clq_transport clq_mpi = {.open = mpi_open,
                               .close = mpi_close,
                               .end_all = mpi_end_all,
                               .exchange = mpi_exchange,
                               .gather = mpi_gather,
                               .broadcast = mpi_broadcast,
                               .test = mpi_test};

#else

const clq_transport clq_mpi = {0};

#endif
