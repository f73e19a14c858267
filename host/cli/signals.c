#include "cli/signals.h"

#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "cli/cli.h"

static volatile sig_atomic_t received; /* the first deferred signal; 0: none */
static volatile sig_atomic_t deferred;
static const char *volatile answer;  /* to the first deferred signal */
static const char *volatile parting; /* of an ending at once; NULL: none */

static void say(const char *text) {
    const ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* there is nobody to tell */
}

/* Only async-signal-safe calls here and in what it calls. */
static void end(int number) {
    clq_writers_abandon();
    if (isatty(STDERR_FILENO)) {
        say("\n"); /* below a progress bar */
    }
    if (parting && number != SIGPIPE) {
        say(parting);
        say("\n");
    }
    _exit(128 + number);
}

static void handle(int number) {
    if (!deferred || number == SIGPIPE) {
        end(number);
    }
    if (received) {
        say("\nended at once by the second signal, within the step\n");
        end(number);
    }
    received = number;
    say(answer);
}

void clq_signals_install(void) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGPIPE};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART}, before;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            sigaction(numbers[i], &action, NULL);
        }
    }
    signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f` fails to be written, as on a full disk */
}

const volatile sig_atomic_t *clq_signals_flag(void) {
    return &received;
}

void clq_signals_defer(bool keeps) {
    answer = keeps
                 ? "\nstopping after this step, with a checkpoint; a second signal ends at once\n"
                 : "\nstopping after this step, of which nothing is kept; a second signal ends at "
                   "once\n";
    deferred = 1;
}

void clq_signals_say_at_end(char *text) {
    if (parting) {
        clq_free(text);
    } else {
        parting = text;
    }
}

void clq_signals_undefer(bool heeded) {
    deferred = 0;
    if (received && !heeded) {
        end(received);
    }
}

int clq_signals_exit_code(void) {
    return received ? 128 + received : CLQ_INTERRUPTED;
}
