#include "base/environment.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/numbers.h"

#define PREFIX "CLQUANT_"

extern char **environ;

typedef enum kind {
    ANY,     /* its reader checks it */
    SWITCH,  /* off, 0, on, 1 */
    SECONDS, /* a whole number from 1 */
    FILE_OR_OFF,
} kind;

/* Everything that is read anywhere. */
static const struct {
    const char *name;
    kind kind;
} variables[] = {
    {"CLQUANT_CACHE", SWITCH},
    {"CLQUANT_CACHE_DIR", ANY},
    {"CLQUANT_DEVICE", ANY},
    {"CLQUANT_DOT", ANY},
    {"CLQUANT_SCHEDULE", ANY},
    {"CLQUANT_TUNE", FILE_OR_OFF},
    {"CLQUANT_RANKS_TIMEOUT", SECONDS},
    {"CLQUANT_SELFTEST", SWITCH},
    {"CLQUANT_CHAIN", SWITCH},
};
enum { VARIABLES = sizeof variables / sizeof *variables };

const char *clq_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const char *clq_environment_name(size_t index) {
    return index < VARIABLES ? variables[index].name : NULL;
}

static bool is_one_of(const char *value, const char *first, const char *second) {
    return strcmp(value, first) == 0 || strcmp(value, second) == 0;
}

bool clq_environment_is_off(const char *name) {
    const char *value = clq_environment(name);
    return value && is_one_of(value, "off", "0");
}

clq_status clq_environment_seconds(const char *name, int *seconds) {
    const char *value = clq_environment(name);
    int64_t number = 0;
    if (!value) {
        return CLQ_OK;
    }
    const char *end = clq_read_whole(value, &number);
    if (!end || *end || number < 1 || number > INT_MAX) {
        return clq_fail(CLQ_USAGE, "%s is '%s'; it must be a whole number of seconds from 1 to %d",
                        name, value, INT_MAX);
    }
    *seconds = (int)number;
    return CLQ_OK;
}

/* One that is set. */
static clq_status check(const char *name, kind kind) {
    const char *value = clq_environment(name);
    const bool off = is_one_of(value, "off", "0"), on = is_one_of(value, "on", "1");
    int seconds;
    if (kind == SWITCH && !off && !on) {
        return clq_fail(CLQ_USAGE, "%s is '%s'; it can be off (or 0) or on (or 1)", name, value);
    }
    if (kind == FILE_OR_OFF && on) {
        return clq_fail(CLQ_USAGE, "%s is '%s'; it can be off (or 0) or a file", name, value);
    }
    return kind == SECONDS ? clq_environment_seconds(name, &seconds) : CLQ_OK;
}

static bool is_known(const char *name, size_t length) {
    for (int i = 0; i < VARIABLES; i++) {
        if (strlen(variables[i].name) == length && memcmp(variables[i].name, name, length) == 0) {
            return true;
        }
    }
    return false;
}

/* A mistyped name would otherwise be ignored without a word. */
static void warn_of_unknown(void) {
    for (char **entry = environ; entry && *entry; entry++) {
        const size_t length = strcspn(*entry, "=");
        if (strncmp(*entry, PREFIX, strlen(PREFIX)) == 0 && !is_known(*entry, length)) {
            clq_log_warn(
                "nothing reads the environment variable %.*s; there are CLQUANT_CACHE, "
                "_CACHE_DIR, _DEVICE, _DOT, _SCHEDULE, _TUNE, _RANKS_TIMEOUT, _SELFTEST and _CHAIN",
                (int)length, *entry);
        }
    }
}

clq_status clq_environment_check(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, warn_of_unknown);
    for (int i = 0; i < VARIABLES; i++) {
        if (clq_environment(variables[i].name)) {
            CLQ_TRY(check(variables[i].name, variables[i].kind));
        }
    }
    return CLQ_OK;
}
