#include "base/environment.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define PREFIX "CLQUANT_"

extern char **environ;

/* Everything that is read anywhere; where it is more than a switch, its reader checks it. */
static const struct {
    const char *name;
    bool is_switch;
} variables[] = {
    {"CLQUANT_CACHE", true},          {"CLQUANT_CACHE_DIR", false}, {"CLQUANT_DEVICE", false},
    {"CLQUANT_DOT", false},           {"CLQUANT_SCHEDULE", false},  {"CLQUANT_TUNE", false},
    {"CLQUANT_RANKS_TIMEOUT", false}, {"CLQUANT_SELFTEST", true},
};
enum { VARIABLES = sizeof variables / sizeof *variables };

const char *clq_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static bool is_one_of(const char *value, const char *first, const char *second) {
    return strcmp(value, first) == 0 || strcmp(value, second) == 0;
}

bool clq_environment_is_off(const char *name) {
    const char *value = clq_environment(name);
    return value && is_one_of(value, "off", "0");
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
                "_CACHE_DIR, _DEVICE, _DOT, _SCHEDULE, _TUNE, _RANKS_TIMEOUT and _SELFTEST",
                (int)length, *entry);
        }
    }
}

clq_status clq_environment_check(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, warn_of_unknown);
    for (int i = 0; i < VARIABLES; i++) {
        const char *value = clq_environment(variables[i].name);
        if (variables[i].is_switch && value && !is_one_of(value, "off", "0") &&
            !is_one_of(value, "on", "1")) {
            return clq_fail(CLQ_USAGE, "%s is '%s'; it can be off (or 0) or on (or 1)",
                            variables[i].name, value);
        }
    }
    return CLQ_OK;
}
