/* A progress bar on stderr, drawn only when stderr is a terminal, or what a thread's sink is told
 * (clq_set_progress). One bar at a time; updates may come from any thread. No colour is used, so
 * NO_COLOR holds by itself. */
#ifndef CLQ_BASE_PROGRESS_H
#define CLQ_BASE_PROGRESS_H

#include "clquant/base.h"

struct clq_reporting;

typedef struct clq_progress {
    char label[48];
    char unit[16];
    int64_t total, done;
    int64_t before, middle_done; /* done at `start` and at `middle` */
    double start, middle; /* the rate is what was done since start, a moment not long ago, which
                             moves on to middle as time passes; clq_now_seconds */
    double next_draw;     /* not before this moment */
    bool drawn;
    struct clq_reporting *reporting; /* of the thread that began it */
} clq_progress;

/* CLQ_INTERRUPTED once the thread's sink has asked to stop. */
clq_status clq_check_stopped(void);
bool clq_is_stopped(void);
bool clq_progress_is_stopped(const clq_progress *progress); /* the same of who began it */
/* A new piece of work, which is not asked to stop so far. */
void clq_forget_stop(void);

/* Turns all bars off (--quiet) or back on; on at the start. */
void clq_progress_enable(bool enabled);

/* `unit` is the plural of what is counted ("images"); total <= 0 means unknown. Both texts are
 * copied, over-long ones cut. */
void clq_progress_begin(clq_progress *progress, const char *label, const char *unit, int64_t total);
/* Says that `done` were done earlier, or that other work came between: the rate begins anew. */
void clq_progress_continue(clq_progress *progress, int64_t done);
/* Moves the beginning of the rate on, so that it is that of the last CLQ_RATE_SECONDS to twice as
 * many; what update does. */
enum { CLQ_RATE_SECONDS = 10 };
void clq_progress_mark(clq_progress *progress, int64_t done, double now);

/* Shows that `done` of the total are done, with rate, time left and `format`'s text behind them
 * (NULL for none). Redraws at most ten times a second, so call it freely. */
void clq_progress_update(clq_progress *progress, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Clears the bar. */
void clq_progress_end(clq_progress *progress);

/* Writes prefix + line to stderr with the bar out of the way: the log's default sink. */
void clq_progress_print_above(const char *prefix, const char *line);

/* The bar's text (without cursor control) for a terminal `columns` wide, `elapsed` seconds after
 * progress->start: what update draws. */
void clq_progress_render(const clq_progress *progress, int64_t done, double elapsed,
                         const char *trailing, size_t columns, char *out, size_t out_size);

#endif
