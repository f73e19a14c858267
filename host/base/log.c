#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

#include "base/numbers.h"
#include "base/progress.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void write_to_stderr(void *context, clq_log_level level, const char *line) {
    static const char *const prefix[] = {"error: ", "warning: ", "", "debug: "};
    (void)context;
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
    sink(context, level, line); /* unlocked: a sink may log or set the log itself */
}
