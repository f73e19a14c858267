/* The progress bar: silent without a terminal, drawn and cleared on one. */
#define _XOPEN_SOURCE 700 /* posix_openpt */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "support/clq_test.h"

/* Puts `fd` in stderr's place; returns the old stderr for restore_stderr. */
static int replace_stderr(int fd) {
    fflush(stderr);
    int saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    return saved;
}

static void restore_stderr(int saved) {
    fflush(stderr);
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* Draws once, logs a line, ends. */
static void run_a_bar(void) {
    clq_progress progress;
    clq_progress_begin(&progress, "train", "images", 1000);
    progress.start -= 10.0; /* as if ten seconds had passed */
    progress.next_draw = 0;
    clq_progress_update(&progress, 250, "loss %.2f", 1.25);
    clq_progress_update(&progress, 251, "loss %.2f", 9.99); /* too soon to be drawn */
    clq_log_warn("a log line");
    clq_progress_end(&progress);
}

static size_t capture(int fd, char *out, size_t size) {
    size_t used = 0;
    ssize_t n;
    while (used < size - 1 && (n = read(fd, out + used, size - 1 - used)) > 0) {
        used += (size_t)n;
    }
    out[used] = '\0';
    return used;
}

static void not_a_terminal_prints_only_the_log(void **state) {
    (void)state;
    int ends[2];
    char out[4096];
    assert_int_equal(pipe(ends), 0);
    int saved = replace_stderr(ends[1]);
    run_a_bar();
    restore_stderr(saved);
    close(ends[1]);
    capture(ends[0], out, sizeof out);
    close(ends[0]);
    assert_string_equal(out, "warning: a log line\n");
}

/* Runs on a pseudo-terminal and returns what it showed. */
static void on_terminal(bool enabled, char *out, size_t size) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    if (master < 0 || grantpt(master) != 0 || unlockpt(master) != 0) {
        clq_test_skip("no pseudo-terminal can be opened");
    }
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    if (slave < 0) {
        close(master);
        clq_test_skip("no pseudo-terminal can be opened");
    }
    setenv("TERM", "xterm", 1);
    clq_progress_enable(enabled);
    int saved = replace_stderr(slave);
    run_a_bar();
    restore_stderr(saved);
    clq_progress_enable(true);
    capture(master, out, size);
    close(slave);
    close(master);
}

static void a_terminal_shows_and_clears_it(void **state) {
    (void)state;
    char out[4096];
    on_terminal(true, out, sizeof out);
    const char *bar = "train [=====>              ] 250/1000  25 images/s  30s left  loss 1.25";
    const char *first = strstr(out, bar);
    assert_non_null(first);
    const char *log = strstr(first, "\r\033[Kwarning: a log line");
    assert_non_null(log);
    assert_non_null(strstr(log, bar)); /* drawn again below the log line */
    assert_null(strstr(out, "9.99"));
    assert_string_equal(out + strlen(out) - 4, "\r\033[K");
}

static void switched_off_it_stays_away(void **state) {
    (void)state;
    char out[4096];
    on_terminal(false, out, sizeof out);
    assert_string_equal(out, "warning: a log line\r\n");
}

/* A slow beginning, or a pace of an hour ago, is forgotten. */
static void the_rate_is_the_latest(void **state) {
    (void)state;
    char out[256];
    clq_progress progress;
    clq_progress_begin(&progress, "train", "images", 100000);
    const double start = progress.start;
    for (int64_t second = 1; second <= 60; second++) { /* 10 a second, then 100 */
        const int64_t done = second <= 30 ? 10 * second : 300 + 100 * (second - 30);
        clq_progress_mark(&progress, done, start + (double)second);
        if (second == 9) {
            assert_true(progress.start == start);
        }
    }
    clq_progress_render(&progress, 3300, start + 60 - progress.start, NULL, 80, out, sizeof out);
    assert_string_equal(out, "train [>                   ] 3300/100000  100 images/s  16:07 left");
    clq_progress_continue(&progress, 3300); /* an evaluation came between */
    clq_progress_render(&progress, 3400, 2.0, NULL, 80, out, sizeof out);
    assert_string_equal(out, "train [>                   ] 3400/100000  50 images/s  32:12 left");
}

