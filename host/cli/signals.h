/* SIGINT, SIGTERM and SIGPIPE. While nothing is deferred, one ends the command at once: exit code
 * 128 + signal, no hidden file left. A training defers the first two: one asks it to stop behind a
 * checkpoint, the second one ends. */
#ifndef CLQUANT_CLI_SIGNALS_H
#define CLQUANT_CLI_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/* Call once, at the start. A signal that the process was started to ignore stays ignored. */
void clq_signals_install(void);

/* Not 0 once a signal came that was deferred. */
const volatile sig_atomic_t *clq_signals_flag(void);
/* From here on a signal sets the flag and says on stderr that the command will stop, and whether it
 * `keeps` a checkpoint. */
void clq_signals_defer(bool keeps);
/* What an ending at once says from here on, beside that it ends: a line without its end, allocated,
 * which stays. The first one stands; NULL is none. */
void clq_signals_say_at_end(char *text);
/* No longer. A signal that came and was not heeded takes effect now. */
void clq_signals_undefer(bool heeded);

/* Exit code of a command that was interrupted: 128 + the signal. */
int clq_signals_exit_code(void);

#endif
