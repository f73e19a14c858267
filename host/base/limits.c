#include "base/limits.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/numbers.h"

/* The whole number at the start of a small file of the kernel's. */
static bool read_number(const char *path, int64_t *number) {
    char line[256];
    FILE *file = fopen(path, "r");
    const bool got = file && fgets(line, sizeof line, file) && clq_read_whole(line, number);
    if (file) {
        fclose(file);
    }
    return got;
}

bool clq_address_space(uint64_t *limit, uint64_t *used) {
    struct rlimit most;
    if (getrlimit(RLIMIT_AS, &most) != 0 || most.rlim_cur == RLIM_INFINITY) {
        return false;
    }
    int64_t pages;
    if (!read_number("/proc/self/statm", &pages)) {
        return false;
    }
    *limit = most.rlim_cur;
    *used = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

/* The number in a group's file; "max", or no such file: no limit. */
static uint64_t read_limit(const char *root, const char *group, const char *name) {
    char path[1024];
    int64_t bytes;
    snprintf(path, sizeof path, "%s%s/%s", root, group, name);
    return read_number(path, &bytes) && bytes >= 0 ? (uint64_t)bytes : UINT64_MAX;
}

uint64_t clq_group_memory(void) {
    char line[1024];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file && fgets(line, sizeof line, file)) { /* "4:memory:/a/b", or "0::/a/b" */
        line[strcspn(line, "\n")] = '\0';
        const char *kind = strchr(line, ':');
        const char *group = kind ? strchr(kind + 1, ':') : NULL;
        if (!group) {
            continue;
        }
        group = strcmp(group + 1, "/") == 0 ? "" : group + 1;
        const bool second = strncmp(line, "0::", 3) == 0;
        const bool memory = strncmp(kind, ":memory:", 8) == 0;
        const uint64_t bytes =
            second   ? read_limit("/sys/fs/cgroup", group, "memory.max")
            : memory ? read_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
                     : UINT64_MAX;
        least = bytes < least ? bytes : least;
    }
    if (file) {
        fclose(file);
    }
    return least;
}
