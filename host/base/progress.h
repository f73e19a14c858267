/* A progress bar on stderr, drawn only when stderr is a terminal. One bar at a time; updates may
 * come from any thread. No colour is used, so NO_COLOR holds by itself. */
#ifndef CLQ_BASE_PROGRESS_H
#define CLQ_BASE_PROGRESS_H

#include "clquant/base.h"

typedef struct clq_progress {
    char label[48];
    char unit[16];
    int64_t total;
    int64_t before;   /* done before begin: part of the bar, not of the rate */
    double start;     /* clq_now_seconds at begin */
    double next_draw; /* not before this moment */
    bool drawn;
} clq_progress;

/* Turns all bars off (--quiet) or back on; on at the start. */
void clq_progress_enable(bool enabled);

/* `unit` is the plural of what is counted ("images"); total <= 0 means unknown. Both texts are
 * copied, over-long ones cut. */
void clq_progress_begin(clq_progress *progress, const char *label, const char *unit, int64_t total);
/* Says behind begin that `done` were done earlier (a resumed training). */
void clq_progress_continue(clq_progress *progress, int64_t done);

/* Shows that `done` of the total are done, with rate, time left and `format`'s text behind them
 * (NULL for none). Redraws at most ten times a second, so call it freely. */
void clq_progress_update(clq_progress *progress, int64_t done, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Clears the bar. */
void clq_progress_end(clq_progress *progress);

/* Writes prefix + line to stderr with the bar out of the way: the log's default sink. */
void clq_progress_print_above(const char *prefix, const char *line);

/* The bar's text (without cursor control) for a terminal `columns` wide: what update draws. */
void clq_progress_render(const clq_progress *progress, int64_t done, double elapsed,
                         const char *trailing, size_t columns, char *out, size_t out_size);

#endif
