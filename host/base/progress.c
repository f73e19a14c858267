#include "base/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/numbers.h"

#define REDRAW_SECONDS 0.1
#define CLEAR_LINE "\r\033[K"

enum { LINE_SIZE = 512, BAR_CELLS = 20, LEAST_CELLS = 5 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool switched_on = true;
static char shown[LINE_SIZE]; /* what is on the terminal's last line now; "" when nothing */

/* ---- a thread's sink ---- */

typedef struct clq_reporting {
    clq_progress_sink sink; /* NULL: bars */
    void *context;
    atomic_bool stopped;
} clq_reporting;
static _Thread_local clq_reporting reporting;

void clq_set_progress(clq_progress_sink sink, void *context) {
    reporting.sink = sink;
    reporting.context = context;
    clq_forget_stop();
}

bool clq_is_stopped(void) {
    return atomic_load(&reporting.stopped);
}

bool clq_progress_is_stopped(const clq_progress *progress) {
    return progress->reporting && atomic_load(&progress->reporting->stopped);
}

clq_status clq_check_stopped(void) {
    return clq_is_stopped() ? clq_fail(CLQ_INTERRUPTED, "interrupted") : CLQ_OK;
}

void clq_forget_stop(void) {
    atomic_store(&reporting.stopped, false);
}

/* Without the lock, as a sink may log. */
static void report(const clq_progress *progress, int64_t done, const char *text, bool ended) {
    clq_reporting *to = progress->reporting;
    const clq_progress_state state = {.label = progress->label,
                                      .unit = progress->unit,
                                      .text = text,
                                      .done = done,
                                      .total = progress->total > 0 ? progress->total : 0,
                                      .ended = ended};
    if (!to->sink(to->context, &state)) {
        atomic_store(&to->stopped, true);
    }
}

/* Whether there is someone to tell; works without a name are part of others. */
static bool is_reported(const clq_progress *progress) {
    return progress->reporting && progress->reporting->sink && progress->label[0];
}

/* ---- the bar ---- */

void clq_progress_enable(bool enabled) {
    pthread_mutex_lock(&lock);
    switched_on = enabled;
    pthread_mutex_unlock(&lock);
}

static bool terminal(void) {
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(term && strcmp(term, "dumb") == 0);
}

static size_t terminal_columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        return size.ws_col;
    }
    return 80;
}

void clq_progress_begin(clq_progress *progress, const char *label, const char *unit,
                        int64_t total) {
    *progress = (clq_progress){.total = total, .reporting = &reporting};
    clq_progress_continue(progress, 0);
    snprintf(progress->label, sizeof progress->label, "%s", label);
    snprintf(progress->unit, sizeof progress->unit, "%s", unit);
    progress->next_draw = progress->start + REDRAW_SECONDS;
}

void clq_progress_continue(clq_progress *progress, int64_t done) {
    progress->before = progress->middle_done = done;
    progress->start = progress->middle = clq_now_seconds();
}

void clq_progress_mark(clq_progress *progress, int64_t done, double now) {
    if (now - progress->middle >= CLQ_RATE_SECONDS) {
        progress->start = progress->middle;
        progress->before = progress->middle_done;
        progress->middle = now;
        progress->middle_done = done;
    }
}

