/* Runs the built clquant and keeps what it printed. */
#ifndef CLQ_TEST_COMMAND_H
#define CLQ_TEST_COMMAND_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/clq_test.h"

static char command_output[1 << 20]; /* stdout and stderr of the latest run */

/* `clquant ARGUMENTS` in a shell; its exit code (128 + signal when killed). */
static inline int command(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline int command(const char *format, ...) {
    char arguments[4096], line[8192];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    snprintf(line, sizeof line, "%s/clquant %s 2>&1", CLQ_BINARY_DIR, arguments);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    const size_t size = fread(command_output, 1, sizeof command_output - 1, pipe);
    command_output[size] = '\0';
    const int status = pclose(pipe);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

#define assert_exit(expected, ...)                                                                 \
    do {                                                                                           \
        const int exit_code_ = command(__VA_ARGS__);                                               \
        if (exit_code_ != (expected)) {                                                            \
            fail_msg("exit code %d instead of %d: %s", exit_code_, (int)(expected),                \
                     command_output);                                                              \
        }                                                                                          \
    } while (0)

#define assert_printed(part)                                                                       \
    do {                                                                                           \
        if (!strstr(command_output, part)) {                                                       \
            fail_msg("\"%s\" is missing in: %s", part, command_output);                            \
        }                                                                                          \
    } while (0)

/* Writes a text file into the scratch folder; its path. */
static inline const char *text_file(const char *name, const char *text) {
    const char *path = clq_test_temp_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    return path;
}

#endif
