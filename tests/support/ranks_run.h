/* Test programs that run again as several ranks, where Open MPI is installed. */
#ifndef CLQ_TEST_RANKS_RUN_H
#define CLQ_TEST_RANKS_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "clquant/ranks.h"

enum { RANKS_SKIPPED = 77 }; /* exit code: CMake's SKIP_RETURN_CODE of these tests */

/* Whether ranks can be started here; says why not. Also prepares the environment for them: more
 * ranks than cores, none bound to one, as root (containers), no waiting for a failed one, and no
 * word of the memory that Open MPI does not free. */
static inline bool ranks_can_run(void) {
#ifdef CLQ_HAVE_MPI
    static const char *const settings[][2] = {
        {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
        {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
        {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
        /* and in the words of Open MPI 5 */
        {"PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe"},
        {"PRTE_MCA_hwloc_default_binding_policy", "none"},
        {"OMPI_MCA_hwloc_base_binding_policy", "none"},
        {"CLQUANT_RANKS_TIMEOUT", "60"},
        {"ASAN_OPTIONS", "detect_leaks=0"}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        setenv(settings[i][0], settings[i][1], 0);
    }
    if (system("mpirun --version >/dev/null 2>&1") == 0) {
        return true;
    }
    puts("skipped: there is no mpirun");
#else
    puts("skipped: built without MPI");
#endif
    return false;
}

/* Runs `program` as `count` ranks; its exit code. */
static inline int ranks_run(const char *program, int count) {
    char line[4096];
    snprintf(line, sizeof line, "mpirun -np %d '%s'", count, program);
    fflush(NULL);
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

#endif
