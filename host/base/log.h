/* The log: finished lines to the sink set by clq_set_log. */
#ifndef CLQ_BASE_LOG_H
#define CLQ_BASE_LOG_H

#include "clquant/base.h"

/* Formats one line (over-long ones are cut) and hands it to the sink when `level` is on. Safe to
 * call from any thread. */
void clq_log(clq_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether the log on stderr leaves out a line that was among its last ones, as a command's is that
 * opens a data set for each of its stages; off at first. */
void clq_log_once(bool once);

/* Whether clq_log(level, ...) would write, for log text that is costly to make. */
bool clq_log_enabled(clq_log_level level);

#define clq_log_error(...) clq_log(CLQ_LOG_ERROR, __VA_ARGS__)
#define clq_log_warn(...) clq_log(CLQ_LOG_WARN, __VA_ARGS__)
#define clq_log_info(...) clq_log(CLQ_LOG_INFO, __VA_ARGS__)
#define clq_log_debug(...) clq_log(CLQ_LOG_DEBUG, __VA_ARGS__)

#endif
