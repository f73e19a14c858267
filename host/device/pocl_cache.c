#include "device/pocl_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/files.h"

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

char *clq_pocl_cache_folder(const char **variable) {
    static const struct {
        const char *variable, *below;
    } places[] = {{"POCL_CACHE_DIR", ""},
                  {"XDG_CACHE_HOME", "/pocl/kcache"},
                  {"HOME", "/.cache/pocl/kcache"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *value = setting(places[i].variable);
        if (value) {
            if (variable) {
                *variable = places[i].variable;
            }
            return clq_format("%s%s", value, places[i].below);
        }
    }
    if (variable) {
        *variable = "";
    }
    return clq_strdup("/tmp/pocl/kcache");
}

/* What a network's kernels take; with less PoCL's compiler ends the process where it is full. */
#define WANTED_SPACE ((uint64_t)16 << 20)

clq_status clq_pocl_check_space(const char *place, uint64_t wanted) {
    struct statvfs disk;
    if (statvfs(place, &disk) != 0) {
        return CLQ_OK; /* nothing is known */
    }
    const uint64_t room = (uint64_t)disk.f_bavail * disk.f_frsize;
    return room >= wanted ? CLQ_OK
                          : clq_fail(CLQ_CANNOT_CREATE,
                                     "%s: its disk has %.1f MB left, and kernels take %.0f MB",
                                     place, 1e-6 * (double)room, 1e-6 * (double)wanted);
}

/* Tries a folder out, or the nearest one above it that exists. Leaves nothing behind: there may be
 * no PoCL. */
static clq_status check_folder(const char *folder) {
    clq_status status = CLQ_NO_MEMORY;
    char *trial = NULL, *place = clq_strdup(folder);
    while (place && access(place, F_OK) != 0 && errno == ENOENT) {
        char *slash = strrchr(place, '/');
        if (!slash || slash == place) {
            strcpy(place, slash ? "/" : ".");
            break;
        }
        *slash = '\0';
    }
    trial = place ? clq_format("%s/clquant-XXXXXX", place) : NULL;
    if (trial) {
        status = mkdtemp(trial) && rmdir(trial) == 0
                     ? CLQ_OK
                     : clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create the folder: %s", folder,
                                strerror(errno));
    }
    if (status == CLQ_OK) {
        status = clq_pocl_check_space(place, WANTED_SPACE);
    }
    clq_free(trial);
    clq_free(place);
    return status;
}

/* A folder whose name others could guess must be this user's, and nobody else's to write: what PoCL
 * finds in it is run. */
static clq_status make_own_folder(const char *folder) {
    struct stat info;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        return clq_fail(CLQ_CANNOT_CREATE, "%s: cannot create the folder: %s", folder,
                        strerror(errno));
    }
    if (lstat(folder, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid() ||
        (info.st_mode & (S_IWGRP | S_IWOTH))) {
        return clq_fail(CLQ_CANNOT_CREATE, "%s: is not a folder of this user's alone", folder);
    }
    return check_folder(folder);
}

clq_status clq_pocl_cache_prepare(char **warning) {
    *warning = NULL;
    const char *variable = "", *base = setting("TMPDIR");
    char *folder = clq_pocl_cache_folder(&variable);
    clq_status status = folder ? check_folder(folder) : CLQ_NO_MEMORY;
    char *why = status == CLQ_CANNOT_CREATE ? clq_strdup(clq_last_error()) : NULL;
    char *own =
        why ? clq_format("%s/clquant-pocl-%lu", base ? base : "/tmp", (unsigned long)geteuid())
            : NULL;
    if (own) {
        status = make_own_folder(own);
        if (status != CLQ_OK) {
            status = clq_fail(status,
                              "PoCL needs a folder to compile in, POCL_CACHE_DIR: %s; and instead "
                              "of it %s",
                              why, clq_last_error());
        } else if (setenv("POCL_CACHE_DIR", own, 1) != 0) {
            status = CLQ_NO_MEMORY;
        } else {
            *warning =
                clq_format("PoCL cannot keep its kernels where %s%s says: %s; it keeps them in %s",
                           *variable ? variable : "nothing", *variable ? "" : " else", why, own);
            status = *warning ? CLQ_OK : CLQ_NO_MEMORY;
        }
    }
    clq_free(own);
    clq_free(why);
    clq_free(folder);
    return status;
}
