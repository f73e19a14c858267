#define _XOPEN_SOURCE 700 /* nftw */
#include "cli/startup.h"

#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

/* Where clquant and the drivers that have one look for their cache's folder. */
static const char *const cache_variables[] = {
    "CLQUANT_CACHE_DIR",     "POCL_CACHE_DIR",      "CUDA_CACHE_PATH", "NEO_CACHE_DIR",
    "MESA_SHADER_CACHE_DIR", "AMD_COMGR_CACHE_DIR", "XDG_CACHE_HOME",
};

/* ---- the temporary folder ---- */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place) {
    (void)info;
    (void)kind;
    (void)place;
    return remove(path);
}

static clq_status make_folder(char *folder, size_t size) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, size, "%s/clquant-startup-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(folder) ? CLQ_OK
                           : clq_fail(CLQ_CANNOT_CREATE, "%s: cannot make a folder: %s", folder,
                                      strerror(errno));
}

/* ---- the child ---- */

/* In the child; does not return. This process has no threads, so all of this is allowed. */
static void become(char *const argv[], const char *folder, const int pipe_ends[2]) {
    for (size_t i = 0; i < sizeof cache_variables / sizeof *cache_variables; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, cache_variables[i]);
        setenv(cache_variables[i], path, 1);
    }
    dup2(pipe_ends[1], STDOUT_FILENO);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    execv("/proc/self/exe", argv);
    _exit(CLQ_INTERNAL);
}

/* Waits for the child's first byte, then for its end. */
static clq_status watch(pid_t child, int from, double start, double *ms) {
    char bytes[256];
    int ended = 0;
    ssize_t got;
    *ms = 0;
    while ((got = read(from, bytes, sizeof bytes)) > 0 || (got < 0 && errno == EINTR)) {
        if (*ms == 0 && got > 0) {
            *ms = 1e3 * (clq_now_seconds() - start);
        }
    }
    while (waitpid(child, &ended, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(ended) && WEXITSTATUS(ended) != 0) {
        return clq_fail((clq_status)WEXITSTATUS(ended),
                        "--startup: the command run again ended with exit code %d",
                        WEXITSTATUS(ended));
    }
    if (!WIFEXITED(ended) || *ms == 0) {
        return clq_fail(CLQ_INTERNAL, "--startup: the command run again gave no result");
    }
    return CLQ_OK;
}

/* The child that runs, and the signal that came; 0: none. */
static volatile sig_atomic_t running, signalled;

/* A signal ends the child; then clq_startup_measure cleans up and fails. */
static void pass_on(int number) {
    signalled = number;
    if (running > 0) {
        kill((pid_t)running, number);
    }
}

/* What pass_on takes over from, unless it is ignored. */
static void redirect(int number, struct sigaction *before) {
    const struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART};
    if (sigaction(number, NULL, before) == 0 && before->sa_handler != SIG_IGN) {
        sigaction(number, &action, NULL);
    }
}

static clq_status run_once(char *const argv[], const char *folder, double *ms) {
    int ends[2];
    if (pipe(ends) != 0) {
        return clq_fail(CLQ_IO, "--startup: cannot make a pipe: %s", strerror(errno));
    }
    const double start = clq_now_seconds();
    const pid_t child = fork();
    if (child == 0) {
        become(argv, folder, ends);
    }
    running = child > 0 ? (sig_atomic_t)child : 0;
    close(ends[1]);
    const clq_status status =
        child > 0 ? watch(child, ends[0], start, ms)
                  : clq_fail(CLQ_IO, "--startup: cannot start a process: %s", strerror(errno));
    running = 0;
    close(ends[0]);
    return status;
}

clq_status clq_startup_measure(char *const argv[], clq_bench_startup *startup) {
    struct sigaction interrupt, terminate;
    double *const times[] = {&startup->cold, &startup->second, &startup->warm};
    clq_status status = CLQ_OK;
    char folder[2048];
    CLQ_TRY(make_folder(folder, sizeof folder));
    redirect(SIGINT, &interrupt);
    redirect(SIGTERM, &terminate);
    for (int i = 0; i < 3 && status == CLQ_OK && !signalled; i++) {
        status = run_once(argv, folder, times[i]);
    }
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &terminate, NULL);
    if (signalled) {
        status = clq_fail((clq_status)(128 + signalled), "--startup: interrupted");
    }
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return status;
}