static void renders(void **state) {
    (void)state;
    char out[256];
    clq_progress progress;
    clq_progress_begin(&progress, "read", "files", 0); /* total unknown */
    clq_progress_render(&progress, 12345, 2.0, NULL, 80, out, sizeof out);
    assert_string_equal(out, "read 12345  6172 files/s");
    clq_progress_begin(&progress, "read", "files", 10);
    clq_progress_render(&progress, 0, 0.0, "", 80, out, sizeof out);
    assert_string_equal(out, "read [>                   ] 0/10");
    clq_progress_render(&progress, 10, 1.0, NULL, 80, out, sizeof out);
    assert_string_equal(out, "read [====================] 10/10  10 files/s");
    clq_progress_render(&progress, 11, 1.0, NULL, 80, out, sizeof out); /* more than promised */
    assert_string_equal(out, "read [====================] 11/10  11 files/s");
    clq_progress_render(&progress, 1, 100.0, NULL, 80, out, sizeof out);
    assert_non_null(strstr(out, "15:00 left"));
    clq_progress_render(&progress, 1, 1000.0, NULL, 80, out, sizeof out);
    assert_non_null(strstr(out, "2:30:00 left"));
    clq_progress_begin(&progress, "train", "images", 1000);
    clq_progress_continue(&progress, 800); /* resumed: 100 in 10 seconds are 10 a second */
    clq_progress_render(&progress, 900, 10.0, "loss 1.5  lr 0.1", 100, out, sizeof out);
    assert_string_equal(
        out, "train [==================> ] 900/1000  10 images/s  10s left  loss 1.5  lr 0.1");
    clq_progress_begin(&progress, "train", "images", 2000000);
    const char *words = "epoch 3/40  loss 0.5521  top-1 78.12 %  lr 0.125"; /* never cut off */
    clq_progress_render(&progress, 150000, 150.0, words, 121, out, sizeof out);
    assert_string_equal(
        out, "train [=>                  ] 150000/2000000  1000 images/s  30:50 left  epoch 3/40"
             "  loss 0.5521  top-1 78.12 %  lr 0.125");
    clq_progress_render(&progress, 150000, 150.0, words, 110, out, sizeof out);
    assert_string_equal(out,
                        "train [>        ] 150000/2000000  1000 images/s  30:50 left  epoch 3/40"
                        "  loss 0.5521  top-1 78.12 %  lr 0.125");
    assert_int_equal(strlen(out), 109);
    clq_progress_render(&progress, 150000, 150.0, words, 104, out, sizeof out);
    assert_string_equal(out, "train 150000/2000000  1000 images/s  30:50 left  epoch 3/40  "
                             "loss 0.5521  top-1 78.12 %  lr 0.125");
    clq_progress_render(&progress, 150000, 150.0, words, 80, out, sizeof out);
    assert_string_equal(out,
                        "train 150000/2000000  epoch 3/40  loss 0.5521  top-1 78.12 %  lr 0.125");
    clq_progress_begin(&progress, "read", "files", 10);
    clq_progress_render(&progress, 5, 1.0, NULL, 12, out, sizeof out); /* a narrow terminal */
    assert_string_equal(out, "read 5/10");
    clq_progress_render(&progress, 5, 1.0, NULL, 8, out, sizeof out);
    assert_string_equal(out, "read 5/");
}

/* ---- sinks ---- */

typedef struct told {
    int calls, ends;
    int64_t done, total;
    char text[64];
    bool stop;
} told;

static bool tell(void *context, const clq_progress_state *state) {
    told *t = context;
    t->calls++;
    t->ends += state->ended;
    t->done = state->done;
    t->total = state->total;
    assert_string_equal(state->label, "train");
    assert_string_equal(state->unit, "images");
    if (!state->ended) {
        snprintf(t->text, sizeof t->text, "%s", state->text);
    }
    return !t->stop;
}

static void a_sink_is_told_instead(void **state) {
    (void)state;
    told t = {0};
    clq_progress progress;
    clq_set_progress(tell, &t);
    run_a_bar(); /* the second update is too soon */
    assert_int_equal(t.calls, 2);
    assert_int_equal(t.ends, 1);
    assert_int_equal(t.done, 251);
    assert_int_equal(t.total, 1000);
    assert_string_equal(t.text, "loss 1.25");
    clq_progress_begin(&progress, "", "images", 3); /* a part of another: not told */
    progress.next_draw = 0;
    clq_progress_update(&progress, 1, NULL);
    clq_progress_end(&progress);
    clq_progress_end(&progress); /* once more does nothing */
    clq_set_progress(NULL, NULL);
    run_a_bar();
    assert_int_equal(t.calls, 2);
}

static void a_sink_may_stop(void **state) {
    (void)state;
    told t = {.stop = true};
    assert_ok(clq_check_stopped());
    clq_set_progress(tell, &t);
    assert_ok(clq_check_stopped());
    run_a_bar();
    assert_true(clq_is_stopped());
    assert_status(clq_check_stopped(), CLQ_INTERRUPTED);
    clq_forget_stop();
    assert_ok(clq_check_stopped());
    run_a_bar();
    clq_set_progress(NULL, NULL);
    assert_ok(clq_check_stopped());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_a_terminal_prints_only_the_log),
        cmocka_unit_test(a_terminal_shows_and_clears_it),
        cmocka_unit_test(switched_off_it_stays_away),
        cmocka_unit_test(the_rate_is_the_latest),
        cmocka_unit_test(renders),
        cmocka_unit_test(a_sink_is_told_instead),
        cmocka_unit_test(a_sink_may_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
