#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

#include "base/numbers.h"
#include "base/progress.h"
#include "base/text.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- repetitions ---- */

enum { REMEMBERED = 64 };
static struct {
    bool on;
    uint64_t lines[REMEMBERED]; /* hashes of the last */
    unsigned count;
} said;

void clq_log_once(bool once) {
    pthread_mutex_lock(&lock);
    said.on = once;
    said.count = 0;
    pthread_mutex_unlock(&lock);
}

/* Whether the line stands among the last; it does then. */
static bool was_said(clq_log_level level, const char *line) {
    uint64_t hash = 14695981039346656037u ^ (uint64_t)level; /* FNV-1a */
    bool found = false;
    for (const char *c = line; *c; c++) {
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    }
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; said.on && i < said.count && i < REMEMBERED; i++) {
        found = found || said.lines[i] == hash;
    }
    if (said.on && !found) {
        said.lines[said.count++ % REMEMBERED] = hash;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* ---- the log ---- */

static void write_to_stderr(void *context, clq_log_level level, const char *line) {
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    (void)context;
    if (was_said(level, line)) {
        return;
    }
    clq_progress_print_above(prefix[level], line);
}

static struct {
    clq_log_sink sink;
    void *context;
    clq_log_level level;
} config = {write_to_stderr, NULL, CLQ_LOG_WARN};

void clq_set_log(clq_log_sink sink, void *context, clq_log_level level) {
    pthread_mutex_lock(&lock);
    config.sink = sink ? sink : write_to_stderr;
    config.context = sink ? context : NULL;
    config.level = level;
    pthread_mutex_unlock(&lock);
}

bool clq_log_enabled(clq_log_level level) {
    pthread_mutex_lock(&lock);
    bool enabled = level <= config.level;
    pthread_mutex_unlock(&lock);
    return enabled;
}

void clq_log(clq_log_level level, const char *format, ...) {
    pthread_mutex_lock(&lock);
    clq_log_sink sink = config.sink;
    void *context = config.context;
    bool enabled = level <= config.level;
    pthread_mutex_unlock(&lock);
    if (!enabled) {
        return;
    }
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    clq_vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    clq_make_printable(line);
    sink(context, level, line); /* unlocked: a sink may log or set the log itself */
}