/* "42s", "3:07" or "1:02:03". */
static void format_duration(double seconds, char out[24]) {
    double capped = seconds < 359999.0 ? seconds : 359999.0;
    int s = (int)(capped + 0.5);
    if (s < 60) {
        snprintf(out, 24, "%ds", s);
    } else if (s < 3600) {
        snprintf(out, 24, "%d:%02d", s / 60, s % 60);
    } else {
        snprintf(out, 24, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    }
}

static void append(char *out, size_t out_size, const char *text) {
    size_t used = strlen(out);
    snprintf(out + used, out_size - used, "%s", text);
}

/* "[===>    ] ", in `cells` cells; fewer than the least: nothing. */
static void append_bar(const clq_progress *progress, int64_t done, int cells, char *out,
                       size_t out_size) {
    if (progress->total > 0 && cells >= LEAST_CELLS) {
        double fraction = (double)done / (double)progress->total;
        fraction = fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
        const int filled = (int)(fraction * cells);
        char bar[BAR_CELLS + 4] = "[";
        memset(bar + 1, ' ', (size_t)cells);
        memset(bar + 1, '=', (size_t)filled);
        if (filled < cells) {
            bar[1 + filled] = '>';
        }
        memcpy(bar + 1 + cells, "] ", 3);
        append(out, out_size, bar);
    }
}

/* "  25 images/s  30s left" */
static void format_pace(const clq_progress *progress, int64_t done, double elapsed, char *out,
                        size_t out_size) {
    const double rate = elapsed > 0 ? (double)(done - progress->before) / elapsed : 0;
    out[0] = '\0';
    if (rate > 0) {
        clq_snprintf(out, out_size, rate < 100 ? "  %.3g %s/s" : "  %.0f %s/s", rate,
                     progress->unit);
        if (progress->total > done) {
            char left[24];
            format_duration((double)(progress->total - done) / rate, left);
            append(out, out_size, "  ");
            append(out, out_size, left);
            append(out, out_size, " left");
        }
    }
}

/* Where the columns are few the bar gets shorter and goes, then the pace goes; what is left is cut
 * off. */
void clq_progress_render(const clq_progress *progress, int64_t done, double elapsed,
                         const char *trailing, size_t columns, char *out, size_t out_size) {
    char count[48], pace[128];
    /* One column stays free: writing into the last one wraps on some terminals. */
    const size_t room = columns > 1 ? columns - 1 : LINE_SIZE;
    const size_t rest = trailing && *trailing ? strlen(trailing) + 2 : 0;
    snprintf(count, sizeof count, progress->total > 0 ? "%lld/%lld" : "%lld", (long long)done,
             (long long)progress->total);
    format_pace(progress, done, elapsed, pace, sizeof pace);
    snprintf(out, out_size, "%s ", progress->label);
    const size_t words = strlen(out) + strlen(count) + rest, bar = strlen("[] ");
    const size_t taken = words + strlen(pace) + bar;
    const size_t cells = taken < room ? room - taken : 0;
    append_bar(progress, done, cells < BAR_CELLS ? (int)cells : BAR_CELLS, out, out_size);
    append(out, out_size, count);
    if (words + strlen(pace) <= room) {
        append(out, out_size, pace);
    }
    if (rest > 0) {
        append(out, out_size, "  ");
        append(out, out_size, trailing);
    }
    if (strlen(out) > room) {
        out[room] = '\0';
    }
}

void clq_progress_update(clq_progress *progress, int64_t done, const char *format, ...) {
    const double now = clq_now_seconds();
    const bool reported = is_reported(progress);
    char trailing[256] = "";
    pthread_mutex_lock(&lock);
    clq_progress_mark(progress, done, now);
    progress->done = done > progress->done ? done : progress->done;
    const bool due = now >= progress->next_draw && (reported || (switched_on && terminal()));
    if (due) {
        progress->next_draw = now + REDRAW_SECONDS;
    }
    if (due && format) {
        va_list arguments;
        va_start(arguments, format);
        clq_vsnprintf(trailing, sizeof trailing, format, arguments);
        va_end(arguments);
    }
    if (due && !reported) {
        clq_progress_render(progress, done, now - progress->start, trailing, terminal_columns(),
                            shown, sizeof shown);
        fprintf(stderr, CLEAR_LINE "%s", shown);
        fflush(stderr);
        progress->drawn = true;
    }
    pthread_mutex_unlock(&lock);
    if (due && reported) {
        report(progress, done, trailing, false);
    }
}

void clq_progress_end(clq_progress *progress) {
    if (is_reported(progress)) {
        report(progress, progress->done, "", true);
        progress->reporting = NULL; /* once */
    }
    pthread_mutex_lock(&lock);
    if (progress->drawn) {
        fputs(CLEAR_LINE, stderr);
        fflush(stderr);
        shown[0] = '\0';
        progress->drawn = false;
    }
    pthread_mutex_unlock(&lock);
}

void clq_progress_print_above(const char *prefix, const char *line) {
    pthread_mutex_lock(&lock);
    bool redraw = shown[0] != '\0';
    fprintf(stderr, "%s%s%s\n%s", redraw ? CLEAR_LINE : "", prefix, line, redraw ? shown : "");
    fflush(stderr);
    pthread_mutex_unlock(&lock);
}
